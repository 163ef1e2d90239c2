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


class MpState(IntEnum):
    """``struct kvm_mp_state`` on x86."""

    RUNNABLE = 0
    UNINITIALIZED = 1
    INIT_RECEIVED = 2
    HALTED = 3
    SIPI_RECEIVED = 4


class Cap(IntEnum):
    """``KVM_CAP_*`` numbers (spec 1.4)."""

    IRQCHIP = 0
    USER_MEMORY = 3
    SET_TSS_ADDR = 4
    EXT_CPUID = 7
    USER_NMI = 22
    SET_GUEST_DEBUG = 23
    PIT2 = 33
    VCPU_EVENTS = 41
    DEBUGREGS = 50
    X86_ROBUST_SINGLESTEP = 51
    XSAVE = 55
    XCRS = 56
    SYNC_REGS = 74
    IMMEDIATE_EXIT = 136
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


class kvm_irq_level(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_irq_level``, 8 bytes."""

    _fields_: ClassVar = [("irq", u32), ("level", u32)]


class kvm_irqchip(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_irqchip``, 520 bytes; ``chip_id`` 0 and 1 are the PICs, 2 the I/O APIC."""

    _fields_: ClassVar = [("chip_id", u32), ("pad", u32), ("chip", u8 * 512)]


def _opaque(name: str, size: int) -> type[ctypes.Structure]:
    """A structure that is only handed back."""
    return type(name, (ctypes.Structure,), {"_fields_": [("opaque", u8 * size)]})


kvm_lapic_state = _opaque("kvm_lapic_state", 1024)
kvm_pit_state2 = _opaque("kvm_pit_state2", 112)
kvm_mp_state = _opaque("kvm_mp_state", 4)


class kvm_signal_mask(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_signal_mask``, 4 bytes; the signal set of ``len`` bytes (8) follows."""

    _fields_: ClassVar = [("len", u32)]


class kvm_enable_cap(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_enable_cap``, 104 bytes."""

    _fields_: ClassVar = [("cap", u32), ("flags", u32), ("args", u64 * 4), ("pad", u8 * 64)]


class kvm_dirty_log(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_dirty_log``, 16 bytes; ``dirty_bitmap`` is a user-space address."""

    _fields_: ClassVar = [("slot", u32), ("padding1", u32), ("dirty_bitmap", u64)]


class kvm_pit_config(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_pit_config``, 64 bytes."""

    _fields_: ClassVar = [("flags", u32), ("pad", u32 * 15)]


class kvm_cpuid2(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_cpuid2``, 8 bytes; ``nent`` entries of 40 bytes follow."""

    _fields_: ClassVar = [("nent", u32), ("padding", u32)]


class kvm_cpuid_entry2(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_cpuid_entry2``, 40 bytes."""

    _fields_: ClassVar = [
        *((name, u32) for name in ("function", "index", "flags", "eax", "ebx", "ecx", "edx")),
        ("padding", u32 * 3),
    ]


class kvm_msrs(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_msrs``, 8 bytes; ``nmsrs`` entries of 16 bytes follow."""

    _fields_: ClassVar = [("nmsrs", u32), ("pad", u32)]


class kvm_msr_entry(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_msr_entry``, 16 bytes."""

    _fields_: ClassVar = [("index", u32), ("reserved", u32), ("data", u64)]


class kvm_fpu(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_fpu``, 416 bytes."""

    _fields_: ClassVar = [
        ("fpr", u8 * 16 * 8),
        ("fcw", u16),
        ("fsw", u16),
        ("ftwx", u8),
        ("pad1", u8),
        ("last_opcode", u16),
        ("last_ip", u64),
        ("last_dp", u64),
        ("xmm", u8 * 16 * 16),
        ("mxcsr", u32),
        ("pad2", u32),
    ]


class kvm_xsave(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_xsave``, 4096 bytes: the processor's XSAVE area, uncompacted."""

    _fields_: ClassVar = [("region", u32 * 1024)]


class kvm_xcrs(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_xcrs``, 392 bytes."""

    class _Xcr(ctypes.Structure):
        _fields_: ClassVar = [("xcr", u32), ("reserved", u32), ("value", u64)]

    _fields_: ClassVar = [
        ("nr_xcrs", u32),
        ("flags", u32),
        ("xcrs", _Xcr * 16),
        ("padding", u64 * 16),
    ]


class kvm_sync_regs(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_sync_regs``, 520 bytes, at the end of ``struct kvm_run``."""

    _fields_: ClassVar = [("regs", kvm_regs), ("sregs", kvm_sregs), ("events", kvm_vcpu_events)]


KVM_SYNC_X86_REGS = 1
KVM_SYNC_X86_SREGS = 2
KVM_SYNC_X86_EVENTS = 4
KVM_VCPUEVENT_VALID_PAYLOAD = 0x10
KVM_MEM_LOG_DIRTY_PAGES = 1
KVM_INTERNAL_ERROR_EMULATION = 1
KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES = 1


class kvm_run(ctypes.Structure):  # noqa: N801 - the kernel's name
    """``struct kvm_run``, 2352 bytes: what a vCPU and its host share (mmap of the vCPU's fd)."""

    class _Exit(ctypes.Union):
        class _Io(ctypes.Structure):
            _fields_: ClassVar = [
                ("direction", u8),
                ("size", u8),
                ("port", u16),
                ("count", u32),
                ("data_offset", u64),
            ]

        class _Mmio(ctypes.Structure):
            _fields_: ClassVar = [
                ("phys_addr", u64),
                ("data", u8 * 8),
                ("len", u32),
                ("is_write", u8),
            ]

        class _FailEntry(ctypes.Structure):
            _fields_: ClassVar = [("hardware_entry_failure_reason", u64), ("cpu", u32)]

        class _Internal(ctypes.Structure):
            _fields_: ClassVar = [("suberror", u32), ("ndata", u32), ("data", u64 * 16)]

        class _EmulationFailure(ctypes.Structure):
            _fields_: ClassVar = [
                ("suberror", u32),
                ("ndata", u32),
                ("flags", u64),
                ("insn_size", u8),
                ("insn_bytes", u8 * 15),
            ]

        _fields_: ClassVar = [
            ("debug", kvm_debug_exit_arch),
            ("io", _Io),
            ("mmio", _Mmio),
            ("fail_entry", _FailEntry),
            ("internal", _Internal),
            ("emulation_failure", _EmulationFailure),
            ("padding", u8 * 256),
        ]

    class _Sync(ctypes.Union):
        _fields_: ClassVar = [("regs", kvm_sync_regs), ("padding", u8 * 2048)]

    _fields_: ClassVar = [
        ("request_interrupt_window", u8),
        ("immediate_exit", u8),
        ("padding1", u8 * 6),
        ("exit_reason", u32),
        ("ready_for_interrupt_injection", u8),
        ("if_flag", u8),
        ("flags", u16),
        ("cr8", u64),
        ("apic_base", u64),
        ("exit", _Exit),
        ("kvm_valid_regs", u64),
        ("kvm_dirty_regs", u64),
        ("s", _Sync),
    ]


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
    KVM_GET_SUPPORTED_CPUID = _ioc(_READ | _WRITE, 0x05, kvm_cpuid2)
    KVM_CREATE_VCPU = _ioc(_NONE, 0x41, None)
    KVM_GET_DIRTY_LOG = _ioc(_WRITE, 0x42, kvm_dirty_log)
    KVM_SET_USER_MEMORY_REGION = _ioc(_WRITE, 0x46, kvm_userspace_memory_region)
    KVM_SET_TSS_ADDR = _ioc(_NONE, 0x47, None)
    KVM_CREATE_IRQCHIP = _ioc(_NONE, 0x60, None)
    KVM_IRQ_LINE = _ioc(_WRITE, 0x61, kvm_irq_level)
    KVM_GET_IRQCHIP = _ioc(_READ | _WRITE, 0x62, kvm_irqchip)
    KVM_SET_IRQCHIP = _ioc(_READ, 0x63, kvm_irqchip)
    KVM_CREATE_PIT2 = _ioc(_WRITE, 0x77, kvm_pit_config)
    KVM_RUN = _ioc(_NONE, 0x80, None)
    KVM_GET_REGS = _ioc(_READ, 0x81, kvm_regs)
    KVM_SET_REGS = _ioc(_WRITE, 0x82, kvm_regs)
    KVM_GET_SREGS = _ioc(_READ, 0x83, kvm_sregs)
    KVM_SET_SREGS = _ioc(_WRITE, 0x84, kvm_sregs)
    KVM_INTERRUPT = _ioc(_WRITE, 0x86, kvm_interrupt)
    KVM_GET_MSRS = _ioc(_READ | _WRITE, 0x88, kvm_msrs)
    KVM_SET_MSRS = _ioc(_WRITE, 0x89, kvm_msrs)
    KVM_SET_SIGNAL_MASK = _ioc(_WRITE, 0x8B, kvm_signal_mask)
    KVM_GET_FPU = _ioc(_READ, 0x8C, kvm_fpu)
    KVM_SET_FPU = _ioc(_WRITE, 0x8D, kvm_fpu)
    KVM_GET_LAPIC = _ioc(_READ, 0x8E, kvm_lapic_state)
    KVM_SET_LAPIC = _ioc(_WRITE, 0x8F, kvm_lapic_state)
    KVM_SET_CPUID2 = _ioc(_WRITE, 0x90, kvm_cpuid2)
    KVM_GET_MP_STATE = _ioc(_READ, 0x98, kvm_mp_state)
    KVM_SET_MP_STATE = _ioc(_WRITE, 0x99, kvm_mp_state)
    KVM_NMI = _ioc(_NONE, 0x9A, None)
    KVM_SET_GUEST_DEBUG = _ioc(_WRITE, 0x9B, kvm_guest_debug)
    KVM_GET_PIT2 = _ioc(_READ, 0x9F, kvm_pit_state2)
    KVM_SET_PIT2 = _ioc(_WRITE, 0xA0, kvm_pit_state2)
    KVM_GET_VCPU_EVENTS = _ioc(_READ, 0x9F, kvm_vcpu_events)
    KVM_SET_VCPU_EVENTS = _ioc(_WRITE, 0xA0, kvm_vcpu_events)
    KVM_GET_DEBUGREGS = _ioc(_READ, 0xA1, kvm_debugregs)
    KVM_SET_DEBUGREGS = _ioc(_WRITE, 0xA2, kvm_debugregs)
    KVM_ENABLE_CAP = _ioc(_WRITE, 0xA3, kvm_enable_cap)
    KVM_GET_XSAVE = _ioc(_READ, 0xA4, kvm_xsave)
    KVM_SET_XSAVE = _ioc(_WRITE, 0xA5, kvm_xsave)
    KVM_GET_XCRS = _ioc(_READ, 0xA6, kvm_xcrs)
    KVM_SET_XCRS = _ioc(_WRITE, 0xA7, kvm_xcrs)
