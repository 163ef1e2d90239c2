"""The notebooks as files, and as they are after a run: each is run once for all tests.

Must not know: what is asked of them, or what any of them is about.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LABS = sorted((ROOT / "notebooks" / "labs").glob("*/instructor.ipynb"))
LABS_OF_STUDENTS = sorted((ROOT / "notebooks" / "labs").glob("*/student.ipynb"))
README = ROOT / "README.md"
CELL_SECONDS = 60

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_text = pytest.mark.parametrize("path", [*NOTEBOOKS, *LABS, *LABS_OF_STUDENTS], ids=_name)
each_run = pytest.mark.parametrize("path", [*NOTEBOOKS, *LABS], ids=_name)
each_document = pytest.mark.parametrize("path", [*NOTEBOOKS, *LABS, README], ids=_name)


def load(path: Path) -> NotebookNode:
    """A notebook; of a Markdown file, its ``ipython`` and ``python`` blocks as cells."""
    if path.suffix == ".ipynb":
        return nbformat.read(path, as_version=4)
    blocks = re.findall(r"^```i?python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    return new_notebook(cells=[new_code_cell(block.rstrip()) for block in blocks])


@cache
def executed(path: Path) -> NotebookNode:
    """The notebook after a run; a cell that fails (and is not tagged so) raises.

    A lab's cells run twice, as students do.
    """
    notebook = load(path)
    if path in LABS:
        notebook.cells += [new_code_cell(cell.source) for cell in code_cells(notebook)]
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: NotebookNode) -> list[Any]:
    return [out for cell in code_cells(notebook) for out in cell.outputs]
