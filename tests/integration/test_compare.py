"""One guest on two engines: equal where they are, the first divergence exactly where they part."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.cli.main import main
from kvmdbg.debugger import lockstep
from kvmdbg.debugger.comparing import compare, compare_vm, start_of
from kvmdbg.debugger.divergence import Comparison
from kvmdbg.debugger.sides import SIDES, STEPPING, open_side
from kvmdbg.engines import Engine
from kvmdbg.errors import BadInput, EngineUnavailable, UnknownName
from kvmdbg.exits import DebugExit, Exit, HltExit, InternalErrorExit, ShutdownExit
from kvmdbg.uapi import GuestDbg
from kvmdbg.views import html, text
from kvmdbg.views.comparison import comparison
from tests.integration.test_kvm_engine import needs_kvm

RAM = 1 << 20
Wrap = Callable[[Engine], Engine]

LOOP = """
start:  mov ecx, 100
again:  add rax, rcx
        mov [0x9000], rax
        dec ecx
        jnz again
done:   hlt
"""
FAULTY = """
start:  nop
        ud2
        nop
        hlt
handler: add qword ptr [rsp], 2
        nop
        iretq
"""


def run(
    source: str,
    a: str = "unicorn",
    b: str = "unicorn",
    *,
    mode: str = "long",
    gates: dict[int, str] | None = None,
    wrap: Wrap | None = None,
    steps: int = 100_000,
    by: str = "instruction",
) -> Comparison:
    """Compare an assembled guest; ``wrap`` stands around side B's engine."""
    with Vm(mode=mode, ram=RAM) as vm:
        vm.load(assemble(source, mode=mode))
        for vector, label in (gates or {}).items():
            vm.set_gate(vector, label)
        start = start_of(vm)
    count = iter(range(2))

    def opened(name: str, ram: int) -> Engine:
        engine = open_side(name, ram)
        return wrap(engine) if wrap and next(count) == 1 else engine

    return compare(start, a, b, steps, by, opened)


class Wrapped:
    """An engine that does all but what a sub-class changes; its count of runs is in snapshots."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.runs = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        exit = self._engine.run(max_instructions, timeout)
        self.runs += 1
        self.spoil()
        return exit

    def spoil(self) -> None:
        """What is wrong with it."""

    def change(self, **values: int) -> None:
        """Registers by XOR; KVM_SET_REGS may end single-stepping, so that is set again."""
        regs = self._engine.get_regs()
        changed = {name: getattr(regs, name) ^ value for name, value in values.items()}
        self._engine.set_regs(regs._replace(**changed))
        self._engine.set_guest_debug(STEPPING)

    def snapshot(self) -> object:
        return self._engine.snapshot(), self.runs

    def restore(self, snapshot: object) -> None:
        assert isinstance(snapshot, tuple)
        kept, self.runs = snapshot
        self._engine.restore(kept)


class FlipsRax(Wrapped):
    def spoil(self) -> None:
        if self.runs == 37:
            self.change(rax=4)


class FlipsMemory(Wrapped):
    def spoil(self) -> None:
        if self.runs == 41:
            self._engine.write_memory(0xA123, b"\x5a")


class FlipsZero(Wrapped):
    def spoil(self) -> None:
        if self.runs == 2:
            self.change(rflags=0x40)


class FlipsAdjust(Wrapped):
    def spoil(self) -> None:
        if self.runs == 2:
            self.change(rflags=0x10)


def wrapped(kind: type[Wrapped]) -> Wrap:
    return kind  # type: ignore[return-value]  # it forwards what it does not have


# Equal


@pytest.mark.parametrize("side", [side for side in SIDES if side != "kvm"])
def test_a_plain_loop_is_equal_under_every_profile(side: str) -> None:
    found = run(LOOP, "unicorn", side)
    assert (found.divergence, found.steps, found.ended) == (None, 402, "the guest halted")


def test_a_comparison_says_who_was_compared_and_how_fast() -> None:
    found = run(LOOP)
    assert found.equal
    assert found.sides == ("unicorn", "unicorn")
    assert found.rate == pytest.approx(found.steps / found.seconds)


def test_a_budget_ends_an_endless_loop() -> None:
    found = run("x: jmp x", steps=50)
    assert (found.steps, found.ended) == (50, "all steps compared")


def test_memory_is_compared_again_and_again_in_a_long_run() -> None:
    found = run("start: inc rax\n push rax\n pop rbx\n jmp start", steps=2 * lockstep.EVERY + 7)
    assert (found.divergence, found.steps) == (None, 2 * lockstep.EVERY + 7)


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_a_triple_fault_on_both_sides_is_an_end(mode: str) -> None:
    lidt = "cli\nlidt [table]\nint 0x20\ntable: .short 0\n.long 0"
    assert run(lidt, mode=mode).ended == "the guest shut down: a triple fault on both sides"


def test_both_sides_get_the_same_answers_from_devices() -> None:
    found = run("in al, 0xe9\nin eax, 0x70\nmov rbx, [0x10000000]\nout 0x80, al\nhlt")
    assert (found.divergence, found.steps) == (None, 5)


# A fault that was put in


def test_a_flipped_bit_is_found_at_exactly_its_step() -> None:
    found = run(LOOP, wrap=wrapped(FlipsRax)).divergence
    assert found is not None
    assert found.step == 37
    assert set(found.registers) == {"rax"}
    a, b = found.registers["rax"]
    assert a ^ b == 4


def test_the_divergence_names_the_instruction_that_was_executed() -> None:
    found = run(LOOP, wrap=wrapped(FlipsRax)).divergence
    assert found is not None
    assert (found.instruction, found.reason) == ("jne 0x8005", "")


def test_memory_that_differs_is_found_at_the_step_at_which_it_came_to_differ() -> None:
    found = run(LOOP, wrap=wrapped(FlipsMemory)).divergence
    assert found is not None
    assert (found.step, found.memory) == (41, {0xA123: (0, 0x5A)})


def test_memory_is_found_in_a_long_run_too() -> None:
    class Late(Wrapped):
        def spoil(self) -> None:
            if self.runs == lockstep.EVERY + 123:
                self._engine.write_memory(0xA123, b"\x5a")

    source = "start: inc rax\n push rax\n pop rbx\n jmp start"
    found = run(source, wrap=wrapped(Late), steps=3 * lockstep.EVERY).divergence
    assert found is not None
    assert (found.step, dict(found.memory)) == (lockstep.EVERY + 123, {0xA123: (0, 0x5A)})


def test_a_defined_flag_that_differs_is_a_divergence() -> None:
    found = run("mov eax, 1\nshl eax, 3\nnop\nhlt", wrap=wrapped(FlipsZero)).divergence
    assert found is not None
    assert (found.step, found.flags) == (2, {"ZF": (0, 1)})


def test_an_undefined_flag_that_differs_is_none() -> None:
    found = run("mov eax, 1\nshl eax, 3\nnop\nnop\nhlt", wrap=wrapped(FlipsAdjust))
    assert (found.divergence, found.ended) == (None, "the guest halted")


def test_a_flag_counts_again_when_an_instruction_has_defined_it() -> None:
    found = run("mov eax, 1\nstc\nnop\nhlt", wrap=wrapped(FlipsAdjust)).divergence
    assert found is not None
    assert found.flags == {"AF": (0, 1)}


def test_an_instruction_that_faults_defines_no_flag() -> None:
    source = """
        mov eax, 1
        shl eax, 3
        mov rsi, 0x8000000000000000
        add ebx, [rsi]
        .zero 32, 0x90
handler: nop
        hlt
    """
    found = run(source, wrap=wrapped(FlipsAdjust), gates={13: "handler"})
    assert (found.divergence, found.ended) == (None, "the guest halted")


def test_a_flag_that_was_undefined_when_an_exception_pushed_it_is_so_after_iret() -> None:
    source = """
        mov eax, 1
        shl eax, 3
        ud2
        nop
        hlt
handler: push rax
        mov rax, [rsp + 8]
        add rax, 2
        mov [rsp + 8], rax
        pop rax
        iretq
    """
    found = run(source, wrap=wrapped(FlipsAdjust), gates={6: "handler"})
    assert (found.divergence, found.ended) == (None, "the guest halted")


def test_who_reads_an_undefined_flag_is_told_who_left_it_so() -> None:
    source = "mov eax, 1\nshl eax, 3\nlahf\nhlt"
    found = run(source, wrap=wrapped(FlipsAdjust)).divergence
    assert found is not None
    assert found.step == 3
    assert "shl eax, 3 at 0x8005 left undefined" in found.reason


def test_a_segment_register_that_differs_is_a_divergence() -> None:
    class LoadsFs(Wrapped):
        def spoil(self) -> None:
            if self.runs == 3:
                sregs = self._engine.get_sregs()
                fs = sregs.fs._replace(base=0x1234)
                self._engine.set_sregs(sregs._replace(fs=fs))

    source = "mov eax, ds\nmov es, eax\nmov fs, eax\nnop\nhlt"
    found = run(source, wrap=wrapped(LoadsFs)).divergence
    assert found is not None
    assert (found.step, dict(found.registers)) == (3, {"fs.base": (0, 0x1234)})


def test_an_access_that_only_one_side_does_is_a_divergence() -> None:
    class OtherPort(Wrapped):
        def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
            exit = super().run(max_instructions, timeout)
            if hasattr(exit, "port"):
                object.__setattr__(exit, "port", 0x81)
            return exit

    found = run("nop\nout 0x80, al\nhlt", wrap=wrapped(OtherPort)).divergence
    assert found is not None
    assert (found.step, found.accesses) == (2, ("out 0x80 = 0x0", "out 0x81 = 0x0"))


# Known differences


def test_int1_is_the_hosts_or_the_guests_by_the_profile() -> None:
    source = "nop\n.byte 0xf1\nhlt\nhandler: iretq"
    found = run(source, "unicorn", "unicorn:svm", gates={1: "handler"}).divergence
    assert found is not None
    assert (found.step, found.rows) == (2, (108, 109))
    assert "INT1" in found.reason


def test_a_pushed_tf_is_told_by_its_rows() -> None:
    found = run("pushfq\npop rax\nhlt", "unicorn", "unicorn:vmx").divergence
    assert found is not None
    assert (found.step, found.rows) == (1, (21, 189))


def test_the_hosts_tf_in_a_frame_is_a_note() -> None:
    found = run(FAULTY, "unicorn", "unicorn:vmx", gates={6: "handler"})
    assert found.equal
    assert [note.rows for note in found.notes] == [(127, 178, 180)]


@pytest.mark.parametrize(
    ("source", "row"),
    [
        ("mov ax, ss\nmov ss, ax\nnop\nnop\nhlt", 148),
        ("mov edi, 0x9000\nmov ecx, 5000\nrep stosb\nhlt", 162),
        ("out 0x80, al\nnop\nhlt", 165),
        ("nop\nhlt", 18),
        ("mov ecx, 9\nmov esi, 0x9000\nmov edi, 0xa000\nrep movsb\nrepe cmpsb\nhlt", 162),
    ],
)
def test_a_step_that_is_cut_elsewhere_is_a_note(source: str, row: int) -> None:
    found = run(source, "unicorn", "unicorn:emu618")
    assert found.equal
    assert row in [row for note in found.notes for row in note.rows]


def test_a_fault_is_met_in_the_handler() -> None:
    found = run(FAULTY, "unicorn", "unicorn:emu618", gates={6: "handler"})
    assert (found.divergence, found.ended) == (None, "the guest halted")


# By exit


def test_exits_are_compared_with_their_structures() -> None:
    found = run("out 0x80, al\nin al, 0x81\nnop\nhlt", by="exit")
    assert (found.steps, found.ended, found.by) == (3, "the guest halted", "exit")


def test_an_exit_that_differs_is_shown_side_by_side() -> None:
    class SaysOther(Wrapped):
        def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
            return ShutdownExit()

    found = run("hlt", by="exit", wrap=wrapped(SaysOther)).divergence
    assert found is not None
    assert found.exits == (HltExit(), ShutdownExit())


def test_by_exit_runs_with_what_was_set_last() -> None:
    with Vm(ram=RAM) as vm:
        vm.load(assemble("nop\nnop\nhlt"))
        vm.debug(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)
        assert compare_vm(vm, "unicorn", "unicorn:svm", by="exit").steps == 3


# The user's VM


def test_the_users_vm_is_left_alone() -> None:
    with Vm(ram=RAM) as vm:
        vm.load(assemble(LOOP))
        vm.step(3)
        before = vm.regs(), vm.sregs(), bytes(vm.vcpu.ram), len(vm.timeline)
        compare_vm(vm, "unicorn:vmx")
        assert (vm.regs(), vm.sregs(), bytes(vm.vcpu.ram), len(vm.timeline)) == before


def test_a_comparison_begins_where_the_guest_stands() -> None:
    with Vm(ram=RAM) as vm:
        vm.load(assemble(LOOP))
        vm.step(400)
        assert compare_vm(vm, "unicorn:vmx").steps == 2


def test_planted_breakpoints_are_not_compared() -> None:
    with Vm(ram=RAM) as vm:
        vm.load(assemble(LOOP))
        vm.bp("done")
        vm.cont()
        assert compare_vm(vm, "unicorn:svm").ended == "the guest halted"


def test_one_name_is_compared_with_the_vms_own_engine() -> None:
    with Vm(ram=RAM, profile="svm") as vm:
        vm.load(assemble(LOOP))
        assert compare_vm(vm, "unicorn:vmx").sides == ("unicorn:svm", "unicorn:vmx")


def test_no_engine_stays_open() -> None:
    opened: list[Engine] = []

    def wrap(engine: Engine) -> Engine:
        opened.append(engine)
        return engine

    run(LOOP, wrap=wrap)
    with pytest.raises(Exception, match="was closed"):
        opened[0].get_regs()


def test_no_engine_stays_open_if_the_other_cannot_be_opened() -> None:
    opened: list[Engine] = []

    def opens_one(name: str, ram: int) -> Engine:
        if opened:
            raise EngineUnavailable("not here")
        opened.append(open_side(name, ram))
        return opened[0]

    with Vm(ram=RAM) as vm:
        start = start_of(vm)
    with pytest.raises(EngineUnavailable):
        compare(start, "unicorn", "kvm", opened_by=opens_one)
    with pytest.raises(Exception, match="was closed"):
        opened[0].get_regs()


def test_ctrl_c_gives_what_was_compared_so_far() -> None:
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    found = run("x: jmp x", steps=10**9)
    timer.join()
    assert found.ended == "interrupted"
    assert found.steps > 100


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("unicorn", "unicorn:sv"), UnknownName, 'did you mean "unicorn:svm"'),
        (("qemu", "kvm"), UnknownName, 'cannot compare with "qemu"'),
        (("kvm:svm", "kvm"), UnknownName, "kvm:svm"),
        (("unicorn", "unicorn", 0), BadInput, "at least one step"),
        (("unicorn", "unicorn", 1, "page"), BadInput, 'not by "page"'),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, str], error: type[Exception], words: str
) -> None:
    with Vm(ram=RAM) as vm, pytest.raises(error, match=words):
        compare_vm(vm, *arguments)


def test_a_host_without_kvm_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with Vm(ram=RAM) as vm, pytest.raises(EngineUnavailable, match="riscv64"):
        compare_vm(vm, "kvm")


def test_where_kvm_is_not_its_emulators_rules_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with Vm(ram=RAM) as vm:
        vm.load(assemble("nop\nhlt"))
        assert compare_vm(vm).sides == ("unicorn", "unicorn:emu618")


# How it looks


def test_the_card_shows_both_sides_and_the_reason() -> None:
    found = run("nop\n.byte 0xf1\nhlt", "unicorn", "unicorn:svm")
    shown = text.render(comparison(found))
    assert "unicorn and unicorn:svm part at step 2" in shown
    assert "after int1 at 0x8001" in shown
    assert "(rows 108, 109)" in shown
    assert "ShutdownExit()" in shown


def test_the_card_of_an_equal_run_has_a_summary() -> None:
    shown = text.render(comparison(run("mov ecx, 9\nrep stosb\nhlt", "unicorn", "unicorn:emu618")))
    assert "unicorn and unicorn:emu618: no divergence" in shown
    assert "3 steps compared" in shown
    assert "REP string instruction" in shown


def test_a_label_names_the_place() -> None:
    found = run(LOOP, wrap=wrapped(FlipsRax))
    assert found.divergence is not None
    card = comparison(found, {found.divergence.pc: "somewhere"})
    assert "after jne 0x8005 at somewhere (0x80" in text.render(card)


def test_the_html_says_the_same() -> None:
    page = html.render(comparison(run(LOOP, wrap=wrapped(FlipsRax))))
    assert "part at step 37" in page
    assert "rax" in page


# The command line


@pytest.mark.parametrize(
    ("source", "sides", "status"),
    [("nop\nhlt", ("unicorn", "unicorn:svm"), 0), ("int1\nhlt", ("unicorn", "unicorn:svm"), 1)],
)
def test_the_command_exits_with_what_was_found(
    tmp_path: object,
    capsys: pytest.CaptureFixture[str],
    source: str,
    sides: tuple[str],
    status: int,
) -> None:
    file = f"{tmp_path}/guest.s"
    with open(file, "w") as out:
        out.write(source)
    assert main(["compare", file, *sides]) == status
    assert "unicorn:svm" in capsys.readouterr().out


def test_the_command_takes_a_flat_binary(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    file = f"{tmp_path}/guest.bin"
    with open(file, "wb") as out:
        out.write(b"\x90\xf4")
    command = ["compare", file, "unicorn", "unicorn:vmx", "--mode", "real", "--at", "0x7c00"]
    assert main(command) == 0
    assert "2 steps compared" in capsys.readouterr().out


# With this host's KVM


@needs_kvm
@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_a_loop_is_equal_on_unicorn_and_kvm(mode: str) -> None:
    source = "start: mov cx, 100\nagain: add ax, cx\npush ax\npop bx\ndec cx\njnz again\nhlt"
    found = run(source, "unicorn", "kvm", mode=mode)
    assert (found.divergence, found.ended) == (None, "the guest halted")


@needs_kvm
def test_what_kvm_cannot_emulate_is_told_with_its_exit() -> None:
    found = run("nop\nfld1\nhlt", "unicorn", "kvm").divergence
    if found is None:
        pytest.skip("this KVM executes x87 instructions")
    assert found.exits is not None
    assert isinstance(found.exits[0], DebugExit)
    assert isinstance(found.exits[1], InternalErrorExit)
    assert "cannot emulate" in found.reason or "emulator" in found.reason


@needs_kvm
@pytest.mark.parametrize(("source", "word"), [("cpuid", "CPUID"), ("rdtsc", "time-stamp")])
def test_what_each_engine_has_of_its_own_has_a_reason(source: str, word: str) -> None:
    found = run(f"{source}\nhlt", "unicorn", "kvm").divergence
    assert found is not None
    assert word in found.reason
