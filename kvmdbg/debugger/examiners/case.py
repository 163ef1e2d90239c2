"""One exception at one instruction, as every examiner gets it, and the small words they share.

Must not know: any rule of the processor but its modes.
"""

from __future__ import annotations

from typing import NamedTuple

from ...x86.decode import LONGEST, Instruction
from ...x86.opcode import Opcode, read_opcode
from ...x86.registers import RFLAGS, Regs, Sregs
from ..evidence import Evidence, Scene

_PAGE = 0x1000
_MANY = 3
"""More bits than these in a row are named as a range."""

UNSEEN = "not seen"
"""The name of evidence that lies where this explanation cannot look."""


class Case(NamedTuple):
    """``code`` is the error code, 0 where there is none."""

    scene: Scene
    ins: Instruction
    vector: int
    code: int = 0

    @property
    def regs(self) -> Regs:
        return self.scene.regs

    @property
    def sregs(self) -> Sregs:
        return self.scene.sregs

    @property
    def bits(self) -> int:
        """Default operand and address size."""
        return self.scene.sregs.mode.bits

    @property
    def v86(self) -> bool:
        """Virtual-8086 mode: CPL 3, and segments as in real mode."""
        return self.scene.v86

    @property
    def cpl(self) -> int:
        return 3 if self.v86 else self.scene.sregs.cpl

    @property
    def iopl(self) -> int:
        return (self.regs.rflags & RFLAGS.IOPL) >> 12

    @property
    def raw(self) -> bytes:
        """The instruction's bytes; for one that cannot be decoded, those that follow as well."""
        if not self.ins.mnemonic.startswith("."):
            return self.ins.raw
        at = self.ins.address
        found, _ = self.scene.load(at, min(LONGEST, _PAGE - at % _PAGE))
        return found + self.scene.load(at + len(found), LONGEST - len(found))[0]

    @property
    def opcode(self) -> Opcode:
        """Prefixes and opcode; code -1 if there are only prefixes, or no bytes at all."""
        raw = self.raw
        return read_opcode(raw, self.bits) or Opcode(-1, raw, 0, len(raw), 0)

    @property
    def operand_bytes(self) -> int:
        """Operand size of most instructions: 2, 4 or 8."""
        opcode = self.opcode
        if opcode.rex & 8:
            return 8
        wide = self.bits != 16
        return 4 if wide != (0x66 in opcode.prefixes) else 2


def finding(what: str, meaning: str, wrong: str = "", mend: str = "") -> Evidence:
    """Evidence that lies in no memory: a register, a bit, an operand."""
    return Evidence(what, None, b"", meaning, wrong, mend=mend if wrong else "")


def bit_names(bits: int, names: dict[int, str]) -> str:
    """Which bits are set in a mask, in words.

    >>> bit_names(0x30, {4: "PSE"})
    'bits 4 (PSE), 5'
    """
    set_bits = [n for n in range(bits.bit_length()) if bits >> n & 1]
    words = [f"{n} ({names[n]})" if n in names else str(n) for n in set_bits]
    if len(words) > _MANY and set_bits == [*range(set_bits[0], set_bits[-1] + 1)]:
        return f"bits {set_bits[-1]}:{set_bits[0]}"
    return f"bit{'s' if len(words) > 1 else ''} {', '.join(words)}"
