"""The KVM engine at rest: opened, refused, closed; its memory, registers and snapshots.

What needs a real /dev/kvm is skipped where there is none, with the engine's own reason; that the
reason is one clear line is shown everywhere.
"""

from __future__ import annotations

import errno
import gc
import os
import platform
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from kvmdbg.engines import Capability, open_engine
from kvmdbg.engines.kvm import check_host
from kvmdbg.errors import AddressError, BadInput, EngineUnavailable, IoctlError, VmBusy, VmClosed
from kvmdbg.exits import Exit, HltExit, IoExit
from kvmdbg.x86.registers import DebugRegs, DescriptorTable, Segment, VcpuEvents
from tests.guests.bench import ID, MODES, Bench, E, S

RAM = 1 << 22


def refusal() -> str:
    """Why this host has no KVM engine; empty if it has one."""
    try:
        open_engine("kvm", 0x10000).close()
    except EngineUnavailable as error:
        return str(error)
    return ""


REFUSAL = refusal()
needs_kvm = pytest.mark.skipif(bool(REFUSAL), reason=REFUSAL)
on_linux = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="not Linux on x86-64"
)


class KvmBench(Bench):
    """The bench over KVM, whose only limit is a time: a hung guest fails its test."""

    def __init__(self, text: str, mode: str = "long") -> None:
        super().__init__(text, mode, "kvm")

    def run(self, control: int | None = None, **limits: float) -> Exit:
        """KVM_RUN, after KVM_SET_GUEST_DEBUG(control) if one is given."""
        if control is not None:
            self.sgd(control)
        return self.vcpu.run(timeout=limits.get("timeout", 10))


# Refusals


@on_linux
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "modprobe kvm_intel"),
        (lambda path: path.touch(), "is not KVM's device"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
    ids=["no device", "another file", "a directory"],
)
def test_a_host_without_kvm_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: object, words: str
) -> None:
    assert callable(make)
    make(tmp_path / "kvm")
    monkeypatch.setattr("kvmdbg.engines.kvm.system.DEVICE", str(tmp_path / "kvm"))
    with pytest.raises(EngineUnavailable) as refused:
        open_engine("kvm", RAM)
    message = str(refused.value)
    assert words in message
    assert 'engine="unicorn"' in message
    assert "\n" not in message


@on_linux
def test_a_user_outside_of_the_group_kvm_is_told_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("kvmdbg.engines.kvm.system.os.open", denied)
    with pytest.raises(EngineUnavailable, match=r"^/dev/kvm: permission denied; .*sudo usermod"):
        open_engine("kvm", RAM)


@needs_kvm
def test_an_old_kernel_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvmdbg.engines.kvm.system.System.check_extension", lambda *_: 0)
    with pytest.raises(EngineUnavailable, match="too old: it lacks KVM_CAP_USER_MEMORY"):
        open_engine("kvm", RAM)


@pytest.mark.parametrize(
    ("system", "machine"), [("win32", "AMD64"), ("darwin", "arm64"), ("linux", "aarch64")]
)
def test_another_system_or_processor_is_refused_by_name(system: str, machine: str) -> None:
    with pytest.raises(EngineUnavailable, match=f"this is {system} on {machine}"):
        check_host(system, machine)


def test_the_seam_imports_nothing_that_only_linux_has() -> None:
    code = "import sys, kvmdbg.engines.kvm; print('fcntl' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert answer.stdout.strip() == "False"


@needs_kvm
@pytest.mark.parametrize("ram", [0, 5000, -0x1000])
def test_ram_must_be_whole_pages(ram: int) -> None:
    with pytest.raises(BadInput):
        open_engine("kvm", ram)


# Opening and closing


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident() -> int:
    """Pages of this process, shared memory among them."""
    return int(Path("/proc/self/statm").read_text().split()[1])


@needs_kvm
def test_vms_leave_no_file_and_no_memory_behind() -> None:
    every_page = b"\1" * RAM

    def use() -> None:
        engine = open_engine("kvm", RAM)
        engine.write_memory(0, every_page)
        engine.close()

    use()
    files, pages = open_files(), resident()
    for _ in range(300):
        use()
    assert open_files() == files
    assert resident() - pages < RAM >> 12


@needs_kvm
def test_an_engine_that_is_forgotten_frees_its_files() -> None:
    before = open_files()
    for _ in range(3):
        open_engine("kvm", RAM)
    gc.collect()
    assert open_files() == before


@needs_kvm
def test_close_gives_ram_back_under_a_view_that_reads_zeros_from_then_on() -> None:
    engine = open_engine("kvm", RAM)
    for page in range(0, RAM, 0x1000):
        engine.write_memory(page, b"\1" * 0x1000)
    view, before = engine.ram[16:32], resident()
    engine.close()
    assert bytes(view) == bytes(16)
    assert before - resident() > (RAM >> 12) - 64


@needs_kvm
def test_a_refused_vm_leaves_no_file_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise IoctlError(errno.ENOMEM, "KVM_SET_CPUID2")

    monkeypatch.setattr("kvmdbg.engines.kvm.vcpu.Vcpu.set_cpuid2", fail)
    before = open_files()
    with pytest.raises(IoctlError):
        open_engine("kvm", RAM)
    gc.collect()
    assert open_files() == before


@needs_kvm
def test_a_closed_engine_says_so() -> None:
    engine = open_engine("kvm", RAM)
    engine.close()
    engine.close()
    engine.request_stop()
    for use in (
        engine.get_regs,
        engine.get_sregs,
        engine.run,
        engine.snapshot,
        lambda: engine.ram,
        lambda: engine.read_memory(0, 1),
        lambda: engine.set_guest_debug(0),
    ):
        with pytest.raises(VmClosed):
            use()


@needs_kvm
def test_an_engine_has_no_instruction_clock() -> None:
    with KvmBench("nop") as b:
        assert b.vcpu.clock == -1
        assert Capability.INSTRUCTION_CLOCK not in b.vcpu.capabilities
        assert Capability.SINGLESTEP in b.vcpu.capabilities


# Memory and registers


@needs_kvm
def test_memory_is_what_was_written_and_the_view_shows_it() -> None:
    with KvmBench("nop") as b:
        b.vcpu.write_memory(0x9000, b"abc")
        assert b.vcpu.read_memory(0x9000, 3) == bytes(b.vcpu.ram[0x9000:0x9003]) == b"abc"
        assert b.vcpu.ram.readonly
        assert len(b.vcpu.ram) == RAM


@needs_kvm
@pytest.mark.parametrize(("address", "size"), [(RAM, 1), (RAM - 1, 2), (-1, 1)])
def test_memory_outside_of_ram_is_an_address_error(address: int, size: int) -> None:
    with KvmBench("nop") as b:
        with pytest.raises(AddressError):
            b.vcpu.read_memory(address, size)
        with pytest.raises(AddressError):
            b.vcpu.write_memory(address, bytes(size))


@needs_kvm
@pytest.mark.parametrize("mode", MODES)
def test_registers_come_back_as_they_were_set(mode: str) -> None:
    with KvmBench("nop", mode) as b:
        regs, sregs = b.vcpu.get_regs(), b.vcpu.get_sregs()
        assert sregs.mode.value.startswith(mode)
        b.vcpu.set_sregs(sregs)
        b.vcpu.set_regs(regs._replace(rax=0x1234, r15=(1 << 64) - 1 if mode == "long" else 0))
        assert b.vcpu.get_sregs() == sregs
        assert b.vcpu.get_regs().rax == 0x1234


@needs_kvm
@pytest.mark.parametrize("mode", MODES)
def test_the_default_guests_system_registers_are_taken_as_they_are(mode: str) -> None:
    with KvmBench("nop", mode) as b, Bench("nop", mode) as embedded:
        ours, theirs = b.vcpu.get_sregs(), embedded.vcpu.get_sregs()
        assert (ours.cs, ours.ss, ours.gdt, ours.idt) == (
            theirs.cs,
            theirs.ss,
            theirs.gdt,
            theirs.idt,
        )
        assert (ours.cr0, ours.cr3, ours.cr4, ours.efer) == (
            theirs.cr0,
            theirs.cr3,
            theirs.cr4,
            theirs.efer,
        )


@needs_kvm
def test_segments_are_marked_accessed_and_the_tss_busy() -> None:
    with KvmBench("nop") as b:
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(ds=sregs.ds._replace(type=2), tr=sregs.tr._replace(type=9)))
        assert (b.vcpu.get_sregs().ds.type, b.vcpu.get_sregs().tr.type) == (3, 11)


@needs_kvm
def test_system_registers_that_contradict_each_other_are_einval() -> None:
    with KvmBench("nop") as b, pytest.raises(IoctlError) as refused:
        b.vcpu.set_sregs(b.vcpu.get_sregs()._replace(cr4=0))
    assert refused.value.errno == errno.EINVAL


@needs_kvm
def test_debug_registers_come_back_as_they_were_set() -> None:
    with KvmBench("nop") as b:
        assert b.vcpu.get_debugregs() == DebugRegs()
        registers = DebugRegs((1, 2, 3, 0xFFFF800000000000), 0xFFFF0FF1, 0x403)
        b.vcpu.set_debugregs(registers)
        assert b.vcpu.get_debugregs() == registers


@needs_kvm
@pytest.mark.parametrize(
    "registers", [DebugRegs(flags=1), DebugRegs(dr6=1 << 32), DebugRegs(dr7=1 << 40)]
)
def test_debug_registers_that_no_processor_has_are_einval(registers: DebugRegs) -> None:
    with KvmBench("nop") as b:
        with pytest.raises(IoctlError) as refused:
            b.vcpu.set_debugregs(registers)
        assert refused.value.errno == errno.EINVAL
        assert b.vcpu.get_debugregs() == DebugRegs()


@needs_kvm
def test_a_second_injection_is_ebusy() -> None:
    with KvmBench("nop") as b:
        b.sgd(E | ID)
        with pytest.raises(IoctlError, match="KVM_SET_GUEST_DEBUG: EBUSY: an exception is already"):
            b.sgd(E | ID)


@needs_kvm
def test_events_show_a_queued_injection_and_set_regs_drops_it() -> None:
    with KvmBench("nop") as b:
        b.sgd(E | ID)
        assert b.vcpu.get_vcpu_events() == VcpuEvents(
            exception_injected=1, exception_nr=1, exception_pending=1
        )
        b.set(rax=1)
        assert b.vcpu.get_vcpu_events().exception_pending == 0


@needs_kvm
def test_events_come_back_as_they_were_set() -> None:
    with KvmBench("nop") as b:
        events = VcpuEvents(
            exception_injected=1, exception_nr=13, exception_has_error_code=1, nmi_masked=1
        )._replace(exception_error_code=0x18)
        b.vcpu.set_vcpu_events(events)
        assert b.vcpu.get_vcpu_events() == events


@needs_kvm
def test_an_exception_above_31_is_einval() -> None:
    with KvmBench("nop") as b, pytest.raises(IoctlError, match="EINVAL: exception_nr"):
        b.vcpu.set_vcpu_events(VcpuEvents(exception_injected=1, exception_nr=32))


# Snapshots


@needs_kvm
def test_a_snapshot_brings_back_the_whole_machine() -> None:
    with KvmBench("mov eax, 1\nmov [0x9000], eax\nmov eax, 2\nmov [0x9000], eax\nhlt") as b:
        for _ in range(2):
            b.run(E | S)
        b.vcpu.set_debugregs(DebugRegs((7, 0, 0, 0)))
        saved = b.vcpu.snapshot()
        before = b.vcpu.get_regs(), b.vcpu.get_sregs(), b.vcpu.get_debugregs(), bytes(b.vcpu.ram)
        b.sgd(0)
        assert b.run() == HltExit()
        b.vcpu.set_debugregs(DebugRegs())
        b.vcpu.restore(saved)
        after = b.vcpu.get_regs(), b.vcpu.get_sregs(), b.vcpu.get_debugregs(), bytes(b.vcpu.ram)
        assert after == before
        assert b.vcpu.snapshot() == saved


@needs_kvm
def test_a_restored_machine_still_steps_if_it_was_stepped() -> None:
    with KvmBench("nop\nnext: nop\nhlt") as b:
        b.sgd(E | S)
        saved = b.vcpu.snapshot()
        b.sgd(0)
        b.vcpu.restore(saved)
        exit = b.run()
        assert getattr(exit, "pc", None) == b["next"]


@needs_kvm
def test_an_access_under_way_is_forgotten_by_a_restore() -> None:
    with KvmBench("nop\nhere: in al, 0x60\nhlt") as b:
        start = b.vcpu.snapshot()
        assert b.run() == IoExit("in", 0x60, 1, b"\0")
        b.vcpu.restore(start)
        assert b.reg("rip") == b["here"] - 1
        assert b.run() == IoExit("in", 0x60, 1, b"\0")


@needs_kvm
def test_a_snapshot_of_another_engine_is_refused() -> None:
    with KvmBench("nop") as b, Bench("nop") as embedded, pytest.raises(BadInput):
        b.vcpu.restore(embedded.vcpu.snapshot())


@needs_kvm
def test_a_second_thread_may_not_touch_a_running_vm() -> None:
    with KvmBench("again: jmp again") as b:
        entered = threading.Event()

        def run() -> None:
            entered.set()
            b.vcpu.run(timeout=10)

        runner = threading.Thread(target=run)
        runner.start()
        entered.wait(5)
        refused = 0
        while not refused and runner.is_alive():
            try:
                b.vcpu.get_regs()
            except VmBusy:
                refused += 1
        for use in (b.vcpu.get_sregs, b.vcpu.snapshot, b.vcpu.close, b.vcpu.run):
            with pytest.raises(VmBusy):
                use()
        b.vcpu.request_stop()
        runner.join(5)
        assert not runner.is_alive()


def test_a_segment_that_is_unusable_is_left_alone() -> None:
    pytest.importorskip("fcntl", reason="the values' door is beside the ioctls, which need fcntl")
    from kvmdbg.engines.kvm.values import enterable, pack_sregs, sregs_of
    from kvmdbg.x86.registers import Sregs

    sregs = Sregs(ds=Segment(unusable=1), gdt=DescriptorTable(0x500, 0x57))
    assert enterable(sregs) == sregs
    assert sregs_of(pack_sregs(sregs)) == sregs


# What the engine itself does not use yet


@needs_kvm
def test_the_dirty_log_names_the_pages_that_the_guest_wrote() -> None:
    with KvmBench("mov [0x9000], al\nmov [0x12345], al\nhlt", "protected") as b:
        vm = b.vcpu._vm  # type: ignore[attr-defined]
        vm.set_user_memory_region(log_dirty=True)
        vm.get_dirty_log()
        assert b.run() == HltExit()
        log = int.from_bytes(vm.get_dirty_log(), "little")
        assert (log >> 0x9 & 1, log >> 0x12 & 1, log >> 0x20 & 1) == (1, 1, 0)


@needs_kvm
def test_a_vm_can_have_interrupt_controllers_and_a_timer_in_the_kernel() -> None:
    from kvmdbg.engines.guestram import allocate
    from kvmdbg.engines.kvm.system import System
    from kvmdbg.engines.kvm.vcpu import Vcpu
    from kvmdbg.engines.kvm.vm import KvmVm

    with ExitStack() as stack, System() as system:
        vm = KvmVm(system, allocate(0x10000), stack, irqchip=True)
        vcpu = Vcpu(vm.fd, system.get_vcpu_mmap_size(), stack)
        with pytest.raises(IoctlError):  # an irqchip takes interrupts by other ways
            vcpu.interrupt(0x20)


@needs_kvm
def test_the_fpu_comes_back_as_it_was_set() -> None:
    with KvmBench("nop") as b:
        vcpu = b.vcpu._vcpu  # type: ignore[attr-defined]
        fpu = bytearray(vcpu.get_fpu())
        fpu[160:176] = bytes(range(16))  # XMM0's upper half and XMM1's lower one
        vcpu.set_fpu(bytes(fpu))
        assert vcpu.get_fpu()[160:176] == bytes(range(16))


@needs_kvm
def test_a_snapshot_holds_the_fpu_and_the_model_specific_registers() -> None:
    with KvmBench("nop") as b:
        vcpu = b.vcpu._vcpu  # type: ignore[attr-defined]
        lstar = 0xC0000082
        vcpu.set_msrs({lstar: 0x1234})
        saved, xsave = b.vcpu.snapshot(), bytearray(vcpu.get_xsave())
        vcpu.set_msrs({lstar: 0})
        xsave[160:176], xsave[512] = b"\x55" * 16, xsave[512] | 2  # XMM0; XSTATE_BV.SSE
        vcpu.set_xsave(bytes(xsave))
        assert vcpu.get_xsave()[160:176] == b"\x55" * 16
        b.vcpu.restore(saved)
        assert vcpu.get_msrs((lstar,)) == {lstar: 0x1234}
        assert vcpu.get_xsave()[160:176] == bytes(16)
