"""What the views that are there want to see, beyond the moment itself.

Must not know: who the views are, or how a wish is granted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

MOST_BYTES: Final = 4096
"""The longest memory window, in bytes."""

MOST_WINDOWS: Final = 16


class Window(NamedTuple):
    """A piece of guest memory that somebody looks at: an expression, and a length in bytes."""

    where: str
    length: int


@dataclass(frozen=True)
class Wishes:
    """The union of all views' wishes: names of parts, memory windows by name."""

    parts: frozenset[str] = frozenset()
    windows: Mapping[str, Window] = field(default_factory=lambda: MappingProxyType({}))
