"""A lecturer's notebook to begin with: small, whole, and graded as it stands.

What is in it is there to be replaced. Must not know: where it is written.
"""

from __future__ import annotations

import re
from typing import Any, Final

from ..errors import BadInput

_NAME: Final = re.compile(r"[A-Za-z0-9][\w-]{0,63}", re.ASCII)


def starter(name: str) -> dict[str, Any]:
    """The notebook of a lab called ``name``: letters, digits, ``-`` and ``_``; else BadInput.

    >>> [cell["id"] for cell in starter("double")["cells"] if cell["cell_type"] == "code"]
    ['setup', 'student', 'program', 'steps', 'check-steps', 'double', 'check-double', 'summary']
    """
    if not _NAME.fullmatch(name):
        raise BadInput(f"a lab's name has letters, digits, - and _ only, unlike {name!r}")
    cells = [_cell(key, text.strip("\n").replace("NAME", name)) for key, text in _CELLS.items()]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _cell(key: str, text: str) -> dict[str, Any]:
    if key.startswith("about"):
        return {"cell_type": "markdown", "id": key, "metadata": {}, "source": text}
    metadata = {"tags": ["demo"]} if key == "summary" else {}
    shown: dict[str, Any] = {"execution_count": None, "outputs": []}
    return {"cell_type": "code", "id": key, "metadata": metadata, "source": text, **shown}


_CELLS: Final = {
    "about": """
# NAME

Say here what the lab is about. Students write where it says *your answer here* and may run each
cell as often as they like. 6 points.
""",
    "setup": """
%load_ext kvmdbg
from kvmdbg.lab import Lab, hidden, sealed
""",
    "about-you": """
## Who are you?

Your name or number chooses your own numbers.
""",
    "student": """
### BEGIN SOLUTION
student = "ada"
### END SOLUTION
""",
    "program": """
lab = Lab("NAME", seed=student)
number = lab.variant.number("number", 10, 99)

SOURCE = \"\"\"
start:  mov cx, 3
        xor ax, ax
again:  add ax, {{number}}
        loop again
        hlt
\"\"\"
vm = lab.start(lab.assemble(SOURCE, mode="real"))
lab.hints(
    "steps",
    "%step shows one instruction at a time; %vm reset comes back to the start.",
    "Count again: and loop once for each turn.",
)
vm
""",
    "about-steps": """
## 1. Look

How often does the instruction at `again` run? Try `%step`, or ask `lab.hint("steps")`.
""",
    "steps": """
### BEGIN SOLUTION
rounds = 3
### END SOLUTION
""",
    "check-steps": """
task = lab.task("steps", points=2)
task.predict("how often again runs", rounds, points=2) == hidden(3)
task.score
""",
    "about-double": """
## 2. Write

Assemble a program that leaves twice `number` in AX and halts, in at most five instructions.
""",
    "double": """
### BEGIN SOLUTION
doubled = lab.assemble("mov ax, {{number}}\\n add ax, ax\\n hlt", mode="real")
### END SOLUTION
""",
    "check-double": """
task = lab.task("double", points=4)
run = task.run(doubled, instructions=1000)
task.check(run).stops("halt")
task.check(run, points=2).reg("ax") == 2 * number
### BEGIN HIDDEN TESTS
task.check(run, note="no more than five instructions run").instructions <= 5
### END HIDDEN TESTS
task.score
""",
    "about-all": """
## What you have so far
""",
    "summary": """
lab
""",
}
"""By their ids, in order; those that begin with ``about`` are text."""
