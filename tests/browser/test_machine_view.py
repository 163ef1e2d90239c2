"""`%vm view`: one clicks, types and reads in it in JupyterLab."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser import axe
from tests.browser.chromium import Watched
from tests.browser.lab import Server
from tests.browser.machine import (
    byte,
    expect_pc,
    expect_register,
    gutter,
    load_anew,
    press,
    wait_for_machine,
)
from tests.browser.notebook_page import NotebookPage

ASM, VIEW = 1, 2
GUEST = """%%asm
start:   mov   ecx, 3
again:   inc   dword ptr [counter]
         call  twice
         loop  again
         hlt
twice:   add   eax, 2
         ret
         .balign 16
counter: .long 0"""
COUNTING = "%%asm\nstart: inc rax\njmp start"
RUNAWAY = "%%asm\nstart: jmp start"
TAG = "<img src=x onerror='window.pwned=1'>"
SCRIPT = "<script>window.pwned=1</script>"
HOSTILE = f'''%%asm
start:  lea   rsi, [text]
next:   lodsb
        test  al, al
        jz    done
        out   0xe9, al
        jmp   next
done:   hlt
"{TAG}": nop
text:   .asciz "{SCRIPT}{TAG}\\033[31mred"'''
PRINTED = f"{SCRIPT}{TAG}\\x1b[31mred"  # as the escape is spelt out
START, AGAIN, CALL, TWICE, COUNTER = 0x8000, 0x8005, 0x800C, 0x8014, 0x8020


@pytest.fixture(scope="module")
def opened(shared_page: Watched, lab: Server) -> NotebookPage:
    notebook = NotebookPage.of(
        shared_page.page,
        lab,
        "machine.ipynb",
        ["%load_ext kvmdbg", GUEST, "%vm view", ""],
    )
    notebook.run_well(0, ASM, VIEW)
    return notebook


@pytest.fixture
def notebook(opened: NotebookPage, shared: Watched) -> NotebookPage:
    """The guest stands at its entry, and nothing stops it."""
    load_anew(opened, ASM)
    expect_pc(wait_for_machine(opened.output(VIEW)), START)
    return opened


def test_a_click_on_step_moves_the_mark_and_marks_what_changed(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    expect_register(view, "rcx", 0, changed=False)
    press(view, "step")
    expect_pc(view, AGAIN)
    expect_register(view, "rcx", 3, changed=True)


def test_what_is_clicked_is_so_for_cells(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    press(view, "step")
    expect_pc(view, AGAIN)
    assert notebook.do("print(hex(vm.regs().rip), vm.regs().rcx)").text.strip() == "0x8005 3"


def test_f11_and_f10_in_the_view_step_in_and_over(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    view.locator(".kvmdbg-register").first.focus()
    for key, where in (("F11", AGAIN), ("F11", CALL), ("F10", 0x8011)):
        notebook.page.keyboard.press(key)
        expect_pc(view, where)


def test_shift_f10_steps_back(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    press(view, "step")
    expect_pc(view, AGAIN)
    notebook.page.keyboard.press("Shift+F10")
    expect_pc(view, START)


def test_a_click_in_the_gutter_sets_a_breakpoint(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    gutter(view, TWICE).click()
    expect(gutter(view, TWICE)).to_have_attribute("aria-pressed", "true")
    assert "0x8014 twice" in notebook.do("%bp").text


def test_continue_stops_at_a_breakpoint_of_the_gutter(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    gutter(view, TWICE).click()
    expect(gutter(view, TWICE)).to_have_attribute("aria-pressed", "true")
    press(view, "continue")
    expect_pc(view, TWICE)
    expect(view.locator(".kvmdbg-says").first).to_contain_text("(INT3) at twice")


def test_another_click_in_the_gutter_takes_it_away(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    for pressed in ("true", "false"):
        gutter(view, TWICE).click()
        expect(gutter(view, TWICE)).to_have_attribute("aria-pressed", pressed)
    assert notebook.do("print(len(list(vm.breakpoints)))").text.strip() == "0"


def test_a_breakpoint_of_a_cell_is_in_the_gutter(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    notebook.do("%bp twice")
    expect(gutter(view, TWICE)).to_have_attribute("aria-pressed", "true")


def test_a_byte_of_memory_is_watched_by_a_click(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    byte(view, COUNTER - START).click()
    view.get_by_role("button", name="Watch writes here").click()
    expect(byte(view, COUNTER - START)).to_have_class(re.compile("kvmdbg-watched"))
    press(view, "continue")
    expect_pc(view, CALL)
    expect(byte(view, COUNTER - START)).to_have_text("01")
    expect(byte(view, COUNTER - START)).to_have_attribute("title", re.compile("^changed; watched"))


def test_what_a_guest_prints_is_text(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    notebook.do(HOSTILE)
    press(view, "continue")
    expect(view.locator(".kvmdbg-console")).to_have_text(PRINTED)
    expect(view.locator("script, img")).to_have_count(0)
    assert notebook.page.evaluate("() => window.pwned") is None


def test_labels_with_html_are_text(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    notebook.do(HOSTILE)
    expect(view.locator(".kvmdbg-code .kvmdbg-label", has_text=TAG)).to_have_count(1)
    expect(view.locator("script, img")).to_have_count(0)
    assert notebook.page.evaluate("() => window.pwned") is None


def test_a_click_on_step_is_answered_while_a_cell_runs(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    notebook.begin("import time; time.sleep(600)")
    press(view, "step")
    expect_pc(view, AGAIN)
    assert notebook.busy, "the cell is over: the click was not answered beside it"
    notebook.interrupt()


def test_a_click_in_the_gutter_is_answered_while_a_cell_steps(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    notebook.do(COUNTING)
    notebook.begin("while True: vm.step()")
    view.locator('.kvmdbg-register[data-name="rax"] .kvmdbg-mark', has_text="▲").wait_for()
    gutter(view, START).click()
    expect(gutter(view, START)).to_have_attribute("aria-pressed", "true")
    assert notebook.busy, "the cell is over: the click was not answered beside it"
    notebook.interrupt()


def test_of_two_thousand_stops_the_last_is_shown(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    notebook.do(COUNTING)
    notebook.do("for _ in range(2000): vm.step()")
    expect_register(view, "rax", 1000, changed=False)
    expect_pc(view, START)


def test_a_runaway_guest_tells_how_far_it_is_in_the_view(notebook: NotebookPage) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    notebook.do(RUNAWAY)
    notebook.begin("%vm run")
    wait_for_machine(notebook.output(VIEW), "running")
    expect(view.locator(".kvmdbg-progress")).to_contain_text("instructions")
    notebook.interrupt()
    wait_for_machine(notebook.output(VIEW))
    expect(view.locator(".kvmdbg-progress")).to_be_empty()


def test_a_runaway_guest_tells_how_far_it_is_under_its_cell(notebook: NotebookPage) -> None:
    notebook.do(RUNAWAY)
    number = notebook.begin("%vm run")
    expect(notebook.output(number)).to_contain_text("running for")
    notebook.interrupt()
    expect(notebook.output(number)).not_to_contain_text("running for")
    assert notebook.cells()[number].error.startswith("VmInterrupted")


@pytest.mark.parametrize("way", ["the view's stop", "a key", "Jupyter's stop button"])
def test_a_run_that_the_view_began_is_stopped_by(notebook: NotebookPage, way: str) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    notebook.do(RUNAWAY)
    press(view, "continue")
    wait_for_machine(notebook.output(VIEW), "running")
    if way == "the view's stop":
        press(view, "stop")
    elif way == "a key":
        notebook.page.keyboard.press("Shift+F8")
    else:
        notebook.press("interrupt")
    wait_for_machine(notebook.output(VIEW))
    assert notebook.do("print(vm.busy)").text.strip() == "False"


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_axe_finds_nothing_grave(notebook: NotebookPage, theme: str) -> None:
    view = wait_for_machine(notebook.output(VIEW))
    notebook.do("%bp counter -w --len 4\n%bp twice")
    byte(view, COUNTER - START).click()
    view.locator("details").evaluate_all("all => all.forEach((part) => { part.open = true })")
    press(view, "continue")
    expect_pc(view, CALL)
    with notebook.theme(theme):
        assert axe.findings(notebook.page, ".kvmdbg-view") == []


def test_the_saved_view_is_words_and_html_and_small(notebook: NotebookPage) -> None:
    before = notebook.path.stat().st_size
    notebook.run(VIEW)
    wait_for_machine(notebook.output(VIEW))
    saved = notebook.save().cells[VIEW].outputs[0].data
    assert "rax 0000000000000000" in saved["text/plain"]
    assert "<table" in saved["text/html"]
    assert notebook.path.stat().st_size - before < 200_000
