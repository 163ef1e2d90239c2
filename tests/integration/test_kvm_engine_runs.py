"""The KVM engine running: steps, breakpoints, port and MMIO accesses, interrupts, every exit.

RIP at an exit is the backend's own (before or after an OUT), so these tests do not look at it.
What a host's KVM may not do is asked by its probed capabilities, and skipped with that reason.
"""

from __future__ import annotations

import errno
import os
import struct

import pytest

from kvmdbg.engines import Capability
from kvmdbg.errors import BadInput, IoctlError
from kvmdbg.exits import (
    DebugExit,
    ExitReason,
    FailEntryExit,
    HltExit,
    InternalErrorExit,
    IntrExit,
    IoExit,
    IrqWindowOpenExit,
    MmioExit,
    ShutdownExit,
    UnknownExit,
)
from kvmdbg.uapi import KVM_RUN_EXIT_REASON_OFFSET, KVM_RUN_UNION_OFFSET, MpState
from tests.guests.bench import BS, IB, ID, MODES, B, E, H, K, S, W
from tests.integration.test_kvm_engine import KvmBench, needs_kvm

pytestmark = needs_kvm


def need(b: KvmBench, capability: Capability) -> None:
    if capability not in b.vcpu.capabilities:
        pytest.skip(f"this host's KVM was probed and has no {capability.value}")


# Debugging


@pytest.mark.parametrize("mode", MODES)
def test_a_step_executes_one_instruction(mode: str) -> None:
    with KvmBench("nop\none: mov ax, 7\ntwo: nop\nhlt", mode) as b:
        assert b.run(E | S) == DebugExit(1, b["one"], BS, 0x400)
        assert b.reg("rax") & 0xFFFF == 0
        assert b.vcpu.run() == DebugExit(1, b["two"], BS, 0x400)
        assert b.reg("rax") & 0xFFFF == 7
        assert b.reg("rflags") & 0x100 == 0


def test_registers_are_right_after_each_of_a_thousand_steps() -> None:
    with KvmBench("again: inc rax\njmp again") as b:
        b.sgd(E | S)
        for count in range(1, 501):
            b.vcpu.run()
            assert b.reg("rax") == count
            b.vcpu.run()
            assert b.reg("rip") == b["again"]


@pytest.mark.parametrize("mode", MODES)
def test_an_execution_breakpoint_stops_before_its_instruction(mode: str) -> None:
    with KvmBench("nop\nhere: mov al, 5\nhlt", mode) as b:
        need(b, Capability.HW_EXEC)
        b.sgd(E | H, dr2=b["here"], dr7=0x420)
        assert b.run() == DebugExit(1, b["here"], B(2), 0x420)
        b.sgd(0)
        assert b.run() == HltExit()
        assert b.reg("rax") & 0xFF == 5


def test_a_planted_int3_is_the_hosts() -> None:
    with KvmBench("nop\nhere: int3\nhlt") as b:
        need(b, Capability.SW_BP)
        assert b.run(E | W) == DebugExit(3, b["here"])


def test_a_data_watchpoint_stops_after_the_store() -> None:
    with KvmBench("mov [0x9000], al\nafter: hlt") as b:
        need(b, Capability.HW_DATA)
        b.sgd(E | H, dr0=0x9000, dr7=0x10402)
        assert b.run() == DebugExit(1, b["after"], B(0), 0x10402)


@pytest.mark.parametrize(("flag", "vector"), [(ID, 1), (IB, 3)])
def test_an_injected_exception_reaches_the_guests_handler(flag: int, vector: int) -> None:
    with KvmBench("int3\nhlt\nhandler: mov ebx, 9\nhlt") as b:
        need(b, Capability.INJECT)
        b.gate(vector, "handler")
        assert b.run(E | flag) == HltExit()
        assert b.reg("rbx") == 9


def test_the_upper_half_of_dr7_is_cut_off() -> None:
    with KvmBench("nop\nhere: nop\nhlt") as b:
        need(b, Capability.HW_EXEC)
        b.sgd(E | H, dr0=b["here"], dr7=1 << 40 | 0x402)
        assert b.run() == DebugExit(1, b["here"], B(0), 0x402)


# Ports


@pytest.mark.parametrize("mode", MODES)
def test_out_reports_port_and_data(mode: str) -> None:
    with KvmBench("mov al, 0x41\nout 0xe9, al\nhlt", mode) as b:
        assert b.run() == IoExit("out", 0xE9, 1, b"A")
        assert b.run() == HltExit()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("instruction", "size"), [("in al, dx", 1), ("in ax, dx", 2), ("in eax, dx", 4)]
)
def test_in_takes_the_hosts_answer(mode: str, instruction: str, size: int) -> None:
    with KvmBench(f"mov dx, 0x3f8\n{instruction}\nhlt", mode) as b:
        assert b.run() == IoExit("in", 0x3F8, size, bytes(size))
        b.vcpu.complete_io(b"\x78\x56\x34\x12")
        assert b.run() == HltExit()
        assert b.reg("rax") & (1 << 8 * size) - 1 == 0x12345678 & (1 << 8 * size) - 1


def test_an_unanswered_in_reads_zeros_though_an_earlier_one_was_answered() -> None:
    with KvmBench("in eax, 0x60\nmov ebx, eax\nin eax, 0x60\nhlt") as b:
        b.run()
        b.vcpu.complete_io(b"\xff" * 4)
        assert b.run() == IoExit("in", 0x60, 4, bytes(4))
        assert b.run() == HltExit()
        assert (b.reg("rbx"), b.reg("rax")) == (0xFFFFFFFF, 0)


def test_a_rep_outsb_gives_one_exit_per_byte_in_order() -> None:
    with KvmBench("mov dx, 0x80\nmov esi, 0x9000\nmov ecx, 5\nrep outsb\nhlt") as b:
        b.vcpu.write_memory(0x9000, b"abcde")
        assert [b.run() for _ in range(5)] == [IoExit("out", 0x80, 1, bytes([c])) for c in b"abcde"]
        assert b.run() == HltExit()


@pytest.mark.parametrize(("instruction", "size"), [("insb", 1), ("insw", 2), ("insd", 4)])
def test_a_rep_ins_gives_one_exit_per_item_and_takes_each_answer(
    instruction: str, size: int
) -> None:
    with KvmBench(f"mov dx, 0x80\nmov edi, 0x9000\nmov ecx, 5\nrep {instruction}\nhlt") as b:
        for number in range(5):
            assert b.run() == IoExit("in", 0x80, size, bytes(size))
            b.vcpu.complete_io(bytes([number + 1]) * size)
        assert b.run() == HltExit()
        wanted = b"".join(bytes([number + 1]) * size for number in range(5))
        assert b.vcpu.read_memory(0x9000, 5 * size) == wanted


def test_complete_io_without_a_waiting_read_is_einval() -> None:
    with KvmBench("out 0x80, al\nhlt") as b:
        for _ in range(2):
            with pytest.raises(IoctlError) as refused:
                b.vcpu.complete_io(b"x")
            assert refused.value.errno == errno.EINVAL
            b.run()


@pytest.mark.parametrize("read", ["in eax, 0x60", "mov eax, [0x3f000000]"])
def test_a_read_is_forgotten_when_the_host_moves_rip(read: str) -> None:
    with KvmBench(f"mov eax, 7\n{read}\nhlt\nelsewhere: mov ebx, 1\nhlt") as b:
        b.run()
        b.set(rip=b["elsewhere"])
        assert b.run() == HltExit()
        assert (b.reg("rax"), b.reg("rbx"), b.reg("rip")) == (7, 1, b["elsewhere"] + 6)


def test_registers_that_the_host_changes_during_an_in_are_kept() -> None:
    with KvmBench("in al, 0x60\nhlt") as b:
        b.run()
        b.vcpu.complete_io(b"\x21")
        b.set(rbx=5)
        assert b.run() == HltExit()
        assert (b.reg("rax"), b.reg("rbx")) == (0x21, 5)


# MMIO


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_mmio_reads_and_writes_reach_the_host(mode: str) -> None:
    with KvmBench("mov ebx, 0x3f000000\nmov eax, [ebx]\nmov [ebx + 4], ax\nhlt", mode) as b:
        assert b.run() == MmioExit(0x3F000000, bytes(4), False)
        b.vcpu.complete_io(b"\1\2\3\4")
        assert b.run() == MmioExit(0x3F000004, b"\1\2", True)
        assert b.run() == HltExit()
        assert b.reg("rax") == 0x04030201


def test_an_unanswered_mmio_read_reads_zeros() -> None:
    with KvmBench("mov ebx, 0x3f000000\nmov rax, [rbx]\nmov rcx, [rbx]\nhlt") as b:
        b.run()
        b.vcpu.complete_io(b"\xff" * 8)
        assert b.run() == MmioExit(0x3F000000, bytes(8), False)
        b.run()
        assert (b.reg("rax"), b.reg("rcx")) == ((1 << 64) - 1, 0)


# A run of no instructions


def test_a_run_of_nothing_finishes_the_access_and_executes_nothing_else() -> None:
    with KvmBench("in al, 0x60\nafter: mov al, 9\nhlt") as b:
        b.run()
        b.vcpu.complete_io(b"\5")
        assert b.vcpu.run(0) == IntrExit("budget")
        assert (b.reg("rip"), b.reg("rax")) == (b["after"], 5)
        assert b.run() == HltExit()


def test_a_run_of_nothing_leaves_the_next_run_alone() -> None:
    with KvmBench("nop\nhlt") as b:
        assert b.vcpu.run(0) == IntrExit("budget")
        assert b.run() == HltExit()


@pytest.mark.parametrize("budget", [1, 100_000, -1])
def test_a_budget_of_instructions_is_refused_in_one_line(budget: int) -> None:
    with KvmBench("nop\nhlt") as b:
        with pytest.raises(BadInput, match="limit a run by timeout"):
            b.vcpu.run(max_instructions=budget)
        assert b.run() == HltExit()


# Interrupts


def test_an_interrupt_waits_until_the_guest_enables_them() -> None:
    text = """
        mov eax, 1
        cli
        mov ebx, 2
        out 0x80, al
        sti
        mov ecx, 5000
    again: dec ecx
        jnz again
        hlt
    handler: mov edx, 3
        hlt
    """
    with KvmBench(text) as b:
        b.gate(0x20, "handler")
        b.vcpu.interrupt(0x20)
        assert b.vcpu.get_vcpu_events().interrupt_nr == 0x20
        assert b.run() == IoExit("out", 0x80, 1, b"\1")
        assert b.run() == HltExit()
        assert b.reg("rdx") == 3
        assert b.vcpu.get_vcpu_events().interrupt_injected == 0


def test_blockirq_holds_an_interrupt_back() -> None:
    text = "sti\nmov ecx, 5000\nagain: dec ecx\njnz again\nhlt\nhandler: mov edx, 3\nhlt"
    with KvmBench(text) as b:
        b.gate(0x20, "handler")
        b.vcpu.interrupt(0x20)
        assert b.run(E | K) == HltExit()
        assert b.reg("rdx") == 0


def test_a_second_interrupt_is_eexist_and_a_vector_above_255_einval() -> None:
    with KvmBench("nop") as b:
        b.vcpu.interrupt(0x20)
        for vector, number in ((0x21, errno.EEXIST), (256, errno.EINVAL)):
            with pytest.raises(IoctlError) as refused:
                b.vcpu.interrupt(vector)
            assert refused.value.errno == number


def test_an_nmi_reaches_the_guest() -> None:
    with KvmBench("nop\nhlt\nhandler: mov edx, 3\nhlt") as b:
        b.gate(2, "handler")
        b.vcpu.nmi()
        assert b.run() == HltExit()
        assert b.reg("rdx") == 3


# Other exits


@pytest.mark.parametrize("mode", MODES)
def test_hlt_ends_the_run_after_it(mode: str) -> None:
    with KvmBench("hlt\nafter: nop", mode) as b:
        assert b.run() == HltExit()
        assert b.reg("rip") == b["after"]


def test_a_triple_fault_is_a_shutdown() -> None:
    with KvmBench("lidt [rip + none]\nud2\nnone: .quad 0, 0") as b:
        assert b.run() == ShutdownExit()


def decoded(reason: int, union: bytes = b"") -> object:
    """What an exit becomes that no guest makes at will, by its bytes in ``struct kvm_run``."""
    from kvmdbg.engines.kvm import decoding

    with KvmBench("nop") as b:
        kvm_run = b.vcpu._vcpu.kvm_run  # type: ignore[attr-defined]
        struct.pack_into("<I", kvm_run, KVM_RUN_EXIT_REASON_OFFSET, reason)
        kvm_run[KVM_RUN_UNION_OFFSET : KVM_RUN_UNION_OFFSET + len(union)] = union
        return decoding.decode(kvm_run, decoding.Accesses(kvm_run))


def test_an_emulation_failure_carries_the_instructions_bytes() -> None:
    union = struct.pack("<IIQB", 1, 3, 1, 2) + b"\x0f\x0b".ljust(15, b"\x90")
    exit = decoded(ExitReason.INTERNAL_ERROR, union)
    assert exit == InternalErrorExit(1, b"\x0f\x0b", "KVM cannot emulate this instruction")


def test_an_emulation_failure_without_bytes_says_so_by_having_none() -> None:
    exit = decoded(ExitReason.INTERNAL_ERROR, struct.pack("<IIQ", 1, 0, 1))
    assert exit == InternalErrorExit(1, b"", "KVM cannot emulate this instruction")


def test_a_refused_entry_carries_the_processors_reason() -> None:
    exit = decoded(ExitReason.FAIL_ENTRY, struct.pack("<Q", 0x80000021))
    assert isinstance(exit, FailEntryExit)
    assert exit.hardware_entry_failure_reason == 0x80000021


def test_a_reason_that_we_have_not_met_is_kept_by_its_number() -> None:
    assert decoded(24) == UnknownExit(24)


def test_the_items_of_one_exit_are_told_one_by_one() -> None:
    from kvmdbg.engines.kvm.decoding import Accesses

    with KvmBench("nop") as b:
        kvm_run = b.vcpu._vcpu.kvm_run  # type: ignore[attr-defined]
        accesses = Accesses(kvm_run)
        struct.pack_into("<BBHIQ", kvm_run, KVM_RUN_UNION_OFFSET, 1, 2, 0x80, 3, 0x1000)
        kvm_run[0x1000:0x1006] = b"aabbcc"
        exits = [accesses.io(), accesses.next(), accesses.next()]
        assert exits == [IoExit("out", 0x80, 2, data) for data in (b"aa", b"bb", b"cc")]
        assert not accesses.waiting


def test_an_interrupt_window_is_told_when_the_guest_opens_it() -> None:
    text = "cli\nout 0x80, al\nsti\nmov ecx, 5000\nagain: dec ecx\njnz again\nhlt"
    with KvmBench(text) as b:
        b.vcpu.request_interrupt_window()
        assert b.run() == IoExit("out", 0x80, 1, b"\0")
        assert b.run() == IrqWindowOpenExit()
        b.vcpu.request_interrupt_window(False)
        assert b.run() == HltExit()


# An irqchip in the kernel

PIC = """
    mov al, 0x11
    out 0x20, al
    mov al, 0x20
    out 0x21, al
    mov al, 4
    out 0x21, al
    mov al, 1
    out 0x21, al
    mov al, 0xfd
    out 0x21, al
    out 0x80, al
    sti
    hlt
    out 0x81, al
handler:
    mov edx, 3
    out 0x82, al
"""


def test_an_irq_line_wakes_a_guest_that_sleeps_in_hlt() -> None:
    with KvmBench(PIC) as b:
        b.gate(0x21, "handler")
        b.vcpu.create_irqchip()
        assert b.run() == IoExit("out", 0x80, 1, b"\xfd")
        assert b.run(timeout=0.05) == IntrExit("timeout")
        assert b.vcpu.get_mp_state() is MpState.HALTED
        b.vcpu.irq_line(1, True)
        assert b.run() == IoExit("out", 0x82, 1, b"\xfd")
        assert b.reg("rdx") == 3


def test_a_snapshot_holds_the_irqchip() -> None:
    with KvmBench(PIC) as b:
        b.gate(0x21, "handler")
        b.vcpu.create_irqchip()
        b.run()
        b.vcpu.irq_line(1, True)
        saved = b.vcpu.snapshot()
        for _ in range(2):
            assert b.run() == IoExit("out", 0x82, 1, b"\xfd")
            b.vcpu.restore(saved)


def test_an_irqchip_comes_to_a_guest_that_is_under_way() -> None:
    with KvmBench("mov eax, 7\nhere: nop\nhlt") as b:
        b.run(E | S)
        view, before = b.vcpu.ram, (b.vcpu.get_regs(), b.vcpu.get_sregs())
        b.vcpu.create_irqchip()
        assert (b.vcpu.get_regs(), b.vcpu.get_sregs()) == before
        b.vcpu.write_memory(0x9000, b"x")
        assert view[0x9000] == ord("x")
        assert b.vcpu.run() == DebugExit(1, b["here"] + 1, BS, 0x400)


def test_a_second_irqchip_is_eexist_and_a_line_without_one_enxio() -> None:
    with KvmBench("nop") as b:
        for line, number in ((1, errno.ENXIO), (16, errno.EINVAL)):
            with pytest.raises(IoctlError) as refused:
                b.vcpu.irq_line(line, True)
            assert refused.value.errno == number
        b.vcpu.create_irqchip()
        with pytest.raises(IoctlError, match="EEXIST"):
            b.vcpu.create_irqchip()
        with pytest.raises(IoctlError, match="ENXIO"):
            b.vcpu.interrupt(0x20)


def test_without_an_irqchip_a_vcpu_is_runnable_and_nothing_else() -> None:
    with KvmBench("nop\nhlt") as b:
        assert b.vcpu.get_mp_state() is MpState.RUNNABLE
        with pytest.raises(IoctlError, match="KVM_SET_MP_STATE: EINVAL: only RUNNABLE"):
            b.vcpu.set_mp_state(MpState.HALTED)
        b.vcpu.set_mp_state(MpState.RUNNABLE)
        assert b.run() == HltExit()


def test_a_vm_with_an_irqchip_leaves_no_file_behind() -> None:
    with KvmBench("nop") as b:
        before = len(os.listdir("/proc/self/fd"))
        b.vcpu.create_irqchip()
        assert len(os.listdir("/proc/self/fd")) == before
    assert len(os.listdir("/proc/self/fd")) < before
