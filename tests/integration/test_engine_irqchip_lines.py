"""The pair of 8259 and the 8254 as a guest sees them, and the lines that the host drives."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kvmdbg.exits import Exit, HltExit, IntrExit
from kvmdbg.uapi import MpState
from tests.guests.apic import IRET, STAMP, Apic, times
from tests.guests.bench import Bench


def run(b: Bench, limit: int = 1_000_000) -> Exit:
    return b.vcpu.run(max_instructions=limit, timeout=20)


# -- the 8259 pair ---------------------------------------------------------------------------------


def outb(port: int, value: int) -> str:
    return f"mov al, {value:#x}\nmov dx, {port:#x}\nout dx, al"


def pics(elcr: int = 0, mask: int = 0) -> str:
    """Both 8259: vectors 0x20 and 0x28, level-triggered lines by ``elcr``, 16 bits each."""
    words = [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, mask & 0xFF)]
    words += [(0xA0, 0x11), (0xA1, 0x28), (0xA1, 2), (0xA1, 1), (0xA1, mask >> 8)]
    words += [(0x4D0, elcr & 0xFF), (0x4D1, elcr >> 8)]
    return "\n".join(outb(port, value) for port, value in words)


END = f"{outb(0xA0, 0x20)}\n{outb(0x20, 0x20)}"
MODES = ("real", "protected", "long")


def pic_guest(mode: str, line: int, elcr: int = 0) -> Bench:
    """A guest that counts the interrupts of a line in EDI, and sleeps in between."""
    text = f"{pics(elcr)}\nsti\nagain: hlt\njmp again\nirq: inc edi\n{END}\n{IRET[mode]}\n"
    b = Apic(mode).bench(text + f"spurious: {outb(0x20, 0x20)}\n{IRET[mode]}")
    b.gate(0x2F, "spurious")  # the slave's line 7: its request went away before INTA
    b.gate((0x20 if line < 8 else 0x28 - 8) + line, "irq")
    assert b.vcpu.run(max_instructions=10_000) == HltExit()
    return b


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("line", [1, 3, 7, 8, 12, 15])
def test_a_rising_line_interrupts_once(mode: str, line: int) -> None:
    with pic_guest(mode, line) as b:
        b.vcpu.irq_line(line, True)
        assert (run(b, 10_000), b.reg("rdi")) == (HltExit(), 1)
        b.vcpu.irq_line(line, False)
        b.vcpu.irq_line(line, True)
        assert (run(b, 10_000), b.reg("rdi")) == (HltExit(), 2)


@pytest.mark.parametrize("line", [5, 11])
def test_a_level_triggered_line_interrupts_until_it_falls(line: int) -> None:
    with pic_guest("long", line, elcr=1 << line) as b:
        b.vcpu.irq_line(line, True)
        assert run(b, 1000) == IntrExit("budget")
        seen = b.reg("rdi")
        assert seen > 10
        b.vcpu.irq_line(line, False)
        assert run(b, 1000) == HltExit()
        assert b.reg("rdi") in (seen, seen + 1)  # it may have been in the handler


def test_an_edge_that_is_not_ended_blocks_the_lines_below() -> None:
    text = f"{pics()}\nsti\nagain: hlt\njmp again\nthree: inc edi\niretq\nfour: inc esi\niretq"
    with Apic().bench(text) as b:
        b.gate(0x23, "three")
        b.gate(0x24, "four")
        b.vcpu.irq_line(3, True)
        b.vcpu.irq_line(4, True)
        run(b, 10_000)
        assert (b.reg("rdi"), b.reg("rsi")) == (0, 0)  # initialising forgets edges
        for line in (3, 4):
            b.vcpu.irq_line(line, False)
            b.vcpu.irq_line(line, True)
        run(b, 10_000)
        assert (b.reg("rdi"), b.reg("rsi")) == (1, 0)


def test_a_masked_line_waits_for_its_mask() -> None:
    text = f"{pics(mask=0xFFFF)}\nsti\nhlt\nopen: {outb(0x21, 0xFD)}\nhlt\nirq: inc edi\nhlt"
    with Apic().bench(text) as b:
        b.gate(0x21, "irq")
        run(b)
        b.vcpu.irq_line(1, True)
        assert (run(b), b.reg("rdi")) == (HltExit(), 0)
        b.set(rip=b["open"])
        b.vcpu.set_mp_state(MpState.RUNNABLE)
        assert (run(b), b.reg("rdi")) == (HltExit(), 1)


# -- the 8254 --------------------------------------------------------------------------------------

DIVISOR = 1193


@pytest.mark.parametrize("mode", MODES)
def test_the_8254_ticks_through_the_8259(mode: str) -> None:
    text = f"""
        {pics(mask=0xFFFE)}
        {outb(0x43, 0x34)}
        {outb(0x40, DIVISOR & 0xFF)}
        {outb(0x40, DIVISOR >> 8)}
        sti
again:  hlt
        cmp di, 10
        jb again
        cli
        hlt
irq:    inc di
        {outb(0x20, 0x20)}
        {IRET[mode]}
    """
    with Apic(mode).bench(text) as b:
        b.gate(0x20, "irq")
        assert (run(b), b.reg("rdi")) == (HltExit(), 10)
        chip = b.vcpu.irqchip
        assert chip is not None
        assert chip.pit.channels[0].counter.mode == 2


def test_ticks_of_the_8254_are_a_millisecond_of_virtual_time_apart() -> None:
    text = f"{pics(mask=0xFFFE)}\n{outb(0x43, 0x34)}\n{outb(0x40, DIVISOR & 0xFF)}\n"
    text += f"{outb(0x40, DIVISOR >> 8)}\nsti\nagain: hlt\njmp again\nirq: {STAMP}\n"
    text += f"{outb(0x20, 0x20)}\ncmp edi, 10\nje end\niretq\nend: cli\nhlt"
    with Apic().bench(text) as b:
        b.gate(0x20, "irq")
        assert run(b) == HltExit()
        gaps = [later - earlier for earlier, later in pairwise(times(b, 10))]
        assert all(abs(gap - DIVISOR * 1_000_000_000 / 1_193_182) < 2 for gap in gaps)
