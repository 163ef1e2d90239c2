"""The kernel behind a notebook, by the buttons of JupyterLab: stop, restart."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import OpenNotebook
from tests.browser.lab import ROOT, Server
from tests.browser.notebook_page import NotebookPage

LOAD = "%load_ext kvmdbg"
RUNAWAY = "%%asm\nagain: inc rax\njmp again"

# The kernel is busy long before the guest is; an interrupt then would end an import.
TELLING_RUN = """
import threading, time
def tell():
    while not vm.vcpu.clock:
        time.sleep(0.01)
    print("the guest runs")
threading.Thread(target=tell).start()
%vm run
"""


def stopped(notebook: NotebookPage) -> NotebookPage:
    """A notebook whose third cell was interrupted while its guest ran."""
    notebook.run(0), notebook.run(1)
    notebook.start(2)
    expect(notebook.output(2)).to_contain_text("the guest runs")
    notebook.press("interrupt")
    notebook.wait_until_idle()
    return notebook


def test_the_kernel_imports_this_tree(open_notebook: OpenNotebook, lab: Server) -> None:
    notebook = open_notebook(lab, ["import kvmdbg; print(kvmdbg.__file__)"])
    assert Path(notebook.run(0).text.strip()) == ROOT / "kvmdbg" / "__init__.py"


def test_the_stop_button_stops_a_runaway_guest(open_notebook: OpenNotebook, lab: Server) -> None:
    notebook = stopped(open_notebook(lab, [LOAD, RUNAWAY, TELLING_RUN]))
    assert notebook.cells()[2].error.startswith("VmInterrupted")


def test_a_stopped_guest_can_be_stepped(open_notebook: OpenNotebook, lab: Server) -> None:
    sources = [LOAD, RUNAWAY, TELLING_RUN, "s = %step\nprint(s.kind)"]
    notebook = stopped(open_notebook(lab, sources))
    assert notebook.run(3).text.strip() == "step"


def test_a_restart_forgets_the_guest(open_notebook: OpenNotebook, lab: Server) -> None:
    notebook = open_notebook(lab, [LOAD, RUNAWAY, "vm"])
    notebook.run(0), notebook.run(1)
    assert notebook.run(2).error == ""
    notebook.restart()
    assert notebook.run(2).error.startswith("NameError")


def test_a_restarted_kernel_runs_a_guest_again(open_notebook: OpenNotebook, lab: Server) -> None:
    notebook = open_notebook(lab, [LOAD, "%%asm\nstart: hlt", "%vm run"])
    for number in range(3):
        notebook.run(number)
    notebook.restart()
    states = [notebook.run(number) for number in range(3)]
    assert [state.error for state in states] == ["", "", ""]


def test_what_was_run_is_saved(open_notebook: OpenNotebook, lab: Server) -> None:
    notebook = open_notebook(lab, ["print(6 * 7)"])
    notebook.run(0)
    assert notebook.save().cells[0].outputs[0].text == "42\n"


def test_a_page_that_is_opened_again_shows_what_was_saved(
    open_notebook: OpenNotebook, lab: Server
) -> None:
    notebook = open_notebook(lab, ["print(6 * 7)"])
    notebook.run(0)
    notebook.save()
    notebook.page.reload()
    notebook.wait_until_ready()
    expect(notebook.output(0)).to_contain_text("42")
