"""A port bus that remembers what the guest wrote, so that its devices can be what they were then.

Devices are rewound by clearing them and giving them the same bytes again. Must not know: what the
devices are, or where the moments come from that they are brought to.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from typing import NamedTuple

from ..exits import IoExit
from ..machine.ports import PortBus, TextConsole


class Written(NamedTuple):
    """Port writes in columns: after how many journal entries, port, size in bytes, value."""

    places: array[int]
    ports: array[int]
    sizes: array[int]
    values: array[int]


class Tape(PortBus):
    """``PortBus`` whose writes are kept; ``place`` says where in the journal the guest is."""

    def __init__(self, console: TextConsole) -> None:
        super().__init__()
        self._console = console
        self.place: Callable[[], int] | None = None
        """Nothing is kept without it."""
        self.clear()

    def clear(self) -> None:
        """The guest begins anew."""
        self._written = Written(array("Q"), array("H"), array("B"), array("L"))

    def handle(self, exit: IoExit) -> bytes | None:
        """See PortBus."""
        if self.place is not None and exit.direction == "out":
            place = self.place()
            for start in range(0, len(exit.data), exit.size):
                item = exit.data[start : start + exit.size]
                row = (place, exit.port, exit.size, int.from_bytes(item, "little"))
                for column, value in zip(self._written, row, strict=True):
                    column.append(value)
        return super().handle(exit)

    @property
    def written(self) -> Written:
        """All writes up to now, not copied."""
        return self._written

    def adopt(self, written: Written) -> None:
        """Take writes over from elsewhere; :meth:`rewind` brings the devices to them."""
        self._written = written

    def rewind(self, place: int) -> Written:
        """Bring the devices to a moment; the writes behind it are no more, and given back."""
        size = bisect_right(self._written.places, place)
        later = Written(*(column[size:] for column in self._written))
        for column in self._written:
            del column[size:]
        self._console.clear()
        for _, port, width, value in zip(*self._written, strict=True):
            super().handle(IoExit("out", port, width, value.to_bytes(width, "little")))
        self._console.take()
        return later

    def put(self, place: int, later: Written) -> None:
        """Writes that were given back are the tape's end again, behind ``place``."""
        size = bisect_right(self._written.places, place)
        for column, values in zip(self._written, later, strict=True):
            del column[size:]
            column.extend(values)
