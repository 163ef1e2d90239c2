"""Courses of nbgrader in a folder, and what came of them: the commands are those of docs/labs.md.

Must not know: what the labs are about.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kvmdbg.lab.notebooks import read
from tests.labs.submissions import instructor

ROOT: Final = Path(__file__).parents[2]
_GUIDE: Final = (ROOT / "docs" / "labs.md").read_text(encoding="utf-8")
_SECTION: Final = _GUIDE.partition("## With nbgrader\n")[2].partition("\n## ")[0]
_IN_GUIDE: Final = "01-find-the-bug"
"""The lab whose name the guide's commands have."""
CONFIGURED, FURTHER = re.findall(r"```python\n(.*?)```", _SECTION, re.DOTALL)
"""The guide's nbgrader_config.py, and the lines that may be added to it."""
COMMANDS: Final = tuple(re.findall(r"^\$ nbgrader (.*)$", _SECTION, re.MULTILINE))
"""What the guide's commands say behind ``nbgrader``."""
_RUN: Final = """
import json, sys
from nbgrader.apps import NbGraderApp
for words in json.loads(sys.argv[1]):
    NbGraderApp.launch_instance(words)
    NbGraderApp.clear_instance()
"""
"""All commands in one process: nbgrader takes seconds to import."""


@dataclass(frozen=True)
class Course:
    """A course's folder."""

    folder: Path

    def run(
        self,
        config: str,
        submissions: Mapping[tuple[str, str], dict[str, Any]],
        commands: Sequence[str] = COMMANDS,
    ) -> None:
        """From nothing to feedback and scores; ``submissions`` are by (lab, student)."""
        self.folder.mkdir(parents=True)
        (self.folder / "nbgrader_config.py").write_text(config)
        for lab in dict(submissions):
            self._file("source", lab[0], "lab.ipynb").write_bytes(instructor(lab[0]).read_bytes())
        for (lab, student), notebook in submissions.items():
            file = self._file("submitted", student, lab, "lab.ipynb")
            file.write_text(json.dumps(notebook), encoding="utf-8")
        self._run([shlex.split(command.replace(_IN_GUIDE, "'*'")) for command in commands])

    def released(self, lab: str) -> dict[str, Any]:
        """The students' notebook, as nbgrader made it."""
        return read(self.folder / "release" / lab / "lab.ipynb")

    def feedback(self, lab: str, student: str) -> str:
        """The page for a student."""
        return (self.folder / "feedback" / student / lab / "lab.html").read_text(encoding="utf-8")

    def totals(self) -> dict[tuple[str, str], float]:
        """All scores in grades.csv by (lab, student)."""
        with (self.folder / "grades.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return {(row["assignment"], row["student_id"]): float(row["score"]) for row in rows}

    def scores(self, lab: str, student: str) -> dict[str, tuple[float, bool]]:
        """In the gradebook: each graded cell's score, and whether it waits for a look by hand."""
        from nbgrader.api import Gradebook

        with Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}") as gradebook:
            found = gradebook.find_submission_notebook("lab", lab, student)
            return {one.name: (one.score, one.needs_manual_grade) for one in found.grades}

    def _file(self, *parts: str) -> Path:
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _run(self, commands: list[list[str]]) -> None:
        path = [sysconfig.get_path("scripts"), os.environ.get("PATH", "")]  # nbgrader runs alembic
        done = subprocess.run(
            [sys.executable, "-c", _RUN, json.dumps(commands)],
            cwd=self.folder,
            env={**os.environ, "PATH": os.pathsep.join(path), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-4000:]
