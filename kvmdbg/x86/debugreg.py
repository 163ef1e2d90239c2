"""DR6 and DR7, bit by bit, and which accesses the four breakpoint slots match.

Everything is a pure function of numbers (SDM vol. 3, 17.2 and 17.3; spec 1.6, 8 and 9). Must not
know: who owns the registers (that is guestdebug.py), engines, or how a register is drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from ..errors import BreakpointError

DR6_RESET: Final = 0xFFFF_0FF0
DR6_FIXED_1: Final = 0xFFFE_07F0
DR6_WRITABLE: Final = 0x0001_E80F
DR6_BLD: Final = 1 << 11
DR6_BD: Final = 1 << 13
DR6_BS: Final = 1 << 14
DR6_BT: Final = 1 << 15
DR6_RTM: Final = 1 << 16
DR6_ACTIVE_LOW: Final = DR6_BLD | DR6_RTM
"""Causes that are reported by a bit that reads 0."""
DR6_B: Final = 0xF
"""B0-B3: the condition of slot n was met."""

DR7_RESET: Final = 0x400
DR7_FIXED_1: Final = 0x400
DR7_WRITABLE: Final = 0xFFFF_2BFF
DR7_ENABLE: Final = 0xFF
"""All of L0-L3 and G0-G3."""
DR7_LOCAL_ENABLES: Final = 0x55
DR7_LE: Final = 1 << 8
DR7_GE: Final = 1 << 9
DR7_RTM: Final = 1 << 11
DR7_GD: Final = 1 << 13

LENGTHS: Final = (1, 2, 8, 4)
"""Bytes watched, by the two LEN bits (0b10 is 8, not 3)."""


class Access(IntEnum):
    """The two R/Wn bits: what slot n waits for."""

    EXEC = 0
    WRITE = 1
    IO = 2
    READ_WRITE = 3


class Slot(NamedTuple):
    """One of the four slots as DR7 describes it; ``length`` is 1, 2, 4 or 8 bytes."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    local: bool
    global_: bool
    access: Access
    length: int

    @property
    def enabled(self) -> bool:
        """Ln or Gn is set."""
        return self.local or self.global_


class Dr7(NamedTuple):
    """DR7 taken apart; ``raw`` is the number it came from."""

    slots: tuple[Slot, Slot, Slot, Slot]
    le: bool
    ge: bool
    rtm: bool
    gd: bool
    raw: int


class Dr6(NamedTuple):
    """DR6 taken apart into causes: True means "this happened", also for the active-low bits."""

    hits: tuple[int, ...]
    bs: bool
    bd: bool
    bt: bool
    bld: bool
    rtm: bool
    raw: int


class Field(NamedTuple):
    """One field of DR6 or DR7, the way the manual's figure 17-1 draws it.

    ``bits`` is ``"13"`` or ``"29-28"``; ``active`` is true when the field says that something
    happened (DR6) or is switched on (DR7), never for fixed bits.
    """

    name: str
    bits: str
    value: int
    meaning: str
    active: bool

    @property
    def low(self) -> int:
        """Number of the lowest bit."""
        return int(self.bits.rpartition("-")[2])

    @property
    def high(self) -> int:
        """Number of the highest bit."""
        return int(self.bits.partition("-")[0])


def _decode_slot(value: int, index: int) -> Slot:
    return Slot(
        index,
        bool(value >> 2 * index & 1),
        bool(value >> 2 * index & 2),
        Access(value >> 16 + 4 * index & 3),
        LENGTHS[value >> 18 + 4 * index & 3],
    )


def decode_dr7(value: int) -> Dr7:
    """Take DR7 apart.

    >>> decode_dr7(0xD0402).slots[0]
    Slot(index=0, local=False, global_=True, access=<Access.WRITE: 1>, length=4)
    """
    return Dr7(
        (
            _decode_slot(value, 0),
            _decode_slot(value, 1),
            _decode_slot(value, 2),
            _decode_slot(value, 3),
        ),
        bool(value & DR7_LE),
        bool(value & DR7_GE),
        bool(value & DR7_RTM),
        bool(value & DR7_GD),
        value,
    )


def _slot_bits(slot: Slot) -> int:
    enables = (slot.local | slot.global_ << 1) << 2 * slot.index
    condition = slot.access | LENGTHS.index(slot.length) << 2
    return enables | condition << 16 + 4 * slot.index


def encode_dr7(
    slots: Iterable[Slot],
    *,
    le: bool = False,
    ge: bool = False,
    rtm: bool = False,
    gd: bool = False,
) -> int:
    """Put DR7 together; a slot that is not given stays off. Bit 10 is always set.

    >>> hex(encode_dr7([Slot(0, False, True, Access.WRITE, 4)]))
    '0xd0402'
    """
    value = DR7_FIXED_1 | DR7_LE * le | DR7_GE * ge | DR7_RTM * rtm | DR7_GD * gd
    for slot in slots:
        value |= _slot_bits(slot)
    return value


def _check_slot(index: int, access: int, length: int) -> None:
    if not 0 <= index <= 3:
        raise BreakpointError(f"there is no debug register slot {index}; choose 0 to 3")
    if length not in LENGTHS:
        raise BreakpointError(f"a debug register cannot watch {length} bytes; choose 1, 2, 4 or 8")
    if access == Access.EXEC and length != 1:
        raise BreakpointError(
            f"an execution breakpoint must have length 1, not {length} (SDM vol. 3, 17.2.4)"
        )


def dr7_without(dr7: int, index: int) -> int:
    """DR7 with slot ``index`` (0-3) off: its Ln, Gn, R/Wn and LENn are 0."""
    return dr7 & ~(3 << 2 * index | 0xF << 16 + 4 * index)


def dr7_with(dr7: int, index: int, access: int, length: int, *, global_: bool = True) -> int:
    """DR7 with slot ``index`` (0-3) set anew; Gn is set, or Ln with ``global_=False``.

    ``length`` is 1, 2, 4 or 8 bytes, and 1 for EXEC (LEN must be 0, SDM vol. 3, 17.2.4).
    BreakpointError for anything else.

    >>> hex(dr7_with(DR7_RESET, 1, Access.EXEC, 1))
    '0x408'
    """
    _check_slot(index, access, length)
    slot = Slot(index, not global_, global_, Access(access), length)
    return dr7_without(dr7, index) | _slot_bits(slot) | DR7_FIXED_1


def decode_dr6(value: int) -> Dr6:
    """Take DR6 apart.

    >>> decode_dr6(0xFFFF4FF1)[:2]
    ((0,), True)
    """
    return Dr6(
        tuple(n for n in range(4) if value >> n & 1),
        bool(value & DR6_BS),
        bool(value & DR6_BD),
        bool(value & DR6_BT),
        not value & DR6_BLD,
        not value & DR6_RTM,
        value,
    )


def encode_dr6(
    hits: Collection[int] = (),
    *,
    bs: bool = False,
    bd: bool = False,
    bt: bool = False,
    bld: bool = False,
    rtm: bool = False,
) -> int:
    """Put DR6 together from causes; fixed bits as the processor reads them.

    >>> hex(encode_dr6(bs=True)), hex(encode_dr6([0]))
    ('0xffff4ff0', '0xffff0ff1')
    """
    causes = DR6_BS * bs | DR6_BD * bd | DR6_BT * bt
    for index in hits:
        causes |= 1 << index
    return (DR6_RESET | causes) & ~(DR6_BLD * bld | DR6_RTM * rtm)


def dr6_as_written(value: int, *, has_rtm: bool = False, has_bld: bool = False) -> int:
    """What DR6 reads after ``mov dr6, value`` (spec 8); by default no RTM and no bus-lock detect.

    >>> hex(dr6_as_written(0xF))
    '0xffff0fff'
    """
    absent = DR6_RTM * (not has_rtm) | DR6_BLD * (not has_bld)
    return value & DR6_WRITABLE | DR6_FIXED_1 | absent


def dr7_as_written(value: int) -> int:
    """What DR7 reads after ``mov dr7, value`` (spec 8).

    >>> hex(dr7_as_written(0xFFFFFFFF))
    '0xffff2fff'
    """
    return value & DR7_WRITABLE | DR7_FIXED_1


def watched_range(address: int, length: int) -> tuple[int, int]:
    """First byte watched and the one after the last; the low log2(length) bits do not count.

    >>> watched_range(0x1003, 4)
    (4096, 4100)
    """
    start = address & ~(length - 1)
    return start, start + length


def data_hits(dr7: int, db: Sequence[int], address: int, size: int, write: bool) -> int:
    """B0-B3 for an access to ``size`` bytes at linear ``address`` (spec 9).

    Only enabled data slots match: R/W=1 on writes, R/W=3 on reads and writes, any overlap. A
    read-modify-write instruction counts as a write. Instruction fetches never match.
    """
    if not dr7 & DR7_ENABLE:
        return 0
    hits = 0
    for slot in decode_dr7(dr7).slots:
        wanted = slot.access == Access.READ_WRITE or (write and slot.access == Access.WRITE)
        if slot.enabled and wanted:
            start, end = watched_range(db[slot.index], slot.length)
            if address < end and start < address + size:
                hits |= 1 << slot.index
    return hits


def exec_hits(dr7: int, db: Sequence[int], linear: int) -> int:
    """B0-B3 for the instruction whose first byte is at ``linear`` (spec 9).

    A slot with LEN other than 0 never matches an execution. ``linear`` is already cut to 32 bits
    outside 64-bit mode; all 64 bits of DRn are compared. RFLAGS.RF is the caller's business.
    """
    if not dr7 & DR7_ENABLE:
        return 0
    hits = 0
    for index in range(4):
        on = dr7 >> 2 * index & 3
        if on and db[index] == linear and not dr7 >> 16 + 4 * index & 0xF:
            hits |= 1 << index
    return hits


_ACCESS_WORDS: Final = {
    Access.EXEC: "execution",
    Access.WRITE: "data writes",
    Access.IO: "I/O reads or writes (needs CR4.DE)",
    Access.READ_WRITE: "data reads or writes",
}


def _fixed(name: str, bits: str, value: int, should: int) -> Field:
    meaning = f"reserved, reads {should:#x}" if should > 1 else f"reserved, reads {should}"
    return Field(name, bits, value, meaning + ("" if value == should else ": not so here"), False)


def _flag(name: str, bit: int, value: int, yes: str, no: str, on: int = 1) -> Field:
    now = value >> bit & 1
    return Field(name, str(bit), now, yes if now == on else no, now == on)


def fields_dr6(value: int) -> list[Field]:
    """Every field of DR6, lowest bit first, fixed ones too; together they are all 64 bits."""
    hits = [_flag(f"B{n}", n, value, f"slot {n}'s condition was met", "not met") for n in range(4)]
    return [
        *hits,
        _fixed("1s", "10-4", value >> 4 & 0x7F, 0x7F),
        _flag("BLD", 11, value, "bus lock detected (active low)", "no bus lock", on=0),
        _fixed("0", "12", value >> 12 & 1, 0),
        _flag("BD", 13, value, "MOV DR met general detect", "no general detect"),
        _flag("BS", 14, value, "single step", "no single step"),
        _flag("BT", 15, value, "task switch with T set", "no task switch"),
        _flag("RTM", 16, value, "inside a transaction (active low)", "no transaction", on=0),
        _fixed("1s", "31-17", value >> 17 & 0x7FFF, 0x7FFF),
        _fixed("0s", "63-32", value >> 32, 0),
    ]


def _enable_fields(value: int) -> list[Field]:
    pairs = [(n, name, 2 * n + k) for n in range(4) for k, name in enumerate(("L", "G"))]
    words = {"L": "until a task switch", "G": "in every task"}
    return [
        _flag(f"{name}{n}", bit, value, f"slot {n} on {words[name]}", "off")
        for n, name, bit in pairs
    ]


def _condition_fields(slot: Slot, value: int) -> list[Field]:
    low = 16 + 4 * slot.index
    idle = "" if slot.enabled else " (slot off)"
    length = f"{slot.length} byte{'s'[: slot.length > 1]}"
    if slot.access == Access.EXEC and slot.length > 1:
        length += ", so it never matches"
    return [
        Field(
            f"R/W{slot.index}",
            f"{low + 1}-{low}",
            value >> low & 3,
            _ACCESS_WORDS[slot.access] + idle,
            slot.enabled,
        ),
        Field(
            f"LEN{slot.index}",
            f"{low + 3}-{low + 2}",
            value >> low + 2 & 3,
            length + idle,
            slot.enabled,
        ),
    ]


def fields_dr7(value: int) -> list[Field]:
    """Every field of DR7, lowest bit first, fixed ones too; together they are all 64 bits."""
    conditions = [
        field for slot in decode_dr7(value).slots for field in _condition_fields(slot, value)
    ]
    return [
        *_enable_fields(value),
        _flag("LE", 8, value, "exact local match (ignored today)", "off"),
        _flag("GE", 9, value, "exact global match (ignored today)", "off"),
        _fixed("1", "10", value >> 10 & 1, 1),
        _flag("RTM", 11, value, "debugs transactions too", "off"),
        _fixed("0", "12", value >> 12 & 1, 0),
        _flag("GD", 13, value, "the next MOV DR faults", "off"),
        _fixed("0s", "15-14", value >> 14 & 3, 0),
        *conditions,
        _fixed("0s", "63-32", value >> 32, 0),
    ]
