"""What a register, a flag, a vector or a label is, in a few lines of plain text.

Pure functions from a name and a moment of a guest to words; what is not at hand is left out. Must
not know: who asks, or how a value was read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import IntFlag
from typing import Final, NamedTuple

from ..debugger.names import DOLLAR_ONLY, REGISTERS
from ..program import ListingLine
from ..x86 import vectors
from ..x86.registers import CR0, CR4, EFER, RFLAGS, DebugRegs, Regs, Sregs

_FLAGS: Final = {
    "cf": "carry flag: the last addition carried, or the subtraction borrowed (unsigned)",
    "pf": "parity flag: the low byte of the last result has an even number of 1 bits",
    "af": "auxiliary carry flag: a carry out of bit 3, for decimal arithmetic",
    "zf": "zero flag: the last result was zero",
    "sf": "sign flag: the highest bit of the last result is 1",
    "tf": "trap flag: #DB after each instruction",
    "if": "interrupt flag: maskable interrupts are taken",
    "df": "direction flag: string instructions go down in memory",
    "of": "overflow flag: the last result does not fit as a signed number",
    "iopl": "I/O privilege level: the highest CPL that may use IN, OUT, CLI and STI",
    "nt": "nested task flag: IRET goes back to the previous task",
    "rf": "resume flag: no instruction breakpoint at the next instruction",
    "vm": "virtual-8086 mode",
    "ac": "alignment check, or access control under SMAP",
    "vif": "virtual interrupt flag",
    "vip": "virtual interrupt pending",
    "id": "if it can be changed, the processor has CPUID",
}
_ROLES: Final = {
    "rax": "general register; result of MUL and DIV, data of IN and OUT",
    "rbx": "general register",
    "rcx": "general register; count of LOOP and REP, cl of shifts",
    "rdx": "general register; upper half of MUL and DIV, port of IN and OUT (dx)",
    "rsi": "general register; source of string instructions",
    "rdi": "general register; destination of string instructions",
    "rsp": "stack pointer",
    "rbp": "general register; by custom the frame pointer",
    "rip": "instruction pointer: the next instruction, from the base of CS",
    "rflags": "flags register",
    "cs": "code segment register",
    "ds": "data segment register",
    "es": "extra segment register; destination of string instructions",
    "fs": "segment register",
    "gs": "segment register",
    "ss": "stack segment register",
    "cr0": "control register: protection and paging",
    "cr2": "control register: the linear address of the last page fault",
    "cr3": "control register: where the top paging table is (physical)",
    "cr4": "control register: extensions",
    "cr8": "control register: task priority (TPR)",
    "efer": "extended features: long mode, SYSCALL, no-execute",
    "dr6": "the guest's debug status register: what a #DB was",
    "dr7": "the guest's debug control register",
    "cpl": "current privilege level",
    "pc": "the linear address of CS:RIP",
}
_BITS: Final[dict[str, type[IntFlag]]] = {"cr0": CR0, "cr4": CR4, "efer": EFER}
_PART: Final = re.compile(r"[er]?([abcd])[xlh]|[er]?(si|di|sp|bp|ip|flags)l?|(r\d+)[dwb]?")
_SEGMENTS: Final = ("cs", "ds", "es", "fs", "gs", "ss")
SHOWN: Final = 16
"""At most so many bytes of memory are shown at a label."""


class Now(NamedTuple):
    """One moment of a guest, as ``debugger.names.Context`` has it; ``label`` names an address."""

    regs: Regs
    sregs: Sregs
    debugregs: DebugRegs
    pc: int
    read: Callable[[int, int], bytes]
    symbol: Callable[[str], int]
    label: Callable[[int], str]
    hits: int = 0


def register(name: str, now: Now | None) -> str:
    """A register, a part of one, or a flag: what it is, and its value.

    ``name`` is in lower case and without ``$``; one of ``REGISTERS`` or ``DOLLAR_ONLY``.

    >>> print(register("eax", None))
    eax: 32 bits of rax
      general register; result of MUL and DIV, data of IN and OUT
    """
    if name in _FLAGS:
        return _flag(name, now)
    rows = [f"{name}: {_kind(name)}", *_indented(_role(name))]
    if now is not None:
        rows += [f"  value {_value(name, now)}", *_indented(_details(name, now))]
    return "\n".join(rows)


def _indented(text: str) -> list[str]:
    return [f"  {text}"] if text else []


def _flag(name: str, now: Now | None) -> str:
    bit = RFLAGS[name.upper()]
    low = (bit & -bit).bit_length() - 1
    title, _, meaning = _FLAGS[name].partition(": ")
    place = f"bits {low} and {low + 1}" if name == "iopl" else f"bit {low}"
    rows = [f"{name}: {title}, {place} of RFLAGS"]
    rows += [f"  {'' if name in ('iopl', 'id') else '1: '}{meaning}"] if meaning else []
    value = _getter(name)
    return "\n".join(rows if now is None else [*rows, f"  value {value(now)}"])


def _getter(name: str) -> Callable[[Now], int]:
    return (REGISTERS.get(name) or DOLLAR_ONLY[name]).get


def _whole(name: str) -> str:
    """The 64-bit register that a name is or is part of; the name itself for others."""
    match = _PART.fullmatch(name)
    if match is None:
        return name
    return match[3] or (f"r{match[1]}x" if match[1] else f"r{match[2]}")


def _kind(name: str) -> str:
    width, whole = REGISTERS[name].width, _whole(name)
    if whole == name:
        return "2 bits" if width == 2 else f"{width} bits"
    return (
        f"bits 8 to 15 of {whole}"
        if name in ("ah", "bh", "ch", "dh")
        else (f"{width} bits of {whole}")
    )


def _role(name: str) -> str:
    whole = _whole(name)
    if re.fullmatch(r"dr[0-3]", name):
        return f"the guest's debug register {name[2]}: an address"
    return _ROLES.get(whole, "general register" if whole.startswith("r") else "")


def _value(name: str, now: Now) -> str:
    value, width = _getter(name)(now), REGISTERS[name].width
    text = number(value, width)
    label = now.label(value)
    return text if label == f"{value:#x}" or width < 16 else f"{text} ({label})"


def number(value: int, bits: int) -> str:
    """A number in hexadecimal and decimal, and with its sign if it has one.

    >>> number(0xFF, 8), number(3, 64)
    ('0xff = 255 = -1', '0x3 = 3')
    """
    signed = f" = {value - (1 << bits)}" if bits >= 8 and value >> (bits - 1) & 1 else ""
    return f"{value:#x} = {value}{signed}"


def _details(name: str, now: Now) -> str:
    """The bits that are set, or the hidden part of a segment register."""
    if name in _SEGMENTS:
        segment = getattr(now.sregs, name)
        return f"base {segment.base:#x}, limit {segment.limit:#x}, DPL {segment.dpl}"
    if _whole(name) == "rflags":
        return _set_bits(RFLAGS, now.regs.rflags & ~RFLAGS.FIXED & ~RFLAGS.IOPL)
    return _set_bits(_BITS[name], _getter(name)(now)) if name in _BITS else ""


def _set_bits(names: type[IntFlag], value: int) -> str:
    found = [str(bit.name) for bit in names if value & bit == bit]
    return f"set: {', '.join(found)}" if found else "no named bit is set"


def hits() -> str:
    """The counter that a condition may ask for."""
    return "hits: how often this breakpoint was reached, this time included"


def vector(taken: int) -> str:
    """A vector: its names, and what the processor does.

    >>> print(vector(14))
    INT 0Eh, #PF: vector 14 (0xe)
      page fault; pushes an error code, but not in real mode
    """
    head = f"{vectors.both_names(taken)}: vector {taken} ({taken:#x})"
    title = vectors.TITLES.get(taken)
    if title is None:
        return head
    code = "pushes an error code, but not in real mode"
    return f"{head}\n  {title}; {code if taken in vectors.HAS_ERROR_CODE else 'no error code'}"


def constant(name: str, value: int) -> str:
    """A name that the assembler knows as a number.

    >>> constant("LIMIT", 64)
    'LIMIT: a constant of the program, 0x40 = 64'
    """
    return f"{name}: a constant of the program, {number(value, 64)}"


def label(
    name: str,
    address: int,
    data: bytes,
    source: ListingLine | None,
    here: bool,
    breakpoints: Sequence[str],
) -> str:
    """A label: its address, the source line there, what is in memory, who watches it.

    ``data`` are the bytes there now; empty where there is no memory. ``here``: the guest stands
    there.
    """
    rows = [f"{name}: a label, {address:#x}{', where the guest stands' if here else ''}"]
    if source is not None:
        rows.append(f"  line {source.number}: {source.text.strip()}")
    if data:
        size = len(data)
        value = int.from_bytes(data, "little")
        as_number = f" = {number(value, size * 8)}" if size in (1, 2, 4, 8) else ""
        rows.append(f"  memory {data.hex(' ')}{as_number}")
    return "\n".join([*rows, *(f"  breakpoint {text}" for text in breakpoints)])
