"""The exit timeline in JupyterLab: a million exits of a real guest, by keys and by mouse."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.axe import findings
from tests.browser.chromium import Watched
from tests.browser.conftest import OpenPage
from tests.browser.lab import Server
from tests.browser.notebook_page import NotebookPage
from tests.browser.pixels import fingerprint, nontransparent_pixels
from tests.browser.views import text_table, wait_for_data, wait_for_view
from tests.guests.counting import LONG

CELLS = (
    "%load_ext kvmdbg",
    f"%%asm{LONG}",
    "%vm view timeline",
    "vm.bp('loop', kind='hw')\nvm.cont()\nvm.bookmark('hit')",
    "vm.breakpoints.delete(1)\nvm.step(1_000_000)",
    "import json\nprint(json.dumps([vm.vcpu.clock, len(vm.timeline)]))",
)
ALL = 1_000_001
_DRAWN = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"


class Shown:
    """The timeline under the third cell."""

    def __init__(self, watched: Watched, notebook: NotebookPage, view: Locator) -> None:
        self.watched = watched
        self.page = watched.page
        self.notebook = notebook
        self.view = view
        self.plot = view.get_by_role("application")
        self.picture = self.plot.locator("canvas")

    def press(self, *keys: str) -> None:
        """Keys on the picture."""
        self.plot.focus()
        for key in keys:
            self.page.keyboard.press(key)

    def window(self) -> tuple[float, float]:
        """What is seen of the axis, after whatever is due was drawn."""
        self.page.evaluate(_DRAWN)
        found = self.view.evaluate("view => [Number(view.dataset.from), Number(view.dataset.to)]")
        return found[0], found[1]

    def guest(self) -> list[int]:
        """Clock and exits, as the kernel has them."""
        found: list[int] = json.loads(self.notebook.run(5).text)
        return found


@pytest.fixture(scope="module")
def shown(lab: Server, new_page: OpenPage) -> Iterator[Shown]:
    with new_page() as watched:
        notebook = NotebookPage.of(watched.page, lab, "timeline.ipynb", CELLS)
        notebook.run_well(*range(5))
        yield Shown(watched, notebook, wait_for_view(notebook.output(2), "Exit timeline"))


@pytest.fixture(autouse=True)
def everything_in_sight(shown: Shown) -> None:
    wait_for_data(shown.view, total=ALL)
    shown.press("Escape", "0")


def test_every_exit_is_there_in_its_lane(shown: Shown) -> None:
    wait_for_data(shown.view, total=ALL, lanes="step|DR0")
    assert text_table(shown.view) == [
        ["lane", "exits", "first", "last"],
        ["step", "1,000,000", "1", "1,000,000"],
        ["DR0", "1", "0", "0"],
    ]


def test_they_are_drawn(shown: Shown) -> None:
    assert nontransparent_pixels(shown.picture) > 5000


def test_nearer_is_another_picture_of_fewer_exits(shown: Shown) -> None:
    before, all_of_it = fingerprint(shown.picture), shown.window()
    shown.press("Home", "+", "+", "+")
    first, end = shown.window()
    assert end - first == pytest.approx((all_of_it[1] - all_of_it[0]) / 8)
    assert fingerprint(shown.picture) != before


def test_a_wheel_over_it_is_the_pages_until_it_has_the_focus(shown: Shown) -> None:
    seen = shown.window()
    shown.view.get_by_role("button", name="All").focus()
    shown.plot.hover()
    shown.page.mouse.wheel(0, -200)
    assert shown.window() == seen
    shown.plot.focus()
    shown.plot.hover()
    shown.page.mouse.wheel(0, -200)
    first, end = shown.window()
    assert end - first < seen[1] - seen[0]


def test_the_kernel_describes_the_exit_at_the_cursor(shown: Shown) -> None:
    shown.press("Home")
    says = shown.view.get_by_role("status").last
    expect(says).to_have_text("exit 0: DEBUG DR0 at loop, clock 1")


def test_enter_takes_the_guest_to_the_exit_and_the_rest_stays_in_sight(shown: Shown) -> None:
    shown.press("End", "ArrowLeft", "Enter")
    expect(shown.view.get_by_text("recorded future")).to_have_count(1)
    expect(shown.view.locator(".kvmdbg-says").first).to_contain_text("back at clock")
    assert shown.guest() == [1_000_000, ALL - 1]
    wait_for_data(shown.view, total=ALL)


def test_a_bookmark_is_a_way_back(shown: Shown) -> None:
    shown.view.get_by_role("button", name="hit").click()
    expect(shown.view.locator(".kvmdbg-says").first).to_contain_text("bookmark hit")
    assert shown.guest() == [1, 1]
    wait_for_data(shown.view, total=ALL)


def test_by_clock_the_axis_is_in_instructions(shown: Shown) -> None:
    choice = shown.view.get_by_role("combobox", name="x axis")
    choice.select_option("clock")
    expect(shown.view.get_by_role("status").last).to_have_text("by clock, in guest instructions")
    first, end = shown.window()
    assert (first, end) == (1, 1_000_002)
    choice.select_option("exit")
    assert shown.window() == (0, ALL)


def test_a_selection_is_a_query(shown: Shown) -> None:
    shown.press("Home", "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight")
    query = shown.view.locator("code")
    expect(query).to_have_text("%vm timeline --between 1:4")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_nothing_grave(shown: Shown, theme: str) -> None:
    shown.press("Home", "ArrowRight", "Shift+ArrowRight")
    with shown.notebook.theme(theme):
        assert findings(shown.page, '.kvmdbg-view[aria-label="Exit timeline"]') == []


def test_the_page_has_no_error(shown: Shown) -> None:
    assert shown.watched.errors == []
