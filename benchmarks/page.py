"""docs/performance.md: the fixed prose of performance.md beside this file, with the tables put in.

Must not know: how a figure was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from benchmarks import growth, report
from benchmarks.measure import Figure, Row

PAGE = Path("docs") / "performance.md"
_PROSE = Path(__file__).with_name("performance.md")


def write(rows: Sequence[Row], figures: Sequence[Figure], taken: list[growth.Point]) -> None:
    """The page and its picture."""
    growth.draw(taken)
    text = Template(_PROSE.read_text()).substitute(
        machine=report.machine(),
        figures=table(rows, figures),
        growth=growth.table(taken),
    )
    PAGE.write_text(text)


def table(rows: Sequence[Row], figures: Sequence[Figure]) -> str:
    """Every row, in the order in which it is taken."""
    head = "| what | asked | found | | how |\n|---|---|---:|---|---|"
    return "\n".join((head, *(_line(*pair) for pair in zip(rows, figures, strict=True))))


def names(page: str) -> list[str]:
    """The first column of :func:`table` in a page."""
    _, _, below = page.partition("| what | asked |")
    lines = below.partition("\n\n")[0].splitlines()[2:]
    return [line.split(" | ")[0].removeprefix("| ") for line in lines]


def _line(row: Row, figure: Figure) -> str:
    mark = {True: "ok", False: "missed", None: ""}[figure.ok if row.target else None]
    cells = (row.name, row.asks, report.value(figure), mark, figure.detail)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
