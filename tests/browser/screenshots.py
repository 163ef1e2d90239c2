"""``python -m tests.browser.screenshots``: the pictures of the README, made in a real browser.

The same notebook in JupyterLab, light and dark, beside the panel, and as exported HTML, into
docs/images/. Must not know: what the notebook shows.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page

from tests.browser.chromium import Watched, call, chromium
from tests.browser.lab import ROOT, serve
from tests.browser.notebook_page import NotebookPage
from tests.browser.views import wait_for_view

IMAGES: Final = ROOT / "docs" / "images"
SIZE: Final = (1600, 1060)
PANEL: Final = 660
"""The width of the side panel with the machine."""

EXPORTED_SIZE: Final = (1000, 1060)
COLORS: Final = 256
THEMES: Final = {"lab-light": "JupyterLab Light", "lab-dark": "JupyterLab Dark"}
EXPORTED: Final = "exported"
TITLES: Final = ("Machine", "Exit timeline", "Debug registers")

CELLS: Final = (
    "%load_ext kvmdbg",
    "%%asm\n"
    "start:   mov   ecx, 8\n"
    "again:   call  count\n"
    "         loop  again\n"
    "         hlt\n"
    "count:   inc   dword ptr [counter]\n"
    "         ret\n"
    "         .balign 4\n"
    "counter: .long 0",
    "%bp counter -w --len 4\n%bp count",
    "for _ in range(3):\n    vm.cont()\n    vm.cont()\n    vm.step(2)",
    "%vm view timeline",
    "%vm view dr",
)
QUIET: Final = (1, 2)
"""Cells whose outputs are left out: the picture has no room for them."""

_TIDY = """async (quiet) => {
  const { commands, shell } = jupyterapp;
  for (const number of quiet) shell.currentWidget.content.widgets[number].model.outputs.clear();
  if (!shell.leftCollapsed) await commands.execute('application:toggle-left-area');
  await commands.execute('kvmdbg:show-panel');
  const { content, node } = shell.currentWidget;
  content.activeCellIndex = 0;
  document.activeElement?.blur();
  node.querySelector('.jp-WindowedPanel-outer').scrollTop = 0;
}"""

_TWO_FRAMES = (
    "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
)


def main() -> int:
    """Make all of them and name them."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        state = Path(place)
        (state / "home").mkdir()
        with chromium(state / "home") as browser:
            for name, picture in _pictures(browser, state):
                path = IMAGES / f"{name}.png"
                path.write_bytes(smaller(picture))
                print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")
    return 0


def smaller(picture: bytes) -> bytes:
    """The same PNG with a palette of its COLORS most needed colours, a third of the size."""
    from PIL import Image

    out = BytesIO()
    with Image.open(BytesIO(picture)) as image:
        few = image.convert("RGB").quantize(
            COLORS,
            Image.Quantize.MAXCOVERAGE,  # small marks keep their colours
            kmeans=1,  # and large areas theirs
            dither=Image.Dither.NONE,
        )
        few.save(out, "PNG", optimize=True)
    return out.getvalue()


def _pictures(browser: Browser, state: Path) -> Iterator[tuple[str, bytes]]:
    with serve("lab", state / "lab") as server, _page(browser) as page:
        notebook = NotebookPage.of(page, server, "guest.ipynb", CELLS)
        failed = [cell.error for cell in notebook.run_all() if cell.error]
        assert not failed, failed
        _arrange(page)
        for name, theme in THEMES.items():
            with notebook.theme(theme):
                yield name, _picture(page)
        notebook.save()
        exported = _export(notebook.path)
    with _page(browser, EXPORTED_SIZE, offline=True) as page:
        page.goto(exported.as_uri())
        yield EXPORTED, page.screenshot(animations="disabled")


def _arrange(page: Page) -> None:
    """The notebook at the left, the machine in the panel at the right, and nothing else."""
    call(page, _TIDY, QUIET)
    handle = page.locator("#jp-main-split-panel > .lm-SplitPanel-handle:visible").last
    box = handle.bounding_box()
    assert box is not None
    page.mouse.move(box["x"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(SIZE[0] - PANEL, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    call(page, _TIDY, QUIET)  # what was narrower has grown
    for title in TITLES:
        wait_for_view(page.locator("body"), title)


def _picture(page: Page) -> bytes:
    """The page when its views have been drawn at their size and in their theme."""
    call(page, _TWO_FRAMES)
    return page.screenshot(animations="disabled")


@contextmanager
def _page(browser: Browser, size: tuple[int, int] = SIZE, offline: bool = False) -> Iterator[Page]:
    """One that is calm and of one size."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce", offline=offline
    )
    try:
        yield Watched(context).page
    finally:
        context.close()


def _export(notebook: Path) -> Path:
    """The HTML that `jupyter nbconvert --to html` makes."""
    from nbconvert import HTMLExporter

    text, _ = HTMLExporter().from_filename(str(notebook))
    page = notebook.with_suffix(".html")
    page.write_text(text)
    return page


if __name__ == "__main__":
    sys.exit(main())
