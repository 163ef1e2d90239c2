"""Cut an expression's text into tokens, and point at the place where it cannot be read.

Must not know: what the tokens mean together.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import ExpressionError

MAX_LENGTH = 400
"""Characters of an expression; keeps nesting and chains far from Python's recursion limit."""

_TOKEN = re.compile(
    r"""(?P<number>[0-9][0-9A-Za-z_]*)
    |(?P<char>'[^']')
    |(?P<name>[$A-Za-z_.?@][A-Za-z0-9_.?@$]*)
    |(?P<operator><<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>()\[\]:=])""",
    re.VERBOSE,
)
_NUMBERS = (
    (re.compile(r"0[xX]([0-9A-Fa-f_]+)"), 16),
    (re.compile(r"([0-9][0-9A-Fa-f_]*)[hH]"), 16),
    (re.compile(r"0[bB]([01_]+)"), 2),
    (re.compile(r"([0-9_]+)"), 10),
)


class Token(NamedTuple):
    """``kind`` is number, name, operator or end; ``column`` counts from 0."""

    kind: str
    text: str
    column: int
    value: int = 0


def complain(text: str, column: int, what: str) -> ExpressionError:
    """The error for a place in the text: what is wrong, the text, a caret below the place.

    >>> print(complain("rax = 3", 4, 'write "==" to compare'))
    write "==" to compare (column 5)
      rax = 3
          ^
    """
    return ExpressionError(f"{what} (column {column + 1})\n  {text}\n  {' ' * column}^")


def tokenize(text: str) -> list[Token]:
    """All tokens, closed by one of kind ``end``; ExpressionError for what is none."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression may have {MAX_LENGTH} characters, not {len(text)}")
    text = text.replace("\t", " ").replace("\n", " ")
    tokens = []
    column = _skip_blanks(text, 0)
    while column < len(text):
        token = _token_at(text, column)
        tokens.append(token)
        column = _skip_blanks(text, column + len(token.text))
    return [*tokens, Token("end", "", len(text.rstrip()))]


def _skip_blanks(text: str, column: int) -> int:
    while column < len(text) and text[column] == " ":
        column += 1
    return column


def _token_at(text: str, column: int) -> Token:
    match = _TOKEN.match(text, column)
    if match is None:
        raise complain(text, column, f'"{text[column]}" has no meaning here')
    kind, word = str(match.lastgroup), match[0]
    if kind == "number":
        return Token(kind, word, column, _number(text, word, column))
    if kind == "char":
        return Token("number", word, column, ord(word[1]) & 0xFF)
    return Token(kind, word, column)


def _number(text: str, word: str, column: int) -> int:
    for pattern, base in _NUMBERS:
        match = pattern.fullmatch(word)
        if match and match[1].strip("_"):
            return int(match[1].replace("_", ""), base)
    raise complain(text, column, f'"{word}" is not a number; write 32768, 0x8000 or 8000h')
