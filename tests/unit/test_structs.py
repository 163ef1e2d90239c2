"""The two structs of the ioctl line: their bytes, and what is said about each field."""

from __future__ import annotations

import ctypes
import struct

import pytest

from kvmdbg.debugger.stop import GuestDebugSetting
from kvmdbg.exits import DebugExit, Exit, HltExit
from kvmdbg.uapi import GuestDbg, kvm_debug_exit_arch, kvm_guest_debug
from kvmdbg.views import structs, text
from kvmdbg.x86.debugreg import Access, dr7_with

DR7 = dr7_with(dr7_with(0x400, 0, Access.WRITE, 4), 1, Access.EXEC, 1)
OWNED = GuestDebugSetting(
    int(GuestDbg.ENABLE | GuestDbg.USE_HW_BP), (0x9000, 0x8005, 0, 0, 0, 0, 0, DR7)
)
STEP = DebugExit(1, 0x8001, 0xFFFF_4FF1, 0x402)


def rows(setting: GuestDebugSetting, exit: Exit | None) -> dict[str, tuple[str, ...]]:
    """The annotated rows by field: (offset, bytes, value, meaning)."""
    card = structs.structs(setting, exit, {0x8001: "loop"})
    cells = [[c.text for c in row.cells] for part in card.parts for row in part.lines]  # type: ignore[union-attr]
    return {name: (offset, raw, value, meaning) for offset, raw, name, value, meaning in cells}


def test_what_is_sent_are_the_bytes_of_the_kernels_struct() -> None:
    data = structs.pack_guest_debug(OWNED)
    assert data == struct.pack("<II8Q", OWNED.control, 0, *OWNED.debugreg)
    assert len(data) == 72


def test_what_is_received_are_the_bytes_of_the_kernels_struct() -> None:
    data = structs.pack_debug_exit(STEP)
    assert data == struct.pack("<II3Q", 1, 0, 0x8001, 0xFFFF_4FF1, 0x402)
    assert len(data) == 32


@pytest.mark.parametrize("kind", [kvm_guest_debug, kvm_debug_exit_arch])
def test_the_members_of_a_struct_are_all_its_bytes_once(kind: type[ctypes.Structure]) -> None:
    data = bytes(range(ctypes.sizeof(kind)))
    found = list(structs.members(kind, data))
    assert b"".join(member.raw for member in found) == data
    assert all(member.raw[0] == member.offset for member in found)


def test_an_array_field_is_listed_element_by_element() -> None:
    names = [member.name for member in structs.members(kvm_guest_debug, bytes(72))]
    assert names == ["control", "pad", *(f"debugreg[{n}]" for n in range(8))]


@pytest.mark.parametrize("flag", list(GuestDbg))
def test_the_control_word_is_told_by_the_name_of_each_flag(flag: GuestDbg) -> None:
    assert structs.control_words(int(flag)) == flag.name


def test_a_bit_that_kvm_has_no_name_for_is_told_as_a_number() -> None:
    assert structs.control_words(0x8000_0001) == "ENABLE | 0x80000000"


def test_each_row_has_offset_bytes_value_and_meaning() -> None:
    found = rows(OWNED, STEP)
    assert found["control"] == ("0", "01 00 02 00", "0x20001", "ENABLE | USE_HW_BP")
    assert found["debugreg[0]"][:3] == ("8", "00 90 00 00 00 00 00 00", "0x9000")
    assert found["debugreg[7]"][0] == "64"
    assert found["pc"] == (
        "8",
        "01 80 00 00 00 00 00 00",
        "0x8001",
        "linear address of CS:RIP loop",
    )
    assert found["dr6"][3] == "causes: B0, BS"


def test_debug_registers_that_are_in_effect_say_what_they_wait_for() -> None:
    found = rows(OWNED, None)
    assert "writes to 0x9000-0x9003" in found["debugreg[0]"][3]
    assert "execution of 0x8005" in found["debugreg[1]"][3]
    assert found["debugreg[2]"][3] == "off"
    assert "2 slots on" in found["debugreg[7]"][3]


@pytest.mark.parametrize("control", [0, GuestDbg.ENABLE, GuestDbg.USE_HW_BP])
def test_without_enable_and_use_hw_bp_the_debug_registers_are_not_read(control: int) -> None:
    found = rows(OWNED._replace(control=int(control)), None)
    for number in (0, 1, 2, 3, 7):
        assert found[f"debugreg[{number}]"][3].startswith("not read")


def test_dr4_to_dr6_are_never_read() -> None:
    found = rows(OWNED, None)
    assert {found[f"debugreg[{n}]"][3] for n in (4, 5, 6)} == {"never read"}


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (0, "everything off"),
        (GuestDbg.SINGLESTEP, "SINGLESTEP: without ENABLE all off"),
        (GuestDbg.INJECT_BP, "INJECT_BP: without ENABLE only the injection counts"),
    ],
)
def test_without_enable_the_control_word_says_what_is_left_of_it(control: int, words: str) -> None:
    assert rows(GuestDebugSetting(int(control)), None)["control"][3] == words


def test_the_dr6_and_dr7_of_an_int3_are_said_to_be_unwritten() -> None:
    found = rows(OWNED, DebugExit(3, 0x8001))
    assert found["exception"][3] == "#BP, breakpoint (INT3)"
    assert found["dr6"][3] == found["dr7"][3]
    assert "not written for #BP" in found["dr6"][3]


def test_an_exit_that_is_no_debug_exit_has_no_struct_and_that_is_said() -> None:
    shown = text.render(structs.structs(OWNED, HltExit(), {}))
    assert "The last exit was HLT" in shown
    assert "Received" not in shown


def test_before_the_first_exit_nothing_was_received() -> None:
    assert "No exit yet" in text.render(structs.structs(OWNED, None, {}))


def test_a_setting_that_is_off_takes_two_lines() -> None:
    lines = text.render(structs.setting(GuestDebugSetting())).splitlines()
    words = "control 0x00000000 off: #DB and #BP are the guest's"
    assert " ".join(lines[1].split()) == words
    assert len(lines) == 3


def test_addresses_are_shown_though_nobody_reads_them() -> None:
    shown = text.render(structs.setting(OWNED._replace(control=1)))
    assert "0x0000000000009000" in shown
    assert shown.count("not read") == 5
