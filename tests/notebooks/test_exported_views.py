"""A notebook with live views, run without a browser and exported: the stills tell the story.

What a page makes of a saved notebook is in tests/browser/test_stills.py. Must not know how a still
is drawn.
"""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from html import unescape

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert.exporters import HTMLExporter, LatexExporter, MarkdownExporter, PythonExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

PROGRAM = "%%asm\nstart: mov rax, 0x1234\nloop: inc rax\njmp loop"
SOURCES = (
    "%load_ext kvmdbg",
    PROGRAM,
    "%bp loop\n%step 4",
    "%vm view",
    "%vm view timeline",
    "%vm view dr",
)
WIDGET = "application/vnd.jupyter.widget-view+json"
RAX = "0000000000001234"


@cache
def executed(*, store_widget_state: bool) -> NotebookNode:
    notebook = new_notebook(cells=[new_code_cell(source) for source in SOURCES])
    notebook.metadata["language_info"] = {"name": "python", "file_extension": ".py"}
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", store_widget_state=store_widget_state
    )
    client.execute()
    return notebook


def views(notebook: NotebookNode) -> list[NotebookNode]:
    """The three outputs that are views."""
    found = [
        out for cell in notebook.cells for out in cell.outputs if WIDGET in out.get("data", ())
    ]
    assert len(found) == 3
    return found


def alts(notebook: NotebookNode) -> list[str]:
    """The words of the timeline's and the debug registers' pictures."""
    return [output.metadata["image/png"]["alt"] for output in views(notebook)[1:]]


def pictures(page: str) -> list[str]:
    """What the embedded pictures of a page say."""
    found = re.findall(r'<img alt="([^"]*)"\s+src="data:image/png;base64,[^"]{100,}"', page)
    return [unescape(alt) for alt in found]


@pytest.mark.parametrize("store_widget_state", [True, False])
def test_a_saved_notebook_with_views_is_valid(store_widget_state: bool) -> None:
    nbformat.validate(executed(store_widget_state=store_widget_state))


def test_html_without_widget_state_shows_the_stills() -> None:
    notebook = executed(store_widget_state=False)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert pictures(page) == alts(notebook)
    assert page.count(RAX) >= 2  # the stop, and the machine
    assert WIDGET not in page


def test_html_with_widget_state_has_the_moment_in_each_views_state() -> None:
    notebook = executed(store_widget_state=True)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert page.count(f'<script type="{WIDGET}">') == 3
    state = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    ids = [output.data[WIDGET].model_id for output in views(notebook)]
    stills = [state[model]["state"]["still"] for model in ids]
    assert RAX in stills[0]["text"]
    assert [still["text"] for still in stills[1:]] == alts(notebook)
    assert [bool(still["png"]) for still in stills] == [False, True, True]


@pytest.mark.parametrize("store_widget_state", [True, False])
def test_markdown_has_the_pictures_and_their_words(store_widget_state: bool) -> None:
    notebook = executed(store_widget_state=store_widget_state)
    page, _ = MarkdownExporter().from_notebook_node(notebook)
    assert pictures(page) == alts(notebook)
    assert page.count(RAX) >= 2


@pytest.mark.parametrize("store_widget_state", [True, False])
def test_latex_has_a_picture_of_each_view(store_widget_state: bool) -> None:
    notebook = executed(store_widget_state=store_widget_state)
    text, resources = LatexExporter().from_notebook_node(notebook)
    named = re.findall(r"\\adjustimage\{.*\}\{(output_[^}]*\.png)\}", text)
    assert len(named) == 3
    files = resources["outputs"]
    assert [files[name][:4] for name in named] == [b"\x89PNG"] * 3


def test_a_script_has_the_cells_and_no_outputs() -> None:
    script, _ = PythonExporter().from_notebook_node(executed(store_widget_state=True))
    assert "run_line_magic('vm', 'view timeline')" in script
    assert RAX not in script


def test_a_terminal_shows_the_text() -> None:
    lines = "; ".join(f"shell.run_cell({source!r}).raise_error()" for source in SOURCES)
    program = "from IPython.core.interactiveshell import InteractiveShell\n"
    program += f"shell = InteractiveShell.instance()\n{lines}"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert ran.stdout.count(RAX) >= 2
    assert "View" not in ran.stdout
    assert "DR7" in ran.stdout
