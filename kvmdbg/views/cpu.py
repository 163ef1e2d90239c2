"""The processor as rows: registers, debug registers, instructions, memory.

Pure functions from snapshots to cards (``tables``); ``text`` and ``html`` render them. Must not
know: how a card is rendered, or why the guest stopped.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import IntFlag
from itertools import groupby
from typing import TYPE_CHECKING

from ..x86.registers import CR0, CR4, EFER, RFLAGS, CpuMode, linear_pc
from .tables import Card, Cell, Column, Line, Mark, Table, head, line, without_empty_columns

if TYPE_CHECKING:
    from ..x86.decode import Instruction
    from ..x86.registers import Regs, Segment, Sregs

GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp")
EXTENDED = ("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")
SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss")
FLAGS = (
    *("ID", "VIP", "VIF", "AC", "VM", "RF", "NT", "IOPL"),
    *("OF", "DF", "IF", "TF", "SF", "ZF", "AF", "PF", "CF"),
)
"""Highest bit first, the way Bochs prints them."""

FLAG_WORDS = {
    "CF": "carry: an unsigned result did not fit",
    "PF": "parity: the lowest byte has an even number of ones",
    "AF": "auxiliary carry, out of bit 3",
    "ZF": "zero: the result was 0",
    "SF": "sign: the result's highest bit",
    "TF": "trap: a #DB after each instruction",
    "IF": "interrupts are taken",
    "DF": "direction: string instructions go down",
    "OF": "overflow: a signed result did not fit",
    "IOPL": "I/O privilege level: up to this CPL, IN and OUT are allowed",
    "NT": "nested task: IRET goes back to another task",
    "RF": "resume: no instruction breakpoint at the next instruction",
    "VM": "virtual-8086 mode",
    "AC": "alignment check at CPL 3; access control for SMAP",
    "VIF": "virtual interrupt flag",
    "VIP": "virtual interrupt pending",
    "ID": "CPUID is there",
}
"""What each flag says when it is set, lowest bit first (SDM vol. 1, 3.4.3)."""


def mode_words(mode: CpuMode) -> str:
    """The mode in words.

    >>> mode_words(CpuMode.LONG), mode_words(CpuMode.REAL)
    ('long mode, 64-bit code', 'real mode, 16-bit code')
    """
    return f"{mode.value.partition(',')[0]} mode, {mode.bits}-bit code"


def address_digits(largest: int) -> int:
    """Hex digits for a column of addresses: 4, 8 or 16."""
    return next(digits for digits in (4, 8, 16) if digits == 16 or largest < 16**digits)


def register_digits(bits: int, values: Iterable[int]) -> int:
    """The mode's register width, or more where a value would lose bits by it."""
    return max(bits // 4, address_digits(max(values)))


def register_name(name: str, digits: int) -> str:
    """What a register is called at this width.

    >>> register_name("rax", 8), register_name("rax", 4), register_name("r8", 8)
    ('eax', 'ax', 'r8')
    """
    if name in EXTENDED or digits == 16:
        return name
    return ("e" if digits == 8 else "") + name[1:]


class _Changed:
    """Which names changed, and from what, if the caller knows."""

    def __init__(self, changed: Collection[str]) -> None:
        self.old: Mapping[str, tuple[int, int]] = changed if isinstance(changed, Mapping) else {}
        self.names = {name.lower() for name in changed}

    def cell(self, name: str, text: str, form: str) -> Cell:
        """A cell, marked if ``name`` changed; ``form`` formats the old value."""
        if name not in self.names:
            return Cell(text)
        pair = self.old.get(name, self.old.get(name.upper()))
        title = "changed" if pair is None else f"was {format(pair[0], form)}"
        return Cell(text, Mark.CHANGED, title)


def registers(regs: Regs, sregs: Sregs, changed: Collection[str] = ()) -> Card:
    """General registers in four columns, then RIP, flags, segments and control registers.

    ``changed`` holds names (``rax``, ``zf``, ``cs``); where it is a mapping to (old, new), as
    ``Changes.registers`` is, a mark also tells the old value. Widths follow the mode: 4, 8 or 16
    digits; a value that does not fit makes all of them wider, so that no bit is ever hidden.
    """
    mode = sregs.mode
    marks = _Changed(changed)
    parts = (
        _general(regs, mode, marks),
        _pointers(regs, sregs, marks),
        _flags(regs.rflags, marks),
        _segments(sregs, marks),
        _control(sregs),
    )
    return Card(f"Registers: {mode_words(mode)}, CPL {sregs.cpl}", "", parts)


def _pairs(*lines: list[tuple[str, Cell]]) -> Table:
    """Names with values side by side; each value keeps room for its mark."""
    columns: list[Column] = []
    for column in zip(*lines, strict=True):
        columns += [Column(), Column(width=max(len(cell.text) for _, cell in column) + 2)]
    rows = (line(*(c for name, cell in pairs for c in (head(name), cell))) for pairs in lines)
    return Table(tuple(columns), tuple(rows), gap=1)


def _general(regs: Regs, mode: CpuMode, marks: _Changed) -> Table:
    names = GENERAL + EXTENDED if mode is CpuMode.LONG else GENERAL
    digits = register_digits(mode.bits, (getattr(regs, name) for name in names))
    form = f"0{digits}x"
    pairs = [
        (register_name(name, digits), marks.cell(name, format(getattr(regs, name), form), form))
        for name in names
    ]
    return _pairs(*(pairs[n : n + 4] for n in range(0, len(pairs), 4)))


def _pointers(regs: Regs, sregs: Sregs, marks: _Changed) -> Table:
    digits = register_digits(sregs.mode.bits, (regs.rip, regs.rflags))
    form = f"0{digits}x"
    pairs = [
        (register_name(name, digits), marks.cell(name, format(getattr(regs, name), form), form))
        for name in ("rip", "rflags")
    ]
    if sregs.mode is not CpuMode.LONG:
        pairs.insert(1, ("linear", Cell(f"{linear_pc(regs.rip, sregs):#x}")))
    return _pairs(pairs)


def flag_value(name: str, rflags: int) -> int:
    """0 or 1; of IOPL 0 to 3."""
    return rflags >> 12 & 3 if name == "IOPL" else int(bool(rflags & RFLAGS[name]))


def _flag_cell(name: str, rflags: int, marks: _Changed) -> Cell:
    if name == "IOPL":
        return marks.cell("iopl", f"iopl={flag_value(name, rflags)}", "d")
    is_set = flag_value(name, rflags)
    cell = marks.cell(name.lower(), name if is_set else name.lower(), "d")
    return cell._replace(title=cell.title or ("set" if is_set else "clear"))


def _flags(rflags: int, marks: _Changed) -> Table:
    cells = [_flag_cell(name, rflags, marks) for name in FLAGS]
    return Table((Column(),) * 18, (line(head("flags", "CAPITALS are set"), *cells),), gap=1)


def segment_words(segment: Segment) -> str:
    """What a protected-mode segment is.

    >>> from kvmdbg.x86.registers import Segment
    >>> segment_words(Segment.from_access(8, 0, 0xFFFFFFFF, 0xAF9B00))
    '64-bit code, DPL 0'
    """
    if segment.unusable or not segment.present:
        return "unusable"
    if segment.type & 8:
        width = 64 if segment.l else 32 if segment.db else 16
        kind = f"{width}-bit {'conforming ' if segment.type & 4 else ''}code"
    else:
        kind = "writable data" if segment.type & 2 else "read-only data"
        kind += ", expand-down" if segment.type & 4 else ""
    return f"{kind}, DPL {segment.dpl}"


def _segment_cells(sregs: Sregs, marks: _Changed) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    real = sregs.mode is CpuMode.REAL
    for name in SEGMENTS:
        segment: Segment = getattr(sregs, name)
        selector = marks.cell(name, f"{segment.selector:04x}", "04x")
        words = "" if real else segment_words(segment)
        span = f"limit {segment.limit:#x}"
        yield name, (selector, Cell(f"base {segment.base:#x}"), Cell(span), Cell(words))


def _segments(sregs: Sregs, marks: _Changed) -> Table:
    """Neighbours that hold the same share a line: ``ds es fs gs ss``."""
    lines = [
        line(head(" ".join(name for name, _ in group)), *cells)
        for cells, group in groupby(_segment_cells(sregs, marks), key=lambda found: found[1])
    ]
    columns = (Column(), Column(), Column(), Column(), Column(prose=True))
    return without_empty_columns(Table(columns, tuple(lines)))


def set_bits(value: int, flags: type[IntFlag] | None) -> list[str]:
    """The names of the bits that are set, lowest first."""
    return [] if flags is None else [flag.name or "" for flag in flags if value & flag]


def _bit_names(value: int, flags: type[IntFlag]) -> str:
    return " ".join([f"{value:#x}", *set_bits(value, flags)])


def _control(sregs: Sregs) -> Table:
    named = {
        "cr0": _bit_names(sregs.cr0, CR0),
        "cr2": f"{sregs.cr2:#x}",
        "cr3": f"{sregs.cr3:#x}",
        "cr4": _bit_names(sregs.cr4, CR4),
        "efer": _bit_names(sregs.efer, EFER),
    }
    return _pairs([(name, Cell(text)) for name, text in named.items()])


_NUMBER = re.compile(r"(?<![\w.])0x[0-9a-f]+")
_RIP_INTEL = re.compile(r"\[rip(?: ([+-]) (0x[0-9a-f]+|\d+))?\]")
_RIP_ATT = re.compile(r"(-?)(0x[0-9a-f]+|\d+)?\(%rip\)")


def _mentioned(ins: Instruction) -> Iterator[int]:
    """Addresses that the operands speak of."""
    rip = _RIP_INTEL.search(ins.operands) or _RIP_ATT.search(ins.operands)
    if rip:
        offset = int(rip[2] or "0", 0)
        yield ins.address + ins.size + (-offset if rip[1] == "-" else offset)
    else:
        yield from (int(number, 16) for number in _NUMBER.findall(ins.operands))


def target_label(ins: Instruction, labels: Mapping[int, str]) -> str:
    """The label that an instruction's operand means, or nothing."""
    return next((labels[number] for number in _mentioned(ins) if number in labels), "")


def instruction_text(ins: Instruction, labels: Mapping[int, str]) -> str:
    """An instruction with the label that it means: ``jmp 0x8004 <loop>``."""
    label = target_label(ins, labels)
    return f"{ins.mnemonic} {ins.operands}".rstrip() + (f" <{label}>" if label else "")


def disassembly(
    instructions: Iterable[Instruction],
    pc: int,
    labels: Mapping[int, str],
    breakpoints: Mapping[int, str],
) -> Card:
    """Instructions with a mark at ``pc``, labels on their own lines, and breakpoints' numbers.

    ``labels`` and ``breakpoints`` are keyed by linear address.
    """
    found = list(instructions)
    digits = address_digits(max((ins.address for ins in found), default=0))
    lines: list[Line] = []
    for ins in found:
        if ins.address in labels:
            lines.append(line("", "", head(f"{labels[ins.address]}:")))
        lines.append(_instruction_line(ins, pc, labels, breakpoints, digits))
    columns = (Column(width=2), Column(), Column(), Column(), Column())
    title = f"{len(found)} instructions from {found[0].address:#x}" if found else "No instructions"
    return Card(
        title, "" if found else "(nothing to disassemble)", (Table(columns, tuple(lines)),), True
    )


def _instruction_line(
    ins: Instruction,
    pc: int,
    labels: Mapping[int, str],
    breakpoints: Mapping[int, str],
    digits: int,
) -> Line:
    here = ins.address == pc
    number = breakpoints.get(ins.address)
    return line(
        Cell("", Mark.HERE, Mark.HERE.words) if here else "",
        "" if number is None else Cell(number, Mark.BREAK, f"breakpoint {number}"),
        f"0x{ins.address:0{digits}x}",
        ins.raw.hex(" "),
        instruction_text(ins, labels),
        here=here,
    )


def hexdump(data: bytes, address: int, changed: Collection[int] = ()) -> Card:
    """Sixteen bytes a row with their ASCII; ``changed`` holds linear addresses."""
    marked = frozenset(changed)
    digits = address_digits(address + len(data))
    columns = (
        Column(width=digits + 4),
        *(Column(f"+{n:x}", width=3 if n != 7 else 4) for n in range(16)),
        Column("ASCII"),
    )
    lines = tuple(
        _dump_line(data[n : n + 16], address + n, marked, digits) for n in range(0, len(data), 16)
    )
    title = f"{len(data):,} bytes at {address:#x}"
    return Card(title, "" if data else "(no bytes)", (Table(columns, lines, gap=0),), True)


def _dump_line(row: bytes, address: int, marked: frozenset[int], digits: int) -> Line:
    cells = [
        Cell(f"{byte:02x}", Mark.CHANGED, "changed")
        if address + n in marked
        else Cell(f"{byte:02x}")
        for n, byte in enumerate(row)
    ]
    cells += [Cell()] * (16 - len(cells))
    ascii = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    return line(head(f"0x{address:0{digits}x}"), *cells, f"|{ascii}|")
