"""The breakpoint table: what may be set, which debug register it takes, when that is free again."""

from __future__ import annotations

from typing import Any

import pytest

from kvmdbg.debugger.breakpoints import HOST_DR7, BreakpointTable
from kvmdbg.debugger.entries import Breakpoint
from kvmdbg.debugger.guest import Guest
from kvmdbg.engines import Capability
from kvmdbg.errors import AddressError, BreakpointError, ExpressionError, UnknownName
from kvmdbg.x86.debugreg import Access, decode_dr7

CODE = 0x8000
COUNTER = 0x9000


def there() -> str:
    return "there"


@pytest.fixture
def guest(toy: Any) -> Guest:
    guest = Guest(toy)
    guest.symbols = {"loop": CODE, "counter": COUNTER}
    return guest


@pytest.fixture
def table(guest: Guest) -> BreakpointTable:
    return BreakpointTable(guest)


def slots_of(table: BreakpointTable) -> list[int | None]:
    return [found.slot for found in table]


def test_a_breakpoint_on_execution_is_an_int3_unless_said_otherwise(table: BreakpointTable) -> None:
    found = table.add(CODE)
    assert (found.kind, found.access, found.length, found.slot) == ("sw", "x", 1, None)


def test_a_watchpoint_takes_the_first_debug_register(table: BreakpointTable) -> None:
    found = table.add(COUNTER, access="w", length=4)
    assert (found.kind, found.slot) == ("hw", 0)


def test_dr7_says_what_the_slots_wait_for(table: BreakpointTable) -> None:
    table.add(COUNTER, access="w", length=4)
    table.add(COUNTER + 8, access="rw", length=8)
    table.add(CODE, kind="hw")
    slots = decode_dr7(table.debugreg[7]).slots
    assert [(slot.enabled, slot.access, slot.length) for slot in slots] == [
        (True, Access.WRITE, 4),
        (True, Access.READ_WRITE, 8),
        (True, Access.EXEC, 1),
        (False, Access.EXEC, 1),
    ]
    assert table.debugreg[:4] == (COUNTER, COUNTER + 8, CODE, 0)


def test_without_breakpoints_dr7_is_qemus(table: BreakpointTable) -> None:
    assert table.debugreg == (0, 0, 0, 0, 0, 0, 0, HOST_DR7)
    assert HOST_DR7 == 0x600


def test_numbers_are_never_given_twice(table: BreakpointTable) -> None:
    table.add(CODE)
    table.delete(1)
    assert table.add(CODE).number == 2


def test_a_fifth_debug_register_is_refused_with_who_has_the_four(table: BreakpointTable) -> None:
    for offset in (0, 4, 8, 12):
        table.add(COUNTER + offset, access="w", length=4)
    with pytest.raises(BreakpointError, match=r"all four .* in use \(1: counter .*4: counter\+0xc"):
        table.add(CODE, kind="hw")
    assert len(table) == 4


@pytest.mark.parametrize("free", ["delete", "disable"])
def test_a_debug_register_is_free_again_after(free: str, table: BreakpointTable) -> None:
    for offset in (0, 4, 8, 12):
        table.add(COUNTER + offset, access="w", length=4)
    getattr(table, free)(2)
    assert table.add(COUNTER + 16, access="w", length=4).slot == 1


def test_a_temporary_watchpoint_frees_its_debug_register(table: BreakpointTable) -> None:
    table.add(COUNTER, access="w", temporary=True)
    entry = table.slots[0]
    assert entry is not None
    table.reach(entry, there)
    assert table.slots == [None] * 4


def test_enabling_without_a_free_debug_register_is_refused(table: BreakpointTable) -> None:
    table.add(CODE, kind="hw")
    table.disable(1)
    for offset in (0, 4, 8, 12):
        table.add(COUNTER + offset, access="w", length=4)
    with pytest.raises(BreakpointError, match="all four"):
        table.enable(1)
    assert not table[1].enabled


def test_enabling_twice_takes_one_debug_register(table: BreakpointTable) -> None:
    table.add(CODE, kind="hw")
    table.enable(1)
    assert slots_of(table) == [0]


def test_any_number_of_int3s_may_be_set(table: BreakpointTable) -> None:
    for offset in range(200):
        table.add(CODE + offset)
    assert len(table) == 200


@pytest.mark.parametrize("access", ["x", "w", "rw"])
def test_a_duplicate_is_refused_with_the_one_that_is_there(
    access: str, table: BreakpointTable
) -> None:
    table.add(COUNTER, kind="hw", access=access)
    with pytest.raises(BreakpointError, match="already there as 1: hw"):
        table.add(COUNTER, kind="hw", access=access)


def test_a_disabled_duplicate_says_how_to_use_it(table: BreakpointTable) -> None:
    table.add(CODE)
    table.disable(1)
    with pytest.raises(BreakpointError, match=r"enable\(1\)"):
        table.add(CODE)


def test_watching_reads_alone_is_refused_with_what_can_be_done(table: BreakpointTable) -> None:
    with pytest.raises(BreakpointError, match='cannot watch reads alone; use access="rw"'):
        table.add(COUNTER, access="r")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"kind": "sw", "access": "w"}, "an INT3 can only stop execution"),
        ({"kind": "hardware"}, "choose sw or hw"),
        ({"access": "write"}, "choose x, w or rw"),
        ({"length": 4}, "has no length"),
        ({"access": "w", "length": 3}, "1, 2, 4 or 8"),
        ({"access": "w", "length": 0}, "1, 2, 4 or 8"),
    ],
)
def test_what_x86_cannot_do_is_refused(
    arguments: dict[str, Any], what: str, table: BreakpointTable
) -> None:
    with pytest.raises(BreakpointError, match=what):
        table.add(COUNTER, **arguments)


@pytest.mark.parametrize(
    ("address", "length", "fits"), [(0x9002, 4, 2), (0x9001, 2, 1), (0x9004, 8, 4)]
)
def test_a_misaligned_watchpoint_is_explained(
    address: int, length: int, fits: int, table: BreakpointTable
) -> None:
    start = address - address % length
    what = f"would watch {start:#x} to .* use length {fits} here, or length {length} at {start:#x}"
    with pytest.raises(BreakpointError, match=what):
        table.add(address, access="w", length=length)


@pytest.mark.parametrize(
    ("address", "length"), [(0x9000, 4), (0x9002, 2), (0x9003, 1), (0x9004, 4), (0, 4)]
)
def test_a_watchpoint_without_a_length_covers_what_its_alignment_allows(
    address: int, length: int, table: BreakpointTable
) -> None:
    assert table.add(address, access="w").length == length


def test_an_int3_outside_ram_is_refused(table: BreakpointTable) -> None:
    with pytest.raises(AddressError, match="outside guest RAM"):
        table.add(1 << 20)


def test_a_watchpoint_outside_ram_is_refused(table: BreakpointTable) -> None:
    with pytest.raises(AddressError, match="outside guest RAM"):
        table.add(1 << 20, access="w")


UNMAPPED = 1 << 40


def test_an_int3_in_an_unmapped_page_is_refused(table: BreakpointTable) -> None:
    with pytest.raises(AddressError, match="not mapped by the guest's paging"):
        table.add(UNMAPPED)


def test_a_debug_register_may_wait_for_a_page_to_be_mapped(table: BreakpointTable) -> None:
    assert table.add(UNMAPPED, kind="hw").slot == 0


def test_nothing_is_kept_of_a_breakpoint_that_is_refused(table: BreakpointTable) -> None:
    with pytest.raises(ExpressionError):
        table.add(COUNTER, access="w", when="rax =")
    with pytest.raises(UnknownName, match='did you mean "loop"'):
        table.add(COUNTER, access="w", when="rip == lop")
    assert (len(table), table.slots) == (0, [None] * 4)


def test_an_engine_that_cannot_do_it_is_named(guest: Guest, table: BreakpointTable) -> None:
    guest.engine.capabilities = frozenset({Capability.SW_BP})
    with pytest.raises(BreakpointError, match='engine "toy" has no data watchpoints'):
        table.add(COUNTER, access="w")
    with pytest.raises(BreakpointError, match='"toy" has no execution breakpoints'):
        table.add(CODE, kind="hw")


def test_vectors_are_told_to_the_engine(guest: Guest, toy: Any, table: BreakpointTable) -> None:
    table.add_vector(0x13)
    table.add_vector(14)
    assert set(toy.vectors) == {0x13, 14}
    table.disable(1)
    assert set(toy.vectors) == {14}


@pytest.mark.parametrize("vector", [-1, 256, "13"])
def test_a_vector_is_a_number_from_0_to_255(vector: Any, table: BreakpointTable) -> None:
    with pytest.raises(BreakpointError, match="choose 0 to 255"):
        table.add_vector(vector)


@pytest.mark.parametrize("call", ["delete", "enable", "disable", "__getitem__"])
def test_a_number_that_does_not_exist_is_answered_with_those_that_do(
    call: str, table: BreakpointTable
) -> None:
    table.add(CODE)
    with pytest.raises(UnknownName, match="no breakpoint 7; there is 1"):
        getattr(table, call)(7)


def test_clear_deletes_all(table: BreakpointTable) -> None:
    table.add(CODE)
    table.add(COUNTER, access="w")
    table.clear()
    assert (list(table), table.slots, table.at) == ([], [None] * 4, {})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "1: sw -x at counter (0x9000), hit 0 times"),
        ({"access": "w"}, "1: hw -w 4 at counter (0x9000), DR0, hit 0 times"),
        (
            {"access": "rw", "when": "rax == 1", "temporary": True},
            "1: hw -rw 4 at counter (0x9000), DR0, if rax == 1, once, hit 0 times",
        ),
    ],
)
def test_a_breakpoint_says_what_it_is_in_one_line(
    arguments: dict[str, Any], text: str, table: BreakpointTable
) -> None:
    assert str(table.add(COUNTER, **arguments)) == text


def test_a_disabled_breakpoint_says_so(table: BreakpointTable) -> None:
    table.add(COUNTER, access="w")
    table.disable(1)
    assert str(table) == "1: hw -w 4 at counter (0x9000), disabled, hit 0 times"


def test_a_vector_breakpoint_says_its_number_and_its_name(table: BreakpointTable) -> None:
    assert table.add_vector(14).text == "1: INT 0Eh, #PF, hit 0 times"
    assert table.add_vector(0x80).text == "2: INT 80h, hit 0 times"


def test_a_breakpoint_is_a_value_that_does_not_change(table: BreakpointTable) -> None:
    before = table.add(CODE)
    entry = table.at[CODE][0]
    table.reach(entry, there)
    assert (before.hits, table[1].hits) == (0, 1)
    assert isinstance(before, Breakpoint)


def test_every_arrival_is_counted_also_without_a_stop(table: BreakpointTable) -> None:
    table.add(CODE, when="hits == 3")
    entry = table.at[CODE][0]
    assert [table.reach(entry, there) for _ in range(4)] == [None, None, "there", None]
    assert table[1].hits == 4


def test_a_condition_that_fails_stops_and_says_so(table: BreakpointTable) -> None:
    table.add(CODE, when="1 / rbx")
    reason = table.reach(table.at[CODE][0], there)
    assert reason == "there; its condition failed: division by zero"


def test_a_temporary_breakpoint_outlives_arrivals_that_do_not_stop(table: BreakpointTable) -> None:
    table.add(CODE, when="hits == 2", temporary=True)
    entry = table.at[CODE][0]
    table.reach(entry, there)
    assert len(table) == 1
    table.reach(entry, there)
    assert len(table) == 0


def test_a_breakpoint_takes_the_debug_register_that_is_asked_for(table: BreakpointTable) -> None:
    found = table.add(COUNTER, access="w", slot=2)
    assert found.slot == 2
    assert table.debugreg[:4] == (0, 0, COUNTER, 0)


def test_who_asks_for_a_debug_register_gets_no_int3(table: BreakpointTable) -> None:
    assert table.add(CODE, slot=1).kind == "hw"
    with pytest.raises(BreakpointError, match="an INT3 takes no debug register"):
        table.add(CODE + 1, kind="sw", slot=1)


@pytest.mark.parametrize("slot", [-1, 4, "1"])
def test_a_debug_register_that_is_none_is_refused(slot: Any, table: BreakpointTable) -> None:
    with pytest.raises(BreakpointError, match="choose 0 to 3"):
        table.add(COUNTER, access="w", slot=slot)


def test_a_debug_register_in_use_is_refused_with_who_has_it(table: BreakpointTable) -> None:
    table.add(COUNTER, access="w", slot=3)
    with pytest.raises(BreakpointError, match=r"^DR3 is in use \(1: counter .*; choose another"):
        table.add(CODE, slot=3)
    assert len(table) == 1


def test_a_table_with_a_free_debug_register_is_not_full(table: BreakpointTable) -> None:
    for offset in (0, 4, 8):
        table.add(COUNTER + offset, access="w", length=4)
    assert table.full is None


def test_a_full_table_says_what_a_fifth_would_be_told(table: BreakpointTable) -> None:
    for offset in (0, 4, 8, 12):
        table.add(COUNTER + offset, access="w", length=4)
    with pytest.raises(BreakpointError) as refused:
        table.add(CODE, kind="hw")
    assert table.full == str(refused.value)
