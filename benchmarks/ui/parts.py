"""The parts of the page's benchmark, in the order in which they are taken.

Must not know: what becomes of the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from benchmarks.measure import Figure, Row
from benchmarks.ui import click, line, live, saved, still, timeline
from benchmarks.ui.stage import Stage


class Part(Protocol):
    """A module that measures: the rows it promises, and one figure for each of them."""

    @property
    def ROWS(self) -> Sequence[Row]: ...  # noqa: N802 # a module's constant

    def figures(self, stage: Stage) -> list[Figure]: ...


PARTS: dict[str, Part] = {
    "line": line,
    "timeline": timeline,
    "live": live,
    "click": click,
    "saved": saved,
    "still": still,
}
