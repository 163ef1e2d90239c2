"""The local APIC's registers as software reads and writes them: the page and the MSRs.

The page at the APIC base (SDM 10.4.1) is for xAPIC mode, MSRs 0x800-0x8FF are for x2APIC mode
(10.12.1), IA32_APIC_BASE and IA32_TSC_DEADLINE are for both. A refused MSR access is None: #GP(0).
A register is named by its offset in the page. Must not know: who asks.
"""

from __future__ import annotations

from dataclasses import replace

from ..x86.paging import PHYSICAL_BITS
from ..x86.registers import MASK32, MASK64
from .lapic import (
    BASE_BSP,
    BASE_ENABLE,
    BASE_X2APIC,
    LVT_LEVEL,
    LVT_MASKED,
    Lapic,
    Lvt,
)
from .lapic_timer import DIVIDE_MASK

APIC_BASE, TSC_DEADLINE = 0x1B, 0x6E0
X2APIC_MSRS = range(0x800, 0x900)
VERSION_VALUE = 0x0005_0014
"""KVM's: version 0x14, six LVT entries (0-5), no directed EOI."""

ID, VERSION, TPR, APR, PPR, EOI = 0x20, 0x30, 0x80, 0x90, 0xA0, 0xB0
LDR, DFR, SVR, ISR, TMR, IRR, ESR = 0xD0, 0xE0, 0xF0, 0x100, 0x180, 0x200, 0x280
ICR, ICR2, LVT, INITIAL, CURRENT, DIVIDE, SELF_IPI = 0x300, 0x310, 0x320, 0x380, 0x390, 0x3E0, 0x3F0

_VECTOR, _MODE = 0xFF, 7 << 8
_POLARITY, _TIMER_MODE = 1 << 13, 3 << 17
_READ_ONLY = 1 << 12 | 1 << 14  # delivery status and remote IRR: always idle here
_LVT_BITS = {
    Lvt.TIMER: LVT_MASKED | _VECTOR | _TIMER_MODE,
    Lvt.THERMAL: LVT_MASKED | _VECTOR | _MODE,
    Lvt.PERF: LVT_MASKED | _VECTOR | _MODE,
    Lvt.LINT0: LVT_MASKED | _VECTOR | _MODE | _POLARITY | LVT_LEVEL,
    Lvt.LINT1: LVT_MASKED | _VECTOR | _MODE | _POLARITY | LVT_LEVEL,
    Lvt.ERROR: LVT_MASKED | _VECTOR,
}
_SVR_BITS = 0x3FF  # vector, software enable, focus check
_ICR_BITS = 0xCCFFF
_ICR_BUSY = 1 << 12
_XAPIC_ONLY = (APR, DFR, ICR2)

# The bits that a write in x2APIC mode may set; one more is #GP (10.12.1.3).
_X2APIC_BITS = {
    TPR: 0xFF,
    EOI: 0,
    SVR: _SVR_BITS,
    ESR: 0,
    INITIAL: MASK32,
    DIVIDE: DIVIDE_MASK,
    SELF_IPI: _VECTOR,
    **{LVT + 16 * entry: bits | _READ_ONLY for entry, bits in _LVT_BITS.items()},
}


# -- the page --------------------------------------------------------------------------------------


def read_page(lapic: Lapic, offset: int, size: int, now: int) -> int:
    """A read at ``offset`` in the page, after ``advance(now)``.

    Ones where the page is not decoded (globally disabled, x2APIC), as in KVM. Only a 32-bit access
    at a multiple of 16 is a register's; others are undefined (10.4.1) and read 0.
    """
    if not lapic.enabled or lapic.x2apic:
        return (1 << 8 * size) - 1
    if size != 4 or offset & 0xF:
        return 0
    return _read(lapic, offset, now) or 0


def write_page(lapic: Lapic, offset: int, size: int, value: int, now: int) -> Lapic:
    """A write at ``offset`` in the page, after ``advance(now)``; nothing where a read gives 0."""
    if not lapic.enabled or lapic.x2apic or size != 4 or offset & 0xF:
        return lapic
    value &= MASK32
    if offset == ID:
        return replace(lapic, apic_id=value >> 24)
    if offset == LDR:
        return replace(lapic, ldr=value & 0xFF00_0000)
    if offset == DFR:
        return replace(lapic, dfr=value | 0x0FFF_FFFF)
    if offset == ICR2:
        return replace(lapic, icr=lapic.icr & MASK32 | (value & 0xFF00_0000) << 32)
    if offset == ICR:
        icr = lapic.icr & ~MASK32 | value & _ICR_BITS
        return replace(lapic, icr=icr).send_ipi(icr)
    return _write(lapic, offset, value, now)


# -- registers of both modes -----------------------------------------------------------------------


def _read(lapic: Lapic, offset: int, now: int) -> int | None:
    """A register's 32 bits; None where there is none to read."""
    for start, bits in ((ISR, lapic.isr), (TMR, lapic.tmr), (IRR, lapic.irr)):
        if start <= offset < start + 0x80:
            return bits >> 2 * (offset - start) & MASK32
    if LVT <= offset < INITIAL:
        return lapic.lvt[(offset - LVT) >> 4]
    return _read_plain(lapic, offset, now)


def _read_plain(lapic: Lapic, offset: int, now: int) -> int | None:
    """The registers that stand alone."""
    values = {
        ID: 0 if lapic.x2apic else lapic.apic_id << 24,
        VERSION: VERSION_VALUE,
        TPR: lapic.tpr,
        APR: 0,
        PPR: lapic.ppr,
        LDR: 1 if lapic.x2apic else lapic.ldr,
        DFR: lapic.dfr,
        SVR: lapic.svr,
        ESR: lapic.esr,
        ICR: lapic.icr & MASK32,
        ICR2: lapic.icr >> 32,
        INITIAL: lapic.timer.initial,
        CURRENT: lapic.timer.current(now),
        DIVIDE: lapic.timer.divide,
    }
    return values.get(offset)


def _write(lapic: Lapic, offset: int, value: int, now: int) -> Lapic:
    """A write to a register that both modes have; read-only and reserved ones ignore it."""
    if LVT <= offset < INITIAL:
        return _write_lvt(lapic, Lvt((offset - LVT) >> 4), value)
    if offset == TPR:
        return replace(lapic, tpr=value & 0xFF)
    if offset == EOI:
        return lapic.eoi()
    if offset == SVR:
        return lapic.with_svr(value & _SVR_BITS)
    if offset == ESR:  # shows what was detected, and arms the error entry again (10.5.3)
        return replace(lapic, esr=lapic.errors, errors=0)
    if offset == INITIAL:
        return replace(lapic, timer=lapic.timer.with_initial(value, now))
    if offset == DIVIDE:
        return replace(lapic, timer=lapic.timer.with_divide(value, now))
    return lapic


def _write_lvt(lapic: Lapic, entry: Lvt, value: int) -> Lapic:
    """An LVT entry; its mask cannot be cleared while disabled by software (10.4.7.2)."""
    word = value & _LVT_BITS[entry]
    return lapic.with_lvt(entry, word if lapic.software_enabled else word | LVT_MASKED)


# -- MSRs ------------------------------------------------------------------------------------------


def owns_msr(index: int) -> bool:
    """IA32_APIC_BASE, IA32_TSC_DEADLINE, and all of 0x800-0x8FF."""
    return index in (APIC_BASE, TSC_DEADLINE) or index in X2APIC_MSRS


def read_msr(lapic: Lapic, index: int, now: int) -> int | None:
    """RDMSR, after ``advance(now)``; None is #GP(0)."""
    if index == APIC_BASE:
        return lapic.base
    if index == TSC_DEADLINE:
        return lapic.timer.tsc_deadline if lapic.enabled else 0
    if index not in X2APIC_MSRS or not lapic.x2apic:
        return None
    offset = (index - X2APIC_MSRS.start) << 4
    if offset == ICR:
        return lapic.icr
    return None if offset in _XAPIC_ONLY else _read(lapic, offset, now)


def write_msr(lapic: Lapic, index: int, value: int, now: int) -> Lapic | None:
    """WRMSR, after ``advance(now)``; None is #GP(0)."""
    value &= MASK64
    if index == APIC_BASE:
        return _write_base(lapic, value)
    if index == TSC_DEADLINE:
        timer = lapic.timer.with_tsc_deadline(value) if lapic.enabled else lapic.timer
        return replace(lapic, timer=timer)
    if index not in X2APIC_MSRS or not lapic.x2apic:
        return None
    return _write_x2apic(lapic, (index - X2APIC_MSRS.start) << 4, value, now)


def _write_x2apic(lapic: Lapic, offset: int, value: int, now: int) -> Lapic | None:
    if offset == ICR:
        return _write_x2apic_icr(lapic, value)
    allowed = _X2APIC_BITS.get(offset)
    if allowed is None or value & ~allowed:
        return None
    if offset == SELF_IPI:  # 10.12.11: a fixed, edge-triggered IPI with the self shorthand
        return lapic.send_ipi(1 << 18 | value)
    return _write(lapic, offset, value, now)


def _write_x2apic_icr(lapic: Lapic, value: int) -> Lapic | None:
    """All 64 bits at once (10.12.9); the former delivery status is ignored, as in KVM."""
    value &= ~_ICR_BUSY
    if value & MASK32 & ~_ICR_BITS:
        return None
    return replace(lapic, icr=value).send_ipi(value)


def _write_base(lapic: Lapic, value: int) -> Lapic | None:
    """IA32_APIC_BASE: only the transitions of SDM figure 10-27 (``kvm_apic_set_base``).

    Registers keep their values while globally disabled, as in KVM; only the ID is set anew.
    """
    known = (1 << PHYSICAL_BITS) - (1 << 12) | BASE_BSP | BASE_ENABLE | BASE_X2APIC
    mode, old = value & (BASE_ENABLE | BASE_X2APIC), lapic.base & (BASE_ENABLE | BASE_X2APIC)
    if value & ~known or mode == BASE_X2APIC:
        return None
    if lapic.x2apic and mode == BASE_ENABLE:
        return None
    if not lapic.enabled and mode & BASE_X2APIC:
        return None
    changed = replace(lapic, base=value)
    return replace(changed, apic_id=0) if mode & ~old else changed
