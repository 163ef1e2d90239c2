"""``python -m benchmarks.ui``: take the page's figures, print them, write them down.

They go to build/bench-ui.json and into docs/performance.md.

With names of parts (``python -m benchmarks.ui still``) only these are taken and printed. Exits with
1 when a figure misses its target, so that a miss is not overlooked; it is no test.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import page, report, taking
from benchmarks.ui.parts import PARTS
from benchmarks.ui.stage import stage


def main(names: list[str]) -> int:
    """Take the figures."""
    if not taking.known(names, PARTS):
        return 2
    print(f"kvmdbg in a browser, on {report.machine()}", flush=True)
    with stage() as place:
        figures = taking.take(names, PARTS, place)
    if not names:
        report.write(figures, Path("build") / "bench-ui.json")
        page.write_browser(taking.rows(PARTS), figures)
    return taking.status(figures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
