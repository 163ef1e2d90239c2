"""One submission graded: a student's answers, the lecturer's checks, and two kernels between them.

The first kernel runs what the student wrote; from it come data and nothing else. When it has ended,
a second one runs the lecturer's own cells, with those data in place of the solutions. What the
first kernel prints, defines or pretends reaches no check. Must not know: files or command lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import BadInput
from .answers import MIME, received
from .building import is_students
from .kernels import Limits, Run, run_cells
from .notebooks import Cell, Role, code_cells, names_bound
from .tasks import SEED

RESULTS: Final = "application/vnd.kvmdbg.results+json"
_SEND: Final = "from kvmdbg.lab.answers import sent as _sent\n_sent(globals(), {names!r})"
_GIVE: Final = (
    "from kvmdbg.lab.answers import given as _given\n"
    "_given(globals(), __import__('json').loads({text!r}))"
)
_TELL: Final = "from kvmdbg.lab.grading import told as _told\n_told()"


@dataclass(frozen=True)
class Key:
    """What a lecturer's notebook says: cells, tasks with points, and the names of answers."""

    cells: tuple[Cell, ...]
    tasks: Mapping[str, float]
    answers: frozenset[str]

    @property
    def of(self) -> float:
        """All points."""
        return sum(self.tasks.values())


@dataclass(frozen=True)
class Grade:
    """What a submission came to.

    ``tasks`` are Results as JSON, one for each task of the lab; ``end`` is how the student's kernel
    ended (``done``, ``timeout``, ``died``) or ``error`` if the checks themselves could not be run,
    with ``problem`` in words. ``peak`` is the larger kernel's memory in bytes. ``errors``
    are those of the student's own cells, in the student's words: never trusted, only shown.
    """

    tasks: tuple[dict[str, Any], ...]
    of: float
    end: str
    problem: str
    seed: str
    seconds: float
    peak: int
    errors: tuple[str, ...] = ()

    @property
    def points(self) -> float:
        """Of all tasks."""
        return float(sum(task["points"] for task in self.tasks))

    @property
    def passed(self) -> bool:
        """Whether every check was made and passed, and nothing died or ran out of time."""
        return self.end == "done" and all(task["passed"] for task in self.tasks)


def key_of(notebook: dict[str, Any]) -> Key:
    """A lecturer's notebook read; BadInput if it is none."""
    if is_students(notebook):
        raise BadInput(
            "the lab is graded by the lecturer's notebook; this is the students' version"
        )
    cells = tuple(code_cells(notebook))
    tasks = {name: points for cell in cells for name, points in cell.tasks}
    if not tasks:
        raise BadInput('no cell of this notebook has a check: lab.task("NAME", points=N)')
    solutions = [cell.source for cell in cells if cell.role is Role.SOLUTION]
    return Key(cells, tasks, frozenset().union(*map(names_bound, solutions)))


def grade(submission: dict[str, Any], key: Key, limits: Limits, seed: str = "") -> Grade:
    """Run a submission and check it; ``seed`` says whose it is, over what the notebook says."""
    environment = {SEED: seed} if seed else {}
    written = [cell.source for cell in code_cells(submission) if cell.role is not Role.CHECK]
    names = sorted(key.answers)
    student = run_cells(written, _SEND.format(names=names), limits, environment, stop=False)
    if student.end == "died":
        return nothing(key, _end(student), student)
    problem, answers = "", {}
    try:
        answers = received(_last(student, MIME) or "{}", names)
    except BadInput as error:
        problem = str(error)
    checked = run_cells(_grading(key, answers), _TELL, limits, environment, stop=False)
    return _grade(key, student, checked, problem)


def watched(notebook: dict[str, Any], limits: Limits) -> Grade:
    """See a notebook without checks run from top to bottom; BadInput for one that has some."""
    cells = code_cells(notebook)
    if any(cell.tasks for cell in cells):
        raise BadInput("there are checks in it: say whose count, with --lab and the lecturer's")
    run = run_cells([cell.source for cell in cells], "", limits, {}, stop=False)
    errors = _numbered(run, [cell.may_fail for cell in cells])
    end = "error" if errors and run.end == "done" else run.end
    problem = "a cell failed" if end == "error" else _end(run)
    return Grade((), 0, end, problem, "", run.seconds, run.peak, errors)


def _numbered(run: Run, may_fail: Sequence[bool] = ()) -> tuple[str, ...]:
    """Errors with the number of their code cell, from 1."""
    return tuple(
        f"code cell {number + 1}: {line}"
        for number, line in run.errors
        if not (number < len(may_fail) and may_fail[number])
    )


def nothing(key: Key, problem: str, run: Run | None = None) -> Grade:
    """The grade of a submission that cannot be read, or whose kernel died."""
    tasks = tuple(_task(name, of, None, problem) for name, of in key.tasks.items())
    if run is None:
        return Grade(tasks, key.of, "error", problem, "", 0.0, 0)
    errors = _numbered(run)
    return Grade(tasks, key.of, run.end, problem, "", run.seconds, run.peak, errors)


def told() -> object:
    """In the second kernel: all results, for the grader."""
    from .answers import Sent
    from .tasks import the_lab

    lab = the_lab()
    results = [result.as_json() for result in lab.results]
    return Sent(RESULTS, {"seed": lab.seed, "tasks": results})


def _grading(key: Key, answers: dict[str, Any]) -> list[str]:
    """The lecturer's cells; those with solutions become the answers to them."""
    cells = []
    for cell in key.cells:
        if cell.role is Role.SOLUTION:
            names = names_bound(cell.source)
            given = {name: value for name, value in answers.items() if name in names}
            cells.append(_GIVE.format(text=json.dumps(given)))
        elif not cell.demo:
            cells.append(cell.source)
    return cells


def _grade(key: Key, student: Run, checked: Run, problem: str) -> Grade:
    found = json.loads(_last(checked, RESULTS) or '{"seed": "", "tasks": []}')
    results = {result["task"]: result for result in found["tasks"]}
    kept = [cell for cell in key.cells if cell.role is Role.SOLUTION or not cell.demo]
    errors = {kept[number].key: line for number, line in checked.errors if number < len(kept)}
    tasks = [
        _task(name, of, results.get(name), _error(key, name, errors) or _DEAD[checked.end])
        for name, of in key.tasks.items()
    ]
    end = student.end
    problem = problem or _end(student)
    if checked.end != "done":
        end, problem = checked.end, f"while it was checked: {_end(checked)}"
    elif others := [line for cell_key, line in errors.items() if not _checks(key, cell_key)]:
        end, problem = "error", f"a cell of the lab itself failed: {others[0]}"
    seconds, peak = student.seconds + checked.seconds, max(student.peak, checked.peak)
    return Grade(
        tuple(tasks), key.of, end, problem, found["seed"], seconds, peak, _numbered(student)
    )


_DEAD: Final = {"done": "", "timeout": "", "died": "the kernel died in which it was checked"}
"""What is said of a task by the end of the kernel with the checks, if its own cell has no error."""

_ENDS: Final = {
    "timeout": "a cell did not end in its time and was interrupted",
    "died": "the kernel died, used up its limits, or could not be interrupted",
}


def _end(run: Run) -> str:
    """How a kernel ended, in words; empty if all is well."""
    return _ENDS.get(run.end, "") + (f" ({run.why})" if run.why else "")


def _task(name: str, of: float, result: dict[str, Any] | None, error: str) -> dict[str, Any]:
    """One task as JSON. Its points are the lab's, whatever the cell came to."""
    if result is None:
        result = {"task": name, "passed": False, "points": 0.0, "checks": []}
        return {**result, "of": of, "problem": error or "this task was not checked"}
    problem = error or result["problem"]
    return {**result, "of": of, "problem": problem, "passed": result["passed"] and not problem}


def _error(key: Key, task: str, errors: Mapping[str, str]) -> str:
    """What ended the cell of a task early."""
    cells = [cell.key for cell in key.cells if any(name == task for name, _ in cell.tasks)]
    return next((errors[cell] for cell in cells if cell in errors), "")


def _checks(key: Key, cell_key: str) -> bool:
    return any(cell.key == cell_key and cell.tasks for cell in key.cells)


def _last(run: Run, media: str) -> str:
    return next((text for kind, text in reversed(run.sent) if kind == media), "")
