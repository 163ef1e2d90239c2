"""The system registers as rows: segments with their hidden parts, tables, control bits by name.

Must not know: how a card is rendered.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntFlag
from typing import TYPE_CHECKING, Final

from ..debugger.evidence import segment_kind
from ..x86.registers import CR0, CR4, EFER, CpuMode
from .cpu import SEGMENTS, mode_words
from .tables import Card, Column, Line, Table, head, line

if TYPE_CHECKING:
    from ..x86.registers import Segment, Sregs

BIT_WORDS: Final = {
    "CR0.PE": "protected mode",
    "CR0.MP": "WAIT looks at TS",
    "CR0.EM": "no x87: its instructions raise #NM",
    "CR0.TS": "the task was switched: x87 and SSE raise #NM",
    "CR0.ET": "always 1",
    "CR0.NE": "x87 errors raise #MF",
    "CR0.WP": "CPL 0-2 too may not write to read-only pages",
    "CR0.AM": "RFLAGS.AC checks alignment",
    "CR0.NW": "no write-through",
    "CR0.CD": "caches are off",
    "CR0.PG": "paging",
    "CR4.VME": "virtual-8086 extensions",
    "CR4.PVI": "virtual interrupts in protected mode",
    "CR4.TSD": "RDTSC at CPL 0 alone",
    "CR4.DE": "DR4 and DR5 raise #UD, I/O breakpoints work",
    "CR4.PSE": "4 MiB pages in 32-bit paging",
    "CR4.PAE": "paging entries of 8 bytes",
    "CR4.MCE": "machine checks raise #MC",
    "CR4.PGE": "global pages",
    "CR4.PCE": "RDPMC at any CPL",
    "CR4.OSFXSR": "SSE works",
    "CR4.OSXMMEXCPT": "SIMD errors raise #XM",
    "CR4.UMIP": "SGDT, SIDT, SLDT, SMSW, STR at CPL 0 alone",
    "CR4.FSGSBASE": "RDFSBASE and its relatives work",
    "CR4.OSXSAVE": "XSAVE works",
    "CR4.SMEP": "CPL 0-2 may not execute user pages",
    "CR4.SMAP": "CPL 0-2 may not touch user pages, unless RFLAGS.AC",
    "EFER.SCE": "SYSCALL works",
    "EFER.LME": "long mode, once paging is on",
    "EFER.LMA": "long mode is active",
    "EFER.NXE": "bit 63 of a paging entry is XD",
}
"""What each bit says when it is set (SDM vol. 3, 2.2.1 and 2.5)."""


def system(sregs: Sregs) -> Card:
    """Everything of ``struct kvm_sregs``."""
    parts = (_segments(sregs), _tables(sregs), _control(sregs))
    return Card("System registers", f"{mode_words(sregs.mode)}, CPL {sregs.cpl}.", parts)


def _segments(sregs: Sregs) -> Table:
    columns = (
        Column("register"),
        Column("selector"),
        Column("base"),
        Column("limit"),
        Column("DPL"),
        Column("what it is", prose=True),
    )
    real = sregs.mode is CpuMode.REAL
    lines = [_segment(name, getattr(sregs, name), real) for name in SEGMENTS]
    lines += [_segment("tr", sregs.tr, real), _segment("ldtr", sregs.ldt, real)]
    return Table(columns, tuple(lines), "Segments, with the part that only the processor sees")


def _segment(name: str, segment: Segment, real: bool) -> Line:
    words = "unusable" if segment.unusable or not segment.present else segment_kind(segment)
    place = f"{segment.base:#x}", f"{segment.limit:#x}"
    shown = "" if real and name not in ("tr", "ldtr") else words
    return line(head(name), f"{segment.selector:#06x}", *place, str(segment.dpl), shown)


def _tables(sregs: Sregs) -> Table:
    columns = (Column("register"), Column("base"), Column("limit"))
    lines = (
        line(head(name), f"{table.base:#x}", f"{table.limit:#x}")
        for name, table in (("gdtr", sregs.gdt), ("idtr", sregs.idt))
    )
    return Table(columns, tuple(lines), "Descriptor tables")


def _control(sregs: Sregs) -> Table:
    columns = (Column("register"), Column("value"), Column("meaning", prose=True))
    lines = [
        *_bits("cr0", sregs.cr0, CR0),
        line(head("cr2"), f"{sregs.cr2:#x}", "the address of the last page fault"),
        line(head("cr3"), f"{sregs.cr3:#x}", "where the paging tables begin"),
        *_bits("cr4", sregs.cr4, CR4),
        line(head("cr8"), f"{sregs.cr8:#x}", "task priority: interrupts up to it wait"),
        *_bits("efer", sregs.efer, EFER),
        line(head("apic base"), f"{sregs.apic_base:#x}", "bit 11: the local APIC is on"),
    ]
    return Table(columns, tuple(lines), "Control registers, and the bits that are set")


def _bits(name: str, value: int, flags: type[IntFlag]) -> Iterator[Line]:
    """The value, and under it each bit that is set; bits without a name stand as a number."""
    unknown = value
    yield line(head(name), f"{value:#x}", "" if value else "no bit is set")
    for flag in flags:
        if value & flag:
            unknown &= ~flag
            yield line(
                "",
                f"{flag.name} (bit {flag.bit_length() - 1})",
                BIT_WORDS[f"{flags.__name__}.{flag.name}"],
            )
    if unknown:
        yield line("", f"{unknown:#x}", "bits without a name here")
