"""Prefixes and opcode of one instruction, without the rest: enough to recognise a few of them.

SDM vol. 2, 2.1 and 2.2. An engine looks here at the instructions that it must carry out itself
(MOV DR, IN, OUT, SYSCALL, ...); everything that is shown to a person comes from decode.py. Must not
know: operands in memory, or what an instruction does.
"""

from __future__ import annotations

from typing import NamedTuple

_LEGACY = frozenset(b"\x66\x67\xf0\xf2\xf3\x2e\x36\x3e\x26\x64\x65")

PUSHF, POPF, IRET, INT3, INT_N, INTO, INT1 = 0x9C, 0x9D, 0xCF, 0xCC, 0xCD, 0xCE, 0xF1
SYSCALL, SYSRET, SYSENTER = 0x0F05, 0x0F07, 0x0F34
MOV_FROM_DR, MOV_TO_DR = 0x0F21, 0x0F23
MOV_TO_CR = 0x0F22
RDTSC, WRMSR, RDMSR = 0x0F31, 0x0F30, 0x0F32
MOV_FROM_CR8, MOV_TO_CR8, RDTSCP = 0x0F2008, 0x0F2208, 0x0F01F9
RDRAND, RDSEED = 0x0FC706, 0x0FC707
"""``Opcode.kind`` of instructions that share their opcode with others."""
STI = 0xFB
MOV_TO_SEGMENT = 0x8E
IN_OUT = frozenset((*range(0xE4, 0xE8), *range(0xEC, 0xF0)))
INS_OUTS = frozenset(range(0x6C, 0x70))
CARRIED_OUT_BY_KVM = IN_OUT | frozenset(
    (0x0F01, 0x0F06, 0x0F09, 0x0F20, 0x0F21, 0x0F22, 0x0F23, 0x0F30, 0x0F32, 0x0FA2, 0xF4)
)
"""INVLPG and LMSW, CLTS, WBINVD, MOV CR and DR, WRMSR, RDMSR, CPUID, HLT, IN and OUT: hardware
leaves the guest for these."""
STRING = INS_OUTS | frozenset((*range(0xA4, 0xA8), *range(0xAA, 0xB0)))


class Opcode(NamedTuple):
    """``code`` is one byte, or 0x0F00 plus the second byte of a two-byte opcode.

    ``prefixes`` are the legacy prefixes, ``rex`` the REX byte or 0, ``start`` the offset of the
    opcode, ``after`` the byte that follows it (ModRM or an immediate; 0 when the bytes end).
    """

    code: int
    prefixes: bytes
    rex: int
    start: int
    after: int

    @property
    def kind(self) -> int:
        """``code``, told apart further where it is shared: MOV CR8, RDTSCP, RDRAND, RDSEED."""
        if self.code in (0x0F20, 0x0F22) and self.rex & 4 and not self.after >> 3 & 7:
            return self.code << 8 | 8
        if self.code == 0x0FC7 and self.after >= 0xF0:
            return self.code << 8 | self.after >> 3 & 7
        return RDTSCP if self.code == 0x0F01 and self.after == 0xF9 else self.code

    @property
    def repeated(self) -> bool:
        """An F2 or F3 prefix is present."""
        return 0xF2 in self.prefixes or 0xF3 in self.prefixes

    @property
    def is_rep_string(self) -> bool:
        """A string instruction with a REP prefix: it is executed once per element."""
        return self.repeated and self.code in STRING

    def address_bits(self, bits: int) -> int:
        """Width of addresses and of a REP's count in code of ``bits``, 67 prefix included."""
        if 0x67 not in self.prefixes:
            return bits
        return 16 if bits == 32 else 32

    def operand_bytes(self, bits: int) -> int:
        """Operand size in code of ``bits``, by REX.W and the 66 prefix; not of byte opcodes."""
        if self.rex & 8:
            return 8
        return 2 if (bits == 16) != (0x66 in self.prefixes) else 4

    @property
    def end(self) -> int:
        """Offset of the byte after the opcode: the length of one that has nothing more."""
        return self.start + (2 if self.code > 0xFF else 1)


def read_opcode(raw: bytes, bits: int) -> Opcode | None:
    """Find the opcode in ``raw``, the bytes at an instruction's start; None when they end early.

    >>> read_opcode(bytes.fromhex("440f21c0"), 64)
    Opcode(code=3873, prefixes=b'', rex=68, start=1, after=192)
    """
    at = 0
    while at < len(raw) and raw[at] in _LEGACY:
        at += 1
    prefixes = raw[:at]
    rex = 0
    if bits == 64 and at < len(raw) and raw[at] & 0xF0 == 0x40:
        rex = raw[at]
        at += 1
    if at >= len(raw):
        return None
    code, size = raw[at], 1
    if code == 0x0F:
        if at + 1 >= len(raw):
            return None
        code, size = 0x0F00 | raw[at + 1], 2
    after = raw[at + size] if at + size < len(raw) else 0
    return Opcode(code, prefixes, rex, at, after)
