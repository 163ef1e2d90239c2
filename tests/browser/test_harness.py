"""The tools of these tests, on small pages: a tool that sees nothing would let everything pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError as TooLong

from tests.browser import axe
from tests.browser.chromium import Watched, call
from tests.browser.pixels import colors, fingerprint, image_colors, nontransparent_pixels
from tests.browser.views import (
    count_paintings,
    text_table,
    wait_for_data,
    wait_for_painting,
    wait_for_view,
)

CANVAS = "<canvas width=10 height=10></canvas>"
DRAW = """canvas => {
  const context = canvas.getContext('2d');
  context.fillStyle = '#0072b2';
  context.fillRect(2, 3, 4, 5);
}"""
VIEW = """<section class=kvmdbg-view aria-label=Timeline data-state=connecting>
<table><tr><th>exit<th>clock<tr><td>0<td>12</table></section>"""


def test_an_uncaught_error_of_a_page_is_kept(watched: Watched) -> None:
    with watched.page.expect_event("pageerror"):
        watched.page.evaluate("() => void setTimeout(() => { throw new Error('lost') })")
    assert "lost" in watched.errors.pop()


def test_a_promise_that_nobody_catches_is_kept(watched: Watched) -> None:
    with watched.page.expect_event("pageerror"):
        watched.page.evaluate("() => void Promise.reject(new Error('lost'))")
    assert "lost" in watched.errors.pop()


def test_an_error_on_the_console_is_kept(watched: Watched) -> None:
    with watched.page.expect_console_message():
        watched.page.evaluate("() => console.error('lost')")
    assert "lost" in watched.errors.pop()


@pytest.mark.parametrize("function", ["() => { for (;;); }", "() => new Promise(() => {})"])
def test_a_call_that_never_ends_is_given_up(watched: Watched, function: str) -> None:
    with pytest.raises(TooLong):
        call(watched.page, function, seconds=0.3)


@pytest.mark.parametrize("value", [0, None, "", [1, {"a": 2}]])
def test_a_call_gives_back_what_the_function_does(watched: Watched, value: object) -> None:
    assert call(watched.page, "async (value) => value", value) == value


def test_a_call_is_made_once(watched: Watched) -> None:
    call(watched.page, "() => { window.calls = (window.calls ?? 0) + 1; return null }")
    assert call(watched.page, "() => window.calls") == 1


def test_pixels_that_were_drawn_on_are_counted(watched: Watched) -> None:
    watched.page.set_content(CANVAS)
    canvas = watched.page.locator("canvas")
    empty = fingerprint(canvas)
    assert nontransparent_pixels(canvas) == 0
    canvas.evaluate(DRAW)
    assert nontransparent_pixels(canvas) == 20
    assert colors(canvas) == {"#0072b2": 20}
    assert fingerprint(canvas) != empty


def test_a_pictures_pixels_are_counted_by_colour(watched: Watched) -> None:
    sized = "width='4' height='5'"
    red = f"<svg xmlns='http://www.w3.org/2000/svg' {sized}><rect {sized} fill='red'/></svg>"
    watched.page.set_content(f'<img src="data:image/svg+xml,{red}">')
    assert image_colors(watched.page.locator("img")) == {"#ff0000": 20}


def test_a_view_is_waited_for_until_it_lives(watched: Watched) -> None:
    watched.page.set_content(VIEW)
    section = watched.page.locator("section")
    section.evaluate("view => void setTimeout(() => { view.dataset.state = 'live' }, 50)")
    view = wait_for_view(watched.page.locator("body"), "Timeline")
    assert view.get_attribute("data-state") == "live"


def test_the_data_of_a_view_is_waited_for(watched: Watched) -> None:
    watched.page.set_content(VIEW)
    view = watched.page.locator("section")
    view.evaluate("view => void setTimeout(() => { view.dataset.total = 40 }, 50)")
    wait_for_data(view, total=40)


def test_a_views_table_is_read_row_by_row(watched: Watched) -> None:
    watched.page.set_content(VIEW)
    assert text_table(watched.page.locator("section")) == [["exit", "clock"], ["0", "12"]]


def test_paintings_of_a_view_are_counted(watched: Watched) -> None:
    watched.page.set_content(VIEW)
    view = watched.page.locator("section")
    count_paintings(view)
    view.evaluate(
        """view => void setTimeout(() => {
          for (const _ of [1, 2]) view.dispatchEvent(new CustomEvent('kvmdbg-painted'));
        }, 50)"""
    )
    wait_for_painting(view, 2)


def test_axe_finds_a_picture_without_words(watched: Watched) -> None:
    watched.page.set_content('<main id=here><img src="data:,"></main>')
    assert [line.split(" ")[0] for line in axe.findings(watched.page, "#here")] == ["image-alt"]


def test_axe_finds_pale_words_in_a_body_without_height(watched: Watched) -> None:
    watched.page.set_content(
        """<body style="overflow: hidden"><div style="position: absolute; inset: 0">
        <p id="here" style="color: #999; background: #888">pale</p></div>"""
    )
    found = axe.findings(watched.page, "#here")
    assert [line.split(" ")[0] for line in found] == ["color-contrast"]


def test_axe_looks_only_where_it_is_told(watched: Watched) -> None:
    watched.page.set_content('<img src="data:,"><main id=here>fine</main>')
    assert axe.findings(watched.page, "#here") == []


def test_without_axe_one_line_says_so(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(axe, "AXE", tmp_path / "axe.min.js")
    axe._source.cache_clear()
    with pytest.raises(axe.AxeMissing, match=r"axe\.min\.js is missing; make frontend"):
        axe.findings(watched.page, "body")
