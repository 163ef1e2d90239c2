"""``python -m benchmarks``: take every figure, print them, write build/bench.json and the page.

With names of parts (``python -m benchmarks free travel``) only these are taken and printed. Exits
with 1 when a figure misses its target, so that a miss is not overlooked; it is no test.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks import growth, page, report
from benchmarks.measure import Figure
from benchmarks.parts import PARTS, Part


def main(names: list[str]) -> int:
    """Take the figures."""
    unknown = set(names) - set(PARTS)
    if unknown:
        print(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
        return 2
    print(f"kvmdbg benchmarks on {report.machine()}", flush=True)
    began = time.monotonic()
    figures = [figure for name in names or PARTS for figure in _take(name, PARTS[name])]
    if not names:
        report.write(figures, Path("build") / "bench.json")
        page.write([row for part in PARTS.values() for row in part.ROWS], figures, _grow())
    print(f"{time.monotonic() - began:.0f} s in all")
    return 1 if any(figure.ok is False for figure in figures) else 0


def _take(name: str, part: Part) -> list[Figure]:
    """One part's figures, printed as soon as they are there; one for each of its rows."""
    began = time.monotonic()
    figures = part.figures()
    for row, figure in zip(part.ROWS, figures, strict=True):
        assert row.name == figure.name, (row.name, figure.name)
        print(report.line(row, figure))
    print(f"     {name}: {time.monotonic() - began:.0f} s", flush=True)
    return figures


def _grow() -> list[growth.Point]:
    began = time.monotonic()
    taken = growth.points()
    print(growth.table(taken))
    print(f"     growth: {time.monotonic() - began:.0f} s", flush=True)
    return taken


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
