"""Questions about a recording: it is gone through again, observed, stretch by stretch.

Checkpoints are started from and none is left behind. The engine stands anywhere afterwards: whoever
asks brings it back. Must not know: breakpoints, linear addresses, or how an answer is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import perf_counter
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engines import Executed, Observation, Tracing, Writing
from ..engines.interrupts import HeldSigint, held_sigint
from ..x86.registers import MASK64
from .checkpoints import Checkpoint
from .journal import Entry, Journal, Position
from .recorded import Recorded
from .replay import Replay
from .segment import REGISTERS, Segment, register_number
from .trace import Write

_LEAST: Final = 1_000_000
"""Instructions that are gone through at once, at least, when checkpoints lie close together."""
_ABOVE: Final = np.uint64(16)
"""Bits of a traced instruction's word that are above its linear address."""
_FIRST_TRACED: Final = 1_000
_MOST_TRACED: Final = 2_000_000
"""Instructions that are traced at once, which is some 50 MB of columns."""


class Store(NamedTuple):
    """Who wrote some bytes last: the instruction in front of which the clock stood at ``clock``.

    Or an ``edit``, the journal's entry that did; or, if there is neither, the processor itself for
    an event that came at ``clock``. ``writes`` are the instruction's, of which one
    at least reaches the bytes.
    """

    clock: int
    edit: int | None = None
    writes: tuple[Write, ...] = ()


class Change(NamedTuple):
    """Who changed a register last; as in :class:`Store`, with the value before and after."""

    clock: int
    old: int
    new: int
    edit: int | None = None
    instruction: bool = True


class _Told(NamedTuple):
    """What an observer said: the clock behind a block, and its size in instructions."""

    clock: int
    insns: int
    edit: int | None = None


class _Ear:
    """The latest of what is told, in the order of the guest's time."""

    def __init__(self) -> None:
        self.last: _Told | None = None
        self.deaf = False
        """While the host makes a call of the journal: its writes are no guest's."""

    def hear(self, clock: int, count: int) -> None:
        """A block is told of when its run is over, an event's frame at once: earlier."""
        last = self.last
        frame = last is not None and not last.insns and last.edit is None
        late = frame and count and last is not None and clock - count < last.clock
        if not (self.deaf or late):
            self.last = _Told(clock, count)


class _Nearest(NamedTuple):
    """In the place of all checkpoints: the one to start from."""

    start: Checkpoint

    def nearest(self, _: Position) -> Checkpoint:
        return self.start


class _Passage(Replay):
    """From a checkpoint through a stretch of the journal, which is observed."""

    around: Callable[[int, Entry], AbstractContextManager[None]] | None = None
    """Entered for each entry that is carried out, with its place."""

    def through(self, begin: Position, end: Position, *observations: Observation) -> bool:
        """Whether the end was reached: not after Ctrl-C."""
        with held_sigint() as held:
            reached = self.go(begin)
            if held.seen:
                return False
            self._observations = observations
            self._observe(self.tracing)
            reached = self._way(reached.entry, end, held)
            self._observations = ()
            self._observe(self.tracing)  # what waited to be told is told now
            return reached == end and not held.seen

    def _again(self, entry: Entry, until: int, held: HeldSigint) -> None:
        with self.around(self._index, entry) if self.around else nullcontext():
            super()._again(entry, until, held)

    def _observe(self, tracing: bool) -> None:
        """What was traced then is traced again, but never twice."""
        self.tracing = tracing
        traced = any(isinstance(each, Tracing) for each in self._observations)
        again = (Tracing(lambda executed: None),) if tracing and not traced else ()
        self._engine.observe(*again, *self._observations)

    def _stations(self, until: int) -> list[int]:
        return []

    def _keep(self) -> None:
        """The way is gone once; checkpoints on it would crowd out others."""
        self._since = perf_counter()


class Past:
    """The recording up to ``end``; the first ``loaded`` entries of it are the guest's loading.

    The questions raise KeyboardInterrupt after Ctrl-C.
    """

    def __init__(self, recorded: Recorded, end: Position, loaded: int) -> None:
        self._recorded = recorded
        self._end = end
        self._loaded = loaded

    @property
    def _journal(self) -> Journal:
        return self._recorded.journal

    def stand(self, clock: int, edit: int | None = None) -> Mapping[int, int]:
        """Let the guest stand at a clock, in front of what runs then, or in front of an edit.

        Which bytes of breakpoints are in memory there.
        """
        place = self._inside(clock) if edit is None else Position(edit, clock)
        self._pass(place, place)
        return self._recorded.planted_at(place)

    def _inside(self, clock: int) -> Position:
        """The moment of a clock at which the guest goes on; not behind the end."""
        journal = self._journal
        index = journal.find(clock)
        if index < len(journal) and clock == journal.after[index]:
            index = journal.next_run(index + 1)
        return min(Position(index, clock), self._end)

    def _pass(
        self,
        begin: Position,
        end: Position,
        *observations: Observation,
        around: Callable[[int, Entry], AbstractContextManager[None]] | None = None,
    ) -> None:
        start: Any = _Nearest(self._recorded.checkpoints.nearest(begin))
        passage = _Passage(self._recorded._engine, self._journal, start)
        passage.around = around
        if not passage.through(begin, end, *observations):
            raise KeyboardInterrupt

    def _edits(self, call: str) -> list[int]:
        """The user's own calls of a kind since the guest was loaded."""
        journal, last = self._journal, self._end.entry
        edits = [entry for entry, _ in self._recorded._edits if self._loaded <= entry < last]
        return [entry for entry in edits if journal[entry].call == call]

    # Who wrote

    def last_store(self, address: int, size: int) -> Store | None:
        """Who wrote any of ``size`` physical bytes last, if anybody did since the loading."""
        journal, end = self._journal, self._end
        edits = {
            entry
            for entry in self._edits("write_memory")
            if _reaches(journal[entry].arguments, address, size)
        }
        while end.clock > journal.start or end.entry > self._loaded:
            begin = self._before(end)
            told = self._last_told(begin, end, edits, address, size)
            if told is None:
                end = begin
            elif not told.insns:
                return Store(told.clock, told.edit)
            elif found := self._in_block(told, end, address, size):
                return found
            else:  # it was tried and taken back
                earlier = self._inside(max(told.clock - told.insns, begin.clock))
                end = earlier if earlier < end else begin
        return None

    def _before(self, end: Position) -> Position:
        """A checkpoint so far before ``end`` that going from there is worth it."""
        start = self._journal.start
        clock = max(start, end.clock - max(_LEAST, (self._end.clock - end.clock) // 2))
        wanted = min(Position(self._journal.find(clock), clock), end)
        begin = self._recorded.checkpoints.nearest(wanted).position
        return begin if begin < end else Position(0, start)

    def _last_told(
        self, begin: Position, end: Position, edits: Set[int], address: int, size: int
    ) -> _Told | None:
        ear = _Ear()

        @contextmanager
        def around(index: int, entry: Entry) -> Iterator[None]:
            ear.deaf = not entry.enters
            yield
            ear.deaf = False
            if index in edits:
                ear.last = _Told(entry.after, 0, index)

        self._pass(begin, end, Writing(address, size, ear.hear), around=around)
        return ear.last

    def _in_block(self, told: _Told, end: Position, address: int, size: int) -> Store | None:
        """The instruction of a block that wrote last."""
        first = max(self._journal.start, told.clock - told.insns)
        until = min(end, self._inside(told.clock))
        for segment in reversed(self._traced(self._inside(first), until)):
            rows: dict[int, list[Write]] = {}
            for row, place, width, old, new in segment.writes_of(0, len(segment)):
                if place < address + size and address < place + width:
                    rows.setdefault(row, []).append(Write(place, width, old, new))
            if rows:
                return Store(segment.start + max(rows), None, tuple(rows[max(rows)]))
        return None

    def _traced(self, begin: Position, end: Position) -> list[Segment]:
        found: list[Segment] = []
        if begin < end:
            self._pass(begin, end, Tracing(lambda executed: found.append(Segment(*executed))))
        return found

    # Who changed

    def last_change(self, register: str) -> Change | None:
        """Who changed a register last (64-bit name, or ``rflags``), if anybody did.

        Where the engine leaves a flag that the SDM calls undefined otherwise when it is traced,
        such a flag counts as it is then.
        """
        number = register_number(register)
        end, stretch = self._end, _FIRST_TRACED
        value = getattr(self._recorded.get_regs(), register)
        while end.clock > self._journal.start or end.entry > self._loaded:
            begin = max(self._inside(max(self._journal.start, end.clock - stretch)), self._first)
            begin = begin if begin < end else self._first
            found, value = self._changed(number, begin, end, value)
            if found is not None:
                return found
            if begin == self._first:
                return None
            end, stretch = begin, min(10 * stretch, _MOST_TRACED)
        return None

    @property
    def _first(self) -> Position:
        return min(Position(self._loaded, self._journal.start), self._end)

    def _changed(
        self, number: int, begin: Position, end: Position, value: int
    ) -> tuple[Change | None, int]:
        """The last change in a stretch behind which the register has ``value``; it before that."""
        self._pass(begin, begin)
        before = getattr(self._recorded.get_regs(), REGISTERS[number])
        after = value
        for segment in reversed(self._traced(begin, end)):
            if segment.last[number] != after:
                return self._between(segment.end, number, segment.last[number], after), 0
            row = segment.last_change(number, len(segment))
            if row is not None:
                old = segment.state(row)[number]
                return Change(segment.start + row, old, after), 0
            after = segment.first[number]
        if before != after:
            return self._between(begin.clock, number, before, after), 0
        return None, before

    def _between(self, clock: int, number: int, old: int, new: int) -> Change:
        """It changed between two instructions: by the user's hand, or by an event."""
        for entry in reversed(self._edits("set_regs")):
            (regs,) = self._journal[entry].arguments
            if self._journal.after[entry] == clock and getattr(regs, REGISTERS[number]) == new:
                return Change(clock, old, new, entry, False)
        return Change(clock, old, new, None, False)

    # When

    def times(self, pc: int) -> NDArray[np.int64]:
        """The clocks at which the instruction at a linear address was about to run."""
        found: list[NDArray[np.int64]] = [np.empty(0, np.int64)]

        def look(executed: Executed) -> None:
            rows = np.flatnonzero((executed.heads << _ABOVE) == np.uint64(pc << 16 & MASK64))
            found.append(executed.start + rows.astype(np.int64))

        self._pass(self._first, self._end, Tracing(look))
        return np.unique(np.concatenate(found))


def _reaches(arguments: tuple[Any, ...], address: int, size: int) -> bool:
    """Whether these of write_memory touch the bytes."""
    place, data = arguments
    return bool(place < address + size and address < place + len(data))
