"""Something that was found, waiting to be compared: ``check(vm).reg("ax") == 0x1234``.

Must not know: where the value came from, or what becomes of the Item.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import BadInput, KvmdbgError
from .results import Item
from .sealing import Hidden, Sealed

Record = Callable[[str, bool, str], Item]
"""Title, passed, message: the Item, written down where it belongs."""

_SYMBOLS = {operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">="}


class Quantity:
    """One value with a title. Comparing it makes the check; it is no truth value by itself."""

    def __init__(self, title: str, get: Callable[[], Any], record: Record, why_not: str) -> None:
        self._title = title
        self._get = get
        self._record = record
        self._why_not = why_not

    def __eq__(self, expected: object) -> Item:  # type: ignore[override]  # an Item, which is true
        return self._judge(lambda found: same(found, expected), shown(expected))

    def __ne__(self, expected: object) -> Item:  # type: ignore[override]  # as above
        return self._judge(lambda found: not same(found, expected), f"not {shown(expected)}")

    def __lt__(self, expected: int) -> Item:
        return self._order(operator.lt, expected)

    def __le__(self, expected: int) -> Item:
        return self._order(operator.le, expected)

    def __gt__(self, expected: int) -> Item:
        return self._order(operator.gt, expected)

    def __ge__(self, expected: int) -> Item:
        return self._order(operator.ge, expected)

    __hash__ = None  # type: ignore[assignment]  # what compares by making a check is in no set

    def contains(self, part: str | bytes) -> Item:
        """Text or bytes with ``part`` somewhere in them."""
        return self._judge(lambda found: part in found, f"something with {shown(part)} in it")

    def __bool__(self) -> NoReturn:
        raise BadInput(f'"{self._title}" is not compared with anything: write == and what it is')

    def _order(self, compare: Callable[[Any, Any], bool], expected: int) -> Item:
        if isinstance(expected, Hidden | Sealed):
            raise BadInput("a hidden value can only be compared with == or !=")
        expectation = f"{_SYMBOLS[compare]} {shown(expected)}"
        return self._judge(lambda found: compare(found, expected), expectation)

    def _judge(self, holds: Callable[[Any], bool], expectation: str) -> Item:
        if self._why_not:
            return self._record(self._title, False, self._why_not)
        try:
            found = self._get()
            passed = bool(holds(found))
        except (KvmdbgError, TypeError) as error:
            return self._record(self._title, False, f"expected {expectation}; {error}")
        if passed:
            return self._record(self._title, True, f"{self._title} is as expected")
        message = f"expected {expectation}, got {shown(found)}"
        return self._record(self._title, False, message)


def same(found: object, expected: object) -> bool:
    """Whether two values are the same; bytes and a number are, if they are so in little-endian.

    >>> same(b"\\x34\\x12", 0x1234), same(5, 5.0), same(None, 0)
    (True, True, False)
    """
    if isinstance(expected, Hidden | Sealed):
        return any(expected.matches(one) for one in _readings(found))
    if isinstance(found, bytes) and isinstance(expected, int):
        return int.from_bytes(found, "little") == expected & ((1 << 8 * len(found)) - 1)
    return bool(found == expected)


def _readings(found: object) -> list[object]:
    """A value, and what else it may be taken for."""
    return [found, int.from_bytes(found, "little")] if isinstance(found, bytes) else [found]


def shown(value: object) -> str:
    """A value in a message; one that is hidden stays so.

    >>> shown(10), shown(b"ab"), shown(Hidden(5)), shown(3)
    ('0xa (10)', '61 62', 'something else', '3')
    """
    if isinstance(value, Hidden | Sealed):
        return "something else"
    if isinstance(value, bool) or not isinstance(value, int | bytes):
        text = repr(value)
        return text if len(text) <= 80 else text[:77] + "..."
    if isinstance(value, bytes):
        return value[:16].hex(" ") + (" ..." if len(value) > 16 else "")
    return str(value) if -10 < value < 10 else f"{value:#x} ({value:,})"
