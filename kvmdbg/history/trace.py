"""Every executed instruction: where it was, what it changed in registers, what it wrote to memory.

A trace is read from the columns that a full recording leaves behind (``segment``). Must not know:
engines, or how the columns are filled.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from .frames import frame
from .segment import REGISTERS, Segment, register_number

if TYPE_CHECKING:
    from .frames import DataFrame

Find = Callable[[Segment, int], int | None]

CHUNK: Final = 4096
"""So many rows are decoded at once when one walks through a trace."""


class Write(NamedTuple):
    """Bytes written to memory: guest-physical address, size in bytes (1 to 8), unsigned values."""

    address: int
    size: int
    old: int
    new: int


class TraceRow(NamedTuple):
    """One executed instruction.

    ``index`` counts from 0; ``clock`` is the instruction clock in front of it, ``pc`` its linear
    address. ``registers`` has the new values of what it changed, by name, ``rflags`` included;
    ``writes`` what it wrote to memory, in order.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    clock: int
    pc: int
    registers: dict[str, int]
    writes: tuple[Write, ...]


class Trace:
    """A sequence of :class:`TraceRow`, made of segments that follow each other in time.

    What ran between two segments is not known; ``clock`` tells that something is missing.
    """

    def __init__(self, segments: Iterable[Segment] = ()) -> None:
        self.segments = tuple(segment for segment in segments if len(segment))
        self._ends = list(accumulate(map(len, self.segments)))

    # A sequence

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, key: int) -> TraceRow: ...
    @overload
    def __getitem__(self, key: slice) -> list[TraceRow]: ...
    def __getitem__(self, key: int | slice) -> TraceRow | list[TraceRow]:
        places = range(len(self))[key]
        if not isinstance(places, range):
            return next(self.rows(places, places + 1))
        if places.step == 1:
            return list(self.rows(places.start, places.stop))
        return [next(self.rows(place, place + 1)) for place in places]

    def __iter__(self) -> Iterator[TraceRow]:
        return self.rows(0, len(self))

    def rows(self, start: int, stop: int) -> Iterator[TraceRow]:
        """The rows from ``start`` up to ``stop``, decoded some thousand at a time."""
        while start < stop:
            segment, base = self._segment(start)
            upto = min(stop - base, start - base + CHUNK, len(segment))
            yield from _rows(segment, base, start - base, upto)
            start = base + upto

    def _segment(self, row: int) -> tuple[Segment, int]:
        """The segment of a row, and how many rows are before it."""
        place = bisect_right(self._ends, row)
        return self.segments[place], self._ends[place] - len(self.segments[place])

    @property
    def nbytes(self) -> int:
        """Bytes of host memory in the columns."""
        return sum(segment.nbytes for segment in self.segments)

    def __repr__(self) -> str:
        if not self.segments:
            return "<Trace: no instructions>"
        first, last = self.segments[0].start, self.segments[-1].end
        return f"<Trace: {len(self):,} instructions, clock {first:,} to {last:,}>"

    # Questions

    def find_pc(self, address: int) -> NDArray[np.int64]:
        """The clocks at which the instruction at linear ``address`` was about to be executed."""
        found = [s.start + np.flatnonzero(s.pcs(0, len(s)) == address) for s in self.segments]
        return np.concatenate(found, dtype=np.int64) if found else np.empty(0, np.int64)

    def last_write(self, address: int, before: int | None = None) -> TraceRow | None:
        """The last instruction that wrote the byte at guest-physical ``address``, if any.

        ``before``: only those executed before the clock stood there.
        """
        return self._last(lambda segment, upto: segment.last_write(address, upto), before)

    def last_change(self, register: str, before: int | None = None) -> TraceRow | None:
        """The last instruction that changed a register (64-bit name, or ``rflags``), if any.

        UnknownName for another name.
        """
        number = register_number(register)
        return self._last(lambda segment, upto: segment.last_change(number, upto), before)

    def _last(self, find: Find, before: int | None) -> TraceRow | None:
        for segment, end in zip(reversed(self.segments), reversed(self._ends), strict=True):
            size = len(segment)
            upto = size if before is None else min(size, before - segment.start)
            row = find(segment, upto) if upto > 0 else None
            if row is not None:
                return self[end - size + row]
        return None

    # Whole columns

    def to_numpy(self) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Two tables of columns: instructions, and writes to memory.

        Of each instruction ``clock``, ``pc`` and all registers as they are *after* it (``rax`` to
        ``r15``, ``rflags``); of each write the instruction's ``row`` and ``clock``, ``address``,
        ``size``, ``old``, ``new``. 152 bytes an instruction.
        """
        parts = [segment.columns() for segment in self.segments]
        names = ("clock", "pc", *REGISTERS)
        rows = {name: _joined([part[name] for part in parts]) for name in names}
        bases = [end - len(segment) for end, segment in zip(self._ends, self.segments, strict=True)]
        tables = [s.write_columns(base) for s, base in zip(self.segments, bases, strict=True)]
        fields = ("row", "clock", "address", "size", "old", "new")
        return rows, {name: _joined([table[name] for table in tables]) for name in fields}

    def to_pandas(self) -> tuple[DataFrame, DataFrame]:
        """The tables of :meth:`to_numpy` as DataFrames. ToolMissing without pandas."""
        rows, writes = self.to_numpy()
        return frame(rows), frame(writes)


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def _rows(segment: Segment, base: int, start: int, stop: int) -> Iterator[TraceRow]:
    """Rows of one segment, decoded together."""
    pcs = segment.pcs(start, stop).tolist()
    changes = segment.changes(start, stop)
    writes: dict[int, list[Write]] = {}
    for row, *write in segment.writes_of(start, stop):
        writes.setdefault(row, []).append(Write(*write))
    for n, (pc, changed) in enumerate(zip(pcs, changes, strict=True), start):
        yield TraceRow(base + n, segment.start + n, pc, changed, tuple(writes.get(n, ())))
