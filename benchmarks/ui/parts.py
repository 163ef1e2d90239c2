"""The parts of the page's benchmark, in the order in which they are taken.

Must not know: what becomes of the figures.
"""

from __future__ import annotations

from benchmarks.taking import Part
from benchmarks.ui import click, line, live, saved, still, timeline

PARTS: dict[str, Part] = {
    "line": line,
    "timeline": timeline,
    "live": live,
    "click": click,
    "saved": saved,
    "still": still,
}
