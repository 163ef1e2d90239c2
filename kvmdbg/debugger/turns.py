"""Threads take turns with one VM, and are told when somebody's turn begins.

A cell's commands, a click in a panel and the thread that looks after the views come from different
threads. Who comes while another has the VM waits in line for a moment, first come first served, and
is then refused: a guest may run for hours. Must not know: what is done in a turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

PATIENCE: Final = 0.25
"""Seconds until somebody who waits is refused."""


class Turns:
    """A lock that is fair, that its owner may take again, and that others may listen to."""

    def __init__(self) -> None:
        self._line = threading.Lock()
        """Held by the one who is next; without it, who lets go would at once take again."""
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self.listeners: list[Callable[[], None]] = []
        """Called in the owner's thread when a turn begins; they must be quick and never raise."""

    @property
    def taken(self) -> bool:
        """Whether it is another thread's turn."""
        return self._owner not in (None, threading.get_ident())

    def take(self, patience: float = PATIENCE) -> bool:
        """Begin a turn; False if somebody else's did not end within ``patience`` seconds."""
        me = threading.get_ident()
        if self._owner != me and not self._wait(patience):
            return False
        self._owner = me
        self._depth += 1
        if self._depth == 1:
            for listener in self.listeners:
                listener()
        return True

    def _wait(self, patience: float) -> bool:
        end = monotonic() + patience
        if not self._line.acquire(timeout=patience):
            return False
        try:
            return self._lock.acquire(timeout=max(0.0, end - monotonic()))
        finally:
            self._line.release()

    def give_back(self) -> None:
        """End a turn."""
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._lock.release()
