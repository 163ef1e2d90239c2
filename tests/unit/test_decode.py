"""Decoding: every byte accounted for, and the questions that stepping asks of an instruction."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.errors import BadInput, UnknownName
from kvmdbg.x86.decode import (
    Instruction,
    branch_target,
    changes_control_flow,
    decode_one,
    disassemble,
    is_call,
    is_call_like,
    is_jump,
    is_rep_string,
    is_ret,
    is_software_interrupt,
    operand_names,
)


def one(code: str, bits: int = 64, syntax: str = "intel") -> Instruction:
    found = decode_one(bytes.fromhex(code), 0x8000, bits, syntax)
    assert found is not None
    return found


def test_an_instruction_carries_address_size_bytes_and_text() -> None:
    assert one("b805000000") == Instruction(0x8000, 5, bytes.fromhex("b805000000"), "mov", "eax, 5")
    assert one("b805000000").text == "mov eax, 5"


def test_an_instruction_without_operands_has_no_trailing_blank() -> None:
    assert one("f4").text == "hlt"


@pytest.mark.parametrize(("bits", "text"), [(16, "mov ax, 0x1234"), (32, "mov eax, 0x90901234")])
def test_the_same_bytes_mean_what_the_mode_says(bits: int, text: str) -> None:
    assert one("b834129090", bits).text == text


def test_att_syntax_is_there_for_those_who_read_it() -> None:
    assert one("b805000000", syntax="att").text == "movl $5, %eax"


def test_addresses_run_on_through_the_code() -> None:
    found = disassemble(bytes.fromhex("9090b80500000090"), 0x10, 32)
    assert [ins.address for ins in found] == [0x10, 0x11, 0x12, 0x17]


def test_count_limits_the_number_of_instructions_including_undecodable_ones() -> None:
    code = bytes.fromhex("90069006")
    assert [ins.text for ins in disassemble(code, 0, 64, 2)] == ["nop", ".byte 0x06"]
    assert len(disassemble(code, 0, 64, 3)) == 3
    assert disassemble(code, 0, 64, 0) == []


def test_a_truncated_instruction_becomes_bytes() -> None:
    found = disassemble(bytes.fromhex("90b805"), 0x100, 32)
    assert [(ins.address, ins.text) for ins in found[1:]] == [
        (0x101, ".byte 0xb8"),
        (0x102, ".byte 0x05"),
    ]


def test_no_bytes_give_no_instruction() -> None:
    assert decode_one(b"", 0, 64) is None


@given(
    st.binary(max_size=64),
    st.sampled_from([16, 32, 64]),
    st.sampled_from(["intel", "att"]),
    st.integers(0, (1 << 64) - 1),
)
def test_every_byte_belongs_to_exactly_one_instruction(
    code: bytes, bits: int, syntax: str, address: int
) -> None:
    found = disassemble(code, address, bits, syntax=syntax)
    assert b"".join(ins.raw for ins in found) == code
    assert all(ins.size == len(ins.raw) for ins in found)
    for ins in found:
        branch_target(ins)
        operand_names(ins)


def test_an_unknown_syntax_is_named() -> None:
    with pytest.raises(UnknownName, match='"masm"; choose intel, att'):
        disassemble(b"\x90", 0, 64, syntax="masm")


def test_other_code_sizes_are_refused() -> None:
    with pytest.raises(BadInput, match="16, 32 or 64 bits, not 8"):
        disassemble(b"\x90", 0, 8)


CALLS = ["e800000000", "ffd0", "ff1d00000000"]
INTERRUPTS = ["cd80", "cc", "f1"]
RETURNS = ["c3", "f3c3", "cb", "c20400", "cf", "48cf", "66cf", "0f07", "480f07", "0f35"]
JUMPS = ["eb00", "7500", "e300", "ffe0", "e2fe"]
REPEATS = ["f3a4", "f2ae", "f348a5", "f36d", "f36e"]
PLAIN = ["90", "f390", "a4", "0f0b", "f4", "c9", "f30f1efa"]


@pytest.mark.parametrize("code", CALLS + INTERRUPTS + REPEATS + ["0f05", "e2fe", "e1fe"])
@pytest.mark.parametrize("syntax", ["intel", "att"])
def test_step_over_jumps_over_what_comes_back(code: str, syntax: str) -> None:
    assert is_call_like(one(code, syntax=syntax))


@pytest.mark.parametrize("code", RETURNS + PLAIN + ["eb00", "7500", "ffe0", "0f34"])
@pytest.mark.parametrize("syntax", ["intel", "att"])
def test_step_over_steps_what_does_not_come_back(code: str, syntax: str) -> None:
    assert not is_call_like(one(code, syntax=syntax))


@pytest.mark.parametrize("code", RETURNS)
@pytest.mark.parametrize("syntax", ["intel", "att"])
def test_returns_of_every_size_are_known(code: str, syntax: str) -> None:
    assert is_ret(one(code, syntax=syntax))


@pytest.mark.parametrize("code", CALLS + INTERRUPTS + JUMPS + REPEATS + PLAIN)
@pytest.mark.parametrize("syntax", ["intel", "att"])
def test_nothing_else_is_a_return(code: str, syntax: str) -> None:
    assert not is_ret(one(code, syntax=syntax))


@pytest.mark.parametrize("code", CALLS + INTERRUPTS + RETURNS + JUMPS + ["0f05", "0f34"])
@pytest.mark.parametrize("syntax", ["intel", "att"])
def test_branches_change_control_flow(code: str, syntax: str) -> None:
    assert changes_control_flow(one(code, syntax=syntax))


@pytest.mark.parametrize("code", REPEATS + PLAIN)
def test_other_instructions_run_on_to_the_next(code: str) -> None:
    assert not changes_control_flow(one(code))


def test_calls_interrupts_jumps_and_repeats_are_told_apart() -> None:
    rows = [(is_call, CALLS), (is_software_interrupt, INTERRUPTS), (is_jump, JUMPS)]
    every = CALLS + INTERRUPTS + RETURNS + JUMPS + REPEATS + PLAIN
    for question, expected in [*rows, (is_rep_string, REPEATS)]:
        assert [code for code in every if question(one(code))] == expected


@pytest.mark.parametrize(
    ("code", "bits", "target"),
    [
        ("eb10", 64, 0x8012),
        ("e8fbffffff", 64, 0x8000),
        ("0f8400010000", 32, 0x8106),
        ("e2fe", 16, 0x8000),
        ("ebee", 16, 0x7FF0),
    ],
)
@pytest.mark.parametrize("syntax", ["intel", "att"])
def test_a_direct_branch_has_a_linear_target(
    code: str, bits: int, target: int, syntax: str
) -> None:
    assert branch_target(one(code, bits, syntax)) == target


@pytest.mark.parametrize("code", ["ffe0", "ffd0", "ff2500000000", "c20400", "cd80", "90"])
@pytest.mark.parametrize("syntax", ["intel", "att"])
def test_anything_else_has_none(code: str, syntax: str) -> None:
    assert branch_target(one(code, 32, syntax)) is None


def test_a_far_jump_has_no_linear_target() -> None:
    assert branch_target(one("ea00800800", 16)) is None


@pytest.mark.parametrize(
    ("code", "syntax", "names"),
    [
        ("8b448b04", "intel", ("eax", "dword ptr [rbx + rcx*4 + 4]")),
        ("8b448b04", "att", ("4(%rbx, %rcx, 4)", "%eax")),
        ("f4", "intel", ()),
        ("0fa4c204", "intel", ("edx", "eax", "4")),
    ],
)
def test_operands_are_listed_one_by_one(code: str, syntax: str, names: tuple[str, ...]) -> None:
    assert operand_names(one(code, syntax=syntax)) == names


def test_capstone_is_loaded_only_when_something_is_decoded() -> None:
    code = "import sys, kvmdbg.x86.decode; print('capstone' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"
