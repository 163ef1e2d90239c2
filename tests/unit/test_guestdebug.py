"""The guest-debug state machine alone: no engine, only KVM's rules."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg import guestdebug as gd
from kvmdbg.errors import IoctlError
from kvmdbg.exits import DebugExit
from kvmdbg.guestdebug import DebugState, Owner, PendingException
from kvmdbg.uapi import GuestDbg as G
from kvmdbg.x86.registers import DebugRegs

NO_DRS = (0,) * 8
u64 = st.integers(0, (1 << 64) - 1)
u32 = st.integers(0, (1 << 32) - 1)


def sgd(state: DebugState, control: int, dr: tuple[int, ...] = NO_DRS, rip: int = 0) -> DebugState:
    return gd.set_guest_debug(state, control, dr, rip)


def test_nothing_but_injection_counts_without_enable() -> None:
    assert sgd(DebugState(), G.SINGLESTEP | G.USE_HW_BP) == DebugState()


@pytest.mark.parametrize(
    ("control", "owner"),
    [
        (0, Owner.GUEST),
        (G.ENABLE, Owner.GUEST),
        (G.ENABLE | G.USE_SW_BP, Owner.GUEST),
        (G.ENABLE | G.SINGLESTEP, Owner.HOST),
        (G.ENABLE | G.USE_HW_BP, Owner.HOST),
    ],
)
def test_db_goes_to_the_host_iff_it_steps_or_owns_the_registers(control: int, owner: Owner) -> None:
    assert gd.owner_of_db(sgd(DebugState(), control)) is owner


@pytest.mark.parametrize(
    ("control", "owner"),
    [
        (G.ENABLE | G.USE_SW_BP, Owner.HOST),
        (G.USE_SW_BP, Owner.GUEST),
        (G.ENABLE | G.SINGLESTEP | G.USE_HW_BP, Owner.GUEST),
    ],
)
def test_bp_goes_to_the_host_iff_it_uses_software_breakpoints(control: int, owner: Owner) -> None:
    assert gd.owner_of_bp(sgd(DebugState(), control)) is owner


def test_the_hosts_registers_replace_the_guests_and_never_merge() -> None:
    guest = DebugRegs((1, 2, 3, 4), dr7=0x4FF)
    state = gd.set_debugregs(DebugState(), guest)
    state = sgd(state, G.ENABLE | G.USE_HW_BP, (9, 0, 0, 0, 5, 6, 7, 0x402))
    assert (state.effective_db, state.effective_dr7) == ((9, 0, 0, 0), 0x402)
    assert state.guest == guest
    state = sgd(state, G.ENABLE)
    assert (state.effective_db, state.effective_dr7) == ((1, 2, 3, 4), 0x4FF)


def test_dr7_of_the_host_is_cut_to_32_bits() -> None:
    dr = (0, 0, 0, 0, 0, 0, 0, 1 << 40 | 0x402)
    assert sgd(DebugState(), G.ENABLE | G.USE_HW_BP, dr).effective_dr7 == 0x402


def test_injecting_twice_is_ebusy_and_changes_nothing() -> None:
    state = sgd(DebugState(), G.INJECT_DB)
    with pytest.raises(IoctlError) as failure:
        sgd(state, G.ENABLE | G.SINGLESTEP | G.INJECT_BP)
    assert failure.value.errno == errno.EBUSY


def test_inject_db_wins_over_inject_bp() -> None:
    assert sgd(DebugState(), G.INJECT_DB | G.INJECT_BP).pending == PendingException(1)


def test_an_injected_db_leaves_dr6_and_clears_gd() -> None:
    state = gd.set_debugregs(DebugState(), DebugRegs(dr6=0xFFFF0FF2, dr7=0x2400))
    pending, state = gd.take_pending(sgd(state, G.INJECT_DB))
    assert pending == PendingException(1)
    assert (state.guest.dr6, state.guest.dr7, state.pending) == (0xFFFF0FF2, 0x400, None)


def test_a_payload_replaces_b_bits_and_keeps_bs() -> None:
    state = gd.set_debugregs(DebugState(), DebugRegs(dr6=0xFFFF4FF2))
    _, state = gd.take_pending(gd.queue(state, PendingException(1, payload=4)))
    assert state.guest.dr6 == 0xFFFF4FF4


def test_get_regs_hides_tf_only_while_the_host_steps() -> None:
    stepping = sgd(DebugState(), G.ENABLE | G.SINGLESTEP)
    assert gd.rflags_read(stepping, 0x102) == 2
    assert gd.rflags_read(DebugState(), 0x102) == 0x102


def test_set_regs_arms_tf_only_at_the_rip_of_set_guest_debug() -> None:
    stepping = sgd(DebugState(), G.ENABLE | G.SINGLESTEP, rip=0x8000)
    assert gd.rflags_written(stepping, 2, 0x8000) == 0x102
    assert gd.rflags_written(stepping, 2, 0x8001) == 2


def test_an_exit_carries_the_effective_dr7_and_the_cause() -> None:
    state = sgd(DebugState(), G.ENABLE | G.USE_HW_BP, (0x8000, 0, 0, 0, 0, 0, 0, 0x402))
    assert gd.exec_causes(state, 0x8000) == 1
    assert gd.db_exit(state, 0x8000, 1) == DebugExit(1, 0x8000, 0xFFFF0FF1, 0x402)


def test_mov_dr_is_refused_in_the_processors_order() -> None:
    armed = sgd(DebugState(), G.ENABLE | G.USE_HW_BP, (0,) * 7 + (0x2400,))

    def check(number: int, **more: int) -> int | None:
        refusal = gd.check_mov_dr(
            armed,
            number,
            cr4_de=bool(more.get("de")),
            cpl=more.get("cpl", 0),
            written=more.get("written"),
        )
        return refusal.vector if refusal else None

    assert check(4, de=1, cpl=3) == 6
    assert check(8, cpl=3) == 6
    assert check(0, cpl=3) == 13
    assert check(7, written=1 << 32) == 1


def test_upper_halves_of_dr6_and_dr7_are_gp() -> None:
    refusal = gd.check_mov_dr(DebugState(), 6, cr4_de=False, cpl=0, written=1 << 32)
    assert refusal is not None
    assert (refusal.vector, refusal.error_code) == (13, 0)


@given(st.lists(u64, min_size=4, max_size=4), u32, u32, u32, st.lists(u64, min_size=8, max_size=8))
def test_the_guest_reads_its_own_registers_whatever_the_host_does(
    db: list[int], dr6: int, dr7: int, control: int, host: list[int]
) -> None:
    guest = DebugRegs((db[0], db[1], db[2], db[3]), dr6, dr7)
    state = sgd(gd.set_debugregs(DebugState(), guest), control, tuple(host))
    seen = [gd.read_dr(state, number) for number in (0, 1, 2, 3, 6, 7)]
    assert seen == [*db, dr6, dr7]


@given(st.integers(0, 7), u64)
def test_what_the_guest_writes_it_reads_back_with_the_fixed_bits(number: int, value: int) -> None:
    state = gd.write_dr(DebugState(), number, value & 0xFFFFFFFF)
    seen = gd.read_dr(state, number)
    if number < 4:
        assert seen == value & 0xFFFFFFFF
    elif number in (4, 6):
        assert seen == (value & 0x1E80F) | 0xFFFE07F0 | 0x10800
    else:
        assert seen == (value & 0xFFFF2BFF) | 0x400
