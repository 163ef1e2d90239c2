"""Rows 204-215: KVM_GET_DEBUGREGS and KVM_SET_DEBUGREGS are the guest's registers, stored raw."""

from __future__ import annotations

import errno

import pytest

from kvmdbg import guestdebug as gd
from kvmdbg.errors import IoctlError
from kvmdbg.exits import DebugExit, HltExit
from kvmdbg.guestdebug import DebugState
from kvmdbg.uapi import Ioctl, kvm_debugregs
from kvmdbg.x86.registers import DebugRegs
from tests.conformance.kvm_host import RawKvm
from tests.conformance.rows import row
from tests.guests.bench import MODES, NONE, B, Bench, E, H, S

HOST_DRS = (0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0x4AA)
GUEST = "nop\nnop\nhere: nop\nhlt\nhandler: hlt"
WIDTH = {"real": 2, "protected": 4, "long": 8}

raw = pytest.mark.parametrize(
    "registers",
    [
        pytest.param(DebugRegs((1, 2, 3, 4)), marks=row(205), id="addresses"),
        pytest.param(DebugRegs(dr6=0, dr7=0), marks=row(206), id="zeros"),
        pytest.param(DebugRegs(dr6=0xFFFFFFFF, dr7=0xFFFFFFFF), marks=row(207), id="ones"),
        pytest.param(DebugRegs((1 << 63, 0, 0, 0)), marks=row(214), id="not canonical"),
        pytest.param(DebugRegs(((1 << 64) - 1,) * 4), marks=row(214), id="all bits"),
    ],
)


@row(204)
def test_a_fresh_state_has_the_reset_values() -> None:
    assert DebugState().guest == DebugRegs((0, 0, 0, 0), 0xFFFF0FF0, 0x400, 0)


@row(204)
@pytest.mark.parametrize("mode", MODES)
def test_a_fresh_vcpu_has_the_reset_values(mode: str) -> None:
    with Bench("nop", mode) as b:
        assert b.vcpu.get_debugregs() == DebugRegs((0, 0, 0, 0), NONE, 0x400, 0)


@raw
def test_the_state_keeps_debugregs_raw(registers: DebugRegs) -> None:
    assert gd.set_debugregs(DebugState(), registers).guest == registers


@raw
def test_get_debugregs_gives_back_what_was_set_raw(registers: DebugRegs) -> None:
    with Bench("nop") as b:
        b.vcpu.set_debugregs(registers)
        assert b.vcpu.get_debugregs() == registers


@row(206)
def test_a_guest_reads_raw_zeros_too() -> None:
    with Bench("mov rax, dr6\nmov rbx, dr7\nhlt") as b:
        b.set(rax=1, rbx=1)
        b.vcpu.set_debugregs(DebugRegs(dr6=0, dr7=0))
        b.run()
        assert (b.reg("rax"), b.reg("rbx")) == (0, 0)


refused = pytest.mark.parametrize(
    "registers",
    [
        pytest.param(DebugRegs((9, 9, 9, 9), dr6=1 << 32), marks=row(208), id="dr6"),
        pytest.param(DebugRegs((9, 9, 9, 9), dr7=1 << 32), marks=row(209), id="dr7"),
        pytest.param(DebugRegs((9, 9, 9, 9), dr7=1 << 63), marks=row(209), id="dr7 bit 63"),
        pytest.param(DebugRegs((9, 9, 9, 9), flags=1), marks=row(210), id="flags"),
    ],
)


@refused
def test_the_state_refuses_high_bits_and_flags(registers: DebugRegs) -> None:
    with pytest.raises(IoctlError) as failure:
        gd.set_debugregs(DebugState(), registers)
    assert failure.value.errno == errno.EINVAL


@refused
def test_a_refused_set_debugregs_is_einval_and_stores_nothing(registers: DebugRegs) -> None:
    before = DebugRegs((1, 2, 3, 4), 0xFFFF4FF0, 0x455)
    with Bench("nop") as b:
        b.vcpu.set_debugregs(before)
        with pytest.raises(IoctlError) as failure:
            b.vcpu.set_debugregs(registers)
        assert failure.value.errno == errno.EINVAL
        assert b.vcpu.get_debugregs() == before


@row(211)
def test_reserved_words_are_ignored_and_read_as_zero(raw_kvm: RawKvm) -> None:
    """``DebugRegs`` has none, so that nobody can set them."""
    from fcntl import ioctl

    given = kvm_debugregs(dr6=NONE, dr7=0x400, reserved=(~0,) * 9)
    ioctl(raw_kvm.vcpu, Ioctl.KVM_SET_DEBUGREGS, given)
    found = kvm_debugregs(reserved=(1,) * 9)
    ioctl(raw_kvm.vcpu, Ioctl.KVM_GET_DEBUGREGS, found)
    assert (found.dr6, found.dr7, list(found.reserved)) == (NONE, 0x400, [0] * 9)


@row(212)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("slot", range(4))
def test_a_breakpoint_by_set_debugregs_is_the_guests_at_once(mode: str, slot: int) -> None:
    with Bench(GUEST, mode) as b:
        b.gate(1, "handler")
        db = [0, 0, 0, 0]
        db[slot] = b["here"]
        b.vcpu.set_debugregs(DebugRegs((db[0], db[1], db[2], db[3]), dr7=0x400 | 2 << 2 * slot))
        assert (b.run(), b.reg("rip")) == (HltExit(), b["handler"] + 1)
        assert b.word(b.reg("rsp"), WIDTH[mode]) == b["here"]
        assert b.vcpu.get_debugregs().dr6 == B(slot)


@row(212)
def test_a_watchpoint_by_set_debugregs_is_the_guests_at_once() -> None:
    text = "mov [value], al\nafter: hlt\nhandler: hlt\nvalue: .byte 0"
    with Bench(text) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["value"], 0, 0, 0), dr7=0x10402))
        assert b.run() == HltExit()
        assert b.word(b.reg("rsp")) == b["after"]


@row(212)
def test_set_debugregs_between_two_runs_moves_the_guests_breakpoint() -> None:
    with Bench("first: nop\nsecond: nop\nhlt\nhandler: pop rbx\nhlt") as b:
        b.gate(1, "handler")
        for place in ("second", "first"):
            b.vcpu.set_debugregs(DebugRegs((b[place], 0, 0, 0), dr7=0x402))
            b.set(rip=b["first"])
            b.run()
            assert b.reg("rbx") == b[place]


@row(213)
def test_the_states_effective_registers_stay_the_hosts_under_use_hw_bp() -> None:
    state = gd.set_guest_debug(DebugState(), E | H, HOST_DRS, 0)
    state = gd.set_debugregs(state, DebugRegs((1, 2, 3, 4), dr7=0x402))
    assert (state.effective_db, state.effective_dr7) == ((0x11, 0x22, 0x33, 0x44), 0x4AA)
    state = gd.set_guest_debug(state, E, HOST_DRS, 0)
    assert (state.effective_db, state.effective_dr7) == ((1, 2, 3, 4), 0x402)


@row(213)
@pytest.mark.parametrize("mode", MODES)
def test_set_debugregs_under_use_hw_bp_is_inert(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        b.gate(1, "handler")
        b.sgd(E | H)
        b.vcpu.set_debugregs(DebugRegs((b["here"], 0, 0, 0), dr7=0x402))
        assert (b.vcpu.run(), b.reg("rip")) == (HltExit(), b["handler"])


@row(213)
@pytest.mark.parametrize("mode", MODES)
def test_set_debugregs_under_use_hw_bp_counts_when_that_is_dropped(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        b.gate(1, "handler")
        b.sgd(E | H, dr7=0x402, dr0=b["here"] - 1)
        b.vcpu.set_debugregs(DebugRegs((b["here"], 0, 0, 0), dr7=0x402))
        assert b.vcpu.run() == DebugExit(1, b["here"] - 1, B(0), 0x402)
        assert (b.run(0), b.reg("rip")) == (HltExit(), b["handler"] + 1)


@row(214)
def test_a_breakpoint_at_an_address_that_is_not_canonical_never_hits() -> None:
    with Bench(GUEST) as b:
        b.vcpu.set_debugregs(DebugRegs((1 << 63 | b["here"], 0, 0, 0), dr7=0x402))
        assert (b.run(), b.reg("rip")) == (HltExit(), b["handler"])


@row(215)
def test_the_states_guest_registers_are_never_the_hosts() -> None:
    state = gd.set_guest_debug(DebugState(), E | H, HOST_DRS, 0)
    assert state.guest == DebugRegs()


@row(215)
@pytest.mark.parametrize("control", [E | H, E | S | H])
def test_get_debugregs_never_shows_the_hosts_registers(control: int) -> None:
    with Bench(GUEST) as b:
        own = DebugRegs((5, 6, 7, 8), 0xFFFF2FF0, 0x455)
        b.vcpu.set_debugregs(own)
        b.sgd(control, dr7=0x4FF, dr0=b["here"], dr1=b["here"], dr2=b["here"], dr3=b["here"])
        assert b.vcpu.get_debugregs() == own
        b.vcpu.run()
        assert b.vcpu.get_debugregs() == own
