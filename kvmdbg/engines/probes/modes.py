"""Seven processor modes for tiny guests: registers and tables, the same addresses in each.

=================  ========================================================================
0x0000 - 0x03FF    real mode: interrupt vector table
0x0500, 0x0600     GDT and TSS
0x1000 - 0x12FF    IDT, ``VECTORS`` gates
0x2000 - 0x4FFF    page tables, one to one; all pages are for CPL 3 too
0x7000, 0x7800     the guest's stack, and the one that an entry from CPL 3 gets
0x8000             the guest (``CODE``); 0x9000 its data (``DATA``)
0xA000             a handler for each vector, 16 bytes apart: HLT
0xC0000            outside RAM: MMIO
=================  ========================================================================

Must not know: engines, or what is probed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...x86.descriptors import (
    INTERRUPT_GATE,
    Gate,
    pack_descriptor,
    pack_gate,
    pack_system_descriptor,
)
from ...x86.registers import CR0, CR4, EFER, DescriptorTable, Segment, Sregs

RAM: Final = 0x10000
_GDT, _TSS, _IDT, _TABLES = 0x500, 0x600, 0x1000, 0x2000
STACK, _KERNEL_STACK = 0x7000, 0x7800
CODE, DATA, HANDLERS, MMIO = 0x8000, 0x9000, 0xA000, 0xC0000
VECTORS: Final = 0x30
HLT: Final = b"\xf4"

KERNEL_CODE, KERNEL_DATA, _USER_CODE, _USER_DATA, _TASK, _CODE32 = 8, 0x10, 0x18, 0x20, 0x28, 0x38
_TABLE_ENTRY, _LARGE_PAGE = 0x27, 0xE7
"""Present, writable, user, accessed; and for a page dirty and large."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode's name, the bits of its code, its CPL, and whether long mode or paging is on."""

    name: str
    bits: int
    cpl: int = 0
    long: bool = False
    paging: bool = False

    @property
    def word(self) -> int:
        """Bytes of a slot of an exception frame."""
        return 8 if self.long else self.bits // 8

    @property
    def end(self) -> bytes:
        """What a guest ends with: HLT, or UD2 where HLT is privileged."""
        return b"\x0f\x0b" if self.cpl else HLT


REAL: Final = Mode("real", 16)
PROTECTED: Final = Mode("protected", 32)
PROTECTED_3: Final = Mode("protected/3", 32, cpl=3)
PAGED: Final = Mode("paged", 32, paging=True)
COMPAT: Final = Mode("compat", 32, long=True, paging=True)
LONG: Final = Mode("long", 64, long=True, paging=True)
LONG_3: Final = Mode("long/3", 64, cpl=3, long=True, paging=True)

MODES: Final = (REAL, PROTECTED, PROTECTED_3, PAGED, COMPAT, LONG, LONG_3)
KERNEL: Final = (REAL, PROTECTED, LONG)
"""CPL 0, one mode for each size of code."""
MAIN: Final = (*KERNEL, PROTECTED_3, LONG_3)


def memory(mode: Mode) -> tuple[tuple[int, bytes], ...]:
    """What lies in guest RAM besides the code: address and bytes."""
    handlers = bytearray(HLT.ljust(16, b"\x90") * VECTORS)
    if mode.bits == 16:
        places = range(HANDLERS, HANDLERS + 16 * VECTORS, 16)
        ivt = b"".join(place.to_bytes(4, "little") for place in places)  # segment 0
        return (0, ivt), (HANDLERS, bytes(handlers))
    tables = ((_GDT, _gdt(mode)), (_TSS, _tss(mode)), (_IDT, _idt(mode)), *_page_tables(mode))
    return *tables, (HANDLERS, bytes(handlers))


def sregs(mode: Mode) -> Sregs:
    """System registers of the mode, at its CPL."""
    if mode.bits == 16:
        return _real_sregs()
    cs, data = _segments(mode)
    return Sregs(
        *(cs, data, data, data, data, data),
        tr=_task(),
        ldt=Segment(unusable=1),
        gdt=DescriptorTable(_GDT, len(_gdt(mode)) - 1),
        idt=DescriptorTable(_IDT, len(_idt(mode)) - 1),
        cr0=int(CR0.PE | CR0.MP | CR0.ET | CR0.NE) | (int(CR0.PG) if mode.paging else 0),
        cr3=_TABLES,
        cr4=int(CR4.PAE) if mode.long else int(CR4.PSE),
        efer=int(EFER.LME | EFER.LMA) if mode.long else 0,
    )


def _real_sregs() -> Sregs:
    data = Segment(0, 0xFFFF, 0, type=3, present=1, s=1)
    return Sregs(
        data._replace(type=11),
        *(data, data, data, data, data),
        tr=Segment(0, 0xFFFF, 0, type=11, present=1),
        ldt=Segment(0, 0xFFFF, 0, type=2, present=1),
        gdt=DescriptorTable(0, 0xFFFF),
        idt=DescriptorTable(0, 0x3FF),
        cr0=int(CR0.ET),
    )


def _segments(mode: Mode) -> tuple[Segment, Segment]:
    if mode.cpl:
        return _code(_USER_CODE, mode.bits, 3), _data(_USER_DATA, 3)
    selector = _CODE32 if mode.long and mode.bits == 32 else KERNEL_CODE
    return _code(selector, mode.bits), _data(KERNEL_DATA)


def _code(selector: int, bits: int, dpl: int = 0) -> Segment:
    long = int(bits == 64)
    return Segment(0, 0xFFFFFFFF, selector | dpl, 11, 1, dpl, db=1 - long, s=1, l=long, g=1)


def _data(selector: int, dpl: int = 0) -> Segment:
    return Segment(0, 0xFFFFFFFF, selector | dpl, 3, 1, dpl, db=1, s=1, g=1)


def _task() -> Segment:
    return Segment(_TSS, 0x67, _TASK, type=11, present=1)


def _gdt(mode: Mode) -> bytes:
    bits = 64 if mode.long else 32
    code = (pack_descriptor(_code(KERNEL_CODE, bits)), pack_descriptor(_data(KERNEL_DATA)))
    user = (pack_descriptor(_code(_USER_CODE, bits, 3)), pack_descriptor(_data(_USER_DATA, 3)))
    code32 = pack_descriptor(_code(_CODE32, 32))
    return b"".join((bytes(8), *code, *user, pack_system_descriptor(_task()), code32))


def _tss(mode: Mode) -> bytes:
    """Where an entry from CPL 3 finds its stack (SDM vol. 3, figures 7-2 and 7-11)."""
    tss = bytearray(0x68)
    tss[4:8] = _KERNEL_STACK.to_bytes(4, "little")  # ESP0, or the lower half of RSP0
    if not mode.long:
        tss[8:10] = KERNEL_DATA.to_bytes(2, "little")
    tss[102:104] = (0x68).to_bytes(2, "little")  # no I/O bitmap
    return bytes(tss)


def _idt(mode: Mode) -> bytes:
    """A gate for each vector, open to CPL 3."""
    places = range(HANDLERS, HANDLERS + 16 * VECTORS, 16)
    gates = (Gate(KERNEL_CODE, place, INTERRUPT_GATE, dpl=3) for place in places)
    return b"".join(pack_gate(gate, long=mode.long) for gate in gates)


def _page_tables(mode: Mode) -> tuple[tuple[int, bytes], ...]:
    if not mode.paging:
        return ()
    if not mode.long:
        return ((_TABLES, _LARGE_PAGE.to_bytes(4, "little")),)  # one page of 4 MiB
    levels = (_TABLES + 0x1000 | _TABLE_ENTRY, _TABLES + 0x2000 | _TABLE_ENTRY, _LARGE_PAGE)
    return tuple(
        (_TABLES + 0x1000 * level, entry.to_bytes(8, "little"))
        for level, entry in enumerate(levels)
    )
