"""Which line is to blame when the assembler ended without naming one.

That happens when memory or time ran out, or on one of LLVM's internal checks. Only directives that
make room can cause it. Must not know processes: it is given a function that tries a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .diagnostics import Trouble
from .source import Line, Source

MAX_TRIES = 8

_ROOM = re.compile(r"\.(?:fill|space|skip|zero|org|rept|rep|align|balign|p2align|if\w*|ds)\b", re.I)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|\d+")


def blame(source: Source, how: str, said: str, assembles: Callable[[str], bool]) -> Trouble:
    """The complaint, at the line that most probably caused it, or at line 0."""
    suspects = [line for line in source.lines if _ROOM.search(line.spelled.mask)]
    if how == "time":
        return _at(_largest(suspects), "the assembler took too long; is this count too large?")
    if re.search(r"memory|bad_alloc|MemoryError|SIGKILL", said + how):
        return _at(_largest(suspects), "the program is too large: the assembler ran out of memory")
    culprit = next(
        (
            line
            for line in suspects[:MAX_TRIES]
            if assembles(source.render(frozenset({line.number})))
        ),
        None,
    )
    if culprit is None:
        return Trouble(0, 0, f"LLVM's assembler gave up on this text without naming a line ({how})")
    return _at(culprit, "LLVM gave up on this expression; does it use a label that comes later?")


def _largest(suspects: list[Line]) -> Line | None:
    def number(line: Line) -> int:
        found = _NUMBER.findall(line.spelled.text)
        return max((int(word, 16 if word[:2] in ("0x", "0X") else 10) for word in found), default=0)

    return max(suspects, key=number, default=None)


def _at(line: Line | None, message: str) -> Trouble:
    if line is None:
        return Trouble(0, 0, message)
    return Trouble(line.number, line.spelled.column(line.spelled.start), message)
