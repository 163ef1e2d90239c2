"""The second engine beside a C program that does the same: where /dev/kvm and a C compiler are."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Figure, Rate, Row, lap, match
from kvmdbg.engines import open_engine
from kvmdbg.errors import EngineUnavailable
from kvmdbg.machine.layout import default_guest
from kvmdbg.uapi import GuestDbg

STEPPED = Row("kvm: single steps with all registers, beside C", 0.65)
OPENING = Row("kvm: a VM is opened", 10, "ms", most=True)
STOPPING = Row("kvm: request_stop to stopped, worst", 20, "ms", most=True)
ROWS = (STEPPED, OPENING, STOPPING)

RAM = 1 << 21
STEPS = 20_000
OPENED = 50
STOPS = 20
_CODE = bytes.fromhex("48ffc0 ebfb")  # again: inc rax; jmp again


def _usable() -> str:
    """Why there is nothing to measure; empty where there is."""
    try:
        open_engine("kvm", RAM).close()
    except EngineUnavailable as error:
        return str(error)
    return "" if shutil.which("gcc") else "no gcc for the C program beside it"


def _engine():  # type: ignore[no-untyped-def]  # the type is in the package's own protocol
    engine = open_engine("kvm", RAM)
    guest = default_guest("long", RAM)
    for address, data in guest.memory:
        engine.write_memory(address, data)
    engine.write_memory(guest.regs.rip, _CODE)
    engine.set_sregs(guest.sregs)
    engine.set_regs(guest.regs)
    return engine


def _ours() -> Rate:
    engine = _engine()
    engine.set_guest_debug(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)

    def once() -> float:
        run, get_regs = engine.run, engine.get_regs
        began = time.perf_counter()
        for _ in range(STEPS):
            run()
            get_regs()
        return STEPS / (time.perf_counter() - began)

    return once


def _in_c(folder: str) -> Rate:
    program = str(Path(folder) / "kvm_steps")
    source = Path(__file__).with_name("kvm_steps.c")
    subprocess.run(["gcc", "-O2", "-o", program, source], check=True)

    def once() -> float:
        answer = subprocess.run([program, str(STEPS)], check=True, capture_output=True, text=True)
        return 1e9 / float(answer.stdout)

    return once


def figures() -> list[Figure]:
    """Steps, opening and stopping on /dev/kvm."""
    problem = _usable()
    if problem:
        return [row.absent(problem) for row in ROWS]
    with TemporaryDirectory() as folder:
        taken = match(_ours(), _in_c(folder))
    return [STEPPED.figure(taken.ratio, taken.detail), _opening(), _stopping()]


def _opening() -> Figure:
    times = [lap(lambda: open_engine("kvm", 16 * 2**20).close()) for _ in range(OPENED)]
    detail = f"open and close, 16 MiB of RAM, median of {OPENED}"
    return OPENING.figure(statistics.median(times), detail)


def _stopping() -> Figure:
    engine = _engine()
    times = []
    for _ in range(STOPS):
        pressed: list[float] = []

        def press(sent: list[float] = pressed) -> None:
            sent.append(time.perf_counter())
            engine.request_stop()

        threading.Timer(0.05, press).start()
        engine.run()
        times.append(1000 * (time.perf_counter() - pressed[0]))
    engine.close()
    detail = f"worst of {STOPS}, median {statistics.median(times):.1f} ms"
    return STOPPING.figure(max(times), detail)
