"""One vCPU: its file descriptor, its ``struct kvm_run``, and one method per ioctl, named after it.

Structures go in and out as the kernel's bytes; values.py gives them meaning. Must not know: when
to call what.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from contextlib import ExitStack
from typing import Final

from ... import uapi
from ...uapi import Ioctl
from .ioctls import call, read


def _offset(structure: type[ctypes.Structure], field: str) -> int:
    offset: int = getattr(structure, field).offset
    return offset


def _size(structure: type[ctypes.Structure]) -> int:
    return ctypes.sizeof(structure)


# Places in struct kvm_run, in bytes.
WINDOW: Final = _offset(uapi.kvm_run, "request_interrupt_window")
IMMEDIATE_EXIT: Final = _offset(uapi.kvm_run, "immediate_exit")
READY: Final = _offset(uapi.kvm_run, "ready_for_interrupt_injection")
VALID_REGS: Final = _offset(uapi.kvm_run, "kvm_valid_regs")
SYNC_REGS: Final = _offset(uapi.kvm_run, "s")
SYNC_SREGS: Final = SYNC_REGS + _offset(uapi.kvm_sync_regs, "sregs")
REGS_SIZE: Final = _size(uapi.kvm_regs)
SREGS_SIZE: Final = _size(uapi.kvm_sregs)

_GUEST_DEBUG: Final = struct.Struct("<II8Q").pack
_ENTRY: Final = struct.Struct("<IIQ")
_BUSY = {errno.EBUSY: "an exception is already pending; run first"}
_DEBUGREGS = {errno.EINVAL: "flags must be 0, and dr6 and dr7 have no bits above 31"}
_MP_STATE = {errno.EINVAL: "only RUNNABLE without an irqchip; then HALTED and others too"}
_EVENTS = {errno.EINVAL: "exception_nr must be 0..31, or a flag is unknown to this kernel"}
_SREGS = {errno.EINVAL: "CR0, CR4, EFER and CS do not fit together, or have reserved bits"}


class Vcpu:
    """A vCPU; the stack that it is made in gives back what it holds."""

    def __init__(self, vm: int, mmap_size: int, stack: ExitStack) -> None:
        self.fd = call(vm, Ioctl.KVM_CREATE_VCPU)
        stack.callback(os.close, self.fd)
        self.kvm_run = mmap.mmap(self.fd, mmap_size, mmap.MAP_SHARED)
        stack.callback(self.kvm_run.close)
        self.words = memoryview(self.kvm_run).cast("Q")
        stack.callback(self.words.release)

    # -- registers ---------------------------------------------------------------------------------

    def get_regs(self) -> bytes:
        """KVM_GET_REGS."""
        return read(self.fd, Ioctl.KVM_GET_REGS, REGS_SIZE)

    def set_regs(self, regs: bytes) -> None:
        """KVM_SET_REGS."""
        call(self.fd, Ioctl.KVM_SET_REGS, regs)

    def get_sregs(self) -> bytes:
        """KVM_GET_SREGS."""
        return read(self.fd, Ioctl.KVM_GET_SREGS, SREGS_SIZE)

    def set_sregs(self, sregs: bytes) -> None:
        """KVM_SET_SREGS."""
        call(self.fd, Ioctl.KVM_SET_SREGS, sregs, _SREGS)

    def get_debugregs(self) -> bytes:
        """KVM_GET_DEBUGREGS."""
        return read(self.fd, Ioctl.KVM_GET_DEBUGREGS, _size(uapi.kvm_debugregs))

    def set_debugregs(self, debugregs: bytes) -> None:
        """KVM_SET_DEBUGREGS."""
        call(self.fd, Ioctl.KVM_SET_DEBUGREGS, debugregs, _DEBUGREGS)

    def get_vcpu_events(self) -> bytes:
        """KVM_GET_VCPU_EVENTS."""
        return read(self.fd, Ioctl.KVM_GET_VCPU_EVENTS, _size(uapi.kvm_vcpu_events))

    def set_vcpu_events(self, events: bytes) -> None:
        """KVM_SET_VCPU_EVENTS."""
        call(self.fd, Ioctl.KVM_SET_VCPU_EVENTS, events, _EVENTS)

    def get_fpu(self) -> bytes:
        """KVM_GET_FPU: x87 and SSE in their oldest form.

        The kernel does not look whether they are in use: ``get_xsave`` tells the truth.
        """
        return read(self.fd, Ioctl.KVM_GET_FPU, _size(uapi.kvm_fpu))

    def set_fpu(self, fpu: bytes) -> None:
        """KVM_SET_FPU."""
        call(self.fd, Ioctl.KVM_SET_FPU, fpu)

    def get_xsave(self) -> bytes:
        """KVM_GET_XSAVE."""
        return read(self.fd, Ioctl.KVM_GET_XSAVE, _size(uapi.kvm_xsave))

    def set_xsave(self, xsave: bytes) -> None:
        """KVM_SET_XSAVE. A bytearray: fcntl copies an immutable buffer, and only up to 1 KiB."""
        call(self.fd, Ioctl.KVM_SET_XSAVE, bytearray(xsave))

    def get_xcrs(self) -> bytes:
        """KVM_GET_XCRS."""
        return read(self.fd, Ioctl.KVM_GET_XCRS, _size(uapi.kvm_xcrs))

    def set_xcrs(self, xcrs: bytes) -> None:
        """KVM_SET_XCRS."""
        call(self.fd, Ioctl.KVM_SET_XCRS, bytearray(xcrs))

    def get_msrs(self, indices: tuple[int, ...]) -> dict[int, int]:
        """KVM_GET_MSRS; the kernel stops at the first one that the processor does not have."""
        buffer = bytearray(_msrs(dict.fromkeys(indices, 0)))
        count = call(self.fd, Ioctl.KVM_GET_MSRS, buffer)
        entries = _ENTRY.iter_unpack(buffer[8:])
        return {index: data for index, _, data in (next(entries) for _ in range(count))}

    def set_msrs(self, values: dict[int, int]) -> int:
        """KVM_SET_MSRS; how many were written, in their order."""
        return call(self.fd, Ioctl.KVM_SET_MSRS, bytearray(_msrs(values)))

    def get_lapic(self) -> bytes:
        """KVM_GET_LAPIC; ENXIO or EINVAL without an irqchip."""
        return read(self.fd, Ioctl.KVM_GET_LAPIC, _size(uapi.kvm_lapic_state))

    def set_lapic(self, lapic: bytes) -> None:
        """KVM_SET_LAPIC."""
        call(self.fd, Ioctl.KVM_SET_LAPIC, lapic)

    def get_mp_state(self) -> int:
        """KVM_GET_MP_STATE."""
        return int.from_bytes(read(self.fd, Ioctl.KVM_GET_MP_STATE, 4), "little")

    def set_mp_state(self, mp_state: int) -> None:
        """KVM_SET_MP_STATE."""
        call(self.fd, Ioctl.KVM_SET_MP_STATE, mp_state.to_bytes(4, "little"), _MP_STATE)

    def set_cpuid2(self, cpuid: bytes) -> None:
        """KVM_SET_CPUID2 with a whole ``struct kvm_cpuid2``."""
        call(self.fd, Ioctl.KVM_SET_CPUID2, bytearray(cpuid))

    # -- events, debugging, running ----------------------------------------------------------------

    def interrupt(self, vector: int) -> None:
        """KVM_INTERRUPT: injected at the next entry, whatever RFLAGS.IF is."""
        call(self.fd, Ioctl.KVM_INTERRUPT, struct.pack("<I", vector))

    def nmi(self) -> None:
        """KVM_NMI."""
        call(self.fd, Ioctl.KVM_NMI)

    def set_guest_debug(self, control: int, debugreg: tuple[int, ...]) -> None:
        """KVM_SET_GUEST_DEBUG; ``debugreg`` are eight numbers."""
        packed = _GUEST_DEBUG(control, 0, *debugreg)
        call(self.fd, Ioctl.KVM_SET_GUEST_DEBUG, packed, _BUSY)

    def set_signal_mask(self, blocked: frozenset[int]) -> None:
        """KVM_SET_SIGNAL_MASK: the signals that are blocked during KVM_RUN, and only then."""
        bits = sum(1 << number - 1 for number in blocked)
        call(self.fd, Ioctl.KVM_SET_SIGNAL_MASK, struct.pack("<IQ", 8, bits))


def _msrs(values: dict[int, int]) -> bytes:
    entries = b"".join(_ENTRY.pack(index, 0, data) for index, data in values.items())
    return struct.pack("<II", len(values), 0) + entries
