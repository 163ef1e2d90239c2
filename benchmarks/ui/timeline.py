"""A timeline of a million exits: how soon it is there, and how smoothly it moves.

The display begins when the kernel sends the finished view: the time is the kernel's own, on the
message with the still twin, which goes just before the view. It ends when the frame with every exit
is on its canvas. What comes before, the twin and the libraries that draw it, is a row of its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

from playwright.sync_api import Locator, Page

from benchmarks.measure import Figure, Row, percentile
from benchmarks.ui.guests import COUNTER, LOAD, exits
from benchmarks.ui.stage import Stage
from tests.browser.chromium import call
from tests.browser.notebook_page import NotebookPage
from tests.browser.views import wait_for_data, wait_for_view

EXITS = 1_000_000
PAINT = Row("timeline of a million exits: display to first paint", 0.7, "s", most=True)
MIDDLE = Row("timeline of a million exits: pan and zoom, median frame", 8, "ms", most=True)
SLOW = Row("timeline of a million exits: pan and zoom, p95 frame", 16, "ms", most=True)
FIRST = Row("timeline of a million exits: cell to first paint, first picture of a kernel", 0, "s")
AGAIN = Row("timeline of a million exits: cell to first paint, another view", 0, "s")
ROWS = (PAINT, FIRST, AGAIN, MIDDLE, SLOW)

TURNS = 3
MOVES = 60

_VIEW = "import time\nbegan = time.time()\n%vm view timeline"
_BEGAN = "print(repr(began))"

# A drawing counts as done when the canvas gives a pixel back and the page is laid out.
_WATCH = """(exits) => {
  window.frames = [];
  const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
  const sent = new Promise((done) => kernel.iopubMessage.connect(function heard(_, message) {
    const { method, state } = message.content?.data ?? {};
    if (method !== 'update' || !state.still) return;
    kernel.iopubMessage.disconnect(heard);
    done(Date.parse(message.header.date));
  }));
  const painted = new Promise((done) => {
    const drawn = ({ target, detail }) => {
      const ended = performance.now();
      for (const canvas of target.querySelectorAll('canvas.kvmdbg-tl-canvas'))
        canvas.getContext('2d').getImageData(0, 0, 1, 1);
      target.getBoundingClientRect();
      const now = performance.now();
      window.frames.push(detail.ms + now - ended);
      if (Number(target.dataset.total) === exits) done(performance.timeOrigin + now);
    };
    document.removeEventListener('kvmdbg-painted', window.drawn);
    document.addEventListener('kvmdbg-painted', window.drawn = drawn);
  });
  window.first = Promise.all([sent, painted]);
}"""
_NEXT_FRAME = (
    "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
)


def figures(stage: Stage) -> list[Figure]:
    """All of this file's."""
    taken = []
    for turn in range(TURNS):
        with stage.notebook(f"timeline{turn}", _CELLS) as notebook:
            taken += _views(notebook)
            frames = _frames(notebook) if turn == TURNS - 1 else []
    middle, slow = statistics.median(frames), percentile(frames, 95)
    detail = f"{len(frames)} frames by wheel, mouse and keys, drawn, flushed and laid out"
    return [
        _median(PAINT, [one.display for one in taken], "views"),
        _median(FIRST, [one.cell for one in taken if one.first], "new kernels and pages"),
        _median(AGAIN, [one.cell for one in taken if not one.first], "views"),
        MIDDLE.figure(middle, f"{detail}; the longest {max(frames):.1f} ms"),
        SLOW.figure(slow, "of the same frames"),
    ]


_CELLS = [LOAD, COUNTER, exits(EXITS), _VIEW, _BEGAN]


class Shown(NamedTuple):
    """Seconds until a view was painted, from its cell's first line and from its display on."""

    first: bool
    cell: float
    display: float


def _median(row: Row, seconds: list[float], what: str) -> Figure:
    each = ", ".join(f"{value:.2f}" for value in seconds)
    return row.figure(statistics.median(seconds), f"median of {len(seconds)} {what}: {each} s")


def _views(notebook: NotebookPage) -> list[Shown]:
    """The first view of a kernel, in a page that is new, and two more."""
    notebook.run_well(*range(3))
    return [_view(notebook, first) for first in (True, False, False)]


def _view(notebook: NotebookPage, first: bool) -> Shown:
    call(notebook.page, _WATCH, EXITS)
    notebook.run(3)
    sent, painted = call(notebook.page, "() => window.first")
    began = 1000 * float(notebook.run(4).text)
    return Shown(first, (painted - began) / 1000, (painted - sent) / 1000)


def _frames(notebook: NotebookPage) -> list[Any]:
    """Milliseconds of each frame while a person moves about."""
    page = notebook.page
    view = wait_for_view(notebook.output(3), "Exit timeline")
    wait_for_data(view, total=EXITS)
    plot = view.locator(".kvmdbg-tl-plot")
    plot.scroll_into_view_if_needed()
    plot.focus()
    call(page, "() => void (window.frames = [])")
    for move in (_zoom, _drag, _keys):
        move(page, plot)
    frames: list[Any] = call(page, "() => window.frames")
    assert len(frames) > 2 * MOVES, f"only {len(frames)} frames were drawn"
    return frames


def _zoom(page: Page, plot: Locator) -> None:
    """In to the marks and out again, at two places."""
    box = plot.bounding_box()
    assert box is not None
    for place in (0.3, 0.7):
        page.mouse.move(box["x"] + place * box["width"], box["y"] + box["height"] / 2)
        for way in (-1, 1):
            _each_frame(page, lambda way=way: page.mouse.wheel(0, 240 * way), MOVES // 2)


def _drag(page: Page, plot: Locator) -> None:
    """To and fro, seen at a third of the whole."""
    box = plot.bounding_box()
    assert box is not None
    plot.press("+")
    y = box["y"] + 20
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    for step in range(MOVES):
        part = 0.5 + 0.4 * (-1 if step % 40 < 20 else 1) * (step % 20) / 20
        page.mouse.move(box["x"] + part * box["width"], y)
        call(page, _NEXT_FRAME)
    page.mouse.up()


def _keys(page: Page, plot: Locator) -> None:
    """Pages to the right and back."""
    for key in ("PageUp", "PageDown", "+", "-"):
        _each_frame(page, lambda key=key: plot.press(key), MOVES // 6)


def _each_frame(page: Page, move: Callable[[], object], times: int) -> None:
    for _ in range(times):
        move()
        call(page, _NEXT_FRAME)
