"""Loading and unloading the extension, and whose names it touches."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

import kvmdbg
from kvmdbg.jupyter import magics

OURS = {"line": {"vm", "step", "bp"}, "cell": {"asm"}}


def names(shell: InteractiveShell) -> dict[str, set[str]]:
    return {kind: set(found) for kind, found in shell.magics_manager.lsmagic().items()}


def state(shell: InteractiveShell) -> tuple[Any, ...]:
    """Everything of a shell that loading may change."""
    formatters = shell.display_formatter.formatters
    return (
        names(shell),
        list(shell.Completer.custom_matchers),
        {mime: set(formatter.type_printers) for mime, formatter in formatters.items()},
        list(shell.configurables),
        set(shell.magics_manager.registry),
    )


def test_loading_adds_exactly_our_four_magics(bare_shell: InteractiveShell) -> None:
    before = names(bare_shell)
    magics.load(bare_shell)
    after = names(bare_shell)
    magics.unload(bare_shell)
    assert {kind: after[kind] - before[kind] for kind in after} == OURS


def test_no_magic_of_ipython_is_shadowed(bare_shell: InteractiveShell) -> None:
    taken = names(bare_shell)
    everywhere = taken["line"] | taken["cell"]
    assert not everywhere & (OURS["line"] | OURS["cell"])


def test_unloading_leaves_the_shell_as_it_was(bare_shell: InteractiveShell) -> None:
    before = state(bare_shell)
    kvmdbg.load_ipython_extension(bare_shell)
    assert state(bare_shell) != before
    kvmdbg.unload_ipython_extension(bare_shell)
    assert state(bare_shell) == before


def test_unloading_leaves_no_formatter_of_ours(bare_shell: InteractiveShell) -> None:
    magics.load(bare_shell)
    magics.unload(bare_shell)
    for formatter in bare_shell.display_formatter.formatters.values():
        assert not [kind for kind in formatter.type_printers if "kvmdbg" in kind.__module__]


def test_loading_twice_changes_nothing(shell: InteractiveShell) -> None:
    before = state(shell)
    magics.load(shell)
    assert state(shell) == before


def test_unloading_what_was_not_loaded_is_harmless(bare_shell: InteractiveShell) -> None:
    before = state(bare_shell)
    magics.unload(bare_shell)
    assert state(bare_shell) == before


def test_the_vm_outlives_a_reload(guest: Any, shell: InteractiveShell) -> None:
    guest("%step")
    magics.unload(shell)
    magics.load(shell)
    assert guest("%step").index == 2


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell as S;"
        "from kvmdbg.jupyter import magics; from traitlets.config import Config;"
        "c = Config(); c.HistoryManager.enabled = False; magics.load(S(config=c));"
        "print({'matplotlib', 'numpy', 'llvmlite', 'numba', 'unicorn'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
