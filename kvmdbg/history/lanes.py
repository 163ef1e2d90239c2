"""Kinds of exits as people tell them apart: single-steps, INT3, hits of DR0-DR3, port I/O, ...

One table of rules, used on single rows and on whole numpy columns. An exit has one lane, but may
have several causes. Must not know: who asks, or how a lane is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..exits import ExitReason
from ..x86.debugreg import DR6_B, DR6_BD, DR6_BS, DR6_BT
from ..x86.vectors import Vector

if TYPE_CHECKING:
    from .queries import Exits


class Lane(NamedTuple):
    """One kind of exit; the first lane of LANES that matches is the exit's.

    ``exception`` None means any, ``dr6`` is a mask of which one bit must be set, 0 for none.
    """

    title: str
    reason: ExitReason
    exception: int | None = None
    dr6: int = 0

    def matches(self, reason: Any, exception: Any, dr6: Any) -> Any:
        """True for one exit's numbers, or a mask for whole numpy columns."""
        found = reason == self.reason
        if self.exception is not None:
            found = found & (exception == self.exception)
        if self.dr6:
            found = found & (dr6 & self.dr6 != 0)
        return found


_DEBUG_LANES = (
    Lane("DEBUG #BP", ExitReason.DEBUG, Vector.BP),
    Lane("DEBUG DR0-3", ExitReason.DEBUG, Vector.DB, DR6_B),
    Lane("DEBUG step", ExitReason.DEBUG, Vector.DB, DR6_BS),
    Lane("DEBUG other", ExitReason.DEBUG),
)
LANES: Final = (
    *_DEBUG_LANES,
    *(Lane(reason.name, reason) for reason in ExitReason if reason is not ExitReason.DEBUG),
)
"""Every exit falls into exactly one of these, the first that matches."""

CAUSES: Final = {
    "INT3": Lane("INT3", ExitReason.DEBUG, Vector.BP),
    **{f"DR{n}": Lane(f"DR{n}", ExitReason.DEBUG, Vector.DB, 1 << n) for n in range(4)},
    "step": Lane("step", ExitReason.DEBUG, Vector.DB, DR6_BS),
    "GD": Lane("GD", ExitReason.DEBUG, Vector.DB, DR6_BD),
    "task": Lane("task", ExitReason.DEBUG, Vector.DB, DR6_BT),
}
"""Why a debug exit came, as DR6 says: GD is an access to a debug register, task a task switch."""


def lane_of(reason: int, exception: int, dr6: int) -> Lane:
    """The lane of one exit.

    >>> lane_of(4, 1, 0xFFFF4FF0).title, lane_of(5, -1, 0).title
    ('DEBUG step', 'HLT')
    """
    return next(lane for lane in LANES if lane.matches(reason, exception, dr6))


def masks(exits: Exits) -> Iterator[tuple[Lane, Any]]:
    """The lanes in which there are exits, in the order of LANES, each with its mask over them."""
    import numpy as np

    columns = [np.asarray(exits.column(name)) for name in ("reason", "exception", "dr6")]
    size = min(map(len, columns))
    reason, exception, dr6 = (column[:size] for column in columns)
    left = np.ones(size, bool)
    for lane in LANES:
        found = lane.matches(reason, exception, dr6) & left
        if found.any():
            yield lane, found
            left &= ~found


def count_lanes(exits: Exits) -> dict[Lane, int]:
    """How many exits of each lane, in the order of LANES; lanes without any are left out."""
    return {lane: int(found.sum()) for lane, found in masks(exits)}
