"""The long stop card: who caused it, what KVM would have done without us, every bit and byte of it.

One card from one stop, for ``text`` and ``html`` alike; the short one is ``story.stop``. Must not
know: how a card is rendered, or how a stop came to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..debugger import verdict
from ..exits import DebugExit
from ..x86.vectors import Vector
from . import debugregs, story, structs
from .tables import Card, Column, Line, Table, Verbatim, head, line

if TYPE_CHECKING:
    from ..debugger.stop import GuestDebugSetting, Stop
    from ..debugger.verdict import Verdict


def stop_long(stop: Stop, labels: Mapping[int, str]) -> Card:
    """The short card's first line, then the verdict, DR6 and DR7, and both structs."""
    short = story.stop(stop, labels)
    answer = verdict.of_stop(stop)
    parts = (
        *verdict_parts(answer),
        *_debugregs(stop),
        *structs.structs(stop.debug, stop.exit, labels).parts,
    )
    return Card(short.title, short.sentence, parts)


def verdict_parts(answer: Verdict) -> tuple[Table | Verbatim, ...]:
    """Who, what without us, whether to re-inject; then the calls that do it."""
    lines = [row for claim in answer.claims for row in _claim_lines(claim)]
    lines.append(line(head("re-inject?"), answer.advice))
    table = Table((Column(), Column(prose=True)), tuple(lines), "Who caused it")
    if not answer.calls:
        return (table,)
    return table, Verbatim("the call" + "s" * (len(answer.calls) > 1), "\n".join(answer.calls))


def _claim_lines(claim: verdict.Claim) -> Iterator[Line]:
    yield line(head("who"), claim.who)
    yield line(head("without us"), claim.without)


def _debugregs(stop: Stop) -> tuple[Table, ...]:
    """Only a #DB says anything in DR6."""
    exit = stop.exit
    reported = None
    if isinstance(exit, DebugExit) and exit.exception == Vector.DB:
        reported = exit.dr6
    summary, dr6, dr7 = debugregs.decoded(stop.debugregs, stop.debug.effective, reported)
    return summary._replace(caption=_owner(stop.debug)), dr6, dr7


def _owner(setting: GuestDebugSetting) -> str:
    if setting.effective is not None:
        return "Debug registers: the host's are in effect, the guest's DR0-DR3 and DR7 are inert"
    return "Debug registers: the guest's own are in effect"
