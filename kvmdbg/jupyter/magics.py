"""The magics ``%vm``, ``%step``, ``%bp`` and ``%%asm``: from IPython to our commands and back.

Lines arrive raw: ``$rip`` is the guest's register and not a Python variable (IPython would expand
it), while ``{name}`` is put in by us. A value comes back and shows itself; nothing is printed.
Must not know: what a command does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from ..errors import VmInterrupted
from . import display, help
from .arguments import expand, split
from .commands import ASM, BP, STEP
from .completion import make_matcher
from .inspection import install
from .live_session import LiveSession
from .session import Session

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_F = TypeVar("_F", bound=Callable[..., object])


def documented(text: str) -> Callable[[_F], _F]:
    """Give a magic the help text that ``%name?`` shows."""

    def decorate(function: _F) -> _F:
        function.__doc__ = text
        return function

    return decorate


@magics_class
class KvmdbgMagics(Magics):
    """Our four magics on one session."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.session = Session(shell.user_ns)
        self.session.viewer = self.live = LiveSession(shell, self.session)
        self.matcher = make_matcher(self.session)
        self.inspection = install(shell, self.session)

    def _carry_out(self, line: str, action: Callable[[str], object]) -> object:
        """Expand ``{name}``, act, and keep quiet after a semicolon."""
        text = line.strip()
        try:
            result = action(expand(text.rstrip("; "), self.session.names))
        except VmInterrupted:
            raise
        except KeyboardInterrupt:  # before the guest ran, or after it: no traceback either
            raise VmInterrupted(
                "the line was not carried out to its end; the VM is intact"
            ) from None
        return None if text.endswith(";") else result

    @no_var_expand
    @line_magic
    @documented(help.overview())
    def vm(self, line: str) -> object:
        return self._carry_out(line, self._vm)

    @no_var_expand
    @line_magic
    @documented(help.document(STEP))
    def step(self, line: str) -> object:
        return self._carry_out(line, self._step)

    @no_var_expand
    @line_magic
    @documented(help.document(BP))
    def bp(self, line: str) -> object:
        return self._carry_out(line, self._bp)

    @no_var_expand
    @cell_magic
    @documented(help.document(ASM))
    def asm(self, line: str, cell: str) -> object:
        return self._carry_out(line, lambda text: self._asm(text, cell))

    # What is heavy is imported by the line that needs it first, where Ctrl-C is one line too.

    def _vm(self, text: str) -> object:
        from .vm_commands import execute

        return execute(self.session, split(text))

    def _step(self, text: str) -> object:
        from .stepping_commands import step

        return step(self.session, text)

    def _bp(self, text: str) -> object:
        from .stepping_commands import bp

        return bp(self.session, text)

    def _asm(self, text: str, cell: str) -> object:
        from .assembling import asm

        return asm(self.session, text, cell)


_NAME = KvmdbgMagics.__name__


def load(ipython: InteractiveShell) -> None:
    """``%load_ext kvmdbg``: magics, completion, inspection, formatters.

    Loading twice changes nothing.
    """
    if _NAME in ipython.magics_manager.registry:
        return
    magics = KvmdbgMagics(ipython)
    ipython.register_magics(magics)
    ipython.Completer.custom_matchers.append(magics.matcher)
    display.register(ipython, magics.session)


def unload(ipython: InteractiveShell) -> None:
    """``%unload_ext kvmdbg``: all of it again; the VM in the variable ``vm`` stays."""
    manager = ipython.magics_manager
    magics = manager.registry.pop(_NAME, None)
    if not isinstance(magics, KvmdbgMagics):
        return
    for kind, names in KvmdbgMagics.magics.items():
        for name in names:
            manager.magics[kind].pop(name, None)
    magics.live.close()
    configurables: list[Any] = ipython.configurables
    configurables.remove(magics)
    ipython.Completer.custom_matchers.remove(magics.matcher)
    if magics.inspection is not None:
        magics.inspection.remove()
    display.unregister(ipython, magics.session)
