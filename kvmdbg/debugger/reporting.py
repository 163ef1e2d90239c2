"""From the outcome of a command to the Stop that people see: registers, changes, names.

Must not know: how the guest was run.
"""

from __future__ import annotations

from ..machine.ports import TextConsole
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
        regs, sregs = self._registers()
        pc, clock = self._guest.pc(), self._engine.clock
        self.last = Stop(
            index=self._index,
            exit=outcome.exit,
            kind=outcome.kind,
            cause="; ".join(outcome.reasons),
            hits=outcome.hits,
            pc=pc,
            location=self._guest.label(pc),
            instruction=self._guest.instruction(pc),
            mode=sregs.mode,
            regs=regs,
            sregs=sregs,
            debugregs=self._engine.get_debugregs(),
            debug=self._entrance.setting,
            clock=clock,
            executed=clock - self._clock if clock >= 0 else -1,
            changes=self._changes((regs, sregs)),
            console=self._console.take(),
        )
        return self.last

    def _changes(self, now: changes.Registers) -> Changes:
        memory, more = self._guest.shadow.take(self._guest.planter.originals).runs()
        return Changes(
            registers=changes.registers(self._before, now),
            flags=changes.flags(self._before[0].rflags, now[0].rflags),
            memory=memory,
            more=more,
            searched=self._guest.shadow.searched,
        )

    def interruption(self, stop: Stop) -> str:
        """What Ctrl-C tells the user."""
        place = self._guest.place(stop.pc)
        ran = plural(stop.executed, "instruction") if stop.executed >= 0 else "a while"
        return f"guest stopped at {place} after {ran}; the VM is intact: %step or %vm run goes on"
