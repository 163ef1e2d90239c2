"""Why a selector cannot be loaded: the descriptor's address, its bytes and the bit at fault."""

from __future__ import annotations

from typing import Any

import pytest

from kvmdbg.machine.layout import Selector
from kvmdbg.x86.descriptors import pack_descriptor
from kvmdbg.x86.registers import RFLAGS, Segment
from kvmdbg.x86.vectors import Vector
from tests.guests.scenes import Bench

GP, NP, SS, TS = Vector.GP, Vector.NP, Vector.SS, Vector.TS
FREE = 0x38
"""A selector of the default GDT that long mode uses for the upper half of its TSS."""

CODE = Segment(0, 0xFFFFF, 0, type=11, present=1, db=1, s=1)
DATA = Segment(0, 0xFFFFF, 0, type=3, present=1, db=1, s=1)


def with_descriptor(mode: str, code: str, descriptor: Segment, **registers: Any) -> Bench:
    """The default guest whose GDT[7] is ``descriptor``."""
    bench = Bench(mode, code)
    bench.put(bench.sregs.gdt.base + FREE, pack_descriptor(descriptor))
    return bench.set(**registers)


MOV_DS, MOV_SS, LTR, LLDT = "8ed8", "8ed0", "0f00d8", "0f00d0"

MOVES: list[tuple[str, Segment, int, str]] = [
    (MOV_DS, CODE._replace(type=9), GP, "bit 41 is 0: an execute-only code segment"),
    (MOV_DS, DATA._replace(s=0), GP, "S (bit 44) is 0: a system descriptor cannot be in DS"),
    (MOV_DS, DATA._replace(present=0), NP, "P (bit 47) is 0: not present"),
    (MOV_SS, CODE, GP, "SS takes writable data only: bit 43 must be 0 and bit 41 must be 1"),
    (MOV_SS, DATA._replace(type=1), GP, "SS takes writable data only"),
    (MOV_SS, DATA._replace(dpl=3), GP, "RPL 0 and DPL (bits 46:45) 3 must both be CPL 0"),
    (MOV_SS, DATA._replace(present=0), SS, "P (bit 47) is 0: not present"),
    (LTR, DATA, GP, "type 0x3, S=1 cannot be in TR"),
    (LTR, DATA._replace(s=0, type=11), GP, "bit 41 is 1 (type 0xb): this TSS is busy already"),
    (LTR, DATA._replace(s=0, type=9, present=0), NP, "P (bit 47) is 0: not present"),
    (LLDT, DATA._replace(s=0, type=9), GP, "type 0x9, S=0 cannot be in LDTR"),
]


@pytest.mark.parametrize(("code", "descriptor", "vector", "words"), MOVES)
def test_a_descriptor_that_a_register_refuses_is_shown_with_its_place_and_bit(
    code: str, descriptor: Segment, vector: int, words: str
) -> None:
    bench = with_descriptor("protected", code, descriptor, rax=FREE)
    cause = bench.fault(vector, FREE).cause
    place = f"GDT[7] at 0x538, bytes {pack_descriptor(descriptor).hex(' ')}: "
    assert cause.startswith(place + words)


def test_at_cpl_3_a_data_segment_of_dpl_0_is_refused() -> None:
    bench = Bench("protected", MOV_DS).at_cpl3().set(rax=Selector.DATA | 3)
    cause = bench.fault(GP, Selector.DATA).cause
    assert "DPL (bits 46:45) 0 is less than CPL 3" in cause


def test_a_task_register_takes_no_descriptor_of_the_ldt() -> None:
    cause = Bench("protected", LTR).set(rax=FREE | 4).fault(GP, FREE | 4).cause
    assert "TI (bit 2 of the selector) is 1" in cause


@pytest.mark.parametrize(("cpl3", "blamed"), [(False, False), (True, True)])
def test_a_null_ss_is_refused_in_64_bit_mode_at_cpl_3_only(cpl3: bool, blamed: bool) -> None:
    bench = Bench("long", MOV_SS).set(rax=3 if cpl3 else 0)
    cause = (bench.at_cpl3() if cpl3 else bench).fault(GP, 0).cause
    assert ("a null selector cannot be in SS" in cause) is blamed


def test_a_null_selector_in_ds_is_not_blamed() -> None:
    assert "not proved" in Bench("protected", MOV_DS).set(rax=0).fault(GP, 0).cause


# Far jumps, calls and pointers


def far_jump(selector: int) -> str:
    return (b"\xea" + (0x8000).to_bytes(4, "little") + selector.to_bytes(2, "little")).hex()


JUMPS: list[tuple[Segment, str]] = [
    (DATA, "bit 43 is 0: not a code segment"),
    (CODE._replace(dpl=3), "DPL (bits 46:45) 3 and RPL 0 do not fit CPL 0"),
    (CODE._replace(present=0), "P (bit 47) is 0: not present"),
    (DATA._replace(s=0, type=2), "S (bit 44) is 0 and type 0x2 is nothing to jump to"),
    (DATA._replace(s=0, type=12, present=0), "P (bit 47) is 0: not present"),
]


@pytest.mark.parametrize(("descriptor", "words"), JUMPS)
def test_a_far_jump_to_a_wrong_descriptor_says_what_is_wrong(
    descriptor: Segment, words: str
) -> None:
    cause = with_descriptor("protected", far_jump(FREE), descriptor).fault(GP, FREE).cause
    assert words in cause


def test_a_call_gate_that_is_in_order_is_not_blamed() -> None:
    gate = DATA._replace(s=0, type=12)
    assert "not proved" in with_descriptor("protected", far_jump(FREE), gate).fault(GP, FREE).cause


def test_the_selector_of_a_far_jump_is_shown_where_it_stands() -> None:
    step = with_descriptor("protected", far_jump(FREE), DATA).fault(GP, FREE)
    (operand,) = [item for item in step.evidence if item.what == "operand"]
    assert (operand.address, operand.raw) == (0x8005, b"\x38\x00")


def test_a_far_pointer_in_memory_is_read_behind_its_offset() -> None:
    bench = with_descriptor("protected", "ff2d00900000", DATA)
    bench.put(0x9004, FREE.to_bytes(2, "little"))
    step = bench.fault(GP, FREE)
    assert "bit 43 is 0: not a code segment" in step.cause
    assert any(item.address == 0x9004 and item.raw == b"\x38\x00" for item in step.evidence)


def test_lds_loads_its_selector_from_memory() -> None:
    bench = with_descriptor("protected", "c50500900000", DATA._replace(present=0))
    bench.put(0x9004, FREE.to_bytes(2, "little"))
    assert "P (bit 47) is 0: not present" in bench.fault(NP, FREE).cause


def test_code_with_l_and_d_both_set_is_refused_in_long_mode() -> None:
    bench = with_descriptor("long", "48cf", CODE._replace(l=1))
    bench.put(0x7008, FREE.to_bytes(8, "little"))
    assert "L (bit 53) and D (bit 54) are both 1" in bench.fault(GP, FREE).cause


# Returns


def returning(mode: str, code: str, *items: int) -> Bench:
    bench = Bench(mode, code)
    width = 8 if mode == "long" else 4
    bench.put(0x7000, b"".join((item & (1 << 64) - 1).to_bytes(width, "little") for item in items))
    return bench


def test_a_return_inward_is_refused() -> None:
    bench = returning("protected", "cf", 0x8000, Selector.CODE).at_cpl3()
    words = bench.fault(GP, Selector.CODE).cause
    assert "RPL 0 is less than CPL 3: a return cannot go inward" in words


def test_a_return_outward_needs_a_stack_segment_of_the_same_level() -> None:
    user, data = Selector.USER_CODE32 | 3, int(Selector.DATA)
    bench = returning("protected", "cf", 0x8000, user, 2, 0x6000, data)
    words = bench.fault(GP, data).cause
    assert "RPL 0 and DPL (bits 46:45) 0 must both be the RPL of the new CS, 3" in words


def test_retf_n_finds_the_outer_stack_behind_what_it_drops() -> None:
    user = Selector.USER_CODE32 | 3
    bench = returning("protected", "ca0800", 0x8000, user, 0xAA, 0xBB, 0x6000, 0)
    assert "a null selector cannot be in SS" in bench.fault(GP, 0).cause


def test_a_return_to_an_address_that_is_not_canonical_names_its_place() -> None:
    bench = returning("long", "48cf", 1 << 63, Selector.CODE, 2, 0x7000, Selector.DATA)
    assert bench.fault(GP, 0).cause.startswith(
        "stack at 0x7000, bytes 00 00 00 00 00 00 00 80: the return address is not canonical"
    )


@pytest.mark.parametrize(
    ("mode", "vector", "words"),
    [
        ("long", GP, "NT (bit 14) is 1: IRET cannot return to a task in long mode"),
        ("protected", TS, "GDT[0] at 0x500, bytes 00 00 00 00 00 00 00 00: not the descriptor"),
    ],
)
def test_iret_with_nt_set_names_the_flag_or_the_task_it_links_to(
    mode: str, vector: int, words: str
) -> None:
    bench = Bench(mode, "cf").set(rflags=2 | RFLAGS.NT)
    assert words in bench.fault(vector, 0).cause
