"""From the outcome of a command to the Stop that people see: registers, changes, names.

Must not know: how the guest was run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..machine.ports import TextConsole
from ..x86.decode import LONGEST, Instruction, decode_one
from ..x86.registers import Sregs, linear_pc
from . import changes
from .causes import plural
from .entering import Entrance
from .guest import Guest
from .outcome import Outcome
from .stop import Changes, Stop


class Reporter:
    """Compares each stop with the moment at which its command began."""

    def __init__(self, guest: Guest, entrance: Entrance, console: TextConsole) -> None:
        self._guest = guest
        self._engine = guest.engine
        self._entrance = entrance
        self._console = console
        self._index = 0
        self.last: Stop | None = None
        self._before = self._registers()
        self._clock = self._engine.clock

    def start_over(self) -> None:
        """The guest begins anew; stops go on counting."""
        self.last = None

    def begin(self) -> None:
        """A command begins: what the host changed until now is no change by the guest."""
        self._before = self._registers()
        self._clock = self._engine.clock
        self._guest.shadow.begin(self._guest.planter.originals)

    def _registers(self) -> changes.Registers:
        return self._engine.get_regs(), self._engine.get_sregs()

    def report(self, outcome: Outcome) -> Stop:
        """Make the Stop, and remember it as the last one."""
        self._index += 1
        regs, sregs = now = self._registers()
        pc, clock = linear_pc(regs.rip, sregs), self._engine.clock
        known = {
            "index": self._index,
            "exit": outcome.exit,
            "kind": outcome.kind,
            "cause": "; ".join(outcome.reasons),
            "hits": outcome.hits,
            "pc": pc,
            "location": self._guest.label(pc),
            "regs": regs,
            "sregs": sregs,
            "debugregs": self._engine.get_debugregs(),
            "debug": self._entrance.setting,
            "clock": clock,
            "executed": clock - self._clock if clock >= 0 else -1,
            "console": self._console.take(),
        }
        shadow = self._guest.shadow
        pages = shadow.take(self._guest.planter.originals)
        later: dict[str, Callable[[], object]] = {
            "mode": lambda: sregs.mode,
            "instruction": partial(_first, self._guest.code(pc, LONGEST), pc, sregs),
            "changes": partial(_changes, self._before, now, pages, shadow.searched),
        }
        self.last = Stop.of(known, later)
        return self.last

    def interruption(self, stop: Stop) -> str:
        """What Ctrl-C tells the user."""
        place = self._guest.place(stop.pc)
        ran = plural(stop.executed, "instruction") if stop.executed >= 0 else "a while"
        return f"guest stopped at {place} after {ran}; the VM is intact: %step or %vm run goes on"


def _first(code: bytes, pc: int, sregs: Sregs) -> Instruction | None:
    return decode_one(code, pc, sregs.mode.bits)


def _changes(
    before: changes.Registers, now: changes.Registers, pages: changes.Pages, searched: int
) -> Changes:
    memory, more = pages.runs()
    return Changes(
        registers=changes.registers(before, now),
        flags=changes.flags(before[0].rflags, now[0].rflags),
        memory=memory,
        more=more,
        searched=searched,
    )
