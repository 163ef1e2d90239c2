"""The plain-text views say what is there, in ASCII, aligned."""

from __future__ import annotations

import pytest

from kvmdbg.debugger.breakpoints import Breakpoint
from kvmdbg.debugger.stop import Changes, GuestDebugSetting, MemoryChange, Stop, StopKind
from kvmdbg.exits import (
    DebugExit,
    ExceptionExit,
    Exit,
    ExitReason,
    HltExit,
    IntrExit,
    IoExit,
    MmioExit,
    UnknownExit,
)
from kvmdbg.history import lanes
from kvmdbg.history.timeline import Timeline
from kvmdbg.program.listing import Listing, ListingLine
from kvmdbg.views import tables, text
from kvmdbg.views.exits import exit_facts
from kvmdbg.x86 import debugreg as bits
from kvmdbg.x86.debugreg import Access
from kvmdbg.x86.decode import Instruction
from kvmdbg.x86.registers import CpuMode, DebugRegs, Regs, Segment, Sregs

CODE = Segment.from_access(8, 0, 0xFFFF_FFFF, 0xAF9B00)
CODE32 = Segment.from_access(8, 0, 0xFFFF_FFFF, 0xCF9B00)
DATA = Segment.from_access(16, 0, 0xFFFF_FFFF, 0xCF9300)
LONG = Sregs(CODE, DATA, DATA, DATA, DATA, DATA, cr0=0x8000_0011, cr4=0x20, efer=0x500)
PROTECTED = Sregs(CODE32, DATA, DATA, DATA, DATA, DATA, cr0=0x11)
REAL = Sregs(cs=Segment(base=0x7C00, limit=0xFFFF, selector=0x7C0))
CODE_LINES = [
    Instruction(0x8000, 5, bytes.fromhex("b805000000"), "mov", "eax, 5"),
    Instruction(0x8005, 2, bytes.fromhex("ffc8"), "dec", "eax"),
    Instruction(0x8007, 7, bytes.fromhex("488905f20f0000"), "mov", "qword ptr [rip + 0xff2], rax"),
    Instruction(0x800E, 2, bytes.fromhex("75f5"), "jne", "0x8005"),
]
LABELS = {0x8000: "start", 0x8005: "loop", 0x9000: "counter"}
HOST_DR7 = bits.dr7_with(bits.dr7_with(0x400, 0, Access.WRITE, 4), 1, Access.EXEC, 1)
HOST = (0x9002, 0x8005, 0, 0, 0, 0, 0, HOST_DR7)


def a_stop(**other: object) -> Stop:
    fields: dict[str, object] = {
        "index": 3,
        "exit": DebugExit(1, 0x800E, 0xFFFF_0FF1, HOST_DR7),
        "kind": StopKind.WATCHPOINT,
        "cause": "watchpoint 2 (writes) at counter",
        "hits": (2,),
        "pc": 0x800E,
        "location": "loop+9",
        "instruction": CODE_LINES[3],
        "mode": CpuMode.LONG,
        "regs": Regs(rip=0x800E),
        "sregs": LONG,
        "debugregs": DebugRegs(),
        "debug": GuestDebugSetting(),
        "clock": 1345,
        "executed": 12,
        "changes": Changes({"rax": (4, 5)}, {"ZF": (0, 1)}, (MemoryChange(0x9000, b"\4", b"\5"),)),
        "console": "Hello\n",
    }
    return Stop(**{**fields, **other})  # type: ignore[arg-type]


def some_exits() -> Timeline:
    timeline = Timeline()
    exits: list[Exit] = [DebugExit(1, 0x8000, 0xFFFF_4FF0, 0x400)] * 3
    exits += [DebugExit(3, 0x8005), DebugExit(1, 0x8005, 0xFFFF_4FF2, HOST_DR7), HltExit()]
    for clock, exit in enumerate(exits):
        timeline.append(exit, 0x8000 + clock, clock)
    return timeline


def breakpoints() -> list[Breakpoint]:
    return [
        Breakpoint(1, "sw", "x", 0x8005, 1, "rax > 3", True, 3, None, False, ""),
        Breakpoint(2, "hw", "w", 0x9000, 4, None, False, 1200, 0, False, ""),
        Breakpoint(7, "vector", "int", 14, 0, None, True, 0, None, True, ""),
    ]


# Registers


def test_long_mode_shows_sixteen_registers_with_sixteen_digits_in_four_columns() -> None:
    rows = text.registers(Regs(rax=5, r15=0xF), LONG).splitlines()
    assert rows[0] == "Registers: long mode, 64-bit code, CPL 0"
    assert rows[1].split()[:4] == ["rax", "0000000000000005", "rbx", "0000000000000000"]
    assert [len(row.split()) for row in rows[1:5]] == [8, 8, 8, 8]
    assert rows[4].endswith("r15 000000000000000f")


def test_protected_mode_shows_eight_registers_with_eight_digits() -> None:
    shown = text.registers(Regs(rax=5), PROTECTED)
    assert "eax 00000005 " in shown
    assert "r8 " not in shown
    assert "32-bit code, DPL 0" in shown


def test_real_mode_shows_four_digits_and_the_linear_address() -> None:
    shown = text.registers(Regs(rax=5, rip=0x10), REAL)
    assert "ax 0005 " in shown
    assert "ip 0010" in shown
    assert "linear 0x7c10" in shown
    assert "cs              07c0  base 0x7c00" in shown


def test_a_value_too_wide_for_the_mode_is_shown_whole() -> None:
    assert "eax 00012345 " in text.registers(Regs(rax=0x12345), REAL)


def test_a_changed_register_has_a_star_and_the_others_none() -> None:
    shown = text.registers(Regs(rax=5), LONG, ["rax"])
    assert "rax 0000000000000005*" in shown
    assert shown.count("*") == 1


def test_a_mark_does_not_shift_the_columns() -> None:
    plain = text.registers(Regs(), LONG).splitlines()
    marked = text.registers(Regs(), LONG, ["rax", "rsi", "r10"]).splitlines()
    assert [row.index(" r") for row in plain[1:4]] == [row.index(" r") for row in marked[1:4]]


def test_set_flags_are_capitals_and_clear_ones_small() -> None:
    shown = text.registers(Regs(rflags=0x3246), LONG)
    assert "id vip vif ac vm rf nt iopl=3 of df IF tf sf ZF af PF cf" in shown


def test_a_changed_flag_is_marked_whether_named_in_capitals_or_not() -> None:
    assert "ZF*" in text.registers(Regs(rflags=0x42), LONG, {"ZF": (0, 1)})
    assert "zf*" in text.registers(Regs(), LONG, ["zf"])


def test_equal_neighbouring_segments_share_a_line() -> None:
    shown = text.registers(Regs(), LONG)
    assert "ds es fs gs ss  0010  base 0x0  limit 0xffffffff  writable data, DPL 0" in shown


def test_a_changed_segment_stands_alone_with_its_mark() -> None:
    assert "\nes        0010*" in text.registers(Regs(), LONG, ["es"])


def test_control_registers_are_spelled_out() -> None:
    shown = text.registers(Regs(), LONG)
    assert "cr0 0x80000011 PE ET PG" in shown
    assert "efer 0x500 LME LMA" in shown


# Instructions and memory


def test_the_disassembly_shows_marks_labels_bytes_and_targets() -> None:
    shown = text.disassembly(CODE_LINES, 0x8005, LABELS, {0x8000: "1", 0x8005: "2"})
    assert shown.splitlines() == [
        "        start:",
        "    B1  0x8000  b8 05 00 00 00        mov eax, 5",
        "        loop:",
        "=>  B2  0x8005  ff c8                 dec eax",
        "        0x8007  48 89 05 f2 0f 00 00  mov qword ptr [rip + 0xff2], rax <counter>",
        "        0x800e  75 f5                 jne 0x8005 <loop>",
    ]


def test_att_operands_find_their_label_too() -> None:
    ins = CODE_LINES[2]._replace(mnemonic="movq", operands="%rax, 0xff2(%rip)")
    assert text.disassembly([ins], 0, LABELS).endswith("movq %rax, 0xff2(%rip) <counter>")


def test_a_backward_rip_relative_operand_finds_its_label() -> None:
    ins = CODE_LINES[2]._replace(operands="rax, qword ptr [rip - 0xe]")
    assert text.disassembly([ins], 0, LABELS).endswith("<start>")


def test_an_immediate_that_is_no_label_gets_none() -> None:
    assert text.disassembly(CODE_LINES[:1], 0, LABELS).endswith("mov eax, 5")


def test_no_instructions_is_said() -> None:
    assert text.disassembly([], 0) == "(nothing to disassemble)"


def test_the_hexdump_is_aligned_and_marks_changed_bytes() -> None:
    rows = text.hexdump(b"0123456789abcdefXY\0", 0x9000, [0x9003, 0x9011]).splitlines()
    head = "        +0 +1 +2 +3 +4 +5 +6 +7  +8 +9 +a +b +c +d +e +f ASCII"
    assert rows[0] == head
    assert rows[1].startswith("0x9000  30 31 32 33*34 35 36 37  38 39 ")
    assert rows[1].endswith(" 66 |0123456789abcdef|")
    assert rows[2].startswith("0x9010  58 59*00    ")
    assert rows[2].index("|XY.|") == head.index("ASCII")


def test_an_empty_hexdump_is_said() -> None:
    assert text.hexdump(b"", 0).splitlines()[0] == "(no bytes)"


# Debug registers


def test_debug_registers_show_every_field_of_dr6_and_dr7() -> None:
    rows = text.debugregs(DebugRegs()).splitlines()
    for field in [*bits.fields_dr6(0), *bits.fields_dr7(0)]:
        assert any(row.split()[:2] == [field.bits, field.name] for row in rows)


def test_an_enabled_slot_is_put_in_words_and_its_fields_are_marked() -> None:
    dr7 = bits.dr7_with(0x400, 0, Access.WRITE, 4)
    shown = text.debugregs(DebugRegs(db=(0x9002, 0, 0, 0), dr7=dr7))
    assert "DR0  0x0000000000009002  on: writes to 0x9000-0x9003 (4 bytes, G0)" in shown
    assert "17-16  R/W0   01+    data writes" in shown
    assert "21-20  R/W1   00     execution (slot off)" in shown


def test_a_slot_that_can_never_match_says_so() -> None:
    shown = text.debugregs(DebugRegs(dr7=0x402 | 3 << 18))
    assert "on: execution of 0x0 (G0, never: LEN is not 0)" in shown


def test_the_effective_set_stands_beside_the_guest_s_where_the_host_owns_it() -> None:
    shown = text.debugregs(DebugRegs(db=(0x1234, 0, 0, 0), dr7=0x401), HOST)
    first = next(row for row in shown.splitlines() if row.startswith("DR0"))
    assert "on: execution of 0x1234 (L0)" in first
    assert first.index("0x1234") < first.index("0x0000000000009002")
    assert "the guest's DR0-DR3 and DR7 are inert" in shown
    assert "in effect" not in text.debugregs(DebugRegs()).replace("are in effect", "")


def test_the_causes_in_dr6_are_named() -> None:
    assert "causes: B0, BS" in text.debugregs(DebugRegs(dr6=0xFFFF_4FF1))
    assert "no cause" in text.debugregs(DebugRegs())


# The timeline


def test_the_timeline_counts_every_kind_and_lists_the_last_exits() -> None:
    rows = text.timeline(some_exits(), 2, LABELS).splitlines()
    assert rows[0].startswith("Timeline: 6 exits in ")
    assert "DEBUG step       3  50.0%" in rows
    assert "the last 2 exits" in rows
    assert rows[-2].split()[:5] == ["4", "DEBUG", "DR1,", "step", "0x8004"]
    assert rows[-1].split()[:3] == ["5", "HLT", "0x8005"]
    assert "loop" in rows[-1]


def test_an_empty_timeline_is_said() -> None:
    assert text.timeline(Timeline()) == "Timeline: no exits yet"


def test_last_zero_leaves_only_the_counts() -> None:
    assert "host ms" not in text.timeline(some_exits(), 0)


def test_without_a_clock_there_is_no_clock_column() -> None:
    timeline = Timeline()
    timeline.append(HltExit(), 0x8000, -1)
    assert "clock" not in text.timeline(timeline)


def test_every_exit_reason_has_a_lane_of_its_own() -> None:
    titles = [lanes.lane_of(reason, -1, 0).title for reason in ExitReason]
    assert len(set(titles)) == len(ExitReason)


def test_lane_counts_add_up() -> None:
    assert sum(lanes.count_lanes(some_exits()).values()) == 6


def test_a_hit_outweighs_the_step_it_came_with() -> None:
    assert lanes.lane_of(4, 1, 0xFFFF_4FF1).title == "DEBUG DR0-3"


@pytest.mark.parametrize(
    ("exit", "words"),
    [
        (DebugExit(3, 0), "DEBUG: exception 3 (#BP)"),
        (ExceptionExit(14, 2, 0, False), "EXCEPTION: exception 14 (#PF), error code 0x2"),
        (ExceptionExit(19, 0, 0, True), "EXCEPTION: INT 13h"),
        (IoExit("out", 0x3F8, 1, b"H"), "IO: out port 0x3f8, 1 x 1 byte: 48"),
        (IoExit("in", 0x60, 2, b"\0" * 4, 2), "IO: in port 0x60, 2 x 2 bytes"),
        (MmioExit(0xFEE0_0000, b"\1\2", True), "MMIO: write 2 bytes at 0xfee00000: 01 02"),
        (MmioExit(0xFEE0_0000, b"\0", False), "MMIO: read 1 byte at 0xfee00000"),
        (IntrExit("budget"), "INTR: budget"),
        (UnknownExit(99), "UNKNOWN: reason 99"),
        (HltExit(), "HLT"),
    ],
)
def test_an_exit_is_told_with_what_kvm_run_says(exit: Exit, words: str) -> None:
    assert exit_facts(exit) == words


# A stop


def test_a_stop_is_told_whole() -> None:
    assert text.stop(a_stop(), LABELS).splitlines() == [
        "Stop 3: watchpoint at loop+9 (0x800e)",
        "watchpoint 2 (writes) at counter",
        "next  jne 0x8005 <loop>",
        "hit   breakpoint 2",
        "exit  DEBUG: exception 1 (#DB), dr6 0xffff0ff1, dr7 0xd040a",
        "ran   12 instructions, 1,345 in all",
        "mode  long mode, 64-bit code, CPL 0",
        "changed         before            after",
        "rax             0000000000000004  0000000000000005",
        "zf              0                 1",
        "0x9000 counter  04                05",
        "",
        "console:",
        "  | Hello",
    ]


def test_a_place_without_a_label_is_named_once() -> None:
    assert text.stop(a_stop(location="0x800e")).startswith("Stop 3: watchpoint at 0x800e\n")


def test_a_stop_in_which_nothing_changed_shows_no_empty_table() -> None:
    shown = text.stop(a_stop(changes=Changes(), console="", hits=()))
    assert "changed" not in shown
    assert "console" not in shown
    assert "hit " not in shown


def test_code_that_cannot_be_read_is_said() -> None:
    assert "next  (unreadable)" in text.stop(a_stop(instruction=None))


def test_an_engine_without_a_clock_counts_nothing() -> None:
    assert "\nran " not in text.stop(a_stop(clock=-1, executed=-1))


def test_a_changed_register_is_as_wide_as_the_mode() -> None:
    shown = text.stop(a_stop(mode=CpuMode.PROTECTED_32, sregs=PROTECTED), LABELS)
    assert "eax             00000004  00000005" in shown
    assert "rax" not in shown


def test_long_runs_of_memory_are_cut_and_counted() -> None:
    runs = tuple(MemoryChange(0x1000 * n, bytes(20), b"A" * 20) for n in range(1, 31))
    shown = text.stop(a_stop(changes=Changes(memory=runs, more=5)))
    assert "41 41 41 41 41 41 41 41 +12" in shown
    assert "and 19 more runs of changed bytes" in shown


def test_the_console_cannot_disturb_the_terminal() -> None:
    assert "\x1b" not in text.stop(a_stop(console="a\x1b[2J\nb"))
    assert "  | a\\x1b[2J\n  | b" in text.stop(a_stop(console="a\x1b[2J\nb"))


# Breakpoints and listings


def test_breakpoints_are_told_one_a_line() -> None:
    rows = text.breakpoints(breakpoints(), LABELS).splitlines()
    assert rows[0] == "Breakpoints: 3"
    assert [" ".join(row.split()) for row in rows[2:]] == [
        "1 INT3 execution 0x8005 loop rax > 3 3 on",
        "2 DR0 writes 0x9000 counter 4 1,200 off",
        "7 exception being raised INT 0Eh, #PF 0 on, once",
    ]


def test_no_breakpoints_is_said() -> None:
    assert text.breakpoints([]) == "Breakpoints: none"


def test_the_listing_marks_the_line_of_the_pc_and_breakpoints() -> None:
    listing = Listing(
        [
            ListingLine(1, None, b"", "; count down"),
            ListingLine(2, 0x8005, b"", "loop:"),
            ListingLine(3, 0x8005, b"\xff\xc8", "    dec eax"),
            ListingLine(4, 0x8007, bytes(4096), "    .fill 4096"),
        ]
    )
    assert text.listing(listing, 0x8005, {0x8005: "1"}).splitlines() == [
        "        1                                          ; count down",
        "        2  0x8005                                  loop:",
        "=>  B1  3  0x8005  ff c8                               dec eax",
        "        4  0x8007  00 00 00 00 00 00 00 00 +4,088      .fill 4096",
    ]


def test_two_cards_are_an_empty_line_apart() -> None:
    assert text.render(tables.Card("a"), tables.Card("b", "c")) == "a\n\nb\nc"


def test_every_view_is_ascii() -> None:
    views = (
        text.registers(Regs(), LONG, ["rax"]),
        text.disassembly(CODE_LINES, 0x8005, LABELS, {0x8005: "1"}),
        text.hexdump(bytes(range(256)), 0, [3]),
        text.debugregs(DebugRegs(dr7=0x401), HOST),
        text.timeline(some_exits()),
        text.stop(a_stop()),
        text.breakpoints(breakpoints()),
    )
    assert all(view.isascii() for view in views)
