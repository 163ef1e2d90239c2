"""The profiles vmx and svm, breakpoints: Linux 7.2 on Intel's and AMD's processors.

All of it was read in the kernel's source and the manuals; none was measured.
"""

from __future__ import annotations

import pytest

from kvmdbg.exits import DebugExit, FailEntryExit, HltExit
from kvmdbg.x86.registers import RFLAGS, DebugRegs
from tests.conformance.rows import row
from tests.guests.bench import BD, BS, NONE, B, Bench, E, H, S

RF = int(RFLAGS.RF)
HARDWARE = pytest.mark.parametrize("profile", ["vmx", "svm"])


def stop(pc: int, dr7: int = 0x400) -> DebugExit:
    return DebugExit(1, pc, BS, dr7)


def frame(b: Bench) -> tuple[int, int]:
    """Saved RIP and RFLAGS on top of a long-mode guest's stack."""
    return b.word(b.reg("rsp")), b.word(b.reg("rsp") + 16)


# -- ICEBP and general detect ----------------------------------------------------------------------

ICEBP = "nop\nhere: .byte 0xf1\nafter: nop\nhlt\nhandler: hlt"


@row(109)
@pytest.mark.parametrize("control", [E | S, E | H], ids=["S", "H"])
def test_on_vmx_the_host_gets_icebp_at_itself(control: int) -> None:
    with Bench("here: .byte 0xf1\nhlt", profile="vmx") as b:
        assert b.run(control) == DebugExit(1, b["here"], NONE, 0x400)


@row(109)
def test_on_svm_icebp_enters_the_guests_handler_under_use_hw_bp() -> None:
    with Bench(ICEBP, profile="svm") as b:
        b.gate(1, "handler")
        assert b.run(E | H) == HltExit()
        assert frame(b) == (b["after"], 2)
        assert b.vcpu.get_debugregs().dr6 == NONE


@row(109)
def test_on_svm_icebp_enters_the_guests_handler_under_a_step_too() -> None:
    with Bench(ICEBP, profile="svm") as b:
        b.gate(1, "handler")
        assert b.run(E | S) == stop(b["here"])
        assert b.run(E | S) == HltExit()
        assert frame(b) == (b["after"], 0x102)


@row(108)
@HARDWARE
def test_without_the_host_icebp_is_a_trap_of_the_guest(profile: str) -> None:
    with Bench(ICEBP, profile=profile) as b:
        b.gate(1, "handler")
        assert b.run() == HltExit()
        assert (frame(b), b.vcpu.get_debugregs().dr6) == ((b["after"], 2), NONE)


MOV_DR = "here: mov rax, dr0\nhlt\nhandler: hlt"


@row(140)
@row(141)
@HARDWARE
def test_the_hosts_general_detect_stops_at_the_mov_again_and_again(profile: str) -> None:
    with Bench(MOV_DR, profile=profile) as b:
        b.sgd(E | H, dr7=0x2400)
        found = DebugExit(1, b["here"], BD, 0x2400)
        assert [b.vcpu.run(), b.vcpu.run()] == [found, found]


@row(145)
def test_on_svm_the_guests_general_detect_goes_to_the_host_under_a_step() -> None:
    with Bench(MOV_DR, profile="svm") as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2400))
        assert b.run(E | S) == DebugExit(1, b["here"], BD, 0x2400)
        assert b.vcpu.get_debugregs() == DebugRegs(dr7=0x2400)


@row(145)
def test_on_vmx_the_guests_general_detect_stays_the_guests_under_a_step() -> None:
    with Bench(MOV_DR, profile="vmx") as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2400))
        assert b.run(E | S) == HltExit()
        assert b.vcpu.get_debugregs() == DebugRegs(dr6=BD)


@row(144)
@HARDWARE
def test_the_guests_general_detect_is_inert_under_use_hw_bp(profile: str) -> None:
    with Bench(MOV_DR, profile=profile) as b:
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2400))
        assert b.run(E | H) == HltExit()
        assert b.vcpu.get_debugregs() == DebugRegs(dr7=0x2400)


# -- breakpoints -----------------------------------------------------------------------------------


@row(151)
@pytest.mark.parametrize("owner", ["host", "guest"])
@pytest.mark.parametrize(("profile", "taken"), [("vmx", False), ("svm", True)])
def test_a_code_breakpoint_behind_mov_ss_is_taken_by_amd_and_not_by_intel(
    profile: str, taken: bool, owner: str
) -> None:
    with Bench("mov ss, ax\ntarget: nop\nhlt\nhandler: hlt", profile=profile) as b:
        b.set(rax=0x10)
        b.gate(1, "handler")
        if owner == "host":
            b.sgd(E | H, dr7=0x402, dr0=b["target"])
            hit = DebugExit(1, b["target"], B(0), 0x402)
            assert b.vcpu.run() == (hit if taken else HltExit())
        else:
            b.vcpu.set_debugregs(DebugRegs((b["target"], 0, 0, 0), dr7=0x402))
            assert b.run() == HltExit()
            assert b.vcpu.get_debugregs().dr6 == (B(0) if taken else NONE)


@row(148)
@HARDWARE
def test_hardware_holds_a_step_over_mov_ss_for_one_instruction(profile: str) -> None:
    with Bench("mov ss, ax\nnop\nafter: nop", profile=profile) as b:
        b.set(rax=0x10)
        assert b.run(E | S) == stop(b["after"])


@row(46)
@HARDWARE
def test_rf_passes_a_hosts_breakpoint_on_hardware(profile: str) -> None:
    with Bench("here: nop\nhlt", profile=profile) as b:
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        b.vcpu.run()
        b.set(rflags=2 | RF)
        assert b.vcpu.run() == HltExit()


@row(106)
@HARDWARE
def test_the_guests_execution_breakpoint_goes_to_the_host_under_a_step(profile: str) -> None:
    with Bench("nop\nhere: nop\nhandler: hlt", profile=profile) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["here"], 0, 0, 0), dr7=0x402))
        assert b.run(E | S) == stop(b["here"], 0x402)
        assert b.run(E | S) == DebugExit(1, b["here"], B(0), 0x402)


@row(107)
@HARDWARE
def test_the_guests_execution_breakpoint_is_inert_under_use_hw_bp(profile: str) -> None:
    with Bench("nop\nhere: nop\nhlt", profile=profile) as b:
        b.vcpu.set_debugregs(DebugRegs((b["here"], 0, 0, 0), dr7=0x402))
        assert b.run(E | H) == HltExit()


@row(196)
@HARDWARE
def test_a_host_dr7_above_32_bits_makes_the_next_entry_fail(profile: str) -> None:
    with Bench("nop\nhlt", profile=profile) as b:
        b.sgd(E | H, dr7=1 << 40)  # accepted
        assert isinstance(b.vcpu.run(), FailEntryExit)
        assert b.reg("rip") == b.program.origin


@row(196)
@HARDWARE
def test_after_a_failed_entry_a_call_with_a_right_dr7_lets_the_guest_run(profile: str) -> None:
    with Bench("nop\nhlt", profile=profile) as b:
        b.sgd(E | H, dr7=1 << 40)
        b.vcpu.run()
        assert b.run(E | H) == HltExit()


@row(196)
@HARDWARE
def test_a_dr7_above_32_bits_that_use_hw_bp_does_not_load_is_no_matter(profile: str) -> None:
    with Bench("nop\nhlt", profile=profile) as b:
        b.sgd(E, dr7=1 << 40)
        assert b.vcpu.run() == HltExit()


@row(98)
@HARDWARE
def test_the_guests_tf_trap_goes_to_the_host_under_use_hw_bp(profile: str) -> None:
    with Bench("nop\nnext: nop", profile=profile) as b:
        b.set(rflags=0x102)
        assert b.run(E | H) == stop(b["next"])
        assert b.vcpu.get_debugregs() == DebugRegs()
