"""No facility changes what a guest computes: flags, registers, memory and clock stay exact."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from kvmdbg.exits import DebugExit, Exit, HltExit
from tests.guests.bench import Bench, E, H, S
from tests.guests.random_programs import random_program

Way = Callable[[Bench, random.Random], Exit]


def freely(b: Bench, _: random.Random) -> Exit:
    return b.vcpu.run()


def stepping(b: Bench, _: random.Random) -> Exit:
    return b.run(E | S)


def in_pieces(b: Bench, dice: random.Random) -> Exit:
    return b.vcpu.run(max_instructions=dice.randint(1, 7))


def watching(b: Bench, _: random.Random) -> Exit:
    b.sgd(E | H, dr7=0xD0402, dr0=0x9FF0)
    return b.vcpu.run()


def breaking(b: Bench, dice: random.Random) -> Exit:
    b.sgd(E | H, dr7=0x402, dr0=0x8000 + dice.randrange(0x60))
    exit_ = b.vcpu.run()
    if isinstance(exit_, DebugExit):
        b.set(rflags=b.reg("rflags") | 0x10000)  # RF: past the breakpoint
    return exit_


def outcome(text: str, way: Way, seed: int) -> tuple[object, ...]:
    dice = random.Random(seed)
    with Bench(text) as b:
        b.gate(6, "handler")
        for _ in range(3000):
            if way(b, dice) == HltExit():
                break
        else:
            pytest.fail("the guest did not come to its end")
        return b.vcpu.get_regs(), b.vcpu.read_memory(0x9000, 128), b.vcpu.clock


@pytest.mark.parametrize("way", [stepping, in_pieces, watching, breaking])
@pytest.mark.parametrize("seed", range(12))
def test_a_guest_computes_the_same_however_it_is_run(seed: int, way: Way) -> None:
    text = random_program(seed)
    assert outcome(text, way, seed) == outcome(text, freely, seed)
