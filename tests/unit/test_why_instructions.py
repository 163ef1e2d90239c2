"""Why an instruction faults: each sentence names the bit, byte or number that was wrong."""

from __future__ import annotations

from typing import Any

import pytest

from kvmdbg.x86.registers import CR0, CR4, EFER, RFLAGS, Segment
from kvmdbg.x86.vectors import Vector
from tests.guests.scenes import Bench

GP, UD, SS, NM, DE = Vector.GP, Vector.UD, Vector.SS, Vector.NM, Vector.DE
NOWHERE = 1 << 63
CR0_LONG = int(CR0.PE | CR0.PG | CR0.NE)


def cause(bench: Bench, vector: int) -> str:
    return bench.fault(vector, 0).cause


# Control registers and MSRs

CONTROL: list[tuple[str, dict[str, Any], str]] = [
    ("0f22c0", {"rax": 1 << 63 | 1}, "bit 63 of CR0 must be 0"),
    ("0f22c0", {"rax": int(CR0.PG)}, "PG (bit 31) is 1 and PE (bit 0) is 0"),
    ("0f22c0", {"rax": CR0_LONG | int(CR0.NW)}, "NW (bit 29) is 1 and CD (bit 30) is 0"),
    ("0f22c0", {"rax": 1}, "PG (bit 31) is 0: paging cannot be left in 64-bit mode"),
    ("0f22d8", {"rax": 1 << 45}, "bit 45 must be 0: addresses have 40 bits"),
    ("0f22e0", {"rax": 1 << 15 | 0x20}, "bit 15 of CR4 is reserved"),
    ("0f22e0", {"rax": 0}, "PAE (bit 5) is 0: long mode needs it"),
    ("0f22e0", {"rax": 0x20020, "cr3": 0x2018}, "PCIDE (bit 17) is set while CR3 bits 11:0"),
    ("440f22c0", {"rax": 0x10}, "bit 4 of CR8 must be 0"),
    ("0f23f8", {"rax": 1 << 40}, "bit 40 must be 0"),
    ("0f32", {"rcx": 0x12345678}, "there is no MSR 0x12345678"),
    ("0f30", {"rcx": 0x12345678}, "there is no MSR 0x12345678"),
    ("0f30", {"rcx": 0xC0000080, "rax": 0x20}, "bit 5 of EFER is reserved"),
    ("0f30", {"rcx": 0xC0000080, "rax": 0}, "LME (bit 8) changes while CR0.PG (bit 31) is 1"),
    ("0f30", {"rcx": 0xC0000100, "rdx": 1 << 31}, "IA32_FS_BASE must be canonical"),
    ("0f30", {"rcx": 0x277, "rax": 0x0200}, "PA1 (bits 15:8) is 0x2, no memory type"),
    ("0f01d1", {"rcx": 1, "rax": 1}, "ECX is 0x1: there is no XCR but 0"),
    ("0f01d1", {"rcx": 0, "rax": 2}, "bit 0 (x87) of XCR0 must be 1"),
    ("0f01d1", {"rcx": 0, "rax": 5}, "bit 2 (AVX) of XCR0 is 1 without bit 1 (SSE)"),
]


@pytest.mark.parametrize(("code", "registers", "words"), CONTROL, ids=[c[2] for c in CONTROL])
def test_a_value_that_a_control_register_refuses_is_blamed_on_its_bit(
    code: str, registers: dict[str, Any], words: str
) -> None:
    assert words in cause(Bench(code=code).set(**registers), GP)


def test_paging_without_pae_is_blamed_on_cr4() -> None:
    bench = Bench("protected", "0f22c0").set(rax=CR0_LONG, efer=int(EFER.LME))
    assert "CR4.PAE (bit 5) is 0" in cause(bench, GP)


def test_under_pae_mov_cr3_is_blamed_on_the_pdpte_with_a_reserved_bit() -> None:
    bench = Bench("protected", "0f22d8").set(rax=0x20000, cr0=CR0_LONG, cr4=int(CR4.PAE), cr3=0)
    bench.put(0, (0x1001).to_bytes(8, "little"))
    bench.put(0x1000, (0x83).to_bytes(8, "little"))
    bench.put(0x20008, (0x21003).to_bytes(8, "little"))
    assert "PDPTE 1 at physical 0x20008 is 0x21003: bit 1 must be 0" in cause(bench, GP)


def test_under_pae_a_cr3_outside_ram_is_not_blamed_on_any_entry() -> None:
    bench = Bench("protected", "0f22d8").set(rax=0xFFFFFFE0, cr0=CR0_LONG, cr4=int(CR4.PAE))
    bench.put(0, (0x1001).to_bytes(8, "little"))
    bench.put(0x1000, (0x83).to_bytes(8, "little"))
    assert "PDPTE" not in cause(bench, GP)


def test_of_an_msr_in_a_known_range_nothing_is_claimed() -> None:
    assert "not proved" in cause(Bench(code="0f32").set(rcx=0x1FF), GP)


# Privilege

PRIVILEGE: list[tuple[str, dict[str, Any], str]] = [
    ("f4", {}, "HLT needs CPL 0"),
    ("0f011425 00800000", {}, "LGDT needs CPL 0"),
    ("0f20c0", {}, "MOV RAX, CR0 needs CPL 0"),
    ("fa", {}, "IOPL (bits 13:12) is 0, less than CPL 3"),
    ("fb", {"rflags": 0x2002}, "IOPL (bits 13:12) is 2, less than CPL 3"),
    ("0f31", {"cr4": int(CR4.PAE | CR4.TSD)}, "TSD (bit 2) is 1: RDTSC needs CPL 0"),
    ("0f33", {}, "PCE (bit 8) is 0: RDPMC needs CPL 0"),
    ("0f0100", {"cr4": int(CR4.PAE | CR4.UMIP)}, "UMIP (bit 11) is 1: SGDT needs CPL 0"),
]


@pytest.mark.parametrize(("code", "registers", "words"), PRIVILEGE, ids=[c[2] for c in PRIVILEGE])
def test_an_instruction_that_is_refused_at_cpl_3_names_the_level_or_the_bit(
    code: str, registers: dict[str, Any], words: str
) -> None:
    assert words in cause(Bench(code=code).at_cpl3().set(**registers), GP)


def test_cli_with_enough_iopl_is_not_blamed_on_it() -> None:
    assert "IOPL" not in cause(Bench(code="fa").at_cpl3().set(rflags=0x3002), GP)


def with_bitmap(code: str, bitmap: bytes) -> Bench:
    """CPL 3 with an I/O bitmap right behind the TSS."""
    bench = Bench(code=code).at_cpl3()
    bench.put(0x600 + 102, (0x68).to_bytes(2, "little"))
    bench.put(0x668, bitmap)
    tr = bench.sregs.tr._replace(limit=0x67 + len(bitmap))
    return bench.set(tr=tr)


def test_a_port_without_an_io_bitmap_is_blamed_on_the_limit_of_the_tss() -> None:
    words = cause(Bench(code="e460").at_cpl3(), GP)
    assert words.startswith("I/O bitmap at 0x674: bit 0 of this byte, for port 0x60, is beyond")


def test_a_port_whose_bit_is_set_names_the_bit_and_its_bytes() -> None:
    words = cause(with_bitmap("e40a", bytes([0, 4, 0, 0xFF])), GP)
    assert words.startswith("I/O bitmap at 0x669, bytes 04 00: bit 2, for port 0xa, is 1")


def test_the_second_byte_of_a_word_port_is_checked_too() -> None:
    words = cause(with_bitmap("66e509", bytes([0, 4, 0, 0xFF])), GP)
    assert "bit 2, for port 0xa, is 1" in words


def test_a_port_whose_bit_is_clear_is_not_blamed() -> None:
    assert "not proved" in cause(with_bitmap("e40a", bytes([0, 0, 0, 0xFF])), GP)


# Addresses

ADDRESSES: list[tuple[str, int, dict[str, Any], str]] = [
    ("8b00", GP, {"rax": NOWHERE}, "address at 0x8000000000000000: not canonical"),
    ("488b00", GP, {"rax": 0x7FFFFFFFFFFC}, "address at 0x7ffffffffffc: not canonical"),
    ("50", SS, {"rsp": NOWHERE}, "address at 0x7ffffffffffffff8: not canonical"),
    ("0f2800", GP, {"rax": 0x8108}, "0x8108 is not a multiple of 16, which MOVAPS needs"),
    ("480fc708", GP, {"rax": 0x8108}, "0x8108 is not a multiple of 16"),
    ("0fae00", GP, {"rax": 0x8108}, "0x8108 is not a multiple of 16, which FXSAVE needs"),
    ("ffe0", GP, {"rax": NOWHERE}, "rax = 0x8000000000000000, the target"),
    ("90", GP, {"rip": NOWHERE}, "RIP = 0x8000000000000000: not canonical"),
    ("66" * 15 + "90", GP, {}, "longer than 15 bytes"),
    ("66" * 10 + "48b8" + "00" * 8, GP, {}, "longer than 15 bytes"),
]


@pytest.mark.parametrize(
    ("code", "vector", "registers", "words"), ADDRESSES, ids=[c[3] for c in ADDRESSES]
)
def test_an_address_that_64_bit_code_cannot_use_is_named(
    code: str, vector: int, registers: dict[str, Any], words: str
) -> None:
    assert words in cause(Bench(code=code).set(**registers), vector)


@pytest.mark.parametrize(
    ("code", "vector", "registers", "words"),
    [
        ("8b07", GP, {"rbx": 0xFFFF}, "DS ="),
        ("50", SS, {"rsp": 1}, "SS ="),
        ("90", GP, {"rip": 0x10000}, "CS ="),
    ],
)
def test_a_limit_in_real_mode_names_segment_offset_and_limit(
    code: str, vector: int, registers: dict[str, Any], words: str
) -> None:
    found = cause(Bench("real", code).set(**registers), vector)
    assert found.startswith(words)
    assert "is beyond the limit 0xffff" in found


def test_a_segment_that_expands_down_is_left_below_its_limit() -> None:
    bench = Bench("protected", "8b00")
    ds = bench.sregs.ds._replace(type=7, limit=0xFFF)
    words = cause(bench.set(ds=ds, rax=0x800), GP)
    assert "offset 0x800 to 0x803 is within the limit 0xfff" in words


def test_a_write_through_a_code_segment_is_blamed_on_it() -> None:
    words = cause(Bench("protected", "2ec60001").set(rax=0x8100), GP)
    assert "it is written, but CS is code, never writable" in words


def test_a_segment_register_that_is_null_holds_no_segment() -> None:
    words = cause(Bench("protected", "8b00").set(ds=Segment(unusable=1)), GP)
    assert "DS holds no segment" in words


def test_an_alignment_check_names_its_three_switches() -> None:
    bench = Bench(code="8b042501810000").at_cpl3()
    bench.set(cr0=bench.sregs.cr0 | CR0.AM, rflags=2 | RFLAGS.AC)
    words = cause(bench, Vector.AC)
    assert "0x8101 is not a multiple of 4, with CR0.AM=1, RFLAGS.AC=1 and CPL 3" in words


# Numbers

NUMBERS: list[tuple[str, str, int, dict[str, Any], str]] = [
    ("long", "f7f1", DE, {"rcx": 0}, "division by zero"),
    ("long", "f7f1", DE, {"rdx": 5, "rax": 1, "rcx": 2}, "EDX:EAX 0x500000001 / 0x2 = 0x280000000"),
    ("long", "f6f1", DE, {"rax": 0x500, "rcx": 2}, "AH:AL 0x500 / 0x2 = 0x280, but AL holds"),
    (
        "long",
        "f7f9",
        DE,
        {"rdx": 0xFFFFFFFF, "rax": 1 << 31, "rcx": 0xFFFFFFFF},
        "EDX:EAX -0x80000000 / -0x1 = 0x80000000, but EAX holds -0x80000000 to 0x7fffffff",
    ),
    ("long", "f737", DE, {"rdi": 0x9000}, "at 0x9000, bytes 00 00 00 00: division by zero"),
    ("protected", "d400", DE, {}, "at 0x8001, bytes 00: AAM divides AL by its last byte"),
    ("protected", "620500810000", Vector.BR, {"rax": 5}, "eax is 0x5, not between 0x0 and 0x0"),
    ("protected", "ce", Vector.OF, {"rflags": 0x802}, "OF (bit 11) is 1 at INTO"),
    ("long", "d9e8", NM, {"cr0": CR0_LONG | 8}, "TS (bit 3) is 1"),
    ("long", "d9e8", NM, {"cr0": CR0_LONG | 4}, "EM (bit 2) is 1"),
    ("long", "9b", NM, {"cr0": CR0_LONG | 10}, "TS (bit 3) and MP (bit 1) are 1"),
]


@pytest.mark.parametrize(
    ("mode", "code", "vector", "registers", "words"), NUMBERS, ids=[c[4] for c in NUMBERS]
)
def test_the_numbers_behind_a_fault_are_told(
    mode: str, code: str, vector: int, registers: dict[str, Any], words: str
) -> None:
    assert words in cause(Bench(mode, code).set(**registers), vector)


def test_a_quotient_that_fits_is_not_blamed() -> None:
    assert "not proved" in cause(Bench(code="f7f1").set(rax=4, rcx=2), DE)


@pytest.mark.parametrize(("vector", "where"), [(16, "x87 status word"), (19, "MXCSR")])
def test_a_floating_point_error_says_what_cannot_be_seen(vector: int, where: str) -> None:
    step = Bench(code="9b").fault(vector)
    assert "not proved" in step.cause
    assert any(where in item.meaning for item in step.evidence)


# Opcodes

OPCODES: list[tuple[str, str, dict[str, Any], str]] = [
    ("long", "0f0b", {}, "bytes 0f 0b: UD2 is there to raise #UD"),
    ("long", "06", {}, "at 0x8000, bytes 06: the opcode 0x06 does not exist in 64-bit mode"),
    ("long", "66ea", {}, "at 0x8001, bytes ea: the opcode 0xea does not exist in 64-bit mode"),
    ("long", "f090", {}, "bytes f0: a LOCK prefix in front of an instruction"),
    ("long", "66f001c0", {}, "at 0x8001, bytes f0: a LOCK prefix, but the destination"),
    ("long", "8ec8", {}, "ModRM at 0x8001, bytes c8: bits 5:3 of this byte are 1: MOV to CS"),
    ("long", "8dc0", {}, "ModRM at 0x8001, bytes c0: bits 7:6 of this byte are 3"),
    ("long", "0f28c1", {"cr4": 0x20}, "OSFXSR (bit 9) is 0"),
    ("long", "0f28c1", {"cr0": CR0_LONG | 4}, "EM (bit 2) is 1: no SSE"),
    ("long", "c5f458c2", {}, "OSXSAVE (bit 18) is 0"),
    ("long", "f3480faec0", {}, "FSGSBASE (bit 16) is 0"),
    ("long", "0f01d0", {}, "OSXSAVE (bit 18) is 0"),
    ("long", "0f01c1", {}, "VMXE (bit 13) is 0"),
    ("long", "0f05", {"efer": int(EFER.LME | EFER.LMA)}, "EFER = 0x500: SCE (bit 0) of EFER is 0"),
    ("real", "0f00d8", {}, "LTR does not exist in real mode"),
    ("long", "0f22c8", {}, "ModRM at 0x8002, bytes c8: there is no CR1"),
    ("long", "0f04", {}, "bytes 0f 04: no instruction that is known has this opcode"),
]


@pytest.mark.parametrize(
    ("mode", "code", "registers", "words"), OPCODES, ids=[f"{c[1]} {c[3]}" for c in OPCODES]
)
def test_an_invalid_opcode_names_the_byte_or_the_bit(
    mode: str, code: str, registers: dict[str, Any], words: str
) -> None:
    assert words in cause(Bench(mode, code).set(**registers), UD)


def test_of_an_instruction_that_nothing_forbids_no_cause_is_claimed() -> None:
    assert "not proved" in cause(Bench(code="f30fc7f8"), UD)


@pytest.mark.parametrize("code", ["f00100", "f08700", "f0ff00", "f00fb108"])
def test_a_lock_prefix_that_is_allowed_is_not_blamed(code: str) -> None:
    assert "LOCK" not in cause(Bench(code=code), UD)


def test_what_is_wrong_comes_with_what_would_mend_it() -> None:
    assert "clear EDX before dividing" in Bench(code="f7f1").set(rdx=5, rcx=2).fault(DE).mends
