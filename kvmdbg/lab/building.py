"""From the lecturer's notebook to the student's: solutions and hidden checks out, metadata in.

The same source always gives the same bytes. Must not know: how a notebook is run.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import json
import re
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
    source = _coded(source, where)
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
