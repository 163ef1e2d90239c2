"""Into the guest's handlers: what waits at an entry, and one event through the guest's own tables.

``x86/delivery`` computes what an event does; here it is done to the machine. Must not know: what
raised the event, or how the guest is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import guestdebug
from ...exits import Exit, ShutdownExit
from ...guestdebug import PendingException
from ...x86 import delivery
from ...x86.debugreg import DR6_BS
from ...x86.delivery import Event, EventKind
from ...x86.opcode import INT3
from ...x86.registers import RFLAGS
from ...x86.vectors import Vector
from .state import CR, EFLAGS, HF_INHIBIT_IRQ, HFLAGS, RIP

if TYPE_CHECKING:
    from .vcpu import Vcpu

_TF, _IF, _RF = int(RFLAGS.TF), int(RFLAGS.IF), int(RFLAGS.RF)
_SOFTWARE = (EventKind.SOFTWARE, EventKind.SOFTWARE_EXCEPTION)


def deliver_pending(vcpu: Vcpu) -> Exit | None:
    """What waits at the entry: the exception slot, then NMI, then an interrupt."""
    if vcpu.debug.pending is not None:
        pending, vcpu.debug = guestdebug.take_pending(vcpu.debug)
        vcpu.arm()
        exit_ = _deliver_queued(vcpu, pending) if pending is not None else None
        if exit_ is not None:
            return exit_
    event = _event(vcpu)
    return deliver(vcpu, event) if event is not None else None


def _event(vcpu: Vcpu) -> Event | None:
    """The NMI or interrupt that is due: the host's, or the chips'."""
    state, chipset = vcpu.state, vcpu.chipset
    if chipset.chip is None and not vcpu.interrupts.waiting:
        return None
    if chipset.take_nmi():
        vcpu.interrupts.nmi_pending = True
    blocked = guestdebug.blocks_interrupts(vcpu.debug)
    shadow, enabled = bool(state.d[HFLAGS] & HF_INHIBIT_IRQ), bool(state.d[EFLAGS] & _IF)
    event = vcpu.interrupts.take(blocked=blocked, shadow=shadow, enabled=enabled)
    if event is None and enabled and not shadow and not blocked:
        event = chipset.acknowledge()
    return event


def _deliver_queued(vcpu: Vcpu, pending: PendingException) -> Exit | None:
    if not pending.soft:
        stepped = pending.vector == Vector.DB and (pending.payload or 0) & DR6_BS
        kind = EventKind.TRAP if stepped else EventKind.FAULT
        return deliver(vcpu, Event(pending.vector, kind, pending.error_code))
    rip = vcpu.state.q[RIP]
    if not _place_injected_bp(vcpu):
        return None
    kind = EventKind.SOFTWARE_EXCEPTION
    return deliver(vcpu, Event(pending.vector, kind, instruction_rip=rip))


def _place_injected_bp(vcpu: Vcpu) -> bool:
    """Put RIP where a #BP injected here returns to (spec 7); False: it is dropped."""
    state, profile = vcpu.state, vcpu.debug.profile
    at, size, clock = vcpu.bp_exit
    opcode = vcpu.opcode()
    int3 = opcode is not None and opcode.code == INT3
    if not profile.skips_injected_int3:
        size = 0
    elif profile.injected_bp == "dropped":
        if opcode is None or not int3:
            return False
        size = opcode.end
    elif profile.injected_bp == "rip":
        taken = (at, clock) == (state.linear_pc(), vcpu.core.clock)
        if opcode is not None and int3 and not opcode.start:
            size = 1
        elif not taken:
            size = 0
    state.q[RIP] += size
    return True


def deliver(vcpu: Vcpu, event: Event) -> Exit | None:
    """Take an event through the guest's own tables; ShutdownExit when that cannot be done."""
    state, regs = vcpu.state, vcpu.state.regs()
    flags = regs.rflags
    hides = guestdebug.frames_hide_tf(vcpu.debug)
    stepping = hides and bool(regs.rflags & _TF)
    if hides:
        regs = regs._replace(rflags=regs.rflags & ~_TF)
    if vcpu.has_rf():
        regs = regs._replace(rflags=regs.rflags | _RF)  # RF at this boundary is pushed with it
    sregs = state.sregs()
    outcome = delivery.deliver(event, regs, sregs, vcpu.core.read)
    vcpu.trail = outcome.trail
    state.q[CR + 2] = outcome.sregs.cr2
    if isinstance(outcome, delivery.TripleFault):
        state.set_regs(outcome.regs._replace(rflags=flags))
        return ShutdownExit()
    for address, data in outcome.writes:
        vcpu.core.write_memory(address, data)
    if stepping:
        vcpu.returns.entered(regs.rsp, outcome.regs.rsp)
    state.set_regs(outcome.regs)
    state.d[HFLAGS] &= ~HF_INHIBIT_IRQ
    if outcome.sregs.cs != sregs.cs or outcome.sregs.ss != sregs.ss:
        state.enter_handler(outcome.sregs)
    vcpu.rf = None
    # After MOV SS a software interrupt comes first, then what MOV SS had met.
    return vcpu.raise_db(vcpu.take_held()) if vcpu.held and event.kind in _SOFTWARE else None
