"""DR6/DR7 as the manual and the kernel spell them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.errors import BreakpointError
from kvmdbg.x86 import debugreg as d
from kvmdbg.x86.debugreg import Access, Slot

U32 = st.integers(0, 0xFFFF_FFFF)
INDEX = st.integers(0, 3)
CONDITION = st.one_of(
    st.just((Access.EXEC, 1)),
    st.tuples(
        st.sampled_from([Access.WRITE, Access.IO, Access.READ_WRITE]),
        st.sampled_from([1, 2, 4, 8]),
    ),
)


@given(U32)
def test_dr7_survives_decode_and_encode_up_to_its_fixed_bits(value: int) -> None:
    dr7 = d.decode_dr7(value)
    again = d.encode_dr7(dr7.slots, le=dr7.le, ge=dr7.ge, rtm=dr7.rtm, gd=dr7.gd)
    assert again == d.dr7_as_written(value)


@given(U32)
def test_dr6_survives_decode_and_encode_up_to_its_fixed_bits(value: int) -> None:
    dr6 = d.decode_dr6(value)
    again = d.encode_dr6(dr6.hits, bs=dr6.bs, bd=dr6.bd, bt=dr6.bt, bld=dr6.bld, rtm=dr6.rtm)
    assert again == d.dr6_as_written(value, has_rtm=True, has_bld=True)


@given(U32, INDEX, CONDITION, st.booleans())
def test_dr7_with_sets_exactly_one_slot(
    dr7: int, index: int, condition: tuple[Access, int], global_: bool
) -> None:
    new = d.decode_dr7(d.dr7_with(dr7, index, *condition, global_=global_))
    old = d.decode_dr7(dr7)
    assert new.slots[index] == Slot(index, not global_, global_, *condition)
    assert [s for s in new.slots if s.index != index] == [s for s in old.slots if s.index != index]
    assert (new.le, new.ge, new.rtm, new.gd) == (old.le, old.ge, old.rtm, old.gd)


@given(U32, INDEX, CONDITION)
def test_dr7_without_clears_all_six_bits_of_the_slot(
    dr7: int, index: int, condition: tuple[Access, int]
) -> None:
    set_then_cleared = d.dr7_without(d.dr7_with(dr7, index, *condition), index)
    assert set_then_cleared == d.dr7_without(dr7, index) | d.DR7_FIXED_1
    assert not set_then_cleared & (3 << 2 * index | 0xF << 16 + 4 * index)


def test_the_kernel_selftest_s_dr7_values_come_out() -> None:
    assert d.dr7_with(d.DR7_RESET, 0, Access.EXEC, 1) == 0x402
    assert d.dr7_with(d.DR7_RESET, 3, Access.WRITE, 4) == 0xD000_0480
    assert d.dr7_with(d.DR7_RESET, 2, Access.READ_WRITE, 8, global_=False) == 0xB00_0410


@pytest.mark.parametrize(
    ("index", "access", "length", "says"),
    [
        (4, Access.WRITE, 1, "slot 4"),
        (-1, Access.WRITE, 1, "slot -1"),
        (0, Access.WRITE, 3, "watch 3 bytes"),
        (0, Access.EXEC, 4, "length 1, not 4"),
    ],
)
def test_a_slot_that_cannot_be_is_refused_in_words(
    index: int, access: Access, length: int, says: str
) -> None:
    with pytest.raises(BreakpointError, match=says):
        d.dr7_with(d.DR7_RESET, index, access, length)


def test_len_two_means_eight_bytes() -> None:
    assert d.decode_dr7(0b10_01 << 16 | 1).slots[0].length == 8


def test_active_low_bits_are_causes_when_they_read_zero() -> None:
    assert not d.decode_dr6(d.DR6_RESET).bld
    assert not d.decode_dr6(d.DR6_RESET).rtm
    assert d.decode_dr6(d.DR6_RESET & ~d.DR6_BLD).bld
    assert d.decode_dr6(d.DR6_RESET & ~d.DR6_RTM).rtm


def test_a_step_onto_a_hit_watchpoint_has_both_causes() -> None:
    dr6 = d.decode_dr6(0xFFFF_4FF1)
    assert dr6.bs
    assert dr6.hits == (0,)
    assert (dr6.bd, dr6.bt, dr6.bld, dr6.rtm) == (False, False, False, False)


def test_the_constants_of_dr6_cover_all_bits_once() -> None:
    assert d.DR6_WRITABLE & d.DR6_FIXED_1 == 0
    assert d.DR6_WRITABLE | d.DR6_FIXED_1 == 0xFFFF_FFFF & ~(1 << 12)
    assert d.DR6_RESET == d.DR6_FIXED_1 | d.DR6_ACTIVE_LOW


def test_what_the_guest_writes_reads_back_as_measured_on_kvm() -> None:
    assert d.dr6_as_written(0xF) == 0xFFFF_0FFF
    assert d.dr7_as_written(0xFFFF_FFFF) == 0xFFFF_2FFF
    assert d.dr7_as_written(0) == 0x400


def test_bld_and_rtm_can_be_cleared_only_where_the_cpu_has_them() -> None:
    assert d.dr6_as_written(0) == d.DR6_RESET
    assert d.dr6_as_written(0, has_rtm=True) == d.DR6_RESET & ~d.DR6_RTM
    assert d.dr6_as_written(0, has_bld=True) == d.DR6_RESET & ~d.DR6_BLD


@given(st.integers(0, 1 << 48), st.sampled_from([1, 2, 4, 8]))
def test_the_watched_range_is_aligned_and_holds_the_address(address: int, length: int) -> None:
    start, end = d.watched_range(address, length)
    assert start % length == 0
    assert end - start == length
    assert start <= address < end


@given(
    st.sampled_from([1, 2, 4, 8]),
    st.integers(0x100, 0x140),
    st.integers(0x100, 0x140),
    st.integers(1, 16),
)
def test_an_access_hits_iff_it_shares_a_byte_with_the_aligned_block(
    length: int, address: int, access: int, size: int
) -> None:
    dr7 = d.dr7_with(d.DR7_RESET, 1, Access.WRITE, length)
    block = {address - address % length + n for n in range(length)}
    touched = {access + n for n in range(size)}
    expected = 2 if block & touched else 0
    assert d.data_hits(dr7, (0, address, 0, 0), access, size, write=True) == expected


@pytest.mark.parametrize(("access", "hit"), [(0xFFE, 0), (0xFFF, 1), (0x1003, 1), (0x1004, 0)])
def test_an_access_that_only_touches_the_border_misses(access: int, hit: int) -> None:
    dr7 = d.dr7_with(0, 0, Access.WRITE, 4)
    assert d.data_hits(dr7, (0x1000, 0, 0, 0), access, 2, write=True) == hit


def test_a_read_hits_only_the_read_write_slot() -> None:
    dr7 = d.dr7_with(d.dr7_with(0, 0, Access.WRITE, 1), 1, Access.READ_WRITE, 1)
    db = (0x10, 0x10, 0, 0)
    assert d.data_hits(dr7, db, 0x10, 1, write=False) == 0b10
    assert d.data_hits(dr7, db, 0x10, 1, write=True) == 0b11


@pytest.mark.parametrize("access", [Access.EXEC, Access.IO])
def test_exec_and_io_slots_never_match_data(access: Access) -> None:
    dr7 = d.dr7_with(0, 0, access, 1)
    assert d.data_hits(dr7, (0x10, 0, 0, 0), 0x10, 1, write=True) == 0


def test_a_slot_that_is_off_matches_nothing() -> None:
    dr7 = d.dr7_with(0, 0, Access.WRITE, 1) & ~d.DR7_ENABLE | 1 << 2
    assert d.data_hits(dr7, (0x10, 0, 0, 0), 0x10, 1, write=True) == 0


def test_the_local_enable_is_enough() -> None:
    dr7 = d.dr7_with(0, 0, Access.EXEC, 1, global_=False)
    assert d.exec_hits(dr7, (0x8000, 0, 0, 0), 0x8000) == 1


def test_all_slots_at_one_address_are_reported_together() -> None:
    dr7 = 0
    for index in range(4):
        dr7 = d.dr7_with(dr7, index, Access.EXEC, 1)
    assert d.exec_hits(dr7, (0x8000, 0x8001, 0x8000, 0x8000), 0x8000) == 0b1101


def test_an_execution_breakpoint_with_a_length_never_matches() -> None:
    dr7 = d.dr7_with(0, 0, Access.EXEC, 1) | 3 << 18
    assert d.exec_hits(dr7, (0x8000, 0, 0, 0), 0x8000) == 0


def test_a_data_slot_never_matches_execution() -> None:
    dr7 = d.dr7_with(0, 0, Access.READ_WRITE, 1)
    assert d.exec_hits(dr7, (0x8000, 0, 0, 0), 0x8000) == 0


def test_upper_address_bits_are_compared() -> None:
    dr7 = d.dr7_with(0, 0, Access.EXEC, 1)
    assert d.exec_hits(dr7, (0x1_0000_8000, 0, 0, 0), 0x8000) == 0


@pytest.mark.parametrize("fields", [d.fields_dr6, d.fields_dr7])
@given(value=st.integers(0, (1 << 64) - 1))
def test_the_fields_cover_every_bit_exactly_once(
    fields: Callable[[int], list[d.Field]], value: int
) -> None:
    rows = fields(value)
    bits = [bit for row in rows for bit in range(row.low, row.high + 1)]
    assert bits == list(range(64))
    assert sum(row.value << row.low for row in rows) == value


def test_the_reset_values_have_no_active_field() -> None:
    assert [f for f in d.fields_dr6(d.DR6_RESET) if f.active] == []
    assert [f for f in d.fields_dr7(d.DR7_RESET) if f.active] == []


def test_an_active_low_cause_is_an_active_field() -> None:
    names = [f.name for f in d.fields_dr6(d.DR6_RESET & ~d.DR6_BLD | d.DR6_BS) if f.active]
    assert names == ["BLD", "BS"]


def test_the_field_of_a_length_that_cannot_match_says_so() -> None:
    fields = {f.name: f for f in d.fields_dr7(3 << 18 | 2)}
    assert fields["LEN0"].meaning == "4 bytes, so it never matches"


def test_a_watchpoint_s_fields_say_what_it_waits_for() -> None:
    fields = {f.name: f for f in d.fields_dr7(d.dr7_with(0x400, 0, Access.WRITE, 4))}
    assert fields["R/W0"].meaning == "data writes"
    assert fields["LEN0"].meaning == "4 bytes"
    assert (fields["G0"].active, fields["L0"].active) == (True, False)


def test_a_reserved_bit_that_is_wrong_is_named() -> None:
    fields = {f.bits: f for f in d.fields_dr7(1 << 12)}
    assert fields["12"].meaning == "reserved, reads 0: not so here"
    assert fields["10"].meaning == "reserved, reads 1: not so here"
