"""A Vm's life on the embedded engine: loading, looking, changing, resetting, closing."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.debugger.stop import StopKind
from kvmdbg.errors import (
    AddressError,
    BadInput,
    ExpressionError,
    LoadError,
    UnknownName,
    VmClosed,
)
from kvmdbg.exits import ExitReason
from kvmdbg.x86.registers import CR0, CpuMode

COUNT_DOWN = """
start:  mov ecx, 5
loop:   dec ecx
        mov [counter], ecx
        jnz loop
        mov al, 'H'
        out 0xe9, al
        hlt
        .balign 16
counter: .long 0
limit = 5
"""


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm() as vm:
        vm.load(assemble(COUNT_DOWN))
        yield vm


@pytest.fixture
def real() -> Iterator[Vm]:
    with Vm(mode="real", ram=1 << 20) as vm:
        yield vm


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_a_program_runs_to_its_end_in_every_mode(mode: str) -> None:
    with Vm(mode=mode) as vm:
        vm.load(assemble("mov eax, 5\nhlt", mode=mode))
        stop = vm.cont()
        assert (stop.kind, stop.regs.rax) == (StopKind.HALT, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "what"),
    [
        ({"mode": "lnog"}, UnknownName, 'did you mean "long"'),
        ({"engine": "qemu"}, UnknownName, "choose auto"),
        ({"ram": 5000}, BadInput, "multiple of 4096"),
        ({"ram": 4096}, BadInput, "from 64 KiB"),
        ({"ram": 4 << 30}, BadInput, "to 3 GiB"),
        ({"ram": "16M"}, BadInput, "not '16M'"),
    ],
)
def test_a_vm_that_cannot_be_is_refused_in_one_line(
    arguments: dict[str, Any], error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=what) as caught:
        Vm(**arguments)
    assert "\n" not in str(caught.value)


def test_a_new_vm_stands_where_a_program_will_be(real: Vm) -> None:
    assert (real.address("$rip"), real.mode, real.last_stop) == (0x8000, CpuMode.REAL, None)


def test_a_program_begins_at_its_start_label() -> None:
    with Vm() as vm:
        vm.load(assemble("data: .long 7\nstart: hlt"))
        assert vm.label(vm.address("$rip")) == "start"


def test_a_boot_sector_goes_to_7c00(real: Vm) -> None:
    real.load(b"\xf4".ljust(510, b"\0") + b"\x55\xaa")
    assert real.address("$rip") == 0x7C00


def test_an_entry_in_real_mode_may_set_cs(real: Vm) -> None:
    real.load(b"\x90\xf4", at=0xFFFF0, entry="F000:FFF0")
    assert (real.sregs().cs.selector, real.regs().rip) == (0xF000, 0xFFF0)
    assert (real.address("$rip"), real.step().pc) == (0xFFFF0, 0xFFFF1)


def test_a_file_can_be_loaded(real: Vm, tmp_path: Path) -> None:
    image = tmp_path / "flat.bin"
    image.write_bytes(b"\x90\xf4")
    real.load(str(image))
    assert real.memory[0x8000:0x8002] == b"\x90\xf4"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"program": b""}, LoadError),
        ({"program": bytes(2 << 20)}, LoadError),
        ({"program": b"\xf4", "at": -1}, LoadError),
        ({"program": b"\xf4", "entry": "nowhere"}, UnknownName),
    ],
)
def test_a_program_that_cannot_be_loaded_leaves_the_guest_as_it_was(
    real: Vm, arguments: dict[str, Any], error: type[Exception]
) -> None:
    real.load(b"\x90\x90\xf4")
    real.step()
    with pytest.raises(error):
        real.load(**arguments)
    assert real.step().pc == 0x8002


def test_loading_begins_with_empty_memory(vm: Vm) -> None:
    vm.cont()
    vm.write(0x20000, b"left over")
    vm.load(b"\xf4")
    assert vm.read(0x20000, 9) == bytes(9)
    assert (vm.symbols, vm.program, vm.console) == ({}, None, "")


def test_reset_goes_back_to_the_state_after_loading(vm: Vm) -> None:
    fresh = vm.regs(), vm.sregs(), vm.read(0x8000, 64)
    vm.cont()
    vm.write(vm.address("counter"), b"\xff" * 4)
    vm.reset()
    assert (vm.regs(), vm.sregs(), vm.read(0x8000, 64)) == fresh
    assert (len(vm.timeline), vm.console, vm.last_stop) == (0, "", None)
    assert vm.vcpu.clock == 0


def test_the_same_program_gives_the_same_stop_after_a_reset(vm: Vm) -> None:
    first = vm.cont()
    vm.reset()
    second = vm.cont()
    assert (first.regs, first.clock, first.changes) == (second.regs, second.clock, second.changes)


def test_after_close_everything_says_that_it_was_closed(vm: Vm) -> None:
    vm.close()
    vm.close()
    for call in (vm.step, vm.cont, vm.regs, vm.reset, lambda: vm.memory, lambda: vm.read(0, 1)):
        with pytest.raises(VmClosed, match="was closed"):
            call()
    assert (vm.closed, repr(vm)) == (True, "<Vm: closed>")


STATM = Path("/proc/self/statm")


def resident() -> int:
    """Bytes of this process in memory."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def lived_and_closed() -> Vm:
    """A VM that held 8 MiB as RAM, in checkpoints, in edits, and in a future gone back from."""
    vm = Vm()
    vm.load(assemble("loop: inc ecx\njmp loop"))
    vm.step()
    vm.write(0x100000, b"\xff" * (8 * 2**20))
    vm.cont(timeout=0.2)
    vm.step_back()
    vm.write(0x100000, b"\xfe" * (8 * 2**20))
    vm.cont(timeout=0.2)
    vm.close()
    return vm


@pytest.mark.skipif(not STATM.exists(), reason="this system has no /proc/self/statm")
def test_a_closed_vm_gives_its_memory_back_even_while_it_is_held() -> None:
    lived_and_closed()
    gc.collect()
    gc.disable()
    try:
        before = resident()
        held = [lived_and_closed() for _ in range(4)]
        grown = resident() - before
    finally:
        gc.enable()
    assert all(vm.closed for vm in held)
    assert grown < len(held) * 7 * 2**20


def test_a_vm_shows_where_it_stands(vm: Vm) -> None:
    assert repr(vm) == "<Vm: unicorn, long, 64-bit code, 16,384 KiB, at start (0x8000)>"


# Stops


def test_a_stop_tells_what_the_guest_changed(vm: Vm) -> None:
    stop = vm.step(3)
    assert stop.changes.registers == {"rcx": (0, 4)}
    (run,) = stop.changes.memory
    assert (run.address, run.old, run.new) == (vm.symbols["counter"], b"\0", b"\4")


def test_a_stop_tells_only_what_the_guest_changed(vm: Vm) -> None:
    vm.set_regs(rbx=7)
    vm.write(0x9000, b"host")
    stop = vm.step()
    assert (set(stop.changes.registers), stop.changes.memory) == ({"rcx"}, ())


def test_a_stop_counts_the_instructions_of_its_own_command(vm: Vm) -> None:
    vm.step(2)
    stop = vm.step(3)
    assert (stop.index, stop.executed, stop.clock) == (2, 3, 5)


def test_a_stop_carries_what_was_printed_since_the_one_before(vm: Vm) -> None:
    stop = vm.cont()
    assert (stop.console, vm.console) == ("H", "H")
    vm.set_regs(rip=vm.address("start"))
    assert (vm.cont().console, vm.console) == ("H", "HH")


def test_halting_says_how_it_goes_on(vm: Vm) -> None:
    assert vm.cont().cause.startswith("the guest halted (HLT)")


def test_going_on_after_a_halt_executes_the_next_instruction(real: Vm) -> None:
    real.load(assemble("hlt\nmov al, 7\nhlt", mode="real"))
    real.cont()
    assert real.cont().regs.rax == 7


def test_a_triple_fault_says_how_it_came_to_that() -> None:
    with Vm() as vm:
        vm.load(assemble("nop\nud2"))
        stop = vm.cont()
        assert (stop.kind, stop.pc) == (StopKind.SHUTDOWN, 0x8001)
        assert stop.cause.startswith("triple fault: #UD, then #GP, then #DF; each time the gate")


def test_looking_for_the_cause_of_a_triple_fault_leaves_no_trace() -> None:
    with Vm() as vm:
        vm.load(assemble("nop\nud2"))
        vm.bp(0x9000)
        first, second = vm.cont(), vm.cont()
        assert (first.regs, first.clock, first.cause) == (second.regs, second.clock, second.cause)
        assert vm.timeline.counts() == {ExitReason.SHUTDOWN: 2}


def test_a_triple_fault_by_an_nmi_executes_nothing_to_explain_itself() -> None:
    with Vm() as vm:
        vm.load(assemble("nop\nnop\nhlt"))
        vm.vcpu.nmi()
        stop = vm.cont()
        assert (stop.kind, stop.pc, stop.clock) == (StopKind.SHUTDOWN, 0x8000, 0)


def test_a_mode_switch_is_seen_at_the_stop() -> None:
    switch = """
        cli
        lgdt [table]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        hlt
gdt:    .quad 0
table:  .word 7
        .long gdt
    """
    with Vm(mode="real") as vm:
        vm.load(assemble(switch, mode="real"))
        stop = vm.cont()
        assert stop.mode is CpuMode.PROTECTED_16
        assert stop.changes.registers["cr0"] == (int(CR0.ET), int(CR0.ET | CR0.PE))


# Memory and registers


def test_memory_is_read_and_written_like_bytes(vm: Vm) -> None:
    vm.memory[0x9000] = 7
    vm.memory[0x9001:0x9004] = b"abc"
    assert (vm.memory[0x9000], vm.memory[0x9000:0x9004]) == (7, b"\7abc")
    assert len(vm.memory) == 16 << 20


@pytest.mark.parametrize("key", [-1, 16 << 20, slice(0, (16 << 20) + 1), slice(-4, 4)])
def test_memory_outside_ram_is_an_address_error(vm: Vm, key: Any) -> None:
    with pytest.raises(AddressError, match="outside guest RAM"):
        _ = vm.memory[key]


@pytest.mark.parametrize(
    ("key", "value"), [(0, 256), (0, -1), (0, b"a"), (slice(0, 4), b"abc"), (slice(0, 4), 1)]
)
def test_memory_takes_only_what_fits(vm: Vm, key: Any, value: Any) -> None:
    with pytest.raises(BadInput):
        vm.memory[key] = value


@pytest.mark.parametrize("key", [slice(0, 8, 2), slice(8, 4)])
def test_a_slice_of_memory_goes_forward_byte_by_byte(vm: Vm, key: slice) -> None:
    with pytest.raises(BadInput):
        _ = vm.memory[key]


def test_memory_that_paging_does_not_map_is_an_address_error(vm: Vm) -> None:
    with pytest.raises(AddressError, match="not mapped by the guest's paging"):
        vm.read(1 << 40, 1)
    with pytest.raises(AddressError, match="not a canonical address"):
        vm.read(1 << 63, 1)


def test_a_write_that_does_not_fit_writes_nothing(vm: Vm) -> None:
    end = 16 << 20
    with pytest.raises(AddressError):
        vm.write(end - 2, b"abcd")
    assert vm.read(end - 2, 2) == b"\0\0"


def test_registers_are_set_by_name(vm: Vm) -> None:
    vm.set_regs(rax=5, rbx=-1)
    assert (vm.regs().rax, vm.regs().rbx) == (5, 2**64 - 1)


@pytest.mark.parametrize(
    ("values", "error", "what"),
    [
        ({"rxa": 1}, UnknownName, 'did you mean "rax"'),
        ({"rax": 2**64}, BadInput, "64-bit"),
        ({"rax": "1"}, BadInput, "64-bit"),
        ({"rbx": 1, "rcxx": 1}, UnknownName, "rcx"),
    ],
)
def test_a_register_that_cannot_be_set_changes_nothing(
    vm: Vm, values: dict[str, Any], error: type[Exception], what: str
) -> None:
    before = vm.regs()
    with pytest.raises(error, match=what):
        vm.set_regs(**values)
    assert vm.regs() == before


# Addresses and labels


@pytest.mark.parametrize(
    ("where", "offset"),
    [
        ("start", 0),
        ("loop", 5),
        ("loop+4", 9),
        ("loop + 4", 9),
        ("0x8005", 5),
        ("8005h", 5),
        (0x8005, 5),
        ("$rip", 0),
        ("rip + 2", 2),
        ("limit + start", 5),
    ],
)
def test_an_address_is_understood_as_people_write_it(vm: Vm, where: Any, offset: int) -> None:
    assert vm.address(where) == 0x8000 + offset


@pytest.mark.parametrize("where", ["7c0:10", "07C0:0010", "cs:7c10", "cs:di", "7c10h"])
def test_real_mode_has_segments(real: Vm, where: str) -> None:
    real.set_regs(rdi=0x7C10)
    assert real.address(where) == 0x7C10


def test_rip_and_rsp_are_places_with_their_segments_bases(real: Vm) -> None:
    real.load(b"\xf4", at=0x7C10, entry="7c0:10")
    assert real.address("$rip") == real.address("ip") == real.address("pc") == 0x7C10
    assert real.address("$sp") == real.regs().rsp


@pytest.mark.parametrize(
    ("where", "error", "what"),
    [
        ("lop", UnknownName, 'no label "lop"; did you mean "loop"'),
        ("loop+", ExpressionError, "a value is missing"),
        ("rax == 1", ExpressionError, "is a condition, not an address"),
        ("7c0:10", ExpressionError, "needs real mode"),
        (-1, AddressError, "no address"),
        (2**64, AddressError, "no address"),
        ("", ExpressionError, "empty"),
    ],
)
def test_an_address_that_cannot_be_is_refused(
    vm: Vm, where: Any, error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=what):
        vm.address(where)


@pytest.mark.parametrize(
    ("address", "label"),
    [
        (0x8000, "start"),
        (0x8004, "start+4"),
        (0x800F, "loop+0xa"),
        (0x7FFF, "0x7fff"),
        (0x9020, "0x9020"),
    ],
)
def test_an_address_is_named_after_the_nearest_label(vm: Vm, address: int, label: str) -> None:
    assert vm.label(address) == label


def test_disassembly_begins_at_the_next_instruction(vm: Vm) -> None:
    vm.step()
    assert [ins.text for ins in vm.disassemble(count=2)] == [
        "dec ecx",
        "mov dword ptr [0x8020], ecx",
    ]


def test_disassembly_follows_the_mode(real: Vm) -> None:
    real.load(b"\xb8\x05\x00\xf4")
    assert [ins.text for ins in real.disassemble("0x8000", 2)] == ["mov ax, 5", "hlt"]


def test_disassembly_where_there_is_no_memory_is_an_address_error(vm: Vm) -> None:
    with pytest.raises(AddressError):
        vm.disassemble(16 << 20)


def test_disassembly_ends_where_memory_ends(vm: Vm) -> None:
    assert len(vm.disassemble((16 << 20) - 2, 8)) == 1


HANDLERS = {"real": "inc bx\niret", "protected": "inc ebx\niretd", "long": "inc ebx\niretq"}


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_a_gate_leads_to_its_handler(mode: str) -> None:
    with Vm(mode=mode) as vm:
        vm.load(assemble(f"start: int 0x30\nhlt\nhandler: {HANDLERS[mode]}", mode=mode))
        vm.set_gate(0x30, "handler")
        assert (vm.cont().kind, vm.regs().rbx) == (StopKind.HALT, 1)


def test_a_gate_goes_where_the_idtr_points() -> None:
    with Vm() as vm:
        vm.load(assemble("start: int 0x30\nhlt\nhandler: inc ebx\niretq"))
        sregs = vm.sregs()
        vm.vcpu.set_sregs(sregs._replace(idt=sregs.idt._replace(base=0x20000)))
        vm.set_gate(0x30, "handler")
        assert vm.cont().regs.rbx == 1
