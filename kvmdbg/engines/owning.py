"""The thread rule of an engine: one owner at a time, nobody after it was closed.

Must not know: what the owner does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from ..errors import VmBusy, VmClosed

PATIENCE: Final = 0.05
"""Seconds for which another thread's short call is waited for; a run takes longer."""


class OneOwner:
    """For an engine to derive from, which sets both attributes when it is open."""

    _owner: threading.Lock
    _closed: bool
    _running = False
    """Whether the owner lets the guest run, which is not waited for."""

    def _check_open(self) -> None:
        if self._closed:
            raise VmClosed("this VM was closed; make a new one with Vm() or %vm new")

    def _wait(self) -> None:
        """Own the engine when another thread's short call is over; VmBusy if it is a long one."""
        self._check_open()
        if self._running or not self._owner.acquire(timeout=PATIENCE):
            raise VmBusy("the VM is running in another thread; stop it first")
        if self._closed:
            self._owner.release()
            self._check_open()

    def _owned(self) -> Owned:
        return Owned(self._owner, self._wait, self._closed)


class Owned:
    """The engine is this thread's inside ``with``.

    A run is not waited for but refused: Unicorn aborts the process when two threads meet in it, and
    the kernel would let the second wait until the guest exits.
    """

    __slots__ = ("_closed", "_owner", "_wait")

    def __init__(self, owner: threading.Lock, wait: Callable[[], None], closed: bool) -> None:
        self._owner, self._wait, self._closed = owner, wait, closed

    def __enter__(self) -> None:
        if self._closed or not self._owner.acquire(False):
            self._wait()

    def __exit__(self, *_: object) -> None:
        self._owner.release()
