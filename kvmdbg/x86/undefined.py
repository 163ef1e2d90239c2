"""Which status flags an instruction leaves undefined, gives a value, and reads.

SDM vol. 1, appendix A, and each instruction's page in vol. 2. Two processors may disagree about a
flag that was left undefined until an instruction defines it again; who compares two runs keeps the
set of such flags (:func:`tainted`). Must not know: who compares, or engines.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from .opcode import Opcode, read_opcode
from .registers import RFLAGS

CF, PF, AF = int(RFLAGS.CF), int(RFLAGS.PF), int(RFLAGS.AF)
ZF, SF, OF = int(RFLAGS.ZF), int(RFLAGS.SF), int(RFLAGS.OF)
STATUS: Final = CF | PF | AF | ZF | SF | OF
_SAHF = SF | ZF | AF | PF | CF


class Effect(NamedTuple):
    """Masks of RFLAGS: flags left ``undefined``, ``defined`` by the result, and ``read``."""

    undefined: int = 0
    defined: int = 0
    read: int = 0


NOTHING: Final = Effect()
_ALL = Effect(defined=STATUS)
_LOGIC = Effect(AF, STATUS & ~AF)
_CARRYING = Effect(0, STATUS, CF)
_STEP = Effect(0, STATUS & ~CF)
_MULTIPLY = Effect(SF | ZF | AF | PF, CF | OF)
_DIVIDE = Effect(STATUS)
_BIT_TEST = Effect(OF | SF | AF | PF, CF)
_BIT_SCAN = Effect(STATUS & ~ZF, ZF)
_COUNT_ZEROS = Effect(OF | SF | AF | PF, CF | ZF)
_ZF_ONLY = Effect(defined=ZF)
_BCD = Effect(OF, STATUS & ~OF, CF | AF)
_ASCII = Effect(OF | SF | ZF | PF, AF | CF, AF)
_ASCII_MULTIPLY = Effect(OF | AF | CF, SF | ZF | PF)
_BMI = Effect(AF | PF, STATUS & ~(AF | PF))
_BEXTR = Effect(AF | SF | PF, ZF | CF | OF)

_ARITHMETIC = (_ALL, _LOGIC, _CARRYING, _CARRYING, _LOGIC, _ALL, _LOGIC, _ALL)
"""ADD, OR, ADC, SBB, AND, SUB, XOR, CMP: opcodes 00-3D by bits 5:3, group 1 by ModRM.reg."""
_GROUP_3 = (_LOGIC, _LOGIC, NOTHING, _ALL, _MULTIPLY, _MULTIPLY, _DIVIDE, _DIVIDE)
_CONDITIONS = (OF, CF, ZF, CF | ZF, SF, PF, SF | OF, ZF | SF | OF)
"""What Jcc, SETcc and CMOVcc look at, by bits 3:1 of the opcode."""

_FIXED: Final[dict[int, Effect]] = {
    **{base * 8 + n: _ARITHMETIC[base] for base in range(8) for n in range(6)},
    **{0x70 + n: Effect(read=_CONDITIONS[n >> 1]) for n in range(16)},
    **{
        0x0F00 + base + n: Effect(read=_CONDITIONS[n >> 1])
        for base in (0x40, 0x80, 0x90)
        for n in range(16)
    },
    **dict.fromkeys((0x69, 0x6B, 0x0FAF), _MULTIPLY),
    **dict.fromkeys((0x84, 0x85, 0xA8, 0xA9), _LOGIC),
    **dict.fromkeys((0x9D, 0xCF, 0x0F07, 0x0FAA), _ALL),  # POPF, IRET, SYSRET, RSM
    **dict.fromkeys((0x9C, 0xCC, 0xCD, 0xF1, 0x0F05), Effect(read=STATUS)),  # they store RFLAGS
    **dict.fromkeys((0xE0, 0xE1), Effect(read=ZF)),
    **dict.fromkeys((0xF8, 0xF9), Effect(defined=CF)),
    **dict.fromkeys((0xF5, 0xD6), Effect(read=CF)),  # CMC of an undefined CF is as undefined
    **dict.fromkeys((0x0FA3, 0x0FAB, 0x0FB3, 0x0FBB), _BIT_TEST),
    **dict.fromkeys((0x0FB0, 0x0FB1, 0x0FC0, 0x0FC1, 0x0F2E, 0x0F2F), _ALL),
    **dict.fromkeys((0x0F02, 0x0F03), _ZF_ONLY),
    0x9E: Effect(defined=_SAHF),
    0x9F: Effect(read=_SAHF),
}
_NOT_IN_64_BIT: Final[dict[int, Effect]] = {
    **dict.fromkeys(range(0x40, 0x50), _STEP),
    **dict.fromkeys((0x27, 0x2F), _BCD),
    **dict.fromkeys((0x37, 0x3F), _ASCII),
    **dict.fromkeys((0xD4, 0xD5), _ASCII_MULTIPLY),
    0x63: _ZF_ONLY,
    0xCE: Effect(read=OF),
}
_GROUPS: Final[dict[int, tuple[Effect, ...]]] = {
    **dict.fromkeys((0x80, 0x81, 0x82, 0x83), _ARITHMETIC),
    **dict.fromkeys((0xF6, 0xF7), _GROUP_3),
    **dict.fromkeys((0xFE, 0xFF), (_STEP, _STEP, *(NOTHING,) * 6)),
    0x0F00: (*(NOTHING,) * 4, _ZF_ONLY, _ZF_ONLY, NOTHING, NOTHING),
    0x0FBA: (*(NOTHING,) * 4, *(_BIT_TEST,) * 4),
}
"""Opcodes whose ModRM.reg says which instruction it is."""

_SHIFTS = frozenset((0xC0, 0xC1, 0xD0, 0xD1, 0xD2, 0xD3))
_DOUBLE_SHIFTS = frozenset((0x0FA4, 0x0FA5, 0x0FAC, 0x0FAD))
_BY_CL = frozenset((0xD2, 0xD3, 0x0FA5, 0x0FAD))
_COMPARING_STRINGS = frozenset((0xA6, 0xA7, 0xAE, 0xAF))
_RCL, _RCR, _SHL, _SAR = 2, 3, 4, 7


def depends_on_rcx(opcode: Opcode) -> bool:
    """Whether RCX decides what happens to the flags: shifts by CL, repeated CMPS and SCAS."""
    repeated = opcode.code in _COMPARING_STRINGS and opcode.repeated
    return opcode.code in _BY_CL or repeated


@lru_cache(4096)
def effect(raw: bytes, bits: int, rcx: int = 0) -> Effect:
    """What the instruction at the start of ``raw`` does to the status flags.

    ``bits`` is the width of the code (16, 32, 64), ``rcx`` the register before the instruction:
    a shift by 0 touches no flag, one by 1 defines OF.

    >>> effect(b"\\xc1\\xe0\\x03", 32) == Effect(AF | OF, CF | PF | ZF | SF)   # shl eax, 3
    True
    >>> effect(b"\\xd3\\xe0", 32, rcx=32)                                      # shl eax, cl
    Effect(undefined=0, defined=0, read=0)
    """
    opcode = read_opcode(raw, bits)
    if opcode is None:
        return NOTHING
    code = opcode.code
    if code in _SHIFTS:
        return _shift(opcode, bits, _count(opcode, raw, bits, rcx))
    if code in _DOUBLE_SHIFTS:
        return _double_shift(opcode, bits, _count(opcode, raw, bits, rcx))
    if code in _COMPARING_STRINGS:
        return NOTHING if opcode.repeated and not _elements(opcode, bits, rcx) else _ALL
    if code in _GROUPS:
        return _GROUPS[code][opcode.after >> 3 & 7]
    if code in (0xC4, 0xC5) and (bits == 64 or opcode.after >> 6 == 3):
        return _vex(opcode, raw)
    return _rarer(opcode, raw, bits)


def tainted(taint: int, effect: Effect) -> int:
    """The undefined flags after an instruction that found ``taint`` undefined.

    >>> tainted(AF, Effect(OF, AF | CF)) == OF
    True
    """
    return taint & ~effect.defined | effect.undefined


def _rarer(opcode: Opcode, raw: bytes, bits: int) -> Effect:
    code, after = opcode.code, opcode.after
    if code in _NOT_IN_64_BIT:
        return NOTHING if bits == 64 else _NOT_IN_64_BIT[code]
    if code in (0x0FBC, 0x0FBD):
        return _COUNT_ZEROS if 0xF3 in opcode.prefixes else _BIT_SCAN
    if code == 0x0FB8:
        return _ALL if 0xF3 in opcode.prefixes else NOTHING  # POPCNT
    if code == 0x0FC7:  # CMPXCHG8B; RDRAND, RDSEED
        return _ZF_ONLY if after >> 3 & 7 == 1 else _ALL if after >= 0xF0 else NOTHING
    if code in (0xDB, 0xDF):  # FUCOMI, FCOMI and their popping forms
        return _ALL if 0xE8 <= after < 0xF8 else NOTHING
    if code in (0x0F38, 0x0F3A):  # PTEST; PCMPESTRM and its relatives
        return _ALL if (code, after) == (0x0F38, 0x17) or 0x60 <= after < 0x64 else NOTHING
    return _FIXED.get(code, NOTHING)


def _shift(opcode: Opcode, bits: int, count: int) -> Effect:
    """Rotates touch CF and OF alone; shifts leave AF undefined."""
    kind, size = opcode.after >> 3 & 7, _size(opcode, bits)
    count &= 63 if size == 64 else 31
    if not count:
        return NOTHING
    overflow = 0 if count == 1 else OF
    if kind < _SHL:
        through = kind in (_RCL, _RCR)
        carry = 0 if through and not count % (size + 1) else CF
        return Effect(overflow, (CF | OF) & ~overflow & (carry | OF), CF if through else 0)
    carry = CF if count >= size and kind != _SAR else 0
    undefined = AF | overflow | carry
    return Effect(undefined, STATUS & ~undefined)


def _double_shift(opcode: Opcode, bits: int, count: int) -> Effect:
    """SHLD and SHRD; by more than the operand's size everything is undefined."""
    size = 8 * opcode.operand_bytes(bits)
    count &= 63 if size == 64 else 31
    if not count:
        return NOTHING
    if count > size:
        return Effect(STATUS)
    undefined = AF | (0 if count == 1 else OF)
    return Effect(undefined, STATUS & ~undefined)


def _size(opcode: Opcode, bits: int) -> int:
    """Operand size in bits; the even opcodes of the shifts are the ones of bytes."""
    return 8 * opcode.operand_bytes(bits) if opcode.code & 1 else 8


def _count(opcode: Opcode, raw: bytes, bits: int, rcx: int) -> int:
    """A shift's count: CL, the immediate behind the operand, or 1."""
    if opcode.code in _BY_CL:
        return rcx & 0xFF
    if opcode.code in (0xD0, 0xD1):
        return 1
    at = opcode.end + _operand_length(opcode, raw, opcode.address_bits(bits))
    return raw[at] if at < len(raw) else 0


def _operand_length(opcode: Opcode, raw: bytes, address_bits: int) -> int:
    """Bytes of ModRM, SIB and displacement (SDM vol. 2, tables 2-1 to 2-3)."""
    mod, rm = opcode.after >> 6, opcode.after & 7
    if mod == 3:
        return 1
    if address_bits == 16:
        return 3 if mod == 2 or (mod, rm) == (0, 6) else 1 + mod
    sib = rm == 4
    base = raw[opcode.end + 1] & 7 if sib and opcode.end + 1 < len(raw) else rm
    wide = mod == 2 or (mod == 0 and base == 5)
    return 1 + sib + (4 if wide else mod)


def _elements(opcode: Opcode, bits: int, rcx: int) -> int:
    """How often a repeated string instruction is carried out at most."""
    return rcx & (1 << opcode.address_bits(bits)) - 1


def _vex(opcode: Opcode, raw: bytes) -> Effect:
    """BMI's instructions of opcode map 2 (ANDN, BLSR, BZHI, BEXTR) and VCOMIS, VPTEST."""
    at = opcode.start
    if raw[at] == 0xC5 or len(raw) < at + 4:
        return _ALL if raw[at + 2 : at + 3] in (b"\x2e", b"\x2f") else NOTHING
    which, code, prefix = raw[at + 1] & 0x1F, raw[at + 3], raw[at + 2] & 3
    if which == 1:
        return _ALL if code in (0x2E, 0x2F) else NOTHING
    if which != 2:
        return NOTHING
    if code == 0xF7 and not prefix:
        return _BEXTR
    bmi = code in (0xF2, 0xF3) or (code == 0xF5 and not prefix)
    return _BMI if bmi else _ALL if code in (0x0E, 0x0F, 0x17) else NOTHING
