"""A snapshot is the whole machine, also in the middle of something."""

from __future__ import annotations

from kvmdbg.exits import DebugExit, HltExit, IoExit, MmioExit
from tests.guests.bench import BS, B, Bench, E, H, S


def test_an_in_that_waits_is_answered_after_each_restore() -> None:
    with Bench("in al, 0x60\nhlt") as b:
        assert b.run() == IoExit("in", 0x60, 1, b"\0")
        waiting = b.vcpu.snapshot()
        for answer in (b"\x11", b"\x22"):
            b.vcpu.restore(waiting)
            b.vcpu.complete_io(answer)
            assert b.run() == HltExit()
            assert b.reg("rax") & 0xFF == answer[0]


def test_an_answer_that_was_given_is_part_of_the_snapshot() -> None:
    with Bench("mov ebx, 0xd0000000\nmov al, [rbx]\nmov ah, [rbx]\nhlt") as b:
        assert isinstance(b.run(), MmioExit)
        b.vcpu.complete_io(b"\x11")
        answered = b.vcpu.snapshot()
        for _ in range(2):
            b.vcpu.restore(answered)
            assert isinstance(b.run(), MmioExit)
            assert b.reg("rax") & 0xFFFF == 0x11
            b.vcpu.complete_io(b"\x22")
            assert b.run() == HltExit()
            assert b.reg("rax") & 0xFFFF == 0x2211


def test_a_data_hit_that_mov_ss_holds_back_comes_after_the_restore() -> None:
    with Bench("mov ss, [0x9000]\nnop\nafter: hlt") as b:
        b.vcpu.write_memory(0x9000, b"\x10")
        b.sgd(E | H, dr7=0xF0402, dr0=0x9000)
        b.vcpu.run(max_instructions=1)
        held = b.vcpu.snapshot()
        for _ in range(2):
            b.vcpu.restore(held)
            assert b.vcpu.run() == DebugExit(1, b["after"], B(0), 0xF0402)


def test_a_handler_that_a_step_entered_gives_the_step_back_after_a_restore() -> None:
    with Bench(
        "ud2\nnext: nop\nafter: hlt\nhandler: in al, 0x60\nadd qword ptr [rsp], 2\niretq"
    ) as b:
        b.gate(6, "handler")
        assert isinstance(b.run(E | S), IoExit)
        inside = b.vcpu.snapshot()
        for _ in range(2):
            b.vcpu.restore(inside)
            assert b.vcpu.run() == DebugExit(1, b["after"], BS, 0x400)
