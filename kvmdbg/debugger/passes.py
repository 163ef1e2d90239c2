"""Hits of a breakpoint that are only counted: the guest runs past it, and rows are all they leave.

Without its INT3 or debug register the guest runs freely, and is observed; where it has gone too far
it is taken back on its recording. Must not know: which hit is worth a stop.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from ..engines import Capability, Passing, Steps
from ..exits import ExceptionExit, Exit, IntrExit
from ..history.recorded import Recorded
from ..x86.debugreg import DR6_RESET
from ..x86.vectors import Vector
from .entering import Entrance

if TYPE_CHECKING:
    from .entries import Entry
    from .limits import Limits

_WORTH: Final = 16
"""Hits: for fewer, stops one by one cost less than observing."""
_SLICE: Final = 0.05
"""Seconds."""
_NOT_YET: Final = IntrExit("timeout")


class Passes:
    """The breakpoint at which the guest stands, passed again and again."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self.pc = entrance.pc
        at = entrance.table.at.get(self.pc, ())
        self._entry: Entry | None = at[0] if len(at) == 1 else None
        self._begin = entrance.engine.clock
        """Here the guest stood last."""
        self.counted = True
        """Whether the hit at which it stands has counted."""

    def can(self, count: int) -> bool:
        """Whether so many hits may be counted so: they are worth it, and nobody asks at each."""
        engine, entry = self._entrance.engine, self._entry
        if entry is None or entry.condition is not None or entry.temporary or count < _WORTH:
            return False
        instruction = self._entrance.guest.instruction(self.pc)
        plain = instruction is not None and not instruction.mnemonic.startswith("rep")
        told = Capability.OBSERVING in engine.capabilities
        return plain and told and isinstance(engine, Recorded)

    def go(self, count: int, limits: Limits) -> tuple[int, Exit | None]:
        """How many hits there were; None in front of one more, or else the exit that came first."""
        entrance = self._entrance
        recorded = entrance.engine
        assert isinstance(recorded, Recorded)
        clocks: list[int] = []

        def passed(more: list[int]) -> None:
            clocks.extend(clock for clock in more if clock > self._begin)

        began, control = perf_counter(), entrance.running()
        with entrance.without(self.pc) as debugreg, recorded.observing(Passing(self.pc, passed)):
            recorded.set_guest_debug(control, debugreg)
            exit: Exit | None = self._run(recorded, limits)
            while exit == _NOT_YET and len(clocks) <= count and limits.left[1] != 0:
                exit = self._run(recorded, limits)
            if len(clocks) > count:
                recorded.shorten(clocks[count])
                exit = None
            if type(exit) is ExceptionExit and exit.pc == self.pc and not exit.software:
                exit = None  # the breakpoint comes before the fault of its instruction
        self._tell(clocks[:count], began)
        self.counted = self.counted and recorded.clock == self._begin
        self._begin = recorded.clock
        entrance.pc = entrance.guest.pc()
        return min(len(clocks), count), exit

    def _run(self, recorded: Recorded, limits: Limits) -> Exit:
        """A short stretch, to see how many hits it had."""
        instructions, seconds = limits.left
        return recorded.run(instructions, _SLICE if seconds is None else min(seconds, _SLICE))

    def _tell(self, clocks: list[int], began: float) -> None:
        """Each hit is a row of the timeline, and counts."""
        import numpy as np

        entry = self._entry
        if entry is None or not clocks:
            return
        entry.hits += len(clocks)
        pcs = np.full(len(clocks), self.pc, np.uint64)
        timeline, counted = self._entrance.timeline, np.array(clocks, np.int64)
        if entry.slot is None:
            timeline.extend(Steps(pcs, counted, 0), began, Vector.BP, 0)
        else:
            dr7 = self._entrance.table.debugreg[7]
            dr6 = int(DR6_RESET) | 1 << entry.slot
            timeline.extend(Steps(pcs, counted, dr7), began, Vector.DB, dr6)
