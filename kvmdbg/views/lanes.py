"""Kinds of exits as people tell them apart: single-steps, INT3, hits of DR0-DR3, port I/O, ...

One table of rules, used on single rows (text, HTML) and on whole numpy columns (figures). Must not
know: how a lane is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..exits import (
    DebugExit,
    ExceptionExit,
    Exit,
    ExitReason,
    InternalErrorExit,
    IntrExit,
    IoExit,
    MmioExit,
    UnknownExit,
)
from ..x86 import vectors
from ..x86.debugreg import DR6_B, DR6_BS, decode_dr6
from .tables import count

if TYPE_CHECKING:
    from ..history.timeline import Row, Timeline


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
    Lane("DEBUG #BP", ExitReason.DEBUG, vectors.Vector.BP),
    Lane("DEBUG DR0-3", ExitReason.DEBUG, vectors.Vector.DB, DR6_B),
    Lane("DEBUG step", ExitReason.DEBUG, vectors.Vector.DB, DR6_BS),
    Lane("DEBUG other", ExitReason.DEBUG),
)
LANES = (
    *_DEBUG_LANES,
    *(Lane(reason.name, reason) for reason in ExitReason if reason is not ExitReason.DEBUG),
)
"""Every exit falls into exactly one of these, the first that matches."""


def lane_of(reason: int, exception: int, dr6: int) -> Lane:
    """The lane of one exit.

    >>> lane_of(4, 1, 0xFFFF4FF0).title, lane_of(5, -1, 0).title
    ('DEBUG step', 'HLT')
    """
    return next(lane for lane in LANES if lane.matches(reason, exception, dr6))


def count_lanes(timeline: Timeline) -> dict[Lane, int]:
    """How many exits of each lane, in the order of LANES; lanes without any are left out."""
    names = ("reason", "exception", "dr6")
    sums: Counter[Lane] = Counter()
    for key, number in Counter(zip(*map(timeline.column, names), strict=False)).items():
        sums[lane_of(*map(int, key))] += number
    return {lane: sums[lane] for lane in LANES if lane in sums}


def _causes(row: Row) -> Iterator[str]:
    dr6 = decode_dr6(row.dr6)
    yield from (f"DR{index}" for index in dr6.hits)
    named = (("step", dr6.bs), ("MOV DR (GD)", dr6.bd), ("task switch", dr6.bt))
    yield from (name for name, happened in named if happened)


def exit_words(row: Row) -> str:
    """What an exit was, shortly: ``DEBUG DR1, step`` or ``EXCEPTION #PF``."""
    if row.reason is ExitReason.DEBUG and row.exception == vectors.Vector.DB:
        return "DEBUG " + (", ".join(_causes(row)) or "#DB")
    if row.exception >= 0:
        return f"{row.reason.name} {vectors.name(row.exception)}"
    return row.reason.name


def _vector_facts(exit: DebugExit | ExceptionExit) -> str:
    name = f"exception {exit.exception} ({vectors.name(exit.exception)})"
    if isinstance(exit, ExceptionExit):
        return f"{name}, error code {exit.error_code:#x}"
    return f"{name}, dr6 {exit.dr6:#x}, dr7 {exit.dr7:#x}" if exit.dr6 or exit.dr7 else name


def _access_facts(exit: IoExit | MmioExit) -> str:
    data = exit.data[:8].hex(" ") + (" ..." if len(exit.data) > 8 else "")
    if isinstance(exit, IoExit):
        size = f"{exit.count} x {count(exit.size, 'byte')}"
        head = f"{exit.direction} port {exit.port:#x}, {size}"
        return f"{head}: {data}" if exit.direction == "out" else head
    verb = "write" if exit.is_write else "read"
    head = f"{verb} {count(len(exit.data), 'byte')} at {exit.phys_addr:#x}"
    return f"{head}: {data}" if exit.is_write else head


def exit_facts(exit: Exit) -> str:
    """An exit with what ``struct kvm_run`` says about it.

    >>> exit_facts(DebugExit(1, 0x8000, 0xFFFF4FF0, 0x400))
    'DEBUG: exception 1 (#DB), dr6 0xffff4ff0, dr7 0x400'
    """
    facts = ""
    if isinstance(exit, DebugExit | ExceptionExit):
        facts = _vector_facts(exit)
    elif isinstance(exit, IoExit | MmioExit):
        facts = _access_facts(exit)
    elif isinstance(exit, IntrExit):
        facts = exit.cause
    elif isinstance(exit, InternalErrorExit):
        facts = exit.detail or f"suberror {exit.suberror}"
    elif isinstance(exit, UnknownExit):
        facts = f"reason {exit.raw}"
    return f"{exit.reason.name}: {facts}" if facts else exit.reason.name
