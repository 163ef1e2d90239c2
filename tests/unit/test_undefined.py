"""Which flags are undefined after an instruction: by the manual, and as Unicorn keeps the rest."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmdbg import assemble
from kvmdbg.x86.undefined import (
    AF,
    CF,
    NOTHING,
    OF,
    PF,
    SF,
    STATUS,
    ZF,
    Effect,
    effect,
    tainted,
)
from tests.guests.bench import Bench

NAMES = {"c": CF, "p": PF, "a": AF, "z": ZF, "s": SF, "o": OF}
MODES = {16: "real", 32: "protected", 64: "long"}


def flags(letters: str) -> int:
    return sum(NAMES[letter] for letter in letters)


def of(text: str, bits: int = 64, rcx: int = 0) -> Effect:
    return effect(assemble(text, mode=MODES[bits]).code, bits, rcx)


@pytest.mark.parametrize(
    ("text", "undefined", "defined"),
    [
        ("add eax, ebx", "", "cpazso"),
        ("and rax, rbx", "a", "cpzso"),
        ("or byte ptr [rbx], 1", "a", "cpzso"),
        ("test cl, 4", "a", "cpzso"),
        ("xor ecx, 0x12345678", "a", "cpzso"),
        ("cmp r9, 3", "", "cpazso"),
        ("inc eax", "", "pazso"),
        ("neg ebx", "", "cpazso"),
        ("not ebx", "", ""),
        ("mov eax, ebx", "", ""),
        ("mul ebx", "pazs", "co"),
        ("imul eax, ebx", "pazs", "co"),
        ("imul eax, ebx, 5", "pazs", "co"),
        ("div ebx", "cpazso", ""),
        ("idiv bl", "cpazso", ""),
        ("shl eax, 1", "a", "cpzso"),
        ("shl eax, 3", "ao", "cpzs"),
        ("shr al, 7", "ao", "cpzs"),
        ("shr al, 8", "cao", "pzs"),
        ("sar al, 8", "ao", "cpzs"),
        ("shl qword ptr [rbx + rcx * 4 + 0x1000], 63", "ao", "cpzs"),
        ("shl dword ptr [rip + 0x100], 2", "ao", "cpzs"),
        ("shl dword ptr [rbp + 8], 32", "", ""),
        ("rol eax, 1", "", "co"),
        ("ror eax, 5", "o", "c"),
        ("rcl al, 9", "o", ""),
        ("shld eax, ebx, 1", "a", "cpzso"),
        ("shrd eax, ebx, 4", "ao", "cpzs"),
        ("shld ax, bx, 17", "cpazso", ""),
        ("bt eax, ebx", "paso", "c"),
        ("btr dword ptr [rax], 3", "paso", "c"),
        ("bsf eax, ebx", "cpaso", "z"),
        ("tzcnt eax, ebx", "paso", "cz"),
        ("popcnt eax, ebx", "", "cpazso"),
        ("andn eax, ebx, ecx", "pa", "czso"),
        ("bextr eax, ebx, ecx", "pas", "czo"),
        ("cmpxchg [rax], ebx", "", "cpazso"),
        ("sahf", "", "cpazs"),
        ("popfq", "", "cpazso"),
        ("stc", "", "c"),
        ("scasb", "", "cpazso"),
        ("ucomisd xmm0, xmm1", "", "cpazso"),
        ("lar eax, ebx", "", "z"),
    ],
)
def test_an_instruction_leaves_these_flags_undefined_and_defines_those(
    text: str, undefined: str, defined: str
) -> None:
    found = of(text)
    assert (found.undefined, found.defined) == (flags(undefined), flags(defined))


@pytest.mark.parametrize(
    ("text", "undefined", "defined"),
    [
        ("aaa", "pzso", "ca"),
        ("aas", "pzso", "ca"),
        ("aam", "cao", "pzs"),
        ("aad", "cao", "pzs"),
        ("daa", "o", "cpazs"),
        ("das", "o", "cpazs"),
        ("inc cx", "", "pazso"),
    ],
)
@pytest.mark.parametrize("bits", [16, 32])
def test_decimal_arithmetic_exists_outside_64_bit_code(
    text: str, undefined: str, defined: str, bits: int
) -> None:
    found = of(text, bits)
    assert (found.undefined, found.defined) == (flags(undefined), flags(defined))


def test_the_same_byte_is_a_prefix_in_64_bit_code() -> None:
    assert effect(b"\x48\x90", 64) == NOTHING
    assert effect(b"\x48\x90", 32).defined == STATUS & ~CF


@pytest.mark.parametrize(
    ("rcx", "undefined", "defined"),
    [(0, "", ""), (1, "a", "cpzso"), (3, "ao", "cpzs"), (32, "", ""), (0x101, "a", "cpzso")],
)
def test_a_shift_by_cl_depends_on_cl(rcx: int, undefined: str, defined: str) -> None:
    found = of("shl eax, cl", rcx=rcx)
    assert (found.undefined, found.defined) == (flags(undefined), flags(defined))


def test_a_shift_of_64_bits_counts_to_63() -> None:
    assert of("shl rax, cl", rcx=32).defined
    assert not of("shl eax, cl", rcx=32).defined


def test_a_repeated_comparison_without_elements_touches_no_flag() -> None:
    assert of("repe cmpsb", rcx=0) == NOTHING
    assert of("repe cmpsb", rcx=1).defined == STATUS
    assert of("repe cmpsb", 32, rcx=1 << 32) == NOTHING


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("x: jz x", "z"),
        ("setbe al", "cz"),
        ("cmovl eax, ebx", "so"),
        ("adc eax, ebx", "c"),
        ("sbb eax, 1", "c"),
        ("rcl eax, 1", "c"),
        ("pushfq", "cpazso"),
        ("lahf", "cpazs"),
        ("add eax, ebx", ""),
    ],
)
def test_an_instruction_reads_these_flags(text: str, read: str) -> None:
    assert of(text).read == flags(read)


def test_a_flag_stays_undefined_until_an_instruction_defines_it() -> None:
    taint = 0
    for text, expected in (
        ("shl eax, 3", "ao"),
        ("mov ebx, eax", "ao"),
        ("stc", "ao"),
        ("and eax, ebx", "a"),
        ("add eax, ebx", ""),
    ):
        taint = tainted(taint, of(text))
        assert taint == flags(expected), text


@given(raw=st.binary(max_size=15), bits=st.sampled_from((16, 32, 64)), rcx=st.integers(0, 2**64))
def test_a_flag_is_never_both_defined_and_undefined(raw: bytes, bits: int, rcx: int) -> None:
    found = effect(raw, bits, rcx)
    assert not found.undefined & found.defined
    assert (found.undefined | found.defined | found.read) & ~STATUS == 0


OPERATIONS = (
    *(f"{name} eax, ebx" for name in ("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp")),
    *(f"{name} eax, {n}" for name in ("shl", "shr", "sar", "rol", "ror") for n in (0, 1, 3, 31)),
    *(f"{name} al, cl" for name in ("shl", "sar", "rcl", "rcr", "ror")),
    *("mul ebx", "imul eax, ebx", "inc eax", "neg eax", "not eax", "bt eax, ebx", "stc", "cmc"),
    *("bsf eax, ebx", "lea eax, [rbx]", "xchg eax, ebx", "sahf", "popcnt eax, ebx", "cld"),
)


@settings(max_examples=60, deadline=None)
@given(
    text=st.sampled_from(OPERATIONS),
    rax=st.integers(0, 2**32 - 1),
    rbx=st.integers(1, 2**32 - 1),
    rcx=st.integers(0, 40),
)
def test_a_flag_that_is_neither_defined_nor_undefined_stays_as_it_was(
    text: str, rax: int, rbx: int, rcx: int
) -> None:
    with Bench(f"{text}\nnop") as bench:
        what = effect(bench.program.code, 64, rcx)
        kept = STATUS & ~what.defined & ~what.undefined
        for before in (2, 2 | STATUS):
            bench.set(rip=bench.program.origin, rax=rax, rbx=rbx, rcx=rcx, rflags=before)
            bench.run(3)
            found = bench.reg("rflags") & kept
            assert found == before & kept or text == "cmc"


@settings(max_examples=60, deadline=None)
@given(
    text=st.sampled_from(OPERATIONS),
    rax=st.integers(0, 2**32 - 1),
    rbx=st.integers(1, 2**32 - 1),
    rcx=st.integers(0, 40),
)
def test_a_defined_flag_does_not_depend_on_what_it_was(
    text: str, rax: int, rbx: int, rcx: int
) -> None:
    with Bench(f"{text}\nnop") as bench:
        what = effect(bench.program.code, 64, rcx)
        seen = set()
        for before in (2 | what.read, 2 | STATUS):
            bench.set(rip=bench.program.origin, rax=rax, rbx=rbx, rcx=rcx, rflags=before)
            bench.run(3)
            seen.add(bench.reg("rflags") & what.defined)
        assert len(seen) == 1
