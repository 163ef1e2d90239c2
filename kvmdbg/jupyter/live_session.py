"""The live side of a shell: one hub for its VM, the widgets' line, the panel's comms, the events.

Must not know: what a view shows, or what a message says.
"""

from __future__ import annotations

import _thread
import atexit
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .live.comms import Targets
from .live.hub import Hub
from .running_note import RunningNote
from .session import Session
from .stop_button import StopButton

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .widgets.views import Line, LiveView

_AGAIN: Final = 0.05
"""Seconds after which a stop that came before the cell is pressed again, now in the cell."""


class LiveSession:
    """What keeps the views of one shell up to date."""

    def __init__(self, shell: InteractiveShell, session: Session) -> None:
        self._session = session
        self.hub = Hub(lambda: session.vm)
        self._line: Line | None = None
        self._note = RunningNote(session)
        self._targets: Targets | None = None
        self._button: StopButton | None = None
        self._events: Any = shell.events
        self._handlers: dict[str, Callable[..., None]] = {
            "pre_run_cell": lambda *_: self._before_cell(),
            "post_run_cell": lambda *_: self._after_cell(),
        }
        for name, handler in self._handlers.items():
            self._events.register(name, handler)
        atexit.register(self.hub.close)  # no thread of ours may outlive Python
        comms = getattr(getattr(shell, "kernel", None), "comm_manager", None)
        if comms is not None:
            self._targets = Targets(comms, self.hub)
            self._button = StopButton(session)

    def view(self, kind: str) -> LiveView:
        """A new view of the session's VM: ``machine``, ``timeline`` or ``dr``."""
        from .widgets.views import KINDS, Line

        if self._line is None or not self._line.alive:
            self._line = Line(self.hub)
        self.hub.refresh()
        return KINDS[kind](self._line)

    def close(self) -> None:
        """Undo all of it."""
        atexit.unregister(self.hub.close)
        for name, handler in self._handlers.items():
            self._events.unregister(name, handler)
        for part in (self._targets, self._button, self._line, self.hub):
            if part is not None:
                part.close()

    def _before_cell(self) -> None:
        try:
            self._note.begin()
        except KeyboardInterrupt:  # IPython would say so, and then run the cell all the same
            threading.Timer(_AGAIN, _thread.interrupt_main).start()

    def _after_cell(self) -> None:
        self._note.end()
        vm = self._session.vm
        if vm is not None:
            vm.recover()
        self.hub.refresh()
