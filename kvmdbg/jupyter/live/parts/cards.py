"""Cards of ``views/tables.py`` as JSON, for pages that draw them (docs/live-views.md, "cards").

Must not know: what a card says, or how it is drawn.
"""

from __future__ import annotations

from typing import Any

from ....views.tables import Card, Cell, Column, Line, Table, Verbatim, printable


def card_json(card: Card) -> dict[str, Any]:
    """A whole card; control characters are spelled out, so that every page shows the same.

    >>> from kvmdbg.views.tables import Column, head, line
    >>> table = Table((Column(), Column("value", right=True)), (line(head("rax"), "0x5"),))
    >>> shown = card_json(Card("Registers", parts=(table,)))
    >>> [cell["text"] for cell in shown["tables"][0]["rows"][0]]
    ['rax', '0x5']
    """
    return {
        "title": printable(card.title),
        "note": printable(card.sentence),
        "tables": [
            table_json(part if isinstance(part, Table) else _as_table(part)) for part in card.parts
        ],
    }


def table_json(table: Table) -> dict[str, Any]:
    """One table: caption, columns, rows of cells."""
    return {
        "caption": printable(table.caption),
        "columns": [_column(column) for column in table.columns],
        "rows": [[_cell(cell) for cell in line.cells] for line in table.lines],
    }


def _as_table(block: Verbatim) -> Table:
    """What the guest printed: one fixed-width column, one row for each of its lines."""
    lines = tuple(Line((Cell(text),)) for text in block.text.split("\n"))
    return Table((Column(),), lines, block.caption)


def _column(column: Column) -> dict[str, Any]:
    return {"title": column.title, "right": column.right, "prose": column.prose}


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "text": printable(cell.text),
        "mark": "" if not cell.mark.ascii else cell.mark.name.lower(),
        "title": printable(cell.title),
        "head": cell.head,
    }
