"""A lab's numbers per student: drawn from a seed, alike on every machine and in any order of cells.

Must not know: whose seed it is, or what the numbers are for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TypeVar

from ..errors import BadInput, UnknownName

T = TypeVar("T")
_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class Variant:
    """Numbers drawn by name: the same name gives the same number, whatever else was drawn.

    >>> one = variant("ada")
    >>> one.number("limit", 10, 99) == variant("ada").number("limit", 10, 99)
    True
    >>> one.fill("mov cx, {{limit}}") == f"mov cx, {one.number('limit', 10, 99)}"
    True
    """

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.drawn: dict[str, object] = {}
        """What was drawn so far, by name."""

    def __repr__(self) -> str:
        return f"<Variant of {self.seed!r}: {', '.join(self.drawn) or 'nothing drawn yet'}>"

    def number(self, name: str, low: int, high: int) -> int:
        """A number from ``low`` to ``high``, both included."""
        if low > high:
            raise BadInput(f'"{name}": there is no number from {low} to {high}')
        return self._keep(name, low + self._draw(name, high - low + 1))

    def address(self, name: str, low: int, high: int, align: int = 16) -> int:
        """A multiple of ``align`` from ``low`` to ``high``."""
        first, last = -(-low // align), high // align
        if align < 1 or first > last:
            raise BadInput(f'"{name}": no multiple of {align} from {low:#x} to {high:#x}')
        return self._keep(name, (first + self._draw(name, last - first + 1)) * align)

    def choice(self, name: str, values: Sequence[T]) -> T:
        """One of some values."""
        if not values:
            raise BadInput(f'"{name}": there is nothing to choose from')
        return self._keep(name, values[self._draw(name, len(values))])

    def numbers(self, name: str, count: int, low: int, high: int) -> list[int]:
        """Different numbers from ``low`` to ``high``, in an order of their own."""
        if not 0 <= count <= high - low + 1 <= 1 << 16:
            raise BadInput(f'"{name}": there are no {count} different numbers from {low} to {high}')
        left = list(range(low, high + 1))
        picked = [left.pop(self._draw(f"{name}[{n}]", len(left))) for n in range(count)]
        return self._keep(name, picked)

    def fill(self, text: str) -> str:
        """A program text with each ``{{name}}`` replaced by what was drawn under that name.

        A list becomes its members with commas. UnknownName for a name that was not drawn.
        """
        return _PLACE.sub(lambda found: self._spelt(found[1]), text)

    def _spelt(self, name: str) -> str:
        if name not in self.drawn:
            raise UnknownName(f'"{{{{{name}}}}}": nothing was drawn under that name')
        value = self.drawn[name]
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    def _draw(self, name: str, below: int) -> int:
        """SHA-256 of seed and name; 256 bits are so many that the remainder is even enough."""
        digest = hashlib.sha256(f"{self.seed}\0{name}".encode()).digest()
        return int.from_bytes(digest) % below

    def _keep(self, name: str, value: T) -> T:
        self.drawn[name] = value
        return value


def variant(seed: str | int) -> Variant:
    """The numbers of one student; ``seed`` is a name or a number."""
    return Variant(str(seed))
