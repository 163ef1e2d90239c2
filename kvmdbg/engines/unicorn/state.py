"""KVM's register structures out of, and into, Unicorn's CPUX86State.

The offsets are those of Unicorn 2.1.4 (QEMU 5.0.1); library.py checks where the structure lies.
What the engine derives from registers (hflags, lazily computed condition codes) is kept in step
here. Must not know: guest debugging; TF and RF are the caller's business.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from operator import itemgetter

from ...x86.registers import (
    CR0,
    CR4,
    EFER,
    MASK32,
    MASK64,
    CpuMode,
    DescriptorTable,
    Regs,
    Segment,
    Sregs,
)
from .library import Machine

# Indexes of 64-bit words in CPUX86State.
RCX, RSP = 1, 4
RIP = 128 // 8
CC_SRC = 152 // 8
CS_BASE = (184 + 24 + 8) // 8
SS_BASE = (184 + 48 + 8) // 8
CR = 424 // 8
EFER_WORD = 592 // 8

_SYSTEM_END = 8 * EFER_WORD + 8  # bytes

# Indexes of 32-bit words.
EFLAGS = 136 // 4
CC_OP = 168 // 4
DF = 172 // 4
HFLAGS = 176 // 4
_FIRST_SEGMENT, _CS, _SS, _LDT, _TR, _GDT, _IDT = 184, 208, 232, 328, 352, 376, 400  # bytes
ERROR_CODE = 5384 // 4
IS_INT = 5388 // 4
DR7 = (5400 + 7 * 8) // 4
OLD_EXCEPTION = 5496 // 4

DR7_CANARY = 1
"""Unicorn's own DR7 is never used; a task switch clears its local enables, and that tells of it."""


CONDITION_CODES = 0x8D5
CC_OP_EFLAGS = 1
"""``cc_op`` value for "cc_src holds the condition codes themselves"."""

HF_CPL, HF_INHIBIT_IRQ, HF_CS32, HF_SS32, HF_ADDSEG = 3, 1 << 3, 1 << 4, 1 << 5, 1 << 6
HF_PE, HF_LMA, HF_CS64, HF_OSFXSR, HF_SMAP = 1 << 7, 1 << 14, 1 << 15, 1 << 22, 1 << 23
_HF_KEPT = 0x7F << 19  # SMM, SVME and their like: never set here, never cleared here

_ORDER = ("es", "cs", "ss", "ds", "fs", "gs")
_HIDDEN = ("ldt", "tr")
_PE, _MP_EM_TS = int(CR0.PE), int(CR0.MP | CR0.EM | CR0.TS)
_OSFXSR, _SMAP, _LMA = int(CR4.OSFXSR), int(CR4.SMAP), int(EFER.LMA)
_ATTRIBUTES = 0x00F0FF00
_BUSY = 2 << 8
NO_EXCEPTION = MASK32

_general = struct.Struct("<17Q").unpack_from
_put_general = struct.Struct("<17Q").pack_into
_segment = struct.Struct("<I4xQII").unpack_from
_as_kvm = itemgetter(0, 3, 1, 2, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 16)
_as_env = itemgetter(0, 2, 3, 1, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15)


class CpuState:
    """Reads and writes one machine's registers; snapshots go out, snapshots come in."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._env = machine.env
        self.q = machine.q
        self.d = machine.d
        self.d[DR7] = DR7_CANARY
        self.cr8 = 0
        self.apic_base = Sregs().apic_base

    # -- flags -------------------------------------------------------------------------------------

    def rflags(self) -> int:
        """The machine's RFLAGS, TF and all."""
        d = self.d
        if d[CC_OP] == CC_OP_EFLAGS:
            codes = self.q[CC_SRC] & CONDITION_CODES | d[DF] & 0x400
            return d[EFLAGS] & ~(CONDITION_CODES | 0x400) | codes | 2
        return self.machine.lazy_rflags() | 2

    def set_rflags(self, value: int) -> None:
        """Write RFLAGS with the condition codes in their computed form.

        They go into both places: ``cc_src`` is what is read, but a run that begins with
        CC_OP_EFLAGS takes them, and DF, from ``eflags`` again.
        """
        d = self.d
        d[EFLAGS] = value & MASK32 | 2
        d[CC_OP] = CC_OP_EFLAGS
        d[DF] = MASK32 if value & 0x400 else 1
        self.q[CC_SRC] = value & CONDITION_CODES

    def compute_flags(self) -> None:
        """Replace lazily kept condition codes by the codes themselves.

        A hook in front of the next instruction would otherwise compute them into ``cc_src`` and a
        fault of that instruction restore the old ``cc_op``: wrong flags in the guest.
        """
        if self.d[CC_OP] != CC_OP_EFLAGS:
            self.set_rflags(self.rflags())

    # -- kvm_regs ----------------------------------------------------------------------------------

    def regs(self, rflags: int | None = None) -> Regs:
        """General registers, RIP, and RFLAGS: the machine's, or those given."""
        flags = self.rflags() if rflags is None else rflags
        return Regs._make((*_as_kvm(_general(self._env)), flags))

    def set_regs(self, regs: Regs) -> None:
        """Write them; values are cut to 64 bits."""
        try:
            _put_general(self.machine.env, 0, *_as_env(regs), regs.rip)
        except struct.error:  # some value has more than 64 bits, or is negative
            cut = Regs(*(value & MASK64 for value in regs))
            _put_general(self.machine.env, 0, *_as_env(cut), cut.rip)
        self.set_rflags(regs.rflags)

    def linear_pc(self) -> int:
        """Linear address of CS:RIP."""
        return self.cut(self.q[RIP] + self.q[CS_BASE] & MASK64)

    def cut(self, linear: int) -> int:
        """A linear address, which has 32 bits outside 64-bit mode."""
        return linear if self.d[HFLAGS] & HF_CS64 else linear & MASK32

    def hook_pc(self) -> int:
        """CS:RIP as Unicorn's hooks are told it: a sum beyond 4 GiB is not cut."""
        return self.q[RIP] + self.q[CS_BASE] & MASK64

    def bits(self) -> int:
        """Size of the code being executed: 16, 32 or 64."""
        hflags = self.d[HFLAGS]
        if hflags & HF_CS64:
            return 64
        return 32 if hflags & HF_CS32 else 16

    def next_rip(self, size: int) -> int:
        """RIP after an instruction of ``size`` bytes, cut to the width of the code."""
        return self.q[RIP] + size & (1 << self.bits()) - 1

    # -- kvm_sregs ---------------------------------------------------------------------------------

    def _put_segment(self, offset: int, segment: Segment, flags: int) -> None:
        struct.pack_into(
            "<I4xQII",
            self.machine.env,
            offset,
            segment.selector & 0xFFFF,
            segment.base & MASK64,
            segment.limit & MASK32,
            flags,
        )

    def sregs(self) -> Sregs:
        """System registers; TR shows as busy, as KVM wants it."""
        raw = bytes(self._env[_FIRST_SEGMENT:_SYSTEM_END])
        return _sregs(raw, self.cr8, self.apic_base)

    def set_sregs(self, sregs: Sregs) -> None:
        """Write them and what the engine derives from them; translations of addresses go.

        The base of a 64-bit code segment is kept as 0.
        """
        for i, name in enumerate(_ORDER):
            segment: Segment = getattr(sregs, name)
            if name == "cs":
                segment = _counted(segment, sregs)
            self._put_segment(
                _FIRST_SEGMENT + 24 * i, segment, 0 if segment.unusable else segment.access
            )
        # A busy TSS in the cache makes the engine abort the whole process at a ring change.
        self._put_segment(_TR, sregs.tr, sregs.tr.access & ~_BUSY)
        self._put_segment(_LDT, sregs.ldt, sregs.ldt.access)
        for offset, entry in ((_GDT, sregs.gdt), (_IDT, sregs.idt)):
            self.q[offset // 8 + 1] = entry.base & MASK64
            self.d[offset // 4 + 4] = entry.limit & 0xFFFF
        values = (sregs.cr0, None, sregs.cr2, sregs.cr3, sregs.cr4)
        for number, value in enumerate(values):
            if value is not None:
                self.q[CR + number] = value & MASK64
        self.q[EFER_WORD] = sregs.efer & MASK64
        self.cr8 = sregs.cr8
        self.apic_base = sregs.apic_base
        self.d[HFLAGS] = hidden_flags(sregs, self.d[HFLAGS])
        self.machine.flush_tlb()

    def enter_handler(self, sregs: Sregs) -> None:
        """Take over what entering a handler changes: CS, SS and the privilege level."""
        for offset, segment in ((_CS, _counted(sregs.cs, sregs)), (_SS, sregs.ss)):
            self._put_segment(offset, segment, segment.access)
        self.d[HFLAGS] = hidden_flags(sregs, self.d[HFLAGS]) & ~HF_INHIBIT_IRQ


def _counted(cs: Segment, sregs: Sregs) -> Segment:
    """CS as it counts: 64-bit code has no base (SDM vol. 1, 3.4.2.1), but Unicorn would add it."""
    return cs._replace(base=0) if cs.base and sregs.mode is CpuMode.LONG else cs


@lru_cache(maxsize=64)
def _sregs(raw: bytes, cr8: int, apic_base: int) -> Sregs:
    """From CPUX86State between ES and EFER; a guest is found in the same few states."""
    tables = [_table(raw, at + 8 - _FIRST_SEGMENT) for at in (_GDT, _IDT)]
    cr = struct.unpack_from("<5Q", raw, 8 * CR - _FIRST_SEGMENT)
    return Sregs(
        **_segments(raw[: _GDT - _FIRST_SEGMENT]),
        gdt=tables[0],
        idt=tables[1],
        cr0=cr[0],
        cr2=cr[2],
        cr3=cr[3],
        cr4=cr[4],
        cr8=cr8,
        efer=int.from_bytes(raw[-8:], "little"),
        apic_base=apic_base,
    )


def _table(raw: bytes, at: int) -> DescriptorTable:
    base, limit = struct.unpack_from("<QI", raw, at)
    return DescriptorTable(base, limit & 0xFFFF)


@lru_cache(maxsize=64)
def _segments(raw: bytes) -> dict[str, Segment]:
    """The segment registers by name; a guest's handlers come back to the same few all the time."""
    found = {}
    for i, name in enumerate((*_ORDER, *_HIDDEN)):
        selector, base, limit, flags = _segment(raw, 24 * i)
        found[name] = Segment.from_access(selector & 0xFFFF, base, limit, flags & _ATTRIBUTES)
    task = found["tr"]
    if task.present and task.type in (1, 9):
        found["tr"] = task._replace(type=task.type | 2)
    return found


def no_entry(sregs: Sregs, rip: int) -> str:
    """Why no processor enters a guest in this state (SDM vol. 3, 26.3.1); empty if one does.

    What Unicorn cannot live with is here, not every check of VMX.
    """
    task = sregs.tr
    if task.unusable or not task.present or task.s or task.type & 7 not in (1, 3):
        return "TR holds no task state segment (type 3 or 11, present)"
    if sregs.mode is not CpuMode.LONG and (rip >> 32 or sregs.cs.base >> 32):
        return "RIP and the base of CS have 32 bits outside 64-bit mode"
    return ""


def hidden_flags(sregs: Sregs, old: int) -> int:
    """QEMU's ``hflags``: what translation depends on, derived from the system registers."""
    mode = sregs.mode
    flags = old & _HF_KEPT & ~(HF_OSFXSR | HF_SMAP) | old & HF_INHIBIT_IRQ
    flags |= sregs.cpl & HF_CPL
    flags |= HF_PE if sregs.cr0 & _PE else 0
    flags |= (sregs.cr0 & _MP_EM_TS) << 8
    flags |= HF_OSFXSR if sregs.cr4 & _OSFXSR else 0
    flags |= HF_SMAP if sregs.cr4 & _SMAP else 0
    flags |= HF_LMA if sregs.efer & _LMA else 0
    if mode is CpuMode.LONG:
        return flags | HF_CS32 | HF_SS32 | HF_CS64
    flags |= HF_CS32 if sregs.cs.db else 0
    flags |= HF_SS32 if sregs.ss.db else 0
    based = sregs.ds.base or sregs.es.base or sregs.ss.base
    return flags | (HF_ADDSEG if mode is CpuMode.REAL or not sregs.cs.db or based else 0)
