"""Bytes of guest RAM that two engines may leave different, each kind with its note.

The host's TF and RF, and undefined flags, in what an exception pushed; accessed and dirty bits in
paging tables. Must not know: engines, or when memory is compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ..x86.registers import CR0, CR4, EFER, Sregs
from .divergence import PAGE, Note, Pair

_PG, _PAE, _LMA = int(CR0.PG), int(CR4.PAE), int(EFER.LMA)
_PRESENT, _LARGE, _ACCESSED_DIRTY = 0x01, 0x80, 0x60
_ADDRESS: Final = 0x000F_FFFF_FFFF_F000
_MOST_TABLES: Final = 512

FRAMES: Final = Note(
    1,
    "flags that an exception pushed: the host's TF or RF shows, or an undefined flag",
    (127, 178, 180),
)
ACCESSED: Final = Note(1, "accessed and dirty bits of paging entries: set at different times")


def unexplained(
    differing: Mapping[int, Pair], ram: memoryview, sregs: Sregs, pushed: int
) -> tuple[dict[int, Pair], set[Note]]:
    """The differences that no tolerance explains, and notes about the others.

    ``pushed``: bits of RFLAGS in which frames of exceptions may differ; 0 while there is none.
    """
    left: dict[int, Pair] = {}
    notes: set[Note] = set()
    tables = _tables(ram, sregs) if differing and sregs.cr0 & _PG else frozenset[int]()
    size = 8 if sregs.cr4 & _PAE else 4
    for address, (a, b) in differing.items():
        if pushed and _in_pushed_flags(address, a ^ b, ram, pushed):
            notes.add(FRAMES)
        elif address // PAGE in tables and not address % size and not (a ^ b) & ~_ACCESSED_DIRTY:
            notes.add(ACCESSED)
        else:
            left[address] = a, b
    return left, notes


def _in_pushed_flags(address: int, differing: int, ram: memoryview, pushed: int) -> bool:
    """Whether the byte lies in what looks like RFLAGS (bits 1, 3, 5, 15), at bits that may differ.

    The three low bytes are the ones that hold flags.
    """
    return any(
        not differing & ~(pushed >> 8 * index & 0xFF) and _looks_like_flags(ram, address - index)
        for index in range(3)
    )


def _looks_like_flags(ram: memoryview, start: int) -> bool:
    return 0 <= start < len(ram) - 1 and ram[start] & 0x2A == 0x02 and not ram[start + 1] & 0x80


def _tables(ram: memoryview, sregs: Sregs) -> frozenset[int]:
    """Numbers of the pages that hold paging structures."""
    if sregs.efer & _LMA:
        depth, size = 4, 8
    else:
        depth, size = (3, 8) if sregs.cr4 & _PAE else (2, 4)
    pages = {(sregs.cr3 & _ADDRESS) // PAGE}
    level = set(pages)
    for _ in range(depth - 1):
        level = {page for table in level for page in _below(ram, table, size)} - pages
        pages |= level
        if len(pages) > _MOST_TABLES:
            break
    return frozenset(pages)


def _below(ram: memoryview, page: int, size: int) -> Iterable[int]:
    """The tables that one table points to."""
    start = page * PAGE
    if start + PAGE > len(ram):
        return
    for at in range(start, start + PAGE, size):
        if ram[at] & _PRESENT and not ram[at] & _LARGE:
            yield (int.from_bytes(ram[at : at + size], "little") & _ADDRESS) // PAGE
