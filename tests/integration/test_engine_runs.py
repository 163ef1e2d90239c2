"""Limits, clock, transfers and snapshots of the embedded engine."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.engines import open_engine
from kvmdbg.errors import AddressError, BadInput, IoctlError, VmBusy, VmClosed
from kvmdbg.exits import DebugExit, HltExit, IntrExit, IoExit, MmioExit
from tests.guests.bench import BS, MODES, Bench, E, H, S

LOOP = "mov ecx, 100\nagain: add eax, 3\ndec ecx\njnz again\nhlt"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("budget", [0, 1, 2, 7, 100, 301])
def test_a_budget_ends_the_run_after_exactly_that_many_instructions(mode: str, budget: int) -> None:
    with Bench(LOOP, mode) as b, Bench(LOOP, mode) as stepped:
        assert b.vcpu.run(max_instructions=budget) == IntrExit("budget")
        for _ in range(budget):
            stepped.run(E | S)
        assert b.vcpu.clock == budget
        assert b.vcpu.get_regs() == stepped.vcpu.get_regs()


@given(st.lists(st.integers(0, 60), max_size=5))
def test_a_run_cut_anywhere_ends_like_a_run_in_one_piece(cuts: list[int]) -> None:
    with Bench(LOOP) as whole, Bench(LOOP) as cut:
        whole.run()
        for budget in cuts:
            cut.vcpu.run(max_instructions=budget)
        cut.run()
        assert cut.vcpu.get_regs() == whole.vcpu.get_regs()
        assert cut.vcpu.clock == whole.vcpu.clock == 302


def test_a_timeout_ends_an_endless_loop() -> None:
    with Bench("again: jmp again") as b:
        began = time.monotonic()
        assert b.vcpu.run(timeout=0.05) == IntrExit("timeout")
        assert time.monotonic() - began < 1.0
        assert b.reg("rip") == b["again"]


def test_another_thread_can_stop_a_run() -> None:
    with Bench("again: jmp again") as b:
        threading.Timer(0.05, b.vcpu.request_stop).start()
        assert b.vcpu.run() == IntrExit("request")
        assert b.run(E | S) == DebugExit(1, b["again"], BS, 0x400)


@pytest.mark.parametrize(
    "text",
    [
        "again: jmp again",
        "again: inc byte ptr [rip + again]\n.byte 0x90\njmp again",
        "again: out 0x80, al\njmp again",
        "again: ud2\nhandler: iretq",
        "mov rdi, 0x9000\nagain: mov ecx, 0x100000\nrep lodsb\njmp again",
    ],
    ids=["a tight loop", "self-modifying code", "port output", "endless faults", "a long REP"],
)
def test_ctrl_c_stops_any_guest_at_once_and_leaves_it_steppable(text: str) -> None:
    with Bench(text) as b:
        if "handler" in text:
            b.gate(6, "handler")
        sent: list[float] = []

        def press() -> None:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Timer(0.1, press).start()

        def for_ever() -> None:
            while True:
                b.vcpu.run()

        with pytest.raises(KeyboardInterrupt):
            for_ever()
        assert time.monotonic() - sent[0] < 2  # benchmarks/response.py measures it
        before = b.vcpu.clock
        b.run(E | S)
        assert b.vcpu.clock >= before


def test_another_thread_may_not_touch_a_running_vm() -> None:
    with Bench("again: jmp again") as b:
        runner = threading.Thread(target=b.vcpu.run)
        runner.start()
        time.sleep(0.05)
        with pytest.raises(VmBusy):
            b.vcpu.write_memory(0, b"x")
        b.vcpu.request_stop()
        runner.join(5)
        assert not runner.is_alive()


def test_self_modifying_code_is_counted_exactly() -> None:
    text = """
        mov ecx, 10
    again:
        inc byte ptr [rip + patched + 1]
        nop
    patched: mov al, 0
        dec ecx
        jnz again
        hlt
    """
    with Bench(text) as b:
        assert b.run() == HltExit()
        assert (b.vcpu.clock, b.reg("rax") & 0xFF) == (1 + 10 * 5 + 1, 10)


@pytest.mark.parametrize("mode", MODES)
def test_out_reports_port_and_data_with_rip_at_the_out(mode: str) -> None:
    with Bench("mov al, 0x41\nhere: out 0xe9, al\nhlt", mode) as b:
        assert b.run() == IoExit("out", 0xE9, 1, b"A")
        assert b.reg("rip") == b["here"]
        assert b.run() == HltExit()


def test_in_takes_the_hosts_answer() -> None:
    with Bench("mov eax, -1\nhere: in eax, 0x81\nhlt") as b:
        assert b.run() == IoExit("in", 0x81, 4, bytes(4))
        assert (b.reg("rip"), b.reg("rax")) == (b["here"], 0xFFFFFFFF)
        b.vcpu.complete_io(b"\x78\x56\x34\x12")
        assert b.run() == HltExit()
        assert b.reg("rax") == 0x12345678


def test_ins_writes_the_answer_to_memory_and_nothing_before() -> None:
    text = "mov dx, 0x60\nmov rdi, 0x9000\nmov ecx, 2\nrep insb\nhlt"
    with Bench(text) as b:
        b.vcpu.write_memory(0x9000, b"zz")
        assert b.run() == IoExit("in", 0x60, 1, b"\0")
        assert b.vcpu.read_memory(0x9000, 2) == b"zz"
        b.vcpu.complete_io(b"a")
        assert b.run() == IoExit("in", 0x60, 1, b"\0")
        b.vcpu.complete_io(b"b")
        assert b.run() == HltExit()
        assert b.vcpu.read_memory(0x9000, 2) == b"ab"


def test_ins_over_its_own_bytes_is_carried_out_once() -> None:
    with Bench("mov dx, 0x60\nlea rdi, [rip + here]\nhere: insb\nhlt") as b:
        assert b.run() == IoExit("in", 0x60, 1, b"\0")
        b.vcpu.complete_io(b"\x90")
        assert b.run() == HltExit()
        assert b.vcpu.read_memory(b["here"], 1) == b"\x90"
        assert b.vcpu.clock == 4


def test_a_stepped_out_gives_the_io_exit_and_then_the_step() -> None:
    with Bench("here: out 0x80, al\nnext: nop") as b:
        assert b.run(E | S) == IoExit("out", 0x80, 1, b"\0")
        assert b.run(E | S) == DebugExit(1, b["next"], BS, 0x400)


def test_a_stepped_rep_outsb_gives_its_items_and_one_step() -> None:
    text = """
        mov dx, 0x80
        lea rsi, [rip + text]
        mov ecx, 3
        rep outsb
    next: nop
    text: .ascii "abc"
    """
    with Bench(text) as b:
        for _ in range(3):
            b.run(E | S)
        exits = [b.run(E | S) for _ in range(4)]
        assert exits[:3] == [IoExit("out", 0x80, 1, bytes([c])) for c in b"abc"]
        assert exits[3] == DebugExit(1, b["next"], BS, 0x400)


def test_an_io_exit_is_forgotten_when_the_host_moves_rip() -> None:
    with Bench("here: out 0x80, al\nhlt\nelsewhere: mov ebx, 1\nhlt") as b:
        b.run()
        b.set(rip=b["elsewhere"])
        assert b.run() == HltExit()
        assert b.reg("rbx") == 1


def test_mmio_reads_and_writes_reach_the_host() -> None:
    text = "mov ebx, 0xd0000000\nread: mov eax, [rbx]\nmov [rbx + 4], ax\nafter: hlt"
    with Bench(text) as b:
        assert b.run() == MmioExit(0xD0000000, bytes(4), False)
        assert b.reg("rip") == b["read"]
        b.vcpu.complete_io(b"\1\2\3\4")
        assert b.run() == MmioExit(0xD0000004, b"\1\2", True)
        assert b.reg("rip") == b["after"]
        assert b.run() == HltExit()
        assert b.reg("rax") == 0x04030201


def test_a_read_modify_write_of_mmio_is_a_read_and_then_a_write() -> None:
    with Bench("mov ebx, 0xd0000000\ninc dword ptr [rbx]\nhlt") as b:
        assert b.run() == MmioExit(0xD0000000, bytes(4), False)
        b.vcpu.complete_io((41).to_bytes(4, "little"))
        assert b.run() == MmioExit(0xD0000000, (42).to_bytes(4, "little"), True)
        assert b.run() == HltExit()


def test_a_wide_mmio_access_comes_in_pieces_of_eight_bytes() -> None:
    with Bench("mov ebx, 0xd0000000\nmovups xmm0, [rbx]\nmovups [0x9000], xmm0\nhlt") as b:
        assert b.run() == MmioExit(0xD0000000, bytes(8), False)
        b.vcpu.complete_io(b"abcdefgh")
        assert b.run() == MmioExit(0xD0000008, bytes(8), False)
        b.vcpu.complete_io(b"ijklmnop")
        assert b.run() == HltExit()
        assert b.vcpu.read_memory(0x9000, 16) == b"abcdefghijklmnop"


def test_a_copy_from_ram_to_mmio_writes_what_was_in_ram() -> None:
    with Bench("mov esi, 0x9000\nmov edi, 0xd0000000\nmovsd\nhlt") as b:
        b.vcpu.write_memory(0x9000, b"wxyz")
        assert b.run() == MmioExit(0xD0000000, b"wxyz", True)
        assert b.run() == HltExit()
        assert b.reg("rsi") == 0x9004


def test_a_snapshot_brings_back_registers_memory_and_clock() -> None:
    with Bench("mov eax, 1\nmov [0x9000], eax\nmov eax, 2\nmov [0x9000], eax\nhlt") as b:
        b.vcpu.run(max_instructions=2)
        saved = b.vcpu.snapshot()
        before = b.vcpu.get_regs(), b.vcpu.clock
        b.run()
        b.vcpu.restore(saved)
        assert (b.vcpu.get_regs(), b.vcpu.clock) == before
        assert b.word(0x9000, 4) == 1
        assert b.run() == HltExit()
        assert b.word(0x9000, 4) == 2


def test_flags_survive_a_fault_under_an_armed_watchpoint() -> None:
    text = "mov rbx, -1\nshl rbx, 1\nbad: ud2\nhandler: hlt"
    with Bench(text) as free, Bench(text) as watched:
        images = []
        for b in (free, watched):
            b.gate(6, "handler")
            if b is watched:
                b.sgd(E | H, dr7=0xD0402, dr0=0x9000)
            b.run()
            images.append(b.word(b.reg("rsp") + 16))
        assert images[0] == images[1]


@pytest.mark.parametrize("flags", [0x2, 0x8D7, 0x402, 0x47])
def test_flags_written_by_the_host_are_what_the_guest_sees(flags: int) -> None:
    with Bench("pushf\npop rbx\nhlt") as b:
        b.set(rflags=flags)
        b.run()
        assert (b.reg("rbx"), b.reg("rflags")) == (flags, flags)


def test_flags_survive_a_port_instruction() -> None:
    text = "mov ecx, 2\nagain: dec ecx\nmov [0x9000], ecx\njnz again\nout 0x80, al\nhlt"
    with Bench(text) as b:
        start = b.vcpu.snapshot()
        for _ in range(2):  # a second time with the site known from the first
            assert isinstance(b.run(), IoExit)
            assert b.run() == HltExit()
            assert b.reg("rflags") == 0x46
            b.vcpu.restore(start)


def test_ram_is_only_inside_its_bounds() -> None:
    with Bench("nop") as b, pytest.raises(AddressError):
        b.vcpu.read_memory(1 << 22, 1)


def test_ram_must_be_whole_pages() -> None:
    with pytest.raises(BadInput):
        open_engine("unicorn", 5000)


def test_complete_io_without_a_waiting_read_is_einval() -> None:
    with Bench("nop") as b, pytest.raises(IoctlError):
        b.vcpu.complete_io(b"x")


def test_a_closed_engine_says_so() -> None:
    b = Bench("nop")
    b.vcpu.close()
    b.vcpu.close()
    with pytest.raises(VmClosed):
        b.vcpu.get_regs()
    with pytest.raises(VmClosed):
        b.vcpu.run()


@pytest.mark.parametrize("limits", [{"timeout": float("inf")}, {"max_instructions": 1 << 80}])
def test_a_limit_beyond_all_bounds_is_none(limits: dict[str, float]) -> None:
    with Bench("nop\nhlt") as b:
        assert b.vcpu.run(**limits) == HltExit()  # type: ignore[arg-type]  # one of the two


def test_a_timeout_that_is_no_number_is_refused() -> None:
    with Bench("hlt") as b, pytest.raises(BadInput, match="not a number of seconds"):
        b.vcpu.run(timeout=float("nan"))


def test_other_than_eight_debug_registers_are_refused() -> None:
    with Bench("hlt") as b, pytest.raises(BadInput, match="8 values, DR0-DR7; got 2"):
        b.vcpu.set_guest_debug(E, (1, 2))


@pytest.mark.parametrize("text", ["in al, 0x60\nafter: hlt", "mov al, [rbx]\nafter: hlt"])
def test_a_run_of_no_instructions_finishes_the_access_that_was_answered(text: str) -> None:
    with Bench(text) as b:
        b.set(rbx=0xD0000000)
        b.vcpu.run()
        b.vcpu.complete_io(b"\x55")
        assert b.vcpu.run(max_instructions=0) == IntrExit("budget")
        assert (b.reg("rax"), b.reg("rip")) == (0x55, b["after"])
