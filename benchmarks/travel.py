"""Travel: what recording costs, and how soon an earlier moment is there."""

from __future__ import annotations

import random
import statistics
import time

from benchmarks.measure import Figure, at_least, at_most, rate, ratio
from kvmdbg import Program, Vm, assemble

STEPS = 5_000
TRIPS = 15

LOOP = """
start:  mov rcx, {}
again:  mov rax, [0x9000]
        add rax, rcx
        mov [0x9008], rax
        lea rbx, [rax + 8]
        xor rdx, rbx
        add rsi, 1
        add rdi, rsi
        dec rcx
        jnz again
done:   hlt
"""


def _loop(instructions: int) -> Program:
    return assemble(LOOP.format(instructions // 9))


def _run(vm: Vm) -> int:
    vm.reset()
    return vm.cont().clock


def _step(vm: Vm) -> int:
    return vm.step(STEPS).executed


def recording() -> list[Figure]:
    """A recorded guest against the same one unrecorded."""
    program = _loop(20_000_000)
    with Vm() as recorded, Vm(record=False) as plain:
        for vm in (recorded, plain):
            vm.load(program)
        free = ratio(lambda: rate(lambda: _run(recorded)), lambda: rate(lambda: _run(plain)))
        steps = ratio(
            lambda: rate(lambda: _step(recorded)), lambda: rate(lambda: _step(plain)), rounds=21
        )
    return [
        at_least("free run while recorded", free[0], 0.95, free[1]),
        at_least("single steps while recorded", steps[0], 0.9, steps[1]),
    ]


def _timed(vm: Vm, where: int) -> float:
    began = time.perf_counter()
    vm.goto(where)
    return 1000 * (time.perf_counter() - began)


def _trips(instructions: int, places: list[int]) -> list[float]:
    with Vm() as vm:
        vm.load(_loop(2 * instructions))
        vm.cont(max_instructions=instructions)
        return [_timed(vm, place) for place in places]


def journeys() -> list[Figure]:
    """One instruction back, again and again; and any moment of a long run."""
    back = _trips(10_000_000, [10_000_000 - n for n in range(1, TRIPS + 1)])
    dice = random.Random(1)
    away = _trips(100_000_000, [dice.randrange(100_000_000) for _ in range(TRIPS)])
    detail = "first {:.0f} ms, worst {:.0f} ms of {}"
    return [
        at_most(
            "step back after 10 million instructions",
            statistics.median(back),
            100,
            detail.format(back[0], max(back), TRIPS),
            "ms",
        ),
        at_most(
            "a random moment of 100 million instructions",
            statistics.median(away),
            500,
            detail.format(away[0], max(away), TRIPS),
            "ms",
        ),
    ]


def questions() -> list[Figure]:
    """Who wrote it, 100 million instructions ago."""
    with Vm() as vm:
        source = LOOP.format(200_000_000 // 9).replace("start:", "start: mov [0x9010], rsp\n", 1)
        vm.load(assemble(source))
        vm.cont(max_instructions=100_000_000)
        began = time.perf_counter()
        found = vm.who(0x9010, 8)
        took = time.perf_counter() - began
        assert found.clock == 0
    return [at_most("the writer 100 million instructions back", took, 2, found.line, "s")]


def figures() -> list[Figure]:
    """All of this file's."""
    return [*recording(), *journeys(), *questions()]
