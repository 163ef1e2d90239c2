"""Who wrote this last, and when was that: against single steps; asking touches nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kvmdbg import Vm, assemble
from kvmdbg.debugger.answers import Writer, WriterKind
from kvmdbg.errors import BadInput, UnknownName, VmInterrupted
from kvmdbg.history.trace import Trace
from tests.guests.comparable import DATA, programs
from tests.guests.pressing import stop_pressed
from tests.integration.test_diff import everything

GUEST = """
start:  mov ecx, 3
loop:   inc dword ptr [counter]
        dec ecx
        jnz loop
mid:    mov eax, 5
        push rax
        ud2
after:  nop
done:   hlt
handler: add qword ptr [rsp], 2
        iretq
        .align 8
counter: .long 5
"""


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm(ram=1 << 20) as vm:
        vm.load(assemble(GUEST))
        vm.set_gate(6, "handler")
        yield vm


# Who


def test_the_last_writer_of_a_variable_is_named_with_both_values(vm: Vm) -> None:
    vm.cont()
    assert vm.who("counter", 4) == Writer(
        what=f"counter ({vm.address('counter'):#x}), 4 bytes",
        kind=WriterKind.INSTRUCTION,
        clock=7,
        old=b"\7\0\0\0",
        new=b"\x08\0\0\0",
        pc=vm.address("loop"),
        instruction=f"inc dword ptr [{vm.address('counter'):#x}]",
        place=vm._guest.place(vm.address("loop")),
    )


def test_the_answer_leads_to_the_instruction_in_front_of_its_write(vm: Vm) -> None:
    vm.cont()
    found = vm.who("counter")
    assert vm.goto(found.clock).location == "loop"
    assert vm.read(vm.address("counter"), 1) == b"\7"
    assert vm.who("counter").clock == 4


def test_the_last_change_of_a_register_is_found_by_any_of_its_names(vm: Vm) -> None:
    vm.cont()
    answers = [vm.who(name) for name in ("rcx", "$ecx", "CL", "ch")]
    assert {(a.what, a.clock, a.old, a.new) for a in answers} == {("rcx", 8, 1, 0)}


def test_a_label_that_is_called_like_a_register_is_a_label() -> None:
    with Vm(ram=1 << 20) as vm:
        vm.load(assemble("start: mov ecx, 1\nhlt"))
        vm.symbols["cl"] = 0x9000
        vm.cont()
        assert vm.who("cl").kind is WriterKind.NOBODY
        assert vm.who("$cl").what == "rcx"


def test_what_only_the_loading_wrote_nobody_wrote(vm: Vm) -> None:
    vm.cont()
    assert vm.who("done").line.endswith("nobody since the recording began at clock 0")
    assert vm.who("r15").kind is WriterKind.NOBODY


def test_an_edit_of_memory_is_yours(vm: Vm) -> None:
    vm.step(2)
    vm.write(vm.address("counter"), b"\x20")
    found = vm.who("counter", 4)
    assert (found.kind, found.clock, found.old, found.new) == (
        WriterKind.YOU,
        2,
        b"\6\0\0\0",
        b"\x20\0\0\0",
    )
    assert "you, at clock 2" in str(found)


def test_an_edit_is_passed_over_when_the_guest_wrote_after_it(vm: Vm) -> None:
    vm.step()
    vm.write(vm.address("counter"), b"\x20")
    vm.step()
    found = vm.who("counter")
    assert (found.kind, found.clock, found.old) == (WriterKind.INSTRUCTION, 1, b"\x20")


def test_an_edit_of_a_register_is_yours(vm: Vm) -> None:
    vm.step(2)
    vm.set_regs(rcx=9)
    found = vm.who("ecx")
    assert (found.kind, found.clock, found.old, found.new) == (WriterKind.YOU, 2, 3, 9)
    vm.step(2)
    assert (vm.who("ecx").kind, vm.who("ecx").clock) == (WriterKind.INSTRUCTION, 2)


def test_an_exception_frame_is_no_instruction(vm: Vm) -> None:
    vm.bp("handler", kind="hw")
    at = vm.cont()
    for place in ("$rsp+0", "$rsp+32"):
        found = vm.who(place, 8)
        assert (found.kind, found.clock, found.old) == (WriterKind.EVENT, at.clock, None)
    assert vm.who("rsp").kind is WriterKind.EVENT
    assert vm.who("$rsp+48", 8).instruction == "push rax"


def test_a_frame_over_bytes_that_the_same_run_wrote_before_is_the_last(vm: Vm) -> None:
    source = GUEST.replace("push rax", "mov [rsp - 8], rax")
    vm.load(assemble(source))
    vm.set_gate(6, "handler")
    vm.bp("handler", kind="hw")
    vm.cont()
    assert vm.who(0x6FF8, 8).kind is WriterKind.EVENT
    vm.goto(vm.when("mid")[0] + 1)
    assert vm.who(0x6FF8, 8).kind is WriterKind.NOBODY


def test_the_byte_of_a_breakpoint_has_no_writer(vm: Vm) -> None:
    vm.bp("loop")
    vm.bp("done")
    vm.cont()
    vm.cont()
    found = vm.who("loop", 4)
    assert (found.kind, found.new) == (WriterKind.NOBODY, vm.read(vm.address("loop"), 4))


def test_the_writer_is_found_behind_a_watchpoint_on_it(vm: Vm) -> None:
    vm.bp("counter", kind="hw", access="w", length=4)
    clocks = [vm.cont().clock for _ in range(3)]
    assert vm.who("counter").clock == clocks[-1] - 1
    assert vm.who("counter").kind is WriterKind.INSTRUCTION


def test_who_asks_about_the_moment_that_was_gone_back_to(vm: Vm) -> None:
    vm.cont()
    vm.goto(6)
    assert vm.who("counter").clock == 4
    assert vm.who("counter").new == b"\7"


def test_a_range_across_pages_has_one_last_writer(vm: Vm) -> None:
    with Vm(ram=1 << 20) as vm:
        vm.load(assemble("mov eax, -1\nmov [0x20ffe], eax\nmov [0x21000], al\nnop\nhlt"))
        vm.cont()
        assert vm.who(0x20FFE, 4).clock == 2
        assert vm.who(0x20FFE, 4).old == b"\xff\xff\xff\xff"
        assert vm.who(0x20FFF).clock == 1


def test_what_is_not_recorded_is_refused_in_one_line(vm: Vm) -> None:
    vm.step()
    for name in ("rip", "cr3", "zf", "ds"):
        with pytest.raises(BadInput, match=f"changes of {name} are not recorded"):
            vm.who(name)
    with pytest.raises(BadInput, match="from 1 to 4096"):
        vm.who("counter", 0)
    with pytest.raises(UnknownName):
        vm.who("countr")
    with Vm(record=False) as plain, pytest.raises(BadInput, match="does not record"):
        plain.who("rax")


# When


def test_all_times_of_a_place_are_told(vm: Vm) -> None:
    vm.cont()
    found = vm.when("rip == loop")
    assert list(found) == list(vm.when("loop")) == [1, 4, 7]
    assert (len(found), found.first, found.last) == (3, 1, 7)
    assert list(vm.when(vm.address("after"))) == [14]


def test_the_recorded_future_counts_and_the_nearest_times_are_told(vm: Vm) -> None:
    vm.cont()
    vm.goto(4)
    found = vm.when("$rip == loop")
    assert list(found) == [1, 4, 7]
    assert (found.before, found.after, found.now) == (1, 7, 4)


def test_a_place_that_was_never_passed_has_no_time(vm: Vm) -> None:
    vm.step()
    found = vm.when("done")
    assert (list(found), found.first, found.last, found.before, found.after) == ([], *[None] * 4)


def test_an_instruction_that_is_about_to_run_only_now_has_not_run(vm: Vm) -> None:
    vm.step()
    assert list(vm.when("loop")) == []


def test_another_condition_is_refused_with_the_forms_there_are(vm: Vm) -> None:
    vm.step()
    for text in ("rax == 5 and rip == loop", "rip != loop", "rip == loop == 3"):
        with pytest.raises(BadInput, match=r"ask .rip == WHERE. or .WHERE."):
            vm.when(text)


# Against single steps


def stepped(vm: Vm) -> list[tuple[int, int, bytes]]:
    """Clock, pc and data in front of each instruction that a step can stop at."""
    found = []
    while True:
        data = vm.memory[DATA : DATA + 0x100]
        found.append((vm.vcpu.clock, vm.regs().rip, data))
        stop = vm.step()
        if stop.exit.reason.name != "DEBUG":
            return found


def trace_of(source: str) -> Trace:
    """Every instruction of a guest."""
    with Vm(ram=1 << 20) as vm:
        vm.load(assemble(source))
        vm.record()
        vm.cont()
        return vm.trace


@given(source=programs("long"), dice=st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_random_guests_are_answered_as_single_steps_say(source: str, dice: random.Random) -> None:
    with Vm(ram=1 << 20) as vm, Vm(ram=1 << 20, record=False) as single:
        for each in (vm, single):
            each.load(assemble(source))
        way = stepped(single)
        if dice.random() < 0.5:
            vm.record()
        vm.cont()
        trace, end = trace_of(source), vm.vcpu.clock
        before = everything(vm)
        for address in dice.sample(range(DATA, DATA + 0x90), 6):
            row = trace.last_write(address)
            found = vm.who(address)
            assert (found.clock if found.pc else None) == (row.clock if row else None)
            bytes_then = [(clock, data[address - DATA]) for clock, _, data in way]
            changed = [c for (c, a), (_, b) in pairwise(bytes_then) if a != b]
            assert not changed or changed[-1] <= found.clock
        for register in ("rax", "rcx", "rsi", "rsp"):
            row = trace.last_change(register)
            found = vm.who(register)
            assert (found.clock if found.pc else None) == (row.clock if row else None)
        for _, pc, _ in dice.sample(way, 3):
            times = list(vm.when(pc))
            assert set(times) >= {clock for clock, at, _ in way if at == pc and clock < end}
            assert times == trace.find_pc(pc).tolist()
        assert everything(vm) == before


# Nothing is touched


def test_asking_leaves_the_vm_as_it_was_in_the_past_with_a_future(vm: Vm) -> None:
    vm.bp("mid")
    vm.cont()
    vm.set_regs(rdx=3)
    vm.bookmark("middle")
    vm.cont()
    vm.goto("middle")
    vm.step()
    before = everything(vm)
    vm.who("counter")
    vm.who("rdx")
    vm.when("loop")
    assert everything(vm) == before
    assert vm.goto(13).clock == 13


def test_asking_leaves_no_checkpoints_behind(vm: Vm) -> None:
    vm.cont()
    vm.goto(12)
    vm.goto(14)
    kept = len(vm.vcpu.checkpoints)  # type: ignore[attr-defined]
    vm.who("counter")
    vm.when("loop")
    assert len(vm.vcpu.checkpoints) == kept  # type: ignore[attr-defined]


def test_ctrl_c_ends_a_long_search_and_the_vm_is_intact() -> None:
    with Vm(ram=1 << 20) as vm:
        vm.load(assemble("mov rcx, 100000000\nagain: dec rcx\njnz again\nhlt"))
        vm.cont(max_instructions=60_000_000)
        before = vm.regs()
        with stop_pressed(vm), pytest.raises(VmInterrupted, match="the VM is intact"):
            vm.who("r15")
        assert vm.regs() == before
        assert vm.who("rcx").clock == 59_999_999
