"""What a command of the run loop came to, before it is made into a Stop.

Must not know: registers, memory, or anything else that a stop shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..exits import Exit, HltExit, IntrExit, ShutdownExit
from . import causes
from .limits import Limits
from .stop import StopKind


class Outcome(NamedTuple):
    """The run ended: the last exit, what sort of end it is, every reason, breakpoints hit."""

    exit: Exit
    kind: StopKind
    reasons: tuple[str, ...]
    hits: tuple[int, ...] = ()


class Goal(NamedTuple):
    """A place to run to once: linear address, and the least RSP at which it counts.

    The stack grows down, so a deeper call of the same function arrives with a smaller RSP.
    """

    address: int
    rsp: int
    title: str


def of_intr(exit: IntrExit, limits: Limits) -> Outcome:
    """The run was ended from outside."""
    if exit.cause == "budget" and limits.instructions is not None:
        return Outcome(exit, StopKind.BUDGET, (causes.budget(limits.instructions),))
    if exit.cause == "timeout" and limits.seconds is not None:
        return Outcome(exit, StopKind.TIMEOUT, (causes.timeout(limits.seconds),))
    return Outcome(exit, StopKind.INTERRUPTED, (causes.REQUEST,))


def of_end(exit: Exit) -> Outcome:
    """The guest halted, shut down, or cannot go on."""
    if isinstance(exit, HltExit):
        return Outcome(exit, StopKind.HALT, (causes.HALT,))
    if isinstance(exit, ShutdownExit):
        return Outcome(exit, StopKind.SHUTDOWN, (causes.SHUTDOWN,))
    return Outcome(exit, StopKind.ERROR, (causes.failure(exit),))


def of_hits(exit: Exit, kind: StopKind, hits: Sequence[tuple[int, str]]) -> Outcome | None:
    """Breakpoints, as (number, reason); None if there is none."""
    if not hits:
        return None
    return Outcome(exit, kind, tuple(reason for _, reason in hits), tuple(n for n, _ in hits))


def both(first: Outcome | None, second: Outcome | None) -> Outcome | None:
    """Two reasons for one stop; the first one's kind stands."""
    if first is None or second is None:
        return first or second
    return first._replace(reasons=first.reasons + second.reasons, hits=first.hits + second.hits)
