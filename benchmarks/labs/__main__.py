"""``python -m benchmarks.labs``: take the classroom's figures, print them, write them down.

They go to build/bench-labs.json and into docs/performance.md. With names of parts only these are
taken and printed; with a number (``python -m benchmarks.labs 6``) the class has so many students,
and nothing is written. On more than two processors, two are used. Exits with 1 when a figure misses
its target, so that a miss is not overlooked; it is no test.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks import page, report, taking
from benchmarks.labs.classroom import STUDENTS
from benchmarks.labs.parts import PARTS


def main(words: list[str]) -> int:
    """Take the figures."""
    names = [word for word in words if not word.isdecimal()]
    students = next((int(word) for word in words if word.isdecimal()), STUDENTS)
    if students < 1 or not taking.known(names, PARTS):
        return 2
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    print(f"kvmdbg in the classroom, on {report.machine()}", flush=True)
    figures = taking.take(names, PARTS, students)
    if not words:
        report.write(figures, Path("build") / "bench-labs.json")
        page.write_classroom(taking.rows(PARTS), figures)
    return taking.status(figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
