"""Rows 216-221: the rules of 2008 (commit d0bfb940), and where they change what other rows say.

All of it was read in that commit; none was measured. The reference profile says the opposite of
each.
"""

from __future__ import annotations

import pytest

from kvmdbg import guestdebug as gd
from kvmdbg.exits import DebugExit, Exit, HltExit, IoExit, MmioExit
from kvmdbg.guestdebug import DebugState, PendingException
from kvmdbg.profiles import PROFILES
from kvmdbg.x86.registers import RFLAGS, DebugRegs
from tests.conformance.rows import row
from tests.guests.bench import IB, ID, MODES, NONE, E, H, K, S, W
from tests.guests.bench import Bench as AnyBench

TF, RF = int(RFLAGS.TF), int(RFLAGS.RF)
DEVICE = 0xD0000000


class Bench(AnyBench):
    """A guest of 2008."""

    def __init__(self, text: str, mode: str = "long") -> None:
        super().__init__(text, mode, profile="k08")


def stop(pc: int) -> DebugExit:
    """A #DB exit; what caused it was not told."""
    return DebugExit(1, pc, 0, 0)


def state(control: int, before: DebugState | None = None) -> DebugState:
    if before is None:
        before = DebugState(PROFILES["k08"])
    return gd.set_guest_debug(before, control, (0x8001, 0, 0, 0, 0, 0, 0, 0x402), 0x8000)


# -- TF and RF -------------------------------------------------------------------------------------


@row(216)
@row(159)
@pytest.mark.parametrize("mode", MODES)
def test_get_regs_hid_tf_and_rf_under_single_step(mode: str) -> None:
    with Bench("nop\nnop", mode) as b:
        b.set(rflags=0x10002)
        b.sgd(E | S)
        assert b.reg("rflags") == 2


@row(216)
def test_without_single_step_get_regs_showed_rf() -> None:
    with Bench("nop\nnop") as b:
        b.set(rflags=0x10002)
        b.sgd(E | H)
        assert b.reg("rflags") == 0x10002


@row(216)
def test_the_end_of_single_step_took_tf_and_rf_away() -> None:
    with Bench("nop\nnop") as b:
        b.set(rflags=0x10102)
        b.sgd(E | S)
        b.sgd(0)
        assert b.reg("rflags") == 2


@row(216)
def test_the_pure_rules_arm_and_hide_both_flags() -> None:
    assert gd.rflags_armed(state(E | S), 2) == 2 | TF | RF
    assert gd.rflags_read(state(E | S), 2 | TF | RF) == 2
    assert gd.rflags_armed(state(0), 2) == 2


@row(16)
def test_registers_written_after_the_call_lost_the_step() -> None:
    with Bench("nop\nnop\nhlt") as b:
        b.sgd(E | S)
        b.set(rax=1)
        assert b.vcpu.run() == HltExit()


@row(16)
def test_the_pure_rules_write_flags_as_they_are_given() -> None:
    assert gd.rflags_written(state(E | S), 2, 0x8000) == 2


@row(1)
@row(2)
@row(3)
@pytest.mark.parametrize("mode", MODES)
def test_a_guest_could_be_stepped(mode: str) -> None:
    with Bench("nop\none: inc eax\ntwo: nop", mode) as b:
        assert [b.run(E | S), b.run(E | S)] == [stop(b["one"]), stop(b["two"])]


# -- injection -------------------------------------------------------------------------------------


@row(217)
def test_a_second_injection_was_accepted() -> None:
    with Bench("here: nop\nhlt\nhandler: hlt") as b:
        b.gate(1, "handler")
        b.sgd(ID)
        b.sgd(ID)
        assert b.vcpu.run() == HltExit()
        assert b.word(b.reg("rsp")) == b["here"]


@row(217)
def test_the_pure_rules_let_a_second_injection_take_the_slot() -> None:
    assert state(IB, state(ID)).pending == PendingException(3, soft=True)
    assert state(ID, state(IB)).pending == PendingException(1)


@row(218)
def test_the_flags_were_applied_and_the_injection_queued() -> None:
    with Bench("here: nop\nhlt\nhandler: hlt") as b:
        b.gate(1, "handler")
        b.sgd(ID)
        b.sgd(E | S | ID)
        assert b.vcpu.get_vcpu_events().exception_pending == 1
        assert b.vcpu.run() == HltExit()
        assert b.word(b.reg("rsp")) == b["here"]
        assert b.word(b.reg("rsp") + 16) & TF


@row(218)
def test_a_call_that_today_is_ebusy_armed_single_step() -> None:
    armed = state(E | S | ID, state(ID))
    assert (armed.singlestep, armed.pending) == (True, PendingException(1))


# -- breakpoints -----------------------------------------------------------------------------------


@row(219)
@pytest.mark.parametrize("mode", MODES)
def test_use_hw_bp_loaded_no_debug_register(mode: str) -> None:
    with Bench("nop\nhere: nop\nhlt", mode) as b:
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        assert b.vcpu.run() == HltExit()


@row(219)
@row(98)
def test_use_hw_bp_took_the_guests_debug_exceptions_all_the_same() -> None:
    with Bench("nop\nnext: nop\nhandler: hlt") as b:
        b.gate(1, "handler")
        b.set(rflags=0x102)
        assert b.run(E | H) == stop(b["next"])


@row(219)
def test_the_pure_rules_leave_the_guests_registers_effective() -> None:
    found = state(E | H)
    assert (found.effective_db, found.effective_dr7) == ((0, 0, 0, 0), 0x400)
    assert gd.armed_slots(found) == []


@row(219)
@row(140)
def test_the_hosts_general_detect_was_not_loaded_either() -> None:
    with Bench("mov rax, dr0\nhlt") as b:
        b.sgd(E | H, dr7=0x2400)
        assert b.vcpu.run() == HltExit()


@row(196)
def test_a_host_dr7_above_32_bits_was_no_matter() -> None:
    with Bench("nop\nhlt") as b:
        b.sgd(E | H, dr7=1 << 40)
        assert b.vcpu.run() == HltExit()


@row(26)
@pytest.mark.parametrize("mode", MODES)
def test_an_int3_went_to_the_host_under_use_sw_bp(mode: str) -> None:
    with Bench("nop\nhere: int3", mode) as b:
        assert b.run(E | W) == DebugExit(3, b["here"])


# -- the guest's MOV DR ----------------------------------------------------------------------------


@row(220)
@row(129)
def test_the_guest_read_constants_from_its_debug_registers() -> None:
    with Bench("mov dr0, rdi\nmov rax, dr0\nmov rbx, dr6\nmov rcx, dr7\nhlt") as b:
        b.set(rdi=0x1234)
        b.vcpu.run()
        assert (b.reg("rax"), b.reg("rbx"), b.reg("rcx")) == (0, NONE, 0x400)


@row(220)
@pytest.mark.parametrize("register", [0, 3, 6, 7])
def test_the_guests_writes_to_its_debug_registers_were_dropped(register: int) -> None:
    with Bench(f"mov dr{register}, rdi\nhlt") as b:
        b.set(rdi=0x403)
        assert b.vcpu.run() == HltExit()
        assert b.vcpu.get_debugregs() == DebugRegs()


@row(220)
@row(101)
def test_a_guest_could_set_no_breakpoint_of_its_own() -> None:
    with Bench("mov dr0, rdi\nmov dr7, rsi\nhere: nop\nhlt") as b:
        b.set(rdi=b["here"], rsi=0x402)
        assert b.run() == HltExit()


# -- exits -----------------------------------------------------------------------------------------


@row(221)
def test_a_debug_exit_carried_neither_dr6_nor_dr7() -> None:
    with Bench("nop\nnext: nop") as b:
        b.vcpu.set_debugregs(DebugRegs(dr7=0x455))
        assert b.run(E | S) == DebugExit(1, b["next"], 0, 0)


# -- what KVM carried out itself was no step -------------------------------------------------------


@row(11)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("insn", ["cpuid", "rdmsr", "mov eax, cr0", "invlpg [0x5000]", "wbinvd"])
def test_a_step_over_an_intercepted_instruction_stopped_one_later(insn: str, mode: str) -> None:
    if mode == "long":
        insn = insn.replace("eax, cr0", "rax, cr0")
    with Bench(f"{insn}\nnext: nop\nafter: nop", mode) as b:
        b.set(rcx=0xC0000080)
        assert b.run(E | S) == stop(b["after"])


@row(11)
@pytest.mark.parametrize("insn", ["mov rax, dr7", "mov dr0, rax", "mov cr3, rax", "mov rax, cr4"])
def test_a_step_over_mov_cr_and_mov_dr_stopped_one_later(insn: str) -> None:
    with Bench(f"{insn}\nnext: nop\nafter: nop") as b:
        b.set(rax=b.vcpu.get_sregs().cr3)
        assert b.run(E | S) == stop(b["after"])


@row(11)
def test_a_step_over_two_of_them_stopped_behind_the_third_instruction() -> None:
    with Bench("cpuid\nmov rax, cr0\nnop\nafter: nop") as b:
        assert b.run(E | S) == stop(b["after"])


@row(11)
@pytest.mark.parametrize("mode", MODES)
def test_without_the_host_the_guests_own_trap_behind_cpuid_was_kept(mode: str) -> None:
    with Bench("nop\nhlt\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        b.set(rflags=0x102)
        assert b.run() == HltExit()
        assert b.reg("rip") == b["handler"] + 1


@row(165)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_over_out_gave_the_io_exit_and_stopped_one_instruction_later(mode: str) -> None:
    with Bench("out 0x80, al\nnext: nop\nafter: nop", mode) as b:
        assert b.run(E | S) == IoExit("out", 0x80, 1, b"\0")
        assert b.run(E | S) == stop(b["after"])


@row(166)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_over_in_gave_the_io_exit_and_stopped_one_instruction_later(mode: str) -> None:
    with Bench("in al, 0x81\nnext: nop\nafter: nop", mode) as b:
        assert b.run(E | S) == IoExit("in", 0x81, 1, b"\0")
        b.vcpu.complete_io(b"\x99")
        assert (b.run(E | S), b.reg("rax") & 0xFF) == (stop(b["after"]), 0x99)


@row(173)
@row(174)
@pytest.mark.parametrize(("insn", "stores"), [("mov eax, [rbx]", False), ("mov [rbx], eax", True)])
def test_a_step_over_mmio_gave_its_exit_and_stopped_one_instruction_later(
    insn: str, stores: bool
) -> None:
    with Bench(f"{insn}\nnext: nop\nafter: nop") as b:
        b.set(rbx=DEVICE)
        exits: list[Exit] = [b.run(E | S), b.run(E | S)]
        assert exits == [MmioExit(DEVICE, bytes(4), stores), stop(b["after"])]


@row(18)
def test_a_stepped_hlt_was_a_hlt_exit() -> None:
    with Bench("hlt\nafter: nop") as b:
        assert (b.run(E | S), b.reg("rip")) == (HltExit(), b["after"])


# -- BLOCKIRQ --------------------------------------------------------------------------------------


@row(187)
@pytest.mark.parametrize(("profile", "taken"), [("k08", True), ("reference", False)])
def test_blockirq_was_not_there_to_hold_an_nmi(profile: str, taken: bool) -> None:
    with AnyBench("nop\nend: hlt\nhandler: hlt", profile=profile) as b:
        b.gate(2, "handler")
        b.vcpu.nmi()
        assert b.run(E | K) == HltExit()
        assert b.reg("rip") == (b["handler"] if taken else b["end"]) + 1


@row(187)
def test_the_pure_rules_of_2008_block_no_interrupts() -> None:
    assert not gd.blocks_interrupts(state(E | S | K))
