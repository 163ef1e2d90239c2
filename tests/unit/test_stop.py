"""A stop as a value, what counts as a change, and the words for why a guest stopped."""

from __future__ import annotations

from typing import Any

import pytest

from kvmdbg.debugger import causes, changes
from kvmdbg.debugger.changes import RUNS, Shadow
from kvmdbg.debugger.entries import Entry
from kvmdbg.debugger.limits import Limits
from kvmdbg.debugger.outcome import of_end, of_intr
from kvmdbg.debugger.stop import Changes, GuestDebugSetting, MemoryChange, Stop, StopKind
from kvmdbg.errors import BadInput
from kvmdbg.exits import (
    DebugExit,
    ExceptionExit,
    Exit,
    FailEntryExit,
    HltExit,
    InternalErrorExit,
    IntrExit,
    IoExit,
    MmioExit,
    ShutdownExit,
    UnknownExit,
)
from kvmdbg.x86.decode import Instruction
from kvmdbg.x86.registers import CR0, RFLAGS, CpuMode, DebugRegs, Regs, Segment, Sregs

REGS, SREGS = Regs(rip=0x8003), Sregs()


def a_stop(**other: Any) -> Stop:
    fields: dict[str, Any] = {
        "index": 3,
        "exit": DebugExit(3, 0x8003),
        "kind": StopKind.BREAKPOINT,
        "cause": "breakpoint 1 (INT3) at loop",
        "hits": (1,),
        "pc": 0x8003,
        "location": "loop",
        "instruction": Instruction(0x8003, 1, b"\x90", "nop", ""),
        "mode": CpuMode.REAL,
        "regs": REGS,
        "sregs": SREGS,
        "debugregs": DebugRegs(),
        "debug": GuestDebugSetting(),
        "clock": 10,
        "executed": 4,
        "changes": Changes(),
        "console": "",
    }
    return Stop(**(fields | other))


def test_a_stop_says_where_and_why_in_its_first_line() -> None:
    assert str(a_stop()).splitlines()[0] == ("stop 3 at loop (0x8003): breakpoint 1 (INT3) at loop")


def test_a_place_without_a_label_is_said_once() -> None:
    assert a_stop(location="0x8003", cause="single step").title == "stop 3 at 0x8003: single step"


def test_a_stop_shows_what_changed_and_what_was_printed() -> None:
    changed = Changes(
        {"rax": (0, 5)}, {"ZF": (0, 1)}, (MemoryChange(0x9000, b"\0\0", b"\1\2"),), searched=1
    )
    assert str(a_stop(changes=changed, console="A\n")).splitlines()[1:] == [
        "next       nop",
        "registers  rax 0x0 -> 0x5",
        "flags      ZF 0x0 -> 0x1",
        "memory     0x9000: 00 00 -> 01 02",
        "printed    'A\\n'",
    ]


def test_a_stop_where_no_code_can_be_read_has_no_next_instruction() -> None:
    assert "next" not in str(a_stop(instruction=None))


def test_many_changes_are_counted_in_the_text() -> None:
    runs = tuple(MemoryChange(0x100 * n, b"\0", b"\1") for n in range(20))
    text = str(Changes(memory=runs, more=5))
    assert text.splitlines()[-1] == "memory     17 more changed places"


def test_a_stop_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        a_stop().pc = 1  # type: ignore[misc]


def test_a_kind_reads_as_its_text() -> None:
    assert str(StopKind.GUEST_DEBUG) == "guest-debug"
    assert {str(kind) for kind in StopKind} >= {"step", "breakpoint", "watchpoint", "vector"}


# What changed


def test_registers_that_differ_are_named_with_both_values() -> None:
    before, after = Regs(rax=1, rbx=2, rip=1), Regs(rax=1, rbx=3, rip=9, rflags=0x46)
    assert changes.registers((before, SREGS), (after, SREGS)) == {"rbx": (2, 3)}


def test_a_mode_switch_shows_in_control_and_segment_registers() -> None:
    protected = SREGS._replace(cr0=SREGS.cr0 | int(CR0.PE), cs=Segment(selector=8))
    assert changes.registers((REGS, SREGS), (REGS, protected)) == {
        "cs": (0, 8),
        "cr0": (0x10, 0x11),
    }


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (0x2, {}),
        (RFLAGS.ZF | 2, {"ZF": (0, 1)}),
        (RFLAGS.IOPL | 2, {"IOPL": (0, 3)}),
        (RFLAGS.RF | RFLAGS.CF | 2, {"CF": (0, 1), "RF": (0, 1)}),
    ],
)
def test_flags_that_differ_are_named(new: int, expected: dict[str, tuple[int, int]]) -> None:
    assert changes.flags(2, int(new)) == expected


@pytest.fixture
def ram() -> bytearray:
    return bytearray(1 << 16)


@pytest.fixture
def shadow(ram: bytearray) -> Shadow:
    shadow = Shadow(memoryview(ram))
    shadow.begin({})
    return shadow


def test_changed_bytes_are_found_in_runs(ram: bytearray, shadow: Shadow) -> None:
    ram[0x100:0x103] = b"\1\2\3"
    ram[0x104] = 9
    ram[0xFFFF] = 7
    assert shadow.take({}).runs() == (
        (
            MemoryChange(0x100, b"\0\0\0", b"\1\2\3"),
            MemoryChange(0x104, b"\0", b"\x09"),
            MemoryChange(0xFFFF, b"\0", b"\7"),
        ),
        0,
    )


def test_a_change_is_told_once(ram: bytearray, shadow: Shadow) -> None:
    ram[5] = 1
    shadow.take({})
    assert shadow.take({}).runs() == ((), 0)


def test_what_the_host_wrote_is_no_change(ram: bytearray, shadow: Shadow) -> None:
    ram[5:8] = b"abc"
    shadow.note(5, b"abc")
    assert shadow.take({}).runs() == ((), 0)


def test_a_run_ends_at_its_page(ram: bytearray, shadow: Shadow) -> None:
    ram[0xFFE:0x1002] = b"abcd"
    found, _ = shadow.take({}).runs()
    assert [(run.address, run.new) for run in found] == [(0xFFE, b"ab"), (0x1000, b"cd")]


def test_too_many_runs_are_counted(ram: bytearray, shadow: Shadow) -> None:
    for n in range(RUNS + 10):
        ram[n * 2] = 1
    found, more = shadow.take({}).runs()
    assert (len(found), more) == (RUNS, 10)


def test_a_planted_int3_is_no_change(ram: bytearray, shadow: Shadow) -> None:
    ram[0x10] = 0xCC
    assert shadow.take({0x10: 0}).runs() == ((), 0)
    ram[0x10] = 0
    assert shadow.take({}).runs() == ((), 0)


def test_a_planted_int3_that_was_there_from_the_start_is_no_change(ram: bytearray) -> None:
    ram[0x10] = 0xCC
    shadow = Shadow(memoryview(ram))
    shadow.begin({0x10: 0x90})
    ram[0x10] = 0x90
    assert shadow.take({}).runs() == ((), 0)


def test_a_change_beside_a_planted_int3_is_found(ram: bytearray, shadow: Shadow) -> None:
    ram[0x10:0x12] = b"\xcc\x07"
    assert shadow.take({0x10: 0}).runs()[0] == (MemoryChange(0x11, b"\0", b"\7"),)


def test_nothing_is_compared_after_memory_was_replaced(ram: bytearray, shadow: Shadow) -> None:
    ram[0] = 1
    shadow.forget()
    assert shadow.take({}).runs() == ((), 0)


# Words


def an_entry(kind: str, access: str, length: int, slot: int | None) -> Entry:
    entry = Entry(kind, access, 0x9000, length, "counter (0x9000)")
    entry.number, entry.slot = 2, slot
    return entry


def test_a_software_breakpoint_is_an_int3() -> None:
    assert causes.reached(an_entry("sw", "x", 1, None), "loop") == "breakpoint 2 (INT3) at loop"


def test_a_hardware_breakpoint_names_its_register() -> None:
    entry = an_entry("hw", "x", 1, 3)
    assert causes.reached(entry, "loop") == "breakpoint 2 (DR3, execution) at loop"


@pytest.mark.parametrize(
    ("access", "old", "new", "end"),
    [
        ("w", 0, 5, ": 0x0 -> 0x5"),
        ("w", 5, 5, ": 0x5 written again"),
        ("rw", 5, 5, ": still 0x5"),
        ("rw", 4, 5, ": 0x4 -> 0x5"),
        ("w", None, 5, ""),
    ],
)
def test_a_watchpoint_says_the_value_before_and_after(
    access: str, old: int | None, new: int, end: str
) -> None:
    text = causes.accessed(an_entry("hw", access, 4, 0), "counter", old, new)
    assert text.startswith("breakpoint 2 (DR0, ")
    assert text.endswith("4 bytes at counter)" + end)


@pytest.mark.parametrize(
    ("exit", "text"),
    [
        (ExceptionExit(0x13, 0, 0, software=True), "INT 13h"),
        (ExceptionExit(14, 2, 0, software=False), "#PF, error code 0x2"),
        (ExceptionExit(6, 0, 0, software=False), "#UD"),
        (ExceptionExit(13, 0, 0, software=True), "INT 0Dh"),
        (ExceptionExit(0x20, 0, 0, software=False), "INT 20h"),
    ],
)
def test_a_vector_is_named_by_what_raised_it(exit: ExceptionExit, text: str) -> None:
    entry = an_entry("vector", "int", 0, None)
    assert causes.raised(entry, exit) == f"the guest raised {text} (vector breakpoint 2)"


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (0x4000, "its trap flag"),
        (0x2, "its DR1"),
        (0x5, "its DR0, its DR2"),
        (0x2000, "general detect"),
        (0, "INT1"),
    ],
)
def test_a_guests_own_debug_exception_says_what_caused_it(payload: int, what: str) -> None:
    assert causes.guest_event(payload) == f"the guest's own #DB ({what}) goes to its handler"


@pytest.mark.parametrize(
    ("exit", "claimed", "text"),
    [
        (IoExit("out", 0xE9, 1, b"A"), True, "OUT 0x41 to port 0xe9"),
        (IoExit("out", 0x80, 2, b"\x34\x12"), False, "OUT 0x1234 to port 0x80, no device there"),
        (IoExit("in", 0x60, 1, b"\0"), False, "IN from port 0x60, no device there"),
    ],
)
def test_a_port_access_is_told_with_value_and_port(exit: IoExit, claimed: bool, text: str) -> None:
    assert causes.port(exit, claimed) == text


def test_an_mmio_access_is_told_with_its_address() -> None:
    exit = MmioExit(0xFEE00000, b"\0\0\0\0", is_write=False)
    assert causes.mmio(exit) == "read from physical 0xfee00000, no device there"


@pytest.mark.parametrize(
    ("exit", "kind", "text"),
    [
        (HltExit(), StopKind.HALT, "the guest halted (HLT)"),
        (ShutdownExit(), StopKind.SHUTDOWN, "triple fault"),
        (
            InternalErrorExit(1, b"\x0f\x01", "no such"),
            StopKind.ERROR,
            "instruction 0f 01: no such",
        ),
        (FailEntryExit(0x21), StopKind.ERROR, "refused to run the guest with this state: reason"),
        (UnknownExit(77), StopKind.ERROR, "(77)"),
    ],
)
def test_every_end_has_a_kind_and_a_sentence(exit: Exit, kind: StopKind, text: str) -> None:
    outcome = of_end(exit)
    assert (outcome.kind, text in outcome.reasons[0]) == (kind, True)


@pytest.mark.parametrize(
    ("cause", "kind", "text"),
    [
        ("budget", StopKind.BUDGET, "budget of 1,000 instructions used up"),
        ("timeout", StopKind.TIMEOUT, "the timeout of 0.5 s is over"),
        ("request", StopKind.INTERRUPTED, "a stop was requested"),
        ("signal", StopKind.INTERRUPTED, "a stop was requested"),
    ],
)
def test_an_end_from_outside_says_which_limit(
    cause: str, kind: StopKind, text: str, toy: Any
) -> None:
    outcome = of_intr(IntrExit(cause), Limits(toy, 1000, 0.5))
    assert (outcome.kind, outcome.reasons) == (kind, (text,))


@pytest.mark.parametrize("limits", [(0, None), (-1, None), (1.5, None), (None, 0), (None, -1.0)])
def test_a_limit_that_makes_no_sense_is_refused(limits: tuple[Any, Any], toy: Any) -> None:
    with pytest.raises(BadInput, match=r"max_instructions must|timeout must"):
        Limits(toy, *limits)


def test_what_is_left_never_goes_below_zero(toy: Any) -> None:
    limits = Limits(toy, 5, 1000.0)
    toy.clock = 9
    instructions, seconds = limits.left
    assert instructions == 0
    assert seconds is not None
    assert 0 < seconds <= 1000
