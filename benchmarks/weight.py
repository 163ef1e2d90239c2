"""Weight: how long ``import kvmdbg`` takes and how much memory the tour's kernel needs."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from benchmarks.measure import Figure, at_most

TOUR = Path(__file__).parents[1] / "notebooks" / "00-tour.ipynb"
_IMPORT = "import time; t = time.perf_counter(); import kvmdbg; print(time.perf_counter() - t)"
_PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


def import_time() -> list[Figure]:
    """Median of fresh interpreters."""
    times = [
        float(
            subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, check=True).stdout
        )
        for _ in range(7)
    ]
    detail = "median of 7 fresh interpreters"
    return [at_most("import kvmdbg", statistics.median(times), 0.2, detail, "s")]


def tour_memory() -> list[Figure]:
    """Peak resident memory of the kernel that runs the whole tour."""
    notebook: Any = nbformat.read(TOUR, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(_PEAK))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": TOUR.parent}}).execute()
    peak = int(notebook.cells[-1].outputs[0].text) / 1024
    return [at_most("peak memory of the tour's kernel", peak, 400, "ru_maxrss", "MiB")]
