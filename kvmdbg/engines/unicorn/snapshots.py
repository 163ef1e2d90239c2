"""A whole machine as a value, and back. Must not know: who keeps it, or why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ...guestdebug import DebugState
from ...x86.delivery import Step
from . import transfers
from .chipset import ChipsetState
from .native import Word
from .pages import Pages, weight
from .transfers import Transfer
from .waiting import Queued, Returns

if TYPE_CHECKING:
    from .vcpu import Vcpu

_CONTEXT = 0x2000
_REFERENCE = 8
"""Bytes of a snapshot beside its pages: the processor's, and for each page."""


@dataclass(frozen=True, slots=True)
class UnicornSnapshot:
    """CPU context, RAM, debug state, clock, chips. Opaque to everyone else."""

    context: object
    ram: Pages
    debug: DebugState
    clock: int
    events: Queued
    rf: tuple[int, int] | None
    hidden: tuple[int, int]
    chipset: ChipsetState
    trail: tuple[Step, ...]
    under_way: UnderWay

    def beyond(self, before: object) -> int:
        """Bytes that this snapshot holds and ``before`` (an earlier one, or None) does not."""
        known = before.ram if isinstance(before, UnicornSnapshot) else None
        return _CONTEXT + len(self.ram) * _REFERENCE + weight(self.ram, known)


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
        core.pages.take(),
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
    core.pages.put(snapshot.ram)
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
