"""JupyterLab's panel on the line: two comms, one to tell it things and one on which it asks.

ipykernel hands a page's message to the thread that last sent on the same comm, so what the page
asks comes on a comm that we never send on (docs/live-views.md). Must not know: what is said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from .hub import Hub, Message

PUSH: Final = "kvmdbg"
CONTROL: Final = "kvmdbg.control"


class Comm(Protocol):
    """What ipykernel gives to the function of a comm target."""

    def send(self, data: Any = None, metadata: Any = None, buffers: Any = None) -> None: ...
    def on_msg(self, callback: Callable[[Any], None]) -> None: ...
    def on_close(self, callback: Callable[[Any], None]) -> None: ...


class Comms(Protocol):
    """ipykernel's comm manager."""

    def register_target(self, name: str, opened: Callable[[Comm, Any], None]) -> None: ...
    def unregister_target(self, name: str, opened: Callable[[Comm, Any], None]) -> Any: ...


class Targets:
    """The two comm targets of one kernel."""

    def __init__(self, comms: Comms, hub: Hub) -> None:
        self._comms, self._hub = comms, hub
        comms.register_target(PUSH, self._push)
        comms.register_target(CONTROL, self._control)

    def close(self) -> None:
        """No new panel is let in."""
        self._comms.unregister_target(PUSH, self._push)
        self._comms.unregister_target(CONTROL, self._control)

    def _push(self, comm: Comm, _: Any) -> None:
        def send(message: Message, buffers: list[bytes]) -> None:
            comm.send(message, buffers=buffers)

        disconnect = self._hub.connect(send)
        comm.on_close(lambda _: disconnect())

    def _control(self, comm: Comm, _: Any) -> None:
        comm.on_msg(lambda message: self._hub.receive(message["content"].get("data")))
