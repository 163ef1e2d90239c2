"""From the lecturer's notebook to the student's: solutions and hidden checks out, metadata in.

The same source always gives the same bytes. Must not know: how a notebook is run.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import re
from typing import Any, Final

from ..errors import BadInput
from .notebooks import (
    BEGIN_HIDDEN,
    BEGIN_SOLUTION,
    END_HIDDEN,
    END_SOLUTION,
    code_cells,
    source_of,
    tasks_in,
)
from .sealing import seal

_PYTHON, _ASM = "# your answer here", "; your answer here"
_PLACEHOLDER: Final = re.compile(r"^(\s*)(\w+)\s*=(?!=)")
STUDENT: Final = "kvmdbg_lab"
"""The key of a notebook's metadata that tells a student's version, with the lab's digest."""


def student_version(notebook: dict[str, Any]) -> dict[str, Any]:
    """What students get; BadInput names the cell in which something is wrong."""
    made = copy.deepcopy(notebook)
    check_tasks(notebook)
    made["cells"] = [
        _cell(cell, number) for number, cell in enumerate(made["cells"]) if _is_kept(cell, number)
    ]
    made.setdefault("metadata", {})[STUDENT] = {"version": 1}
    return made


def written(notebook: dict[str, Any]) -> str:
    """A notebook's file, as Jupyter writes it."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def check_tasks(notebook: dict[str, Any]) -> None:
    """BadInput for a lab without checks, or with two tasks of one name."""
    names = [name for cell in code_cells(notebook) for name, _ in cell.tasks]
    if not names:
        raise BadInput('there is no check in it: a cell with lab.task("NAME", points=N)')
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f'two cells begin the task "{name}"; each needs a name of its own')


def _is_kept(cell: dict[str, Any], number: int) -> bool:
    """A cell that is nothing but hidden tests goes as a whole."""
    source = source_of(cell)
    return not (
        BEGIN_HIDDEN in source and not _without_hidden(source, f"cell {number + 1}").strip()
    )


def _cell(cell: dict[str, Any], number: int) -> dict[str, Any]:
    where = f"cell {number + 1}"
    source = source_of(cell)
    tasks = tasks_in(source)
    solution = BEGIN_SOLUTION in source
    source = _without_solution(_without_hidden(source, where), where)
    if cell.get("cell_type") != "code":
        return {**cell, "source": source}
    if tasks:
        source = _sealed(source, str(cell.get("id") or number), where)
    return {
        **cell,
        "source": source,
        "outputs": [],
        "execution_count": None,
        "metadata": _metadata(cell, number, tasks, solution),
    }


def _metadata(
    cell: dict[str, Any], number: int, tasks: tuple[tuple[str, float], ...], solution: bool
) -> dict[str, Any]:
    """The cell's own, with nbgrader's if it has none yet."""
    metadata = dict(cell.get("metadata") or {})
    if "nbgrader" in metadata:
        return metadata
    known = {"schema_version": 3, "task": False, "solution": solution, "grade": bool(tasks)}
    key = "-".join(name for name, _ in tasks) if tasks else str(cell.get("id") or f"cell-{number}")
    found = {**known, "grade_id": re.sub(r"[^\w-]", "-", key), "locked": not solution}
    if tasks:
        found["points"] = sum(points for _, points in tasks)
    return {**metadata, "nbgrader": found}


# Regions


def _without_hidden(source: str, where: str) -> str:
    return _cut(source, BEGIN_HIDDEN, END_HIDDEN, where, lambda _: [])


def _without_solution(source: str, where: str) -> str:
    comment = _ASM if source.startswith("%%asm") else _PYTHON
    return _cut(
        source, BEGIN_SOLUTION, END_SOLUTION, where, lambda lines: _placeholders(lines, comment)
    )


def _placeholders(lines: list[str], comment: str) -> list[str]:
    """What stands for a solution: ``name = ...`` for each name it sets on its outermost level."""
    if comment is _ASM:
        return [comment]
    found = [_PLACEHOLDER.match(line) for line in lines]
    indent = min((len(one[1]) for one in found if one), default=0)
    names = dict.fromkeys(one[2] for one in found if one and len(one[1]) == indent)
    return [" " * indent + comment, *(f"{' ' * indent}{name} = ..." for name in names)]


def _cut(source: str, begin: str, end: str, where: str, instead: Any) -> str:
    """The text without the regions between two markers; both stand on lines of their own."""
    kept: list[str] = []
    inside: list[str] | None = None
    for line in source.split("\n"):
        marker = line.strip().lstrip(";").strip()
        if marker == begin and inside is None:
            inside = []
        elif marker == end and inside is not None:
            kept += instead(inside)
            inside = None
        elif marker in (begin, end):
            raise BadInput(f'{where}: "{marker}" stands where its partner is missing')
        else:
            (kept if inside is None else inside).append(line)
    if inside is not None:
        raise BadInput(f'{where}: "{begin}" has no "{end}"')
    return "\n".join(kept)


# Hidden values


def _sealed(source: str, key: str, where: str) -> str:
    """``hidden(20)`` becomes ``sealed("...")``, and its import with it."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise BadInput(f"{where}: a cell of checks is plain Python: {error.msg}") from None
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "hidden"
    ]
    lines = source.encode().split(b"\n")
    for number, call in sorted(enumerate(calls), key=lambda one: -_offset(lines, one[1])):
        salt = hashlib.sha256(f"{key}/{number}".encode()).digest()[:8]
        text = f'sealed("{seal(_literal(call, where), salt)}")'.encode()
        begin = _offset(lines, call)
        stop = sum(len(line) + 1 for line in lines[: (call.end_lineno or 1) - 1])
        whole = b"\n".join(lines)
        whole = whole[:begin] + text + whole[stop + (call.end_col_offset or 0) :]
        lines = whole.split(b"\n")
    return b"\n".join(lines).decode()


def _offset(lines: list[bytes], node: ast.Call) -> int:
    return sum(len(line) + 1 for line in lines[: node.lineno - 1]) + node.col_offset


def _literal(call: ast.Call, where: str) -> Any:
    try:
        (argument,) = call.args
        return ast.literal_eval(argument)
    except ValueError:
        raise BadInput(
            f"{where}: hidden() takes one number, text or bytes as they are written; "
            f"what is worked out belongs between {BEGIN_HIDDEN} and {END_HIDDEN}"
        ) from None


def is_students(notebook: dict[str, Any]) -> bool:
    """Whether this is a students' version."""
    metadata = notebook.get("metadata")
    return isinstance(metadata, dict) and STUDENT in metadata
