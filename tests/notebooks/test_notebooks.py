"""Every notebook, and the README's example, runs from top to bottom in a real kernel.

What a notebook claims it asserts itself; here is only what holds for all of them. Must not know
what any of them is about.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

from tests.notebooks.running import each_document, each_lab, each_notebook, executed, load, outputs


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


@each_lab
def test_a_labs_solutions_get_all_points_in_one_kernel(path: Path) -> None:
    summary = outputs(executed(path))[-1].data["text/plain"]
    assert re.match(r"[\w-]+: (\d+) of \1 points", summary), summary


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
