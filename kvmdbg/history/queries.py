"""Questions about exits: some of a timeline's rows, as columns of their own.

numpy is imported when the first question is asked.
Must not know: engines, or how an answer is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

from ..errors import BadInput, UnknownName
from ..exits import ExitReason
from . import lanes
from .frames import codes, frame
from .timeline import COLUMNS, Row, Rows, Timeline, names_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .frames import DataFrame

Reason = ExitReason | str
_REASONS: Final = [reason.name for reason in ExitReason]


class Conditions(TypedDict, total=False):
    """What :meth:`Selection.where` takes."""

    reason: Reason | Iterable[Reason] | None
    exception: int | None
    cause: str | None
    pc: int | range | None
    between: tuple[int, int] | None
    first: int | None
    last: int | None


class Spread(NamedTuple):
    """A distribution in four numbers."""

    least: float
    median: float
    p95: float
    most: float


@dataclass(frozen=True, eq=False)
class Gaps:
    """What lies between one exit and the next: one number fewer than there are exits.

    ``instructions`` is empty where the engine has no instruction clock.
    """

    instructions: NDArray[np.int64]
    seconds: NDArray[np.float64]

    @property
    def in_instructions(self) -> Spread | None:
        """None if there are no gaps, or no clock."""
        return _spread(self.instructions)

    @property
    def in_seconds(self) -> Spread | None:
        """Of the host's time; None if there are no gaps."""
        return _spread(self.seconds)


def _spread(values: NDArray[Any]) -> Spread | None:
    import numpy as np

    if not len(values):
        return None
    return Spread(*map(float, np.percentile(values, (0, 50, 95, 100), method="nearest")))


class Selection(Rows):
    """Some rows of a timeline, in their order; they stay as they were when they were chosen.

    A sequence of :class:`~kvmdbg.history.timeline.Row`, whose ``index`` is that of the timeline.

    >>> from kvmdbg.exits import DebugExit, HltExit
    >>> timeline = Timeline()
    >>> timeline.append(DebugExit(1, 0x8000, 0xFFFF4FF0), 0x8000, 1)
    >>> timeline.append(HltExit(), 0x8001, 2)
    >>> timeline.where(reason="HLT")[0].pc
    32769
    >>> timeline.where().causes()
    {'step': 1}
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]], total: int) -> None:
        self._columns = dict(columns)
        self._total = total
        for column in self._columns.values():
            column.flags.writeable = False

    # A sequence

    def __len__(self) -> int:
        return len(self._columns["index"])

    def _row(self, place: int) -> Row:
        index, reason, *rest = (column[place].item() for column in self._columns.values())
        return Row(index, ExitReason(reason), *rest)

    def column(self, name: str) -> NDArray[Any]:
        """One column, read-only. UnknownName for a name that is none of Row's fields."""
        if name not in self._columns:
            raise UnknownName(names_of(name))
        return self._columns[name]

    # Questions

    def where(
        self,
        *,
        reason: Reason | Iterable[Reason] | None = None,
        exception: int | None = None,
        cause: str | None = None,
        pc: int | range | None = None,
        between: tuple[int, int] | None = None,
        first: int | None = None,
        last: int | None = None,
    ) -> Selection:
        """The rows for which all that is given holds.

        ``reason`` is an ExitReason, its name, or several of them; ``exception`` as in Row;
        ``cause`` one of ``lanes.CAUSES`` (``step``, ``INT3``, ``DR0``, ...); ``pc`` an address or a
        range; ``between`` two values of the instruction clock, both included. Of the rows that are
        left, the ``first`` or the ``last`` so many. Raises UnknownName, BadInput.
        """
        import numpy as np

        found = np.ones(len(self), bool)
        if reason is not None:
            found &= np.isin(self._columns["reason"], _reasons(reason))
        if exception is not None:
            found &= self._columns["exception"] == exception
        if cause is not None:
            found &= self._mask(cause_of(cause))
        if pc is not None:
            found &= _at(self._columns["pc"], pc)
        if between is not None:
            found &= _between(self._columns["clock"], between)
        places = _ends(np.flatnonzero(found), first, last)
        chosen = {name: column[places] for name, column in self._columns.items()}
        return Selection(chosen, self._total)

    def _mask(self, lane: lanes.Lane) -> Any:
        return lane.matches(*(self._columns[name] for name in ("reason", "exception", "dr6")))

    def counts(self) -> dict[ExitReason, int]:
        """How many exits of each reason; reasons that did not occur are left out."""
        import numpy as np

        seen, often = np.unique(self._columns["reason"], return_counts=True)
        return dict(zip(map(ExitReason, seen.tolist()), often.tolist(), strict=True))

    def causes(self) -> dict[str, int]:
        """How many debug exits had each cause; one exit may have several."""
        often = {name: int(self._mask(lane).sum()) for name, lane in lanes.CAUSES.items()}
        return {name: number for name, number in often.items() if number}

    def gaps(self) -> Gaps:
        """What lies between each of these exits and the next of them."""
        import numpy as np

        clock = self._columns["clock"]
        counted = clock if len(clock) and clock.min() >= 0 else clock[:0]
        return Gaps(np.diff(counted), np.diff(self._columns["host_time"]))

    def summary(self) -> str:
        """One sentence: how many of how many, and of which reasons, most frequent first."""
        often = sorted(self.counts().items(), key=lambda item: -item[1])
        reasons = ", ".join(f"{count:,} {reason.name}" for reason, count in often)
        of = f"{len(self):,} of {self._total:,} exits"
        return f"{of}: {reasons}." if reasons else f"{of}."

    def __repr__(self) -> str:
        return f"<Selection: {self.summary()}>"

    def to_pandas(self) -> DataFrame:
        """A DataFrame: Row's fields, with the index as its index.

        ``reason`` and ``kind`` (the lane's title) are categories. ToolMissing without pandas.
        """
        import numpy as np

        kinds = np.zeros(len(self), np.int8)
        for lane, found in lanes.masks(self):
            kinds[found] = lanes.LANES.index(lane)
        titles = [lane.title for lane in lanes.LANES]
        reason, *rest = COLUMNS
        data = {
            reason: (codes(self._columns[reason].tolist(), list(ExitReason)), _REASONS),
            "kind": (kinds, titles),
            **{name: self._columns[name] for name in rest},
        }
        return frame(data, index=self._columns["index"])


Exits = Timeline | Selection
"""What can be asked, counted and drawn."""


def every(timeline: Timeline) -> Selection:
    """All rows of a timeline, as they are now."""
    import numpy as np

    size = len(timeline)
    columns = {name: np.array(timeline.column(name)[:size]) for name in COLUMNS}
    return Selection({"index": np.arange(size), **columns}, size)


def reason_of(name: Reason) -> ExitReason:
    """An exit reason by its name, in any case; UnknownName otherwise.

    >>> reason_of("hlt")
    <ExitReason.HLT: 5>
    """
    if isinstance(name, ExitReason):
        return name
    try:
        return ExitReason[name.upper()]
    except KeyError:
        raise UnknownName(f'no exit reason "{name}"; choose {", ".join(_REASONS)}') from None


def cause_of(name: str) -> lanes.Lane:
    """A cause of debug exits by its name, in any case; UnknownName otherwise."""
    for known, lane in lanes.CAUSES.items():
        if known.lower() == name.lower():
            return lane
    raise UnknownName(f'no cause "{name}"; choose {", ".join(lanes.CAUSES)}')


def _reasons(reason: Reason | Iterable[Reason]) -> list[int]:
    several = [reason] if isinstance(reason, ExitReason | str) else list(reason)
    return [int(reason_of(one)) for one in several]


def _at(column: NDArray[Any], pc: int | range) -> Any:
    if isinstance(pc, range):
        low, high = pc.start, pc.stop
        return (column >= max(low, 0)) & (column < high) if high > 0 else column != column
    return column == pc if 0 <= pc < 1 << 64 else column != column


def _between(clock: NDArray[Any], between: tuple[int, int]) -> Any:
    low, high = between
    if low > high:
        raise BadInput(f"between clock {low:,} and {high:,} there is nothing: the first is larger")
    return (clock >= max(low, 0)) & (clock <= high)


def _ends(places: NDArray[Any], first: int | None, last: int | None) -> NDArray[Any]:
    for number in (first, last):
        if number is not None and number < 0:
            raise BadInput(f"first and last are numbers of rows from 0, not {number}")
    if first is not None:
        places = places[:first]
    return places[max(0, len(places) - last) :] if last is not None else places
