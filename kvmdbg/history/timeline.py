"""Every exit of a VM as one row, kept in columns so that a million of them stay cheap.

Columns are ``array.array``: 43 bytes an exit, and numpy reads them without a copy. Must not know:
engines, breakpoints, or how a timeline is drawn.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Unpack, overload

from ..engines import Steps
from ..errors import UnknownName
from ..exits import DebugExit, ExceptionExit, Exit, ExitReason
from ..x86.debugreg import DR6_BS, DR6_RESET
from ..x86.vectors import Vector

if TYPE_CHECKING:
    from .frames import DataFrame
    from .queries import Conditions, Gaps, Selection

TYPECODES: Final = {
    "reason": "B",
    "exception": "h",
    "pc": "Q",
    "dr6": "Q",
    "dr7": "Q",
    "clock": "q",
    "host_time": "d",
}
"""Column names and their ``array.array`` type codes."""

COLUMNS: Final = tuple(TYPECODES)
"""Row's fields but for ``index``."""


def names_of(name: str) -> str:
    """What is said about a column that does not exist."""
    return f'no column "{name}"; choose index, {", ".join(COLUMNS)}'


class Row(NamedTuple):
    """One exit.

    ``index`` counts from 0. ``exception`` is 1 (#DB) or 3 (#BP) for a DEBUG exit, the vector for an
    EXCEPTION exit, -1 for any other. ``pc`` is the linear address at which the guest stood; ``dr6``
    and ``dr7`` are a DEBUG exit's, 0 otherwise. ``clock`` is in guest instructions, -1 where the
    engine has no instruction clock; ``host_time`` is in seconds since the timeline began.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    reason: ExitReason
    exception: int
    pc: int
    dr6: int
    dr7: int
    clock: int
    host_time: float


class Rows:
    """Exits in columns, read as a sequence of :class:`Row`."""

    def __len__(self) -> int:
        raise NotImplementedError

    def _row(self, place: int) -> Row:
        raise NotImplementedError

    @overload
    def __getitem__(self, key: int) -> Row: ...
    @overload
    def __getitem__(self, key: slice) -> list[Row]: ...
    def __getitem__(self, key: int | slice) -> Row | list[Row]:
        places = range(len(self))[key]
        if isinstance(places, range):
            return [self._row(place) for place in places]
        return self._row(places)

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, range(len(self)))


class Timeline(Rows):
    """A sequence of :class:`Row`; appending costs about half a microsecond.

    One thread appends; others may read at any time and see only whole rows.

    >>> from kvmdbg.exits import HltExit
    >>> timeline = Timeline()
    >>> timeline.append(DebugExit(exception=1, pc=0x8000, dr6=0xFFFF4FF0, dr7=0x400), 0x8000, 1)
    >>> timeline.append(HltExit(), 0x8001, 2)
    >>> timeline[0].reason, timeline[-1].pc
    (<ExitReason.DEBUG: 4>, 32769)
    >>> timeline.counts()
    {<ExitReason.DEBUG: 4>: 1, <ExitReason.HLT: 5>: 1}
    """

    def __init__(self) -> None:
        self._columns: dict[str, array[Any]] = {}
        self._given_back = array("Q")
        self.told_from = 0
        """Of the rows before this one nobody knows whether they were given back to the guest."""
        self.clear()

    def clear(self) -> None:
        """Forget all rows; host time starts again at 0."""
        self._adopt({name: array(code) for name, code in TYPECODES.items()})
        self._given_back, self.told_from = array("Q"), 0
        self._start = perf_counter()

    def _adopt(self, columns: dict[str, array[Any]]) -> None:
        self._columns = columns
        self._appends = tuple(column.append for column in columns.values())

    def adopt(self, columns: dict[str, array[Any]]) -> None:
        """Take rows over from elsewhere: columns by the names and with the types of TYPECODES."""
        self._adopt(columns)
        self._given_back, self.told_from = array("Q"), len(self)
        self._start = perf_counter() - (columns["host_time"][-1] if len(self) else 0.0)

    def append(self, exit: Exit, pc: int, clock: int) -> None:
        """Add one exit; ``pc`` is linear, ``clock`` in instructions or -1."""
        row: tuple[float, ...]
        now = perf_counter() - self._start
        if type(exit) is DebugExit:
            row = (exit.reason, exit.exception, pc, exit.dr6, exit.dr7, clock, now)
        else:
            vector = exit.exception if type(exit) is ExceptionExit else -1
            row = (exit.reason, vector, pc, 0, 0, clock, now)
        try:
            self._append_row(row)
        except BufferError:
            self._leave_views_behind()
            self._append_row(row)

    def _append_row(self, row: tuple[float, ...]) -> None:
        reason, exception, at, dr6, dr7, clock, host_time = self._appends
        reason(row[0])
        exception(row[1])
        at(row[2])
        dr6(row[3])
        dr7(row[4])
        clock(row[5])
        host_time(row[6])

    def extend(
        self,
        steps: Steps,
        host_time: float,
        exception: int = Vector.DB,
        dr6: int = DR6_RESET | DR6_BS,
    ) -> None:
        """Add many DEBUG exits alike; ``host_time`` (``perf_counter``) is when the first one began.

        The time since then is shared out evenly among them.
        """
        import numpy as np

        count, now = len(steps.pcs), perf_counter() - self._start
        spent = (now - (host_time - self._start)) / max(count, 1)
        columns: dict[str, Any] = {
            "reason": np.full(count, ExitReason.DEBUG, np.uint8),
            "exception": np.full(count, exception, np.int16),
            "pc": steps.pcs,
            "dr6": np.full(count, dr6, np.uint64),
            "dr7": np.full(count, steps.dr7, np.uint64),
            "clock": steps.clocks,
            "host_time": now - spent * np.arange(count - 1, -1, -1),
        }
        try:
            self._extend(columns)
        except BufferError:
            self._leave_views_behind()
            self._extend(columns)

    def _extend(self, columns: dict[str, Any]) -> None:
        for name, values in columns.items():
            self._columns[name].frombytes(values.data.cast("B"))

    def _leave_views_behind(self) -> None:
        """Go on with copies: an array that numpy looks at must not grow (BufferError).

        Whoever holds such a view keeps it, as it was when the next exit came.
        """
        size = len(self)
        self._adopt({name: column[:size] for name, column in self._columns.items()})

    def _become_free(self) -> None:
        """Let the columns be such as may change their length."""
        try:
            for column in self._columns.values():
                del column[len(column) :]  # nothing, but refused where somebody looks
        except BufferError:
            self._leave_views_behind()

    # Whose debug exits they were

    def give_back(self) -> None:
        """The host gives the latest row's #DB or #BP to the guest, whose own it was."""
        row = len(self) - 1
        if row >= 0 and (not self._given_back or self._given_back[-1] < row):
            self._given_back.append(row)

    @property
    def given_back(self) -> array[int]:
        """A copy of the rows, in order, whose exception the guest got; see also ``told_from``."""
        return self._given_back[:]

    # Back in time

    def cut(self, size: int) -> Timeline:
        """Keep the first ``size`` rows; the others, which count from 0 again."""
        tail, known = Timeline(), bisect_left(self._given_back, size)
        tail.adopt({name: column[size:] for name, column in self._columns.items()})
        tail.told_from = max(0, self.told_from - size)
        tail._given_back = array("Q", (row - size for row in self._given_back[known:]))
        self._become_free()
        for column in self._columns.values():
            del column[size:]
        del self._given_back[known:]
        self.told_from = min(self.told_from, size)
        return tail

    def join(self, later: Timeline) -> None:
        """Put rows behind these that were cut off."""
        size = len(self)
        self._become_free()
        for name, column in self._columns.items():
            column.extend(later.column(name))
        self._given_back.extend(row + size for row in later.given_back)
        if later.told_from:
            self.told_from = size + later.told_from

    def __len__(self) -> int:
        return len(self._columns["host_time"])  # the last one that append fills

    def _row(self, place: int) -> Row:
        reason, *rest = (column[place] for column in self._columns.values())
        return Row(place, ExitReason(reason), *rest)

    def column(self, name: str) -> array[int] | array[float]:
        """One column, not copied: ``numpy.frombuffer(column, dtype=column.typecode)`` is free.

        A numpy view stays valid, but does not see exits that come after it was made.
        UnknownName for a name that is none of Row's fields.
        """
        if name == "index":
            return array("Q", range(len(self)))
        if name not in self._columns:
            raise UnknownName(names_of(name))
        return self._columns[name]

    def counts(self) -> dict[ExitReason, int]:
        """How many exits of each reason; reasons that did not occur are left out."""
        seen = self._columns["reason"][: len(self)].tobytes()
        return {reason: seen.count(reason) for reason in ExitReason if reason in seen}

    def where(self, **conditions: Unpack[Conditions]) -> Selection:
        """The rows for which all conditions hold; see ``Selection.where``. None: all rows."""
        from .queries import every

        return every(self).where(**conditions)

    def causes(self) -> dict[str, int]:
        """How many debug exits had each cause: ``step``, ``INT3``, ``DR0``, ..."""
        return self.where().causes()

    def gaps(self) -> Gaps:
        """What lies between one exit and the next, in instructions and in the host's seconds."""
        return self.where().gaps()

    def to_pandas(self) -> DataFrame:
        """All rows as a DataFrame; see ``Selection.to_pandas``."""
        return self.where().to_pandas()

    def summary(self) -> str:
        """One sentence: how many exits, in what time, of which reasons, most frequent first.

        >>> Timeline().summary()
        'No exits yet.'
        """
        if not len(self):
            return "No exits yet."
        often = sorted(self.counts().items(), key=lambda item: -item[1])
        reasons = ", ".join(f"{count:,} {reason.name}" for reason, count in often)
        exits = "1 exit" if len(self) == 1 else f"{len(self):,} exits"
        return f"{exits} in {_duration(self._columns['host_time'][-1])}: {reasons}."

    def __repr__(self) -> str:
        return f"<Timeline: {self.summary()}>"


def _duration(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1000:.4g} ms"
