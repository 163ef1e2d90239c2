"""DR0-DR7 as rows: which breakpoints they make, and every field of DR6 and DR7.

Must not know: how a card is rendered. The bits themselves are ``x86/debugreg.py``'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..x86.debugreg import Access, Field, Slot, decode_dr7, fields_dr6, fields_dr7, watched_range
from .tables import Card, Cell, Column, Line, Mark, Table, head, line

if TYPE_CHECKING:
    from ..x86.registers import DebugRegs

_VERBS = {
    Access.EXEC: "execution of",
    Access.WRITE: "writes to",
    Access.IO: "I/O at port",
    Access.READ_WRITE: "reads and writes of",
}


def slot_words(slot: Slot, address: int) -> str:
    """What one slot waits for.

    >>> slot_words(decode_dr7(0xD0402).slots[0], 0x9002)
    'on: writes to 0x9000-0x9003 (4 bytes, G0)'
    """
    if not slot.enabled:
        return "off"
    enables = " ".join(
        f"{n}{slot.index}" for n, on in (("L", slot.local), ("G", slot.global_)) if on
    )
    if slot.access == Access.EXEC:
        never = "" if slot.length == 1 else ", never: LEN is not 0"
        return f"on: execution of {address:#x} ({enables}{never})"
    start, end = watched_range(address, slot.length)
    span = f"{start:#x}" if slot.length == 1 else f"{start:#x}-{end - 1:#x}"
    size = "1 byte" if slot.length == 1 else f"{slot.length} bytes"
    return f"on: {_VERBS[slot.access]} {span} ({size}, {enables})"


def dr6_words(dr6: int) -> str:
    """The causes in DR6, or that there is none."""
    names = [field.name for field in fields_dr6(dr6) if field.active]
    return "causes: " + ", ".join(names) if names else "no cause"


def dr7_words(dr7: int) -> str:
    """How many slots are on, and the control bits that are set."""
    on = sum(slot.enabled for slot in decode_dr7(dr7).slots)
    bits = [f.name for f in fields_dr7(dr7) if f.active and f.name in ("LE", "GE", "RTM", "GD")]
    slots = "no slot on" if not on else "1 slot on" if on == 1 else f"{on} slots on"
    return ", ".join([slots, *bits])


def debugregs(guest: DebugRegs, host: tuple[int, ...] | None) -> Card:
    """The guest's DR0-DR7 and, where the host owns them (USE_HW_BP), the effective set beside them.

    ``host`` is ``debugreg[0..7]`` of KVM_SET_GUEST_DEBUG, or None.
    """
    if host is None:
        title = "Debug registers: the guest's own are in effect"
    else:
        title = "Debug registers: the host's are in effect, the guest's DR0-DR3 and DR7 are inert"
    return Card(title, "", decoded(guest, host))


def decoded(
    guest: DebugRegs, host: tuple[int, ...] | None, reported: int | None = None
) -> tuple[Table, ...]:
    """DR0-DR7 in short, then DR6 and DR7 bit by bit, the guest's and the effective side by side.

    ``reported`` is the DR6 of an exit: what the processor said, which the guest does not see.
    """
    return _summary(guest, host), _dr6_table(guest.dr6, reported), _dr7_table(guest, host)


def _side(db: tuple[int, ...], dr7: int) -> list[tuple[str, str]]:
    slots = [
        (f"0x{address:016x}", slot_words(slot, address))
        for address, slot in zip(db, decode_dr7(dr7).slots, strict=True)
    ]
    return [*slots, (f"0x{dr7:08x}", dr7_words(dr7))]


def _summary(guest: DebugRegs, host: tuple[int, ...] | None) -> Table:
    sides = [_side(guest.db, guest.dr7)]
    columns = [Column(), Column("guest"), Column("which means", prose=True)]
    if host is not None:
        sides.append(_side(host[:4], host[7]))
        columns += [Column("in effect"), Column("which means", prose=True)]
    rows = [[cell for side in sides for cell in side[n]] for n in range(5)]
    dr6 = [f"0x{guest.dr6:08x}", dr6_words(guest.dr6), *([] if host is None else ["", ""])]
    rows.insert(4, dr6)
    names = ("DR0", "DR1", "DR2", "DR3", "DR6", "DR7")
    lines = [line(head(name), *row) for name, row in zip(names, rows, strict=True)]
    return Table(tuple(columns), tuple(lines))


def field_value(field: Field) -> str:
    """Binary, as wide as the field; hex for the long reserved ones."""
    width = field.high - field.low + 1
    return f"{field.value:0{width}b}" if width <= 3 else f"{field.value:#x}"


def _value_cell(field: Field) -> Cell:
    if field.active:
        return Cell(field_value(field), Mark.ACTIVE, Mark.ACTIVE.words)
    return Cell(field_value(field))


def _field_line(fields: tuple[Field, ...]) -> Line:
    values = [cell for f in fields for cell in (_value_cell(f), f.meaning)]
    return line(fields[0].bits, head(fields[0].name), *values)


def _dr6_table(dr6: int, reported: int | None = None) -> Table:
    columns = [Column("bits", right=True), Column("field")]
    columns += [Column("value" if reported is None else "guest"), Column("meaning", prose=True)]
    sides = [fields_dr6(dr6)]
    if reported is not None:
        columns += [Column("in the exit"), Column("meaning", prose=True)]
        sides.append(fields_dr6(reported))
    lines = tuple(_field_line(fields) for fields in zip(*sides, strict=True))
    return Table(tuple(columns), lines, "DR6, field by field")


def _dr7_table(guest: DebugRegs, host: tuple[int, ...] | None) -> Table:
    columns = [Column("bits", right=True), Column("field")]
    columns += [Column("value" if host is None else "guest"), Column("meaning", prose=True)]
    sides = [fields_dr7(guest.dr7)]
    if host is not None:
        columns += [Column("in effect"), Column("meaning", prose=True)]
        sides.append(fields_dr7(host[7]))
    lines = tuple(_field_line(fields) for fields in zip(*sides, strict=True))
    return Table(tuple(columns), lines, "DR7, field by field")
