"""Back to earlier moments of the guest, and forward again: what the travel commands mean.

A moment is a stop, a bookmark or a value of the instruction clock. Behind an earlier moment lies
its recorded future, which stays until something differs from it: an edit begins a new branch. Must
not know: how a moment is reached (history), or how a stop is shown.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

from ..engines import Capability, Engine
from ..errors import BadInput, EngineUnavailable, NotRecorded
from ..exits import ExceptionExit, Exit, IntrExit
from ..history.journal import RUN, Journal, Position
from ..history.recorded import Kept, Recorded
from ..history.timeline import Timeline
from .entering import Owed
from .guest import Guest
from .outcome import Outcome
from .reporting import Reporter
from .running import Runner
from .stop import Stop, StopKind
from .tape import Tape, Written
from .visiting import Visits, check_clock

T = TypeVar("T")
_EXIT: Final = IntrExit("travel")


class Mark(NamedTuple):
    """A moment that can be gone to, and what the debugger knew then.

    ``rows`` counts the timeline's rows; ``owed``, ``here`` and ``raised`` are the run loop's.
    """

    position: Position
    rows: int
    exit: Exit = _EXIT
    title: str = ""
    owed: Owed | None = None
    here: int | None = None
    raised: ExceptionExit | None = None


class Later(NamedTuple):
    """The debugger's share of a recorded future; ``here`` is the moment in front of it."""

    here: Position
    rows: Timeline
    size: int
    marks: list[Mark]
    kept: int
    bookmarks: dict[str, Mark]
    written: Written


def recording(engine: Engine, wanted: bool) -> Engine:
    """The engine with a memory, if that is wanted and the engine has a clock."""
    if not wanted or Capability.INSTRUCTION_CLOCK not in engine.capabilities:
        return engine
    return Recorded(engine)


class Travel(Visits):
    """The moments of one VM."""

    def __init__(
        self, guest: Guest, runner: Runner, reporter: Reporter, timeline: Timeline, tape: Tape
    ) -> None:
        self._engine = guest.engine
        self._guest = guest
        self._runner = runner
        self._reporter = reporter
        self._timeline = timeline
        self._tape = tape
        if isinstance(self._engine, Recorded):
            recorded, planter = self._engine, guest.planter
            recorded.planted = lambda: planter.originals
            tape.place = lambda: len(recorded.journal)
        self.start_over()

    def start_over(self) -> None:
        """The guest begins anew: nothing happened yet."""
        self._marks: list[Mark] = []
        self.bookmarks: dict[str, Mark] = {}
        self._later: Later | None = None
        self._landed: Mark | None = None
        """Where the last travel has led, until the guest runs on."""
        self._news = ""
        self._tape.clear()
        self._recording = getattr(self._engine, "recording", None)
        self.loaded = len(self._engine.journal) if isinstance(self._engine, Recorded) else 0
        """So many entries of the journal are the guest's loading."""

    # Around every command that lets the guest run

    def through(self, run: Callable[[], T]) -> T:
        """Run the guest, and remember where that led."""
        if not isinstance(self._engine, Recorded):
            return run()
        recorded, landed = self._recorded(), self._landed
        clock = recorded.clock
        if landed is not None:
            self._leave(landed)
        recorded.inside = True
        try:
            result = run()
        except NotRecorded:
            recorded.inside = False
            if recorded.clock == clock:
                self._undo(recorded, landed or self._marks[-1])
            raise
        finally:
            recorded.inside = False
            if self._landed is None:
                self._check_future(recorded)
                self._mark(recorded)
        return self._told(result)

    def _undo(self, recorded: Recorded, here: Mark) -> None:
        """A replay has refused a command: it left the guest where it was, and nothing behind."""
        if self._later is not None:
            self._rejoin(recorded)
            self._go(recorded, here)
            return
        recorded.go(here.position)
        recorded.forget_ahead()
        self._resume(recorded, here)

    def _leave(self, mark: Mark) -> None:
        """The guest goes on from there: that was a stop too."""
        self._landed = None
        self._runner.rearm()
        if not self._marks or self._marks[-1].position < mark.position:
            self._marks.append(mark)

    def _told(self, result: T) -> T:
        """A Stop says that a new branch has begun."""
        if self._news and isinstance(result, Stop):
            told = replace(result, cause=f"{result.cause}; {self._news}")
            self._reporter.last, self._news = told, ""
            return told
        return result

    def _check_future(self, recorded: Recorded) -> None:
        """Is the guest still on the way that was recorded?"""
        ahead, clock = recorded.ahead, recorded.clock
        if ahead is None:
            return
        edit = recorded.first_edit()
        old = f"the old future, up to clock {ahead.end:,}, is dropped"
        if edit is not None:
            self._drop(recorded, f"a new branch since clock {edit:,}: {old}")
        elif ahead.edits and clock > ahead.edits[0][1]:
            at = ahead.edits[0][1]
            self._drop(recorded, f"your edit at clock {at:,} was not repeated, a new branch: {old}")
        elif not ahead.edits and clock >= ahead.end > ahead.position.clock:
            self._drop(recorded, "")

    def _drop(self, recorded: Recorded, news: str) -> None:
        recorded.forget_ahead()
        later, self._later = self._later, None
        self._news = news or self._news
        if later is None:
            return
        if not news:  # the way since then is the same, so it has those moments too
            for name, mark in later.bookmarks.items():
                self.bookmarks[name] = self._at(recorded, mark.position.clock)
        elif later.bookmarks:
            self._news += f", bookmark {', '.join(sorted(later.bookmarks))} with it"

    # Marks

    def _mark(self, recorded: Recorded) -> None:
        last = self._reporter.last
        self._marks.append(self._now(recorded, last.cause if last else ""))

    def _now(self, recorded: Recorded, title: str) -> Mark:
        entrance, judge = self._runner.entrance, self._runner.judge
        rows, owed = len(self._timeline), entrance.owed
        position = recorded.position
        return Mark(position, rows, entrance.exit, title, owed, judge.here, judge.raised)

    def bookmark(self, name: str) -> int:
        """Name the present moment; the clock there."""
        recorded = self._recorded()
        if not name or name[0].isdigit():
            raise BadInput(f'"{name}" cannot name a moment: a name begins with a letter')
        self._check_future(recorded)
        mark = self.bookmarks[name] = self._now(recorded, f"bookmark {name}")
        return mark.position.clock

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes that the checkpoints hold."""
        engine = self._engine
        return engine.checkpoints.bytes_held if isinstance(engine, Recorded) else 0

    def ahead(self) -> tuple[Timeline, int]:
        """The recorded future's exits, and how many of them the guest has come past again."""
        recorded, later = self._engine, self._later
        if later is None or not isinstance(recorded, Recorded) or recorded.first_edit() is not None:
            return Timeline(), 0
        if len(self._timeline) == later.size:
            return later.rows, 0
        return later.rows, bisect_right(later.rows.column("clock"), recorded.clock)

    @property
    def end(self) -> int:
        """The clock at which the recording ends; the present one without a recording."""
        ahead = self._engine.ahead if isinstance(self._engine, Recorded) else None
        return ahead.end if ahead else self._engine.clock

    def clocks(self) -> dict[str, int]:
        """The bookmarks that can be gone to, and where."""
        return {name: mark.position.clock for name, mark in self.known().items()}

    def _recorded(self) -> Recorded:
        if isinstance(self._engine, Recorded):
            if self._engine.recording is not self._recording:
                self.start_over()
                self.loaded = 0
            return self._engine
        if Capability.INSTRUCTION_CLOCK in self._engine.capabilities:
            raise BadInput("this VM does not record: there is no way back; make one with Vm()")
        raise EngineUnavailable(
            f'the engine "{self._engine.name}" counts no instructions, so there is no way back; '
            "use unicorn"
        )

    # Where to

    def back(self) -> Outcome:
        """To the previous stop."""
        recorded = self._recorded()
        here = recorded.position
        before = [mark for mark in self._marks if mark.position < here]
        if not before:
            raise BadInput("there is no stop before this moment; vm.goto(clock) goes anywhere")
        return self._to_mark(recorded, before[-1])

    def step_back(self, count: int) -> Outcome:
        """``count`` instructions back; an element of a REP counts as one."""
        recorded = self._recorded()
        if not isinstance(count, int) or count < 1:
            raise BadInput(f"count must be a whole number from 1, not {count!r}")
        return self._to_clock(recorded, recorded.clock - count)

    def goto(self, where: int | str) -> Outcome:
        """To a clock or a bookmark."""
        recorded = self._recorded()
        if isinstance(where, int):
            return self._to_clock(recorded, where)
        self._check_future(recorded)
        return self._to_mark(recorded, self.named(where))

    def _to_mark(self, recorded: Recorded, mark: Mark) -> Outcome:
        later = self._later
        self._check_future(recorded)
        if later is not None and self._later is later and mark not in later.marks:
            beyond = mark.position > later.here and mark not in later.bookmarks.values()
            if beyond:  # made on the way since: the recording has that moment too, by its clock
                return self._to_clock(recorded, mark.position.clock)
        self._rejoin(recorded)
        return self._go(recorded, mark)

    def _to_clock(self, recorded: Recorded, clock: int) -> Outcome:
        self._check_future(recorded)
        check_clock(clock, recorded.journal.start, self.end)
        self._rejoin(recorded)
        return self._go(recorded, self._at(recorded, clock))

    def _at(self, recorded: Recorded, clock: int) -> Mark:
        """The first moment of a clock at which the guest could go on."""
        journal, column = recorded.journal, self._timeline.column("clock")
        index = journal.find(clock)
        entry = journal[index]
        if clock < entry.after:
            bisect = bisect_left if entry.call == RUN else bisect_right
            return Mark(Position(index, clock), bisect(column, clock))
        following = journal.next_run(index + entry.enters)
        for mark in self._marks:
            if mark.position.clock == clock and index < mark.position.entry <= following:
                return mark
        rows = bisect_left(column, clock)
        rows += entry.enters and rows < len(column) and column[rows] == clock
        return Mark(Position(following, clock), rows)

    # To a file and back

    def at_end(self, take: Callable[[Recorded, list[Mark], Mark], T]) -> T:
        """Take the whole recording: at its end, from where the guest is brought back afterwards.

        Given are the stops and the present moment. KeyboardInterrupt after Ctrl-C on the way.
        """
        recorded = self._recorded()
        self._check_future(recorded)
        if recorded.ahead is None:
            return take(recorded, self._marks, self._present(recorded))
        landed, clock = self._landed, recorded.clock
        self._rejoin(recorded)
        end = Position(len(recorded.journal), recorded.journal.end)
        last = self._marks[-1] if self._marks else None
        there = last if last and last.position == end else Mark(end, len(self._timeline))
        self._arrive(recorded, there)
        try:
            return take(recorded, self._marks, there)
        finally:
            if landed is not None:
                self._to_mark(recorded, landed)
            else:
                self._to_clock(recorded, clock)

    def _present(self, recorded: Recorded) -> Mark:
        """The present moment, as a stop if there is one."""
        now = self._now(recorded, "")
        last = self._marks[-1] if self._marks else now
        return last if last.position == now.position else now

    def _arrive(self, recorded: Recorded, end: Mark) -> None:
        """To the end of the recording. KeyboardInterrupt after Ctrl-C on the way."""
        self._go(recorded, end)
        if recorded.ahead is not None:
            raise KeyboardInterrupt

    def adopt(
        self, kept: Kept, marks: list[Mark], bookmarks: dict[str, Mark], end: Mark
    ) -> Outcome:
        """The recording is another one: be at its end. KeyboardInterrupt after Ctrl-C."""
        if not isinstance(self._engine, Recorded):
            raise EngineUnavailable(f'the engine "{self._engine.name}" does not record')
        recorded = self._engine
        if not recorded.adopt(kept):
            raise KeyboardInterrupt
        self._recording = recorded.recording
        self.loaded = loading(recorded.journal)
        self._marks, self.bookmarks = marks, bookmarks
        self._arrive(recorded, end)
        clock = end.position.clock
        return Outcome(_EXIT, StopKind.TRAVEL, (f"opened {_told(end, clock, clock)}",))

    # There

    def _rejoin(self, recorded: Recorded) -> None:
        """What was done since the last travel is forgotten; the recording is whole again."""
        later, self._later = self._later, None
        recorded.rejoin()
        if later is None:
            return
        self._timeline.cut(later.size)
        self._timeline.join(later.rows)
        self._marks[later.kept :] = later.marks
        for name, mark in self.bookmarks.items():
            if mark.position > later.here:
                self.bookmarks[name] = self._at(recorded, mark.position.clock)
        self.bookmarks = later.bookmarks | self.bookmarks
        self._tape.put(later.here.entry, later.written)

    def _go(self, recorded: Recorded, mark: Mark) -> Outcome:
        was, end = recorded.clock, recorded.journal.end
        reached = recorded.go(mark.position)
        if reached != mark.position:
            column = self._timeline.column("clock")
            mark = Mark(reached, bisect_left(column, reached.clock))
        self._split(recorded, mark)
        self._resume(recorded, mark)
        return Outcome(_EXIT, StopKind.TRAVEL, (_told(mark, was, end),))

    def _split(self, recorded: Recorded, mark: Mark) -> None:
        """What lies behind the moment is kept apart."""
        written = self._tape.rewind(mark.position.entry)
        kept = bisect_right([m.position for m in self._marks], mark.position)
        later = {n: m for n, m in self.bookmarks.items() if m.position > mark.position}
        rows = self._timeline.cut(mark.rows)
        if recorded.ahead is not None:
            marks = self._marks[kept:]
            self._later = Later(mark.position, rows, mark.rows, marks, kept, later, written)
        del self._marks[kept:]
        self.bookmarks = {n: m for n, m in self.bookmarks.items() if n not in later}

    def _resume(self, recorded: Recorded, mark: Mark) -> None:
        """The run loop knows what it knew then."""
        entrance, judge = self._runner.entrance, self._runner.judge
        entrance.resume(recorded.setting, mark.exit, mark.owed)
        self._guest.planter.forget(recorded.planted_at(mark.position))
        judge.here = entrance.pc if mark.exit is _EXIT else mark.here
        judge.raised = mark.raised
        self._landed = mark


def loading(journal: Journal) -> int:
    """How many entries at the beginning load a guest: up to the first KVM_SET_GUEST_DEBUG."""
    for index in range(len(journal)):
        if journal[index].enters:
            break
        if journal[index].call == "set_guest_debug":
            return index + 1
    return 0


def _told(mark: Mark, was: int, end: int) -> str:
    """``back at clock 1,234: breakpoint 1 (INT3) at loop``."""
    clock = mark.position.clock
    way = "back at" if clock < was else "forward at" if clock > was else "at"
    what = f": {mark.title}" if mark.title else ""
    rest = f"; the recording goes on to clock {end:,}" if clock < end else ""
    return f"{way} clock {clock:,}{what}{rest}"
