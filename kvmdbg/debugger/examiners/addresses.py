"""Memory operands: canonical, within the segment, allowed by it, aligned.

SDM vol. 3, 5.3 (limits), 5.4 (types); vol. 1, 3.3.7.1 (canonical), 4.1.1 (alignment). Must not
know: paging, privilege.
"""

from __future__ import annotations

import re

from ...x86.decode import operand_names
from ...x86.paging import is_canonical
from ...x86.registers import CR0, MASK32, RFLAGS, Segment
from ...x86.vectors import Vector
from .. import evidence
from ..evidence import Evidence
from . import operands
from .case import Case, finding
from .operands import Pointer

_ALIGNED = re.compile(
    r"v?(?:mov(?:aps|apd|dqa\w*|ntdq|ntdqa|ntps|ntpd)|cmpxchg16b)$|fx(?:save|rstor)(?:64)?$"
)
_XSAVE = re.compile(r"x(?:save(?:opt|c|s)?|rstors?)(?:64)?$")


def examine(case: Case) -> list[Evidence]:
    """Each memory operand; if one is refused, that one alone."""
    found = [_place(case, place) for place in operands.pointers(case)]
    wrong = [item for item in found if item.wrong]
    return wrong[:1] or found


def _place(case: Case, place: Pointer) -> Evidence:
    if case.bits == 64:
        return _flat(case, place)
    return _in_segment(case, place)


def _flat(case: Case, place: Pointer) -> Evidence:
    """64-bit mode: no limits, but an address must be canonical (SDM vol. 1, 3.3.7.1)."""
    first = operands.linear(case, place)
    wrong, mend = "", ""
    if not (is_canonical(first) and is_canonical(first + place.size - 1 & (1 << 64) - 1)):
        wrong, mend = "not canonical: bits 63:47 are not all equal", f"correct {place.text}"
    else:
        wrong, mend = _unaligned(case, first, place)
    return Evidence("address", first, b"", place.text, wrong, mend=mend)


def _in_segment(case: Case, place: Pointer) -> Evidence:
    segment, name = operands.segment(case, place.segment), place.segment.upper()
    words = f"for {place.text}: {evidence.segment_fields(segment)}"
    wrong, mend = _segment_problem(case, segment, name, place)
    if not wrong:
        wrong, mend = _unaligned(case, operands.linear(case, place), place)
    return finding(name, words, wrong, mend)


def _segment_problem(case: Case, segment: Segment, name: str, place: Pointer) -> tuple[str, str]:
    if segment.unusable:
        return f"{name} holds no segment", f"load {name} with a data selector"
    if _beyond(segment, place):
        end = place.offset + place.size - 1
        side = "within" if _expands_down(segment) else "beyond"
        words = f"offset {place.offset:#x}" + (f" to {end:#x}" if place.size > 1 else "")
        return (
            f"{words} is {side} the limit {segment.limit:#x}",
            f"correct the offset, or the limit of the descriptor behind {name}",
        )
    return ("", "") if case.scene.real or case.v86 else _type_problem(case, segment, name, place)


def _expands_down(segment: Segment) -> bool:
    return segment.type & 0xC == 4


def _beyond(segment: Segment, place: Pointer) -> bool:
    """An expand-down segment holds what is above its limit (SDM vol. 3, 5.3)."""
    end = place.offset + place.size - 1
    if not _expands_down(segment):
        return end > segment.limit
    return place.offset <= segment.limit or end > (MASK32 if segment.db else 0xFFFF)


def _type_problem(case: Case, segment: Segment, name: str, place: Pointer) -> tuple[str, str]:
    code, bit1 = segment.type & 8, segment.type & 2
    if _writes(case, place) and (code or not bit1):
        kind = "code, never writable" if code else "read only: type bit 1 (bit 41) is 0"
        return f"it is written, but {name} is {kind}", "write through a writable data segment"
    if code and not bit1 and not _writes(case, place):
        return f"it is read, but {name} is execute only", "make the code segment readable"
    return "", ""


def _writes(case: Case, place: Pointer) -> bool:
    """Whether this operand is surely written: the destination of an ordinary instruction."""
    names = operand_names(case.ins)
    if not names or names[0] != place.text:
        return False
    opcode = case.ins.opcode
    return opcode.startswith(("mov", "add", "sub", "and", "or", "xor", "inc", "dec", "stos"))


def _unaligned(case: Case, linear: int, place: Pointer) -> tuple[str, str]:
    """Instructions that want 16 (or 64) bytes, and alignment checking (#AC)."""
    if case.vector == Vector.AC:
        return _alignment_check(case, linear, place)
    need = _alignment(case, place)
    if need > 1 and linear % need:
        wrong = f"{linear:#x} is not a multiple of {need}, which {case.ins.opcode.upper()} needs"
        return wrong, f"align it to {need} bytes"
    return "", ""


def _alignment(case: Case, place: Pointer) -> int:
    opcode = case.ins.opcode
    if _XSAVE.match(opcode):
        return 64
    return max(16, place.size if place.size in (32, 64) else 16) if _ALIGNED.match(opcode) else 1


def _alignment_check(case: Case, linear: int, place: Pointer) -> tuple[str, str]:
    """CR0.AM, RFLAGS.AC and CPL 3 together (SDM vol. 3, 6.15, interrupt 17)."""
    on = case.sregs.cr0 & CR0.AM and case.regs.rflags & RFLAGS.AC and case.cpl == 3
    size = place.size & -place.size
    if not on or not linear % size:
        return "", ""
    return (
        f"{linear:#x} is not a multiple of {size}, with CR0.AM=1, RFLAGS.AC=1 and CPL 3",
        "align it, or clear RFLAGS.AC",
    )
