"""``python -m benchmarks.ui``: take the page's figures, print them, write them down.

They go to build/bench-ui.json and into docs/performance.md.

With names of parts (``python -m benchmarks.ui still``) only these are taken and printed. Exits with
1 when a figure misses its target, so that a miss is not overlooked; it is no test.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks import page, report
from benchmarks.measure import Figure
from benchmarks.ui.parts import PARTS, Part
from benchmarks.ui.stage import Stage, stage


def main(names: list[str]) -> int:
    """Take the figures."""
    unknown = set(names) - set(PARTS)
    if unknown:
        print(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
        return 2
    print(f"kvmdbg in a browser, on {report.machine()}", flush=True)
    began = time.monotonic()
    with stage() as place:
        figures = [figure for name in names or PARTS for figure in _take(name, PARTS[name], place)]
    if not names:
        report.write(figures, Path("build") / "bench-ui.json")
        page.write_browser([row for part in PARTS.values() for row in part.ROWS], figures)
    print(f"{time.monotonic() - began:.0f} s in all")
    return 1 if any(figure.ok is False for figure in figures) else 0


def _take(name: str, part: Part, place: Stage) -> list[Figure]:
    """One part's figures, printed as soon as they are there."""
    began = time.monotonic()
    figures = part.figures(place)
    for row, figure in zip(part.ROWS, figures, strict=True):
        assert row.name == figure.name, (row.name, figure.name)
        print(report.line(row, figure))
    print(f"     {name}: {time.monotonic() - began:.0f} s", flush=True)
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
