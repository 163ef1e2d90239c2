"""Threads take turns with one VM, and are told when somebody's turn begins.

A cell's commands, a click in a panel and the thread that looks after the views come from different
threads. Who comes while another has the VM waits in line for a moment, first come first served, and
is then refused: a guest may run for hours. Must not know: what is done in a turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from .breathing import Breath

PATIENCE: Final = 1.0
"""Seconds until somebody who waits is refused: longer than a click's command should take."""

LOOK: Final = 10.0
"""Seconds that somebody who only looks may need on a host that is busy with other things."""


class Turns:
    """A lock that is fair, that its owner may take again, and that others may listen to."""

    def __init__(self) -> None:
        self._line: Any = threading.RLock()
        """Held by the one who is next; without it, who lets go would at once take again."""
        self._lock: Any = threading.RLock()
        self._owner: int | None = None
        self._depth = 0
        self._looking = False
        self.begun = 0
        """How many turns have begun."""
        self.listeners: list[Callable[[], None]] = []
        """Called in the owner's thread when a turn begins; they must be quick and never raise."""
        self._breath = Breath()

    @property
    def taken(self) -> bool:
        """Whether it is another thread's turn."""
        return self._owner not in (None, threading.get_ident())

    def take(self, patience: float = PATIENCE, looking: bool = False) -> bool:
        """Begin a turn; False if somebody else's did not end within ``patience`` seconds.

        ``looking`` promises that it is short and changes nothing: others wait for its end.
        """
        me = threading.get_ident()
        if self._owner == me:
            self._depth += 1
            return True
        if self._lock._is_owned() or self._line._is_owned():
            self.recover()
        if not self._wait(patience):
            return False
        self._looking = looking
        self.begun += 1
        self._owner, self._depth = me, 1
        for listener in self.listeners:
            listener()
        return True

    def _wait(self, patience: float) -> bool:
        """Stand in line, then wait for the turn itself."""
        if not self._get(self._line, patience):
            return False
        try:
            return self._get(self._lock, patience)
        finally:
            self._line.release()

    def _get(self, lock: Any, patience: float) -> bool:
        """A lock, unless one and the same turn goes on for ``patience`` seconds that is no look."""
        end = monotonic() + LOOK
        while monotonic() < end:
            turn = self.begun
            if lock.acquire(timeout=patience):
                return True
            if self._owner is not None and self.begun == turn and not self._looking:
                return False
        return False

    def recover(self) -> None:
        """This thread is in no turn, whatever it seems: Ctrl-C may come between any two bytecodes.

        A lock that was just got, or not yet given back, would otherwise stay with it for ever.
        """
        if self._owner == threading.get_ident():
            self._owner, self._depth, self._looking = None, 0, False
        for lock in (self._line, self._lock):
            while lock._is_owned():
                lock.release()

    def give_back(self) -> None:
        """End a turn."""
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._looking = False
            self._lock.release()
            self._breath.draw()
