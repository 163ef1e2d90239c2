"""An engine that remembers how it came to where it is, and can be anywhere on that way again.

``Recorded`` is an Engine around another one with an instruction clock: the same calls, each noted
in a journal. Time there is the instruction clock and nothing else, so the same calls from the same
state lead to the same end: to be at an earlier moment, restore the last checkpoint before it and
make the calls again. Must not know: breakpoints, devices, or what a stop is.
"""

from __future__ import annotations

from typing import NamedTuple

from ..engines import Observation, Snapshot, Tracing
from .journal import RUN, Journal, Position
from .journaling import BATCH, Ahead, Journaling
from .replay import Replay


class Taken(NamedTuple):
    """A snapshot that knows where in the journal it was taken; ``prologue`` only at its start."""

    inner: Snapshot
    position: Position
    recording: object
    prologue: Journal | None


class Kept(NamedTuple):
    """A recording up to the present, to be kept elsewhere; nothing is copied.

    ``prologue`` are the calls that bring a new engine to where the journal begins: None where that
    was a snapshot of which only this engine knows.
    """

    prologue: Journal | None
    journal: Journal
    planted: list[tuple[int, dict[int, int]]]
    edits: list[tuple[int, int]]


class Recorded(Journaling):
    """:class:`~kvmdbg.history.journaling.Journaling` that can go back on its way."""

    # -- going to another moment -------------------------------------------------------------------

    def rejoin(self) -> None:
        """Forget what was done since the last :meth:`go`: its future is the recording again.

        The machine stays where it is until the next :meth:`go`.
        """
        ahead, self.ahead = self.ahead, None
        if ahead is None:
            return
        self._armed = self._stepping = None
        self.journal.cut(ahead.position.entry)
        self.journal.put(ahead.entries)
        self.checkpoints.cut(ahead.position)
        self.checkpoints.put(ahead.checkpoints)
        del self._plants[ahead.kept[0] :], self._edits[ahead.kept[1] :]
        self._plants += ahead.planted
        self._edits += ahead.edits

    def forget_ahead(self) -> None:
        """The future that was gone back from is no more."""
        self.ahead = None

    def go(self, position: Position, *observations: Observation) -> Position:
        """Be at a moment of the recording; the moment reached, an earlier one after Ctrl-C.

        What was recorded behind it waits in :attr:`ahead`. ``observations`` are told of the way
        from the checkpoint before the moment. EngineBroken if the guest goes another way than it
        went.
        """
        self._settle()
        replay = Replay(self._engine, self.journal, self.checkpoints, observations)
        try:
            reached = replay.go(position)
        finally:
            self._keep_tracing(replay.tracing)
        self._vectors, self._setting = replay.vectors, replay.setting
        self.clock = reached.clock
        self._work, self._batch = 0.0, reached.clock + BATCH
        self._stepping = None
        if reached != Position(len(self.journal), self.journal.end):
            self._part(reached)
        return reached

    def shorten(self, clock: int) -> None:
        """The guest has just run too far: it was at an earlier ``clock`` that it stopped."""
        ahead, self.ahead = self.ahead, None
        self.go(Position(self.journal.find(clock), clock))
        self.ahead = ahead

    def _keep_tracing(self, tracing: bool) -> None:
        """The observers of the present are told again, where it was traced then too."""
        self._tracing = tracing
        kept = (each for each in self._observations if tracing or not isinstance(each, Tracing))
        self._engine.observe(*kept)

    def _part(self, here: Position) -> None:
        """Cut the recording in two."""
        entry = self.journal[here.entry] if here.entry < len(self.journal) else None
        planted = sum(place <= here.entry for place, _ in self._plants)
        edits = sum(place < here.entry for place, _ in self._edits)
        self.ahead = Ahead(
            position=here,
            end=self.journal.end,
            entries=self.journal.cut(here.entry),
            checkpoints=self.checkpoints.cut(here),
            kept=(planted, edits),
            planted=self._plants[planted:],
            edits=self._edits[edits:],
        )
        del self._plants[planted:], self._edits[edits:]
        if entry is not None and here.clock > entry.before:
            limit = (here.clock - entry.before,)
            arguments = limit if entry.call == RUN else entry.arguments
            self.journal.add(entry.call, arguments, here.clock)

    def create_irqchip(self) -> None:
        """See the protocol. A snapshot does not take it away: the recording begins anew."""
        self._engine.create_irqchip()
        self._settle()
        self.journal.add("create_irqchip", (), self.clock)
        self._begin_anew(None if self._prologue is None else self.journal)

    def snapshot(self) -> Snapshot:
        """See the protocol."""
        here = self.position
        prologue = None if here.entry else self._prologue
        there = self.checkpoints.at(here)
        inner = self._engine.snapshot() if there is None else there
        return Taken(inner, here, self.recording, prologue)

    def restore(self, snapshot: Snapshot) -> None:
        """See the protocol. What was recorded since the snapshot was taken is forgotten."""
        if not isinstance(snapshot, Taken):
            self._engine.restore(snapshot)
            self._begin_anew(None)
            return
        self._engine.restore(snapshot.inner)
        if snapshot.recording is not self.recording:
            self._begin_anew(self._way_to(snapshot))
            self.journal.add("watch_vectors", (self._vectors,), self.clock)
            return
        self._go_back(snapshot.position)

    def _way_to(self, snapshot: Taken) -> Journal | None:
        """The calls that lead to a snapshot of another recording."""
        if snapshot.prologue is None or len(snapshot.prologue) or self._engine.irqchip is None:
            return snapshot.prologue
        chips = Journal()
        chips.add("create_irqchip", (), 0)
        return chips

    def _go_back(self, here: Position) -> None:
        self._armed = self._stepping = None
        if self.ahead is not None and here < self.ahead.position:
            self.ahead = None
        self.journal.cut(here.entry)
        self.checkpoints.cut(here)
        self._plants = [kept for kept in self._plants if kept[0] <= here.entry]
        self._edits = [kept for kept in self._edits if kept[0] < here.entry]
        self.clock = here.clock
        self._batch = here.clock + BATCH
        # Neither belongs to a snapshot: the engine has what it was given last.
        self.journal.add("watch_vectors", (self._vectors,), self.clock)

    # -- to a file and back ------------------------------------------------------------------------

    def kept(self) -> Kept:
        """The recording up to the present moment."""
        self._settle()
        self._stepping = None
        self._note_planted()
        return Kept(self._prologue, self.journal, self._plants, self._edits)

    def adopt(self, kept: Kept) -> bool:
        """Take a recording over. The engine is new, and stands where it begins afterwards.

        Whether that was reached: not after Ctrl-C.
        """
        if kept.prologue is not None and len(kept.prologue):
            self.journal = kept.prologue
            end = Position(len(self.journal), self.journal.end)
            if self.go(end) != end:
                return False
            self._begin_anew(kept.prologue)
        self.journal, self._plants, self._edits = kept.journal, kept.planted, kept.edits
        return True
