"""kvm_vcpu_events: what waits to be delivered, out of a vCPU and into it.

Must not know: when it is delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import guestdebug
from ...guestdebug import PendingException
from ...x86.registers import VcpuEvents
from ...x86.vectors import Vector

if TYPE_CHECKING:
    from .vcpu import Vcpu


def read_events(vcpu: Vcpu) -> VcpuEvents:
    """See ``UnicornEngine.get_vcpu_events``."""
    events = VcpuEvents(
        interrupt_injected=int(vcpu.interrupts.irq is not None),
        interrupt_nr=vcpu.interrupts.irq or 0,
        nmi_pending=int(vcpu.interrupts.nmi_pending),
        nmi_masked=int(vcpu.interrupts.nmi_masked),
    )
    pending = vcpu.debug.pending
    if pending is None:
        return events
    return events._replace(
        exception_injected=int(not pending.soft),
        exception_nr=pending.vector,
        exception_has_error_code=int(pending.error_code is not None),
        exception_pending=int(not pending.soft),
        exception_error_code=pending.error_code or 0,
        exception_has_payload=int(pending.payload is not None),
        exception_payload=pending.payload or 0,
    )


def write_events(vcpu: Vcpu, events: VcpuEvents) -> None:
    """See ``UnicornEngine.set_vcpu_events``."""
    pending = None
    if events.exception_injected or events.exception_pending:
        pending = PendingException(
            events.exception_nr,
            events.exception_error_code if events.exception_has_error_code else None,
            events.exception_payload if events.exception_has_payload else None,
            soft=events.exception_nr in (Vector.BP, Vector.OF),
        )
    vcpu.debug = guestdebug.replace_pending(vcpu.debug, pending)
    vcpu.interrupts.irq = events.interrupt_nr if events.interrupt_injected else None
    vcpu.interrupts.nmi_pending = bool(events.nmi_pending)
    vcpu.interrupts.nmi_injected = bool(events.nmi_injected)
    vcpu.interrupts.nmi_masked = bool(events.nmi_masked)
