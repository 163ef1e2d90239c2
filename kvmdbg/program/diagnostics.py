"""LLVM's complaints in the user's terms: line, column, what is wrong, what to write instead.

Must not know processes or object files; it gets texts and answers with :class:`Trouble` values.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..errors import AssemblyError
from .source import MARKER, Line, Source
from .words import DIRECTIVE_HINTS, MNEMONICS, REGISTERS

MAX_TROUBLES = 10


class Trouble(NamedTuple):
    """One complaint; ``line`` and ``column`` from 1, 0 where the assembler named none."""

    line: int
    column: int
    message: str


def error_for(troubles: Iterable[Trouble], rows: list[str]) -> AssemblyError:
    """One AssemblyError for all of them, placed at the first, each with its line and a caret."""
    found = sorted(set(troubles))[:MAX_TROUBLES]
    text = "\n".join(_shown(trouble, rows) for trouble in found)
    return AssemblyError(text, found[0].line, found[0].column)


def _shown(trouble: Trouble, rows: list[str]) -> str:
    if not 1 <= trouble.line <= len(rows):
        return trouble.message
    row = rows[trouble.line - 1]
    if not trouble.column:
        return f"{trouble.line}: {trouble.message}\n    {row}"
    blank = re.sub(r"[^\t]", " ", row[: trouble.column - 1]).ljust(trouble.column - 1)
    return f"{trouble.line}:{trouble.column}: {trouble.message}\n    {row}\n    {blank}^"


_ERROR = re.compile(
    r"error: (<inline asm>|<instantiation>|[^\n:]+):(\d+):(\d+): ([^\n]*)\n?([^\n]*)"
)


def read_complaint(said: str, source: Source) -> Trouble | None:
    """The error in what LLVM wrote before it ended; None where it named no place."""
    found = _ERROR.search(said)
    if found is None:
        return None
    place, number, column, message, shown = found.groups()
    if place == "<inline asm>":
        line = source.line(int(number) - 1)  # our own first line is not the user's
        if line is None:
            return Trouble(0, 0, _open_block(source, message))
        at = line.column(int(column))
        return Trouble(line.number, at, explain(message, line, at))
    if place == "<instantiation>":
        return _in_body(source, shown, message)
    return Trouble(0, 0, f"{place}:{number}:{column}: {message}")


def _open_block(source: Source, message: str) -> str:
    """Errors at the end of the text come from a block that was not closed."""
    return f"at the end of the text: {message}" if source.lines else message


def _in_body(source: Source, shown: str, message: str) -> Trouble:
    """LLVM shows the expanded line only: find the line of a body that is most like it."""
    bodies = {line.spelled.text.strip(): line for line in source.lines if line.in_body}
    if not bodies:
        return Trouble(0, 0, f"in an expanded macro or .rept: {message}: {shown.strip()}")
    close = difflib.get_close_matches(shown.strip(), bodies, 1, 0.0)
    line = bodies[close[0]] if close else next(iter(bodies.values()))
    column = len(line.raw) - len(line.raw.lstrip()) + 1
    what = explain(message, line, column)
    return Trouble(line.number, column, f'{what} (expanded to "{shown.strip()}")')


def explain(message: str, line: Line, column: int) -> str:
    """LLVM's message in plainer words, with the way out where we know it."""
    message = message.replace(f'"{MARKER}', '"').rstrip(".")
    for pattern, hint in _HINTS:
        if found := re.search(pattern, message):
            return hint(found, line, column)
    return message


def did_you_mean(word: str, words: Iterable[str], many: int = 2) -> str:
    """``; did you mean "jmp"?`` where something is close, else nothing."""
    close = difflib.get_close_matches(word, sorted(words), many, 0.67)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _unknown_instruction(found: re.Match[str], line: Line, _: int) -> str:
    word = found.group(1).lower()
    if word in DIRECTIVE_HINTS:
        return f'unknown instruction "{word}"; {DIRECTIVE_HINTS[word]}'
    if word[:-1] in MNEMONICS and word[-1:] in "bwlq":
        return f'unknown instruction "{word}"; in Intel syntax write "{word[:-1]}"'
    return f'unknown instruction "{word}"{did_you_mean(word, MNEMONICS)}'


def _token(_: re.Match[str], line: Line, column: int) -> str:
    rest = line.raw[column - 1 :]
    if re.match(r"%[a-z]{3}", line.raw.lstrip()):
        return '% directives are NASM\'s; use syntax="nasm"'
    if rest[:1] == "%":
        return 'in Intel syntax a register has no "%" (or use syntax="att")'
    if re.match(r"\$\s*[-\w(]", rest):
        return 'in Intel syntax a number has no "$" (or use syntax="att")'
    if rest[:1] in ("$", "."):
        return "this line has no address of its own here; use a label, such as 1: jmp 1b"
    word = (re.match(r"[\w.$]+", rest) or [""])[0]
    return f'"{word}" was not expected here' if word else "something else was expected here"


def _operand(_: re.Match[str], line: Line, __: int) -> str:
    text = line.raw.lower()
    if line.bits == 64 and re.search(r"\b(l?jmp|l?call)\b.*[:,]", text):
        return (
            "a far jump to an immediate address does not exist in 64-bit code; "
            "push the selector and the offset and use retfq"
        )
    return f"these operands do not go with this instruction in {line.bits}-bit code"


def _too_far(found: re.Match[str], *_: object) -> str:
    return f"the target is {found[1]} bytes away; this instruction reaches from -128 to 127"


def _says(text: str) -> Callable[[re.Match[str], Line, int], str]:
    return lambda *_: text


_SIZE = "the size is not clear: write byte ptr, word ptr, dword ptr or qword ptr before the memory"


def _size(_: re.Match[str], line: Line, column: int) -> str:
    """A mistyped register is read as a label, and a label as memory of unknown size."""
    word = (re.match(r"[A-Za-z]\w*", line.raw[column - 1 :]) or [""])[0]
    meant = did_you_mean(word.lower(), REGISTERS) if word.lower() not in REGISTERS else ""
    if not word or not meant:
        return _SIZE
    return f'"{word}" is no register{meant} (if it is a label: dword ptr [{word}])'


_HINTS: tuple[tuple[str, Callable[[re.Match[str], Line, int], str]], ...] = (
    (r"invalid instruction mnemonic '([^']*)'", _unknown_instruction),
    (r"unknown token in expression|unexpected token (in argument|at start)", _token),
    (r"ambiguous operand size", _size),
    (r"requires: 16-bit mode", _operand),
    (r"value of (-?\d+) is too large for field of 1 byte", _too_far),
    (r"requires: Not 64-bit mode", _says("this does not exist in 64-bit code")),
    (r"requires: 64-bit mode", _says("this exists only in 64-bit code")),
    (
        r"register %(\w+) is only available",
        lambda m, *_: f"register {m[1]} exists only in 64-bit code",
    ),
    (r"invalid operand for instruction", _operand),
    (r"unknown directive", lambda _, line, column: _unknown_directive(line, column)),
    (r"invalid reference to undefined symbol", _says("no numeric label like this stands before")),
)


def _unknown_directive(line: Line, column: int) -> str:
    word = (re.match(r"[\w.$]+", line.raw[column - 1 :]) or ["directive"])[0]
    return f'unknown directive "{word}"{did_you_mean(word, _DIRECTIVES.split())}'


_DIRECTIVES = (
    ".byte .word .short .long .int .quad .octa .ascii .asciz .string .fill .space .skip .zero .org"
    " .align .balign .p2align .set .equ .globl .global .text .data .bss .section .macro .endm .rept"
    " .endr .irp .irpc .if .ifdef .ifndef .else .elseif .endif .code16 .code32 .code64 .include"
    " .incbin .float .double"
)


def undefined(name: str, line: Line | None, names: Iterable[str]) -> Trouble:
    """A name that stands for nothing, at the place where it is used."""
    hint = did_you_mean(name, [*names, *REGISTERS])
    message = f'undefined symbol "{name}"{hint}'
    if line is None:
        return Trouble(0, 0, message)
    found = re.search(rf"(?<![\w.$]){re.escape(name)}(?![\w$])", line.raw)
    return Trouble(line.number, found.start() + 1 if found else 1, message)
