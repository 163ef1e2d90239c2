"""Comparing two engines in lock-step: compared instructions per second of real time."""

from __future__ import annotations

import statistics

from benchmarks.measure import ROUNDS, Figure, Row
from kvmdbg import Vm, assemble
from kvmdbg.debugger.comparing import compare_vm
from kvmdbg.errors import EngineUnavailable

STEPS = 30_000
BESIDE = {
    other: Row(f"compared steps, unicorn and {other}", 8_000, "/s")
    for other in ("unicorn", "unicorn:svm", "kvm")
}
ROWS = tuple(BESIDE.values())
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


def figures() -> list[Figure]:
    """Registers at each step, RAM every 5,000; KVM's figure only where it can be used."""
    with Vm(ram=1 << 22) as vm:
        vm.load(assemble(LOOP))
        return [_compared(vm, other, row) for other, row in BESIDE.items()]


def _compared(vm: Vm, other: str, row: Row) -> Figure:
    try:
        rates = [compare_vm(vm, "unicorn", other, STEPS).rate for _ in range(ROUNDS)]
    except EngineUnavailable as error:
        return row.absent(str(error))
    return row.figure(statistics.median(rates), f"{STEPS:,} steps, median of {ROUNDS} rounds")
