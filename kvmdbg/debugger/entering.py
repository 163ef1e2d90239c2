"""Into the guest and out again, once: the ioctl line as the run loop uses it.

Arms the processor for what the breakpoint table wants, hands back to the guest what is the guest's,
answers port and MMIO accesses, and writes every exit into the timeline. Must not know: which exit
is worth a stop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from ..engines import Capability
from ..errors import AddressError, EngineError
from ..exits import DebugExit, ExceptionExit, Exit, IntrExit, IoExit, MmioExit
from ..history.timeline import Timeline
from ..machine.ports import PortBus
from ..uapi import GuestDbg
from ..x86.debugreg import DR6_B, DR6_RESET, dr7_without
from ..x86.registers import CR0, CR4, EFER, Sregs
from . import causes
from .breakpoints import BreakpointTable
from .breathing import Breath
from .guest import Guest
from .handlers import EVERY_VECTOR
from .limits import Limits
from .stop import GuestDebugSetting

# Plain ints: an IntFlag operation costs as much as a whole step may.
ENABLE: Final = int(GuestDbg.ENABLE)
SINGLESTEP: Final = int(GuestDbg.SINGLESTEP)
USE_SW_BP: Final = int(GuestDbg.USE_SW_BP)
USE_HW_BP: Final = int(GuestDbg.USE_HW_BP)
INJECT_DB: Final = int(GuestDbg.INJECT_DB)
INJECT_BP: Final = int(GuestDbg.INJECT_BP)

_PAGING = int(CR4.PAE | CR4.PSE)
NOTES: Final = 3
"""So many port accesses are named in one stop."""


class Owed(NamedTuple):
    """An exception of the guest's own that the host has taken and must give back, at ``pc``."""

    inject: int
    payload: int
    pc: int


class Entrance:
    """One vCPU with its debug settings, its devices and its timeline."""

    def __init__(
        self, guest: Guest, table: BreakpointTable, bus: PortBus, timeline: Timeline
    ) -> None:
        self.guest = guest
        self.engine = guest.engine
        self.table = table
        self.timeline = timeline
        self._bus = bus
        self.pc = 0
        self.control = 0
        self.debugreg: tuple[int, ...] = (0,) * 8
        self.lifted: int | None = None
        """Where the instruction is that last ran with its INT3 lifted, if any."""
        self.exit: Exit = IntrExit()
        """The latest exit."""
        self.notes: list[str] = []
        """What a step should mention though it is no reason to stop."""
        self.handed_back = False
        """Whether the guest got an exception of its own back during this command."""
        self._single = False
        self.owed: Owed | None = None
        """What the guest is to be given at the next entry."""
        self._mapping: tuple[int, ...] = ()
        self._breath = Breath()

    @property
    def setting(self) -> GuestDebugSetting:
        """What was last given to KVM_SET_GUEST_DEBUG."""
        return GuestDebugSetting(self.control, self.debugreg)

    def start_over(self) -> None:
        """The guest begins anew: nothing is armed, nothing is owed."""
        self.owed = None
        self._mapping = ()
        self.control, self.debugreg = 0, (0,) * 8
        self.engine.set_guest_debug(0, self.debugreg)

    def resume(self, setting: tuple[int, tuple[int, ...]], exit: Exit, owed: Owed | None) -> None:
        """Another moment of the guest's is the present one: this is what was known then."""
        self.control, self.debugreg = setting
        self.exit, self.owed = exit, owed
        self.lifted, self._mapping = None, ()
        self.pc = self.guest.pc()

    def begin(self, goal: int | None, single: bool) -> None:
        """A command begins; ``single`` is one step, of which every port access is told."""
        self.pc = self.guest.pc()
        self.notes.clear()
        self.handed_back = False
        self._single = single
        self.plant(goal)

    # Arming

    def plant(self, extra: int | None = None) -> None:
        """Make guest memory hold the INT3s that the table wants, and one at linear ``extra``."""
        self._resolve()
        wanted = {entry.physical for entry in self.table.software()}
        if extra is not None:
            wanted.add(self.guest.physical(extra))
        self.guest.planter.sync({address for address in wanted if address is not None})

    def _resolve(self) -> None:
        """Where the INT3s belong, looked up anew if the guest's paging was switched."""
        sregs = self.engine.get_sregs()
        mapping = _mapping(sregs)
        if mapping == self._mapping:
            return
        self._mapping = mapping
        for entry in self.table.software():
            try:
                entry.physical = self.guest.physical(entry.address, sregs)
            except AddressError:
                continue  # not mapped now: the byte stays where it was, the page may come back

    def running(self) -> int:
        """The control word for running freely: nothing at all if nothing is set."""
        control = USE_SW_BP if self.guest.planter.originals else 0
        control |= USE_HW_BP if self.table.debugreg[7] & 0xFF else 0
        return control | ENABLE if control else 0

    def blocked(self, pc: int) -> bool:
        """Whether the instruction there would only hit its own breakpoint."""
        if pc in self.table.at:
            return True
        originals = self.guest.planter.originals
        return bool(originals) and self._physical(pc) in originals

    def _physical(self, pc: int) -> int | None:
        try:
            return self.guest.physical(pc)
        except AddressError:
            return None

    @contextmanager
    def without(self, pc: int) -> Iterator[tuple[int, ...]]:
        """The breakpoints at ``pc`` out of the way; gives debugreg without them (spec 9)."""
        site = self._lift(pc)
        try:
            yield self._debugreg_without(pc)
        finally:
            if site is not None:
                self.guest.planter.plant(site)

    def _lift(self, pc: int) -> int | None:
        """Take away the INT3 at ``pc``; where to plant it again."""
        site = self._site(pc)
        if site is not None:
            self.guest.planter.lift(site)
        self.lifted = pc
        return site

    def _site(self, pc: int) -> int | None:
        """Where the INT3 that the guest would meet at ``pc`` is planted, if there is one."""
        originals = self.guest.planter.originals
        for entry in self.table.at.get(pc, ()):
            if entry.physical in originals:
                return entry.physical
        site = self._physical(pc) if originals else None
        return site if site in originals else None

    @contextmanager
    def planted(self, linear: int | None) -> Iterator[None]:
        """One INT3 more, for a moment; where there is no memory, none."""
        planter = self.guest.planter
        site = None if linear is None else self._physical(linear)
        if site is None or site in planter.originals:
            yield
            return
        planter.plant(site)
        try:
            yield
        finally:
            planter.lift(site)

    def _debugreg_without(self, pc: int) -> tuple[int, ...]:
        debugreg = self.table.debugreg
        for entry in self.table.at.get(pc, ()):
            if entry.slot is not None:
                debugreg = (*debugreg[:7], dr7_without(debugreg[7], entry.slot))
        return debugreg

    # Giving back what is the guest's

    def owe(self, inject: int, payload: int, what: str) -> None:
        """At the next entry the guest gets its own #DB (with DR6 bits) or #BP."""
        self.owed = Owed(inject, payload, self.pc)
        self.handed_back = True
        self.timeline.give_back()
        self.note(what)

    @property
    def owing(self) -> int | None:
        """The vector that the next entry must inject, if any."""
        if self.owed is None or self.owed.pc != self.pc:
            return None
        return 1 if self.owed.inject == INJECT_DB else 3

    def every_vector(self) -> EveryVector:
        """See each exception and INT n before the guest takes it.

        A step should end in the handler. Left to the processor it would not: delivery clears TF,
        and the trap comes one instruction after the handler's IRET (spec 10).
        """
        return EveryVector(self)

    def _inject(self) -> int:
        """The INJECT flag for this entry; DR6 is set first, as injection carries none (spec 7)."""
        owed, self.owed = self.owed, None
        if owed is None or owed.pc != self.pc:
            return 0
        if owed.inject == INJECT_DB:
            debugregs = self.engine.get_debugregs()
            dr6 = debugregs.dr6 & ~DR6_B | DR6_RESET | owed.payload
            self.engine.set_debugregs(debugregs._replace(dr6=dr6))
        return owed.inject

    # In and out

    def enter(self, control: int, debugreg: tuple[int, ...], limits: Limits | None = None) -> Exit:
        """KVM_SET_GUEST_DEBUG and KVM_RUN, once."""
        if self.owed is not None:
            control |= self._inject()
        self.control, self.debugreg = control, debugreg
        self.engine.set_guest_debug(control, debugreg)
        exit = self.engine.run(*limits.left) if limits else self.engine.run()
        self.record(exit)
        return exit

    def set_by_hand(self, control: int, debugreg: tuple[int, ...]) -> None:
        """KVM_SET_GUEST_DEBUG as the user gives it; what the user injects is not owed any more."""
        self.engine.set_guest_debug(control, debugreg)
        self.control, self.debugreg = control, debugreg
        if control & (INJECT_DB | INJECT_BP):
            self.owed = None

    def enter_by_hand(self, limits: Limits) -> Exit:
        """KVM_RUN, once, with what was set last.

        The table's INT3s are in memory only while the host takes #BP: the guest would otherwise
        run into bytes that are not its own.
        """
        if self.control & ENABLE and self.control & USE_SW_BP:
            self.plant()
        else:
            self.guest.planter.sync(set())
        exit = self.engine.run(*limits.left)
        self.record(exit)
        return exit

    def record(self, exit: Exit) -> None:
        """A row of the timeline."""
        if isinstance(exit, DebugExit | ExceptionExit):
            self.pc = exit.pc
        else:
            self.pc = self.guest.pc()
        self.exit = exit
        self.timeline.append(exit, self.pc, self.engine.clock)
        self._breath.draw()

    def step_once(self) -> Exit:
        """Execute the instruction at hand, whatever breakpoints it has, with its port accesses.

        The exit is the one after the instruction; it is an IoExit or MmioExit, already answered,
        only where the engine does not report a step that accessed a device (spec 11).
        """
        start = self.pc
        site = self._lift(start)
        try:
            exit = self.enter(self.stepping(), self._debugreg_without(start))
            return self.complete(exit, start)
        finally:
            if site is not None:
                self.guest.planter.plant(site)

    def stepping(self) -> int:
        """The control word for one step. EngineError where the host would not get its stop."""
        if Capability.SINGLESTEP not in self.engine.capabilities:
            raise EngineError(self._no_step())
        return self.running() | ENABLE | SINGLESTEP

    def _no_step(self) -> str:
        sregs = self.engine.get_sregs()
        return (
            f"this host's {self.engine.name.upper()} cannot single-step "
            f'{sregs.mode.bits}-bit code at CPL {sregs.cpl}; use engine="unicorn"'
        )

    def complete(self, exit: Exit, start: int) -> Exit:
        """Answer a step's port and MMIO accesses until the instruction at ``start`` is done."""
        while isinstance(exit, IoExit | MmioExit):
            self.serve(exit)
            if self.pc == start:
                exit = self.enter(self.stepping(), self.debugreg)
                continue
            after = self._after_access()
            if isinstance(after, IntrExit) and after.cause == "budget":
                return exit
            exit = after
        return exit

    def _after_access(self) -> Exit:
        """RIP has moved: is the step over, or does its trap wait for the next entry (spec 11)?

        A run of no instructions lets the access complete and nothing else, as KVM's immediate_exit.
        """
        self.engine.set_guest_debug(self.stepping(), self.debugreg)
        exit = self.engine.run(0)
        if exit != IntrExit("budget"):
            self.record(exit)
        return exit

    def serve(self, exit: IoExit | MmioExit) -> None:
        """Answer an access; where there is no device, reads give all ones as on a floating bus."""
        if isinstance(exit, MmioExit):
            self.note(causes.mmio(exit))
            if not exit.is_write:
                self.engine.complete_io(b"\xff" * len(exit.data))
            return
        answer = self._bus.handle(exit)
        if answer is None or self._single:
            self.note(causes.port(exit, answer is not None))
        if exit.direction == "in":
            self.engine.complete_io(b"\xff" * len(exit.data) if answer is None else answer)

    def note(self, what: str) -> None:
        """Something that a single step should mention."""
        if len(self.notes) < NOTES:
            self.notes.append(what)


class EveryVector:
    """``with`` it, all vectors end a run where the engine can do that; afterwards the table's."""

    __slots__ = ("_entrance", "_works")

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._works = Capability.VECTOR_STOP in entrance.engine.capabilities

    def __enter__(self) -> None:
        if self._works:
            self._entrance.engine.watch_vectors(EVERY_VECTOR)

    def __exit__(self, *_: object) -> None:
        if self._works:
            self._entrance.engine.watch_vectors(frozenset(self._entrance.table.vectors))


def _mapping(sregs: Sregs) -> tuple[int, ...]:
    """What decides where linear addresses lead, apart from the tables themselves."""
    if not sregs.cr0 & int(CR0.PG):
        return (0,)
    return 1, sregs.cr3, sregs.cr4 & _PAGING, sregs.efer & int(EFER.LMA)
