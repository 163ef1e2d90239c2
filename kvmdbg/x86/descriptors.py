"""Descriptors as bytes and as values: segments, TSS and LDT, interrupt, trap and task gates.

SDM vol. 3, 3.4.5 (segment descriptors), 7.2 (TSS), 6.11 and 6.14.1 (gates). Must not know: where a
table lies, whether a descriptor is allowed to be used; that is delivery.py.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from .registers import MASK32, Segment

TASK_GATE = 0x5
INTERRUPT_GATE_16 = 0x6
TRAP_GATE_16 = 0x7
INTERRUPT_GATE = 0xE
TRAP_GATE = 0xF

_ATTRIBUTES = 0xF0FF00


@lru_cache(maxsize=256)
def segment_from_descriptor(selector: int, quad: int, upper: int = 0) -> Segment:
    """Decode an 8-byte descriptor, read as one little-endian number.

    ``upper`` is the second half of a 16-byte system descriptor (TSS or LDT in long mode,
    SDM 7.2.3), of which bits 31:0 are base bits 63:32. A descriptor with P=0 gives ``unusable=1``.

    >>> segment_from_descriptor(8, 0x00CF9A000000FFFF).limit == 0xFFFFFFFF
    True
    """
    limit = quad & 0xFFFF | quad >> 32 & 0xF0000
    if quad >> 55 & 1:
        limit = limit << 12 | 0xFFF
    base = quad >> 16 & 0xFFFFFF | quad >> 56 << 24 | (upper & MASK32) << 32
    return Segment.from_access(selector, base, limit, quad >> 32 & _ATTRIBUTES)


def pack_descriptor(segment: Segment) -> bytes:
    """Encode a segment as the 8 bytes of a GDT or LDT entry; base bits 63:32 do not fit.

    With ``g=1`` the limit's low 12 bits are dropped (they read back as ones).

    >>> pack_descriptor(segment_from_descriptor(8, 0x00CF9A000000FFFF)).hex()
    'ffff0000009acf00'
    """
    limit = segment.limit >> 12 if segment.g else segment.limit
    quad = (
        limit & 0xFFFF
        | (segment.base & 0xFFFFFF) << 16
        | segment.access << 32
        | (limit & 0xF0000) << 32
        | (segment.base >> 24 & 0xFF) << 56
    )
    return quad.to_bytes(8, "little")


def pack_system_descriptor(segment: Segment) -> bytes:
    """Encode a TSS or LDT as the 16 bytes of a long-mode GDT entry (SDM vol. 3, 7.2.3).

    >>> len(pack_system_descriptor(Segment(base=1 << 40, limit=0x67, type=9, present=1)))
    16
    """
    return pack_descriptor(segment) + (segment.base >> 32 & MASK32).to_bytes(8, "little")


class Gate(NamedTuple):
    """An IDT entry. ``type`` is 5 bits: bit 4 is S, which is 0 in every real gate.

    ``ist`` is 0 outside long mode; ``offset`` has 16, 32 or 64 bits, as the gate has.
    """

    selector: int
    offset: int
    type: int
    dpl: int = 0
    present: int = 1
    ist: int = 0

    @property
    def is_trap(self) -> bool:
        """A trap gate leaves IF alone, an interrupt gate clears it (SDM vol. 3, 6.12.1.3)."""
        return self.type in (TRAP_GATE, TRAP_GATE_16)

    @property
    def is_16bit(self) -> bool:
        """A 16-bit gate pushes words and has a 16-bit offset."""
        return self.type in (INTERRUPT_GATE_16, TRAP_GATE_16)


@lru_cache(maxsize=1024)
def unpack_gate(raw: bytes) -> Gate:
    """Decode 8 bytes (protected mode) or 16 bytes (long mode) of an IDT.

    >>> unpack_gate(bytes.fromhex("00800800008e0000"))
    Gate(selector=8, offset=32768, type=14, dpl=0, present=1, ist=0)
    """
    quad = int.from_bytes(raw[:8], "little")
    kind = quad >> 40 & 0x1F
    offset = quad & 0xFFFF
    if kind not in (INTERRUPT_GATE_16, TRAP_GATE_16):
        offset |= quad >> 48 << 16
    ist = 0
    if len(raw) == 16:
        offset |= int.from_bytes(raw[8:12], "little") << 32
        ist = quad >> 32 & 7
    return Gate(quad >> 16 & 0xFFFF, offset, kind, quad >> 45 & 3, quad >> 47 & 1, ist)


def pack_gate(gate: Gate, *, long: bool) -> bytes:
    """Encode a gate as 16 bytes (``long``) or 8 bytes.

    >>> pack_gate(Gate(8, 0x8000, INTERRUPT_GATE), long=False).hex()
    '00800800008e0000'
    """
    attributes = gate.type | gate.dpl << 5 | gate.present << 7
    quad = (
        gate.offset & 0xFFFF
        | gate.selector << 16
        | attributes << 40
        | (gate.offset >> 16 & 0xFFFF) << 48
    )
    if not long:
        return quad.to_bytes(8, "little")
    quad |= gate.ist << 32
    return quad.to_bytes(8, "little") + (gate.offset >> 32 & MASK32).to_bytes(8, "little")
