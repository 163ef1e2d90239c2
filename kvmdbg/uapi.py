"""linux/kvm.h in Python: numbers, ioctl codes, structures, and the guest-debug flags.

Sizes and offsets are those of the x86-64 kernel ABI (spec 1.1-1.6); the tests check each one.
Must not know: which engine uses them. A struct is only a layout; values live in x86/registers.py.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum, IntFlag
from typing import ClassVar

u8, u16, u32, u64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64


class GuestDbg(IntFlag):
    """``kvm_guest_debug.control`` (KVM_GUESTDBG_*, spec 1.2)."""

    ENABLE = 0x0000_0001
    SINGLESTEP = 0x0000_0002
    USE_SW_BP = 0x0001_0000
    USE_HW_BP = 0x0002_0000
    INJECT_DB = 0x0004_0000
    INJECT_BP = 0x0008_0000
    BLOCKIRQ = 0x0010_0000


KVM_GUESTDBG_VALID_MASK = 0x001F_0003
"""What KVM_CHECK_EXTENSION(KVM_CAP_SET_GUEST_DEBUG2) returns on x86."""

KVM_API_VERSION = 12
KVMIO = 0xAE


class Cap(IntEnum):
    """``KVM_CAP_*`` numbers (spec 1.4)."""

    SET_GUEST_DEBUG = 23
    VCPU_EVENTS = 41
    DEBUGREGS = 50
    X86_ROBUST_SINGLESTEP = 51
    SYNC_REGS = 74
    EXCEPTION_PAYLOAD = 164
    SET_GUEST_DEBUG2 = 195


class kvm_guest_debug(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_guest_debug``, 72 bytes."""

    _fields_: ClassVar = [("control", u32), ("pad", u32), ("debugreg", u64 * 8)]


class kvm_debug_exit_arch(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_debug_exit_arch``, 32 bytes, at offset 32 of ``struct kvm_run``."""

    _fields_: ClassVar = [
        ("exception", u32),
        ("pad", u32),
        ("pc", u64),
        ("dr6", u64),
        ("dr7", u64),
    ]


class kvm_debugregs(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_debugregs``, 128 bytes."""

    _fields_: ClassVar = [
        ("db", u64 * 4),
        ("dr6", u64),
        ("dr7", u64),
        ("flags", u64),
        ("reserved", u64 * 9),
    ]


class kvm_regs(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_regs``, 144 bytes, in the field order of ``Regs``."""

    _fields_: ClassVar = [
        (name, u64)
        for name in (
            *("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp"),
            *("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"),
            *("rip", "rflags"),
        )
    ]


class kvm_segment(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_segment``, 24 bytes."""

    _fields_: ClassVar = [
        ("base", u64),
        ("limit", u32),
        ("selector", u16),
        *((name, u8) for name in ("type", "present", "dpl", "db", "s", "l", "g", "avl")),
        ("unusable", u8),
        ("padding", u8),
    ]


class kvm_dtable(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_dtable``, 16 bytes."""

    _fields_: ClassVar = [("base", u64), ("limit", u16), ("padding", u16 * 3)]


class kvm_sregs(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_sregs``, 312 bytes."""

    _fields_: ClassVar = [
        *((name, kvm_segment) for name in ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")),
        ("gdt", kvm_dtable),
        ("idt", kvm_dtable),
        *((name, u64) for name in ("cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base")),
        ("interrupt_bitmap", u64 * 4),
    ]


class kvm_vcpu_events(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_vcpu_events``, 64 bytes."""

    class _Exception(ctypes.Structure):
        _fields_: ClassVar = [
            *((name, u8) for name in ("injected", "nr", "has_error_code", "pending")),
            ("error_code", u32),
        ]

    class _Interrupt(ctypes.Structure):
        _fields_: ClassVar = [(name, u8) for name in ("injected", "nr", "soft", "shadow")]

    class _Nmi(ctypes.Structure):
        _fields_: ClassVar = [(name, u8) for name in ("injected", "pending", "masked", "pad")]

    class _Smi(ctypes.Structure):
        _fields_: ClassVar = [
            (name, u8) for name in ("smm", "pending", "smm_inside_nmi", "latched_init")
        ]

    _fields_: ClassVar = [
        ("exception", _Exception),
        ("interrupt", _Interrupt),
        ("nmi", _Nmi),
        ("sipi_vector", u32),
        ("flags", u32),
        ("smi", _Smi),
        ("triple_fault_pending", u8),
        ("reserved", u8 * 26),
        ("exception_has_payload", u8),
        ("exception_payload", u64),
    ]


class kvm_userspace_memory_region(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_userspace_memory_region``, 32 bytes."""

    _fields_: ClassVar = [
        ("slot", u32),
        ("flags", u32),
        ("guest_phys_addr", u64),
        ("memory_size", u64),
        ("userspace_addr", u64),
    ]


class kvm_interrupt(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_interrupt``, 4 bytes."""

    _fields_: ClassVar = [("irq", u32)]


KVM_RUN_EXIT_REASON_OFFSET = 8
"""Offset of ``exit_reason`` (u32) in ``struct kvm_run``."""

KVM_RUN_UNION_OFFSET = 32
"""Offset of the exit's own data in ``struct kvm_run``."""

_NONE, _WRITE, _READ = 0, 1, 2


def _ioc(direction: int, number: int, struct: type[ctypes.Structure] | None) -> int:
    """asm-generic/ioctl.h ``_IOC`` with type KVMIO: direction 2 | size 14 | type 8 | number 8."""
    size = ctypes.sizeof(struct) if struct else 0
    return direction << 30 | size << 16 | KVMIO << 8 | number


class Ioctl(IntEnum):
    """Request codes of the KVM ioctls (spec 1.3)."""

    KVM_GET_API_VERSION = _ioc(_NONE, 0x00, None)
    KVM_CREATE_VM = _ioc(_NONE, 0x01, None)
    KVM_CHECK_EXTENSION = _ioc(_NONE, 0x03, None)
    KVM_GET_VCPU_MMAP_SIZE = _ioc(_NONE, 0x04, None)
    KVM_CREATE_VCPU = _ioc(_NONE, 0x41, None)
    KVM_SET_USER_MEMORY_REGION = _ioc(_WRITE, 0x46, kvm_userspace_memory_region)
    KVM_RUN = _ioc(_NONE, 0x80, None)
    KVM_GET_REGS = _ioc(_READ, 0x81, kvm_regs)
    KVM_SET_REGS = _ioc(_WRITE, 0x82, kvm_regs)
    KVM_GET_SREGS = _ioc(_READ, 0x83, kvm_sregs)
    KVM_SET_SREGS = _ioc(_WRITE, 0x84, kvm_sregs)
    KVM_INTERRUPT = _ioc(_WRITE, 0x86, kvm_interrupt)
    KVM_NMI = _ioc(_NONE, 0x9A, None)
    KVM_SET_GUEST_DEBUG = _ioc(_WRITE, 0x9B, kvm_guest_debug)
    KVM_GET_VCPU_EVENTS = _ioc(_READ, 0x9F, kvm_vcpu_events)
    KVM_SET_VCPU_EVENTS = _ioc(_WRITE, 0xA0, kvm_vcpu_events)
    KVM_GET_DEBUGREGS = _ioc(_READ, 0xA1, kvm_debugregs)
    KVM_SET_DEBUGREGS = _ioc(_WRITE, 0xA2, kvm_debugregs)
