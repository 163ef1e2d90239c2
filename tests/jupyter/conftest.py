"""A real IPython shell in this process, with our magics loaded for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from kvmdbg.jupyter import magics

GUEST = """\
%%asm demo
start:  mov ecx, 3
loop:   inc dword ptr [counter]
        call twice
        dec ecx
        jnz loop
done:   hlt
twice: add eax, eax
        ret
handler: iretq
        .align 8
counter: .long 5
"""
"""A 64-bit guest with a loop, a call and a counter in memory."""


@pytest.fixture(scope="session")
def bare_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InteractiveShell]:
    """IPython as it starts, without history file and without the user's profile."""
    os.environ["IPYTHONDIR"] = str(tmp_path_factory.mktemp("ipython"))
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = InteractiveShell(config=config)
    yield shell
    shell.restore_sys_module_state()


@pytest.fixture
def shell(
    bare_shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InteractiveShell]:
    """A shell after ``%load_ext kvmdbg``, with no user variables."""
    monkeypatch.chdir(tmp_path)
    names = bare_shell.user_ns
    before = set(names)
    magics.load(bare_shell)
    yield bare_shell
    vm = names.get("vm")
    if hasattr(vm, "close"):
        vm.close()
    magics.unload(bare_shell)
    for name in set(names) - before:  # %reset would collect garbage each time: slow
        del names[name]
    names["_oh"].clear()


Run = Callable[[str], Any]


@pytest.fixture
def run(shell: InteractiveShell) -> Run:
    """Run a cell; its value comes back, an error is raised."""

    def run_cell(cell: str) -> Any:
        result = shell.run_cell(cell)
        result.raise_error()
        return result.result

    return run_cell


@pytest.fixture
def guest(run: Run) -> Run:
    """``run`` with the demo guest loaded."""
    run(GUEST)
    return run


@pytest.fixture
def bundle(shell: InteractiveShell) -> Callable[[Any], dict[str, Any]]:
    """What a front end would get for a value: text, HTML, picture by MIME type."""

    def make(value: Any) -> dict[str, Any]:
        data: dict[str, Any] = shell.display_formatter.format(value)[0]
        return data

    return make
