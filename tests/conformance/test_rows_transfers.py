"""Rows 161-177: REP, ports and MMIO under single-step.

A transfer is reported first and its step later, never both in one exit. RIP at the exit is that of
KVM's fast path: at OUT and IN, after a store to MMIO. Where KVM would lose the stop after such a
store, the reference engine keeps it.
"""

from __future__ import annotations

import pytest

from kvmdbg.exits import DebugExit, Exit, HltExit, IntrExit, IoExit, MmioExit
from kvmdbg.x86.registers import CR4
from tests.conformance.rows import row
from tests.guests.bench import BS, MODES, RAM, B, Bench, E, H, S

DEVICE = 0xD0000000
BASE = {"real": "bx", "protected": "ebx", "long": "rbx"}


def stop(pc: int) -> DebugExit:
    return DebugExit(1, pc, BS, 0x400)


def out(data: bytes, port: int = 0x80) -> IoExit:
    return IoExit("out", port, 1, data)


def step(b: Bench, times: int) -> list[Exit]:
    """So many runs, KVM_SET_GUEST_DEBUG before each of them."""
    return [b.run(E | S) for _ in range(times)]


# -- REP -------------------------------------------------------------------------------------------

REP = "again: rep stosb\nafter: nop\nhlt\nbuf: .quad 0"


@row(161)
@pytest.mark.parametrize("mode", MODES)
def test_rep_stosb_stops_after_each_iteration(mode: str) -> None:
    with Bench(REP, mode) as b:
        b.set(rax=0x5A, rcx=3, rdi=b["buf"])
        stops = [(b.run(E | S), b.reg("rcx")) for _ in range(3)]
        again, after = stop(b["again"]), stop(b["after"])
        assert stops == [(again, 2), (again, 1), (after, 0)]


@row(161)
@pytest.mark.parametrize("mode", MODES)
def test_a_stop_between_rep_iterations_finds_one_more_byte_stored(mode: str) -> None:
    with Bench(REP, mode) as b:
        b.set(rax=0x5A, rcx=3, rdi=b["buf"])
        stored = []
        for _ in range(3):
            b.run(E | S)
            stored.append(b.vcpu.read_memory(b["buf"], 4))
        assert stored == [b"Z\0\0\0", b"ZZ\0\0", b"ZZZ\0"]


@row(162)
def test_an_emulated_rep_stops_once_at_the_rep_and_once_behind_it() -> None:
    with Bench(REP, profile="emu618") as b:
        b.set(rcx=3, rdi=b["buf"])
        at_rep, behind = DebugExit(1, b["again"], BS, 0), DebugExit(1, b["after"], BS, 0)
        assert (b.run(E | S), b.reg("rcx"), b.reg("rflags")) == (at_rep, 0, 0x10002)
        assert b.run(E | S) == behind


@row(163)
@pytest.mark.parametrize("mode", MODES)
def test_rep_with_a_count_of_zero_is_one_step(mode: str) -> None:
    with Bench(REP, mode) as b:
        b.set(rax=0x5A, rcx=0, rdi=b["buf"])
        assert b.run(E | S) == stop(b["after"])
        assert b.vcpu.read_memory(b["buf"], 1) == b"\0"


@row(164)
@pytest.mark.parametrize("mode", MODES)
def test_repe_cmpsb_stops_behind_itself_at_the_first_difference(mode: str) -> None:
    text = "again: repe cmpsb\nafter: nop\none: .byte 1, 2, 3, 4\nother: .byte 1, 9, 3, 4"
    with Bench(text, mode) as b:
        b.set(rcx=4, rsi=b["one"], rdi=b["other"])
        stops = [(b.run(E | S), b.reg("rcx")) for _ in range(2)]
        assert stops == [(stop(b["again"]), 3), (stop(b["after"]), 2)]


# -- ports -----------------------------------------------------------------------------------------


@row(165)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_out_gives_the_io_exit_at_the_out_and_then_the_stop(mode: str) -> None:
    with Bench("here: out 0x80, al\nnext: nop", mode) as b:
        b.set(rax=0x41)
        assert (b.run(E | S), b.reg("rip")) == (out(b"A"), b["here"])
        assert (b.run(E | S), b.reg("rip")) == (stop(b["next"]), b["next"])


@row(165)
def test_the_stop_after_a_stepped_out_needs_no_new_set_guest_debug() -> None:
    with Bench("out 0x80, al\nnext: nop\nhlt") as b:
        assert b.run(E | S) == out(b"\0")
        assert b.run() == stop(b["next"])


@row(166)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_in_stops_with_the_hosts_byte_in_al(mode: str) -> None:
    with Bench("here: in al, 0x81\nnext: nop", mode) as b:
        b.set(rax=0x11223344)
        assert b.run(E | S) == IoExit("in", 0x81, 1, b"\0")
        assert (b.reg("rip"), b.reg("rax")) == (b["here"], 0x11223344)
        b.vcpu.complete_io(b"\x99")
        assert (b.run(E | S), b.reg("rax")) == (stop(b["next"]), 0x11223399)


@row(166)
def test_a_stepped_32_bit_in_zero_extends_into_rax() -> None:
    with Bench("in eax, 0x81\nnext: nop") as b:
        b.set(rax=(1 << 64) - 1)
        assert b.run(E | S) == IoExit("in", 0x81, 4, bytes(4))
        b.vcpu.complete_io(b"\1\2\3\4")
        assert (b.run(E | S), b.reg("rax")) == (stop(b["next"]), 0x04030201)


@row(167)
@pytest.mark.parametrize("mode", MODES)
def test_out_and_in_in_a_row_alternate_transfers_and_stops(mode: str) -> None:
    with Bench("out 0x80, al\nsecond: in al, 0x81\nnext: nop", mode) as b:
        assert step(b, 4) == [
            out(b"\0"),
            stop(b["second"]),
            IoExit("in", 0x81, 1, b"\0"),
            stop(b["next"]),
        ]


MOVED = "here: {insn}\nnop\nhlt\nelsewhere: mov ebx, 1\nafter: nop\nhlt"


@row(168)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("insn", ["out 0x80, al", "in al, 0x81"])
def test_a_moved_rip_drops_the_rest_of_a_stepped_transfer_with_its_stop(
    mode: str, insn: str
) -> None:
    with Bench(MOVED.format(insn=insn), mode) as b:
        assert isinstance(b.run(E | S), IoExit)
        b.set(rip=b["elsewhere"])  # off the place of KVM_SET_GUEST_DEBUG: TF is lost with it
        assert (b.run(), b.reg("rip")) == (HltExit(), b["after"] + 2)


@row(168)
@pytest.mark.parametrize("insn", ["out 0x80, al", "in al, 0x81"])
def test_after_a_moved_rip_the_next_step_is_one_whole_instruction_there(insn: str) -> None:
    with Bench(MOVED.format(insn=insn)) as b:
        b.run(E | S)
        b.set(rip=b["elsewhere"])
        assert (b.run(E | S), b.reg("rbx")) == (stop(b["after"]), 1)


@row(168)
def test_a_moved_rip_keeps_the_hosts_answer_out_of_al() -> None:
    with Bench(MOVED.format(insn="in al, 0x81")) as b:
        b.run(E | S)
        b.vcpu.complete_io(b"\x99")
        b.set(rip=b["elsewhere"], rax=0x11)
        assert (b.run(), b.reg("rax")) == (HltExit(), 0x11)


@row(169)
@pytest.mark.parametrize("mode", MODES)
def test_port_7e_is_a_port_like_any_other(mode: str) -> None:
    """KVM's quirk would overwrite the IO exit with the stop; the reference keeps both."""
    with Bench("here: out 0x7e, al\nnext: nop", mode) as b:
        b.set(rax=0x41)
        assert (b.run(E | S), b.reg("rip")) == (out(b"A", 0x7E), b["here"])
        assert b.run(E | S) == stop(b["next"])


@row(170)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_rep_outsb_gives_its_items_and_then_one_stop(mode: str) -> None:
    with Bench('here: rep outsb\nnext: nop\ntext: .ascii "abc"', mode) as b:
        b.set(rcx=3, rdx=0x80, rsi=b["text"])
        seen = [(b.run(E | S), b.reg("rcx")) for _ in range(4)]
        items = [(out(b"a"), 2), (out(b"b"), 1), (out(b"c"), 0)]
        assert seen == [*items, (stop(b["next"]), 0)]


@row(170)
def test_rip_stays_at_a_rep_outsb_that_has_items_left() -> None:
    with Bench('here: rep outsb\nnext: nop\ntext: .ascii "abc"') as b:
        b.set(rcx=3, rdx=0x80, rsi=b["text"])
        for _ in range(2):
            b.run(E | S)
            assert b.reg("rip") == b["here"]


@row(171)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("insn", "transfer"),
    [
        ("out 0x80, al", out(b"\0")),
        ("in al, 0x81", IoExit("in", 0x81, 1, b"\0")),
        ("outsb", out(b"x", 0)),
    ],
)
def test_an_execution_breakpoint_on_a_port_instruction_comes_first(
    mode: str, insn: str, transfer: IoExit
) -> None:
    with Bench(f'here: {insn}\nhlt\ntext: .ascii "x"', mode) as b:
        b.set(rsi=b["text"])
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        assert b.vcpu.run() == DebugExit(1, b["here"], B(0), 0x402)
        assert b.run(E | S) == transfer


@row(172)
def test_a_run_of_no_instructions_finishes_a_stepped_out_and_stops() -> None:
    with Bench("out 0x80, al\nnext: nop") as b:
        assert b.run(E | S) == out(b"\0")
        assert b.vcpu.run(max_instructions=0) == stop(b["next"])


@row(172)
def test_a_run_of_no_instructions_finishes_an_out_and_returns() -> None:
    """The protocol's nearest to ``immediate_exit``, which would be EINTR here."""
    with Bench("out 0x80, al\nnext: nop") as b:
        assert b.run() == out(b"\0")
        assert b.vcpu.run(max_instructions=0) == IntrExit("budget")
        assert (b.reg("rip"), b.vcpu.clock) == (b["next"], 1)


# -- MMIO ------------------------------------------------------------------------------------------


def device(text: str, mode: str = "long", address: int = DEVICE) -> Bench:
    """A guest whose data pointer, ``{at}`` in its text, is the address of a device."""
    bench = Bench(text.format(at=f"[{BASE[mode]}]"), mode)
    sregs = bench.vcpu.get_sregs()
    sregs = sregs._replace(cr4=sregs.cr4 | CR4.OSFXSR)  # SSE in real mode too
    if mode == "real":
        sregs = sregs._replace(ds=sregs.ds._replace(base=address))
    else:
        bench.set(rbx=address)
    bench.vcpu.set_sregs(sregs)
    return bench


def write(address: int, data: bytes) -> MmioExit:
    return MmioExit(address, data, True)


def read(address: int, size: int) -> MmioExit:
    return MmioExit(address, bytes(size), False)


@row(173)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_mmio_read_is_reported_at_itself_and_then_stops(mode: str) -> None:
    with device("here: mov eax, {at}\nnext: nop", mode) as b:
        assert (b.run(E | S), b.reg("rip")) == (read(DEVICE, 4), b["here"])
        b.vcpu.complete_io(b"\1\2\3\4")
        assert (b.run(E | S), b.reg("rax")) == (stop(b["next"]), 0x04030201)


@row(174)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_mmio_write_is_reported_behind_itself_and_then_stops(mode: str) -> None:
    with device("mov {at}, eax\nnext: nop", mode) as b:
        b.set(rax=0x04030201)
        assert (b.run(E | S), b.reg("rip")) == (write(DEVICE, b"\1\2\3\4"), b["next"])
        assert (b.run(E | S), b.reg("rip")) == (stop(b["next"]), b["next"])


@row(174)
def test_a_run_of_no_instructions_finishes_a_stepped_mmio_write_and_stops() -> None:
    with device("mov {at}, eax\nnext: nop") as b:
        b.run(E | S)
        assert b.vcpu.run(max_instructions=0) == stop(b["next"])


@row(175)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_inc_of_mmio_is_a_read_a_write_and_one_stop(mode: str) -> None:
    with device("here: inc dword ptr {at}\nnext: nop", mode) as b:
        assert (b.run(E | S), b.reg("rip")) == (read(DEVICE, 4), b["here"])
        b.vcpu.complete_io((41).to_bytes(4, "little"))
        assert b.run(E | S) == write(DEVICE, (42).to_bytes(4, "little"))
        assert b.reg("rip") == b["next"]
        assert b.run(E | S) == stop(b["next"])


@row(176)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_16_byte_load_is_two_mmio_reads_and_one_stop(mode: str) -> None:
    text = "here: movups xmm0, {at}\nnext: movups es:[buf], xmm0\nhlt\nbuf: .fill 16, 1, 0"
    with device(text, mode) as b:
        assert (b.run(E | S), b.reg("rip")) == (read(DEVICE, 8), b["here"])
        b.vcpu.complete_io(b"abcdefgh")
        assert (b.run(E | S), b.reg("rip")) == (read(DEVICE + 8, 8), b["here"])
        b.vcpu.complete_io(b"ijklmnop")
        assert b.run(E | S) == stop(b["next"])
        b.run(E | S)
        assert b.vcpu.read_memory(b["buf"], 16) == b"abcdefghijklmnop"


@row(176)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_16_byte_store_is_two_mmio_writes_and_one_stop(mode: str) -> None:
    text = "movups xmm0, es:[buf]\nhere: movups {at}, xmm0\nnext: hlt\nbuf: .ascii "
    with device(text + '"abcdefghijklmnop"', mode) as b:
        b.run(E | S)
        assert (b.run(E | S), b.reg("rip")) == (write(DEVICE, b"abcdefgh"), b["next"])
        assert (b.run(E | S), b.reg("rip")) == (write(DEVICE + 8, b"ijklmnop"), b["next"])
        assert b.run(E | S) == stop(b["next"])


@row(176)
def test_an_mmio_store_across_a_page_boundary_is_one_write_for_each_page() -> None:
    with device("mov {at}, eax\nnext: nop", address=DEVICE + 0xFFE) as b:
        b.set(rax=0x04030201)
        assert step(b, 3) == [
            write(DEVICE + 0xFFE, b"\1\2"),
            write(DEVICE + 0x1000, b"\3\4"),
            stop(b["next"]),
        ]


@row(176)
def test_an_mmio_load_across_a_page_boundary_is_one_read_for_each_page() -> None:
    with device("mov eax, {at}\nnext: nop", address=DEVICE + 0xFFE) as b:
        assert b.run(E | S) == read(DEVICE + 0xFFE, 2)
        b.vcpu.complete_io(b"\1\2")
        assert b.run(E | S) == read(DEVICE + 0x1000, 2)
        b.vcpu.complete_io(b"\3\4")
        assert (b.run(E | S), b.reg("rax")) == (stop(b["next"]), 0x04030201)


@row(176)
def test_a_store_half_in_ram_reports_only_its_mmio_half() -> None:
    with device("mov {at}, eax\nnext: nop", address=RAM - 2) as b:
        b.set(rax=0x04030201)
        assert step(b, 2) == [write(RAM, b"\3\4"), stop(b["next"])]
        assert b.vcpu.read_memory(RAM - 2, 2) == b"\1\2"


@row(176)
def test_a_load_half_from_ram_asks_only_for_its_mmio_half() -> None:
    with device("mov eax, {at}\nnext: nop", address=RAM - 2) as b:
        b.vcpu.write_memory(RAM - 2, b"\1\2")
        assert b.run(E | S) == read(RAM, 2)
        b.vcpu.complete_io(b"\3\4")
        assert (b.run(E | S), b.reg("rax")) == (stop(b["next"]), 0x04030201)


@row(176)
def test_an_inc_half_in_ram_changes_nothing_before_its_mmio_half_is_read() -> None:
    with device("inc dword ptr {at}\nnext: nop", address=RAM - 2) as b:
        b.vcpu.write_memory(RAM - 2, b"\xff\xff")
        assert (b.run(E | S), b.vcpu.read_memory(RAM - 2, 2)) == (read(RAM, 2), b"\xff\xff")
        b.vcpu.complete_io(b"\5\6")
        assert step(b, 2) == [write(RAM, b"\6\6"), stop(b["next"])]
        assert b.vcpu.read_memory(RAM - 2, 2) == b"\0\0"


@row(173)
@pytest.mark.parametrize("below", [4, 6, 8, 12])
def test_a_copy_from_mmio_to_the_end_of_ram_changes_nothing_before_the_answer(below: int) -> None:
    with Bench("movsd\nnext: nop") as b:
        b.set(rsi=DEVICE, rdi=RAM - below)
        b.vcpu.write_memory(RAM - below, b"abcd")
        asked = b.run(E | S)
        assert (asked, b.vcpu.read_memory(RAM - below, 4)) == (read(DEVICE, 4), b"abcd")
        b.vcpu.complete_io(b"wxyz")
        assert b.run(E | S) == stop(b["next"])
        assert b.vcpu.read_memory(RAM - below, 4) == b"wxyz"


@row(177)
@pytest.mark.parametrize("mode", MODES)
def test_without_singlestep_use_hw_bp_adds_no_stop_to_mmio(mode: str) -> None:
    with device("mov {at}, eax\nmov eax, {at}\ninc dword ptr {at}\nhlt", mode) as b:
        seen = []
        for _ in range(5):
            seen.append(b.run(E | H))
            if seen[-1] == read(DEVICE, 4):
                b.vcpu.complete_io(b"\1\0\0\0")
        asked, stored = read(DEVICE, 4), write(DEVICE, bytes(4))
        assert seen == [stored, asked, asked, write(DEVICE, b"\2\0\0\0"), HltExit()]
