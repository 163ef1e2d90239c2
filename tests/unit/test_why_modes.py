"""``explain`` in virtual-8086 mode, with a 16-bit TSS and under PAE paging."""

from __future__ import annotations

import pytest

from kvmdbg.machine.layout import GDT, IDT, ORIGIN, TSS
from kvmdbg.machine.layout import gate as gate_bytes
from kvmdbg.x86.delivery import Event, EventKind
from kvmdbg.x86.registers import CR0, CR4, RFLAGS, Segment
from kvmdbg.x86.vectors import Vector
from tests.guests.scenes import Bench

GP, UD, TS = Vector.GP, Vector.UD, Vector.TS
HANDLER = 0x9000


def v86(code: str, iopl: int = 0) -> Bench:
    """A V86 task at ORIGIN, with handlers for every vector in the protected-mode kernel."""
    bench = Bench("protected", code)
    for vector in range(256):
        bench.put(*gate_bytes("protected", vector, HANDLER))

    def segment(selector: int) -> Segment:
        kind = Segment(type=3, present=1, s=1)  # DPL counts for nothing here
        return kind._replace(base=selector << 4, limit=0xFFFF, selector=selector)

    rflags = 2 | int(RFLAGS.VM) | iopl << 12
    bench.set(cs=segment(ORIGIN >> 4), ss=segment(0x600), ds=segment(0x700), es=segment(0x700))
    return bench.set(rip=0, rsp=0x100, rflags=rflags)


@pytest.mark.parametrize("code", ["fa", "fb", "9c", "9d", "cd21", "cf"])
def test_in_v86_mode_what_needs_iopl_3_is_blamed_on_iopl(code: str) -> None:
    words = v86(code).fault(GP, 0).cause
    assert "IOPL (bits 13:12) is 0, and in V86 mode it must be 3" in words


def test_in_v86_mode_with_iopl_3_nothing_is_blamed_on_iopl() -> None:
    assert "IOPL" not in v86("fa", iopl=3).fault(GP, 0).cause


def test_in_v86_mode_the_code_runs_at_cpl_3() -> None:
    assert "CPL = 3: HLT needs CPL 0" in v86("f4").fault(GP, 0).cause


def test_in_v86_mode_a_port_is_up_to_the_bitmap_even_with_iopl_3() -> None:
    assert "I/O bitmap" in v86("e460", iopl=3).fault(GP, 0).cause


def test_in_v86_mode_a_segment_limit_is_64_kib() -> None:
    words = v86("8b07").set(rbx=0xFFFF).fault(GP, 0).cause
    assert "offset 0xffff to 0x10000 is beyond the limit 0xffff" in words


def test_the_frame_of_a_v86_task_ends_with_its_data_segments() -> None:
    step = v86("f4").fault(GP, 0)
    (frame,) = [item for item in step.evidence if item.what == "frame"]
    assert frame.meaning.endswith("SP 0x100, SS 0x600, ES 0x700, DS 0x700, FS 0x10, GS 0x10")


def test_a_v86_task_needs_a_handler_at_level_0() -> None:
    bench = v86("f4")
    bench.put(*gate_bytes("protected", GP, HANDLER, selector=0x18))
    step = bench.fault(GP, 0)
    wrong = {item.what: item.wrong for item in step.wrong}
    assert wrong["GDT[3]"] == "a V86 task's handler needs a non-conforming DPL 0 segment"


# A 16-bit TSS


def with_16bit_tss(stack: bytes, limit: int = 0x2B) -> Bench:
    """CPL 3 with SP0 and SS0 in a 16-bit TSS."""
    bench = Bench("protected", "0f0b").at_cpl3()
    bench.put(*gate_bytes("protected", UD, HANDLER))
    bench.put(TSS, bytes(2) + stack)
    return bench.set(tr=bench.sregs.tr._replace(type=3, limit=limit))


def test_the_stack_of_a_16_bit_tss_is_shown_with_its_four_bytes() -> None:
    step = with_16bit_tss(bytes.fromhex("00780000")).fault(UD)
    (field,) = [item for item in step.evidence if item.what == "TSS.SP0, SS0"]
    assert (field.address, field.raw) == (TSS + 2, bytes.fromhex("00780000"))
    assert "is null" in field.wrong


def test_a_16_bit_tss_that_is_too_short_is_blamed_on_its_limit() -> None:
    step = with_16bit_tss(bytes.fromhex("00781000"), limit=3).fault(UD)
    assert "the TSS's limit 0x3 leaves out offset 0x2" in [item.wrong for item in step.wrong][1]


def test_a_16_bit_tss_in_order_leads_to_the_handler() -> None:
    step = with_16bit_tss(bytes.fromhex("00781000")).fault(UD)
    assert step.outcome == "delivered: the guest goes on in 0x9000"


def test_a_16_bit_tss_has_no_io_bitmap() -> None:
    bench = with_16bit_tss(bytes.fromhex("00781000"))
    bench.put(ORIGIN, bytes.fromhex("e460"))
    assert "no I/O bitmap: no port is allowed" in bench.fault(GP, 0).cause


# PAE paging


def under_pae(unmapped: int) -> Bench:
    """The first 2 MiB in 4 KiB pages, one of them not present; tables at 0x20000."""
    bench = Bench("protected", "0f0b")
    bench.put(0x20000, (0x21001).to_bytes(8, "little"))
    bench.put(0x21000, (0x22003).to_bytes(8, "little"))
    for page in range(512):
        entry = page << 12 | (2 if page == unmapped >> 12 else 3)
        bench.put(0x22000 + page * 8, entry.to_bytes(8, "little"))
    return bench.set(cr0=bench.sregs.cr0 | int(CR0.PG), cr3=0x20000, cr4=int(CR4.PAE))


def test_under_pae_a_gate_in_a_page_that_is_not_there_is_walked_in_three_levels() -> None:
    step = under_pae(IDT).fault(UD)
    walk = [(item.what, item.address, item.wrong) for item in step.evidence if item.physical]
    assert walk == [
        ("PDPTE", 0x20000, ""),
        ("PDE", 0x21000, ""),
        ("PTE", 0x22008, "P (bit 0) is 0: not present"),
    ]


def test_under_pae_a_gdt_that_is_not_there_is_named_with_the_gate_that_leads_to_it() -> None:
    bench = under_pae(GDT)
    bench.put(*gate_bytes("protected", UD, HANDLER))
    why = bench.explained(Event(UD, EventKind.FAULT))
    assert why.steps[1].cause.startswith("#UD could not be delivered: GDT[1] at 0x508")
    assert "PTE at physical 0x22000" in why.steps[1].cause


# Events that no instruction raises


@pytest.mark.parametrize(
    ("kind", "vector", "words"),
    [
        (EventKind.NMI, 2, "it came from outside: a non-maskable interrupt"),
        (EventKind.EXTERNAL, 0x20, "it came from outside: an external interrupt"),
    ],
)
def test_an_event_from_outside_is_called_so_and_comes_before_the_instruction(
    kind: EventKind, vector: int, words: str
) -> None:
    why = Bench(code="0f0b").explained(Event(vector, kind))
    assert why.steps[0].cause == words
    assert " before 0x8000: ud2" in why.title


def test_the_cause_of_a_nested_fault_is_the_refusal_before_it() -> None:
    why = Bench(code="0f0b").explained(Event(UD, EventKind.FAULT))
    assert why.steps[1].cause == (
        "#UD could not be delivered: IDT[6] at 0x1060, bytes"
        f" {bytes(16).hex(' ')}: the gate is empty (no handler installed)"
    )
