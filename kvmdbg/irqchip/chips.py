"""The three chips wired together: what KVM_CREATE_IRQCHIP and KVM_CREATE_PIT2 make.

The 8259 pair's INT goes to LINT0 of the local APIC, the 8254's OUT 0 to IRQ 0. A timer that has
expired by ``now`` is heard in ``advance``, and every access that is told ``now`` advances first.
Must not know: any engine, RFLAGS.IF, KVM_GUESTDBG_BLOCKIRQ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from . import lapic_registers
from .lapic import Lapic, Lvt
from .lapic_registers import owns_msr
from .pic import PORTS as PIC_PORTS
from .pic import Pics
from .pit import PORTS as PIT_PORTS
from .pit import Pit

_LAPIC, _PICS, _PIT = Lapic(), Pics(), Pit()


@dataclass(frozen=True, slots=True)
class Irqchip:
    """Everything between a device's line and the processor's INTR, NMI and INIT pins.

    ``Irqchip()`` is the state after creation. Times are ticks: instructions, nanoseconds and TSC
    cycles at once; ``now`` must never go back between two calls on the states of one history.

    >>> chip = Irqchip().set_irq(1, True)
    >>> chip.has_interrupt(), chip.acknowledge()[0]
    (True, 1)
    """

    lapic: Lapic = _LAPIC
    pic: Pics = _PICS
    pit: Pit = _PIT

    PORTS: ClassVar[frozenset[int]] = PIC_PORTS | PIT_PORTS
    """The ports that these chips claim."""

    # -- time --------------------------------------------------------------------------------------

    def advance(self, now: int) -> Irqchip:
        """The state in which every timer that expired by ``now`` has raised its interrupt.

        Several expiries of one timer are one interrupt. Returns ``self`` when none expired.
        """
        lapic = self.lapic.advance(now)
        ticked, new_pit = self.pit.advance(now)
        if ticked:
            return self._tick(lapic, new_pit)
        return self if lapic is self.lapic else replace(self, lapic=lapic)

    def _tick(self, lapic: Lapic, new_pit: Pit) -> Irqchip:
        """OUT 0 rose: IRQ 0, and an NMI where LINT0 is a watchdog (``pit_do_work``)."""
        if lapic.hears_watchdog:
            lapic = lapic.deliver_local(Lvt.LINT0)
        return Irqchip(lapic, self.pic.pulse(0), new_pit)

    def next_event(self, now: int) -> int | None:
        """The first tick, ``now`` or later, at which a timer is heard; None: none is running.

        Ask again after every change: an access or an acknowledge may move it. A timer that is
        masked (LVT, or OCW1 for the 8254) is not heard and makes no event.
        """
        ticks = [self.lapic.next_event()]
        if not self.pic.irq0_masked or self.lapic.hears_watchdog:
            ticks.append(self.pit.next_expiry())
        first = min((tick for tick in ticks if tick is not None), default=None)
        return None if first is None else max(first, now)

    # -- the processor's pins ----------------------------------------------------------------------

    def has_interrupt(self) -> bool:
        """INTR is high (``kvm_cpu_has_interrupt``), whatever RFLAGS.IF says."""
        return self._extint() or self.lapic.deliverable is not None

    def pending_vector(self) -> int | None:
        """The vector that ``acknowledge`` would give now, None when INTR is low."""
        return self.acknowledge()[0] if self.has_interrupt() else None

    def _extint(self) -> bool:
        return self.lapic.takes_extint and self.pic.output

    def acknowledge(self) -> tuple[int, Irqchip]:
        """INTA (``kvm_cpu_get_interrupt``): the vector, and the state with it in service.

        The 8259 goes first, as in KVM. With nothing to give, the answer is the spurious vector of
        the APIC, or of the 8259 when the APIC is globally disabled.
        """
        if self._extint() or not self.lapic.enabled:
            vector, pics = self.pic.acknowledge()
            return vector, replace(self, pic=pics)
        vector, lapic = self.lapic.acknowledge()
        return vector, replace(self, lapic=lapic)

    def take_nmi(self) -> tuple[bool, Irqchip]:
        """Whether an NMI was asked for (ICR or LVT), and the state without that request."""
        if not self.lapic.nmi:
            return False, self
        return True, replace(self, lapic=replace(self.lapic, nmi=False))

    def take_init(self) -> tuple[bool, Irqchip]:
        """Whether an INIT was asked for, and the state after it.

        The APIC is then as INIT leaves it; resetting the processor is the caller's. SDM table 10-3
        calls INIT with the self shorthand invalid; KVM sends it, and so does this.
        """
        if not self.lapic.init:
            return False, self
        return True, replace(self, lapic=self.lapic.reset())

    # -- lines and ports ---------------------------------------------------------------------------

    def set_irq(self, line: int, level: bool) -> Irqchip:
        """KVM_IRQ_LINE on an ISA line, 0..15; 2 is the cascade and no line of the bus."""
        return replace(self, pic=self.pic.set_irq(line, level))

    def read_port(self, port: int, size: int, now: int) -> tuple[int, Irqchip]:
        """IN from one of ``PORTS``. The chips have 8 data lines; as in KVM a wider read of the
        8259s gives 0 (``picdev_read``), of the others the byte.
        """
        chip = self.advance(now)
        if port in PIT_PORTS:
            value, new_pit = chip.pit.read(port, now)
            return value, replace(chip, pit=new_pit)
        if port not in PIC_PORTS or size != 1:
            return 0, chip
        value, pics = chip.pic.read(port)
        return value, replace(chip, pic=pics)

    def write_port(self, port: int, size: int, value: int, now: int) -> Irqchip:
        """OUT to one of ``PORTS``; a wider write is ignored by the 8259s and cut by the others."""
        chip = self.advance(now)
        if port in PIT_PORTS:
            return replace(chip, pit=chip.pit.write(port, value & 0xFF, now))
        if port not in PIC_PORTS or size != 1:
            return chip
        return replace(chip, pic=chip.pic.write(port, value & 0xFF))

    # -- the local APIC's registers ----------------------------------------------------------------

    @property
    def mmio_base(self) -> int | None:
        """Physical address of the APIC page (4 KiB), None while no page is decoded."""
        if not self.lapic.enabled or self.lapic.x2apic:
            return None
        return self.lapic.base & ~0xFFF

    def read_mmio(self, offset: int, size: int, now: int) -> int:
        """A read in the APIC page; ``offset`` 0..0xFFF, ``size`` in bytes. Changes nothing."""
        return lapic_registers.read_page(self.advance(now).lapic, offset, size, now)

    def write_mmio(self, offset: int, size: int, value: int, now: int) -> Irqchip:
        """A write in the APIC page; only aligned 32-bit writes have effect (SDM 10.4.1)."""
        chip = self.advance(now)
        lapic = lapic_registers.write_page(chip.lapic, offset, size, value, now)
        return replace(chip, lapic=lapic)

    @staticmethod
    def owns_msr(index: int) -> bool:
        """IA32_APIC_BASE, IA32_TSC_DEADLINE and 0x800-0x8FF are ours."""
        return owns_msr(index)

    def rdmsr(self, index: int, now: int) -> int | None:
        """RDMSR of an index that is ours; None is #GP(0)."""
        return lapic_registers.read_msr(self.advance(now).lapic, index, now)

    def wrmsr(self, index: int, value: int, now: int) -> Irqchip | None:
        """WRMSR of an index that is ours; None is #GP(0).

        A TSC deadline in the past fires at once.
        """
        chip = self.advance(now)
        lapic = lapic_registers.write_msr(chip.lapic, index, value, now)
        return None if lapic is None else replace(chip, lapic=lapic).advance(now)

    @property
    def cr8(self) -> int:
        """CR8: the class of the task priority, 0..15 (SDM 10.8.6.1)."""
        return self.lapic.tpr >> 4

    def with_cr8(self, value: int) -> Irqchip:
        """MOV to CR8; bits above 3 are #GP in the processor and are dropped here."""
        return replace(self, lapic=replace(self.lapic, tpr=(value & 0xF) << 4))
