"""Answers about the past as cards: who wrote this, when was that, the last recorded instructions.

Must not know: how an answer was found, or how a card is rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from .difference import difference
from .story import place
from .tables import Card, Column, Line, Table, count, head, line

if TYPE_CHECKING:
    from ..debugger.answers import Times, Writer
    from ..debugger.undoing import Undone
    from ..history.trace import TraceRow

ENDS: Final = 5
"""So many times are shown from the beginning and from the end."""


def writer(answer: Writer) -> Card:
    """Who it was, both values, and how to go there."""
    return Card(answer.line, ". ".join(part for part in (answer.values, answer.hint) if part))


def times(answer: Times) -> Card:
    """How often, the first and the last times, and those next to now."""
    if not len(answer):
        return Card(str(answer))
    rows = tuple(line(head(name), text) for name, text in _rows(answer))
    nearest = answer.before if answer.before is not None else answer.first
    return Card(
        str(answer),
        f"now: clock {answer.now:,}; %vm goto {nearest} goes there",
        (Table((Column(), Column("instruction clock")), rows),),
    )


def _rows(answer: Times) -> Iterator[tuple[str, str]]:
    clocks = answer.clocks.tolist()
    if len(clocks) <= 2 * ENDS:
        yield "all", _listed(clocks)
    else:
        yield "first", _listed(clocks[:ENDS])
        yield "last", _listed(clocks[-ENDS:])
    for name, clock in (("before now", answer.before), ("after now", answer.after)):
        if clock is not None:
            yield name, f"{clock:,}"


def _listed(clocks: Iterable[int]) -> str:
    return "  ".join(f"{clock:,}" for clock in clocks)


def undone(answer: Undone, labels: Mapping[int, str] | None = None) -> Card:
    """What was taken back, and what is otherwise again."""
    calls = ", ".join(dict.fromkeys(answer.calls))
    title = f"undone at clock {answer.clock:,}: {calls}"
    return difference(answer.diff, labels)._replace(title=title, sentence="")


def trace(
    rows: Iterable[TraceRow],
    total: int,
    text: Callable[[int], str],
    labels: Mapping[int, str] | None = None,
) -> Card:
    """Recorded instructions; ``text`` gives the instruction at a linear address."""
    shown = [_instruction(row, text, labels or {}) for row in rows]
    title = f"{count(total, 'recorded instruction')}, the last {len(shown)}"
    if not shown:
        return Card("nothing is recorded; %vm record on, then run")
    columns = (
        Column("clock", right=True),
        Column("at"),
        Column("instruction"),
        Column("registers", prose=True),
        Column("writes", prose=True),
    )
    return Card(title, "", (Table(columns, tuple(shown)),))


def _instruction(row: TraceRow, text: Callable[[int], str], labels: Mapping[int, str]) -> Line:
    registers = ", ".join(f"{name}={value:#x}" for name, value in row.registers.items())
    writes = ", ".join(f"[{w.address:#x}]: {w.old:#x} -> {w.new:#x}" for w in row.writes)
    return line(f"{row.clock:,}", place(row.pc, labels), text(row.pc), registers, writes)
