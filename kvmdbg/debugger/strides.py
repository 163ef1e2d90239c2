"""Many steps in one call of the engine, where there are many to make and that pays.

The engine walks until something is not plain; what it tells goes into the timeline, row by row.
Must not know: what to do about the step that is not plain.
"""

from __future__ import annotations

from time import perf_counter
from typing import Final

from ..engines import Capability
from ..exits import DebugExit
from ..x86.debugreg import DR6_BS, DR6_RESET
from .entering import Entrance

_WORTH: Final = 64
"""Steps: for fewer a call for many costs more than it saves."""
_MOST_SINGLE: Final = 4096


class Strides:
    """One guest's steps, many at a time."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self.begin()

    def begin(self) -> None:
        """A command begins."""
        self.singles = _WORTH
        """So many steps are made one by one before the next try."""

    def go(self, count: int) -> tuple[int, int, DebugExit] | None:
        """How many steps were made, where the last of them began, and its exit; None: not one."""
        entrance, engine = self._entrance, self._entrance.engine
        if count < _WORTH or Capability.BULK_STEPS not in engine.capabilities:
            return None
        control, debugreg = entrance.stepping(), entrance.table.debugreg
        entrance.control, entrance.debugreg, entrance.lifted = control, debugreg, None
        engine.set_guest_debug(control, debugreg)
        began, start = perf_counter(), entrance.pc
        steps = engine.run_steps(count, frozenset(entrance.table.at))
        made = 0 if steps is None else len(steps.pcs)
        self.singles = _WORTH if made >= _WORTH else min(2 * self.singles, _MOST_SINGLE)
        if steps is None:
            return None
        entrance.timeline.extend(steps, began)
        start, entrance.pc = int(steps.pcs[-2]) if made > 1 else start, int(steps.pcs[-1])
        entrance.exit = DebugExit(1, entrance.pc, int(DR6_RESET | DR6_BS), steps.dr7)
        return made, start, entrance.exit
