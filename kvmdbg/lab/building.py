"""From the lecturer's notebook to the student's: solutions and hidden checks out, metadata in.

The same source always gives the same bytes. Must not know: how a notebook is run.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import re
from collections.abc import Callable
from itertools import accumulate
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
from .sealing import coded, seal

_PYTHON, _ASM = "# your answer here", "; your answer here"
_PLACEHOLDER: Final = re.compile(r"^(\w+)\s*=(?!=)")
STUDENT: Final = "kvmdbg_lab"
"""The key of a notebook's metadata that tells a student's version, with the lab's digest."""


def student_version(notebook: dict[str, Any]) -> dict[str, Any]:
    """What students get; BadInput names the cell in which something is wrong."""
    made = without_hidden(without_solutions(marked(notebook)))
    for cell in made["cells"]:
        if cell.get("cell_type") == "code":
            cell.update(outputs=[], execution_count=None)
    return made


def marked(notebook: dict[str, Any]) -> dict[str, Any]:
    """The lecturer's notebook with nbgrader's metadata in each code cell that has none yet.

    BadInput for a lab without checks, with two tasks of one name, or with other metadata than its
    cells say.
    """
    check_tasks(notebook)
    return _changed(notebook, lambda cell, number: {**cell, "metadata": _metadata(cell, number)})


def without_solutions(notebook: dict[str, Any]) -> dict[str, Any]:
    """Places to answer in instead of solutions; BadInput for a marker without its partner."""
    return _changed(notebook, lambda cell, number: {**cell, "source": _answer(cell, number)})


def without_hidden(notebook: dict[str, Any]) -> dict[str, Any]:
    """Hidden tests cut out, hidden values sealed, hints coded.

    A cell that is nothing but hidden tests goes.
    """
    made = _changed(notebook, _unhidden)
    made.setdefault("metadata", {})[STUDENT] = {"version": 1}
    return made


def _changed(
    notebook: dict[str, Any], change: Callable[[Any, int], dict[str, Any] | None]
) -> dict[str, Any]:
    """A copy whose cells are what ``change`` says of each and its number; none, if it says None."""
    made = copy.deepcopy(notebook)
    cells = [change(cell, number) for number, cell in enumerate(made["cells"])]
    made["cells"] = [cell for cell in cells if cell is not None]
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


def _unhidden(cell: dict[str, Any], number: int) -> dict[str, Any] | None:
    where = f"cell {number + 1}"
    source = source_of(cell)
    kept = _cut(source, BEGIN_HIDDEN, END_HIDDEN, where, lambda _: [])
    if kept != source and not kept.strip():
        return None
    if cell.get("cell_type") != "code":
        return {**cell, "source": kept}
    if tasks_in(source):
        kept = _sealed(kept, str(cell.get("id") or number), where)
    return {**cell, "source": _coded(kept, where)}


def _metadata(cell: dict[str, Any], number: int) -> dict[str, Any]:
    """The cell's own, with nbgrader's if it has none yet."""
    metadata = dict(cell.get("metadata") or {})
    if cell.get("cell_type") != "code":
        return metadata
    source = source_of(cell)
    tasks, solution = tasks_in(source), BEGIN_SOLUTION in source
    points = sum(points for _, points in tasks)
    if "nbgrader" in metadata:
        _check_metadata(metadata["nbgrader"], points, solution, f"cell {number + 1}")
        return metadata
    known = {"schema_version": 3, "task": False, "solution": solution, "grade": bool(tasks)}
    key = "-".join(name for name, _ in tasks) if tasks else str(cell.get("id") or f"cell-{number}")
    found = {**known, "grade_id": re.sub(r"[^\w-]", "-", key), "locked": not solution}
    if tasks:
        found["points"] = points
    return {**metadata, "nbgrader": found}


def _check_metadata(found: Any, points: float, solution: bool, where: str) -> None:
    """nbgrader would go by them, kvmdbg by what stands in the cell."""
    said = float(found.get("points") or 0) if found.get("grade") else 0.0
    if points and said != points:
        raise BadInput(f"{where}: its tasks are worth {points:g}, nbgrader's metadata say {said:g}")
    if solution and not found.get("solution"):
        raise BadInput(f"{where}: a solution stands in it, nbgrader's metadata say that none does")


# Regions


def _answer(cell: dict[str, Any], number: int) -> str:
    """A cell's text with places to answer in; nbgrader's metadata may make all of it a solution."""
    source = source_of(cell)
    comment = _ASM if source.startswith("%%asm") else _PYTHON
    known = (cell.get("metadata") or {}).get("nbgrader") or {}
    if known.get("solution") and cell.get("cell_type") == "code" and BEGIN_SOLUTION not in source:
        lines = source.split("\n")
        head = lines[:1] if comment is _ASM else []
        return "\n".join([*head, *_placeholders(lines[len(head) :], comment)])
    return _cut(
        source,
        BEGIN_SOLUTION,
        END_SOLUTION,
        f"cell {number + 1}",
        lambda lines: _placeholders(lines, comment),
    )


def _placeholders(lines: list[str], comment: str) -> list[str]:
    """What stands for a solution: ``name = ...`` for each name it sets, ``...`` in a function."""
    if comment is _ASM:
        return [comment]
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    if indent:
        return [" " * indent + comment, " " * indent + "..."]
    found = [_PLACEHOLDER.match(line) for line in lines]
    return [comment, *(f"{name} = ..." for name in dict.fromkeys(one[1] for one in found if one))]


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


# Hidden values and hints


def _sealed(source: str, key: str, where: str) -> str:
    """``hidden(20)`` becomes ``sealed("...")``."""
    calls = [
        call
        for call in _calls(source, f"{where}: a cell of checks is plain Python")
        if isinstance(call.func, ast.Name) and call.func.id == "hidden"
    ]
    texts = []
    for number, call in enumerate(calls):
        salt = hashlib.sha256(f"{key}/{number}".encode()).digest()[:8]
        texts.append(f'sealed("{seal(_literal(call, where), salt)}")')
    return _put(source, list(zip(calls, texts, strict=True)))


def _coded(source: str, where: str) -> str:
    """``lab.hints("task", "a", ...)`` becomes ``lab.coded_hints``, which nobody reads by chance."""
    if ".hints(" not in source:
        return source
    calls = _calls(source, f"{where}: a cell with hints is plain Python")
    found = [(one, one.func) for one in calls if isinstance(one.func, ast.Attribute)]
    return _put(
        source,
        [
            (call, f"{ast.unparse(of.value)}.coded_hints({_coded_ladder(call, where)})")
            for call, of in found
            if of.attr == "hints"
        ],
    )


def _coded_ladder(call: ast.Call, where: str) -> str:
    try:
        task, *words = (ast.literal_eval(one) for one in call.args)
        lines = [json.dumps(task, ensure_ascii=False), *(f'"{coded(one)}"' for one in words)]
    except (ValueError, AttributeError):
        raise BadInput(f"{where}: hints are texts, as they are written") from None
    return "".join(f"\n    {line}," for line in lines) + "\n"


def _calls(source: str, problem: str) -> list[ast.Call]:
    """All calls in a cell; its magics are passed over."""
    plain = re.sub(r"^%", "#", source, flags=re.MULTILINE)
    try:
        return [node for node in ast.walk(ast.parse(plain)) if isinstance(node, ast.Call)]
    except SyntaxError as error:
        raise BadInput(f"{problem}: {error.msg}") from None


def _put(source: str, instead: list[tuple[ast.Call, str]]) -> str:
    """The source with other texts in place of some calls; ast counts in bytes."""
    whole = source.encode()
    starts = [0, *accumulate(len(line) for line in whole.splitlines(keepends=True))]
    for call, text in sorted(instead, key=lambda one: (-one[0].lineno, -one[0].col_offset)):
        begin = starts[call.lineno - 1] + call.col_offset
        end = starts[(call.end_lineno or call.lineno) - 1] + (call.end_col_offset or 0)
        whole = whole[:begin] + text.encode() + whole[end:]
    return whole.decode()


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
