"""Rows 41-62: execution breakpoints that the host keeps in DR0-3 (KVM_GUESTDBG_USE_HW_BP)."""

from __future__ import annotations

import pytest

from kvmdbg import guestdebug
from kvmdbg.exits import DebugExit, Exit, HltExit, MmioExit
from kvmdbg.guestdebug import DebugState, Owner
from kvmdbg.machine.layout import PD, Selector
from kvmdbg.x86.registers import MASK32, DebugRegs, Segment
from tests.conformance.rows import row
from tests.guests.bench import BS, MODES, NONE, B, Bench, E, H, S

WIDTH = {"real": 2, "protected": 4, "long": 8}
STACK = {"real": "sp", "protected": "esp", "long": "rsp"}
RF = 0x10000

TWO_NOPS = "nop\nhere: nop\nafter: nop\nhlt"


def armed(*db: int, dr7: int = 0x402, control: int = E | H) -> DebugState:
    """The state machine alone, after KVM_SET_GUEST_DEBUG with these addresses and this DR7."""
    padded = (*db, *(0,) * (4 - len(db)))
    return guestdebug.set_guest_debug(DebugState(), control, (*padded, 0, 0, 0, dr7), 0)


def run_with(b: Bench, dr7: int, control: int = E | H, **breakpoints: int) -> Exit:
    """KVM_SET_GUEST_DEBUG with these registers, then KVM_RUN."""
    b.sgd(control, dr7=dr7, **breakpoints)
    return b.run()


# -- rows 41-49: which DR7 and which register hit --------------------------------------------------


@row(41)
@pytest.mark.parametrize("slot", range(4))
def test_any_of_the_four_registers_matches_an_execution(slot: int) -> None:
    db = [0, 0, 0, 0]
    db[slot] = 0x8001
    state = armed(*db, dr7=0x400 | 2 << 2 * slot)
    assert guestdebug.exec_causes(state, 0x8001) == 1 << slot
    assert guestdebug.exec_causes(state, 0x8000) == 0


@row(41)
@pytest.mark.parametrize("mode", MODES)
def test_all_four_registers_stop_one_after_the_other_without_moving_rip(mode: str) -> None:
    with Bench("nop\nhere: inc ax\nhlt", mode) as b:
        for slot in range(4):
            dr7 = 0x400 | 2 << 2 * slot
            exit_ = run_with(b, dr7, **{f"dr{slot}": b["here"]})
            assert exit_ == DebugExit(1, b["here"], B(slot), dr7)
            assert (b.reg("rip"), b.reg("rax")) == (b["here"], 0)


@row(42)
@pytest.mark.parametrize("mode", MODES)
def test_the_local_enable_alone_is_enough(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        assert run_with(b, 0x401, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x401)


@row(43)
@pytest.mark.parametrize("mode", MODES)
def test_dr7_needs_no_fixed_bit(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        exit_ = run_with(b, 0x2, dr0=b["here"])
        assert isinstance(exit_, DebugExit)
        assert (exit_.exception, exit_.pc, exit_.dr6) == (1, b["here"], B(0))


@row(44)
@pytest.mark.parametrize("mode", MODES)
def test_a_register_that_is_not_enabled_never_hits(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        assert run_with(b, 0x400, dr0=b["here"]) == HltExit()


@row(44)
def test_the_enable_bits_of_one_register_do_not_enable_another() -> None:
    with Bench(TWO_NOPS) as b:
        assert run_with(b, 0x400 | 0xFC, dr0=b["here"]) == HltExit()


@row(44)
def test_le_and_ge_enable_nothing() -> None:
    with Bench(TWO_NOPS) as b:
        assert run_with(b, 0x700, dr0=b["here"]) == HltExit()


@row(45)
@pytest.mark.parametrize("mode", MODES)
def test_running_on_hits_the_same_breakpoint_again(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        stops = [b.run() for _ in range(3)]
        assert stops == [DebugExit(1, b["here"], B(0), 0x402)] * 3


@row(45)
def test_a_hit_sets_no_rf() -> None:
    with Bench(TWO_NOPS) as b:
        run_with(b, 0x402, dr0=b["here"])
        assert b.reg("rflags") & RF == 0


# -- rows 46-47: getting past ----------------------------------------------------------------------


@row(46)
@pytest.mark.parametrize("mode", MODES)
def test_rf_set_by_the_host_passes_the_breakpoint_once(mode: str) -> None:
    with Bench("here: inc ax\ncmp ax, 2\njne here\nhlt", mode) as b:
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)
        b.set(rflags=b.reg("rflags") | RF)
        assert b.run() == DebugExit(1, b["here"], B(0), 0x402)
        assert b.reg("rax") == 1


@row(46)
@pytest.mark.parametrize("mode", MODES)
def test_rf_is_gone_after_the_instruction_that_it_shielded(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        run_with(b, 0x40A, dr0=b["here"], dr1=b["after"])
        b.set(rflags=b.reg("rflags") | RF)
        assert b.run() == DebugExit(1, b["after"], B(1), 0x40A)
        assert b.reg("rflags") & RF == 0


@row(46)
def test_rf_is_spent_by_the_next_instruction_even_where_no_breakpoint_is() -> None:
    with Bench(TWO_NOPS) as b:
        b.set(rflags=RF | 2)
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)


@row(46)
def test_rf_shields_the_instruction_under_a_step_too() -> None:
    with Bench(TWO_NOPS) as b:
        run_with(b, 0x402, dr0=b["here"])
        b.set(rflags=b.reg("rflags") | RF)
        exit_ = run_with(b, 0x402, E | S | H, dr0=b["here"])
        assert exit_ == DebugExit(1, b["after"], BS, 0x402)


@row(47)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_without_the_breakpoint_gets_past_it_anywhere(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)
        assert b.run(E | S) == DebugExit(1, b["after"], BS, 0x400)
        assert run_with(b, 0x402, dr0=b["here"]) == HltExit()


@row(47)
@pytest.mark.parametrize("mode", MODES)
def test_a_breakpoint_put_back_after_the_step_hits_on_the_next_round(mode: str) -> None:
    with Bench("here: inc ax\ncmp ax, 3\njne here\nhlt", mode) as b:
        for count in range(3):
            assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)
            assert b.reg("rax") == count
            b.run(E | S)
        assert run_with(b, 0x402, dr0=b["here"]) == HltExit()


# -- rows 48-51: what matches ----------------------------------------------------------------------


@row(48)
def test_every_register_that_matches_is_reported_at_once() -> None:
    state = armed(0x8001, 0, 0x8001, dr7=0x422)
    causes = guestdebug.exec_causes(state, 0x8001)
    assert guestdebug.db_exit(state, 0x8001, causes) == DebugExit(1, 0x8001, B(0, 2), 0x422)


@row(48)
@pytest.mark.parametrize("mode", MODES)
def test_two_registers_at_one_address_make_one_stop_with_both_bits(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        exit_ = run_with(b, 0x422, dr0=b["here"], dr2=b["here"])
        assert exit_ == DebugExit(1, b["here"], B(0, 2), 0x422)


@row(48)
def test_a_register_that_matches_but_is_off_is_not_reported() -> None:
    with Bench(TWO_NOPS) as b:
        exit_ = run_with(b, 0x402, dr0=b["here"], dr2=b["here"])
        assert exit_ == DebugExit(1, b["here"], B(0), 0x402)


@row(49)
@pytest.mark.parametrize("length", [1, 2, 3])
def test_an_execution_breakpoint_with_a_length_matches_nothing(length: int) -> None:
    dr7 = 0x402 | length << 18
    assert guestdebug.exec_causes(armed(0x8001, dr7=dr7), 0x8001) == 0
    with Bench(TWO_NOPS) as b:
        assert run_with(b, dr7, dr0=b["here"]) == HltExit()


@row(50)
@pytest.mark.parametrize("mode", MODES)
def test_a_breakpoint_inside_an_instruction_never_hits(mode: str) -> None:
    with Bench("here: mov eax, 0x12345678\nafter: hlt", mode) as b:
        for place in range(b["here"] + 1, b["after"]):
            b.set(rip=b["here"])
            assert run_with(b, 0x402, dr0=place) == HltExit()


@row(50)
def test_a_byte_is_a_first_byte_only_when_it_is_executed_as_one() -> None:
    text = "jmp far_in + 1\nfar_in: .byte 0xb8, 0x90, 0x90, 0x90, 0x90\nhlt"
    with Bench(text) as b:
        inner = b["far_in"] + 1
        assert run_with(b, 0x402, dr0=inner) == DebugExit(1, inner, B(0), 0x402)
        b.set(rip=b["far_in"])
        assert run_with(b, 0x402, dr0=inner) == HltExit()


PREFIXED = {
    "operand size": (".byte 0x66, 0x90", MODES),
    "segment": (".byte 0x2e, 0x90", MODES),
    "rex": (".byte 0x48, 0x90", ("long",)),
    "two": (".byte 0x2e, 0x66, 0x90", MODES),
}


@row(51)
@pytest.mark.parametrize(
    ("code", "mode"),
    [
        pytest.param(code, mode, id=f"{name} {mode}")
        for name, (code, modes) in PREFIXED.items()
        for mode in modes
    ],
)
def test_the_first_prefix_is_the_place_and_no_later_byte_is(code: str, mode: str) -> None:
    with Bench(f"nop\nhere: {code}\nafter: hlt", mode) as b:
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)
        for place in range(b["here"] + 1, b["after"]):
            b.set(rip=b["here"])
            assert run_with(b, 0x402, dr0=place) == HltExit()


# -- rows 52-54: with steps and faults -------------------------------------------------------------


@row(52)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_onto_a_breakpoint_reports_the_step_and_then_only_the_breakpoint(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        stops = [run_with(b, 0x402, E | S | H, dr0=b["here"]) for _ in range(4)]
        hit = DebugExit(1, b["here"], B(0), 0x402)
        assert stops == [DebugExit(1, b["here"], BS, 0x402), hit, hit, hit]


@row(53)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", ["ud2", "int 0x20", "int3", "hlt", "div cl"])
def test_a_breakpoint_comes_before_whatever_the_instruction_raises(mode: str, fault: str) -> None:
    with Bench(f"nop\nhere: {fault}\nhlt\nhandler: mov bl, 1\nhlt", mode) as b:
        for vector in (0, 3, 6, 0x20):
            b.gate(vector, "handler")
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)
        assert (b.reg("rip"), b.reg("rbx"), b.reg("rsp")) == (b["here"], 0, 0x7000)


@row(53)
@pytest.mark.parametrize("mode", MODES)
def test_without_the_breakpoint_the_guest_takes_its_invalid_opcode(mode: str) -> None:
    with Bench("nop\nhere: ud2\nhandler: hlt", mode) as b:
        b.gate(6, "handler")
        run_with(b, 0x402, dr0=b["here"])
        assert b.run(0) == HltExit()
        assert b.word(b.reg("rsp"), WIDTH[mode]) == b["here"]


@row(53)
def test_a_breakpoint_comes_before_the_page_fault_of_the_instructions_data() -> None:
    with Bench("nop\nhere: mov al, [0x201000]\nhlt\nhandler: hlt") as b:
        b.gate(14, "handler")
        four_kib_pages(b, absent=0x201000)
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)


PAGE_TABLE = 0x100000


def four_kib_pages(b: Bench, absent: int) -> None:
    """Map 2-4 MiB by 4 KiB pages, one to one, but for the page at ``absent``."""
    entries = [address | 0x67 for address in range(0x200000, 0x400000, 0x1000)]
    entries[absent - 0x200000 >> 12] = 0
    b.vcpu.write_memory(PAGE_TABLE, b"".join(entry.to_bytes(8, "little") for entry in entries))
    b.vcpu.write_memory(PD + 8, (PAGE_TABLE | 0x27).to_bytes(8, "little"))
    b.vcpu.set_sregs(b.vcpu.get_sregs())


ABSENT_CODE = """
        mov eax, 0x201000
        jmp rax
handler: mov rbx, [rsp + 8]
        mov rcx, cr2
        hlt
"""


@row(54)
def test_a_breakpoint_comes_before_the_page_fault_of_the_fetch() -> None:
    with Bench(ABSENT_CODE) as b:
        b.gate(14, "handler")
        four_kib_pages(b, absent=0x201000)
        assert run_with(b, 0x402, dr0=0x201000) == DebugExit(1, 0x201000, B(0), 0x402)
        assert (b.reg("rip"), b.reg("rsp"), b.vcpu.get_sregs().cr2) == (0x201000, 0x7000, 0)


@row(54)
def test_a_breakpoint_comes_before_the_page_fault_of_the_instructions_second_page() -> None:
    with Bench(ABSENT_CODE.replace("0x201000", "0x201ffe")) as b:
        b.gate(14, "handler")
        four_kib_pages(b, absent=0x202000)
        b.vcpu.write_memory(0x201FFE, bytes.fromhex("b878563412"))
        assert run_with(b, 0x402, dr0=0x201FFE) == DebugExit(1, 0x201FFE, B(0), 0x402)
        assert b.vcpu.get_sregs().cr2 == 0


@row(54)
def test_rf_lets_the_fetch_fault_after_the_breakpoint_was_seen() -> None:
    with Bench(ABSENT_CODE) as b:
        b.gate(14, "handler")
        four_kib_pages(b, absent=0x201000)
        b.set(rip=0x201000, rflags=RF | 2)
        assert run_with(b, 0x402, dr0=0x201000) == HltExit()
        assert (b.reg("rbx"), b.reg("rcx")) == (0x201000, 0x201000)


@row(54)
def test_without_the_breakpoint_the_guest_takes_the_page_fault_of_the_fetch() -> None:
    with Bench(ABSENT_CODE) as b:
        b.gate(14, "handler")
        four_kib_pages(b, absent=0x201000)
        assert b.run() == HltExit()
        assert (b.reg("rbx"), b.reg("rcx")) == (0x201000, 0x201000)


@row(54)
def test_a_breakpoint_comes_before_a_fetch_from_an_address_without_memory() -> None:
    with Bench(ABSENT_CODE.replace("0x201000", "0xd0000000")) as b:
        assert run_with(b, 0x402, dr0=0xD0000000) == DebugExit(1, 0xD0000000, B(0), 0x402)


# -- rows 55-57: addresses are linear --------------------------------------------------------------


def move_cs(b: Bench, base: int) -> None:
    """Real mode: CS with this base, IP 0."""
    sregs = b.vcpu.get_sregs()
    b.vcpu.set_sregs(sregs._replace(cs=sregs.cs._replace(base=base, selector=base >> 4)))
    b.set(rip=0)


@row(55)
def test_in_real_mode_the_linear_address_is_compared_and_rip_is_the_offset() -> None:
    with Bench(TWO_NOPS, "real") as b:
        move_cs(b, 0x8000)
        assert run_with(b, 0x402, dr0=0x8001) == DebugExit(1, 0x8001, B(0), 0x402)
        assert b.reg("rip") == 1


@row(55)
def test_in_real_mode_the_offset_is_not_compared() -> None:
    with Bench(TWO_NOPS, "real") as b:
        move_cs(b, 0x8000)
        assert run_with(b, 0x402, dr0=1) == HltExit()


@row(56)
@pytest.mark.parametrize("slot", range(4))
def test_in_flat_32_bit_code_a_breakpoint_stops_before_the_instruction(slot: int) -> None:
    with Bench("nop\nhere: inc eax\nhlt", "protected") as b:
        dr7 = 0x400 | 2 << 2 * slot
        exit_ = run_with(b, dr7, **{f"dr{slot}": b["here"]})
        assert exit_ == DebugExit(1, b["here"], B(slot), dr7)
        assert b.reg("rax") == 0


@row(56)
def test_in_32_bit_code_with_a_base_the_linear_address_is_compared() -> None:
    with Bench(TWO_NOPS, "protected") as b:
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(cs=sregs.cs._replace(base=0x3000)))
        b.set(rip=b.program.origin - 0x3000)
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)
        assert b.reg("rip") == b["here"] - 0x3000


@row(57)
def test_all_64_bits_of_the_address_are_compared() -> None:
    assert guestdebug.exec_causes(armed(1 << 32 | 0x8001), 0x8001) == 0


@row(57)
@pytest.mark.parametrize("high", [1 << 32, 1 << 63, 0xFFFFFFFF << 32])
@pytest.mark.parametrize("mode", MODES)
def test_an_address_with_high_bits_never_hits_low_code(mode: str, high: int) -> None:
    with Bench(TWO_NOPS, mode) as b:
        assert run_with(b, 0x402, dr0=high | b["here"]) == HltExit()


def use_compatibility_code(b: Bench) -> None:
    """CS becomes the default GDT's 32-bit segment: compatibility mode."""
    cs = Segment(0, MASK32, Selector.CODE32, type=11, present=1, db=1, s=1, g=1)
    b.vcpu.set_sregs(b.vcpu.get_sregs()._replace(cs=cs))


@row(57)
def test_an_address_with_high_bits_never_hits_compatibility_code() -> None:
    with Bench(TWO_NOPS) as b:
        use_compatibility_code(b)
        assert run_with(b, 0x402, dr0=1 << 32 | b["here"]) == HltExit()


@row(57)
def test_a_low_address_hits_compatibility_code() -> None:
    with Bench(TWO_NOPS) as b:
        use_compatibility_code(b)
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)


# -- rows 58-60: the host's registers and the guest's ----------------------------------------------


@row(58)
@pytest.mark.parametrize("mode", MODES)
def test_a_hit_leaves_the_guests_debug_registers_alone(mode: str) -> None:
    with Bench(TWO_NOPS, mode) as b:
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)
        assert b.vcpu.get_debugregs() == DebugRegs((0, 0, 0, 0), NONE, 0x400)


@row(58)
def test_a_hit_leaves_debug_registers_that_the_guest_uses_alone() -> None:
    guests = DebugRegs((1, 2, 3, 4), 0xFFFF4FF2, 0x455)
    with Bench(TWO_NOPS) as b:
        b.vcpu.set_debugregs(guests)
        run_with(b, 0x402, dr0=b["here"])
        assert b.vcpu.get_debugregs() == guests


@row(59)
@pytest.mark.parametrize("dr7", [0x402, 0x602, 0x2402, 0x90402, 0xFFFF2FFF])
def test_the_exit_carries_the_dr7_that_the_host_gave(dr7: int) -> None:
    state = guestdebug.set_debugregs(DebugState(), DebugRegs(dr7=0x455))
    state = guestdebug.set_guest_debug(state, E | H, (0,) * 7 + (dr7,), 0)
    assert guestdebug.db_exit(state, 0x8001, 1) == DebugExit(1, 0x8001, B(0), dr7)


@row(59)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("extra", [0, 0x100, 0x200, 0x2000, 0xD00000, 0x70000000])
def test_a_hit_reports_the_hosts_whole_dr7(mode: str, extra: int) -> None:
    with Bench(TWO_NOPS, mode) as b:
        dr7 = 0x402 | extra
        assert run_with(b, dr7, dr0=b["here"]) == DebugExit(1, b["here"], B(0), dr7)


@row(60)
@pytest.mark.parametrize("mode", MODES)
def test_switching_debugging_off_makes_the_guests_own_breakpoint_count_again(mode: str) -> None:
    with Bench("nop\nhosts: nop\nguests: nop\nhlt\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["guests"], 0, 0, 0), dr7=0x402))
        assert run_with(b, 0x402, dr0=b["hosts"]) == DebugExit(1, b["hosts"], B(0), 0x402)
        assert b.run(0) == HltExit()
        assert b.reg("rip") == b["handler"] + 1
        assert b.word(b.reg("rsp"), WIDTH[mode]) == b["guests"]
        assert b.vcpu.get_debugregs().dr6 == B(0)


@row(60)
def test_who_owns_a_hit_follows_the_last_call() -> None:
    state = armed(0x8001)
    assert guestdebug.owner_of_db(state) is Owner.HOST
    state = guestdebug.set_guest_debug(state, 0, (0,) * 8, 0)
    assert guestdebug.owner_of_db(state) is Owner.GUEST
    assert guestdebug.exec_causes(state, 0x8001) == 0


# -- rows 61-62: instructions that take several turns ----------------------------------------------

MMIO = {"mov eax, [rsi]": False, "mov [rsi], eax": True, "movsb": False}


@row(61)
@pytest.mark.parametrize("instruction", MMIO)
def test_a_breakpoint_on_an_mmio_instruction_comes_before_the_mmio_exit(instruction: str) -> None:
    with Bench(f"nop\nhere: {instruction}\nhlt\n") as b:
        b.set(rsi=0xD0000000, rdi=0x9000)
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)
        exit_ = b.run(0)
        assert isinstance(exit_, MmioExit)
        assert (exit_.phys_addr, exit_.is_write) == (0xD0000000, MMIO[instruction])


@row(61)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("instruction", ["insb", "outsb", "in al, 0x81", "out 0x80, al"])
def test_a_breakpoint_on_a_port_instruction_comes_before_the_io_exit(
    mode: str, instruction: str
) -> None:
    with Bench(f"nop\nhere: {instruction}\nhlt", mode) as b:
        b.set(rdx=0x80, rsi=0x9000, rdi=0x9000)
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)
        assert type(b.run(0)).__name__ == "IoExit"


@row(61)
def test_an_mmio_read_answered_after_the_breakpoint_was_dropped_completes() -> None:
    with Bench("here: mov eax, [rsi]\nhlt") as b:
        b.set(rsi=0xD0000000)
        run_with(b, 0x402, dr0=b["here"])
        b.run(0)
        b.vcpu.complete_io((0x1234).to_bytes(4, "little"))
        assert b.run() == HltExit()
        assert b.reg("rax") == 0x1234


REP = """
        nop
here:   rep movsb
        inc ebx
        cmp ebx, 2
        mov cx, 4
        jne here
        hlt
"""


@row(62)
@pytest.mark.parametrize("mode", MODES)
def test_a_breakpoint_on_rep_hits_before_the_first_iteration(mode: str) -> None:
    with Bench(REP, mode) as b:
        b.set(rcx=5, rsi=0x9000, rdi=0x9800)
        assert run_with(b, 0x402, dr0=b["here"]) == DebugExit(1, b["here"], B(0), 0x402)
        assert b.reg("rcx") == 5


@row(62)
@pytest.mark.parametrize("mode", MODES)
def test_rf_passes_all_iterations_of_rep_and_nothing_after_them(mode: str) -> None:
    with Bench(REP, mode) as b:
        b.vcpu.write_memory(0x9000, b"12345")
        b.set(rcx=5, rsi=0x9000, rdi=0x9800)
        run_with(b, 0x402, dr0=b["here"])
        b.set(rflags=b.reg("rflags") | RF)
        assert b.run() == DebugExit(1, b["here"], B(0), 0x402)
        assert (b.reg("rbx"), b.reg("rcx")) == (1, 4)  # the second round, before its first byte
        assert b.vcpu.read_memory(0x9800, 6) == b"12345\0"


@row(62)
def test_rf_and_a_count_of_zero_pass_rep_too() -> None:
    with Bench("here: rep movsb\nafter: nop\nhlt") as b:
        b.set(rcx=0, rsi=0x9000, rdi=0x9800, rflags=RF | 2)
        exit_ = run_with(b, 0x40A, dr0=b["here"], dr1=b["after"])
        assert exit_ == DebugExit(1, b["after"], B(1), 0x40A)
