"""LLVM's ELF object files, read and linked into a flat program.

Reads exactly what LLVM writes for x86-64 (ELF64, little-endian, RELA): sections, symbols,
relocations; ELF specification and AMD64 psABI 4.4. Must not know sources or messages: what cannot
be resolved is reported as :class:`Unresolved` values with section offsets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_NOBITS = 1, 2, 4, 8
SHF_ALLOC = 2
SHN_UNDEF, SHN_ABS, SHN_LORESERVE = 0, 0xFFF1, 0xFF00
STT_SECTION, STT_FILE = 3, 4

_NOT_LOADED = (".note", ".comment", ".debug", ".eh_frame", ".llvm")


class Symbol(NamedTuple):
    """``section`` is an index, 0 where undefined, ``SHN_ABS`` for a plain number."""

    name: str
    section: int
    value: int
    kind: int


class Relocation(NamedTuple):
    """``section`` is the index of the section to patch at ``offset``."""

    section: int
    offset: int
    kind: int
    symbol: int
    addend: int


class Field(NamedTuple):
    """How a relocation type stores its value (psABI table 4.9)."""

    name: str
    size: int
    relative: bool
    signed: bool | None  # None: either way


FIELDS = {
    1: Field("R_X86_64_64", 8, False, None),
    2: Field("R_X86_64_PC32", 4, True, True),
    4: Field("R_X86_64_PLT32", 4, True, True),
    10: Field("R_X86_64_32", 4, False, None),
    11: Field("R_X86_64_32S", 4, False, True),
    12: Field("R_X86_64_16", 2, False, None),
    13: Field("R_X86_64_PC16", 2, True, None),  # IP wraps at 64 KB
    14: Field("R_X86_64_8", 1, False, None),
    15: Field("R_X86_64_PC8", 1, True, True),
    24: Field("R_X86_64_PC64", 8, True, None),
}


@dataclass(slots=True)
class Section:
    """``address`` is None until laid out, and stays None for what is not loaded."""

    name: str
    data: bytearray
    align: int
    loaded: bool
    zeros: bool
    address: int | None = None


@dataclass(slots=True)
class ObjectFile:
    """The three tables of an object file; indices are the file's own."""

    sections: list[Section]
    symbols: list[Symbol]
    relocations: list[Relocation]


class Unresolved(NamedTuple):
    """A relocation that cannot be applied.

    ``kind`` is ``"undefined"``, ``"range"`` or ``"type"``; ``detail`` the value or the type's name.
    """

    kind: str
    section: int
    offset: int
    symbol: str
    detail: str


def read_object(data: bytes) -> ObjectFile:
    """Take an object file apart."""
    table, count, names_at = _section_headers(data)
    names = _string_table(data, table[names_at])
    sections = [_section(data, header, names) for header in table]
    symbols: list[Symbol] = []
    relocations: list[Relocation] = []
    for header in table[:count]:
        if header[1] == SHT_SYMTAB:
            symbols = _symbols(data, header, _string_table(data, table[header[6]]))
        elif header[1] == SHT_RELA:
            relocations += _relocations(data, header)
    return ObjectFile(sections, symbols, relocations)


_Header = tuple[int, ...]  # Elf64_Shdr: name type flags addr offset size link info align entsize


def _section_headers(data: bytes) -> tuple[list[_Header], int, int]:
    (start,) = struct.unpack_from("<Q", data, 0x28)
    count, names_at = struct.unpack_from("<HH", data, 0x3C)
    table = [struct.unpack_from("<IIQQQQIIQQ", data, start + index * 64) for index in range(count)]
    return table, count, names_at


def _string_table(data: bytes, header: _Header) -> bytes:
    return data[header[4] : header[4] + header[5]]


def _string(table: bytes, at: int) -> str:
    return table[at : table.index(0, at)].decode(errors="replace")


def _section(data: bytes, header: _Header, names: bytes) -> Section:
    name, kind, offset, size = _string(names, header[0]), header[1], header[4], header[5]
    zeros = kind == SHT_NOBITS
    content = bytearray(size) if zeros else bytearray(data[offset : offset + size])
    loaded = kind in (SHT_PROGBITS, SHT_NOBITS) and not name.startswith(_NOT_LOADED)
    return Section(name, content if loaded else bytearray(), max(1, header[8]), loaded, zeros)


def _symbols(data: bytes, header: _Header, names: bytes) -> list[Symbol]:
    rows = struct.iter_unpack("<IBBHQQ", data[header[4] : header[4] + header[5]])
    return [
        Symbol(_string(names, name), section, value, info & 15)
        for name, info, _, section, value, _ in rows
    ]


def _relocations(data: bytes, header: _Header) -> list[Relocation]:
    rows = struct.iter_unpack("<QQq", data[header[4] : header[4] + header[5]])
    return [
        Relocation(header[7], offset, info & 0xFFFFFFFF, info >> 32, addend)
        for offset, info, addend in rows
    ]


def lay_out(file: ObjectFile, origin: int) -> int:
    """Give every loaded section its address; the first address after the program.

    ``.text`` comes first and begins exactly at ``origin``; then what has bytes, in the order of the
    text, then what is only zeros; each aligned as it asks.
    """
    loaded = [section for section in file.sections if section.loaded]
    loaded.sort(key=lambda section: (section.name != ".text", section.zeros))
    end = origin
    for section in loaded:
        if section.name != ".text" and section.data:
            end = -(-end // section.align) * section.align
        section.address = end
        end += len(section.data)
    return end


def address_of(file: ObjectFile, symbol: Symbol) -> int | None:
    """A symbol's address (or number) in the laid-out program; None where it has none."""
    if symbol.section == SHN_ABS:
        return symbol.value
    if not 0 < symbol.section < min(SHN_LORESERVE, len(file.sections)):
        return None
    base = file.sections[symbol.section].address
    return None if base is None else base + symbol.value


def relocate(file: ObjectFile) -> list[Unresolved]:
    """Apply every relocation of the loaded sections; what could not be applied."""
    found = (_apply(file, one) for one in file.relocations if file.sections[one.section].loaded)
    return [trouble for trouble in found if trouble is not None]


def _apply(file: ObjectFile, one: Relocation) -> Unresolved | None:
    section, symbol = file.sections[one.section], file.symbols[one.symbol]
    name = _target_name(file, one, symbol)
    field = FIELDS.get(one.kind)
    target = 0 if one.symbol == 0 else address_of(file, symbol)
    if field is None:
        return Unresolved("type", one.section, one.offset, name, f"type {one.kind}")
    if target is None or section.address is None:
        return Unresolved("undefined", one.section, one.offset, name, field.name)
    value = target + one.addend - (section.address + one.offset if field.relative else 0)
    if not _fits(value, field):
        return Unresolved("range", one.section, one.offset, name, f"{value:#x} {field.size}")
    where = slice(one.offset, one.offset + field.size)
    section.data[where] = (value % (1 << 8 * field.size)).to_bytes(field.size, "little")
    return None


def _target_name(file: ObjectFile, one: Relocation, symbol: Symbol) -> str:
    """LLVM refers to a local label as its section plus a distance: find the label again."""
    if symbol.kind != STT_SECTION:
        return symbol.name
    for other in file.symbols:
        place = (other.section, other.value)
        if place == (symbol.section, one.addend) and other.name and " " not in other.name:
            return other.name
    return file.sections[symbol.section].name


def _fits(value: int, field: Field) -> bool:
    bits = 8 * field.size
    top = 1 << (bits - 1 if field.signed else bits)
    return -(1 << (bits - 1)) <= value < top


def flatten(file: ObjectFile, origin: int, end: int) -> bytes:
    """The bytes from ``origin`` to ``end``; gaps between sections are zeros."""
    image = bytearray(end - origin)
    for section in file.sections:
        if section.address is not None:
            at = section.address - origin
            image[at : at + len(section.data)] = section.data
    return bytes(image)
