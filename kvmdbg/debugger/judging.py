"""Whose exit is it, and is it worth a stop? The rules of spec 4, 7 and 8 on the host's side.

An exit is the user's (a breakpoint, a step), the guest's own (its INT3, its trap flag, its debug
registers: handed back to it), or nobody's business (a port access). Must not know: how the guest is
run on, or what a stop shows.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from ..errors import AddressError
from ..exits import DebugExit, ExceptionExit, Exit, IntrExit, IoExit, IrqWindowOpenExit, MmioExit
from ..x86.debugreg import DR6_B, DR6_BD, DR6_BS, DR6_BT, DR7_ENABLE
from . import causes
from .entering import INJECT_BP, INJECT_DB, SINGLESTEP, USE_HW_BP, Entrance
from .entries import Entry
from .limits import Limits
from .outcome import Goal, Outcome, both, of_end, of_hits, of_intr
from .stop import StopKind

CAUSES: Final = DR6_B | DR6_BD | DR6_BS | DR6_BT
"""All that DR6 can say about why there is a #DB."""

_ICEBP: Final = 0xF1


class Judge:
    """Looks at one exit after the other; remembers what was counted already."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._table = entrance.table
        self._guest = entrance.guest
        self.goal: Goal | None = None
        self.here: int | None = None
        """Where the breakpoints at pc are counted already, so that going on steps off them."""
        self.raised: ExceptionExit | None = None
        """The exception or INT n that the guest is about to take at pc."""
        self.requested = self.stale = False

    def start_over(self) -> None:
        """The guest begins anew."""
        self.here = self.raised = None

    def begin(self, goal: Goal | None) -> None:
        """A command begins: look at the watched places, so that a hit can say old and new."""
        self.goal = goal
        for entry in self._table.slots:
            if entry is not None and entry.access != "x":
                entry.value = self._value(entry)

    def end(self) -> None:
        """The command is over; a request that came too late must not end the next one."""
        self.goal = None
        self.stale |= self.requested
        self.requested = False

    def counts(self, pc: int) -> bool:
        """Whether arriving there means anything."""
        return pc in self._table.at or (self.goal is not None and self.goal.address == pc)

    def judge(self, exit: Exit, limits: Limits) -> Outcome | None:
        """The end of the command, or None to go on; port accesses are answered on the way."""
        if isinstance(exit, DebugExit):
            return self._int3(exit) if exit.exception == 3 else self._debug(exit)
        if isinstance(exit, IoExit | MmioExit):
            self._entrance.serve(exit)
            return None
        if isinstance(exit, ExceptionExit):
            return self._vector(exit)
        if isinstance(exit, IntrExit):
            return self._intr(exit, limits)
        return None if isinstance(exit, IrqWindowOpenExit) else of_end(exit)

    def _intr(self, exit: IntrExit, limits: Limits) -> Outcome | None:
        if exit.cause == "request":
            late, self.stale = self.stale and not self.requested, False
            self.requested = False
            if late:
                return None
        return of_intr(exit, limits)

    def _vector(self, exit: ExceptionExit) -> Outcome | None:
        self.here, self.raised = exit.pc, exit
        entry = self._table.vectors.get(exit.exception)
        if entry is None:
            return None
        reason = self._table.reach(entry, lambda: causes.raised(entry, exit))
        return of_hits(exit, StopKind.VECTOR, [(entry.number, reason)] if reason else [])

    # #BP

    def _int3(self, exit: DebugExit) -> Outcome | None:
        """A CC that we did not plant, or that stood below ours, is the guest's own (spec 4.2)."""
        pc = exit.pc
        if pc != self._entrance.lifted and (self.counts(pc) or self._planted_at(pc)):
            return self.arrive(exit)
        self._entrance.owe(INJECT_BP, 0, causes.GUEST_INT3)
        return None

    def _planted_at(self, pc: int) -> list[Entry]:
        """Breakpoints whose byte is at ``pc`` by another linear address than they were set at."""
        if not self._guest.planter.originals:
            return []
        try:
            physical = self._guest.physical(pc)
        except AddressError:
            return []
        return [entry for entry in self._table.software() if entry.physical == physical]

    def arrive(self, exit: Exit) -> Outcome | None:
        """The guest reached an execution breakpoint or the goal: count each once."""
        pc = self.here = self._entrance.pc
        hits = []
        for entry in self._table.at.get(pc) or self._planted_at(pc):
            reason = self._table.reach(entry, partial(self._reached, entry, pc))
            hits += [(entry.number, reason)] if reason else []
        return of_hits(exit, StopKind.BREAKPOINT, hits) or self._at_goal(exit)

    def _reached(self, entry: Entry, pc: int) -> str:
        return causes.reached(entry, self._guest.label(pc))

    def _at_goal(self, exit: Exit) -> Outcome | None:
        goal = self.goal
        if goal is None or goal.address != self._entrance.pc:
            return None
        if self._guest.engine.get_regs().rsp < goal.rsp:
            return None
        return Outcome(exit, StopKind.STEP, (goal.title,))

    # #DB

    def _debug(self, exit: DebugExit) -> Outcome | None:
        """Sort the causes in DR6 into ours and the guest's; several may hold at once."""
        ours = self._our_slots(exit)
        payload = self._guests_share(exit)
        if payload or self._is_icebp(exit):
            self._entrance.owe(INJECT_DB, payload, causes.guest_event(payload))
        watched = self._watched([entry for entry in ours if entry.access != "x"])
        outcome = of_hits(exit, StopKind.WATCHPOINT, watched)
        if any(entry.access == "x" for entry in ours):
            return both(outcome, self.arrive(exit))
        return outcome

    def _our_slots(self, exit: DebugExit) -> list[Entry]:
        """The host's breakpoints among B0-B3; bits of slots that are off mean nothing (spec 6)."""
        entrance = self._entrance
        if not entrance.control & USE_HW_BP:
            return []
        on = _enabled(entrance.debugreg[7]) & exit.dr6
        return [e for n, e in enumerate(self._table.slots) if e is not None and on >> n & 1]

    def _guests_share(self, exit: DebugExit) -> int:
        """Causes in DR6 that the host did not ask for; the guest must see them (spec 7)."""
        control = self._entrance.control
        share = exit.dr6 & (DR6_BD | DR6_BT)
        if not control & SINGLESTEP:
            share |= exit.dr6 & DR6_BS
        if not control & USE_HW_BP and exit.dr6 & DR6_B:
            share |= exit.dr6 & _enabled(self._guest.engine.get_debugregs().dr7)
        return share

    def _is_icebp(self, exit: DebugExit) -> bool:
        """F1 comes without any cause and at its own address; RIP is moved past it (spec 4.4)."""
        if exit.dr6 & CAUSES or self._guest.code(exit.pc, 1) != bytes([_ICEBP]):
            return False
        engine = self._guest.engine
        regs = engine.get_regs()
        engine.set_regs(regs._replace(rip=regs.rip + 1))
        self._entrance.pc += 1
        return True

    def _watched(self, entries: list[Entry]) -> list[tuple[int, str]]:
        hits = []
        for entry in entries:
            old, entry.value = entry.value, self._value(entry)
            reason = self._table.reach(entry, partial(self._accessed, entry, old))
            hits += [(entry.number, reason)] if reason else []
        return hits

    def _accessed(self, entry: Entry, old: int | None) -> str:
        return causes.accessed(entry, self._guest.place(entry.address), old, entry.value)

    def _value(self, entry: Entry) -> int | None:
        try:
            return int.from_bytes(self._guest.read(entry.address, entry.length), "little")
        except AddressError:
            return None


def _enabled(dr7: int) -> int:
    """B0-B3 of the slots that DR7 enables, by Ln or Gn."""
    return sum(1 << n for n in range(4) if dr7 & DR7_ENABLE & 3 << 2 * n)
