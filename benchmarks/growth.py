"""How cost grows: a recorded run of 10^5 to 10^9 instructions, and the ways back from its end.

Must not know: the page on which the picture and the table are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib

from benchmarks.guests import LOOP, loaded
from benchmarks.measure import lap

LENGTHS = tuple(10**n for n in range(5, 10))
RAM = 16 * 2**20
PICTURE = Path("docs") / "images" / "cost.svg"


@dataclass(frozen=True)
class Point:
    """One length of run, in instructions; times in milliseconds, memory in MiB."""

    instructions: int
    run: float
    back: float
    middle: float
    memory: float


def points() -> list[Point]:
    """Each length once, in a Vm of its own, recorded as a Vm is by default."""
    _point(LENGTHS[0])  # what only the first run of a process pays
    return [_point(instructions) for instructions in LENGTHS]


def _point(instructions: int) -> Point:
    with loaded(LOOP, ram=RAM) as vm:
        run = lap(lambda: vm.cont(max_instructions=instructions))
        back = lap(vm.step_back)
        middle = lap(lambda: vm.goto(instructions // 2))
        return Point(instructions, run, back, middle, vm.checkpoint_bytes / 2**20)


def table(taken: list[Point]) -> str:
    """The points in Markdown: the picture's twin."""
    head = (
        "| instructions | recorded run | back one | to the middle | checkpoints |\n"
        "|---:|---:|---:|---:|---:|"
    )
    rows = (
        f"| {point.instructions:,} | {point.run:,.1f} ms | {point.back:.1f} ms "
        f"| {point.middle:.1f} ms | {point.memory:.1f} MiB |"
        for point in taken
    )
    return "\n".join((head, *rows))


def draw(taken: list[Point], path: Path = PICTURE) -> None:
    """The same as a picture: both axes logarithmic, each curve with its own mark."""
    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "kvmdbg"  # the same figures give the same file
    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    across = [point.instructions for point in taken]
    for name, mark, values in (
        ("recorded run", "o", [point.run for point in taken]),
        ("back one", "s", [point.back for point in taken]),
        ("to the middle", "^", [point.middle for point in taken]),
    ):
        times.loglog(across, values, marker=mark, label=name)
    memory.loglog(across, [point.memory for point in taken], marker="D", label="checkpoints")
    for axes, unit in ((times, "ms"), (memory, "MiB")):
        axes.set(xlabel="instructions run", ylabel=unit)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
