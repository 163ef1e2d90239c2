"""Descriptors and gates, bit by bit as SDM vol. 3 draws them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.x86.descriptors import (
    INTERRUPT_GATE,
    TASK_GATE,
    TRAP_GATE,
    Gate,
    pack_descriptor,
    pack_gate,
    pack_system_descriptor,
    segment_from_descriptor,
    unpack_gate,
)
from kvmdbg.x86.registers import Segment

U64 = st.integers(0, (1 << 64) - 1)


def test_a_flat_32_bit_code_descriptor_reads_as_linux_writes_it() -> None:
    segment = segment_from_descriptor(0x10, 0x00CF9A000000FFFF)
    assert segment == Segment(
        base=0, limit=0xFFFFFFFF, selector=0x10, type=10, present=1, db=1, s=1, g=1
    )


def test_base_and_limit_are_gathered_from_their_scattered_fields() -> None:
    segment = segment_from_descriptor(0, 0x120F_9334_5678_FEDC)
    assert (segment.base, segment.limit) == (0x12345678, 0xFFEDC)


def test_granularity_scales_the_limit_and_fills_its_low_bits() -> None:
    assert segment_from_descriptor(0, 0x0080_9300_0000_0002).limit == 0x2FFF


def test_a_descriptor_that_is_not_present_is_unusable() -> None:
    assert segment_from_descriptor(8, 0x00CF1A000000FFFF).unusable == 1


def test_a_long_mode_system_descriptor_has_64_base_bits() -> None:
    tss = Segment(base=0xFFFF_8000_1234_5678, limit=0x67, selector=0x30, type=11, present=1)
    raw = pack_system_descriptor(tss)
    low, high = (int.from_bytes(raw[i : i + 8], "little") for i in (0, 8))
    assert segment_from_descriptor(0x30, low, high) == tss


@given(U64)
def test_every_descriptor_survives_decode_and_encode(quad: int) -> None:
    packed = pack_descriptor(segment_from_descriptor(0, quad))
    assert int.from_bytes(packed, "little") == quad


@pytest.mark.parametrize(
    ("kind", "trap", "wide"),
    [
        (14, False, True),
        (15, True, True),
        (6, False, False),
        (7, True, False),
    ],
)
def test_a_gates_type_says_its_width_and_whether_it_is_a_trap(
    kind: int, trap: bool, wide: bool
) -> None:
    gate = Gate(8, 0x1234, kind)
    assert (gate.is_trap, gate.is_16bit) == (trap, not wide)


def test_a_task_gate_is_neither_trap_nor_16_bit() -> None:
    gate = Gate(0x28, 0, TASK_GATE)
    assert not gate.is_trap
    assert not gate.is_16bit


def test_a_16_bit_gate_has_a_16_bit_offset() -> None:
    assert unpack_gate(bytes.fromhex("3412080000 86 ffff")).offset == 0x1234


def test_a_32_bit_gate_joins_both_halves_of_its_offset() -> None:
    gate = unpack_gate(bytes.fromhex("7856080000 ee 3412"))
    assert gate == Gate(8, 0x12345678, INTERRUPT_GATE, dpl=3, present=1, ist=0)


def test_a_64_bit_gate_has_a_64_bit_offset_and_an_ist() -> None:
    gate = unpack_gate(bytes.fromhex("f0de0800038fbc9a7856341200000000"))
    assert gate == Gate(8, 0x1234_5678_9ABC_DEF0, TRAP_GATE, dpl=0, present=1, ist=3)


def test_ist_bits_mean_nothing_in_an_8_byte_gate() -> None:
    assert unpack_gate(bytes.fromhex("00000800078e0000")).ist == 0


def test_the_s_bit_is_part_of_the_type_so_that_a_code_descriptor_is_no_gate() -> None:
    assert unpack_gate(pack_descriptor(Segment(type=14, s=1, present=1))).type == 0x1E


@given(
    st.builds(
        Gate,
        selector=st.integers(0, 0xFFFF),
        offset=U64,
        type=st.sampled_from([INTERRUPT_GATE, TRAP_GATE]),
        dpl=st.integers(0, 3),
        present=st.integers(0, 1),
        ist=st.integers(0, 7),
    )
)
def test_every_long_mode_gate_survives_encode_and_decode(gate: Gate) -> None:
    assert unpack_gate(pack_gate(gate, long=True)) == gate


@given(st.integers(0, 0xFFFFFFFF), st.sampled_from([INTERRUPT_GATE, TRAP_GATE]))
def test_every_32_bit_gate_survives_encode_and_decode(offset: int, kind: int) -> None:
    gate = Gate(0x1B, offset, kind, dpl=2)
    assert unpack_gate(pack_gate(gate, long=False)) == gate
