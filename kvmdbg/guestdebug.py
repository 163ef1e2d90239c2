"""Who gets the exception: KVM's guest-debug rules as one pure state machine.

``DebugState`` is everything that KVM keeps per vCPU for debugging (spec 2); the functions here are
what KVM_SET_GUEST_DEBUG does (spec 3), who receives a #DB or #BP (4), what RFLAGS shows (5), what
delivery does to DR6 and DR7 (6), what an exit carries (7), and what a guest's MOV DR reads and
writes (8). States are frozen; every function returns the next one.

Where KVM's backends differ, profiles.py has the choice. Must not know: any engine. An engine tells
what happened ("INT3 at this address", "these data breakpoints matched") and asks here.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from .errors import IoctlError
from .exits import DebugExit
from .profiles import REFERENCE, Profile
from .uapi import GuestDbg
from .x86 import debugreg
from .x86.registers import MASK32, MASK64, RFLAGS, DebugRegs
from .x86.vectors import Vector

_TF, _RF = int(RFLAGS.TF), int(RFLAGS.RF)
_DB, _BP = int(Vector.DB), int(Vector.BP)
_INJECT = int(GuestDbg.INJECT_DB | GuestDbg.INJECT_BP)
_ENABLE = int(GuestDbg.ENABLE)
_SINGLESTEP = int(GuestDbg.SINGLESTEP)
_USE_HW_BP = int(GuestDbg.USE_HW_BP)
_USE_SW_BP = int(GuestDbg.USE_SW_BP)
_BLOCKIRQ = int(GuestDbg.BLOCKIRQ)

_CONSTANTS_OF_2008 = (debugreg.DR6_RESET, debugreg.DR7_RESET)

BS_DR6 = debugreg.DR6_RESET | debugreg.DR6_BS
"""DR6 of a single-step report: 0xFFFF4FF0."""


class Owner(Enum):
    """Who receives a debug event."""

    HOST = "host"
    GUEST = "guest"


class PendingException(NamedTuple):
    """KVM's one exception slot (spec 2).

    ``payload`` holds the DR6 bits of a #DB, None where there is none; ``soft`` marks a queued #BP,
    which KVM_GET_VCPU_EVENTS hides.
    """

    vector: int
    error_code: int | None = None
    payload: int | None = None
    soft: bool = False


@dataclass(frozen=True, slots=True)
class DebugState:
    """One vCPU's debug state (spec 2).

    ``guest`` is what the guest sees through MOV DR; ``control`` the stored control word, 0 unless
    ENABLE; ``host_db`` and ``host_dr7`` count only under USE_HW_BP; ``singlestep_rip`` is the
    linear RIP at the last call with SINGLESTEP; ``pending`` the exception slot.
    """

    profile: Profile = REFERENCE
    guest: DebugRegs = DebugRegs()
    control: int = 0
    host_db: tuple[int, int, int, int] = (0, 0, 0, 0)
    host_dr7: int = debugreg.DR7_RESET
    singlestep_rip: int = 0
    pending: PendingException | None = None

    @property
    def singlestep(self) -> bool:
        """Host single-stepping is on."""
        return bool(self.control & _SINGLESTEP)

    @property
    def hardware(self) -> bool:
        """The host owns the debug registers."""
        return bool(self.control & _USE_HW_BP) and self.profile.hardware_breakpoints

    @property
    def effective_dr7(self) -> int:
        """The DR7 that matches are made with: the host's under USE_HW_BP, else the guest's."""
        return self.host_dr7 & MASK32 if self.hardware else self.guest.dr7

    @property
    def effective_db(self) -> tuple[int, int, int, int]:
        """The addresses that matches are made with; all or nothing, never merged."""
        return self.host_db if self.hardware else self.guest.db


# -- KVM_SET_GUEST_DEBUG (spec 3) ------------------------------------------------------------------


def set_guest_debug(
    state: DebugState, control: int, debugreg8: tuple[int, ...], linear_rip: int
) -> DebugState:
    """The state after KVM_SET_GUEST_DEBUG; the caller rewrites RFLAGS (``rflags_written``).

    Unknown control bits, debugreg[4..6] and reserved DR7 bits are accepted as x86 KVM does; of DR7
    32 bits count (spec 3). Raises IoctlError EBUSY for an injection while an exception is queued,
    and then nothing else changes.
    """
    control = int(control)  # arithmetic on an IntFlag costs a microsecond, and it is asked often
    pending = state.pending
    if control & _INJECT:
        if pending is not None and state.profile.refuses_second_injection:
            raise IoctlError(
                errno.EBUSY, "KVM_SET_GUEST_DEBUG", "an exception is already pending; run first"
            )
        pending = _injection(control)
    enabled = bool(control & _ENABLE)
    kept = control if enabled else 0
    hardware = bool(kept & _USE_HW_BP)
    a, b, c, d = debugreg8[:4]
    return DebugState(  # replace() costs as much as a step
        profile=state.profile,
        guest=state.guest,
        control=kept,
        pending=pending,
        host_db=(a & MASK64, b & MASK64, c & MASK64, d & MASK64) if hardware else state.host_db,
        host_dr7=debugreg8[7] & MASK64 if hardware else state.host_dr7,
        singlestep_rip=linear_rip if kept & _SINGLESTEP else state.singlestep_rip,
    )


def _injection(control: int) -> PendingException:
    """INJECT_DB wins over INJECT_BP; no error code, no payload."""
    if control & GuestDbg.INJECT_DB:
        return PendingException(Vector.DB)
    return PendingException(Vector.BP, soft=True)


# -- RFLAGS through the filters (spec 5) -----------------------------------------------------------


def rflags_read(state: DebugState, rflags: int) -> int:
    """What KVM_GET_REGS shows of the machine's RFLAGS: no TF while the host single-steps."""
    if not state.control & _SINGLESTEP:
        return rflags
    return rflags & ~(_TF | _RF) if state.profile.hides_rf else rflags & ~_TF


def rflags_armed(state: DebugState, rflags: int) -> int:
    """What KVM_SET_GUEST_DEBUG leaves in the machine where it read ``rflags``."""
    if not state.control & _SINGLESTEP:
        return rflags
    return rflags | _TF | _RF if state.profile.hides_rf else rflags | _TF


def rflags_written(state: DebugState, rflags: int, linear_rip: int) -> int:
    """What the machine's RFLAGS become when KVM writes ``rflags``: TF iff stepping from here."""
    if not state.control & _SINGLESTEP or state.profile.hides_rf:
        return rflags
    if state.profile.steps_by_flag or linear_rip == state.singlestep_rip:
        return rflags | _TF
    return rflags


def pushes_hidden_tf(state: DebugState) -> bool:
    """PUSHF and SYSCALL must not show the guest the machine's TF, which is the host's."""
    return bool(state.control & _SINGLESTEP) and state.profile.pushf_hides_tf


def frames_hide_tf(state: DebugState) -> bool:
    """Exception frames must not show it."""
    return bool(state.control & _SINGLESTEP) and state.profile.frames_hide_tf


# -- who gets it (spec 4) --------------------------------------------------------------------------


def owner_of_db(state: DebugState) -> Owner:
    """A #DB goes to the host iff SINGLESTEP or USE_HW_BP is set, whatever caused it.

    Where the guest keeps what it caused, the emulator's trap is the host's under SINGLESTEP only.
    """
    takes = _SINGLESTEP if state.profile.guest_gets_its_own else _SINGLESTEP | _USE_HW_BP
    return Owner.HOST if state.control & takes else Owner.GUEST


def owner_of_bp(state: DebugState) -> Owner:
    """A #BP by opcode CC goes to the host iff USE_SW_BP is set."""
    takes = state.control & _USE_SW_BP and state.profile.bp_to_host
    return Owner.HOST if takes else Owner.GUEST


def owner_of_general_detect(state: DebugState) -> Owner:
    """DR7.GD: the host's under USE_HW_BP, else the guest's, even under SINGLESTEP (VMX)."""
    return Owner.HOST if state.control & state.profile.gd_control else Owner.GUEST


def owner_of_icebp(state: DebugState) -> Owner:
    """INT1: as any #DB, where KVM gets to see it (spec 4.4)."""
    return owner_of_db(state) if state.profile.icebp_to_host else Owner.GUEST


def db_exit(state: DebugState, pc: int, causes: int) -> DebugExit:
    """KVM_EXIT_DEBUG for a #DB; ``causes`` are DR6 bits. Guest registers stay as they are."""
    dr6 = debugreg.DR6_RESET | causes if state.profile.exit_has_dr6 else 0
    return DebugExit(_DB, pc, dr6, state.effective_dr7 if state.profile.exit_has_dr7 else 0)


def bp_exit(pc: int) -> DebugExit:
    """KVM_EXIT_DEBUG for a #BP: RIP at the INT3, dr6 and dr7 not written (spec 7)."""
    return DebugExit(_BP, pc)


def blocks_interrupts(state: DebugState) -> bool:
    """KVM_GUESTDBG_BLOCKIRQ holds back NMIs and the irqchip's interrupts, stepping or not.

    Not KVM_INTERRUPT with an irqchip in userspace: that one counts as injected (spec 10).
    """
    return bool(state.control & _BLOCKIRQ) and state.profile.blocks_interrupts


# -- delivery to the guest (spec 6) ----------------------------------------------------------------


def queue(state: DebugState, pending: PendingException) -> DebugState:
    """Put an exception into the slot."""
    return replace(state, pending=pending)


def replace_pending(state: DebugState, pending: PendingException | None) -> DebugState:
    """KVM_SET_VCPU_EVENTS: the slot becomes this, whatever it held."""
    return replace(state, pending=pending)


def drop_pending(state: DebugState) -> DebugState:
    """KVM_SET_REGS clears a queued exception (spec 5.7)."""
    return replace(state, pending=None)


def take_pending(state: DebugState) -> tuple[PendingException | None, DebugState]:
    """The queued exception, and the state in which it was delivered to the guest."""
    pending = state.pending
    if pending is None:
        return None, state
    state = replace(state, pending=None)
    if pending.vector == Vector.DB:
        state = deliver_db(state, pending.payload)
    return pending, state


def deliver_db(state: DebugState, payload: int | None) -> DebugState:
    """What delivering a #DB does to the guest's DR6 (by the payload) and DR7 (GD cleared)."""
    guest = state.guest
    if payload is not None:
        guest = guest._replace(dr6=dr6_after(guest.dr6, payload))
    return replace(state, guest=guest._replace(dr7=guest.dr7 & ~debugreg.DR7_GD))


def dr6_after(dr6: int, payload: int) -> int:
    """``kvm_deliver_exception_payload``: B0-3 replaced, BD/BS/BT sticky, active-low bits toggled.

    >>> hex(dr6_after(0xFFFF4FF2, 0x4))
    '0xffff4ff4'
    """
    active_low = debugreg.DR6_BLD | debugreg.DR6_RTM
    value = (dr6 & ~0xF) | debugreg.DR6_RESET | payload
    return (value ^ (payload & active_low)) & ~(1 << 12)


# -- the guest's MOV DR (spec 8) -------------------------------------------------------------------


class Refusal(NamedTuple):
    """A MOV DR that does not complete: the exception it raises instead."""

    vector: int
    error_code: int | None = None
    payload: int | None = None


def check_mov_dr(
    state: DebugState, number: int, *, cr4_de: bool, cpl: int, written: int | None = None
) -> Refusal | None:
    """The checks of MOV DR in the processor's order; None when it may go on.

    ``number`` is 0..15 as encoded, ``written`` the value of a write (None for a read).
    """
    wide = written is not None and number >= 4 and bool(written >> 32)
    if wide and number in (6, 7) and state.profile.upper_half_first:
        return Refusal(Vector.GP, 0)
    if number >= 8 or (number in (4, 5) and cr4_de):
        return Refusal(Vector.UD)
    if cpl > 0:
        return Refusal(Vector.GP, 0)
    dr7 = state.guest.dr7 if state.profile.guest_gets_its_own else state.effective_dr7
    if dr7 & debugreg.DR7_GD:
        return Refusal(Vector.DB, payload=debugreg.DR6_BD)
    return Refusal(Vector.GP, 0) if wide else None


def read_dr(state: DebugState, number: int) -> int:
    """What the guest reads: always its own registers, whatever the host has armed."""
    if not state.profile.virtual_debug_registers:
        return 0 if number < 4 else _CONSTANTS_OF_2008[number & 1]
    if number < 4:
        return state.guest.db[number]
    return state.guest.dr6 if number in (4, 6) else state.guest.dr7


def write_dr(state: DebugState, number: int, value: int) -> DebugState:
    """The state after a guest's MOV to DRn (checks passed): fixed bits applied (spec 8)."""
    guest = state.guest
    if not state.profile.virtual_debug_registers:
        return state
    if number < 4:
        db = list(guest.db)
        db[number] = value & MASK64
        guest = guest._replace(db=(db[0], db[1], db[2], db[3]))
    elif number in (4, 6):
        guest = guest._replace(dr6=debugreg.dr6_as_written(value))
    else:
        guest = guest._replace(dr7=debugreg.dr7_as_written(value))
    return replace(state, guest=guest)


def task_switched(state: DebugState) -> DebugState:
    """A hardware task switch clears the guest's local enables and LE; KVM raises no T trap (9)."""
    local = debugreg.DR7_LOCAL_ENABLES | debugreg.DR7_LE
    return replace(state, guest=state.guest._replace(dr7=state.guest.dr7 & ~local))


def vcpu_reset(state: DebugState) -> DebugState:
    """INIT: the guest's registers and the slot are reset, the host's settings are not (spec 2)."""
    return replace(state, guest=DebugRegs(), pending=None)


def set_debugregs(state: DebugState, registers: DebugRegs) -> DebugState:
    """KVM_SET_DEBUGREGS: stored raw. IoctlError EINVAL for flags, or DR6/DR7 above 32 bits."""
    if registers.flags:
        raise IoctlError(errno.EINVAL, "KVM_SET_DEBUGREGS", "flags must be 0")
    for name, value in (("dr6", registers.dr6), ("dr7", registers.dr7)):
        if value >> 32:
            raise IoctlError(errno.EINVAL, "KVM_SET_DEBUGREGS", f"{name} has bits above 31 set")
    a, b, c, d = (address & MASK64 for address in registers.db)
    return replace(state, guest=registers._replace(db=(a, b, c, d)))


# -- matching (spec 9) -----------------------------------------------------------------------------


def exec_causes(state: DebugState, linear: int) -> int:
    """DR6 B bits of the effective execution breakpoints at ``linear``."""
    return debugreg.exec_hits(state.effective_dr7, state.effective_db, linear)


def exec_break(state: DebugState, linear: int, *, rf: bool) -> tuple[Owner, int] | None:
    """Who gets the execution breakpoints at ``linear``, and their B bits; None where none hits.

    ``rf`` tells that RFLAGS.RF is set for this instruction.
    """
    profile = state.profile
    if not (state.effective_dr7 | state.guest.dr7) & debugreg.DR7_ENABLE:
        return None
    shielded = rf and (profile.rf_shields_host or not state.hardware)
    causes = 0
    if not shielded and (state.hardware or not profile.guest_gets_its_own):
        causes = exec_causes(state, linear)
    if causes:
        return (Owner.HOST if state.hardware else owner_of_db(state)), causes
    if profile.guest_gets_its_own and not rf:
        causes = debugreg.exec_hits(state.guest.dr7, state.guest.db, linear)
    return (Owner.GUEST, causes) if causes else None


def armed_slots(state: DebugState) -> list[tuple[debugreg.Slot, int]]:
    """Every enabled debug register that can hit anything, with its address: the effective ones.

    Where the guest keeps its own under USE_HW_BP, both sets count.
    """
    sets = [(state.effective_dr7, state.effective_db)]
    if state.profile.guest_gets_its_own and state.hardware:
        sets.append((state.guest.dr7, state.guest.db))
    return [
        (slot, db[slot.index])
        for dr7, db in sets
        for slot in debugreg.decode_dr7(dr7).slots
        if slot.enabled and (state.profile.data_breakpoints or slot.access is debugreg.Access.EXEC)
    ]
