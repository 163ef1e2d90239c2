"""Where the figures of the page are taken: one JupyterLab, one browser, notebooks in it.

Must not know: what is measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.chromium import SIZE, Watched, chromium
from tests.browser.lab import Server, serve
from tests.browser.notebook_page import NotebookPage


class Stage:
    """A browser and a server that are up."""

    def __init__(self, browser: Browser, server: Server) -> None:
        self._browser = browser
        self._server = server

    @contextmanager
    def notebook(self, name: str, sources: Sequence[str]) -> Iterator[NotebookPage]:
        """A new notebook of code cells in a page of its own, with a kernel that is ready.

        Page and kernel end with the ``with``: what comes next has the machine for itself.
        """
        context = self._browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]})
        try:
            page = Watched(context).page
            yield NotebookPage.of(page, self._server, f"{name}.ipynb", sources)
        finally:
            context.close()
            self._server.end_kernels()


@contextmanager
def stage() -> Iterator[Stage]:
    """Browser and server for the length of a ``with``."""
    with tempfile.TemporaryDirectory() as place:
        home = Path(place, "home")
        home.mkdir()
        with chromium(home) as browser, serve("lab", Path(place, "lab")) as server:
            yield Stage(browser, server)
