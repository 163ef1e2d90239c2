"""``assemble``: a program text becomes a :class:`Program`, by LLVM's assembler or by nasm.

The order of events: source.py reads the text, process.py has it assembled elsewhere, objectfile.py
links the object, and here the pieces are put together or turned into one error.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

from ..errors import AssemblyError, ToolMissing, UnknownName
from . import process
from .blame import blame
from .diagnostics import MAX_TROUBLES, Trouble, error_for, read_complaint, undefined
from .listing import Listing, listing_line
from .objectfile import (
    SHN_ABS,
    STT_FILE,
    STT_SECTION,
    ObjectFile,
    Symbol,
    Unresolved,
    address_of,
    flatten,
    lay_out,
    read_object,
    relocate,
)
from .program import Program
from .source import MARKER, MODE_BITS, Line, Source, read_source
from .spelling import LABELS
from .words import OPERATORS, REGISTERS

SYNTAXES = ("intel", "att", "nasm")
MAX_SIZE = 64 << 20
"""The largest program that is accepted, in bytes."""

EMPTY = "nothing to assemble: the text puts no bytes into the program (only comments or labels?)"


def assemble(text: str, mode: str = "long", org: int = 0x8000, syntax: str = "intel") -> Program:
    r"""Assemble a program text for a flat guest.

    ``mode`` is ``"real"``, ``"protected"`` or ``"long"``: how the text begins (``.code16``,
    ``.code32``, ``.code64``); the text may switch with these directives. ``org`` is the address of
    the first byte. ``syntax`` is ``"intel"`` (LLVM, without ``%`` prefixes), ``"att"`` (LLVM) or
    ``"nasm"`` (the ``nasm`` program, which must be installed).

    >>> program = assemble("start: mov al, 'H'\n out 0xe9, al\n jmp start", mode="real")
    >>> program.code.hex(" "), program.symbols
    ('b0 48 e6 e9 eb fa', {'start': 32768})

    Good to know in Intel syntax:

    - ``;`` begins a comment, as in NASM and MASM; so do ``#`` and ``//``. In AT&T syntax ``;``
      separates statements, as in GNU as.
    - A bare label is memory: ``mov eax, label`` loads from it, ``mov eax, offset label`` gives its
      address. ``[label]`` is absolute; ``[rip + label]`` is relative.
    - ``.org N`` before the first byte sets the origin. Later, N at or above the origin is an
      address, and a smaller N an offset from the start, so both ``.org 510`` and ``.org 0x7DFE``
      place a boot signature when the origin is 0x7C00.
    - A number too large for its operand is cut to size, as LLVM does (``mov al, 300`` is 44).
    - NASM's everyday directives (``db``, ``times 510-($-$$) db 0``, ``equ``, ...) are understood,
      ``%`` directives only with ``syntax="nasm"``.

    Sections are laid out one after the other: ``.text`` at the origin, data, then zero-filled
    ``.bss``; labels of all of them are in ``symbols``. A text may take 10 seconds and 512 MiB.

    Raises AssemblyError (line, column, caret; up to ten errors at once), UnknownName for a wrong
    ``mode`` or ``syntax``, ToolMissing where nasm or LLVM's x86 assembler is not installed.
    """
    _check(text, mode, org, syntax)
    if syntax == "nasm":
        from .nasm import assemble_with_nasm

        return assemble_with_nasm(text, mode, org)
    source = read_source(text, mode, org, syntax)
    _reject_reserved_labels(source)
    return _link(source, read_object(_emit(source)))


def _check(text: str, mode: str, org: int, syntax: str) -> None:
    if mode not in MODE_BITS:
        raise UnknownName(f'unknown mode "{mode}"; choose {", ".join(MODE_BITS)}')
    if syntax not in SYNTAXES:
        raise UnknownName(f'unknown syntax "{syntax}"; choose {", ".join(SYNTAXES)}')
    if not isinstance(text, str):
        raise AssemblyError(f"a program text must be a str, not {type(text).__name__}")
    if not 0 <= org < 1 << 64:
        raise AssemblyError(f"org must be an address from 0 to 2**64 - 1, not {org:#x}")


def _reject_reserved_labels(source: Source) -> None:
    """``ax:`` is a label to LLVM, but ``jmp ax`` then means the register: say so at once."""
    if source.syntax != "intel":
        return
    troubles = []
    for line in source.lines:
        found = LABELS.match(line.spelled.mask)
        name = found.group().strip().rstrip(":").strip().lower() if found else ""
        if name in REGISTERS | OPERATORS:
            what = "register" if name in REGISTERS else "word of the assembler"
            column = len(line.raw) - len(line.raw.lstrip()) + 1
            message = f'"{name}" is a {what}; give the label another name'
            troubles.append(Trouble(line.number, column, message))
    if troubles:
        raise error_for(troubles, _rows(source))


def _emit(source: Source) -> bytes:
    """LLVM's object file. LLVM stops at the first error, so each is left out and it runs again."""
    troubles: list[Trouble] = []
    skip: set[int] = set()
    while len(troubles) < MAX_TROUBLES:
        answer = process.WORKER.request({"source": source.render(frozenset(skip))})
        if "object" in answer:
            break
        trouble = _complaint(answer, source)
        if trouble.line in skip or (troubles and not trouble.line):
            break
        troubles.append(trouble)
        skip.add(trouble.line)
        line = source.line(trouble.line)
        if line is None or line.is_block:
            break  # leaving out a .macro or .endif only makes new errors
    if troubles:
        raise error_for(troubles, _rows(source))
    return base64.b64decode(answer["object"])


def _rows(source: Source) -> list[str]:
    return [line.raw for line in source.lines]


def _complaint(answer: process.Message, source: Source) -> Trouble:
    """What ended the worker, as a complaint about the text; ToolMissing where it is our host."""
    said = str(answer["stderr"])
    if trouble := read_complaint(said, source):
        return trouble
    if "asm parser for this target" in said:
        raise ToolMissing(
            "llvmlite on this host has no x86 assembler; install nasm and use "
            'syntax="nasm" (apt install nasm, brew install nasm, or https://nasm.us)'
        )
    if "No module named 'llvmlite'" in said:
        raise ToolMissing("the assembler needs llvmlite; install it with: pip install llvmlite")
    return blame(source, str(answer["died"]), said, _assembles)


def _assembles(rendered: str) -> bool:
    return "object" in process.WORKER.request({"source": rendered})


def _link(source: Source, file: ObjectFile) -> Program:
    end = lay_out(file, source.origin)
    if end == source.origin:
        raise AssemblyError(EMPTY)
    if end - source.origin > MAX_SIZE:
        raise AssemblyError(f"the program is too large: {end - source.origin} bytes")
    spans = _line_spans(file)
    if unresolved := relocate(file):
        raise error_for(_troubles(unresolved, source, spans, file), _rows(source))
    named = [symbol for symbol in file.symbols if _is_users(symbol)]
    labels = {
        s.name: a for s in named if s.section != SHN_ABS and (a := address_of(file, s)) is not None
    }
    code = flatten(file, source.origin, end)
    return Program(
        code=code,
        origin=source.origin,
        symbols=dict(sorted(labels.items(), key=lambda item: item[1])),
        listing=_listing(source, file, spans),
        mode=source.mode,
        constants={s.name: s.value for s in named if s.section == SHN_ABS},
    )


def _is_users(symbol: Symbol) -> bool:
    ours = symbol.name.startswith(MARKER) or symbol.kind in (STT_SECTION, STT_FILE)
    return bool(symbol.name) and not ours


Span = tuple[int, int, int, int]  # section, first offset, offset after the last, line number


def _line_spans(file: ObjectFile) -> list[Span]:
    """Which bytes came from which line, by the markers that source.py put before each."""
    marks = sorted(
        (symbol.section, symbol.value, int(symbol.name[len(MARKER) :]))
        for symbol in file.symbols
        if symbol.name.startswith(MARKER) and not symbol.name.endswith("$")
    )
    spans = []
    for index, (section, start, number) in enumerate(marks):
        following = marks[index + 1] if index + 1 < len(marks) else None
        same = following is not None and following[0] == section
        stop = following[1] if following and same else len(file.sections[section].data)
        spans.append((section, start, stop, number))
    return spans


def _troubles(
    unresolved: Iterable[Unresolved], source: Source, spans: list[Span], file: ObjectFile
) -> list[Trouble]:
    names = [symbol.name for symbol in file.symbols if symbol.section and _is_users(symbol)]
    troubles = {}
    for one in unresolved:
        line = _line_at(source, spans, one.section, one.offset)
        trouble = (
            undefined(one.symbol, line, names) if one.kind == "undefined" else _misfit(one, line)
        )
        troubles[trouble.line, one.symbol] = trouble
    return list(troubles.values())


def _line_at(source: Source, spans: list[Span], section: int, offset: int) -> Line | None:
    for where, start, stop, number in spans:
        if where == section and start <= offset < stop:
            return source.line(number)
    return None


def _misfit(one: Unresolved, line: Line | None) -> Trouble:
    if one.kind == "type":
        what = (
            f'this use of "{one.symbol}" means nothing in a flat program (relocation {one.detail})'
        )
    else:
        value, size = one.detail.split()
        name = f' of "{one.symbol}"' if one.symbol else ""
        bits = 8 * int(size)
        what = f"the address or distance{name}, {value}, does not fit in {bits} bits"
    if line is None:
        return Trouble(0, 0, what)
    at = line.raw.find(one.symbol) if one.symbol else -1
    column = at if at >= 0 else len(line.raw) - len(line.raw.lstrip())
    return Trouble(line.number, column + 1, what)


def _listing(source: Source, file: ObjectFile, spans: list[Span]) -> Listing:
    found: dict[int, tuple[int, bytes]] = {}
    for index, start, stop, number in spans:
        section = file.sections[index]
        line = source.line(number)
        if section.address is None or line is None:
            continue
        if stop > start or line.has_label:
            found[number] = (section.address + start, bytes(section.data[start:stop]))
    return Listing(
        listing_line(line.number, found.get(line.number), line.raw) for line in source.lines
    )
