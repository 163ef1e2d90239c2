"""Recording: what the default one costs, and what writing every instruction down costs."""

from __future__ import annotations

from typing import Any

import unicorn
from unicorn import x86_const

from benchmarks.guests import FOREVER, LOOP, bare, finite, loaded, program, vm_run
from benchmarks.measure import ROUNDS, Figure, Rate, Row, match, middle, rate
from kvmdbg import Vm

FREE = Row("free run while recorded, beside the same unrecorded", 0.95)
STEPPED = Row("single steps while recorded, beside the same unrecorded", 0.9)
FULL = Row("full recording", 20e6, "instructions/s")
FULL_HOOK = Row("full recording, beside a Python UC_HOOK_CODE hook that reads one register", 60)
FULL_BYTES = Row("full recording, memory", 32, "bytes/instruction", most=True)
ROWS = (FREE, STEPPED, FULL, FULL_HOOK, FULL_BYTES)

STEPS = 5_000
AT_ONCE = 4_000_000
HOOKED = 100_000


def figures() -> list[Figure]:
    """All of this file's."""
    return [*_default(), *_full()]


def _default() -> list[Figure]:
    with finite(LOOP) as recorded, finite(LOOP, record=False) as plain:
        free = match(
            lambda: rate(lambda: vm_run(recorded, LOOP)), lambda: rate(lambda: vm_run(plain, LOOP))
        )
        steps = match(
            lambda: rate(lambda: recorded.step(STEPS).executed),
            lambda: rate(lambda: plain.step(STEPS).executed),
            rounds=3 * ROUNDS,
        )
    return [FREE.figure(free.ratio, free.detail), STEPPED.figure(steps.ratio, steps.detail)]


def _full() -> list[Figure]:
    with loaded(LOOP) as vm:

        def ours() -> float:
            vm.reset()
            vm.record(True)
            return rate(lambda: _recorded(vm))

        speed = middle(ours)
        taken = match(ours, _hooked())
        held = vm.trace.nbytes / len(vm.trace)
    detail = f"{AT_ONCE:,} instructions, CPU time, median of {ROUNDS} rounds"
    return [
        FULL.figure(speed, detail),
        FULL_HOOK.figure(taken.ratio, taken.detail),
        FULL_BYTES.figure(held, "vm.trace.nbytes / len(vm.trace)"),
    ]


def _recorded(vm: Vm) -> int:
    """Run, and count what the trace holds of it."""
    vm.cont(max_instructions=AT_ONCE)
    return len(vm.trace)


def _hooked() -> Rate:
    """What one writes first: a Python function before each instruction, which reads RAX."""
    image = program(LOOP, FOREVER)
    uc = bare(image)
    seen = []

    def hook(uc: unicorn.Uc, _address: int, _size: int, _data: Any) -> None:
        seen.append(uc.reg_read(x86_const.UC_X86_REG_RAX))

    uc.hook_add(unicorn.UC_HOOK_CODE, hook)

    def once() -> int:
        seen.clear()
        uc.emu_start(image.origin, 0, count=HOOKED)
        return len(seen)

    return lambda: rate(once)
