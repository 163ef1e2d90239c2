"""Machine states kept on the way, as many as a budget of bytes allows, close together only lately.

Must not know: what a snapshot is made of, or how the guest gets from one to the next.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

from ..engines import Snapshot
from .journal import Position

BUDGET: Final = 256 * 2**20
"""Bytes of guest RAM in all checkpoints of one recording."""

_LEAST: Final = 3


class Checkpoint(NamedTuple):
    """A machine at a moment, with what belongs to the ioctl line but not to a snapshot."""

    position: Position
    snapshot: Snapshot
    vectors: frozenset[int]
    setting: tuple[int, tuple[int, ...]]


class Checkpoints:
    """Checkpoints in order; the first one, where the recording begins, always stays."""

    def __init__(self, size: int, budget: int = BUDGET) -> None:
        self._most = max(_LEAST, budget // size)
        self._kept: list[Checkpoint] = []

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, first: Checkpoint) -> None:
        """The recording begins anew there."""
        self._kept = [first]

    def add(self, checkpoint: Checkpoint, now: int) -> None:
        """Keep one more; another goes if there are too many. ``now`` is where the clock stands."""
        place = bisect_right(self._kept, checkpoint.position, key=_position)
        if self._kept[place - 1].position == checkpoint.position:
            return
        self._kept.insert(place, checkpoint)
        if len(self._kept) > self._most:
            del self._kept[self._cheapest(now)]

    def _cheapest(self, now: int) -> int:
        """Which one is missed least: the gap it would leave, against how long ago it was."""
        clocks = [checkpoint.position.clock for checkpoint in self._kept]

        def loss(i: int) -> float:
            return (clocks[i + 1] - clocks[i - 1]) / (abs(now - clocks[i]) + 1)

        return min(range(1, len(clocks) - 1), key=loss)

    def nearest(self, position: Position) -> Checkpoint:
        """The last one at ``position`` or before it."""
        return self._kept[max(0, bisect_right(self._kept, position, key=_position) - 1)]

    def cut(self, position: Position) -> list[Checkpoint]:
        """Keep those up to ``position``; the others."""
        place = max(1, bisect_right(self._kept, position, key=_position))
        tail = self._kept[place:]
        del self._kept[place:]
        return tail

    def put(self, tail: list[Checkpoint]) -> None:
        """Append what was cut off."""
        self._kept.extend(tail)


def _position(checkpoint: Checkpoint) -> Position:
    return checkpoint.position
