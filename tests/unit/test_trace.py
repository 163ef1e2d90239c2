"""A trace says what each instruction did; what is asked of whole columns agrees with that."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.errors import BadInput, UnknownName
from kvmdbg.history import segment as columns
from kvmdbg.history import trace as module
from kvmdbg.history.segment import REGISTERS, Segment
from kvmdbg.history.trace import Trace, TraceRow, Write
from tests.guests.traces import START, Path, decoded, path_by_hand, paths, rows_of, segment_of

TWO = st.tuples(paths(), paths(start=1000))
BEFORE = st.none() | st.integers(-1, 16) | st.integers(999, 1016)


def trace_of(*made: Path) -> Trace:
    return Trace(map(segment_of, made))


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that even a dozen rows are several blocks, chunks and searches."""
    monkeypatch.setattr(columns, "BLOCK", 4)
    monkeypatch.setattr(columns, "_SEARCHED", 5)
    monkeypatch.setattr(module, "CHUNK", 3)


def test_a_row_says_what_its_own_instruction_did() -> None:
    assert list(trace_of(path_by_hand())) == [
        TraceRow(0, 7, 0x8000, {"rax": 5}, ()),
        TraceRow(1, 8, 0x8005, {"rsp": 96}, (Write(96, 8, 0, 5),)),
        TraceRow(2, 9, 0xFFFF_FFFF_FFFF_8006, {"rflags": 0x46}, ()),
    ]


def test_the_registers_are_numbered_as_in_machine_code() -> None:
    assert REGISTERS[:8] == ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")


@given(TWO)
def test_the_rows_are_those_of_the_path(two: tuple[Path, Path]) -> None:
    assert list(trace_of(*two)) == rows_of(*two)


@given(paths())
def test_the_reference_reads_the_path_out_of_the_columns(path: Path) -> None:
    assert list(decoded(segment_of(path))) == list(zip(path.pcs, path.states, strict=False))


@given(paths(), st.data())
def test_the_state_in_front_of_any_row_is_the_references(path: Path, data: st.DataObject) -> None:
    segment = segment_of(path)
    known = list(decoded(segment))
    if known:
        row = data.draw(st.integers(0, len(known) - 1))
        assert segment.state(row) == known[row][1]


@given(TWO, st.slices(60), st.data())
def test_it_is_a_sequence(two: tuple[Path, Path], key: slice, data: st.DataObject) -> None:
    made, rows = trace_of(*two), rows_of(*two)
    assert len(made) == len(rows)
    assert made[key] == rows[key]
    if rows:
        place = data.draw(st.integers(-len(rows), len(rows) - 1))
        assert made[place] == rows[place]


def test_a_row_that_is_not_there_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        trace_of(path_by_hand())[3]


def test_rows_are_frozen() -> None:
    with pytest.raises(AttributeError):
        trace_of(path_by_hand())[0].pc = 5  # type: ignore[misc]


# Questions


@given(TWO, st.sampled_from([0, 0x8000, 0x7FFF_FFFF_FFFF, 2**64 - 1, 5]))
def test_find_pc_gives_the_clock_of_every_time(two: tuple[Path, Path], address: int) -> None:
    expected = [row.clock for row in rows_of(*two) if row.pc == address]
    assert trace_of(*two).find_pc(address).tolist() == expected


@given(TWO, st.integers(0xFFE, 0x101A), BEFORE)
def test_last_write_gives_the_last_instruction_that_wrote_a_byte(
    two: tuple[Path, Path], address: int, before: int | None
) -> None:
    hits = [
        row
        for row in rows_of(*two)
        if (before is None or row.clock < before)
        and any(w.address <= address < w.address + w.size for w in row.writes)
    ]
    assert trace_of(*two).last_write(address, before) == (hits[-1] if hits else None)


@given(TWO, st.sampled_from(REGISTERS), BEFORE)
def test_last_change_gives_the_last_instruction_that_changed_a_register(
    two: tuple[Path, Path], register: str, before: int | None
) -> None:
    hits = [
        row
        for row in rows_of(*two)
        if (before is None or row.clock < before) and register in row.registers
    ]
    assert trace_of(*two).last_change(register, before) == (hits[-1] if hits else None)


def test_what_changed_before_the_first_row_was_no_instruction_of_the_trace() -> None:
    path = path_by_hand()._replace(first=(1, *START[1:]))
    made = trace_of(path)
    assert made.last_change("rax", before=7) is None
    assert made[0].registers == {"rax": 5}


@pytest.mark.parametrize(("address", "row"), [(95, None), (96, 1), (103, 1), (104, None)])
def test_a_write_covers_so_many_bytes_as_its_size_says(address: int, row: int | None) -> None:
    made = trace_of(path_by_hand())
    assert made.last_write(address) == (None if row is None else made[row])


@pytest.mark.parametrize(("before", "row"), [(None, 2), (10, 2), (9, None), (8, None), (7, None)])
def test_before_leaves_out_what_was_executed_from_that_clock_on(
    before: int | None, row: int | None
) -> None:
    made = trace_of(path_by_hand())
    assert made.last_change("rflags", before) == (None if row is None else made[row])


def test_an_address_outside_64_bits_was_never_written() -> None:
    assert trace_of(path_by_hand()).last_write(-1) is None


def test_a_register_that_is_not_recorded_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match='no register "cr3"; choose rax, rcx'):
        trace_of(path_by_hand()).last_change("cr3")


# Whole columns


@given(TWO)
def test_columns_have_every_register_after_every_instruction(two: tuple[Path, Path]) -> None:
    rows, _ = trace_of(*two).to_numpy()
    after = [state for path in two for state in path.states[1:]]
    assert list(zip(*(rows[name].tolist() for name in REGISTERS), strict=True)) == after
    expected = rows_of(*two)
    assert rows["clock"].tolist() == [row.clock for row in expected]
    assert rows["pc"].tolist() == [row.pc for row in expected]


@given(TWO)
def test_writes_are_a_table_of_their_own(two: tuple[Path, Path]) -> None:
    _, writes = trace_of(*two).to_numpy()
    expected = [(row.index, row.clock, *w) for row in rows_of(*two) for w in row.writes]
    assert list(zip(*(column.tolist() for column in writes.values()), strict=True)) == expected


def test_pandas_gets_both_tables() -> None:
    pytest.importorskip("pandas")
    rows, writes = trace_of(path_by_hand()).to_pandas()
    assert rows["rax"].tolist() == [5, 5, 5]
    assert rows["rflags"].tolist() == [2, 2, 0x46]
    assert writes.to_dict("records") == [
        {"row": 1, "clock": 8, "address": 96, "size": 8, "old": 0, "new": 5}
    ]


def test_an_empty_trace_has_empty_columns() -> None:
    rows, writes = Trace().to_numpy()
    assert {len(column) for column in (*rows.values(), *writes.values())} == {0}
    assert list(Trace()) == []
    assert (Trace().find_pc(0).tolist(), Trace().last_write(0)) == ([], None)


# The columns themselves


def test_nbytes_counts_the_columns() -> None:
    assert trace_of(path_by_hand()).nbytes == 3 * 8 + 3 * 4 + 2 * 8 + 4 * 8


def test_the_columns_are_frozen() -> None:
    segment = segment_of(path_by_hand())
    for column in (segment.heads, segment.flags, segment.values, segment.writes):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0


def test_repr_says_how_much_there_is() -> None:
    assert repr(trace_of(path_by_hand())) == "<Trace: 3 instructions, clock 7 to 10>"
    assert repr(Trace()) == "<Trace: no instructions>"


def fields(path: Path) -> dict[str, Any]:
    made = segment_of(path)
    names = ("start", "first", "last", "heads", "flags", "values", "writes")
    return {name: getattr(made, name) for name in names}


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"values": np.zeros(1, np.uint64)}, "do not belong together"),
        ({"flags": np.zeros(2, np.uint32)}, "do not belong together"),
        ({"flags": np.zeros(3, np.uint64)}, "flags of a trace is a column of uint32"),
        ({"heads": np.zeros((3, 1), np.uint64)}, "heads of a trace is a column of uint64"),
        ({"writes": np.zeros((1, 3), np.uint64)}, "four columns"),
        ({"first": START[:16]}, "17 registers"),
    ],
)
def test_columns_that_do_not_fit_are_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        Segment(**{**fields(path_by_hand()), **wrong})
