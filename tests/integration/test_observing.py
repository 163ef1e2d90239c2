"""What observers are told is what ran: against single steps, register by register."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import closing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmdbg import Vm, assemble
from kvmdbg.engines import Engine, Executed, Passing, Tracing, Writing
from kvmdbg.engines.unicorn import UnicornEngine
from kvmdbg.errors import IoctlError
from kvmdbg.exits import DebugExit
from kvmdbg.history.recorded import Recorded
from kvmdbg.history.segment import GENERAL
from kvmdbg.history.trace import Trace
from kvmdbg.history.tracelog import TraceLog
from kvmdbg.uapi import GuestDbg
from tests.guests.comparable import programs
from tests.guests.fuzz import ENDS, guest_of, set_up
from tests.guests.wild import KINDS, RAM

STEPPING = int(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)
UNDEFINED = 0x8D5
"""Flags that an instruction may leave to the engine's liking; programs here do not read those."""

LOOP = """
start:  mov ecx, 50
again:  mov [0x9000], ecx
        push rcx
        call sub
        pop rcx
        mov rax, dr0
        mov edi, 0x9100
        push rcx
        mov ecx, 3
        rep stosb
        pop rcx
        dec ecx
        jnz again
        hlt
sub:    add rbx, rcx
        ret
"""


def ioctl_line(source: str) -> UnicornEngine:
    """A guest about to run, without a debugger."""
    with Vm(record=False) as vm:
        vm.load(assemble(source))
        image, regs, sregs = bytes(vm.vcpu.ram), vm.regs(), vm.sregs()
    engine = UnicornEngine(len(image))
    engine.write_memory(0, image)
    engine.set_sregs(sregs)
    engine.set_regs(regs)
    return engine


def general(engine: UnicornEngine) -> tuple[int, ...]:
    """The general registers in machine order, and RFLAGS."""
    regs = engine.get_regs()
    return (*(getattr(regs, name) for name in GENERAL), regs.rflags)


def replayed(trace: Trace, values: list[int]) -> list[tuple[int, int, tuple[int, ...]]]:
    """Clock, pc and general registers in front of each row, from the rows' own changes."""
    found = []
    for row in trace:
        found.append((row.clock, row.pc, tuple(values)))
        for name, value in row.registers.items():
            if name != "rflags":
                values[GENERAL.index(name)] = value
    return found


def test_a_trace_has_every_step_of_a_loop_with_its_registers() -> None:
    log = TraceLog()
    with closing(ioctl_line(LOOP)) as traced, closing(ioctl_line(LOOP)) as stepped:
        begin = list(general(traced)[:16])
        traced.observe(Tracing(log.add))
        traced.run()
        stepped.set_guest_debug(STEPPING)
        expected = []
        while True:
            expected.append((stepped.clock, stepped.get_regs().rip, general(stepped)[:16]))
            if not isinstance(stepped.run(), DebugExit):
                break
        assert replayed(log.trace(), begin) == expected


def test_a_trace_has_the_flags_that_steps_have() -> None:
    source = """
    start:  mov ecx, 20
    again:  test ecx, 3
            jz even
            std
            sub eax, ecx
    even:   cld
            add rax, rcx
            jc next
            cmp eax, ecx
    next:   dec ecx
            jnz again
            hlt
    """
    log = TraceLog()
    with closing(ioctl_line(source)) as traced, closing(ioctl_line(source)) as stepped:
        traced.observe(Tracing(log.add))
        traced.run()
        stepped.set_guest_debug(STEPPING)
        flags = [stepped.get_regs().rflags]
        while isinstance(stepped.run(), DebugExit):
            flags.append(stepped.get_regs().rflags)
        found = [int(f) for segment in log.trace().segments for f in segment.flags]
        assert found == flags


def test_a_trace_has_each_store_with_what_was_there_before() -> None:
    log = TraceLog()
    with closing(ioctl_line(LOOP)) as engine:
        engine.observe(Tracing(log.add))
        engine.run()
        stores = [w for row in log.trace() for w in row.writes if w.address == 0x9000]
        assert [(w.size, w.old, w.new) for w in stores] == [
            (4, old, new) for old, new in zip([0, *range(50, 1, -1)], range(50, 0, -1), strict=True)
        ]
        bytes_stored = [w for row in log.trace() for w in row.writes if w.address == 0x9101]
        assert [w.size for w in bytes_stored] == [1] * 50


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_random_programs_are_traced_as_they_are_stepped(data: st.DataObject) -> None:
    source = data.draw(programs("long"))
    with Vm() as vm, Vm(record=False) as stepped:
        for each in (vm, stepped):
            each.load(assemble(source))
        vm.record()
        vm.cont(max_instructions=500)
        engine, stops = stepped.vcpu, {}
        while engine.clock < vm.vcpu.clock:
            stops[engine.clock] = engine.get_regs()
            engine.set_guest_debug(STEPPING)
            engine.run()
        values = [getattr(stops[0], name) for name in GENERAL]
        found = {clock: (pc, regs) for clock, pc, regs in replayed(vm.trace, values)}
        assert len(found) == vm.vcpu.clock
        for clock, regs in stops.items():  # MOV SS has none
            assert found[clock] == (regs.rip, tuple(getattr(regs, name) for name in GENERAL))


@pytest.mark.parametrize("kind", KINDS)
@given(number=st.integers(0, 1 << 20))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_wild_guests_run_as_far_when_they_are_traced(kind: str, number: int) -> None:
    """Always the same ones: others may make data of flags that the SDM leaves undefined."""
    seen = []
    for traced in (True, False):
        log = TraceLog()
        with closing(UnicornEngine(RAM)) as engine:
            guest, dice = guest_of(13, number * len(KINDS) + KINDS.index(kind))
            set_up(engine, guest, dice)
            if traced:
                engine.observe(Tracing(log.add))
            exits = []
            for _ in range(20):
                exit = engine.run(40)
                exits.append((exit, engine.clock))
                if isinstance(exit, ENDS):
                    break
                with suppress(IoctlError):
                    engine.complete_io(b"\0\0\0\0")
            regs = engine.get_regs()
            seen.append((exits, regs._replace(rflags=regs.rflags & ~UNDEFINED)))
            if traced:
                clocks = [row.clock for row in log.trace()]
                assert clocks == sorted(set(clocks))
    assert seen[0][0] == seen[1][0]


def test_passing_tells_each_time_a_place_is_run() -> None:
    times: list[int] = []
    with closing(ioctl_line(LOOP)) as engine:
        engine.observe(Passing(assemble(LOOP).symbols["sub"], times.extend))
        engine.run()
    assert len(times) == 50
    with closing(ioctl_line(LOOP)) as stepped:
        stepped.run(max_instructions=times[7])
        assert stepped.get_regs().rip == assemble(LOOP).symbols["sub"]
        stepped.run(max_instructions=times[8] - times[7])
        assert stepped.get_regs().rip == assemble(LOOP).symbols["sub"]


def test_passing_sees_an_instruction_that_the_host_carries_out() -> None:
    source = LOOP.replace("mov rax, dr0", "debug: mov rax, dr0")
    times: list[int] = []
    with closing(ioctl_line(source)) as engine:
        engine.observe(Passing(assemble(source).symbols["debug"], times.extend))
        engine.run()
    assert len(times) == 50


def test_writing_tells_in_which_block_the_last_store_was() -> None:
    told: list[tuple[int, int]] = []
    with closing(ioctl_line(LOOP)) as engine:
        engine.observe(Writing(0x9002, 1, lambda clock, count: told.append((clock, count))))
        engine.run()
        behind, count = told[-1]
    with closing(ioctl_line(LOOP)) as again:
        again.run(max_instructions=behind - count)
        assert again.read_memory(0x9000, 4) == b"\2\0\0\0"
        again.run(max_instructions=count)
        assert again.read_memory(0x9000, 4) == b"\1\0\0\0"


def test_nothing_is_told_any_more_when_nobody_observes() -> None:
    log = TraceLog()
    with closing(ioctl_line(LOOP)) as engine:
        engine.observe(Tracing(log.add))
        engine.run(10)
        engine.observe()
        engine.run(10)
    assert [row.clock for row in log.trace()] == list(range(10))


def test_a_traced_run_is_found_again() -> None:
    with Vm() as vm:
        vm.load(assemble(LOOP))
        vm.cont(max_instructions=100)
        vm.record()
        vm.cont(max_instructions=200)
        end, rows = vm.regs(), len(vm.trace)
        vm.goto(150)
        assert len(vm.trace) == rows == 200
        vm.goto(300)
        assert vm.regs() == end
        vm.goto(150)
        vm.cont(max_instructions=10)
        assert [row.clock for row in vm.trace] == list(range(100, 160))


class Keeper:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Executed] = []

    def take(self, executed: Executed) -> None:
        self.told.append(executed)


@pytest.mark.parametrize("around", [lambda engine: engine, Recorded], ids=["bare", "recorded"])
def test_an_engine_that_is_closed_lets_go_of_who_observed_it(
    around: Callable[[Engine], Engine],
) -> None:
    engine = around(ioctl_line(LOOP))
    keeper = Keeper()
    gone = weakref.ref(keeper)
    engine.observe(Tracing(keeper.take))
    engine.run(max_instructions=5)
    assert sum(len(each.heads) for each in keeper.told) == 5
    engine.close()
    gc.disable()
    try:
        del keeper
        assert gone() is None
    finally:
        gc.enable()
