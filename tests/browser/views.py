"""kvmdbg's live views in a page, by what docs/live-views.md promises of them.

Must not know: what one view shows.
"""

from __future__ import annotations

import json

from playwright.sync_api import Locator, expect

from tests.browser.chromium import SECONDS

_ROWS = """async view => {
  const nextFrame = () => new Promise(requestAnimationFrame);
  while (view.dataset.tables === 'late') await nextFrame();
  const { rows } = view.querySelector('table');
  return [...rows].map((row) => [...row.cells].map((cell) => cell.innerText.trim()));
}"""
_WATCH = """root => {
  root.kvmdbgPainted = 0;
  root.addEventListener('kvmdbg-painted', () => root.kvmdbgPainted++);
}"""


def wait_for_view(place: Locator, title: str, state: str = "live") -> Locator:
    """The view of that title inside ``place``, once its ``data-state`` is ``state``."""
    view = place.locator(f'.kvmdbg-view[aria-label="{title}"]')
    expect(view).to_have_attribute("data-state", state, timeout=1000 * SECONDS)
    return view


def wait_for_data(view: Locator, **values: object) -> None:
    """The view's data attributes have these values: ``wait_for_data(view, total=40)``."""
    for name, value in values.items():
        attribute = f"data-{name.replace('_', '-')}"
        expect(view).to_have_attribute(attribute, str(value), timeout=1000 * SECONDS)


def text_table(view: Locator) -> list[list[str]]:
    """The rows of the view's first table, the titles first; its text twin.

    A timeline's table comes a little after its picture.
    """
    rows: list[list[str]] = view.evaluate(_ROWS)
    return rows


def count_paintings(view: Locator) -> None:
    """Count the view's ``kvmdbg-painted`` events from now on; see :func:`wait_for_painting`."""
    view.evaluate(_WATCH)


def wait_for_painting(view: Locator, at_least: int = 1) -> None:
    """So many paintings since :func:`count_paintings`."""
    label = json.dumps(view.get_attribute("aria-label"))
    view.page.wait_for_function(
        f"""least => [...document.querySelectorAll('.kvmdbg-view')].some((view) =>
          view.getAttribute('aria-label') === {label} && view.kvmdbgPainted >= least)""",
        arg=at_least,
    )
