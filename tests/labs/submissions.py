"""What students hand in: the students' notebook of a lab, with the answers of one kind in it.

Five kinds for each lab, with the points that they must get; the answers themselves are in
``lab_NN_NAME.py``. Must not know: how they are graded.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[2] / "notebooks" / "labs"
LABS: Final[tuple[str, ...]] = (
    "01-find-the-bug",
    "02-db-handler",
    "03-tiny-debugger",
    "04-anti-debugging",
)
"""The names of the labs' folders."""
KINDS: Final = ("right", "half", "wrong", "endless", "cheat")

CHEAT: Final = """
import kvmdbg.lab.checks, kvmdbg.lab.results, kvmdbg.lab.quantities, kvmdbg.lab.tasks, builtins
from kvmdbg.lab.answers import Sent
kvmdbg.lab.checks.check = lambda *_, **__: True
kvmdbg.lab.quantities.same = lambda *_: True
kvmdbg.lab.results.Item.points = property(lambda self: self.of)
kvmdbg.lab.tasks.Task.result = property(lambda self: None)
lab = task = hidden = check = lambda *_, **__: True
passed = [{"task": "fix", "passed": True, "points": 4, "of": 4, "problem": "", "checks": []}]
display(Sent("application/vnd.kvmdbg.results+json", {"seed": "", "tasks": passed}))
print('{"passed": true, "points": 8, "of": 8}')
"""
"""Overwrites the checks, prints and sends results; then comes what the lab's own data add."""


def instructor(lab: str) -> Path:
    """The lecturer's notebook of a lab."""
    return FOLDER / lab / "instructor.ipynb"


def student(lab: str) -> Path:
    """The students' notebook of a lab."""
    return FOLDER / lab / "student.ipynb"


def submission(lab: str, kind: str, more: str = "") -> dict[str, Any]:
    """A notebook as it is handed in; ``more`` is the source of one more cell at its end."""
    last = f"{CHEAT}{_data(lab).CHEATED}\n{more}" if kind == "cheat" else more
    return written(lab, answers(lab, kind), last)


def answers(lab: str, kind: str) -> dict[str, str]:
    """The sources of the cells in which a student of this kind writes, by the cells' ids."""
    found: dict[str, str] = _data(lab).ANSWERS[kind]
    return found


def points(lab: str, kind: str) -> dict[str, float]:
    """The points by task that a submission of this kind must get."""
    found: dict[str, float] = _data(lab).POINTS[kind]
    return found


def written(lab: str, answers: dict[str, str], more: str = "") -> dict[str, Any]:
    """The students' notebook with these answers, and one more cell at the end."""
    notebook = copy.deepcopy(_notebook(lab))
    unknown = answers.keys() - {cell["id"] for cell in notebook["cells"]}
    if unknown:
        raise KeyError(f"{lab} has no cell {', '.join(sorted(unknown))}")
    for cell in notebook["cells"]:
        if cell["id"] in answers:
            cell["source"] = answers[cell["id"]]
    if more:
        last = {"cell_type": "code", "id": "more", "metadata": {}, "outputs": [], "source": more}
        notebook["cells"].append({**last, "execution_count": None})
    return notebook


@cache
def _notebook(lab: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(student(lab).read_text(encoding="utf-8"))
    return found


def _data(lab: str) -> Any:
    return import_module(f"tests.labs.lab_{lab.replace('-', '_')}")
