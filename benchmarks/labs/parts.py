"""The parts of the classroom's benchmark, in the order in which they are taken.

Must not know: what becomes of the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from benchmarks.labs import classroom, downloads, endless
from benchmarks.measure import Figure, Row


class Part(Protocol):
    """A module that measures: the rows it promises, and one figure for each of them."""

    @property
    def ROWS(self) -> Sequence[Row]: ...  # noqa: N802 # a module's constant

    def figures(self, students: int) -> list[Figure]: ...


PARTS: dict[str, Part] = {"classroom": classroom, "endless": endless, "downloads": downloads}
