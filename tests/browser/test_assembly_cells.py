"""`%%asm` cells in JupyterLab: their gutter, the arrow at the next instruction, their colours."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.chromium import Watched
from tests.browser.lab import Server
from tests.browser.machine import load_anew
from tests.browser.notebook_page import NotebookPage

ASM, ATT, NASM, OTHER = 1, 2, 3, 4
GUEST = """%%asm
start:   mov   ecx, 3
again:   add   eax, 2
         loop  again
         hlt"""
GUEST_ATT = "%%asm --syntax att\nstart: add $2, %eax\n       hlt"
GUEST_NASM = "%%asm --syntax nasm\nstart: add eax, 2\n       hlt"
EDITED = "%%asm\nstart: inc eax\n       hlt"
HEAD, START, AGAIN, HLT = 1, 2, 3, 5  # lines of the cell
ADDRESSES = {START: 0x8000, AGAIN: 0x8005, HLT: 0x800A}
LIST = "print([hex(b.address) for b in vm.breakpoints])"
SET = "kvmdbg-lab-sign-set"

_CLASSES = """cell => Object.fromEntries([...cell.querySelectorAll('.cm-line span')].map(
  (token) => [token.textContent, token.className]))"""


@pytest.fixture(scope="module")
def opened(shared_page: Watched, lab: Server) -> NotebookPage:
    sources = ["%load_ext kvmdbg", GUEST, GUEST_ATT, GUEST_NASM, EDITED, ""]
    notebook = NotebookPage.of(shared_page.page, lab, "assembly.ipynb", sources)
    notebook.run_well(0, ASM)
    return notebook


@pytest.fixture
def notebook(opened: NotebookPage, shared: Watched) -> NotebookPage:
    """The guest stands at its entry, and nothing stops it."""
    load_anew(opened, ASM)
    expect_arrow(opened, START)
    expect(signs(opened, SET)).to_have_count(0)
    return opened


def beside(notebook: NotebookPage, line: int, cell: int = ASM) -> Locator:
    """The gutter beside a line; lines count from 1."""
    return notebook.cell(cell).locator(".kvmdbg-lab-gutter .cm-gutterElement").nth(line - 1)


def signs(notebook: NotebookPage, look: str, cell: int = ASM) -> Locator:
    """The signs of one look in a cell's gutter."""
    return notebook.cell(cell).locator(f".kvmdbg-lab-gutter .{look}")


def expect_arrow(notebook: NotebookPage, line: int) -> None:
    """The arrow stands beside that line and no other."""
    expect(beside(notebook, line).locator(".kvmdbg-lab-sign-here")).to_have_text("▶")
    expect(signs(notebook, "kvmdbg-lab-sign-here")).to_have_count(1)


def expect_dot(notebook: NotebookPage, line: int) -> None:
    """The VM's one breakpoint is shown beside that line."""
    expect(beside(notebook, line).locator(f".{SET}")).to_have_text("●")
    expect(signs(notebook, SET)).to_have_count(1)


@pytest.mark.parametrize("line", [AGAIN, HLT])
def test_a_click_in_the_gutter_sets_a_breakpoint_of_the_vm(
    notebook: NotebookPage, line: int
) -> None:
    beside(notebook, line).click()
    expect_dot(notebook, line)
    assert notebook.do(LIST).text.strip() == f"['{ADDRESSES[line]:#x}']"


def test_a_click_beside_the_head_sets_it_at_the_first_instruction(notebook: NotebookPage) -> None:
    beside(notebook, HEAD).click()
    expect_dot(notebook, START)
    assert notebook.do(LIST).text.strip() == "['0x8000']"


def test_another_click_takes_the_breakpoint_away(notebook: NotebookPage) -> None:
    beside(notebook, AGAIN).click()
    expect_dot(notebook, AGAIN)
    beside(notebook, AGAIN).click()
    expect(signs(notebook, SET)).to_have_count(0)
    assert notebook.do(LIST).text.strip() == "[]"


def test_a_breakpoint_of_another_cell_is_in_the_gutter(notebook: NotebookPage) -> None:
    notebook.do("%bp again")
    expect_dot(notebook, AGAIN)


def test_a_breakpoint_of_the_gutter_stops_the_guest(notebook: NotebookPage) -> None:
    beside(notebook, AGAIN).click()
    expect_dot(notebook, AGAIN)
    notebook.do("%vm run")
    expect_arrow(notebook, AGAIN)
    assert notebook.do("print(hex(vm.regs().rip), vm.regs().rcx)").text.strip() == "0x8005 3"


def test_the_arrow_follows_a_step(notebook: NotebookPage) -> None:
    notebook.do("%step")
    expect_arrow(notebook, AGAIN)


def test_f9_sets_a_breakpoint_at_the_cursor(notebook: NotebookPage) -> None:
    notebook.cell(ASM).locator(".cm-line", has_text="hlt").click()
    notebook.page.keyboard.press("F9")
    expect_dot(notebook, HLT)
    assert notebook.do(LIST).text.strip() == "['0x800a']"


def test_a_dot_beside_a_cell_that_was_not_run_waits_for_its_run(notebook: NotebookPage) -> None:
    beside(notebook, 3, OTHER).click()
    expect(signs(notebook, "kvmdbg-lab-sign-pending", OTHER)).to_have_text("○")
    assert notebook.do(LIST).text.strip() == "[]"
    notebook.run(OTHER)
    expect(beside(notebook, 3, OTHER).locator(f".{SET}")).to_have_text("●")
    assert notebook.do(LIST).text.strip() == "['0x8002']"
    expect(signs(notebook, "kvmdbg-lab-sign-here", ASM)).to_have_count(0)


def test_only_assembly_cells_have_a_gutter(notebook: NotebookPage) -> None:
    expect(notebook.page.locator(".kvmdbg-lab-gutter")).to_have_count(4)
    expect(notebook.cell(0).locator(".kvmdbg-lab-gutter")).to_have_count(0)


@pytest.mark.parametrize(("cell", "register"), [(ASM, "eax"), (ATT, "%eax"), (NASM, "eax")])
def test_mnemonics_registers_and_labels_look_alike_in_every_dialect(
    notebook: NotebookPage, cell: int, register: str
) -> None:
    intel: dict[str, str] = notebook.cell(ASM).evaluate(_CLASSES)
    looks: dict[str, str] = notebook.cell(cell).evaluate(_CLASSES)
    mine = [looks["add"], looks["hlt"], looks[register], looks["start:"], looks["2"]]
    assert all(mine)
    assert mine == [intel["add"], intel["add"], intel["eax"], intel["start:"], intel["3"]]
    assert len({intel["add"], intel["eax"], intel["start:"], intel["3"]}) == 4


def test_a_cell_that_becomes_assembly_has_a_gutter_at_once(notebook: NotebookPage) -> None:
    place = notebook.write(-1, "print(1)")
    expect(notebook.cell(place).locator(".cm-editor")).not_to_have_class(re.compile("kvmdbg-asm"))
    notebook.write(-1, "%%asm\nnop")
    expect(notebook.cell(place).locator(".cm-editor")).to_have_class(re.compile("kvmdbg-asm"))
    expect(notebook.cell(place).locator(".kvmdbg-lab-gutter")).to_have_count(1)
