"""The sub-commands of %vm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvmdbg.errors import (
    AddressError,
    BadInput,
    KvmdbgError,
    LoadError,
    NoVm,
    UnknownName,
    VmInterrupted,
)

Run = Callable[[str], Any]


def test_vm_alone_without_a_vm_says_how_to_begin(run: Run) -> None:
    text = run("%vm").text
    assert "%%asm" in text
    assert "%vm new" in text


def test_vm_alone_shows_registers_and_code_around_the_guests_place(guest: Run) -> None:
    guest("%step until twice")
    text = guest("%vm").text
    assert "Stop 1" in text
    assert "Registers: long mode" in text
    marked = [line for line in text.splitlines() if line.startswith("=>") and "0x" in line]
    assert len(marked) == 1
    assert "add eax, eax" in marked[0]
    assert "dec ecx" in text  # what stands before, by the listing


@pytest.mark.parametrize("name", ["run", "cont", "c"])
def test_run_has_three_names(guest: Run, name: str) -> None:
    assert str(guest(f"%vm {name}").kind) == "halt"


def test_a_run_may_be_limited_in_instructions(run: Run) -> None:
    run("%%asm\nx: jmp x")
    assert run("%vm run --max 1k").executed == 1000


def test_a_run_may_be_limited_in_time(run: Run) -> None:
    run("%%asm\nx: jmp x")
    assert str(run("%vm run --timeout 50ms").kind) == "timeout"


@pytest.mark.parametrize(
    ("line", "error", "complaint"),
    [
        ("%vm rnu", UnknownName, 'unknown sub-command "rnu" for %vm; did you mean "run"?'),
        ("%vm run --mxa 5", UnknownName, 'unknown option "--mxa" for %vm run; did you mean'),
        ("%vm run 5", BadInput, 'unexpected "5": %vm run'),
        ("%vm run --max many", BadInput, '"many" is not a number'),
        ("%vm run --timeout soon", BadInput, '"soon" is not a duration'),
        ("%vm mem", BadInput, "something is missing: %vm mem WHERE [LENGTH]"),
        ("%vm mem nowhere", UnknownName, "nowhere"),
        ("%vm mem 0x7000000", AddressError, "0x7000000"),
        ("%vm mem 0 1M", BadInput, "at most"),
        ("%vm set rax", BadInput, "write rax=5"),
        ("%vm set rxa=5", UnknownName, 'did you mean "rax"'),
        ("%vm set al=256", BadInput, "does not fit into al (8 bits)"),
        ("%vm set zf=2", BadInput, "does not fit into the flag zf"),
        ("%vm set [counter]=300", BadInput, "write --size 2, 4 or 8"),
        ("%vm set [counter]=1 --size 3", UnknownName, "choose 1, 2, 4, 8"),
        ("%vm load nowhere.bin", UnknownName, "neither a variable nor a file"),
        ("%vm load number", BadInput, "neither a Program nor bytes, but int"),
        ("%vm load .", LoadError, "cannot read"),
        ("%vm help stpe", UnknownName, 'did you mean "step"'),
        ("%vm gate x loop", BadInput, "not a number"),
        ("%vm new --mode lnog", UnknownName, 'did you mean "long"'),
        ("%vm new --engine qemu", UnknownName, "engine"),
        ("%vm mem {nothing}", UnknownName, "no Python variable"),
        ("%vm stop", KvmdbgError, "has not run yet"),
    ],
)
def test_a_mistake_is_one_kind_of_error_with_a_remedy(
    guest: Run, line: str, error: type[Exception], complaint: str
) -> None:
    guest("number = 5")
    before = guest("vm.regs()")
    with pytest.raises(error) as caught:
        guest(line)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert guest("vm.regs()") == before


def test_new_makes_an_empty_vm_and_binds_it(run: Run) -> None:
    text = run("%vm new --mode real --ram 1M").text
    assert "new VM: real mode, 1 MiB RAM" in text
    assert len(run("vm").vcpu.ram) == 2**20


def test_new_keeps_mode_and_ram_that_are_not_said(run: Run) -> None:
    run("%vm new --mode real --ram 1M")
    assert "new VM: real mode, 1 MiB RAM" in run("%vm new").text


def test_regs_gives_back_the_registers_and_marks_what_changed(guest: Run) -> None:
    guest("%step")
    shown = guest("%vm regs")
    assert shown.value.rcx == 3
    assert "0000000000000003*" in shown.text


def test_mem_gives_back_bytes_and_marks_what_changed(guest: Run) -> None:
    guest("%step 2")
    shown = guest("%vm mem counter 16")
    assert shown.value[:4] == b"\6\0\0\0"
    assert "06*" in shown.text


def test_mem_shows_64_bytes_if_nobody_says(guest: Run) -> None:
    assert len(guest("%vm mem start").value) == 64


def test_set_changes_registers_their_parts_flags_and_memory(guest: Run) -> None:
    guest("%vm set rax=0x1122334455667788 rbx=-1")
    guest("%vm set al=0xff zf=1 [counter]=300 --size 4")
    regs = guest("vm.regs()")
    assert (regs.rax, regs.rbx) == (0x11223344556677FF, 2**64 - 1)
    assert regs.rflags & 0x40
    assert guest("vm.read(vm.address('counter'), 4)") == (300).to_bytes(4, "little")


def test_a_32_bit_part_clears_what_is_above_it(guest: Run) -> None:
    guest("%vm set rax=-1")
    guest("%vm set eax=5")
    assert guest("vm.regs()").rax == 5


def test_ah_is_the_second_byte(guest: Run) -> None:
    guest("%vm set rax=0x11223344")
    guest("%vm set ah=0xff")
    assert guest("vm.regs()").rax == 0x1122FF44


def test_set_says_what_was_there_before(guest: Run) -> None:
    assert guest("%vm set rax=5 rbx=loop").text == "rax: 0x0 -> 0x5\nrbx: 0x0 -> 0x8005"


@pytest.mark.parametrize("mistake", ["rxb=5", "[0x7000000]=1", "[nowhere]=1", "al=999"])
def test_set_with_one_mistake_changes_nothing(guest: Run, mistake: str) -> None:
    with pytest.raises(BadInput):
        guest(f"%vm set rax=5 {mistake}")
    assert guest("vm.regs()").rax == 0


def test_setting_rip_to_a_label_counts_from_the_code_segment(run: Run) -> None:
    run("%%asm demo --mode real --org 0x7c00\nnop\nthere: hlt")
    run("%vm load demo --entry 07c0:0000")
    run("%vm set rip=there")
    assert run("vm.regs()").rip == 1
    assert run("vm.address('$rip')") == 0x7C01


def test_dis_begins_before_the_guests_place_where_the_listing_knows(guest: Run) -> None:
    guest("%step until loop+7")
    code = guest("%vm dis").value
    assert [ins.mnemonic for ins in code[:3]] == ["mov", "inc", "call"]
    assert len(code) == 10


def test_dis_takes_place_count_and_syntax(guest: Run) -> None:
    assert "movl $3, %ecx" in guest("%vm dis start 2 --syntax att").text.replace("0x3", "3")


def test_dis_marks_breakpoints_by_number(guest: Run) -> None:
    guest("%bp loop")
    assert "B1" in guest("%vm dis").text


def test_dr_shows_the_hosts_debug_registers_after_a_run(guest: Run) -> None:
    counter = guest("%bp counter -w --len 4").address
    guest("%vm run")
    assert f"{counter:#x}" in guest("%vm dr").text


def test_timeline_shows_as_many_rows_as_asked_for(guest: Run) -> None:
    guest("%step")
    guest("%step")
    guest("%step")
    assert "the last 2 exits" in guest("%vm timeline 2").text
    assert guest("%vm timeline").value is guest("vm.timeline")


def test_stop_gives_the_last_stop_again(guest: Run) -> None:
    stop = guest("%step")
    assert guest("%vm stop") is stop


def test_symbols_are_sorted_by_address(guest: Run) -> None:
    lines = guest("%vm symbols").text.splitlines()
    assert [line.split()[-1] for line in lines[2:]] == [
        *("start", "loop", "done", "twice", "handler", "counter")
    ]


def test_console_is_what_the_guest_printed(run: Run) -> None:
    run("%%asm --mode real\nmov al, 'H'\nout 0xe9, al\nhlt")
    assert run("%vm console").text == "the guest has printed nothing"
    run("%vm run")
    assert run("%vm console").value == "H"


def test_a_gate_sends_a_vector_to_a_handler_of_the_guest(run: Run) -> None:
    run("%%asm\nint 0x21\nhlt\nhandler: mov eax, 5\niretq")
    assert "vector 0x21 -> handler (0x8003)" in run("%vm gate 0x21 handler").text
    assert run("%vm run").regs.rax == 5


def test_reset_goes_back_to_the_state_after_loading(guest: Run) -> None:
    before = guest("vm.regs()")
    guest("%vm run")
    assert "at start (0x8000)" in guest("%vm reset").text
    assert guest("vm.regs()") == before


def test_info_names_engine_mode_and_program(guest: Run) -> None:
    text = guest("%vm info").text
    assert "unicorn" in text
    assert "long mode" in text
    assert "Program demo" in text


def test_close_ends_the_vm(guest: Run) -> None:
    vm = guest("vm")
    guest("%vm close")
    assert vm.closed
    with pytest.raises(NoVm):
        guest("%vm regs")


def test_load_takes_a_program_from_a_variable(guest: Run) -> None:
    guest("%vm run")
    assert guest("%vm load demo").text == "loaded at 0x8000, entry start (0x8000); ready: %step"


def test_load_takes_bytes_from_a_variable_or_a_file(run: Run, tmp_path: Path) -> None:
    run("%vm new --mode real")
    run("code = bytes.fromhex('b80500f4')")
    run("%vm load code --at 0x7c00")
    assert run("%step").regs.rax == 5
    (tmp_path / "boot.bin").write_bytes(bytes.fromhex("b80600f4"))
    run("%vm load boot.bin --at 0x7c00 --entry 07c0:0000")
    assert run("%step").regs.rax == 6


def test_a_semicolon_keeps_the_output_quiet(guest: Run) -> None:
    assert guest("%vm run;") is None
    assert guest("vm.last_stop") is not None


def test_braces_put_a_python_variable_into_the_line(guest: Run) -> None:
    guest("size = 8")
    assert len(guest("%vm mem counter {size}").value) == 8


def test_why_explains_a_triple_fault_in_text_and_html(
    run: Run, bundle: Callable[[Any], dict[str, Any]]
) -> None:
    run("%%asm\nstart: nop\nud2")
    run("%vm run")
    data = bundle(run("%vm why"))
    assert data["text/plain"].startswith("#UD at start+1 (0x8001): ud2; no handler in IDT[6]")
    assert "the gate is empty" in data["text/plain"]
    assert "the gate is empty" in data["text/html"]


def test_why_after_a_step_is_one_line(run: Run, bundle: Callable[[Any], dict[str, Any]]) -> None:
    run("%%asm\nnop\nhlt")
    run("%step")
    text = bundle(run("%vm why"))["text/plain"]
    assert text.startswith("nothing to explain: the last stop was at ")
    assert len(text.splitlines()) == 1


def test_an_explanation_in_a_list_is_its_title(
    run: Run, bundle: Callable[[Any], dict[str, Any]]
) -> None:
    run("%%asm\nud2")
    run("%vm run")
    why = run("%vm why")
    assert bundle([why])["text/plain"] == f"[<{why.title}>]"


def test_new_with_a_profile_makes_a_vm_that_follows_its_rules(run: Run) -> None:
    run("%vm new --profile svm")
    assert run("vm").profile == "svm"
    run("%%asm\nnop\nhlt")
    assert run("vm").profile == "svm"  # kept by what follows
    assert "svm" in run("%vm info").text


def test_new_with_an_unknown_profile_lists_those_that_there_are(run: Run) -> None:
    with pytest.raises(UnknownName) as caught:
        run("%vm new --profile amd")
    assert "reference, vmx, svm, emu618, k08" in str(caught.value)


def test_new_refuses_a_profile_for_the_kernels_engine_in_one_line(run: Run) -> None:
    with pytest.raises(BadInput, match='a profile is for "unicorn"') as caught:
        run("%vm new --engine kvm --profile vmx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["%vm regs", "%step", "%bp start", "%%asm\nnop"])
def test_ctrl_c_outside_of_a_run_is_one_line_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    run("%%asm\nstart: nop\nhlt")
    for name in ("vm_commands.execute", "stepping_commands.step", "stepping_commands.bp"):
        monkeypatch.setattr(f"kvmdbg.jupyter.{name}", interrupted)
    monkeypatch.setattr("kvmdbg.jupyter.assembling.asm", interrupted)
    with pytest.raises(VmInterrupted, match="the VM is intact"):
        run(line)
