"""A REP string instruction counts one for each element, however the guest is run."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from kvmdbg.exits import Exit, HltExit
from tests.guests.bench import MODES, Bench, E, H, S

Way = Callable[[Bench, random.Random], Exit]
WAYS: dict[str, Way] = {
    "free": lambda b, _: b.vcpu.run(),
    "stepped": lambda b, _: b.run(E | S),
    "in pieces": lambda b, dice: b.vcpu.run(max_instructions=dice.randint(1, 5)),
    "watched": lambda b, _: watched(b),
    "broken": lambda b, _: broken(b),
}
REPEATED = ("rep stosb", "rep movsb", "repe cmpsb", "repne scasb", "rep lodsb")


def watched(b: Bench) -> Exit:
    b.sgd(E | H, dr7=0xF0402, dr0=0x9004)  # reads and writes of four bytes
    return b.vcpu.run()


def broken(b: Bench) -> Exit:
    b.sgd(E | H, dr7=0x402, dr0=b["again"])
    exit_ = b.vcpu.run()
    if exit_ != HltExit():
        b.set(rflags=b.reg("rflags") | 0x10000)  # RF: past the breakpoint
    return exit_


def run(text: str, mode: str, way: Way, seed: int, count: int) -> tuple[object, ...]:
    dice = random.Random(seed)
    with Bench(text, mode) as b:
        b.vcpu.write_memory(0x9000, bytes(range(64)))
        b.set(rcx=count, rsi=0x9000, rdi=0x9020, rax=0x27)
        for _ in range(200):
            if way(b, dice) == HltExit():
                return b.vcpu.get_regs(), b.vcpu.read_memory(0x9000, 64), b.vcpu.clock
        pytest.fail("the guest did not come to its end")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [0, 1, 7])
@pytest.mark.parametrize("repeated", REPEATED)
@pytest.mark.parametrize("mode", MODES)
def test_a_rep_ends_the_same_at_the_same_clock(
    mode: str, repeated: str, count: int, way: str
) -> None:
    text = f"nop\nagain: {repeated}\nnop\nhlt"
    expected = run(text, mode, WAYS["stepped"], 0, count)
    assert run(text, mode, WAYS[way], count, count) == expected


@pytest.mark.parametrize("way", WAYS)
def test_a_rep_that_is_jumped_to_with_nothing_left_counts_each_time(way: str) -> None:
    text = "mov ebx, 3\nagain: rep stosb\ndec ebx\njnz again\nhlt"
    assert run(text, "long", WAYS[way], 1, 2) == run(text, "long", WAYS["stepped"], 0, 2)


def test_an_address_size_prefix_narrows_the_count() -> None:
    text = "again: rep stosb es:[edi], al\nhlt"
    free, stepped = (run(text, "long", WAYS[w], 0, 1 << 32 | 3) for w in ("free", "stepped"))
    assert free == stepped
    assert free[2] == 4


def test_a_budget_that_ends_with_the_last_element_ends_behind_the_rep() -> None:
    with Bench("rep stosb\nafter: hlt") as b:
        b.set(rcx=3, rdi=0x9000)
        b.vcpu.run(max_instructions=3)
        assert (b.reg("rip"), b.vcpu.clock) == (b["after"], 3)
