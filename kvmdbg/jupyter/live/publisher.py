"""The thread that tells the views: the latest moment always, and at most sixty a second.

It waits its turn with the VM, so that a moment is whole; while a run does not end it tells how far
that has come. A command pays for it with setting a flag. Must not know: what a message says.
"""

from __future__ import annotations

import threading
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Final

from ...debugger.vm import Vm
from ...errors import KvmdbgError, VmBusy, VmClosed
from .progress import PATIENCE, Progress

if TYPE_CHECKING:
    from .hub import Hub

FRAME: Final = 1 / 60
"""Seconds between two snapshots."""

WAIT: Final = 0.1
"""Seconds for which a turn is waited for before the run's progress is told."""


def ready_after(ready: float, began: float) -> float:
    """When a snapshot may begin, in seconds, after one that was ready and began then.

    At most sixty a second and one more: one that came late does not delay the next, so that a guest
    that stops sixty times a second, more or less evenly, is told of at once.

    >>> round(ready_after(1.0, 1.01) - 1.0, 4)
    0.0167
    """
    return max(ready, began - FRAME) + FRAME


class Publisher:
    """One thread for one hub; it sleeps until something is due."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._due = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin, if it has not begun."""
        if self._thread is None:
            self._stopping = False
            self._thread = threading.Thread(target=self._work, name="kvmdbg-views", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End, and wait until it has."""
        thread, self._thread = self._thread, None
        self._stopping = True
        self._due.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(2)

    def due(self) -> None:
        """Something may have changed, or is about to."""
        if not self._due.is_set():
            self._due.set()

    def _work(self) -> None:
        ready = 0.0
        while not self._stopping:
            self._due.wait()
            began = perf_counter()
            self._due.clear()
            try:
                self._publish(self._hub.vm)
            except KvmdbgError:
                continue  # the VM went away in between: what comes next says so
            except Exception as error:  # a bug of ours must not leave the views blind for ever
                self._hub.tell({"op": "note", "says": f"a bug in kvmdbg: {error!r}"[:200]})
            ready = ready_after(ready, began)
            now = perf_counter()
            sleep(max(ready - now, min(now - began, FRAME)))  # half of the time is the guest's

    def _publish(self, vm: Vm | None) -> None:
        if vm is None:
            messages = self._hub.snapshot(None)
        else:
            try:
                messages = self._moment(vm)
            except VmClosed:
                says = "this VM was closed: run the cell again, or %vm new"
                messages = [({"op": "gone", "says": says}, [])]
        for message, buffers in messages:
            self._hub.tell(message, buffers)

    def _moment(self, vm: Vm) -> list[tuple[dict[str, object], list[bytes]]]:
        """What is so when the command that is under way has ended."""
        progress = Progress(vm)
        while self._hub.vm is vm and not self._stopping:
            try:
                with vm.turn(WAIT, looking=True):
                    self._due.clear()  # of this very turn
                    if self._hub.vm is vm:
                        return self._hub.snapshot(vm)
                    self._due.set()  # another VM took the place meanwhile
            except VmBusy:
                if progress.seconds >= PATIENCE:
                    self._hub.tell(progress.look())
        return []
