"""docs/performance.md: fixed prose with the tables put in; each benchmark writes its own part.

Must not know: how a figure was taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

from benchmarks import growth, report
from benchmarks.measure import Figure, Row

PAGE = Path("docs") / "performance.md"
BROWSER, CLASSROOM = "## In a browser", "## In the classroom"
"""The heads of the last parts, each written by a benchmark of its own."""

_PROSE = Path(__file__).with_name("performance.md")
_PARTS = {
    BROWSER: Path(__file__).with_name("ui") / "performance.md",
    CLASSROOM: Path(__file__).with_name("labs") / "performance.md",
}


def write(rows: Sequence[Row], figures: Sequence[Figure], taken: list[growth.Point]) -> None:
    """The page and its picture, but for the other benchmarks' parts, which stay as they are."""
    growth.draw(taken)
    text = Template(_PROSE.read_text()).substitute(
        machine=report.machine(),
        figures=table(rows, figures),
        growth=growth.table(taken),
    )
    _put("", text)


def write_browser(rows: Sequence[Row], figures: Sequence[Figure]) -> None:
    """The part about the browser; all else stays as it is."""
    _write_part(BROWSER, rows, figures)


def write_classroom(rows: Sequence[Row], figures: Sequence[Figure]) -> None:
    """The part about the classroom; all else stays as it is."""
    _write_part(CLASSROOM, rows, figures)


def _write_part(head: str, rows: Sequence[Row], figures: Sequence[Figure]) -> None:
    prose = Template(_PARTS[head].read_text())
    _put(head, prose.substitute(machine=report.machine(), figures=table(rows, figures)))


def _put(head: str, text: str) -> None:
    """One part of the page; ``""`` is the first, which has no such head."""
    parts = {**_parts(PAGE.read_text()), head: text}
    kept = [parts[one].rstrip() for one in ("", *_PARTS) if parts.get(one)]
    PAGE.write_text("\n\n".join(kept) + "\n")


def _parts(page: str) -> dict[str, str]:
    """The page cut in front of each head that is there."""
    pieces = re.split(f"^(?={'|'.join(map(re.escape, _PARTS))})", page, flags=re.MULTILINE)
    return {
        piece.partition("\n")[0] if number else "": piece for number, piece in enumerate(pieces)
    }


def table(rows: Sequence[Row], figures: Sequence[Figure]) -> str:
    """Every row, in the order in which it is taken."""
    head = "| what | asked | found | | how |\n|---|---|---:|---|---|"
    return "\n".join((head, *(_line(*pair) for pair in zip(rows, figures, strict=True))))


def names(page: str) -> list[str]:
    """The first column of the first :func:`table` in a page."""
    _, _, below = page.partition("| what | asked |")
    lines = below.partition("\n\n")[0].splitlines()[2:]
    return [line.split(" | ")[0].removeprefix("| ") for line in lines]


def _line(row: Row, figure: Figure) -> str:
    mark = {True: "ok", False: "missed", None: ""}[figure.ok if row.target else None]
    cells = (row.name, row.asks, report.value(figure), mark, figure.detail)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
