"""The debug registers over time, small enough to be told at each stop.

Hits and armed slots come from the timeline's debug exits, counted into at most 400 bins of a power
of two clocks each; the registers' values from the moments at which somebody looked. Only new exits
are read. Must not know: channels, or how lanes are drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from ....exits import ExitReason
from ....views.debugregs import dr6_words, dr7_words
from ....x86.debugreg import DR6_BD, DR6_BS, DR6_BT
from ....x86.registers import DebugRegs
from ....x86.vectors import Vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ....debugger.vm import Vm
    from ....history.timeline import Timeline

BINS: Final = 400
MOST_LOOKS: Final = 200
MOST_CHANGES: Final = 60
_BITS: Final = {f"B{n}": 1 << n for n in range(4)}
CAUSES: Final = {**_BITS, "BD": DR6_BD, "BS": DR6_BS, "BT": DR6_BT}
"""DR6's bits that are counted."""


class Look(NamedTuple):
    """The registers as somebody saw them.

    ``clock`` counts instructions, or exits where there is no instruction clock; ``host`` is DR0-DR3
    and DR7, None where it has none.
    """

    clock: int
    guest: DebugRegs
    host: tuple[int, ...] | None

    @property
    def values(self) -> dict[tuple[str, str], int | None]:
        """By side and register."""
        names = ("DR0", "DR1", "DR2", "DR3", "DR7")
        host = self.host or (0, 0, 0, 0, None)
        guest = (*self.guest.db, self.guest.dr7)
        return {
            **{("guest", name): value for name, value in zip(names, guest, strict=True)},
            ("guest", "DR6"): self.guest.dr6,
            **{("host", name): value for name, value in zip(names, host, strict=True)},
        }

    @property
    def effective(self) -> int:
        """DR7 as it counts from here on."""
        return self.guest.dr7 if self.host is None else self.host[4]


class Hits:
    """Debug exits in bins: how often each cause, and which slots were on."""

    def __init__(self) -> None:
        import numpy as np

        self.shift = 0
        self.counts: NDArray[np.int64] = np.zeros((len(CAUSES), BINS), np.int64)
        self.on: NDArray[np.uint8] = np.zeros(BINS, np.uint8)
        """Slots, a bit each, that were on at any time in the bin."""
        self.last: NDArray[np.int16] = np.full(BINS, -1, np.int16)
        """Slots that were on at its end; -1 for a bin in which nothing is known."""

    def add(self, at: NDArray[np.int64], dr6: NDArray[np.uint64], dr7: NDArray[np.uint64]) -> None:
        """Debug exits in their order, at clocks."""
        import numpy as np

        self._reach(int(at.max()))
        places = at >> self.shift
        for row, bit in enumerate(CAUSES.values()):
            found = places[dr6 & np.uint64(bit) != 0]
            if len(found):
                self.counts[row] += np.bincount(found, minlength=BINS)
        slots = np.frombuffer(_ON, np.uint8)[dr7 & np.uint64(0xFF)]
        np.bitwise_or.at(self.on, places, slots)
        self.last[places] = slots

    def mark(self, clock: int, dr7: int) -> None:
        """Somebody saw DR7 at a clock, after all exits up to then."""
        self._reach(clock)
        place, slots = clock >> self.shift, _ON[dr7 & 0xFF]
        self.on[place] |= slots
        self.last[place] = slots

    def _reach(self, clock: int) -> None:
        while clock >> self.shift >= BINS:
            self._halve()

    def _halve(self) -> None:
        """Each two bins become one."""
        half = BINS // 2
        counts = self.counts.reshape(len(CAUSES), half, 2).sum(axis=2)
        on = self.on.reshape(half, 2)
        last = self.last.reshape(half, 2)
        later = last[:, 1].copy()
        later[later < 0] = last[:, 0][later < 0]
        either = on[:, 0] | on[:, 1]
        self.shift += 1
        self.counts[:], self.on[:], self.last[:] = 0, 0, -1
        self.counts[:, :half], self.on[:half], self.last[:half] = counts, either, later

    def told(self) -> dict[str, Any]:
        """Causes as ``[bin, count]`` pairs, armed slots as ``[first, last]`` bins."""
        import numpy as np

        causes = {}
        for name, row in zip(CAUSES, self.counts, strict=True):
            places = row.nonzero()[0]
            if len(places):
                causes[name] = np.stack((places, row[places]), axis=1).tolist()
        return {"width": 1 << self.shift, "causes": causes, "armed": self._armed()}

    def _armed(self) -> list[list[list[int]]]:
        """For each slot the runs of bins in which it was on; an empty bin is as the one before."""
        import numpy as np

        known = self.last >= 0
        used = known.nonzero()[0]
        if not len(used):
            return [[], [], [], []]
        places = np.arange(used[-1] + 1)
        source = np.maximum.accumulate(np.where(known[: len(places)], places, 0))
        carried = np.maximum(self.last[source], 0)
        state = np.where(known[: len(places)], self.on[: len(places)], carried)
        return [_runs(state >> n & 1) for n in range(4)]


def _slots(enables: int) -> int:
    """L0, G0, ... G3 as one bit for each slot.

    >>> [bin(_slots(enables)) for enables in (0b10, 0b0100_0001, 0b1000_0000)]
    ['0b1', '0b1001', '0b1000']
    """
    return sum(1 << n for n in range(4) if enables >> 2 * n & 3)


_ON: Final = bytes(map(_slots, range(256)))
"""By the low byte of DR7."""


def _runs(bits: NDArray[Any]) -> list[list[int]]:
    """``[first, last]`` of each run of ones."""
    import numpy as np

    edges = np.diff(bits.astype(np.int8), prepend=np.int8(0), append=np.int8(0))
    first, behind = (edges == 1).nonzero()[0], (edges == -1).nonzero()[0]
    return [[int(a), int(b) - 1] for a, b in zip(first, behind, strict=True)]


class History:
    """What is remembered of one VM's debug registers, up to the present."""

    def __init__(self) -> None:
        self._looks: list[Look] = []
        self._changes: list[dict[str, Any]] = []
        self._start_over()

    def _start_over(self) -> None:
        self._rows = 0
        self._stamp = -1.0
        self._hits = Hits()
        self._exits: dict[str, Any] = {}

    def told(self, timeline: Timeline, look: Look) -> dict[str, Any]:
        """What happened up to this moment, which is remembered too."""
        by = "clock" if look.clock >= 0 else "exit"
        if by == "exit":
            look = look._replace(clock=len(timeline))
        void = self._is_void(timeline)
        if void:
            self._start_over()
        news = self._read(timeline, by)
        if void:
            self._look_again(look.clock)
        news |= self._remember(look)
        if news or not self._exits:
            self._exits = self._hits.told()
        return {"by": by, "here": look.clock, **self._exits, "changes": self._changes}

    def _is_void(self, timeline: Timeline) -> bool:
        """Whether exits that were read are in the timeline no more: the guest went back."""
        rows = self._rows
        if rows > len(timeline):
            return True
        return rows > 0 and timeline.column("host_time")[rows - 1] != self._stamp

    def _read(self, timeline: Timeline, by: str) -> bool:
        """Count the exits that are new; whether there was a #DB among them."""
        import numpy as np

        first, behind = self._rows, len(timeline)
        if behind == first:
            return False
        self._rows, self._stamp = behind, timeline.column("host_time")[behind - 1]
        names = ("reason", "exception", "dr6", "dr7", "clock")
        reason, exception, dr6, dr7, clock = (
            np.array(timeline.column(name)[first:behind]) for name in names
        )
        ours = (reason == ExitReason.DEBUG) & (exception == Vector.DB)
        if not ours.any():
            return False
        at = clock if by == "clock" else np.arange(first, behind)
        self._hits.add(at[ours], dr6[ours], dr7[ours])
        return True

    def _look_again(self, clock: int) -> None:
        """After a new count: of what was seen, what is not later than now."""
        looks, self._looks, self._changes = self._looks, [], []
        for look in looks:
            if look.clock <= clock:
                self._note(look)
                self._hits.mark(look.clock, look.effective)

    def _remember(self, look: Look) -> bool:
        """Keep what is seen now, if it is news; whether it is."""
        if self._looks and self._looks[-1][1:] == look[1:]:
            return False
        self._note(look)
        self._hits.mark(look.clock, look.effective)
        return True

    def _note(self, look: Look) -> None:
        if self._looks:
            before = self._looks[-1].values
            self._changes += [
                _change(look.clock, side, name, value)
                for (side, name), value in look.values.items()
                if value != before[side, name]
            ]
        self._changes = self._changes[-MOST_CHANGES:]
        self._looks = [*self._looks[1 - MOST_LOOKS :], look]


def _change(clock: int, side: str, name: str, value: int | None) -> dict[str, Any]:
    """One register that was seen with another value than before."""
    if value is None:
        return {"clock": clock, "side": side, "name": name, "value": "", "words": "none any more"}
    words = dr6_words if name == "DR6" else dr7_words if name == "DR7" else hex
    return {
        "clock": clock,
        "side": side,
        "name": name,
        "value": f"{value:#x}",
        "words": words(value),
    }


_HISTORIES: WeakKeyDictionary[Vm, History] = WeakKeyDictionary()


def history_of(vm: Vm) -> History:
    """The history of a VM; it begins when somebody looks for the first time."""
    found = _HISTORIES.get(vm)
    if found is None:
        found = _HISTORIES[vm] = History()
    return found
