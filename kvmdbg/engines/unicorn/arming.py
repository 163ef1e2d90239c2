"""From effective debug registers to hooks: which sites stop, which bytes are watched.

Execution breakpoints become sites, data breakpoints become watched physical bytes. Paging may move
those bytes: they are looked up again at each entry, and MOV to CR and INVLPG are sites meanwhile.
Must not know: who owns the registers, or what a hit means.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...guestdebug import DebugState
from ...x86 import debugreg
from ...x86.debugreg import Access, Slot
from .core import LONGEST_ACCESS, Core

_PAGE = 0x1000

MOV_TO_CR, GROUP_7 = 0x0F22, 0x0F01
"""Opcodes that can change what a linear address means (0F 01 /7 is INVLPG)."""


class Arming:
    """Keeps one core's hooks in line with the effective debug registers."""

    def __init__(self, core: Core, debug: DebugState) -> None:
        self._core = core
        self.dr7 = debug.effective_dr7
        self._db = debug.effective_db
        self._armed: tuple[int, tuple[int, ...]] = (0, ())
        self._data: list[Slot] = []
        self._watched: list[tuple[int, int, int, bool, int]] = []

    @property
    def watches(self) -> bool:
        """Some data breakpoint is enabled."""
        return bool(self._data)

    def arm(self, debug: DebugState) -> None:
        """Follow a new debug state; nothing is done where nothing changed."""
        self.dr7, self._db = debug.effective_dr7, debug.effective_db
        if (self.dr7, self._db) == self._armed:
            return
        self._armed = (self.dr7, self._db)
        slots = [slot for slot in debugreg.decode_dr7(self.dr7).slots if slot.enabled]
        self._data = [s for s in slots if s.access in (Access.WRITE, Access.READ_WRITE)]
        executed = [s for s in slots if s.access is Access.EXEC and s.length == 1]
        self._core.intercept({MOV_TO_CR, GROUP_7} if self._data else set())
        self._core.break_at(frozenset(self._db[s.index] for s in executed))
        self.find_watched()

    def find_watched(self) -> None:
        """Find the physical bytes behind the watched linear ones, as paging maps them now."""
        found = [place for slot in self._data for place in self._places(slot)]
        if found != self._watched:
            self._watched = found
            self._core.watch(found)

    def _places(self, slot: Slot) -> Iterator[tuple[int, int, int, bool, int]]:
        """What ``Core.watch`` wants of a slot; nothing where nothing is mapped.

        An access that begins in the page before reaches the bytes too, and is told only by where it
        begins; the two pages need not lie side by side.
        """
        first, end = debugreg.watched_range(self._db[slot.index], slot.length)
        size, offset, reads = end - first, first & 0xFFF, slot.access is Access.READ_WRITE
        page = self._core.machine.physical_page(first)
        if page is None:
            return
        yield slot.index, page + offset, page + offset + size - 1, reads, page
        if offset >= LONGEST_ACCESS or first < _PAGE:
            return
        before = self._core.machine.physical_page(first - _PAGE)
        if before is not None:
            behind = before + _PAGE + offset
            yield slot.index + 4, behind, behind + size - 1, reads, before
