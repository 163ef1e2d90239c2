"""``python -m benchmarks``: take every figure, print the table, write build/bench.json.

Exits with 1 when a figure misses its target, so that a miss is not overlooked; it is no test.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.compare import compared_steps
from benchmarks.kvm import kernel_engine
from benchmarks.measure import report
from benchmarks.response import assembler, first_vm, picture, stop_button
from benchmarks.speed import (
    breakpoint_hits,
    delivered_exceptions,
    free_run_armed,
    single_steps,
)
from benchmarks.travel import figures as travel
from benchmarks.weight import import_time, tour_memory

PARTS = (
    *(free_run_armed, single_steps, breakpoint_hits, delivered_exceptions),
    *(import_time, tour_memory),
    *(stop_button, assembler, first_vm, picture),
    *(compared_steps, kernel_engine, travel),
)


def main() -> int:
    """Take the figures."""
    figures = [figure for part in PARTS for figure in part()]
    report(figures, Path("build") / "bench.json")
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
