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
README = ROOT / "README.md"
CELL_SECONDS = 60

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
each_document = pytest.mark.parametrize("path", [*NOTEBOOKS, README], ids=lambda path: path.name)


def load(path: Path) -> NotebookNode:
    """A notebook; of a Markdown file, its ``ipython`` and ``python`` blocks as cells."""
    if path.suffix == ".ipynb":
        return nbformat.read(path, as_version=4)
    blocks = re.findall(r"^```i?python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    return new_notebook(cells=[new_code_cell(block.rstrip()) for block in blocks])


@cache
def executed(path: Path) -> NotebookNode:
    """The notebook after a run; a cell that fails (and is not tagged so) raises."""
    notebook = load(path)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    return notebook


def outputs(notebook: NotebookNode) -> list[Any]:
    return [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
