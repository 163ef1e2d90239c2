"""Lines of ours in a cell: which magic, which command, and what kind of thing stands where.

Completion and inspection both ask here, so that they cannot disagree. Must not know: a VM, IPython,
or what is offered or said about a place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from .arguments import Command, Option
from .commands import ASM, BP, BP_ACTIONS, STEP, VM, VM_ALIASES

_LINE = re.compile(r"\s*(?:[\w.\[\], ]+=\s*)?%(vm|step|bp)(?=[\s?;]|$)")
_CELL = re.compile(r"\s*%%(asm)(?=[\s?]|$)")
_CONDITION = re.compile(r"(?:^|\s)if\s(.*)$", re.DOTALL)
_UNTIL = re.compile(r"(?:^|\s)until\s(.*)$", re.DOTALL)
_STATEMENT = re.compile(r"(?:.*[;:])?\s*(?:(?:rep\w*|lock)\s+)?")
_COMMENT = re.compile(r"#|//")
_DEFINITION = re.compile(r"^[ \t]*([A-Za-z_.?@][\w.?@$]*):", re.MULTILINE)
_OPEN_BRACE = re.compile(r"(?<!\{)\{[^{}]*$")


class Line(NamedTuple):
    """A line of ours: its magic, the columns of that name, and the whole text."""

    magic: str
    start: int
    end: int
    text: str


class Spot(NamedTuple):
    """One place in a line.

    ``command`` is what the place belongs to; None for ``%vm`` itself and its first word. ``kind``
    says what may stand there, as ``Command.takes`` does; further kinds are ``sub-command``,
    ``option``, ``choice``, ``way``, ``stop``, ``how`` and ``breakpoint``. ``text`` is what stands
    there, up to the place; of a condition all of it. ``done`` are the finished words before.
    """

    command: Command | None
    kind: str
    text: str
    done: tuple[str, ...] = ()
    option: Option | None = None


class At(NamedTuple):
    """Where a cursor is: the text of its line, the column, and whether that is the first line."""

    text: str
    column: int
    first: bool


def at(cell: str, cursor: int) -> At:
    """The line of a cell around a cursor (in characters); blank lines above do not count.

    >>> at("a = 1\\n%step 3", 9)
    At(text='%step 3', column=3, first=False)
    """
    cursor = max(0, min(cursor, len(cell)))
    start = cell.rfind("\n", 0, cursor) + 1
    end = cell.find("\n", cursor)
    text = cell[start:] if end < 0 else cell[start:end]
    return At(text, cursor - start, not cell[:start].strip())


def is_assembly(cell: str) -> bool:
    """Whether the cell is a ``%%asm`` cell."""
    return _CELL.match(cell) is not None


def defined(cell: str) -> list[str]:
    """The labels that a text of assembly defines.

    >>> defined("start: nop\\nx: jmp x")
    ['start', 'x']
    """
    return list(dict.fromkeys(_DEFINITION.findall(cell)))


def takes_operand(before: str) -> bool:
    """Whether an operand may follow in a line of assembly, rather than a mnemonic or a comment.

    >>> takes_operand("x: mov eax, "), takes_operand("x: ")
    (True, False)
    """
    return not _COMMENT.search(before) and not _STATEMENT.fullmatch(before)


def line(text: str, first: bool) -> Line | None:
    """The line, if it is one of ours; ``%%asm`` counts on the first line of a cell only.

    >>> line("s = %step 3", first=False).magic
    'step'
    """
    match = (first and _CELL.match(text)) or _LINE.match(text)
    if not match:
        return None
    signs = 2 if match[1] == "asm" else 1
    return Line(match[1], match.start(1) - signs, match.end(), text)


def in_braces(before: str) -> bool:
    """Whether a Python variable is being written: ``%vm mem {whe``."""
    return _OPEN_BRACE.search(before) is not None


def spot(before: str, first: bool) -> Spot | None:
    """What stands at the end of ``before``, the line up to a place; None if that is not ours.

    >>> spot("%vm new --mode re", first=True).option.name
    '--mode'
    """
    found = line(before, first)
    if found is None or found.end == len(before):
        return None
    rest = before[found.end :]
    return _SPOTS[found.magic](rest)


def _of_vm(rest: str) -> Spot:
    done, last = words(rest)
    if not done:
        return Spot(None, "sub-command", last)
    command = VM.get(VM_ALIASES.get(done[0], done[0]))
    if command is None:
        return Spot(None, "nothing", last, done)
    return _of_command(command, done[1:], last)


def _of_asm(rest: str) -> Spot:
    return _of_command(ASM, *words(rest))


def _of_step(rest: str) -> Spot:
    until = _UNTIL.search(rest)
    if until:
        return Spot(STEP, "condition", until[1])
    done, last = words(rest)
    return Spot(STEP, "way", last, done)


def _of_bp(rest: str) -> Spot:
    condition = _CONDITION.search(rest)
    if condition:
        return Spot(BP, "condition", condition[1])
    done, last = words(rest)
    if not done:
        return Spot(BP, "stop", last)
    if done[0] == "int":
        return Spot(BP_ACTIONS["int"], "vector" if len(done) == 1 else "how", last, done)
    if done[0] in BP_ACTIONS:
        return Spot(BP, "breakpoint", last, done)
    return _of_option(BP, done, last) or Spot(BP, "how", last, done)


_SPOTS = {"vm": _of_vm, "asm": _of_asm, "step": _of_step, "bp": _of_bp}


def words(rest: str) -> tuple[tuple[str, ...], str]:
    """The finished words, and the one at the end (empty after a blank).

    >>> words("mem counter 1")
    (('mem', 'counter'), '1')
    """
    found = tuple(rest.split())
    return (found[:-1], found[-1]) if rest and not rest[-1].isspace() else (found, "")


def _of_command(command: Command, done: tuple[str, ...], last: str) -> Spot:
    return _of_option(command, done, last) or _of_word(command, done, last)


def _of_option(command: Command, done: tuple[str, ...], last: str) -> Spot | None:
    """An option's name or value; None for a plain word."""
    name, equals, value = last.partition("=")
    if equals and name.startswith("--"):
        return _value(command, name, value, done)
    if done and takes_value(command, done[-1]):
        return _value(command, done[-1], last, done)
    return Spot(command, "option", last, done) if last.startswith("-") else None


def _value(command: Command, name: str, text: str, done: tuple[str, ...]) -> Spot:
    option = next((option for option in command.options if option.name == name), None)
    if option is None:
        return Spot(command, "nothing", text, done)
    return Spot(command, "choice" if option.choices else option.takes, text, done, option)


def _of_word(command: Command, done: tuple[str, ...], last: str) -> Spot:
    """The next plain word: see ``Command.takes``."""
    position = len(plain(command, done))
    if not command.takes or position >= command.words[1]:
        return Spot(command, "nothing", last, done)
    return Spot(command, command.takes[min(position, len(command.takes) - 1)], last, done)


def plain(command: Command, done: Iterable[str]) -> list[str]:
    """The plain words among ``done``: neither options nor their values."""
    done = list(done)
    before = ["", *done]
    return [
        word
        for previous, word in zip(before, done, strict=False)
        if not word.startswith("-") and not takes_value(command, previous)
    ]


def takes_value(command: Command, name: str) -> bool:
    """Whether a value follows the option of that name."""
    return any(option.name == name and option.value for option in command.options)
