"""Machine states kept on the way, as many as a budget of bytes allows, close together only lately.

Must not know: what a snapshot is made of, or how the guest gets from one to the next.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Final, NamedTuple

from ..engines import Snapshot
from .journal import Position

BUDGET: Final = 256 * 2**20
"""Bytes that all checkpoints of one recording may hold."""

_LEAST: Final = 3
_MOST: Final = 1024
"""Checkpoints: beyond this, the search for the one to drop would be felt."""


class Checkpoint(NamedTuple):
    """A machine at a moment, with what belongs to the ioctl line but not to a snapshot."""

    position: Position
    snapshot: Snapshot
    vectors: frozenset[int]
    setting: tuple[int, tuple[int, ...]]
    tracing: bool = False


class Checkpoints:
    """Checkpoints in order; the first one, where the recording begins, always stays."""

    def __init__(self, size: int, budget: int = BUDGET) -> None:
        self._size = size
        self._budget = budget
        self._kept: list[Checkpoint] = []
        self._weights: list[int] = []

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes_held(self) -> int:
        """Bytes in all of them; what several share counts once."""
        return sum(self._weights)

    def begin(self, first: Checkpoint) -> None:
        """The recording begins anew there."""
        self._kept = [first]
        self._weigh()

    def clear(self) -> None:
        """Nobody will go back any more."""
        self._kept, self._weights = [], []

    def add(self, checkpoint: Checkpoint, now: int) -> None:
        """Keep one more; others go if there are too many. ``now`` is where the clock stands."""
        place = bisect_right(self._kept, checkpoint.position, key=_position)
        if self._kept[place - 1].position == checkpoint.position:
            return
        self._kept.insert(place, checkpoint)
        self._weights.insert(place, 0)
        self._weigh(place)
        while len(self._kept) > _LEAST and self._too_much():
            self._drop(self._cheapest(now))

    def _too_much(self) -> bool:
        return len(self._kept) > _MOST or self.bytes_held > self._budget

    def _drop(self, place: int) -> None:
        del self._kept[place], self._weights[place]
        self._weigh(place - 1)

    def _weigh(self, place: int | None = None) -> None:
        """Weigh one and the one behind it anew, or all."""
        places = range(len(self._kept)) if place is None else (place, place + 1)
        if place is None:
            self._weights = [0] * len(self._kept)
        for i in places:
            if i < len(self._kept):
                before = self._kept[i - 1].snapshot if i else None
                self._weights[i] = self._weight(self._kept[i].snapshot, before)

    def _weight(self, snapshot: Snapshot, before: Snapshot | None) -> int:
        """Bytes of a snapshot that the one before it has not; all of RAM if it cannot say."""
        beyond: Callable[[Snapshot | None], int] | None = getattr(snapshot, "beyond", None)
        return self._size if beyond is None else beyond(before)

    def _cheapest(self, now: int) -> int:
        """Which one is missed least: the gap it would leave, against how long ago it was."""
        clocks = [checkpoint.position.clock for checkpoint in self._kept]

        def loss(i: int) -> float:
            return (clocks[i + 1] - clocks[i - 1]) / (abs(now - clocks[i]) + 1)

        return min(range(1, len(clocks) - 1), key=loss)

    def nearest(self, position: Position) -> Checkpoint:
        """The last one at ``position`` or before it."""
        return self._kept[max(0, bisect_right(self._kept, position, key=_position) - 1)]

    def at(self, position: Position) -> Snapshot | None:
        """What was taken at this very moment, if anything was."""
        place = bisect_right(self._kept, position, key=_position) - 1
        found = place >= 0 and self._kept[place].position == position
        return self._kept[place].snapshot if found else None

    def cut(self, position: Position) -> list[Checkpoint]:
        """Keep those up to ``position``; the others."""
        place = max(1, bisect_right(self._kept, position, key=_position))
        tail = self._kept[place:]
        del self._kept[place:], self._weights[place:]
        return tail

    def put(self, tail: list[Checkpoint]) -> None:
        """Append what was cut off."""
        self._kept.extend(tail)
        self._weigh()


def _position(checkpoint: Checkpoint) -> Position:
    return checkpoint.position
