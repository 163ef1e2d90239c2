"""``syntax="nasm"``: the nasm program, run in the worker's limits, read back as a Program.

nasm writes three files: the flat binary, a map (origin, sections, symbols) and a listing. Must not
know LLVM.
"""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import AssemblyError, ToolMissing
from . import process
from .diagnostics import Trouble, error_for
from .listing import Listing, listing_line
from .program import Program

BITS = {"real": 16, "protected": 32, "long": 64}

_OWN_ORG = re.compile(r"^\s*\[?\s*org\s", re.I | re.M)
_COMPLAINT = re.compile(r"^program\.asm:(\d+): (?:error|fatal): (.*)$", re.M)
_ORIGIN = re.compile(r"-- Program origin -+\s+([0-9A-F]+)")
_SECTION = re.compile(
    r"^\s*([0-9A-F]+)\s+([0-9A-F]+)\s+([0-9A-F]+)\s+([0-9A-F]+)\s+(\w+)\s+(\S+)$", re.M
)
_LABEL = re.compile(r"^\s*[0-9A-F]+\s+([0-9A-F]+)\s+(\S+)$")
_CONSTANT = re.compile(r"^([0-9A-F]+)\s+(\S+)$")
_ROW = re.compile(r"^ *(\d+)(?: ([0-9A-F]{8}) (\S+)| {10,11})\s*(<\d+>)?")
_SWITCH = re.compile(r"^\s*\[?\s*(?:section|segment)\s+([.\w]+)", re.I)


def assemble_with_nasm(text: str, mode: str, org: int) -> Program:
    """Assemble with nasm; ``org`` holds where the text has no ORG of its own."""
    program = shutil.which("nasm")
    if program is None:
        raise ToolMissing(
            'syntax="nasm" needs the nasm program; get it with apt install nasm, '
            "brew install nasm, or from https://nasm.us"
        )
    rows = re.split(r"\r\n|\r|\n", text)
    answer = process.WORKER.request(
        {"nasm": _command(program, text, mode, org), "source": "\n".join(rows) + "\n"}
    )
    if "died" in answer or answer["status"] != 0:
        raise _error(answer, rows)
    return _program(answer, rows, mode)


def _command(program: str, text: str, mode: str, org: int) -> list[str]:
    before = [f"BITS {BITS[mode]}", "[map all program.map]"]
    if not _OWN_ORG.search(text):
        before.append(f"ORG {org:#x}")
    options = [option for line in before for option in ("--before", line)]
    return [program, "-f", "bin", *options, "-o", "program.bin", "-l", "program.lst"]


def _error(answer: process.Message, rows: list[str]) -> AssemblyError:
    if answer.get("died") == "time":
        return AssemblyError(f"nasm took longer than {process.SECONDS} seconds")
    said = str(answer["stderr"])
    troubles = [
        Trouble(int(number), _first_column(rows, int(number)), message)
        for number, message in _COMPLAINT.findall(said)
    ]
    if troubles:
        return error_for(troubles, rows)
    last = (said.strip().splitlines() or ["it wrote no message"])[-1]
    how = answer.get("died") or f"status {answer['status']}"
    return AssemblyError(f"nasm failed ({how}): {last}; is the program larger than 64 MiB?")


def _first_column(rows: list[str], number: int) -> int:
    """nasm names no column; the statement's beginning is the best there is."""
    row = rows[number - 1] if 1 <= number <= len(rows) else ""
    return len(row) - len(row.lstrip()) + 1


def _program(answer: process.Message, rows: list[str], mode: str) -> Program:
    code = base64.b64decode(answer["binary"])
    plan = _read_map(answer["map"])
    code += bytes(max(0, plan.end - plan.origin - len(code)))  # .bss
    if not code:
        raise AssemblyError("nothing to assemble: the text puts no bytes into the program")
    listing = _listing(answer["listing"], rows, code, plan)
    return Program(code, plan.origin, plan.labels, listing, mode, constants=plan.constants)


class _Map(NamedTuple):
    origin: int
    end: int
    sections: dict[str, tuple[int, int]]  # name -> first address, first after it
    labels: dict[str, int]
    constants: dict[str, int]


def _read_map(text: str) -> _Map:
    found = _ORIGIN.search(text)
    if found is None:
        raise ToolMissing("this nasm writes no map file; install nasm 2.14 or newer")
    origin = int(found.group(1), 16)
    rows = _SECTION.findall(text)
    sections = {name: (int(first, 16), int(last, 16)) for _, first, last, _, _, name in rows}
    labels: dict[str, int] = {}
    constants: dict[str, int] = {}
    for line in text.partition("-- Symbols --")[2].splitlines():
        if label := _LABEL.match(line):
            labels[label.group(2)] = int(label.group(1), 16)
        elif constant := _CONSTANT.match(line):
            constants[constant.group(2)] = int(constant.group(1), 16)
    end = max((last for _, last in sections.values()), default=origin)
    return _Map(origin, end, sections, labels, constants)


def _listing(text: str, rows: list[str], code: bytes, plan: _Map) -> Listing:
    """Which bytes came from which line: from its first offset to the next one in its section."""
    places = sorted(_places(text, rows, plan))
    found: dict[int, tuple[int, bytes]] = {}
    for index, (address, stop, number) in enumerate(places):
        following = places[index + 1][0] if index + 1 < len(places) else stop
        start = found[number][0] if number in found else address
        raw = code[start - plan.origin : min(following, stop) - plan.origin]
        found[number] = (start, raw)
    return Listing(
        listing_line(number, found.get(number), row) for number, row in enumerate(rows, 1)
    )


def _places(text: str, rows: list[str], plan: _Map) -> Iterator[tuple[int, int, int]]:
    """(address, end of its section, source line) of every listing row that has bytes.

    A row marked ``<1>`` was expanded from a macro: it belongs to the last row that was not.
    """
    section, asked = ".text", 0
    for line in text.splitlines():
        row = _ROW.match(line)
        if row is None:
            continue
        number = int(row.group(1))
        asked = asked if row.group(4) else number
        if switch := _SWITCH.match(rows[number - 1] if number <= len(rows) else ""):
            section = switch.group(1)
        if row.group(2) and section in plan.sections:
            first, last = plan.sections[section]
            yield first + int(row.group(2), 16), last, asked
