"""``%vm why``: an exception, a double or a triple fault explained from the guest's own tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.debugger.explain import Explanation
from kvmdbg.debugger.stop import StopKind
from kvmdbg.engines.unicorn import UnicornEngine
from kvmdbg.views import explanation as view
from kvmdbg.views import html, text
from kvmdbg.x86.registers import RFLAGS, DescriptorTable
from tests.guests.dying import (
    Make,
    only,
    titles,
    wrong,
)

MODES = ("real", "protected", "long")


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


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that does not know how it delivered the last event, as /dev/kvm's."""
    monkeypatch.setattr(UnicornEngine, "trail", ())


@pytest.mark.usefixtures("forgetful")
def test_a_triple_fault_by_an_nmi_shows_what_can_still_be_seen(make: Make) -> None:
    vm = make("nop\nhlt")
    vm.vcpu.nmi()
    vm.cont()
    why = vm.why()
    assert "the first event was an NMI (NMIs are blocked now) or" in why.title
    assert titles(why) == ["#DF"]


def test_an_engine_that_remembers_tells_that_an_nmi_came_first(make: Make) -> None:
    vm = make("start: ud2")
    vm.vcpu.nmi()
    vm.enter()
    why = vm.why()
    assert why.title == (
        "NMI before start (0x8000): ud2; no handler in IDT[2] -> #GP -> #DF -> "
        "triple fault: shutdown"
    )
    assert why.steps[0].cause == "it came from outside: a non-maskable interrupt"


def test_an_engine_that_remembers_tells_which_interrupt_came_first(make: Make) -> None:
    vm = make("start: sti\nnop\nlast: ud2")
    vm.step(2)
    vm.vcpu.interrupt(0x20)
    vm.enter()
    assert vm.why().title.startswith("INT 20h before last (0x8002): ud2; no handler in IDT[32]")


@pytest.mark.usefixtures("forgetful")
def test_without_a_memory_an_interrupt_is_only_possible_while_if_is_1(make: Make) -> None:
    vm = make("nop\nsti\nnop\nhlt")
    vm.step(3)
    vm.vcpu.interrupt(0x20)
    vm.cont()
    assert "the first event was an external interrupt (IF is 1) or" in vm.why().title


def test_a_breakpoint_on_the_faulting_instruction_is_not_taken_for_the_fault(make: Make) -> None:
    vm = make("nop\nhere: ud2")
    vm.bp("here")
    vm.cont()
    stop = vm.cont()
    assert stop.kind is StopKind.SHUTDOWN
    assert stop.cause.startswith("triple fault: #UD")
    assert titles(vm.why())[0] == "#UD"


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
        " %vm why explains faults"
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


@pytest.mark.parametrize("mode", MODES)
def test_no_line_of_the_text_is_wider_than_100_columns(make: Make, mode: str) -> None:
    vm = make("nop\nlidt [table]\nint 0x21\ntable: .word 0x1f\n.long 0", mode)
    vm.cont()
    why = vm.why()
    lines = [*text.render(view.card(why)).splitlines(), *str(why).splitlines()]
    assert max(map(len, lines)) <= 100


def test_the_text_begins_each_step_with_its_cause_and_ends_it_with_what_would_mend_it(
    make: Make,
) -> None:
    vm = make("xor ecx, ecx\ndiv ecx")
    vm.cont()
    lines = text.render(view.card(vm.why())).splitlines()
    first = lines.index("#DE (divide error)")
    assert lines[first + 1].split(maxsplit=1) == [
        "because",
        "ecx = 0x0, the divisor: division by zero",
    ]
    assert any(line.startswith("to mend") and "test ecx for 0" in line for line in lines)


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
