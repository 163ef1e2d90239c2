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
