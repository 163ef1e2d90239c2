"""From effective debug registers to hooks: which sites stop, which bytes are watched.

Execution breakpoints become sites, data breakpoints become watched physical bytes. Paging may move
those bytes: MOV to CR and INVLPG are sites meanwhile, and where a watched page is not mapped yet,
the paging-structure entry that says so is watched too. Must not know: who owns the registers, or
what a hit means.
"""

from __future__ import annotations

from collections.abc import Iterator

from ... import guestdebug
from ...guestdebug import DebugState
from ...x86 import debugreg, paging
from ...x86.debugreg import Access, Slot
from ...x86.opcode import MOV_TO_CR
from ...x86.paging import Read
from .core import Core
from .watches import LONGEST_ACCESS, Watched

_PAGE = 0x1000
_ENTRY = 8  # bytes of the widest paging-structure entry

REMAPPED = 1 << 8
"""Not a B bit: an entry that keeps a watched page unmapped was written."""

GROUP_7 = 0x0F01
MAPPING_OPCODES = frozenset((MOV_TO_CR, GROUP_7))
"""Opcodes that can change what a linear address means (0F 01 /7 is INVLPG)."""


class Arming:
    """Keeps one core's hooks in line with the effective debug registers."""

    def __init__(self, core: Core, debug: DebugState, read: Read) -> None:
        self._core = core
        self._read = read
        self.stale = False
        """Address translation may have changed: ``find_watched`` is due before the next entry."""
        self.dr7 = debug.effective_dr7
        self._armed: object = None
        self._data: list[tuple[Slot, int]] = []
        self._watched: list[Watched] = []

    def arm(self, debug: DebugState) -> None:
        """Follow a new debug state; nothing is done where nothing changed."""
        guest, hardware = debug.guest, debug.hardware
        self.dr7 = debug.effective_dr7
        state = hardware, self.dr7, debug.host_db if hardware else guest.db, guest.dr7, guest.db
        if state == self._armed:
            return
        self._armed = state
        armed = guestdebug.armed_slots(debug)
        self._data = [(s, a) for s, a in armed if s.access in (Access.WRITE, Access.READ_WRITE)]
        executed = [a for s, a in armed if s.access is Access.EXEC and s.length == 1]
        self._core.intercept("mappings", MAPPING_OPCODES if self._data else frozenset())
        self._core.break_at(frozenset(executed))
        self.find_watched()

    def mappings_changed(self) -> None:
        """Watched addresses may mean other bytes now."""
        self.stale = bool(self._data)

    def find_watched(self) -> None:
        """Find the physical bytes behind the watched linear ones, as paging maps them now."""
        self.stale = False
        found = [place for slot, at in self._data for place in self._places(slot, at)]
        if found != self._watched:
            self._watched = found
            self._core.watches.replace(found)

    def _places(self, slot: Slot, address: int) -> Iterator[Watched]:
        """The bytes of a slot.

        An access that begins in the page before reaches them too, and is told only by where it
        begins; the two pages need not lie side by side.
        """
        first, end = debugreg.watched_range(address, slot.length)
        size, offset, reads = end - first, first & 0xFFF, slot.access is Access.READ_WRITE
        page = self._core.machine.physical_page(first)
        if page is None:
            yield from self._missing(first)
            return
        yield Watched(1 << slot.index, page + offset, page + offset + size - 1, reads, page)
        if offset >= LONGEST_ACCESS or first < _PAGE:
            return
        before = self._core.machine.physical_page(first - _PAGE)
        if before is not None:
            behind = before + _PAGE + offset
            yield Watched(1 << slot.index, behind, behind + size - 1, reads, before)

    def _missing(self, linear: int) -> Iterator[Watched]:
        """The entry whose P bit keeps ``linear`` unmapped; setting it needs no flush."""
        if not paging.is_canonical(linear):
            return
        entries = paging.walk(linear, self._core.state.sregs(), self._read)
        if entries:
            at = entries[-1].address
            yield Watched(REMAPPED, at, at + _ENTRY - 1, False, at & ~(_PAGE - 1))
