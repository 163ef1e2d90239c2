"""``python -m benchmarks``: take every figure, print them, write build/bench.json and the page.

With names of parts (``python -m benchmarks free travel``) only these are taken and printed. Exits
with 1 when a figure misses its target, so that a miss is not overlooked; it is no test.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks import growth, page, report, taking
from benchmarks.parts import PARTS


def main(names: list[str]) -> int:
    """Take the figures."""
    if not taking.known(names, PARTS):
        return 2
    print(f"kvmdbg benchmarks on {report.machine()}", flush=True)
    figures = taking.take(names, PARTS)
    if not names:
        report.write(figures, Path("build") / "bench.json")
        page.write(taking.rows(PARTS), figures, _grow())
    return taking.status(figures)


def _grow() -> list[growth.Point]:
    began = time.monotonic()
    taken = growth.points()
    print(growth.table(taken))
    print(f"     growth: {time.monotonic() - began:.0f} s", flush=True)
    return taken


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
