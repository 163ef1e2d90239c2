"""One VM: its guest RAM in memory slots from guest-physical address 0, and its devices in KVM.

Must not know: vCPUs' registers, or who runs them.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Collection
from contextlib import ExitStack
from itertools import pairwise
from typing import Final, NamedTuple

from ...uapi import (
    KVM_MEM_LOG_DIRTY_PAGES,
    Cap,
    Ioctl,
    kvm_dirty_log,
    kvm_enable_cap,
    kvm_irq_level,
    kvm_irqchip,
    kvm_pit_config,
    kvm_pit_state2,
    kvm_userspace_memory_region,
)
from .ioctls import call, call_with_address, read
from .system import System

PAGE = 0x1000
TSS_ADDRESS = 0xFFFBD000
"""Where Intel processors without "unrestricted guest" get three pages for real mode; the place is
QEMU's, above all RAM that a guest can have."""

_MEM_READONLY: Final = 2
"""KVM_MEM_READONLY (linux/kvm.h): loads and fetches go on, a store is a KVM_EXIT_MMIO."""

_SLOT = 0
_NO_IRQCHIP = {errno.ENXIO: "no irqchip; create_irqchip() first"}


class Region(NamedTuple):
    """One memory slot: a run of RAM, in bytes."""

    start: int
    size: int
    flags: int = 0


def regions(size: int, pages: Collection[int]) -> tuple[Region, ...]:
    """RAM of ``size`` bytes in as few slots as there can be, these pages (by number) read-only.

    >>> regions(0x4000, {2})
    (Region(start=0, size=8192, flags=0), Region(start=8192, size=4096, flags=2), \
Region(start=12288, size=4096, flags=0))
    """
    last = size // PAGE
    edges = {page for page in pages if page - 1 not in pages}
    edges |= {page + 1 for page in pages if page + 1 not in pages}
    cuts = sorted({0, last} | {edge for edge in edges if 0 <= edge < last})
    return tuple(
        Region(a * PAGE, (b - a) * PAGE, _MEM_READONLY if a in pages else 0)
        for a, b in pairwise(cuts)
    )


class KvmVm:
    """A VM's file descriptor, over RAM that exists; the stack that it is made in gives it back."""

    def __init__(
        self, system: System, ram: mmap.mmap, stack: ExitStack, *, irqchip: bool = False
    ) -> None:
        self.ram, self.size, self.irqchip = ram, len(ram), irqchip
        self.fd = system.create_vm()
        stack.callback(os.close, self.fd)
        if system.check_extension(Cap.SET_TSS_ADDR):
            self.set_tss_addr(TSS_ADDRESS)
        self.payload = self._enable_exception_payload(system)
        self._regions: tuple[Region, ...] = ()
        self.protect(())
        if irqchip:
            self.create_irqchip()
            self.create_pit2()

    def set_tss_addr(self, address: int) -> None:
        """KVM_SET_TSS_ADDR, before the first vCPU."""
        call_with_address(self.fd, Ioctl.KVM_SET_TSS_ADDR, address)

    def _enable_exception_payload(self, system: System) -> bool:
        """KVM_CAP_EXCEPTION_PAYLOAD, if there is: DR6 bits of a queued #DB stay with it."""
        if not system.check_extension(Cap.EXCEPTION_PAYLOAD):
            return False
        self.enable_cap(Cap.EXCEPTION_PAYLOAD, 1)
        return True

    def enable_cap(self, cap: Cap, value: int) -> None:
        """KVM_ENABLE_CAP with one argument."""
        call(self.fd, Ioctl.KVM_ENABLE_CAP, kvm_enable_cap(cap=int(cap), args=(value, 0, 0, 0)))

    def protect(self, pages: Collection[int]) -> None:
        """Make guest stores to these pages (by number) exits, and to all others not."""
        wanted = regions(self.size, pages)
        if wanted == self._regions:
            return
        for slot, (start, _, _) in enumerate(self._regions):
            self._set_slot(slot, Region(start, 0))
        for slot, region in enumerate(wanted):
            self._set_slot(slot, region)
        self._regions = wanted

    def set_user_memory_region(self, *, log_dirty: bool = False) -> None:
        """KVM_SET_USER_MEMORY_REGION: all RAM in one slot; ``log_dirty`` starts the log."""
        self._set_slot(_SLOT, Region(0, self.size, KVM_MEM_LOG_DIRTY_PAGES if log_dirty else 0))

    def _set_slot(self, slot: int, region: Region) -> None:
        """A part of RAM at its own place; size 0 takes it away."""
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.ram))
        structure = kvm_userspace_memory_region(
            slot=slot,
            flags=region.flags,
            guest_phys_addr=region.start,
            memory_size=region.size,
            userspace_addr=base + region.start,
        )
        call(self.fd, Ioctl.KVM_SET_USER_MEMORY_REGION, structure)

    def get_dirty_log(self) -> bytes:
        """KVM_GET_DIRTY_LOG: a bit per page written since the last call. ENOENT if not logged."""
        pages = self.size // PAGE
        bitmap = (ctypes.c_uint64 * ((pages + 63) // 64))()
        log = kvm_dirty_log(slot=_SLOT, dirty_bitmap=ctypes.addressof(bitmap))
        call(self.fd, Ioctl.KVM_GET_DIRTY_LOG, log)
        return bytes(bitmap)

    def create_irqchip(self) -> None:
        """KVM_CREATE_IRQCHIP: PIC, I/O APIC and local APIC in the kernel; before the first vCPU."""
        call(self.fd, Ioctl.KVM_CREATE_IRQCHIP)

    def create_pit2(self) -> None:
        """KVM_CREATE_PIT2: the timer, after ``create_irqchip``."""
        call(self.fd, Ioctl.KVM_CREATE_PIT2, kvm_pit_config())

    def irq_line(self, line: int, level: bool) -> None:
        """KVM_IRQ_LINE."""
        call(self.fd, Ioctl.KVM_IRQ_LINE, kvm_irq_level(line, int(level)), _NO_IRQCHIP)

    def get_irqchips(self) -> tuple[bytes, ...]:
        """KVM_GET_IRQCHIP for each chip, and KVM_GET_PIT2; nothing without an irqchip."""
        if not self.irqchip:
            return ()
        chips = [kvm_irqchip(chip_id=number) for number in range(3)]
        for chip in chips:
            call(self.fd, Ioctl.KVM_GET_IRQCHIP, chip)
        pit = read(self.fd, Ioctl.KVM_GET_PIT2, ctypes.sizeof(kvm_pit_state2))
        return (*map(bytes, chips), pit)

    def set_irqchips(self, chips: tuple[bytes, ...]) -> None:
        """KVM_SET_IRQCHIP for each chip, and KVM_SET_PIT2; what ``get_irqchips`` gave."""
        for chip in chips[:-1]:
            call(self.fd, Ioctl.KVM_SET_IRQCHIP, chip)
        for pit in chips[-1:]:
            call(self.fd, Ioctl.KVM_SET_PIT2, pit)
