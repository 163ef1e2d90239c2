"""Saved views without their kernel, in JupyterLab and in Notebook 7: as they stood, live when run.

Must not know: what a live view can do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary
from playwright.sync_api import Page, expect

from tests.browser.axe import findings
from tests.browser.chromium import Watched, call
from tests.browser.conftest import OpenNotebook
from tests.browser.lab import Server
from tests.browser.notebook_page import NotebookPage
from tests.browser.pixels import image_colors
from tests.browser.views import wait_for_view

PROGRAM = "%%asm\nstart: mov rax, 0x1234\nloop: inc rax\njmp loop"
SOURCES = [
    "%load_ext kvmdbg",
    PROGRAM,
    "%bp loop\n%step 4",
    "%vm view",
    "%vm view timeline",
    "%vm view dr",
]
VIEWS = {3: "Machine", 4: "Exit timeline", 5: "Debug registers"}
NOTICE = "this is how the guest stood when it was made; run the cell again"
MANAGER_WANTS_A_KERNEL = "Cannot read properties of null (reading 'kernel')"
"""What jupyterlab_widgets throws in a notebook that has no kernel, whatever is in it."""

OpenSaved = Callable[[Server], NotebookPage]


@pytest.fixture
def open_saved(open_notebook: OpenNotebook) -> OpenSaved:
    """A notebook with the three views, run and saved; its kernel still lives."""

    def open_run(server: Server) -> NotebookPage:
        notebook = open_notebook(server, SOURCES)
        assert [cell.error for cell in notebook.run_all() if cell.error] == []
        for number, title in VIEWS.items():
            wait_for_view(notebook.output(number), title)
        notebook.save()
        return notebook

    return open_run


def end_kernel(notebook: NotebookPage) -> None:
    call(notebook.page, "() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")


def reopen(notebook: NotebookPage) -> None:
    notebook.page.reload()
    notebook.wait_until_ready()


def expect_stills(notebook: NotebookPage) -> None:
    """By text and by pixels."""
    for number in VIEWS:
        output = notebook.output(number)
        expect(output).to_contain_text(NOTICE, timeout=30_000)
        expect(output).not_to_contain_text("Error displaying widget")
        expect(output).not_to_contain_text("Loading widget")
        expect(output.locator("table").first).to_be_visible()
        expect(output.locator("canvas")).to_have_count(0)
    expect(notebook.output(3)).to_contain_text("0000000000001234")  # rax
    for number in (4, 5):
        picture = notebook.output(number).locator("img")
        expect(picture).to_be_visible()
        assert len(image_colors(picture)) > 5


def expect_live(notebook: NotebookPage) -> None:
    for number, title in VIEWS.items():
        wait_for_view(notebook.output(number), title)
        expect(notebook.output(number)).not_to_contain_text(NOTICE)


def without_kernel(page: Page, notebook: NotebookPage) -> None:
    """Open a notebook that names no kernel, and want none."""
    page.goto(notebook.server.url(notebook.path.name))
    page.locator(".jp-Dialog button", has_text="No Kernel").click()
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()


def forget_kernel(path: Path, *, trusted: bool) -> None:
    """A saved notebook no longer says which kernel it wants; who changes a file is not trusted."""
    notebook = nbformat.read(path, as_version=4)
    for name in ("kernelspec", "language_info"):
        notebook.metadata.pop(name, None)
    nbformat.write(notebook, path)
    if trusted:
        notary = NotebookNotary(data_dir=str(path.parents[1] / "data"))
        notary.sign(nbformat.read(path, as_version=4))
        notary.store.close()


def test_a_shut_down_kernel_leaves_stills_and_a_new_one_too_until_it_runs_the_cells(
    open_saved: OpenSaved, front_end: Server
) -> None:
    notebook = open_saved(front_end)
    end_kernel(notebook)
    expect_stills(notebook)
    assert findings(notebook.page, ".kvmdbg-still") == []
    reopen(notebook)
    expect_stills(notebook)
    assert [cell.error for cell in notebook.run_all() if cell.error] == []
    expect_live(notebook)


def test_a_saved_notebook_shows_stills_without_a_kernel_trusted_or_not(
    open_saved: OpenSaved, front_end: Server, watched: Watched
) -> None:
    notebook = open_saved(front_end)
    end_kernel(notebook)
    for trusted in (True, False):
        forget_kernel(notebook.path, trusted=trusted)
        without_kernel(watched.page, notebook)
        expect_stills(notebook)
    watched.errors[:] = [e for e in watched.errors if MANAGER_WANTS_A_KERNEL not in e]


def test_what_is_not_trusted_is_sanitised(
    open_saved: OpenSaved, lab: Server, watched: Watched
) -> None:
    notebook = open_saved(lab)
    end_kernel(notebook)
    saved = nbformat.read(notebook.path, as_version=4)
    saved.cells[4].outputs[0].data["text/html"] += "<img src=x onerror='window.broken = 1'>"
    nbformat.write(saved, notebook.path)
    forget_kernel(notebook.path, trusted=False)
    without_kernel(watched.page, notebook)
    expect(notebook.output(4).locator("img")).to_have_count(2)
    assert notebook.output(4).locator("[onerror]").count() == 0
    assert watched.page.evaluate("window.broken") is None
    watched.errors.clear()  # the picture that is not there


def test_views_live_on_in_a_page_that_is_opened_again_and_say_when_they_are_lost(
    open_saved: OpenSaved, lab: Server
) -> None:
    notebook = open_saved(lab)
    reopen(notebook)
    expect_live(notebook)
    notebook.restart()
    for number, title in VIEWS.items():
        wait_for_view(notebook.output(number), title, state="lost")
