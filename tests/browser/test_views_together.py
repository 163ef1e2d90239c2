"""Several views of one VM: they agree, follow the session's VM, and say when there is none."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.chromium import Watched
from tests.browser.lab import Server
from tests.browser.machine import expect_pc, load_anew, press, wait_for_machine
from tests.browser.notebook_page import NotebookPage
from tests.browser.views import wait_for_view

ASM, ONE, TWO, TIMELINE, DR, LAST = 1, 2, 3, 4, 5, 6
GUEST = """%%asm
start:   mov   ecx, 3
again:   inc   dword ptr [counter]
         loop  again
         hlt
         .balign 4
counter: .long 0"""
REAL = "%%asm --mode real\nstart: inc ax\n hlt"
START, AGAIN = 0x8000, 0x8005


@pytest.fixture(scope="module")
def opened(shared_page: Watched, lab: Server) -> NotebookPage:
    cells = ["%load_ext kvmdbg", GUEST, "%vm view", "%vm view", "%vm view timeline", "%vm view dr"]
    notebook = NotebookPage.of(shared_page.page, lab, "together.ipynb", [*cells, ""])
    notebook.run_well(*range(LAST))
    return notebook


@pytest.fixture
def notebook(opened: NotebookPage, shared: Watched) -> NotebookPage:
    """The guest stands at its entry, and nothing stops it."""
    load_anew(opened, ASM)
    expect_pc(wait_for_machine(opened.output(ONE)), START)
    return opened


def says(notebook: NotebookPage, number: int) -> Locator:
    """The sentence that stands above a view."""
    return notebook.output(number).locator(".kvmdbg-view > .kvmdbg-says")


def test_a_click_in_one_view_is_seen_in_all(notebook: NotebookPage) -> None:
    press(wait_for_machine(notebook.output(ONE)), "step")
    for number in (ONE, TWO):
        expect_pc(wait_for_machine(notebook.output(number)), AGAIN)
    for number in (ONE, TWO, TIMELINE, DR):
        expect(says(notebook, number)).to_contain_text("at again (0x8005): single step")
    expect(wait_for_view(notebook.output(TIMELINE), "Exit timeline")).to_have_attribute(
        "data-total", "1"
    )


def test_a_loop_in_a_cell_ends_with_its_last_moment_in_all_views(notebook: NotebookPage) -> None:
    notebook.do("%vm set rcx=0\nfor _ in range(2000): vm.step()\nvm.goto(1500)")
    for number in (ONE, TWO, TIMELINE, DR):
        expect(says(notebook, number)).to_contain_text("back at clock 1,500")


def form(notebook: NotebookPage) -> Locator:
    """The form that arms a debug register."""
    return wait_for_view(notebook.output(DR), "Debug registers").locator("form").first


def test_a_watchpoint_is_armed_by_keys_alone_and_no_key_is_the_notebooks(
    notebook: NotebookPage,
) -> None:
    page = notebook.page
    cells = len(notebook.cells())
    form(notebook).get_by_label("Place").focus()
    page.keyboard.type("counter")
    form(notebook).get_by_label("Stop when it is").focus()
    page.keyboard.type("written")
    form(notebook).get_by_label("Length").focus()
    page.keyboard.type("4 bytes")
    form(notebook).get_by_role("button", name="Arm").focus()
    page.keyboard.press("Enter")
    expect(wait_for_view(notebook.output(DR), "Debug registers")).to_contain_text("breakpoint")
    listed = notebook.do("print([(b.access, b.length, b.where) for b in vm.breakpoints])")
    assert listed.text.strip().startswith("[('w', 4, 'counter")
    assert len(notebook.cells()) == cells


def test_what_cannot_be_is_said_before_it_is_armed(notebook: NotebookPage) -> None:
    form(notebook).get_by_label("Place").fill("counter+1")
    form(notebook).get_by_label("Stop when it is").select_option(label="written")
    form(notebook).get_by_label("Length").select_option(label="4 bytes")
    expect(wait_for_view(notebook.output(DR), "Debug registers")).to_contain_text(
        re.compile("align|multiple")
    )
    assert notebook.do("print(len(vm.breakpoints))").text.strip() == "0"


def test_views_follow_when_another_vm_takes_the_place(notebook: NotebookPage) -> None:
    notebook.do(REAL)
    expect_pc(wait_for_machine(notebook.output(ONE)), 0x8000)
    press(wait_for_machine(notebook.output(TWO)), "step")
    assert notebook.do("print(vm.mode.bits, vm.regs().rax)").text.strip() == "16 1"


def test_a_closed_vm_is_said_to_be_closed_and_the_next_one_is_shown(notebook: NotebookPage) -> None:
    notebook.do("%vm close")
    for number, title in ((ONE, "Machine"), (TIMELINE, "Exit timeline"), (DR, "Debug registers")):
        view = wait_for_view(notebook.output(number), title, "closed")
        expect(view.locator(".kvmdbg-state")).to_contain_text("no VM")
    notebook.run(ASM)
    expect_pc(wait_for_machine(notebook.output(ONE)), START)


def test_a_restarted_kernel_leaves_views_that_say_so_and_runs_new_ones(
    notebook: NotebookPage,
) -> None:
    notebook.restart()
    for number in (ONE, TIMELINE, DR):
        view = notebook.output(number).locator(".kvmdbg-view").first
        expect(view).to_have_attribute("data-state", "lost")
        expect(view.locator(".kvmdbg-state")).to_contain_text("kernel is gone")
    for number in range(LAST):
        notebook.run(number)
    press(wait_for_machine(notebook.output(ONE)), "step")
    expect_pc(wait_for_machine(notebook.output(TWO)), AGAIN)
