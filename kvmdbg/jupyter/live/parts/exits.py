"""The exits for a page: one byte each, which kinds there are, and their clocks.

After going back, the exits of the recorded future stand behind those up to the present, so that a
page still shows them. Must not know: who asks, how a message travels, or how a lane is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ....debugger.vm import Vm
from ....engines import Capability
from ....errors import BadInput
from ....exits import ExitReason
from ....history.lanes import CAUSES
from ....history.timeline import Row, Timeline
from ....views.debugregs import dr6_words, dr7_words
from ....views.exits import exit_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..wishes import Wishes

COLUMNS: Final = {"code": 1, "clock": 8}
"""What a page may ask for, in bytes an exit: kinds (uint8) and instruction clocks (float64)."""

OWN: Final = "guest's own"
"""The lane of debug exits that the host gave back to the guest."""

TOGETHER: Final = 4096
"""So many new rows go to the pages with their clocks; of more, a page asks for them."""

_MOST: Final = 254
"""The last number of a kind; it means all that came too late to get its own."""

_PIECE: Final = 1 << 16
"""Rows that are looked through for new kinds at a time: sorting fewer is cheaper."""

Message = tuple[dict[str, Any], bytes]


def part(vm: Vm, _: Wishes) -> dict[str, Any]:
    """How many exits there are, how many of them lie before the present, and what is known of them.

    Of the exits before ``told_from`` nobody knows whether the guest got them back.
    """
    present = _Present.of(vm)
    told = present.live.told_from
    if present.later.told_from > present.skipped:
        told = present.here + present.later.told_from - present.skipped
    clock = Capability.INSTRUCTION_CLOCK in vm.vcpu.capabilities
    return {"total": present.total, "here": present.here, "has_clock": clock, "told_from": told}


class _Present(NamedTuple):
    """The exits up to now, and those of the recorded future, of which the first are skipped."""

    live: Timeline
    here: int
    later: Timeline
    skipped: int

    @classmethod
    def of(cls, vm: Vm) -> _Present:
        later, skipped = vm.ahead
        return cls(vm.timeline, len(vm.timeline), later, skipped)

    @property
    def total(self) -> int:
        return self.here + len(self.later) - self.skipped

    def column(self, name: str, first: int) -> NDArray[Any]:
        """One column from a row on: a copy, so that the timeline may go on growing."""
        import numpy as np

        live = self.live.column(name)[first : self.here]
        later = self.later.column(name)[self.skipped + max(0, first - self.here) :]
        columns = [np.frombuffer(piece, piece.typecode) for piece in (live, later)]
        return np.concatenate(columns) if len(later) else columns[0]

    def given_back(self, first: int) -> NDArray[np.int64]:
        """The places, counted from a row on, of exits that the guest got back."""
        import numpy as np

        live = np.array(self.live.given_back, np.int64)
        later = np.array(self.later.given_back, np.int64) - self.skipped
        both = np.concatenate([live[live < self.here], later[later >= 0] + self.here]) - first
        return both[both >= 0]

    def row(self, index: int) -> Row:
        if index < self.here:
            return self.live[index]
        return self.later[index - self.here + self.skipped]._replace(index=index)

    def is_given_back(self, index: int) -> bool:
        return bool((self.given_back(index) == 0).any())


# Kinds


class Kinds:
    """The kinds of exits that there were, each with a number; at most 255.

    A kind is all that a page shows without asking: reason, vector, causes in DR6, and whether the
    guest got the exception back.
    """

    def __init__(self) -> None:
        import numpy as np

        self.table: list[dict[str, Any]] = []
        """``lanes`` and ``words`` of each kind; it only grows."""
        self._numbers = np.zeros(1 << 22, np.uint8)  # by key: 0 is unknown, else number + 1

    def of(self, present: _Present, first: int) -> NDArray[np.uint8]:
        """The kinds of the rows from ``first`` on."""
        import numpy as np

        keys = _keys(present, first)
        for start in range(0, len(keys), _PIECE):
            piece = keys[start : start + _PIECE]
            for key in np.unique(piece[self._numbers[piece] == 0]).tolist():
                self._add(key)
        return self._numbers[keys] - np.uint8(1)

    def _add(self, key: int) -> None:
        number = min(len(self.table), _MOST)
        if number == len(self.table):
            kind = _kind(key) if number < _MOST else {"lanes": ["other"], "words": "other"}
            self.table.append(kind)
        self._numbers[key] = number + 1


def _keys(present: _Present, first: int) -> NDArray[np.uint32]:
    """22 bits a row: reason (5), vector + 1 (9), given back (1), DR6's BT BS BD B3-B0 (7)."""
    import numpy as np

    dr6 = present.column("dr6", first)
    keys = (dr6 & np.uint64(0xF) | dr6 >> np.uint64(9) & np.uint64(0x70)).astype(np.uint32)
    vector = present.column("exception", first) + np.int16(1) & np.int16(0x1FF)
    keys |= vector.astype(np.uint32) << np.uint32(8)
    reason = present.column("reason", first) & np.uint8(0x1F)
    keys |= reason.astype(np.uint32) << np.uint32(17)
    keys[present.given_back(first)] |= np.uint32(1 << 7)
    return keys


def _kind(key: int) -> dict[str, Any]:
    """Lanes and words of one key."""
    dr6 = key & 0xF | (key & 0x70) << 9
    row = Row(0, ExitReason(key >> 17), (key >> 8 & 0x1FF) - 1, 0, dr6, 0, -1, 0.0)
    own = bool(key >> 7 & 1)
    return {"lanes": lanes_of(row, own), "words": words_of(row, own)}


def lanes_of(row: Row, own: bool) -> list[str]:
    """The lanes of an exit: its causes if it is a debug exit, else its reason.

    >>> lanes_of(Row(0, ExitReason.DEBUG, 1, 0x8000, 0xFFFF4FF2, 0, 5, 0.0), False)
    ['DR1', 'step']
    """
    if row.reason is not ExitReason.DEBUG:
        return [row.reason.name]
    found = [n for n, lane in CAUSES.items() if lane.matches(row.reason, row.exception, row.dr6)]
    return [*(found or ["DEBUG other"]), *([OWN] if own else [])]


def words_of(row: Row, own: bool) -> str:
    """An exit shortly, and whose it was."""
    return f"{exit_words(row)}, the guest's own" if own else exit_words(row)


# Columns


class ExitColumns:
    """What the pages have of one VM's exits, and what they lack.

    Within an epoch rows are only added.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._start_over()

    def _start_over(self) -> None:
        """What was sent is void."""
        self.epoch += 1
        self._kinds = Kinds()
        self._code, self._clock, self._time = bytearray(), bytearray(), bytearray()
        self._has_later = False
        self._sent = 0

    def __len__(self) -> int:
        return len(self._code)

    def update(self, vm: Vm) -> tuple[int, list[Message]]:
        """The epoch, and what the pages do not have yet: kinds, and of a few rows also clocks."""
        self._look(vm)
        first, self._sent = self._sent, len(self)
        if first == self._sent:
            return self.epoch, []
        names = ("code", "clock") if self._sent - first <= TOGETHER else ("code",)
        return self.epoch, [self._message(name, first) for name in names]

    def rows(self, vm: Vm, epoch: object, column: object, first: object) -> list[Message]:
        """One column from a row on, for a page that asks. BadInput for what is not there."""
        self._look(vm)
        self.check(epoch)
        if not isinstance(column, str) or column not in COLUMNS:
            raise BadInput(f"exits have no column {column!r}; choose {' or '.join(COLUMNS)}")
        return [self._message(column, _whole(first, len(self) + 1))]

    def _message(self, name: str, first: int) -> Message:
        size = COLUMNS[name]
        column = self._code if name == "code" else self._clock
        said = {
            "op": "exits",
            "epoch": self.epoch,
            "column": name,
            "from": first,
            "count": len(self) - first,
            "total": len(self),
            "codes": list(self._kinds.table),
        }
        return said, bytes(column[first * size :])

    # What is new

    def _look(self, vm: Vm) -> None:
        present = _Present.of(vm)
        same = self._same_rows(present)
        if not self._take(present, same):
            self._start_over()
            self._take(present, 0)
        self._has_later = present.total > present.here

    def _same_rows(self, present: _Present) -> int:
        """So many rows need not be looked at again: two rows never have the same host time."""
        import numpy as np

        size, had = min(len(self), present.total), np.frombuffer(self._time)
        grown = not self._has_later and present.total == present.here >= len(self)
        if grown and size and present.live.column("host_time")[size - 1] == had[-1]:
            return size - 1  # that the guest gets the last one back may be news
        differs = np.flatnonzero(present.column("host_time", 0)[:size] != had[:size])
        return int(differs[0]) if len(differs) else size

    def _take(self, present: _Present, first: int) -> bool:
        """The rows from ``first`` on; False if those that are there already were others."""
        import numpy as np

        codes = self._kinds.of(present, first).tobytes()
        clocks = present.column("clock", first).astype(np.float64).tobytes()
        had = len(self) - first
        if codes[:had] != self._code[first:] or clocks[: 8 * had] != self._clock[8 * first :]:
            return False
        self._code[first:] = codes
        self._clock[8 * first :] = clocks
        self._time[8 * first :] = present.column("host_time", first).tobytes()
        return True

    # One exit

    def _here(self, vm: Vm, epoch: object) -> _Present:
        self._look(vm)
        self.check(epoch)
        return _Present.of(vm)

    def check(self, epoch: object) -> None:
        """BadInput if a page speaks of exits that are no more."""
        if epoch != self.epoch:
            raise BadInput("the exits are others now: look again")

    def clock_of(self, vm: Vm, epoch: object, index: object) -> int:
        """Where to go for an exit, in instructions. BadInput if there is none, or no clock."""
        present = self._here(vm, epoch)
        clock = present.row(_whole(index, present.total)).clock
        if clock < 0:
            raise BadInput("this engine counts no instructions, so there is no way to an exit")
        return clock

    def describe(self, vm: Vm, epoch: object, index: object) -> dict[str, Any]:
        """Everything about one exit in words; ``clock`` is None where there is none."""
        present = self._here(vm, epoch)
        number = _whole(index, present.total)
        row, own = present.row(number), present.is_given_back(number)
        label, clock = vm.label(row.pc), None if row.clock < 0 else row.clock
        words = words_of(row, own)
        when = "" if clock is None else f", clock {clock:,}"
        return {
            "exit": number,
            "words": words,
            "says": f"exit {number:,}: {words} at {label}{when}",
            "lanes": lanes_of(row, own),
            "pc": {"address": f"{row.pc:#x}", "label": label},
            "clock": clock,
            "facts": _facts(row, label, number >= present.here),
        }


def _facts(row: Row, label: str, later: bool) -> list[list[str]]:
    """Name and value, one line each."""
    place = f"{row.pc:#x}" if label == f"{row.pc:#x}" else f"{label} ({row.pc:#x})"
    facts = [["at", place]]
    if row.reason is ExitReason.DEBUG and row.dr6:
        facts.append(["DR6", f"{row.dr6:#x}: {dr6_words(row.dr6)}"])
        facts.append(["DR7", f"{row.dr7:#x}: {dr7_words(row.dr7)}"])
    if row.clock >= 0:
        facts.append(["clock", f"{row.clock:,}"])
    facts.append(["host time", f"{row.host_time * 1000:,.3f} ms"])
    if later:
        facts.append(["", "in the recorded future"])
    return facts


def _whole(value: object, end: int) -> int:
    """A row's number below ``end``, as a page sent it."""
    if type(value) is not int or not 0 <= value < end:
        raise BadInput(f"there is no exit {str(value)[:20]}; there are {max(0, end):,}")
    return value
