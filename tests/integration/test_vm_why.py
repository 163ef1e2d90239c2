"""``%vm why``: an exception, a double or a triple fault explained from the guest's own tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.debugger.evidence import Evidence
from kvmdbg.debugger.explain import ExplainedStep, Explanation
from kvmdbg.debugger.stop import StopKind
from kvmdbg.views import explanation as view
from kvmdbg.views import html, text
from kvmdbg.x86.registers import RFLAGS, DescriptorTable

MODES = ("real", "protected", "long")
PD, PT, HIDDEN = 0x10000, 0x11000, 0x20000

PAGING = f"""
start:  mov eax, {PD:#x}
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80010000
        mov cr0, eax
        {{}}
        hlt
"""
"""32-bit paging with WP; {} is what it is about."""

TO_CPL3 = """
start:  push 0x23
        push 0x6800
        push 2
        push {cs}
        push offset user
        {back}
user:   {{}}
handler: hlt
"""
TO_CPL3_LONG = TO_CPL3.format(cs="0x2b", back="iretq")
TO_CPL3_PROTECTED = TO_CPL3.format(cs="0x1b", back="iretd")

Make = Callable[..., Vm]


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


def map_low_memory(vm: Vm) -> None:
    """One page table for the first 4 MiB, identity, all rights."""
    vm.memory[PD : PD + 4] = (PT | 7).to_bytes(4, "little")
    for page in range(1024):
        set_pte(vm, page << 12, page << 12 | 7)


def set_pte(vm: Vm, linear: int, entry: int) -> None:
    place = PT + (linear >> 12) * 4
    vm.memory[place : place + 4] = entry.to_bytes(4, "little")


def paged(make: Make, instruction: str, entry: int) -> Vm:
    """A guest that accesses ``HIDDEN``, whose PTE is ``entry``, and dies of it."""
    vm = make(PAGING.format(instruction), "protected")
    map_low_memory(vm)
    set_pte(vm, HIDDEN, entry)
    vm.cont()
    return vm


def titles(why: Explanation) -> list[str]:
    return [step.title.split(" ")[0] for step in why.steps]


def only(step: ExplainedStep, what: str) -> Evidence:
    """The one piece of evidence of that name."""
    (found,) = [item for item in step.evidence if item.what == what]
    return found


def wrong(step: ExplainedStep) -> dict[str, str]:
    return {item.what: item.wrong for item in step.wrong}


# Triple faults


def test_an_empty_idt_is_named_from_the_instruction_to_the_shutdown(make: Make) -> None:
    vm = make("start: nop\nnop\nnop\nnop\nud2")
    vm.cont()
    assert vm.why().title == (
        "#UD at start+4 (0x8004): ud2; no handler in IDT[6] -> #GP -> #DF -> triple fault: shutdown"
    )


@pytest.mark.parametrize(("mode", "size"), [("protected", 8), ("long", 16)])
def test_each_empty_gate_is_shown_with_its_address_and_bytes(
    make: Make, mode: str, size: int
) -> None:
    vm = make("nop\nud2", mode)
    vm.cont()
    why = vm.why()
    gates = [item for step in why.steps for item in step.evidence if item.what.startswith("IDT")]
    assert titles(why) == ["#UD", "#GP", "#DF"]
    assert [gate.address for gate in gates] == [0x1000 + size * n for n in (6, 13, 8)]
    assert {gate.raw for gate in gates} == {bytes(size)}
    assert all("empty" in gate.wrong for gate in gates)


def test_the_error_code_of_a_nested_fault_is_taken_apart(make: Make) -> None:
    vm = make("nop\nud2")
    vm.cont()
    code = only(vm.why().steps[1], "error code")
    assert code.meaning.startswith("0x33: vector 6 in the IDT, EXT")


def test_the_rule_that_makes_a_double_fault_is_named(make: Make) -> None:
    vm = make("xor ecx, ecx\ndiv ecx")
    vm.cont()
    step = vm.why().steps[0]
    assert "the contributory #DE and the contributory #GP together are #DF" in step.outcome
    assert wrong(step)["ecx"] == "division by zero"


def test_a_vector_beyond_the_limit_of_the_ivt_says_so(make: Make) -> None:
    vm = make("lidt [table]\nint 0x21\ntable: .word 0x1f\n.long 0", "real")
    vm.cont()
    why = vm.why()
    entry = only(why.steps[0], "IVT[33]")
    assert why.title.startswith("INT 21h at ")
    assert (entry.address, entry.raw) == (0x84, b"")
    assert "limit 0x1f" in entry.meaning
    assert "limit is 0x1f" in entry.wrong


def test_the_trap_flag_is_found_behind_a_triple_fault_that_no_instruction_raises(
    make: Make,
) -> None:
    vm = make("pushfq\nor qword ptr [rsp], 0x100\npopfq\nnop\nlast: nop\nhlt")
    vm.cont()
    why = vm.why()
    assert why.title.startswith("#DB before last (0x800b)")
    assert "TF=1" in only(why.steps[0], "RFLAGS").meaning


def test_a_triple_fault_by_an_nmi_shows_what_can_still_be_seen(make: Make) -> None:
    vm = make("nop\nhlt")
    vm.vcpu.nmi()
    vm.cont()
    why = vm.why()
    assert "an interrupt, an NMI or a trap" in why.title
    assert titles(why) == ["#DF"]


def test_a_breakpoint_on_the_faulting_instruction_is_not_taken_for_the_fault(make: Make) -> None:
    vm = make("nop\nhere: ud2")
    vm.bp("here")
    vm.cont()
    stop = vm.cont()
    assert stop.kind is StopKind.SHUTDOWN
    assert stop.cause.startswith("triple fault: #UD")
    assert titles(vm.why())[0] == "#UD"


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
    assert found.wrong == "SS takes writable data only"


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
    assert wrong(vm.why().steps[0])["GDT[2]"] == "not a code segment"


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
    assert only(why.steps[0], "IDT[33]").wrong == "DPL 0 is less than CPL 3"


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


# Faults that were delivered


@pytest.mark.parametrize("mode", MODES)
def test_at_a_vector_breakpoint_the_way_to_the_handler_is_told(make: Make, mode: str) -> None:
    vm = make("start: ud2\nhandler: hlt", mode)
    vm.set_gate(6, "handler")
    vm.bp_vector(6)
    assert vm.cont().kind is StopKind.VECTOR
    why = vm.why()
    assert why.title == "#UD at start (0x8000): ud2; #UD has a handler, handler (0x8002)"
    assert why.steps[0].outcome == "delivered: the guest goes on in handler (0x8002)"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("instruction", "vector"), [("ud2", 6), ("int 0x21", 0x21), ("int3", 3), ("div cl", 0)]
)
def test_in_a_handler_just_entered_the_exception_is_told_from_its_frame(
    make: Make, mode: str, instruction: str, vector: int
) -> None:
    vm = make(f"nop\ncause: {instruction}\nhandler: hlt", mode)
    vm.set_gate(vector, "handler")
    assert vm.step(2).location == "handler"
    why, rsp = vm.why(), vm.regs().rsp
    frame = only(why.steps[0], "frame")
    assert " at cause (0x8001): " in why.title
    assert (frame.address, frame.raw) == (rsp, vm.read(rsp, len(frame.raw)))


def test_a_fault_without_an_error_code_pushes_none(make: Make) -> None:
    vm = make("div cl\nhandler: hlt", "protected")
    vm.set_gate(0, "handler")
    assert vm.step().regs.rsp == 0x7000 - 3 * 4


def test_a_page_fault_is_walked_in_its_handler(make: Make) -> None:
    vm = make("cause: mov rax, [0x140000000]\nhandler: hlt")
    vm.set_gate(14, "handler")
    vm.step()
    why = vm.why()
    assert why.title.startswith("#PF at cause")
    assert only(why.steps[0], "PDPTE").wrong == "P (bit 0) is 0: not present"
    assert "error code 0x0, IP 0x8000" in only(why.steps[0], "frame").meaning


def test_of_several_faults_with_one_handler_the_right_one_is_told(make: Make) -> None:
    vm = make("xor ecx, ecx\ncause: div ecx\nhandler: hlt")
    for vector in (0, 5, 6):
        vm.set_gate(vector, "handler")
    vm.step(2)
    assert vm.why().title.startswith("#DE at cause")


def test_a_jump_to_a_handler_is_not_taken_for_an_exception(make: Make) -> None:
    vm = make("jmp handler\nud2\nhandler: hlt")
    vm.set_gate(6, "handler")
    assert vm.step().location == "handler"
    assert vm.why().title.startswith("nothing to explain: the last stop was at handler")


# Nothing to explain


def test_after_a_single_step_there_is_nothing_to_explain(make: Make) -> None:
    vm = make("start: nop\nnop\nhlt")
    vm.step()
    assert vm.why() == Explanation(
        "nothing to explain: the last stop was at start+1 (0x8001): single step;"
        " %vm why explains an exception, a double or a triple fault"
    )


def test_before_the_first_run_there_is_nothing_to_explain(make: Make) -> None:
    assert "has not run yet" in make("nop").why().title


# Manners


def test_asking_why_leaves_the_guest_as_it_was(make: Make) -> None:
    vm = make("nop\nud2")
    vm.bp("$rip")
    stop = vm.cont()
    before = (vm.regs(), vm.sregs(), vm.debugregs(), vm.vcpu.clock, bytes(vm.vcpu.ram))
    vm.why()
    assert (vm.regs(), vm.sregs(), vm.debugregs(), vm.vcpu.clock, bytes(vm.vcpu.ram)) == before
    assert vm.last_stop is stop


def test_asking_twice_gives_the_same_answer(make: Make) -> None:
    vm = make("nop\nud2")
    vm.cont()
    assert vm.why() == vm.why()


def test_a_vector_breakpoint_still_stops_after_somebody_asked_why(make: Make) -> None:
    vm = make("nop\nud2")
    vm.cont()
    vm.why()
    vm.reset()
    vm.bp_vector(6)
    assert vm.cont().kind is StopKind.VECTOR


def test_the_explanation_is_of_the_stop_whatever_registers_were_set_since(make: Make) -> None:
    vm = make("start: nop\nud2")
    vm.cont()
    vm.set_regs(rip=0x9000)
    assert vm.why().title.startswith("#UD at start+1 (0x8001)")


def test_a_shutdown_of_a_guest_entered_by_hand_is_explained(make: Make) -> None:
    vm = make("start: nop\nud2")
    vm.enter()
    assert vm.why().title.startswith("#UD at start+1 (0x8001)")


def test_a_table_changed_since_the_triple_fault_shows_that_it_could_be_delivered_now(
    make: Make,
) -> None:
    vm = make("nop\nud2\nhandler: hlt")
    vm.cont()
    vm.set_gate(6, "handler")
    assert "has a handler, handler" in vm.why().title


def test_an_idt_at_the_end_of_nowhere_is_no_error(make: Make) -> None:
    vm = make("nop\nud2")
    vm.vcpu.set_sregs(vm.sregs()._replace(idt=DescriptorTable(0x7FFFFFFFF000, 0xFFF)))
    vm.cont()
    assert vm.why().title.endswith("triple fault: shutdown")


def test_text_and_html_show_the_same_cells(make: Make) -> None:
    vm = make("nop\nmov rax, [0x140000000]")
    vm.cont()
    card = view.card(vm.why())
    plain, page = text.render(card), html.render(card)
    for part in card.parts:
        for row in part.lines:
            assert all(cell.text in plain for cell in row.cells)
    assert "P (bit 0) is 0: not present" in page
    assert "27 30 00 00" in page


def test_the_frame_of_a_stepped_instruction_has_no_trap_flag(make: Make) -> None:
    vm = make("ud2\nhandler: hlt")
    vm.set_gate(6, "handler")
    vm.step()
    flags = int.from_bytes(only(vm.why().steps[0], "frame").raw[16:24], "little")
    assert not flags & RFLAGS.TF
