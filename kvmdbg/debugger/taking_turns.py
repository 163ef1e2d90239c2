"""``Vm``'s side of taking turns: who looks at a guest from another thread sees whole moments only.

Must not know: how a turn is waited for (``turns``), or what a Vm does in it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, TypeVar, cast

from .commands import Commands
from .turns import PATIENCE

F = TypeVar("F", bound=Callable[..., Any])


def in_turn(method: F) -> F:
    """A method that changes the VM in several calls: nobody else's comes in between."""

    @wraps(method)
    def whole(self: TakesTurns, *args: Any, **kwargs: Any) -> Any:
        with self.turn():
            return method(self, *args, **kwargs)

    return cast(F, whole)


class TakesTurns:
    """The part of ``Vm`` that several threads may use."""

    _commands: Commands

    def _check(self) -> None:
        raise NotImplementedError

    def turn(
        self, patience: float = PATIENCE, looking: bool = False
    ) -> AbstractContextManager[None]:
        """``with vm.turn():`` no other thread's calls come in between.

        Raises VmBusy if another thread keeps the VM for longer than ``patience`` seconds.
        ``looking`` promises to change nothing and to be quick: other threads wait for it.
        """
        return self._commands.occupied(patience, looking)

    def listen(self, heard: Callable[[], None]) -> Callable[[], None]:
        """Call ``heard`` whenever something begins that may change the guest; gives what ends that.

        It is called in the thread that changes the guest, before the change, must be quick and must
        not raise. Who then takes a :meth:`turn` sees what came of it.
        """
        listeners = self._commands.turns.listeners
        listeners.append(heard)
        return lambda: listeners.remove(heard) if heard in listeners else None

    def recover(self) -> None:
        """Nothing of this thread's is under way: give back what Ctrl-C may have left taken."""
        self._commands.turns.recover()

    @property
    def turns_begun(self) -> int:
        """How many turns have begun: while it is busy and this stays, one command is under way."""
        return self._commands.turns.begun

    @property
    def busy(self) -> bool:
        """Whether another thread has the VM, for instance because the guest is running there."""
        return self._commands.busy
