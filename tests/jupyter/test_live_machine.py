"""The parts ``machine`` and ``listing`` of a snapshot, and what ``inspect`` answers with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.errors import BadInput, UnknownName
from kvmdbg.jupyter.live.parts import listing, machine
from kvmdbg.jupyter.live.parts.code import ROWS
from kvmdbg.jupyter.live.parts.inspect import inspect
from kvmdbg.jupyter.live.wishes import MOST_BYTES, Window, Wishes

SOURCE = """\
start:  mov ecx, 3
loop:   inc dword ptr [counter]
        call twice      # doubles
        dec ecx
        jnz loop
        hlt
twice:  add eax, eax
        ret
        .align 16
counter: .long 5
"""
NOTHING = Wishes()


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm() as guest:
        guest.load(replace(assemble(SOURCE), name="demo"))
        yield guest


def loaded(source: str, mode: str = "long") -> Vm:
    guest = Vm(mode=mode)
    guest.load(assemble(source, mode=mode))
    return guest


def part(vm: Vm, **windows: tuple[str, int]) -> dict[str, Any]:
    wishes = Wishes(windows={name: Window(*window) for name, window in windows.items()})
    return machine.part(vm, wishes)


def register(vm: Vm, name: str, group: str = "general") -> dict[str, Any]:
    found: dict[str, Any] = next(r for r in part(vm)["registers"][group] if r["name"] == name)
    return found


def row(vm: Vm, address: int, **windows: tuple[str, int]) -> dict[str, Any]:
    rows = part(vm, **windows)["code"]["rows"]
    found: dict[str, Any] = next(r for r in rows if r["address"] == hex(address))
    return found


def starts(vm: Vm) -> str:
    return str(part(vm)["code"]["rows"][0]["address"])


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_the_part_is_plain_json_in_every_mode(mode: str) -> None:
    with loaded("start: nop\nhlt", mode) as vm:
        assert json.loads(json.dumps(part(vm, m1=("start", 16)))) == part(vm, m1=("start", 16))


# Code


def test_a_row_says_what_stands_there_and_which_line_it_came_from(vm: Vm) -> None:
    call = vm.symbols["loop"] + 7
    assert row(vm, call) == {
        "address": hex(call),
        "size": 5,
        "label": "",
        "bytes": vm.read(call, 5).hex(" "),
        "text": f"call {vm.symbols['twice']:#x} <twice>",
        "source": "call twice      # doubles",
        "line": 3,
        "data": False,
    }


def test_a_row_at_a_label_names_it(vm: Vm) -> None:
    assert row(vm, vm.symbols["twice"])["label"] == "twice"


def test_data_of_the_listing_is_not_taken_for_instructions(vm: Vm) -> None:
    found = row(vm, vm.symbols["counter"])
    assert (found["data"], found["text"], found["size"]) == (True, ".long 5", 4)


def test_data_that_the_guest_executes_is_shown_as_instructions(vm: Vm) -> None:
    vm.set_regs(rip=vm.symbols["counter"])
    assert not row(vm, vm.symbols["counter"])["data"]


def test_code_that_the_guest_has_overwritten_claims_no_source_line(vm: Vm) -> None:
    vm.write(vm.symbols["twice"], b"\x90\x90")
    assert row(vm, vm.symbols["twice"])["line"] == 0


def test_zeros_behind_the_program_are_not_shown_as_instructions(vm: Vm) -> None:
    assert part(vm)["code"]["rows"][-1]["address"] == hex(vm.symbols["counter"])


def test_zeros_in_which_the_guest_stands_are_shown(vm: Vm) -> None:
    vm.set_regs(rip=0x9000)
    assert row(vm, 0x9000)["text"] == "add byte ptr [rax], al"


def test_the_rows_stay_while_the_guest_is_among_them(vm: Vm) -> None:
    seen = set()
    for _ in range(20):
        vm.step()
        seen.add(starts(vm))
    assert seen == {"0x8000"}


def test_the_rows_stay_where_no_listing_says_what_lies_before() -> None:
    with Vm() as vm:
        vm.load(b"\x90" * 100)
        seen = {(vm.step(), starts(vm))[1] for _ in range(10)}
        assert seen == {"0x8001"}


def test_the_rows_move_when_the_guest_leaves_them() -> None:
    with loaded("start: jmp far_away\n.skip 4096, 0x90\nfar_away: nop\nhlt") as vm:
        part(vm)
        vm.step()
        assert row(vm, vm.symbols["far_away"])["label"] == "far_away"


def test_the_rows_move_before_the_guest_reaches_their_end() -> None:
    with loaded("nop\n" * 200 + "hlt") as vm:
        for _ in range(100):
            vm.step()
            rows = part(vm)["code"]["rows"]
            place = [r["address"] for r in rows].index(hex(vm.regs().rip))
            assert place < ROWS - 4


def test_code_of_another_place_is_shown_when_asked_for(vm: Vm) -> None:
    wishes = Wishes(windows={"page:code": Window("twice", 1)})
    assert machine.part(vm, wishes)["codes"]["page:code"]["rows"][0]["label"] == "twice"


def test_code_at_a_place_that_is_no_place_is_one_sentence(vm: Vm) -> None:
    code = part(vm, code=("nowhere", 1))["codes"]["code"]
    assert code["rows"] == []
    assert 'there is no label "nowhere"' in code["says"]


def test_a_guest_that_runs_where_nothing_is_mapped_has_no_code_but_a_sentence(vm: Vm) -> None:
    vm.set_regs(rip=0x7777_7777_7000)
    code = part(vm)["code"]
    assert code["rows"] == []
    assert "not mapped" in code["says"]


# Registers


def test_a_register_that_changed_says_what_it_was(vm: Vm) -> None:
    vm.step()
    assert register(vm, "rcx") == {"name": "rcx", "digits": f"{3:016x}", "was": f"{0:016x}"}


def test_a_register_that_did_not_change_says_nothing_of_before(vm: Vm) -> None:
    vm.step()
    assert register(vm, "rbx")["was"] is None


def test_registers_have_the_names_and_the_width_of_the_mode() -> None:
    with loaded("mov ax, 0x12", "real") as vm:
        vm.step()
        assert register(vm, "ax")["digits"] == "0012"


def test_no_bit_of_a_register_is_hidden_by_a_narrow_mode() -> None:
    with loaded("mov eax, 0x12345678", "real") as vm:
        vm.step()
        assert register(vm, "eax")["digits"] == "12345678"


def test_a_flag_that_changed_says_what_it_was_and_what_it_means() -> None:
    with loaded("xor eax, eax\nhlt") as vm:
        vm.step()
        flag = register(vm, "ZF", "flags")
        assert (flag["value"], flag["was"]) == (1, 0)
        assert flag["words"] == "zero: the result was 0"


def test_a_control_register_names_the_bits_that_are_set(vm: Vm) -> None:
    assert "PG" in register(vm, "cr0", "control")["bits"]


def test_changes_are_not_claimed_once_somebody_ran_the_guest_on(vm: Vm) -> None:
    vm.step()
    vm.debug(0)
    vm.enter(max_instructions=1)
    assert register(vm, "rcx")["was"] is None


# Stack


def test_a_return_address_on_the_stack_is_told(vm: Vm) -> None:
    vm.step(3)
    top = next(r for r in part(vm)["stack"]["rows"] if r["offset"] == 0)
    assert top["words"] == "loop+0xc, after a call"


def test_a_label_on_the_stack_that_follows_no_call_is_a_label() -> None:
    with loaded("start: nop\npush offset start\nhlt") as vm:
        vm.step(2)
        top = next(r for r in part(vm)["stack"]["rows"] if r["offset"] == 0)
        assert top["words"] == "start"


def test_words_of_the_stack_are_as_wide_as_the_mode() -> None:
    with loaded("push 0x1234\nhlt", "real") as vm:
        vm.step()
        stack = part(vm)["stack"]
        top = next(r for r in stack["rows"] if r["offset"] == 0)
        assert (stack["width"], top["digits"], top["changed"]) == (2, "1234", True)


def test_the_stack_begins_at_ss_in_real_mode() -> None:
    with loaded("mov ax, 0x100\nmov ss, ax\nmov sp, 0x20\nhlt", "real") as vm:
        vm.step(3)
        assert part(vm)["stack"]["pointer"] == "0x1020"


def test_a_stack_that_is_not_mapped_says_so_word_by_word(vm: Vm) -> None:
    vm.set_regs(rsp=0x7777_7777_7000)
    assert {r["words"] for r in part(vm)["stack"]["rows"]} == {"not mapped"}


@pytest.mark.parametrize("rsp", [0, 1, 8, 2**64 - 1, 2**64 - 8, 2**63])
def test_a_stack_pointer_at_an_end_of_memory_is_no_trouble(vm: Vm, rsp: int) -> None:
    vm.set_regs(rsp=rsp)
    assert part(vm)["stack"]["pointer"] == hex(rsp)


# Memory windows


def window(vm: Vm, where: str, length: int = 16) -> dict[str, Any]:
    found: dict[str, Any] = part(vm, m1=(where, length))["windows"][0]
    return found


def test_a_window_holds_the_bytes_without_planted_ones(vm: Vm) -> None:
    vm.bp("twice")
    vm.cont()
    assert window(vm, "twice", 2)["data"] == "01c0"


def test_a_window_tells_which_bytes_the_last_stop_changed(vm: Vm) -> None:
    vm.step(2)
    assert window(vm, "counter - 2")["changed"] == [(2, 1)]


def test_a_window_that_is_not_mapped_is_one_sentence(vm: Vm) -> None:
    found = window(vm, "0x777777777777")
    assert (found["data"], found["says"].count("\n")) == ("", 0)
    assert "not mapped" in found["says"]


def test_a_window_of_nonsense_is_one_sentence(vm: Vm) -> None:
    assert window(vm, "<b>)(")["says"]


def test_a_window_is_never_longer_than_it_may_be(vm: Vm) -> None:
    assert len(window(vm, "0", 10**9)["data"]) == 2 * MOST_BYTES


def test_a_window_of_code_is_no_window_of_memory(vm: Vm) -> None:
    assert part(vm, code=("twice", 1))["windows"] == []


# Console

PRINTS = "mov al, 0x1b\nout 0xe9, al\nmov al, 'A'\nout 0xe9, al\nmov al, 10\nout 0xe9, al\nhlt"


def test_control_characters_of_the_guest_are_spelled_out() -> None:
    with loaded(PRINTS) as vm:
        vm.cont()
        assert part(vm)["console"] == {"text": "\\x1bA\n", "cut": 0}


def test_of_a_long_console_the_end_is_shown() -> None:
    source = "mov ecx, 20000\nmov al, 'x'\nagain: out 0xe9, al\nloop again\nhlt"
    with loaded(source, "protected") as vm:
        vm.cont()
        console = part(vm)["console"]
        assert (len(console["text"]), console["cut"]) == (16384, 20000 - 16384)


# The listing


def test_the_listing_has_the_source_as_it_was_assembled(vm: Vm) -> None:
    found = listing.part(vm, NOTHING)["program"]
    assert (found["name"], found["source"]) == ("demo", SOURCE)


def test_the_listing_places_each_line_that_became_bytes(vm: Vm) -> None:
    rows = listing.part(vm, NOTHING)["program"]["rows"]
    assert {"line": 2, "address": hex(vm.symbols["loop"])} in rows


def test_the_listing_knows_the_line_of_the_next_instruction(vm: Vm) -> None:
    vm.step()
    assert listing.part(vm, NOTHING)["here"] == 2


def test_the_listing_has_no_line_for_a_guest_that_is_elsewhere(vm: Vm) -> None:
    vm.set_regs(rip=0x9000)
    assert listing.part(vm, NOTHING)["here"] is None


def test_plain_bytes_have_no_listing() -> None:
    with Vm() as vm:
        vm.load(b"\xf4")
        assert listing.part(vm, NOTHING) == {"program": None, "here": None}


def test_a_huge_source_is_told_by_its_digest_alone() -> None:
    with loaded("nop # " + "x" * (64 << 10)) as vm:
        found = listing.part(vm, NOTHING)["program"]
        assert (found["source"], len(found["sha1"])) == ("", 40)


# Inspectors


def texts(cards: list[dict[str, Any]]) -> str:
    cells = (c["text"] for card in cards for t in card["tables"] for r in t["rows"] for c in r)
    return "\n".join([cards[0]["title"], cards[0]["note"], *cells])


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
@pytest.mark.parametrize("what", ["page", "gdt", "ldt", "idt", "tss", "sregs"])
def test_every_table_can_be_inspected_in_every_mode(what: str, mode: str) -> None:
    with loaded("start: hlt", mode) as vm:
        assert json.dumps(inspect(vm, what))


def test_inspecting_changes_nothing(vm: Vm) -> None:
    before = vm.regs(), vm.sregs(), vm.memory[0:0x10000]
    for what in ("page", "gdt", "ldt", "idt", "tss", "sregs"):
        inspect(vm, what)
    assert (vm.regs(), vm.sregs(), vm.memory[0:0x10000]) == before


def test_something_else_cannot_be_inspected(vm: Vm) -> None:
    with pytest.raises(UnknownName, match='cannot inspect "gtd"; did you mean "gdt"'):
        inspect(vm, "gtd")


@pytest.mark.parametrize("where", ["-1", "9000", "loop"])
def test_an_entry_that_no_table_has_is_refused_in_one_line(vm: Vm, where: str) -> None:
    with pytest.raises(BadInput, match="a number from 0 to 8191"):
        inspect(vm, "gdt", where)


def test_a_page_walk_ends_at_the_physical_address(vm: Vm) -> None:
    found = texts(inspect(vm, "page", "start"))
    assert "It is physical 0x8000, in a page of 2 MiB." in found
    assert "maps a page of 2 MiB" in found


def test_a_page_walk_names_the_bit_that_refuses(vm: Vm) -> None:
    found = texts(inspect(vm, "page", "0x123456789000"))
    assert "An access faults: PML4E" in found
    assert "P (bit 0) is 0: not present" in found


def test_a_page_walk_tries_each_access(vm: Vm) -> None:
    vm.memory.write(0x4000, b"\x81")  # the first PDE: present, large, neither R/W nor U/S
    found = texts(inspect(vm, "page", "start"))
    assert "a supervisor page, accessed at CPL 3" in found
    assert "#PF, error code 0x3: a read-only page, written" in found


def test_without_paging_there_is_no_walk() -> None:
    with loaded("start: hlt", "real") as vm:
        assert "CR0.PG (bit 31) is 0" in texts(inspect(vm, "page"))


def test_a_descriptor_in_use_names_its_registers(vm: Vm) -> None:
    assert "0x0010 DS ES FS GS SS" in texts(inspect(vm, "gdt"))


def test_a_system_descriptor_of_long_mode_has_sixteen_bytes(vm: Vm) -> None:
    raw = vm.memory[0x530:0x540].hex(" ")
    assert raw in texts(inspect(vm, "gdt"))


def test_a_table_is_shown_in_pages_of_256_entries() -> None:
    with loaded("start: hlt", "real") as vm:
        assert "the next is 256" in texts(inspect(vm, "gdt"))
        assert "the next is 512" in texts(inspect(vm, "gdt", "256"))


def test_a_gate_says_where_it_leads(vm: Vm) -> None:
    vm.set_gate(13, "twice")
    found = texts(inspect(vm, "idt"))
    assert f"0x0008:{vm.symbols['twice']:#x} twice" in found
    assert "0x00 - 0x0c" in found


def test_a_vector_of_real_mode_says_where_it_leads() -> None:
    with loaded("start: nop\nhandler: iret", "real") as vm:
        vm.set_gate(13, "handler")
        assert "0000:8001" in texts(inspect(vm, "idt"))


def test_a_tss_says_which_stacks_it_holds(vm: Vm) -> None:
    found = texts(inspect(vm, "tss"))
    assert "RSP0\n0x7800" in found
    assert "IST1\n0x8000" in found


def test_the_io_map_says_which_ports_are_allowed() -> None:
    with loaded("start: hlt", "protected") as vm:
        vm.memory.write(0x600 + 0x66, (0x10).to_bytes(2, "little"))
        vm.memory.write(0x610, bytes([0b11111100]) + b"\xff" * 0x50)
        assert "allowed above IOPL: 0x0 - 0x1" in texts(inspect(vm, "tss"))


def test_a_control_bit_says_what_it_does(vm: Vm) -> None:
    assert "WP (bit 16)\nCPL 0-2 too may not write to read-only pages" in texts(
        inspect(vm, "sregs")
    )


def test_tables_that_cannot_be_read_say_so(vm: Vm) -> None:
    sregs = vm.sregs()
    far = sregs.gdt._replace(base=0x7777_7777_7000)
    vm.vcpu.set_sregs(sregs._replace(gdt=far, idt=far))
    assert "it cannot be read" in texts(inspect(vm, "gdt"))
    assert "it cannot be read" in texts(inspect(vm, "idt"))
