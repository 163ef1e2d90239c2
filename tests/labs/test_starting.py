"""``kvmdbg lab new``: the lab that a lecturer begins with is whole, and fair, as it is.

Its students' version is graded by test_teaching.py. Must not know: what the lab is about.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from nbformat import from_dict, validate

from kvmdbg.cli import main
from kvmdbg.lab.notebooks import read, source_of


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main.main(["lab", "new", "sums"]) == 0
    assert main.main(["lab", "build", "sums/instructor.ipynb", "sums/student.ipynb"]) == 0
    return tmp_path / "sums"


def test_a_new_lab_gets_all_points_as_it_is(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = str(lab / "instructor.ipynb")
    assert main.main(["check", "--lab", name, name]) == 0
    assert "6 of 6 points" in capsys.readouterr().out


def test_a_new_lab_is_a_valid_notebook(lab: Path) -> None:
    for name in ("instructor.ipynb", "student.ipynb"):
        validate(from_dict(read(lab / name)))


def test_its_headings_go_down_one_level_at_a_time(lab: Path) -> None:
    cells = read(lab / "instructor.ipynb")["cells"]
    text = [source_of(cell) for cell in cells if cell["cell_type"] == "markdown"]
    levels = [source.split()[0] for source in text]
    assert (levels[0], set(levels[1:])) == ("#", {"##"})


def test_its_name_is_in_it(lab: Path) -> None:
    text = (lab / "instructor.ipynb").read_text()
    assert 'Lab(\\"sums\\"' in text
    assert "NAME" not in text


def test_a_lab_that_is_there_already_is_left_alone(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lab / "instructor.ipynb").write_text("mine")
    assert main.main(["lab", "new", "sums"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (lab / "instructor.ipynb").read_text() == "mine"
