"""The guest's descriptor tables as rows: GDT, LDT, IDT or IVT, and the task state segment.

At most ``MOST`` entries at once, from one that the caller names; equal neighbours that hold nothing
share a line. Must not know: how the guest is run, or how a card is rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

from ..debugger.evidence import (
    GATE_TYPES,
    Scene,
    gate_place,
    segment_kind,
    selector_words,
    table_of,
)
from ..x86 import vectors
from ..x86.descriptors import segment_from_descriptor, unpack_gate
from ..x86.registers import DescriptorTable, Segment
from .tables import Card, Cell, Column, Line, Mark, Table, head, line

MOST: Final = 256
_ENTRY: Final = 8
_LDT: Final = 4
"""The selector's TI bit."""

_GATES: Final = (4, 5, 6, 7, 12, 14, 15)
"""System types whose descriptor holds no base, but a selector and an offset."""

_HOLDERS: Final = ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")


class _Entry(NamedTuple):
    """``raw`` is empty where memory cannot be read; then ``why`` says so."""

    number: int
    address: int
    raw: bytes
    why: str


def gdt(scene: Scene, first: int = 0) -> Card:
    """The GDT from entry ``first`` on: who holds which selector, and what it means."""
    return _segments(scene, 0, first)


def ldt(scene: Scene, first: int = 0) -> Card:
    """The LDT, if LDTR holds one."""
    return _segments(scene, _LDT, first)


def _segments(scene: Scene, table_bit: int, first: int) -> Card:
    name, table = table_of(scene, table_bit)
    if table.limit < 0:
        return Card(name, f"There is no LDT: LDTR holds {scene.sregs.ldt.selector:#06x}.")
    found = _entries(scene, table, first, _ENTRY)
    if scene.long:
        found = _joined(found)
    columns = (
        Column("selector"),
        Column("bytes"),
        Column("what it is", prose=True),
        Column("base"),
        Column("limit"),
        Column("DPL"),
        Column("P"),
        Column("other bits"),
    )
    lines = tuple(
        _empty_line(group, lambda n: f"{n * _ENTRY | table_bit:#06x}", len(columns))
        if empty
        else _segment_line(scene, group[0], table_bit)
        for empty, group in _grouped(found)
    )
    return Card(name, _extent(name, table, _ENTRY, found), (Table(columns, lines),))


def _extent(name: str, table: DescriptorTable, size: int, shown: list[_Entry]) -> str:
    entries = (table.limit + 1) // size
    noun = "entry" if entries == 1 else "entries"
    words = f"{name}R: base {table.base:#x}, limit {table.limit:#x}: {entries:,} {noun}"
    if len(shown) and shown[-1].number + 1 < entries:
        words += f"; shown up to entry {shown[-1].number}, the next is {shown[-1].number + 1}"
    return f"{words}."


def _entries(scene: Scene, table: DescriptorTable, first: int, size: int) -> list[_Entry]:
    last = min((table.limit + 1) // size, first + MOST)
    return [
        _Entry(n, table.base + n * size, *scene.load(table.base + n * size, size))
        for n in range(max(first, 0), last)
    ]


def _joined(entries: list[_Entry]) -> list[_Entry]:
    """In IA-32e mode a system descriptor has 16 bytes (SDM vol. 3, 3.5.2)."""
    found: list[_Entry] = []
    for entry in entries:
        before = found[-1] if found else None
        if before is not None and len(before.raw) == _ENTRY and _is_system(before.raw):
            found[-1] = before._replace(raw=before.raw + entry.raw, why=entry.why)
        else:
            found.append(entry)
    return found


def _is_system(raw: bytes) -> bool:
    return any(raw) and not raw[5] & 0x10


def _grouped(entries: list[_Entry]) -> Iterator[tuple[bool, list[_Entry]]]:
    """Neighbours that are all zero together, every other entry alone."""
    for empty, group in groupby(entries, key=lambda entry: bool(entry.raw) and not any(entry.raw)):
        if empty:
            yield True, list(group)
        else:
            yield from ((False, [entry]) for entry in group)


def _empty_line(group: list[_Entry], name: Callable[[int], str], columns: int) -> Line:
    first, last = group[0].number, group[-1].number
    names = name(first) if first == last else f"{name(first)} - {name(last)}"
    words = "the null descriptor" if not first and last == first else "empty: all zero"
    return line(head(names), "", words, *[""] * (columns - 3))


def _segment_line(scene: Scene, entry: _Entry, table_bit: int) -> Line:
    selector = entry.number * _ENTRY | table_bit
    holders = _holders(scene, selector)
    mark = Mark.ACTIVE if holders else Mark.NONE
    title = selector_words(selector) + (f"; in {holders}" if holders else "")
    name = Cell(f"{selector:#06x}{f' {holders}' if holders else ''}", mark, title, head=True)
    if not entry.raw:
        return line(name, "", entry.why)
    quad = int.from_bytes(entry.raw[:8], "little")
    segment = segment_from_descriptor(selector, quad, int.from_bytes(entry.raw[8:12], "little"))
    raw = entry.raw.hex(" ")
    if not segment.s and segment.type in _GATES:
        return _gate_in_table(name, raw, entry.raw)
    bits = f"L={segment.l} D/B={segment.db} G={segment.g}" if segment.s else f"G={segment.g}"
    return line(
        name,
        raw,
        segment_kind(segment),
        f"{segment.base:#x}",
        f"{segment.limit:#x}",
        str(segment.dpl),
        _present(segment),
        bits,
    )


def _gate_in_table(name: Cell, shown: str, raw: bytes) -> Line:
    gate = unpack_gate(raw)
    target = f"{gate.selector:#06x}:{gate.offset:#x}"
    kind = GATE_TYPES.get(gate.type, "gate")
    return line(name, shown, f"{kind} to {target}", "", "", str(gate.dpl), str(gate.present), "")


def _present(segment: Segment) -> str:
    return "1" if segment.present else "0: not present"


def _holders(scene: Scene, selector: int) -> str:
    """The registers that were loaded with this selector, whatever its RPL."""
    if not selector:
        return ""
    names = [n for n in _HOLDERS if getattr(scene.sregs, n).selector & ~3 == selector]
    if scene.real:
        names = []
    return " ".join(name.upper() for name in names).replace("LDT", "LDTR")


# IDT and IVT


def idt(scene: Scene, first: int = 0) -> Card:
    """What each vector leads to: the IDT, or in real mode the interrupt vector table."""
    _, _, size = gate_place(scene, 0)
    table = scene.sregs.idt
    found = _entries(scene, table, first, size)
    name = "IVT" if scene.real else "IDT"
    extent = _extent("IDT", table, size, found)
    return Card(name, extent, (_ivt(scene, found) if scene.real else _gates(scene, found),))


def _vector(n: int) -> str:
    return f"{n:#04x}"


def _vector_cell(n: int) -> Cell:
    return Cell(_vector(n), title=vectors.TITLES.get(n, ""), head=True)


def _ivt(scene: Scene, found: list[_Entry]) -> Table:
    columns = (Column("vector"), Column("name"), Column("CS:IP"), Column("handler", prose=True))
    lines = tuple(
        line(_range_cell(group), "", "0000:0000", "empty") if empty else _ivt_line(scene, group[0])
        for empty, group in _grouped(found)
    )
    return Table(columns, lines)


def _range_cell(group: list[_Entry]) -> Cell:
    first, last = group[0].number, group[-1].number
    return head(_vector(first) if first == last else f"{_vector(first)} - {_vector(last)}")


def _ivt_line(scene: Scene, entry: _Entry) -> Line:
    name = vectors.name(entry.number)
    if not entry.raw:
        return line(_vector_cell(entry.number), name, "", entry.why)
    ip, cs = int.from_bytes(entry.raw[:2], "little"), int.from_bytes(entry.raw[2:], "little")
    return line(_vector_cell(entry.number), name, f"{cs:04X}:{ip:04X}", scene.place(cs * 16 + ip))


def _gates(scene: Scene, found: list[_Entry]) -> Table:
    columns = (
        Column("vector"),
        Column("name"),
        Column("bytes"),
        Column("type", prose=True),
        Column("leads to"),
        Column("DPL"),
        Column("P"),
        *((Column("IST"),) if scene.long else ()),
    )
    lines = tuple(
        line(_range_cell(group), "", "", "empty: all zero", *[""] * (len(columns) - 4))
        if empty
        else _gate_line(scene, group[0], len(columns))
        for empty, group in _grouped(found)
    )
    return Table(columns, lines)


def _gate_line(scene: Scene, entry: _Entry, columns: int) -> Line:
    name = vectors.name(entry.number)
    if not entry.raw:
        return line(_vector_cell(entry.number), name, "", entry.why)
    gate = unpack_gate(entry.raw)
    cells = (
        _vector_cell(entry.number),
        name,
        entry.raw.hex(" "),
        f"{gate.type:#x}: {GATE_TYPES.get(gate.type, 'no gate')}",
        f"{gate.selector:#06x}:{_handler(scene, gate.selector, gate.offset)}",
        str(gate.dpl),
        "1" if gate.present else "0: not present",
        str(gate.ist) if gate.ist else "-",
    )
    return line(*cells[:columns])


def _handler(scene: Scene, selector: int, offset: int) -> str:
    """The offset with its label, where the segment begins at 0 or this is 64-bit code."""
    _, table = table_of(scene, selector)
    raw, _ = scene.load(table.base + (selector & 0xFFF8), _ENTRY)
    base = segment_from_descriptor(selector, int.from_bytes(raw, "little")).base if raw else 0
    linear = offset if scene.long else (base + offset) & 0xFFFFFFFF
    words, digits = scene.place(linear), f"{offset:#x}"
    return digits if words == f"{linear:#x}" else f"{digits} {words.partition(' (')[0]}"
