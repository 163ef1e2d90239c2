"""``Vm.export_c``: the program compiles without a warning, says the same as we do, and runs on KVM.

What needs gcc or /dev/kvm is skipped where there is none; which facilities the KVM of this host has
by itself is asked of its engine, not assumed.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg import Vm, assemble
from kvmdbg.debugger import export_c
from kvmdbg.debugger.export_c import Captured, Expected, c_program, plain, runs
from kvmdbg.engines import Capability, emulated, open_engine
from kvmdbg.engines.kvm import values
from kvmdbg.errors import BadInput, EngineUnavailable
from kvmdbg.exits import HltExit
from kvmdbg.machine.layout import MODES, default_guest
from kvmdbg.uapi import GuestDbg
from kvmdbg.x86.registers import DebugRegs, VcpuEvents

E, S, H = int(GuestDbg.ENABLE), int(GuestDbg.SINGLESTEP), int(GuestDbg.USE_HW_BP)
W, IB, ID = int(GuestDbg.USE_SW_BP), int(GuestDbg.INJECT_BP), int(GuestDbg.INJECT_DB)
OFF = (0,) * 8
RAM = 1 << 20

LOOP = """
start:  mov ecx, 3
loop:   inc dword ptr [counter]
        nop
        dec ecx
        jnz loop
done:   hlt
        .align 8
counter: .long 5
"""
PORTS = "mov al, 0x41\nout 0xe9, al\nin al, 0xe9\nin al, 0x80\nout 0x81, al\nhlt"

Compile = Callable[[str], Path]


@pytest.fixture
def compile_c(debian_file: Callable[[str, str], Path], tmp_path: Path) -> Compile:
    """Compile a program with every warning an error; the path of what came out."""
    gcc = debian_file("/usr/bin/gcc", "gcc")
    debian_file("/usr/include/stdio.h", "libc6-dev")
    debian_file("/usr/include/linux/kvm.h", "linux-libc-dev")

    def compile_one(text: str) -> Path:
        (tmp_path / "guest.c").write_text(text)
        command = [gcc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-o", "guest", "guest.c"]
        answer = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        assert answer.stderr == ""
        return tmp_path / "guest"

    return compile_one


def run(program: Path) -> tuple[int, str]:
    """Exit status and output."""
    answer = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    assert answer.stderr == ""
    return answer.returncode, answer.stdout


def native(mode: str) -> frozenset[Capability]:
    """What the KVM of this host does by itself in a mode; skips where there is none."""
    try:
        engine = open_engine("kvm", RAM)
    except EngineUnavailable as error:
        pytest.skip(str(error))
    try:
        guest = default_guest(mode, RAM)
        engine.set_sregs(guest.sregs)
        return engine.capabilities - emulated(engine)
    finally:
        engine.close()


def need(mode: str, *capabilities: Capability) -> None:
    missing = [each for each in capabilities if each not in native(mode)]
    if missing:
        pytest.skip(f"the KVM of this host lacks: {', '.join(missing)}")


def loaded(text: str = LOOP, mode: str = "long", **options: str) -> Vm:
    vm = Vm(mode=mode, ram=RAM, **options)  # type: ignore[arg-type]
    vm.load(assemble(text, mode=mode))
    return vm


def with_breakpoint(vm: Vm, place: str) -> tuple[int, tuple[int, ...]]:
    return E | H, (vm.address(place), 0, 0, 0, 0, 0, 0, 0x402)


# On KVM


@pytest.mark.parametrize("mode", MODES)
def test_a_guest_that_halts_does_so_on_kvm(mode: str, compile_c: Compile) -> None:
    need(mode)
    with loaded(mode=mode) as vm:
        after = vm.address("done") + 1
        status, lines = run(compile_c(vm.export_c()))
    assert (status, lines) == (0, f"exit 0: as expected: KVM_EXIT_HLT, rip {after:#x}\n")


@pytest.mark.parametrize("mode", MODES)
def test_port_accesses_on_kvm_get_the_answers_of_our_devices(mode: str, compile_c: Compile) -> None:
    need(mode)
    with loaded(PORTS, mode) as vm:
        status, lines = run(compile_c(vm.export_c()))
    assert status == 0, lines
    assert "exit 0: as expected: KVM_EXIT_IO out port 0xe9, 1 byte(s) 41\n" in lines
    assert "exit 3: as expected: KVM_EXIT_IO out port 0x81, 1 byte(s) ff\n" in lines
    assert lines.count("\n") == 5


@pytest.mark.parametrize("mode", MODES)
def test_single_steps_on_kvm_are_ours(mode: str, compile_c: Compile) -> None:
    need(mode, Capability.SINGLESTEP)
    with loaded(mode=mode) as vm:
        vm.debug(E | S)
        status, lines = run(compile_c(vm.export_c(12)))
    assert status == 0, lines
    assert lines.count("as expected: KVM_EXIT_DEBUG #DB, pc 0x80") == 12
    assert "dr6 0xffff4ff0 at loop\n" in lines


@pytest.mark.parametrize("mode", MODES)
def test_an_execution_breakpoint_hits_on_kvm_where_it_does_here(
    mode: str, compile_c: Compile
) -> None:
    need(mode, Capability.HW_EXEC)
    with loaded(mode=mode) as vm:
        vm.debug(*with_breakpoint(vm, "done"))
        status, lines = run(compile_c(vm.export_c(1)))
        assert (status, lines.count("\n")) == (0, 1), lines
        assert f"pc {vm.address('done'):#x}, dr6 0xffff0ff1 at done" in lines


def test_a_guest_in_the_middle_of_its_work_goes_on_on_kvm(compile_c: Compile) -> None:
    need("long", Capability.SINGLESTEP)
    with loaded() as vm:
        vm.step(6)
        status, lines = run(compile_c(vm.export_c(3)))
        foreseen = re.findall(r"pc (0x\w+)", lines)
        assert status == 0, lines
        assert foreseen == [hex(vm.step().pc) for _ in range(3)]


def test_a_store_and_a_load_outside_ram_are_mmio_on_kvm(compile_c: Compile) -> None:
    need("long")
    text = "mov eax, 0x11223344\nmov ebx, 0x300000\nmov [rbx], eax\nmov eax, [rbx+4]\nhlt"
    with loaded(text) as vm:
        status, lines = run(compile_c(vm.export_c()))
    assert status == 0, lines
    assert "KVM_EXIT_MMIO write 0x300000, 4 byte(s) 44 33 22 11\n" in lines
    assert "KVM_EXIT_MMIO read 0x300004, 4 byte(s)\n" in lines


def test_the_items_of_a_string_instruction_are_exits_of_their_own(compile_c: Compile) -> None:
    need("long")
    text = "lea rsi, [here]\nmov edi, 0x9000\nmov edx, 0x80\nmov ecx, 3\nrep outsb\nmov ecx, 2\n"
    with loaded(f'{text}rep insb\nhlt\nhere: .ascii "abc"') as vm:
        status, lines = run(compile_c(vm.export_c()))
    assert status == 0, lines
    assert lines.count("out port 0x80") == 3
    assert lines.count("in port 0x80") == 2


def test_each_item_of_a_string_instruction_gets_an_answer_of_its_own(compile_c: Compile) -> None:
    need("long")
    text = (
        "mov edi, 0x9000\nmov edx, 0x80\nmov ecx, 2\nrep insb\nmov al, [0x9001]\nout 0x81, al\nhlt"
    )
    with loaded(text) as vm:
        head, first, second, out, rest = vm.export_c().split("    { .reason = ")
    changed = [row.replace("0xff }", "0x11 }", 1) for row in (second, out)]
    status, lines = run(compile_c("    { .reason = ".join([head, first, *changed, rest])))
    assert status == 0, lines
    assert "out port 0x81, 1 byte(s) 11\n" in lines


def test_a_triple_fault_is_the_last_exit(compile_c: Compile) -> None:
    need("long")
    with loaded("ud2") as vm:
        status, lines = run(compile_c(vm.export_c()))
    assert (status, lines) == (0, "exit 0: as expected: KVM_EXIT_SHUTDOWN (a triple fault)\n")


def test_an_exception_that_waits_is_delivered_on_kvm_too(compile_c: Compile) -> None:
    need("long", Capability.INJECT)
    with loaded("nop\nhlt\nhandler: mov al, 1\nout 0x80, al\nhlt") as vm:
        vm.set_gate(1, "handler")
        vm.debug(ID)
        text = vm.export_c()
        status, lines = run(compile_c(text))
    assert "#define SET_VCPU_EVENTS 1" in text
    assert status == 0, lines
    assert "exit 0: as expected: KVM_EXIT_IO out port 0x80, 1 byte(s) 01" in lines


def test_kvms_emulator_does_what_its_profile_says(compile_c: Compile) -> None:
    """Its steps lose the stop after an OUT; the reference's do not."""
    need("long", Capability.SINGLESTEP)
    if Capability.HW_DATA in native("long"):
        pytest.skip("this host's KVM is not its instruction emulator")
    statuses = {}
    for profile in ("emu618", "reference"):
        with loaded("nop\nout 0x80, al\nnop\nnop\nhlt", profile=profile) as vm:
            vm.debug(E | S)
            statuses[profile] = run(compile_c(vm.export_c(3)))[0]
    assert statuses == {"emu618": 0, "reference": 1}


# What it says when not all is well


def test_a_difference_is_told_and_is_the_exit_status(compile_c: Compile) -> None:
    need("long")
    with loaded(PORTS) as vm:
        text = vm.export_c().replace(".data = { 0x41 }", ".data = { 0x42 }")
        status, lines = run(compile_c(text))
    assert status == 1
    out = "KVM_EXIT_IO out port 0xe9, 1 byte(s)"
    assert lines.startswith(f"exit 0: expected {out} 42, got {out} 41\nexit 1: as expected: ")


def test_a_guest_that_never_comes_back_is_a_difference(compile_c: Compile) -> None:
    need("long")
    with loaded("jmp .") as vm, pytest.raises(BadInput):
        vm.export_c()
    text = program_of("jmp .", "#define LONGEST 10", "#define LONGEST 1")
    status, lines = run(compile_c(text))
    assert (status, lines) == (
        1,
        "exit 0: expected KVM_EXIT_HLT, rip 0x8001, got no exit in 1 seconds\n",
    )


def test_without_dev_kvm_the_status_is_77(compile_c: Compile) -> None:
    text = program_of("hlt", '"/dev/kvm"', '"/no/such/device"')
    assert run(compile_c(text)) == (77, "/dev/kvm: No such file or directory\n")


def test_a_call_that_the_kernel_refuses_is_named(compile_c: Compile) -> None:
    need("long")
    text = program_of("hlt", ".dr7 = 0x400,", ".dr7 = 0x100000000ull,")
    assert run(compile_c(text)) == (1, "KVM_SET_DEBUGREGS: Invalid argument\n")


# What the compiler makes of it

BYTES = """
int main(int count, char **words)
{
    fwrite(&sregs, sizeof sregs, 1, stdout);
    fwrite(&regs, sizeof regs, 1, stdout);
    fwrite(&debugregs, sizeof debugregs, 1, stdout);
    fwrite(&debug, sizeof debug, 1, stdout);
    fwrite(&events, sizeof events, 1, stdout);
    fwrite(make_ram(), RAM_SIZE, 1, stdout);
    return count > 1 && words ? program() : 0;
}
"""


def bytes_of(program: Path) -> bytes:
    return subprocess.run([program], capture_output=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("mode", MODES)
def test_every_field_and_every_byte_is_what_the_engine_has(mode: str, compile_c: Compile) -> None:
    guest = captured(LOOP, mode)
    ones = dict.fromkeys(guest.regs._fields, (1 << 64) - 1)
    guest = replace(
        guest,
        regs=guest.regs._replace(**{**ones, "rip": guest.regs.rip, "rsp": 1 << 31}),
        debugregs=DebugRegs((1, 1 << 31, 1 << 32, (1 << 64) - 1), 0xFFFF4FF1, 0x402),
        events=VcpuEvents(
            exception_injected=1, exception_nr=13, exception_has_error_code=1,
            exception_error_code=0x18, nmi_masked=1, flags=5,
        ),
        control=E | S | 4,
    )  # fmt: skip
    text = c_program(guest, [HALT], "nobody").replace("int main(void)", "int program(void)")
    ours = b"".join(
        [
            values.pack_sregs(guest.sregs),
            values.pack_regs(guest.regs),
            values.pack_debugregs(guest.debugregs),
            (E | S | 4).to_bytes(8, "little") + bytes(64),
            values.pack_events(guest.events, False),
            guest.ram,
        ]
    )
    assert bytes_of(compile_c(text + BYTES)) == ours


NAMES = [
    "*/ int x; /*",
    '" , .size = system("id"), "',
    "two\nlines\r\n#include <x>",
    "??/\n",
    "\\",
    "\\\n*/",
    "%s%n%p",
    "// x \\",
    "'",
    "\x00\x1b[31m",
    "é∀😀",
    "<: %> ??>",
    "a" * 500,
]


def test_no_label_breaks_out_of_a_comment_or_a_string(compile_c: Compile) -> None:
    with loaded(LOOP) as vm:
        vm.debug(E | S)
        vm.symbols.clear()
        for at, name in enumerate(NAMES, vm.address("$rip")):
            vm.symbols[name] = at
        hostile = vm.export_c(6)
        program = compile_c(hostile)
        vm.symbols.clear()
        tame = vm.export_c(6)
    assert without_words(hostile) == without_words(tame)
    assert run(program)[0] in (0, 1, 77)


def without_words(text: str) -> str:
    """The program without its comments and without the names of places."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r'\.where = "[^"\\\n]*"', "", text)


@given(st.text())
def test_a_plain_name_means_nothing_to_c(name: str) -> None:
    shown = plain(name)
    assert len(shown) <= 60
    assert re.fullmatch(r"[ -~]*", shown)
    assert not set(shown) & set("\"'\\/?%&|!^~`")


def test_the_listing_shows_labels_and_code() -> None:
    with loaded() as vm:
        head = vm.export_c().partition("*/\n")[0]
    assert " * 0x8005  loop\n" in head
    assert "  inc dword ptr [" in head


# Values


@given(st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=40)), max_size=8))
def test_the_runs_put_together_are_the_ram(pieces: list[tuple[int, bytes]]) -> None:
    ram = bytearray(400)
    for address, data in pieces:
        ram[address : address + len(data)] = data
    again = bytearray(len(ram))
    for address, data in runs(bytes(ram)):
        assert data[0]
        assert data[-1]
        again[address : address + len(data)] = data
    assert again == ram


def test_a_run_may_cross_the_places_where_ram_is_cut() -> None:
    ram = bytearray(3 << 20)
    ram[(1 << 20) - 2 : (1 << 20) + 2] = b"abcd"
    assert list(runs(bytes(ram))) == [((1 << 20) - 2, b"ab"), (1 << 20, b"cd")]


def test_a_guest_with_too_much_in_its_ram_is_refused_in_one_line() -> None:
    with Vm(ram=8 << 20) as vm:
        vm.load(b"\xf4")
        vm.memory[0x10000 : 0x10000 + (5 << 20)] = b"\xff" * (5 << 20)
        with pytest.raises(BadInput, match=r"^5,24\d,\d{3} bytes of guest RAM are not zero, and"):
            vm.export_c()


def test_segments_are_such_as_a_processor_can_be_entered_with() -> None:
    """An accessed bit that nobody has set yet would make a VM entry fail (SDM vol. 3, 27.3.1.2)."""
    with loaded() as vm:
        sregs = vm.sregs()
        vm.vcpu.set_sregs(sregs._replace(ds=sregs.ds._replace(type=2)))
        assert re.search(r"\.ds = \{.* \.type = 0x3, ", vm.export_c())


def test_the_guest_stays_as_it_is() -> None:
    with loaded() as vm:
        vm.bp("done")
        vm.step(2)
        before = vm.regs(), vm.sregs(), vm.debug(), len(vm.timeline), bytes(vm.vcpu.ram)
        first = vm.export_c()
        assert (vm.regs(), vm.sregs(), vm.debug(), len(vm.timeline), bytes(vm.vcpu.ram)) == before
        assert vm.export_c() == first


def test_devices_stay_as_they_are() -> None:
    with loaded(PORTS) as vm:
        vm.export_c()
        assert vm.console == ""


def byte_at(text: str, address: int) -> int:
    """A byte of the program's RAM; 0 where no run is."""
    found = re.findall(r"at_(\w+)\[\] = \{\n(.*?)\n\};", text, re.DOTALL)
    for start, rows in found:
        data = bytes(int(byte, 16) for byte in re.findall(r"0x\w\w", rows))
        if 0 <= address - int(start, 16) < len(data):
            return data[address - int(start, 16)]
    return 0


def test_planted_bytes_are_there_only_where_the_host_takes_int3() -> None:
    with loaded() as vm:
        own = vm.memory[vm.address("done")]
        vm.bp("done")
        vm.step()
        vm.debug(0)
        assert byte_at(vm.export_c(), vm.address("done")) == own
        vm.debug(E | W)
        assert byte_at(vm.export_c(1), vm.address("done")) == 0xCC


def test_an_injection_that_was_spent_is_not_given_again() -> None:
    with loaded("nop\nhlt\nhandler: nop\nnop\nhlt") as vm:
        vm.set_gate(3, "handler")
        vm.debug(E | S | IB)
        assert "KVM_GUESTDBG_INJECT_BP,\n" in vm.export_c(1)
        vm.enter()
        assert "KVM_GUESTDBG_INJECT_BP,\n" not in vm.export_c(1)


def test_the_control_word_is_written_in_the_kernels_names() -> None:
    with loaded() as vm:
        vm.debug(E | S | 0x4)
        text = vm.export_c(1)
    assert ".control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | 0x4u,\n" in text


def test_the_forecast_ends_where_the_guest_runs_on_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kvmdbg.debugger.exporting.LONGEST", 1000)
    with loaded("out 0x80, al\njmp .") as vm:
        assert vm.export_c().count("    { .reason = ") == 1


def test_a_guest_without_any_exit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvmdbg.debugger.exporting.LONGEST", 1000)
    with loaded("jmp .") as vm, pytest.raises(BadInput, match="runs on without an exit"):
        vm.export_c()


@pytest.mark.parametrize("exits", [0, -1, 10_001])
def test_a_number_of_exits_out_of_range_is_refused(exits: int) -> None:
    with loaded() as vm, pytest.raises(BadInput, match="from 1 to 10,000"):
        vm.export_c(exits)


def test_an_irqchip_is_refused() -> None:
    with loaded() as vm:
        vm.create_irqchip()
        with pytest.raises(BadInput, match="irqchip"):
            vm.export_c()


def test_an_interrupt_that_the_guest_cannot_take_yet_is_refused() -> None:
    with loaded() as vm:
        vm.vcpu.interrupt(0x20)
        with pytest.raises(BadInput, match="let the guest take it first"):
            vm.export_c()


def test_our_programs_are_known_again() -> None:
    with loaded() as vm:
        assert export_c.is_ours(vm.export_c())
    assert not export_c.is_ours("int main(void) { return 0; }")


# A guest by hand

HALT = Expected(HltExit(), b"", 0x8001, "")


def captured(text: str, mode: str = "long") -> Captured:
    program = assemble(text, mode=mode)
    guest = default_guest(mode, RAM, program.origin)
    ram = bytearray(RAM)
    for address, data in (*guest.memory, (program.origin, program.code)):
        ram[address : address + len(data)] = data
    quiet = DebugRegs(), VcpuEvents()
    return Captured(bytes(ram), guest.regs, guest.sregs, *quiet, 0, OFF, ("a guest",))


def program_of(text: str, old: str, new: str) -> str:
    """A program that expects HLT at once, with one place changed."""
    program = c_program(captured(text), [HALT], "nobody")
    assert program.count(old) == 1
    return program.replace(old, new)
