"""The KVM engine stopped from outside: another thread, a timeout, Ctrl-C, other signals.

Bounds are generous, as shared machines are slow; what it takes is a millisecond.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from kvmdbg.engines.interrupts import HeldSigint
from kvmdbg.exits import DebugExit, HltExit, IntrExit, IoExit
from tests.guests.bench import BS, MODES, E, S
from tests.integration.test_kvm_engine import KvmBench, needs_kvm

pytestmark = needs_kvm
FOR_EVER = "again: jmp again"


@pytest.mark.parametrize("mode", MODES)
def test_another_thread_stops_a_run_at_once(mode: str) -> None:
    with KvmBench(FOR_EVER, mode) as b:
        asked: list[float] = []

        def stop() -> None:
            asked.append(time.monotonic())
            b.vcpu.request_stop()

        threading.Timer(0.1, stop).start()
        assert b.vcpu.run() == IntrExit("request")
        assert time.monotonic() - asked[0] < 1.0
        assert b.run(E | S) == DebugExit(1, b["again"], BS, 0x400)


def test_a_run_in_another_thread_is_stopped_from_this_one() -> None:
    with KvmBench(FOR_EVER) as b:
        exits: list[object] = []
        for _ in range(20):  # each time a new thread, perhaps with the old one's number
            runner = threading.Thread(target=lambda: exits.append(b.vcpu.run()))
            runner.start()
            time.sleep(0.002)
            b.vcpu.request_stop()
            runner.join(5)
            assert not runner.is_alive()
        assert exits == [IntrExit("request")] * 20


def test_a_stop_before_the_run_ends_the_next_one_and_only_that() -> None:
    with KvmBench("nop\nhlt") as b:
        b.vcpu.request_stop()
        b.vcpu.request_stop()
        assert b.vcpu.run() == IntrExit("request")
        assert b.vcpu.run() == HltExit()


def test_a_stop_reaches_only_its_own_vm() -> None:
    with KvmBench(FOR_EVER) as b, KvmBench(FOR_EVER) as other:
        other.vcpu.request_stop()
        assert b.vcpu.run(timeout=0.05) == IntrExit("timeout")
        assert other.vcpu.run() == IntrExit("request")


@pytest.mark.parametrize("text", [FOR_EVER, "again: vmcall\njmp again"], ids=["loop", "vmcall"])
def test_stepping_for_ever_is_stopped_even_inside_a_step(text: str) -> None:
    with KvmBench(text) as b:
        b.sgd(E | S)
        threading.Timer(0.05, b.vcpu.request_stop).start()
        began, exit = time.monotonic(), b.vcpu.run()
        while isinstance(exit, DebugExit):
            exit = b.vcpu.run()
        assert exit == IntrExit("request")
        assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("seconds", [0.001, 0.05])
def test_a_timeout_ends_an_endless_loop(seconds: float) -> None:
    with KvmBench(FOR_EVER) as b:
        began = time.monotonic()
        assert b.vcpu.run(timeout=seconds) == IntrExit("timeout")
        assert seconds <= time.monotonic() - began < 1.0
        assert b.reg("rip") == b["again"]


def test_a_timeout_of_nothing_executes_nothing() -> None:
    with KvmBench("nop\nhlt") as b:
        before = b.vcpu.get_regs()
        assert b.vcpu.run(timeout=0) == IntrExit("timeout")
        assert b.vcpu.get_regs() == before
        assert b.vcpu.run(timeout=10) == HltExit()


def test_the_thread_that_watches_runs_sleeps_between_them_and_wakes_for_the_next() -> None:
    from kvmdbg.engines.kvm.stopping import watch

    def wait_until(asleep: bool) -> bool:
        end = time.monotonic() + 10
        while watch.asleep is not asleep and time.monotonic() < end:
            time.sleep(0.01)
        return watch.asleep is asleep

    with KvmBench(FOR_EVER) as b:
        assert b.vcpu.run(timeout=0.01) == IntrExit("timeout")
        assert wait_until(asleep=True)
        runner = threading.Thread(target=b.vcpu.run)
        runner.start()
        assert wait_until(asleep=False)
        b.vcpu.request_stop()
        runner.join(5)
        assert wait_until(asleep=True)
        assert b.vcpu.run(timeout=0.01) == IntrExit("timeout")


@pytest.mark.parametrize(
    "text",
    [
        FOR_EVER,
        "again: out 0x80, al\njmp again",
        "again: ud2\nhandler: iretq",
        "mov rdi, 0x9000\nagain: mov ecx, 0x100000\nrep lodsb\njmp again",
    ],
    ids=["a tight loop", "port output", "endless faults", "a long REP"],
)
def test_ctrl_c_stops_any_guest_at_once_and_it_can_go_on(text: str) -> None:
    with KvmBench(text) as b:
        if "handler" in text:
            b.gate(6, "handler")
        sent: list[float] = []

        def press() -> None:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        def for_ever() -> None:
            while True:
                b.vcpu.run()

        threading.Timer(0.1, press).start()
        with pytest.raises(KeyboardInterrupt):
            for_ever()
        assert time.monotonic() - sent[0] < 1.0
        assert isinstance(b.vcpu.run(timeout=0.02), IoExit | IntrExit)


def test_a_guest_can_be_stepped_after_a_ctrl_c() -> None:
    with KvmBench(FOR_EVER) as b:
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            b.vcpu.run()
        assert b.run(E | S) == DebugExit(1, b["again"], BS, 0x400)


def test_ctrl_c_stops_a_guest_that_is_stepped() -> None:
    with KvmBench("again: vmcall\njmp again") as b:
        b.sgd(E | S)

        def for_ever() -> None:
            while True:
                b.vcpu.run()

        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            for_ever()


@pytest.mark.parametrize("control", [0, E | S])
def test_a_ctrl_c_that_the_caller_holds_back_ends_the_run_too(control: int) -> None:
    text = "again: vmcall\njmp again" if control else FOR_EVER
    with KvmBench(text) as b, pytest.raises(KeyboardInterrupt), HeldSigint():  # noqa: PT012
        b.sgd(control)
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        exit = b.vcpu.run()
        while isinstance(exit, DebugExit):
            exit = b.vcpu.run()
        assert exit == IntrExit("signal")
        assert b.vcpu.run() == IntrExit("signal")


def test_the_handler_of_sigint_is_the_same_after_a_run() -> None:
    def mine(*_: object) -> None:
        """Never called."""

    before = signal.signal(signal.SIGINT, mine)
    try:
        with KvmBench("hlt") as b:
            b.vcpu.run()
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_no_handler_is_installed_for_the_kick() -> None:
    with KvmBench(FOR_EVER) as b:
        b.vcpu.run(timeout=0.02)
        assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL


def test_other_signals_do_not_end_a_run_and_their_handlers_run_at_once() -> None:
    seen: list[float] = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(time.monotonic()))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        with KvmBench(FOR_EVER) as b:
            assert b.vcpu.run(timeout=0.2) == IntrExit("timeout")
        assert len(seen) > 5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_that_the_thread_blocks_does_not_keep_the_guest_from_running() -> None:
    with KvmBench("mov ecx, 1000\nagain: dec ecx\njnz again\nhlt") as b:
        b.vcpu.run(0)  # KVM has this thread's mask from now on
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        try:
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
            assert b.vcpu.run(timeout=10) == HltExit()
            assert signal.sigtimedwait({signal.SIGUSR2}, 0) is not None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


def test_no_step_is_lost_or_done_twice_under_a_storm_of_signals() -> None:
    with KvmBench("again: inc rax\njmp again") as b:
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        storm = threading.Event()
        main = threading.get_ident()

        def send() -> None:
            while not storm.wait(0.0005):
                signal.pthread_kill(main, signal.SIGUSR1)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            b.sgd(E | S)
            for _ in range(4000):
                assert isinstance(b.vcpu.run(), DebugExit)
        finally:
            storm.set()
            sender.join()
            signal.signal(signal.SIGUSR1, before)
        assert (b.reg("rax"), b.reg("rip")) == (2000, b["again"])


def test_other_threads_go_on_while_a_guest_runs() -> None:
    with KvmBench(FOR_EVER) as b:
        turns = 0
        runner = threading.Thread(target=b.vcpu.run)
        runner.start()
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            turns += 1
        b.vcpu.request_stop()
        runner.join(5)
        assert turns > 1000


def test_a_forked_child_can_have_vms_of_its_own() -> None:
    code = """
import os, signal
from kvmdbg.engines import open_engine
first = open_engine("kvm", 0x10000)
first.run(timeout=0.02)
child = os.fork()
if child == 0:
    signal.alarm(20)
    own = open_engine("kvm", 0x10000)
    own.write_memory(0, b"\\xeb\\xfe")
    sregs = own.get_sregs()
    own.set_sregs(sregs._replace(cs=sregs.cs._replace(base=0, selector=0)))
    own.set_regs(own.get_regs()._replace(rip=0))
    os._exit(0 if own.run(timeout=0.02).cause == "timeout" else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
