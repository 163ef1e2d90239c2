"""A page that looks at a VM through a hub: it asks, and keeps what it is told.

Must not know: which answers are right.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from kvmdbg.jupyter.live.hub import Hub

SOON = 10.0
"""Seconds within which everything is told."""


class Page:
    """A page that asks, and keeps what it is told."""

    def __init__(self, hub: Hub, name: str = "page") -> None:
        self.hub, self.name = hub, name
        self.told: list[dict[str, Any]] = []
        self.news = threading.Condition()
        self.disconnect = hub.connect(self.hear)
        self.last = 0

    def hear(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        with self.news:
            self.told.append({**message, "buffers": buffers})
            self.news.notify_all()

    def wait(self, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message, told already or soon, of which ``found`` is true."""

        def first() -> dict[str, Any] | None:
            return next((message for message in self.told if found(message)), None)

        with self.news:
            assert self.news.wait_for(first, SOON), f"not among {[m['op'] for m in self.told]}"
            message = first()
        assert message is not None
        return message

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        self.last += 1
        asked = {"v": 1, "op": op, "view": self.name, "id": self.last, **fields}
        self.hub.receive(asked)
        return self.wait(
            lambda m: m["op"] == "answer" and (m["to"], m["id"]) == (self.name, self.last)
        )

    def do(self, action: str, **fields: Any) -> dict[str, Any]:
        return self.ask("do", action=action, **fields)

    def snapshot(self, found: Callable[[dict[str, Any]], bool] = lambda m: True) -> dict[str, Any]:
        """A whole one."""
        return self.wait(lambda m: m["op"] == "snapshot" and "changes" not in m and found(m))

    def changes(self, name: str) -> dict[str, Any]:
        """A snapshot that says only what has changed, among it this field."""
        return self.wait(lambda m: name in m.get("changes", ()))


def at_clock(clock: int) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message.get("clock") == clock
