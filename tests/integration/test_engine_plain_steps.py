"""A host's plain single-steps, which are made in machine code: nobody must see that they are.

Against them stands ``run(timeout=...)``, which never takes that way.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmdbg.engines import Engine, open_engine
from kvmdbg.errors import VmClosed
from kvmdbg.exits import DebugExit, Exit, HltExit, IntrExit, IoExit, MmioExit
from kvmdbg.uapi import GuestDbg
from tests.guests.bench import Bench
from tests.guests.fuzz import ENDS
from tests.guests.wild import KINDS, RAM, WildGuest, wild_guest

STEPS = 60
STEPPING = int(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)


def opened(guest: WildGuest) -> Engine:
    engine = open_engine("unicorn", RAM)
    for address, data in guest.memory:
        engine.write_memory(address, data)
    engine.set_sregs(guest.sregs)
    engine.set_regs(guest.regs)
    engine.set_guest_debug(STEPPING)
    return engine


def seen(engine: Engine, exit: Exit) -> tuple[object, ...]:
    registers = engine.get_regs(), engine.get_sregs(), engine.get_debugregs()
    return exit, registers, engine.get_vcpu_events(), engine.clock, bytes(engine.ram)


def answer(engine: Engine, exit: Exit) -> None:
    reads = isinstance(exit, IoExit) and exit.direction == "in"
    if reads or (isinstance(exit, MmioExit) and not exit.is_write):
        engine.complete_io(bytes(len(exit.data)))  # type: ignore[union-attr]  # one of the two


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from(KINDS))
def test_plain_steps_of_any_guest_go_the_way_of_all_other_steps(seed: int, kind: str) -> None:
    guest = wild_guest(random.Random(seed), kind)
    plain, slow = opened(guest), opened(guest)
    try:
        for _ in range(STEPS):
            exit = slow.run(timeout=0.2)
            if exit == IntrExit("timeout"):
                return  # every instruction faults: the other one would not come back
            assert seen(plain, plain.run()) == seen(slow, exit)
            if isinstance(exit, ENDS):
                return
            answer(plain, exit)
            answer(slow, exit)
    finally:
        plain.close()
        slow.close()


# What a step may be besides plain, each behind and in front of plain ones.
SPECIAL = {
    "MOV SS": "mov ax, ss\n mov ss, ax\n inc rax\n inc rax",
    "STI": "sti\n inc rax\n cli\n inc rax",
    "INT 1": "inc rax\n int 1\n inc rax",
    "INT 3": "inc rax\n int3\n inc rax",
    "PUSHF": "inc rax\n pushfq\n pop rbx\n inc rax",
    "POPF": "pushfq\n or dword ptr [rsp], 0x100\n popfq\n inc rax\n inc rax",
    "IRET with RF": "mov rbx, rsp\n mov eax, ss\n push rax\n push rbx\n pushfq\n"
    "or dword ptr [rsp], 0x10000\n mov eax, cs\n push rax\n lea rax, [rip + 3]\n push rax\n"
    "iretq\n inc rax\n inc rax",
    "a store into the next instruction": "mov byte ptr [rip + 1], 0x90\n inc eax\n inc rax",
    "a store into itself": "lea rbx, [rip]\n mov byte ptr [rbx + 3], 0x5a\n inc rax",
    "REP": "mov ecx, 3\n mov edi, 0x9000\n rep stosb\n inc rax",
    "#UD": "inc rax\n ud2\n inc rax",
    "#DE": "xor ecx, ecx\n div ecx\n inc rax",
    "#PF": "mov rbx, 0x7fffffff0000\n mov rax, [rbx]\n inc rax",
    "MMIO": "mov ebx, 0x10000000\n mov rax, [rbx]\n inc rax",
    "a watched store": "mov dword ptr [0x9000], 5\n inc rax",
    "a watched store in the shadow of MOV SS": "mov [0x9002], ss\n mov ss, [0x9002]\n inc rax",
    "OUT": "mov al, 5\n out 0x80, al\n inc rax",
    "MOV DR": "mov rax, dr7\n mov dr0, rax\n inc rax",
    "RDTSC": "rdtsc\n inc rax",
    "HLT": "inc rax\n hlt\n inc rax",
    "SYSCALL": "inc rax\n syscall\n inc rax",
    "flags": "xor eax, eax\n std\n dec eax\n cld\n add eax, 1\n sahf",
}
WATCHING = STEPPING | GuestDbg.USE_HW_BP


def benched(text: str, control: int) -> Bench:
    bench = Bench(f"nop\n nop\n {text}\n jmp done\nhandler: add rsi, 1\n iretq\ndone: hlt")
    for vector in (0, 1, 3, 6, 14):
        bench.gate(vector, "handler" if vector in (1, 3) else "done")
    bench.sgd(control, dr0=0x9000, dr7=0xD0402)
    return bench


@pytest.mark.parametrize("control", [STEPPING, WATCHING, STEPPING | GuestDbg.USE_SW_BP])
@pytest.mark.parametrize("text", SPECIAL.values(), ids=SPECIAL)
def test_what_is_more_than_a_plain_step_goes_the_way_of_all_other_steps(
    text: str, control: int
) -> None:
    with benched(text, control) as plain, benched(text, control) as slow:
        for _ in range(24):
            exit = slow.vcpu.run(timeout=5)
            assert exit != IntrExit("timeout")
            assert seen(plain.vcpu, plain.vcpu.run()) == seen(slow.vcpu, exit)
            if isinstance(exit, (*ENDS, HltExit)):
                return
            answer(plain.vcpu, exit)
            answer(slow.vcpu, exit)


@pytest.fixture
def stepped() -> Iterator[Engine]:
    """A long-mode guest after eight plain steps, two rounds."""
    with Bench("again: inc rax\n push rax\n pop rbx\n jmp again") as bench:
        bench.sgd(STEPPING)
        for _ in range(8):
            assert isinstance(bench.vcpu.run(), DebugExit)
        yield bench.vcpu


def test_a_register_set_between_plain_steps_is_what_is_read(stepped: Engine) -> None:
    stepped.set_regs(stepped.get_regs()._replace(rax=0x55))
    assert stepped.get_regs().rax == 0x55


def test_the_next_step_begins_with_a_register_that_was_set(stepped: Engine) -> None:
    stepped.set_regs(stepped.get_regs()._replace(rax=0x55))
    stepped.run()
    assert stepped.get_regs().rax == 0x56


def test_a_stop_requested_between_plain_steps_ends_the_next_run_before_it_begins(
    stepped: Engine,
) -> None:
    before = stepped.get_regs()
    stepped.request_stop()
    assert (stepped.run(), stepped.get_regs(), stepped.clock) == (IntrExit("request"), before, 8)


def test_the_step_after_a_requested_stop_is_a_plain_one_again(stepped: Engine) -> None:
    stepped.request_stop()
    stepped.run()
    assert (type(stepped.run()), stepped.clock) == (DebugExit, 9)


def test_plain_steps_tell_of_other_debug_registers_as_soon_as_these_are_set(
    stepped: Engine,
) -> None:
    control = STEPPING | GuestDbg.USE_HW_BP
    stepped.set_guest_debug(control, (0x100000, 0, 0, 0, 0, 0, 0, 0x402))
    exits = [stepped.run() for _ in range(4)]
    assert [exit.dr7 for exit in exits if isinstance(exit, DebugExit)] == [0x402] * 4


def test_registers_after_a_snapshot_was_put_back_are_the_snapshots(stepped: Engine) -> None:
    snapshot, then = stepped.snapshot(), stepped.get_regs()
    stepped.run()
    stepped.restore(snapshot)
    assert stepped.get_regs() == then


def test_a_closed_engine_has_no_registers_though_its_last_run_was_a_plain_step(
    stepped: Engine,
) -> None:
    stepped.run()
    stepped.close()
    with pytest.raises(VmClosed):
        stepped.get_regs()
