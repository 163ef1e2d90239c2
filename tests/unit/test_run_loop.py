"""The run loop over a toy engine: planting, stepping off, re-injection, and a backend's habits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kvmdbg.debugger.breakpoints import BreakpointTable
from kvmdbg.debugger.entering import Entrance
from kvmdbg.debugger.guest import Guest
from kvmdbg.debugger.limits import Limits
from kvmdbg.debugger.outcome import Outcome
from kvmdbg.debugger.running import Runner
from kvmdbg.debugger.stepping import Stepper
from kvmdbg.debugger.stop import StopKind
from kvmdbg.exits import DebugExit, Exit, ExitReason
from kvmdbg.history.timeline import Timeline
from kvmdbg.machine.ports import PortBus, TextConsole
from kvmdbg.uapi import GuestDbg
from kvmdbg.x86.debugreg import DR6_BS
from kvmdbg.x86.registers import RFLAGS

CODE = 0x8000
HANDLER = 0x8100
NOP, INT3, HLT, IRET, INC = b"\x90", b"\xcc", b"\xf4", b"\xcf", b"\xff\xc0"
OUT_E9, OUT_80, IN_80 = b"\xe6\xe9", b"\xe6\x80", b"\xe4\x80"
REP_STOSB = b"\xf3\xaa"
FOREVER = b"\xeb\xfe"


class Bench:
    """A runner with all that it needs, over one engine."""

    def __init__(self, engine: Any, code: bytes) -> None:
        self.engine = engine
        engine.write_memory(CODE, code)
        engine.write_memory(HANDLER, IRET)
        engine.handlers = {1: HANDLER, 3: HANDLER, 0x20: HANDLER}
        engine.regs = engine.regs._replace(rip=CODE)
        self.guest = Guest(engine)
        self.table = BreakpointTable(self.guest)
        self.console = TextConsole()
        bus = PortBus()
        self.console.attach_to(bus)
        self.timeline = Timeline()
        entrance = Entrance(self.guest, self.table, bus, self.timeline)
        self.runner = Runner(entrance)
        self.stepper = Stepper(self.guest, self.runner)

    def cont(self, most: int | None = None) -> Outcome:
        return self.runner.cont(Limits(self.engine, most))

    def step(self, count: int = 1) -> Outcome:
        return self.runner.step(count)

    @property
    def rip(self) -> int:
        return int(self.engine.regs.rip)

    @property
    def used(self) -> list[int]:
        """The control words given to KVM_SET_GUEST_DEBUG."""
        return [control for control, _ in self.engine.settings]


# Planting


def test_an_int3_is_in_memory_only_for_the_guest(toy: Any) -> None:
    bench = Bench(toy, NOP * 3 + HLT)
    bench.table.add(CODE + 1)
    bench.cont()
    assert toy.read_memory(CODE, 4) == NOP + INT3 + NOP + HLT
    assert bench.guest.read(CODE, 4) == NOP * 3 + HLT


def test_int3s_stay_planted_from_run_to_run(toy: Any) -> None:
    bench = Bench(toy, NOP * 8 + HLT)
    for offset in (2, 4):
        bench.table.add(CODE + offset)
    bench.cont()
    written: list[int] = []
    write = toy.write_memory

    def write_and_tell(address: int, data: bytes) -> None:
        written.append(address)
        write(address, data)

    toy.write_memory = write_and_tell
    bench.cont()
    assert set(written) == {CODE + 2}  # lifted and planted again to step off it


def test_deleting_a_breakpoint_takes_its_int3_back(toy: Any) -> None:
    bench = Bench(toy, NOP * 3 + HLT)
    bench.table.add(CODE + 1)
    bench.cont()
    assert bench.table.delete(1) == "breakpoint 1 deleted"
    assert toy.read_memory(CODE, 4) == NOP * 3 + HLT


def test_a_byte_that_the_guest_wrote_over_an_int3_is_left_alone(toy: Any) -> None:
    bench = Bench(toy, NOP * 3 + HLT)
    bench.table.add(CODE + 1)
    bench.cont()
    toy.write_memory(CODE + 1, HLT)
    assert "had overwritten its INT3" in bench.table.delete(1)
    assert toy.read_memory(CODE + 1, 1) == HLT


def test_an_int3_is_planted_again_where_the_guest_loaded_code_over_it(toy: Any) -> None:
    bench = Bench(toy, NOP * 4 + HLT)
    bench.table.add(CODE + 1)
    bench.table.add(CODE + 3)
    bench.cont()
    toy.write_memory(CODE, INC + NOP + NOP + HLT)
    bench.cont()
    assert toy.read_memory(CODE, 5) == INC[:1] + INT3 + NOP + INT3 + HLT
    assert bench.guest.read(CODE, 5) == INC + NOP + NOP + HLT


def test_what_the_host_writes_under_an_int3_becomes_the_guests_byte(toy: Any) -> None:
    bench = Bench(toy, NOP * 3 + HLT)
    bench.table.add(CODE + 1)
    bench.cont()
    bench.guest.write(CODE, INC + HLT)
    assert toy.read_memory(CODE, 3) == INC[:1] + INT3 + HLT
    bench.table.clear()
    assert toy.read_memory(CODE, 3) == INC + HLT


# Stepping off


@pytest.mark.parametrize("kind", ["sw", "hw"])
def test_going_on_from_a_breakpoint_executes_the_instruction_once(toy: Any, kind: str) -> None:
    bench = Bench(toy, NOP + INC + b"\xeb\xfb")  # nop; inc eax; jmp to the nop
    bench.table.add(CODE + 1, kind=kind)
    for round_ in range(5):
        outcome = bench.cont()
        assert (outcome.kind, bench.rip, toy.regs.rax) == (StopKind.BREAKPOINT, CODE + 1, round_)
    assert bench.table[1].hits == 5


def test_only_the_breakpoint_at_hand_is_out_of_the_way_during_the_step(toy: Any) -> None:
    bench = Bench(toy, INC + INC + HLT)
    bench.table.add(CODE, kind="hw")
    bench.table.add(CODE + 2, kind="hw")
    bench.cont()
    toy.settings.clear()
    bench.cont()
    stepping, running = (debugreg[7] & 0xFF for _, debugreg in toy.settings)
    assert (stepping, running) == (0b1000, 0b1010)


def test_two_breakpoints_in_a_row_both_stop(toy: Any) -> None:
    bench = Bench(toy, NOP * 3 + HLT)
    bench.table.add(CODE + 1)
    bench.table.add(CODE + 2)
    assert [bench.cont().hits, bench.cont().hits] == [(1,), (2,)]


def test_a_breakpoint_on_a_jump_to_itself_counts_each_round(toy: Any) -> None:
    bench = Bench(toy, FOREVER)
    bench.table.add(CODE)
    for _ in range(3):
        bench.cont()
    assert bench.table[1].hits == 3


@pytest.mark.parametrize("kind", ["sw", "hw"])
def test_a_breakpoint_on_a_rep_counts_once_for_all_its_rounds(toy: Any, kind: str) -> None:
    bench = Bench(toy, REP_STOSB + HLT)
    toy.regs = toy.regs._replace(rcx=20, rdi=0xA000)
    bench.table.add(CODE, kind=kind)
    bench.cont()
    assert bench.cont().kind is StopKind.HALT
    assert (bench.table[1].hits, toy.regs.rcx) == (1, 0)
    assert toy.read_memory(CODE + 2, 1) == HLT


def test_a_breakpoint_right_behind_a_rep_still_stops(toy: Any) -> None:
    bench = Bench(toy, REP_STOSB + NOP + HLT)
    toy.regs = toy.regs._replace(rcx=20, rdi=0xA000)
    bench.table.add(CODE)
    bench.table.add(CODE + 2)
    assert [bench.cont().hits, bench.cont().hits] == [(1,), (2,)]


def test_an_int3_and_a_debug_register_at_one_place_are_one_stop(toy: Any) -> None:
    bench = Bench(toy, NOP * 2 + HLT)
    bench.table.add(CODE + 1, kind="sw")
    bench.table.add(CODE + 1, kind="hw")
    outcome = bench.cont()
    assert outcome.hits == (1, 2)
    assert bench.cont().kind is StopKind.HALT


def test_a_breakpoint_at_the_first_instruction_stops_before_it(toy: Any) -> None:
    bench = Bench(toy, NOP + HLT)
    bench.table.add(CODE)
    assert (bench.cont().hits, toy.clock) == ((1,), 0)


def test_a_breakpoint_reached_by_a_budget_is_still_to_be_hit(toy: Any) -> None:
    bench = Bench(toy, NOP * 4 + HLT)
    bench.table.add(CODE + 2)
    assert (bench.cont(2).kind, bench.rip) == (StopKind.BUDGET, CODE + 2)
    assert bench.cont().hits == (1,)


def test_a_request_during_the_step_off_does_not_count_the_breakpoint_again(toy: Any) -> None:
    bench = Bench(toy, NOP + HLT)
    bench.table.add(CODE)
    bench.cont()
    bench.runner.request_stop()
    assert (bench.cont().kind, bench.rip) == (StopKind.INTERRUPTED, CODE)
    assert (bench.cont().kind, bench.table[1].hits) == (StopKind.HALT, 1)


# Conditions and counts


def test_a_condition_is_asked_at_each_arrival(toy: Any) -> None:
    bench = Bench(toy, INC + b"\xeb\xfc")
    bench.table.add(CODE, when="eax == 5 and hits == 6")
    assert bench.cont().hits == (1,)
    assert (toy.regs.rax, bench.table[1].hits) == (5, 6)


def test_an_arrival_by_step_counts_like_one_by_run(toy: Any) -> None:
    bench = Bench(toy, NOP * 3 + HLT)
    bench.table.add(CODE + 1)
    outcome = bench.step()
    assert (outcome.kind, outcome.hits) == (StopKind.BREAKPOINT, (1,))
    assert outcome.reasons == ("single step", f"breakpoint 1 (INT3) at {CODE + 1:#x}")
    assert bench.cont().kind is StopKind.HALT
    assert bench.table[1].hits == 1


def test_steps_end_at_a_breakpoint_and_say_how_many_were_done(toy: Any) -> None:
    bench = Bench(toy, NOP * 9 + HLT)
    bench.table.add(CODE + 3)
    assert bench.step(8).reasons[1] == "after 3 of 8 steps"
    assert bench.rip == CODE + 3


def test_steps_go_on_past_a_breakpoint_whose_condition_does_not_hold(toy: Any) -> None:
    bench = Bench(toy, NOP * 9 + HLT)
    bench.table.add(CODE + 3, when="eax == 1")
    assert (bench.step(8).kind, bench.rip) == (StopKind.STEP, CODE + 8)
    assert bench.table[1].hits == 1


def test_stepping_a_rep_does_not_count_its_breakpoint_again(toy: Any) -> None:
    bench = Bench(toy, NOP + REP_STOSB + HLT)
    toy.regs = toy.regs._replace(rcx=3, rdi=0xA000)
    bench.table.add(CODE + 1)
    bench.step()
    assert [bench.step().kind for _ in range(3)] == [StopKind.STEP] * 3
    assert (bench.rip, bench.table[1].hits) == (CODE + 3, 1)


def test_a_step_and_a_debug_register_reported_in_one_exit_count_once(toy: Any) -> None:
    bench = Bench(toy, NOP * 3 + HLT)
    bench.table.add(CODE + 1, kind="hw")
    run = toy.run

    def run_merging(*limits: Any) -> Exit:
        exit: Exit = run(*limits)
        return replace(exit, dr6=exit.dr6 | 1) if isinstance(exit, DebugExit) else exit

    toy.run = run_merging  # as real processors may do (spec 9)
    assert (bench.step().hits, bench.table[1].hits) == ((1,), 1)


def test_a_temporary_breakpoint_is_gone_after_its_stop(toy: Any) -> None:
    bench = Bench(toy, NOP * 2 + b"\xeb\xfc")
    bench.table.add(CODE + 1, temporary=True)
    assert bench.cont().hits == (1,)
    assert (len(bench.table), toy.read_memory(CODE + 1, 1)) == (0, NOP)
    assert bench.cont(100).kind is StopKind.BUDGET


# Data


WRITE_5 = b"\xc6\x04\x25" + (0x9000).to_bytes(4, "little") + b"\x05"


def test_a_watchpoint_stops_after_the_write_with_old_and_new(toy: Any) -> None:
    bench = Bench(toy, NOP + WRITE_5 + HLT)
    bench.table.add(0x9000, access="w", length=4)
    outcome = bench.cont()
    assert (outcome.kind, outcome.hits, bench.rip) == (StopKind.WATCHPOINT, (1,), CODE + 9)
    assert outcome.reasons == ("breakpoint 1 (DR0, write 4 bytes at 0x9000): 0x0 -> 0x5",)


def test_a_write_that_changes_nothing_is_told_as_that(toy: Any) -> None:
    bench = Bench(toy, WRITE_5 + WRITE_5 + HLT)
    bench.table.add(0x9000, access="w", length=1)
    bench.cont()
    assert bench.cont().reasons == (
        "breakpoint 1 (DR0, write 1 byte at 0x9000): 0x5 written again",
    )


def test_two_watchpoints_on_one_write_are_one_stop(toy: Any) -> None:
    bench = Bench(toy, WRITE_5 + HLT)
    bench.table.add(0x9000, access="w", length=4)
    bench.table.add(0x9000, access="rw", length=1)
    outcome = bench.cont()
    assert (outcome.hits, len(outcome.reasons)) == ((1, 2), 2)


def test_a_step_that_writes_and_arrives_gives_every_reason(toy: Any) -> None:
    bench = Bench(toy, WRITE_5 + HLT)
    bench.table.add(0x9000, access="w")
    bench.table.add(CODE + 8)
    outcome = bench.step()
    assert (outcome.kind, outcome.hits, len(outcome.reasons)) == (StopKind.WATCHPOINT, (1, 2), 3)
    assert bench.cont().kind is StopKind.HALT


def test_a_watchpoint_whose_condition_fails_to_hold_lets_the_guest_go_on(toy: Any) -> None:
    bench = Bench(toy, WRITE_5 + HLT)
    bench.table.add(0x9000, access="w", when="byte [0x9000] == 6")
    assert bench.cont().kind is StopKind.HALT
    assert bench.table[1].hits == 1


# What is the guest's own


def test_the_guests_own_int3_goes_back_to_it(toy: Any) -> None:
    bench = Bench(toy, NOP + INT3 + NOP * 2 + HLT)
    bench.table.add(CODE + 3)
    assert bench.cont().hits == (1,)
    assert toy.delivered == [(3, CODE + 2)]


def test_without_int3_breakpoints_the_guests_int3_never_comes_to_the_host(toy: Any) -> None:
    bench = Bench(toy, INT3 + HLT)
    bench.cont()
    assert bench.timeline.counts() == {ExitReason.HLT: 1}
    assert toy.delivered == [(3, CODE + 1)]


def test_an_int3_below_a_breakpoint_is_still_the_guests(toy: Any) -> None:
    bench = Bench(toy, NOP + INT3 + HLT)
    bench.table.add(CODE + 1)
    assert bench.cont().hits == (1,)
    assert bench.cont().kind is StopKind.HALT
    assert toy.delivered == [(3, CODE + 2)]


def test_an_int3_below_a_breakpoint_is_the_guests_also_when_others_are_planted(toy: Any) -> None:
    bench = Bench(toy, NOP + INT3 + NOP + HLT)
    bench.table.add(CODE + 1)
    bench.table.add(CODE + 2)
    assert [bench.cont().hits, bench.cont().hits] == [(1,), (2,)]
    assert (bench.table[1].hits, toy.delivered) == (1, [(3, CODE + 2)])


def test_what_the_guest_is_owed_is_dropped_when_the_host_moves_rip(toy: Any) -> None:
    bench = Bench(toy, NOP * 8 + HLT)
    bench.table.add(0x9000, access="w")
    toy.regs = toy.regs._replace(rflags=int(RFLAGS.TF) | 2)
    bench.cont(1)
    toy.set_regs(toy.get_regs()._replace(rip=CODE + 4, rflags=2))
    bench.cont(1)
    assert toy.delivered == []


def test_the_guests_trap_flag_under_a_watchpoint_is_given_back_with_dr6(toy: Any) -> None:
    bench = Bench(toy, NOP + NOP + HLT)
    bench.table.add(0x9000, access="w")
    toy.regs = toy.regs._replace(rflags=int(RFLAGS.TF) | 2)
    bench.cont(1)
    bench.cont(1)
    assert toy.delivered[0] == (1, CODE + 1)
    assert toy.get_debugregs().dr6 & DR6_BS


def test_stepping_off_a_breakpoint_keeps_the_guests_own_trap(toy: Any) -> None:
    bench = Bench(toy, NOP + NOP + HLT)
    bench.table.add(CODE)
    toy.regs = toy.regs._replace(rflags=int(RFLAGS.TF) | 2)
    bench.cont()
    bench.cont(1)  # the step off the breakpoint hides the guest's trap behind the host's
    assert toy.regs.rflags & RFLAGS.TF
    bench.cont(1)
    assert toy.delivered == [(1, CODE + 1)]


# Ports, and a backend's habits (spec 11)


def test_what_the_guest_prints_is_collected_without_a_stop(toy: Any) -> None:
    bench = Bench(toy, OUT_E9 + OUT_E9 + HLT)
    toy.regs = toy.regs._replace(rax=0x41)
    assert bench.cont().kind is StopKind.HALT
    assert bench.console.text == "AA"
    assert bench.timeline.counts()[ExitReason.IO] == 2


def test_a_port_without_a_device_reads_as_ones(toy: Any) -> None:
    bench = Bench(toy, IN_80 + HLT)
    bench.cont()
    assert toy.regs.rax & 0xFF == 0xFF


def test_one_step_over_a_port_access_is_complete(toy: Any) -> None:
    bench = Bench(toy, OUT_E9 + NOP + HLT)
    outcome = bench.step()
    assert (bench.rip, outcome.kind) == (CODE + 2, StopKind.STEP)
    assert outcome.reasons == ("single step", "OUT 0x0 to port 0xe9")


def test_a_step_says_that_no_device_was_there(toy: Any) -> None:
    bench = Bench(toy, IN_80 + HLT)
    assert bench.step().reasons[1] == "IN from port 0x80, no device there"


def test_no_step_is_lost_where_rip_moves_before_the_access(emulating: Any) -> None:
    bench = Bench(emulating, OUT_E9 + INC + HLT)
    outcome = bench.step()
    assert (bench.rip, emulating.regs.rax, outcome.kind) == (CODE + 2, 0, StopKind.IO)
    assert bench.console.text == "\0"


def test_many_steps_count_right_where_rip_moves_before_the_access(emulating: Any) -> None:
    bench = Bench(emulating, (OUT_E9 + INC) * 4 + HLT)
    bench.step(6)
    assert (bench.rip, emulating.regs.rax) == (CODE + 12, 3)


@pytest.mark.parametrize("engine", ["toy", "emulating"])
def test_a_breakpoint_on_a_port_access_stops_before_it_and_goes_on_once(
    engine: str, request: pytest.FixtureRequest
) -> None:
    bench = Bench(request.getfixturevalue(engine), NOP + OUT_E9 + HLT)
    bench.table.add(CODE + 1)
    assert (bench.cont().hits, bench.console.text) == ((1,), "")
    assert (bench.cont().kind, bench.console.text) == (StopKind.HALT, "\0")


# Vectors


def test_a_vector_stops_before_it_is_taken(toy: Any) -> None:
    bench = Bench(toy, NOP + b"\xcd\x20" + HLT)
    bench.table.add_vector(0x20)
    outcome = bench.cont()
    assert (outcome.kind, outcome.hits, bench.rip) == (StopKind.VECTOR, (1,), CODE + 1)
    assert outcome.reasons == ("the guest raised INT 20h (vector breakpoint 1)",)
    assert toy.delivered == []


def test_going_on_from_a_vector_takes_it(toy: Any) -> None:
    bench = Bench(toy, b"\xcd\x20" + HLT)
    bench.table.add_vector(0x20)
    bench.cont()
    assert bench.cont().kind is StopKind.HALT
    assert toy.delivered == [(0x20, CODE + 2)]


# Arming


def test_without_breakpoints_the_guest_runs_without_any_debugging(toy: Any) -> None:
    bench = Bench(toy, NOP + HLT)
    bench.cont()
    assert bench.used == [0]


def test_guest_debug_is_set_before_every_stepped_run(toy: Any) -> None:
    bench = Bench(toy, NOP * 5)
    bench.step(5)
    assert bench.used == [int(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)] * 5


def test_only_what_is_needed_is_switched_on(toy: Any) -> None:
    bench = Bench(toy, NOP + HLT)
    bench.table.add(0x9000, access="w")
    bench.cont()
    assert bench.used == [int(GuestDbg.ENABLE | GuestDbg.USE_HW_BP)]


def test_every_exit_is_a_row_of_the_timeline(toy: Any) -> None:
    bench = Bench(toy, NOP * 3 + OUT_E9 + HLT)
    bench.step(4)
    assert [(row.reason, row.pc) for row in bench.timeline] == [
        (ExitReason.DEBUG, CODE + 1),
        (ExitReason.DEBUG, CODE + 2),
        (ExitReason.DEBUG, CODE + 3),
        (ExitReason.IO, CODE + 3),
        (ExitReason.DEBUG, CODE + 5),
    ]


# Ends


def test_a_budget_is_exact_also_across_port_accesses(toy: Any) -> None:
    bench = Bench(toy, OUT_E9 * 4 + NOP * 9 + HLT)
    outcome = bench.cont(6)
    assert (toy.clock, outcome.reasons) == (6, ("budget of 6 instructions used up",))


def test_a_budget_is_exact_across_a_breakpoint_that_does_not_stop(toy: Any) -> None:
    bench = Bench(toy, INC + b"\xeb\xfc")
    bench.table.add(CODE, when="0 == 1")
    bench.cont(10)
    assert toy.clock == 10


def test_a_request_ends_the_run(toy: Any) -> None:
    bench = Bench(toy, FOREVER)
    bench.runner.request_stop()
    assert bench.cont().kind is StopKind.INTERRUPTED


def test_a_request_that_came_too_late_does_not_end_the_next_run(toy: Any) -> None:
    bench = Bench(toy, NOP + HLT + NOP + HLT)
    bench.table.add(CODE)
    run = toy.run

    def run_and_request(*limits: Any) -> Exit:
        exit: Exit = run(*limits)
        bench.runner.request_stop()  # when this run has ended already
        return exit

    toy.run = run_and_request
    bench.cont()
    toy.run = run
    bench.table.clear()
    assert bench.cont().kind is StopKind.HALT


def test_an_exit_that_nobody_knows_is_a_stop_with_its_number(toy: Any) -> None:
    bench = Bench(toy, NOP)
    toy.failing = True
    outcome = bench.cont()
    assert (outcome.kind, "(99)" in outcome.reasons[0]) == (StopKind.ERROR, True)


# Over, out, until


def call(target: int, at: int) -> bytes:
    return b"\xe8" + (target - at - 5).to_bytes(4, "little", signed=True)


CALLING = call(CODE + 0x40, CODE) + HLT
FUNCTION = INC + INC + b"\xc3"


@pytest.fixture
def calling(toy: Any) -> Bench:
    toy.write_memory(CODE + 0x40, FUNCTION)
    return Bench(toy, CALLING)


def test_over_runs_a_call_to_its_end(calling: Bench) -> None:
    outcome = calling.stepper.over(1)
    assert (calling.rip, calling.engine.regs.rax) == (CODE + 5, 2)
    assert outcome.reasons == ("stepped over call 0x8040",)
    assert calling.engine.read_memory(CODE + 5, 1) == HLT


def test_a_breakpoint_inside_a_call_ends_the_step_over(calling: Bench) -> None:
    calling.table.add(CODE + 0x42)
    assert calling.stepper.over(1).hits == (1,)
    assert calling.rip == CODE + 0x42


def test_over_is_one_step_where_there_is_no_call(toy: Any) -> None:
    bench = Bench(toy, NOP * 2)
    assert bench.stepper.over(1).reasons == ("single step",)
    assert bench.rip == CODE + 1


@pytest.mark.parametrize("inside", [0, 1, 2])
def test_out_leaves_the_function_from_wherever_it_is(calling: Bench, inside: int) -> None:
    calling.step(1 + inside)
    calling.stepper.out()
    assert (calling.rip, calling.engine.regs.rax) == (CODE + 5, 2)


def test_until_an_address_is_run_not_stepped(toy: Any) -> None:
    bench = Bench(toy, NOP * 9 + HLT)
    outcome = bench.stepper.until(CODE + 7)
    assert (bench.rip, outcome.kind, len(bench.timeline)) == (CODE + 7, StopKind.STEP, 1)
    assert bench.engine.read_memory(CODE + 7, 1) == NOP


def test_until_the_present_address_goes_all_the_way_round(toy: Any) -> None:
    bench = Bench(toy, INC + b"\xeb\xfc")
    bench.stepper.until(CODE)
    assert (bench.rip, toy.regs.rax) == (CODE, 1)


def test_until_a_condition_holds(toy: Any) -> None:
    bench = Bench(toy, INC + b"\xeb\xfc")
    outcome = bench.stepper.until("eax == 4")
    assert (toy.regs.rax, outcome.reasons[0]) == (4, "eax == 4 holds")


def test_until_a_condition_ends_at_a_breakpoint_too(toy: Any) -> None:
    bench = Bench(toy, INC + b"\xeb\xfc")
    bench.table.add(CODE + 2, when="eax == 2")
    assert bench.stepper.until("eax == 4").hits == (1,)
