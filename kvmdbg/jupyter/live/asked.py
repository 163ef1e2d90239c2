"""A message from a page, read with distrust: each field has a type and a range, or it is refused.

Pages are not to be trusted: a notebook may come from anywhere, and an old page may still be open.
Must not know: what is done with a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ...errors import BadInput

VERSION: Final = 1
MOST_TEXT: Final = 500
"""Characters of one field."""

MOST_ID: Final = 1 << 53


class Sender(NamedTuple):
    """Whom an answer is for, as far as the message tells."""

    view: str
    id: int

    @classmethod
    def of(cls, message: object) -> Sender:
        """Of any message, also one that is refused."""
        fields: Mapping[str, Any] = message if isinstance(message, dict) else {}
        view, number = fields.get("view"), fields.get("id")
        known = isinstance(view, str) and len(view) <= MOST_TEXT
        counted = isinstance(number, int) and 0 <= number <= MOST_ID
        return cls(str(view) if known else "", int(number) if counted and number else 0)


class Asked:
    """One message: its ``op`` and its fields. BadInput for anything odd, such as an old page."""

    def __init__(self, message: object) -> None:
        if not isinstance(message, dict):
            raise BadInput("a message is a JSON object")
        self._fields: Mapping[str, Any] = message
        version = message.get("v")
        if version != VERSION:
            raise BadInput(
                f"this page speaks version {str(version)[:20]} of kvmdbg's messages and the kernel "
                f"{VERSION}: reload the page"
            )
        self.view = self.text("view", "")
        self.op = self.text("op", "")

    @property
    def stops(self) -> bool:
        """Whether it asks for the guest to be stopped."""
        return self._fields.get("action") == "stop"

    def has(self, name: str) -> bool:
        """Whether a field is there and not null."""
        return self._fields.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """A short text."""
        value = self._fields.get(name, default)
        if not isinstance(value, str) or len(value) > MOST_TEXT:
            raise BadInput(f'"{name}" must be a text of at most {MOST_TEXT} characters')
        return value

    def maybe(self, name: str) -> str | None:
        """A short text, or None if it is not there or empty."""
        return (self.text(name) or None) if self.has(name) else None

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number of a range."""
        value = self._fields.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BadInput(f'"{name}" must be a whole number from {low:,} to {high:,}')
        return value

    def texts(self, name: str) -> list[str]:
        """A list of at most sixteen short texts."""
        value = self._fields.get(name, [])
        if not isinstance(value, list) or len(value) > 16:
            raise BadInput(f'"{name}" must be a list of at most 16 texts')
        if not all(isinstance(each, str) and len(each) <= MOST_TEXT for each in value):
            raise BadInput(f'"{name}" must be a list of texts')
        return value
