"""A full recording as it grows: stretches of instructions, the oldest given up beyond a budget.

Must not know: engines, or what is asked of a trace.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from ..engines import Executed

if TYPE_CHECKING:
    from .segment import Segment
    from .trace import Trace

BUDGET: Final = 256 * 2**20
"""Bytes of columns: some ten million instructions."""


class TraceLog:
    """The latest instructions, within ``budget`` bytes of columns."""

    def __init__(self, budget: int = BUDGET) -> None:
        self._budget = budget
        self.clear()

    def clear(self) -> None:
        """Nothing was recorded yet."""
        self._segments: deque[Segment] = deque()
        self._bytes = 0

    def add(self, executed: Executed) -> None:
        """One more stretch. What is known from its beginning on was before time was gone back."""
        from .segment import Segment

        segment = Segment(*executed)
        while self._segments and self._segments[-1].end > segment.start:
            self._shorten(segment.start)
        self._segments.append(segment)
        self._bytes += segment.nbytes
        while self._bytes > self._budget and len(self._segments) > 1:
            self._bytes -= self._segments.popleft().nbytes

    def _shorten(self, clock: int) -> None:
        last = self._segments.pop()
        self._bytes -= last.nbytes
        if last.start < clock:
            rest = last.until(clock)
            self._segments.append(rest)
            self._bytes += rest.nbytes

    def trace(self) -> Trace:
        """All that is kept."""
        from .trace import Trace

        return Trace(self._segments)
