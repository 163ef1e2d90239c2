"""How soon things answer: the stop button, the assembler, the first VM, a picture."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time

from benchmarks.measure import Figure, Row, lap
from kvmdbg import Vm, assemble
from kvmdbg.errors import VmInterrupted
from kvmdbg.exits import DebugExit
from kvmdbg.history.timeline import Timeline
from kvmdbg.views import figures as pictures

STOP = Row("stop button to stopped, worst", 100, "ms", most=True)
ASSEMBLED = Row("assemble a small program", 5, "ms", most=True)
FIRST_VM = Row("import and first Vm()", 1, "s", most=True)
PICTURE = Row("picture of a million exits", 1.5, "s", most=True)
ROWS = (STOP, ASSEMBLED, FIRST_VM, PICTURE)

PRESSES = 100
_FIRST_VM = "import time; t = time.perf_counter(); import kvmdbg; kvmdbg.Vm(); " + (
    "print(time.perf_counter() - t)"
)


def _press(sent: list[float]) -> None:
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)


def _stop_once(vm: Vm) -> float:
    sent: list[float] = []
    threading.Timer(0.05, _press, [sent]).start()
    try:
        vm.cont()
    except VmInterrupted:
        return time.perf_counter() - sent[0]
    raise AssertionError("an endless guest came to an end")


def figures() -> list[Figure]:
    """All of this file's."""
    return [_stop_button(), _assembler(), _first_vm(), _picture()]


def _stop_button() -> Figure:
    """From the signal to a VM that can be stepped, with an endless guest."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job has none
    try:
        with Vm() as vm:
            vm.load(assemble("again: inc rax\njmp again"))
            times = sorted(1000 * _stop_once(vm) for _ in range(PRESSES))
    finally:
        signal.signal(signal.SIGINT, before)
    detail = f"worst of {PRESSES} presses, median {statistics.median(times):.0f} ms"
    return STOP.figure(times[-1], detail)


def _assembler() -> Figure:
    """A second cell: the worker process is there."""
    assemble("nop")
    times = [lap(lambda: assemble("start: mov eax, 5\njmp start")) for _ in range(21)]
    return ASSEMBLED.figure(statistics.median(times), "median of 21")


def _first_vm() -> Figure:
    """A fresh interpreter up to its first VM, compiling the hooks included."""
    command = [sys.executable, "-c", _FIRST_VM]
    times = [
        float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5)
    ]
    return FIRST_VM.figure(statistics.median(times), "median of 5 fresh interpreters")


def _picture() -> Figure:
    """The timeline of a million exits as a PNG."""
    timeline = Timeline()
    exit_ = DebugExit(1, 0x8000, 0xFFFF4FF0, 0x400)
    began = time.process_time()
    for clock in range(1_000_000):
        timeline.append(exit_, 0x8000, clock)
    per_append = 1e6 * (time.process_time() - began) / 1_000_000
    began = time.process_time()
    pictures.timeline(timeline)
    detail = f"CPU time, imports included; {per_append:.2f} us to append one exit"
    return PICTURE.figure(time.process_time() - began, detail)
