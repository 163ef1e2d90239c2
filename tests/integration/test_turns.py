"""Threads that share a VM take turns: nobody sees half a command, nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.debugger.turns import Turns
from kvmdbg.errors import VmBusy


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm() as made:
        made.load(assemble("again: inc rax\ninc rbx\njmp again"))
        yield made


def in_thread(work: object) -> threading.Thread:
    thread = threading.Thread(target=work)  # type: ignore[arg-type]  # any callable
    thread.start()
    return thread


def test_two_threads_may_step_one_vm(vm: Vm) -> None:
    errors: list[BaseException] = []

    def steps() -> None:
        try:
            for _ in range(50):
                vm.step()
        except BaseException as error:
            errors.append(error)

    threads = [in_thread(steps) for _ in range(2)]
    for thread in threads:
        thread.join()
    assert errors == []
    assert vm.vcpu.clock == 100


def test_looking_from_a_thread_never_disturbs_a_cell_that_steps(vm: Vm) -> None:
    done = threading.Event()
    looks = 0

    def look() -> None:
        nonlocal looks
        while not done.is_set():
            with vm.turn():
                regs = vm.regs()
                assert regs.rbx in (regs.rax, regs.rax - 1)
                looks += 1

    watcher = in_thread(look)
    for _ in range(300):
        vm.step()
    done.set()
    watcher.join()
    assert looks > 10


def test_who_waits_is_next_though_the_other_never_pauses() -> None:
    turns, waited = Turns(), []
    done = threading.Event()

    def wait() -> None:
        start = time.perf_counter()
        assert turns.take(5)
        waited.append(time.perf_counter() - start)
        turns.give_back()
        done.set()

    thread = None
    while not done.is_set():
        assert turns.take(5)
        thread = thread or in_thread(wait)
        time.sleep(0.001)
        turns.give_back()
    assert waited[0] < 1


def test_a_turn_may_be_taken_again_by_its_owner() -> None:
    turns = Turns()
    assert turns.take()
    assert turns.take()
    turns.give_back()
    taken: list[bool] = []
    in_thread(lambda: taken.append(turns.take(0.01))).join()
    assert taken == [False]
    turns.give_back()
    in_thread(lambda: taken.append(turns.take(0.01))).join()
    assert taken == [False, True]


def test_who_only_looks_is_waited_for_however_slow_the_host() -> None:
    turns, looking = Turns(), threading.Event()

    def look() -> None:
        assert turns.take(looking=True)
        looking.set()
        time.sleep(0.2)
        turns.give_back()

    thread = in_thread(look)
    assert looking.wait(5)
    assert turns.take(patience=0.01)
    turns.give_back()
    thread.join()


def test_a_long_run_is_not_waited_for(vm: Vm) -> None:
    runner = in_thread(vm.cont)
    while not vm.busy:
        time.sleep(0.01)
    with pytest.raises(VmBusy):
        vm.regs()
    vm.request_stop()
    runner.join()
    assert vm.regs().rip > 0


def test_a_listener_hears_of_each_command_before_it_changes_anything(vm: Vm) -> None:
    heard: list[int] = []
    stop = vm.listen(lambda: heard.append(1))
    vm.step()
    vm.set_regs(rax=1)
    vm.bp("again")
    assert len(heard) == 3
    stop()
    vm.step()
    assert len(heard) == 3


def test_who_is_slow_to_take_a_free_turn_does_not_make_others_fail() -> None:
    turns, next_one = Turns(), threading.Event()

    def stand_in_line() -> None:
        with turns._line:
            next_one.set()
            time.sleep(0.2)

    thread = in_thread(stand_in_line)
    assert next_one.wait(5)
    assert turns.take(patience=0.02)
    turns.give_back()
    thread.join()


@pytest.mark.parametrize("left", ["_line", "_lock"])
def test_a_lock_that_ctrl_c_left_taken_is_given_back(left: str) -> None:
    turns = Turns()
    getattr(turns, left).acquire()
    turns.recover()
    taken: list[bool] = []
    in_thread(lambda: taken.append(turns.take(0.01))).join()
    assert taken == [True]


def test_a_turn_that_ctrl_c_left_open_is_given_back() -> None:
    turns = Turns()
    assert turns.take()
    turns.recover()
    taken: list[bool] = []
    in_thread(lambda: taken.append(turns.take(0.01))).join()
    assert taken == [True]
