"""What a page is told of the exits: kinds, clocks, the present, and what is void."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest

from kvmdbg import Vm, assemble
from kvmdbg.errors import BadInput
from kvmdbg.exits import DebugExit, ExceptionExit
from kvmdbg.history.timeline import TYPECODES
from kvmdbg.jupyter.live.parts.exits import ExitColumns, part
from kvmdbg.jupyter.live.wishes import Wishes
from tests.guests.counting import LONG

OWN_INT3 = "start: int3\nnop\nhlt\nhandler: inc ebx\niretq"


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm() as vm:
        vm.load(assemble(LONG))
        yield vm


class Page:
    """What a page knows that gets every message."""

    def __init__(self) -> None:
        self.columns = ExitColumns()
        self.epoch = 0
        self.code = b""
        self.table: list[dict[str, Any]] = []
        self.messages = 0

    def look(self, vm: Vm) -> None:
        self.messages = 0
        self.epoch, messages = self.columns.update(vm)
        for said, data in messages:
            self.messages += 1
            assert (said["epoch"], said["total"]) == (self.epoch, len(self.columns))
            if said["column"] == "code":
                self.code, self.table = self.code[: said["from"]] + data, said["codes"]
                assert len(self.code) == said["total"]

    @property
    def words(self) -> list[str]:
        return [self.table[code]["words"] for code in self.code]

    @property
    def lanes(self) -> list[list[str]]:
        return [self.table[code]["lanes"] for code in self.code]


@pytest.fixture
def page(vm: Vm) -> Page:
    page = Page()
    page.look(vm)
    return page


def adopt(vm: Vm, **columns: Any) -> None:
    """Rows from nowhere; columns that are not given hold zeros."""
    size = len(next(iter(columns.values())))
    found = {}
    for name, code in TYPECODES.items():
        found[name] = array(code)
        values = columns.get(name, np.zeros(size))
        found[name].frombytes(np.asarray(values).astype(code).tobytes())
    vm.timeline.adopt(found)


# Kinds


def test_a_step_is_one_byte_that_the_table_explains(vm: Vm, page: Page) -> None:
    vm.step(2)
    page.look(vm)
    assert page.words == ["DEBUG step", "DEBUG step"]
    assert page.lanes == [["step"], ["step"]]


def test_an_exit_with_two_causes_is_in_two_lanes(vm: Vm, page: Page) -> None:
    vm.timeline.append(DebugExit(1, 0x8000, 0xFFFF_4FF2), 0x8000, 1)
    page.look(vm)
    assert page.lanes == [["DR1", "step"]]


def test_a_debug_exit_without_a_cause_has_a_lane_too(vm: Vm, page: Page) -> None:
    vm.timeline.append(DebugExit(1, 0x8000, 0xFFFF_0FF0), 0x8000, 1)
    page.look(vm)
    assert page.lanes == [["DEBUG other"]]


def test_other_exits_have_the_lane_of_their_reason(vm: Vm, page: Page) -> None:
    vm.timeline.append(ExceptionExit(14, 0, 0x8000, False), 0x8000, 1)
    page.look(vm)
    assert (page.lanes, page.words) == ([["EXCEPTION"]], ["EXCEPTION #PF"])


def test_an_int3_that_the_guest_gets_back_is_its_own() -> None:
    page = Page()
    with Vm() as vm:
        vm.load(assemble(OWN_INT3))
        vm.set_gate(3, "handler")
        vm.bp("start+1")
        vm.cont()
        page.look(vm)
    assert page.lanes[0] == ["INT3", "guest's own"]
    assert page.lanes[1] == ["INT3"]


def test_more_kinds_than_a_byte_can_number_end_as_other(vm: Vm) -> None:
    page, kinds = Page(), np.arange(300)
    adopt(vm, reason=np.full(300, 1), exception=kinds, host_time=kinds)
    page.look(vm)
    assert page.words[253] == "EXCEPTION INT FDh"
    assert page.words[254:] == ["other"] * 46


@pytest.mark.parametrize(
    "row", [(4, -32768, 0), (4, 32767, 2**64 - 1), (17, 255, 0), (0, 300, 2**63)]
)
def test_no_number_in_a_row_is_too_odd_to_have_a_kind(vm: Vm, row: tuple[int, int, int]) -> None:
    page = Page()
    reason, exception, dr6 = ([value] for value in row)
    columns = {"reason": reason, "exception": exception, "dr6": np.array(dr6, np.uint64)}
    adopt(vm, **columns)
    page.look(vm)
    assert len(page.words) == 1


# What is sent when


def test_nothing_is_sent_twice(vm: Vm, page: Page) -> None:
    vm.step()
    page.look(vm)
    page.look(vm)
    assert page.messages == 0


def test_a_step_sends_one_row_with_its_clock(vm: Vm, page: Page) -> None:
    vm.step(5)
    page.look(vm)
    vm.step()
    _, ((kinds, code), (clocks, clock)) = page.columns.update(vm)
    assert (kinds["from"], kinds["count"], len(code)) == (5, 1, 1)
    assert (clocks["column"], clocks["from"], struct.unpack("<d", clock)) == ("clock", 5, (6.0,))


def test_many_rows_go_without_their_clocks(vm: Vm) -> None:
    page = Page()
    vm.load(assemble(LONG))
    vm.step(5000)
    page.look(vm)
    assert (page.messages, len(page.code)) == (1, 5000)


def test_a_page_may_ask_for_clocks_from_a_row_on(vm: Vm, page: Page) -> None:
    vm.step(4)
    page.look(vm)
    ((said, data),) = page.columns.rows(vm, page.epoch, "clock", 1)
    assert (said["from"], said["count"], said["total"]) == (1, 3, 4)
    assert struct.unpack("<3d", data) == (2.0, 3.0, 4.0)


def test_a_page_may_ask_before_anything_was_sent(vm: Vm) -> None:
    vm.step(3)
    columns = ExitColumns()
    ((said, data),) = columns.rows(vm, columns.epoch, "code", 0)
    assert (said["count"], len(data)) == (3, 3)


@pytest.mark.parametrize(
    ("column", "first"),
    [("pc", 0), (3, 0), ("code", -1), ("code", 4), ("code", "0"), ("code", None), ("code", True)],
)
def test_asking_for_what_is_not_there_is_one_line(
    vm: Vm, page: Page, column: object, first: object
) -> None:
    vm.step(3)
    page.look(vm)
    with pytest.raises(BadInput):
        page.columns.rows(vm, page.epoch, column, first)


def test_a_row_that_the_guest_gets_back_later_begins_another_epoch(vm: Vm, page: Page) -> None:
    vm.timeline.append(DebugExit(3, 0x8000), 0x8000, 0)
    page.look(vm)
    before = page.epoch
    vm.timeline.give_back()
    page.look(vm)
    assert (page.epoch > before, page.lanes) == (True, [["INT3", "guest's own"]])


# Another way


def test_loading_begins_another_epoch(vm: Vm, page: Page) -> None:
    vm.step(3)
    page.look(vm)
    before = page.epoch
    vm.load(assemble(LONG))
    page.look(vm)
    assert (page.epoch > before, len(page.columns)) == (True, 0)


def test_going_back_leaves_all_rows_where_they_are(vm: Vm, page: Page) -> None:
    vm.step(6)
    page.look(vm)
    before = page.epoch, page.code
    vm.goto(2)
    page.look(vm)
    assert (page.epoch, page.code, page.messages) == (*before, 0)
    assert part(vm, Wishes())["total"] == 6
    assert part(vm, Wishes())["here"] == 2


def test_stepping_again_through_the_same_steps_sends_nothing(vm: Vm, page: Page) -> None:
    vm.step(6)
    page.look(vm)
    before = page.epoch
    vm.goto(2)
    vm.step(2)
    page.look(vm)
    assert (page.epoch, page.messages) == (before, 0)
    assert {name: part(vm, Wishes())[name] for name in ("total", "here")} == {"total": 6, "here": 4}


def test_running_through_what_was_stepped_begins_another_epoch(vm: Vm, page: Page) -> None:
    vm.step(6)
    page.look(vm)
    before = page.epoch
    vm.goto(2)
    vm.cont(max_instructions=2)
    page.look(vm)
    assert page.epoch > before
    assert page.words == ["DEBUG step"] * 2 + ["INTR"] + ["DEBUG step"] * 2


def test_an_edit_in_the_past_ends_the_future(vm: Vm, page: Page) -> None:
    vm.step(6)
    page.look(vm)
    before = page.epoch
    vm.goto(2)
    vm.set_regs(rax=1)
    page.look(vm)
    assert (page.epoch > before, len(page.columns)) == (True, 2)
    assert part(vm, Wishes())["total"] == 2


def test_whose_exits_lie_ahead_is_still_known(vm: Vm) -> None:
    page = Page()
    vm.load(assemble(OWN_INT3))
    vm.set_gate(3, "handler")
    vm.bp("start+1")
    vm.cont()
    page.look(vm)
    before = page.epoch, page.lanes
    assert before[1][0] == ["INT3", "guest's own"]
    vm.goto(0)
    page.look(vm)
    assert (page.epoch, page.lanes) == before
    assert part(vm, Wishes())["here"] == 0


def test_of_an_opened_recording_it_is_not_known_what_the_guest_got_back(
    vm: Vm, tmp_path: Path
) -> None:
    vm.step(3)
    vm.save(tmp_path / "three.kvmdbg")
    with Vm.open(tmp_path / "three.kvmdbg", live=True) as opened:
        opened.step()
        assert part(opened, Wishes())["told_from"] == 3
        opened.goto(1)
        assert part(opened, Wishes())["told_from"] == 3
    assert part(vm, Wishes())["told_from"] == 0


# One exit


def test_an_exit_is_described_in_words(vm: Vm, page: Page) -> None:
    vm.step(2)
    found = page.columns.describe(vm, page.epoch, 1)
    assert found["says"] == "exit 1: DEBUG step at loop+3, clock 2"
    assert ["DR6", "0xffff4ff0: causes: BS"] in found["facts"]
    assert (found["clock"], found["pc"]["label"]) == (2, "loop+3")


def test_an_exit_of_the_recorded_future_says_so(vm: Vm, page: Page) -> None:
    vm.step(4)
    vm.goto(1)
    found = page.columns.describe(vm, page.epoch, 3)
    assert found["says"] == "exit 3: DEBUG step at loop, clock 4"
    assert ["", "in the recorded future"] in found["facts"]


@pytest.mark.parametrize("index", [-1, 2, "0", None, 0.0, True, 1 << 70])
def test_an_exit_that_is_not_there_is_one_line(vm: Vm, page: Page, index: object) -> None:
    vm.step(2)
    with pytest.raises(BadInput, match="there is no exit"):
        page.columns.describe(vm, page.epoch, index)


def test_an_exit_is_a_moment_to_go_to(vm: Vm, page: Page) -> None:
    vm.step(4)
    vm.goto(page.columns.clock_of(vm, page.epoch, 1))
    assert part(vm, Wishes())["here"] == 2


def test_without_a_clock_there_is_no_moment_to_go_to(vm: Vm, page: Page) -> None:
    vm.timeline.append(DebugExit(3, 0x8000), 0x8000, -1)
    with pytest.raises(BadInput, match="counts no instructions"):
        page.columns.clock_of(vm, page.epoch, 0)


def test_a_page_with_another_epoch_is_told_to_look_again(vm: Vm, page: Page) -> None:
    vm.step(3)
    page.look(vm)
    vm.load(assemble(LONG))
    vm.cont(max_instructions=9)
    with pytest.raises(BadInput, match="look again"):
        page.columns.describe(vm, page.epoch, 0)
    with pytest.raises(BadInput, match="look again"):
        page.columns.clock_of(vm, page.epoch, 0)


def test_a_million_exits_become_bytes_in_a_moment(vm: Vm) -> None:
    dice, size = np.random.default_rng(1), 1_000_000
    exception = dice.choice([1, 1, 3], size)
    hits = dice.choice([0x4000, 0x4000, 1, 2, 0x4001], size)
    columns = {
        "reason": np.full(size, 4),
        "exception": exception,
        "dr6": np.where(exception == 1, 0xFFFF_0FF0 | hits, 0),
        "clock": np.arange(size),
        "host_time": np.arange(size) * 1e-6,
    }
    adopt(vm, **columns)
    spent = []
    for _ in range(5):
        began = process_time()
        ExitColumns().update(vm)
        spent.append(process_time() - began)
    assert min(spent) < 0.06


def test_each_of_a_million_exits_has_its_own_kind(vm: Vm) -> None:
    page, size = Page(), 1_000_000
    reason = np.where(np.arange(size) % 3, 5, 2)
    adopt(vm, reason=reason, exception=np.full(size, -1), host_time=np.arange(size))
    page.look(vm)
    assert [kind["words"] for kind in page.table] == ["IO", "HLT"]
    assert np.array_equal(np.frombuffer(page.code, np.uint8), reason == 5)
