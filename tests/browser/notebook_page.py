"""A notebook that is open in a page, driven as a person would: cells, stop button, restart, save.

It waits for conditions and never for a time: a cell that is run before its kernel is ready is
dropped by Jupyter without a word. Must not know: what the cells are about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
TRIES = 5

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
_WRITE = """([number, source]) => {
  const cells = jupyterapp.shell.currentWidget.content.widgets;
  cells.at(number).model.sharedModel.setSource(source);
  return cells.indexOf(cells.at(number));
}"""
# Not by the kernel's status: what a view asks makes that idle, also while a cell runs.
_START = f"""(number) => {{
  window.kvmdbgOver = false;
  void ({_RUN})(number).finally(() => {{ window.kvmdbgOver = true; }});
}}"""
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


class CellFailed(RuntimeError):
    """A cell ended in an error where none was expected; the message has it."""


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
        """Run a cell and wait until the kernel is done with it, well or not.

        A kernel that has just been interrupted may abort what comes next: then it is run again.
        """
        for _ in range(TRIES):
            call(self.page, _RUN, number, seconds)
            state = self.cells()[number]
            if state.count is not None:
                return state
        raise CellFailed(f"cell {number} was not run")

    def run_well(self, *numbers: int) -> None:
        """Run these cells; CellFailed if one of them fails."""
        for number in numbers:
            if error := self.run(number).error:
                raise CellFailed(f"cell {number}: {error}")

    def start(self, number: int) -> None:
        """Run a cell and wait until the kernel is at work."""
        call(self.page, _START, number)
        self.page.wait_for_function(f"() => {_STATUS} === 'busy'")

    def write(self, number: int, source: str) -> int:
        """Put another text into a cell, -1 for the last; gives its place."""
        return int(call(self.page, _WRITE, [number, source]))

    def do(self, source: str, seconds: float = CELL_SECONDS) -> CellState:
        """Run something in the notebook's last cell, which is there for that; it must not fail."""
        state = self.run(self.write(-1, source), seconds)
        if state.error:
            raise CellFailed(f"{source}: {state.error}")
        return state

    def begin(self, source: str) -> int:
        """Start something in the last cell and wait until the kernel is at work; its place."""
        number = self.write(-1, source)
        self.start(number)
        return number

    def run_all(self, seconds: float = 2 * CELL_SECONDS) -> list[CellState]:
        """Every cell from top to bottom; it ends at a cell that fails."""
        call(
            self.page, "() => jupyterapp.commands.execute('notebook:run-all-cells')", None, seconds
        )
        return self.cells()

    def cells(self) -> list[CellState]:
        """All cells as the model has them now."""
        return [CellState(**cell) for cell in call(self.page, _CELLS)]

    @property
    def busy(self) -> bool:
        """Whether the cell that was started is not over yet."""
        return bool(call(self.page, "() => window.kvmdbgOver === false"))

    def wait_until_idle(self) -> None:
        """The cell that was started is over."""
        self.page.wait_for_function("() => window.kvmdbgOver !== false")

    def press(self, item: str) -> None:
        """Click a button of the notebook's toolbar: ``interrupt``, ``restart``, ``run``."""
        self.page.locator(
            f'.jp-NotebookPanel-toolbar [data-jp-item-name="{item}"] jp-button'
        ).click()

    def interrupt(self) -> None:
        """Click stop and wait until no cell is under way."""
        self.press("interrupt")
        self.wait_until_idle()

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

    @contextmanager
    def theme(self, name: str) -> Iterator[None]:
        """``JupyterLab Light`` or ``JupyterLab Dark`` for the length of a ``with``.

        The server remembers a theme: what is not put back, the next file's pages would have.
        """
        before = str(call(self.page, "() => document.body.dataset.jpThemeName"))
        self._choose_theme(name)
        try:
            yield
        finally:
            self._choose_theme(before)

    def _choose_theme(self, name: str) -> None:
        call(
            self.page,
            "(name) => jupyterapp.commands.execute('apputils:change-theme', { theme: name })",
            name,
        )
        self.page.wait_for_function(
            "(name) => document.body.dataset.jpThemeName === name", arg=name
        )
