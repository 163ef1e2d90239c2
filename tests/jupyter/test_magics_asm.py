"""%%asm cells: what is loaded where, what is bound, and what a mistake leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvmdbg import Program, Vm
from kvmdbg.errors import AssemblyError, BadInput, KvmdbgError, UnknownName

Run = Callable[[str], Any]


def test_a_cell_makes_a_64_bit_vm_that_stands_at_its_first_instruction(run: Run) -> None:
    shown = run("%%asm\nmov eax, 5\nhlt")
    assert isinstance(shown.value, Program)
    assert "new VM: long mode, 16 MiB RAM" in shown.text
    assert "loaded at 0x8000, entry 0x8000; ready: %step" in shown.text
    assert run("%step").regs.rax == 5


def test_the_listing_is_shown_with_a_mark_at_the_entry(run: Run) -> None:
    row = next(line for line in run("%%asm\nmov eax, 5\nhlt").text.splitlines() if "mov" in line)
    assert row.split()[:3] == ["=>", "1", "0x8000"]
    assert "b8 05 00 00 00" in row


def test_blank_lines_at_the_end_of_a_cell_are_not_listed(run: Run) -> None:
    assert len(run("%%asm\nnop\n\nhlt\n\n\n").value.listing) == 3


def test_a_name_binds_the_program_to_a_python_variable(run: Run) -> None:
    run("%%asm demo --no-load\nhlt")
    assert run("demo").code == b"\xf4"
    assert run("demo").name == "demo"


@pytest.mark.parametrize("name", ["1x", "vm", "class", "a-b"])
def test_a_name_that_cannot_be_a_variable_is_refused(run: Run, name: str) -> None:
    with pytest.raises(BadInput, match="cannot name a program"):
        run(f"%%asm {name}\nhlt")


def test_no_load_touches_no_vm(run: Run) -> None:
    assert "assembled, not loaded" in run("%%asm --no-load\nhlt").text
    assert "vm" not in run("set(dir())")


def test_mode_and_origin_are_taken_from_the_line(run: Run) -> None:
    shown = run("%%asm --mode real --org 0x7c00\nmov ax, 0x1234\nhlt")
    assert "loaded at 0x7c00" in shown.text
    stop = run("%step")
    assert (stop.regs.rax, stop.pc) == (0x1234, 0x7C03)


def test_a_cell_without_a_mode_stays_in_the_vms_mode(run: Run) -> None:
    run("%vm new --mode protected")
    assert run("%%asm\nmov eax, 5\nhlt").value.mode == "protected"


def test_a_cell_of_the_same_mode_keeps_the_vm_and_its_breakpoints(guest: Run) -> None:
    before = guest("vm")
    guest("%bp 0x8000 hw")
    assert "new VM" not in guest("%%asm\nhlt").text
    assert guest("vm") is before
    assert len(guest("vm.breakpoints")) == 1


def test_a_cell_of_another_mode_says_that_the_old_vm_is_gone(guest: Run) -> None:
    old = guest("vm")
    guest("%bp loop")
    text = guest("%%asm --mode real\nhlt").text
    assert "new VM: real mode" in text
    assert "the old VM is closed, and its 1 breakpoint with it" in text
    assert old.closed
    assert guest("vm") is not old


def test_another_ram_size_makes_a_new_vm(guest: Run) -> None:
    assert "1 MiB RAM" in guest("%%asm --ram 1M\nhlt").text
    assert len(guest("vm").vcpu.ram) == 2**20


def test_an_error_names_the_line_of_the_cells_body(run: Run) -> None:
    with pytest.raises(AssemblyError) as caught:
        run("%%asm demo\nmov eax, 5\n\nmvo eax, 5\nhlt")
    assert caught.value.line == 3
    assert str(caught.value).startswith("line 3, column 1: ")


def test_a_program_that_does_not_assemble_leaves_vm_and_variable_alone(guest: Run) -> None:
    vm, program, before = guest("vm"), guest("demo"), guest("vm.regs()")
    with pytest.raises(AssemblyError):
        guest("%%asm demo --mode real\nnonsense here")
    assert guest("vm") is vm
    assert not vm.closed
    assert guest("demo") is program
    assert guest("vm.regs()") == before


def test_a_program_that_does_not_fit_leaves_the_old_vm_alone(guest: Run) -> None:
    old = guest("vm")
    with pytest.raises(KvmdbgError):
        guest("%%asm --mode real --org 0xf0000000\nhlt")
    assert guest("vm") is old
    assert not old.closed


def test_a_variable_of_the_users_named_vm_is_never_overwritten(run: Run) -> None:
    run("vm = 'mine'")
    text = run("%%asm\nmov eax, 5\nhlt").text
    assert "the variable vm is yours (str) and stays" in text
    assert run("vm") == "mine"
    assert run("%step").regs.rax == 5


def test_a_vm_made_in_python_is_the_one_the_magics_work_on(run: Run) -> None:
    run("from kvmdbg import Vm, assemble")
    run("vm = Vm(mode='real')\nvm.load(assemble('mov ax, 7', mode='real'))")
    assert run("%step").regs.rax == 7
    assert isinstance(run("vm"), Vm)


def test_an_unknown_mode_is_answered_with_the_nearest(run: Run) -> None:
    with pytest.raises(UnknownName, match='did you mean "long"'):
        run("%%asm --mode lnog\nhlt")


def test_intel_is_the_default_syntax_and_att_can_be_asked_for(run: Run) -> None:
    assert run("%%asm --syntax att\nmov $5, %eax").value.code == run("%%asm\nmov eax, 5").value.code


def test_braces_in_the_body_are_not_python(run: Run) -> None:
    assert run("%%asm\n# {x} $y\nhlt").value.code == b"\xf4"
