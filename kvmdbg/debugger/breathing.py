"""Lets other threads run now and then while a guest is entered over and over.

A step gives Python's global lock back for microseconds only. A thread that waits for it (a click on
Stop, or what tells the views) is woken by that, comes too late, and starts waiting anew: this can
go on for seconds. Must not know: why the guest is entered, or who waits.
"""

from __future__ import annotations

import threading
from time import perf_counter, sleep
from typing import Final

EVERY: Final = 0.01
"""Seconds between two pauses."""

PAUSE: Final = 0.0002
"""Seconds: long enough for another processor to wake up, 2 % of the guest's time."""


class Breath:
    """One guest's pauses."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = perf_counter()

    def draw(self) -> None:
        """Pause, if the last time is long ago and there is anybody else."""
        if perf_counter() - self._last < EVERY:
            return
        if threading.active_count() > 1:
            sleep(PAUSE)
        self._last = perf_counter()
