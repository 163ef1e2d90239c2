"""``kvmdbg lab build``: what students get of a lecturer's notebook, and what they do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nbformat import from_dict, validate

from kvmdbg.cli import main
from kvmdbg.errors import BadInput
from kvmdbg.lab import Lab, sealed
from kvmdbg.lab.building import student_version, written
from kvmdbg.lab.notebooks import read, source_of
from tests.labs.submissions import LABS, instructor, student

INSTRUCTOR = instructor(LABS[0])
FILES = [path for lab in LABS for path in (instructor(lab), student(lab))]
CHECK = 'task = lab.task("one", points=2)\ntask.predict("x", x, points=2) == 5'


def notebook(*sources: str) -> dict[str, Any]:
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [{**code, "id": f"c{n}", "source": source} for n, source in enumerate(sources)]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def built(*sources: str) -> list[str]:
    return [source_of(cell) for cell in student_version(notebook(*sources, CHECK))["cells"]]


def test_a_solution_becomes_places_for_its_names() -> None:
    source = "### BEGIN SOLUTION\nx = 5\nif x:\n    z = 1\ny = 6\n### END SOLUTION\nx"
    assert built(source)[0] == "# your answer here\nx = ...\ny = ...\nx"


def test_a_solution_in_a_function_becomes_its_body() -> None:
    source = (
        "def f(vm):\n    ### BEGIN SOLUTION\n    y = 1\n    if y:\n        return y\n"
        "    ### END SOLUTION\n\nx = f"
    )
    assert built(source)[0] == "def f(vm):\n    # your answer here\n    ...\n\nx = f"


def test_hints_are_not_there_in_plain_text_and_read_alike() -> None:
    source = '%vm reset\nlab.hints("one", "vägue", "clear")  # ü\nlab.hint("one")'
    made = built(source)[0]
    assert [word for word in ("vägue", "clear") if word in made] == []
    assert made.startswith("%vm reset\nlab.coded_hints(")
    assert made.endswith(')  # ü\nlab.hint("one")')
    lab = Lab("hints")
    exec(made.partition("\n")[2], {"lab": lab})
    assert [repr(lab.hint("one", number)).splitlines()[1] for number in (1, 2)] == [
        "vägue",
        "clear",
    ]


def test_a_hint_that_is_worked_out_is_refused_with_its_cell() -> None:
    with pytest.raises(BadInput, match="cell 1: hints are texts"):
        built('lab.hints("one", word)')


def test_a_coded_hint_that_build_did_not_write_is_refused() -> None:
    with pytest.raises(BadInput, match="no coded hint"):
        Lab("hints").coded_hints("one", "plain words")


def test_a_solution_in_assembler_becomes_a_comment() -> None:
    source = "%%asm fixed\nstart:\n; ### BEGIN SOLUTION\n nop\n; ### END SOLUTION\n hlt"
    assert built(source)[0] == "%%asm fixed\nstart:\n; your answer here\n hlt"


def test_hidden_tests_are_gone() -> None:
    source = (
        f"{CHECK.replace('one', 'two')}\n### BEGIN HIDDEN TESTS\nsecret()\n### END HIDDEN TESTS"
    )
    assert built(source)[0] == CHECK.replace("one", "two")


def test_a_hidden_value_is_sealed_in_its_place() -> None:
    made = built(CHECK.replace("one", "é").replace("== 5", "== hidden(77)  # ü"))[0]
    begin, _, text = made.partition('sealed("')
    text, _, end = text.partition('")')
    assert (begin[-3:], end) == ("== ", "  # ü")
    assert sealed(text).matches(77)
    assert not sealed(text).matches(78)


def test_a_hidden_value_that_is_worked_out_is_refused_with_its_cell() -> None:
    with pytest.raises(BadInput, match=r"cell 1: hidden\(\)"):
        built(CHECK.replace("one", "two").replace("5", "hidden(a + 1)"))


@pytest.mark.parametrize(
    "source",
    ["### BEGIN SOLUTION\nx", "### END SOLUTION", "### BEGIN HIDDEN TESTS\n### END SOLUTION"],
)
def test_markers_without_partners_are_refused_with_their_cell(source: str) -> None:
    with pytest.raises(BadInput, match="cell 1"):
        built(source)


def test_a_notebook_without_checks_is_no_lab() -> None:
    with pytest.raises(BadInput, match="no check"):
        student_version(notebook("x = 5"))


def test_two_tasks_of_one_name_are_refused() -> None:
    with pytest.raises(BadInput, match="one"):
        built(CHECK)


def test_metadata_for_nbgrader_are_put_in_where_there_are_none() -> None:
    cells = student_version(notebook("### BEGIN SOLUTION\nx = 5\n### END SOLUTION", CHECK))["cells"]
    solution, check = (cell["metadata"]["nbgrader"] for cell in cells)
    assert (solution["solution"], solution["locked"], solution["grade"]) == (True, False, False)
    assert (check["grade"], check["locked"], check["points"]) == (True, True, 2)


def test_metadata_for_nbgrader_are_kept() -> None:
    source = notebook(CHECK)
    source["cells"][0]["metadata"] = {"nbgrader": {"grade_id": "mine", "grade": True, "points": 2}}
    made = student_version(source)["cells"][0]["metadata"]
    assert made == source["cells"][0]["metadata"]


@pytest.mark.parametrize(
    ("source", "found", "words"),
    [
        (CHECK, {"grade": True, "points": 3}, "cell 1: its tasks are worth 2, .* say 3"),
        (CHECK, {"grade": False}, "cell 1: its tasks are worth 2, .* say 0"),
        ("### BEGIN SOLUTION\n### END SOLUTION", {"solution": False}, "cell 1: a solution"),
    ],
)
def test_metadata_for_nbgrader_that_say_other_than_the_cell_are_refused(
    source: str, found: dict[str, object], words: str
) -> None:
    lab = notebook(source, CHECK.replace("one", "two"))
    lab["cells"][0]["metadata"] = {"nbgrader": {"grade_id": "mine", **found}}
    with pytest.raises(BadInput, match=words):
        student_version(lab)


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ("x = 5\ny = x", "# your answer here\nx = ...\ny = ..."),
        ("%%asm p\n nop", "%%asm p\n; your answer here"),
    ],
)
def test_a_cell_that_is_a_solution_by_its_metadata_goes_as_a_whole(source: str, left: str) -> None:
    lab = notebook(source, CHECK)
    lab["cells"][0]["metadata"] = {"nbgrader": {"grade_id": "x", "solution": True}}
    assert source_of(student_version(lab)["cells"][0]) == left


@pytest.mark.parametrize("lab", LABS)
def test_the_students_version_of_a_lab_is_up_to_date(lab: str) -> None:
    argv = ["lab", "build", str(instructor(lab)), str(student(lab)), "--check"]
    assert main.main(argv) == 0


@pytest.mark.parametrize("lab", LABS)
def test_the_students_version_of_a_lab_holds_no_solution_and_no_hidden_check(lab: str) -> None:
    text = student(lab).read_text(encoding="utf-8")
    assert [word for word in ("SOLUTION", "HIDDEN", "cx, 8", "hidden(9)") if word in text] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_lab_is_a_valid_notebook_without_results(path: Path) -> None:
    found = json.loads(path.read_text(encoding="utf-8"))
    validate(from_dict(found))
    assert [cell["id"] for cell in found["cells"] if cell.get("outputs")] == []


def test_the_same_source_gives_the_same_bytes() -> None:
    assert written(student_version(read(INSTRUCTOR))) == written(student_version(read(INSTRUCTOR)))


def test_a_file_that_is_no_notebook_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text("[]")
    assert main.main(["lab", "build", str(path), str(tmp_path / "y.ipynb")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_lecturers_notebook_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["lab", "build", str(INSTRUCTOR), str(INSTRUCTOR)]) == 2
    assert "cannot replace" in capsys.readouterr().err
