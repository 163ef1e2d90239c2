"""The figures of parts, taken in their order and printed as soon as they are there.

Must not know: which parts there are, or where figures are written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from benchmarks import report
from benchmarks.measure import Figure, Row


class Part(Protocol):
    """A module that measures: the rows it promises, and what takes one figure for each of them."""

    @property
    def ROWS(self) -> Sequence[Row]: ...  # noqa: N802 # a module's constant

    @property
    def figures(self) -> Callable[..., list[Figure]]: ...


def known(names: Iterable[str], parts: Mapping[str, Part]) -> bool:
    """Whether there are such parts; if not, that is said."""
    unknown = sorted(set(names) - set(parts))
    if unknown:
        print(f"no part {', '.join(unknown)}; there are {', '.join(parts)}")
    return not unknown


def take(names: Sequence[str], parts: Mapping[str, Part], *given: object) -> list[Figure]:
    """Of the parts with these names, or of all; each is given what it measures on."""
    began = time.monotonic()
    figures = [figure for name in names or parts for figure in _take(name, parts[name], given)]
    print(f"{time.monotonic() - began:.0f} s in all", flush=True)
    return figures


def _take(name: str, part: Part, given: tuple[object, ...]) -> list[Figure]:
    began = time.monotonic()
    figures = part.figures(*given)
    for row, figure in zip(part.ROWS, figures, strict=True):
        assert row.name == figure.name, (row.name, figure.name)
        print(report.line(row, figure))
    print(f"     {name}: {time.monotonic() - began:.0f} s", flush=True)
    return figures


def rows(parts: Mapping[str, Part]) -> list[Row]:
    """All that is promised."""
    return [row for part in parts.values() for row in part.ROWS]


def status(figures: Iterable[Figure]) -> int:
    """1 if a figure misses its target."""
    return int(any(figure.ok is False for figure in figures))
