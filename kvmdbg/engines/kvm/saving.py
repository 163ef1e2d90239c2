"""A whole vCPU and its RAM as bytes, and back.

The time-stamp counter is not part of it: it is a clock that goes on. Must not know: threads, runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...uapi import GuestDbg
from .vcpu import Vcpu
from .vm import KvmVm

_MSRS = (
    *(0x174, 0x175, 0x176),  # IA32_SYSENTER_CS, _ESP, _EIP
    0x277,  # IA32_PAT
    *(0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084),  # STAR, LSTAR, CSTAR, FMASK
    0xC0000102,  # KERNEL_GS_BASE
)
"""What sregs do not hold. Every x86-64 processor has all of these."""

_INJECT = int(GuestDbg.INJECT_DB | GuestDbg.INJECT_BP)


@dataclass(frozen=True, slots=True, repr=False)
class KvmSnapshot:
    """A whole machine, opaque to everyone else: kernel structures as bytes.

    ``control`` and ``debugreg`` are what KVM_SET_GUEST_DEBUG was given, ``irq`` an interrupt that
    waits.
    """

    ram: bytes
    regs: bytes
    sregs: bytes
    debugregs: bytes
    events: bytes
    xsave: bytes
    xcrs: bytes
    msrs: dict[int, int]
    mp_state: int
    chips: tuple[bytes, ...]
    lapic: bytes
    control: int = 0
    debugreg: tuple[int, ...] = (0,) * 8
    irq: int | None = None


def save(vcpu: Vcpu, vm: KvmVm) -> KvmSnapshot:
    """What the kernel knows; the rest is left at its defaults."""
    return KvmSnapshot(
        ram=vm.ram[:],
        regs=vcpu.get_regs(),
        sregs=vcpu.get_sregs(),
        debugregs=vcpu.get_debugregs(),
        events=vcpu.get_vcpu_events(),
        xsave=vcpu.get_xsave(),
        xcrs=vcpu.get_xcrs(),
        msrs=vcpu.get_msrs(_MSRS),
        mp_state=vcpu.get_mp_state(),
        chips=vm.get_irqchips(),
        lapic=vcpu.get_lapic() if vm.irqchip else b"",
    )


def load(vcpu: Vcpu, vm: KvmVm, saved: KvmSnapshot) -> None:
    """Put it back. Guest debugging is off while RFLAGS are written: it would change TF (spec 5)."""
    vcpu.set_guest_debug(0, (0,) * 8)
    vm.ram[:] = saved.ram
    vcpu.set_sregs(saved.sregs[:-32] + bytes(32))  # events hold the queued interrupt
    vcpu.set_msrs(saved.msrs)
    if saved.chips:
        vm.set_irqchips(saved.chips)
        vcpu.set_lapic(saved.lapic)
    vcpu.set_mp_state(saved.mp_state)
    vcpu.set_xcrs(saved.xcrs)
    vcpu.set_xsave(saved.xsave)
    vcpu.set_regs(saved.regs)
    vcpu.set_debugregs(saved.debugregs)
    vcpu.set_vcpu_events(saved.events)
    if saved.control:
        vcpu.set_guest_debug(saved.control & ~_INJECT, saved.debugreg)
