"""Emulated stops on paper: exits, memory slots, watched places, and the choice of a breakpoint."""

from __future__ import annotations

from typing import Any

import pytest

from kvmdbg.debugger.breakpoints import BreakpointTable
from kvmdbg.debugger.guest import Guest
from kvmdbg.engines import Capability, emulated
from kvmdbg.errors import BreakpointError
from kvmdbg.exits import DebugExit
from kvmdbg.x86.registers import CpuMode, Segment, Sregs

pytest.importorskip("fcntl", reason="the KVM engine is for Linux")

from kvmdbg.engines.kvm.vm import regions
from kvmdbg.engines.kvm.watching import (
    Watched,
    hits,
    pages_of,
    place,
    spare_slot,
    stack_pages,
    write_slots,
)

CODE = 0x8000
EVERY = frozenset(Capability)
NO_INT3 = EVERY - {Capability.SW_BP}


# Exits


def test_an_emulated_stop_equals_the_native_one() -> None:
    assert DebugExit(3, CODE, emulated=True) == DebugExit(3, CODE)
    assert len({DebugExit(3, CODE, emulated=True), DebugExit(3, CODE)}) == 1


def test_only_an_emulated_stop_shows_the_word() -> None:
    assert "emulated" not in repr(DebugExit(3, CODE))
    assert repr(DebugExit(3, CODE, emulated=True)).endswith("dr7=0, emulated=True)")


# Memory slots


def test_ram_without_protected_pages_is_one_slot() -> None:
    assert regions(0x400000, ()) == ((0, 0x400000, 0),)


@pytest.mark.parametrize(
    ("pages", "cuts"),
    [
        ({1}, [(0, 1, 0), (1, 1, 2), (2, 6, 0)]),
        ({0}, [(0, 1, 2), (1, 7, 0)]),
        ({7}, [(0, 7, 0), (7, 1, 2)]),
        ({2, 3}, [(0, 2, 0), (2, 2, 2), (4, 4, 0)]),
        ({2, 4}, [(0, 2, 0), (2, 1, 2), (3, 1, 0), (4, 1, 2), (5, 3, 0)]),
        (set(range(8)), [(0, 8, 2)]),
    ],
)
def test_protected_pages_cut_ram_into_as_few_slots_as_there_can_be(
    pages: set[int], cuts: list[tuple[int, int, int]]
) -> None:
    expected = tuple((start * 0x1000, size * 0x1000, flags) for start, size, flags in cuts)
    assert regions(0x8000, pages) == expected


# Watched places


def debugreg(dr7: int, *addresses: int) -> tuple[int, ...]:
    return (*addresses, *(0,) * (7 - len(addresses)), dr7)


def test_only_enabled_slots_for_writes_are_watched() -> None:
    both = 0x50000 | 0x1 | 0x700000 | 0x4  # slot 0 writes 2 bytes, slot 1 reads and writes 2
    assert write_slots(debugreg(both, 0x9003, 0x9100)) == ((0x9002, 0x9004, 1),)
    assert write_slots(debugreg(0x50000, 0x9003)) == ()
    assert write_slots(debugreg(0x402, 0x9003)) == ()


def test_watched_bytes_are_where_paging_leads() -> None:
    def read(address: int, size: int) -> bytes:
        entries = {0x1000: 0x2003, 0x2000: 0x3003, 0x3000: 0x4003, 0x4000 + 5 * 8: 0x9003}
        return entries.get(address, 0).to_bytes(size, "little")

    sregs = Sregs(cr0=0x80000001, cr3=0x1000, cr4=0x20, efer=0x500)
    slots = ((0x5008, 0x500C, 1), (0x6000, 0x6001, 2))
    assert place(slots, sregs, read) == [Watched(0x9008, 0x900C, 1)]


def test_pages_outside_ram_are_not_protected() -> None:
    watched = [Watched(0x1008, 0x1009, 1), Watched(0x100000, 0x100001, 2)]
    assert pages_of(watched, 0x10000) == {1}


@pytest.mark.parametrize(
    ("start", "size", "bits"), [(0xFFF, 1, 0), (0xFFF, 2, 1), (0x1003, 8, 3), (0x1008, 1, 0)]
)
def test_a_store_hits_every_place_that_it_overlaps(start: int, size: int, bits: int) -> None:
    assert hits([Watched(0x1000, 0x1004, 1), Watched(0x1004, 0x1008, 2)], start, size) == bits


def test_a_stack_is_where_the_next_push_goes() -> None:
    sregs = Sregs(ss=Segment(base=0x20000))
    nothing = bytes
    assert stack_pages(0x1000, sregs, lambda _, size: nothing(size)) == {0x20}
    assert stack_pages(0x1001, sregs, lambda _, size: nothing(size)) == {0x20, 0x21}
    assert stack_pages(0, sregs, lambda _, size: nothing(size)) >= {0x1F}


@pytest.mark.parametrize(("dr7", "slot"), [(0x400, 0), (0x402, 1), (0x45D, None), (0x4F3, 1)])
def test_a_spare_debug_register_is_one_without_an_enable_bit(dr7: int, slot: int | None) -> None:
    assert spare_slot(dr7) == slot


# The choice of a breakpoint


@pytest.fixture
def guest(toy: Any) -> Guest:
    return Guest(toy)


@pytest.fixture
def table(guest: Guest) -> BreakpointTable:
    return BreakpointTable(guest)


def can(toy: Any, capabilities: frozenset[Capability]) -> None:
    toy.capabilities = capabilities


def test_an_engine_that_says_nothing_of_it_emulates_nothing(toy: Any) -> None:
    assert emulated(toy) == frozenset()


def test_where_int3_does_not_stop_a_breakpoint_is_a_debug_register(
    toy: Any, table: BreakpointTable
) -> None:
    can(toy, NO_INT3)
    breakpoint = table.add(CODE)
    assert (breakpoint.kind, breakpoint.slot) == ("hw", 0)
    told = f"in DR0: this host's TOY does not take INT3 in {CpuMode.LONG.value} at CPL 0"
    assert told in breakpoint.text


def test_an_int3_that_is_asked_for_and_would_not_stop_is_refused(
    toy: Any, table: BreakpointTable
) -> None:
    can(toy, NO_INT3)
    with pytest.raises(BreakpointError, match=r'"toy" has no INT3 .* as was probed; use kind="hw"'):
        table.add(CODE, kind="sw")
    assert len(table) == 0


def test_where_nothing_stops_execution_a_breakpoint_is_refused(
    toy: Any, table: BreakpointTable
) -> None:
    can(toy, NO_INT3 - {Capability.HW_EXEC})
    with pytest.raises(BreakpointError, match='"toy" has no INT3'):
        table.add(CODE)


def test_write_watchpoints_do_not_need_read_watchpoints(toy: Any, table: BreakpointTable) -> None:
    can(toy, EVERY - {Capability.HW_DATA})
    assert table.add(0x9000, access="w").slot == 0
    with pytest.raises(BreakpointError, match='access="w" watches writes alone'):
        table.add(0x9000, access="rw")


def test_int3s_become_debug_registers_when_the_mode_does_not_take_them(
    toy: Any, table: BreakpointTable
) -> None:
    table.add(CODE)
    table.add(CODE + 1, kind="sw")
    assert len(table.software()) == 2
    can(toy, NO_INT3)
    assert table.software() == []
    assert [(each.kind, each.slot) for each in table] == [("hw", 0), ("hw", 1)]
    assert table.debugreg[:2] == (CODE, CODE + 1)
    can(toy, EVERY)
    assert [entry.address for entry in table.software()] == [CODE, CODE + 1]
    assert table.slots == [None] * 4


def test_a_debug_register_that_was_asked_for_stays_one(toy: Any, table: BreakpointTable) -> None:
    table.add(CODE, kind="hw")
    can(toy, NO_INT3)
    table.software()
    can(toy, EVERY)
    assert table.software() == []
    assert table[1].kind == "hw"


def test_an_int3_too_many_for_the_debug_registers_is_named(
    toy: Any, table: BreakpointTable
) -> None:
    for offset in range(5):
        table.add(CODE + offset)
    can(toy, NO_INT3)
    for _ in range(2):  # not only the first command says so
        with pytest.raises(BreakpointError, match=r"^breakpoint 5 cannot stop: .* all four debug"):
            table.software()
    table.disable(5)
    assert table.software() == []
    with pytest.raises(BreakpointError, match="all four debug registers"):
        table.enable(5)


def test_an_emulated_breakpoint_says_so(toy: Any, table: BreakpointTable) -> None:
    toy.emulated = frozenset({Capability.SW_BP, Capability.HW_WRITE})
    assert ", emulated," in table.add(CODE).text
    assert ", emulated," in table.add(0x9000, access="w").text
    assert "emulated" not in table.add(CODE, kind="hw").text


def test_an_int3_that_nobody_would_hear_of_is_not_planted(toy: Any, guest: Guest) -> None:
    guest.planter.sync({CODE})
    can(toy, NO_INT3 - {Capability.SINGLESTEP})
    guest.planter.sync({CODE})
    with pytest.raises(BreakpointError, match="neither INT3 nor single-step"):
        guest.planter.sync({CODE, CODE + 1})
    assert set(guest.planter.originals) == {CODE}
