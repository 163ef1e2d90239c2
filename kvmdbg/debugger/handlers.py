"""Where an exception or INT n would take the guest, without taking it there.

The same pure delivery that the embedded engine uses, on a copy of the state. Must not know: how the
guest is run, or why anybody asks.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..engines import Capability, Engine, trial
from ..errors import IoctlError
from ..exits import ExceptionExit, Exit, IoExit, MmioExit
from ..uapi import GuestDbg
from ..x86.delivery import Delivered, Event, EventKind, Step, TripleFault, deliver
from ..x86.registers import Regs, Sregs, linear_pc
from ..x86.vectors import name as vector_name
from .guest import Guest

EVERY_VECTOR = frozenset(range(256))
_ACCESSES = 8
"""An instruction tried again may access so many devices; each answers with ones."""


def handler_of(
    guest: Guest, vector: int, *, software: bool, error_code: int | None = None
) -> int | None:
    """Linear address of the handler's first instruction; None if it ends in a triple fault.

    If the delivery itself faults, that fault's handler is meant.
    """
    outcome = _tried(guest, vector, software, error_code)
    if not isinstance(outcome, Delivered):
        return None
    return linear_pc(outcome.regs.rip, outcome.sregs)


def _tried(
    guest: Guest, vector: int, software: bool, error_code: int | None
) -> Delivered | TripleFault:
    engine = guest.engine
    event = Event(vector, EventKind.SOFTWARE if software else EventKind.FAULT, error_code)
    return deliver(event, engine.get_regs(), engine.get_sregs(), engine.read_memory)


def why_shutdown(guest: Guest) -> str | None:
    """What a triple fault began with and why nothing of it could be delivered; None if unclear.

    A shutdown exit only says that it happened. Where the engine does not know more, the
    instruction at which the registers stand is tried once more, on a state that is put back.
    """
    remembered = guest.engine.trail
    if remembered and remembered[-1].fault is not None:
        return _told(remembered)
    exit, _ = tried_again(guest)
    if exit is None:
        return None
    outcome = _tried(guest, exit.exception, exit.software, exit.error_code)
    return _told(outcome.trail) if isinstance(outcome, TripleFault) else None


def tried_again(
    guest: Guest, regs: Regs | None = None, sregs: Sregs | None = None
) -> tuple[ExceptionExit | None, int]:
    """What the instruction at hand raises, and CR2 then; the guest stays as it is.

    ``regs`` and ``sregs`` are the moment that is meant, by default the present one. The caller sets
    again which vectors the engine watches.
    """
    engine = guest.engine
    if Capability.VECTOR_STOP not in engine.capabilities:
        return None, 0
    try:
        with trial(engine):
            for address, byte in guest.planter.originals.items():
                engine.write_memory(address, bytes([byte]))
            if regs is not None and sregs is not None:
                engine.set_sregs(sregs)
                engine.set_regs(regs)
            return _exception(engine)
    except IoctlError:
        return None, 0  # a moment that the engine does not take


def _exception(engine: Engine) -> tuple[ExceptionExit | None, int]:
    """One step that ends where an exception or INT n would be taken."""
    engine.watch_vectors(EVERY_VECTOR)
    engine.set_guest_debug(int(GuestDbg.ENABLE | GuestDbg.SINGLESTEP))
    exit = _one(engine)
    cr2 = engine.get_sregs().cr2
    if not isinstance(exit, ExceptionExit):
        return None, cr2
    engine.watch_vectors(frozenset())
    _one(engine)  # takes the vector: else the engine would not stop at it the next time
    return exit, cr2


def _one(engine: Engine) -> Exit:
    """At most one instruction, with what it reads where there is no RAM."""
    exit = engine.run(1)
    for _ in range(_ACCESSES):
        if not isinstance(exit, IoExit | MmioExit):
            break
        if exit.direction == "in" if isinstance(exit, IoExit) else not exit.is_write:
            engine.complete_io(b"\xff" * len(exit.data))
        exit = engine.run(1)
    return exit


def _told(trail: Sequence[Step]) -> str:
    """``triple fault: #UD (IDT[6]: ...), then #GP (...), then #DF (...)``; a shared reason once."""
    problems = [step.problem for step in trail]
    names = [vector_name(step.vector) for step in trail]
    if len(set(problems)) == 1:
        return f"triple fault: {', then '.join(names)}; each time {problems[0]}"
    parts = [f"{name} ({problem})" for name, problem in zip(names, problems, strict=True)]
    return f"triple fault: {', then '.join(parts)}"
