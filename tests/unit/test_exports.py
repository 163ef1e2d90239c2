"""What is written for other programs says, read back, what it was written from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.exits import DebugExit, ExceptionExit, HltExit
from kvmdbg.history import export_chrome, export_tenet
from kvmdbg.history.lanes import lane_of
from kvmdbg.history.segment import GENERAL
from kvmdbg.history.timeline import Timeline
from kvmdbg.history.trace import Trace
from tests.guests.traces import START, Path, path_by_hand, paths, rows_of, segment_of

STEP = DebugExit(1, 0x8000, 0xFFFF_4FF0, 0x400)

# Chrome


def some(clock: bool = True) -> Timeline:
    timeline = Timeline()
    for n in range(2500):
        timeline.append(STEP, 0x8000 + n % 7, n if clock else -1)
    timeline.append(DebugExit(3, 0x8001), 0x8001, 2500 if clock else -1)
    timeline.append(ExceptionExit(14, 2, 2**64 - 1, False), 2**64 - 1, 2500 if clock else -1)
    timeline.append(HltExit(), 0x8002, 2600 if clock else -1)
    return timeline


def chrome(timeline: Timeline, bookmarks: dict[str, int] | None = None) -> dict[str, Any]:
    pieces = export_chrome.chrome_trace(timeline.where(), bookmarks or {}, "at {:#x}".format)
    made: dict[str, Any] = json.loads("".join(pieces))
    return made


def of_phase(made: dict[str, Any], phase: str) -> list[dict[str, Any]]:
    return [event for event in made["traceEvents"] if event["ph"] == phase]


def test_chrome_gets_one_complete_event_for_each_exit() -> None:
    timeline = some()
    events = of_phase(chrome(timeline), "X")
    assert [event["ts"] for event in events] == list(timeline.column("clock"))
    assert [event["args"]["index"] for event in events] == list(range(len(timeline)))
    assert {event["dur"] for event in events} == {1}


def test_chrome_gets_what_the_exit_carried() -> None:
    args = [event["args"] for event in of_phase(chrome(some()), "X")]
    at = {"index": 0, "pc": "0x8000", "symbol": "at 0x8000"}
    assert args[0] == {**at, "exception": "#DB", "dr6": "0xffff4ff0", "dr7": "0x400"}
    assert args[2500]["exception"] == "#BP"
    assert (args[2501]["exception"], args[2501]["pc"]) == ("#PF", "0xffffffffffffffff")
    assert args[2502].keys() == {"index", "pc", "symbol"}


def test_chrome_gets_a_named_thread_for_each_lane() -> None:
    timeline = some()
    made = chrome(timeline)
    names = {e["tid"]: e["args"]["name"] for e in of_phase(made, "M") if e["name"] == "thread_name"}
    lanes = [lane_of(row.reason, row.exception, row.dr6).title for row in timeline]
    assert [names[event["tid"]] for event in of_phase(made, "X")] == lanes
    assert set(names.values()) == {"DEBUG step", "DEBUG #BP", "EXCEPTION", "HLT"}


def test_every_event_has_what_the_format_demands() -> None:
    for event in chrome(some(), {"here": 5})["traceEvents"]:
        assert {"name", "ph", "pid", "tid"} <= event.keys()
        assert event["ph"] == "M" or type(event["ts"]) is int


def test_bookmarks_are_global_instants() -> None:
    (event,) = of_phase(chrome(some(), {'a"b': 1234}), "i")
    assert (event["name"], event["ts"], event["s"]) == ('a"b', 1234, "g")


def test_the_metadata_says_what_a_microsecond_is() -> None:
    assert chrome(some())["otherData"]["timestamps"] == "1 us is one guest instruction"
    assert "host" in chrome(some(clock=False))["otherData"]["timestamps"]


def test_without_a_clock_events_stand_at_the_hosts_time() -> None:
    timeline = some(clock=False)
    events = of_phase(chrome(timeline, {"here": 0}), "X")
    expected = [time * 1e6 for time in timeline.column("host_time")]
    assert [event["ts"] for event in events] == pytest.approx(expected, abs=0.001)


def test_a_label_cannot_break_the_json() -> None:
    hostile = '"}],</script>\n\\'
    pieces = export_chrome.chrome_trace(some().where(last=1), {}, lambda _: hostile)
    assert json.loads("".join(pieces))["traceEvents"][-1]["args"]["symbol"] == hostile


def test_an_empty_timeline_is_a_valid_trace() -> None:
    assert of_phase(chrome(Timeline()), "X") == []


def test_long_timelines_come_in_pieces() -> None:
    pieces = list(export_chrome.chrome_trace(some().where(), {}, hex))
    assert len(pieces) == 2 + 3 + 1


def test_a_chrome_trace_of_ours_is_known_again() -> None:
    text = "".join(export_chrome.chrome_trace(Timeline().where(), {}, hex))
    assert export_chrome.is_ours(text)
    assert not export_chrome.is_ours('{"traceEvents":[]}')


# Tenet


def tenet(trace: Trace, then: int | None = None) -> list[str]:
    return "".join(export_tenet.tenet_trace(trace, then)).splitlines()


def parsed(line: str) -> tuple[dict[str, int], list[tuple[int, bytes]]]:
    """A line as Tenet reads it: registers by name, and bytes written."""
    registers, writes = {}, []
    for part in line.split(","):
        name, _, value = part.partition("=")
        if name == "mw":
            address, _, content = value.partition(":")
            writes.append((int(address, 16), bytes.fromhex(content)))
        else:
            registers[name] = int(value, 16)
    return registers, writes


def test_tenet_gets_a_line_in_front_of_each_instruction() -> None:
    full = ",".join(f"{n}={v:#x}" for n, v in zip(GENERAL, START[:16], strict=True))
    assert tenet(Trace([segment_of(path_by_hand())]), 0x8007) == [
        f"{full},rip=0x8000",
        "rax=0x5,rip=0x8005",
        "rsp=0x60,rip=0xffffffffffff8006,mw=0x60:0500000000000000",
        "rip=0x8007",
    ]


@given(paths(), paths(start=1000))
def test_read_back_the_lines_give_every_state_and_every_write(one: Path, two: Path) -> None:
    state: dict[str, int] = {}
    seen, written = [], []
    for line in tenet(Trace(map(segment_of, (one, two))), 0x1234):
        registers, writes = parsed(line)
        state |= registers
        seen.append(tuple(state.values()))
        written.append(writes)
    paths_ = [path for path in (one, two) if path.pcs]
    pcs = [pc for path in paths_ for pc in path.pcs]
    states = [(*s[:16], pc) for p in paths_ for s, pc in zip(p.states, p.pcs, strict=False)]
    expected = [*states, (*paths_[-1].states[-1][:16], 0x1234)] if pcs else []
    assert seen == expected
    rows = rows_of(one, two)
    assert written[1:] == [
        [(w.address, w.new.to_bytes(8, "little")[: w.size]) for w in row.writes] for row in rows
    ]


def test_the_first_line_has_every_register_even_if_it_is_zero() -> None:
    zero = (0,) * 16 + (2,)
    path = Path(0, zero, [zero, zero], [0x8000], [[]])
    (line,) = tenet(Trace([segment_of(path)]))
    assert list(parsed(line)[0]) == [*GENERAL, "rip"]


def test_an_empty_trace_is_an_empty_text() -> None:
    assert tenet(Trace(), 5) == []


@given(st.sampled_from(["", "rax=0x1,rip=0x2\n", "rip=0x8000", "int main() {}"]))
def test_a_text_of_somebody_elses_is_not_taken_for_ours(text: str) -> None:
    assert not export_tenet.is_ours(text)


def test_a_tenet_trace_of_ours_is_known_again() -> None:
    assert export_tenet.is_ours("\n".join(tenet(Trace([segment_of(path_by_hand())]))))
