"""A notebook that is open in a page, driven as a person would: cells, stop button, restart, save.

It waits for conditions and never for a time: a cell that is run before its kernel is ready is
dropped by Jupyter without a word. Must not know: what the cells are about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, Page

from tests.browser.chromium import SECONDS, call
from tests.browser.lab import Server

KERNELSPEC = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
CELL_SECONDS = 60

# `info` comes after the kernel's first answer: only then is a cell run and not dropped.
_READY = """async () => {
  await jupyterapp.restored;
  const panel = jupyterapp.shell.currentWidget;
  await panel.context.ready;
  await panel.revealed;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
}"""
_OPEN = "() => window.jupyterapp?.shell?.currentWidget?.sessionContext !== undefined"
_RUN = """async (number) => {
  const notebook = jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = number;
  notebook.deselectAll();
  await jupyterapp.commands.execute('notebook:run-cell');
}"""
_START = _RUN.replace("await jupyterapp.commands", "void jupyterapp.commands")
_STATUS = "jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status"
_EXPECT_RESTART = """() => {
  const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  window.kvmdbgRestarted = new Promise((done) => {
    let begun = false;
    kernel.statusChanged.connect((_, status) => {
      begun ||= status === 'restarting';
      if (begun && status === 'idle') done();
    });
  });
}"""
_CELLS = """() => {
  const cells = [...jupyterapp.shell.currentWidget.content.model.cells];
  return cells.map((cell) => cell.toJSON()).map((cell) => ({
    kind: cell.cell_type, count: cell.execution_count ?? null, outputs: cell.outputs ?? [],
  }));
}"""


@dataclass(frozen=True)
class CellState:
    """A cell as the notebook's model has it: nbformat's outputs, ``count`` None if it never ran."""

    kind: str
    count: int | None
    outputs: list[dict[str, Any]]

    @property
    def error(self) -> str:
        """The name and the text of the error in which it ended, or nothing."""
        found = [out for out in self.outputs if out["output_type"] == "error"]
        return f"{found[0]['ename']}: {found[0]['evalue']}" if found else ""

    @property
    def text(self) -> str:
        """What it printed and displayed, as text."""
        parts = [
            out.get("text") or out.get("data", {}).get("text/plain", "") for out in self.outputs
        ]
        return "".join(part if isinstance(part, str) else "".join(part) for part in parts)


def write_notebook(path: Path, sources: Sequence[str]) -> None:
    """A notebook of code cells without results."""
    cells = [new_code_cell(source) for source in sources]
    notebook = new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})
    nbformat.write(notebook, path)


class NotebookPage:
    """A notebook in JupyterLab or Notebook 7, with a kernel that is ready."""

    def __init__(self, page: Page, server: Server, name: str) -> None:
        self.page = page
        self.server = server
        self.path = server.root / name
        page.goto(server.url(name))
        self.wait_until_ready()

    @classmethod
    def of(cls, page: Page, server: Server, name: str, sources: Sequence[str]) -> NotebookPage:
        """A new notebook of code cells."""
        write_notebook(server.root / name, sources)
        return cls(page, server, name)

    def wait_until_ready(self) -> None:
        """The notebook is shown and its kernel has answered."""
        self.page.wait_for_function(_OPEN)
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        call(self.page, _READY, seconds=2 * SECONDS)

    def cell(self, number: int) -> Locator:
        """A cell by its place, from 0."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def output(self, number: int) -> Locator:
        """What stands under a cell."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def run(self, number: int, seconds: float = CELL_SECONDS) -> CellState:
        """Run a cell and wait until the kernel is done with it, well or not."""
        call(self.page, _RUN, number, seconds)
        return self.cells()[number]

    def start(self, number: int) -> None:
        """Run a cell and wait until the kernel is at work."""
        call(self.page, _START, number)
        self.page.wait_for_function(f"() => {_STATUS} === 'busy'")

    def run_all(self, seconds: float = 2 * CELL_SECONDS) -> list[CellState]:
        """Every cell from top to bottom; it ends at a cell that fails."""
        call(
            self.page, "() => jupyterapp.commands.execute('notebook:run-all-cells')", None, seconds
        )
        return self.cells()

    def cells(self) -> list[CellState]:
        """All cells as the model has them now."""
        return [CellState(**cell) for cell in call(self.page, _CELLS)]

    def wait_until_idle(self) -> None:
        """The kernel has nothing to do."""
        self.page.wait_for_function(f"() => {_STATUS} === 'idle'")

    def press(self, item: str) -> None:
        """Click a button of the notebook's toolbar: ``interrupt``, ``restart``, ``run``."""
        self.page.locator(
            f'.jp-NotebookPanel-toolbar [data-jp-item-name="{item}"] jp-button'
        ).click()

    def restart(self) -> None:
        """Click restart, say yes, and wait for the new kernel."""
        call(self.page, _EXPECT_RESTART)
        self.press("restart")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        call(self.page, "() => window.kvmdbgRestarted", seconds=CELL_SECONDS)
        call(self.page, _READY)

    def save(self) -> nbformat.NotebookNode:
        """Save it as the person would, and read the file."""
        call(self.page, "() => jupyterapp.commands.execute('docmanager:save')")
        return nbformat.read(self.path, as_version=4)

    def theme(self, name: str) -> None:
        """Choose a theme: ``JupyterLab Light``, ``JupyterLab Dark``."""
        call(
            self.page,
            "(name) => jupyterapp.commands.execute('apputils:change-theme', { theme: name })",
            name,
        )
        self.page.wait_for_function(
            "(name) => document.body.dataset.jpThemeName === name", arg=name
        )
