"""One command, from the call to the Stop: check it, run it, hold Ctrl-C back, report.

Must not know: what happens inside a run, or what else a VM can do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ..engines.interrupts import HeldSigint
from ..errors import BadInput, UnknownName, VmBusy, VmInterrupted
from ..exits import Exit, IntrExit, ShutdownExit
from .explain import Explanation
from .guest import Guest
from .handlers import why_shutdown
from .limits import Limits
from .outcome import Outcome, of_intr
from .reporting import Reporter
from .running import Runner
from .stepping import HOWS, Stepper
from .stop import Stop
from .suggest import did_you_mean
from .turns import PATIENCE, Turns
from .why import why

T = TypeVar("T")


class Commands:
    """The commands that let a guest run."""

    def __init__(self, guest: Guest, runner: Runner, reporter: Reporter) -> None:
        self._guest = guest
        self._engine = guest.engine
        self._runner = runner
        self._stepper = Stepper(guest, runner)
        self._reporter = reporter
        self.turns = Turns()

    def cont(self, max_instructions: int | None, timeout: float | None, hits: int) -> Stop:
        """See ``Vm.cont``."""
        if not isinstance(hits, int) or hits < 1:
            raise BadInput(f"hits must be a whole number from 1, not {hits!r}")
        limits = Limits(self._engine, max_instructions, timeout)
        return self.carry_out(lambda: self._runner.cont(limits, hits=hits))

    def step(self, count: int, how: str, where: int | str | None) -> Stop:
        """See ``Vm.step``."""
        if not isinstance(count, int) or count < 1:
            raise BadInput(f"count must be a whole number from 1, not {count!r}")
        if how not in HOWS:
            raise UnknownName(f'unknown way to step "{how}"{did_you_mean(str(how), HOWS)}')
        if (where is None) == (how == "until"):
            raise BadInput('step(how="until", where=...): the two belong together')
        if how in ("out", "until") and count != 1:
            raise BadInput(f'step(how="{how}") takes no count')
        return self.carry_out(lambda: self._stepped(count, how, where))

    def _stepped(self, count: int, how: str, where: int | str | None) -> Outcome:
        if where is not None:
            return self._stepper.until(where)
        if how == "out":
            return self._stepper.out()
        return self._stepper.over(count) if how == "over" else self._stepper.into(count)

    def enter(self, max_instructions: int | None, timeout: float | None) -> Exit:
        """See ``Vm.enter``."""
        limits = Limits(self._engine, max_instructions, timeout)
        with self.occupied():
            try:
                with HeldSigint():
                    return self._runner.enter_by_hand(limits)
            except KeyboardInterrupt as interrupt:
                place = self._guest.place(self._guest.pc())
                how = "%vm exit, %step or %vm run goes on"
                raise VmInterrupted(
                    f"guest stopped at {place}; the VM is intact: {how}"
                ) from interrupt

    @property
    def busy(self) -> bool:
        """Whether another thread has the VM."""
        return self.turns.taken

    def check_idle(self) -> None:
        """VmBusy if another thread has the VM and keeps it."""
        if self.turns.taken:
            with self.occupied():
                pass

    @contextmanager
    def occupied(self, patience: float = PATIENCE, looking: bool = False) -> Iterator[None]:
        """The VM is this thread's alone; VmBusy for all others, and here if it is theirs."""
        if not self.turns.take(patience, looking):
            raise VmBusy("the VM is running in another thread; only request_stop() may be called")
        try:
            yield
        finally:
            self.turns.give_back()

    def carry_out(self, run: Callable[[], Outcome]) -> Stop:
        with self.occupied():
            return self._held(run)

    def apart(self, run: Callable[[], T]) -> T:
        """Move the guest without a stop. KeyboardInterrupt when it is over, if Ctrl-C came."""
        with self.occupied(), HeldSigint():
            return run()

    def _held(self, run: Callable[[], Outcome]) -> Stop:
        """Run the guest and say how it ended; Ctrl-C is held back until the machine is whole."""
        self._reporter.begin()
        stop: Stop | None = None
        try:
            with HeldSigint() as held:
                self._runner.sigint = held
                stop = self._reporter.report(self._explained(run()))
        except KeyboardInterrupt as interrupt:
            stop = stop or self._reporter.report(self._interrupted())
            raise VmInterrupted(self._reporter.interruption(stop)) from interrupt
        return stop

    def _explained(self, outcome: Outcome) -> Outcome:
        """A triple fault says by itself only that it happened."""
        if not isinstance(outcome.exit, ShutdownExit):
            return outcome
        why = why_shutdown(self._guest)
        self._runner.rearm()
        return outcome._replace(reasons=(why,)) if why else outcome

    def why(self, last: Exit | None) -> Explanation:
        """See ``Vm.why``."""
        try:
            return why(self._guest, self._reporter.last, last)
        finally:
            self._runner.rearm()

    def _interrupted(self) -> Outcome:
        """An engine that raises KeyboardInterrupt itself has already left the guest."""
        exit = IntrExit("signal")
        self._runner.entrance.record(exit)
        return of_intr(exit, Limits(self._engine))
