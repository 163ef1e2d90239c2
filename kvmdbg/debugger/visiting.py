"""Looking at other moments of a recording without going there: whoever looks comes back.

The guest, its recorded future, the timeline, marks and bookmarks are afterwards as they were. Must
not know: what is looked at, or what for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..engines.interrupts import HeldSigint, held_sigint
from ..errors import BadInput, UnknownName, VmInterrupted
from ..history.journal import Position
from ..history.journaling import Ahead
from ..history.recorded import Recorded
from .diffing import Look, look_at
from .suggest import did_you_mean

if TYPE_CHECKING:
    from ..history.asking import Past
    from .guest import Guest
    from .running import Runner
    from .travel import Later, Mark


class Visits:
    """The part of ``Travel`` that looks at moments."""

    _marks: list[Mark]
    _later: Later | None
    _landed: Mark | None
    _guest: Guest
    _runner: Runner
    bookmarks: dict[str, Mark]

    def _recorded(self) -> Recorded:
        raise NotImplementedError

    def _at(self, recorded: Recorded, clock: int) -> Mark:
        raise NotImplementedError

    @contextmanager
    def visiting(self) -> Iterator[Visit]:
        """Inside ``with``, other moments can be looked at; nobody else may use the VM meanwhile.

        Ctrl-C ends it as VmInterrupted, when the guest stands here again.
        """
        recorded = self._recorded()
        try:
            with held_sigint() as held:
                visit = Visit(self, recorded, held)
                try:
                    yield visit
                finally:
                    visit.come_back()
        except KeyboardInterrupt as interrupt:
            raise VmInterrupted(
                "looking at other moments was ended; the VM is intact"
            ) from interrupt

    def forget_behind(self, recorded: Recorded, here: Position) -> None:
        """The machine was put back to ``here``, and what came behind it is forgotten."""
        if recorded.ahead is None:
            self._later = None
        self._guest.planter.forget(recorded.planted_at(here))
        self._marks = [mark for mark in self._marks if mark.position <= here]
        kept = {n: mark for n, mark in self.bookmarks.items() if mark.position <= here}
        self.bookmarks = kept
        if self._landed is not None and self._landed.position > here:
            self._landed = self._landed._replace(position=here)
        self._runner.entrance.resume(
            recorded.setting, self._runner.entrance.exit, self._runner.entrance.owed
        )

    def known(self) -> dict[str, Mark]:
        """The bookmarks that can be gone to."""
        return self.bookmarks | (self._later.bookmarks if self._later else {})

    def named(self, name: str) -> Mark:
        """A bookmark; UnknownName if there is none."""
        return pick(name, self.known())


def pick(name: str, known: Mapping[str, Mark]) -> Mark:
    """The bookmark of that name; UnknownName if there is none."""
    if name not in known:
        raise UnknownName(f'no bookmark "{name}"{did_you_mean(name, tuple(known))}')
    return known[name]


def check_clock(clock: int, begin: int, end: int) -> None:
    """BadInput for a clock outside the recording."""
    if clock < begin:
        raise BadInput(f"the recording begins at clock {begin:,}; {clock:,} is before that")
    if clock > end:
        raise BadInput(f"the recording ends at clock {end:,}; {clock:,} is beyond that")


class Visit:
    """One time of looking around.

    The journal is either the way on which the guest came here, or the recording as it was before
    the guest was taken back (``_beyond``): what was executed since then is set aside meanwhile.
    """

    def __init__(self, travel: Visits, recorded: Recorded, held: HeldSigint) -> None:
        self._travel = travel
        self._recorded = recorded
        self._held = held
        self._here = recorded.position
        there = recorded.ahead is not None and recorded.first_edit() is None
        self._later = travel._later if there else None
        """What lies ahead, unless an edit has made it unreachable."""
        self._ahead, recorded.ahead = recorded.ahead, None
        self._explored: Ahead | None = None
        self._beyond = False
        self._marks = travel._marks
        self.first = recorded.journal.start
        """The clock at which the recording begins."""
        end = self._ahead.end if self._ahead and there else 0
        self.last = max(end, self._here.clock)
        """The clock at which it ends."""

    def look(self, where: int | str | None = None) -> Look:
        """The guest at a clock, at a bookmark, or where it stood when the visit began.

        It holds until the next look. Raises BadInput and UnknownName as ``goto`` does.
        """
        self._recorded.rejoin()
        position = self._find(where)
        reached = self._recorded.go(position)
        if self._held.seen:
            raise KeyboardInterrupt
        return look_at(self._recorded, self._recorded.planted_at(reached))

    def past(self, loaded: int, whole: bool = False) -> Past:
        """The recording to be asked: up to where the guest stood, or ``whole``, as far as it goes.

        ``loaded`` entries of it are the guest's loading. It holds until the next look.
        """
        from ..history.asking import Past

        self._recorded.rejoin()
        beyond = whole and self.last > self._here.clock
        self._turn(beyond)
        journal = self._recorded.journal
        end = Position(len(journal), journal.end) if beyond else self._here
        return Past(self._recorded, end, loaded)

    def _find(self, where: int | str | None) -> Position:
        if isinstance(where, int):
            check_clock(where, self.first, self.last)
            self._turn(where > self._here.clock)
            return self._travel._at(self._recorded, where).position
        self._turn(self._later is not None and where in self._later.bookmarks)
        return self._here if where is None else pick(where, self._known()).position

    def _known(self) -> dict[str, Mark]:
        return self._travel.bookmarks | (self._later.bookmarks if self._later else {})

    @property
    def bookmarks(self) -> frozenset[str]:
        """The names that can be looked at."""
        return frozenset(self._known())

    def _turn(self, beyond: bool) -> None:
        """Let the journal be the one that has the moment."""
        ahead, recorded, travel = self._ahead, self._recorded, self._travel
        if beyond == self._beyond or ahead is None:
            return
        self._go_surely(ahead.position)
        if beyond:
            self._explored, recorded.ahead = recorded.ahead, ahead
            later = self._later
            travel._marks = self._marks[: later.kept] + later.marks if later else []
        else:
            recorded.ahead = self._explored
            travel._marks = self._marks
        self._beyond = beyond
        recorded.rejoin()

    def _go_surely(self, position: Position) -> None:
        """Be there, whatever is pressed; a Ctrl-C that came is not forgotten."""
        came, held = self._held.seen, self._held
        while True:
            held.seen = False
            self._recorded.go(position)
            if not held.seen:
                break
            came = True
            self._recorded.rejoin()
        held.seen = came

    def come_back(self) -> None:
        """The guest stands where it stood, with the future that it had."""
        self._recorded.rejoin()
        self._turn(False)
        self._go_surely(self._here)
        self._recorded.ahead = self._ahead
