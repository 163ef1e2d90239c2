"""A guest that is stepped in a loop lets other threads run: the views' and those of clicks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import perf_counter

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.debugger import breathing

LOOP = "start: inc eax\njmp start"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was paused, each time; without the pauses."""
    found: list[float] = []
    monkeypatch.setattr(breathing, "sleep", found.append)
    return found


@pytest.fixture
def somebody() -> Iterator[None]:
    """Another thread, which waits."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm() as made:
        made.load(assemble(LOOP))
        yield made


@pytest.mark.usefixtures("somebody")
def test_steps_in_a_loop_pause_now_and_then(vm: Vm, pauses: list[float]) -> None:
    end = perf_counter() + 5 * breathing.EVERY
    while perf_counter() < end:
        vm.step()
    assert 1 <= len(pauses) <= 5


@pytest.mark.usefixtures("somebody")
def test_a_run_of_many_exits_pauses_now_and_then(vm: Vm, pauses: list[float]) -> None:
    vm.bp("start", when="rax == 2000")
    began = perf_counter()
    vm.cont()
    assert perf_counter() - began > 2 * breathing.EVERY, "too quick to tell"
    assert pauses


def test_without_other_threads_nothing_pauses(
    vm: Vm, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    end = perf_counter() + 3 * breathing.EVERY
    while perf_counter() < end:
        vm.step()
    assert pauses == []
