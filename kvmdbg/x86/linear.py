"""Guest memory as a processor sees it while it delivers an event: by linear address.

One object serves one delivery: it remembers the pages it met, which is sound because nothing is
written before the delivery has succeeded. Addresses outside RAM behave as an open bus: reads give
ones, writes are lost. Must not know: gates, segments, stacks.
"""

from __future__ import annotations

from ..errors import AddressError
from .paging import Page, Read, find_page
from .registers import CR0, EFER, MASK32, MASK64, Sregs

_LMA, _WP = int(EFER.LMA), int(CR0.WP)
_WRITABLE, _USER = 2, 4

Writes = list[tuple[int, bytes]]
"""Physical writes in the order in which the processor makes them."""


class LinearMemory:
    """Reads with supervisor rights, writes with the rights of the code that will run."""

    __slots__ = ("_pages", "_read", "_sregs", "_supervisor_write", "mask")

    def __init__(self, sregs: Sregs, read: Read) -> None:
        self._sregs = sregs
        self._read = read
        self._pages: list[Page] = []
        self._supervisor_write = _WRITABLE if sregs.cr0 & _WP else 0
        self.mask = MASK64 if sregs.efer & _LMA else MASK32

    def load(self, linear: int, size: int) -> bytes:
        """Read for the processor itself (descriptor tables, TSS): always with CPL 0's rights."""
        head = 0x1000 - (linear & 0xFFF)
        if size > head:
            return self.load(linear, head) + self.load(linear + head, size - head)
        physical = self._translate(linear, 0, write=False, user=False)
        try:
            return self._read(physical, size)
        except AddressError:
            return b"\xff" * size

    def plan(self, writes: Writes, linear: int, data: bytes, user: bool) -> None:
        """Append the physical writes that store ``data``; if a page faults, none is appended."""
        need = _WRITABLE | _USER if user else self._supervisor_write
        head = 0x1000 - (linear & 0xFFF)
        physical = self._translate(linear, need, True, user)
        if len(data) <= head:
            self._plan_page(writes, physical, data)
            return
        second = self._translate(linear + head, need, True, user)
        self._plan_page(writes, physical, data[:head])
        self._plan_page(writes, second, data[head:])

    def _plan_page(self, writes: Writes, physical: int, data: bytes) -> None:
        try:
            self._read(physical, len(data))
        except AddressError:
            return  # an open bus: the write is lost
        writes.append((physical, data))

    def _translate(self, linear: int, need: int, write: bool, user: bool) -> int:
        """The physical address, or PageFault or NonCanonical; ``need`` is what rights must hold."""
        linear &= self.mask
        for page in self._pages:
            if linear & page.keep == page.linear and page.rights & need == need:
                return page.physical | linear & ~page.keep
        page = find_page(linear, self._sregs, self._read, write=write, user=user)
        self._pages.append(page)
        return page.physical | linear & ~page.keep
