"""Jupyter's stop button for a guest that a panel's click lets run, while no cell is executed.

ipykernel ignores SIGINT between cells; a guest that runs in another thread would not hear of it.
Must not know: who let the guest run.
"""

from __future__ import annotations

import asyncio
import signal
from types import FrameType
from typing import Any, Final

from .session import Session

AFTER: Final = 0.1
"""Seconds until the kernel has put its own handler back after the cell that loads us."""


class StopButton:
    """Stops the session's VM when SIGINT comes between two cells. Made while a cell is executed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._before: Any = None
        self._closed = False
        try:
            asyncio.get_running_loop().call_later(AFTER, self._install)
        except RuntimeError:
            return  # no event loop: no panel either

    def close(self) -> None:
        """As it was. A later cell puts back what the kernel has kept."""
        self._closed = True

    def _install(self) -> None:
        if not self._closed:
            self._before = signal.signal(signal.SIGINT, self._pressed)

    def _pressed(self, number: int, frame: FrameType | None) -> None:
        vm = self._session.vm
        if vm is not None and not self._closed:
            vm.request_stop()
        elif callable(self._before):
            self._before(number, frame)
