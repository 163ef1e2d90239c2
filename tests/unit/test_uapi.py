"""linux/kvm.h in Python has the kernel's sizes, offsets and numbers."""

from __future__ import annotations

import ctypes

import pytest

from kvmdbg import uapi
from kvmdbg.exits import ExitReason
from kvmdbg.uapi import GuestDbg, Ioctl
from kvmdbg.x86.registers import Regs


@pytest.mark.parametrize(
    ("struct", "size"),
    [
        (uapi.kvm_guest_debug, 72),
        (uapi.kvm_debug_exit_arch, 32),
        (uapi.kvm_debugregs, 128),
        (uapi.kvm_regs, 144),
        (uapi.kvm_segment, 24),
        (uapi.kvm_dtable, 16),
        (uapi.kvm_sregs, 312),
        (uapi.kvm_vcpu_events, 64),
        (uapi.kvm_userspace_memory_region, 32),
        (uapi.kvm_interrupt, 4),
        (uapi.kvm_irq_level, 8),
        (uapi.kvm_irqchip, 520),
        (uapi.kvm_lapic_state, 1024),
        (uapi.kvm_pit_state2, 112),
        (uapi.kvm_mp_state, 4),
        (uapi.kvm_signal_mask, 4),
        (uapi.kvm_enable_cap, 104),
        (uapi.kvm_dirty_log, 16),
        (uapi.kvm_pit_config, 64),
        (uapi.kvm_cpuid2, 8),
        (uapi.kvm_cpuid_entry2, 40),
        (uapi.kvm_msrs, 8),
        (uapi.kvm_msr_entry, 16),
        (uapi.kvm_fpu, 416),
        (uapi.kvm_xsave, 4096),
        (uapi.kvm_xcrs, 392),
        (uapi.kvm_sync_regs, 520),
        (uapi.kvm_run, 2352),
    ],
)
def test_a_struct_has_the_kernels_size(struct: type[ctypes.Structure], size: int) -> None:
    assert ctypes.sizeof(struct) == size


@pytest.mark.parametrize(
    ("struct", "field", "offset"),
    [
        (uapi.kvm_guest_debug, "debugreg", 8),
        (uapi.kvm_debug_exit_arch, "pc", 8),
        (uapi.kvm_debug_exit_arch, "dr6", 16),
        (uapi.kvm_debug_exit_arch, "dr7", 24),
        (uapi.kvm_debugregs, "dr6", 32),
        (uapi.kvm_debugregs, "dr7", 40),
        (uapi.kvm_debugregs, "flags", 48),
        (uapi.kvm_debugregs, "reserved", 56),
        (uapi.kvm_vcpu_events, "interrupt", 8),
        (uapi.kvm_vcpu_events, "nmi", 12),
        (uapi.kvm_vcpu_events, "flags", 20),
        (uapi.kvm_vcpu_events, "exception_has_payload", 55),
        (uapi.kvm_vcpu_events, "exception_payload", 56),
        (uapi.kvm_enable_cap, "args", 8),
        (uapi.kvm_fpu, "fcw", 128),
        (uapi.kvm_fpu, "xmm", 152),
        (uapi.kvm_fpu, "mxcsr", 408),
        (uapi.kvm_xcrs, "xcrs", 8),
        (uapi.kvm_sync_regs, "sregs", 144),
        (uapi.kvm_sync_regs, "events", 456),
        (uapi.kvm_run, "immediate_exit", 1),
        (uapi.kvm_run, "exit_reason", uapi.KVM_RUN_EXIT_REASON_OFFSET),
        (uapi.kvm_run, "ready_for_interrupt_injection", 12),
        (uapi.kvm_run, "exit", uapi.KVM_RUN_UNION_OFFSET),
        (uapi.kvm_run, "kvm_valid_regs", 288),
        (uapi.kvm_run, "kvm_dirty_regs", 296),
        (uapi.kvm_run, "s", 304),
        (uapi.kvm_run._Exit._Io, "data_offset", 8),
        (uapi.kvm_run._Exit._Mmio, "data", 8),
        (uapi.kvm_run._Exit._Mmio, "is_write", 20),
        (uapi.kvm_run._Exit._Internal, "data", 8),
        (uapi.kvm_run._Exit._EmulationFailure, "insn_size", 16),
    ],
)
def test_a_field_lies_where_the_kernel_puts_it(
    struct: type[ctypes.Structure], field: str, offset: int
) -> None:
    assert getattr(struct, field).offset == offset


@pytest.mark.parametrize(
    ("ioctl", "code"),
    [
        (Ioctl.KVM_SET_GUEST_DEBUG, 0x4048AE9B),
        (Ioctl.KVM_GET_DEBUGREGS, 0x8080AEA1),
        (Ioctl.KVM_SET_DEBUGREGS, 0x4080AEA2),
        (Ioctl.KVM_GET_REGS, 0x8090AE81),
        (Ioctl.KVM_SET_REGS, 0x4090AE82),
        (Ioctl.KVM_GET_SREGS, 0x8138AE83),
        (Ioctl.KVM_SET_SREGS, 0x4138AE84),
        (Ioctl.KVM_GET_VCPU_EVENTS, 0x8040AE9F),
        (Ioctl.KVM_SET_VCPU_EVENTS, 0x4040AEA0),
        (Ioctl.KVM_RUN, 0xAE80),
        (Ioctl.KVM_CREATE_VM, 0xAE01),
        (Ioctl.KVM_CREATE_VCPU, 0xAE41),
        (Ioctl.KVM_CHECK_EXTENSION, 0xAE03),
        (Ioctl.KVM_GET_VCPU_MMAP_SIZE, 0xAE04),
        (Ioctl.KVM_SET_USER_MEMORY_REGION, 0x4020AE46),
        (Ioctl.KVM_INTERRUPT, 0x4004AE86),
        (Ioctl.KVM_NMI, 0xAE9A),
        (Ioctl.KVM_GET_SUPPORTED_CPUID, 0xC008AE05),
        (Ioctl.KVM_GET_DIRTY_LOG, 0x4010AE42),
        (Ioctl.KVM_SET_TSS_ADDR, 0xAE47),
        (Ioctl.KVM_CREATE_IRQCHIP, 0xAE60),
        (Ioctl.KVM_IRQ_LINE, 0x4008AE61),
        (Ioctl.KVM_GET_IRQCHIP, 0xC208AE62),
        (Ioctl.KVM_SET_IRQCHIP, 0x8208AE63),
        (Ioctl.KVM_GET_LAPIC, 0x8400AE8E),
        (Ioctl.KVM_SET_LAPIC, 0x4400AE8F),
        (Ioctl.KVM_GET_PIT2, 0x8070AE9F),
        (Ioctl.KVM_SET_PIT2, 0x4070AEA0),
        (Ioctl.KVM_GET_MP_STATE, 0x8004AE98),
        (Ioctl.KVM_SET_MP_STATE, 0x4004AE99),
        (Ioctl.KVM_CREATE_PIT2, 0x4040AE77),
        (Ioctl.KVM_GET_MSRS, 0xC008AE88),
        (Ioctl.KVM_SET_MSRS, 0x4008AE89),
        (Ioctl.KVM_SET_SIGNAL_MASK, 0x4004AE8B),
        (Ioctl.KVM_GET_FPU, 0x81A0AE8C),
        (Ioctl.KVM_SET_FPU, 0x41A0AE8D),
        (Ioctl.KVM_SET_CPUID2, 0x4008AE90),
        (Ioctl.KVM_ENABLE_CAP, 0x4068AEA3),
        (Ioctl.KVM_GET_XSAVE, 0x9000AEA4),
        (Ioctl.KVM_SET_XSAVE, 0x5000AEA5),
        (Ioctl.KVM_GET_XCRS, 0x8188AEA6),
        (Ioctl.KVM_SET_XCRS, 0x4188AEA7),
    ],
)
def test_an_ioctl_has_the_kernels_code(ioctl: Ioctl, code: int) -> None:
    assert ioctl == code


def test_the_control_bits_together_are_the_mask_that_the_kernel_advertises() -> None:
    together = 0
    for flag in GuestDbg:
        together |= flag
    assert together == uapi.KVM_GUESTDBG_VALID_MASK == 2031619


def test_regs_has_the_fields_of_kvm_regs_in_their_order() -> None:
    assert list(Regs._fields) == [name for name, _ in uapi.kvm_regs._fields_]


def test_exit_reasons_have_the_kernels_numbers() -> None:
    named = {reason.name: reason.value for reason in ExitReason}
    assert named["IO"] == 2
    assert named["DEBUG"] == 4
    assert named["HLT"] == 5
    assert named["MMIO"] == 6
    assert named["SHUTDOWN"] == 8
    assert named["FAIL_ENTRY"] == 9
    assert named["INTR"] == 10
    assert named["INTERNAL_ERROR"] == 17
