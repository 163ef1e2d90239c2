"""Whether a descriptor may go into a segment register: kind, privilege, present.

SDM vol. 3, 5.5-5.8; vol. 2's pseudocode of MOV, JMP, RET, IRET, LTR, LLDT, in its order. Must not
know: where the descriptor was found.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ...x86.registers import Segment

_DATA = ("ds", "es", "fs", "gs")
_CALL_GATES = (4, 12)
_LONG_CODE = "L (bit 53) and D (bit 54) are both 1, which is reserved in long mode"


class By(Enum):
    """What loads a segment register, as far as the rules differ."""

    LOAD = "MOV, POP, LDS"
    JUMP = "far JMP or CALL"
    RETURN = "far RET or IRET"


class Level(NamedTuple):
    """``target`` is the RPL of the CS that a return goes to, None if it is no return."""

    cpl: int
    rpl: int
    target: int | None
    long: bool


class Verdict(NamedTuple):
    """Named as the fields of Evidence that it fills; both empty if nothing is wrong."""

    wrong: str = ""
    mend: str = ""


FITS = Verdict()


def unfit(register: str, by: By, segment: Segment, level: Level) -> Verdict:
    """Why this descriptor does not go into this register."""
    if register == "cs" and by is By.JUMP and not segment.s:
        return _gate(segment, level)
    for verdict in (_kind(register, segment, level.long), _privilege(register, by, segment, level)):
        if verdict.wrong:
            return verdict
    return FITS if segment.present else _absent("the segment")


def _absent(what: str) -> Verdict:
    return Verdict("P (bit 47) is 0: not present", f"set bit 47 once {what} is there")


def _gate(segment: Segment, level: Level) -> Verdict:
    """A call gate or a TSS (SDM vol. 3, 5.8.3): the descriptor's own DPL and P."""
    allowed = (12,) if level.long else (*_CALL_GATES, 1, 5, 9)
    if segment.type not in allowed:
        words = f"S (bit 44) is 0 and type {segment.type:#x} is nothing to jump to"
        return Verdict(words, "use the selector of a code segment")
    least = max(level.cpl, level.rpl)
    if segment.dpl < least:
        return Verdict(f"DPL (bits 46:45) {segment.dpl} is less than {least}", f"give it {least}")
    return FITS if segment.present else _absent("its target")


def _kind(register: str, segment: Segment, long: bool) -> Verdict:
    code, kind = bool(segment.type & 8), segment.type
    name = register.upper()
    if register in ("tr", "ldtr"):
        return _system(register, segment, long)
    if not segment.s:
        words = f"S (bit 44) is 0: a system descriptor cannot be in {name}"
        return Verdict(words, f"give {name} the selector of a segment")
    if register == "cs":
        return _code(segment, long)
    if register == "ss":
        words = "SS takes writable data only: bit 43 must be 0 and bit 41 must be 1"
        return FITS if not code and kind & 2 else Verdict(words, "use a writable data segment")
    if code and not kind & 2:
        return Verdict("bit 41 is 0: an execute-only code segment cannot be read", "set bit 41")
    return FITS


def _code(segment: Segment, long: bool) -> Verdict:
    if not segment.type & 8:
        return Verdict("bit 43 is 0: not a code segment", "use the selector of a code segment")
    return Verdict(_LONG_CODE, "clear D (bit 54)") if long and segment.l and segment.db else FITS


def _system(register: str, segment: Segment, long: bool) -> Verdict:
    """LTR wants an available TSS (a busy one is in use), LLDT an LDT (SDM vol. 3, 7.2.4)."""
    kinds = (2,) if register == "ldtr" else (9,) if long else (1, 9)
    if not segment.s and segment.type in kinds:
        return FITS
    if register == "tr" and not segment.s and segment.type in (3, 11):
        words = f"bit 41 is 1 (type {segment.type:#x}): this TSS is busy already"
        return Verdict(words, "clear bit 41 before LTR")
    wanted = " or ".join(map(hex, kinds))
    words = f"type {segment.type:#x}, S={segment.s} cannot be in {register.upper()}"
    return Verdict(words, f"it takes type {wanted} with S (bit 44) 0")


def _privilege(register: str, by: By, segment: Segment, level: Level) -> Verdict:
    if register == "cs":
        return _return(segment, level) if by is By.RETURN else _jump(segment, level)
    if register == "ss":
        return _stack(segment, level)
    conforming = segment.type & 0xC == 0xC
    least = max(level.rpl, level.cpl)
    if register in _DATA and not conforming and segment.dpl < least:
        who = "RPL" if level.rpl > level.cpl else "CPL"
        words = f"DPL (bits 46:45) {segment.dpl} is less than {who} {least}"
        return Verdict(words, f"use a segment of DPL {least}")
    return FITS


def _stack(segment: Segment, level: Level) -> Verdict:
    wanted = level.cpl if level.target is None else level.target
    if level.rpl == segment.dpl == wanted:
        return FITS
    name = "CPL" if level.target is None else "the RPL of the new CS,"
    words = f"RPL {level.rpl} and DPL (bits 46:45) {segment.dpl} must both be {name} {wanted}"
    return Verdict(words, f"use a stack segment of DPL {wanted}")


def _jump(segment: Segment, level: Level) -> Verdict:
    dpl, cpl = segment.dpl, level.cpl
    if segment.type & 4:
        words = f"conforming code of DPL (bits 46:45) {dpl}, above CPL {cpl}"
        return FITS if dpl <= cpl else Verdict(words, f"lower the DPL to {cpl}")
    if level.rpl <= cpl and dpl == cpl:
        return FITS
    words = f"DPL (bits 46:45) {dpl} and RPL {level.rpl} do not fit CPL {cpl}"
    return Verdict(words, "a jump cannot change CPL: use a gate, or a segment of this CPL")


def _return(segment: Segment, level: Level) -> Verdict:
    dpl, rpl = segment.dpl, level.rpl
    if rpl < level.cpl:
        words = f"RPL {rpl} is less than CPL {level.cpl}: a return cannot go inward"
        return Verdict(words, "correct the CS on the stack")
    fits = dpl <= rpl if segment.type & 4 else dpl == rpl
    words = f"DPL (bits 46:45) {dpl} does not fit the selector's RPL {rpl}"
    return FITS if fits else Verdict(words, f"use a code segment of DPL {rpl}")
