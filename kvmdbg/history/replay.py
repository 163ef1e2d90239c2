"""From a checkpoint to a moment of the journal: the same calls again, the last run cut short.

Must not know: who records, or why somebody wants to be there.
"""

from __future__ import annotations

from time import perf_counter
from typing import Final

from ..engines import Engine
from ..engines.interrupts import HeldSigint, held_sigint
from ..errors import EngineBroken
from ..exits import IntrExit
from .checkpoints import Checkpoint, Checkpoints
from .journal import INTR, RUN, STEPS, WALK, Entry, Journal, Position

_SLICE: Final = 0.02
"""Seconds after which a long way gets a checkpoint, so that the next one to there is short."""
_BATCH: Final = 1024
_STRAY: Final = 1 << 20
"""A guest that has gone another way is left after so many instructions too many."""


class Replay:
    """One way through the journal. ``vectors`` and ``setting`` are what was set last."""

    def __init__(self, engine: Engine, journal: Journal, checkpoints: Checkpoints) -> None:
        self._engine = engine
        self._journal = journal
        self._checkpoints = checkpoints
        self.vectors: frozenset[int] = frozenset()
        self.setting: tuple[int, tuple[int, ...]] = (0, (0,) * 8)
        self._index = 0
        self._since = 0.0

    def go(self, target: Position) -> Position:
        """Where the guest stands then: at ``target``, or on the way there after Ctrl-C."""
        start = self._checkpoints.nearest(target)
        self._engine.restore(start.snapshot)
        self.vectors, self.setting = start.vectors, start.setting
        self._engine.watch_vectors(self.vectors)
        self._since = perf_counter()
        with held_sigint() as held:
            return self._way(start.position.entry, target, held)

    def _way(self, index: int, target: Position, held: HeldSigint) -> Position:
        size, engine = len(self._journal), self._engine
        while index < size:
            entry = self._journal[index]
            if index >= target.entry and engine.clock >= target.clock:
                break
            self._index = index
            until = entry.after if index < target.entry else target.clock
            self._again(entry, until, held)
            if engine.clock != until:
                self._expect(held.seen, entry)
                break
            if until < entry.after:
                break
            index += 1
            if perf_counter() - self._since > _SLICE and index <= target.entry:
                self._index = index
                self._keep()
        return Position(index, engine.clock)

    def _expect(self, interrupted: bool, entry: Entry) -> None:
        if not interrupted:
            raise EngineBroken(
                f"replay left the recording behind clock {entry.before:,}: {self._engine.clock:,} "
                f"instead of {entry.after:,}; the guest's past cannot be trusted from there on"
            )

    def _again(self, entry: Entry, until: int, held: HeldSigint) -> None:
        if entry.call == STEPS:
            self._steps(entry, until, held)
        elif entry.call == WALK:
            self._walk(until, held)
        elif entry.call == RUN:
            self._run(entry, until)
        elif entry.call != INTR:
            if entry.call == "set_guest_debug":
                self.setting = entry.arguments
            elif entry.call == "watch_vectors":
                (self.vectors,) = entry.arguments
            getattr(self._engine, entry.call)(*entry.arguments)

    def _steps(self, entry: Entry, until: int, held: HeldSigint) -> None:
        engine, setting = self._engine, entry.arguments
        self.setting = (setting[0], setting[1])
        while engine.clock < until and not held.seen:
            for _ in range(min(_BATCH, until - engine.clock)):
                engine.set_guest_debug(*setting)
                engine.run()
            if perf_counter() - self._since > _SLICE:
                self._keep()

    def _walk(self, until: int, held: HeldSigint) -> None:
        engine = self._engine
        while engine.clock < until and not held.seen:
            for _ in range(min(_BATCH, until - engine.clock)):
                engine.run()
            if perf_counter() - self._since > _SLICE:
                self._keep()

    def _run(self, entry: Entry, until: int) -> None:
        """To the end that the run had, or up to ``until`` inside it."""
        engine = self._engine
        (limit,) = entry.arguments
        end = entry.after + _STRAY
        if limit is not None:
            end = min(end, entry.before + limit)
        if until < entry.after:
            end = until
        while True:
            exit = engine.run(end - engine.clock, _SLICE)
            if type(exit) is not IntrExit or exit.cause != "timeout":
                return
            if engine.clock > entry.before:  # else this would be the moment in front of the entry
                self._keep()

    def _keep(self) -> None:
        """A checkpoint here, between two blocks or two steps."""
        here = Position(self._index, self._engine.clock)
        kept = Checkpoint(here, self._engine.snapshot(), self.vectors, self.setting)
        self._checkpoints.add(kept, here.clock)
        self._since = perf_counter()
