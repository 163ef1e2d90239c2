"""What students hand in for lab 01: the lecturer's notebook with other answers in it.

Must not know: how they are graded.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

LAB = Path(__file__).parents[2] / "notebooks" / "labs" / "01-find-the-bug"
INSTRUCTOR, STUDENT = LAB / "instructor.ipynb", LAB / "student.ipynb"

RIGHT = {
    "student": 'student = "grace"',
    "culprit-answer": 'culprit = vm.symbols["clear"]\nrounds = 9',
    "fix-answer": 'fixed = lab.assemble(SOURCE.replace("cx, 9", "cx, 8"), mode="real", org=org)',
}
HALF = {
    **RIGHT,
    "culprit-answer": 'culprit = vm.symbols["sum"]\nrounds = 9',
    "fix-answer": 'fixed = lab.assemble(SOURCE.replace("cx, 9", "cx, 1"), mode="real", org=org)',
}
WRONG = {
    **RIGHT,
    "culprit-answer": "culprit = 5\nrounds = 8",
    "fix-answer": "fixed = broken",
}
ENDLESS = {
    **RIGHT,
    "fix-answer": 'fixed = lab.assemble("""\n'
    "  mov si, offset table\n  xor ax, ax\n  mov cx, {{count}}\n"
    "sum: add ax, [si]\n  add si, 2\n  loop sum\n  mov [total], ax\n  jmp $\n"
    'table: .word {{table}}\nscratch: .fill 8, 2, 0\ntotal: .word 0\n""", mode="real", org=org)',
}
CHEAT = """
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
culprit, rounds, fixed = 5, 5, 5
"""


def written(answers: dict[str, str], more: str = "") -> dict[str, Any]:
    """The students' notebook with these answers, and one more cell at the end."""
    notebook: dict[str, Any] = copy.deepcopy(json.loads(STUDENT.read_text(encoding="utf-8")))
    for cell in notebook["cells"]:
        if cell["id"] in answers:
            cell["source"] = answers[cell["id"]]
    last = {"cell_type": "code", "id": "more", "metadata": {}, "outputs": [], "source": more}
    notebook["cells"].append({**last, "execution_count": None})
    return notebook
