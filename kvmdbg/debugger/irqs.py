"""``Vm``'s methods for interrupts: the irqchip and its lines. Thin, as the rest of it.

Must not know: what an interrupt controller does, or what else a Vm can do.
"""

from __future__ import annotations

from ..engines import Engine
from ..irqchip import Irqchip
from .taking_turns import TakesTurns, in_turn


class Interrupts(TakesTurns):
    """The part of ``Vm`` that makes and drives an irqchip."""

    _engine: Engine

    @in_turn
    def create_irqchip(self) -> None:
        """KVM_CREATE_IRQCHIP and KVM_CREATE_PIT2; it stays. IoctlError EEXIST the second time."""
        self._check()
        self._engine.create_irqchip()

    @in_turn
    def irq_line(self, line: int, level: bool) -> None:
        """KVM_IRQ_LINE on ISA line 0..15. IoctlError ENXIO without an irqchip, EINVAL outside."""
        self._check()
        self._engine.irq_line(line, level)

    @property
    def irqchip(self) -> Irqchip | None:
        """The irqchip as of :attr:`now`; None where there is none, or where it cannot be seen."""
        self._check()
        return self._engine.irqchip

    @property
    def now(self) -> int:
        """Ticks of virtual time: instructions, and what HLT has slept; -1 without a clock."""
        return self._engine.now
