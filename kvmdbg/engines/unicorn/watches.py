"""Watched physical bytes: the hooks that see them touched, and stores taken back from them.

A hook lies on the bytes alone, so that other accesses cost nothing. Must not know: debug registers,
or what a hit means.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from ...x86.registers import MASK32
from . import library, native
from .native import Word

if TYPE_CHECKING:
    from .core import Core

LONGEST_ACCESS = 64
"""Bytes of the widest single access."""

_NOWHERE = (1 << 63) - 1


class Watched(NamedTuple):
    """Physical bytes to watch: ``bits`` go into WATCH_HIT when one of them is touched.

    Only accesses that begin in ``page`` count; ``first`` and ``last`` lie behind it for an access
    that reaches them from the linear page before.
    """

    bits: int
    first: int
    last: int
    reads: bool
    page: int


class Watches:
    """The watched bytes of one core."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._hooks: list[int] = []

    def replace(self, ranges: Iterable[Watched]) -> None:
        """Watch these bytes, and no others."""
        core = self._core
        for hook in self._hooks:
            core.machine.remove_hook(hook)
        self._hooks.clear()
        for slot in range(native.WATCH_SLOTS):
            self._put(slot, (_NOWHERE, 0, 0, 0, 0))
        for slot, (bits, first, last, reads, page) in enumerate(ranges):
            self._put(slot, (first, last, reads, page, bits))
            kinds = library.HOOK_MEM_WRITE | (library.HOOK_MEM_READ if reads else 0)
            # The hook is chosen by an access's first byte.
            below, above = max(first - LONGEST_ACCESS + 1, page), min(last, page + 0xFFF)
            self._hooks.append(core.hook(kinds, core.hooks.memory, below, above))
        core.machine.flush_translations()

    def _put(self, slot: int, words: tuple[int, ...]) -> None:
        for i, word in enumerate(words, Word.WATCH + 5 * slot):
            self._core.w[i] = word

    def undo_stores(self) -> None:
        """Take back what the instruction at CS:RIP has stored to watched bytes, last first."""
        core = self._core
        for i in reversed(range(0, 4 * core.w[Word.MEMLOG_USED], 4)):
            address, what, old = core.log[i], core.log[i + 1], core.log[i + 3]
            if what >> 32 == library.MEM_WRITE:
                core.write_memory(address, old.to_bytes(8, "little")[: what & MASK32])
