"""Which pages of guest RAM were written: KVM_GET_DIRTY_LOG, for the length of short runs.

A hook on every store would be felt, so it is there only while a run is short. What is translated
meanwhile must not stay for longer runs, nor the other way round: code is translated for each value
of QEMU's ``hflags``, and a bit that QEMU does not use keeps the two kinds apart. A run that is not
short after all loses the log, and so does whatever the hook cannot see; then every page may have
been written. Must not know: who asks.
"""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING, Final

from ...x86.registers import CR0, CR4, EFER
from . import library
from .native import Dirty
from .state import CR, EFER_WORD, HFLAGS

if TYPE_CHECKING:
    from .core import Core

LOGGED: Final = 1 << 30
"""In hflags: 27 to 31 mean nothing to QEMU 5.0.1."""

SHORT: Final = 1 << 16
"""Instructions: a run of so many takes about as long as a look at all of RAM."""

_MOST_TABLES: Final = 16
_PAGE: Final = 0x1000
_PG, _PSE, _PAE, _LMA = int(CR0.PG), int(CR4.PSE), int(CR4.PAE), int(EFER.LMA)
_LA57 = 1 << 12
_KINDS = _PSE | _PAE | _LA57
_PRESENT, _LARGE = 1, 1 << 7
_FRAME: Final = 0x000F_FFFF_FFFF_F000
_wide = struct.Struct("<512Q").unpack_from
_narrow = struct.Struct("<1024I").unpack_from


class DirtyLog:
    """The log of one core; off until somebody asks for the first time."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._words = array("Q", bytes(8 * Dirty.COUNT))
        self._marks = array("B", bytes(core.machine.ram_size // _PAGE))
        self._l = memoryview(self._words)
        self._l[Dirty.PAGES], self._l[Dirty.MARKS] = len(self._marks), self._marks.buffer_info()[0]
        self._l[Dirty.LOST] = 1
        self.bit = 0
        """LOGGED while stores are logged: to be or-ed into hflags for a run."""
        self._on = False
        self._token = 0
        self._hook: int | None = None
        self._host: set[int] = set()
        self._tables: tuple[tuple[int, ...], frozenset[int] | None] = ((), None)

    def lose(self) -> None:
        """Something may have been written that the log does not know of."""
        self._l[Dirty.LOST] = 1

    def wrote(self, address: int, size: int) -> None:
        """The host wrote RAM."""
        if self._on and size:
            self._host.update(range(address >> 12, (address + size - 1 >> 12) + 1))

    def begin(self) -> int | None:
        """A run begins; the clock at which it is not a short one any more, None where none asks."""
        if not self._on or self._l[Dirty.LOST]:
            self.give_up()
            return None
        if self._hook is None:
            here = self._words.buffer_info()[0]
            dirty = self._core.hooks.dirty
            machine = self._core.machine
            self._hook = machine.add_hook(library.HOOK_MEM_WRITE, dirty, here)
            self.bit = LOGGED
        return self._core.clock + SHORT

    def begin_for(self, instructions: int) -> None:
        """A run begins that is at most so long."""
        if instructions > SHORT:
            self.give_up()
        else:
            self.begin()

    def end(self, d: memoryview) -> None:
        """The engine has left the guest; ``d`` are CPUX86State's 32-bit words."""
        if d[HFLAGS] & LOGGED:
            d[HFLAGS] ^= LOGGED
        else:
            self.lose()

    def give_up(self) -> None:
        """The run is a long one."""
        self.lose()
        if self._hook is not None:
            self._core.machine.remove_hook(self._hook)
            self._hook, self.bit = None, 0

    def take(self, since: int) -> tuple[int, frozenset[int] | None]:
        """See ``UnicornEngine.get_dirty_log``."""
        pages, last = self._take(), self._token
        self._token = last + 1
        return self._token, pages if since == last else None

    def _take(self) -> frozenset[int] | None:
        log = self._l
        used = log[Dirty.USED]
        stored = log[Dirty.FIRST : Dirty.FIRST + used].tolist()
        lost, tables = log[Dirty.LOST], self._table_pages(stored)
        for page in stored:
            self._marks[page] = 0
        log[Dirty.USED] = log[Dirty.LOST] = 0
        host, self._host, self._on = self._host, set(), True
        return None if lost or tables is None else frozenset((*stored, *host, *tables))

    # -- paging structures -------------------------------------------------------------------------

    def _table_pages(self, stored: list[int]) -> frozenset[int] | None:
        """Pages in which the processor sets A and D by itself, which no hook sees."""
        q = self._core.machine.q
        if not q[CR] & _PG:
            return frozenset()
        key = (q[CR + 3], q[CR + 4] & _KINDS, q[EFER_WORD] & _LMA)
        known, pages = self._tables
        written = self._host.union(stored)
        if pages is not None and key == known and pages.isdisjoint(written):
            return pages
        self._tables = key, self._walk(*key)
        # Where they were rewritten, others may have been in use meanwhile.
        return self._tables[1] if pages is None or pages.isdisjoint(written) else None

    def _walk(self, cr3: int, cr4: int, long: int) -> frozenset[int] | None:
        """All tables that are reached from CR3; None where there are many."""
        if cr4 & _LA57:
            return None
        levels = 4 if long else 3 if cr4 & _PAE else 2
        level = {cr3 & _FRAME}
        found = set(level)
        for depth in range(levels, 1, -1):
            below = set()
            for table in level:
                large = depth < 4 and (levels > 2 or cr4 & _PSE)
                below.update(self._below(table, wide=levels > 2, large=bool(large)))
            level = below
            found |= below
            if len(found) > _MOST_TABLES:
                return None
        return frozenset(address >> 12 for address in found)

    def _below(self, table: int, *, wide: bool, large: bool) -> set[int]:
        machine = self._core.machine
        if table + _PAGE > machine.ram_size:
            return set()
        entries = _wide(machine.ram, table) if wide else _narrow(machine.ram, table)
        looked_at = _PRESENT | (_LARGE if large else 0)
        return {entry & _FRAME for entry in entries if entry & looked_at == _PRESENT}
