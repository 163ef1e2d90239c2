"""Every notebook, and the README's example, runs from top to bottom in a real kernel.

What a notebook claims it asserts itself; here is only what holds for all of them. Must not know
what any of them is about.
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
CELL_SECONDS = 120

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


@each_document
def test_it_runs_from_top_to_bottom(path: Path) -> None:
    assert outputs(executed(path))


@each_document
def test_whatever_it_displays_has_a_text_twin(path: Path) -> None:
    shown = [out.data for out in outputs(executed(path)) if "data" in out]
    shown = [data for data in shown if data != {"text/plain": "", "text/html": ""}]  # a run's note
    assert [data for data in shown if not data.get("text/plain", "").strip()] == []


@each_document
def test_it_prints_no_warnings(path: Path) -> None:
    streams = [out for out in outputs(executed(path)) if out.output_type == "stream"]
    assert [out.text for out in streams if out.name == "stderr"] == []


@each_notebook
def test_it_is_stored_without_results(path: Path) -> None:
    code = [cell for cell in load(path).cells if cell.cell_type == "code"]
    kept = [cell.source for cell in code if cell.outputs or cell.execution_count]
    assert kept == [], "clear it: .venv/bin/jupyter nbconvert --clear-output --inplace FILE"


@each_notebook
def test_it_is_valid(path: Path) -> None:
    nbformat.validate(nbformat.read(path, as_version=nbformat.NO_CONVERT))


@each_notebook
def test_it_asks_for_the_kernel_that_every_jupyter_has(path: Path) -> None:
    assert load(path).metadata.kernelspec.name == "python3"
