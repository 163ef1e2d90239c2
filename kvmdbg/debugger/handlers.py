"""Where an exception or INT n would take the guest, without taking it there.

The same pure delivery that the embedded engine uses, on a copy of the state. Must not know: how the
guest is run, or why anybody asks.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..engines import Capability
from ..exits import ExceptionExit
from ..uapi import GuestDbg
from ..x86.delivery import Delivered, Event, EventKind, Step, TripleFault, deliver
from ..x86.registers import linear_pc
from ..x86.vectors import name as vector_name
from .guest import Guest

EVERY_VECTOR = frozenset(range(256))


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

    A shutdown exit only says that it happened. The registers stand at the last fault, so the
    instruction is tried once more, on a state that is put back afterwards.
    """
    engine = guest.engine
    if Capability.VECTOR_STOP not in engine.capabilities:
        return None
    state = engine.snapshot()
    engine.watch_vectors(EVERY_VECTOR)
    engine.set_guest_debug(int(GuestDbg.ENABLE | GuestDbg.SINGLESTEP))
    exit = engine.run()
    engine.restore(state)
    if not isinstance(exit, ExceptionExit):
        return None
    outcome = _tried(guest, exit.exception, exit.software, exit.error_code)
    return _told(outcome.trail) if isinstance(outcome, TripleFault) else None


def _told(trail: Sequence[Step]) -> str:
    """``triple fault: #UD (IDT[6]: ...), then #GP (...), then #DF (...)``; a shared reason once."""
    problems = [step.problem for step in trail]
    names = [vector_name(step.vector) for step in trail]
    if len(set(problems)) == 1:
        return f"triple fault: {', then '.join(names)}; each time {problems[0]}"
    parts = [f"{name} ({problem})" for name, problem in zip(names, problems, strict=True)]
    return f"triple fault: {', then '.join(parts)}"
