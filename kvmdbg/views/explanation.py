"""``%vm why`` as rows: a table for each exception on the way, what was looked at line by line.

Words are broken into rows of their own, so that no line of the text form is wider than ``WIDTH``.
Must not know: how the evidence was found, or how a card is rendered.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from .tables import Card, Cell, Column, Line, Table, head, line, printable

if TYPE_CHECKING:
    from ..debugger.evidence import Evidence
    from ..debugger.explain import ExplainedStep, Explanation

WIDTH = 100
"""Columns of the text form."""

_COLUMNS = (Column(), Column(), Column(prose=True))
_GAPS = 4
"""Blanks between the three columns of a table."""


def card(explanation: Explanation) -> Card:
    """The sentence, and under it each step; an explanation without steps is the sentence alone."""
    title, *rest = folded(explanation.title)
    return Card(title, "", (*_continued(rest), *map(_step, explanation.steps)))


def folded(text: str, width: int = WIDTH) -> list[str]:
    """``text``, made printable, in lines of at most ``width``; one line even if it is empty."""
    return wrap(printable(text), width, break_on_hyphens=False) or [""]


def _continued(rest: list[str]) -> Iterator[Table]:
    """What of a title does not fit into its line."""
    if rest:
        yield Table((Column(prose=True),), tuple(line(text) for text in rest))


def _step(step: ExplainedStep) -> Table:
    rows = tuple(_rows(step))
    taken = _GAPS + max(len(name.text) for name, _, _ in rows)
    taken += max(len(where.text) for _, where, _ in rows)
    lines = tuple(found for row in rows for found in _lines(*row, width=WIDTH - taken))
    caption, *_ = folded(step.title)
    return Table(_COLUMNS, lines, caption)


_Row = tuple[Cell, Cell, str]


def _rows(step: ExplainedStep) -> Iterator[_Row]:
    """Why it was raised, what was looked at, what came of it, and what would help."""
    if step.cause:
        yield head("because"), Cell(), step.cause
    for item in step.evidence:
        yield from _looked_at(item)
    yield head("result"), Cell(), step.outcome
    for mend in step.mends:
        yield head("to mend"), Cell(), mend


def _looked_at(item: Evidence) -> Iterator[_Row]:
    """What and where; its bytes; what is wrong, in words and not by a colour."""
    yield head(item.what), Cell(item.where), item.meaning
    if item.raw:
        yield Cell(), Cell("bytes"), item.raw.hex(" ")
    if item.wrong:
        yield Cell(), Cell("wrong", title="this is what refused it"), item.wrong


def _lines(name: Cell, where: Cell, words: str, width: int) -> Iterator[Line]:
    first, *more = folded(words, width)
    yield line(name, where, first)
    for text in more:
        yield line("", "", text)
