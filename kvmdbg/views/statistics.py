"""Exits counted: why the debug exits came, and how far apart exits are; as rows.

Must not know: how a card is rendered, or which exits these are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..history.queries import Gaps, Spread
from .tables import Card, Column, Line, Table, count, head, line

if TYPE_CHECKING:
    from ..history.queries import Exits

_MEANING = {
    "INT3": "an INT3 of the host's",
    **{f"DR{n}": f"debug register {n} matched" for n in range(4)},
    "step": "a single step",
    "GD": "an access to a debug register (general detect)",
    "task": "a task switch",
}


def statistics(exits: Exits) -> Card:
    """Causes of the debug exits, and the gaps between one exit and the next."""
    parts = [*_causes(exits.causes()), *_gaps(exits.gaps())]
    return Card(f"Statistics of {count(len(exits), 'exit')}", "", tuple(parts))


def _causes(causes: dict[str, int]) -> Iterator[Table]:
    if causes:
        columns = (Column("cause"), Column("exits", right=True), Column("what", prose=True))
        rows = (line(head(name), f"{n:,}", _MEANING[name]) for name, n in causes.items())
        yield Table(columns, tuple(rows), "causes of debug exits; one exit may have several")


def _gaps(gaps: Gaps) -> Iterator[Table]:
    rows = [*_spread("instructions", gaps.in_instructions, "{:,.0f}")]
    seconds = gaps.in_seconds
    if seconds is not None:
        rows += _spread("host ms", Spread(*(s * 1000 for s in seconds)), "{:,.3f}")
    if rows:
        names = ("least", "median", "p95", "most")
        columns = (Column(), *(Column(name, right=True) for name in names))
        yield Table(columns, tuple(rows), "from one exit to the next")


def _spread(name: str, spread: Spread | None, form: str) -> Iterator[Line]:
    if spread is not None:
        yield line(head(name), *(form.format(value) for value in spread))
