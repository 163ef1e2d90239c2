"""How a figure is taken: rows with targets, interleaved rounds, medians, ratios.

Absolute speeds move with the machine and its load; a ratio of two things measured alternately in
one process does not. Must not know: what is measured, or how it is shown.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROUNDS = 7

Rate = Callable[[], float]
"""Does the work once; units per second."""

Clock = Callable[[], float]
"""Seconds since some moment."""


@dataclass(frozen=True)
class Figure:
    """One row as taken; ``value`` and ``ok`` are None where it could not be (``detail``: why)."""

    name: str
    value: float | None
    unit: str
    target: float
    ok: bool | None
    detail: str


@dataclass(frozen=True)
class Row:
    """What is to be measured. A ``target`` of 0 with ``most`` False asks for nothing: a report."""

    name: str
    target: float
    unit: str = "ratio"
    most: bool = False

    def figure(self, value: float, detail: str) -> Figure:
        """The row with its value; a target is met where it is reached exactly."""
        ok = value <= self.target if self.most else value >= self.target
        return Figure(self.name, round(value, 4), self.unit, self.target, ok, detail)

    def absent(self, why: str) -> Figure:
        """The row where this machine lacks what it needs."""
        return Figure(self.name, None, self.unit, self.target, None, why)

    @property
    def asks(self) -> str:
        """The target in words: ``at least 0.95``, ``at most 5 ms``, ``a report``."""
        if not self.most and not self.target:
            return "a report"
        unit = "" if self.unit == "ratio" else f" {self.unit}"
        return f"{'at most' if self.most else 'at least'} {self.target:,.10g}{unit}"


@dataclass(frozen=True)
class Match:
    """Two rates taken in turns; ``ratio`` is the median of the rounds' own ratios."""

    ratio: float
    ours: float
    peers: float
    rounds: int

    @property
    def detail(self) -> str:
        """Both rates, in words."""
        return (
            f"{self.ours:,.0f}/s against {self.peers:,.0f}/s, median of {self.rounds} "
            "interleaved rounds"
        )


def match(ours: Rate, peer: Rate, rounds: int = ROUNDS) -> Match:
    """Ours against a peer's, in interleaved rounds, after one round that does not count."""
    ours(), peer()  # translations, caches
    pairs = []
    for turn in range(rounds):
        if turn % 2:
            mine, other = ours(), peer()
        else:
            other, mine = peer(), ours()
        pairs.append((mine, other))
    return Match(
        statistics.median(mine / other for mine, other in pairs),
        statistics.median(mine for mine, _ in pairs),
        statistics.median(other for _, other in pairs),
        rounds,
    )


def rate(work: Callable[[], int], clock: Clock = time.process_time) -> float:
    """Units per second of one call; ``work`` returns how many units it did.

    CPU time is the fairer clock for what happens in this process; beside another process only real
    time (``time.perf_counter``) counts both alike.
    """
    began = clock()
    units = work()
    return units / max(clock() - began, 1e-9)


def middle(take: Rate, rounds: int = ROUNDS) -> float:
    """The median of some rounds, after one that does not count."""
    take()
    return statistics.median(take() for _ in range(rounds))


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of the values that so many percent of them do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def lap(work: Callable[[], object]) -> float:
    """Milliseconds of real time that one call takes."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)
