"""What changed between two moments: registers by comparing, memory by a shadow copy of RAM.

Memory is compared once per stop, never per step. Must not know: why the guest stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ..x86.registers import RFLAGS, Regs, Sregs
from .stop import MemoryChange

Registers = tuple[Regs, Sregs]
DirtyLog = Callable[[int], tuple[int, frozenset[int] | None]]

PAGE: Final = 4096
SEARCHED: Final = 64 * 2**20
"""Bytes of RAM that are compared at a stop: all of a usual guest, the beginning of a big one."""

RUNS: Final = 64
"""At most so many changed places are kept in a stop."""

_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss")
_CONTROL = ("cr0", "cr2", "cr3", "cr4", "cr8", "efer")
_FLAGS = tuple((name, int(bits)) for name, bits in RFLAGS.__members__.items() if name != "FIXED")


def registers(old: Registers, new: Registers) -> dict[str, tuple[int, int]]:
    """Names of the registers that differ, with both values; without RIP and RFLAGS."""
    before, after = _named(*old), _named(*new)
    return {name: (before[name], after[name]) for name in after if before[name] != after[name]}


def _named(regs: Regs, sregs: Sregs) -> dict[str, int]:
    general = dict(zip(Regs._fields[:16], regs, strict=False))
    segments = {name: getattr(sregs, name).selector for name in _SEGMENTS}
    return general | segments | {name: getattr(sregs, name) for name in _CONTROL}


def flags(old: int, new: int) -> dict[str, tuple[int, int]]:
    """The flags that differ between two values of RFLAGS, by name.

    >>> flags(0x2, 0x43)
    {'CF': (0, 1), 'ZF': (0, 1)}
    """
    return {
        name: (_field(old, mask), _field(new, mask)) for name, mask in _FLAGS if (old ^ new) & mask
    }


def _field(value: int, mask: int) -> int:
    return (value & mask) // (mask & -mask)


class Pages(NamedTuple):
    """Pages that changed, as they were and as they are: (physical address, old, new)."""

    changed: tuple[tuple[int, bytes, bytes], ...] = ()

    def runs(self) -> tuple[tuple[MemoryChange, ...], int]:
        """What changed in them, at most RUNS runs, and how many more there are."""
        runs: list[MemoryChange] = []
        more = 0
        for page in self.changed:
            if len(runs) < RUNS:
                runs += stretches(*page)
            else:
                more += _count(*page[1:])
        return tuple(runs[:RUNS]), max(0, len(runs) - RUNS) + more


class Shadow:
    """RAM as it was at the previous stop, without planted bytes.

    Costs as much host memory as the RAM it shadows, from the first run on. ``dirty_log`` is an
    engine's ``get_dirty_log``, if it has one: then only those pages are compared.
    """

    def __init__(self, ram: memoryview, dirty_log: DirtyLog | None = None) -> None:
        self.searched = min(len(ram), SEARCHED)
        self._ram = ram[: self.searched]
        self._copy: bytearray | None = None
        self._dirty_log = dirty_log
        self._token = -1

    def begin(self, planted: Mapping[int, int]) -> None:
        """Take the copy, if there is none yet; ``planted`` maps addresses to the guest's bytes."""
        if self._copy is None:
            self._dirty()
            self._copy = bytearray(self._ram)
            self._unplant(self._copy, 0, planted)

    def _dirty(self) -> frozenset[int] | None:
        """Pages written since the last call; None: any may have been."""
        if self._dirty_log is None:
            return None
        self._token, pages = self._dirty_log(self._token)
        return pages

    def forget(self) -> None:
        """Drop the copy: memory was replaced as a whole, that is no change by the guest."""
        self._copy = None

    def note(self, address: int, data: bytes) -> None:
        """The host wrote this; it shall not count as a change by the guest."""
        if self._copy is not None and address < self.searched:
            room = self.searched - address
            self._copy[address : address + min(len(data), room)] = data[:room]

    def take(self, planted: Mapping[int, int]) -> Pages:
        """What changed since the last call."""
        if self._copy is None:
            return Pages()
        dirty = self._dirty()
        pages = self._differing() if dirty is None else sorted(dirty)
        changed = [self._changed(page, planted) for page in pages if page * PAGE < self.searched]
        return Pages(tuple(page for page in changed if page is not None))

    def _differing(self) -> list[int]:
        """All pages that differ from the copy."""
        import numpy as np

        now, old = np.frombuffer(self._ram, np.uint64), np.frombuffer(self._copy or b"", np.uint64)
        return [int(n) for n in np.flatnonzero((now != old).reshape(-1, PAGE // 8).any(axis=1))]

    def _changed(self, page: int, planted: Mapping[int, int]) -> tuple[int, bytes, bytes] | None:
        """A page that the guest changed; the copy follows."""
        first, copy = page * PAGE, self._copy or bytearray()
        old, new = copy[first : first + PAGE], bytes(self._ram[first : first + PAGE])
        if new == old:
            return None
        content = self._page(page, planted)
        copy[first : first + PAGE] = content
        return (first, bytes(old), content) if content != old else None

    def _page(self, page: int, planted: Mapping[int, int]) -> bytes:
        content = bytearray(self._ram[page * PAGE : (page + 1) * PAGE])
        self._unplant(content, page * PAGE, planted)
        return bytes(content)

    def _unplant(self, content: bytearray, base: int, planted: Mapping[int, int]) -> None:
        for address, byte in planted.items():
            if base <= address < base + len(content) and content[address - base] == 0xCC:
                content[address - base] = byte


def stretches(address: int, old: bytes, new: bytes) -> list[MemoryChange]:
    """The stretches of neighbouring bytes that differ, within one page."""
    import numpy as np

    places = np.flatnonzero(np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8))
    gaps = np.flatnonzero(np.diff(places) > 1) + 1
    return [
        MemoryChange(address + int(run[0]), old[run[0] : run[-1] + 1], new[run[0] : run[-1] + 1])
        for run in np.split(places, gaps)
        if run.size
    ]


def _count(old: bytes, new: bytes) -> int:
    """How many stretches there are."""
    import numpy as np

    differs = np.frombuffer(old, np.uint8) != np.frombuffer(new, np.uint8)
    return int(differs[0]) + int(np.count_nonzero(differs[1:] & ~differs[:-1]))
