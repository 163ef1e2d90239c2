"""Many steps in one call are the same steps, row by row, as one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvmdbg import Vm, assemble
from kvmdbg.engines import Capability
from kvmdbg.engines.unicorn import UnicornEngine
from kvmdbg.errors import IoctlError
from kvmdbg.exits import DebugExit, Exit
from kvmdbg.uapi import GuestDbg
from tests.guests.comparable import programs
from tests.guests.fuzz import ENDS, guest_of, set_up
from tests.guests.wild import KINDS, RAM

STEPPING = int(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)
Rows = list[tuple[int, int, int, int, int, int]]


class OneByOne(UnicornEngine):
    """The embedded engine, which has to be asked for each step."""

    capabilities = frozenset(Capability) - {Capability.BULK_STEPS}


def rows(vm: Vm) -> Rows:
    """All of the timeline but the host's time."""
    return [(r.reason, r.exception, r.pc, r.dr6, r.dr7, r.clock) for r in vm.timeline]


def both(source: str, mode: str = "long", count: int = 1000, **breakpoints: str) -> tuple[Vm, Vm]:
    """The same steps made in both ways; they must have led to the same."""
    vms = Vm(mode=mode), Vm(OneByOne, mode=mode)
    for vm in vms:
        vm.load(assemble(source, mode=mode))
        for name in ("ud", "soft"):
            if name in vm.symbols:
                vm.set_gate(6 if name == "ud" else 0x80, vm.symbols[name])
        for label, kind in breakpoints.items():
            vm.bp(label, kind=kind)
        for _ in range(4):
            vm.step(count)
    many, single = vms
    assert rows(many) == rows(single)
    assert many.memory[0:0x10000] == single.memory[0:0x10000]
    assert many.regs()._replace(rflags=0) == single.regs()._replace(rflags=0)
    assert many.debugregs() == single.debugregs()
    assert many.last_stop is not None
    assert single.last_stop is not None
    assert many.last_stop.cause == single.last_stop.cause
    return vms


LOOP = """
start:  mov ecx, 1000
again:  {}
        dec ecx
        jnz again
        hlt
"""

INSIDE = {
    "calls": "call sub\njmp on\nsub: push rax\npop rax\nret\non: nop",
    "REP": "push rcx\nmov ecx, 5\nmov edi, 0x9000\nrep stosb\nmov ecx, 0\nrep stosb\npop rcx",
    "MOV SS": "mov eax, ss\nmov ss, eax\nnop\npush 0\npop rax",
    "two MOV SS": "mov eax, ss\nmov ss, eax\nmov ss, eax\nnop",
    "STI": "sti\nnop\ncli",
    "STI, MOV SS": "mov eax, ss\nsti\nmov ss, eax\nnop\ncli",
    "PUSHF and POPF": "pushfq\npop rax\npush rax\npopfq",
    "the guest's own TF": "pushfq\nor dword ptr [rsp], 0x100\npopfq\nnop\npushfq\npop rbx\nnop",
    "ports": "mov al, 65\nout 0xe9, al",
    "MMIO": "mov rbx, 0x1f000000\ncmp byte ptr [rbx - 0x1f000000 + 0x9000], 1",
    "CPUID": "push rcx\nxor eax, eax\ncpuid\npop rcx",
    "MOV DR": "mov rax, dr0\nmov dr1, rax",
    "RDTSC": "rdtsc",
    "a store into the next instruction": "inc byte ptr [rip + patch]\nmov eax, 0\n.set patch, -5",
    "a store into a block that ran": "xor byte ptr [rip + flip], 1\ncall there\njmp on\n"
    "there: mov al, 1\n.set flip, there - next + 1\nnext: ret\non: nop",
    "a far conditional": "test ecx, 1\njz on\nnop\nnop\non: nop",
}


@pytest.mark.parametrize("inside", INSIDE.values(), ids=INSIDE.keys())
def test_a_loop_steps_alike(inside: str) -> None:
    both(LOOP.format(inside))


def test_exceptions_step_alike() -> None:
    both(LOOP.format("ud2") + "ud: add qword ptr [rsp], 2\niretq")


def test_int_n_steps_alike() -> None:
    both(
        LOOP.format("int 0x80") + "soft: mov ss, eax\niretq"
        if False
        else LOOP.format("int 0x80") + "soft: nop\niretq"
    )


@pytest.mark.parametrize("kind", ["sw", "hw"])
def test_breakpoints_end_the_steps_alike(kind: str) -> None:
    many, _ = both(LOOP.format("nop\nhere: nop"), here=kind)
    assert many.last_stop is not None
    assert "breakpoint 1" in many.last_stop.cause


def test_a_watchpoint_ends_the_steps_alike() -> None:
    vms = Vm(), Vm(OneByOne)
    for vm in vms:
        vm.load(assemble(LOOP.format("cmp ecx, 777\njne on\nmov [0x9000], ecx\non: nop")))
        vm.bp(0x9000, access="w", length=4)
        vm.step(100_000)
    assert rows(vms[0]) == rows(vms[1])
    assert len(vms[0].timeline) < 10_000


def test_steps_into_a_halt_are_alike() -> None:
    both(LOOP.format("nop"), count=20_000)


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_random_programs_step_alike(mode: str, data: st.DataObject) -> None:
    source = data.draw(programs(mode, faults=mode == "long" and data.draw(st.booleans())))
    both(source, mode, count=data.draw(st.sampled_from((64, 100, 700))))


def walked(engine: UnicornEngine, most: int, many: bool) -> Iterator[tuple[object, ...]]:
    """Step a guest on the bare ioctl line: pc and clock after each step, or the exit."""
    done = 0
    while done < most:
        steps = engine.run_steps(most - done) if many else None
        if steps is not None:
            done += len(steps.pcs)
            yield from zip(steps.pcs.tolist(), steps.clocks.tolist(), strict=True)
            continue
        with suppress(IoctlError):
            engine.set_guest_debug(STEPPING)
        exit: Exit = engine.run(max_instructions=50)
        done += 1
        plain = isinstance(exit, DebugExit) and exit.dr6 == 0xFFFF4FF0
        yield (exit.pc, engine.clock) if plain else (exit, engine.clock)  # type: ignore[union-attr]  # plain says it
        if isinstance(exit, ENDS):
            return


@pytest.mark.parametrize("kind", KINDS)
@example(number=125)  # user32: INTO, whose OF a free run would miss
@given(number=st.integers(0, 1 << 20))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_wild_guests_step_alike(kind: str, number: int) -> None:
    """Always the same ones: others may make data of flags that the SDM leaves undefined."""
    seen = []
    for many in (True, False):
        with closing(UnicornEngine(RAM)) as engine:
            guest, dice = guest_of(11, number * len(KINDS) + KINDS.index(kind))
            set_up(engine, guest, dice)
            with suppress(IoctlError):
                engine.set_guest_debug(STEPPING)
            seen.append(list(walked(engine, 300, many)))
    assert seen[0] == seen[1]
