"""A line under a cell while its guest runs long: how far it is, and how to stop it.

It comes after half a second and goes when the run is over. Must not know: how the guest is run.
"""

from __future__ import annotations

import sys
import threading
from time import perf_counter
from typing import Any, Final, Protocol

from .live.progress import PATIENCE, Progress
from .session import Session

EVERY: Final = 0.2
"""Seconds between two looks."""


class Place(Protocol):
    """Where the line stands."""

    def show(self, line: str) -> None: ...
    def erase(self) -> None: ...


class RunningNote:
    """Watches the session's VM from a thread of its own while a cell is executed."""

    def __init__(self, session: Session, place: Place | None = None) -> None:
        self._session = session
        self._place = place
        self._over = threading.Event()

    def begin(self) -> None:
        """A cell begins."""
        self._over.set()
        self._over = over = threading.Event()
        timer = threading.Timer(PATIENCE, self._watch, (over,))
        timer.daemon = True
        timer.start()

    def end(self) -> None:
        """The cell is over."""
        self._over.set()

    def _watch(self, over: threading.Event) -> None:
        while not over.is_set():
            vm = self._session.vm
            if vm is None or not vm.busy:
                over.wait(EVERY)
                continue
            turn, progress = vm.turns_begun, Progress(vm)
            place = self._place or _place()
            while vm.busy and vm.turns_begun == turn and not over.wait(EVERY):
                if progress.seconds >= PATIENCE:
                    place.show(progress.look()["says"])
            place.erase()


def _place() -> Place:
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return Output(shell) if hasattr(shell, "kernel") else Terminal()


class Output:
    """An output of the cell, which a notebook replaces by the next line."""

    def __init__(self, shell: Any) -> None:
        self._publisher = shell.display_pub
        self._id = f"kvmdbg-running-{perf_counter()}"
        self._there = False

    def show(self, line: str) -> None:
        """Show a line, or another one in its place."""
        self._publish({"text/plain": line})

    def erase(self) -> None:
        """An output cannot be taken away, only emptied."""
        if self._there:
            self._publish({"text/plain": "", "text/html": ""})

    def _publish(self, data: dict[str, str]) -> None:
        transient = {"display_id": self._id}
        self._publisher.publish(data=data, metadata={}, transient=transient, update=self._there)
        self._there = True


class Terminal:
    """A line of the terminal, written over."""

    def __init__(self) -> None:
        self._width = 0

    def show(self, line: str) -> None:
        """Write over what stands there."""
        self._write("\r" + line.ljust(self._width))
        self._width = len(line)

    def erase(self) -> None:
        """Leave the line empty."""
        if self._width:
            self._write("\r" + " " * self._width + "\r")

    def _write(self, text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(text)
            sys.stderr.flush()
