"""Recordings in files: saved, opened as a replay or live, and the same to the last bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvmdbg import Vm, assemble
from kvmdbg.debugger.stop import StopKind
from kvmdbg.engines import open_engine
from kvmdbg.engines.replay import ReplayEngine
from kvmdbg.errors import (
    BadInput,
    EngineUnavailable,
    NotRecorded,
    RecordingError,
    VmInterrupted,
)
from kvmdbg.history import recording
from kvmdbg.history.recorded import Recorded
from kvmdbg.uapi import GuestDbg
from tests.guests import travels
from tests.guests.comparable import programs
from tests.guests.counting import LOOP
from tests.guests.travels import ACTIONS, PORTS, act, seen
from tests.guests.wild import RAM

BUSY = """
start:  mov rax, 0x8123
        mov dr0, rax
        mov rbx, dr0
        xor eax, eax
        in al, 0xe9
        out 0xe9, al
        mov ecx, 200
        mov edi, 0x9000
        rep stosb
        ud2
back:   mov dword ptr [0x9100], 7
        int3
after:  mov ecx, 50000
spin:   add rdx, rcx
        dec ecx
        jnz spin
        mov al, 0x42
        out 0xe9, al
        hlt
handler: add qword ptr [rsp], 2
trap:   iretq
"""

TIMER = """
start:  mov eax, 0x20
        mov edx, 0
        mov ecx, 0x80f
        mov eax, 0x1ff
        mov edi, 0xfee000f0
        mov dword ptr [rdi], eax
        mov edi, 0xfee00320
        mov dword ptr [rdi], 0x20040
        mov edi, 0xfee003e0
        mov dword ptr [rdi], 0xb
        mov edi, 0xfee00380
        mov dword ptr [rdi], 777
        sti
wait:   hlt
        jmp wait
tick:   inc dword ptr [0x9000]
        mov edi, 0xfee000b0
        mov dword ptr [rdi], 0
        iretq
"""


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm(ram=1 << 20) as vm:
        vm.load(assemble(LOOP))
        yield vm


def looks(vm: Vm) -> tuple[object, ...]:
    """All that can be seen of a VM but its host's times."""
    rows = [row._replace(host_time=0.0) for row in vm.timeline]
    state = vm.regs(), vm.sregs(), vm.debugregs(), vm.vcpu.get_vcpu_events(), vm.vcpu.clock, vm.now
    mine = vm.symbols, vm.bookmarks, vm.program, [str(each) for each in vm.breakpoints]
    return (*state, vm.irqchip, vm.memory[:], vm.console, rows, *mine)


def busy(profile: str | None = None) -> Vm:
    """A guest with its own debug registers, devices, REP, exceptions, breakpoints and edits."""
    vm = Vm(ram=1 << 20, profile=profile)
    vm.load(assemble(BUSY))
    vm.set_gate(6, "handler")
    vm.set_gate(3, "trap")
    vm.bp("back")
    vm.bp(0x9100, kind="hw", access="w", length=4)
    vm.bp_vector(6)
    vm.step(5)
    vm.bookmark("early")
    for _ in range(4):
        vm.cont(max_instructions=500)
    vm.set_regs(rdx=99)
    vm.cont(max_instructions=70_000)
    vm.bookmark("late")
    vm.cont(timeout=5)
    return vm


def timer() -> Vm:
    vm = Vm(ram=1 << 20)
    vm.create_irqchip()
    vm.load(assemble(TIMER))
    vm.set_gate(0x40, "tick")
    vm.step(3)
    for _ in range(3):
        vm.cont(max_instructions=100)
    return vm


# There and back


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("make", [busy, timer, lambda: busy("svm"), lambda: busy("emu618")])
def test_an_opened_recording_is_the_saved_vm_at_every_clock(
    make: Any, live: bool, tmp_path: Path
) -> None:
    dice = random.Random(1)
    with make() as vm:
        size = vm.save(tmp_path / "it.kvmdbg")
        assert size == (tmp_path / "it.kvmdbg").stat().st_size
        with Vm.open(tmp_path / "it.kvmdbg", live) as other:
            assert looks(other) == looks(vm)
            clocks = [0, vm.vcpu.clock, *(dice.randint(0, vm.vcpu.clock) for _ in range(12))]
            for clock in clocks:
                vm.goto(clock)
                other.goto(clock)
                assert looks(other) == looks(vm), clock


def test_the_guest_of_these_tests_does_what_it_should() -> None:
    with busy() as vm:
        assert vm.console == "\\xe9B"
        assert vm.debugregs().db[0] == 0x8123
        assert {row.exception for row in vm.timeline} >= {1, 3, 6}
        assert vm.memory[0x9100] == 7
    with timer() as vm:
        assert int.from_bytes(vm.memory[0x9000:0x9004], "little") > 2


@pytest.mark.parametrize("live", [False, True])
def test_stops_and_bookmarks_can_be_gone_to(vm: Vm, live: bool, tmp_path: Path) -> None:
    vm.bp("loop")
    for _ in range(3):
        vm.cont()
    vm.bookmark("third")
    vm.cont()
    vm.save(tmp_path / "it.kvmdbg")
    with Vm.open(tmp_path / "it.kvmdbg", live) as other:
        assert other.bookmarks == vm.bookmarks
        assert other.goto("third").cause == vm.goto("third").cause
        assert looks(other) == looks(vm)
        assert (other.back().cause, other.back().cause) == (vm.back().cause, vm.back().cause)
        assert looks(other) == looks(vm)
        assert other.step_back().regs == vm.step_back().regs


def test_the_last_stop_says_where_the_recording_ends(vm: Vm, tmp_path: Path) -> None:
    vm.bp("loop")
    vm.cont()
    vm.save(tmp_path / "it.kvmdbg")
    with Vm.open(tmp_path / "it.kvmdbg") as other:
        stop = other.last_stop
        assert stop is not None
        assert (stop.kind, stop.clock) == (StopKind.TRAVEL, 1)
        assert stop.cause == "opened at clock 1: breakpoint 1 (INT3) at loop"
        assert stop.changes.memory == ()


def test_another_process_finds_the_same_state(tmp_path: Path) -> None:
    with busy() as vm:
        vm.save(tmp_path / "it.kvmdbg")
        vm.goto(1234)
        mine = recording.digest(vm.vcpu)
    code = (
        "import sys; from kvmdbg import Vm; from kvmdbg.history import recording\n"
        "vm = Vm.open(sys.argv[1]); vm.goto(1234); print(recording.digest(vm.vcpu))"
    )
    file = str(tmp_path / "it.kvmdbg")
    answer = subprocess.run(
        [sys.executable, "-c", code, file], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == mine


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(("real", "protected", "long")).flatmap(
        lambda mode: st.tuples(st.just(mode), programs(mode, faults=mode == "long"))
    ),
    ACTIONS,
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_random_guests_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory,
    guest: tuple[str, str],
    actions: list[tuple[int, int]],
    live: bool,
    dice: random.Random,
) -> None:
    (mode, source), file = guest, tmp_path_factory.mktemp("random") / "it.kvmdbg"
    with Vm(mode=mode, ram=1 << 20) as vm:
        vm.load(assemble(source.replace("\n", "\n" + PORTS, 1), mode=mode))
        if "handler:" in source:
            vm.set_gate(6, "handler")
        for action, number in actions:
            act(vm, action, number)
        vm.save(file)
        with Vm.open(file, live) as other:
            assert seen(other) == seen(vm)
            for clock in [dice.randint(0, vm.vcpu.clock) for _ in range(4)]:
                vm.goto(clock)
                other.goto(clock)
                assert seen(other) == seen(vm), clock


# Saving


def test_saving_changes_nothing(vm: Vm, tmp_path: Path) -> None:
    vm.step(7)
    vm.goto(4)
    before = looks(vm)
    vm.save(tmp_path / "it.kvmdbg")
    assert looks(vm) == before
    assert vm.goto(7).clock == 7


def test_the_recorded_future_is_saved_from_the_past(vm: Vm, tmp_path: Path) -> None:
    vm.step(7)
    vm.bookmark("end")
    end = looks(vm)
    vm.goto(2)
    vm.step(2)
    vm.save(tmp_path / "it.kvmdbg")
    assert vm.vcpu.clock == 4
    with Vm.open(tmp_path / "it.kvmdbg") as other:
        assert looks(other) == end


def test_a_branch_is_saved_without_the_future_that_it_left(vm: Vm, tmp_path: Path) -> None:
    vm.step(7)
    vm.goto(2)
    vm.set_regs(rax=0x42)
    vm.step()
    vm.save(tmp_path / "it.kvmdbg")
    with Vm.open(tmp_path / "it.kvmdbg") as other:
        assert looks(other) == looks(vm)
        with pytest.raises(BadInput, match="ends at clock 3"):
            other.goto(4)


def test_an_empty_vm_can_be_saved(tmp_path: Path) -> None:
    with Vm(mode="real", ram=1 << 16) as vm:
        vm.save(tmp_path / "it.kvmdbg")
        with Vm.open(tmp_path / "it.kvmdbg", live=True) as other:
            assert looks(other) == looks(vm)


def test_bytes_without_a_program_and_an_irqchip_made_late_can_be_saved(tmp_path: Path) -> None:
    with Vm(ram=1 << 16) as vm:
        vm.load(b"\x90\x90\xf4")
        vm.step()
        vm.create_irqchip()
        vm.irq_line(1, True)
        vm.step()
        vm.save(tmp_path / "it.kvmdbg")
        for live in (False, True):
            with Vm.open(tmp_path / "it.kvmdbg", live) as other:
                assert looks(other) == looks(vm)
                assert other.goto(1).clock == 1


def test_a_vm_that_was_reset_after_its_irqchip_was_made_can_be_saved(tmp_path: Path) -> None:
    with timer() as vm:
        vm.reset()
        vm.step(5)
        vm.save(tmp_path / "it.kvmdbg")
        with Vm.open(tmp_path / "it.kvmdbg") as other:
            assert looks(other) == looks(vm)


def test_a_ram_too_odd_to_begin_with_is_said_in_one_line(vm: Vm, tmp_path: Path) -> None:
    vm.step()
    snapshot = vm.vcpu.snapshot()
    vm.create_irqchip()
    vm.vcpu.restore(snapshot)
    with pytest.raises(RecordingError, match=r"snapshot that was put back by hand; vm\.reset"):
        vm.save(tmp_path / "it.kvmdbg")
    vm.reset()
    assert vm.save(tmp_path / "it.kvmdbg") > 0


def test_without_a_recording_there_is_nothing_to_save(tmp_path: Path) -> None:
    with Vm(record=False) as vm, pytest.raises(BadInput, match="does not record"):
        vm.save(tmp_path / "it.kvmdbg")


def test_an_engine_of_ones_own_cannot_be_replayed(tmp_path: Path) -> None:
    def mine(ram: int) -> Any:
        engine = open_engine("unicorn", ram)
        engine.name = "mine"
        return engine

    with Vm(engine=mine) as vm, pytest.raises(EngineUnavailable, match='"mine" cannot be replayed'):
        vm.save(tmp_path / "it.kvmdbg")


def test_long_runs_are_small_files_soon_written(tmp_path: Path) -> None:
    with Vm(ram=1 << 20) as vm:
        vm.load(assemble("mov ecx, 8000000\nl: dec ecx\njnz l\nhlt"))
        assert vm.cont().clock == 16_000_002
        assert vm.save(tmp_path / "it.kvmdbg") < 20_000


def test_the_same_way_is_the_same_file_but_for_its_times(vm: Vm, tmp_path: Path) -> None:
    vm.step(3)
    vm.save(tmp_path / "a.kvmdbg")
    vm.save(tmp_path / "b.kvmdbg")
    assert (tmp_path / "a.kvmdbg").read_bytes() == (tmp_path / "b.kvmdbg").read_bytes()


# A replay


@pytest.fixture
def replay(vm: Vm, tmp_path: Path) -> Iterator[Vm]:
    vm.bp("loop")
    vm.cont()
    vm.cont()
    vm.cont()
    vm.save(tmp_path / "it.kvmdbg")
    with Vm.open(tmp_path / "it.kvmdbg") as other:
        yield other


def test_a_replay_is_known_by_its_engine(replay: Vm) -> None:
    assert (replay.engine_name, replay.opened_by) == ("replay", "unicorn")


def test_a_replay_goes_its_way_again_command_by_command(replay: Vm, vm: Vm) -> None:
    end = vm.regs()
    replay.goto(0)
    for _ in range(3):
        stop = replay.cont()
        assert stop.kind is StopKind.BREAKPOINT
    assert stop.regs == end


@pytest.mark.parametrize(
    "change",
    [
        lambda vm: vm.set_regs(rax=1),
        lambda vm: vm.write(0x9000, b"x"),
        lambda vm: vm.cont(),
        lambda vm: vm.step(),
        lambda vm: vm.load(b"\xf4"),
        lambda vm: vm.reset(),
        lambda vm: vm.create_irqchip(),
        lambda vm: vm.vcpu.nmi(),
        lambda vm: vm.enter(),
        lambda vm: vm.vcpu.set_sregs(vm.sregs()._replace(cr2=5)),
        lambda vm: vm.debug(int(GuestDbg.ENABLE | GuestDbg.INJECT_DB)),
    ],
)
def test_what_is_not_in_the_recording_is_refused_in_one_line(
    replay: Vm, change: Any, tmp_path: Path
) -> None:
    before = recording.digest(replay.vcpu)
    with pytest.raises(NotRecorded) as refused:
        change(replay)
    line = str(refused.value)
    assert "\n" not in line
    file = tmp_path / "it.kvmdbg"
    assert f'Vm.open("{file}", live=True) or %vm open {file} --live' in line
    assert recording.digest(replay.vcpu) == before
    assert replay.back().clock == 6


def test_in_the_past_of_a_replay_nothing_is_changed_either(replay: Vm) -> None:
    replay.goto(3)
    with pytest.raises(NotRecorded, match=r"not in the recording, which goes on with run\(\)"):
        replay.set_regs(rax=1)
    assert replay.goto(11).clock == 11


def test_a_fault_in_a_replay_is_explained(tmp_path: Path) -> None:
    with Vm(ram=1 << 20) as vm:
        vm.load(b"\x0f\x0b")
        vm.cont()
        vm.save(tmp_path / "it.kvmdbg")
        with Vm.open(tmp_path / "it.kvmdbg") as other:
            assert [str(s) for s in other.why().steps] == [str(s) for s in vm.why().steps]
            other.goto(0)
            assert "triple fault" in other.cont().cause
            assert other.goto(0).clock == 0


def test_bookmarks_of_a_replay_can_be_saved(replay: Vm, tmp_path: Path) -> None:
    replay.goto(3)
    replay.bookmark("mine")
    replay.save(tmp_path / "again.kvmdbg")
    with Vm.open(tmp_path / "again.kvmdbg") as again:
        assert again.bookmarks == {"mine": 3}
        assert again.vcpu.clock == 11


def test_a_live_recording_can_be_gone_on_with_and_branched(replay: Vm, tmp_path: Path) -> None:
    with Vm.open(tmp_path / "it.kvmdbg", live=True) as other:
        other.breakpoints.clear()
        assert other.cont().kind is StopKind.HALT
        assert other.console == "AAA"
        other.goto(3)
        other.set_regs(rcx=1)
        assert "a new branch" in other.cont().cause
        assert other.console == "A"
        other.reset()
        other.cont()
        assert other.console == "AAA"


def test_a_live_recording_loads_another_program(replay: Vm, tmp_path: Path) -> None:
    with Vm.open(tmp_path / "it.kvmdbg", live=True) as other:
        other.load(b"\xf4")
        other.breakpoints.clear()
        assert other.cont().kind is StopKind.HALT


# Files that are not what they should be


def test_a_file_of_somebody_elses_is_never_overwritten(vm: Vm, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    for content in (b"", b"precious", b"PK\3\4" + bytes(100)):
        file.write_bytes(content)
        with pytest.raises(RecordingError, match="is there already and is no recording"):
            vm.save(file)
        assert file.read_bytes() == content
    with pytest.raises(RecordingError, match="is there already and is no recording"):
        vm.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_recording_is_replaced_by_a_newer_one(vm: Vm, tmp_path: Path) -> None:
    vm.save(tmp_path / "it.kvmdbg")
    vm.step(5)
    vm.save(tmp_path / "it.kvmdbg")
    with Vm.open(tmp_path / "it.kvmdbg") as other:
        assert other.vcpu.clock == 5


def test_a_save_that_fails_leaves_the_old_recording_and_nothing_else(
    vm: Vm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "it.kvmdbg"
    vm.save(file)
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RecordingError, match=r"it\.kvmdbg: cannot be written: No space left"):
        vm.save(file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_does_not_exist_is_said(vm: Vm, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be written: No such file or directory"):
        vm.save(tmp_path / "no" / "it.kvmdbg")


def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello, this is no recording at all, but a text")
    for name, why in (("text", "no zip archive"), ("none", "No such file"), (".", "no file")):
        with pytest.raises(RecordingError, match=why):
            Vm.open(tmp_path / name)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "it.kvmdbg"
    with Vm(ram=1 << 16) as vm:
        vm.load(assemble(LOOP))
        vm.bp("loop", when="ecx == 2")
        vm.cont()
        vm.step(2)
        vm.bookmark("x")
        vm.save(path)
    return path


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_damage_is_found(file: Path, tmp_path: Path, data: st.DataObject) -> None:
    whole = file.read_bytes()
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start, min(len(whole), start + 40)))
    changed = whole[:start] + data.draw(st.binary(max_size=40)) + whole[end:]
    (tmp_path / "damaged").write_bytes(changed)
    if changed == whole:
        return
    with pytest.raises(RecordingError) as refused:
        Vm.open(tmp_path / "damaged")
    assert "\n" not in str(refused.value)


def test_a_replay_that_ends_elsewhere_says_so_with_both_versions(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvmdbg.history.recording.digest", lambda engine: "0" * 64)
    with pytest.raises(RecordingError) as refused:
        Vm.open(file)
    line = str(refused.value)
    assert line.startswith(f"{file}: its guest goes another way here (kvmdbg ")
    assert line.endswith("its registers or memory are not what they were")
    assert line.count("unicorn 2.1.") == 2


def test_opening_can_be_interrupted(tmp_path: Path) -> None:
    with Vm(ram=1 << 20) as vm:
        vm.load(assemble("mov ecx, 60000000\nl: dec ecx\njnz l\nhlt"))
        vm.cont()
        vm.save(tmp_path / "it.kvmdbg")
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(VmInterrupted, match="was not opened to its end"):
        Vm.open(tmp_path / "it.kvmdbg")
    timer.join()


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("number", [0, 2, 3])
def test_wild_guests_on_the_bare_ioctl_line_come_back_as_they_were(number: int, live: bool) -> None:
    engine, dice = travels.recorded(1, number)
    with closing(engine):
        moments = list(travels.live(engine, dice))
        columns, begin = recording.put(engine.kept())
        end, last = engine.position, travels.state(engine)
    kept, way = recording.take(columns, begin, RAM)
    machine = open_engine("unicorn", RAM)
    with closing(Recorded(machine if live else ReplayEngine(machine, way))) as other:
        assert other.adopt(kept)
        assert other.go(end) == end
        assert travels.state(other) == last
        for position, was in dice.sample(moments, min(3, len(moments))):
            other.rejoin()
            assert other.go(position) == position
            assert travels.state(other) == was, position
