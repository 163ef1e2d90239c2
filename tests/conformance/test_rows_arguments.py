"""Rows 191-203: what KVM_SET_GUEST_DEBUG takes, refuses and ignores."""

from __future__ import annotations

import errno

import pytest

from kvmdbg import guestdebug as gd
from kvmdbg import uapi
from kvmdbg.errors import IoctlError
from kvmdbg.exits import DebugExit, HltExit, InternalErrorExit
from kvmdbg.guestdebug import DebugState
from kvmdbg.machine.layout import reset_state
from kvmdbg.uapi import Cap, Ioctl
from kvmdbg.x86.registers import CpuMode, DebugRegs
from tests.conformance.kvm_host import RawKvm
from tests.conformance.rows import row
from tests.guests.apic import FACES, INIT, Apic, name_of, run_to
from tests.guests.bench import BS, MODES, B, Bench, E, H, S

UNKNOWN = [4, 8, 0x100, 0x200000, 0x80000000]
GARBAGE = 0xDEAD_BEEF_DEAD_BEEF
TWO_NOPS = "nop\nhere: nop\nhlt"


def refusal(fd: int, request: int, argument: int | bytes) -> int | None:
    """The errno that the kernel refuses an ioctl with."""
    from fcntl import ioctl

    try:
        ioctl(fd, request, argument)
    except OSError as error:
        return error.errno
    return None


@row(191)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bits", UNKNOWN)
def test_an_unknown_control_bit_alone_does_nothing(bits: int, mode: str) -> None:
    with Bench("nop\nhlt", mode) as b:
        assert b.run(bits) == HltExit()


@row(191)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bits", UNKNOWN)
def test_an_unknown_control_bit_beside_enable_does_nothing(bits: int, mode: str) -> None:
    with Bench("nop\nhlt", mode) as b:
        assert b.run(E | bits) == HltExit()


@row(191)
@pytest.mark.parametrize("bits", UNKNOWN)
def test_an_unknown_control_bit_does_not_keep_a_step_from_happening(bits: int) -> None:
    with Bench("nop\nhlt") as b:
        assert b.run(E | S | bits) == DebugExit(1, 0x8001, BS, 0x400)


@row(191)
@pytest.mark.parametrize("bits", UNKNOWN)
def test_an_unknown_control_bit_makes_nobody_an_owner(bits: int) -> None:
    state = gd.set_guest_debug(DebugState(), E | bits, (0,) * 8, 0x8000)
    assert gd.owner_of_db(state) is gd.Owner.GUEST
    assert gd.owner_of_bp(state) is gd.Owner.GUEST
    assert state.pending is None


@row(192)
def test_the_mask_that_capability_195_answers_with_is_every_control_bit() -> None:
    assert (int(Cap.SET_GUEST_DEBUG2), uapi.KVM_GUESTDBG_VALID_MASK) == (195, 0x1F0003)


@row(192)
def test_check_extension_195_answers_with_the_mask(raw_kvm: RawKvm) -> None:
    mask = raw_kvm.system.check_extension(Cap.SET_GUEST_DEBUG2)
    assert mask == uapi.KVM_GUESTDBG_VALID_MASK


@row(193)
def test_the_capabilities_of_guest_debugging_have_the_kernels_numbers() -> None:
    assert (Cap.SET_GUEST_DEBUG, Cap.DEBUGREGS, Cap.X86_ROBUST_SINGLESTEP) == (23, 50, 51)


@row(193)
@pytest.mark.parametrize("cap", [Cap.SET_GUEST_DEBUG, Cap.DEBUGREGS, Cap.X86_ROBUST_SINGLESTEP])
def test_check_extension_answers_1_for_23_50_and_51(raw_kvm: RawKvm, cap: Cap) -> None:
    assert raw_kvm.system.check_extension(cap) == 1


@row(194)
def test_the_padding_of_the_structure_is_ignored() -> None:
    raw = bytes(uapi.kvm_guest_debug(control=E | S, pad=7))
    assert raw[4:8] == b"\7\0\0\0"
    given = uapi.kvm_guest_debug.from_buffer_copy(raw)
    with Bench("nop\nhlt") as b:
        b.vcpu.set_guest_debug(given.control, tuple(given.debugreg))
        assert b.run() == DebugExit(1, 0x8001, BS, 0x400)


@row(195)
def test_a_null_pointer_is_efault(raw_kvm: RawKvm) -> None:
    assert refusal(raw_kvm.vcpu, Ioctl.KVM_SET_GUEST_DEBUG, 0) == errno.EFAULT


@row(196)
@pytest.mark.parametrize("mode", MODES)
def test_a_dr7_above_32_bits_is_accepted_and_enables_nothing(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        b.sgd(E | H, dr7=1 << 40, dr0=b["here"])
        assert b.run() == HltExit()


@row(196)
@pytest.mark.parametrize("mode", MODES)
def test_the_lower_half_of_a_dr7_above_32_bits_counts(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        b.sgd(E | H, dr7=1 << 40 | 0x402, dr0=b["here"])
        assert b.run() == DebugExit(1, b["here"], B(0), 0x402)


@row(196)
def test_the_hosts_dr7_is_cut_to_32_bits() -> None:
    debugreg = (0,) * 7 + (1 << 40 | 0x402,)
    state = gd.set_guest_debug(DebugState(), E | H, debugreg, 0)
    assert state.effective_dr7 == 0x402


@row(197)
@pytest.mark.parametrize("mode", MODES)
def test_a_noncanonical_breakpoint_is_accepted_and_never_hits(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        b.sgd(E | H, dr7=0x402, dr0=1 << 63)
        assert b.run() == HltExit()


@row(197)
def test_a_noncanonical_breakpoint_does_not_hit_at_its_lower_bits() -> None:
    with Bench(TWO_NOPS) as b:
        b.sgd(E | H, dr7=0x402, dr0=1 << 63 | b["here"])
        assert b.run() == HltExit()


@row(197)
def test_a_noncanonical_watchpoint_does_not_hit_at_its_lower_bits() -> None:
    with Bench("mov dword ptr [value], eax\nhlt\n.balign 8\nvalue: .quad 0") as b:
        b.sgd(E | H, dr7=0x402 | 0xD << 16, dr0=1 << 63 | b["value"])
        assert b.run() == HltExit()


@row(197)
def test_a_noncanonical_address_matches_no_instruction() -> None:
    debugreg = (1 << 63 | 0x8001, 0, 0, 0, 0, 0, 0, 0x402)
    state = gd.set_guest_debug(DebugState(), E | H, debugreg, 0)
    assert gd.exec_causes(state, 0x8001) == 0


@row(198)
@pytest.mark.parametrize("mode", MODES)
def test_what_stands_in_debugreg_4_to_6_is_ignored(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        garbage = (b["here"], 0, 0, 0, GARBAGE, GARBAGE, GARBAGE, 0x402)
        b.vcpu.set_guest_debug(E | H, garbage)
        assert b.run() == DebugExit(1, b["here"], B(0), 0x402)
        assert b.vcpu.get_debugregs() == DebugRegs()


@row(198)
def test_debugreg_4_to_6_are_no_part_of_the_state() -> None:
    clean = gd.set_guest_debug(DebugState(), E | H, (1, 2, 3, 4, 0, 0, 0, 0x4FF), 0)
    dirty = gd.set_guest_debug(DebugState(), E | H, (1, 2, 3, 4, *[GARBAGE] * 3, 0x4FF), 0)
    assert clean == dirty


@row(199)
@pytest.mark.parametrize("mode", MODES)
def test_without_use_hw_bp_the_hosts_breakpoint_is_gone(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        assert b.run(E) == HltExit()


@row(199)
@pytest.mark.parametrize("mode", MODES)
def test_without_use_hw_bp_the_guests_breakpoint_is_effective_again(mode: str) -> None:
    with Bench("nop\nhosts: nop\nguests: nop\nhlt\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["guests"], 0, 0, 0), dr7=0x402))
        b.sgd(E | H, dr7=0x402, dr0=b["hosts"])
        assert b.run(E) == HltExit()
        assert b.reg("rip") == b["handler"] + 1
        assert b.vcpu.get_debugregs().dr6 == B(0)


@row(199)
def test_dropping_use_hw_bp_brings_back_the_guests_addresses() -> None:
    guest = DebugRegs((1, 2, 3, 4), dr7=0x455)
    state = gd.set_debugregs(DebugState(), guest)
    state = gd.set_guest_debug(state, E | H, (9, 9, 9, 9, 0, 0, 0, 0x402), 0)
    state = gd.set_guest_debug(state, E, (0,) * 8, 0)
    assert (state.effective_db, state.effective_dr7) == (guest.db, guest.dr7)


@row(200)
def test_the_ioctls_number_encodes_the_structures_72_bytes() -> None:
    assert Ioctl.KVM_SET_GUEST_DEBUG >> 16 & 0x3FFF == 72


@row(200)
def test_the_number_with_a_size_of_8_is_no_ioctl_of_ours() -> None:
    shorter = Ioctl.KVM_SET_GUEST_DEBUG & ~(0x3FFF << 16) | 8 << 16
    assert shorter == 0x4008AE9B
    assert shorter not in list(Ioctl)


@row(200)
def test_the_number_with_a_size_of_8_is_refused(raw_kvm: RawKvm) -> None:
    assert refusal(raw_kvm.vcpu, 0x4008AE9B, bytes(8)) in (errno.EINVAL, errno.ENOTTY)


@row(201)
def test_the_ioctl_on_a_vm_is_refused(raw_kvm: RawKvm) -> None:
    assert refusal(raw_kvm.vm, Ioctl.KVM_SET_GUEST_DEBUG, bytes(72)) == errno.ENOTTY


@row(202)
@pytest.mark.skip(reason="needs a vCPU with encrypted state (SEV-ES, TDX): not there yet")
def test_a_vcpu_with_encrypted_state_refuses_guest_debugging() -> None:
    with Bench("nop") as b:
        with pytest.raises(IoctlError) as failure:
            b.sgd(E)
        assert failure.value.errno == errno.EINVAL


def reset_to(b: Bench, entry: int) -> None:
    """INIT by the registers' ioctls, as user space with its own LAPIC does it."""
    regs, sregs = reset_state(entry - 0xFFF0)
    b.vcpu.set_sregs(sregs)
    b.vcpu.set_regs(regs)
    b.vcpu.set_debugregs(DebugRegs())


@row(203)
def test_a_reset_by_the_registers_keeps_the_hosts_breakpoints() -> None:
    with Bench("nop\nhere: nop\nhlt", "real") as b:
        b.vcpu.write_memory(0x20000, bytes([0x90, 0x90, 0xF4]))
        b.sgd(E | H, dr7=0x402, dr0=0x20001)
        reset_to(b, 0x20000)
        assert b.run() == DebugExit(1, 0x20001, B(0), 0x402)


@row(203)
def test_a_reset_by_the_registers_resets_the_guests_debug_registers() -> None:
    with Bench("nop\nhlt", "real") as b:
        b.vcpu.set_debugregs(DebugRegs((1, 2, 3, 4), 0xFFFF4FF0, 0x455))
        b.run(E | S)
        reset_to(b, 0x20000)
        assert b.vcpu.get_debugregs() == DebugRegs((0, 0, 0, 0), 0xFFFF0FF0, 0x400)


@row(203)
@pytest.mark.parametrize("mode", MODES)
def test_after_a_reset_by_the_registers_stepping_goes_on_when_asked_for(mode: str) -> None:
    with Bench("nop\nhlt", mode) as b:
        b.run(E | S)
        b.vcpu.write_memory(0x20000, bytes([0x90, 0x90, 0xF4]))
        reset_to(b, 0x20000)
        assert b.run(E | S) == DebugExit(1, 0x20001, BS, 0x400)


def init_guest(apic: Apic) -> Bench:
    """A guest that stands in front of the write that sends INIT to itself.

    After INIT it stands at F000:FFF0, the reset vector at 0xFFFFFFF0, where there is no RAM.
    """
    *before, send = f"{apic.enable()}\n{apic.self_ipi(INIT)}".splitlines()
    b = apic.bench("\n".join([*before, f"send: {send}", "next: nop", "hlt"]))
    b.vcpu.set_debugregs(DebugRegs((1, 2, 3, 4), 0xFFFF4FF0, 0x500))
    run_to(b, "send")
    return b


faces = pytest.mark.parametrize("apic", FACES, ids=name_of)


@row(203)
@faces
def test_a_step_over_the_write_that_sends_init_stops_behind_it(apic: Apic) -> None:
    with init_guest(apic) as b:
        assert b.run(E | S) == DebugExit(1, b["next"], BS, 0x500)


@row(203)
@faces
def test_after_init_the_guest_stands_at_the_reset_vector(apic: Apic) -> None:
    with init_guest(apic) as b:
        exit_ = b.run(0)
        assert isinstance(exit_, InternalErrorExit)
        sregs, regs = b.vcpu.get_sregs(), b.vcpu.get_regs()
        assert (sregs.cs.selector, sregs.cs.base, regs.rip) == (0xF000, 0xFFFF0000, 0xFFF0)
        assert (sregs.mode, regs.rflags) == (CpuMode.REAL, 2)


@row(203)
@faces
def test_init_resets_the_guests_debug_registers(apic: Apic) -> None:
    with init_guest(apic) as b:
        b.run(E | S)
        b.run(E | S)
        assert b.vcpu.get_debugregs() == DebugRegs((0, 0, 0, 0), 0xFFFF0FF0, 0x400)


@row(203)
@faces
def test_init_keeps_the_hosts_breakpoints(apic: Apic) -> None:
    """One on the reset vector itself is met, although nothing can be fetched there."""
    with init_guest(apic) as b:
        b.sgd(E | H, dr7=0x402, dr0=0xFFFFFFF0)
        assert b.vcpu.run() == DebugExit(1, 0xFFFFFFF0, B(0), 0x402)


@row(203)
@faces
def test_init_keeps_single_stepping(apic: Apic) -> None:
    """RFLAGS written back where KVM_SET_GUEST_DEBUG was called have TF again, without a new one."""
    with init_guest(apic) as b:
        assert b.run(E | S) == DebugExit(1, b["next"], BS, 0x500)
        assert isinstance(b.vcpu.run(), InternalErrorExit)
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(cs=sregs.cs._replace(base=0, selector=0)))
        b.vcpu.write_memory(b["send"], bytes([0x90, 0x90, 0xF4]))
        b.set(rip=b["send"])
        assert b.vcpu.run() == DebugExit(1, b["send"] + 1, BS, 0x400)


@row(203)
@faces
def test_after_init_stepping_goes_on_when_asked_for(apic: Apic) -> None:
    with init_guest(apic) as b:
        b.run(E | S)
        b.run(E | S)
        b.vcpu.write_memory(0x20000, bytes([0x90, 0x90, 0xF4]))
        sregs = b.vcpu.get_sregs()
        cs = sregs.cs._replace(base=0x20000 - 0xFFF0)
        b.vcpu.set_sregs(sregs._replace(cs=cs))
        assert b.run(E | S) == DebugExit(1, 0x20001, BS, 0x400)
