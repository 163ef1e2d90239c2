"""What a view consists of: cards of tables, lines, cells and marks. No layout, no colour.

``cpu``, ``debugregs`` and ``story`` build these from registers, stops and exits; ``text`` and
``html`` render them. Both see the same rows, so a text can never say something else than its HTML.
Must not know: what a row means, or how it is drawn.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Mark(Enum):
    """A sign on a cell, told by its shape and never only by a colour: ASCII, symbol, words."""

    NONE = ("", "", "")
    CHANGED = ("*", "▲", "changed")
    ACTIVE = ("+", "◆", "active")
    HERE = ("=>", "▶", "next instruction")
    BREAK = ("B", "●", "breakpoint")

    def __init__(self, ascii: str, symbol: str, words: str) -> None:
        self.ascii = ascii
        self.symbol = symbol
        self.words = words

    @property
    def leads(self) -> bool:
        """The sign stands before the cell's text."""
        return self in (Mark.HERE, Mark.BREAK)


class Cell(NamedTuple):
    """One value; ``title`` shows under a resting pointer, ``head`` makes it a row header."""

    text: str = ""
    mark: Mark = Mark.NONE
    title: str = ""
    head: bool = False


class Column(NamedTuple):
    """``prose`` columns hold words and may wrap, others are fixed-width; ``width`` is a minimum."""

    title: str = ""
    right: bool = False
    prose: bool = False
    width: int = 0


class Line(NamedTuple):
    """A row. With fewer cells than the table has columns, the last cell takes the rest."""

    cells: tuple[Cell, ...]
    here: bool = False


class Table(NamedTuple):
    """``gap``: blanks between columns; 2, or 1 for names beside values, or 0 for dumped bytes."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    caption: str = ""
    gap: int = 2


class Verbatim(NamedTuple):
    """Text as the guest printed it."""

    caption: str
    text: str


class Card(NamedTuple):
    """A whole view. The title is a name for machines only where ``bare`` is set."""

    title: str
    sentence: str = ""
    parts: tuple[Table | Verbatim, ...] = ()
    bare: bool = False


def head(text: str, title: str = "") -> Cell:
    """A row header."""
    return Cell(text, title=title, head=True)


def line(*cells: Cell | str, here: bool = False) -> Line:
    """A row from cells and plain strings."""
    return Line(tuple(Cell(c) if isinstance(c, str) else c for c in cells), here)


def without_empty_columns(table: Table) -> Table:
    """The table without the columns in which no full line has anything to say."""
    count = len(table.columns)
    full = [row.cells for row in table.lines if len(row.cells) == count]
    kept = [n for n in range(count) if any(cells[n].text or cells[n].mark.ascii for cells in full)]
    lines = tuple(
        row._replace(cells=tuple(row.cells[n] for n in kept)) if len(row.cells) == count else row
        for row in table.lines
    )
    return table._replace(columns=tuple(table.columns[n] for n in kept), lines=lines)


def printable(text: str, keep: str = "") -> str:
    r"""Control characters spelled out, so that a guest cannot disturb the page or the terminal.

    >>> printable("a\x1b[2J\n", keep="\n")
    'a\\x1b[2J\n'
    """
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "exit"), count(1200, "exit")
    ('1 exit', '1,200 exits')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
