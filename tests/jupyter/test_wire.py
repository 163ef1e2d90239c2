"""What a kernel says on the line, written down for the front end's tests to read.

``labextension/test/wire.json`` is one conversation with a real hub; vitest plays it to the views,
so that neither side can change its words without the other's tests failing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.jupyter.live import progress
from kvmdbg.jupyter.live.hub import Hub
from tests.committed import committed
from tests.guests.page import Page, at_clock

FILE = Path(__file__).parents[2] / "labextension" / "test" / "wire.json"
PARTS = ["debugregs", "exits", "listing", "machine"]
GUEST = """
start:   mov ecx, 3
again:   inc dword ptr [counter]
         mov al, '<'
         out 0xe9, al
         loop again
         hlt
         .balign 4
counter: .long 0
"""


class Clock:
    """Time that passes by a quarter of a second whenever it is asked for."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def without_serial(message: dict[str, Any]) -> dict[str, Any]:
    """How many snapshots came before depends on the host's speed."""
    return {key: value for key, value in message.items() if key not in ("serial", "buffers")}


def conversation(hub: Hub, vm: Vm) -> dict[str, Any]:
    """A page arms a watchpoint, lets the guest run, steps, goes back; then the VM is closed."""
    page = Page(hub)
    said: dict[str, Any] = {"hello": page.ask("hello", wants=PARTS)}
    page.snapshot(lambda m: m["parts"])
    page.ask("window", name="page:m1", where="counter", length=16)
    said["armed"] = page.ask("bp", action="set", where="counter", access="w", length=4)
    page.snapshot(lambda m: m["breakpoints"])
    said["hit"] = page.do("continue")
    page.snapshot(at_clock(2))
    page.do("step", count=4)
    page.snapshot(at_clock(6))
    page.do("goto", clock=2)
    page.snapshot(lambda m: (m["clock"], m["end"]) == (2, 6))
    said["refused"] = page.do("until", where="nowhere")
    page.ask("bookmark", name="here")
    said["snapshot"] = page.snapshot(lambda m: m["bookmarks"] == {"here": 2})
    said |= one_step(page)
    page.told.clear()
    page.ask("exits", epoch=hub.exits.epoch, **{"from": 0}, column="code")
    rows = page.wait(lambda m: m["op"] == "exits")
    said["exits"] = without_serial(rows) | {"bytes": list(rows["buffers"][0])}
    said["described"] = described = page.ask("exit", epoch=hub.exits.epoch, exit=0)
    described["data"]["facts"] = [f for f in described["data"]["facts"] if f[0] != "host time"]
    running = progress.Progress(vm)
    said["running"] = {"v": 1, **running.look()}
    vm.close()
    hub.refresh()
    said["gone"] = page.wait(lambda m: m["op"] == "gone")
    return {name: without_serial(message) for name, message in said.items()}


def one_step(page: Page) -> dict[str, Any]:
    """A whole snapshot, what a step changes in it, the whole after it; and back again."""
    said = {}
    page.told.clear()
    page.ask("hello", wants=["machine"], changes=True)
    said["before"] = page.snapshot()
    page.do("step")
    said["changed"] = message = page.changes("clock")
    message["changes"] = without_serial(message["changes"])
    del message["since"]
    page.told.clear()
    page.ask("hello", wants=["machine"])
    said["after"] = page.snapshot()
    page.do("goto", clock=2)
    page.ask("hello", wants=PARTS)
    page.snapshot(lambda m: m["clock"] == 2 and "exits" in m["parts"])
    return said


def test_the_page_reads_what_the_kernel_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    with Vm() as vm:
        vm.load(assemble(GUEST))
        hub = Hub(lambda: vm)
        monkeypatch.setattr(progress, "perf_counter", Clock())
        now = json.dumps(conversation(hub, vm), indent=1, sort_keys=True) + "\n"
        hub.close()
    assert committed(FILE, now) == now, "KVMDBG_WRITE_DOCS=1 writes it anew; then run vitest"
