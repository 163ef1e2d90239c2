"""The profile emu618, steps: Linux 6.18 where KVM's instruction emulator runs the guest.

Its step follows the flag and not TF. Measured on such a host, at CPL 0 and in real mode. Its
breakpoints and the guest's own debugging are in test_rows_profile_emu618_breakpoints.py.
"""

from __future__ import annotations

import pytest

from kvmdbg.exits import Exit, HltExit, IntrExit, IoExit, MmioExit
from kvmdbg.x86.registers import RFLAGS
from tests.conformance.emulated_guest import (
    DEVICE,
    INT_MODES,
    Emulated,
    device,
    frame,
    step,
    stop,
)
from tests.conformance.rows import row
from tests.guests.bench import IB, ID, MODES, Bench, E, H, S

RF = int(RFLAGS.RF)


# -- the step follows the flag ---------------------------------------------------------------------


@row(1)
@row(2)
@row(3)
@pytest.mark.parametrize("mode", MODES)
def test_plain_steps_are_as_everywhere(mode: str) -> None:
    with Emulated("nop\none: inc eax\ntwo: nop\nthree: nop", mode) as b:
        assert step(b, 3) == [stop(b["one"]), stop(b["two"]), stop(b["three"])]


@row(15)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_goes_on_where_the_host_moves_rip_after_arming_it(mode: str) -> None:
    with Emulated("nop\nnop\nnop\nnop", mode) as b:
        b.sgd(E | S)
        b.set(rip=0x8001)
        assert b.vcpu.run() == stop(0x8002)


@row(20)
def test_popf_does_not_end_a_step_session_even_without_another_call() -> None:
    with Emulated("push 2\na: popf\nb: nop\nc: nop\nd: nop") as b:
        b.sgd(E | S)
        assert [b.vcpu.run() for _ in range(4)] == [stop(b[label]) for label in "abcd"]


@row(13)
@pytest.mark.parametrize("mode", MODES)
def test_after_the_stop_of_an_mmio_read_the_next_run_is_a_step_without_another_call(
    mode: str,
) -> None:
    with device("mov eax, {at}\nnext: nop\nafter: nop\nhlt", mode) as b:
        assert b.run(E | S) == MmioExit(DEVICE, bytes(4), False)
        b.vcpu.complete_io(bytes(4))
        assert [b.vcpu.run(), b.vcpu.run()] == [stop(b["next"]), stop(b["after"])]


@row(18)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_hlt_is_a_step_and_no_hlt_exit(mode: str) -> None:
    with Emulated("hlt\nnext: nop\nafter: nop", mode) as b:
        assert step(b, 2) == [stop(b["next"]), stop(b["after"])]


@row(18)
def test_a_hlt_that_is_not_stepped_is_a_hlt_exit() -> None:
    with Emulated("hlt") as b:
        assert b.run(E | H) == HltExit()


@row(148)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_over_mov_ss_stops_right_behind_it(mode: str) -> None:
    with Emulated("mov ss, ax\nnext: nop\nafter: nop", mode) as b:
        b.set(rax=b.vcpu.get_sregs().ss.selector)
        assert step(b, 2) == [stop(b["next"]), stop(b["after"])]


@row(156)
def test_a_step_over_sti_stops_right_behind_it() -> None:
    with Emulated("sti\nnext: nop") as b:
        assert b.run(E | S) == stop(b["next"])
        assert b.reg("rflags") == 0x202


@row(11)
def test_steps_over_cpuid_and_rdmsr_are_reported() -> None:
    with Emulated("cpuid\na: mov ecx, 0xc0000080\nb: rdmsr\nc: nop\nd: nop") as b:
        assert step(b, 4) == [stop(b[label]) for label in "abcd"]


# -- REP -------------------------------------------------------------------------------------------

REP = "again: rep stosb\nafter: nop\nhlt\nbuf: .quad 0"


def rep_steps(b: Bench, times: int) -> list[tuple[Exit, int, int]]:
    return [(b.run(E | S), b.reg("rcx"), b.reg("rflags") & RF) for _ in range(times)]


@row(162)
@row(159)
@pytest.mark.parametrize("mode", MODES)
def test_a_short_rep_is_one_step_at_itself_with_rf_and_one_behind_it(mode: str) -> None:
    with Emulated(REP, mode) as b:
        b.set(rax=0x5A, rcx=3, rdi=b["buf"])
        assert rep_steps(b, 2) == [(stop(b["again"]), 0, RF), (stop(b["after"]), 0, 0)]
        assert b.vcpu.read_memory(b["buf"], 4) == b"ZZZ\0"


@row(162)
def test_a_long_rep_stops_where_its_count_is_a_multiple_of_1024() -> None:
    with Emulated("again: rep stosb\nafter: nop") as b:
        b.set(rcx=5000, rdi=0x9000)
        seen = [(b.run(E | S), b.reg("rcx")) for _ in range(6)]
        counts = (4096, 3072, 2048, 1024, 0)
        assert seen == [(stop(b["again"]), rcx) for rcx in counts] + [(stop(b["after"]), 0)]


@row(162)
def test_a_rep_of_5000_elements_takes_five_stops_and_one_more() -> None:
    with Emulated("again: rep stosb\nafter: nop") as b:
        b.set(rcx=5000, rdi=0x9000)
        assert step(b, 6) == [*[stop(b["again"])] * 5, stop(b["after"])]


@row(163)
@pytest.mark.parametrize("mode", MODES)
def test_rep_with_a_count_of_zero_is_one_step(mode: str) -> None:
    with Emulated(REP, mode) as b:
        b.set(rcx=0, rdi=b["buf"])
        assert b.run(E | S) == stop(b["after"])


@row(164)
def test_a_repe_cmpsb_that_ends_early_is_one_step() -> None:
    text = "again: repe cmpsb\nafter: nop\none: .byte 1, 2, 3, 4\nother: .byte 1, 9, 3, 4"
    with Emulated(text) as b:
        b.set(rcx=4, rsi=b["one"], rdi=b["other"])
        assert (b.run(E | S), b.reg("rcx")) == (stop(b["after"]), 2)


# -- ports and MMIO --------------------------------------------------------------------------------


@row(165)
@pytest.mark.parametrize("mode", MODES)
def test_the_exit_of_an_out_comes_behind_it_and_its_step_is_lost(mode: str) -> None:
    with Emulated("out 0x80, al\nnext: nop\nafter: nop", mode) as b:
        b.set(rax=0x41)
        assert (b.run(E | S), b.reg("rip")) == (IoExit("out", 0x80, 1, b"A"), b["next"])
        assert b.run(E | S) == stop(b["after"])


@row(166)
@pytest.mark.parametrize("mode", MODES)
def test_the_exit_of_an_in_comes_at_it_and_its_step_is_kept(mode: str) -> None:
    with Emulated("here: in al, 0x81\nnext: nop", mode) as b:
        assert (b.run(E | S), b.reg("rip")) == (IoExit("in", 0x81, 1, b"\0"), b["here"])
        b.vcpu.complete_io(b"\x99")
        assert (b.run(E | S), b.reg("rax") & 0xFF) == (stop(b["next"]), 0x99)


@row(167)
@pytest.mark.parametrize("mode", MODES)
def test_out_and_in_in_a_row_are_two_transfers_and_one_stop(mode: str) -> None:
    with Emulated("out 0x80, al\nin al, 0x81\nnext: nop", mode) as b:
        out, in_ = IoExit("out", 0x80, 1, b"\0"), IoExit("in", 0x81, 1, b"\0")
        assert step(b, 3) == [out, in_, stop(b["next"])]


@row(170)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_rep_outsb_gives_its_items_and_then_one_stop(mode: str) -> None:
    with Emulated('rep outsb\nnext: nop\ntext: .ascii "abc"', mode) as b:
        b.set(rcx=3, rdx=0x80, rsi=b["text"])
        items = [IoExit("out", 0x80, 1, item) for item in (b"a", b"b", b"c")]
        assert step(b, 4) == [*items, stop(b["next"])]


@row(172)
def test_a_run_of_no_instructions_after_an_out_has_nothing_to_finish() -> None:
    with Emulated("out 0x80, al\nnext: nop") as b:
        b.run(E | S)
        assert b.vcpu.run(max_instructions=0) == IntrExit("budget")
        assert b.reg("rip") == b["next"]


@row(174)
@pytest.mark.parametrize("mode", MODES)
def test_the_step_over_a_store_to_mmio_is_lost(mode: str) -> None:
    with device("mov {at}, eax\nnext: nop\nafter: nop", mode) as b:
        assert (b.run(E | S), b.reg("rip")) == (MmioExit(DEVICE, bytes(4), True), b["next"])
        assert b.run(E | S) == stop(b["after"])


@row(174)
def test_a_store_and_a_load_of_mmio_are_two_transfers_and_one_stop() -> None:
    with device("mov {at}, eax\nmov eax, {at}\nnext: nop") as b:
        store, load = MmioExit(DEVICE, bytes(4), True), MmioExit(DEVICE, bytes(4), False)
        assert step(b, 3) == [store, load, stop(b["next"])]


@row(175)
def test_the_step_over_an_inc_of_mmio_is_lost_at_its_store() -> None:
    with device("inc dword ptr {at}\nnop\nafter: nop") as b:
        load, store = MmioExit(DEVICE, bytes(4), False), MmioExit(DEVICE, b"\1\0\0\0", True)
        assert step(b, 3) == [load, store, stop(b["after"])]


# -- exceptions and INT n --------------------------------------------------------------------------

UD2 = "bad: ud2\nhandler: nop\nsecond: nop\nhlt"


@row(178)
@pytest.mark.parametrize("mode", INT_MODES)
def test_a_step_over_ud2_stops_behind_the_first_instruction_of_its_handler(mode: str) -> None:
    with Emulated(UD2, mode) as b:
        b.gate(6, "handler")
        assert b.run(E | S) == stop(b["second"])
        assert frame(b) == (b["bad"], 0x10102)


@row(179)
def test_a_step_over_a_page_fault_stops_behind_the_first_instruction_of_its_handler() -> None:
    with Emulated("bad: mov eax, [rbx]\nhandler: nop\nsecond: nop\nhlt") as b:
        b.gate(14, "handler")
        b.set(rbx=1 << 40)
        assert b.run(E | S) == stop(b["second"])
        assert b.vcpu.get_sregs().cr2 == 1 << 40


@row(127)
@pytest.mark.parametrize("inject", [ID, IB])
@pytest.mark.parametrize("mode", MODES)
def test_a_step_into_an_injection_stops_behind_the_first_instruction_of_its_handler(
    mode: str, inject: int
) -> None:
    with Emulated("start: nop\nhandler: nop\nsecond: nop", mode) as b:
        b.gate(1, "handler")
        b.gate(3, "handler")
        assert b.run(E | S | inject) == stop(b["second"])
        assert frame(b) == (b["start"], 0x102)


@row(180)
def test_steps_over_int_n_in_real_mode_stop_in_front_of_its_handler_in_it_and_behind() -> None:
    with Emulated("int 0x20\nafter: nop\nhandler: nop\nsecond: iret", "real") as b:
        b.gate(0x20, "handler")
        assert step(b, 3) == [stop(b["handler"]), stop(b["second"]), stop(b["after"])]


@row(110)
def test_int_1_in_real_mode_is_a_software_interrupt_and_stops_at_its_handler() -> None:
    with Emulated("int 1\nafter: nop\nhandler: nop\nsecond: iret", "real") as b:
        b.gate(1, "handler")
        assert b.run(E | S) == stop(b["handler"])
        assert frame(b)[0] == b["after"]


@row(110)
def test_int_1_in_real_mode_under_use_hw_bp_enters_the_guests_handler() -> None:
    with Emulated("int 1\nafter: nop\nhandler: hlt", "real") as b:
        b.gate(1, "handler")
        assert b.run(E | H) == HltExit()
        assert frame(b)[0] == b["after"]
