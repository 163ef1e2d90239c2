"""From a checkpoint to a moment of the journal: the same calls again, the last run cut short.

Must not know: who records, or why somebody wants to be there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Final

from ..engines import Engine, Observation, Tracing
from ..engines.interrupts import HeldSigint, held_sigint
from ..errors import EngineBroken
from ..exits import Exit, IntrExit
from .checkpoints import Checkpoint, Checkpoints
from .journal import BULK, INTR, RUN, STEPS, TRACE, WALK, Entry, Journal, Position

_SLICE: Final = 0.02
"""Seconds after which a long way gets a checkpoint, so that the next one to there is short."""
_STATIONS: Final = (200_000, 2_000)
"""Instructions before the goal at which a checkpoint is left: who goes there is often back soon."""
_BATCH: Final = 1024
_STRAY: Final = 1 << 20
"""A guest that has gone another way is left after so many instructions too many."""

Approach = Callable[[int, float], Exit]


class Replay:
    """One way through the journal. ``vectors``, ``setting`` and ``tracing`` are what was set last.

    ``observations``: what is to be observed on the way.
    """

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        checkpoints: Checkpoints,
        observations: Sequence[Observation] = (),
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._checkpoints = checkpoints
        self._observations = observations
        self.tracing = False
        self.vectors: frozenset[int] = frozenset()
        self.setting: tuple[int, tuple[int, ...]] = (0, (0,) * 8)
        self._index = self._last = 0
        self._since = 0.0
        self._asked = False
        """Another thread has asked for a stop."""

    def go(self, target: Position) -> Position:
        """Where the guest stands then: at ``target``, or before it after Ctrl-C or a stop."""
        start = self._checkpoints.nearest(target)
        self._last = min(target.entry, len(self._journal) - 1)
        self._engine.restore(start.snapshot)
        self.vectors, self.setting = start.vectors, start.setting
        self._engine.watch_vectors(self.vectors)
        self._observe(start.tracing)
        self._since = perf_counter()
        with held_sigint() as held:
            return self._way(start.position.entry, target, held)

    def _observe(self, tracing: bool) -> None:
        """Trace what was traced, so that it runs as it did; nobody wants to hear of it again."""
        self.tracing = tracing
        again = (Tracing(lambda executed: None),) if tracing else ()
        self._engine.observe(*again, *self._observations)

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
                self._expect(held.seen or self._asked, entry)
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
        elif entry.call == BULK:
            self._bulk(entry, until, held)
        elif entry.call == RUN:
            self._run(entry, until)
        elif entry.call != INTR:
            if entry.call == "set_guest_debug":
                self.setting = entry.arguments
            elif entry.call == "watch_vectors":
                (self.vectors,) = entry.arguments
            elif entry.call == TRACE:
                self._observe(*entry.arguments)
                return
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

    def _bulk(self, entry: Entry, until: int, held: HeldSigint) -> None:
        """The last few instructions, if ``until`` is inside a block, one by one."""
        engine = self._engine
        for goal in (*self._stations(until), until):
            while engine.clock < goal and not held.seen:
                if engine.run_steps(goal - engine.clock, *entry.arguments) is None:
                    break
                if perf_counter() - self._since > _SLICE:
                    self._keep()
            if goal < until:
                self._keep()
        self._walk(until, held)

    def _stations(self, until: int) -> list[int]:
        """Where to leave checkpoints on the last stretch."""
        if self._index != self._last:
            return []
        way = until - self._engine.clock
        return [until - distance for distance in _STATIONS if way > 2 * distance]

    def _run(self, entry: Entry, until: int) -> None:
        """To the end that the run had, or up to ``until`` inside it."""
        engine = self._engine
        approach: Approach | None = getattr(engine, "approach", None)
        if approach is not None:
            for goal in self._stations(until):
                self._through(entry, partial(approach, goal, _SLICE))
                if self._asked:
                    return
                self._keep()
        (limit,) = entry.arguments
        end = entry.after + _STRAY
        if limit is not None:
            end = min(end, entry.before + limit)
        if until < entry.after:
            end = until
        self._through(entry, lambda: engine.run(end - engine.clock, _SLICE))

    def _through(self, entry: Entry, run: Callable[[], Exit]) -> None:
        """A long way in slices."""
        while True:
            exit = run()
            if type(exit) is not IntrExit or exit.cause != "timeout":
                self._asked = exit == IntrExit("request")
                return
            if self._engine.clock > entry.before:  # else this would be the moment in front of it
                self._keep()

    def _keep(self) -> None:
        """A checkpoint here, between two blocks or two steps."""
        here = Position(self._index, self._engine.clock)
        kept = Checkpoint(here, self._engine.snapshot(), self.vectors, self.setting, self.tracing)
        self._checkpoints.add(kept, here.clock)
        self._since = perf_counter()
