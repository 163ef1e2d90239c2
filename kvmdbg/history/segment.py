"""A stretch of executed instructions in the columns in which it was recorded, and their meaning.

What an instruction changed stands in front of the next one: a mask of registers, and their new
values. Must not know: how the columns are filled, or how several segments make a trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput, UnknownName

GENERAL: Final = (
    *("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"),
    *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
)
"""The general registers by their number in machine code (SDM vol. 2, table 3-1)."""

REGISTERS: Final = (*GENERAL, "rflags")
RFLAGS: Final = 16
"""The place of RFLAGS in REGISTERS."""

BLOCK: Final = 4096
"""The places of the values are known for each so many rows; between them masks are counted."""

_SHIFT: Final = 48
_SEARCHED: Final = 1 << 16
_STREAMS: Final = (("heads", np.uint64), ("flags", np.uint32), ("values", np.uint64))


def register_number(name: str) -> int:
    """A register's place in REGISTERS; UnknownName otherwise.

    >>> register_number("rsp"), register_number("rflags")
    (4, 16)
    """
    if name not in REGISTERS:
        raise UnknownName(f'a trace has no register "{name}"; choose {", ".join(REGISTERS)}')
    return REGISTERS.index(name)


class Segment:
    """``n`` instructions without a gap. The columns are taken as they are, and frozen.

    ``start`` is the instruction clock in front of row 0; each row is one tick. ``first`` and
    ``last`` are 17 numbers in the order of REGISTERS: in front of row 0, and after the last row.
    ``heads`` (uint64[n]) are the low 48 bits of the linear address with, above them, a mask of the
    general registers that changed since the head before (row 0: since ``first``); ``flags``
    (uint32[n]) is RFLAGS in front of each row; ``values`` (uint64[m]) are the new values, row by
    row, in ascending order of the mask's bits. ``writes`` (uint64[w, 4]) are, in order of time, the
    row's number << 8 | size in bytes, guest-physical address, old and new value. BadInput for
    columns that do not belong together.
    """

    def __init__(
        self,
        start: int,
        first: Sequence[int],
        last: Sequence[int],
        heads: NDArray[np.uint64],
        flags: NDArray[np.uint32],
        values: NDArray[np.uint64],
        writes: NDArray[np.uint64],
    ) -> None:
        self.start = start
        self.first = tuple(int(value) for value in first)
        self.last = tuple(int(value) for value in last)
        self.heads, self.flags, self.values, self.writes = heads, flags, values, writes
        self._check()
        for column in (heads, flags, values, writes):
            column.flags.writeable = False

    def _check(self) -> None:
        for name, kind in _STREAMS:
            column = getattr(self, name)
            if column.ndim != 1 or column.dtype != kind:
                raise BadInput(f"{name} of a trace is a column of {np.dtype(kind).name}")
        if self.writes.ndim != 2 or self.writes.shape[1] != 4 or self.writes.dtype != np.uint64:
            raise BadInput("writes of a trace are four columns of uint64")
        if len(self.first) != len(REGISTERS) or len(self.last) != len(REGISTERS):
            raise BadInput(f"first and last of a trace are {len(REGISTERS)} registers each")
        if len(self.flags) != len(self.heads) or len(self.values) != self._marks[-1]:
            raise BadInput("the columns of a trace do not belong together: their lengths differ")

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def end(self) -> int:
        """The instruction clock after the last row."""
        return self.start + len(self)

    def until(self, clock: int) -> Segment:
        """The rows in front of ``clock``, which lies inside this segment."""
        rows = clock - self.start
        writes = int(np.searchsorted(self._write_rows, rows))
        return Segment(
            self.start,
            self.first,
            self.state(rows),
            self.heads[:rows].copy(),
            self.flags[:rows].copy(),
            self.values[: self.place(rows)].copy(),
            self.writes[:writes].copy(),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of host memory in the columns."""
        return sum(c.nbytes for c in (self.heads, self.flags, self.values, self.writes))

    # What a head says

    def pcs(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Linear addresses, sign-extended from 48 bits."""
        shifted = (self.heads[start:stop] << np.uint64(16)).view(np.int64)
        return (shifted >> np.int64(16)).view(np.uint64)

    def masks(self, start: int, stop: int) -> NDArray[np.uint16]:
        """Which registers changed, in front of each row."""
        return (self.heads[start:stop] >> np.uint64(_SHIFT)).astype(np.uint16)

    @cached_property
    def _marks(self) -> NDArray[np.int64]:
        """How many values lie in front of each block of rows; the last one is how many there are.

        One pass in pieces, so that a long segment needs no second column of its length.
        """
        sums = [
            int(np.bitwise_count(self.masks(row, row + BLOCK)).sum(dtype=np.int64))
            for row in range(0, len(self), BLOCK)
        ]
        return np.concatenate([[0], np.cumsum(sums, dtype=np.int64)]).astype(np.int64)

    def place(self, row: int) -> int:
        """How many values lie in front of those of a row."""
        block = row // BLOCK
        between = self.masks(block * BLOCK, row)
        return int(self._marks[block]) + int(np.bitwise_count(between).sum(dtype=np.int64))

    # Row by row

    def changes(self, start: int, stop: int) -> Iterator[dict[str, int]]:
        """What each instruction from ``start`` up to ``stop`` changed: register and new value."""
        inner = min(stop, len(self) - 1)
        masks = self.masks(start + 1, inner + 1).tolist()
        place = self.place(start + 1) if start < inner else 0
        numbers = iter(self.values[place : place + sum(map(int.bit_count, masks))].tolist())
        flags = self.flags[start : inner + 1].tolist()
        for n, mask in enumerate(masks):
            changed = {name: next(numbers) for name in names_in(mask)}
            if flags[n + 1] != flags[n]:
                changed["rflags"] = flags[n + 1]
            yield changed
        if stop == len(self) and start < stop:
            yield self._last_changes()

    def _last_changes(self) -> dict[str, int]:
        """What the last instruction changed."""
        pairs = zip(REGISTERS, self.state(len(self) - 1), self.last, strict=True)
        return {name: new for name, old, new in pairs if old != new}

    def state(self, row: int) -> tuple[int, ...]:
        """All registers in front of a row, in the order of REGISTERS."""
        found = [self._value(number, row) for number in range(RFLAGS)]
        return (*found, int(self.flags[row]))

    def _value(self, number: int, row: int) -> int:
        at = self._last_marked(number, row + 1)
        if at is None:
            return self.first[number]
        below = int(self.masks(at, at + 1)[0]) & ((1 << number) - 1)
        return int(self.values[self.place(at) + below.bit_count()])

    def _last_marked(self, number: int, upto: int) -> int | None:
        """The last row before ``upto`` whose mask has the register."""
        bit = np.uint64(1 << _SHIFT + number)
        for stop in range(upto, 0, -_SEARCHED):
            begin = max(0, stop - _SEARCHED)
            found = np.flatnonzero(self.heads[begin:stop] & bit)
            if len(found):
                return begin + int(found[-1])
        return None

    # Questions

    def last_change(self, number: int, upto: int) -> int | None:
        """The last row before ``upto`` whose instruction changed a register."""
        if upto == len(self) and self.last[number] != self._before_last(number):
            return upto - 1
        inner = min(upto, len(self) - 1)
        if number == RFLAGS:
            return self._last_flags(inner)
        row = self._last_marked(number, inner + 1)
        return None if not row else row - 1

    def _before_last(self, number: int) -> int:
        row = len(self) - 1
        return int(self.flags[row]) if number == RFLAGS else self._value(number, row)

    def _last_flags(self, upto: int) -> int | None:
        for stop in range(upto, 0, -_SEARCHED):
            begin = max(0, stop - _SEARCHED)
            found = np.flatnonzero(np.diff(self.flags[begin : stop + 1]))
            if len(found):
                return begin + int(found[-1])
        return None

    @cached_property
    def _write_rows(self) -> NDArray[np.int64]:
        """The row of each write."""
        return (self.writes[:, 0] >> np.uint64(8)).astype(np.int64)

    def writes_of(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int, int]]:
        """(row, address, size, old, new) of the writes by rows from ``start`` up to ``stop``."""
        begin, end = np.searchsorted(self._write_rows, (start, stop))
        for key, address, old, new in self.writes[begin:end].tolist():
            yield key >> 8, address, key & 0xFF, old, new

    def last_write(self, address: int, upto: int) -> int | None:
        """The last row before ``upto`` that wrote the byte at an address."""
        if not 0 <= address < 1 << 64:
            return None
        end = int(np.searchsorted(self._write_rows, upto))
        wanted = np.uint64(address)
        for stop in range(end, 0, -_SEARCHED):
            begin = max(0, stop - _SEARCHED)
            keys, places = self.writes[begin:stop, 0], self.writes[begin:stop, 1]
            inside = (places <= wanted) & (wanted - places < (keys & np.uint64(0xFF)))
            found = np.flatnonzero(inside)
            if len(found):
                return int(self._write_rows[begin + found[-1]])
        return None

    # Whole columns

    def columns(self) -> dict[str, NDArray[Any]]:
        """``clock``, ``pc``, and all registers after each instruction."""
        size = len(self)
        masks = self.masks(0, size)
        counts = np.bitwise_count(masks)
        places = np.cumsum(counts, dtype=np.int64) - counts
        found: dict[str, NDArray[Any]] = {
            "clock": np.arange(self.start, self.end),
            "pc": self.pcs(0, size),
        }
        for number, name in enumerate(GENERAL):
            found[name] = self._filled(number, masks, places)
        after = np.append(self.flags[1:], np.uint32(self.last[RFLAGS] & 0xFFFF_FFFF))
        found["rflags"] = after.astype(np.uint64)
        return found

    def _filled(
        self, number: int, masks: NDArray[np.uint16], places: NDArray[np.int64]
    ) -> NDArray[np.uint64]:
        """One register after each row: its last value holds until there is a new one."""
        rows = np.flatnonzero(masks & np.uint16(1 << number))
        below = np.bitwise_count(masks[rows] & np.uint16((1 << number) - 1))
        known = np.append(np.uint64(self.first[number]), self.values[places[rows] + below])
        in_front = np.repeat(known, np.diff(rows, prepend=0, append=len(self)))
        return np.append(in_front[1:], np.uint64(self.last[number]))

    def write_columns(self, base: int) -> dict[str, NDArray[Any]]:
        """``row`` (counted from ``base``), ``clock``, ``address``, ``size``, ``old``, ``new``."""
        key, address, old, new = self.writes.T
        size = (key & np.uint64(0xFF)).astype(np.uint8)
        rows = {"row": base + self._write_rows, "clock": self.start + self._write_rows}
        return {**rows, "address": address, "size": size, "old": old, "new": new}


def names_in(mask: int) -> Iterator[str]:
    """The general registers of a mask, in ascending order of its bits.

    >>> list(names_in(0b10001))
    ['rax', 'rsp']
    """
    while mask:
        lowest = mask & -mask
        yield GENERAL[lowest.bit_length() - 1]
        mask ^= lowest
