"""The run loop: continue and step, and step off a breakpoint (disarm, step, arm again).

All of it once, over the ioctl line (spec 9-11). ``Judge`` says what an exit means; this file says
what comes next. Must not know: what a stop shows, or who asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..engines.interrupts import HeldSigint
from ..exits import DebugExit, ExceptionExit, Exit, IntrExit, IoExit, MmioExit
from ..x86.debugreg import DR6_BS
from ..x86.registers import RFLAGS
from . import causes
from .entering import INJECT_BP, INJECT_DB, Entrance
from .handlers import handler_of
from .judging import CAUSES, Judge
from .limits import Limits
from .outcome import Goal, Outcome, both, of_intr
from .passes import Passes
from .stop import StopKind
from .strides import Strides

_TF: Final = int(RFLAGS.TF)
_LOADS_FLAGS: Final = ("popf", "iret", "int", "syscall", "sysret", "sysenter", "sysexit")
"""Instructions after which TF is not what it was before, by the start of their names."""


class Runner:
    """Runs one guest, one command at a time."""

    def __init__(self, entrance: Entrance) -> None:
        self.entrance = entrance
        self._engine = entrance.engine
        self._guest = entrance.guest
        self.judge = Judge(entrance)
        self._strides = Strides(entrance)
        self._start = 0
        """Where the step at hand began."""
        self.sigint = HeldSigint()
        """The one that is held now; steps look at it, runs end by themselves."""

    def start_over(self) -> None:
        """The guest begins anew."""
        self.judge.start_over()
        self.entrance.start_over()

    def rearm(self) -> None:
        """Somebody else used the engine in between: set again which vectors it watches."""
        self._engine.watch_vectors(frozenset(self.entrance.table.vectors))

    def request_stop(self) -> None:
        """End the command that is under way. From any thread."""
        self.judge.requested = True
        self._engine.request_stop()

    def enter_by_hand(self, limits: Limits) -> Exit:
        """KVM_RUN, once, for the user: nobody judges the exit, nothing is counted."""
        exit = self.entrance.enter_by_hand(limits)
        self.judge.start_over()
        if isinstance(exit, ExceptionExit):
            self.judge.here, self.judge.raised = exit.pc, exit
        return exit

    # Commands

    def cont(self, limits: Limits, goal: Goal | None = None, hits: int = 1) -> Outcome:
        """Run until something is worth a stop; ``hits``: a breakpoint only when it is the last."""
        self._begin(goal, single=False)
        try:
            outcome = self._run(limits)
            return outcome if hits == 1 else self._again(outcome, hits - 1, limits)
        finally:
            self._end()

    def _again(self, outcome: Outcome, hits: int, limits: Limits) -> Outcome:
        """So many hits more of the breakpoint that was met, unless something else stops it."""
        place, pays = self.entrance.pc, True
        while hits and outcome.kind is StopKind.BREAKPOINT and self.entrance.pc == place:
            passes = Passes(self.entrance)
            if pays and passes.can(hits - 1):
                counted, other = self._pass(passes, hits - 1, limits)
                if other is not None:
                    return other
                hits, pays = hits - counted, counted > 0
            outcome = self._run(limits)
            hits -= 1
        return outcome

    def _pass(self, passes: Passes, count: int, limits: Limits) -> tuple[int, Outcome | None]:
        """Count hits up to so many; the guest stands in front of the next then, or has stopped."""
        counted = 0
        with self.entrance.every_vector():
            while counted < count:
                more, exit = passes.go(count - counted, limits)
                counted += more
                self.judge.here, self.judge.raised = passes.pc if passes.counted else None, None
                if exit is None:
                    break
                self.entrance.record(exit)
                outcome = self.judge.judge(exit, limits)
                if outcome is not None:
                    return counted, outcome
        return counted, None

    def run_to(self, goal: Goal, limits: Limits) -> Outcome:
        """Run to a place; a breakpoint at the present one does not count again."""
        self.judge.here = self._guest.pc()
        return self.cont(limits, goal)

    def step(self, count: int, until: Callable[[], bool] | None = None) -> Outcome:
        """Execute ``count`` instructions, fewer if something else stops the guest.

        ``until`` is asked after each one; true ends it.
        """
        self._begin(None, single=count == 1)
        self._strides.begin()
        try:
            with self.entrance.every_vector():
                return self._steps(count, until)
        finally:
            self._end()

    def _begin(self, goal: Goal | None, single: bool) -> None:
        self.entrance.begin(goal.address if goal else None, single)
        self.judge.begin(goal)

    def _end(self) -> None:
        if self.judge.goal is not None:
            self.entrance.plant()
        self.judge.end()

    # Continuing

    def _run(self, limits: Limits) -> Outcome:
        while True:
            if self.sigint.seen:
                return of_intr(IntrExit("signal"), limits)
            if limits.left[0] == 0:
                return of_intr(IntrExit("budget"), limits)
            exit = self._go(limits)
            outcome = None if exit is None else self.judge.judge(exit, limits)
            if outcome is not None:
                return outcome

    def _go(self, limits: Limits) -> Exit | None:
        """One stretch; None if it ended at a place that means nothing to anybody."""
        entrance = self.entrance
        counted, self.judge.here = self.judge.here, None
        if counted == entrance.pc and entrance.blocked(entrance.pc):
            exit = self._into_handler(limits) if self._taking else self._step_off(limits)
            if isinstance(exit, IntrExit) and counted == entrance.pc:
                self.judge.here = counted
            return exit
        entrance.lifted = self.judge.raised = None
        return entrance.enter(entrance.running(), entrance.table.debugreg, limits)

    def _step_off(self, limits: Limits) -> Exit | None:
        """Pass the instruction at a breakpoint: without it, one step, with it again (spec 9)."""
        start = self.entrance.pc
        trapping = self._engine.get_regs().rflags & _TF
        with self.entrance.every_vector():
            exit = self.entrance.step_once()
        if not _is_step(exit):
            return None if _is_access(exit) else exit
        if trapping:
            self._give_back_trap(start)
        if self.entrance.pc == start and self._is_rep(start):
            return self._pass_rep(start, limits)
        return exit

    def _give_back_trap(self, start: int) -> None:
        """The guest was stepping itself: it gets its #DB, and the TF that our step took."""
        instruction = self._guest.instruction(start)
        if instruction is None or not instruction.mnemonic.startswith(_LOADS_FLAGS):
            self._engine.set_guest_debug(0)
            regs = self._engine.get_regs()
            self._engine.set_regs(regs._replace(rflags=regs.rflags | _TF))
        self.entrance.owe(INJECT_DB, DR6_BS, causes.guest_event(DR6_BS))

    def _is_rep(self, pc: int) -> bool:
        instruction = self._guest.instruction(pc)
        return instruction is not None and instruction.mnemonic.startswith("rep")

    def _pass_rep(self, start: int, limits: Limits) -> Exit | None:
        """The rest of a REP: its breakpoint counts once, not for each iteration (SDM 17.3.1.1)."""
        entrance = self.entrance
        instruction = self._guest.instruction(start)
        after = start + (instruction.size if instruction else 1)
        with entrance.without(start) as debugreg, entrance.planted(after):
            exit = entrance.enter(entrance.running(), debugreg, limits)
        passed = isinstance(exit, DebugExit) and exit.exception == 3 and exit.pc == after
        return None if passed and not self.judge.counts(after) else exit

    @property
    def _taking(self) -> tuple[int, bool, int | None] | None:
        """Vector, whether by INT n, and error code of what the guest takes at pc, if anything."""
        owing, raised = self.entrance.owing, self.judge.raised
        if owing is not None:
            return owing, False, None
        if raised is None or raised.pc != self.entrance.pc:
            return None
        return raised.exception, raised.software, raised.error_code

    def _into_handler(self, limits: Limits) -> Exit | None:
        """Let the guest take a vector, up to its handler's first instruction: None if it is there.

        An exit instead if that place has a breakpoint, or if the guest never gets there.
        """
        entrance = self.entrance
        vector, software, code = self._taking or (0, False, None)
        self.judge.raised = None
        target = handler_of(self._guest, vector, software=software, error_code=code)
        if entrance.owing is None:
            self._announce(vector, software)
        with entrance.without(entrance.pc) as debugreg, entrance.planted(target):
            exit = entrance.enter(entrance.running(), debugreg, limits)
        there = isinstance(exit, DebugExit) and exit.exception == 3 and exit.pc == target
        return None if there and not self.judge.counts(entrance.pc) else exit

    def _announce(self, vector: int, software: bool) -> None:
        """Say where the step leads. An INT3 would come back to the host, so it is injected."""
        entrance = self.entrance
        if software and self._guest.code(entrance.pc, 1) == b"\xcc":
            entrance.owe(INJECT_BP, 0, causes.GUEST_INT3)
        else:
            entrance.note(causes.into_handler(vector, software))

    # Stepping

    def _steps(self, count: int, until: Callable[[], bool] | None) -> Outcome:
        done = 0
        while done < count:
            if self.sigint.seen:
                return _cut_short(of_intr(IntrExit("signal"), Limits(self._engine)), done, count)
            walked, exit = self._stride(1 if until else count - done)
            done += walked
            if exit is not None or not walked:
                outcome = self._finish_step(exit)
                if outcome is not None:
                    return _cut_short(outcome, done, count)
                done += 1
            if until is not None and until():
                break
        self.judge.here = self.entrance.pc
        return self._stepped(done)

    def _stride(self, count: int) -> tuple[int, Exit | None]:
        """How many plain steps went in a row, and the exit that was not one or met a breakpoint."""
        self._start = self.entrance.pc
        if self._taking or self.entrance.blocked(self._start):
            return 0, None
        self.judge.raised = None
        made = self._strides.go(count)
        if made is None:
            return self._walk(min(count, self._strides.singles))
        walked, self._start, exit = made
        arrived = exit.pc in self.entrance.table.at
        return (walked - 1, exit) if arrived else (walked, None)

    def _walk(self, count: int) -> tuple[int, Exit | None]:
        """Plain steps one by one."""
        entrance, engine = self.entrance, self._engine
        set_guest_debug, run, append = engine.set_guest_debug, engine.run, entrance.timeline.append
        at, debugreg = entrance.table.at, entrance.table.debugreg
        control = entrance.stepping()
        entrance.control, entrance.debugreg, entrance.lifted = control, debugreg, None
        for done in range(count):
            set_guest_debug(control, debugreg)
            exit = run()
            self._start = entrance.pc
            if type(exit) is not DebugExit:
                entrance.record(exit)
                return done, exit
            entrance.exit, entrance.pc = exit, exit.pc
            append(exit, exit.pc, engine.clock)
            if exit.dr6 & CAUSES != DR6_BS or exit.exception != 1 or exit.pc in at:
                return done, exit
        return count, None

    def _finish_step(self, exit: Exit | None) -> Outcome | None:
        """Bring one step to its end, which may take several exits; an outcome if it must stop."""
        limits = Limits(self._engine)
        self.judge.here = None
        while True:
            if exit is not None:
                exit = self.entrance.complete(exit, self._start)
            else:
                exit = self._into_handler(limits) if self._taking else self.entrance.step_once()
            if exit is None:
                return None
            if _is_access(exit):
                return self._arrive(exit)
            outcome = self.judge.judge(exit, limits)
            if _is_step(exit):
                return both(outcome, self._arrive(exit))
            if outcome is not None:
                return outcome
            exit = None

    def _arrive(self, exit: Exit) -> Outcome | None:
        """The step is done; it may have led to a breakpoint. Another round of a REP does not."""
        pc = self.entrance.pc
        if self.judge.here == pc:
            return None
        if pc in self.entrance.table.at and (pc != self._start or not self._is_rep(pc)):
            return self.judge.arrive(exit)
        return None

    def _stepped(self, done: int) -> Outcome:
        exit, kind = self.entrance.exit, StopKind.STEP
        if _is_access(exit):
            kind = StopKind.IO if isinstance(exit, IoExit) else StopKind.MMIO
        elif done == 1 and self.entrance.handed_back:
            kind = StopKind.GUEST_DEBUG
        return Outcome(exit, kind, (causes.stepped(done), *self.entrance.notes))


def _is_step(exit: Exit) -> bool:
    """A single-step trap: the instruction is done."""
    return isinstance(exit, DebugExit) and exit.exception == 1 and bool(exit.dr6 & DR6_BS)


def _is_access(exit: Exit) -> bool:
    return isinstance(exit, IoExit | MmioExit)


def _cut_short(outcome: Outcome, done: int, count: int) -> Outcome:
    """Something ended the steps; say how many were done, or that the step was done as well."""
    complete = _is_step(outcome.exit)
    if count == 1:
        reasons = (causes.stepped(1), *outcome.reasons) if complete else outcome.reasons
    else:
        reasons = (*outcome.reasons, f"after {done + complete:,} of {count:,} steps")
    return outcome._replace(reasons=reasons)
