"""nbgrader with kvmdbg's steps among its own: the only door to nbgrader, opened by a course.

Students get what ``kvmdbg lab build`` makes of a source notebook, points are those of ``kvmdbg
check``. Nothing else imports this file. Must not know: how a lab is built or graded.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from ..errors import BadInput, ToolMissing
from ..views import html, text
from ..views.tables import printable
from . import grading
from .building import marked, student_version, without_hidden, without_solutions
from .grading import Grade
from .kernels import Limits
from .notebooks import read, source_of
from .results import Result

try:
    from nbformat import from_dict, v4
    from nbgrader import preprocessors as theirs
    from nbgrader.converters import Autograde, GenerateAssignment, GenerateFeedback
    from traitlets import Bool, Float, Integer
except ImportError as error:
    raise ToolMissing(
        f"{error.name} is not installed; it comes with: pip install nbgrader"
    ) from None

_END: Final = "kvmdbg_end"
"""Among nbgrader's resources of one notebook: how grading it ended."""
_ALL_HIDDEN: Final = "# checked when the lab is graded"


def configure(course: Any) -> None:
    """Make a course one of kvmdbg's labs; for its ``nbgrader_config.py``, with ``get_config()``.

    Raises ToolMissing if nbgrader's steps are not those that are known here.
    """
    steps = list(GenerateAssignment().preprocessors)
    steps = _instead(steps, theirs.LockCells, PlaceAnswers, theirs.LockCells)
    steps = _instead(steps, theirs.ClearSolutions)
    course.GenerateAssignment.preprocessors = _instead(steps, theirs.ClearHiddenTests, SealTests)
    grader = Autograde()
    course.Autograde.sanitize_preprocessors = [RestoreCells, *grader.sanitize_preprocessors]
    steps = _instead(list(grader.autograde_preprocessors), theirs.Execute, GradeCells)
    course.Autograde.autograde_preprocessors = _instead(steps, theirs.SaveAutoGrades, SaveGrades)
    steps = list(GenerateFeedback().preprocessors)
    course.GenerateFeedback.preprocessors = _instead(steps, theirs.GetGrades, HideTests)


def _instead(steps: Sequence[Any], old: Any, *new: Any) -> list[Any]:
    if old not in steps:
        raise ToolMissing(f"this nbgrader has no step {old.__name__} where kvmdbg needs it")
    place = list(steps).index(old)
    return [*steps[:place], *new, *steps[place + 1 :]]


class _Step(theirs.NbGraderPreprocessor):  # type: ignore[misc]  # it has no types
    """A step that may look at the lecturer's notebook."""

    def _source(self, resources: Any) -> dict[str, Any]:
        """The lecturer's notebook of what is worked on; BadInput names the file if it is gone."""
        course, of = self.parent.parent.coursedir, resources["nbgrader"]
        folder = course.format_path(course.source_directory, ".", of["assignment"])
        return marked(read(Path(folder) / f"{of['notebook']}.ipynb"))


def _replaced(nb: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    return from_dict(change(nb))  # type: ignore[no-untyped-call]  # it has no types


class PlaceAnswers(_Step):
    """``nbgrader generate_assignment``: places for answers instead of solutions."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """nbgrader's metadata go in as well, where there are none."""
        return _replaced(nb, lambda made: without_solutions(marked(made))), resources


class SealTests(_Step):
    """``nbgrader generate_assignment``: hidden tests go, hidden values become digests."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """The gradebook has the full cells by now."""
        return _replaced(nb, without_hidden), resources


class RestoreCells(_Step):
    """``nbgrader autograde``, first: whatever was done to cells of checks and to metadata."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """The lecturer's cells where they were, with what the student wrote into answers."""
        known = without_solutions(self._source(resources))["cells"]
        cells = restored(nb.cells, [cell for cell in known if "nbgrader" in cell["metadata"]])
        if nb.nbformat_minor < 5:
            cells = [{key: cell[key] for key in cell if key != "id"} for cell in cells]
        return _replaced(nb, lambda made: {**made, "cells": cells}), resources


def restored(cells: Sequence[Any], known: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A submission's cells: those that are known again as they were, but for the answers.

    A known cell is told by its id or else by nbgrader's; of several the last one counts, as with
    nbgrader. All others lose nbgrader's metadata. Missing cells with points come back.
    """
    names = {_name(cell): cell for cell in known}
    by_id = {cell["id"]: _name(cell) for cell in known if "id" in cell}
    found = [_claimed(cell, names, by_id) for cell in cells]
    last = {name: number for number, name in enumerate(found)}
    made = [
        _again(cell, names[name]) if name and last[name] == number else _plain(cell)
        for number, (cell, name) in enumerate(zip(cells, found, strict=True))
    ]
    place = 0
    for name, cell in names.items():
        if name in last:
            place = next(n for n, one in enumerate(made) if _name(one) == name) + 1
        elif cell["metadata"]["nbgrader"].get("grade"):
            made.insert(place, {**copy.deepcopy(cell), "id": uuid4().hex[:8]})
            place += 1
    return made


def _name(cell: Any) -> str:
    """What nbgrader calls a cell; empty if nothing usable."""
    metadata = cell.get("metadata")
    found = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    name = found.get("grade_id") if isinstance(found, dict) else None
    return name if isinstance(name, str) else ""


def _claimed(cell: Any, names: dict[str, Any], by_id: dict[Any, str]) -> str:
    name = _name(cell)
    return by_id.get(str(cell.get("id"))) or (name if name in names else "")


def _again(cell: Any, known: dict[str, Any]) -> dict[str, Any]:
    made = {**copy.deepcopy(known), "id": cell.get("id", known.get("id"))}
    if known["metadata"]["nbgrader"].get("solution"):
        made["source"] = source_of(cell)
    return made


def _plain(cell: Any) -> dict[str, Any]:
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kept = {key: value for key, value in metadata.items() if key != "nbgrader"}
    return {**cell, "metadata": kept}


class GradeCells(_Step):
    """``nbgrader autograde``, instead of Execute: two kernels, and points that nobody can print."""

    seconds = Float(
        30.0, min=1.0, help="Seconds for each of two kernels; one cell gets a third."
    ).tag(config=True)
    memory = Integer(1024, min=256, help="MiB that a kernel may have.").tag(config=True)
    seed_is_student = Bool(
        False, help="Whether the student's id in nbgrader says whose variant of a lab it is."
    ).tag(config=True)

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Each cell of checks gets its points as its result, and what the checks say beside it."""
        key = grading.key_of(self._source(resources))
        limits = Limits(self.seconds, self.memory << 20)
        seed = resources["nbgrader"]["student"] if self.seed_is_student else ""
        with ThreadPoolExecutor(1) as pool:  # formgrader calls while its event loop runs
            grade = pool.submit(grading.grade, nb, key, limits, seed).result()
        resources[_END] = grade.end
        results = {task["task"]: Result.from_json(task) for task in grade.tasks}
        tasks = {cell.key: [results[name] for name, _ in cell.tasks] for cell in key.cells}
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
                if own := tasks.get(_name(cell)):
                    cell.outputs = _outputs(own, grade, cell.metadata.nbgrader["points"])
        return nb, resources


def _outputs(tasks: Sequence[Result], grade: Grade, of: float) -> list[Any]:
    """What nbgrader makes a score of: a number as the result. All else is for people."""
    points = sum(task.points for task in tasks)
    if points > of:
        raise BadInput(
            f"{points:g} points in a cell that had {of:g} when the assignment was made: "
            "make it again with nbgrader generate_assignment"
        )
    lines = [grade.problem] if grade.problem not in [task.problem for task in tasks] else []
    if not all(task.passed for task in tasks):
        lines += grade.errors
    words = "".join(f"{printable(line)}\n" for line in lines)
    return [
        *map(_shown, tasks),
        *([_output("stream", name="stdout", text=words)] if words else []),
        _output("execute_result", data={"text/plain": f"{points:.12g}"}),
    ]


def _shown(task: Result) -> Any:
    data = {"text/plain": text.render(task.card), "text/html": html.render(task.card)}
    return _output("display_data", data=data)


def _output(kind: str, **content: object) -> Any:
    return v4.new_output(kind, **content)  # type: ignore[no-untyped-call]  # it has no types


class SaveGrades(theirs.SaveAutoGrades):  # type: ignore[misc]  # it has no types
    """``nbgrader autograde``: points of what died or ran out of time wait for a look by hand."""

    def _add_score(self, cell: Any, resources: Any) -> None:
        super()._add_score(cell, resources)
        if resources.get(_END, "done") != "done":
            name = cell.metadata["nbgrader"]["grade_id"]
            of = (self.notebook_id, self.assignment_id, self.student_id)
            self.gradebook.find_grade(name, *of).needs_manual_grade = True
            self.gradebook.db.commit()


class HideTests(_Step, theirs.GetGrades):  # type: ignore[misc]  # it has no types
    """``nbgrader generate_feedback``: students see their own notebook's cells, nothing hidden."""

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """Scores come in. Answers stay; all else that is known is as it was handed out."""
        nb, resources = super().preprocess(nb, resources)
        handed_out = {
            _name(cell): cell for cell in student_version(self._source(resources))["cells"]
        }
        for cell in nb.cells:
            known = cell.metadata.get("nbgrader", {})
            if _name(cell) and not known.get("solution"):
                source = handed_out.get(_name(cell), {"source": _ALL_HIDDEN})["source"]
                cell.source = source
        return nb, resources
