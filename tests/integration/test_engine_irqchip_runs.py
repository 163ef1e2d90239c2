"""Runs agree: a guest that its timer interrupts ends the same, however the host runs it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from kvmdbg.exits import HltExit, IntrExit
from tests.guests.apic import PERIODIC, Apic, run_to
from tests.guests.bench import Bench, E, H, K, S


def busy(more: str = "") -> Bench:
    """A guest that logs where and when its timer interrupts it, until it has 40 entries."""
    apic = Apic()
    text = f"""
        {apic.enable()}
        {apic.timer(PERIODIC | 0x40, 97)}
        sti
again:  add eax, 3
        imul rdx, rax, 7
        and edx, 0xcd5
        push rdx
        popfq
        sti
        xor [0xa000], rdx
        {more}
        cmp esi, 20
        jb again
        cmp esi, 40
        jae end
        hlt
        jmp again
end:    cli
        hlt
irq:    push rax
        push rdx
        rdtsc
        mov [0xb000 + rsi * 8], eax
        mov rax, [rsp + 16]
        mov [0xb004 + rsi * 8], eax
        pop rdx
        pop rax
        inc esi
        {apic.eoi()}
        iretq
    """
    b = apic.bench(text)
    b.set(rdi=0x9000)
    b.gate(0x40, "irq")
    return b


def freely(b: Bench) -> None:
    assert b.vcpu.run(timeout=20) == HltExit()


def in_pieces(b: Bench) -> None:
    dice = random.Random(6)
    while b.vcpu.run(max_instructions=dice.randint(1, 60)) == IntrExit("budget"):
        pass


def one_by_one(b: Bench) -> None:
    while b.vcpu.run(max_instructions=1) == IntrExit("budget"):
        pass


def under_a_debugger(b: Bench) -> None:
    b.sgd(E)
    freely(b)
    b.sgd(0)


def with_blockirq_for_a_moment_before_the_timer_runs(b: Bench) -> None:
    b.sgd(E | K)
    b.vcpu.run(max_instructions=3)
    b.sgd(0)
    freely(b)


def with_snapshots(b: Bench) -> None:
    while b.vcpu.run(max_instructions=211) == IntrExit("budget"):
        before = b.vcpu.snapshot()
        b.vcpu.run(max_instructions=333)
        b.vcpu.restore(before)


def step_by_step(b: Bench) -> None:
    """Handlers run free; between them each instruction is a stop."""
    while b.run(E | S) != HltExit():
        pass
    b.sgd(0)


def from_breakpoint_to_breakpoint(b: Bench) -> None:
    while True:
        b.sgd(E | H, dr7=0xD0402, dr0=0xA000)
        if b.vcpu.run(timeout=20) == HltExit():
            break
    b.sgd(0)


WAYS = [
    freely,
    in_pieces,
    one_by_one,
    under_a_debugger,
    with_blockirq_for_a_moment_before_the_timer_runs,
    with_snapshots,
    step_by_step,
    from_breakpoint_to_breakpoint,
]


def same_end(way: Callable[[Bench], None], more: str = "") -> bool:
    """Clock, registers, chips and memory are those of a free run."""
    with busy(more) as expected, busy(more) as b:
        freely(expected)
        way(b)
        return (
            b.vcpu.clock == expected.vcpu.clock
            and b.vcpu.get_regs() == expected.vcpu.get_regs()
            and b.vcpu.irqchip == expected.vcpu.irqchip
            and bytes(b.vcpu.ram) == bytes(expected.vcpu.ram)
        )


@pytest.mark.parametrize("way", WAYS)
def test_the_same_guest_ends_the_same_however_it_is_run(way: Callable[[Bench], None]) -> None:
    assert same_end(way)


@pytest.mark.parametrize("way", WAYS)
def test_a_guest_with_rep_ends_the_same_however_it_is_run(way: Callable[[Bench], None]) -> None:
    assert same_end(way, "mov ecx, 6\n        rep stosb\n        sub rdi, 6")


def test_the_guest_of_these_runs_is_interrupted_at_many_places() -> None:
    with busy() as b:
        freely(b)
        log = [(b.word(0xB000 + 8 * n, 4), b.word(0xB004 + 8 * n, 4)) for n in range(40)]
        assert b.reg("rsi") == 40
        assert len({place for _, place in log}) > 5


def test_an_interrupt_due_at_a_breakpoint_comes_before_it() -> None:
    """SDM vol. 3, table 6-2: a code breakpoint has a lower priority than an interrupt."""
    apic = Apic()
    seen = []
    for count in range(1, 10):
        text = f"{apic.enable()}\nsti\n{apic.timer(0x40, count)}\nnop\nnop\nnop\n"
        text += f"target: nop\ncli\nhlt\nirq: inc edi\n{apic.eoi()}\niretq"
        with apic.bench(text) as b:
            b.gate(0x40, "irq")
            run_to(b, "target")
            seen.append(b.reg("rdi"))
    assert seen == [1, 1, 1, 1, 0, 0, 0, 0, 0]
