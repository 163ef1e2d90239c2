"""One local APIC (SDM vol. 3, chapter 10; arch/x86/kvm/lapic.c): its state and its interrupts.

What becomes of an interrupt message, which interrupt is next, EOI, IPIs, errors and the local
vector table. The registers as software sees them are in lapic_registers. Must not know: the 8259,
ports, or whether the processor takes interrupts now.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from ..x86.registers import MASK32
from .lapic_timer import ApicTimer, TimerMode

BASE_RESET = 0xFEE0_0900
"""IA32_APIC_BASE after reset of the bootstrap processor: enabled, xAPIC mode."""

BASE_BSP, BASE_X2APIC, BASE_ENABLE = 1 << 8, 1 << 10, 1 << 11
SVR_ENABLE = 1 << 8
ESR_SEND_ILLEGAL, ESR_RECEIVE_ILLEGAL = 1 << 5, 1 << 6
LVT_MASKED = 1 << 16
LVT_LEVEL = 1 << 15
_FIRST_LEGAL_VECTOR = 16
_X2APIC_LOGICAL_ID = 1  # cluster 0, CPU 0 (``kvm_apic_calc_x2apic_ldr``)
_DFR_FLAT, _DFR_CLUSTER = 0xF, 0x0


class Delivery(IntEnum):
    """Delivery modes of the ICR and the local vector table (bits 10-8)."""

    FIXED = 0
    LOWEST = 1
    SMI = 2
    NMI = 4
    INIT = 5
    STARTUP = 6
    EXTINT = 7


class Lvt(IntEnum):
    """The entries of the local vector table, in the order of their registers."""

    TIMER = 0
    THERMAL = 1
    PERF = 2
    LINT0 = 3
    LINT1 = 4
    ERROR = 5


_TIMER_RESET = ApicTimer()
_LVT_RESET = (LVT_MASKED, LVT_MASKED, LVT_MASKED, Delivery.EXTINT << 8, LVT_MASKED, LVT_MASKED)


@dataclass(frozen=True, slots=True)
class Lapic:
    """The local APIC of the bootstrap processor, as ``kvm_lapic_reset`` leaves it.

    ``irr``, ``isr`` and ``tmr`` are 256-bit integers, bit = vector. ``apic_id`` is 8 bits, ``ldr``
    and ``dfr`` hold their registers. ``esr`` is what software reads, ``errors`` what was detected
    since it last wrote there. LINT0 starts as ExtINT, unmasked: KVM's LINT0_REENABLED quirk, with
    which the 8259 works before anyone touches the APIC. ``nmi`` and ``init`` are requests to the
    processor that it has not taken yet.
    """

    base: int = BASE_RESET
    apic_id: int = 0
    tpr: int = 0
    ldr: int = 0
    dfr: int = MASK32
    svr: int = 0xFF
    irr: int = 0
    isr: int = 0
    tmr: int = 0
    esr: int = 0
    errors: int = 0
    icr: int = 0
    lvt: tuple[int, ...] = _LVT_RESET
    timer: ApicTimer = _TIMER_RESET
    nmi: bool = False
    init: bool = False

    # -- modes -------------------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Globally, by IA32_APIC_BASE bit 11."""
        return bool(self.base & BASE_ENABLE)

    @property
    def x2apic(self) -> bool:
        """x2APIC mode: registers are MSRs, and the page is not there."""
        return self.base & (BASE_ENABLE | BASE_X2APIC) == BASE_ENABLE | BASE_X2APIC

    @property
    def software_enabled(self) -> bool:
        """By bit 8 of the spurious-vector register, too."""
        return self.enabled and bool(self.svr & SVR_ENABLE)

    def reset(self) -> Lapic:
        """What INIT leaves (SDM 10.4.7.3): reset state, but mode, base address and ID stay."""
        return Lapic(base=self.base, apic_id=self.apic_id)

    # -- priorities (SDM 10.8.3) -------------------------------------------------------------------

    @property
    def ppr(self) -> int:
        """Processor priority: TPR, or the class of what is in service if that is higher."""
        serving = _highest(self.isr) & 0xF0
        return self.tpr if self.tpr & 0xF0 >= serving else serving

    @property
    def deliverable(self) -> int | None:
        """The highest request whose class is above the processor's priority class."""
        vector = _highest(self.irr)
        return vector if self.enabled and vector & 0xF0 > self.ppr & 0xF0 else None

    def acknowledge(self) -> tuple[int, Lapic]:
        """INTA: the vector moves from IRR to ISR.

        When there is none any more (TPR was raised meanwhile) it is the spurious vector, which does
        not go into service (SDM 10.9).
        """
        vector = self.deliverable
        if vector is None:
            return self.svr & 0xFF, self
        bit = 1 << vector
        return vector, replace(self, irr=self.irr & ~bit, isr=self.isr | bit)

    def eoi(self) -> Lapic:
        """End of the highest interrupt in service, harmless without one (SDM 10.8.5).

        The broadcast for a level-triggered vector has no I/O APIC to reach.
        """
        return replace(self, isr=self.isr & ~(1 << _highest(self.isr))) if self.isr else self

    # -- messages (``__apic_accept_irq``) ----------------------------------------------------------

    def accept(self, mode: int, vector: int, *, level: bool = False) -> Lapic:
        """An interrupt message for this processor.

        SMI has no SMM to go to, and a running processor ignores STARTUP. ExtINT is no message: the
        8259 is asked at INTA, through LINT0.
        """
        if mode in (Delivery.FIXED, Delivery.LOWEST):
            return self._accept_vector(vector, level=level)
        if mode == Delivery.NMI:
            return replace(self, nmi=True)
        if mode == Delivery.INIT:
            return replace(self, init=True)
        return self

    def _accept_vector(self, vector: int, *, level: bool) -> Lapic:
        """Into IRR; not when disabled by software, and never one of the first 16 vectors."""
        if not self.software_enabled:
            return self
        if vector < _FIRST_LEGAL_VECTOR:
            return self.detect(ESR_RECEIVE_ILLEGAL)
        bit = 1 << vector
        tmr = self.tmr | bit if level else self.tmr & ~bit
        return replace(self, irr=self.irr | bit, tmr=tmr)

    def deliver_local(self, entry: Lvt) -> Lapic:
        """A local source speaks through its entry (``kvm_apic_local_deliver``).

        Thermal, performance and LINT1 have no source of their own here; a caller may be one.
        """
        word = self.lvt[entry]
        if not self.enabled or word & LVT_MASKED:
            return self
        lapic = self.accept(word >> 8 & 7, word & 0xFF, level=bool(word & LVT_LEVEL))
        if entry is Lvt.PERF:  # hardware masks it at each interrupt (SDM 10.5.1)
            lapic = lapic.with_lvt(entry, word | LVT_MASKED)
        return lapic

    def detect(self, error: int) -> Lapic:
        """An ESR bit; the first since the last write to ESR raises the error entry (SDM 10.5.3).

        KVM itself records no errors.
        """
        lapic = replace(self, errors=self.errors | error)
        return lapic if self.errors else lapic.deliver_local(Lvt.ERROR)

    @property
    def takes_extint(self) -> bool:
        """The 8259's INT reaches the processor (``kvm_apic_accept_pic_intr``)."""
        word = self.lvt[Lvt.LINT0]
        open_lint0 = not word & LVT_MASKED and word >> 8 & 7 == Delivery.EXTINT
        return not self.enabled or open_lint0

    @property
    def hears_watchdog(self) -> bool:
        """LINT0 turns ticks of the PIT into NMIs (``kvm_apic_nmi_wd_deliver``)."""
        word = self.lvt[Lvt.LINT0]
        return self.enabled and not word & LVT_MASKED and word >> 8 & 7 == Delivery.NMI

    # -- IPIs (SDM 10.6) ---------------------------------------------------------------------------

    def send_ipi(self, icr: int) -> Lapic:
        """Send what the 64-bit ICR says; ``icr`` has the destination of this mode in bits 63-32.

        Only this processor exists. As in KVM a shorthand does not restrict the delivery mode.
        """
        mode, vector = icr >> 8 & 7, icr & 0xFF
        asserted, level = bool(icr >> 14 & 1), bool(icr >> 15 & 1)
        lapic = self
        if mode in (Delivery.FIXED, Delivery.LOWEST) and vector < _FIRST_LEGAL_VECTOR:
            lapic = lapic.detect(ESR_SEND_ILLEGAL)
        if level and not asserted:
            return lapic  # the INIT level de-assert, and what KVM treats likewise
        return lapic.accept(mode, vector, level=level) if lapic._is_target(icr) else lapic

    def _is_target(self, icr: int) -> bool:
        """Whether the shorthand or the destination names this processor (SDM 10.6.1-10.6.2)."""
        shorthand = icr >> 18 & 3
        if shorthand:
            return shorthand in (1, 2)  # self, all including self; 3 excludes self
        destination = icr >> 32
        if self.x2apic:
            return self._is_x2apic_target(destination, logical=bool(icr & 1 << 11))
        destination >>= 24
        if destination == 0xFF:
            return True
        if not icr & 1 << 11:
            return destination == self.apic_id
        return self._is_logical_target(destination)

    def _is_x2apic_target(self, destination: int, *, logical: bool) -> bool:
        if destination == MASK32:
            return True
        if not logical:
            return destination == 0
        same_cluster = destination >> 16 == _X2APIC_LOGICAL_ID >> 16
        return same_cluster and bool(destination & _X2APIC_LOGICAL_ID & 0xFFFF)

    def _is_logical_target(self, destination: int) -> bool:
        """The flat and the cluster model; any other DFR matches nobody."""
        own, model = self.ldr >> 24, self.dfr >> 28
        if model == _DFR_FLAT:
            return bool(own & destination)
        if model == _DFR_CLUSTER:
            return own >> 4 == destination >> 4 and bool(own & destination & 0xF)
        return False

    # -- registers with more than a value ----------------------------------------------------------

    def with_lvt(self, entry: Lvt, word: int) -> Lapic:
        """A local vector table entry; the timer's carries the timer's mode."""
        words = list(self.lvt)
        words[entry] = word
        lapic = replace(self, lvt=tuple(words))
        if entry is Lvt.TIMER:
            lapic = replace(lapic, timer=self.timer.with_mode(TimerMode(word >> 17 & 3)))
        return lapic

    def with_svr(self, value: int) -> Lapic:
        """The spurious-vector register; clearing bit 8 masks every LVT entry (SDM 10.4.7.2)."""
        if value & SVR_ENABLE:
            return replace(self, svr=value)
        return replace(self, svr=value, lvt=tuple(word | LVT_MASKED for word in self.lvt))

    # -- time --------------------------------------------------------------------------------------

    def advance(self, now: int) -> Lapic:
        """The timer's expiries up to ``now``; a masked timer counts on and is not heard."""
        expired, timer = self.timer.advance(now)
        if timer is self.timer:
            return self
        lapic = replace(self, timer=timer)
        return lapic.deliver_local(Lvt.TIMER) if expired else lapic

    def next_event(self) -> int | None:
        """The tick of the next expiry that would be heard."""
        heard = self.enabled and not self.lvt[Lvt.TIMER] & LVT_MASKED
        return self.timer.deadline if heard else None


def _highest(bits: int) -> int:
    """The highest vector in a set, 0 for none (as the SDM's ISRV and IRRV have it)."""
    return bits.bit_length() - 1 if bits else 0
