"""Figures as text for the terminal and as JSON for programs.

Must not know: how a figure was taken.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.measure import Figure, Row

_CPUINFO = Path("/proc/cpuinfo")


def machine() -> str:
    """The processor's name, how many of it, and Python's version: what absolute figures mean."""
    name = platform.processor() or platform.machine()
    if _CPUINFO.exists():
        fields = (line.partition(":") for line in _CPUINFO.read_text().splitlines())
        name = next((value.strip() for key, _, value in fields if "model name" in key), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def line(row: Row, figure: Figure) -> str:
    """One figure in two lines."""
    if figure.value is None:
        return f"-    {row.name}: {figure.detail}"
    mark = "ok  " if figure.ok else "MISS"
    return f"{mark} {row.name}: {value(figure)} ({row.asks})\n     {figure.detail}"


def value(figure: Figure) -> str:
    """The value with its unit: ``0.9731``, ``12,300,000 steps/s``."""
    if figure.value is None:
        return "-"
    number = f"{figure.value:,.0f}" if abs(figure.value) >= 1000 else f"{figure.value:.4g}"
    return number if figure.unit == "ratio" else f"{number} {figure.unit}"


def write(figures: Sequence[Figure], path: Path) -> None:
    """A list of {name, value, unit, target, ok, detail}; value and ok are null where not taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
