"""Some rows of a timeline: which ones, how many of what, how far apart."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from kvmdbg.errors import BadInput, ToolMissing, UnknownName
from kvmdbg.exits import DebugExit, ExceptionExit, Exit, ExitReason, HltExit, IoExit
from kvmdbg.history.lanes import LANES, count_lanes, lane_of
from kvmdbg.history.queries import Selection
from kvmdbg.history.timeline import Timeline
from kvmdbg.views import figures, text

STEP = DebugExit(1, 0x8000, 0xFFFF_4FF0, 0x400)
BOTH = DebugExit(1, 0x8000, 0xFFFF_4FF2, 0x400)
DETECT = DebugExit(1, 0x8000, 0xFFFF_2FF0, 0x400)
INT3 = DebugExit(3, 0x8000)
OUT = IoExit("out", 0x3F8, 1, b"x")
FAULT = ExceptionExit(14, 2, 0x8000, False)
SOME: list[tuple[Exit, int, int]] = [
    (STEP, 0x8000, 1),
    (BOTH, 0x8003, 2),
    (OUT, 0x8003, 10),
    (INT3, 0x9000, 10),
    (FAULT, 0x9001, 40),
    (STEP, 2**64 - 1, 100),
    (HltExit(), 0x9002, 1000),
]


def timeline(rows: Iterable[tuple[Exit, int, int]] = SOME) -> Timeline:
    made = Timeline()
    for row in rows:
        made.append(*row)
    return made


def indices(selection: Selection) -> list[int]:
    return [row.index for row in selection]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6]),
        ({"reason": ExitReason.DEBUG}, [0, 1, 3, 5]),
        ({"reason": "debug"}, [0, 1, 3, 5]),
        ({"reason": ["IO", ExitReason.HLT]}, [2, 6]),
        ({"exception": 14}, [4]),
        ({"cause": "step"}, [0, 1, 5]),
        ({"cause": "dr1"}, [1]),
        ({"cause": "INT3"}, [3]),
        ({"cause": "GD"}, []),
        ({"pc": 0x8003}, [1, 2]),
        ({"pc": 2**64 - 1}, [5]),
        ({"pc": -1}, []),
        ({"pc": range(0x9000, 0x9002)}, [3, 4]),
        ({"between": (2, 40)}, [1, 2, 3, 4]),
        ({"first": 2}, [0, 1]),
        ({"last": 2}, [5, 6]),
        ({"last": 0}, []),
        ({"reason": "DEBUG", "last": 2}, [3, 5]),
        ({"first": 3, "last": 2}, [1, 2]),
    ],
)
def test_where_keeps_the_rows_for_which_all_holds(
    conditions: dict[str, Any], expected: list[int]
) -> None:
    assert indices(timeline().where(**conditions)) == expected


def test_a_selection_can_be_narrowed_further() -> None:
    assert indices(timeline().where(reason="DEBUG").where(pc=0x8003)) == [1]


def test_a_selection_has_the_timelines_rows() -> None:
    made = timeline()
    chosen = made.where(reason="DEBUG")
    assert list(chosen) == [made[0], made[1], made[3], made[5]]
    assert (chosen[-1], chosen[1:3], len(chosen)) == (made[5], [made[1], made[3]], 4)
    with pytest.raises(IndexError):
        chosen[4]


def test_rows_of_a_selection_hold_plain_python_numbers() -> None:
    row = timeline().where()[0]
    assert {type(value) for value in row[2:7]} == {int}
    assert type(row.host_time) is float


def test_a_selection_stays_as_it_was_while_the_timeline_grows() -> None:
    made = timeline()
    chosen = made.where(reason="HLT")
    made.append(HltExit(), 0x9999, 2000)
    made.clear()
    assert [row.pc for row in chosen] == [0x9002]
    with pytest.raises(ValueError, match="read-only"):
        chosen.column("pc")[0] = 0


@pytest.mark.parametrize(
    ("conditions", "complaint"),
    [
        ({"reason": "HALT"}, 'no exit reason "HALT"; choose UNKNOWN, EXCEPTION, IO'),
        ({"cause": "stepping"}, 'no cause "stepping"; choose INT3, DR0'),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(
    conditions: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UnknownName, match=complaint):
        timeline().where(**conditions)


@pytest.mark.parametrize(
    ("conditions", "complaint"),
    [
        ({"between": (5, 2)}, "the first is larger"),
        ({"first": -1}, "from 0, not -1"),
        ({"last": -3}, "from 0, not -3"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused(
    conditions: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadInput, match=complaint):
        timeline().where(**conditions)


def test_a_column_that_is_not_there_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match='no column "rip"; choose index, reason'):
        timeline().where().column("rip")


def test_counts_are_those_of_the_chosen_rows() -> None:
    made = timeline()
    assert made.where().counts() == made.counts()
    assert made.where(first=3).counts() == {ExitReason.IO: 1, ExitReason.DEBUG: 2}


def test_an_exit_with_two_causes_counts_for_both() -> None:
    assert timeline().causes() == {"INT3": 1, "DR1": 1, "step": 3}


def test_an_access_to_a_debug_register_is_a_cause() -> None:
    assert timeline([(DETECT, 0, 0)]).causes() == {"GD": 1}


def test_only_debug_exits_have_causes() -> None:
    assert timeline([(ExceptionExit(3, 0, 0, False), 0, 0)]).causes() == {}


# Gaps


def test_gaps_are_what_lies_between_an_exit_and_the_next() -> None:
    gaps = timeline().where(cause="step").gaps()
    assert gaps.instructions.tolist() == [1, 98]
    assert gaps.in_instructions == (1, 1, 98, 98)


def test_gaps_in_seconds_add_up_to_the_time_between_first_and_last() -> None:
    made = timeline()
    gaps = made.gaps()
    assert gaps.in_seconds is not None
    assert len(gaps.seconds) == 6
    assert gaps.seconds.sum() == pytest.approx(made[-1].host_time - made[0].host_time)
    assert 0 <= gaps.in_seconds.least <= gaps.in_seconds.median <= gaps.in_seconds.most


@pytest.mark.parametrize("count", [0, 1])
def test_a_lonely_exit_has_no_gaps(count: int) -> None:
    gaps = timeline(SOME[:count]).gaps()
    assert (gaps.in_instructions, gaps.in_seconds) == (None, None)


def test_without_a_clock_there_are_gaps_in_time_alone() -> None:
    gaps = timeline([(HltExit(), 0, -1), (HltExit(), 0, -1)]).gaps()
    assert (len(gaps.instructions), len(gaps.seconds)) == (0, 1)


def test_the_95th_percentile_is_one_of_the_gaps() -> None:
    clocks = np.cumsum([*range(1, 101), 10_000])
    spread = timeline([(STEP, 0, int(c)) for c in clocks]).gaps().in_instructions
    assert spread == (2, 52, 96, 10_000)


# As it is shown


def test_the_summary_says_how_many_of_how_many() -> None:
    made = timeline()
    chosen = made.where(reason=["DEBUG", "HLT"])
    assert chosen.summary() == "5 of 7 exits: 4 DEBUG, 1 HLT."
    assert repr(made.where(pc=1)) == "<Selection: 0 of 7 exits.>"


def test_a_selection_is_shown_as_a_timeline_is() -> None:
    shown = text.timeline(timeline().where(reason="DEBUG", last=3), 2)
    assert shown.startswith("Timeline: 3 of 7 exits: 3 DEBUG.")
    assert "the last 2 exits" in shown


def test_a_selections_picture_stands_at_the_timelines_exit_numbers() -> None:
    assert "HLT: 1 exit, from 6 to 6." in figures.timeline_alt(timeline().where(reason="HLT"))


# Lanes


def test_every_exit_falls_into_the_lane_that_it_has_alone() -> None:
    made = timeline()
    assert sum(count_lanes(made).values()) == len(made)
    for row in made:
        alone = made.where(first=row.index + 1, last=1)
        assert count_lanes(alone) == {lane_of(row.reason, row.exception, row.dr6): 1}


# pandas


def test_pandas_gets_the_rows_with_names_for_numbers() -> None:
    pytest.importorskip("pandas")
    made = timeline()
    frame = made.where(last=3).to_pandas()
    assert frame.index.tolist() == [4, 5, 6]
    assert frame["reason"].tolist() == ["EXCEPTION", "DEBUG", "HLT"]
    assert frame["kind"].tolist() == ["EXCEPTION", "DEBUG step", "HLT"]
    assert frame["pc"].tolist() == [0x9001, 2**64 - 1, 0x9002]
    assert frame["clock"].tolist() == [40, 100, 1000]
    assert frame["host_time"].tolist() == [row.host_time for row in made[4:]]
    assert str(frame["reason"].dtype) == str(frame["kind"].dtype) == "category"


def test_an_empty_timeline_is_an_empty_frame_with_all_columns() -> None:
    pytest.importorskip("pandas")
    frame = Timeline().to_pandas()
    assert len(frame) == 0
    assert list(frame["kind"].cat.categories) == [lane.title for lane in LANES]


def test_a_frame_can_be_changed_and_the_selection_stays() -> None:
    pytest.importorskip("pandas")
    chosen = timeline().where()
    frame = chosen.to_pandas()
    frame.loc[0, "pc"] = 5
    assert chosen[0].pc == 0x8000


def test_without_pandas_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ToolMissing, match=r"^pandas is not installed: pip install pandas$"):
        timeline().to_pandas()
