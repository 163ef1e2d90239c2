"""nbgrader makes, grades and explains the labs: everybody gets the points that the work deserves.

Real courses, real gradebooks. Must not know: how the points come about.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from nbformat import from_dict
from traitlets.config import Config

from kvmdbg.errors import BadInput, ToolMissing
from kvmdbg.lab import grading, nbgrader
from kvmdbg.lab.building import marked, student_version
from kvmdbg.lab.notebooks import read, source_of
from kvmdbg.lab.results import score
from tests.labs.nbgrader_course import COMMANDS, CONFIGURED, FURTHER, Course
from tests.labs.submissions import KINDS, LABS, instructor, points, submission

LAB: Final = LABS[0]
STUCK: Final = "import time\nwhile True:\n    time.sleep(1)"
FORGED: Final = {"output_type": "execute_result", "metadata": {}, "execution_count": 1}


def checks_of(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in notebook["cells"] if one["metadata"].get("nbgrader", {}).get("grade")]


def deleted() -> dict[str, Any]:
    notebook = submission(LAB, "half")
    checks = checks_of(notebook)
    notebook["cells"] = [cell for cell in notebook["cells"] if cell not in checks]
    return notebook


def edited() -> dict[str, Any]:
    """Checks that give all points, have given them already, and claim what nbgrader cannot read."""
    notebook = submission(LAB, "half")
    for cell in checks_of(notebook):
        cell["outputs"] = [{**FORGED, "data": {"text/plain": "4.0"}}]
        cell["source"] = "4.0"
        cell["metadata"]["nbgrader"].update(points=1000, schema_version=1, locked=False)
    return notebook


MORE: Final = {
    "killed": (
        submission(LAB, "right", "import os\nos._exit(0)"),
        dict.fromkeys(points(LAB, "right"), 0),
    ),
    "stuck": (submission(LAB, "right", STUCK), points(LAB, "right")),
    "deleted": (deleted(), points(LAB, "half")),
    "edited": (edited(), points(LAB, "half")),
}
"""What else is handed in for one lab, and the points by task."""
PLAIN: Final = (*((lab, "half") for lab in LABS), (LAB, "cheat"))
"""What is handed in to a course that does not know kvmdbg."""
DESERVED: Final = {
    **{(lab, kind): points(lab, kind) for lab in LABS for kind in KINDS},
    **{(LAB, name): found for name, (_, found) in MORE.items()},
}


def handed_in(labs: tuple[str, ...]) -> dict[tuple[str, str], dict[str, Any]]:
    found = {(lab, kind): submission(lab, kind) for lab in labs for kind in KINDS}
    more = {(LAB, name): notebook for name, (notebook, _) in MORE.items() if LAB in labs}
    return {**found, **more}


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Course]:
    """The courses by lab, each with half of the labs, and one that does not know kvmdbg."""
    folder = tmp_path_factory.mktemp("nbgrader")
    made = {name: Course(folder / name) for name in ("even", "odd", "plain")}
    work = [
        (made["even"], CONFIGURED, handed_in(LABS[0::2])),
        (made["odd"], CONFIGURED, handed_in(LABS[1::2])),
        (made["plain"], "", {one: submission(*one) for one in PLAIN}, COMMANDS[:2]),
    ]
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(course.run, *rest) for course, *rest in work if rest[1]]
        for one in running:
            one.result()
    halves = {lab: made["odd" if number % 2 else "even"] for number, lab in enumerate(LABS)}
    return {**halves, "plain": made["plain"]}


def by_cell(lab: str, by_task: dict[str, float]) -> dict[str, float]:
    """Points of tasks under the names of the cells that they are in."""
    cells = grading.key_of(marked(read(instructor(lab)))).cells
    return {one.key: sum(by_task[name] for name, _ in one.tasks) for one in cells if one.tasks}


def found(course: Course, lab: str, student: str) -> dict[str, float]:
    """The scores of cells in the gradebook."""
    return {name: points for name, (points, _) in course.scores(lab, student).items()}


@pytest.mark.parametrize("lab", LABS)
def test_students_get_from_nbgrader_what_lab_build_makes(
    courses: dict[str, Course], lab: str
) -> None:
    made = student_version(read(instructor(lab)))["cells"]
    released = courses[lab].released(lab)["cells"]
    assert [(one["id"], source_of(one)) for one in released] == [
        (one["id"], source_of(one)) for one in made
    ]


@pytest.mark.parametrize(("lab", "student"), DESERVED)
def test_each_task_gets_the_points_that_the_work_deserves(
    courses: dict[str, Course], lab: str, student: str
) -> None:
    assert found(courses[lab], lab, student) == by_cell(lab, DESERVED[lab, student])


@pytest.mark.parametrize(("lab", "student"), DESERVED)
def test_the_total_is_the_sum_of_the_tasks(
    courses: dict[str, Course], lab: str, student: str
) -> None:
    assert courses[lab].totals()[lab, student] == sum(DESERVED[lab, student].values())


@pytest.mark.parametrize(("lab", "student"), DESERVED)
def test_feedback_says_what_each_task_got(
    courses: dict[str, Course], lab: str, student: str
) -> None:
    page, of = courses[lab].feedback(lab, student), grading.key_of(read(instructor(lab))).tasks
    lines = [f"{task}: {score(got, of[task])}" for task, got in DESERVED[lab, student].items()]
    assert [line for line in lines if line not in page] == []


@pytest.mark.parametrize("lab", LABS)
def test_feedback_gives_nothing_hidden_away(courses: dict[str, Course], lab: str) -> None:
    page = courses[lab].feedback(lab, "half")
    assert [word for word in ("HIDDEN", "SOLUTION", "hidden(") if word in page] == []


def test_feedback_says_what_was_expected_and_what_was_found(courses: dict[str, Course]) -> None:
    page = courses[LAB].feedback(LAB, "half")
    assert "expected something else, got" in page
    assert "expected 0, got 00 00 55" in page


def test_feedback_says_that_the_kernel_died_or_did_not_end(courses: dict[str, Course]) -> None:
    assert "the kernel died" in courses[LAB].feedback(LAB, "killed")
    assert "a cell did not end in its time" in courses[LAB].feedback(LAB, "stuck")


@pytest.mark.parametrize("student", [*KINDS, *MORE])
def test_only_what_died_or_did_not_end_waits_for_a_look_by_hand(
    courses: dict[str, Course], student: str
) -> None:
    waiting = {waits for _, waits in courses[LAB].scores(LAB, student).values()}
    assert waiting == {student in ("killed", "stuck")}


@pytest.mark.parametrize("lab", LABS)
def test_nbgrader_alone_gives_honest_work_the_same_points(
    courses: dict[str, Course], lab: str
) -> None:
    assert found(courses["plain"], lab, "half") == by_cell(lab, points(lab, "half"))


def test_nbgrader_alone_falls_for_overwritten_checks(courses: dict[str, Course]) -> None:
    assert found(courses["plain"], LAB, "cheat") == by_cell(LAB, points(LAB, "right"))


# One step


SOURCE: Final = {
    "cells": [
        {"id": "x", "cell_type": "code", "source": "### BEGIN SOLUTION\nx = 5\n### END SOLUTION"},
        {"id": "one", "cell_type": "code", "source": 't = lab.task("one", points=2)\nt.score'},
        {"id": "two", "cell_type": "code", "source": 't = lab.task("two", points=1)\nt.score'},
    ]
}
KNOWN: Final[list[dict[str, Any]]] = marked(SOURCE)["cells"]


def cell(key: str, source: str = "5", **metadata: object) -> dict[str, Any]:
    return {"id": key, "cell_type": "code", "source": source, "metadata": metadata}


def sources(*cells: dict[str, Any]) -> list[str]:
    return [source_of(one) for one in nbgrader.restored(cells, KNOWN)]


ONE, TWO = (source_of(one) for one in KNOWN[1:])


def test_an_answer_stays_and_checks_come_back_where_they_were() -> None:
    assert sources(cell("x", "x = 6"), cell("one"), cell("mine"), cell("two")) == [
        "x = 6",
        ONE,
        "5",
        TWO,
    ]


def test_checks_that_are_gone_come_back_behind_what_was_before_them() -> None:
    assert sources(cell("mine"), cell("x", "x = 6"), cell("last")) == ["5", "x = 6", ONE, TWO, "5"]


def test_a_notebook_without_cells_gets_its_checks() -> None:
    assert sources() == [ONE, TWO]


def test_a_cell_with_another_id_is_known_by_nbgraders() -> None:
    moved = cell("new", "x = 7", nbgrader={"grade_id": "x"})
    assert sources(moved, cell("one"), cell("two")) == ["x = 7", ONE, TWO]


@pytest.mark.parametrize(
    "claimed", [5, [], {"grade_id": ["one"]}, {"grade_id": "?", "grade": True, "points": 9}]
)
def test_a_students_own_cell_claims_nothing_of_nbgraders(claimed: object) -> None:
    made = nbgrader.restored([cell("mine", nbgrader=claimed, tags=["a"])], KNOWN)
    assert [one["metadata"] for one in made if one["id"] == "mine"] == [{"tags": ["a"]}]


def test_of_two_cells_of_one_name_the_last_counts() -> None:
    twice = [
        cell("a", "1", nbgrader={"grade_id": "one"}),
        cell("b", "2", nbgrader={"grade_id": "one"}),
    ]
    made = nbgrader.restored(twice, KNOWN)
    assert [(one["id"], source_of(one)) for one in made[:2]] == [("a", "1"), ("b", ONE)]


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """GradeCells, with a grade that is given and a note of what it was asked with."""
    asked: list[Any] = []
    made = SimpleNamespace(asked=asked, points=2.0)

    def grade(nb: object, key: grading.Key, limits: object, seed: str) -> grading.Grade:
        asyncio.run(asyncio.sleep(0))  # as kernels need it
        asked.append((limits, seed))
        task = {"passed": True, "points": 2, "problem": "", "of": made.points}
        item = {
            "check": "c",
            "passed": True,
            "points": made.points,
            "of": made.points,
            "message": "m",
        }
        tasks = ({**task, "task": "one", "checks": [item]}, {**task, "task": "two", "checks": []})
        return grading.Grade(tasks, 3, "done", "", "", 0.0, 0)

    monkeypatch.setattr(grading, "grade", grade)
    monkeypatch.setattr(nbgrader.GradeCells, "_source", lambda *_: marked(SOURCE))
    return made


def graded(**options: object) -> Any:
    cells = [{**one, "outputs": [], "execution_count": None} for one in KNOWN]
    nb = from_dict({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    made, _ = nbgrader.GradeCells(**options).preprocess(nb, {"nbgrader": {"student": "ada"}})
    return made


def test_a_students_id_is_the_seed_only_if_the_course_says_so(step: SimpleNamespace) -> None:
    graded()
    graded(seed_is_student=True, seconds=60, memory=512)
    assert [seed for _, seed in step.asked] == ["", "ada"]
    assert (step.asked[1][0].seconds, step.asked[1][0].memory) == (60, 512 << 20)


def test_formgrader_can_grade_while_its_event_loop_runs(step: SimpleNamespace) -> None:
    async def button() -> Any:
        return graded()

    assert asyncio.run(button()).cells[1].outputs


def test_the_guides_further_lines_set_what_the_step_has() -> None:
    course = Config()
    exec(FURTHER, {"get_config": lambda: course})  # the page is ours
    assert set(course.GradeCells) == {"seconds", "memory", "seed_is_student"}
    assert set(course.GradeCells) <= set(nbgrader.GradeCells.class_trait_names(config=True))


def test_points_of_a_source_that_changed_since_are_refused_in_words(step: SimpleNamespace) -> None:
    step.points = 3.0
    with pytest.raises(BadInput, match="generate_assignment"):
        graded()


def test_only_one_result_of_a_cell_is_a_number_for_nbgrader(step: SimpleNamespace) -> None:
    outputs = graded().cells[1].outputs
    assert [one.output_type for one in outputs] == ["display_data", "execute_result"]
    assert outputs[1].data == {"text/plain": "2"}


def test_a_nbgrader_with_other_steps_is_refused_in_one_line() -> None:
    with pytest.raises(ToolMissing, match="no step Path"):
        nbgrader._instead([], Path)


def test_without_nbgrader_there_is_one_line_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "nbgrader", None)
    monkeypatch.delitem(sys.modules, "kvmdbg.lab.nbgrader")
    with pytest.raises(ToolMissing, match="pip install nbgrader"):
        import_module("kvmdbg.lab.nbgrader")
