"""The hub: what all views are told of a VM, and what they may ask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.jupyter.live import hub as hub_module
from kvmdbg.jupyter.live.hub import Hub
from kvmdbg.jupyter.live.parts import exits
from kvmdbg.jupyter.live.publisher import FRAME, ready_after
from tests.guests.page import Page, at_clock

LOOP = """
start:   mov ecx, 3
again:   inc dword ptr [counter]
         loop again
         hlt
         .balign 4
counter: .long 0
"""
ENDLESS = "start: jmp start"


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm() as made:
        made.load(assemble(LOOP))
        yield made
        made.request_stop()


@pytest.fixture
def hub(vm: Vm) -> Iterator[Hub]:
    made = Hub(lambda: vm, {"exits": exits.part})
    yield made
    made.close()


@pytest.fixture
def page(hub: Hub) -> Page:
    return Page(hub)


def test_a_new_page_is_told_how_the_guest_stands(page: Page) -> None:
    told = page.snapshot()
    assert told["v"] == 1
    assert told["pc"] == {"address": "0x8000", "label": "start"}
    assert (told["state"], told["bits"], told["clock"], told["end"]) == ("stopped", 64, 0, 0)


def test_a_step_in_a_cell_is_told(vm: Vm, page: Page) -> None:
    vm.step()
    told = page.snapshot(at_clock(1))
    assert told["stop"]["kind"] == "step"
    assert told["says"] == vm.last_stop.title  # type: ignore[union-attr]  # it has just stopped


def test_many_steps_are_told_as_few_snapshots_and_the_last_is_always_told(
    vm: Vm, page: Page
) -> None:
    vm.reset()
    vm.load(assemble("x: inc rax\njmp x"))
    page.told.clear()
    start = time.perf_counter()
    for _ in range(2000):
        vm.step()
    page.snapshot(at_clock(2000))
    seconds = time.perf_counter() - start
    told = [m["serial"] for m in page.told if m["op"] == "snapshot"]
    assert told == sorted(told)
    assert len(told) <= seconds * 60 + 5


def test_all_pages_are_told_the_same(hub: Hub, vm: Vm, page: Page) -> None:
    other = Page(hub, "other")
    vm.step(2)
    one, two = (each.snapshot(at_clock(2)) for each in (page, other))
    assert one == two


def test_an_answer_goes_to_who_asked(hub: Hub, page: Page) -> None:
    other = Page(hub, "other")
    assert page.do("step")["ok"]
    assert [m for m in other.told if m["op"] == "answer" and m["to"] == "other"] == []


@pytest.mark.parametrize(
    ("action", "fields", "clock"),
    [
        ("step", {}, 1),
        ("step", {"count": 3}, 3),
        ("over", {}, 1),
        ("until", {"where": "again"}, 1),
        ("continue", {}, 8),
    ],
)
def test_a_button_does_what_its_command_does(
    page: Page, action: str, fields: dict[str, Any], clock: int
) -> None:
    answer = page.do(action, **fields)
    assert answer["ok"], answer
    assert page.snapshot(at_clock(clock))["says"] == answer["says"]


def test_one_can_go_back_and_forth(page: Page) -> None:
    page.do("step", count=5)
    assert page.do("goto", clock=2)["ok"]
    assert page.snapshot(lambda m: (m["clock"], m["end"]) == (2, 5))
    assert page.do("step-back")["ok"]
    assert page.snapshot(at_clock(1))
    assert page.do("reset")["ok"]
    assert page.snapshot(lambda m: m["end"] == 0 and m["clock"] == 0)


def test_an_exit_is_gone_to_by_its_number(page: Page) -> None:
    page.ask("hello", wants=["exits"])
    page.do("step", count=4)
    epoch = page.snapshot(lambda m: m.get("rows"))["parts"]["exits"]["epoch"]
    assert page.do("goto", exit=1, epoch=epoch)["ok"]
    assert page.snapshot(at_clock(2))


def test_a_click_on_exits_that_are_no_more_is_refused(page: Page) -> None:
    page.do("step", count=4)
    answer = page.do("goto", exit=1, epoch=99)
    assert (answer["ok"], answer["says"]) == (False, "the exits are others now: look again")


def test_a_breakpoint_is_set_as_by_the_command(vm: Vm, page: Page) -> None:
    answer = page.ask("bp", action="set", where="counter", access="w", length=4)
    assert answer["ok"]
    assert [each.text for each in vm.breakpoints] == [answer["says"]]
    told = page.snapshot(lambda m: m["breakpoints"])["breakpoints"][0]
    assert (told["kind"], told["access"], told["length"], told["slot"]) == ("hw", "w", 4, 0)


def test_a_click_on_an_instruction_sets_a_breakpoint_and_another_takes_it_away(
    vm: Vm, page: Page
) -> None:
    page.ask("bp", action="toggle", where="again")
    assert [each.address for each in vm.breakpoints] == [vm.symbols["again"]]
    page.ask("bp", action="toggle", where="again")
    assert len(vm.breakpoints) == 0


def test_a_breakpoint_is_switched_off_on_and_deleted(vm: Vm, page: Page) -> None:
    number = vm.bp("again").number
    for action, there in (("disable", [False]), ("enable", [True]), ("delete", [])):
        assert page.ask("bp", action=action, number=number)["ok"]
        assert [each.enabled for each in vm.breakpoints] == there


def test_the_guests_debug_registers_can_be_written(vm: Vm, page: Page) -> None:
    assert page.ask("debugreg", name="DR1", value="counter")["ok"]
    assert vm.debugregs().db[1] == vm.symbols["counter"]


def test_labels_and_registers_are_completed(page: Page) -> None:
    assert page.ask("complete", text="co")["data"] == ["counter"]
    assert page.ask("complete", text="$ri")["data"] == ["$rip"]


def test_a_bookmark_is_made_and_told(page: Page) -> None:
    page.do("step")
    assert page.ask("bookmark", name="here")["says"] == "here: clock 1"
    assert page.snapshot(lambda m: m["bookmarks"] == {"here": 1})


def test_a_run_can_be_stopped_while_it_runs(vm: Vm, page: Page) -> None:
    vm.load(assemble(ENDLESS))
    page.hub.receive({"v": 1, "op": "do", "action": "continue", "view": "page", "id": 900})
    running = page.wait(lambda m: m["op"] == "running")
    assert running["seconds"] >= 0.5
    assert running["executed"] > 0
    assert "stop button" in running["says"]
    assert page.do("step")["says"] == "busy: the guest is running; press stop first"
    assert page.do("stop")["ok"]
    stopped = page.wait(lambda m: m["op"] == "answer" and m["id"] == 900)
    assert stopped["says"].endswith("a stop was requested")


def test_a_short_run_is_not_announced(page: Page) -> None:
    page.do("step", count=100)
    page.snapshot(lambda m: m["clock"] > 0)
    assert [m for m in page.told if m["op"] == "running"] == []


def test_a_vm_that_takes_the_place_while_a_snapshot_of_the_old_one_is_due_is_told(
    vm: Vm, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Vm(mode="real") as new:
        follows = [vm]
        hub = Hub(lambda: follows[-1], {})
        page = Page(hub)
        page.snapshot(lambda m: m["bits"] == 64)
        turn = vm.turn

        def late(*args: Any, **more: Any) -> Any:
            follows.append(new)
            hub.refresh()
            return turn(*args, **more)

        monkeypatch.setattr(vm, "turn", late)
        hub.refresh()
        page.snapshot(lambda m: m["bits"] == 16)
        hub.close()


def test_a_closed_vm_is_said_to_be_closed(vm: Vm, hub: Hub, page: Page) -> None:
    page.snapshot()
    vm.close()
    hub.refresh()
    assert "closed" in page.wait(lambda m: m["op"] == "gone")["says"]
    assert "no VM" in page.do("step")["says"]


def test_before_there_is_a_vm_the_page_is_told_how_to_begin() -> None:
    hub = Hub(lambda: None)
    page = Page(hub)
    told = page.snapshot()
    assert (told["state"], told["parts"]) == ("none", {})
    assert "%%asm" in told["says"]
    hub.close()


def test_the_hub_follows_when_another_vm_takes_the_place() -> None:
    with Vm() as one, Vm(mode="real") as two:
        there = one
        hub = Hub(lambda: there)
        page = Page(hub)
        page.snapshot(lambda m: m["bits"] == 64)
        there = two
        hub.refresh()
        page.snapshot(lambda m: m["bits"] == 16)
        two.load(b"\x40\x40")
        two.step()
        page.snapshot(lambda m: m["clock"] == 1 and m["bits"] == 16)
        hub.close()


def test_stops_that_come_sixty_times_a_second_are_told_at_once_though_unevenly() -> None:
    ready, late = 0.0, 0.9 * FRAME
    for number in range(1, 200):
        stops = number * FRAME + (late if number % 3 == 0 else 0)
        began = max(stops, ready)
        assert began - stops < 1e-9
        ready = ready_after(ready, began)


def test_stops_without_end_are_told_at_most_sixty_times_a_second() -> None:
    ready = told = 0.0
    while ready < 1:
        ready = ready_after(ready, ready)
        told += 1
    assert told <= 61


def test_only_wanted_parts_are_made(page: Page) -> None:
    assert page.snapshot()["parts"] == {}
    page.ask("hello", wants=["exits", "no such part"])
    assert set(page.snapshot(lambda m: m["parts"])["parts"]) == {"exits"}


def test_a_page_that_can_put_changes_together_is_told_no_more_than_those(
    vm: Vm, page: Page
) -> None:
    page.ask("hello", wants=["exits"], changes=True)
    before = page.snapshot(lambda m: m["parts"])
    vm.step()
    told = page.changes("clock")
    assert told["changes"]["clock"] == [1]
    assert "engine" not in told["changes"]
    assert told["since"] >= before["serial"]


def test_changes_go_on_from_the_snapshot_that_was_told_before(vm: Vm, page: Page) -> None:
    page.ask("hello", wants=["exits"], changes=True)
    page.snapshot(lambda m: m["parts"])
    for _ in range(3):
        vm.step()
        page.changes("clock")
        page.told[:-1] = []
    page.told.clear()
    vm.step()
    first, (serial,) = page.changes("clock"), page.changes("clock")["changes"]["serial"]
    assert first["since"] == serial - 1


def test_a_page_that_says_hello_again_is_told_all(vm: Vm, page: Page) -> None:
    page.ask("hello", wants=["exits"], changes=True)
    page.snapshot(lambda m: m["parts"])
    vm.step()
    page.changes("clock")
    page.told.clear()
    page.ask("hello", wants=["exits"], changes=True)
    assert page.snapshot()["clock"] == 1


def test_one_page_that_needs_whole_snapshots_gets_them(hub: Hub, vm: Vm, page: Page) -> None:
    page.ask("hello", wants=["exits"], changes=True)
    other = Page(hub, "other")
    other.ask("hello", wants=["exits"])
    vm.step()
    assert other.snapshot(at_clock(1))["engine"] == "unicorn"


def test_new_exits_come_with_the_snapshot(vm: Vm, page: Page) -> None:
    page.ask("hello", wants=["exits"])
    vm.step(3)
    told = page.snapshot(lambda m: m.get("rows"))
    assert [(rows["column"], rows["count"]) for rows in told["rows"]] == [("code", 3), ("clock", 3)]
    assert [len(data) for data in told["buffers"]] == [3, 24]


def test_many_new_exits_come_in_a_message_of_their_own(
    vm: Vm, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "ALONG", 26)
    page.ask("hello", wants=["exits"])
    vm.step(3)
    rows = page.wait(lambda m: m["op"] == "exits" and m["column"] == "code")
    assert len(rows["buffers"][0]) == rows["count"] == 3


HOSTILE: list[object] = [
    None,
    7,
    [],
    {},
    {"v": 0, "op": "hello"},
    {"v": 1},
    {"v": 1, "op": 5},
    {"v": 1, "op": "explode"},
    {"v": 1, "op": "do"},
    {"v": 1, "op": "do", "action": "step", "count": 10**30},
    {"v": 1, "op": "do", "action": "step", "count": "1"},
    {"v": 1, "op": "do", "action": "step", "count": True},
    {"v": 1, "op": "do", "action": ["stop"]},
    {"v": 1, "op": "do", "action": "goto", "clock": -1},
    {"v": 1, "op": "do", "action": "until", "where": "x" * 10_000},
    {"v": 1, "op": "do", "action": "until", "where": "<script>"},
    {"v": 1, "op": "bp", "action": "set", "where": "nowhere"},
    {"v": 1, "op": "bp", "action": "delete", "number": 77},
    {"v": 1, "op": "debugreg", "name": "cr3", "value": "1"},
    {"v": 1, "op": "window", "name": "w", "where": "0", "length": 1 << 30},
    {"v": 1, "op": "window", "name": "w", "length": 16},
    {"v": 1, "op": "exits", "epoch": 1, "from": 10**9, "column": "code"},
    {"v": 1, "op": "exits", "epoch": 1, "from": 0, "column": "__class__"},
    {"v": 1, "op": "exit", "epoch": 1, "exit": 5},
    {"v": 1, "op": "hello", "wants": {"a": 1}},
    {"v": 1, "op": "bookmark", "name": ""},
]


@pytest.mark.parametrize("message", HOSTILE, ids=str)
def test_an_odd_message_gets_one_line_as_its_answer(page: Page, message: object) -> None:
    if isinstance(message, dict):
        message = {"view": "odd", "id": 5, **message}
    page.hub.receive(message)
    answer = page.wait(lambda m: m["op"] == "answer")
    assert not answer["ok"]
    assert answer["says"]
    assert "\n" not in answer["says"]
    assert "a bug in kvmdbg" not in answer["says"]
    assert page.do("step")["ok"]


def test_a_page_of_another_version_is_told_to_reload(page: Page) -> None:
    page.hub.receive({"v": 0, "op": "hello", "view": "old", "id": 1})
    answer = page.wait(lambda m: m["op"] == "answer")
    assert (answer["to"], answer["id"]) == ("old", 1)
    assert "reload the page" in answer["says"]


def test_at_most_sixteen_windows_of_a_page_are_kept(hub: Hub, page: Page) -> None:
    for n in range(16):
        assert page.ask("window", name=f"w{n}", where="0", length=16)["ok"]
    assert "at most 16" in page.ask("window", name="one more", where="0", length=16)["says"]
    assert page.ask("window", name="w0", length=0)["ok"]
    assert len(hub.wishes.windows) == 15


def test_a_page_that_never_said_goodbye_makes_room(hub: Hub) -> None:
    for n in range(40):
        hub.receive({"v": 1, "op": "hello", "view": f"v{n}", "id": 1, "wants": []})
    hub.receive({"v": 1, "op": "window", "name": "w", "where": "0", "length": 8, "view": "v0"})
    assert len(hub.wishes.windows) == 1
    assert len(hub._views) == 32


def test_views_that_fail_are_told_and_live_on(vm: Vm) -> None:
    def broken(*_: object) -> dict[str, Any]:
        if vm.vcpu.clock == 1:
            raise ValueError("oh")
        return {}

    hub = Hub(lambda: vm, {"exits": broken})
    page = Page(hub)
    page.ask("hello", wants=["exits"])
    vm.step()
    assert "ValueError" in page.wait(lambda m: m["op"] == "note")["says"]
    vm.step()
    page.snapshot(at_clock(2))
    hub.close()
