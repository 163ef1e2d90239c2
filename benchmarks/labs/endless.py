"""What a submission costs whose guest never ends, beside a right one graded in turns with it.

Once the endless guest is the answer, which a check runs within its budget of instructions; once the
student's own cell runs it without a limit, until the cell's time is up. Must not know: what becomes
of the figures.
"""

from __future__ import annotations

import statistics

from benchmarks.measure import Figure, Row
from kvmdbg.lab import grading, notebooks
from kvmdbg.lab.kernels import Limits
from tests.labs.submissions import LABS, instructor, submission

ANSWER = Row("an endless guest as the answer: over its budget", 1, "s", most=True)
CELL = Row("an endless guest in a student's cell: over the cell's time", 1, "s", most=True)
ROWS = (ANSWER, CELL)

ROUNDS = 5
LIMITS = Limits(9.0)
_RUNS = "%vm new --mode real\nvm.load(lab.assemble('jmp $', mode='real'))\n%vm run"


def figures(students: int) -> list[Figure]:
    """All of this file's; the size of the class does not matter."""
    return [
        _over(ANSWER, "endless", "", 0.0, "done"),
        _over(CELL, "right", _RUNS, LIMITS.cell, "timeout"),
    ]


def _over(row: Row, kind: str, more: str, budget: float, end: str) -> Figure:
    """The median of the rounds' own differences."""
    key = grading.key_of(notebooks.read(instructor(LABS[0])))
    pairs = []
    for _ in range(ROUNDS):
        right = grading.grade(submission(LABS[0], "right"), key, LIMITS)
        other = grading.grade(submission(LABS[0], kind, more), key, LIMITS)
        assert (right.end, right.passed) == ("done", True), right
        assert (other.end, other.passed) == (end, False), other
        pairs.append((other.seconds, right.seconds))
    over = statistics.median(slow - fast - budget for slow, fast in pairs)
    slow, fast = map(statistics.median, zip(*pairs, strict=True))
    detail = f"{slow:.2f} s against {fast:.2f} s, median of {ROUNDS} interleaved rounds"
    return row.figure(over, f"{detail}; budget {budget:g} s" if budget else detail)
