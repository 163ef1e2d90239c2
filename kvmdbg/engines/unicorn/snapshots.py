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
    from mmap import mmap

    from .vcpu import Vcpu

_CHUNK = 0x10000
_ZEROS = bytes(_CHUNK)


@dataclass(frozen=True, slots=True)
class UnicornSnapshot:
    """CPU context, RAM, debug state, clock, chips. Opaque to everyone else.

    ``ram`` ends with the last chunk that is not all zeros; ``ram_size`` is its full size.
    """

    context: object
    ram: bytes
    ram_size: int
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


def _used(ram: mmap) -> int:
    """Bytes up to the end of the last chunk that holds anything; most guests leave most of it 0."""
    end = len(ram)
    while end and ram[max(end - _CHUNK, 0) : end] == _ZEROS[-end:]:
        end -= min(_CHUNK, end)
    return end


def take(vcpu: Vcpu) -> UnicornSnapshot:
    """The whole state."""
    core, events = vcpu.core, vcpu.interrupts
    return UnicornSnapshot(
        core.machine.uc.context_save(),
        core.machine.ram[: _used(core.machine.ram)],
        core.machine.ram_size,
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
    used = len(snapshot.ram)
    core.machine.ram[:used] = snapshot.ram
    core.machine.ram[used:] = bytes(core.machine.ram_size - used)
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
