"""A lab's notebook as data: which cells are solutions, which are checks, what they name.

Notebooks are JSON of format 4 and are never trusted. Must not know: kernels, or what a check does.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from ..errors import BadInput

BEGIN_SOLUTION, END_SOLUTION = "### BEGIN SOLUTION", "### END SOLUTION"
BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
DEMO: Final = "demo"
"""The tag of cells that only show something: a grader need not run them."""
MAY_FAIL: Final = "raises-exception"
"""Jupyter's tag of cells that are meant to fail."""

_MOST_BYTES: Final = 32 << 20
_ASM: Final = re.compile(r"%%asm[ \t]+([A-Za-z_]\w*)")


class Role(Enum):
    """What a code cell is for."""

    SOLUTION = "solution"
    CHECK = "check"
    OTHER = "other"


@dataclass(frozen=True)
class Cell:
    """A code cell: its id, its source, what it is for, and the tasks (name, points) it begins."""

    key: str
    source: str
    role: Role
    tasks: tuple[tuple[str, float], ...] = ()
    demo: bool = False
    may_fail: bool = False


def read(path: Path) -> dict[str, Any]:
    """A notebook file; BadInput if it is none."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise BadInput(f"{str(path)!r} is larger than {_MOST_BYTES >> 20} MiB")
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise BadInput(f"{str(path)!r} is no notebook: it is not JSON") from None
    if not isinstance(found, dict) or found.get("nbformat") != 4:
        raise BadInput(f"{str(path)!r} is no notebook of format 4; save it again in Jupyter")
    cells = found.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise BadInput(f"{str(path)!r} is no notebook: it has no cells")
    return found


def source_of(cell: dict[str, Any]) -> str:
    """A cell's text, which the file may have as a list of lines."""
    source = cell.get("source", "")
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""


def code_cells(notebook: dict[str, Any]) -> list[Cell]:
    """The code cells in order."""
    return [
        _cell(cell, number)
        for number, cell in enumerate(notebook["cells"])
        if cell.get("cell_type") == "code"
    ]


def _cell(cell: dict[str, Any], number: int) -> Cell:
    source, metadata = source_of(cell), cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    nbgrader = metadata.get("nbgrader")
    nbgrader = nbgrader if isinstance(nbgrader, dict) else {}
    key = str(nbgrader.get("grade_id") or cell.get("id") or number)
    tasks = tasks_in(source)
    if tasks:
        role = Role.CHECK
    elif is_solution(source) or nbgrader.get("solution") is True:
        role = Role.SOLUTION
    else:
        role = Role.OTHER
    tags = metadata.get("tags")
    tags = tags if isinstance(tags, list) else []
    return Cell(key, source, role, tasks, DEMO in tags, MAY_FAIL in tags)


def is_solution(source: str) -> bool:
    """Whether a student is to write here."""
    return BEGIN_SOLUTION in source


def tasks_in(source: str) -> tuple[tuple[str, float], ...]:
    """``lab.task("fix", points=4)``: the tasks that a cell of plain Python begins.

    >>> tasks_in('t = lab.task("fix", points=4)')
    (('fix', 4),)
    """
    tree = _tree(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []
    return tuple(
        found
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "task"
        for found in [_task(call)]
        if found is not None
    )


def _task(call: ast.Call) -> tuple[str, float] | None:
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    values = [one.value for one in given if isinstance(one, ast.Constant)]
    match values:
        case [str() as name, int() | float() as points]:
            return name, points
    return None


def names_bound(source: str) -> set[str]:
    """The variables that a cell sets: by ``=``, or by ``%%asm NAME``.

    >>> sorted(names_bound("a = b, c = 1, 2")), names_bound("%%asm fixed --mode real")
    (['a', 'b', 'c'], {'fixed'})
    >>> names_bound("def f(vm):\\n    regs = vm.regs()\\nsession = f")
    {'session'}
    """
    magic = _ASM.match(source)
    if magic is not None:
        return {magic[1]}
    tree = _tree("\n".join(line for line in source.splitlines() if not line.startswith("%")))
    if tree is None:
        return set()
    nodes = [node for node in _outside_functions(tree) if isinstance(node, ast.Name)]
    return {node.id for node in nodes if isinstance(node.ctx, ast.Store)}


_SCOPES: Final = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those in scopes of their own: what is set there is set for nobody else."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _SCOPES):
            yield child
            yield from _outside_functions(child)


def _tree(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
