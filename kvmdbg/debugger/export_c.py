"""A guest as a C program against linux/kvm.h, for whoever would rather not believe us.

From values to text: export.c is the program, what differs from guest to guest is filled in here.
Names of the guest's own (labels) reach comments and strings only through :func:`plain`, which
leaves nothing that C could understand. Must not know: how the values were found, or who runs this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import BadInput
from ..exits import DebugExit, Exit, ExitReason, HltExit, IoExit, MmioExit
from ..uapi import GuestDbg
from ..x86.registers import DebugRegs, DescriptorTable, Regs, Segment, Sregs, VcpuEvents

MOST_BYTES: Final = 4 << 20
"""RAM that is not zero, in bytes: some 25 MB of C."""

_FIRST_LINE: Final = "A guest of kvmdbg, as it stood before its next exits"
_RUN = re.compile(rb"[^\0]++(?:\0{1,15}[^\0]++)*+")
"""Bytes that are not zero, with short gaps: a comment and a table's row cost more than those."""

_CHUNK: Final = 1 << 20
_EMPTY: Final = bytes(_CHUNK)
_ROW: Final = 16
_LONGEST_NAME: Final = 60
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_ .,:;+*()\[\]{}<>=$@#-]")
_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")
_HALF = 6  # a segment's fields on two lines
_TABLES = ("gdt", "idt")
_CONTROL = ("cr0", "cr2", "cr3", "cr4", "cr8", "efer", "apic_base")
_NAMES = {
    ExitReason.DEBUG: "KVM_EXIT_DEBUG",
    ExitReason.IO: "KVM_EXIT_IO",
    ExitReason.MMIO: "KVM_EXIT_MMIO",
    ExitReason.HLT: "KVM_EXIT_HLT",
    ExitReason.SHUTDOWN: "KVM_EXIT_SHUTDOWN",
    ExitReason.INTERNAL_ERROR: "KVM_EXIT_INTERNAL_ERROR",
    ExitReason.FAIL_ENTRY: "KVM_EXIT_FAIL_ENTRY",
}


class Expected(NamedTuple):
    """One exit; ``answer`` is what the guest reads by it, ``rip`` where it stands after it."""

    exit: Exit
    answer: bytes
    rip: int
    where: str


@dataclass(frozen=True)
class Captured:
    """A guest as plain values: all that the program is made of.

    ``listing`` are lines about its labels and code, ``foreseen_by`` says who computed ``exits``.
    """

    ram: bytes
    regs: Regs
    sregs: Sregs
    debugregs: DebugRegs
    events: VcpuEvents
    control: int
    debugreg: tuple[int, ...]
    listing: tuple[str, ...] = ()


def c_program(guest: Captured, exits: Iterable[Expected], foreseen_by: str) -> str:
    """The whole program. BadInput if more than ``MOST_BYTES`` of RAM are not zero."""
    parts = {
        "TITLE": _FIRST_LINE,
        "FORESEEN": plain(foreseen_by),
        "LISTING": "\n".join(f" * {plain(line, 90)}".rstrip() for line in guest.listing) or " *",
        "RAM_SIZE": f"{len(guest.ram):#x}",
        "RAM": _ram(guest.ram),
        "SREGS": "\n".join(_sregs(guest.sregs)),
        "REGS": "\n".join(_numbers(guest.regs._asdict())),
        "DEBUGREGS": "\n".join(_debugregs(guest.debugregs)),
        "SET_EVENTS": str(int(_waits(guest.events))),
        "EVENTS": "\n".join(_events(guest.events)),
        "DEBUG": "\n".join(_debug(guest.control, guest.debugreg)),
        "EXPECTED": "\n".join(_expected(each) for each in exits),
    }
    # In one pass: what is filled in is not looked at again.
    return re.sub(r"@([A-Z_]+)@", lambda found: parts[found[1]], _template())


def is_ours(text: str) -> bool:
    """Whether a text is such a program, by its first lines."""
    return text.startswith(f"/*\n * {_FIRST_LINE}\n")


def plain(name: str, longest: int = _LONGEST_NAME) -> str:
    r"""A name that means nothing to C, neither in a comment nor between quotation marks.

    No slash (so neither end nor begin of a comment), no quotation mark, no backslash, no ``?``
    (trigraphs), no line's end; other characters by their number.

    >>> plain('*/ "?\n')
    '*<2F> <22><3F><0A>'
    """
    shown = _NOT_PLAIN.sub(lambda found: f"<{ord(found[0]):02X}>", name)
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."


@lru_cache(1)
def _template() -> str:
    return Path(__file__).with_name("export.c").read_text(encoding="utf-8")


# RAM


def runs(ram: bytes) -> Iterator[tuple[int, bytes]]:
    """(address, bytes) of all that is not zero, with zeros between where few are.

    >>> list(runs(bytes(8) + b"ab" + bytes(3) + b"c" + bytes(64) + b"d"))
    [(8, b'ab\\x00\\x00\\x00c'), (78, b'd')]
    """
    for start, chunk in _chunks(ram):
        for found in _RUN.finditer(chunk):
            yield start + found.start(), found[0]


def _chunks(ram: bytes | bytearray) -> Iterator[tuple[int, bytes | bytearray]]:
    """The parts of RAM in which something is; most of a large guest's RAM is never touched."""
    for start in range(0, len(ram), _CHUNK):
        chunk = ram[start : start + _CHUNK]
        if chunk != _EMPTY[: len(chunk)]:
            yield start, chunk


def check_size(ram: bytes | bytearray) -> None:
    """BadInput if RAM holds more than a C program should."""
    size = sum(len(chunk) - chunk.count(0) for _, chunk in _chunks(ram))
    if size > MOST_BYTES:
        raise BadInput(
            f"{size:,} bytes of guest RAM are not zero, and a C program may hold "
            f"{MOST_BYTES:,}: export the guest earlier, before it has filled its memory"
        )


def _ram(ram: bytes) -> str:
    check_size(ram)
    found = list(runs(ram)) or [(0, b"\0")]
    arrays = [
        f"static const uint8_t at_{address:x}[] = {{\n{_bytes(data)}\n}};"
        for address, data in found
    ]
    rows = [
        f"    {{ {address:#x}, sizeof at_{address:x}, at_{address:x} }}," for address, _ in found
    ]
    head = (
        "static const struct {\n    uint64_t address;\n    size_t size;\n    const uint8_t *bytes;"
    )
    return "\n\n".join([*arrays, head + "\n} runs[] = {\n" + "\n".join(rows) + "\n};"])


def _bytes(data: bytes) -> str:
    rows = (data[start : start + _ROW] for start in range(0, len(data), _ROW))
    return "\n".join("    " + " ".join(f"{byte:#04x}," for byte in row) for row in rows)


# Registers


def _numbers(values: dict[str, int]) -> Iterator[str]:
    for name, value in values.items():
        yield f"    .{name} = {_hex(value)},"


def _hex(value: int) -> str:
    """C gives a hexadecimal constant the first type that holds it, unsigned ones included."""
    return f"{value:#x}"


def _sregs(sregs: Sregs) -> Iterator[str]:
    for name in _SEGMENTS:
        segment: Segment = getattr(sregs, name)
        fields = list(segment._asdict().items())
        yield f"    .{name} = {{ {_fields(dict(fields[:_HALF]))},"
        yield f"            {_fields(dict(fields[_HALF:]))} }},"
    for name in _TABLES:
        table: DescriptorTable = getattr(sregs, name)
        yield f"    .{name} = {{ {_fields(table._asdict())} }},"
    yield from _numbers({name: getattr(sregs, name) for name in _CONTROL})


def _fields(values: dict[str, int]) -> str:
    return ", ".join(f".{name} = {_hex(value)}" for name, value in values.items())


def _debugregs(debugregs: DebugRegs) -> Iterator[str]:
    yield f"    .db = {{ {', '.join(map(_hex, debugregs.db))} }},"
    yield from _numbers({"dr6": debugregs.dr6, "dr7": debugregs.dr7})


def _waits(events: VcpuEvents) -> bool:
    e = events
    return any((e.exception_injected, e.exception_pending, e.interrupt_injected)) or any(
        (e.nmi_injected, e.nmi_pending, e.nmi_masked, e.interrupt_shadow)
    )


def _events(events: VcpuEvents) -> Iterator[str]:
    """Field by field; ``exception_nr`` is ``exception.nr`` in C."""
    for name, value in events._asdict().items():
        group, _, field = name.partition("_")
        if field and "payload" not in field:
            yield f"    .{group}.{field} = {_hex(value)},"
    yield "    .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,"


def _debug(control: int, debugreg: tuple[int, ...]) -> Iterator[str]:
    yield f"    .control = {_flags(control)},"
    yield f"    .arch.debugreg = {{ {', '.join(map(_hex, debugreg))} }},"


def _flags(control: int) -> str:
    """The control word in the kernel's names."""
    names = [f"KVM_GUESTDBG_{flag.name}" for flag in GuestDbg if control & flag]
    rest = control & ~sum(GuestDbg)
    return " | ".join([*names, *([f"{rest:#x}u"] if rest or not names else [])])


# Exits


def _expected(expected: Expected) -> str:
    """A row of the table."""
    fields = [f".reason = {_NAMES[expected.exit.reason]}", *_facts(expected)]
    where = f" at {plain(expected.where)}" if expected.where else ""
    return f'    {{ {", ".join(fields)},\n      .where = "{where}" }},'


def _facts(expected: Expected) -> Iterator[str]:
    exit = expected.exit
    if isinstance(exit, DebugExit):
        yield f".exception = {exit.exception}, .pc = {_hex(exit.pc)}, .dr6 = {_hex(exit.dr6)}"
    elif isinstance(exit, HltExit):
        yield f".pc = {_hex(expected.rip)}"
    elif isinstance(exit, IoExit):
        yield from _access(exit.port, exit.size, exit.direction == "out", exit.data, expected)
    elif isinstance(exit, MmioExit):
        yield from _access(exit.phys_addr, len(exit.data), exit.is_write, exit.data, expected)


def _access(address: int, size: int, write: bool, data: bytes, expected: Expected) -> Iterator[str]:
    shown = data if write else expected.answer
    yield f".address = {_hex(address)}, .size = {size}, .write = {int(write)}"
    yield f".data = {{ {', '.join(f'{byte:#04x}' for byte in shown)} }}"
