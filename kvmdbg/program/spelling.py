"""A line of text that can be respelled while it remembers where each character came from.

Must not know any assembler's words; spellings.py does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

LABELS = re.compile(r'^(?:\s*(?:[A-Za-z_.$][\w.$@]*|[0-9]+|"[^"]*")\s*:(?!:))+')
"""The labels at the beginning of a line, with their colons."""

_STRING = re.compile(r"""'(?:\\.|[^'\\])'|"(?:\\.|[^"\\])*(?:"|$)""")
_LITERALS = (
    (re.compile(r"0[xX]([0-9a-fA-F]+)$"), 16),
    (re.compile(r"([0-9][0-9a-fA-F]*)[hH]$"), 16),
    (re.compile(r"0[bB]([01]+)$"), 2),
    (re.compile(r"0([0-7]+)$"), 8),
    (re.compile(r"([0-9]+)$"), 10),
)


def strings_blanked(text: str) -> str:
    """The same text with the inside of strings and characters replaced by underscores.

    >>> strings_blanked(".ascii \\"a;b\\", 1")
    '.ascii "___", 1'
    """
    return _STRING.sub(lambda found: _blank(found.group()), text)


def _blank(string: str) -> str:
    closed = len(string) > 1 and string.endswith(string[0])
    inner = len(string) - 1 - closed
    return string[0] + "_" * inner + (string[0] if closed else "")


def literal(word: str) -> int | None:
    """The value of a number as assemblers write it (16, 0x10, 10h, 0b10000, 020), or None.

    >>> literal("0x7DFE"), literal("7C00h"), literal("510"), literal("start")
    (32254, 31744, 510, None)
    """
    for pattern, base in _LITERALS:
        if found := pattern.match(word):
            return int(found.group(1), base)
    return None


@dataclass(slots=True)
class Spelled:
    """``text``, and for each character of it the user's column (from 0) that it stands for."""

    text: str
    columns: list[int]
    mask: str

    @classmethod
    def plain(cls, text: str) -> Spelled:
        """A line as the user wrote it."""
        return cls(text, list(range(len(text))), strings_blanked(text))

    def column(self, index: int) -> int:
        """The user's column, from 1, of the character at ``index`` (from 0)."""
        if index < len(self.columns):
            return self.columns[index] + 1
        return (self.columns[-1] + 2) if self.columns else 1

    def replace(self, start: int, stop: int, new: str) -> None:
        """Put ``new`` in the place of ``text[start:stop]``; it stands for the place's beginning."""
        origin = self.columns[start] if start < len(self.columns) else self.column(start) - 1
        self.text = self.text[:start] + new + self.text[stop:]
        self.columns[start:stop] = [origin] * len(new)
        self.mask = strings_blanked(self.text)

    @property
    def start(self) -> int:
        """Where the statement begins, after labels and blanks."""
        found = LABELS.match(self.mask)
        rest = self.mask[found.end() if found else 0 :]
        return len(self.mask) - len(rest.lstrip())

    def respell(
        self, pattern: re.Pattern[str], new: str | Callable[[re.Match[str]], str | None]
    ) -> bool:
        """Replace a match at the statement's beginning; False where there is none."""
        found = pattern.match(self.mask, self.start)
        text = None if not found else found.expand(new) if isinstance(new, str) else new(found)
        if found is None or text is None:
            return False
        self.replace(*found.span(), text)
        return True

    def sub(
        self, pattern: re.Pattern[str], new: str | Callable[[re.Match[str]], str | None]
    ) -> None:
        """Replace every match outside strings; a callable may answer None to leave one alone."""
        for found in reversed(list(pattern.finditer(self.mask))):
            text = found.expand(new) if isinstance(new, str) else new(found)
            if text is not None:
                self.replace(*found.span(), text)
