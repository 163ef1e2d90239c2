"""A program text on its way to LLVM: comments, modes, origin, and a marker for every line.

The text that LLVM gets keeps the user's line numbers; :class:`Line` knows for each column where it
came from. Before each line's content goes a label of our own, ``"kvmdbg 12":``, so that the symbol
table of the object file tells which bytes came from which line. Bodies of ``.macro`` and ``.rept``
get no marker: what they expand to belongs to the line that asked for it.
Must not know LLVM's process, object files or error messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import AssemblyError
from .spelling import LABELS, Spelled, literal
from .spellings import Known, respell

MARKER = "kvmdbg "
START = f'"{MARKER}$$"'

MODE_BITS = {"real": 16, "protected": 32, "long": 64}

_OPENING = re.compile(r"(?:^|;|:)\s*\.(?:macro|rept|rep|irp|irpc)\b", re.I)
_CLOSING = re.compile(r"(?:^|;|:)\s*\.(?:endm|endmacro|endr)\b", re.I)
_BLOCK = re.compile(r"\.(?:macro|rept|rep|irp|irpc|end[mr]|endmacro|if\w*|else\w*|endif)\b", re.I)
_CODE = re.compile(r"(?:^|;)\s*\.code(16|32|64)\b", re.I)
_SYNTAX = re.compile(r"(?:^|;)\s*\.(intel|att)_syntax\b", re.I)
_SECTION = re.compile(r"(?:^|;)\s*\.(text|data|bss|(?:push)?section\s+(\S+))", re.I)
_ORG = re.compile(r"^(\s*\.org\s+)([0-9]\w*)\s*$", re.I)
_NUMERIC = re.compile(r"^\s*(\d+):", re.M)
_CONSTANT = re.compile(  # X equ ..., and X = ... or .set X, ... with a number or a difference
    r"^\s*([A-Za-z_.][\w.]*)\s*:?\s*(?:equ\b|=\s*(?:\d|.*\w\s*-\s*\w))"
    r"|^\s*\.(?:set|equ|equiv)\s+([A-Za-z_.][\w.]*)\s*,\s*(?:\d|.*\w\s*-\s*\w)",
    re.M | re.I,
)
_SILENT = re.compile(  # statements that put nothing into the program
    r"\s*(?:\.(?:code\d\d|intel_syntax|att_syntax|globl|global|extern|set|equ|equiv|text|macro"
    r"|section\s+\.text|file|type|arch)\b.*|[\w.$]+\s*=.*)?$",
    re.I,
)


@dataclass(slots=True)
class Line:
    """One source line: ``raw`` as the user wrote it, ``spelled`` as LLVM reads it."""

    number: int
    raw: str
    spelled: Spelled
    bits: int
    in_body: bool = False

    @property
    def marker(self) -> str:
        """What stands before the content: ours, on the same line."""
        plain = self.in_body or not self.spelled.text.strip()
        return "" if plain else f'"{MARKER}{self.number}":;'

    @property
    def is_block(self) -> bool:
        """Whether other lines hang on this one: ``.macro``, ``.rept``, ``.if`` and their ends."""
        return _BLOCK.search(self.spelled.mask) is not None

    @property
    def has_label(self) -> bool:
        """Whether a label is defined here."""
        return LABELS.match(self.spelled.mask) is not None

    def column(self, byte: int) -> int:
        """The user's column (from 1) for LLVM's byte column (from 1) in the rendered line."""
        spelled = self.spelled.text.encode()
        inside = spelled[: max(0, byte - 1 - len(self.marker))].decode(errors="ignore")
        return self.spelled.column(len(inside))


@dataclass(slots=True)
class Source:
    """A whole text, read once: its lines, its origin, and what LLVM is to be given."""

    lines: list[Line]
    origin: int
    mode: str
    syntax: str

    def render(self, skip: frozenset[int] = frozenset(), markers: bool = True) -> str:
        """The text for LLVM; of the lines in ``skip`` only the labels stay."""
        dialect = ".intel_syntax noprefix" if self.syntax == "intel" else ".att_syntax"
        head = f"{dialect}; .code{MODE_BITS[self.mode]}; .text; {START}:;"
        return "\n".join([head, *(_rendered(line, skip, markers) for line in self.lines)]) + "\n"

    def line(self, number: int) -> Line | None:
        """The line with this number, from 1."""
        return self.lines[number - 1] if 1 <= number <= len(self.lines) else None


def _rendered(line: Line, skip: frozenset[int], markers: bool) -> str:
    text = line.spelled.text
    if line.number in skip:
        found = LABELS.match(text)
        text = found.group() if found else ""
    return line.marker + text if markers else text


def read_source(text: str, mode: str, org: int, syntax: str) -> Source:
    """Read a text in ``syntax`` "intel" or "att".

    Raises AssemblyError for characters that no text may hold.
    """
    rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    _reject_unreadable(rows)
    return _Reader(rows, Source([], org, mode, syntax)).read()


def _reject_unreadable(rows: list[str]) -> None:
    for number, row in enumerate(rows, 1):
        if found := re.search("[\x00\x1a\ud800-\udfff]", row):
            column = found.start() + 1
            what = f"a character that no program text may hold: U+{ord(found.group()):04X}"
            raise AssemblyError(f"{number}:{column}: {what}", number, column)


def _reject_open_string(mask: str, number: int, raw: str) -> None:
    """LLVM would read on and complain about a later line."""
    if mask.count('"') % 2 and "'" not in mask:
        column = mask.rfind('"') + 1
        caret = " " * (column - 1) + "^"
        message = f"{number}:{column}: this string is not closed\n    {raw}\n    {caret}"
        raise AssemblyError(message, number, column)


class _Reader:
    """Walks the lines once, keeping what one line means for the next."""

    def __init__(self, rows: list[str], source: Source) -> None:
        self.source = source
        self.rows = rows
        self.bits = MODE_BITS[source.mode]
        self.intel = source.syntax == "intel"
        self.depth = 0
        self.comment = False
        self.in_text = True
        self.begun = False
        whole = "\n".join(rows)
        constants = {first or second for first, second in _CONSTANT.findall(whole)}
        self.known = Known(frozenset(_NUMERIC.findall(whole)), frozenset(constants), START)

    def read(self) -> Source:
        for number, raw in enumerate(self.rows, 1):
            self.source.lines.append(self._line(number, raw))
        return self.source

    def _line(self, number: int, raw: str) -> Line:
        text, self.comment = strip_comments(raw, self.intel, self.comment)
        spelled = Spelled.plain(text.replace("\xa0", " "))
        _reject_open_string(spelled.mask, number, raw)
        closes = len(_CLOSING.findall(spelled.mask))
        opens = len(_OPENING.findall(spelled.mask))
        in_body = self.depth > 0
        if self.intel:
            here = None if in_body else f'"{MARKER}{number}"'
            respell(spelled, self.bits, here, self.known)
        self._note(spelled.mask)
        if self.in_text and not in_body:
            self._move_origin(spelled)
        self.depth = max(0, self.depth + opens - closes)
        return Line(number, raw, spelled, self.bits, in_body)

    def _note(self, mask: str) -> None:
        """Remember what this line switches: mode, syntax, section."""
        for found in _CODE.finditer(mask):
            self.bits = int(found.group(1))
        switches = _SYNTAX.findall(mask)
        if len(switches) == 1:  # two: a spelling of ours that switches back at once
            self.intel = switches[0].lower() == "intel"
        for found in _SECTION.finditer(mask):
            name = found.group(2) or "." + found.group(1)
            self.in_text = name.startswith((".text", '".text'))

    def _move_origin(self, spelled: Spelled) -> None:
        """Give ``.org N`` the meaning it obviously has in a flat program.

        Before the first byte it is the program's origin. Later a number at or above the origin is
        an address; a smaller one is GNU's offset from the start of the section.
        """
        found = _ORG.match(spelled.text)
        wanted = literal(found.group(2)) if found else None
        if found is None or wanted is None:
            self.begun = self.begun or not all(map(_SILENT.match, _statements(spelled.mask)))
            return
        if not self.begun:
            self.source.origin = wanted
            spelled.replace(0, len(spelled.text), "")
        elif wanted >= self.source.origin > 0:
            spelled.replace(*found.span(2), str(wanted - self.source.origin))
        self.begun = True


def _statements(mask: str) -> list[str]:
    return [LABELS.sub("", part) for part in mask.split(";")]


_TOKENS = re.compile(r"""'(?:\\.|[^'\\])'|"(?:\\.|[^"\\])*(?:"|$)|/\*|//|#|;""")


def strip_comments(row: str, intel: bool, inside: bool) -> tuple[str, bool]:
    """Replace comments by spaces: ``#``, ``//``, ``/* */``, and in Intel syntax ``;``.

    ``inside`` says whether the line begins within ``/* */``; the second result whether it ends so.

    >>> strip_comments("nop ; wait", True, False)
    ('nop       ', False)
    >>> strip_comments(".ascii ';', '#' # two", False, False)
    (".ascii ';', '#'      ", False)
    """
    text, at = row, 0
    while True:
        if inside:
            end = text.find("*/", at)
            stop = len(text) if end < 0 else end + 2
            text = text[:at] + " " * (stop - at) + text[stop:]
            if end < 0:
                return text, True
            inside, at = False, stop
        found = _TOKENS.search(text, at)
        if found is None:
            return text, False
        token = found.group()
        if token == "/*":
            inside, at = True, found.start()
            text = text[:at] + "  " + text[at + 2 :]
        elif token in ("//", "#") or (token == ";" and intel):
            return text[: found.start()].ljust(len(text)), False
        else:
            at = found.end()
