"""`%vm view timeline`: what is drawn, counted, and where a click leads."""

from __future__ import annotations

import ast
import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser import axe
from tests.browser.chromium import Watched
from tests.browser.lab import Server
from tests.browser.notebook_page import NotebookPage
from tests.browser.pixels import colors
from tests.browser.views import text_table, wait_for_data, wait_for_view

ASM, VIEW = 1, 2
GUEST = """%%asm
start:   mov   ecx, 3
again:   inc   dword ptr [counter]
         mov   al, 'x'
         out   0xe9, al
         loop  again
         hlt
         .balign 16
counter: .long 0"""
PAST = """%bp delete all
%step 2
%bp again
%bp counter -w --len 4
stops = [vm.cont() for _ in range(5)]
assert 'HLT' in stops[-1].title, stops"""
COLORS = {
    "step": "#0072b2",
    "INT3": "#d55e00",
    "DR0": "#cc79a7",
    "IO": "#009e73",
    "HLT": "#0072b2",
}
LANE = 30
COUNTS = """found = vm.timeline.causes()
found |= {r.name: n for r, n in vm.timeline.counts().items() if r.name != 'DEBUG'}
print({name: found[name] for name in ('step', 'INT3', 'DR0', 'IO', 'HLT')})"""


@pytest.fixture(scope="module")
def opened(shared_page: Watched, lab: Server) -> NotebookPage:
    cells = ["%load_ext kvmdbg", GUEST, "%vm view timeline", ""]
    notebook = NotebookPage.of(shared_page.page, lab, "timeline.ipynb", cells)
    notebook.run_well(0, ASM, VIEW)
    return notebook


@pytest.fixture
def notebook(opened: NotebookPage, shared: Watched) -> NotebookPage:
    """The guest has run to its end, with several kinds of exits; all of it is seen."""
    opened.run(ASM)
    opened.do(PAST)
    total = opened.do("print(len(vm.timeline))").text.strip()
    view = view_of(opened)
    wait_for_data(view, total=total)
    plot(view).focus()
    for key in ("Escape", "0"):
        opened.page.keyboard.press(key)
    wait_for_data(view, to=total)
    return opened


def view_of(notebook: NotebookPage) -> Locator:
    return wait_for_view(notebook.output(VIEW), "Exit timeline")


def plot(view: Locator) -> Locator:
    return view.locator(".kvmdbg-tl-plot")


def number(view: Locator, name: str) -> float:
    return float(view.get_attribute(f"data-{name}") or "nan")


def lanes_of(view: Locator) -> list[str]:
    return (view.get_attribute("data-lanes") or "").split("|")


def click_exit(view: Locator, row: int, lane: str) -> None:
    """Click the mark of an exit; the axis counts exits."""
    box = plot(view).bounding_box()
    assert box is not None
    start, end = number(view, "from"), number(view, "to")
    x = (row + 0.5 - start) / (end - start) * box["width"]
    y = (lanes_of(view).index(lane) + 0.5) * LANE
    plot(view).click(position={"x": x, "y": y})


def first_of(notebook: NotebookPage, lane: str) -> int:
    """The first exit of a lane, as the text twin has it."""
    rows = {row[0]: row for row in text_table(view_of(notebook))}
    return int(rows[lane][2])


def test_each_kind_of_exit_has_a_lane(notebook: NotebookPage) -> None:
    assert lanes_of(view_of(notebook)) == list(COLORS)


@pytest.mark.parametrize("lane", COLORS)
def test_a_lane_is_drawn_in_its_colour(notebook: NotebookPage, lane: str) -> None:
    view = view_of(notebook)
    notebook.page.mouse.move(0, 0)
    top = lanes_of(view).index(lane) * LANE
    drawn = colors(plot(view).locator("canvas"), top, top + LANE)
    assert drawn.get(COLORS[lane], 0) > 20


def test_a_lane_that_is_hidden_is_not_drawn(notebook: NotebookPage) -> None:
    view = view_of(notebook)
    box = view.locator('.kvmdbg-tl-lane[data-lane="IO"] input')
    box.uncheck()
    io = lanes_of(view).index("IO") * LANE
    expect(view.locator('.kvmdbg-tl-lane[data-lane="IO"]')).to_have_attribute("data-hidden", "")
    drawn = colors(plot(view).locator("canvas"), io, io + LANE)
    box.check()
    assert drawn.get(COLORS["IO"], 0) == 0


def test_the_text_table_has_the_counts_that_python_has(notebook: NotebookPage) -> None:
    counted = ast.literal_eval(notebook.do(COUNTS).text)
    rows = text_table(view_of(notebook))
    assert {row[0]: int(row[1]) for row in rows[1:]} == counted
    assert min(counted.values()) > 0


@pytest.mark.parametrize("key", ["+", "-"])
def test_a_key_zooms(notebook: NotebookPage, key: str) -> None:
    view = view_of(notebook)
    notebook.page.keyboard.press("+")
    half = number(view, "total") / 2
    expect(view).not_to_have_attribute("data-to", view.get_attribute("data-total") or "")
    assert number(view, "to") - number(view, "from") == pytest.approx(half)
    if key == "-":
        notebook.page.keyboard.press("-")
        wait_for_data(view, to=view.get_attribute("data-total"))


def test_the_wheel_zooms_where_the_mouse_is(notebook: NotebookPage) -> None:
    view = view_of(notebook)
    plot(view).hover(position={"x": 4, "y": 100})
    notebook.page.mouse.wheel(0, -300)
    expect(view).not_to_have_attribute("data-to", view.get_attribute("data-total") or "")
    assert number(view, "from") == pytest.approx(0, abs=0.2)


def test_a_wheel_without_focus_leaves_the_window_alone(notebook: NotebookPage) -> None:
    view = view_of(notebook)
    plot(view).evaluate("plot => plot.blur()")
    plot(view).hover(position={"x": 4, "y": 100})
    frames = number(view, "frames")
    notebook.page.mouse.wheel(0, -10)
    notebook.do("vm.step_back()")
    expect(view).not_to_have_attribute("data-frames", str(int(frames)))
    assert number(view, "to") - number(view, "from") == number(view, "total")


def test_a_click_on_an_exit_travels_there(notebook: NotebookPage) -> None:
    row = first_of(notebook, "DR0")
    click_exit(view_of(notebook), row, "DR0")
    expect(view_of(notebook).locator(".kvmdbg-says").first).to_contain_text("DR0")
    clocks = notebook.do(f"print(vm.vcpu.clock, vm.timeline[{row}].clock)").text.split()
    assert clocks[0] == clocks[1]


def test_after_travelling_the_recorded_future_stays_in_sight(notebook: NotebookPage) -> None:
    view = view_of(notebook)
    total = view.get_attribute("data-total")
    click_exit(view, first_of(notebook, "INT3"), "INT3")
    expect(view.locator(".kvmdbg-tl-ahead")).to_be_visible()
    assert view.get_attribute("data-total") == total


def test_enter_travels_to_the_chosen_exit(notebook: NotebookPage) -> None:
    for key in ("Home", "Enter"):
        notebook.page.keyboard.press(key)
    expect(view_of(notebook).locator(".kvmdbg-tl-ahead")).to_be_visible()
    assert notebook.do("print(vm.vcpu.clock == vm.timeline[0].clock)").text.strip() == "True"


def test_a_selection_says_how_many_exits_of_each_lane(notebook: NotebookPage) -> None:
    view = view_of(notebook)
    box = plot(view).bounding_box()
    assert box is not None
    y = box["y"] + 100
    notebook.page.keyboard.down("Shift")
    notebook.page.mouse.move(box["x"] + 1, y)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + box["width"] - 1, y, steps=4)
    notebook.page.mouse.up()
    notebook.page.keyboard.up("Shift")
    total = view.get_attribute("data-total")
    said = view.locator(".kvmdbg-tl-selected")
    expect(said).to_contain_text(f"{total} exits selected")
    counts = dict(re.findall(r"(\w+) (\d+)(?=,|$|\D)", said.locator("span").first.inner_text()))
    rows = text_table(view)[1:]
    assert {row[0]: row[1] for row in rows}.items() <= counts.items()


def test_a_bookmark_is_a_flag_and_known_to_python(notebook: NotebookPage) -> None:
    view = view_of(notebook)
    notebook.page.keyboard.press("b")
    notebook.page.keyboard.type("<b>the end</b>")
    notebook.page.keyboard.press("Enter")
    expect(view.locator(".kvmdbg-tl-flag")).to_have_text("⚑ <b>the end</b>")
    assert "<b>the end</b>" in notebook.do("print(vm.bookmarks)").text


def test_a_click_on_a_flag_travels_there(notebook: NotebookPage) -> None:
    view = view_of(notebook)
    notebook.do("%vm goto 3\n%vm bookmark early\n%vm goto 9")
    view.locator(".kvmdbg-tl-flag", has_text="early").click()
    expect(view.locator(".kvmdbg-tl-flag", has_text="early")).to_have_attribute("data-clock", "3")
    expect(view.locator(".kvmdbg-says").first).to_contain_text("clock 3")
    assert notebook.do("print(vm.vcpu.clock)").text.strip() == "3"


def test_exits_come_while_a_cell_steps(notebook: NotebookPage) -> None:
    view = view_of(notebook)
    notebook.do("%bp delete all")
    notebook.do("%%asm\nstart: inc rax\njmp start")
    notebook.begin("while True: vm.step()")
    view.page.wait_for_function(
        "() => Number(document.querySelector('.kvmdbg-view').dataset.total) > 100"
    )
    assert notebook.busy, "the cell is over: its exits did not come meanwhile"
    notebook.interrupt()


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_axe_finds_nothing_grave(notebook: NotebookPage, theme: str) -> None:
    view = view_of(notebook)
    notebook.do("%vm bookmark end")
    view.locator(".kvmdbg-tl-flag").first.wait_for()
    plot(view).focus()
    notebook.page.keyboard.press("Home")
    notebook.page.keyboard.press("Shift+ArrowRight")
    table = view.get_by_role("button", name="Table", exact=True)
    table.click()
    expect(table).to_have_attribute("aria-expanded", "true")
    with notebook.theme(theme):
        found = axe.findings(notebook.page, ".kvmdbg-view")
    table.click()
    assert found == []


def test_the_saved_view_is_a_picture_with_words_and_small(notebook: NotebookPage) -> None:
    before = notebook.path.stat().st_size
    notebook.run(VIEW)
    saved = notebook.save().cells[VIEW].outputs[0]
    assert len(saved.data["image/png"]) > 1000
    assert "exits" in saved.metadata["image/png"]["alt"]
    assert 'alt="' in saved.data["text/html"]
    assert "HLT" in saved.data["text/plain"]
    assert notebook.path.stat().st_size - before < 200_000
