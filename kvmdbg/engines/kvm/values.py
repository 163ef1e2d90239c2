"""Registers as values and as the kernel's bytes, both ways; and what KVM demands of them.

Must not know: which ioctl carries them, or when.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

from ...uapi import KVM_VCPUEVENT_VALID_PAYLOAD
from ...x86.registers import (
    MASK64,
    DebugRegs,
    DescriptorTable,
    Regs,
    Segment,
    Sregs,
    VcpuEvents,
)

_REGS: Final = struct.Struct("<18Q")
_SEGMENT: Final = struct.Struct("<QIH9Bx")
_TABLE: Final = struct.Struct("<QH6x")
_CONTROL: Final = struct.Struct("<7Q")
_DEBUGREGS: Final = struct.Struct("<7Q72x")
_EVENTS: Final = struct.Struct("<4BI4B3BxII5B26xBQ")
_SEGMENTS, _TABLES = 8, 2
_TABLES_AT = _SEGMENTS * _SEGMENT.size
_CONTROL_AT = _TABLES_AT + _TABLES * _TABLE.size
_INTERRUPT_BITMAP = bytes(32)

read_regs: Final = _REGS.unpack_from
make_regs: Final[Callable[[tuple[int, ...]], Regs]] = partial(tuple.__new__, Regs)
"""As ``Regs._make``, without its check: a step asks for them each time."""


def pack_regs(regs: Regs) -> bytes:
    """``struct kvm_regs``."""
    return _REGS.pack(*(value & MASK64 for value in regs))


@lru_cache(256)  # guests change them seldom, and a debugger asks at every stop
def sregs_of(raw: bytes) -> Sregs:
    """``struct kvm_sregs``, without its interrupt_bitmap."""
    segments = map(Segment._make, _SEGMENT.iter_unpack(raw[:_TABLES_AT]))
    tables = map(DescriptorTable._make, _TABLE.iter_unpack(raw[_TABLES_AT:_CONTROL_AT]))
    return Sregs._make((*segments, *tables, *_CONTROL.unpack_from(raw, _CONTROL_AT)))


def pack_sregs(sregs: Sregs) -> bytes:
    """``struct kvm_sregs``; an empty interrupt_bitmap leaves a queued interrupt as it is."""
    s = sregs
    segments = map(_pack_segment, (s.cs, s.ds, s.es, s.fs, s.gs, s.ss, s.tr, s.ldt))
    tables = (_TABLE.pack(*table) for table in (s.gdt, s.idt))
    control = _CONTROL.pack(s.cr0, s.cr2, s.cr3, s.cr4, s.cr8, s.efer, s.apic_base)
    return b"".join((*segments, *tables, control, _INTERRUPT_BITMAP))


def _pack_segment(segment: Segment) -> bytes:
    return _SEGMENT.pack(*segment)


def enterable(sregs: Sregs) -> Sregs:
    """What a processor can be entered with (SDM vol. 3, 27.3.1.2).

    A usable code or data segment is an accessed one, and TR holds a *busy* TSS; loading them would
    have set those bits, so an Sregs without them means the same.
    """
    segments = {
        name: segment._replace(type=segment.type | 1)
        for name in ("cs", "ds", "es", "fs", "gs", "ss")
        if (segment := getattr(sregs, name)).s and not segment.unusable
    }
    tr = sregs.tr
    if tr.present and not tr.unusable and tr.type in (1, 9):
        segments["tr"] = tr._replace(type=tr.type | 2)
    return sregs._replace(**segments)


def debugregs_of(raw: bytes) -> DebugRegs:
    """``struct kvm_debugregs``."""
    a, b, c, d, dr6, dr7, flags = _DEBUGREGS.unpack(raw)
    return DebugRegs((a, b, c, d), dr6, dr7, flags)


def pack_debugregs(debugregs: DebugRegs) -> bytes:
    """``struct kvm_debugregs``."""
    numbers = (*debugregs.db, debugregs.dr6, debugregs.dr7, debugregs.flags)
    return _DEBUGREGS.pack(*(number & MASK64 for number in numbers))


def events_of(raw: bytes) -> VcpuEvents:
    """``struct kvm_vcpu_events`` as KVM gives it without KVM_CAP_EXCEPTION_PAYLOAD.

    Then a pending exception reads as an injected one too, and no flag speaks of the payload
    (spec 7); the payload itself is given all the same.
    """
    (injected, nr, has_code, pending, code, *others) = _EVENTS.unpack(raw)
    (interrupt, interrupt_nr, soft, shadow, nmi, nmi_pending, nmi_masked) = others[:7]
    flags, has_payload, payload = others[8], others[-2], others[-1]
    return VcpuEvents(
        exception_injected=injected | pending,
        exception_nr=nr,
        exception_has_error_code=has_code,
        exception_pending=pending,
        exception_error_code=code,
        interrupt_injected=interrupt,
        interrupt_nr=interrupt_nr,
        interrupt_soft=soft,
        interrupt_shadow=shadow,
        nmi_injected=nmi,
        nmi_pending=nmi_pending,
        nmi_masked=nmi_masked,
        flags=flags & ~KVM_VCPUEVENT_VALID_PAYLOAD,
        exception_has_payload=has_payload,
        exception_payload=payload,
    )


def pack_events(events: VcpuEvents, payload: bool) -> bytes:
    """``struct kvm_vcpu_events``; ``payload`` says that KVM_CAP_EXCEPTION_PAYLOAD is enabled.

    A payload belongs to an exception that is still pending, so one that has it is.
    """
    pending = events.exception_pending
    if events.exception_injected and events.exception_has_payload:
        pending = 1
    return _EVENTS.pack(
        events.exception_injected,
        events.exception_nr,
        events.exception_has_error_code,
        pending,
        events.exception_error_code,
        events.interrupt_injected,
        events.interrupt_nr,
        events.interrupt_soft,
        events.interrupt_shadow,
        events.nmi_injected,
        events.nmi_pending,
        events.nmi_masked,
        0,  # sipi_vector
        events.flags | (KVM_VCPUEVENT_VALID_PAYLOAD if payload else 0),
        *(0, 0, 0, 0, 0),  # SMM, triple fault
        events.exception_has_payload,
        events.exception_payload & MASK64,
    )
