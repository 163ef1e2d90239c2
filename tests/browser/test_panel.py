"""The extension's side panel, its keys and commands, and the status bar, in JupyterLab."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.browser import axe
from tests.browser.chromium import Watched, call
from tests.browser.lab import Server
from tests.browser.machine import (
    expect_pc,
    expect_register,
    load_anew,
    press,
    wait_for_machine,
)
from tests.browser.notebook_page import NotebookPage, write_notebook

ASM = 1
GUEST = """%%asm
start:   mov   ecx, 3
again:   add   eax, 2
         loop  again
         hlt"""
RUNAWAY = "%%asm\nstart: jmp start"
START, AGAIN, LOOP = 0x8000, 0x8005, 0x8008
PANEL = "#kvmdbg-lab-panel"
RIP = "print(hex(vm.regs().rip))"

_EXECUTE = "(id) => jupyterapp.commands.execute(id).then(() => true)"
_OPEN = """async (path) => {
  const panel = await jupyterapp.commands.execute('docmanager:open', { path });
  await panel.revealed;
  await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
}"""


@pytest.fixture(scope="module")
def opened(shared_page: Watched, lab: Server) -> NotebookPage:
    notebook = NotebookPage.of(
        shared_page.page, lab, "panel.ipynb", ["%load_ext kvmdbg", GUEST, ""]
    )
    call(notebook.page, _EXECUTE, "kvmdbg:show-panel")
    notebook.run_well(0, ASM)
    return notebook


@pytest.fixture
def notebook(opened: NotebookPage, shared: Watched) -> NotebookPage:
    """The guest stands at its entry, and nothing stops it; the panel is shown."""
    load_anew(opened, ASM)
    expect_pc(machine(opened), START)
    return opened


def machine(notebook: NotebookPage, state: str = "live") -> Locator:
    """The machine view in the panel."""
    return wait_for_machine(notebook.page.locator(PANEL), state)


def leave_editor(notebook: NotebookPage) -> None:
    """Click beside a cell: the notebook has the focus, in command mode."""
    notebook.cell(ASM).locator(".jp-InputPrompt").click()
    expect(notebook.page.locator(".jp-Notebook.jp-mod-commandMode")).to_have_count(1)


def test_the_panel_follows_what_cells_do(notebook: NotebookPage) -> None:
    notebook.do("%step")
    expect_pc(machine(notebook), AGAIN)
    expect_register(machine(notebook), "rcx", 3, changed=True)


def test_a_click_on_its_step_is_so_for_cells(notebook: NotebookPage) -> None:
    press(machine(notebook), "step")
    expect_pc(machine(notebook), AGAIN)
    assert notebook.do(RIP).text.strip() == hex(AGAIN)


def test_a_click_on_its_step_is_answered_while_a_cell_sleeps(notebook: NotebookPage) -> None:
    notebook.begin("import time; time.sleep(600)")
    press(machine(notebook), "step")
    expect_pc(machine(notebook), AGAIN)
    assert notebook.busy, "the cell is over: the click was not answered beside it"
    notebook.interrupt()


def test_f11_in_the_notebook_steps(notebook: NotebookPage) -> None:
    leave_editor(notebook)
    for where in (AGAIN, LOOP):
        notebook.page.keyboard.press("F11")
        expect_pc(machine(notebook), where)
    assert notebook.do(RIP).text.strip() == hex(LOOP)


def test_f11_in_the_panel_steps_once(notebook: NotebookPage) -> None:
    machine(notebook).locator(".kvmdbg-register").first.focus()
    notebook.page.keyboard.press("F11")
    expect_pc(machine(notebook), AGAIN)
    assert notebook.do(RIP).text.strip() == hex(AGAIN)


def test_shift_f8_stops_a_runaway_guest_that_f8_set_off(notebook: NotebookPage) -> None:
    notebook.do(RUNAWAY)
    leave_editor(notebook)
    notebook.page.keyboard.press("F8")
    machine(notebook, "running")
    notebook.page.keyboard.press("Shift+F8")
    machine(notebook)
    assert notebook.do("print(vm.busy)").text.strip() == "False"


def test_the_palette_offers_step_and_does_it(notebook: NotebookPage) -> None:
    leave_editor(notebook)
    call(notebook.page, _EXECUTE, "apputils:activate-command-palette")
    item = notebook.page.locator('.lm-CommandPalette-item[data-command="kvmdbg:step"]')
    expect(item.locator(".lm-CommandPalette-itemLabel")).to_have_text("Step")
    item.click()
    expect_pc(machine(notebook), AGAIN)


def test_the_status_bar_tells_engine_mode_and_place(notebook: NotebookPage) -> None:
    item = notebook.page.locator(".kvmdbg-lab-status button")
    expect(item).to_have_text("unicorn · long mode, 64-bit code · start (0x8000)")
    notebook.do("%step")
    expect(item).to_have_text("unicorn · long mode, 64-bit code · again (0x8005)")


def test_a_click_on_the_status_bar_shows_the_panel(notebook: NotebookPage) -> None:
    call(notebook.page, _EXECUTE, "application:toggle-right-area")
    expect(notebook.page.locator(PANEL)).to_be_hidden()
    notebook.page.locator(".kvmdbg-lab-status button").click()
    expect_pc(machine(notebook), START)


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_axe_finds_nothing_grave_in_the_panel(notebook: NotebookPage, theme: str) -> None:
    notebook.do("%bp again")
    press(machine(notebook), "continue")
    expect_pc(machine(notebook), AGAIN)
    with notebook.theme(theme):
        assert axe.findings(notebook.page, PANEL) == []


def test_the_panel_is_about_the_active_notebook(notebook: NotebookPage) -> None:
    # The last one: its notebook stays open, for JupyterLab's debugger complains of a quick close.
    write_notebook(notebook.server.root / "bare.ipynb", ["1 + 1"])
    call(notebook.page, _OPEN, "bare.ipynb")
    panel = notebook.page.locator(PANEL)
    expect(panel.locator(".kvmdbg-lab-hint")).to_contain_text("%load_ext kvmdbg")
    expect(panel.locator(".kvmdbg-view")).to_have_count(0)
    notebook.page.get_by_role("tab", name="panel.ipynb").click()
    expect_pc(machine(notebook), START)
