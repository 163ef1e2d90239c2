"""A class's submissions of lab 01, graded by ``kvmdbg check`` two at a time, as a lecturer would.

Of six students three are right; the others are half right, wrong, or hand in an endless guest. Each
has numbers of its own. That all get the points they deserve is looked at, too. Must not know: what
becomes of the figures.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, Row
from tests.labs.submissions import LABS, instructor, points, submission

STUDENTS = 120
CLASS = Row("kvmdbg check of 120 submissions of lab 01, two at a time", 360, "s", most=True)
PROCESSOR = Row("processor time for one submission", 6, "s", most=True)
MEMORY = Row("peak memory of a kernel that grades, the largest", 350, "MiB", most=True)
ROWS = (CLASS, PROCESSOR, MEMORY)

LAB = LABS[0]
KINDS = ("right", "half", "right", "wrong", "right", "endless")


def figures(students: int) -> list[Figure]:
    """All of this file's; with fewer students than a class the time is that of a class."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _handed_in(Path(folder), students)
        seconds, processor, grades = _checked([instructor(LAB), *paths])
    for grade in grades:
        kind = Path(grade["notebook"]).parent.name.partition(".")[2]
        deserved = sum(points(LAB, kind).values())
        assert (grade["points"], grade["end"]) == (deserved, "done"), grade
    times = "" if students == STUDENTS else f", times {STUDENTS / students:g}: estimated"
    peaks = [grade["peak_mib"] for grade in grades]
    solutions = [instructor(lab) for lab in LABS]
    peaks += [grade["peak_mib"] for path in solutions for grade in _checked([path, path])[2]]
    return [
        CLASS.figure(seconds * STUDENTS / students, f"real time of {students} submissions{times}"),
        PROCESSOR.figure(processor / students, f"both kernels and the grader, mean of {students}"),
        MEMORY.figure(max(peaks), f"VmHWM; also of the solution of every lab ({len(LABS)})"),
    ]


def _handed_in(folder: Path, students: int) -> list[Path]:
    """``NUMBER.KIND/lab.ipynb`` for each student."""
    paths = []
    for number in range(students):
        kind = KINDS[number % len(KINDS)]
        path = folder / f"{number}.{kind}" / "lab.ipynb"
        path.parent.mkdir()
        path.write_text(json.dumps(submission(LAB, kind)), encoding="utf-8")
        paths.append(path)
    return paths


def _checked(paths: list[Path]) -> tuple[float, float, list[dict[str, Any]]]:
    """Submissions by the first notebook's checks: real seconds, processor's, and their grades."""
    lab, *submissions = map(str, paths)
    command = [sys.executable, "-m", "kvmdbg", "check", "--lab", lab, *submissions, "--json"]
    before, began = _processor(), time.perf_counter()
    run = subprocess.run(
        [*command, "--jobs", "2", "--seed", "{parent}"],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds, processor = time.perf_counter() - began, _processor() - before
    assert run.returncode in (0, 1), run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return seconds, processor, [line for line in lines if "end" in line]


def _processor() -> float:
    """Seconds of processor time of all processes that were started and have ended."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
