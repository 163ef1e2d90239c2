"""Ctrl-C while a guest runs: noticed at once, raised only where the machine is whole.

Python runs signal handlers between any two bytecodes, also in the middle of pushing an exception
frame. ``HeldSigint`` takes SIGINT's handler away for the length of a run, notes the signal, and
calls the real handler afterwards. Must not know: which engine runs.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # without enums, which cost steps
import threading
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any


class HeldSigint:
    """Hold SIGINT back inside ``with``; ``seen`` tells that one came.

    On leaving, the handler that was there before gets the signal: normally KeyboardInterrupt rises
    then. Outside the main thread, where Python never delivers signals, nothing is done.
    """

    __slots__ = ("_around", "_frame", "_previous", "seen")

    def __init__(self) -> None:
        self.seen = False
        self._frame: FrameType | None = None
        self._previous: Any = None
        self._around: HeldSigint | None = None

    def _note(self, _signal: int, frame: FrameType | None) -> None:
        self.seen = True
        self._frame = frame

    def __enter__(self) -> HeldSigint:
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                signal.signal(signal.SIGINT, self._note)
                self._previous, self._around = previous, _holding[0]
                _holding[0] = self
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            _holding[0] = self._around
            signal.signal(signal.SIGINT, self._previous)
            if self.seen:
                self._previous(signal.SIGINT, self._frame)


_holding: list[HeldSigint | None] = [None]
"""The one whose handler is SIGINT's now."""


def held_sigint() -> AbstractContextManager[HeldSigint]:
    """Hold SIGINT for a run; if the caller holds it already, its holder is the one to look at.

    Two holders would miss a SIGINT that came between the caller's last look and ours.
    """
    holder = _holding[0]
    if holder is not None and threading.current_thread() is threading.main_thread():
        return nullcontext(holder)
    return HeldSigint()
