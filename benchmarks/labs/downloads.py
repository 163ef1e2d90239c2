"""What ``pip install`` of kvmdbg's wheel loads: the sum of the wheels of a bundle, per system.

Must not know: what becomes of the figures.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import Figure, Row
from kvmdbg.errors import ToolMissing
from kvmdbg.lab import bundles

DOWNLOADS = Row("downloads of kvmdbg[lab] with all it needs, the largest", 250, "MB", most=True)
ROWS = (DOWNLOADS,)


def figures(students: int) -> list[Figure]:
    """All of this file's; the size of the class does not matter."""
    targets = bundles.targets(bundles.USUAL, [bundles.here()])
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = list(bundles.fill(Path(folder) / "kit", targets, None, lambda _: None))
        except ToolMissing as error:
            return [DOWNLOADS.absent(str(error))]
    largest = max(one.size for one in made) / 1e6
    return [DOWNLOADS.figure(largest, "; ".join(map(str, made)))]
