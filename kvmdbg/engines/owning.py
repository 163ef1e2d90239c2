"""The thread rule of an engine: one owner at a time, nobody after it was closed.

Must not know: what the owner does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn

from ..errors import VmBusy, VmClosed


class OneOwner:
    """For an engine to derive from, which sets both attributes when it is open."""

    _owner: threading.Lock
    _closed: bool

    def _check_open(self) -> None:
        if self._closed:
            raise VmClosed("this VM was closed; make a new one with Vm() or %vm new")

    def _refuse(self) -> NoReturn:
        self._check_open()
        raise VmBusy("the VM is running in another thread; stop it first")

    def _owned(self) -> Owned:
        return Owned(self._owner, self._refuse, self._closed)


class Owned:
    """The engine is this thread's inside ``with``.

    Refused instead of waited for: Unicorn aborts the process when two threads meet in it, and the
    kernel would let the second wait until the guest exits.
    """

    __slots__ = ("_closed", "_owner", "_refuse")

    def __init__(self, owner: threading.Lock, refuse: Callable[[], NoReturn], closed: bool) -> None:
        self._owner, self._refuse, self._closed = owner, refuse, closed

    def __enter__(self) -> None:
        if self._closed or not self._owner.acquire(False):
            self._refuse()

    def __exit__(self, *_: object) -> None:
        self._owner.release()
