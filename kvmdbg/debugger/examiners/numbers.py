"""#DE, #OF, #BR, #MF and #XM: what the numbers were.

SDM vol. 2 (DIV, IDIV, AAM, INTO, BOUND). Must not know: memory protection.
"""

from __future__ import annotations

from ...x86.decode import operand_names
from ...x86.registers import RFLAGS
from ...x86.vectors import Vector
from ..evidence import Evidence
from . import operands
from .case import UNSEEN, Case, finding
from .operands import Value

_HALVES = {1: ("ah", "al"), 2: ("dx", "ax"), 4: ("edx", "eax"), 8: ("rdx", "rax")}
"""The dividend's upper and lower half, by the divisor's size; the quotient goes to the lower."""


def examine_division(case: Case) -> list[Evidence]:
    """#DE: a divisor of 0, or a quotient that does not fit."""
    names = operand_names(case.ins)
    if case.ins.opcode == "aam":
        return _aam(case, names)
    if case.ins.opcode not in ("div", "idiv") or not names:
        return []
    size = operands.width(names[0])
    divisor = operands.value(case, names[0], size or None)
    if divisor is None or size not in _HALVES:
        return []
    return [_divisor(case, names[0], divisor, size)]


def _aam(case: Case, names: tuple[str, ...]) -> list[Evidence]:
    base = int(names[0], 0) if names else 10
    wrong = "" if base else "AAM divides AL by its last byte, which is 0"
    at, raw = case.ins.address + case.ins.size - 1, case.ins.raw[-1:]
    return [Evidence("base", at, raw, f"AAM divides by {base:#x}", wrong, mend="d4 0a is AAM 10")]


def _divisor(case: Case, name: str, divisor: Value, size: int) -> Evidence:
    words = f"{divisor.number:#x}, the divisor"
    wrong, mend = _quotient(case, divisor.number, size)
    if not divisor.number:
        wrong, mend = "division by zero", f"test {name} for 0 before dividing"
    return Evidence(name, divisor.address, divisor.raw, words, wrong, mend=mend)


def _quotient(case: Case, divisor: int, size: int) -> tuple[str, str]:
    """Why the quotient does not fit, and what to do; empty if it does."""
    if not divisor:
        return "", ""
    bits, signed = size * 8, case.ins.opcode == "idiv"
    upper, lower = _HALVES[size]
    dividend = (_half(case, upper) << bits) | _half(case, lower)
    if signed:
        dividend, divisor = _signed(dividend, 2 * bits), _signed(divisor, bits)
    quotient = abs(dividend) // abs(divisor) * (-1 if (dividend < 0) != (divisor < 0) else 1)
    low, high = (-1 << bits - 1, (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if low <= quotient <= high:
        return "", ""
    pair = f"{upper}:{lower}".upper()
    numbers = f"{pair} {dividend:#x} / {divisor:#x} = {quotient:#x}"
    room = f"{lower.upper()} holds {low:#x} to {high:#x}"
    wrong = f"the quotient does not fit: {numbers}, but {room}"
    extend = "sign-extend into" if signed else "clear"
    return wrong, f"{extend} {upper.upper()} before dividing"


def _half(case: Case, name: str) -> int:
    return operands.register(case.regs, name) or 0


def _signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> bits - 1 else number


def examine_overflow(case: Case) -> list[Evidence]:
    """#OF: INTO with OF=1; the trap is met with RIP at INTO or behind it."""
    flags = case.regs.rflags
    wrong = "OF (bit 11) is 1 at INTO" if flags & RFLAGS.OF else ""
    return [finding("RFLAGS", f"{flags:#x}", wrong, "clear OF, or do not use INTO")]


def examine_bounds(case: Case) -> list[Evidence]:
    """#BR: BOUND's index is not between its two bounds."""
    names = operand_names(case.ins)
    if case.ins.opcode != "bound" or len(names) != 2:
        return []
    size = operands.width(names[0])
    index, bounds = operands.register(case.regs, names[0]), operands.value(case, names[1], 2 * size)
    if index is None or bounds is None:
        return []
    low, high = (_signed(bounds.number >> n & (1 << size * 8) - 1, size * 8) for n in (0, size * 8))
    number = _signed(index, size * 8)
    wrong = ""
    if not low <= number <= high:
        wrong = f"{names[0]} is {number:#x}, not between {low:#x} and {high:#x}"
    mend = f"keep {names[0]} within the bounds, or correct them"
    words = f"the bounds are {low:#x} and {high:#x}"
    return [Evidence("bounds", bounds.address, bounds.raw, words, wrong, mend=mend)]


def examine_floating_point(case: Case) -> list[Evidence]:
    """#MF and #XM: which error it was stands in registers that are not seen here."""
    where = "MXCSR: bits 5:0 say which error, bits 12:7 which are masked"
    if case.vector == Vector.MF:
        where = "the x87 status word: bits 5:0 say which error, unless the control word masks it"
    return [finding(UNSEEN, where)]
