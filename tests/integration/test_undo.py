"""An edit is taken back, and everything is as it was in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmdbg import Vm
from kvmdbg.debugger.answers import WriterKind
from kvmdbg.errors import BadInput, NotRecorded
from tests.integration.test_diff import everything, loaded


@pytest.fixture
def vm() -> Iterator[Vm]:
    with loaded() as vm:
        yield vm


def seen(vm: Vm) -> tuple[object, ...]:
    """The guest, without the recording's books."""
    events = vm.vcpu.get_vcpu_events()
    return vm.regs(), vm.sregs(), vm.debugregs(), events, vm.memory[0:0x10000], vm.vcpu.clock


def test_edits_are_taken_back_one_after_the_other(vm: Vm) -> None:
    vm.step(2)
    states = [seen(vm)]
    vm.set_regs(rax=7)
    states.append(seen(vm))
    vm.write(vm.address("counter"), b"\x09\x08")
    states.append(seen(vm))
    vm.vcpu.interrupt(0x20)
    states.append(seen(vm))
    vm.vcpu.set_debugregs(vm.debugregs()._replace(db=(5, 0, 0, 0)))
    for state in reversed(states):
        vm.undo()
        assert seen(vm) == state
    with pytest.raises(BadInput, match="nothing to undo"):
        vm.undo()


def test_it_is_told_what_was_undone(vm: Vm) -> None:
    vm.step(2)
    vm.set_regs(rbx=7)
    found = vm.undo()
    assert (found.clock, found.calls) == (2, ("set_regs",))
    assert found.diff.registers == {"rbx": (7, 0)}


def test_a_write_across_pages_is_one_edit(vm: Vm) -> None:
    vm.memory[0x20FFE:0x20FFF] = b"z"
    vm.write(0x20FFE, b"abcd")
    vm.undo()
    assert vm.read(0x20FFE, 4) == b"z\0\0\0"


def test_after_a_run_it_is_refused_with_the_way_to_in_front_of_the_edit(vm: Vm) -> None:
    vm.step()
    vm.set_regs(rbx=7)
    vm.step()
    with pytest.raises(BadInput, match=r"%vm goto 1 leads there, in front of that edit"):
        vm.undo()
    assert vm.goto(1).regs.rbx == 0


def test_where_there_was_no_stop_the_way_leads_behind_the_edit(vm: Vm) -> None:
    vm.set_regs(rbx=7)
    vm.step()
    with pytest.raises(BadInput, match=r"%vm goto 0 leads there, and %vm undo takes it back"):
        vm.undo()
    assert vm.goto(0).regs.rbx == 7
    vm.undo()
    assert vm.regs().rbx == 0
    assert vm.cont().regs.rbx == 0


def test_planted_breakpoints_stay(vm: Vm) -> None:
    vm.bp("loop")
    vm.cont()
    code = vm.read(vm.address("loop"), 8)
    vm.write(vm.address("loop"), b"\x90" * 7)
    vm.undo()
    assert vm.read(vm.address("loop"), 8) == code
    assert vm.cont().location == "loop"


def test_a_deleted_breakpoint_does_not_come_back(vm: Vm) -> None:
    vm.bp("loop")
    vm.cont()
    vm.set_regs(rbx=1)
    vm.breakpoints.delete(1)
    vm.undo()
    assert vm.cont().location == "done+1"


def test_in_the_past_an_undone_edit_gives_the_future_back(vm: Vm) -> None:
    vm.cont()
    end = seen(vm)
    vm.goto(4)
    before = everything(vm)["timeline"]
    vm.set_regs(rcx=9)
    vm.undo()
    assert everything(vm)["timeline"] == before
    vm.goto(17)
    assert seen(vm) == end


def test_what_runs_after_an_undo_is_recorded_right(vm: Vm) -> None:
    vm.step(3)
    vm.set_regs(rcx=9)
    vm.undo()
    vm.cont()
    end = seen(vm)
    vm.goto(2)
    vm.goto(vm.when("done").first or 0)
    vm.goto(17)
    assert seen(vm) == end


def test_the_loading_of_an_opened_recording_is_no_edit(vm: Vm, tmp_path: Path) -> None:
    vm.step(3)
    vm.save(tmp_path / "way")
    with Vm.open(tmp_path / "way", live=True) as opened:
        assert opened.who("done").kind is WriterKind.NOBODY
        with pytest.raises(BadInput, match="nothing to undo"):
            opened.undo()
        opened.set_regs(rbx=4)
        opened.undo()
        assert opened.regs() == vm.regs()


def test_an_opened_replay_answers_but_cannot_be_undone(vm: Vm, tmp_path: Path) -> None:
    vm.cont()
    vm.save(tmp_path / "way")
    with Vm.open(tmp_path / "way") as opened:
        assert opened.who("counter") == vm.who("counter")
        assert list(opened.when("loop")) == list(vm.when("loop"))
        with pytest.raises(NotRecorded, match="cannot be changed"):
            opened.undo()


def test_a_setting_given_by_hand_is_taken_back_before_an_older_edit() -> None:
    with Vm() as vm:
        vm.load(b"\x90\xf4")
        vm.set_regs(rax=5)
        vm.debug(3)
        vm.debug(1)
        assert vm.undo().calls == ("set_guest_debug",)
        assert vm.debug().control == 3
        vm.undo()
        assert vm.debug().control == 0
        assert vm.undo().diff.registers == {"rax": (5, 0)}


def test_a_setting_under_which_the_guest_has_run_is_not_taken_back() -> None:
    with Vm() as vm:
        vm.load(b"\x90\xf4")
        vm.debug(3)
        vm.enter()
        with pytest.raises(BadInput):
            vm.undo()
        assert vm.debug().control == 3
