"""``%vm why`` as rows: a table for each exception on the way, what was looked at line by line.

Must not know: how the evidence was found, or how a card is rendered.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .tables import Card, Cell, Column, Line, Table, head, line

if TYPE_CHECKING:
    from ..debugger.evidence import Evidence
    from ..debugger.explain import ExplainedStep, Explanation

_COLUMNS = (Column(), Column(), Column(prose=True))


def card(explanation: Explanation) -> Card:
    """The sentence, and under it each step; an explanation without steps is the sentence alone."""
    return Card(explanation.title, "", tuple(map(_step, explanation.steps)))


def _step(step: ExplainedStep) -> Table:
    lines = [row for item in step.evidence for row in _rows(item)]
    lines.append(line(head("result"), "", Cell(step.outcome)))
    return Table(_COLUMNS, tuple(lines), step.title)


def _rows(item: Evidence) -> Iterator[Line]:
    """What and where; its bytes; what is wrong, in words and not by a colour."""
    yield line(head(item.what), item.where, item.meaning)
    if item.raw:
        yield line("", "bytes", item.raw.hex(" "))
    if item.wrong:
        yield line("", Cell("wrong", title="this is what refused it"), item.wrong)
