"""Ctrl-C while a VM is at work: never before, as a clock alone would on a busy host, nor after.

Must not know: what the VM does.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from kvmdbg import Vm


@contextmanager
def stop_pressed(vm: Vm, after: float = 0.05) -> Iterator[None]:
    """SIGINT, ``after`` seconds into what the VM is made to do inside ``with``."""
    over = threading.Event()

    def press() -> None:
        while not vm.busy and not over.wait(0.001):
            pass
        if not over.wait(after):
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
