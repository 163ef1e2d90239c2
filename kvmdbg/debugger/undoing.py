"""Taking back what the user changed at the present moment, one edit at a time.

Must not know: how a moment is reached (history), or how it is shown what was taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final

from ..engines import Engine
from ..errors import BadInput, NotRecorded
from ..history.journal import Journal, Position
from ..history.recorded import Recorded, Taken
from ..uapi import GuestDbg
from .diffing import Diff, compare, look_at
from .guest import PAGE, Guest
from .running import Runner
from .stop import GuestDebugSetting
from .travel import Travel
from .visiting import Visit

_INJECT: Final = int(GuestDbg.INJECT_DB | GuestDbg.INJECT_BP)
_SIDES: Final = ("with your edit", "undone")


@dataclass(frozen=True)
class Undone:
    """An edit that was taken back: at which clock, which calls of the ioctl line it had been.

    ``diff`` has what is otherwise again; empty for what no register and no byte shows, as a queued
    interrupt.
    """

    clock: int
    calls: tuple[str, ...]
    diff: Diff


class Undoing:
    """The part of ``Vm`` that takes edits back."""

    _guest: Guest
    _engine: Engine
    _travel: Travel
    _read_only: str
    _runner: Runner
    _together: tuple[int, int] = (0, 0)
    """Entries of the journal that are one edit: the latest that had several."""
    _settings: tuple[tuple[int, GuestDebugSetting], ...] = ()
    """What was in force when KVM_SET_GUEST_DEBUG was given by hand, and how many entries before."""

    def _check(self) -> None:
        raise NotImplementedError

    def visiting(self) -> AbstractContextManager[Visit]:
        """See ``Moments``."""
        raise NotImplementedError

    @contextmanager
    def one_edit(self) -> Iterator[None]:
        """What is changed inside ``with`` is one edit to :meth:`undo`."""
        engine = self._engine
        begin = len(engine.journal) if isinstance(engine, Recorded) else 0
        yield
        self._together = (begin, len(engine.journal)) if isinstance(engine, Recorded) else (0, 0)

    def _note_setting(self) -> None:
        """KVM_SET_GUEST_DEBUG is about to be given by hand."""
        if isinstance(self._engine, Recorded):
            before = self._runner.entrance.setting
            self._settings += ((self._engine.position.entry, before),)

    def undo(self) -> Undone:
        """Take back the last edit: registers, memory, KVM_SET_GUEST_DEBUG, an injection, a queue.

        Everything is as it was in front of the edit, and the edit is gone from the recording: there
        is no redo. Called again, it goes further back. If the guest has run since, that would undo
        its run too, so it is refused; the error says how to go back to the edit first. Raises
        BadInput for that and where there is nothing to undo, otherwise as :meth:`goto` does.

        >>> from kvmdbg import Vm
        >>> with Vm() as vm:
        ...     vm.load(b"\\x90\\xf4")      # nop; hlt
        ...     vm.set_regs(rax=5)
        ...     vm.undo().diff.registers
        {'rax': (5, 0)}
        """
        self._check()
        if self._read_only:
            raise NotRecorded(f"a replay cannot be changed; {self._read_only}")
        recorded = self._travel._recorded()
        here = recorded.position
        setting = self._last_setting(recorded, here)
        if setting is not None:
            self._runner.entrance.set_by_hand(setting.control & ~_INJECT, setting.debugreg)
            same = look_at(recorded, self._guest.planter.originals).kept()
            return Undone(here.clock, ("set_guest_debug",), compare(same, same, _SIDES))
        target = Position(self._last_edit(recorded, here), here.clock)
        with self.visiting() as visit:
            visit.past(self._travel.loaded).stand(*reversed(target))
            snapshot = recorded._engine.snapshot()
        entries = [recorded.journal[n] for n in range(target.entry, here.entry)]
        before = look_at(recorded, self._guest.planter.originals).kept()
        control, debugreg = recorded.setting
        recorded.restore(Taken(snapshot, target, recorded.recording, None))
        recorded.set_guest_debug(control & ~_INJECT, debugreg)
        self._travel.forget_behind(recorded, target)
        for entry in entries:
            if entry.call == "write_memory":
                address, data = entry.arguments
                now = self._guest.memory.read(address, len(data))
                self._guest.shadow.note(address, now)
        after = look_at(recorded, self._guest.planter.originals)
        calls = tuple(entry.call for entry in entries)
        return Undone(here.clock, calls, compare(before, after, _SIDES))

    def _last_setting(self, recorded: Recorded, here: Position) -> GuestDebugSetting | None:
        """What was in force before the last edit, if that was a setting given here by hand."""
        settings = [kept for kept in self._settings if kept[0] < here.entry]
        last = max((entry for entry, _ in recorded._edits if entry < here.entry), default=-1)
        if not settings or settings[-1][0] <= last:
            return None
        place, setting = settings[-1]
        if any(recorded.journal[n].enters for n in range(place, here.entry)):
            return None
        self._settings = tuple(settings[:-1])
        return setting

    def _last_edit(self, recorded: Recorded, here: Position) -> int:
        """The journal's entry at which the last edit begins."""
        journal, loaded = recorded.journal, self._travel.loaded
        edits = [entry for entry, _ in recorded._edits if loaded <= entry < here.entry]
        if not edits:
            raise BadInput(
                "there is nothing to undo: nothing was changed since the guest was loaded"
            )
        last = edits[-1]
        if any(journal[n].enters for n in range(last, here.entry)):
            clock = journal.before(last)
            behind = self._travel._at(recorded, clock).position.entry > last
            way = "and %vm undo takes it back there" if behind else "in front of that edit"
            raise BadInput(
                f"the guest has run since your last edit, at clock {clock:,}, and that is not "
                f"undone; %vm goto {clock} leads there, {way}"
            )
        begin, end = self._together
        if begin <= last < end <= here.entry:
            return min(entry for entry in edits if entry >= begin)
        while last - 1 in edits and _continues(journal, last):
            last -= 1
        return last


def _continues(journal: Journal, entry: int) -> bool:
    """Whether a write goes on behind a page where the one before it ended."""
    one, two = journal[entry - 1], journal[entry]
    if one.call != "write_memory" or two.call != "write_memory":
        return False
    address, data = one.arguments
    behind: int = address + len(data)
    return behind == two.arguments[0] and behind % PAGE == 0
