"""The still twin of a million exits: the picture and its words, for pages without a kernel."""

from __future__ import annotations

import statistics

from benchmarks.measure import Figure, Row, lap
from benchmarks.ui.stage import Stage
from kvmdbg.exits import DebugExit
from kvmdbg.history.timeline import Timeline
from kvmdbg.views import figures as pictures

TWIN = Row("still twin of a million exits", 0.6, "s", most=True)
ROWS = (TWIN,)
EXITS = 1_000_000
TURNS = 5


def figures(_stage: Stage) -> list[Figure]:
    """All of this file's."""
    timeline = Timeline()
    exit_ = DebugExit(1, 0x8000, 0xFFFF4FF0, 0x400)
    for clock in range(EXITS):
        timeline.append(exit_, 0x8000, clock)

    def twin() -> tuple[bytes, str]:
        return pictures.timeline(timeline), pictures.timeline_alt(timeline)

    first, *others = (lap(twin) / 1000 for _ in range(1 + TURNS))
    detail = f"PNG and alt text, median of {TURNS}; the first, with imports, {first:.2f} s"
    return [TWIN.figure(statistics.median(others), detail)]
