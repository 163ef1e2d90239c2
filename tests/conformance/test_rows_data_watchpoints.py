"""Rows 63-90: data watchpoints in DR0-3, and what never makes one (MMIO, ports, page walks)."""

from __future__ import annotations

import pytest

from kvmdbg import guestdebug
from kvmdbg.exits import DebugExit, Exit, HltExit, IoExit, MmioExit
from kvmdbg.guestdebug import DebugState, Owner
from kvmdbg.machine.layout import PD
from kvmdbg.x86 import debugreg
from kvmdbg.x86.registers import CR4
from tests.conformance.rows import row
from tests.guests.bench import BS, MODES, B, Bench, E, H, S

ACCUMULATOR = {1: "al", 2: "ax", 4: "eax", 8: "rax"}
WIDTH = {"real": 2, "protected": 4, "long": 8}
LEN = {1: 0, 2: 1, 8: 2, 4: 3}
WRITE, IO, RW = 1, 2, 3

PLACE = 0x9000
"""Where most tests keep the watched bytes: aligned to a page, away from code and stack."""


def watch(length: int, access: int = WRITE, slot: int = 0) -> int:
    """DR7 with one global data breakpoint."""
    return 0x400 | 2 << 2 * slot | (access | LEN[length] << 2) << 16 + 4 * slot


def run_with(b: Bench, dr7: int, control: int = E | H, **breakpoints: int) -> Exit:
    """KVM_SET_GUEST_DEBUG with these registers, then KVM_RUN."""
    b.sgd(control, dr7=dr7, **breakpoints)
    return b.run()


def store(size: int, mode: str = "long") -> Bench:
    """A guest that stores ``size`` bytes at [rsi] and halts."""
    source = "si" if mode == "real" else "esi" if mode == "protected" else "rsi"
    return Bench(f"mov [{source}], {ACCUMULATOR[size]}\nafter: hlt", mode)


def load(size: int, mode: str = "long") -> Bench:
    """A guest that loads ``size`` bytes from [rsi] and halts."""
    source = "si" if mode == "real" else "esi" if mode == "protected" else "rsi"
    return Bench(f"mov {ACCUMULATOR[size]}, [{source}]\nafter: hlt", mode)


def hits(b: Bench, address: int, dr7: int, **breakpoints: int) -> int:
    """B bits of the one stop that the access at ``address`` makes; 0 if it makes none."""
    b.set(rip=b.program.origin, rsi=address)
    exit_ = run_with(b, dr7, **breakpoints)
    if exit_ == HltExit():
        return 0
    assert isinstance(exit_, DebugExit)
    assert (exit_.exception, exit_.pc, exit_.dr6 & ~0xF) == (1, b["after"], 0xFFFF0FF0)
    assert b.run() == HltExit()
    return exit_.dr6 & 0xF


# -- rows 63-66: reads, writes and fetches ---------------------------------------------------------


@row(63)
def test_every_register_watches_the_same_place_in_turn() -> None:
    with Bench("here: mov [0x9000], rax\nafter: hlt") as b:
        for slot in range(4):
            b.set(rip=b["here"], rax=0x1111 * (slot + 1))
            dr7 = watch(4, WRITE, slot)
            assert dr7 == 0x400 | 2 << 2 * slot | 0xD << 16 + 4 * slot
            exit_ = run_with(b, dr7, **{f"dr{slot}": PLACE})
            assert exit_ == DebugExit(1, b["after"], B(slot), dr7)
            assert b.word(PLACE) == 0x1111 * (slot + 1)


@row(63)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("slot", range(4))
def test_a_store_is_reported_after_it_and_only_once(mode: str, slot: int) -> None:
    with store(2, mode) as b:
        b.set(rax=0xBEEF, rsi=PLACE)
        dr7 = watch(4, WRITE, slot)
        exit_ = run_with(b, dr7, **{f"dr{slot}": PLACE})
        assert exit_ == DebugExit(1, b["after"], B(slot), dr7)
        assert b.word(PLACE, 2) == 0xBEEF
        assert b.run() == HltExit()


@row(63)
def test_a_data_hit_belongs_to_the_host_and_leaves_the_guests_registers() -> None:
    state = guestdebug.set_guest_debug(
        DebugState(), E | H, (PLACE, 0, 0, 0, 0, 0, 0, watch(4)), 0x8000
    )
    assert guestdebug.owner_of_db(state) is Owner.HOST
    assert guestdebug.db_exit(state, 0x8003, 1) == DebugExit(1, 0x8003, B(0), watch(4))
    assert state.guest == DebugState().guest


@row(64)
@pytest.mark.parametrize("mode", MODES)
def test_a_write_watchpoint_ignores_reads(mode: str) -> None:
    with load(4, mode) as b:
        assert hits(b, PLACE, watch(4, WRITE), dr0=PLACE) == 0


@row(65)
@pytest.mark.parametrize("mode", MODES)
def test_a_read_write_watchpoint_stops_after_a_read(mode: str) -> None:
    with load(4, mode) as b:
        b.vcpu.write_memory(PLACE, b"\x78\x56\x34\x12")
        b.set(rsi=PLACE)
        dr7 = watch(4, RW)
        assert run_with(b, dr7, dr0=PLACE) == DebugExit(1, b["after"], B(0), dr7)
        assert b.reg("rax") == 0x12345678


@row(65)
@pytest.mark.parametrize("mode", MODES)
def test_a_read_write_watchpoint_stops_after_a_write(mode: str) -> None:
    with store(4, mode) as b:
        assert hits(b, PLACE, watch(4, RW), dr0=PLACE) == 1


@row(65)
@pytest.mark.parametrize(
    "instruction",
    [
        "cmp al, [rsi]",
        "test [rsi], al",
        "lodsb",
        "scasb",
        "push [rsi]",
        "movzx eax, byte ptr [rsi]",
    ],
)
def test_every_kind_of_read_is_a_read(instruction: str) -> None:
    with Bench(f"{instruction}\nafter: hlt") as b:
        b.set(rsi=PLACE, rdi=PLACE)
        assert run_with(b, watch(1, RW), dr0=PLACE) == DebugExit(1, b["after"], B(0), watch(1, RW))


@row(66)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("access", [WRITE, RW])
def test_a_fetch_is_no_data_access(mode: str, access: int) -> None:
    with Bench("nop\nhere: nop\nnop\nnop\nhlt", mode) as b:
        assert run_with(b, watch(4, access), dr0=b["here"]) == HltExit()


@row(66)
def test_a_read_of_a_code_byte_is_a_data_access() -> None:
    with Bench("mov al, [rip + here]\nafter: nop\nhere: nop\nhlt") as b:
        exit_ = run_with(b, watch(1, RW), dr0=b["here"])
        assert exit_ == DebugExit(1, b["after"], B(0), watch(1, RW))


# -- rows 67-71: lengths and alignment -------------------------------------------------------------


@row(67)
@pytest.mark.parametrize("length", [1, 2, 4, 8])
@pytest.mark.parametrize("mode", MODES)
def test_exactly_the_watched_bytes_hit(mode: str, length: int) -> None:
    first = PLACE + 0x10
    with store(1, mode) as b:
        places = range(first - 2, first + length + 2)
        found = [place for place in places if hits(b, place, watch(length), dr0=first)]
        assert found == list(range(first, first + length))


@row(67)
@pytest.mark.parametrize("length", [1, 2, 4, 8])
def test_exactly_the_watched_bytes_match(length: int) -> None:
    first = PLACE + 0x10
    places = range(first - 9, first + 17)
    db = (first, 0, 0, 0)
    found = [p for p in places if debugreg.data_hits(watch(length), db, p, 1, write=True)]
    assert found == list(range(first, first + length))


@row(68)
@pytest.mark.parametrize("at", [PLACE, PLACE + 4])
def test_len_two_watches_eight_bytes(at: int) -> None:
    assert watch(8) == 0x90402
    with store(8) as b:
        assert hits(b, PLACE, watch(8), dr0=PLACE) == 1
    with store(4) as b:
        assert hits(b, at, watch(8), dr0=PLACE) == 1


@row(68)
@pytest.mark.parametrize("mode", ["real", "protected"])
def test_len_two_watches_eight_bytes_outside_long_mode_too(mode: str) -> None:
    with store(1, mode) as b:
        assert hits(b, PLACE + 7, watch(8), dr0=PLACE) == 1
        assert hits(b, PLACE + 8, watch(8), dr0=PLACE) == 0


@row(69)
@pytest.mark.parametrize("mode", MODES)
def test_a_two_byte_watch_on_an_odd_address_watches_the_aligned_pair(mode: str) -> None:
    with store(1, mode) as b:
        seen = [hits(b, PLACE + n, watch(2), dr0=PLACE + 1) for n in range(3)]
        assert seen == [1, 1, 0]


@row(70)
@pytest.mark.parametrize("offset", [1, 2, 3])
def test_a_four_byte_watch_off_its_alignment_watches_the_aligned_four(offset: int) -> None:
    first = PLACE + 8
    with store(1) as b:
        seen = [hits(b, first + n, watch(4), dr0=first + offset) for n in range(-1, 6)]
        assert seen == [0, 1, 1, 1, 1, 0, 0]


@row(71)
@pytest.mark.parametrize("offset", [1, 5, 7])
def test_an_eight_byte_watch_off_its_alignment_watches_the_aligned_eight(offset: int) -> None:
    first = PLACE + 8
    with store(1) as b:
        seen = [hits(b, first + n, watch(8), dr0=first + offset) for n in range(-1, 10)]
        assert seen == [0, *[1] * 8, 0, 0]


# -- rows 72-75: accesses that overlap -------------------------------------------------------------


@row(72)
def test_a_wide_store_hits_a_watch_on_its_upper_half() -> None:
    with store(8) as b:
        assert hits(b, PLACE, watch(4), dr0=PLACE + 4) == 1


@row(73)
@pytest.mark.parametrize("mode", MODES)
def test_an_unaligned_store_hits_a_watch_on_its_last_byte(mode: str) -> None:
    with store(4, mode) as b:
        assert hits(b, PLACE + 5, watch(1), dr0=PLACE + 8) == 1


@row(73)
def test_a_16_byte_store_hits_a_watch_on_each_of_its_bytes() -> None:
    with Bench("movups [rsi], xmm0\nafter: hlt") as b:
        seen = [hits(b, PLACE, watch(1), dr0=PLACE + n) for n in range(17)]
        assert seen == [1] * 16 + [0]


@row(74)
@pytest.mark.parametrize("mode", MODES)
def test_a_store_that_ends_before_the_watched_bytes_misses(mode: str) -> None:
    with store(4, mode) as b:
        assert hits(b, PLACE + 4, watch(4), dr0=PLACE + 8) == 0


@row(74)
@pytest.mark.parametrize("mode", MODES)
def test_a_store_that_begins_behind_the_watched_bytes_misses(mode: str) -> None:
    with store(4, mode) as b:
        assert hits(b, PLACE + 12, watch(4), dr0=PLACE + 8) == 0


PAGE_TABLE = 0x100000
PHYSICAL = pytest.mark.xfail(
    strict=True, reason="the engine watches the physical bytes behind a linear address"
)

FIRST = 0x200000
"""2-4 MiB, which ``four_kib_pages`` maps anew."""


def four_kib_pages(b: Bench, mapping: dict[int, int]) -> None:
    """Map 2-4 MiB by 4 KiB pages, one to one but for ``mapping``: linear page -> entry."""
    for page in range(FIRST, FIRST + 0x200000, 0x1000):
        entry = mapping.get(page, page | 0x67)
        b.vcpu.write_memory(PAGE_TABLE + (page - FIRST >> 9), entry.to_bytes(8, "little"))
    b.vcpu.write_memory(PD + 8, (PAGE_TABLE | 0x27).to_bytes(8, "little"))
    b.vcpu.set_sregs(b.vcpu.get_sregs())


@row(75)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("byte", [0x9FFF, 0xA000])
def test_a_store_across_a_page_hits_a_watch_on_either_page(mode: str, byte: int) -> None:
    with store(2, mode) as b:
        b.set(rax=0xBEEF)
        assert hits(b, 0x9FFF, watch(1), dr0=byte) == 1
        assert b.word(0x9FFF, 2) == 0xBEEF


@row(75)
@pytest.mark.parametrize("access", ["store", "load"])
@pytest.mark.parametrize("byte", range(FIRST + 0xFFD, FIRST + 0x1003))
def test_an_access_across_pages_that_lie_apart_hits_by_linear_address(
    access: str, byte: int
) -> None:
    with (store if access == "store" else load)(4) as b:
        four_kib_pages(b, {FIRST: 0x300000 | 0x67, FIRST + 0x1000: 0x280000 | 0x67})
        touched = FIRST + 0xFFE <= byte < FIRST + 0x1002
        assert hits(b, FIRST + 0xFFE, watch(1, RW), dr0=byte) == int(touched)


@row(75)
def test_an_access_across_pages_hits_nothing_that_only_lies_behind_its_first_page() -> None:
    entries = {
        FIRST: 0x300067,
        FIRST + 0x1000: 0x280067,
        FIRST + 0x4000: 0x290067,
        FIRST + 0x5000: 0x301067,  # the page behind FIRST's in RAM, but not in linear addresses
    }
    with store(4) as b:
        four_kib_pages(b, entries)
        assert hits(b, FIRST + 0xFFE, watch(8, RW), dr0=FIRST + 0x5000) == 0


# Spec 9: linear addresses are compared, not physical ones.


@PHYSICAL
def test_another_linear_address_of_the_watched_memory_does_not_hit() -> None:
    with store(1) as b:
        four_kib_pages(b, {FIRST: 0x300000 | 0x67, FIRST + 0x1000: 0x300000 | 0x67})
        assert hits(b, FIRST, watch(1), dr0=FIRST) == 1
        assert hits(b, FIRST + 0x1000, watch(1), dr0=FIRST) == 0
        assert hits(b, 0x300000, watch(1), dr0=FIRST) == 0


# -- rows 76-77: the table of SDM vol. 3, 17.2.5 ---------------------------------------------------

TABLE = {"dr0": 0xA0001, "dr1": 0xA0002, "dr2": 0xB0002, "dr3": 0xC0000}
TABLE_DR7 = watch(1, RW, 0) | watch(1, WRITE, 1) | watch(2, RW, 2) | watch(4, WRITE, 3)

TABLE_HITS = [
    ("read", 0xA0001, 1, {0}),
    ("write", 0xA0001, 1, {0}),
    ("read", 0xA0001, 2, {0}),
    ("write", 0xA0001, 2, {0, 1}),
    ("write", 0xA0002, 1, {1}),
    ("write", 0xA0002, 2, {1}),
    ("read", 0xB0001, 4, {2}),
    ("write", 0xB0001, 4, {2}),
    ("read", 0xB0002, 1, {2}),
    ("write", 0xB0002, 1, {2}),
    ("read", 0xB0002, 2, {2}),
    ("write", 0xB0002, 2, {2}),
    ("write", 0xC0000, 4, {3}),
    ("write", 0xC0001, 2, {3}),
    ("write", 0xC0003, 1, {3}),
]
TABLE_MISSES = [
    ("read", 0xA0000, 1),
    ("write", 0xA0000, 1),
    ("read", 0xA0002, 1),
    ("read", 0xA0003, 4),
    ("write", 0xA0003, 4),
    ("read", 0xB0000, 2),
    ("write", 0xB0000, 2),
    ("read", 0xC0000, 2),
    ("read", 0xC0004, 4),
    ("write", 0xC0004, 4),
]


def table_access(kind: str, address: int, size: int, mode: str) -> int:
    """B bits that this access makes with the SDM's four registers."""
    with (store if kind == "write" else load)(size, mode) as b:
        if mode == "real":
            sregs = b.vcpu.get_sregs()
            ds = sregs.ds._replace(base=address & 0xF0000, selector=address >> 4 & 0xF000)
            b.vcpu.set_sregs(sregs._replace(ds=ds))
            address &= 0xFFFF
        return hits(b, address, TABLE_DR7, **TABLE)


@row(76)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("kind", "address", "size", "slots"), TABLE_HITS)
def test_the_manuals_examples_that_hit_do(
    kind: str, address: int, size: int, slots: set[int], mode: str
) -> None:
    assert table_access(kind, address, size, mode) == sum(1 << slot for slot in slots)


@row(76)
@pytest.mark.parametrize(("kind", "address", "size", "slots"), TABLE_HITS)
def test_the_manuals_examples_that_hit_match(
    kind: str, address: int, size: int, slots: set[int]
) -> None:
    db = tuple(TABLE.values())
    found = debugreg.data_hits(TABLE_DR7, db, address, size, write=kind == "write")
    assert found == sum(1 << slot for slot in slots)


@row(77)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("kind", "address", "size"), TABLE_MISSES)
def test_the_manuals_examples_that_miss_do(kind: str, address: int, size: int, mode: str) -> None:
    assert table_access(kind, address, size, mode) == 0


@row(77)
@pytest.mark.parametrize(("kind", "address", "size"), TABLE_MISSES)
def test_the_manuals_examples_that_miss_match_nothing(kind: str, address: int, size: int) -> None:
    db = tuple(TABLE.values())
    assert debugreg.data_hits(TABLE_DR7, db, address, size, write=kind == "write") == 0


# -- rows 78-82: one instruction, one #DB ----------------------------------------------------------


@row(78)
@pytest.mark.parametrize("mode", MODES)
def test_a_store_of_the_value_already_there_hits(mode: str) -> None:
    with store(4, mode) as b:
        b.vcpu.write_memory(PLACE, b"\x05\0\0\0")
        b.set(rax=5)
        assert hits(b, PLACE, watch(4), dr0=PLACE) == 1
        assert b.word(PLACE, 4) == 5


@row(79)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("access", [WRITE, RW])
@pytest.mark.parametrize(
    "instruction",
    [
        "inc dword ptr",
        "add dword ptr [{0}], 7 ;",
        "xchg eax,",
        "lock dec dword ptr",
        "neg byte ptr",
    ],
)
def test_a_read_modify_write_stops_once(instruction: str, access: int, mode: str) -> None:
    place = "si" if mode == "real" else "esi" if mode == "protected" else "rsi"
    instruction = instruction.format(place) if "{" in instruction else f"{instruction} [{place}]"
    with Bench(f"{instruction}\nafter: nop\nhlt", mode) as b:
        b.set(rsi=PLACE)
        dr7 = watch(4, access)
        assert run_with(b, dr7, dr0=PLACE) == DebugExit(1, b["after"], B(0), dr7)
        assert b.run() == HltExit()


@row(79)
def test_a_compare_and_exchange_that_stores_nothing_new_still_hits() -> None:
    with Bench("mov eax, 1\nlock cmpxchg [rsi], ecx\nafter: hlt") as b:
        b.set(rsi=PLACE)
        assert run_with(b, watch(4), dr0=PLACE) == DebugExit(1, b["after"], B(0), watch(4))


@row(80)
@pytest.mark.parametrize("mode", MODES)
def test_a_push_is_a_write(mode: str) -> None:
    with Bench("push 5\nafter: hlt", mode) as b:
        slot = b.reg("rsp") - WIDTH[mode]
        assert run_with(b, watch(2), dr0=slot) == DebugExit(1, b["after"], B(0), watch(2))
        assert b.word(slot, 2) == 5


@row(80)
@pytest.mark.parametrize("mode", MODES)
def test_a_pop_is_a_read(mode: str) -> None:
    name = {"real": "ax", "protected": "eax", "long": "rax"}[mode]
    with Bench(f"pop {name}\nafter: hlt", mode) as b:
        top = b.reg("rsp")
        assert run_with(b, watch(2, RW), dr0=top) == DebugExit(1, b["after"], B(0), watch(2, RW))


@row(80)
@pytest.mark.parametrize("mode", MODES)
def test_a_call_stops_at_its_target(mode: str) -> None:
    with Bench("call target\nback: hlt\ntarget: nop\nhlt", mode) as b:
        slot = b.reg("rsp") - WIDTH[mode]
        assert run_with(b, watch(2), dr0=slot) == DebugExit(1, b["target"], B(0), watch(2))
        assert b.word(slot, WIDTH[mode]) == b["back"]


@row(80)
@pytest.mark.parametrize("mode", MODES)
def test_a_return_stops_where_it_returns_to(mode: str) -> None:
    with Bench("call target\nback: hlt\ntarget: ret", mode) as b:
        slot = b.reg("rsp") - WIDTH[mode]
        dr7 = watch(2, RW)
        assert run_with(b, dr7, dr0=slot) == DebugExit(1, b["target"], B(0), dr7)
        assert b.run() == DebugExit(1, b["back"], B(0), dr7)


@row(81)
@pytest.mark.parametrize("mode", MODES)
def test_a_movs_that_hits_two_watches_makes_one_stop(mode: str) -> None:
    with Bench("movsd\nafter: nop\nhlt", mode) as b:
        b.set(rsi=PLACE, rdi=PLACE + 0x100)
        dr7 = watch(4, RW, 0) | watch(4, WRITE, 3)
        exit_ = run_with(b, dr7, dr0=PLACE, dr3=PLACE + 0x100)
        assert exit_ == DebugExit(1, b["after"], B(0, 3), dr7)
        assert b.run() == HltExit()


@row(81)
def test_a_movsq_that_hits_two_watches_makes_one_stop() -> None:
    with Bench("movsq\nafter: nop\nhlt") as b:
        b.set(rsi=PLACE, rdi=PLACE + 0x100)
        dr7 = watch(8, RW, 1) | watch(8, WRITE, 2)
        exit_ = run_with(b, dr7, dr1=PLACE, dr2=PLACE + 0x100)
        assert exit_ == DebugExit(1, b["after"], B(1, 2), dr7)
        assert b.run() == HltExit()


@row(81)
def test_two_watches_on_one_place_are_reported_together() -> None:
    with store(4) as b:
        dr7 = watch(4, RW, 0) | watch(2, WRITE, 1) | watch(1, WRITE, 2)
        assert hits(b, PLACE, dr7, dr0=PLACE, dr1=PLACE + 2, dr2=PLACE + 4) == 0b011


@row(82)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_over_a_watched_store_makes_one_stop_with_both_causes(mode: str) -> None:
    with store(4, mode) as b:
        b.set(rsi=PLACE)
        dr7 = watch(4)
        exit_ = run_with(b, dr7, E | S | H, dr0=PLACE)
        assert exit_ == DebugExit(1, b["after"], BS | 1, dr7)


@row(82)
def test_a_step_behind_a_watched_store_reports_only_the_step() -> None:
    with Bench("mov [rsi], al\nnop\nafter: hlt") as b:
        b.set(rsi=PLACE)
        run_with(b, watch(1), E | S | H, dr0=PLACE)
        exit_ = run_with(b, watch(1), E | S | H, dr0=PLACE)
        assert exit_ == DebugExit(1, b["after"], BS, watch(1))


@row(82)
def test_a_data_hit_and_the_next_instructions_breakpoint_come_one_after_the_other() -> None:
    with Bench("mov [rsi], al\nafter: nop\nhlt") as b:
        b.set(rsi=PLACE)
        dr7 = watch(1) | 0x8
        stops = [run_with(b, dr7, dr0=PLACE, dr1=b["after"]) for _ in range(2)]
        assert stops == [DebugExit(1, b["after"], B(n), dr7) for n in (0, 1)]


# -- rows 83-84: REP -------------------------------------------------------------------------------


@row(83)
@pytest.mark.parametrize("mode", MODES)
def test_rep_stops_after_the_iteration_that_hit_and_then_finishes(mode: str) -> None:
    with Bench("nop\nagain: rep stosb\nafter: hlt", mode) as b:
        b.set(rax=0x55, rcx=4, rdi=PLACE)
        exit_ = run_with(b, watch(1), dr0=PLACE + 2)
        assert exit_ == DebugExit(1, b["again"], B(0), watch(1))
        assert (b.reg("rcx"), b.reg("rdi")) == (1, PLACE + 3)
        assert b.vcpu.read_memory(PLACE, 5) == b"UUU\0\0"
        assert b.run() == HltExit()
        assert (b.reg("rcx"), b.reg("rdi")) == (0, PLACE + 4)
        assert b.vcpu.read_memory(PLACE, 5) == b"UUUU\0"


@row(83)
@pytest.mark.parametrize("mode", MODES)
def test_rep_stops_after_every_iteration_that_hits(mode: str) -> None:
    with Bench("nop\nagain: rep movsb\nafter: hlt", mode) as b:
        b.set(rcx=4, rsi=PLACE, rdi=PLACE + 0x100)
        b.sgd(E | H, dr7=watch(2, RW), dr0=PLACE + 1)
        stops = [(b.run(), b.reg("rcx")) for _ in range(2)]
        hit = DebugExit(1, b["again"], B(0), watch(2, RW))
        assert stops == [(hit, 3), (hit, 2)]  # PLACE + 1 means the pair PLACE, PLACE + 1
        assert b.run() == HltExit()


@row(83)
@pytest.mark.parametrize("mode", MODES)
def test_rep_backwards_stops_after_the_iteration_that_hit(mode: str) -> None:
    with Bench("std\nagain: rep stosb\nafter: hlt", mode) as b:
        b.set(rax=0x55, rcx=4, rdi=PLACE + 3)
        exit_ = run_with(b, watch(1), dr0=PLACE + 1)
        assert exit_ == DebugExit(1, b["again"], B(0), watch(1))
        assert (b.reg("rcx"), b.reg("rdi")) == (1, PLACE)


@row(84)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", [1, 4])
def test_a_hit_in_the_last_iteration_stops_behind_rep(mode: str, count: int) -> None:
    with Bench("nop\nagain: rep stosb\nafter: hlt", mode) as b:
        b.set(rax=0x55, rcx=count, rdi=PLACE)
        exit_ = run_with(b, watch(1), dr0=PLACE + count - 1)
        assert exit_ == DebugExit(1, b["after"], B(0), watch(1))
        assert b.reg("rcx") == 0
        assert b.run() == HltExit()


@row(84)
def test_a_hit_in_the_last_iteration_comes_before_the_breakpoint_behind_rep() -> None:
    with Bench("nop\nagain: rep stosb\nafter: hlt") as b:
        b.set(rcx=2, rdi=PLACE)
        b.sgd(E | H, dr7=watch(1) | 0x8, dr0=PLACE + 1, dr1=b["after"])
        stops = [b.run() for _ in range(2)]
        assert stops == [DebugExit(1, b["after"], B(n), watch(1) | 0x8) for n in (0, 1)]


@row(84)
def test_a_hit_in_the_last_iteration_of_a_32_bit_count_stops_behind_rep() -> None:
    with Bench("nop\nagain: .byte 0x67\nrep stosb\nafter: hlt") as b:
        b.set(rcx=5 << 32 | 2, rdi=PLACE)
        exit_ = run_with(b, watch(1), dr0=PLACE + 1)
        assert exit_ == DebugExit(1, b["after"], B(0), watch(1))
        assert b.reg("rcx") & 0xFFFFFFFF == 0


@row(84)
def test_a_hit_right_before_a_rep_without_iterations_stops_at_the_rep() -> None:
    with Bench("mov [0x9000], al\nagain: rep stosb\nhlt") as b:
        b.set(rcx=0, rdi=PLACE)
        assert run_with(b, watch(1), dr0=PLACE) == DebugExit(1, b["again"], B(0), watch(1))


@row(84)
@pytest.mark.parametrize("mode", MODES)
def test_a_repe_that_ends_by_its_count_stops_behind_it(mode: str) -> None:
    with Bench("nop\nagain: repe cmpsb\nafter: hlt", mode) as b:
        b.set(rcx=2, rsi=PLACE, rdi=PLACE + 0x100)
        exit_ = run_with(b, watch(1, RW), dr0=PLACE + 1)
        assert exit_ == DebugExit(1, b["after"], B(0), watch(1, RW))
        assert b.reg("rcx") == 0


@row(84)
@pytest.mark.parametrize("mode", MODES)
def test_a_repe_that_ends_by_its_comparison_stops_behind_it(mode: str) -> None:
    with Bench("nop\nagain: repe cmpsb\nafter: hlt", mode) as b:
        b.vcpu.write_memory(PLACE, b"ab")
        b.vcpu.write_memory(PLACE + 0x100, b"ax")
        b.set(rcx=4, rsi=PLACE, rdi=PLACE + 0x100)
        exit_ = run_with(b, watch(1, RW), dr0=PLACE + 1)
        assert exit_ == DebugExit(1, b["after"], B(0), watch(1, RW))
        assert b.reg("rcx") == 2


# -- row 85: accesses that fault -------------------------------------------------------------------

FAULTING = "mov al, 1\n{}\nafter: hlt\nhandler: mov rbx, [rsp + 8]\nmov rcx, cr2\nhlt"
READ_ONLY = 0x65
"""A page-table entry's low bits: present, user, accessed, dirty, not writable."""


@row(85)
@pytest.mark.parametrize("entry", [0, FIRST | READ_ONLY], ids=["absent", "read-only"])
@pytest.mark.parametrize("access", [WRITE, RW])
def test_a_store_that_page_faults_makes_no_data_stop(access: int, entry: int) -> None:
    with Bench(FAULTING.format("here: mov [rsi], al")) as b:
        b.gate(14, "handler")
        four_kib_pages(b, {FIRST: entry})
        b.set(rsi=FIRST)
        assert run_with(b, watch(1, access), dr0=FIRST) == HltExit()
        assert (b.reg("rbx"), b.reg("rcx")) == (b["here"], FIRST)


@row(85)
@pytest.mark.parametrize("watched", [FIRST + 0xFFF, FIRST + 0x1000])
def test_a_store_whose_second_page_is_absent_makes_no_data_stop(watched: int) -> None:
    with Bench(FAULTING.format("here: mov [rsi], eax")) as b:
        b.gate(14, "handler")
        four_kib_pages(b, {FIRST + 0x1000: 0})
        b.set(rsi=FIRST + 0xFFE)
        assert run_with(b, watch(1), dr0=watched) == HltExit()
        assert (b.reg("rbx"), b.reg("rcx")) == (b["here"], FIRST + 0x1000)
        assert b.word(FIRST + 0xFFE, 2) == 0


@row(85)
def test_a_read_modify_write_of_a_read_only_page_makes_no_data_stop() -> None:
    with Bench(FAULTING.format("here: inc dword ptr [rsi]")) as b:
        b.gate(14, "handler")
        four_kib_pages(b, {FIRST: FIRST | READ_ONLY})
        b.set(rsi=FIRST)
        assert run_with(b, watch(4, RW), dr0=FIRST) == HltExit()
        assert (b.reg("rbx"), b.word(FIRST, 4)) == (b["here"], 0)


@row(85)
def test_a_movs_that_reads_the_watched_byte_and_cannot_store_makes_no_data_stop() -> None:
    with Bench(FAULTING.format("here: movsb")) as b:
        b.gate(14, "handler")
        four_kib_pages(b, {FIRST: 0})
        b.set(rsi=PLACE, rdi=FIRST)
        assert run_with(b, watch(1, RW), dr0=PLACE) == HltExit()
        assert (b.reg("rbx"), b.reg("rsi")) == (b["here"], PLACE)


FLUSHES = ["", "invlpg [rsi]", "mov rdx, cr3\nmov cr3, rdx"]
"""An entry that becomes present needs no flush (SDM vol. 3, 4.10.4.3)."""


@row(85)
@pytest.mark.parametrize("flush", FLUSHES)
def test_the_store_that_is_retried_after_its_page_fault_hits(flush: str) -> None:
    text = f"""
            mov al, 1
            mov [rsi], al
    after:  hlt
    handler:
            mov qword ptr [{PAGE_TABLE:#x}], {FIRST | 0x67:#x}
            {flush}
            add rsp, 8
            iretq
    """
    with Bench(text) as b:
        b.gate(14, "handler")
        four_kib_pages(b, {FIRST: 0})
        b.set(rsi=FIRST)
        assert run_with(b, watch(1), dr0=FIRST) == DebugExit(1, b["after"], B(0), watch(1))
        assert b.word(FIRST, 1) == 1


@row(85)
@pytest.mark.parametrize("flush", FLUSHES)
def test_a_store_to_a_page_that_the_guest_has_just_mapped_hits(flush: str) -> None:
    text = f"""
            mov qword ptr [{PAGE_TABLE:#x}], {FIRST | 0x67:#x}
            {flush}
            mov [rsi], al
    after:  hlt
    """
    with Bench(text) as b:
        four_kib_pages(b, {FIRST: 0})
        b.set(rsi=FIRST)
        assert run_with(b, watch(1), dr0=FIRST) == DebugExit(1, b["after"], B(0), watch(1))


# -- rows 86-89: what never hits -------------------------------------------------------------------


@row(86)
def test_a_store_to_mmio_makes_an_mmio_exit_and_no_data_stop() -> None:
    with Bench("mov [rsi], eax\nhlt") as b:
        b.set(rsi=0xD0000000, rax=0x1234)
        exit_ = run_with(b, watch(4, RW), dr0=0xD0000000)
        assert exit_ == MmioExit(0xD0000000, (0x1234).to_bytes(4, "little"), True)
        assert b.run() == HltExit()


@row(86)
def test_a_load_from_mmio_makes_an_mmio_exit_and_no_data_stop() -> None:
    with Bench("mov eax, [rsi]\nhlt") as b:
        b.set(rsi=0xD0000000)
        exit_ = run_with(b, watch(4, RW), dr0=0xD0000000)
        assert exit_ == MmioExit(0xD0000000, bytes(4), False)
        b.vcpu.complete_io(b"\x78\x56\x34\x12")
        assert b.run() == HltExit()
        assert b.reg("rax") == 0x12345678


@row(86)
def test_an_instruction_that_touches_mmio_makes_no_data_stop_for_ram_either() -> None:
    with Bench("movsb\nhlt") as b:
        b.set(rsi=PLACE, rdi=0xD0000000)
        exit_ = run_with(b, watch(1, RW), dr0=PLACE)
        assert exit_ == MmioExit(0xD0000000, b"\0", True)
        assert b.run() == HltExit()


def port_guest(instruction: str, mode: str, *, de: bool) -> Bench:
    """A guest that does one port instruction with CR4.DE as given."""
    b = Bench(f"{instruction}\nafter: hlt", mode)
    sregs = b.vcpu.get_sregs()
    cr4 = sregs.cr4 | CR4.DE if de else sregs.cr4 & ~CR4.DE
    b.vcpu.set_sregs(sregs._replace(cr4=int(cr4)))
    b.set(rax=0x55, rdx=0x80)
    return b


PORT_INSTRUCTIONS = {
    "out 0x80, al": IoExit("out", 0x80, 1, b"\x55"),
    "out dx, eax": IoExit("out", 0x80, 4, b"\x55\0\0\0"),
    "in al, 0x80": IoExit("in", 0x80, 1, b"\0"),
}


@row(87)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("instruction", PORT_INSTRUCTIONS)
def test_with_de_a_port_watch_still_gives_only_the_io_exit(instruction: str, mode: str) -> None:
    with port_guest(instruction, mode, de=True) as b:
        assert run_with(b, watch(1, IO), dr0=0x80) == PORT_INSTRUCTIONS[instruction]
        assert b.run() == HltExit()


@row(88)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("instruction", PORT_INSTRUCTIONS)
def test_without_de_a_port_watch_is_never_hit(instruction: str, mode: str) -> None:
    with port_guest(instruction, mode, de=False) as b:
        assert run_with(b, watch(1, IO), dr0=0x80) == PORT_INSTRUCTIONS[instruction]
        assert b.run() == HltExit()


@row(87)
def test_a_port_watch_under_a_step_adds_no_cause_to_the_step() -> None:
    with port_guest("out 0x80, al", "long", de=True) as b:
        dr7 = watch(1, IO)
        assert run_with(b, dr7, E | S | H, dr0=0x80) == PORT_INSTRUCTIONS["out 0x80, al"]
        assert run_with(b, dr7, E | S | H, dr0=0x80) == DebugExit(1, b["after"], BS, dr7)


@row(88)
@pytest.mark.parametrize("de", [False, True])
def test_a_port_watch_is_hit_by_no_store_and_no_fetch(de: bool) -> None:
    with port_guest("mov [rsi], al", "long", de=de) as b:
        b.set(rsi=PLACE)
        assert run_with(b, watch(1, IO), dr0=PLACE) == HltExit()
        b.set(rip=b.program.origin)
        assert run_with(b, watch(1, IO), dr0=b.program.origin) == HltExit()


NOT_ACCESSED = 0x03


@row(89)
def test_the_walk_that_sets_an_accessed_bit_makes_no_data_stop() -> None:
    with load(1) as b:
        four_kib_pages(b, {FIRST: FIRST | NOT_ACCESSED})
        assert hits(b, FIRST, watch(8, RW), dr0=PAGE_TABLE) == 0
        assert b.word(PAGE_TABLE) == FIRST | NOT_ACCESSED | 0x20


@row(89)
def test_the_walk_that_sets_a_dirty_bit_makes_no_data_stop() -> None:
    with store(1) as b:
        four_kib_pages(b, {FIRST: FIRST | NOT_ACCESSED})
        assert hits(b, FIRST, watch(8, RW), dr0=PAGE_TABLE) == 0
        assert b.word(PAGE_TABLE) == FIRST | NOT_ACCESSED | 0x60


@row(89)
def test_a_walk_after_invlpg_makes_no_data_stop() -> None:
    with Bench("mov al, [rsi]\ninvlpg [rsi]\nmov al, [rsi]\nmov rax, cr3\nmov cr3, rax\nhlt") as b:
        four_kib_pages(b, {})
        b.set(rsi=FIRST)
        assert run_with(b, watch(8, RW), dr0=PAGE_TABLE) == HltExit()


@row(89)
def test_a_store_to_the_page_table_entry_is_a_data_access() -> None:
    with store(8) as b:
        four_kib_pages(b, {})
        b.set(rax=FIRST | 0x67)
        assert hits(b, PAGE_TABLE, watch(8, RW), dr0=PAGE_TABLE) == 1


# -- row 90: MOV SS and POP SS ---------------------------------------------------------------------

SS_SELECTOR = {"real": 0, "protected": 0x10, "long": 0x10}


@row(90)
@pytest.mark.parametrize("mode", MODES)
def test_a_hit_by_mov_ss_is_reported_one_instruction_later(mode: str) -> None:
    with Bench("mov ss, word ptr [0x9000]\nnop\nafter: nop\nhlt", mode) as b:
        b.vcpu.write_memory(PLACE, SS_SELECTOR[mode].to_bytes(2, "little"))
        exit_ = run_with(b, watch(2, RW, 1), dr1=PLACE)
        assert exit_ == DebugExit(1, b["after"], B(1), watch(2, RW, 1))
        assert b.run() == HltExit()


@row(90)
@pytest.mark.parametrize("operand", ["rbx - 5", "rbx + rdx - 5", "ebx - 5"])
def test_a_mov_ss_that_ends_in_the_byte_of_sti_delays_its_hit_too(operand: str) -> None:
    with Bench(f"mov ss, word ptr [{operand}]\nnop\nafter: nop\nhlt") as b:
        b.vcpu.write_memory(PLACE, SS_SELECTOR["long"].to_bytes(2, "little"))
        b.set(rbx=PLACE + 5)
        exit_ = run_with(b, watch(2, RW), dr0=PLACE)
        assert exit_ == DebugExit(1, b["after"], B(0), watch(2, RW))


@row(90)
@pytest.mark.parametrize("mode", ["real", "protected"])
def test_a_hit_by_pop_ss_is_reported_one_instruction_later(mode: str) -> None:
    with Bench("pop ss\nnop\nafter: nop\nhlt", mode) as b:
        top = b.reg("rsp")
        b.vcpu.write_memory(top, SS_SELECTOR[mode].to_bytes(4, "little"))
        exit_ = run_with(b, watch(2, RW), dr0=top)
        assert exit_ == DebugExit(1, b["after"], B(0), watch(2, RW))


@row(90)
@pytest.mark.parametrize("mode", MODES)
def test_a_hit_by_mov_ss_joins_the_next_instructions_own(mode: str) -> None:
    text = "mov ss, word ptr [0x9000]\nmov byte ptr [0x9100], 5\nafter: nop\nhlt"
    with Bench(text, mode) as b:
        b.vcpu.write_memory(PLACE, SS_SELECTOR[mode].to_bytes(2, "little"))
        dr7 = watch(2, RW, 0) | watch(1, WRITE, 2)
        exit_ = run_with(b, dr7, dr0=PLACE, dr2=PLACE + 0x100)
        assert exit_ == DebugExit(1, b["after"], B(0, 2), dr7)
        assert b.run() == HltExit()


@row(90)
@pytest.mark.parametrize("mode", MODES)
def test_a_hit_by_mov_ss_joins_the_step_behind_the_next_instruction(mode: str) -> None:
    with Bench("mov ss, word ptr [0x9000]\nnop\nafter: nop\nhlt", mode) as b:
        b.vcpu.write_memory(PLACE, SS_SELECTOR[mode].to_bytes(2, "little"))
        exit_ = run_with(b, watch(2, RW), E | S | H, dr0=PLACE)
        assert exit_ == DebugExit(1, b["after"], BS | 1, watch(2, RW))


@row(90)
@pytest.mark.parametrize("mode", MODES)
def test_a_load_of_another_segment_register_delays_nothing(mode: str) -> None:
    with Bench("mov es, word ptr [0x9000]\nafter: nop\nnop\nhlt", mode) as b:
        b.vcpu.write_memory(PLACE, SS_SELECTOR[mode].to_bytes(2, "little"))
        exit_ = run_with(b, watch(2, RW), dr0=PLACE)
        assert exit_ == DebugExit(1, b["after"], B(0), watch(2, RW))
