"""A run that lasts says how far it is, under the cell and in the views, and then says no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.jupyter.live.progress import Progress, words
from kvmdbg.jupyter.running_note import RunningNote
from kvmdbg.jupyter.session import Session


class Place:
    """Keeps what is written, and whether it was taken away."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.erased = 0

    def show(self, line: str) -> None:
        self.lines.append(line)

    def erase(self) -> None:
        self.erased += 1


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm() as made:
        made.load(assemble("x: inc rax\njmp x"))
        yield made


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def note(vm: Vm, place: Place) -> RunningNote:
    return RunningNote(Session({"vm": vm}), place)


def test_a_long_run_is_told_with_instructions_speed_and_how_to_stop_it(
    vm: Vm, note: RunningNote, place: Place
) -> None:
    note.begin()
    vm.cont(timeout=1.6)
    note.end()
    assert place.lines
    assert all("instructions" in line and "/s" in line for line in place.lines)
    assert all("stop button" in line for line in place.lines)


def test_what_was_told_goes_when_the_run_is_over(vm: Vm, note: RunningNote, place: Place) -> None:
    note.begin()
    vm.cont(timeout=1.6)
    note.end()
    end = time.monotonic() + 5
    while not place.erased and time.monotonic() < end:
        time.sleep(0.01)
    assert place.erased == 1


def test_a_short_run_is_not_told(vm: Vm, note: RunningNote, place: Place) -> None:
    note.begin()
    vm.cont(max_instructions=1000)
    note.end()
    time.sleep(0.6)
    assert place.lines == []


def test_many_short_runs_are_not_told(vm: Vm, note: RunningNote, place: Place) -> None:
    note.begin()
    end = time.monotonic() + 1.3
    while time.monotonic() < end:
        vm.step()
    note.end()
    assert place.lines == []


def test_without_a_clock_only_the_time_is_told() -> None:
    assert words(1.0, -1, None) == (
        "running for 1.0 s; to stop: the stop button, or Interrupt (I, I)"
    )


def test_progress_counts_what_was_executed_since_it_began(vm: Vm) -> None:
    vm.step(10)
    progress = Progress(vm)
    runner = threading.Thread(target=lambda: vm.cont(max_instructions=1000))
    runner.start()
    runner.join()
    assert progress.look()["executed"] == 1000
