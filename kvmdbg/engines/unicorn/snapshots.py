"""A whole machine as a value, and back. Must not know: who keeps it, or why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...guestdebug import DebugState
from ...x86.delivery import Step
from .chipset import ChipsetState
from .native import Word
from .waiting import Queued

if TYPE_CHECKING:
    from .vcpu import Vcpu


@dataclass(frozen=True, slots=True)
class UnicornSnapshot:
    """CPU context, RAM, debug state, clock, chips. Opaque to everyone else."""

    context: object
    ram: bytes
    debug: DebugState
    clock: int
    events: Queued
    rf: tuple[int, int] | None
    hidden: tuple[int, int]
    chipset: ChipsetState
    trail: tuple[Step, ...]


def take(vcpu: Vcpu) -> UnicornSnapshot:
    """The whole state."""
    core, events = vcpu.core, vcpu.interrupts
    return UnicornSnapshot(
        core.machine.uc.context_save(),
        bytes(core.machine.ram),
        vcpu.debug,
        core.clock,
        events.queued(),
        vcpu.rf,
        (vcpu.state.cr8, vcpu.state.apic_base),
        vcpu.chipset.state(),
        vcpu.trail,
    )


def put(vcpu: Vcpu, snapshot: UnicornSnapshot) -> None:
    """Put it back; an IN or MMIO under way is forgotten."""
    core, events = vcpu.core, vcpu.interrupts
    core.machine.uc.context_restore(snapshot.context)
    core.machine.ram[:] = snapshot.ram
    core.machine.flush_translations()
    core.machine.flush_tlb()
    core.w[Word.INSNS] = snapshot.clock
    events.put(snapshot.events)
    vcpu.rf = snapshot.rf
    vcpu.state.cr8, vcpu.state.apic_base = snapshot.hidden
    vcpu.chipset.put(snapshot.chipset)
    vcpu.trail = snapshot.trail
    vcpu.forget()
    vcpu.set_debug(snapshot.debug)
    vcpu.arming.mappings_changed()
