"""How soon things answer: the stop button, the assembler, the first VM, a picture."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time

from benchmarks.measure import Figure, at_most
from kvmdbg import Vm, assemble
from kvmdbg.errors import VmInterrupted
from kvmdbg.exits import DebugExit
from kvmdbg.history.timeline import Timeline
from kvmdbg.views import figures

PRESSES = 20
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


def stop_button() -> list[Figure]:
    """From the signal to a VM that can be stepped, with an endless guest."""
    with Vm() as vm:
        vm.load(assemble("again: inc rax\njmp again"))
        times = sorted(1000 * _stop_once(vm) for _ in range(PRESSES))
    detail = f"worst of {PRESSES} presses, median {statistics.median(times):.0f} ms"
    return [at_most("stop button to stopped", times[-1], 100, detail, "ms")]


def assembler() -> list[Figure]:
    """A second cell: the worker process is there."""
    assemble("nop")
    times = []
    for _ in range(21):
        began = time.perf_counter()
        assemble("start: mov eax, 5\njmp start")
        times.append(1000 * (time.perf_counter() - began))
    return [at_most("assemble a small program", statistics.median(times), 5, "median of 21", "ms")]


def first_vm() -> list[Figure]:
    """A fresh interpreter up to its first VM, compiling the hooks included."""
    command = [sys.executable, "-c", _FIRST_VM]
    times = [
        float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5)
    ]
    return [at_most("import and first Vm()", statistics.median(times), 1, "median of 5", "s")]


def picture() -> list[Figure]:
    """The timeline of a million exits as a PNG."""
    timeline = Timeline()
    exit_ = DebugExit(1, 0x8000, 0xFFFF4FF0, 0x400)
    began = time.process_time()
    for clock in range(1_000_000):
        timeline.append(exit_, 0x8000, clock)
    per_append = 1e6 * (time.process_time() - began) / 1_000_000
    began = time.process_time()
    figures.timeline(timeline)
    detail = f"CPU time, imports included; {per_append:.2f} us to append one exit"
    seconds = time.process_time() - began
    return [at_most("picture of a million exits", seconds, 1.5, detail, "s")]
