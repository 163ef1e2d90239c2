"""Guest RAM as pages that snapshots share: a page is copied once for each content that was kept.

Behind RAM lies a shadow, as RAM was when a snapshot was last taken or put back; what differs from
it is found natively. Must not know: registers, or what a snapshot is for.
"""

from __future__ import annotations

import ctypes
from array import array
from itertools import compress
from operator import is_not
from typing import Final

from ..guestram import allocate, release
from .library import Machine
from .native import Hooks

SIZE: Final = 0x1000
"""Bytes of a page."""

Pages = tuple[bytes, ...]
"""All of RAM, page by page; equal contents are mostly one object."""

_ZEROS: Final = bytes(SIZE)
_CHANGED = ctypes.CFUNCTYPE(
    ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64
)
_MOST_FORGOTTEN: Final = 256
"""So many pages at most are forgotten one by one; beyond, all translated code is."""


class RamPages:
    """One machine's RAM, and the pages of it that are known."""

    def __init__(self, machine: Machine, hooks: Hooks) -> None:
        self._machine = machine
        self._count = machine.ram_size // SIZE
        self._shadow = allocate(machine.ram_size)
        self._anchor = (ctypes.c_char * machine.ram_size).from_buffer(self._shadow)
        self._found = array("Q", bytes(8 * self._count))
        self._find = _CHANGED(hooks.changed_pages)
        self._known: list[bytes] = [_ZEROS] * self._count
        self._addresses = (
            machine.ram_address,
            ctypes.addressof(self._anchor),
            self._count,
            self._found.buffer_info()[0],
        )

    def _changed(self) -> array[int]:
        """Numbers of the pages in which RAM differs from the shadow."""
        return self._found[: self._find(*self._addresses)]

    def take(self) -> Pages:
        """RAM as it is now."""
        ram, shadow, known = self._machine.ram, self._shadow, self._known
        for number in self._changed():
            at = number * SIZE
            page = ram[at : at + SIZE]
            known[number] = _ZEROS if page == _ZEROS else page
            shadow[at : at + SIZE] = page
        return tuple(known)

    def put(self, pages: Pages) -> None:
        """Make RAM what it was; code translated from other bytes is forgotten."""
        numbers = set(self._changed())
        numbers.update(compress(range(self._count), map(is_not, pages, self._known)))
        ram, shadow, machine = self._machine.ram, self._shadow, self._machine
        for number in numbers:
            at = number * SIZE
            ram[at : at + SIZE] = shadow[at : at + SIZE] = pages[number]
        self._known = list(pages)
        if len(numbers) > _MOST_FORGOTTEN:
            machine.flush_translations()
            return
        for number in numbers:
            machine.forget_code(number * SIZE, SIZE)

    def close(self) -> None:
        """Give the shadow back, and what is known."""
        self._known.clear()
        del self._anchor
        release(self._shadow)


def weight(pages: Pages, before: Pages | None) -> int:
    """Bytes that ``pages`` hold beyond what ``before`` holds."""
    return SIZE * sum(map(is_not, pages, before or (_ZEROS,) * len(pages)))
