"""The benchmark's own parts: its client of GDB's protocol, its targets, and the page it writes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import page
from benchmarks.labs.parts import PARTS as LAB_PARTS
from benchmarks.measure import Row, match, percentile
from benchmarks.parts import PARTS
from benchmarks.rsp import Rsp, RspError
from benchmarks.ui.parts import PARTS as UI_PARTS

ROWS = [row for part in PARTS.values() for row in part.ROWS]


def test_the_page_names_the_figures_that_the_benchmark_takes() -> None:
    text = (Path(__file__).parents[2] / page.PAGE).read_text()
    assert page.names(text) == [row.name for row in ROWS]


@pytest.mark.parametrize(
    ("title", "parts"), [(page.BROWSER, UI_PARTS), (page.CLASSROOM, LAB_PARTS)]
)
def test_the_page_names_the_figures_of_each_benchmark(title: str, parts: dict[str, Any]) -> None:
    text = (Path(__file__).parents[2] / page.PAGE).read_text()
    _, head, part = text.partition(title)
    assert head
    assert page.names(part) == [row.name for part in parts.values() for row in part.ROWS]


def test_each_benchmark_leaves_the_others_part_of_the_page_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "page.md"
    monkeypatch.setattr(page, "PAGE", place)
    monkeypatch.setattr(page.growth, "draw", lambda taken: None)
    place.write_text("")
    one, two, three = Row("one", 2), Row("two", 5, "ms", most=True), Row("three", 1)
    page.write([one], [one.figure(3, "")], [])
    page.write_classroom([three], [three.figure(3, "")])
    page.write_browser([two], [two.figure(3, "")])
    whole = place.read_text()
    page.write([one], [one.figure(3, "")], [])
    page.write_classroom([three], [three.figure(3, "")])
    assert place.read_text() == whole
    assert page.names(whole) == ["one"]
    assert page.names(whole.partition(page.BROWSER)[2]) == ["two"]
    assert page.names(whole.partition(page.CLASSROOM)[2]) == ["three"]


def test_every_figure_has_a_name_of_its_own() -> None:
    others = [*UI_PARTS.values(), *LAB_PARTS.values()]
    rows = [*ROWS, *(row for part in others for row in part.ROWS)]
    assert len({row.name for row in rows}) == len(rows)


def test_the_table_of_figures_gives_its_names_back() -> None:
    rows = [Row("one", 2), Row("two", 5, "ms", most=True)]
    text = page.table(rows, [rows[0].figure(3, ""), rows[1].absent("peer not there")])
    assert page.names(f"before\n\n{text}\n\nafter") == ["one", "two"]


@pytest.mark.parametrize(
    ("row", "value", "ok"),
    [
        (Row("speed", 0.95), 0.95, True),
        (Row("speed", 0.95), 0.9499, False),
        (Row("time", 5, "ms", most=True), 5, True),
        (Row("time", 5, "ms", most=True), 5.1, False),
        (Row("a report", 0), 0.01, True),
    ],
)
def test_a_target_is_met_from_its_own_side(row: Row, value: float, ok: bool) -> None:
    assert row.figure(value, "").ok is ok


def test_a_figure_that_could_not_be_taken_is_neither_met_nor_missed() -> None:
    figure = Row("beside a peer", 2).absent("peer not there")
    assert (figure.value, figure.ok, figure.detail) == (None, None, "peer not there")


def test_a_match_is_the_median_of_the_rounds_own_ratios() -> None:
    ours = iter([99.0, 10.0, 40.0, 90.0])
    taken = match(lambda: next(ours), lambda: 10.0, rounds=3)
    assert (taken.ratio, taken.ours, taken.peers) == (4, 40, 10)


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [(range(100), 99, 98), (range(101), 99, 99), ([3, 1, 2], 50, 2), ([7], 99, 7), ([1, 2], 0, 1)],
)
def test_a_percentile_is_one_of_the_values(values: list[float], percent: int, found: float) -> None:
    assert percentile(values, percent) == found


@pytest.fixture
def stub() -> Iterator[tuple[Rsp, socket.socket]]:
    """A client without no-ack mode, which is QEMU's case, and the stub's end of its connection."""
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(10)
        far.settimeout(10)
        far.sendall(b"+$#00")
        rsp = Rsp(near)
        far.recv(100)
        yield rsp, far


def test_a_packet_is_framed_with_its_checksum_behind_the_last_acknowledgement(
    stub: tuple[Rsp, socket.socket],
) -> None:
    rsp, far = stub
    rsp.send(b"Z0,7c09,1")
    assert far.recv(100) == b"+$Z0,7c09,1#16"


def test_in_no_ack_mode_a_packet_goes_alone() -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"+$OK#9a")
        rsp = Rsp(near)
        assert far.recv(100) == b"+$QStartNoAckMode#b0+"
        rsp.send(b"s")
        assert far.recv(100) == b"$s#73"


def test_an_answer_in_pieces_is_put_together(stub: tuple[Rsp, socket.socket]) -> None:
    rsp, far = stub
    far.sendall(b"+$T05thr")
    far.sendall(b"ead:01;#07$S05#b")
    assert rsp.answer() == b"T05thread:01;"
    far.sendall(b"8")
    assert rsp.answer() == b"S05"


def test_a_wrong_checksum_is_an_error(stub: tuple[Rsp, socket.socket]) -> None:
    rsp, far = stub
    far.sendall(b"$OK#9b")
    with pytest.raises(RspError, match="checksum"):
        rsp.answer()


def test_a_stub_that_hangs_up_is_an_error(stub: tuple[Rsp, socket.socket]) -> None:
    rsp, far = stub
    far.close()
    with pytest.raises(RspError, match="closed"):
        rsp.answer()


def test_an_answer_that_was_not_expected_is_an_error(stub: tuple[Rsp, socket.socket]) -> None:
    rsp, far = stub
    far.sendall(b"$E22#a9")
    with pytest.raises(RspError, match="E22"):
        rsp.expect(b"Z0,0,1", b"OK")
