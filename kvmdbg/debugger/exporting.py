"""From a guest to its export: what it is now, and its next exits; the guest stays as it is.

The exits are those of a copy that runs ahead: a fresh embedded engine with the same RAM, registers,
devices and KVM_SET_GUEST_DEBUG. Must not know: how an export is spelled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from copy import deepcopy
from typing import Final

from ..engines import Engine, open_engine
from ..engines.kvm.values import enterable
from ..errors import AddressError, BadInput
from ..exits import DebugExit, Exit, IntrExit, IoExit, MmioExit
from ..guestdebug import dr6_after
from ..machine.ports import PortBus, TextConsole
from ..uapi import GuestDbg
from ..x86.registers import RFLAGS, DebugRegs, VcpuEvents
from ..x86.vectors import Vector
from .breakpoints import BreakpointTable
from .export_c import Captured, Expected, c_program, check_size, runs
from .guest import Guest
from .planting import INT3
from .stop import GuestDebugSetting

MOST_EXITS: Final = 10_000
LONGEST: Final = 100_000_000
"""Instructions from one exit to the next; more count as for ever."""

_LINES: Final = 24
_SW_BP: Final = int(GuestDbg.ENABLE | GuestDbg.USE_SW_BP)
_SINGLESTEP: Final = int(GuestDbg.SINGLESTEP)
_INJECT: Final = int(GuestDbg.INJECT_DB | GuestDbg.INJECT_BP)


def export_c(
    guest: Guest,
    table: BreakpointTable,
    setting: GuestDebugSetting,
    console: TextConsole,
    exits: int,
    profile: str | None,
) -> str:
    """The C program. BadInput where :func:`capture` or :func:`foresee` says so."""
    captured = capture(guest, table, setting)
    bus = PortBus()
    deepcopy(console).attach_to(bus)
    found = foresee(captured, guest, bus, exits, profile)
    return c_program(
        captured, found, f"the embedded engine of kvmdbg, profile {profile or 'reference'},"
    )


def capture(guest: Guest, table: BreakpointTable, setting: GuestDebugSetting) -> Captured:
    """The guest as it stands, with what was given to KVM_SET_GUEST_DEBUG last.

    INT3s of breakpoints are in RAM only where the host takes them, as with Vm.enter.
    BadInput for what a plain vCPU cannot be set to: an irqchip, or an interrupt that waits for the
    guest's IF.
    """
    engine = guest.engine
    events, debugregs = _settled(engine.get_vcpu_events(), engine.get_debugregs())
    regs = engine.get_regs()
    _check_plain(engine, events, regs.rflags)
    ram = _ram(guest, table, setting.control & _SW_BP == _SW_BP)
    return Captured(
        ram=ram,
        regs=regs,
        sregs=enterable(engine.get_sregs()),
        debugregs=debugregs,
        events=events,
        control=_unspent(setting.control, events),
        debugreg=setting.debugreg,
        listing=tuple(_listing(guest)),
    )


def _ram(guest: Guest, table: BreakpointTable, planted: bool) -> bytes:
    """RAM without planted bytes, or with all that the table wants."""
    ram = bytearray(guest.engine.ram)
    check_size(ram)
    for address, own in guest.planter.originals.items():
        if ram[address] == INT3:
            ram[address] = own
    for entry in table.software() if planted else ():
        if entry.physical is not None:
            ram[entry.physical] = INT3
    return bytes(ram)


def _check_plain(engine: Engine, events: VcpuEvents, rflags: int) -> None:
    if engine.irqchip is not None:
        raise BadInput("this guest has an irqchip, whose state a C program does not set yet")
    if events.interrupt_injected and not rflags & RFLAGS.IF:
        raise BadInput("an interrupt waits for the guest's IF; let the guest take it first")


def _settled(events: VcpuEvents, debugregs: DebugRegs) -> tuple[VcpuEvents, DebugRegs]:
    """A #DB's payload already in DR6, as KVM without KVM_CAP_EXCEPTION_PAYLOAD has it (spec 6)."""
    if not events.exception_has_payload:
        return events, debugregs
    dr6 = dr6_after(debugregs.dr6, events.exception_payload)
    plain = events._replace(exception_has_payload=0, exception_payload=0)
    return plain, debugregs._replace(dr6=dr6)


def _unspent(control: int, events: VcpuEvents) -> int:
    """The control word; of injections only a #BP that still waits, which no event shows."""
    waits = not events.exception_injected and events.exception_nr == Vector.BP
    return control & ~_INJECT | (control & int(GuestDbg.INJECT_BP) if waits else 0)


def _listing(guest: Guest) -> Iterator[str]:
    """Labels and the code at hand."""
    for name, address in sorted(guest.symbols.items(), key=lambda item: item[1])[:_LINES]:
        yield f"{address:#x}  {name}"
    if guest.symbols:
        yield ""
    with suppress(AddressError):
        for each in guest.disassemble(guest.pc(), _LINES):
            if not any(each.raw):
                return  # empty memory
            yield f"{each.address:#x}  {each.raw.hex():<16}  {each.text}"


# Running ahead


def foresee(
    captured: Captured, guest: Guest, bus: PortBus, exits: int, profile: str | None
) -> list[Expected]:
    """The next ``exits`` exits; fewer where the guest halts, dies or runs on without one.

    BadInput for a number out of range, or if there is no exit at all.
    """
    if not 1 <= exits <= MOST_EXITS:
        raise BadInput(f"the number of exits must be from 1 to {MOST_EXITS:,}, not {exits:,}")
    with closing(open_engine("unicorn", len(captured.ram), profile)) as engine:
        _become(engine, captured)
        found = list(_run(engine, captured, guest, bus, exits))
    if not found:
        raise BadInput(
            "this guest runs on without an exit, so there is nothing to expect; set a breakpoint, "
            "or single-step it: %vm debug enable singlestep"
        )
    return found


def _become(engine: Engine, captured: Captured) -> None:
    """In the order in which the C program does it."""
    for address, data in runs(captured.ram):
        engine.write_memory(address, data)
    engine.set_sregs(captured.sregs)
    engine.set_regs(captured.regs)
    engine.set_debugregs(captured.debugregs)
    engine.set_vcpu_events(captured.events)
    engine.set_guest_debug(captured.control, captured.debugreg)


def _run(
    engine: Engine, captured: Captured, guest: Guest, bus: PortBus, exits: int
) -> Iterator[Expected]:
    control = captured.control & ~_INJECT
    for _ in range(exits):
        exit = engine.run(max_instructions=LONGEST)
        if control & _SINGLESTEP:
            engine.set_guest_debug(control, captured.debugreg)  # as the C program does
        if isinstance(exit, IntrExit):
            return
        answer = _answer(exit, bus)
        if answer:
            engine.complete_io(answer)
        yield Expected(exit, answer, engine.get_regs().rip, _where(exit, guest))
        if not isinstance(exit, DebugExit | IoExit | MmioExit):
            return


def _answer(exit: Exit, bus: PortBus) -> bytes:
    """What the guest reads; where there is no device, all ones as on a floating bus."""
    if isinstance(exit, IoExit):
        data = bus.handle(exit)
        if exit.direction == "in":
            return b"\xff" * len(exit.data) if data is None else data
    if isinstance(exit, MmioExit) and not exit.is_write:
        return b"\xff" * len(exit.data)
    return b""


def _where(exit: Exit, guest: Guest) -> str:
    """The nearest label of a debug exit."""
    return guest.label(exit.pc) if isinstance(exit, DebugExit) else ""
