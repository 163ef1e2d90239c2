"""NASM's and MASM's everyday directives, said in GNU's words.

``db``, ``dw``, ``dd``, ``dq``, ``resb`` ..., ``times``, ``equ``, ``section``, ``bits``, ``org``,
``global``, ``align``: with these a boot sector from a textbook assembles as it is. Macros and
``%`` directives are not translated; ``syntax="nasm"`` runs the real thing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .spelling import Spelled

_SIZES = {"b": 1, "w": 2, "d": 4, "q": 8}
_DATA = {"b": ".byte", "w": ".short", "d": ".long", "q": ".quad"}

_BARE_NAME = re.compile(r"(\s*)([A-Za-z_.][\w.]*)(\s++)(?=(?:d[bwdq]|res[bwdq]|times)\b)", re.I)
_EQU = re.compile(r"(\s*)([A-Za-z_.][\w.]*+)(?:\s*+:)?\s++equ\s+(.*)$", re.I)
_TIMES_DATA = re.compile(r"times\s+(.+?)\s+d([bwdq])\s+([^,\"']+|'[^']*')\s*$", re.I)
_TIMES = re.compile(r"times\s+(\S+)\s+(.*\S)\s*$", re.I)
_STORE = re.compile(r"d([bwdq])(?=\s|$)\s*", re.I)
_RESERVE = re.compile(r"res([bwdq])\s+(.*\S)\s*$", re.I)
_ITEM = re.compile(r"""\s*('[^']*'|"[^"]*"|[^,"']+)\s*(?:,|$)""")

_PLAIN = (
    (re.compile(r"\[?\s*(?:bits\s+|use)(16|32|64)\s*\]?\s*$", re.I), r".code\1"),
    (re.compile(r"\[?\s*org\s+([^\]]*[^\]\s])\s*\]?\s*$", re.I), r".org \1"),
    (re.compile(r"(?:section|segment)\s+(\.\w+)\s*$", re.I), r".section \1"),
    (re.compile(r"global\s+", re.I), ".globl "),
    (re.compile(r"(?:extern\s.*|cpu\s+\w+\s*)$", re.I), ""),
    (re.compile(r"align\s+", re.I), ".balign "),
)


def respell_directives(spelled: Spelled) -> None:
    """Respell one line, if it holds a directive of NASM or MASM."""
    if found := _EQU.match(spelled.mask):
        value = spelled.text[found.start(3) :]
        spelled.replace(found.start(2), len(spelled.text), f".set {found[2]}, {value}")
        return
    if found := _BARE_NAME.match(spelled.mask):
        spelled.replace(found.end(2), found.end(2), ":")
    for pattern, new in _PLAIN:
        if spelled.respell(pattern, new):
            return
    for pattern, write in _WRITERS:
        if found := pattern.match(spelled.text, spelled.start):
            spelled.replace(found.start(), len(spelled.text), write(found))
            return


def _times_data(found: re.Match[str]) -> str:
    count, size, value = found.groups()
    return f".fill {count}, {_SIZES[size.lower()]}, {value.strip()}"


def _times(found: re.Match[str]) -> str:
    spelled = Spelled.plain(found[2])
    respell_directives(spelled)
    return f".rept {found[1]}; {spelled.text}; .endr"


def _reserve(found: re.Match[str]) -> str:
    return f".skip ({found[2]}) * {_SIZES[found[1].lower()]}"


def _store(found: re.Match[str]) -> str:
    """``db 'text', 0``: strings and numbers may be mixed; a string of one character is both."""
    size = found[1].lower()
    rest = found.string[found.end() :]
    items = _ITEM.findall(rest)
    if size != "b" or not any(_is_text(item) for item in items):
        return f"{_DATA[size]} {rest}"
    return "; ".join(_text(item) if _is_text(item) else f".byte {item}" for item in items)


def _is_text(item: str) -> bool:
    return item[0] == '"' or (item[0] == "'" and len(item) != 3)


def _text(item: str) -> str:
    """A string in which, as in NASM's '...' and "...", a backslash is a backslash."""
    inner = item[1:-1].replace("\\", "\\\\").replace('"', '\\"')
    return f'.ascii "{inner}"'


_WRITERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (_TIMES_DATA, _times_data),
    (_TIMES, _times),
    (_STORE, _store),
    (_RESERVE, _reserve),
)
