"""The processor's registers as frozen snapshots, in the shapes of linux/kvm.h.

``Regs`` is ``struct kvm_regs``, ``Sregs`` is ``struct kvm_sregs``, ``DebugRegs`` is
``struct kvm_debugregs``. All are named tuples: a snapshot is a value, changing it is
``regs._replace(rip=0x8000)``, and making one from raw bytes costs a fraction of a microsecond.
Must not know: engines, memory, or who asks.
"""

from __future__ import annotations

from enum import Enum, IntFlag
from functools import lru_cache
from typing import NamedTuple

MASK64 = 0xFFFF_FFFF_FFFF_FFFF
MASK32 = 0xFFFF_FFFF


class RFLAGS(IntFlag):
    """RFLAGS bits (SDM vol. 1, 3.4.3)."""

    CF = 1 << 0
    FIXED = 1 << 1
    PF = 1 << 2
    AF = 1 << 4
    ZF = 1 << 6
    SF = 1 << 7
    TF = 1 << 8
    IF = 1 << 9
    DF = 1 << 10
    OF = 1 << 11
    IOPL = 3 << 12
    NT = 1 << 14
    RF = 1 << 16
    VM = 1 << 17
    AC = 1 << 18
    VIF = 1 << 19
    VIP = 1 << 20
    ID = 1 << 21


class CR0(IntFlag):
    """CR0 bits (SDM vol. 3, 2.5)."""

    PE = 1 << 0
    MP = 1 << 1
    EM = 1 << 2
    TS = 1 << 3
    ET = 1 << 4
    NE = 1 << 5
    WP = 1 << 16
    AM = 1 << 18
    NW = 1 << 29
    CD = 1 << 30
    PG = 1 << 31


class CR4(IntFlag):
    """CR4 bits (SDM vol. 3, 2.5)."""

    VME = 1 << 0
    PVI = 1 << 1
    TSD = 1 << 2
    DE = 1 << 3
    PSE = 1 << 4
    PAE = 1 << 5
    MCE = 1 << 6
    PGE = 1 << 7
    PCE = 1 << 8
    OSFXSR = 1 << 9
    OSXMMEXCPT = 1 << 10
    UMIP = 1 << 11
    FSGSBASE = 1 << 16
    OSXSAVE = 1 << 18
    SMEP = 1 << 20
    SMAP = 1 << 21


class EFER(IntFlag):
    """IA32_EFER bits (SDM vol. 3, 2.2.1)."""

    SCE = 1 << 0
    LME = 1 << 8
    LMA = 1 << 10
    NXE = 1 << 11


_PE, _LMA = int(CR0.PE), int(EFER.LMA)  # arithmetic on an IntFlag costs a microsecond


class Regs(NamedTuple):
    """General registers, RIP and RFLAGS: ``struct kvm_regs``, 64-bit unsigned each."""

    rax: int = 0
    rbx: int = 0
    rcx: int = 0
    rdx: int = 0
    rsi: int = 0
    rdi: int = 0
    rsp: int = 0
    rbp: int = 0
    r8: int = 0
    r9: int = 0
    r10: int = 0
    r11: int = 0
    r12: int = 0
    r13: int = 0
    r14: int = 0
    r15: int = 0
    rip: int = 0
    rflags: int = 2

    def __repr__(self) -> str:
        shown = (f"{name}={value:#x}" for name, value in zip(self._fields, self, strict=True))
        return f"Regs({', '.join(shown)})"


class Segment(NamedTuple):
    """A segment register with its hidden part: ``struct kvm_segment``.

    ``limit`` is in bytes (already scaled by ``g``); ``type``, ``s``, ``dpl``, ``present``, ``avl``,
    ``l``, ``db``, ``g`` are the descriptor's fields (SDM vol. 3, 3.4.5).
    """

    base: int = 0
    limit: int = 0
    selector: int = 0
    type: int = 0
    present: int = 0
    dpl: int = 0
    db: int = 0
    s: int = 0
    l: int = 0  # noqa: E741 - the SDM's and the kernel's name for the 64-bit code flag
    g: int = 0
    avl: int = 0
    unusable: int = 0

    @property
    def access(self) -> int:
        """The descriptor's attribute bits as in its high dword, bits 8-15 and 20-23."""
        return (
            self.type << 8
            | self.s << 12
            | self.dpl << 13
            | self.present << 15
            | self.avl << 20
            | self.l << 21
            | self.db << 22
            | self.g << 23
        )

    @staticmethod
    @lru_cache(1024)  # a guest has a few, and every snapshot asks for eight
    def from_access(selector: int, base: int, limit: int, access: int) -> Segment:
        """Build one from attribute bits laid out as in a descriptor's high dword.

        >>> Segment.from_access(8, 0, 0xFFFFFFFF, 0xAF9B00).l
        1
        """
        return Segment(
            base=base,
            limit=limit,
            selector=selector,
            type=access >> 8 & 15,
            s=access >> 12 & 1,
            dpl=access >> 13 & 3,
            present=access >> 15 & 1,
            avl=access >> 20 & 1,
            l=access >> 21 & 1,
            db=access >> 22 & 1,
            g=access >> 23 & 1,
            unusable=0 if access >> 15 & 1 else 1,
        )


class DescriptorTable(NamedTuple):
    """GDTR or IDTR: ``struct kvm_dtable``; ``limit`` is the last valid byte's offset."""

    base: int = 0
    limit: int = 0


class CpuMode(Enum):
    """What the processor makes of the bytes at CS:RIP (SDM vol. 3, 2.2)."""

    REAL = "real"
    PROTECTED_16 = "protected, 16-bit code"
    PROTECTED_32 = "protected, 32-bit code"
    COMPAT_16 = "compatibility, 16-bit code"
    COMPAT_32 = "compatibility, 32-bit code"
    LONG = "long, 64-bit code"

    @property
    def bits(self) -> int:
        """Default operand/address size of code: 16, 32 or 64."""
        if self is CpuMode.LONG:
            return 64
        return 32 if self in (CpuMode.PROTECTED_32, CpuMode.COMPAT_32) else 16


class Sregs(NamedTuple):
    """System registers: ``struct kvm_sregs`` (without interrupt_bitmap)."""

    cs: Segment = Segment()
    ds: Segment = Segment()
    es: Segment = Segment()
    fs: Segment = Segment()
    gs: Segment = Segment()
    ss: Segment = Segment()
    tr: Segment = Segment()
    ldt: Segment = Segment()
    gdt: DescriptorTable = DescriptorTable()
    idt: DescriptorTable = DescriptorTable()
    cr0: int = 0x10
    cr2: int = 0
    cr3: int = 0
    cr4: int = 0
    cr8: int = 0
    efer: int = 0
    apic_base: int = 0xFEE00900

    @property
    def mode(self) -> CpuMode:
        """The mode in which the next instruction is decoded."""
        if not self.cr0 & _PE:
            return CpuMode.REAL
        if self.efer & _LMA:
            if self.cs.l:
                return CpuMode.LONG
            return CpuMode.COMPAT_32 if self.cs.db else CpuMode.COMPAT_16
        return CpuMode.PROTECTED_32 if self.cs.db else CpuMode.PROTECTED_16

    @property
    def cpl(self) -> int:
        """Current privilege level: SS.DPL, 0 in real mode."""
        return self.ss.dpl if self.cr0 & _PE else 0


def linear_pc(rip: int, sregs: Sregs) -> int:
    """The linear address of CS:RIP; 32-bit outside 64-bit mode (``kvm_get_linear_rip``).

    >>> linear_pc(1, Sregs(cs=Segment(base=0x8000)))
    32769
    """
    if sregs.mode is CpuMode.LONG:
        return rip & MASK64
    return (sregs.cs.base + rip) & MASK32


class DebugRegs(NamedTuple):
    """The guest's own debug registers: ``struct kvm_debugregs`` (spec 1.1, rg-reset)."""

    db: tuple[int, int, int, int] = (0, 0, 0, 0)
    dr6: int = 0xFFFF0FF0
    dr7: int = 0x400
    flags: int = 0

    def __repr__(self) -> str:
        db = ", ".join(f"{address:#x}" for address in self.db)
        return f"DebugRegs(db=({db}), dr6={self.dr6:#x}, dr7={self.dr7:#x}, flags={self.flags:#x})"


class VcpuEvents(NamedTuple):
    """The parts of ``struct kvm_vcpu_events`` that guest debugging needs (spec 1.1).

    ``interrupt_shadow`` bit 0 is MOV SS, bit 1 STI; ``exception_payload`` is the DR6 bits of a #DB.
    """

    exception_injected: int = 0
    exception_nr: int = 0
    exception_has_error_code: int = 0
    exception_pending: int = 0
    exception_error_code: int = 0
    interrupt_injected: int = 0
    interrupt_nr: int = 0
    interrupt_soft: int = 0
    interrupt_shadow: int = 0
    nmi_injected: int = 0
    nmi_pending: int = 0
    nmi_masked: int = 0
    flags: int = 0x0D
    exception_has_payload: int = 0
    exception_payload: int = 0
