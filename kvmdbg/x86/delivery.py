"""Delivery of one event through the guest's IVT or IDT, with all that can go wrong on the way.

This file holds what comes of a fault on the way; attempt.py and entry.py hold one attempt, mode by
mode; linear.py is guest memory as such an attempt sees it.

Pure: :func:`deliver` computes the new state and the physical writes; the caller commits them. A
guest may have anything in its tables: the answer is always a :class:`Delivered` or a
:class:`TripleFault`, never an exception. SDM vol. 3, ch. 6; nesting by tables 6-4 and 6-5.

Rules worth knowing:

* ``regs.rip`` is what gets pushed: the instruction itself for a fault, the next one for a trap.
* A fault other than #DB, #DF and #MC pushes RF=1, everything else pushes RFLAGS as given
  (SDM 17.3.1.1, ``kvm_check_and_inject_events``). An interrupt between two iterations of a REP
  should push RF=1: the caller, who knows, sets it.
* A fault during INT n, INT3, INTO or INT1 returns to that instruction (``Event.instruction_rip``).
* CR2 is loaded by every #PF on the way, also by one that ends in a double or triple fault.
* Not here: DR6 and DR7, interrupt shadow, NMI blocking, INT n's IOPL check in V86 mode.
* Outside RAM is an open bus: tables read as ones, frames pushed there are lost.

Must not know: engines, breakpoints, who raised the event.
"""

from __future__ import annotations

from typing import NamedTuple

from .attempt import Event, EventKind, Part, Refused
from .entry import enter
from .linear import LinearMemory
from .paging import Read
from .registers import Regs, Sregs
from .vectors import CONTRIBUTORY, Vector

__all__ = ["Delivered", "Event", "EventKind", "Part", "Step", "TripleFault", "deliver"]

_DF, _PF = int(Vector.DF), int(Vector.PF)
_CONTRIBUTORY = frozenset(int(vector) for vector in CONTRIBUTORY)
_EXCEPTIONS = (EventKind.FAULT, EventKind.TRAP)
_SOFTWARE = (
    EventKind.SOFTWARE,
    EventKind.SOFTWARE_EXCEPTION,
    EventKind.PRIVILEGED_SOFTWARE,
)


class Step(NamedTuple):
    """One attempt: what was to be delivered, and what came of it.

    ``problem`` is empty when it was delivered. ``where`` names the gate, its linear address, its
    bytes and the handler they point to. ``error_code`` is what the event pushes, None if nothing.
    ``part`` is what refused the delivery and ``fault`` what the refusal raised, before the rules
    that make a double fault of two; both are None when it was delivered.
    ``kind`` and ``cr2`` are the event's.
    """

    vector: int
    error_code: int | None
    problem: str
    where: str
    part: Part | None = None
    fault: Event | None = None
    kind: EventKind = EventKind.FAULT
    cr2: int | None = None


class Delivered(NamedTuple):
    """The guest stands at a handler's first instruction once ``writes`` are made, in order.

    ``vector`` is the one finally delivered; ``trail`` tells how it came to that.
    """

    regs: Regs
    sregs: Sregs
    writes: tuple[tuple[int, bytes], ...]
    vector: int
    trail: tuple[Step, ...]


class TripleFault(NamedTuple):
    """The double fault could not be delivered either: the processor shuts down.

    The registers are those at the last fault; ``sregs.cr2`` is that of the last #PF, if any.
    """

    regs: Regs
    sregs: Sregs
    trail: tuple[Step, ...]


def deliver(event: Event, regs: Regs, sregs: Sregs, read: Read) -> Delivered | TripleFault:
    """Deliver ``event``; ``read(physical, size)`` raises AddressError outside RAM.

    Nested faults are followed to the end: #DF, and at last the triple fault.
    """
    memory = LinearMemory(sregs, read)
    trail: list[Step] = []
    sregs = _load_cr2(event, sregs)
    while True:
        try:
            entered = enter(event, regs, sregs, memory)
        except Refused as fault:
            trail.append(_refusal(event, fault))
            regs = _restart(event, regs)
            nested = _nested(event, fault)
            sregs = _load_cr2(_raised(fault), sregs)
            if nested is None:
                return TripleFault(regs, sregs, tuple(trail))
            event = nested
        else:
            trail.append(_delivered(event, entered.where))
            writes = tuple(entered.writes)
            return Delivered(entered.regs, entered.sregs, writes, event.vector, tuple(trail))


def _delivered(event: Event, where: str) -> Step:
    return Step(event.vector, event.error_code, "", where, kind=event.kind, cr2=event.cr2)


def _refusal(event: Event, fault: Refused) -> Step:
    refused = _delivered(event, fault.where)
    return refused._replace(problem=fault.problem, part=fault.part, fault=_raised(fault))


def _raised(fault: Refused) -> Event:
    return Event(fault.vector, EventKind.FAULT, fault.error_code, fault.cr2)


def _load_cr2(event: Event, sregs: Sregs) -> Sregs:
    """A #PF loads CR2 when it is raised, whatever becomes of it."""
    if event.vector == _PF and event.cr2 is not None and event.kind in _EXCEPTIONS:
        return sregs._replace(cr2=event.cr2)
    return sregs


def _restart(event: Event, regs: Regs) -> Regs:
    """A fault on the way of a software event belongs to the instruction, not to the next one."""
    if event.instruction_rip is not None and event.kind in _SOFTWARE:
        return regs._replace(rip=event.instruction_rip)
    return regs


def _nested(first: Event, fault: Refused) -> Event | None:
    """What is delivered after ``fault`` hit the delivery of ``first``; None: shutdown.

    SDM vol. 3, table 6-5. A refused delivery only ever raises a contributory exception or #PF.
    """
    if first.kind not in _EXCEPTIONS:
        return _raised(fault)
    if first.vector == _DF:
        return None
    page_fault = first.vector == _PF
    contributory = first.vector in _CONTRIBUTORY
    if page_fault or (contributory and fault.vector != _PF):
        return Event(_DF, EventKind.FAULT, 0)
    return _raised(fault)
