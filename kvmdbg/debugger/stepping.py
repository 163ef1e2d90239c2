"""Steps that are more than one instruction: over a call, out of a function, until a place.

Must not know: breakpoints, or how the guest enters and leaves; that is the runner's.
"""

from __future__ import annotations

from typing import Final

from ..errors import ExpressionError, KvmdbgError
from ..x86.decode import is_call_like, is_ret
from . import causes
from .expressions import Condition, compile_condition
from .guest import Guest, Moment
from .limits import Limits
from .outcome import Goal, Outcome
from .running import Runner
from .stop import StopKind

MOST_STEPS: Final = 1_000_000
"""``out`` and ``until CONDITION`` give up after so many steps."""

HOWS: Final = ("into", "over", "out", "until")


class Stepper:
    """The ways to step that ``Vm.step`` offers."""

    def __init__(self, guest: Guest, runner: Runner) -> None:
        self._guest = guest
        self._runner = runner
        self._limits = Limits(guest.engine)

    def into(self, count: int) -> Outcome:
        """``count`` instructions."""
        return self._runner.step(count)

    def over(self, count: int) -> Outcome:
        """``count`` times the next instruction; a CALL, INT n, REP or LOOP counts as one.

        A jumped-over call ends when its return address is reached with the stack pointer back up;
        breakpoints inside it stop as ever.
        """
        outcome = self._over_one()
        done = 1
        while done < count and outcome.kind in _WENT_WELL:
            outcome = self._over_one()
            done += 1
        if count == 1:
            return outcome
        if outcome.kind in _WENT_WELL:
            return outcome._replace(reasons=(f"{count:,} steps over",))
        return outcome._replace(reasons=(*outcome.reasons, f"in step over {done:,} of {count:,}"))

    def _over_one(self) -> Outcome:
        pc = self._guest.pc()
        instruction = self._guest.instruction(pc)
        if instruction is None or not is_call_like(instruction):
            return self._runner.step(1)
        return self._run_to(pc + instruction.size, self._rsp(), f"stepped over {instruction.text}")

    def _run_to(self, address: int, rsp: int, title: str) -> Outcome:
        return self._runner.run_to(Goal(address, rsp, title), self._limits)

    def _rsp(self) -> int:
        return self._guest.engine.get_regs().rsp

    def out(self) -> Outcome:
        """Until the function at hand has returned.

        At a function's first instruction its return address is on top of the stack, and the guest
        runs there at once. Elsewhere nothing says where the frame is, so the guest is stepped, over
        calls, until a RET executes with the stack pointer not below where it is now; that is exact
        whatever the function does, and gives up after MOST_STEPS steps.
        """
        floor, title = self._rsp(), f"stepped out of {self._guest.label(self._guest.pc())}"
        back = self._return_address()
        if back is not None:
            return self._run_to(back, floor + 1, title)
        for _ in range(MOST_STEPS):
            instruction = self._guest.instruction(self._guest.pc())
            leaving = instruction is not None and is_ret(instruction) and self._rsp() >= floor
            outcome = self._over_one()
            if outcome.kind not in _WENT_WELL:
                return outcome
            if leaving:
                return outcome._replace(reasons=(title,))
        return _gave_up(outcome, "no RET of this function was met")

    def _return_address(self) -> int | None:
        """What is on top of the stack, if it is the place after a CALL and no RET was passed."""
        try:
            back = self._guest.top_of_stack()
        except KvmdbgError:
            return None
        return back if self._follows_call(back) else None

    def _follows_call(self, address: int) -> bool:
        """Whether some CALL ends exactly there; any other byte sequence that looks so is rare."""
        for size in range(2, min(8, address + 1)):
            before = self._guest.instruction(address - size)
            if before is not None and before.size == size and before.mnemonic == "call":
                return True
        return False

    def until(self, where: int | str) -> Outcome:
        """Until the guest reaches an address, or until a condition holds after a step.

        A text with a comparison or ``and``, ``or``, ``not`` is a condition: the guest is stepped,
        at most MOST_STEPS times.
        """
        condition = None if isinstance(where, int) else self._condition(where)
        if condition is not None:
            return self._until_holds(condition)
        address = self._guest.address(where)
        return self._run_to(address, 0, f"reached {self._guest.label(address)}")

    def _condition(self, where: str) -> Condition | None:
        """The text as a condition; None if it is an address."""
        try:
            condition = compile_condition(where)
        except ExpressionError:
            if ":" in where:
                return None
            raise
        return condition if condition.compares else None

    def _until_holds(self, condition: Condition) -> Outcome:
        for label in condition.labels:
            self._guest.symbol(label)

        held = False

        def holds() -> bool:
            nonlocal held
            held = bool(condition.evaluate(Moment(self._guest)))
            return held

        outcome = self._runner.step(MOST_STEPS, holds)
        if outcome.kind not in _WENT_WELL:
            return outcome
        if not held:
            return _gave_up(outcome, f"{condition.text} did not hold")
        return outcome._replace(reasons=(f"{condition.text} holds", *outcome.reasons))


_WENT_WELL: Final = (StopKind.STEP, StopKind.IO, StopKind.MMIO, StopKind.GUEST_DEBUG)


def _gave_up(outcome: Outcome, why: str) -> Outcome:
    text = f"{why} within {causes.plural(MOST_STEPS, 'step')}"
    return outcome._replace(kind=StopKind.BUDGET, reasons=(text,))
