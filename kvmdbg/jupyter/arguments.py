"""The line after a magic's name: split into words, options and a condition, with errors that help.

A :class:`Command` says what a line may hold; parsing, help and completion all read the same table,
so that they cannot disagree. Must not know: the VM, IPython, or what a command does.
"""

from __future__ import annotations

import difflib
import re
import shlex
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..errors import BadInput, UnknownName

T = TypeVar("T")


@dataclass(frozen=True)
class Option:
    """An option of a magic: ``--mode real`` (``value`` names what follows) or a bare flag.

    ``takes`` says what completion may offer for the value, as ``Command.takes`` does.
    """

    name: str
    value: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()
    takes: str = "nothing"


@dataclass(frozen=True)
class Command:
    """What may be written after ``name``, and how to explain it.

    ``words`` is the least and the greatest number of words. ``takes`` says per word what completion
    may offer (the last one repeats): ``label``, ``place`` for assignments, ``setting`` for ``%vm
    debug``, ``line`` and ``level`` for ``%vm irq``, ``engine``, ``side`` of a comparison,
    ``export``, ``file``, ``variable`` (or a file), ``program``, ``topic``, ``writable``, ``when``,
    ``vector``, ``moment``, ``span`` of two moments, ``switch``, or typical values: ``size``,
    ``count``, ``time``; else ``number`` or ``nothing``. ``examples`` are lines that run, with what
    they do.
    """

    name: str
    usage: str
    summary: str
    options: tuple[Option, ...] = ()
    aliases: tuple[str, ...] = ()
    words: tuple[int, int] = (0, 0)
    takes: tuple[str, ...] = ()
    details: str = ""
    examples: tuple[tuple[str, str], ...] = ()

    @property
    def help(self) -> str:
        """The line that explains it.

        >>> Command("%bp int", "VECTOR", "Stop before a vector.").help
        '%vm help bp'
        """
        return f"%vm help {self.name.lstrip('%').removeprefix('vm ').split()[0]}"

    def option(self, name: str) -> Option:
        """The option of that name; UnknownName with a suggestion otherwise."""
        for option in self.options:
            if option.name == name:
                return option
        raise unknown("option", name, [option.name for option in self.options], f"for {self.name}")


@dataclass(frozen=True)
class Arguments:
    """A parsed line: its plain words, and the options with their text (``""`` for a flag)."""

    command: Command
    words: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the option was written."""
        return name in self.options

    def value(self, name: str, convert: Callable[[str], T]) -> T | None:
        """The option's value, converted; ``None`` if it was not written."""
        return convert(self.options[name]) if name in self.options else None

    def word(self, index: int, convert: Callable[[str], T]) -> T | None:
        """The word at ``index``, converted; ``None`` if there are fewer."""
        return convert(self.words[index]) if index < len(self.words) else None


def split(line: str) -> list[str]:
    """Words of a magic line; quotes hold a word with spaces together, a backslash is itself.

    >>> split("load 'my boot.bin' --at 0x7c00")
    ['load', 'my boot.bin', '--at', '0x7c00']
    """
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.escape, lexer.commenters = True, "", ""
    try:
        words = list(lexer)
    except ValueError:
        raise BadInput(f"a quotation mark is not closed: {line.strip()}") from None
    if any(re.match(r"#(?![A-Z]{2}$)", word) for word in words):  # #PF is a vector's name
        raise BadInput('unexpected "#": the line of a magic takes no comment')
    return words


def parse(command: Command, words: Iterable[str]) -> Arguments:
    """Sort ``words`` into options and plain words, as ``command`` allows.

    Raises UnknownName for an option that the command does not have, and BadInput for a missing or
    superfluous word or value.
    """
    plain: list[str] = []
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if not _looks_like_option(word):
            plain.append(word)
            continue
        name, equals, value = word.partition("=")
        option = command.option(name)
        if option.value and not equals:
            value = _next_value(option, rest)
        elif equals and not option.value:
            raise BadInput(f"{name} of {command.name} takes no value")
        options[name] = _checked(option, value)
    _check_count(command, plain)
    return Arguments(command, tuple(plain), options)


def _looks_like_option(word: str) -> bool:
    """``-w`` and ``--at``, but neither ``-`` nor the number ``-4``."""
    return re.match(r"--?[A-Za-z]", word) is not None


def _next_value(option: Option, rest: Iterable[str]) -> str:
    for value in rest:
        if not _looks_like_option(value):
            return value
        break
    raise BadInput(f"{option.name} needs a value: {option.name} {option.value}")


def _checked(option: Option, value: str) -> str:
    if option.choices and value not in option.choices:
        raise unknown(f"{option.name} value", value, option.choices)
    return value


def _check_count(command: Command, words: Sequence[str]) -> None:
    least, greatest = command.words
    shape = f"{command.name} {command.usage}".rstrip() + f"; more: {command.help}"
    if len(words) < least:
        raise BadInput(f"something is missing: {shape}")
    if len(words) > greatest:
        raise BadInput(f'unexpected "{words[greatest]}": {shape}')


def unknown(
    kind: str, name: str, known: Iterable[str], where: str = "", listed: str = ""
) -> UnknownName:
    """An UnknownName that suggests the nearest of ``known``, or lists them if they are few.

    ``listed`` is the line that lists them if they are many.

    The same letters in another order are nearest: ``rxa`` means ``rax`` rather than ``rdx``.

    >>> str(unknown("sub-command", "rnu", ["run", "regs"], "for %vm"))
    'unknown sub-command "rnu" for %vm; did you mean "run"?'
    """
    names = list(known)
    message = f'unknown {kind} "{name}"' + (f" {where}" if where else "")
    near = difflib.get_close_matches(name, names, n=8, cutoff=0.5)
    if near:
        swapped = [found for found in near if sorted(found) == sorted(name)]
        message += f'; did you mean "{(swapped or near)[0]}"?'
    elif 0 < len(names) <= 6:
        message += f"; choose {', '.join(names)}"
    elif listed:
        message += f"; {listed} lists them all"
    return UnknownName(message)


def expand(line: str, names: Mapping[str, Any]) -> str:
    """Put Python variables into a line: ``{where}``, ``{stop.pc:#x}``, ``{table[0]}``.

    Only names, attributes and items: nothing is evaluated. A lone ``$`` stays as it is, because
    ``$rip`` means the guest's register. ``{{`` is a brace.

    >>> expand("mem {where:#x} 16", {"where": 0x9000})
    'mem 0x9000 16'
    """
    if "{" not in line:
        return line
    try:
        return string.Formatter().vformat(line, (), names)
    except (KeyError, IndexError) as error:
        raise UnknownName(f"no Python variable {error.args[0]!r} for {{...}} in the line") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise BadInput(f"cannot expand {{...}} in the line: {error}") from None


_POWERS_OF_1024 = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_POWERS_OF_1000 = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def number(text: str) -> int:
    """A number as people of this field write it: ``32768``, ``0x8000``, ``8000h``, ``0b1010``.

    >>> number("0x8000") == number("8000h") == number("32_768")
    True
    """
    try:
        if re.fullmatch(r"[0-9][0-9A-Fa-f_]*[hH]", text):
            return int(text[:-1], 16)
        return int(text, 10 if re.fullmatch(r"[0-9_]+", text) else 0)
    except ValueError:
        raise BadInput(f'"{text}" is not a number; write 32768, 0x8000 or 8000h') from None


def _scaled(text: str, units: Mapping[str, int]) -> int:
    scaled = re.fullmatch(r"([0-9_.]+)\s*([KMGkmg])", text)
    if scaled is None:
        return number(text)
    try:
        return int(float(scaled[1]) * units[scaled[2].upper()])
    except ValueError:
        raise BadInput(f'"{text}" is not a number') from None


def positive(text: str) -> int:
    """A count of at least 1; ``5k`` is 5000 and ``2M`` two million.

    >>> positive("50M")
    50000000
    """
    value = _scaled(text, _POWERS_OF_1000)
    if value < 1:
        raise BadInput(f"{text} is too small: at least 1")
    return value


def size(text: str) -> int:
    """A number of bytes; ``64K`` is 65536.

    >>> size("16M") == 16 * 2**20
    True
    """
    value = _scaled(text, _POWERS_OF_1024)
    if value < 1:
        raise BadInput(f"{text} bytes is too small: at least 1")
    return value


def seconds(text: str) -> float:
    """A duration: ``2``, ``0.5s`` or ``200ms``.

    >>> seconds("200ms")
    0.2
    """
    match = re.fullmatch(r"([0-9.]+)(ms|s)?", text)
    try:
        value = float(match[1]) if match else 0.0
    except ValueError:
        value = 0.0
    if match is None or value <= 0:
        raise BadInput(f'"{text}" is not a duration; write 2, 0.5s or 200ms')
    return value / 1000 if match[2] == "ms" else value
