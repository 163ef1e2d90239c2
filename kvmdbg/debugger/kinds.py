"""What a comparer must know of an instruction before both sides execute it.

From its bytes alone: what it does to the flags, whether it may hang an engine or change more than
general registers, and where engines are known to end a step over it in different places. Must not
know: engines.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from ..x86.opcode import IN_OUT, INS_OUTS, Opcode, read_opcode
from ..x86.undefined import NOTHING, STATUS, Effect, depends_on_rcx, effect

HLT: Final = 0xF4


class Cut(Enum):
    """Why steps over an instruction may end in different places: what the summary says, rows."""

    NONE = ("", ())
    REP = ("REP string instruction: a step is one element, or up to 1024", (161, 162, 163, 164))
    MOV_SS = ("MOV SS: a step stops behind it, or behind the next instruction", (148,))
    IRET = ("IRET: a step stops behind it, or one instruction later", (180, 190))
    IO = ("OUT: its IO exit is the step, or comes before it", (165, 167))
    HLT = ("HLT: a step, or an exit of its own", (18,))
    EVENT = ("exception or interrupt: a step stops at the handler, or one later", (178, 179, 180))
    MMIO = ("store to MMIO: its exit is the step, or comes before it", (174, 175))

    def __init__(self, text: str, rows: tuple[int, ...]) -> None:
        self.text = text
        self.rows = rows


class Kind(NamedTuple):
    """``effect`` is None where RCX decides.

    ``plain``: changes general registers, flags and memory alone, and no engine hangs in it.
    """

    raw: bytes
    bits: int
    code: int
    effect: Effect | None
    plain: bool
    cut: Cut

    @property
    def loads_frame(self) -> int:
        """The status flags, if they come out of the frame of an exception."""
        return STATUS if self.code == _IRET else 0

    def effect_with(self, rcx: int) -> Effect:
        """What it does to the flags, with RCX as it is before the instruction."""
        return effect(self.raw, self.bits, rcx) if self.effect is None else self.effect


_PLAIN_TWO_BYTES: Final = frozenset(
    0x0F00 | n
    for n in (
        *(*range(0x10, 0x20), *range(0x28, 0x30), *range(0x40, 0xA0), *range(0xA3, 0xA6)),
        *(*range(0xAB, 0xAE), 0xAF, 0xB0, 0xB1, 0xB3, *range(0xB6, 0xC7), *range(0xC8, 0x100)),
    )
)
_SYSTEM: Final = frozenset(
    (
        *(0x06, 0x07, 0x0E, 0x16, 0x17, 0x1E, 0x1F, 0x8E, 0x9A, 0x9D, 0xC4, 0xC5),
        *(*range(0xCA, 0xD0), 0xEA, 0xF1, HLT, *IN_OUT, *INS_OUTS),
    )
)
_FAR_GROUP: Final = 0xFF
_MOV_SREG, _POP_SS, _IRET, _SS = 0x8E, 0x17, 0xCF, 2


@lru_cache(1 << 14)
def kind_of(raw: bytes, bits: int) -> Kind:
    """The kind of the instruction at the start of ``raw``; no bytes where none can be fetched."""
    opcode = read_opcode(raw, bits)
    if opcode is None:
        return Kind(raw, bits, -1, Effect(STATUS), False, Cut.NONE)
    what = None if depends_on_rcx(opcode) else effect(raw, bits)
    return Kind(raw, bits, opcode.code, what, _plain(opcode), _cut(opcode))


def _plain(opcode: Opcode) -> bool:
    if opcode.code > 0xFF:
        return opcode.code in _PLAIN_TWO_BYTES
    if opcode.code == _FAR_GROUP:
        return opcode.after >> 3 & 7 not in (3, 5)
    return opcode.code not in _SYSTEM and not opcode.is_rep_string


def _cut(opcode: Opcode) -> Cut:
    code = opcode.code
    if opcode.is_rep_string:
        return Cut.REP
    if (code == _MOV_SREG and opcode.after >> 3 & 7 == _SS) or code == _POP_SS:
        return Cut.MOV_SS
    if code == _IRET:
        return Cut.IRET
    if code in IN_OUT or code in INS_OUTS:
        return Cut.IO
    return Cut.HLT if code == HLT else Cut.NONE


UNKNOWN: Final = Kind(b"", 64, -1, NOTHING, False, Cut.NONE)
"""An instruction that cannot be fetched."""
