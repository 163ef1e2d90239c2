"""Comparing two engines in lock-step: compared instructions per second of real time."""

from __future__ import annotations

import statistics

from benchmarks.measure import ROUNDS, Figure, at_least
from kvmdbg import Vm, assemble
from kvmdbg.debugger.comparing import compare_vm
from kvmdbg.errors import EngineUnavailable

STEPS = 30_000
TARGET = 8_000
LOOP = """
start:  mov ecx, 1000000
again:  mov rax, [0x9000]
        add rax, rcx
        mov [0x9008], rax
        lea rbx, [rax + 8]
        imul rdx, rbx
        shl rsi, 3
        push rax
        pop rdi
        dec ecx
        jnz again
        hlt
"""


def compared_steps() -> list[Figure]:
    """Registers at each step, RAM every 5,000; KVM's figure only where it can be used."""
    with Vm(ram=1 << 22) as vm:
        vm.load(assemble(LOOP))
        figures = []
        for a, b in (("unicorn", "unicorn"), ("unicorn", "unicorn:svm"), ("unicorn", "kvm")):
            try:
                rates = [compare_vm(vm, a, b, STEPS).rate for _ in range(ROUNDS)]
            except EngineUnavailable:
                continue
            detail = f"{STEPS:,} steps, median of {ROUNDS} rounds"
            median = statistics.median(rates)
            figures.append(at_least(f"compared steps, {a} and {b}", median, TARGET, detail, "/s"))
    return figures
