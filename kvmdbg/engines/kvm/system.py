"""/dev/kvm: may we use it, what can it do, and a new VM.

A refusal is one line that says what to do. Must not know: guests.
"""

from __future__ import annotations

import errno
import os
from functools import lru_cache

from ...errors import EngineUnavailable, IoctlError
from ...uapi import KVM_API_VERSION, Cap, Ioctl, kvm_cpuid2, kvm_cpuid_entry2
from .ioctls import call

DEVICE = "/dev/kvm"
_INSTEAD = 'or use engine="unicorn"'
_NEEDED = (
    Cap.USER_MEMORY,
    Cap.EXT_CPUID,
    Cap.SET_GUEST_DEBUG,
    Cap.VCPU_EVENTS,
    Cap.DEBUGREGS,
    Cap.XSAVE,
    Cap.XCRS,
    Cap.IMMEDIATE_EXIT,
)
_MOST_CPUID_ENTRIES = 256
_OPENING = {
    errno.ENOENT: f"there is none; load its module (sudo modprobe kvm_intel, or kvm_amd), see that "
    f"virtualization is enabled in the firmware (nested, inside a virtual machine), {_INSTEAD}",
    errno.EACCES: "permission denied; add yourself to the group kvm: "
    f"sudo usermod -aG kvm $USER, then log in again, {_INSTEAD}",
}
_CREATING = {
    errno.EBUSY: "the processor's virtualization is in use by another hypervisor; end that one",
    errno.EMFILE: "this process has too many files open; close VMs that you no longer need",
    errno.ENOMEM: "the kernel has no memory for a VM; close VMs that you no longer need",
}


class System:
    """/dev/kvm, opened and found good enough. Raises EngineUnavailable."""

    def __init__(self) -> None:
        self.fd = _open(DEVICE)
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> System:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The VMs that were made stay."""
        os.close(self.fd)

    def _check(self) -> None:
        version = self.get_api_version()
        if version != KVM_API_VERSION:
            raise EngineUnavailable(f"{DEVICE} speaks version {version} of its interface, not 12")
        missing = [cap.name for cap in _NEEDED if not self.check_extension(cap)]
        if missing:
            raise EngineUnavailable(
                f"{DEVICE} of this kernel is too old: it lacks KVM_CAP_{missing[0]}; "
                f"take Linux 4.12 or newer, {_INSTEAD}"
            )

    def get_api_version(self) -> int:
        """KVM_GET_API_VERSION."""
        try:
            return call(self.fd, Ioctl.KVM_GET_API_VERSION)
        except IoctlError:
            raise EngineUnavailable(f"{DEVICE} is not KVM's device; mend it, {_INSTEAD}") from None

    def check_extension(self, cap: Cap) -> int:
        """KVM_CHECK_EXTENSION: 0 if there is none of it."""
        return call(self.fd, Ioctl.KVM_CHECK_EXTENSION, int(cap))

    def get_vcpu_mmap_size(self) -> int:
        """KVM_GET_VCPU_MMAP_SIZE, in bytes."""
        return call(self.fd, Ioctl.KVM_GET_VCPU_MMAP_SIZE)

    def get_supported_cpuid(self) -> bytes:
        """KVM_GET_SUPPORTED_CPUID: a whole ``struct kvm_cpuid2`` with its entries."""
        return _supported_cpuid(DEVICE)

    def create_vm(self) -> int:
        """KVM_CREATE_VM: its file descriptor."""
        try:
            return call(self.fd, Ioctl.KVM_CREATE_VM)
        except IoctlError as error:
            why = _CREATING.get(error.errno or 0, error.strerror)
            raise EngineUnavailable(f"{DEVICE} makes no VM: {why}, {_INSTEAD}") from None


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        why = _OPENING.get(error.errno or 0, f"{error.strerror}; mend that, {_INSTEAD}")
        raise EngineUnavailable(f"{path}: {why}") from None


@lru_cache(1)
def _supported_cpuid(device: str) -> bytes:
    """It is the same for every VM of a process, and costs the kernel more than a VM does."""
    header, entry = kvm_cpuid2(_MOST_CPUID_ENTRIES), kvm_cpuid_entry2()
    buffer = bytearray(header) + bytes(_MOST_CPUID_ENTRIES * len(bytes(entry)))
    fd = _open(device)
    try:
        call(fd, Ioctl.KVM_GET_SUPPORTED_CPUID, buffer)
    finally:
        os.close(fd)
    used = kvm_cpuid2.from_buffer(buffer).nent
    return bytes(buffer[: len(bytes(header)) + used * len(bytes(entry))])
