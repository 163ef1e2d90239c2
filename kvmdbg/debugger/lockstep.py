"""Two engines instruction by instruction: after each one both must stand in the same state.

Registers are compared at each step, RAM at checkpoints; where RAM differs, both sides go back to
the last checkpoint, and the first step at which one of the differing bytes differs is looked for.
Must not know: where the guest comes from, or how a result is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ..exits import DebugExit, Exit, HltExit, InternalErrorExit, IntrExit, ShutdownExit
from ..x86.debugreg import DR6_BS
from ..x86.registers import MASK32, MASK64, Regs, Sregs
from ..x86.undefined import NOTHING, Effect, tainted
from . import divergence as differences
from .checkpoints import Checkpoints, Track
from .divergence import HOST_OWNED, MOST_BYTES, Divergence, Note, Pair
from .fetching import Executed, Fetcher
from .kinds import Cut, Kind
from .meeting import Trail, meet, meet_in_rep
from .reasons import Case, read_undefined, reason_for
from .sides import PATIENCE, Devices, Side

EVERY: Final = 5000
"""Steps from one comparison of RAM to the next."""

_LONGEST: Final = 15
_CAUSES: Final = 0xE00F
_LOADS_FLAGS: Final = frozenset((0xCF, 0x0F07))  # IRET, SYSRET: wherever they lead
_BUDGET, _SIGNAL, _TIMEOUT = IntrExit("budget"), IntrExit("signal"), IntrExit("timeout")


class End(NamedTuple):
    """Why there is nothing more to compare."""

    why: str


INTERRUPTED: Final = End("interrupted")


class Lockstep:
    """Side A and side B. ``interrupted`` tells that the user wants an end."""

    def __init__(self, a: Side, b: Side, devices: Devices, interrupted: Callable[[], bool]) -> None:
        self._a, self._b, self._devices = a, b, devices
        self._interrupted = interrupted
        self.track = Track()
        self._fetchers = Fetcher(a.engine), Fetcher(b.engine)
        self._system = a.sregs(), b.sregs()
        self._own = frozenset(differences.system(*self._system))
        """System registers that differ from the start: each engine has its own."""
        self._checkpoints = Checkpoints(a, b, devices)
        a.arm()
        b.arm()
        self._checkpoints.keep(self.track)
        self._regs = a.regs()
        """Where both sides stand."""
        self._now = Executed(0, self._fetchers[0].kind(0), self._regs)
        self._exits: tuple[Exit, Exit] = _BUDGET, _BUDGET

    def run(self, budget: int) -> tuple[str, Divergence | None]:
        """Compare up to ``budget`` instructions: why it ended, and the first divergence."""
        end: End | Divergence | None = None
        while end is None:
            if self._interrupted():
                end = INTERRUPTED
            elif self.track.steps >= budget:
                end = End("all steps compared")
            else:
                end = self._advance()
                if end is None and self.track.steps % EVERY == 0:
                    end = self._look_at_memory()
        if end is not INTERRUPTED:
            end = self._look_at_memory() or end
        return (end.why, None) if isinstance(end, End) else ("the two sides part", end)

    # -- one instruction ---------------------------------------------------------------------------

    def _advance(self) -> End | Divergence | None:
        a, b, track = self._a, self._b, self.track
        before = self._regs
        kind = self._fetch(before)
        patience = None if kind.plain else PATIENCE
        self._exits = one, two = a.step(patience), b.step(patience)
        after, other = a.regs(), b.regs()
        effect = kind.effect_with(before.rcx) if kind.effect is None else kind.effect
        taint = track.taint if effect is NOTHING else self._tainted(effect, after)
        if (
            after[:17] == other[:17]
            and not (after[17] ^ other[17]) & ~(taint | HOST_OWNED)
            and _both_stepped(one, two)
            and a.event is b.event is None
        ):
            track.taint, self._regs = taint, after
            track.steps += 1
            if (
                kind.plain
                and 0 < after[16] - before[16] <= _LONGEST
                and a.access is b.access is None
            ):
                return None  # nothing but general registers and memory can have changed
        else:
            verdict = self._settle(after, other, taint)
            if verdict is not None:
                return verdict
            self._regs = a.regs()
            track.steps += 1
        return self._look_around()

    def _fetch(self, before: Regs) -> Kind:
        fetcher = self._fetchers[0]
        kind = fetcher.kind(before.rip)
        self._now = Executed(fetcher.pc(before.rip), kind, before)
        return kind

    def _tainted(self, effect: Effect, after: Regs) -> int:
        """A flag is defined again only if the instruction was carried out, not if it faulted."""
        kind, before = self._now.kind, self._now.before
        done = 0 < (after.rip - before.rip) & MASK64 <= _LONGEST or kind.code in _LOADS_FLAGS
        taint = tainted(self.track.taint, effect if done else Effect(effect.undefined))
        if effect.undefined:
            self.track.undefined_by = self._now
        return taint | kind.loads_frame & self.track.pushed

    def _look_around(self) -> Divergence | None:
        """After a step: system registers, and accesses to devices."""
        devices = self._devices
        self._a.access = self._b.access = None
        system = self._a.sregs(), self._b.sregs()
        if system != self._system or not self._now.kind.plain:
            self._see(*system)
            if differences.system(*system).keys() - self._own:
                return self._divergence()
        if devices.mismatch is not None or devices.at[0] != devices.at[1]:
            return self._divergence()
        return None

    def _see(self, a: Sregs, b: Sregs) -> None:
        self._system = a, b
        for fetcher, sregs in zip(self._fetchers, self._system, strict=True):
            fetcher.see(sregs)

    # -- steps that are not alike ------------------------------------------------------------------

    def _settle(self, after: Regs, other: Regs, taint: int) -> End | Divergence | None:
        """Exits, exceptions, and sides that stand in different places."""
        a, b = self._a, self._b
        events = a.event, b.event
        a.event = b.event = None
        if _SIGNAL in self._exits:
            return INTERRUPTED
        if self._causes_differ(events):
            return self._part(taint)
        over = self._both_over()
        if over is not None:
            return over
        trails = [
            Trail(*each, taint, self.track.pushed)
            for each in zip((a, b), self._fetchers, self._exits, (after, other), strict=True)
        ]
        delivered = any(event is not None for event in events)
        if delivered:
            self.track.pushed |= HOST_OWNED | self.track.taint
        if not self._together(trails[0], trails[1], delivered):
            return self._part(taint)
        self._exits = trails[0].exit, trails[1].exit
        self.track.taint = max(trails, key=lambda trail: trail.steps).stands[-1][1]
        if any(isinstance(exit, HltExit) for exit in self._exits) or self._now.kind.cut is Cut.HLT:
            self.track.steps += 1
            return End("the guest halted")
        return None

    def _causes_differ(self, events: tuple[object, object]) -> bool:
        """Whether the sides ended their steps for different reasons."""
        if None not in (self._a.profile, self._b.profile) and events[0] != events[1]:
            return True
        one, two = map(_cause, self._exits)
        return one != two and {one, two} != {"step", "halt"}

    def _both_over(self) -> End | None:
        """Both ended in the same way, and cannot be stepped on."""
        one = self._exits[0]
        if isinstance(one, ShutdownExit):
            return End("the guest shut down: a triple fault on both sides")
        if isinstance(one, InternalErrorExit):
            return End("neither side can execute the instruction")
        if one == _TIMEOUT:
            return End("both sides hang in one instruction")
        if _cause(one) not in ("step", "halt"):
            return End("both sides stop before the instruction, for a debug exception")
        return None

    def _together(self, a: Trail, b: Trail, delivered: bool) -> bool:
        """Let both stand in one place, where the instruction is known for being cut in two ways."""
        cut = Cut.EVENT if delivered else self._now.kind.cut
        access = self._a.access or self._b.access
        if cut is Cut.NONE and access is not None:
            cut = Cut.MMIO
        self._a.access = self._b.access = None
        start = self._now.before.rip
        if cut is Cut.NONE:
            return meet(a, b, start, further=0)
        if self._now.kind.cut is Cut.REP:
            met = meet_in_rep(a, b, start, MASK64 if self._now.kind.bits == 64 else MASK32)
        else:
            met = meet(a, b, start)
        if met and (a.steps != b.steps or type(a.exit) is not type(b.exit)):
            self.track.notes[Note(1, cut.text, cut.rows)] += 1
        return met

    # -- divergences -------------------------------------------------------------------------------

    def _part(self, taint: int) -> Divergence:
        """The sides part in the step that was just tried."""
        self.track.steps += 1
        return self._divergence(undefined=taint)

    def _divergence(
        self, memory: Mapping[int, Pair] | None = None, undefined: int = 0
    ) -> Divergence:
        now, track, devices = self._now, self.track, self._devices
        a, b = self._a.regs(), self._b.regs()
        system = differences.system(self._a.sregs(), self._b.sregs())
        registers = differences.registers(a, b)
        registers |= {name: pair for name, pair in system.items() if name not in self._own}
        flags = differences.flags(a.rflags, b.rflags, ~(track.taint | undefined | HOST_OWNED))
        if memory is None:
            memory = self._checkpoints.differing(self._a.sregs(), track)
        by = track.undefined_by
        reads = by and read_undefined(now.kind, now.before.rcx, track.taint)
        culprit = f"{by.text} at {by.pc:#x}" if by and reads else ""
        profiles = self._a.profile, self._b.profile
        case = Case(*(now.kind, profiles, self._exits, registers, memory, culprit, track.pushed))
        reason, rows = reason_for(case)
        return Divergence(
            *(track.steps, now.pc, now.text, registers, flags),
            memory=dict(sorted(memory.items())[:MOST_BYTES]),
            exits=None if _cause(self._exits[0]) == _cause(self._exits[1]) else self._exits,
            accesses=devices.mismatch,
            reason=reason,
            rows=rows,
        )

    def _look_at_memory(self) -> Divergence | None:
        """Compare RAM; where it differs, find the step."""
        differing = self._checkpoints.differing(self._a.sregs(), self.track)
        if differing:
            return self._first_of(set(differing))
        self._checkpoints.keep(self.track)
        return None

    def _first_of(self, addresses: set[int]) -> Divergence:
        """Go back, and step until one of these bytes differs."""
        end = self.track.steps
        self.track = self._checkpoints.go_back()
        self._regs = self._a.regs()
        self._see(self._a.sregs(), self._b.sregs())
        one, two = self._a.ram, self._b.ram
        watched = sorted(addresses)[:MOST_BYTES]
        while self.track.steps < end:
            verdict = self._advance()
            differing = {at: (one[at], two[at]) for at in watched if one[at] != two[at]}
            if differing or isinstance(verdict, Divergence):
                return verdict if isinstance(verdict, Divergence) else self._divergence(differing)
            if verdict is not None:
                break
        return self._divergence()


def _both_stepped(one: Exit, two: Exit) -> bool:
    """Two plain single-step stops; quickly, as it is asked at each step."""
    return (
        type(one) is type(two) is DebugExit and one.dr6 == two.dr6 and one.dr6 & _CAUSES == DR6_BS
    )


def _cause(exit: Exit) -> object:
    """Why a step ended, in words that can be compared between engines."""
    if isinstance(exit, DebugExit):
        step = exit.exception == 1 and (not exit.dr6 or exit.dr6 & _CAUSES == DR6_BS)
        return "step" if step else (exit.exception, exit.dr6 & _CAUSES)
    if isinstance(exit, HltExit):
        return "halt"
    return "step" if exit == _BUDGET else (type(exit), getattr(exit, "cause", ""))
