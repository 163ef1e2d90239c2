"""Two moments compared, and two runs: what differs, and that looking changes nothing."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kvmdbg
from kvmdbg import Vm, assemble
from kvmdbg.debugger.stop import MemoryChange
from kvmdbg.errors import BadInput, UnknownName, VmBusy, VmInterrupted
from kvmdbg.history import journaling
from kvmdbg.history.journal import Tail
from kvmdbg.history.recorded import Recorded
from tests.guests.counting import LONG, LOOP
from tests.guests.pressing import stop_pressed


def loaded(source: str = LOOP, ram: int = 1 << 20) -> Vm:
    vm = Vm(ram=ram)
    vm.load(assemble(source))
    return vm


@pytest.fixture
def vm() -> Iterator[Vm]:
    with loaded() as vm:
        yield vm


def everything(vm: Vm) -> dict[str, object]:
    """A VM down to its books; host time and checkpoints left out."""
    engine, travel = vm.vcpu, vm._travel
    assert isinstance(engine, Recorded)
    position, ahead, later = engine.position, engine.ahead, travel._later
    return {
        "registers": (vm.regs(), vm.sregs(), vm.debugregs(), engine.get_vcpu_events()),
        "ram": bytes(engine.ram),
        "planted": dict(vm._guest.planter.originals),
        "console": vm.console,
        "timeline": [row[:7] for row in vm.timeline],
        "setting": (vm.debug(), engine.setting),
        "exit": vm.last_exit,
        "position": position,
        "journal": [engine.journal[n] for n in range(len(engine.journal))],
        "edits": (engine.first_edit(), engine.planted_at(position)),
        "ahead": ahead and (*ahead[:2], *entries(engine, ahead.entries), *ahead[4:]),
        "later": later and ([row[:7] for row in later.rows], *later[2:6]),
        "marks": list(travel._marks),
        "bookmarks": (dict(travel.bookmarks), vm.bookmarks),
        "landed": travel._landed,
    }


def entries(engine: Recorded, tail: Tail) -> tuple[object, ...]:
    """Recorded calls with their arguments, which are kept elsewhere."""
    arguments = [engine.journal._arguments[place] for place in tail.places]
    return tail.calls, tail.after, arguments


# What differs


def test_a_diff_names_registers_flags_and_bytes(vm: Vm) -> None:
    vm.cont()
    found = vm.diff(0, 2)
    counter = vm.address("counter")
    assert found.registers == {"rcx": (0, 3), "rip": (0x8000, vm.address("loop") + 7)}
    assert found.flags == {"PF": (0, 1)}
    assert found.memory == (MemoryChange(counter, b"\5", b"\6"),)
    assert (found.system, found.debugregs, found.more) == ({}, {}, 0)
    assert (found.clocks, found.sides) == ((0, 2), ("clock 0", "clock 2"))
    assert found.pcs == (0x8000, vm.address("loop") + 7)


def test_the_other_way_round_the_pairs_are_turned(vm: Vm) -> None:
    vm.cont()
    one, two = vm.diff(2, 7), vm.diff(7, 2)
    assert two.registers == {name: (b, a) for name, (a, b) in one.registers.items()}
    assert [(c.old, c.new) for c in two.memory] == [(c.new, c.old) for c in one.memory]


def test_a_moment_does_not_differ_from_itself(vm: Vm) -> None:
    vm.cont()
    assert vm.diff(4, 4).equal
    assert not vm.diff(4, 5).equal


def test_without_a_second_moment_it_is_now(vm: Vm) -> None:
    vm.step(2)
    vm.set_regs(rbx=9)
    found = vm.diff(2)
    assert found.registers == {"rbx": (0, 9)}
    assert found.sides == ("clock 2", "now (clock 2)")


def test_bookmarks_name_moments_also_of_the_future(vm: Vm) -> None:
    vm.step(2)
    vm.bookmark("two")
    vm.cont()
    vm.bookmark("end")
    vm.goto(1)
    found = vm.diff("two", "end")
    assert found.clocks == (2, 17)
    assert found.sides == ("two (clock 2)", "end (clock 17)")
    assert found.registers["rcx"] == (3, 0)


def test_a_clock_of_the_future_means_the_stop_there_as_for_goto(vm: Vm) -> None:
    vm.step(2)
    vm.set_regs(rcx=1)
    vm.cont()
    vm.goto(0)
    assert vm.diff(0, 2).registers["rcx"] == (0, 3)
    assert vm.goto(2).regs.rcx == 3


def test_system_and_debug_registers_are_compared(vm: Vm) -> None:
    vm.step()
    vm.vcpu.set_sregs(vm.sregs()._replace(cr2=5))
    vm.vcpu.set_debugregs(vm.debugregs()._replace(db=(0, 0x9000, 0, 0), dr7=0x404))
    found = vm.diff(0)
    assert found.system == {"cr2": (0, 5)}
    assert found.debugregs == {"dr1": (0, 0x9000), "dr7": (0x400, 0x404)}


def test_the_bytes_of_breakpoints_are_no_difference(vm: Vm) -> None:
    vm.step()
    vm.bp("done")
    vm.step()
    assert [change.address for change in vm.diff(1).memory] == [vm.address("counter")]


def test_a_stretch_of_bytes_across_pages_is_one(vm: Vm) -> None:
    vm.step()
    vm.memory[0x20FFE:0x21002] = b"abcd"
    assert vm.diff(1).memory == (MemoryChange(0x20FFE, bytes(4), b"abcd"),)


def test_what_is_too_much_is_counted(vm: Vm) -> None:
    vm.step()
    vm.memory[0x20000:0x21000] = b"a\0" * 0x800
    vm.memory[0x30000:0x30002] = b"bb"
    found = vm.diff(1)
    assert (len(found.memory), found.more) == (1000, 0x800 + 1 - 1000)


def test_moments_outside_the_recording_are_refused_as_goto_refuses_them(vm: Vm) -> None:
    vm.step(2)
    with pytest.raises(BadInput, match="ends at clock 2; 3 is beyond that"):
        vm.diff(0, 3)
    with pytest.raises(BadInput, match="begins at clock 0; -1 is before that"):
        vm.diff(-1)
    vm.bookmark("here")
    with pytest.raises(UnknownName, match='no bookmark "her"; did you mean "here"'):
        vm.diff("her")
    with Vm(record=False) as plain, pytest.raises(BadInput, match="does not record"):
        plain.diff(0)


def test_after_an_edit_in_the_past_the_old_future_is_no_moment(vm: Vm) -> None:
    vm.cont()
    vm.bookmark("end")
    vm.goto(4)
    vm.set_regs(rbx=1)
    with pytest.raises(BadInput, match="ends at clock 4"):
        vm.diff(5)
    with pytest.raises(UnknownName, match='no bookmark "end"'):
        vm.diff("end")
    assert "a new branch since clock 4" in vm.step().cause


def test_a_kept_look_stays_while_the_guest_goes_on(vm: Vm) -> None:
    vm.cont()
    counter = vm.address("counter")
    with vm.visiting() as visit:
        kept = visit.look(2).kept()
        visit.look(17)
        page = kept.page(counter & ~0xFFF)
    assert page[counter & 0xFFF] == 6


# Nobody notices


def test_after_a_refused_moment_the_vm_stands_where_it_stood(vm: Vm) -> None:
    vm.cont()
    vm.goto(5)
    vm.step()
    was = everything(vm)
    with pytest.raises(BadInput):
        vm.diff(17, 18)
    assert everything(vm) == was


@pytest.mark.parametrize(("a", "b"), [(0, 3), (3, 17), (17, 6), (6, 7), (12, 11)])
def test_looking_from_the_middle_of_the_past_changes_nothing(vm: Vm, a: int, b: int) -> None:
    vm.bp("loop")
    vm.cont()
    vm.cont()
    vm.breakpoints.delete(1)
    vm.cont()
    vm.bookmark("end")
    vm.goto(4)
    vm.step(2)
    vm.bookmark("walked")
    was = everything(vm)
    vm.diff(a, b)
    assert everything(vm) == was
    assert vm.goto("end").clock == 17


def test_the_same_guest_is_seen_as_by_going_there(vm: Vm) -> None:
    vm.cont()
    with vm.visiting() as visit:
        looks = [visit.look(clock)[:5] for clock in range(18)]
    for clock, look in enumerate(looks):
        stop = vm.goto(clock)
        assert look == (clock, stop.pc, stop.regs, stop.sregs, stop.debugregs)


def test_nobody_else_may_use_the_vm_meanwhile(vm: Vm) -> None:
    errors: list[Exception] = []

    def ask() -> None:
        try:
            vm.regs()
        except VmBusy as error:
            errors.append(error)

    vm.step(2)
    with vm.visiting() as visit:
        visit.look(1)
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert len(errors) == 1
    assert vm.regs().rcx == 3


ACTIONS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 20)), min_size=2, max_size=9)


def act(vm: Vm, action: int, number: int) -> None:
    """One thing that a user does; a moment that is not there is left alone."""
    try:
        if action < 2:
            vm.step(number % 4 + 1)
        elif action == 2:
            vm.cont(max_instructions=number + 1)
        elif action < 5:
            vm.goto(number)
        elif action == 5:
            vm.bookmark(f"m{number % 3}")
        elif action == 6:
            vm.goto(f"m{number % 3}")
        elif action == 7:
            vm.set_regs(rdx=number)
        else:
            vm.bp(("loop", "done")[number % 2], temporary=True)
    except BadInput:
        return


@settings(max_examples=25)
@given(ACTIONS, st.randoms(use_true_random=False))
def test_of_two_equal_lives_the_one_that_looks_around_goes_the_same_way(
    actions: list[tuple[int, int]], dice: random.Random
) -> None:
    # A run is noted in slices of host time: on a loaded machine two equal runs have other slices.
    whole = patch.object(journaling, "_SLICE", 60)
    with whole, loaded(ram=1 << 16) as one, loaded(ram=1 << 16) as two:
        for action, number in actions:
            for vm in (one, two):
                act(vm, action, number)
            with two.visiting() as visit:
                for _ in range(3):
                    visit.look(dice.randint(visit.first, visit.last))
                    visit.look(dice.choice([None, *sorted(visit.bookmarks)]))
            assert everything(two) == everything(one)


def test_ctrl_c_comes_when_the_guest_stands_here_again() -> None:
    with loaded(LONG) as vm:
        vm.cont(max_instructions=50_000_000)
        was = everything(vm)
        vm.vcpu.checkpoints._kept[1:] = []  # type: ignore[attr-defined]
        ended = pytest.raises(VmInterrupted, match="was ended; the VM is intact")
        with stop_pressed(vm), ended:
            vm.diff(49_999_999, 49_999_998)
        assert everything(vm) == was


def test_ctrl_c_on_the_way_back_is_not_forgotten_and_not_obeyed_too_early(vm: Vm) -> None:
    vm.step(9)
    was = everything(vm)

    def look() -> None:
        with vm.visiting() as visit:
            visit.look(2)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(VmInterrupted):
        look()
    assert everything(vm) == was


def test_a_long_run_is_compared_and_stays() -> None:
    with loaded(LONG) as vm:
        vm.cont(max_instructions=9_000_001)
        was = everything(vm)
        found = vm.diff(1, 6_000_001)
        assert found.registers["rcx"] == (40_000_000, 38_000_000)
        assert everything(vm) == was


# Two runs


def lives(first: int, second: int, ends: tuple[int, int] = (60, 60)) -> tuple[Vm, Vm]:
    """Two runs of one guest, each with another value put into RBX at clock 9."""
    made = loaded(LONG), loaded(LONG)
    for vm, value, end in zip(made, (first, second), ends, strict=True):
        vm.step(9)
        vm.set_regs(rbx=value)
        vm.cont(max_instructions=end - 9)
    return made


def test_the_first_divergence_is_where_the_runs_part() -> None:
    one, two = lives(3, 4)
    with one, two:
        was = everything(one), everything(two)
        found = kvmdbg.first_divergence(one, two)
        assert found is not None
        assert (found.clock, found.diff.registers) == (10, {"rbx": (3, 4)})
        assert found.pc == one.goto(9).pc
        one.goto(60)
        assert everything(two) == was[1]


def test_ctrl_c_leaves_both_runs_where_they_stood() -> None:
    with loaded(LONG) as one, loaded(LONG) as two:
        for vm in (one, two):
            vm.cont(max_instructions=50_000_000)
            vm.vcpu.checkpoints._kept[1:] = []  # type: ignore[attr-defined]
        was = everything(one), everything(two)
        with stop_pressed(one), pytest.raises(VmInterrupted, match="the VM is intact"):
            kvmdbg.first_divergence(one, two)
        assert (everything(one), everything(two)) == was


def test_two_equal_runs_do_not_part() -> None:
    one, two = lives(3, 3)
    with one, two:
        was = everything(one), everything(two)
        assert kvmdbg.first_divergence(one, two) is None
        assert (everything(one), everything(two)) == was


def test_the_shorter_recording_is_as_far_as_runs_are_compared() -> None:
    one, two = lives(3, 3, (60, 30))
    with one, two:
        assert kvmdbg.first_divergence(one, two) is None


def test_runs_that_differ_from_the_beginning_part_there() -> None:
    with loaded() as one, loaded(LONG) as two:
        found = kvmdbg.first_divergence(one, two)
        assert found is not None
        assert (found.clock, found.pc) == (0, None)
        assert found.diff.memory


def test_breakpoints_in_one_of_two_runs_are_no_divergence() -> None:
    with loaded() as one, loaded() as two:
        one.bp("loop")
        for _ in range(4):
            one.cont()
        two.cont()
        assert kvmdbg.first_divergence(one, two) is None


def test_a_byte_of_memory_is_a_divergence_too() -> None:
    with loaded() as one, loaded() as two:
        for vm in (one, two):
            vm.step(5)
        two.memory[0xF0000] = 1
        for vm in (one, two):
            vm.cont()
        found = kvmdbg.first_divergence(one, two)
        assert found is not None
        assert (found.clock, found.diff.memory) == (6, (MemoryChange(0xF0000, b"\0", b"\1"),))


def test_a_vm_does_not_part_from_itself(vm: Vm) -> None:
    with pytest.raises(BadInput, match="give two"):
        kvmdbg.first_divergence(vm, vm)


def test_vms_of_different_sizes_are_not_compared(vm: Vm) -> None:
    with (
        loaded(ram=1 << 16) as other,
        pytest.raises(BadInput, match="different sizes of RAM"),
    ):
        kvmdbg.first_divergence(vm, other)
