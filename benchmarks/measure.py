"""How a figure is taken: interleaved rounds, medians, ratios; and how it is written down.

Absolute speeds move with the machine and its load; a ratio of two things measured alternately in
one process does not. Must not know: what is measured.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ROUNDS = 7


@dataclass(frozen=True)
class Figure:
    """One row: ``ok`` tells whether ``value`` meets ``target`` in the direction of ``better``."""

    name: str
    value: float
    unit: str
    target: float
    ok: bool
    detail: str = ""


def at_least(name: str, value: float, target: float, detail: str, unit: str = "ratio") -> Figure:
    """A figure that must not fall below its target."""
    return Figure(name, round(value, 4), unit, target, value >= target, detail)


def at_most(name: str, value: float, target: float, detail: str, unit: str) -> Figure:
    """A figure that must not exceed its target."""
    return Figure(name, round(value, 4), unit, target, value <= target, detail)


def ratio(
    ours: Callable[[], float], peer: Callable[[], float], rounds: int = ROUNDS
) -> tuple[float, str]:
    """Median of ours/peer over interleaved rounds; both return a rate (more is better)."""
    ours(), peer()  # warm up: translations, caches
    pairs = []
    for turn in range(rounds):
        if turn % 2:
            mine, other = ours(), peer()
        else:
            other, mine = peer(), ours()
        pairs.append((mine, other))
    median = statistics.median(mine / other for mine, other in pairs)
    mine = statistics.median(pair[0] for pair in pairs)
    other = statistics.median(pair[1] for pair in pairs)
    return median, f"{mine:,.0f}/s against {other:,.0f}/s, median of {rounds} interleaved rounds"


def rate(work: Callable[[], int]) -> float:
    """Units per second of CPU time of one call; ``work`` returns how many units it did."""
    began = time.process_time()
    units = work()
    return units / max(time.process_time() - began, 1e-9)


def report(figures: list[Figure], path: Path) -> None:
    """Print the table and write it as JSON: a list of {name, value, unit, target, ok, detail}."""
    print(
        f"kvmdbg benchmarks on {platform.processor() or platform.machine()}, Python "
        f"{platform.python_version()}"
    )
    for figure in figures:
        mark = "ok  " if figure.ok else "MISS"
        print(f"{mark} {figure.name}: {figure.value:g} {figure.unit} (target {figure.target:g})")
        print(f"     {figure.detail}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
