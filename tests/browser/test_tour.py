"""The tour as a person runs it, from top to bottom, in JupyterLab and in Notebook 7."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.browser.axe import findings
from tests.browser.chromium import Watched
from tests.browser.conftest import OpenPage
from tests.browser.lab import ROOT, Server
from tests.browser.notebook_page import CellState, NotebookPage

TOUR = ROOT / "notebooks" / "00-tour.ipynb"
OUTPUTS = ".jp-Cell-outputArea .jp-OutputArea-output"


class Run:
    """The tour after its run."""

    def __init__(self, watched: Watched, notebook: NotebookPage, cells: list[CellState]) -> None:
        self.watched = watched
        self.notebook = notebook
        self.cells = cells


@pytest.fixture(scope="module")
def tour(front_end: Server, new_page: OpenPage) -> Iterator[Run]:
    shutil.copy(TOUR, front_end.root)
    with new_page() as watched:
        notebook = NotebookPage(watched.page, front_end, TOUR.name)
        yield Run(watched, notebook, notebook.run_all())
    front_end.end_kernels()


def test_every_cell_runs(tour: Run) -> None:
    code = [cell for cell in tour.cells if cell.kind == "code"]
    assert len(code) > 8
    assert [cell.count for cell in code] == list(range(1, len(code) + 1))


def test_no_cell_ends_in_an_error(tour: Run) -> None:
    assert [cell.error for cell in tour.cells if cell.error] == []


def test_the_page_has_no_error(tour: Run) -> None:
    assert tour.watched.errors == []


def test_stops_are_shown_as_tables(tour: Run) -> None:
    assert tour.notebook.page.locator(f"{OUTPUTS} .kvmdbg table").count() > 5


def test_each_picture_has_words(tour: Run) -> None:
    pictures = tour.notebook.page.locator(f"{OUTPUTS} img")
    told = pictures.evaluate_all("all => all.map((img) => [img.naturalWidth, img.alt])")
    assert told
    assert [(width, alt) for width, alt in told if not width or len(alt) < 20] == []


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing_grave_in_what_is_shown(tour: Run, theme: str) -> None:
    with tour.notebook.theme(theme):
        assert findings(tour.notebook.page, ".kvmdbg") == []
