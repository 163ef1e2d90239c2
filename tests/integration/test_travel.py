"""Back in time and forward again on the embedded engine: stops, clocks, bookmarks, branches."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy
import pytest

from kvmdbg import Stop, Vm, assemble
from kvmdbg.debugger.stop import StopKind
from kvmdbg.errors import BadInput, EngineUnavailable, UnknownName, VmInterrupted
from kvmdbg.exits import DebugExit, IntrExit
from kvmdbg.history.recorded import Recorded
from kvmdbg.uapi import GuestDbg
from tests.guests.counting import LONG, LOOP
from tests.guests.pressing import stop_pressed


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm() as vm:
        vm.load(assemble(LOOP))
        yield vm


def seen(vm: Vm) -> tuple[object, ...]:
    """All of a VM that must come back, breakpoints' bytes left out."""
    events = vm.vcpu.get_vcpu_events()
    state = vm.regs(), vm.sregs(), vm.debugregs(), events, vm.vcpu.clock, vm.now
    return (*state, vm.memory[0:0x10000], vm.console, len(vm.timeline))


def stops(vm: Vm, count: int) -> list[tuple[object, ...]]:
    """Breakpoint stops, as they are seen."""
    found = []
    for _ in range(count):
        vm.cont()
        found.append(seen(vm))
    return found


# Where to


def test_step_back_undoes_registers_flags_memory_and_output(vm: Vm) -> None:
    vm.step(3)
    before = seen(vm)
    vm.step(3)
    assert vm.console == "A"
    vm.step_back(3)
    assert seen(vm) == before


def test_the_stop_shows_what_changed_on_the_way_back(vm: Vm) -> None:
    vm.step(2)
    stop = vm.step_back()
    assert stop.kind is StopKind.TRAVEL
    assert [(c.old, c.new) for c in stop.changes.memory] == [(b"\x06", b"\x05")]
    assert (stop.clock, stop.executed) == (1, -1)
    assert stop.cause == "back at clock 1; the recording goes on to clock 2"


def test_back_goes_from_stop_to_stop_and_says_what_each_was(vm: Vm) -> None:
    vm.bp("loop")
    first, second, _ = stops(vm, 3)
    assert "breakpoint 1 (INT3) at loop" in vm.back().cause
    assert seen(vm) == second
    vm.back()
    assert seen(vm) == first
    with pytest.raises(BadInput, match="no stop before this moment"):
        vm.back()


def test_back_undoes_an_edit_after_the_last_stop(vm: Vm) -> None:
    vm.step()
    was = seen(vm)
    vm.set_regs(rcx=9)
    vm.back()
    assert seen(vm) == was


def test_back_finds_a_watchpoints_hit(vm: Vm) -> None:
    vm.bp("counter", access="w", length=4)
    first, _ = stops(vm, 2)
    assert "counter" in vm.back().cause
    assert seen(vm) == first


def test_goto_leads_to_any_clock_of_a_free_run(vm: Vm) -> None:
    with Vm() as stepped:
        stepped.load(assemble(LOOP))
        walked = [stepped.step().regs for _ in range(12)]
    vm.cont()
    for clock in (7, 2, 12, 1):
        assert vm.goto(clock).regs == walked[clock - 1]


def test_goto_leads_forward_to_the_end_of_the_recording(vm: Vm) -> None:
    vm.cont()
    end = seen(vm)
    vm.goto(4)
    assert "forward at clock" in vm.goto(vm.last_stop.clock + 13 if vm.last_stop else 0).cause
    assert seen(vm) == end


def test_a_bookmark_names_a_moment(vm: Vm) -> None:
    vm.step(4)
    assert vm.bookmark("here") == 4
    was = seen(vm)
    vm.cont()
    vm.goto("here")
    assert seen(vm) == was


def test_an_edit_at_the_end_of_the_recording_can_be_gone_to(vm: Vm) -> None:
    vm.step(2)
    vm.bookmark("before")
    vm.set_regs(rcx=9)
    vm.bookmark("after")
    assert vm.goto("before").regs.rcx == 3
    assert vm.goto("after").regs.rcx == 9


def test_a_bookmark_of_the_future_can_be_gone_to(vm: Vm) -> None:
    vm.cont()
    end = seen(vm)
    vm.bookmark("end")
    vm.goto(1)
    assert vm.bookmarks == {"end": 17}
    vm.goto("end")
    assert seen(vm) == end


def test_moments_outside_the_recording_are_refused_in_one_line(vm: Vm) -> None:
    vm.step(2)
    for clock, words in ((-1, "begins at clock 0"), (3, "ends at clock 2")):
        with pytest.raises(BadInput, match=words):
            vm.goto(clock)
    with pytest.raises(BadInput, match="before that"):
        vm.step_back(3)
    with pytest.raises(BadInput, match="from 1"):
        vm.step_back(0)
    with pytest.raises(UnknownName, match='no bookmark "x"'):
        vm.goto("x")
    with pytest.raises(BadInput, match="begins with a letter"):
        vm.bookmark("1")


def test_a_vm_that_does_not_record_says_so() -> None:
    with Vm(record=False) as vm, pytest.raises(BadInput, match="does not record"):
        vm.back()


# Forward again


def test_running_forward_again_comes_to_the_same_end_and_appends_no_exit_twice(vm: Vm) -> None:
    vm.bp("loop")
    before = stops(vm, 4)
    vm.goto(1)
    assert stops(vm, 3) == before[1:]
    assert [row.clock for row in vm.timeline] == sorted(row.clock for row in vm.timeline)


def test_a_breakpoint_set_in_the_past_is_hit_on_the_way_forward(vm: Vm) -> None:
    vm.cont()
    vm.goto(0)
    vm.bp("done")
    assert vm.cont().location == "done"


def test_the_future_stays_while_one_steps_through_the_past(vm: Vm) -> None:
    vm.cont()
    end = seen(vm)
    vm.goto(5)
    vm.step(3)
    vm.goto(17)
    assert seen(vm) == end


def test_back_in_the_past_finds_the_steps_done_there(vm: Vm) -> None:
    vm.cont()
    vm.goto(5)
    vm.step()
    was = vm.regs()
    vm.step()
    assert vm.back().regs == was


def test_bookmarks_of_the_future_stay_when_the_guest_runs_past_its_end(vm: Vm) -> None:
    vm.cont(max_instructions=9)
    vm.bookmark("end")
    was = vm.regs()
    vm.goto(2)
    assert "branch" not in vm.cont().cause
    assert vm.goto("end").regs == was


def test_an_edit_of_the_past_begins_a_new_branch_and_says_so(vm: Vm) -> None:
    vm.cont()
    vm.bookmark("end")
    vm.goto(4)
    vm.set_regs(rcx=1)
    stop = vm.cont()
    assert vm.console == "A"
    assert "a new branch since clock 4: the old future, up to clock 17, is dropped" in stop.cause
    assert "bookmark end with it" in stop.cause
    assert vm.back().cause.startswith("back at clock 4; the recording goes on")
    with pytest.raises(BadInput, match="ends at clock"):
        vm.goto(17)


def test_a_branch_is_recorded_as_the_way_that_it_is(vm: Vm) -> None:
    vm.cont()
    vm.goto(4)
    vm.write(vm.address("counter"), b"\x50")
    vm.step(2)
    was = seen(vm)
    vm.cont()
    vm.back()
    assert seen(vm) == was


def test_an_edit_that_is_not_repeated_begins_a_new_branch(vm: Vm) -> None:
    vm.step(2)
    vm.set_regs(rcx=1)
    vm.cont()
    vm.goto(0)
    assert "edit at clock 2 was not repeated" in vm.cont().cause
    assert vm.console == "AAA"


def test_deleting_a_breakpoint_in_the_past_is_no_edit(vm: Vm) -> None:
    vm.bp("loop")
    end = stops(vm, 3)[-1]
    vm.back()
    vm.breakpoints.delete(1)
    vm.goto(11)
    assert seen(vm) == end


def test_a_breakpoint_that_was_just_stepped_off_does_not_show_in_memory_afterwards(vm: Vm) -> None:
    vm.bp("done")
    vm.cont()
    vm.step()
    was = seen(vm)
    vm.step(2)
    vm.back()
    assert seen(vm) == was


def test_an_injection_by_hand_in_the_past_is_an_edit(vm: Vm) -> None:
    vm.cont()
    vm.goto(4)
    vm.debug(int(GuestDbg.ENABLE | GuestDbg.INJECT_DB))
    assert "new branch" in vm.step().cause


# What is under way


def test_a_guests_own_trap_is_still_handed_back_after_travel() -> None:
    text = "start: int3\nnop\nhlt\nhandler: inc ebx\niretq"
    with Vm() as vm:
        vm.load(assemble(text))
        vm.set_gate(3, "handler")
        ends = []
        for _ in range(2):
            vm.step(2)
            ends.append(seen(vm))
            vm.goto(0)
        assert ends[0] == ends[1]


def test_a_trap_that_the_guest_is_owed_at_a_stop_is_owed_there_again() -> None:
    text = """
start:  pushf
        or qword ptr [rsp], 0x100
        popf
        mov dword ptr [counter], eax
        nop
        hlt
handler: inc ebx
        and qword ptr [rsp + 16], ~0x100
        iretq
        .align 8
counter: .long 5
"""
    with Vm() as vm:
        vm.load(assemble(text))
        vm.set_gate(1, "handler")
        vm.bp("counter", access="w", length=4)
        vm.cont()
        vm.bookmark("hit")
        vm.cont()
        end = seen(vm)
        vm.goto("hit")
        vm.cont()
        assert seen(vm) == end


def test_a_stop_between_steps_is_found_again_when_more_steps_followed(vm: Vm) -> None:
    engine = vm.vcpu
    assert isinstance(engine, Recorded)
    control, debugreg = int(GuestDbg.ENABLE | GuestDbg.SINGLESTEP), (0,) * 8
    for _ in range(2):
        engine.set_guest_debug(control, debugreg)
        engine.run()
    where, was = engine.position, engine.get_regs()
    engine.set_guest_debug(control, debugreg)
    engine.run()
    engine.go(where)
    assert engine.get_regs() == was


def test_a_device_is_what_it_was() -> None:
    text = """
start:  mov dx, 0x3fb
        mov al, 0x83
        out dx, al
        in al, dx
        mov bl, al
        mov al, 3
        out dx, al
        in al, dx
        hlt
"""
    with Vm() as vm:
        vm.load(assemble(text))
        vm.cont()
        vm.goto(3)
        assert vm.step().regs.rax & 0xFF == 0x83


def test_rows_that_somebody_looks_at_stay_and_the_timeline_goes_back(vm: Vm) -> None:
    vm.step(3)
    view = numpy.frombuffer(vm.timeline.column("clock"), dtype="q")
    vm.goto(2)
    assert [row.clock for row in vm.timeline] == [1, 2]
    assert list(view) == [1, 2, 3]


def test_a_reset_begins_the_recording_anew(vm: Vm) -> None:
    vm.step(3)
    vm.bookmark("old")
    vm.reset()
    assert vm.bookmarks == {}
    vm.step()
    with pytest.raises(BadInput, match="ends at clock 1"):
        vm.goto(2)


def test_an_irqchip_begins_the_recording_anew(vm: Vm) -> None:
    vm.step(3)
    vm.create_irqchip()
    vm.step()
    with pytest.raises(BadInput, match="begins at clock 3"):
        vm.goto(2)


# Long ways


def test_a_long_run_goes_back_exactly() -> None:
    with Vm() as vm:
        vm.load(assemble(LONG))
        vm.cont(max_instructions=30_000_001)
        was = seen(vm)
        vm.cont(max_instructions=20_000_000)
        end = seen(vm)
        vm.back()
        assert seen(vm) == was
        vm.goto(50_000_001)
        assert seen(vm) == end
        assert vm.goto(30_000_000).regs.rcx == 30_000_000


def test_steps_in_a_row_are_one_entry_of_the_journal(vm: Vm) -> None:
    vm.load(assemble(LONG))
    engine = vm.vcpu
    assert isinstance(engine, Recorded)
    before = len(engine.journal)
    vm.step(10_000)
    assert len(engine.journal) - before < 10


def test_ctrl_c_on_the_way_leaves_a_vm_that_can_go_on() -> None:
    with Vm() as vm:
        vm.load(assemble(LONG))
        vm.cont(max_instructions=50_000_000)
        vm.vcpu.checkpoints._kept[1:] = []  # type: ignore[attr-defined]
        with stop_pressed(vm), pytest.raises(VmInterrupted):
            vm.goto(49_999_999)
        assert vm.last_stop is not None
        assert 0 < vm.last_stop.clock < 49_999_999
        assert vm.goto(50_000_000).clock == 50_000_000


def test_a_stop_asked_for_on_the_way_leaves_a_vm_that_can_go_on() -> None:
    with Vm() as vm:
        vm.load(assemble(LONG))
        vm.cont(max_instructions=100_000_000)
        vm.vcpu.checkpoints._kept[1:] = []  # type: ignore[attr-defined]
        timer = threading.Timer(0.1, vm.request_stop)
        timer.start()
        stop = vm.goto(99_999_999)
        timer.join()
        assert 0 < stop.clock < 99_999_999
        assert vm.goto(100_000_000).clock == 100_000_000


def test_a_run_that_was_ended_from_outside_is_found_again(vm: Vm) -> None:
    vm.load(assemble(LONG))
    stop = vm.cont(timeout=0.02)
    assert stop.exit == IntrExit("timeout")
    was = seen(vm)
    vm.step(3)
    vm.back()
    assert seen(vm) == was


def test_an_engine_without_a_clock_refuses_in_one_line(
    vm: Vm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Vm(record=False) as plain:
        monkeypatch.setattr(type(plain.vcpu), "capabilities", frozenset())
        with pytest.raises(EngineUnavailable, match="counts no instructions"):
            plain.step_back()


def test_a_stop_in_the_past_is_the_last_stop(vm: Vm) -> None:
    vm.step(2)
    stop = vm.step_back()
    assert isinstance(stop, Stop)
    assert vm.last_stop is stop


def test_steps_on_the_bare_line_are_one_entry_and_every_one_is_found_again() -> None:
    with Vm(mode="long", ram=1 << 20) as vm:
        flags = "push rax\npopf\nand eax, 0xd5"
        vm.load(assemble(f"mov ecx, 9\nagain: add eax, ecx\n{flags}\ndec ecx\njnz again\nhlt"))
        vcpu = vm.vcpu
        vcpu.set_guest_debug(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)
        seen = {vcpu.clock: vcpu.get_regs()}
        while isinstance(vcpu.run(), DebugExit):
            seen[vcpu.clock] = vcpu.get_regs()
        for clock in sorted(seen, key=lambda c: c * 7919 % 101):
            vm.goto(clock)
            assert vcpu.get_regs() == seen[clock]


def test_the_beginning_is_found_again_after_a_step_from_inside_a_run() -> None:
    with Vm(ram=1 << 20) as vm:
        vm.load(assemble("mov ecx, 5\nagain: loop again\nhlt"))
        vm.cont()
        vm.goto(3)
        vm.step()
        assert vm.diff(0).clocks == (0, 4)
        assert vm.goto(0).clock == 0
