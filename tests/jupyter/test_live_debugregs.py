"""What pages are told about the debug registers: owners, fields, rules, history.

The rules that a page checks itself are compared here with what the debugger really refuses, case by
case, in labextension/test/debugregs.*.json, which the browser's tests read too.
``KVMDBG_WRITE_DOCS=1 pytest tests/jupyter/test_live_debugregs.py`` writes these files anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.debugger.breakpoints import HOST_DR7
from kvmdbg.engines import Capability
from kvmdbg.engines.unicorn import UnicornEngine
from kvmdbg.errors import BreakpointError, KvmdbgError
from kvmdbg.jupyter.live.parts import debugregs, debugregs_history
from kvmdbg.jupyter.live.parts.debugregs import part, rules
from kvmdbg.jupyter.live.wishes import Wishes
from kvmdbg.profiles import find_profile
from kvmdbg.uapi import GuestDbg
from kvmdbg.x86.debugreg import Access, dr7_with
from tests.committed import committed

GUEST = """
start:  mov ecx, 200
loop:   inc dword ptr [counter]
        dec ecx
        jnz loop
done:   hlt
        .align 8
counter: .long 5
        .align 8
table:  .quad 1, 2
"""
FIXTURES = Path(__file__).parents[2] / "labextension" / "test"


def a_vm(mode: str = "long", **options: Any) -> Vm:
    vm = Vm(mode=mode, **options)
    vm.load(assemble(GUEST, mode=mode))
    return vm


@pytest.fixture
def vm() -> Iterator[Vm]:
    with a_vm() as vm:
        yield vm


def shown(vm: Vm) -> dict[str, Any]:
    """As a page gets it."""
    made: dict[str, Any] = json.loads(json.dumps(part(vm, Wishes())))
    return made


def the_register(vm: Vm, name: str, side: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        r for r in shown(vm)["registers"] if (r["name"], r["side"]) == (name, side)
    )
    return found


class Without(UnicornEngine):
    """The embedded engine, as if it could do less."""

    lost: frozenset[Capability] = frozenset()
    emulated: frozenset[Capability] = frozenset()

    @property
    def capabilities(self) -> frozenset[Capability]:
        return super().capabilities - self.lost


def lacking(*lost: Capability) -> Vm:
    def opened(ram: int) -> Without:
        engine = Without(ram, find_profile("reference"))
        engine.lost = frozenset(lost)
        return engine

    return a_vm(engine=opened)


# Who owns them


def test_without_breakpoints_the_guests_own_are_in_effect(vm: Vm) -> None:
    told = shown(vm)
    assert told["owner"] == "guest"
    assert {slot["guest"]["state"] for slot in told["slots"]} == {"in effect"}
    assert [slot["host"] for slot in told["slots"]] == [None] * 4


def test_a_breakpoint_that_is_set_takes_effect_at_the_next_entry(vm: Vm) -> None:
    vm.bp("counter", access="w")
    told = shown(vm)
    assert told["owner"] == "guest"
    assert "from the next %step or %vm run the host's are, for breakpoint 1" in told["says"]
    assert told["slots"][0]["host"]["state"] == "from the next entry"
    assert told["slots"][0]["guest"]["state"] == "in effect until the next entry"


def test_after_a_run_the_hosts_are_in_effect_and_the_guests_inert(vm: Vm) -> None:
    vm.bp("counter", access="w")
    vm.cont()
    told = shown(vm)
    assert told["owner"] == "host"
    assert told["slots"][0]["host"]["state"] == "in effect"
    assert {slot["guest"]["state"] for slot in told["slots"]} == {"inert"}


def test_a_deleted_breakpoint_stays_in_effect_until_the_next_entry(vm: Vm) -> None:
    vm.bp("counter", access="w")
    vm.cont()
    vm.breakpoints.delete(1)
    slot = shown(vm)["slots"][0]
    assert slot["host"]["state"] == "in effect until the next entry"
    assert slot["breakpoint"] is None
    assert "the guest's own are in effect" in shown(vm)["says"]


def test_what_was_set_by_hand_is_the_hosts_without_a_breakpoint(vm: Vm) -> None:
    control = GuestDbg.ENABLE | GuestDbg.USE_HW_BP
    vm.debug(control, (0, 0x9000, 0, 0, 0, 0, 0, dr7_with(0x400, 1, Access.WRITE, 2)))
    slot = shown(vm)["slots"][1]
    assert (slot["host"]["on"], slot["breakpoint"], slot["effective"]) == (True, None, "host")


def test_a_slot_says_label_span_access_length_and_whose_it_is(vm: Vm) -> None:
    vm.bp("counter", access="rw", length=2, slot=3)
    slot = shown(vm)["slots"][3]
    host = slot["host"]
    address = vm.symbols["counter"]
    assert (host["label"], host["address"]) == ("counter", f"{address:#x}")
    assert (host["access"], host["length"], host["enables"]) == ("reads and writes", 2, "G3")
    assert host["span"] == f"{address:#x}-{address + 1:#x}"
    assert slot["breakpoint"]["number"] == 1


def test_the_slot_that_the_stop_hit_is_marked_and_no_other(vm: Vm) -> None:
    vm.bp("done", kind="hw")
    vm.bp("counter", access="w")
    vm.cont()
    assert [slot["hit"] for slot in shown(vm)["slots"]] == [False, True, False, False]


def test_after_a_step_no_slot_is_marked_as_hit(vm: Vm) -> None:
    vm.bp("counter", access="w")
    vm.cont()
    vm.step()
    assert not any(slot["hit"] for slot in shown(vm)["slots"])


def test_a_slot_that_was_left_out_to_step_off_its_instruction_says_so(vm: Vm) -> None:
    vm.bp("loop", kind="hw")
    vm.bp("counter", access="w")
    vm.cont()
    vm.step()
    told = shown(vm)
    assert [s["host"]["state"] for s in told["slots"][:2]] == ["stepped off", "in effect"]
    assert "breakpoint 1 was left out to step off its instruction" in told["says"]


def test_a_new_breakpoint_is_not_said_to_be_stepped_off(vm: Vm) -> None:
    vm.bp("counter", access="w")
    vm.cont()
    vm.bp("loop", kind="hw")
    told = shown(vm)
    assert told["slots"][1]["host"]["state"] == "from the next entry"
    assert told["says"].endswith("sets them anew.")
    assert the_register(vm, "DR7", "host")["title"] == "the host's, from the next entry"


# DR6 and DR7


def test_the_exits_dr6_is_told_beside_the_guests(vm: Vm) -> None:
    vm.bp("counter", access="w")
    vm.cont()
    reported, own = the_register(vm, "DR6", "exit"), the_register(vm, "DR6", "guest")
    assert (reported["words"], own["words"]) == ("causes: B0", "no cause")


def test_fields_come_from_the_highest_bit_and_cover_the_register(vm: Vm) -> None:
    bits = [
        bit
        for field in the_register(vm, "DR7", "guest")["fields"]
        for bit in range(field["high"], field["low"] - 1, -1)
    ]
    assert bits == list(range(63, -1, -1))


def test_reserved_and_active_fields_are_told_apart(vm: Vm) -> None:
    vm.bp("counter", access="w")
    fields = {field["low"]: field for field in the_register(vm, "DR7", "host")["fields"]}
    assert (fields[10]["reserved"], fields[10]["active"]) == (True, False)
    assert (fields[1]["name"], fields[1]["active"]) == ("G0", True)
    assert not fields[3]["active"]


def test_the_hosts_dr7_is_not_told_where_it_has_none(vm: Vm) -> None:
    assert [(r["name"], r["side"]) for r in shown(vm)["registers"]] == [
        ("DR7", "guest"),
        ("DR6", "guest"),
    ]


# What the engine cannot do


def test_an_engine_that_can_do_all_has_no_limits(vm: Vm) -> None:
    assert rules(vm)["limits"] == []


def test_what_the_engine_lacks_is_told_in_the_words_of_the_refusal() -> None:
    with lacking(Capability.HW_DATA, Capability.HW_WRITE) as vm:
        with pytest.raises(BreakpointError) as refused:
            vm.bp("counter", access="w")
        told = rules(vm)
    assert told["refusals"]["w"] == str(refused.value)
    assert str(refused.value) in told["limits"]


def test_general_detect_that_is_missing_is_told() -> None:
    with lacking(Capability.HW_GD) as vm:
        assert rules(vm)["limits"] == ['the engine "unicorn" has no general detect (DR7.GD)']


def test_stops_that_the_engine_makes_itself_are_told() -> None:
    with lacking() as vm:
        Without.emulated = frozenset({Capability.HW_WRITE})
        try:
            limits = rules(vm)["limits"]
        finally:
            Without.emulated = frozenset()
    assert limits == [
        "write watchpoints in DR0-3: emulated, the engine makes these stops from other exits"
    ]


# Symbols


def test_at_most_500_symbols_are_told_and_how_many_are_left_out(vm: Vm) -> None:
    vm.symbols.update({f"label{n}": n for n in range(600)})
    told = rules(vm)
    assert len(told["symbols"]) <= debugregs.MOST_SYMBOLS
    assert told["more"] == len(vm.symbols) - debugregs.MOST_SYMBOLS


def test_a_label_that_is_named_like_a_register_is_left_to_the_kernel(vm: Vm) -> None:
    vm.symbols["AX"] = 0x9000
    assert "AX" not in rules(vm)["symbols"]


def test_control_characters_of_a_label_are_spelled_out(vm: Vm) -> None:
    vm.symbols["a\x1b"] = 0x9000
    assert "a\\x1b" in rules(vm)["symbols"]


# The rules, case by case

SITUATIONS = ("free", "real", "one", "disabled", "full", "no data")
WHERES = ("counter", "counter+2", "loop", "0x9001", "nowhere", "12ab", "$rip")
FORMS = tuple(product(WHERES, ("x", "w", "rw"), ("", "4", "8"), ("", "0")))


def situation(name: str) -> Vm:
    if name == "no data":
        return lacking(Capability.HW_DATA, Capability.HW_WRITE)
    vm = a_vm("real" if name == "real" else "long")
    if name in ("one", "disabled", "full"):
        vm.bp("counter", access="w", length=4)
    if name == "disabled":
        vm.breakpoints.disable(1)
    if name == "full":
        for offset in (0, 2, 4):
            vm.bp(f"table+{offset}", access="rw", length=2)
    return vm


def refusal(vm: Vm, where: str, access: str, length: str, slot: str) -> str:
    """The first line of what the debugger says to a form; empty where it sets the breakpoint."""
    try:
        made = vm.bp(
            where,
            kind="hw",
            access=access,
            length=int(length) if length else None,
            slot=int(slot) if slot else None,
        )
    except KvmdbgError as error:
        return str(error).splitlines()[0]
    vm.breakpoints.delete(made.number)
    return ""


def cases() -> dict[str, Any]:
    found = {}
    for name in SITUATIONS:
        with situation(name) as vm:
            told = rules(vm)
            rows = [[*form, refusal(vm, *form)] for form in FORMS]
        found[name] = {"rules": told, "rows": rows}
    return found


def test_the_browser_tests_cases_are_what_the_debugger_says() -> None:
    text = "{\n" + ",\n".join(_situation_text(*item) for item in cases().items()) + "\n}\n"
    assert committed(FIXTURES / "debugregs.cases.json", text) == text


def test_the_browser_tests_part_is_what_the_kernel_tells(vm: Vm) -> None:
    vm.vcpu.set_debugregs(vm.debugregs()._replace(db=(0x8000, 0, 0, 0), dr7=0x2402))
    vm.bp("counter", access="w", slot=1)
    vm.bp("done", kind="hw", slot=3, when="rcx == 0")
    for _ in range(3):
        shown(vm)
        vm.cont()
    text = json.dumps(shown(vm), indent=1) + "\n"
    assert committed(FIXTURES / "debugregs.part.json", text) == text


def _situation_text(name: str, found: dict[str, Any]) -> str:
    rows = ",\n".join(map(json.dumps, found["rows"]))
    return f'{json.dumps(name)}: {{"rules": {json.dumps(found["rules"])}, "rows": [\n{rows}\n]}}'


@pytest.mark.parametrize("access", ["r", "io"])
def test_what_the_page_alone_words_is_refused_by_the_debugger_too(access: str, vm: Vm) -> None:
    assert rules(vm)["refusals"][access]
    with pytest.raises(BreakpointError):
        vm.bp("counter", access=access)


# History


def test_hits_are_counted_by_slot_at_their_clocks(vm: Vm) -> None:
    vm.bp("counter", access="w", slot=1)
    clocks = [vm.cont().clock for _ in range(3)]
    assert shown(vm)["history"]["causes"] == {"B1": [[clock, 1] for clock in clocks]}


def test_a_slot_is_armed_from_where_it_was_seen_set(vm: Vm) -> None:
    shown(vm)
    vm.step(5)
    vm.bp("counter", access="w", slot=2)
    shown(vm)
    stop = vm.cont()
    assert shown(vm)["history"]["armed"] == [[], [], [[5, stop.clock]], []]


def test_a_slot_is_armed_no_more_once_its_breakpoint_is_gone(vm: Vm) -> None:
    vm.bp("counter", access="w")
    stop = vm.cont()
    vm.breakpoints.delete(1)
    vm.step(4)
    assert shown(vm)["history"]["armed"][0] == [[stop.clock, stop.clock]]


def test_going_back_keeps_what_was_seen_before(vm: Vm) -> None:
    shown(vm)
    vm.step(5)
    vm.bp("counter", access="w")
    shown(vm)
    first = vm.cont()
    shown(vm)
    vm.cont()
    vm.vcpu.set_debugregs(vm.debugregs()._replace(db=(7, 0, 0, 0)))
    assert shown(vm)["history"]["changes"][-1]["value"] == "0x7"
    vm.goto(first.clock)
    told = shown(vm)["history"]
    assert told["armed"][0] == [[5, first.clock]]
    assert [change["clock"] for change in told["changes"]] == [5, 5]


def binned(*exits: tuple[int, int]) -> debugregs_history.Hits:
    """Debug exits at clocks, with their DR7, counted one after the other."""
    import numpy as np

    hits = debugregs_history.Hits()
    for clock, dr7 in exits:
        hits.add(np.array([clock]), np.array([1], np.uint64), np.array([dr7], np.uint64))
    return hits


def test_a_slot_stays_armed_between_exits_when_bins_grow() -> None:
    assert binned((0, 0x402), (1600, 0x400)).told()["armed"][0] == [[0, 199]]


def test_a_slot_that_was_on_for_a_part_of_a_bin_is_armed_in_it() -> None:
    hits = binned((800, 0x402), (801, 0x400))
    assert (hits.told()["width"], hits.told()["armed"][0]) == (4, [[200, 200]])


def test_bins_stay_few_however_long_the_guest_runs() -> None:
    import numpy as np

    hits = debugregs_history.Hits()
    for first in range(0, 1_000_000, 1000):
        at = np.arange(first, first + 1000)
        dr6 = np.full(1000, 1, np.uint64)
        hits.add(at, dr6, np.full(1000, 0x402, np.uint64))
    told = hits.told()
    assert sum(count for _, count in told["causes"]["B0"]) == 1_000_000
    assert len(told["causes"]["B0"]) <= debugregs_history.BINS
    assert told["width"] * debugregs_history.BINS >= 1_000_000


def test_values_that_were_seen_to_change_are_told_with_side_and_clock(vm: Vm) -> None:
    shown(vm)
    vm.step(3)
    own = vm.debugregs()
    vm.vcpu.set_debugregs(own._replace(db=(0x9000, 0, 0, 0), dr7=0x402))
    changes = shown(vm)["history"]["changes"]
    assert [(c["clock"], c["side"], c["name"], c["value"]) for c in changes] == [
        (3, "guest", "DR0", "0x9000"),
        (3, "guest", "DR7", "0x402"),
    ]


def test_looking_twice_at_the_same_moment_changes_nothing(vm: Vm) -> None:
    vm.bp("counter", access="w")
    vm.cont()
    assert shown(vm)["history"] == shown(vm)["history"]


def test_what_lies_ahead_after_going_back_is_not_told(vm: Vm) -> None:
    vm.bp("counter", access="w")
    first = vm.cont()
    shown(vm)
    vm.cont()
    shown(vm)
    vm.goto(first.clock)
    told = shown(vm)["history"]
    assert told["causes"] == {"B0": [[first.clock, 1]]}
    assert told["here"] == first.clock


def test_a_reset_begins_a_new_history(vm: Vm) -> None:
    vm.bp("counter", access="w")
    vm.cont()
    shown(vm)
    vm.reset()
    assert shown(vm)["history"]["causes"] == {}


def test_changes_and_looks_are_bounded(vm: Vm) -> None:
    own = vm.debugregs()
    for n in range(300):
        vm.vcpu.set_debugregs(own._replace(db=(n, 0, 0, 0)))
        told = part(vm, Wishes())
    assert len(told["history"]["changes"]) == debugregs_history.MOST_CHANGES


def test_the_hosts_dr7_without_a_slot_is_not_in_effect(vm: Vm) -> None:
    assert vm.breakpoints.debugreg[7] == HOST_DR7
    assert shown(vm)["owner"] == "guest"
