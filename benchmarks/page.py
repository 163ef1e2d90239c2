"""docs/performance.md: fixed prose with the tables put in; each benchmark writes its own part.

Must not know: how a figure was taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from benchmarks import growth, report
from benchmarks.measure import Figure, Row

PAGE = Path("docs") / "performance.md"
BROWSER = "## In a browser"
"""The head of the last part, which is the page's benchmark's."""

_PROSE = Path(__file__).with_name("performance.md")
_BROWSER_PROSE = Path(__file__).with_name("ui") / "performance.md"


def write(rows: Sequence[Row], figures: Sequence[Figure], taken: list[growth.Point]) -> None:
    """The page and its picture, but for the part about the browser, which stays as it is."""
    growth.draw(taken)
    text = Template(_PROSE.read_text()).substitute(
        machine=report.machine(),
        figures=table(rows, figures),
        growth=growth.table(taken),
    )
    PAGE.write_text(text.rstrip() + "\n\n" + _parts(PAGE.read_text())[1])


def write_browser(rows: Sequence[Row], figures: Sequence[Figure]) -> None:
    """The part about the browser; all before it stays as it is."""
    part = Template(_BROWSER_PROSE.read_text()).substitute(
        machine=report.machine(), figures=table(rows, figures)
    )
    PAGE.write_text(_parts(PAGE.read_text())[0] + part)


def _parts(page: str) -> tuple[str, str]:
    """What is before the part about the browser, and that part, which may not be there yet."""
    before, head, part = page.partition(BROWSER)
    return before.rstrip() + "\n\n", head + part


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
