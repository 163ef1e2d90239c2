"""Weight: how long ``import kvmdbg`` takes and how much memory the tour's kernel needs."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from benchmarks.measure import Figure, Row

IMPORT = Row("import kvmdbg", 0.2, "s", most=True)
MEMORY = Row("peak memory of the tour's kernel", 400, "MiB", most=True)
ROWS = (IMPORT, MEMORY)

TOUR = Path(__file__).parents[1] / "notebooks" / "00-tour.ipynb"
_IMPORT = "import time; t = time.perf_counter(); import kvmdbg; print(time.perf_counter() - t)"
# Not ru_maxrss, in which a process begins with what its parent held.
_PEAK = "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"


def figures() -> list[Figure]:
    """All of this file's."""
    return [_import_time(), _tour_memory()]


def _import_time() -> Figure:
    times = [
        float(
            subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, check=True).stdout
        )
        for _ in range(7)
    ]
    return IMPORT.figure(statistics.median(times), "median of 7 fresh interpreters")


def _tour_memory() -> Figure:
    """Peak resident memory of the kernel that runs the whole tour."""
    notebook: Any = nbformat.read(TOUR, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(_PEAK))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": TOUR.parent}}).execute()
    peak = int(notebook.cells[-1].outputs[0].text) / 1024
    return MEMORY.figure(peak, "VmHWM")
