"""Virtual time, and the in-kernel irqchip on this engine: its page, ports, MSRs and interrupts.

Time is the instruction clock plus what HLT has slept through; nothing reads the host's clock, so
that two runs agree. One instruction is one tick: one nanosecond, one cycle of the TSC. Must not
know: what the chips do (irqchip/), or how an interrupt is delivered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ...irqchip import Irqchip
from ...x86.delivery import Event, EventKind
from ...x86.registers import MASK64

if TYPE_CHECKING:
    from .core import Core

_PAGE = 0x1000
IA32_TSC, IA32_TSC_ADJUST, IA32_APIC_BASE, IA32_TSC_DEADLINE = 0x10, 0x3B, 0x1B, 0x6E0


class Pins(NamedTuple):
    """What a state of the chips asks of the processor, worked out once per state."""

    interrupt: bool
    event: int | None


@dataclass(frozen=True, slots=True)
class Time:
    """Ticks slept in HLT, and what the guest has added to its TSC."""

    slept: int = 0
    tsc_offset: int = 0
    adjust: int = 0


class ChipsetState(NamedTuple):
    """What a snapshot keeps of it."""

    chip: Irqchip | None
    time: Time
    halted: bool


class Chipset:
    """Virtual time, and the chips if the host has created them."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.chip: Irqchip | None = None
        self.time = Time()
        self.halted = False
        self._created = False
        self._pins: tuple[Irqchip | None, Pins] = (None, Pins(False, None))

    def create(self) -> None:
        """Put the chips in; from now on they stay, whatever is restored."""
        self._created = True
        self.chip = Irqchip()

    def take_sregs(self, cr8: int, apic_base: int) -> None:
        """KVM_SET_SREGS sets these in the APIC; a base that it does not take is left."""
        if self.chip is not None:
            self.chip = self.chip.with_cr8(cr8)
            self.wrmsr(IA32_APIC_BASE, apic_base)

    def seen(self) -> Irqchip | None:
        """The chips as they are now."""
        return None if self.chip is None else self.chip.advance(self.now)

    def state(self) -> ChipsetState:
        """For a snapshot."""
        return ChipsetState(self.chip, self.time, self.halted)

    def put(self, state: ChipsetState) -> None:
        """Back to a snapshot; one from before the chips were made has them as they are made."""
        self.chip, self.time, self.halted = state
        if self.chip is None and self._created:
            self.chip = Irqchip().advance(self.now)

    @property
    def now(self) -> int:
        """Ticks since creation."""
        return self._core.clock + self.time.slept

    # -- time --------------------------------------------------------------------------------------

    def next_stop(self) -> int | None:
        """The instruction clock at which a timer is due."""
        event = self._known().event
        return None if event is None else event - self.time.slept

    def advance(self) -> None:
        """Let the timers catch up with the clock."""
        if self.chip is not None:
            event = self._known().event
            if event is not None and event <= self.now:
                self.chip = self.chip.advance(self.now)

    def sleep(self) -> bool:
        """HLT: go to the next timer's tick. False when no timer is running."""
        event = self._known().event
        if event is None:
            return False
        self.time = replace(self.time, slept=self.time.slept + max(event - self.now, 0))
        self.advance()
        return True

    def _known(self) -> Pins:
        if self._pins[0] is not self.chip and self.chip is not None:
            event = self.chip.next_event(self.now)
            self._pins = (self.chip, Pins(self.chip.has_interrupt(), event))
        return self._pins[1] if self.chip is not None else Pins(False, None)

    # -- pins --------------------------------------------------------------------------------------

    @property
    def interrupt(self) -> bool:
        """INTR is high."""
        return self._known().interrupt

    def acknowledge(self) -> Event | None:
        """The interrupt to deliver now, taken from the chips."""
        if self.chip is None or not self.interrupt:
            return None
        vector, self.chip = self.chip.acknowledge()
        return Event(vector, EventKind.EXTERNAL)

    def take_nmi(self) -> bool:
        """An NMI was asked for by an IPI or a watchdog."""
        if self.chip is None:
            return False
        asked, self.chip = self.chip.take_nmi()
        return asked

    def take_init(self) -> bool:
        """An INIT was asked for by an IPI; the APIC has taken it."""
        if self.chip is None:
            return False
        asked, self.chip = self.chip.take_init()
        return asked

    def hears_watchdog(self) -> bool:
        """A timer may raise NMIs."""
        return self.chip is not None and self.chip.lapic.hears_watchdog

    # -- the APIC's page and the ports -------------------------------------------------------------

    def offset(self, physical: int) -> int | None:
        """Offset in the APIC's page, None elsewhere."""
        base = None if self.chip is None else self.chip.mmio_base
        return physical - base if base is not None and base <= physical < base + _PAGE else None

    def read_page(self, offset: int, size: int) -> int:
        """Read the APIC's page."""
        return 0 if self.chip is None else self.chip.read_mmio(offset, size, self.now)

    def write_page(self, offset: int, size: int, value: int) -> None:
        """Write the APIC's page."""
        if self.chip is not None:
            self.chip = self.chip.write_mmio(offset, size, value, self.now)

    def owns_port(self, port: int) -> bool:
        """A chip answers there, and the host never sees it."""
        return self.chip is not None and port in Irqchip.PORTS

    def read_port(self, port: int, size: int) -> int:
        """IN from a chip."""
        if self.chip is None:
            return 0
        value, self.chip = self.chip.read_port(port, size, self.now)
        return value

    def write_port(self, port: int, size: int, value: int) -> None:
        """OUT to a chip."""
        if self.chip is not None:
            self.chip = self.chip.write_port(port, size, value, self.now)

    @property
    def cr8(self) -> int:
        """CR8, 0..15; the APIC's where there is one."""
        return self._core.state.cr8 if self.chip is None else self.chip.cr8

    @cr8.setter
    def cr8(self, value: int) -> None:
        self._core.state.cr8 = value
        if self.chip is not None:
            self.chip = self.chip.with_cr8(value)

    # -- TSC and MSRs ------------------------------------------------------------------------------

    @property
    def tsc(self) -> int:
        """The guest's time stamp counter."""
        return self.now + self.time.tsc_offset & MASK64

    def owns_msr(self, index: int) -> bool:
        """This MSR is not Unicorn's business."""
        if index in (IA32_TSC, IA32_TSC_ADJUST):
            return True
        return self.chip is not None and self.chip.owns_msr(index)

    def rdmsr(self, index: int) -> int | None:
        """RDMSR of an MSR that is ours; None is #GP(0)."""
        if index == IA32_TSC:
            return self.tsc
        if index == IA32_TSC_ADJUST:
            return self.time.adjust
        value = None if self.chip is None else self.chip.rdmsr(index, self.now)
        if index == IA32_TSC_DEADLINE and value:
            return value + self.time.tsc_offset & MASK64
        return value

    def wrmsr(self, index: int, value: int) -> bool:
        """WRMSR of an MSR that is ours; False is #GP(0)."""
        if index in (IA32_TSC, IA32_TSC_ADJUST):
            self._set_tsc(value - (self.tsc if index == IA32_TSC else self.time.adjust))
            return True
        if index == IA32_TSC_DEADLINE and value:
            value = max(self._tick_of(value), 1)
        chip = None if self.chip is None else self.chip.wrmsr(index, value, self.now)
        if chip is not None:
            self.chip = chip
        return chip is not None

    def _tick_of(self, deadline: int) -> int:
        """When the guest's TSC is ``deadline``; half its range ahead is in the past."""
        ahead = deadline - self.tsc & MASK64
        return self.now + ahead if ahead < 1 << 63 else self.now

    def _set_tsc(self, difference: int) -> None:
        """Both ways of setting the TSC show in the other (SDM vol. 3, 17.17.3)."""
        offset, adjust = self.time.tsc_offset, self.time.adjust
        self.time = replace(
            self.time, tsc_offset=offset + difference & MASK64, adjust=adjust + difference & MASK64
        )
