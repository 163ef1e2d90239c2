"""The guest that ``Vm()`` starts with: flat, identity mapped, ready to run one program.

Where things lie, in every mode (addresses are physical, linear and offset at once):

==================  =======================================================================
0x0000 - 0x03FF     real mode: interrupt vector table, 256 x 4 bytes
0x0500 - 0x057F     GDT (``GDT``)
0x0600 - 0x0667     TSS (``TSS``): stack for CPL 0 at 0x7800, IST1 (long mode) at 0x8000
0x1000 - 0x1FFF     IDT (``IDT``): 256 gates, none present
0x2000 - 0x5FFF     long mode: PML4 (``PML4``), PDPT (``PDPT``), PDs of the first GiB (``PD``) and
                    of the last below 4 GiB, where devices are (``DEVICE_PD``)
0x6000 - 0x6FFF     the program's stack, growing down from ``STACK`` = 0x7000
0x7000 - 0x77FF     the stack that an entry from CPL 3 gets, growing down from 0x7800
0x7800 - 0x7FFF     the stack of IST1, growing down from 0x8000
0x8000 -            the program (``ORIGIN``)
==================  =======================================================================

GDT selectors are the same in protected and long mode, in the order that SYSCALL/SYSRET and
SYSENTER/SYSEXIT want: see :class:`Selector`.

Long mode maps the first 4 GiB one to one, so that MMIO at 0xD0000000 or 0xFEE00000 can be reached:
2 MiB pages for the first and the last GiB, 1 GiB pages (CPUID: PDPE1GB, which not every host has)
for the two between. All pages are writable and accessible at CPL 3, so that user-mode
demonstrations need no page-table work.
Protected mode runs without paging. No gate is present: an exception without a handler ends in a
triple fault, as on a real machine.

Must not know: engines, or who loads what.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from ..errors import BadInput, UnknownName
from ..x86.descriptors import (
    INTERRUPT_GATE,
    TRAP_GATE,
    Gate,
    pack_descriptor,
    pack_gate,
    pack_system_descriptor,
)
from ..x86.registers import CR0, CR4, EFER, MASK32, MASK64, DescriptorTable, Regs, Segment, Sregs

ORIGIN = 0x8000
STACK = 0x7000
GDT = 0x500
TSS = 0x600
IDT = 0x1000
PML4, PDPT, PD, DEVICE_PD = 0x2000, 0x3000, 0x4000, 0x5000
KERNEL_STACK = 0x7800
IST1_STACK = 0x8000
TSS_LIMIT = 0x67
MODES = ("real", "protected", "long")
SMALLEST_RAM = 0x10000

_GIB = 1 << 30
_MIB2 = 2 << 20


class Selector(IntEnum):
    """Places in the default GDT, without RPL."""

    CODE = 0x08
    DATA = 0x10
    USER_CODE32 = 0x18
    USER_DATA = 0x20
    USER_CODE64 = 0x28
    TSS = 0x30
    CODE32 = 0x40
    CODE16 = 0x48
    DATA16 = 0x50


class GuestImage(NamedTuple):
    """A guest before its first instruction: (physical address, bytes) pairs and registers."""

    memory: tuple[tuple[int, bytes], ...]
    regs: Regs
    sregs: Sregs


def default_guest(mode: str, ram_size: int, entry: int = ORIGIN) -> GuestImage:
    """The default guest of a mode: ``"real"``, ``"protected"`` or ``"long"``.

    ``entry`` is the linear address of the first instruction; above 64 KiB in real mode it is
    reached with CS = its 64 KiB block. Raises UnknownName for another mode, BadInput for RAM below
    ``SMALLEST_RAM`` or an entry that the mode cannot reach.

    >>> guest = default_guest("long", 1 << 24)
    >>> guest.sregs.mode, hex(guest.regs.rip), hex(guest.regs.rsp)
    (<CpuMode.LONG: 'long, 64-bit code'>, '0x8000', '0x7000')
    """
    _check_mode(mode)
    if ram_size < SMALLEST_RAM:
        raise BadInput(
            f"{ram_size} bytes of RAM are too few: give at least {SMALLEST_RAM} (64 KiB)"
        )
    if mode == "real":
        return _real_guest(entry)
    top = MASK64 if mode == "long" else MASK32
    if not 0 <= entry <= top:
        raise BadInput(f"entry {entry:#x} is outside of {mode} mode's addresses")
    return _long_guest(entry) if mode == "long" else _protected_guest(entry)


def gate(
    mode: str,
    vector: int,
    offset: int,
    *,
    selector: int | None = None,
    dpl: int = 3,
    ist: int = 0,
    trap: bool = False,
) -> tuple[int, bytes]:
    """Where a handler's gate goes in the default guest's IVT or IDT, and its bytes.

    ``selector`` is the default guest's CPL 0 code segment unless given; in real mode the segment,
    by default 0 (or the 64 KiB block of an ``offset`` above 64 KiB). ``dpl`` 3 lets CPL 3 use
    INT n; ``ist`` (0-7) counts in long mode, ``trap`` in both protected modes. Raises BadInput for
    a vector, offset, selector, dpl or ist out of range, UnknownName for an unknown mode.

    >>> gate("real", 3, 0x8010)
    (12, b'\\x10\\x80\\x00\\x00')
    """
    _check_mode(mode)
    _check("vector", vector, 255)
    _check("dpl", dpl, 3)
    _check("ist", ist, 7 if mode == "long" else 0)
    if mode == "real":
        return vector * 4, _ivt_entry(offset, selector)
    _check("offset", offset, MASK64 if mode == "long" else MASK32)
    selector = Selector.CODE if selector is None else selector
    _check("selector", selector, 0xFFFF)
    kind = TRAP_GATE if trap else INTERRUPT_GATE
    packed = pack_gate(Gate(selector, offset, kind, dpl, 1, ist), long=mode == "long")
    return IDT + vector * len(packed), packed


def reset_state(cs_base: int = 0xFFFF0000) -> tuple[Regs, Sregs]:
    """The registers after RESET (SDM vol. 3, table 9-1); RDX is the processor's signature, here 0.

    The first instruction is at CS.base + 0xFFF0. CS is F000 with base 0xFFFF0000; a machine whose
    ROM is a copy in RAM below 1 MiB gives ``cs_base=0xF0000``.

    >>> regs, sregs = reset_state()
    >>> hex(sregs.cs.base + regs.rip)
    '0xfffffff0'
    """
    sregs = _real_sregs(Segment(cs_base, 0xFFFF, 0xF000, type=11, present=1, s=1))
    return Regs(rip=0xFFF0), sregs._replace(cr0=0x60000010, idt=DescriptorTable(0, 0xFFFF))


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise UnknownName(f'unknown mode "{mode}"; choose {", ".join(MODES)}')


def _check(what: str, value: int, highest: int) -> None:
    if not 0 <= value <= highest:
        raise BadInput(f"{what} {value:#x} is out of range: 0 to {highest:#x} here")


def _real_place(linear: int, what: str) -> tuple[int, int]:
    """Segment and offset of a linear address below 1 MiB."""
    if not 0 <= linear < 1 << 20:
        raise BadInput(f"{what} {linear:#x} is out of real mode's reach: 0 to 0xfffff")
    return linear >> 4 & 0xF000, linear & 0xFFFF


def _ivt_entry(offset: int, selector: int | None) -> bytes:
    if selector is None:
        selector, offset = _real_place(offset, "offset")
    _check("offset", offset, 0xFFFF)
    _check("selector", selector, 0xFFFF)
    return offset.to_bytes(2, "little") + selector.to_bytes(2, "little")


def _real_sregs(cs: Segment) -> Sregs:
    data = Segment(0, 0xFFFF, 0, type=3, present=1, s=1)
    return Sregs(
        cs=cs,
        ds=data,
        es=data,
        fs=data,
        gs=data,
        ss=data,
        tr=Segment(0, 0xFFFF, 0, type=11, present=1),
        ldt=Segment(0, 0xFFFF, 0, type=2, present=1),
        gdt=DescriptorTable(0, 0xFFFF),
        idt=DescriptorTable(0, 0x3FF),
        cr0=int(CR0.ET),
    )


def _real_guest(entry: int) -> GuestImage:
    selector, ip = _real_place(entry, "entry")
    cs = Segment(selector << 4, 0xFFFF, selector, type=11, present=1, s=1)
    return GuestImage((), Regs(rip=ip, rsp=STACK), _real_sregs(cs))


def _code(selector: int, dpl: int = 0, bits: int = 32) -> Segment:
    """A flat code segment of 16, 32 or 64 bits, already accessed (type 11)."""
    limit = 0xFFFF if bits == 16 else MASK32
    db, long, g = int(bits == 32), int(bits == 64), int(bits != 16)
    return Segment(0, limit, selector | dpl, 11, 1, dpl, db=db, s=1, l=long, g=g)


def _data(selector: int, dpl: int = 0, bits: int = 32) -> Segment:
    """A flat writable data segment, already accessed (type 3)."""
    wide = int(bits != 16)
    return Segment(0, MASK32 if wide else 0xFFFF, selector | dpl, 3, 1, dpl, db=wide, s=1, g=wide)


def _tr() -> Segment:
    """TR as LTR leaves it: a busy 32- or 64-bit TSS (type 11)."""
    return Segment(TSS, TSS_LIMIT, int(Selector.TSS), type=11, present=1)


def _gdt(long: bool) -> bytes:
    """The whole table; a 16-byte TSS descriptor in long mode, 8 bytes and a null one otherwise."""
    tss = pack_system_descriptor(_tr()) if long else pack_descriptor(_tr()) + bytes(8)
    user_code64 = pack_descriptor(_code(Selector.USER_CODE64, 3, 64)) if long else bytes(8)
    return b"".join(
        (
            bytes(8),
            pack_descriptor(_code(Selector.CODE, bits=64 if long else 32)),
            pack_descriptor(_data(Selector.DATA)),
            pack_descriptor(_code(Selector.USER_CODE32, 3)),
            pack_descriptor(_data(Selector.USER_DATA, 3)),
            user_code64,
            tss,
            pack_descriptor(_code(Selector.CODE32)),
            pack_descriptor(_code(Selector.CODE16, bits=16)),
            pack_descriptor(_data(Selector.DATA16, bits=16)),
        )
    )


def _tss(long: bool) -> bytes:
    """A TSS (SDM vol. 3, figures 7-2 and 7-11) without I/O bitmap: CPL 3 gets no port by it."""
    tss = bytearray(TSS_LIMIT + 1)
    if long:
        tss[4:12] = KERNEL_STACK.to_bytes(8, "little")  # RSP0
        tss[36:44] = IST1_STACK.to_bytes(8, "little")
    else:
        tss[4:8] = KERNEL_STACK.to_bytes(4, "little")  # ESP0, SS0
        tss[8:10] = Selector.DATA.to_bytes(2, "little")
    tss[102:104] = (TSS_LIMIT + 1).to_bytes(2, "little")
    return bytes(tss)


def _page_tables() -> tuple[tuple[int, bytes], ...]:
    """4 GiB, one to one; every entry present, writable, user, accessed and, if a page, dirty."""
    table, large = 0x27, 0xE7
    pdpt = [PD | table, _GIB | large, 2 * _GIB | large, DEVICE_PD | table]
    pages = [page | large for page in range(0, 4 * _GIB, _MIB2)]
    return (
        (PML4, _entries([PDPT | table])),
        (PDPT, _entries(pdpt)),
        (PD, _entries(pages[:512])),
        (DEVICE_PD, _entries(pages[-512:])),
    )


def _entries(values: list[int]) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


def _flat_sregs(long: bool) -> Sregs:
    data = _data(Selector.DATA)
    size = 16 if long else 8
    return Sregs(
        cs=_code(Selector.CODE, bits=64 if long else 32),
        ds=data,
        es=data,
        fs=data,
        gs=data,
        ss=data,
        tr=_tr(),
        ldt=Segment(unusable=1),
        gdt=DescriptorTable(GDT, len(_gdt(long)) - 1),
        idt=DescriptorTable(IDT, 256 * size - 1),
        cr0=int(CR0.PE | CR0.MP | CR0.ET | CR0.NE),
        cr4=int(CR4.OSFXSR | CR4.OSXMMEXCPT),
    )


def _protected_guest(entry: int) -> GuestImage:
    memory = ((GDT, _gdt(False)), (TSS, _tss(False)))
    return GuestImage(memory, Regs(rip=entry, rsp=STACK), _flat_sregs(False))


def _long_guest(entry: int) -> GuestImage:
    memory = ((GDT, _gdt(True)), (TSS, _tss(True)), *_page_tables())
    sregs = _flat_sregs(True)
    sregs = sregs._replace(
        cr0=sregs.cr0 | int(CR0.WP | CR0.PG),
        cr3=PML4,
        cr4=sregs.cr4 | int(CR4.PAE),
        efer=int(EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE),
    )
    return GuestImage(memory, Regs(rip=entry, rsp=STACK), sregs)
