"""``%vm why``: the entry of a page table, GDT, IDT or TSS that was wrong, in guests that run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kvmdbg import Vm, assemble
from tests.guests.dying import (
    HIDDEN,
    PAGING,
    PD,
    PT,
    TO_CPL3_LONG,
    TO_CPL3_PROTECTED,
    Make,
    map_low_memory,
    only,
    paged,
    set_pte,
    titles,
    wrong,
)


@pytest.fixture
def make() -> Iterator[Make]:
    """A VM with a program in it, closed after the test."""
    made: list[Vm] = []

    def load(source: str, mode: str = "long") -> Vm:
        vm = Vm(mode=mode)
        made.append(vm)
        vm.load(assemble(source, mode=mode))
        return vm

    yield load
    for vm in made:
        vm.close()


# Page faults


def test_a_page_that_is_not_present_is_named_by_level_address_and_bit(make: Make) -> None:
    vm = paged(make, f"mov eax, [{HIDDEN:#x}]", HIDDEN | 6)
    step = vm.why().steps[0]
    entry = only(step, "PTE")
    assert titles(vm.why()) == ["#PF", "#DF"]
    assert (entry.address, entry.physical) == (PT + (HIDDEN >> 12) * 4, True)
    assert entry.raw == (HIDDEN | 6).to_bytes(4, "little")
    assert entry.wrong == "P (bit 0) is 0: not present"
    assert only(step, "CR2").meaning.startswith(f"{HIDDEN:#x}:")


def test_the_entries_above_the_refusing_one_are_shown_and_not_blamed(make: Make) -> None:
    vm = paged(make, f"mov eax, [{HIDDEN:#x}]", 0)
    above = only(vm.why().steps[0], "PDE")
    assert (above.address, above.wrong) == (PD, "")


def test_a_write_to_a_read_only_page_is_blamed_on_the_write_bit(make: Make) -> None:
    vm = paged(make, f"mov [{HIDDEN:#x}], eax", HIDDEN | 5)
    step = vm.why().steps[0]
    assert wrong(step)["PTE"] == "R/W (bit 1) is 0: read only"
    assert "W/R=1 (a write)" in only(step, "error code").meaning


def test_a_directory_that_is_not_present_ends_the_walk_in_long_mode(make: Make) -> None:
    vm = make("mov rax, [0x140000000]\nhlt")
    vm.cont()
    step = vm.why().steps[0]
    assert [item.what for item in step.evidence if item.physical] == ["PML4E", "PDPTE"]
    assert only(step, "PDPTE").address == 0x3000 + 5 * 8


def test_a_gate_in_a_page_that_is_not_present_is_walked_too(make: Make) -> None:
    vm = make(PAGING.format("ud2"), "protected")
    map_low_memory(vm)
    set_pte(vm, 0x1000, 0x1000)
    vm.cont()
    step = vm.why().steps[0]
    assert step.title.startswith("#UD")
    assert only(step, "PTE").wrong == "P (bit 0) is 0: not present"
    assert "cannot be read" in only(step, "IDT[6]").wrong


# Selectors and addresses


def test_a_selector_beyond_the_gdt_names_the_place_where_it_would_be(make: Make) -> None:
    vm = make("mov ax, 0x7f8\nmov ds, ax\nhlt", "protected")
    vm.cont()
    step = vm.why().steps[0]
    found = only(step, "GDT[255]")
    assert step.title == "#GP (general protection), error code 0x7f8"
    assert (found.address, found.raw, found.wrong) == (0x500 + 0x7F8, b"", "beyond the GDT's limit")
    assert "limit 0x57" in found.meaning


def test_a_selector_of_the_wrong_kind_shows_the_descriptors_bytes(make: Make) -> None:
    vm = make("mov ax, 8\nmov ss, ax\nhlt", "protected")
    vm.cont()
    found = only(vm.why().steps[0], "GDT[1]")
    assert (found.address, found.raw) == (0x508, bytes(vm.memory[0x508:0x510]))
    assert found.wrong.startswith("SS takes writable data only: bit 43")


def test_a_segment_that_is_not_present_is_blamed_on_its_bit(make: Make) -> None:
    vm = make("mov ax, 0x10\nmov es, ax\nhlt", "protected")
    vm.memory[0x515] = 0x13
    vm.cont()
    step = vm.why().steps[0]
    assert step.title.startswith("#NP")
    assert only(step, "GDT[2]").wrong == "P (bit 47) is 0: not present"


@pytest.mark.parametrize(("mode", "width"), [("protected", 4), ("long", 8)])
def test_a_far_return_to_a_null_selector_names_the_stack_and_the_null_descriptor(
    make: Make, mode: str, width: int
) -> None:
    vm = make(f"push 0\npush 0x8000\n{'retfq' if width == 8 else 'retf'}", mode)
    vm.cont()
    step = vm.why().steps[0]
    stack, null = only(step, "stack"), only(step, "GDT[0]")
    assert (stack.address, stack.raw) == (0x7000 - width, bytes(width))
    assert (null.address, null.raw) == (0x500, bytes(8))
    assert null.wrong == "a null selector cannot be in CS"


def test_a_far_jump_into_data_names_its_descriptor(make: Make) -> None:
    vm = make(".byte 0xea\n.long 0x8000\n.word 0x10", "protected")
    vm.cont()
    assert wrong(vm.why().steps[0])["GDT[2]"] == "bit 43 is 0: not a code segment"


def test_an_address_that_is_not_canonical_is_computed_from_its_registers(make: Make) -> None:
    vm = make("movabs rbx, 0x8000000000000000\nmov ecx, 2\nmov [rbx+rcx*4+8], rax")
    vm.cont()
    address = only(vm.why().steps[0], "address")
    assert address.address == 0x8000000000000010
    assert address.wrong.startswith("not canonical")


def test_a_privileged_instruction_at_cpl_3_is_blamed_on_the_cpl(make: Make) -> None:
    vm = make(TO_CPL3_LONG.format("hlt"))
    vm.cont()
    assert wrong(vm.why().steps[0])["CPL"] == "HLT needs CPL 0"


def test_a_selector_read_from_where_there_is_no_ram_is_explained(make: Make) -> None:
    vm = make("nop\nmov fs, [0x80000000]", "protected")
    vm.cont()
    assert vm.why().title.startswith("#GP at 0x8001: mov fs, word ptr [0x80000000]")


# Gates and stacks


def test_int_n_from_cpl_3_through_a_gate_of_dpl_0_shows_both_levels(make: Make) -> None:
    vm = make(TO_CPL3_LONG.format("int 0x21"))
    vm.set_gate(0x21, "handler", dpl=0)
    vm.cont()
    why = vm.why()
    gate = only(why.steps[0], "IDT[33]")
    assert why.title.startswith("INT 21h at user (0x8012): int 0x21; IDT[33]: the gate's DPL 0")
    assert titles(why) == ["INT", "#GP", "#DF"]
    assert (gate.address, len(gate.raw)) == (0x1000 + 0x21 * 16, 16)
    assert gate.wrong == "the gate's DPL 0 is less than CPL 3"


def test_a_refused_int_n_is_explained_in_the_handler_that_got_the_fault(make: Make) -> None:
    vm = make(TO_CPL3_LONG.format("int 0x21"))
    vm.set_gate(0x21, "handler", dpl=0)
    vm.set_gate(13, "handler")
    assert vm.step(6).location == "user"
    assert vm.step().location == "handler"
    why = vm.why()
    assert why.title == "#GP at user (0x8012): int 0x21; #GP has a handler, handler (0x8014)"
    assert only(why.steps[0], "IDT[33]").wrong == "DPL (bits 46:45) 0 is less than CPL 3"


def test_a_task_register_without_tss_is_why_a_handler_gets_no_stack(make: Make) -> None:
    vm = make(TO_CPL3_PROTECTED.format("ud2"), "protected")
    vm.set_gate(6, "handler")
    sregs = vm.sregs()
    vm.vcpu.set_sregs(sregs._replace(tr=sregs.tr._replace(limit=3)))
    vm.cont()
    step = vm.why().steps[0]
    tss = [item for item in step.evidence if item.what.startswith("T")]
    assert [item.what for item in tss] == ["TR 0x0030", "TSS.ESP0, SS0"]
    assert "leaves out offset 0x4" in tss[0].wrong
    assert "beyond the TSS's limit 0x3" in tss[1].meaning
    assert "that raises #TS(0x31)" in step.outcome


def test_a_null_stack_selector_in_the_tss_is_shown_where_it_stands(make: Make) -> None:
    vm = make(TO_CPL3_PROTECTED.format("ud2"), "protected")
    vm.set_gate(6, "handler")
    vm.memory[0x608:0x60A] = b"\0\0"
    vm.cont()
    field = only(vm.why().steps[0], "TSS.ESP0, SS0")
    assert (field.address, len(field.raw)) == (0x604, 6)
    assert "is null" in field.wrong


def test_a_stack_of_the_ist_that_is_not_canonical_is_shown(make: Make) -> None:
    vm = make("nop\nud2\nhandler: hlt")
    vm.set_gate(6, "handler", ist=2)
    vm.memory[0x600 + 44 : 0x600 + 52] = (1 << 63).to_bytes(8, "little")
    vm.cont()
    field = only(vm.why().steps[0], "TSS.IST2")
    assert (field.address, field.raw) == (0x62C, bytes(7) + b"\x80")
    assert "not canonical" in field.wrong


def test_a_gate_to_a_segment_that_is_no_code_shows_the_descriptor(make: Make) -> None:
    vm = make("nop\nud2\nhandler: hlt")
    vm.set_gate(6, "handler", selector=0x10)
    vm.cont()
    found = only(vm.why().steps[0], "GDT[2]")
    assert found.address == 0x510
    assert "not a code segment" in found.wrong
