"""An engine whose calls are noted in a journal as the guest runs, with checkpoints on the way.

Steps in a row become one entry, long runs are left now and then. Must not know: how one gets to
another moment, or who wants to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final, NamedTuple

from ..engines import Engine, Observation, Steps, Tracing
from ..exits import DebugExit, Exit, IntrExit
from ..uapi import GuestDbg
from ..x86.debugreg import DR6_BS, DR6_RESET
from .checkpoints import BUDGET, Checkpoint, Checkpoints
from .journal import BULK, INTR, RUN, STEPS, TRACE, WALK, Journal, Position, Tail
from .noting import Noting

_SINGLESTEP: Final = int(GuestDbg.SINGLESTEP)
_INJECT: Final = int(GuestDbg.INJECT_DB | GuestDbg.INJECT_BP)
_PLAIN: Final = int(DR6_RESET | DR6_BS)
_SLICE: Final = 0.05
"""Seconds after which a long run is left for a checkpoint, between two blocks."""
_SHARE: Final = 40
"""A checkpoint is taken after this many times the time that it costs."""
BATCH: Final = 4096
"""Steps after which a checkpoint is thought of."""
_STEP_COST: Final = 1e-5
_WALKING: Final = (-1, ())
"""In the place of a last entry's setting: it is a walk, and nothing came after it."""
_DEBUG_ONLY: Final = frozenset(
    ("set_guest_debug", "watch_vectors", "request_interrupt_window", TRACE)
)


class Ahead(NamedTuple):
    """What was recorded behind the moment that was gone back to."""

    position: Position
    end: int
    entries: Tail
    checkpoints: list[Checkpoint]
    kept: tuple[int, int]
    planted: list[tuple[int, dict[int, int]]]
    edits: list[tuple[int, int]]


class Journaling(Noting):
    """The Engine protocol around ``engine``, which has ``Capability.INSTRUCTION_CLOCK``.

    ``inside`` tells whether a debugger is at work: what changes the guest at other times is an edit
    by its user. ``planted`` gives the bytes of breakpoints that are in memory now (address, what
    they stand for); they are remembered for each run.
    """

    def __init__(self, engine: Engine, budget: int = BUDGET) -> None:
        super().__init__(engine)
        self._step: Callable[[], Exit] = engine.run
        self.inside = False
        self.planted: Callable[[], Mapping[int, int]] = dict
        self.journal = Journal()
        self.checkpoints = Checkpoints(len(engine.ram), budget)
        self.ahead: Ahead | None = None
        self._setting: tuple[int, tuple[int, ...]] = (0, (0,) * 8)
        self._vectors: frozenset[int] = frozenset()
        self._observations: tuple[Observation, ...] = ()
        self._tracing = False
        self._cost = 0.0
        self._begin_anew(Journal())

    def _begin_anew(self, prologue: Journal | None) -> None:
        self.recording = object()
        """Another one whenever the recording begins anew."""
        self._prologue = prologue
        self._armed: tuple[int, tuple[int, ...]] | None = None
        """What KVM_SET_GUEST_DEBUG was given for a step that may yet join the last entry."""
        self._stepping: tuple[int, tuple[int, ...]] | None = None
        """The last entry's setting, if that is steps and nothing came after it."""
        self.clock = self._engine.clock
        self._work, self._batch = 0.0, self.clock + BATCH
        self.ahead = None
        self.journal = Journal(self.clock)
        self._plants: list[tuple[int, dict[int, int]]] = [(0, dict(self.planted()))]
        self._edits: list[tuple[int, int]] = []
        self.checkpoints.begin(self._checkpoint())
        self._cost = 0.0  # the first one is dearer: its pages are touched for the first time

    def close(self) -> None:
        """See the protocol. The recording goes too: whoever still holds this holds no memory."""
        super().close()
        self.journal, self.ahead = Journal(), None
        self._observations = ()
        self.checkpoints.clear()

    # -- the journal -------------------------------------------------------------------------------

    @property
    def setting(self) -> tuple[int, tuple[int, ...]]:
        """What KVM_SET_GUEST_DEBUG was given last: control and debugreg."""
        return self._armed or self._setting

    @property
    def position(self) -> Position:
        """Now. Steps that follow begin an entry of their own, so that this stays a place."""
        self._settle()
        self._stepping = None
        self._note_planted()
        return Position(len(self.journal), self.clock)

    def planted_at(self, position: Position) -> dict[int, int]:
        """Which bytes of breakpoints were in memory then."""
        return next(p for entry, p in reversed(self._plants) if entry <= position.entry)

    def first_edit(self) -> int | None:
        """The clock at the first edit since the present moment was gone back to, if any."""
        start = self.ahead.kept[1] if self.ahead else 0
        return self._edits[start][1] if len(self._edits) > start else None

    def _note(self, call: str, *arguments: Any) -> None:
        self._settle()
        self._stepping = None
        if call == "watch_vectors":
            (self._vectors,) = arguments
        if not (self.inside or call in _DEBUG_ONLY or self._lifts(call, arguments)):
            self._edits.append((len(self.journal), self.clock))
        self.journal.add(call, arguments, self.clock)

    def _lifts(self, call: str, arguments: tuple[Any, ...]) -> bool:
        """A deleted breakpoint's byte goes out of memory: to the guest that is no change."""
        if call != "write_memory":
            return False
        byte = self.planted().get(arguments[0])
        return byte is not None and arguments[1] == bytes([byte])

    def _settle(self) -> None:
        """The setting that was held back becomes an entry of its own."""
        if self._armed is not None:
            self._setting, self._armed, self._stepping = self._armed, None, None
            control, debugreg = self._setting
            self.journal.add("set_guest_debug", (int(control), tuple(debugreg)), self.clock)

    def _note_planted(self) -> None:
        planted = self.planted()
        if planted != self._plants[-1][1]:
            self._plants.append((len(self.journal), dict(planted)))

    # -- running -----------------------------------------------------------------------------------

    def set_guest_debug(self, control: int, debugreg: tuple[int, ...] = (0,) * 8) -> None:
        """See the protocol."""
        self._engine.set_guest_debug(control, debugreg)
        if self._armed is not None:
            self._settle()
        last = self._stepping
        if last is not None and control is last[0] and debugreg is last[1]:
            self._armed = last  # one step after the other
        elif control & _SINGLESTEP and not control & _INJECT:
            self._armed = (control, debugreg)
        else:
            self._debug(int(control), tuple(debugreg))

    def _debug(self, control: int, debugreg: tuple[int, ...]) -> None:
        self._note("set_guest_debug", control, debugreg)
        self._setting = (control, debugreg)
        if control & _INJECT and not self.inside:
            self._edits.append((len(self.journal) - 1, self.clock))

    def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        """See the protocol."""
        if self._stepping is _WALKING and max_instructions is None and timeout is None:
            try:
                exit = self._step()
            except BaseException:
                self._came_back(None, 0.0, cut=True)
                raise
            clock = self.clock + 1
            if type(exit) is DebugExit and exit.dr6 == _PLAIN and self._engine.clock == clock:
                self.clock = self.journal.after[-1] = clock
                if clock >= self._batch:
                    self._end_batch()
            else:
                self._came_back(None, _STEP_COST)
            return exit
        armed = self._armed
        if armed is None or max_instructions is not None or timeout is not None:
            return self._no_step(max_instructions, timeout)
        if armed is not self._stepping:
            self._note_planted()
        try:
            exit = self._engine.run()
        except BaseException:
            self._settle()
            self._came_back(None, 0.0, cut=True)
            raise
        clock = self._engine.clock
        if type(exit) is not DebugExit or exit.dr6 != _PLAIN or clock != self.clock + 1:
            self._settle()
            self._came_back(None, _STEP_COST)
            return exit
        self._armed, self.clock = None, clock
        if armed is self._stepping:
            self.journal.after[-1] = clock
        else:
            self._first_step(armed)
        if clock >= self._batch:
            self._end_batch()
        return exit

    def _end_batch(self) -> None:
        """So many steps more: is it time for a checkpoint?"""
        self._batch = self.clock + BATCH
        self._worked(BATCH * _STEP_COST)

    def _first_step(self, setting: tuple[int, tuple[int, ...]]) -> None:
        """Plain steps in a row are one entry."""
        self.journal.add(STEPS, (int(setting[0]), tuple(setting[1])), self.clock)
        self._stepping = self._setting = setting

    def _walk(self) -> Exit:
        """The first step under a setting that holds; such steps in a row are one entry too."""
        try:
            exit = self._step()
        except BaseException:
            self._came_back(None, 0.0, cut=True)
            raise
        clock = self.clock + 1
        if type(exit) is DebugExit and exit.dr6 == _PLAIN and self._engine.clock == clock:
            self.journal.add(WALK, (), clock)
            self._stepping, self.clock = _WALKING, clock
        else:
            self._came_back(None, _STEP_COST)
        return exit

    def _no_step(self, most: int | None, timeout: float | None) -> Exit:
        self._settle()
        if self._setting[0] & _SINGLESTEP and most is None and timeout is None:
            self._note_planted()
            return self._walk()
        begin, cause = self.clock, "signal"
        try:
            whole = self._setting[0] & _SINGLESTEP or most == 0
            exit = self._enter(most, timeout) if whole else self._run(most, timeout)
            cause = exit.cause if type(exit) is IntrExit else "budget"
            return exit
        finally:
            if cause != "budget" and self.clock != begin:
                self.journal.add(INTR, (cause,), self.clock)

    def run_steps(self, count: int, stops: Set[int] = frozenset()) -> Steps | None:
        """See the protocol."""
        self._settle()
        self._stepping = None
        self._note_planted()
        began = perf_counter()
        try:
            return self._engine.run_steps(count, stops)
        finally:
            before, self.clock = self.clock, self._engine.clock
            if self.clock != before:
                self.journal.add(BULK, (frozenset(stops),), self.clock)
                self._worked(perf_counter() - began)

    def _run(self, most: int | None, timeout: float | None) -> Exit:
        """In slices: what each of them did is an entry, so that all is split the same way again."""
        end = None if timeout is None else perf_counter() + timeout
        begin = self.clock
        while True:
            left = None if most is None else max(0, most - (self.clock - begin))
            patience = _SLICE if end is None else min(_SLICE, max(0.0, end - perf_counter()))
            exit = self._enter(left, patience)
            if (
                type(exit) is not IntrExit
                or exit.cause != "timeout"
                or (end is not None and perf_counter() >= end)
            ):
                return exit

    def _enter(self, most: int | None, timeout: float | None) -> Exit:
        self._note_planted()
        began = perf_counter()
        try:
            exit = self._engine.run(most, timeout)
        except BaseException:
            self._came_back(most, 0.0, cut=True)
            raise
        cut = type(exit) is IntrExit and exit.cause != "budget"
        self._came_back(most, perf_counter() - began, cut=cut)
        return exit

    def _came_back(self, most: int | None, seconds: float, *, cut: bool = False) -> None:
        """Note a run. One that was ended from outside (``cut``) did so many instructions."""
        before, self.clock = self.clock, self._engine.clock
        self._stepping = None
        if cut and before == self.clock:
            return
        self.journal.add(RUN, (self.clock - before if cut else most,), self.clock)
        self._worked(seconds)

    def _worked(self, seconds: float) -> None:
        """Take a checkpoint when enough was done since the last one."""
        self._work += seconds
        if self._work >= max(_SLICE, _SHARE * self._cost):
            self.checkpoints.add(self._checkpoint(), self.clock)

    def _checkpoint(self) -> Checkpoint:
        began = perf_counter()
        snapshot = self._engine.snapshot()
        self._cost, self._work = perf_counter() - began, 0.0
        last = len(self.journal) - (self._stepping is not None)
        here = Position(last, self.clock)
        return Checkpoint(here, snapshot, self._vectors, self.setting, self._tracing)

    # -- observing ---------------------------------------------------------------------------------

    def observe(self, *observations: Observation) -> None:
        """See the protocol. Whether it is traced belongs to how the guest runs."""
        self._engine.observe(*observations)
        self._observations = observations
        tracing = any(isinstance(each, Tracing) for each in observations)
        if tracing != self._tracing:
            self._tracing = tracing
            self._note(TRACE, tracing)

    @contextmanager
    def observing(self, observation: Observation) -> Iterator[None]:
        """One observation more for a while; how the guest runs is not changed by it."""
        self._engine.observe(*self._observations, observation)
        try:
            yield
        finally:
            self._engine.observe(*self._observations)
