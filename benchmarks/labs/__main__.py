"""``python -m benchmarks.labs``: take the classroom's figures, print them, write them down.

They go to build/bench-labs.json and into docs/performance.md. With names of parts only these are
taken and printed; with a number (``python -m benchmarks.labs 6``) the class has so many students,
and nothing is written. On more than two processors, two are used. Exits with 1 when a figure misses
its target, so that a miss is not overlooked; it is no test.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmarks import page, report
from benchmarks.labs.classroom import STUDENTS
from benchmarks.labs.parts import PARTS, Part
from benchmarks.measure import Figure


def main(words: list[str]) -> int:
    """Take the figures."""
    names = [word for word in words if not word.isdecimal()]
    students = next((int(word) for word in words if word.isdecimal()), STUDENTS)
    unknown = set(names) - set(PARTS)
    if unknown or students < 1:
        print(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
        return 2
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    print(f"kvmdbg in the classroom, on {report.machine()}", flush=True)
    began = time.monotonic()
    figures = [fig for name in names or PARTS for fig in _take(name, PARTS[name], students)]
    if not words:
        report.write(figures, Path("build") / "bench-labs.json")
        page.write_classroom([row for part in PARTS.values() for row in part.ROWS], figures)
    print(f"{time.monotonic() - began:.0f} s in all")
    return 1 if any(figure.ok is False for figure in figures) else 0


def _take(name: str, part: Part, students: int) -> list[Figure]:
    """One part's figures, printed as soon as they are there."""
    began = time.monotonic()
    figures = part.figures(students)
    for row, figure in zip(part.ROWS, figures, strict=True):
        assert row.name == figure.name, (row.name, figure.name)
        print(report.line(row, figure))
    print(f"     {name}: {time.monotonic() - began:.0f} s", flush=True)
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
