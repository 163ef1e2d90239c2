"""The ioctl line as a log: every call that changed the machine, with the clock behind it.

Columns are ``array.array``: 17 bytes an entry, and steps in a row are one entry, however many.
Must not know: engines, or how a log is replayed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Any, Final, NamedTuple

RUN: Final = "run"
"""KVM_RUN. One argument: the most instructions, None without a limit."""

STEPS: Final = "steps"
"""KVM_SET_GUEST_DEBUG and KVM_RUN, one instruction each time. Arguments: control, debugreg."""

WALK: Final = "walk"
"""KVM_RUN alone, one instruction each time, under a KVM_GUESTDBG_SINGLESTEP that holds."""

BULK: Final = "bulk"
"""``Engine.run_steps``, as often as it needs, under the setting that holds. Argument: stops."""

TRACE: Final = "trace"
"""``Engine.observe`` with :class:`~kvmdbg.engines.Tracing` or without. Argument: which of them."""
INTR: Final = "intr"
"""No call: the KVM_RUN in front of it was ended from outside. One argument: the exit's cause."""

CALLS: Final = (
    *(RUN, STEPS, WALK, "set_guest_debug", "watch_vectors", "write_memory", "complete_io"),
    *("set_regs", "set_sregs", "set_debugregs", "set_vcpu_events", "set_mp_state"),
    *("interrupt", "nmi", "irq_line", "request_interrupt_window", "create_irqchip"),
    *(INTR, BULK, TRACE),
)
"""What an entry may be: the names of ``Engine``'s methods, and those above."""

_CODES: Final = {name: code for code, name in enumerate(CALLS)}
_OFTEN: Final = frozenset(
    (RUN, STEPS, WALK, BULK, "set_guest_debug", "watch_vectors", "complete_io")
)


class Entry(NamedTuple):
    """One call; ``before`` and ``after`` are the instruction clock around it."""

    call: str
    arguments: tuple[Any, ...]
    before: int
    after: int

    @property
    def enters(self) -> bool:
        """Whether the guest ran."""
        return self.call in (RUN, STEPS, WALK, BULK)


class Position(NamedTuple):
    """A moment: the entries in front of ``entry`` are done, and the clock stands at ``clock``.

    A clock beyond that entry's ``before`` is a moment inside it.
    """

    entry: int
    clock: int


class Tail(NamedTuple):
    """Entries that were cut off, to be put back."""

    calls: array[int]
    after: array[int]
    places: array[int]


class Columns(NamedTuple):
    """A journal as it is kept: per entry a number from ``CALLS``, the clock behind it, and where
    its arguments are."""

    calls: array[int]
    after: array[int]
    places: array[int]
    arguments: list[tuple[Any, ...]]


class Journal:
    """A growing list of :class:`Entry` from the clock ``start`` on; the clock never falls.

    >>> journal = Journal()
    >>> journal.add("run", (None,), 5)
    >>> journal.add("nmi", (), 5)
    >>> journal[0]
    Entry(call='run', arguments=(None,), before=0, after=5)
    >>> journal.find(3), journal.next_run(1)
    (0, 2)
    """

    def __init__(self, start: int = 0, columns: Columns | None = None) -> None:
        self.start = start
        kept = columns or Columns(array("B"), array("q"), array("Q"), [])
        self._calls, self.after, self._places, self._arguments = kept
        """``after`` is the clock behind each entry; the last one may go on."""
        self._known: dict[tuple[str, tuple[Any, ...]], int] = {}

    @property
    def columns(self) -> Columns:
        """What it is made of, not copied; some arguments may belong to no entry any more."""
        return Columns(self._calls, self.after, self._places, self._arguments)

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def end(self) -> int:
        """The clock behind the last entry."""
        return self.before(len(self))

    def before(self, index: int) -> int:
        """The clock in front of an entry."""
        return self.after[index - 1] if index else self.start

    def __getitem__(self, index: int) -> Entry:
        arguments = self._arguments[self._places[index]]
        call = CALLS[self._calls[index]]
        return Entry(call, arguments, self.before(index), self.after[index])

    def add(self, call: str, arguments: tuple[Any, ...], clock: int) -> None:
        """One call more, after which the clock was ``clock``."""
        self._places.append(self._place(call, arguments))
        self._calls.append(_CODES[call])
        self.after.append(clock)

    def _place(self, call: str, arguments: tuple[Any, ...]) -> int:
        """Where the arguments are kept; those that come again and again only once."""
        new = len(self._arguments)
        place = self._known.setdefault((call, arguments), new) if call in _OFTEN else new
        if place == new:
            self._arguments.append(arguments)
        return place

    def find(self, clock: int) -> int:
        """The first entry behind which the clock is at least this; ``len`` if there is none."""
        return bisect_left(self.after, clock)

    def next_run(self, index: int) -> int:
        """The first entry from ``index`` on in which the guest runs; ``len`` if there is none."""
        while index < len(self) and not self[index].enters:
            index += 1
        return index

    def cut(self, size: int) -> Tail:
        """Keep the first ``size`` entries; the others."""
        tail = Tail(self._calls[size:], self.after[size:], self._places[size:])
        del self._calls[size:], self.after[size:], self._places[size:]
        return tail

    def put(self, tail: Tail) -> None:
        """Append what was cut off."""
        self._calls.extend(tail.calls)
        self.after.extend(tail.after)
        self._places.extend(tail.places)
