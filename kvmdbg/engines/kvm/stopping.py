"""How KVM_RUN is ended from outside: a signal that only it can see.

A guest that never exits holds its thread inside the kernel; only a signal brings it out. Every
thread that runs a guest has ``KICK`` blocked from then on, and KVM_RUN alone unblocks it (that is
KVM_SET_SIGNAL_MASK). So a kick needs no signal handler, works from and for any thread, disturbs no
other system call, and is never lost: one that comes before KVM_RUN stays pending and ends it at
once. ``KICK`` is SIGURG, which by default is ignored: should one ever go astray, nothing happens.

Ctrl-C cannot be made that tight, as its handler is Python's: a SIGINT between the last look and
the system call would be seen only at the next exit. Therefore every run is kicked once in
``_SLICE`` seconds, to look again. Timeouts come by the same way.

Must not know: KVM's structures, or what an exit means.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from typing import Final

KICK: Final = signal.SIGURG
_SLICE: Final = 0.01
_SHORTEST: Final = 0.0005
"""A run that was kicked needs the interpreter itself to leave; do not keep it from it."""

_NO_RUN: Final = None, math.inf
_IDLE_SLICES: Final = 100
"""The watching thread goes to sleep when so many slices in a row saw no run."""


class _ThisThread(threading.local):
    """What the calling thread blocks, with KICK blocked; ``mask`` is what KVM_RUN may block."""

    mask: frozenset[int] = frozenset()

    def __init__(self) -> None:
        self.endless = threading.get_ident(), math.inf
        """A run of this thread without a deadline, for ``Watch.runs``."""
        self.refresh()

    def refresh(self) -> None:
        """The program may have changed its mask."""
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {KICK})
        mask = frozenset(int(number) for number in blocked) - {int(KICK)}
        if mask != self.mask:
            self.mask = mask


this_thread = _ThisThread()


def take_kick() -> bool:
    """Whether this thread was kicked; from now on it was not."""
    return signal.sigtimedwait({KICK}, 0) is not None


class Watch:
    """The runs of this process, and the thread that kicks them now and then."""

    def __init__(self) -> None:
        self.start_over()

    def start_over(self) -> None:
        """A forked child has none of its parent's threads."""
        self.runs: dict[object, tuple[int, float]] = {}
        """Who runs: in which thread, and until when."""
        self.asleep = True
        """A run that finds it so must rouse the watching thread."""
        self.leaving = threading.Lock()
        """Held while a run is kicked."""
        self.kicking = False
        """Who has taken a run out waits until this is over: then its thread may end."""
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def enter(self, run: object, deadline: float) -> None:
        """The calling thread begins a run; it is kicked at ``deadline`` (time.monotonic)."""
        self.runs[run] = threading.get_ident(), deadline
        if self.asleep or deadline < math.inf:
            self.rouse()

    def leave(self, run: object) -> None:
        """The run is over, or was never entered."""
        self.runs.pop(run, None)
        if self.kicking:
            self.await_kick()

    def await_kick(self) -> None:
        """Return when no kick is under way that has seen the runs as they were before."""
        with self.leaving:
            pass

    def kick(self, run: object) -> None:
        """Bring a run out of KVM_RUN, if it is there. From any thread."""
        with self.leaving:
            self.kicking = True
            try:
                thread, _ = self.runs.get(run, _NO_RUN)
                if thread is not None:
                    signal.pthread_kill(thread, KICK)
            finally:
                self.kicking = False

    def rouse(self) -> None:
        """Let the watching thread look at what there is now."""
        with self.leaving:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="kvm watch", daemon=True)
                self._thread.start()
        self._wake.set()

    def _watch(self) -> None:
        idle = 0
        while True:
            if self._wake.wait(self._pause(idle)):
                self._wake.clear()
                self.asleep, idle = False, 0
                continue
            runs = list(self.runs)
            idle = 0 if runs else idle + 1
            for run in runs:
                self.kick(run)

    def _pause(self, idle: int) -> float | None:
        """Seconds until the next kick; None to sleep until somebody runs."""
        self.asleep = idle >= _IDLE_SLICES
        if self.asleep and not self.runs:  # whoever enters now sees that we sleep
            return None
        now = time.monotonic()
        nearest = min((deadline for _, deadline in list(self.runs.values())), default=math.inf)
        return max(_SHORTEST, min(_SLICE, nearest - now))


watch = Watch()
os.register_at_fork(after_in_child=watch.start_over)
