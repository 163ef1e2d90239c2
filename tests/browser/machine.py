"""The machine view in a page, as a person reads and uses it; in a cell and in JupyterLab's panel.

Must not know: which guest is looked at.
"""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from tests.browser.notebook_page import NotebookPage
from tests.browser.views import wait_for_view


def wait_for_machine(place: Locator, state: str = "live") -> Locator:
    """The machine view inside ``place``, with its code."""
    view = wait_for_view(place, "Machine", state)
    view.locator("tr[data-address]").first.wait_for()
    return view


def load_anew(notebook: NotebookPage, cell: int) -> None:
    """The guest of an assembly cell stands at its entry, and nothing stops it."""
    notebook.do("%bp delete all")
    notebook.run_well(cell)


def press(view: Locator, action: str) -> None:
    """Click a button of the bar: ``step``, ``continue``, ``stop``."""
    view.locator(f'.kvmdbg-control[data-action="{action}"]').click()


def expect_pc(view: Locator, address: int) -> None:
    """The mark of the next instruction stands there."""
    marked = view.locator('tr[aria-current="location"]')
    expect(marked).to_have_attribute("data-address", hex(address))
    expect(marked.locator(".kvmdbg-here")).to_contain_text("▶")


def expect_register(view: Locator, name: str, value: int, changed: bool) -> None:
    """A register's value in 64-bit code, and whether it is marked as changed."""
    button = view.locator(f'.kvmdbg-register[data-name="{name}"]')
    expect(button.locator(".kvmdbg-value")).to_have_text(f"{value:016x}")
    expect(button.locator(".kvmdbg-mark")).to_have_text("▲" if changed else "")


def gutter(view: Locator, address: int) -> Locator:
    """The button in the gutter beside an instruction."""
    return view.locator(f'tr[data-address="{address:#x}"] .kvmdbg-gutter')


def byte(view: Locator, offset: int) -> Locator:
    """A byte of the first memory window."""
    return view.locator(".kvmdbg-dump").first.locator(f'td[data-offset="{offset}"]')
