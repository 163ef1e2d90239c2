"""The timeline keeps every exit, cheaply, and answers about them."""

from __future__ import annotations

import numpy
import pytest

from kvmdbg.errors import UnknownName
from kvmdbg.exits import (
    DebugExit,
    ExceptionExit,
    Exit,
    ExitReason,
    FailEntryExit,
    HltExit,
    InternalErrorExit,
    IntrExit,
    IoExit,
    IrqWindowOpenExit,
    MmioExit,
    ShutdownExit,
    UnknownExit,
)
from kvmdbg.history import timeline as module
from kvmdbg.history.timeline import TYPECODES, Timeline

EVERY_EXIT: list[tuple[Exit, int]] = [
    (DebugExit(3, 0x8000), 3),
    (DebugExit(1, 0x8000, 0xFFFF_4FF0, 0x400), 1),
    (IoExit("out", 0x3F8, 1, b"x"), -1),
    (MmioExit(0xFEE0_0000, b"\0", False), -1),
    (HltExit(), -1),
    (ShutdownExit(), -1),
    (IntrExit("budget"), -1),
    (IrqWindowOpenExit(), -1),
    (InternalErrorExit(1), -1),
    (FailEntryExit(7), -1),
    (ExceptionExit(14, 2, 0x8000, False), 14),
    (UnknownExit(99), -1),
]


def steps(count: int) -> Timeline:
    timeline = Timeline()
    for number in range(count):
        timeline.append(DebugExit(1, number, 0xFFFF_4FF0, 0x400), number, number)
    return timeline


@pytest.mark.parametrize(("exit", "vector"), EVERY_EXIT)
def test_every_kind_of_exit_becomes_a_row(exit: Exit, vector: int) -> None:
    timeline = Timeline()
    timeline.append(exit, 0xFFFF_FFFF_FFFF_FFF0, -1)
    row = timeline[0]
    assert (row.reason, row.exception, row.clock) == (exit.reason, vector, -1)
    assert row.pc == 0xFFFF_FFFF_FFFF_FFF0


def test_a_debug_exit_keeps_dr6_and_dr7() -> None:
    assert steps(1)[0][4:6] == (0xFFFF_4FF0, 0x400)


def test_other_exits_have_no_dr6_and_dr7() -> None:
    timeline = Timeline()
    timeline.append(HltExit(), 0x8000, 5)
    assert timeline[0][4:6] == (0, 0)


def test_it_is_a_sequence() -> None:
    timeline = steps(5)
    assert len(timeline) == 5
    assert [row.index for row in timeline] == [0, 1, 2, 3, 4]
    assert timeline[-1] == timeline[4]
    assert [row.pc for row in timeline[1:4]] == [1, 2, 3]
    assert [row.index for row in timeline[-2:]] == [3, 4]


def test_a_row_that_is_not_there_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        steps(2)[2]


def test_host_time_never_runs_backwards_and_starts_near_zero() -> None:
    times = steps(100).column("host_time")
    assert list(times) == sorted(times)
    assert 0 <= times[0] < 1


def test_counts_name_only_the_reasons_that_occurred() -> None:
    timeline = steps(3)
    timeline.append(HltExit(), 9, 9)
    assert timeline.counts() == {ExitReason.DEBUG: 3, ExitReason.HLT: 1}


def test_clear_forgets_rows_and_time() -> None:
    timeline = steps(3)
    timeline.clear()
    assert (len(timeline), timeline.counts(), list(timeline)) == (0, {}, [])
    timeline.append(HltExit(), 9, 9)
    assert timeline[0].host_time < 1


def test_numpy_reads_a_column_without_a_copy() -> None:
    numpy = pytest.importorskip("numpy")
    column = steps(4).column("pc")
    view = numpy.frombuffer(column, dtype=column.typecode)
    assert view.tolist() == [0, 1, 2, 3]
    assert view.ctypes.data == column.buffer_info()[0]


@pytest.mark.parametrize("name", module.TYPECODES)
def test_appending_goes_on_while_someone_looks_at_a_column(name: str) -> None:
    timeline = steps(4)
    view = memoryview(timeline.column(name))
    before = view.tolist()
    timeline.append(DebugExit(1, 4, 0xFFFF_4FF0, 0x400), 4, 4)
    assert view.tolist() == before
    assert [row[:7] for row in timeline] == [row[:7] for row in steps(5)]


def test_the_index_is_a_column_too() -> None:
    assert list(steps(3).column("index")) == [0, 1, 2]


def test_an_unknown_column_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match='no column "rip"; choose index, reason'):
        steps(1).column("rip")


def test_the_summary_is_one_sentence_with_the_most_frequent_reason_first() -> None:
    timeline = Timeline()
    timeline.append(HltExit(), 0, 0)
    for number in range(1200):
        timeline.append(DebugExit(3, number), number, number)
    text = timeline.summary()
    assert text.startswith("1,201 exits in ")
    assert text.endswith("s: 1,200 DEBUG, 1 HLT.")
    assert repr(timeline) == f"<Timeline: {text}>"


def test_one_exit_is_not_called_exits() -> None:
    assert steps(1).summary().startswith("1 exit in ")


# Cutting and joining


def test_a_cut_timeline_keeps_its_first_rows_and_gives_the_others() -> None:
    timeline = steps(5)
    whole = timeline[:]
    tail = timeline.cut(3)
    assert timeline[:] == whole[:3]
    assert [row[1:] for row in tail] == [row[1:] for row in whole[3:]]


def test_what_was_cut_off_can_be_joined_again() -> None:
    timeline = steps(5)
    whole = timeline[:]
    timeline.join(timeline.cut(2))
    assert timeline[:] == whole


def test_a_view_of_a_column_outlives_a_cut() -> None:
    timeline = steps(5)
    view = numpy.frombuffer(timeline.column("clock"), "q")
    timeline.cut(2)
    timeline.append(HltExit(), 0, 9)
    assert view.tolist() == [0, 1, 2, 3, 4]


def test_rows_given_back_to_the_guest_are_known_by_number() -> None:
    timeline = steps(2)
    timeline.give_back()
    timeline.give_back()
    timeline.append(HltExit(), 0, 9)
    assert list(timeline.given_back) == [1]


def test_rows_given_back_move_with_a_cut_and_a_join() -> None:
    timeline = Timeline()
    for clock in range(4):
        timeline.append(DebugExit(3, 0), 0, clock)
        timeline.give_back()
    tail = timeline.cut(1)
    assert (list(timeline.given_back), list(tail.given_back)) == ([0], [0, 1, 2])
    timeline.join(tail)
    assert list(timeline.given_back) == [0, 1, 2, 3]


def test_of_adopted_rows_nobody_knows_whether_they_were_given_back() -> None:
    timeline = steps(3)
    timeline.adopt({name: timeline.column(name)[:] for name in TYPECODES})
    timeline.append(HltExit(), 0, 9)
    assert timeline.told_from == 3


def test_how_far_it_is_unknown_follows_a_cut_and_a_join() -> None:
    timeline = steps(3)
    timeline.adopt({name: timeline.column(name)[:] for name in TYPECODES})
    tail = timeline.cut(1)
    assert (timeline.told_from, tail.told_from) == (1, 2)
    timeline.join(tail)
    assert timeline.told_from == 3
