"""A whole machine as a value, and back. Must not know: who keeps it, or why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ...guestdebug import DebugState
from ...x86.delivery import Step
from . import transfers
from .chipset import ChipsetState
from .native import Word
from .transfers import Transfer
from .waiting import Queued, Returns

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
    under_way: UnderWay


class UnderWay(NamedTuple):
    """What an exit or a step has left unfinished."""

    transfer: Transfer | None
    one: bool
    held: int
    passed_vector: int | None
    bp_exit: tuple[int, int, int]
    returns: Returns


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
        UnderWay(
            transfers.copy(vcpu.transfer),
            vcpu.one,
            vcpu.held,
            vcpu.passed_vector,
            vcpu.bp_exit,
            vcpu.returns.state(),
        ),
    )


def put(vcpu: Vcpu, snapshot: UnicornSnapshot) -> None:
    """Put it back."""
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
    left = snapshot.under_way
    vcpu.transfer, vcpu.one, vcpu.held = transfers.copy(left.transfer), left.one, left.held
    vcpu.passed_vector, vcpu.bp_exit = left.passed_vector, left.bp_exit
    vcpu.returns.put(left.returns)
    vcpu.set_debug(snapshot.debug)
    vcpu.arming.mappings_changed()
