"""An instruction's operands: registers by name, memory by segment, offset and size.

Must not know: which of them are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ...x86.decode import operand_names
from ...x86.registers import MASK32, MASK64, Regs, Segment
from .case import Case

SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss")
_POINTER = re.compile(r"(?:(\w+) ptr )?(?:ptr )?(?:(\w+):)?\[(.+)\]$")
_TERM = re.compile(r"([+-]?)(\w+)(?:\*(\d))?")
_STACK_BASE = re.compile(r"\b[er]?[sb]p\b")
_SIZES = {"byte": 1, "word": 2, "dword": 4, "fword": 6, "qword": 8, "tbyte": 10, "xword": 10}
_SIZES |= {"xmmword": 16, "ymmword": 32, "zmmword": 64}
_PUSHES = ("push", "call", "enter")
_POPS = ("pop", "ret", "leave", "iret")


class Pointer(NamedTuple):
    """A memory operand: segment register, offset in it, size in bytes (1 if it does not say)."""

    segment: str
    offset: int
    size: int
    text: str


class Value(NamedTuple):
    """An operand's value, and where it lies if it lies in memory."""

    number: int
    address: int | None = None
    raw: bytes = b""


def _registers() -> Iterator[tuple[str, tuple[str, int, int]]]:
    """Each name with its full register, shift and width."""
    for letter in "abcd":
        full = f"r{letter}x"
        yield f"{letter}l", (full, 0, 8)
        yield f"{letter}h", (full, 8, 8)
    for name in ("ax", "bx", "cx", "dx", "si", "di", "sp", "bp", "ip"):
        yield name, (f"r{name}", 0, 16)
        yield f"e{name}", (f"r{name}", 0, 32)
        yield f"r{name}", (f"r{name}", 0, 64)
        yield f"{name}l", (f"r{name}", 0, 8)
    for number in range(8, 16):
        for suffix, width in (("", 64), ("d", 32), ("w", 16), ("b", 8)):
            yield f"r{number}{suffix}", (f"r{number}", 0, width)


_REGISTERS = dict(_registers())


def register(regs: Regs, name: str) -> int | None:
    """A general register by any of its names, as wide as the name says; None for anything else."""
    if name not in _REGISTERS:
        return None
    full, shift, width = _REGISTERS[name]
    return int(getattr(regs, full)) >> shift & (1 << width) - 1


def width(name: str) -> int:
    """Bytes of a register or memory operand; 0 where its name does not say."""
    if name in _REGISTERS:
        return _REGISTERS[name][2] // 8
    return _SIZES.get(name.split(" ")[0], 0)


def pointer(case: Case, operand: str) -> Pointer | None:
    """The memory operand in ``operand``; None if it is none."""
    match = _POINTER.search(operand)
    if match is None:
        return None
    size, segment, inside = match.groups()
    offset = _offset(case, inside.replace(" ", ""))
    if offset is None:
        return None
    default = "ss" if _STACK_BASE.search(inside) else "ds"
    mask = (1 << case.opcode.address_bits(case.bits)) - 1
    size_bytes = _SIZES.get(size or "", 1)
    return Pointer(segment or default, offset & mask, size_bytes, operand)


def _offset(case: Case, inside: str) -> int | None:
    """The sum in a memory operand's brackets."""
    total, position = 0, 0
    while position < len(inside):
        match = _TERM.match(inside, position)
        value = None if match is None else _term(case, match[2])
        if match is None or value is None:
            return None
        total += (-1 if match[1] == "-" else 1) * value * int(match[3] or 1)
        position = match.end()
    return total


def _term(case: Case, name: str) -> int | None:
    if name[0].isdigit():
        return int(name, 0)
    if name in ("rip", "eip"):  # relative to the next instruction
        return case.regs.rip + case.ins.size
    return 0 if name in ("riz", "eiz") else register(case.regs, name)


def pointers(case: Case) -> list[Pointer]:
    """Every memory operand, the stack that PUSH, POP, CALL, RET use included."""
    names = operand_names(case.ins)
    found = [one for name in names if (one := pointer(case, name)) is not None]
    stack = _stack(case)
    return [*found, stack] if stack is not None else found


def _stack(case: Case) -> Pointer | None:
    opcode, size = case.ins.opcode, _stack_item(case)
    if opcode.startswith(_PUSHES):
        offset, text = case.regs.rsp - size, "what it pushes"
    elif opcode.startswith(_POPS):
        offset, text = case.regs.rsp, "what it pops"
    else:
        return None
    mask = MASK64 if case.bits == 64 else MASK32 if case.sregs.ss.db else 0xFFFF
    return Pointer("ss", offset & mask, size, text)


def _stack_item(case: Case) -> int:
    """Bytes of one push: in 64-bit mode 8, but for a far return or IRET without REX.W."""
    far = case.ins.opcode.startswith(("retf", "iret", "lret"))
    if case.bits == 64 and not far:
        return 2 if 0x66 in case.opcode.prefixes else 8
    return case.operand_bytes


def segment(case: Case, name: str) -> Segment:
    """A segment register with its hidden part."""
    found: Segment = getattr(case.sregs, name)
    return found


def linear(case: Case, place: Pointer) -> int:
    """The linear address of a memory operand (SDM vol. 3, 3.4.4 for 64-bit mode)."""
    if case.bits == 64:
        base = segment(case, place.segment).base if place.segment in ("fs", "gs") else 0
        return base + place.offset & MASK64
    return segment(case, place.segment).base + place.offset & MASK32


def value(case: Case, operand: str, size: int | None = None) -> Value | None:
    """What an operand holds; None where it cannot be told."""
    number = register(case.regs, operand)
    if number is not None:
        return Value(number)
    place = pointer(case, operand)
    if place is None:
        return _immediate(operand)
    address = linear(case, place)
    raw, _ = case.scene.load(address, size or place.size)
    return Value(int.from_bytes(raw, "little"), address, raw) if raw else None


def _immediate(operand: str) -> Value | None:
    try:
        return Value(int(operand, 0))
    except ValueError:
        return None
