"""Write watchpoints without data breakpoints: which pages hold the watched bytes, and what a store
there means.

The debug registers hold linear addresses; pages are protected and stores told by physical ones, so
the guest's page tables are asked, as they are when the guest is entered. Must not know: KVM_RUN.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ...x86.debugreg import Access, decode_dr7, watched_range
from ...x86.paging import NonCanonical, PageFault, Read, translate
from ...x86.registers import MASK32, MASK64, CpuMode, Sregs
from .vm import PAGE

_ENABLES: Final = 0xFF
_PUSHED: Final = 64
"""Bytes of the deepest frame that is pushed at once: an interrupt's in 64-bit mode, or PUSHA's."""


class Watched(NamedTuple):
    """Watched bytes at a guest-physical address; ``bit`` is B0-B3 of their debug register."""

    start: int
    end: int
    bit: int


def write_slots(debugreg: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """First byte, the one after the last, and B bit of each enabled slot with R/W=1; linear.

    >>> write_slots((0x9002, 0, 0, 0, 0, 0, 0, 0x50402))
    ((36866, 36868, 1),)
    """
    dr7 = debugreg[7]
    if not dr7 & _ENABLES:
        return ()
    return tuple(
        (*watched_range(debugreg[slot.index], slot.length), 1 << slot.index)
        for slot in decode_dr7(dr7).slots
        if slot.enabled and slot.access is Access.WRITE
    )


def spare_slot(dr7: int) -> int | None:
    """A debug register that is not in use.

    >>> spare_slot(0x402), spare_slot(0x4FF)
    (1, None)
    """
    return next((n for n in range(4) if not dr7 >> 2 * n & 3), None)


def place(slots: tuple[tuple[int, int, int], ...], sregs: Sregs, read: Read) -> list[Watched]:
    """Where the slots' bytes are; no slot crosses a page. What is not mapped is nowhere."""
    return list(_places(slots, sregs, read))


def _places(slots: tuple[tuple[int, int, int], ...], sregs: Sregs, read: Read) -> Iterator[Watched]:
    for start, end, bit in slots:
        try:
            physical = translate(start, sregs, read)
        except (PageFault, NonCanonical):
            continue
        yield Watched(physical, physical + end - start, bit)


def pages_of(watched: list[Watched], size: int) -> frozenset[int]:
    """The pages (by number) to protect, of RAM of ``size`` bytes."""
    return frozenset(each.start // PAGE for each in watched if each.start < size)


def stack_pages(rsp: int, sregs: Sregs, read: Read) -> frozenset[int]:
    """The pages (by number) where the next instruction or delivery may push."""
    if sregs.mode is not CpuMode.LONG:
        rsp = sregs.ss.base + (rsp & (MASK32 if sregs.ss.db else 0xFFFF))
    found = set()
    for linear in (rsp - 1, rsp - _PUSHED):
        try:
            found.add(translate(linear & MASK64, sregs, read) // PAGE)
        except (PageFault, NonCanonical):
            continue
    return frozenset(found)


def hits(watched: list[Watched], start: int, size: int) -> int:
    """B0-B3 for a store of ``size`` bytes at a physical address.

    >>> hits([Watched(0x9000, 0x9004, 2)], 0x8FFF, 1), hits([Watched(0x9000, 0x9004, 2)], 0x9003, 8)
    (0, 2)
    """
    found = 0
    for low, high, bit in watched:
        if start < high and low < start + size:
            found |= bit
    return found
