"""``python -m tests.browser.screenshots``: the pictures of the README, made in a real browser.

The same notebook in JupyterLab, light and dark, and as exported HTML, into docs/images/. Must not
know: what the notebook shows.
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

IMAGES: Final = ROOT / "docs" / "images"
SIZE: Final = (1100, 1240)
COLORS: Final = 192
THEMES: Final = {"lab-light": "JupyterLab Light", "lab-dark": "JupyterLab Dark"}
EXPORTED: Final = "exported"

CELLS: Final = (
    "%load_ext kvmdbg",
    "%%asm\n"
    "start:   mov   ecx, 3\n"
    "again:   inc   dword ptr [counter]\n"
    "         loop  again\n"
    "         hlt\n"
    "         .balign 4\n"
    "counter: .long 0",
    "%bp counter -w --len 4\n%step 2",
    "%vm run",
    "%vm timeline",
)

_TIDY = """async () => {
  const { commands, shell } = jupyterapp;
  if (!shell.leftCollapsed) await commands.execute('application:toggle-left-area');
  const { content, node } = shell.currentWidget;
  content.activeCellIndex = 0;
  document.activeElement?.blur();
  node.querySelector('.jp-WindowedPanel-outer').scrollTop = 0;
}"""


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
        image.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(
            out, "PNG", optimize=True
        )
    return out.getvalue()


def _pictures(browser: Browser, state: Path) -> Iterator[tuple[str, bytes]]:
    with serve("lab", state / "lab") as server, _page(browser) as page:
        notebook = NotebookPage.of(page, server, "guest.ipynb", CELLS)
        failed = [cell.error for cell in notebook.run_all() if cell.error]
        assert not failed, failed
        for name, theme in THEMES.items():
            notebook.theme(theme)
            call(page, _TIDY)
            yield name, page.screenshot(animations="disabled")
        notebook.save()
        exported = _export(notebook.path)
    with _page(browser, offline=True) as page:
        page.goto(exported.as_uri())
        yield EXPORTED, page.screenshot(animations="disabled")


@contextmanager
def _page(browser: Browser, offline: bool = False) -> Iterator[Page]:
    """One that is calm and of one size."""
    context = browser.new_context(
        viewport={"width": SIZE[0], "height": SIZE[1]}, reduced_motion="reduce", offline=offline
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
