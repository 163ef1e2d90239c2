"""Answers to questions about the past, as frozen values: who wrote this, when was that.

Must not know: how the recording is searched (history), or how an answer is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


class WriterKind(StrEnum):
    """Who it was."""

    INSTRUCTION = "instruction"
    EVENT = "event"
    """The processor, on its way to the handler of an exception or an interrupt."""
    YOU = "you"
    """The user, by a call that changed registers or memory."""
    NOBODY = "nobody"


@dataclass(frozen=True)
class Writer:
    """Who wrote some bytes, or changed a register, last before now.

    ``what`` names it. ``clock`` is the instruction clock in front of the writing instruction, or at
    the event or edit; for ``NOBODY`` where the recording begins. ``pc`` (linear), ``instruction``
    and ``place`` (its nearest label) are those of an instruction. ``old`` and ``new``: bytes in
    memory, or a register's value; None where that is not known.
    """

    what: str
    kind: WriterKind
    clock: int
    old: int | bytes | None = None
    new: int | bytes | None = None
    pc: int | None = None
    instruction: str = ""
    place: str = ""

    @property
    def line(self) -> str:
        """The answer in one sentence."""
        if self.kind is WriterKind.NOBODY:
            return f"{self.what}: nobody since the recording began at clock {self.clock:,}"
        if self.kind is WriterKind.YOU:
            return f"{self.what}: you, at clock {self.clock:,}"
        if self.kind is WriterKind.EVENT:
            event = "not an instruction: an exception or interrupt"
            return f"{self.what}: {event} at clock {self.clock:,}"
        return f"{self.what}: {self.instruction} at {self.place}, clock {self.clock:,}"

    @property
    def values(self) -> str:
        """``05 00 -> 06 00``, ``0x5 -> 0x6``; empty where they are not known."""
        if self.old is None or self.new is None:
            return ""
        return f"{spelt(self.old)} -> {spelt(self.new)}"

    @property
    def hint(self) -> str:
        """How to go there."""
        if self.kind is WriterKind.NOBODY:
            return ""
        return f"%vm goto {self.clock} goes there"

    def __str__(self) -> str:
        return "\n".join(part for part in (self.line, self.values, self.hint) if part)


def spelt(value: int | bytes) -> str:
    """A register's value in hex, or up to 16 bytes.

    >>> spelt(10), spelt(b"ab"), spelt(bytes(20))[-3:]
    ('0xa', '61 62', '...')
    """
    if isinstance(value, int):
        return f"{value:#x}"
    return value[:16].hex(" ") + (" ..." if len(value) > 16 else "")


@dataclass(frozen=True, eq=False)
class Times:
    """When the instruction at ``pc`` (linear; ``place`` with its label) was about to run.

    A sequence of instruction clocks, ascending; :attr:`clocks` is all of them as int64, read-only.
    ``now`` is where the guest stands, ``begin`` and ``end`` are the recording's.
    """

    pc: int
    place: str
    clocks: NDArray[Any]
    now: int
    begin: int
    end: int

    def __len__(self) -> int:
        return len(self.clocks)

    def __getitem__(self, index: int) -> int:
        return int(self.clocks[index])

    def __iter__(self) -> Iterator[int]:
        return iter(self.clocks.tolist())

    @property
    def first(self) -> int | None:
        """The first time; None if there is none."""
        return self[0] if len(self) else None

    @property
    def last(self) -> int | None:
        """The last time; None if there is none."""
        return self[-1] if len(self) else None

    @property
    def before(self) -> int | None:
        """The last time before now; None if there is none."""
        place = int(self.clocks.searchsorted(self.now))
        return self[place - 1] if place else None

    @property
    def after(self) -> int | None:
        """The first time after now; None if there is none."""
        place = int(self.clocks.searchsorted(self.now, side="right"))
        return self[place] if place < len(self) else None

    def __str__(self) -> str:
        often = f"{len(self):,} time{'' if len(self) == 1 else 's'}"
        return f"{self.place}: {often} from clock {self.begin:,} to {self.end:,}"
