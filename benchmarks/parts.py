"""The parts of the benchmark, in the order in which they are taken.

Must not know: what becomes of the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from benchmarks import compare, free, kvm, recording, response, stepping, travel, weight
from benchmarks.measure import Figure, Row


class Part(Protocol):
    """A module that measures: the rows it promises, and one figure for each of them."""

    @property
    def ROWS(self) -> Sequence[Row]: ...  # noqa: N802 # a module's constant

    def figures(self) -> list[Figure]: ...


PARTS: dict[str, Part] = {
    "free": free,
    "stepping": stepping,
    "recording": recording,
    "travel": travel,
    "response": response,
    "weight": weight,
    "compare": compare,
    "kvm": kvm,
}
