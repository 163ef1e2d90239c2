"""Each lab with the numbers of many students: the lecturer's solutions must fit all of them.

In one process, without a kernel: the magics are left out. Must not know: what a lab is about.
"""

from __future__ import annotations

from typing import Any

import pytest

from kvmdbg.lab import notebooks
from kvmdbg.lab.notebooks import code_cells
from kvmdbg.lab.tasks import LABS as OPEN
from kvmdbg.lab.tasks import SEED, Lab
from tests.labs.submissions import LABS, instructor

STUDENTS = [f"student {number}" for number in range(12)]


def solved(name: str) -> Lab:
    """A lab after all of its cells but those that only show something."""
    names: dict[str, Any] = {}
    for cell in code_cells(notebooks.read(instructor(name))):
        if not cell.demo:
            lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
            exec("\n".join(lines), names)  # the notebook is ours
    lab: Lab = names["lab"]
    return lab


@pytest.mark.parametrize("name", LABS)
def test_the_solutions_fit_every_students_numbers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    for student in STUDENTS:
        monkeypatch.setenv(SEED, student)
        lab = solved(name)
        assert [repr(task) for task in lab.results if not task.passed] == []
        drawn.append(repr(lab.variant.drawn.items()))
        lab.close()
        del OPEN[lab.name]
    assert len(set(drawn)) == len(STUDENTS)
