"""Real boot code that nobody wrote for us: syslinux's master boot record and SeaBIOS.

Both are read from Debian's packages (tests/setup-system.sh), never stored here. Only the public API
is used. Addresses and registers come from the disassembly of version 6.04's 440 bytes; the BIOS was
run on a bare Unicorn for comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvmdbg import Stop, Vm
from kvmdbg.debugger.stop import StopKind
from kvmdbg.exits import Exit, ExitReason, IoExit
from kvmdbg.x86.registers import RFLAGS, CpuMode

FindFile = Callable[[str, str], Path]
DiskCall = tuple[int, int, int]  # AH, CX, DX

LOADED_AT = 0x7C00  # where a BIOS puts a boot sector
MOVED_TO = 0x600  # where the MBR copies itself, to make room for the next one
REP_MOVSW = LOADED_AT + 0x18
FAR_JUMP = LOADED_AT + 0x1A
DISK_CALL = 0x2B  # offset of the first INT 13h
WORDS = 256  # a sector
FIRST_DISK = 0x80  # DL, from the BIOS
BIOS_DISK = 0x13
READ_SECTORS, GET_GEOMETRY, CHECK_EXTENSIONS = 0x02, 0x08, 0x41
HEADS, SECTORS = 16, 63  # the disk that the tests pretend to have
PARTITION = bytes.fromhex("80 01 01 00 06 0f 3f 02 3f000000 00080000")  # active, FAT16, LBA 63

ROM_END = 0x10_0000
RESET_VECTOR = 0xF_FFF0
POWER_ON_SELF_TEST = 0xF_E05B  # where every PC BIOS has had it
DEBUG_PORT = 0x402  # SeaBIOS's log
BIOS_STEPS = 300


@pytest.fixture
def sector(debian_file: FindFile) -> bytes:
    """The MBR's code with a partition table of one active partition."""
    code = debian_file("/usr/lib/syslinux/mbr/mbr.bin", "syslinux-common").read_bytes()
    return code.ljust(446, b"\0") + PARTITION.ljust(64, b"\0") + b"\x55\xaa"


@pytest.fixture
def mbr(sector: bytes) -> Iterator[Vm]:
    """A PC as a BIOS leaves it to the boot sector: real mode, at 0000:7C00, DL the disk."""
    with Vm(mode="real") as vm:
        vm.load(sector, at=LOADED_AT, entry="0000:7C00")
        vm.set_regs(rdx=FIRST_DISK)
        yield vm


@pytest.fixture
def at_first_disk_call(mbr: Vm) -> Vm:
    mbr.bp_vector(BIOS_DISK)
    mbr.cont(max_instructions=100_000)
    return mbr


def test_the_mbr_is_disassembled_as_16_bit_code(mbr: Vm) -> None:
    assert [ins.text for ins in mbr.disassemble(count=3)] == ["xor ax, ax", "cli", "mov ds, ax"]


def test_a_step_over_mov_ss_takes_the_next_instruction_with_it(mbr: Vm) -> None:
    stop = mbr.step(4)
    assert (stop.pc, stop.executed) == (LOADED_AT + 0x0A, 5)  # past MOV SS and MOV SP


def test_a_repeated_move_is_stepped_word_by_word(mbr: Vm) -> None:
    mbr.step(how="until", where=REP_MOVSW)
    assert [(stop.pc, stop.regs.rcx) for stop in (mbr.step(), mbr.step(), mbr.step())] == [
        (REP_MOVSW, WORDS - 1),
        (REP_MOVSW, WORDS - 2),
        (REP_MOVSW, WORDS - 3),
    ]


def test_stepping_through_the_move_copies_the_whole_sector(mbr: Vm, sector: bytes) -> None:
    mbr.step(how="until", where=REP_MOVSW)
    stop = mbr.step(WORDS)
    assert (stop.pc, mbr.read(MOVED_TO, 512)) == (FAR_JUMP, sector)


def test_a_step_over_the_repeated_move_is_one_step(mbr: Vm) -> None:
    mbr.step(how="until", where=REP_MOVSW)
    assert mbr.step(how="over").pc == FAR_JUMP


def test_the_far_jump_lands_in_the_copy(mbr: Vm) -> None:
    mbr.bp(FAR_JUMP)
    mbr.cont(max_instructions=1000)
    assert mbr.step().pc == MOVED_TO + 0x1F


def copied_with_a_breakpoint(vm: Vm, kind: str) -> bytes:
    """The sector after the MBR has moved itself, while a breakpoint lies on its INT 13h."""
    vm.bp(LOADED_AT + DISK_CALL, kind=kind)
    vm.bp(FAR_JUMP)
    vm.cont(max_instructions=1000)
    return vm.read(MOVED_TO, 512)


def test_a_guest_that_moves_its_code_moves_a_planted_int3_too(mbr: Vm, sector: bytes) -> None:
    moved = copied_with_a_breakpoint(mbr, "sw")
    assert moved[DISK_CALL] == 0xCC  # as on a real machine
    assert mbr.read(LOADED_AT, 512) == sector


def test_a_breakpoint_in_a_debug_register_is_not_in_the_way(mbr: Vm, sector: bytes) -> None:
    moved = copied_with_a_breakpoint(mbr, "hw")
    assert moved[DISK_CALL:] == sector[DISK_CALL:]


def test_the_first_disk_call_is_made_from_the_copy(at_first_disk_call: Vm) -> None:
    stop = at_first_disk_call.last_stop
    assert stop is not None
    assert (stop.kind, stop.pc) == (StopKind.VECTOR, MOVED_TO + DISK_CALL)


def test_the_first_disk_call_asks_for_the_bios_extensions(at_first_disk_call: Vm) -> None:
    regs = at_first_disk_call.regs()
    assert (regs.rax, regs.rbx, regs.rcx, regs.rdx) == (
        CHECK_EXTENSIONS << 8,
        0x55AA,
        0,
        FIRST_DISK,
    )


def test_carry_is_set_so_that_an_old_bios_is_seen_to_refuse(at_first_disk_call: Vm) -> None:
    assert at_first_disk_call.regs().rflags & RFLAGS.CF


def test_the_disk_number_is_kept_on_the_stack(at_first_disk_call: Vm) -> None:
    rsp = at_first_disk_call.regs().rsp
    assert rsp == LOADED_AT - 8  # ES, DI, DX, DX
    assert at_first_disk_call.read(rsp, 4) == bytes([FIRST_DISK, 0, FIRST_DISK, 0])


def test_the_disassembly_at_the_disk_call_is_right(at_first_disk_call: Vm) -> None:
    shown = [ins.text for ins in at_first_disk_call.disassemble(count=3)]
    assert shown == ["int 0x13", f"jb {MOVED_TO + 0x42:#x}", "cmp bx, 0xaa55"]


def answer(vm: Vm, carry: bool, **registers: int) -> None:
    """Do what the BIOS's handler would have done, and go on behind the INT 13h."""
    regs = vm.regs()
    rflags = regs.rflags & ~RFLAGS.CF | (RFLAGS.CF if carry else 0)
    vm.set_regs(rip=regs.rip + 2, rflags=rflags, **registers)


def serve_disk(vm: Vm, boot_sector: bytes) -> list[DiskCall]:
    """Be a BIOS without extensions until the MBR hands over; what it asked."""
    asked: list[DiskCall] = []
    while vm.cont(max_instructions=100_000).kind is StopKind.VECTOR:
        regs = vm.regs()
        asked.append((regs.rax >> 8 & 0xFF, regs.rcx, regs.rdx))
        if asked[-1][0] == CHECK_EXTENSIONS:
            answer(vm, carry=True)
        elif asked[-1][0] == GET_GEOMETRY:
            answer(vm, carry=False, rcx=SECTORS, rdx=(HEADS - 1) << 8 | 1)
        else:
            vm.write(vm.sregs().es.base + regs.rbx, boot_sector)
            answer(vm, carry=False)
    return asked


@pytest.fixture
def handed_over(mbr: Vm) -> tuple[Vm, list[DiskCall]]:
    """The MBR has loaded the partition's boot sector and jumped to it."""
    mbr.step()
    mbr.bp(LOADED_AT, kind="hw")
    mbr.bp_vector(BIOS_DISK)
    halting = b"\xf4".ljust(510, b"\0") + b"\x55\xaa"
    return mbr, serve_disk(mbr, halting)


def test_the_mbr_reads_the_first_sector_of_the_active_partition(
    handed_over: tuple[Vm, list[DiskCall]],
) -> None:
    _, asked = handed_over
    head_1_sector_1 = (READ_SECTORS, 0x0001, 0x0100 | FIRST_DISK)  # LBA 63 on this disk
    assert [call[0] for call in asked] == [CHECK_EXTENSIONS, GET_GEOMETRY, READ_SECTORS]
    assert asked[-1] == head_1_sector_1


def test_the_mbr_starts_the_boot_sector_that_it_loaded(
    handed_over: tuple[Vm, list[DiskCall]],
) -> None:
    vm, _ = handed_over
    stop = vm.last_stop
    assert stop is not None
    assert (stop.kind, stop.pc, vm.disassemble(count=1)[0].text) == (
        StopKind.BREAKPOINT,
        LOADED_AT,
        "hlt",
    )


def test_the_boot_sector_is_told_its_disk_and_its_partition(
    handed_over: tuple[Vm, list[DiskCall]],
) -> None:
    vm, _ = handed_over
    regs = vm.regs()
    assert (regs.rdx & 0xFF, vm.read(regs.rsi & 0xFFFF, 16)) == (FIRST_DISK, PARTITION)


@pytest.fixture
def bios(debian_file: FindFile) -> Iterator[Vm]:
    """SeaBIOS where a PC has its ROM: its last byte is the last below 1 MiB."""
    rom = debian_file("/usr/share/seabios/bios.bin", "seabios").read_bytes()
    with Vm(mode="real") as vm:
        vm.load(rom, at=ROM_END - len(rom), entry="F000:FFF0")
        yield vm


@pytest.fixture
def bios_stop(bios: Vm) -> Stop:
    return bios.step(BIOS_STEPS)


def test_a_bios_starts_at_the_reset_vector(bios: Vm) -> None:
    assert bios.address("$rip") == RESET_VECTOR


def test_the_first_instruction_of_a_bios_is_a_far_jump(bios: Vm) -> None:
    (first,) = bios.disassemble(count=1)
    assert (first.raw[0], first.size) == (0xEA, 5)  # JMP ptr16:16


def test_a_bios_begins_with_its_power_on_self_test(bios: Vm) -> None:
    assert bios.step().pc == POWER_ON_SELF_TEST


def test_each_step_of_a_bios_is_one_debug_exit_on_the_timeline(bios: Vm, bios_stop: Stop) -> None:
    steps = [row for row in bios.timeline if row.reason is ExitReason.DEBUG]
    assert len(steps) == BIOS_STEPS
    assert steps[-1].pc == bios_stop.pc


def test_every_instruction_of_a_bios_is_counted(bios_stop: Stop) -> None:
    two_mov_ss = 2  # each takes the instruction after it along
    assert (bios_stop.clock, bios_stop.executed) == (BIOS_STEPS + two_mov_ss,) * 2


def test_the_clock_never_runs_backwards_on_the_timeline(bios: Vm, bios_stop: Stop) -> None:
    clock = list(bios.timeline.column("clock"))
    assert clock == sorted(clock)


def test_a_bios_reaches_32_bit_code_in_its_rom(bios_stop: Stop) -> None:
    assert bios_stop.mode is CpuMode.PROTECTED_32
    assert ROM_END - 0x2_0000 <= bios_stop.pc < ROM_END


def test_stepping_a_bios_ends_where_running_it_ends(bios: Vm, bios_stop: Stop) -> None:
    bios.reset()
    run = bios.cont(max_instructions=bios_stop.executed)
    assert (run.pc, run.regs) == (bios_stop.pc, bios_stop.regs)


def test_a_bios_says_its_name_to_whoever_listens_on_the_ioctl_line(bios: Vm) -> None:
    said = bytearray()
    for _ in range(40):
        exit: Exit = bios.vcpu.run(max_instructions=10_000)
        if isinstance(exit, IoExit) and exit.direction == "in":
            bios.vcpu.complete_io(b"\xff" * exit.size)
        elif isinstance(exit, IoExit) and exit.port == DEBUG_PORT:
            said += exit.data
    assert said.startswith(b"SeaBIOS (version ")
