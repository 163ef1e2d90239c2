"""What may stand at a place of a line, and what each of it is: one function for each kind.

Pure: a :class:`~kvmdbg.jupyter.lines.Spot` and the names that exist in, words out. Must not know:
IPython, or where the names come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..debugger.names import DOLLAR_ONLY, REGISTERS
from ..debugger.names import FLAGS as BARE_FLAGS
from ..debugger.sides import SIDES
from ..engines import ENGINES
from ..x86.registers import Regs
from ..x86.vectors import Vector
from ..x86.vectors import name as vector_name
from . import lines
from .assignments import PARTS
from .commands import (
    ACCESSES,
    BP_ACTIONS,
    DEBUG_FLAGS,
    FLAGS,
    LEVELS,
    STEP,
    STEP_WAYS,
    TOPICS,
    VM,
    VM_ALIASES,
)
from .file_table import EXPORTS, OPEN, SAVE
from .lines import Spot
from .view_table import VIEWS

_NAME = re.compile(r"(?<![\w.?@$])[$A-Za-z_.?@][\w.?@$]*$")
_OPERAND_BEFORE = re.compile(r"(?:[\w.?@$]|[\])'])$")
_WORD_BEFORE = re.compile(r"[$A-Za-z_.?@][\w.?@$]*$")
_NO_OPERANDS = ("and", "or", "not", "byte", "word", "dword", "qword", "ptr")
_FLAGS = (*BARE_FLAGS, "iopl")
_LENGTHS = ("1", "2", "4", "8")
_ANY_CASE = ("register", "flag", "operator")
OPERATORS = ("==", "!=", "<", ">", "<=", ">=", "and", "or", "&", "|", "+", "-", "*")
SIZES = ("byte", "word", "dword", "qword")
_TYPICAL = {
    "size": ("64K", "1M", "16M", "64M"),
    "count": ("1k", "100k", "1M"),
    "time": ("200ms", "1s", "10s"),
}


class Offer(NamedTuple):
    """A word, and what it is: ``label``, ``register``, ``flag``, ``option``, ``command``, ..."""

    text: str
    type: str


class Known(NamedTuple):
    """The names that exist right now; ``files`` lists those that begin with a path."""

    labels: tuple[str, ...] = ()
    breakpoints: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    bookmarks: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    files: Callable[[str], Iterable[Offer]] = lambda path: ()


Found = tuple[str, list[Offer]]
"""The fragment that is being written, and what may stand in its place."""


def offers(spot: Spot, known: Known) -> Found:
    """What fits at the spot: those words that begin with what stands there already.

    >>> from kvmdbg.jupyter.lines import spot
    >>> offers(spot("%vm ti", first=True), Known())
    ('ti', [Offer(text='timeline', type='command')])
    """
    fragment, words = _KINDS[spot.kind](spot, known)
    if not spot.text and spot.command and not spot.option and spot.kind not in _ALONE:
        words = [*words, *_options(spot)]
    return fragment, matching(fragment, words)


def matching(fragment: str, words: Iterable[Offer]) -> list[Offer]:
    """Those that begin with the fragment; registers and flags in its case, each word once."""
    found = []
    for word in words:
        if word.text.startswith(fragment):
            found.append(word)
        elif word.type in _ANY_CASE and word.text.startswith(fragment.lower()):
            found.append(word._replace(text=word.text.upper()))
    return list(dict.fromkeys(found))


def _all(kind: str, words: Iterable[str]) -> list[Offer]:
    return [Offer(word, kind) for word in words]


def _options(spot: Spot) -> list[Offer]:
    """The options that are not there yet."""
    options = spot.command.options if spot.command else ()
    there = {word.partition("=")[0] for word in spot.done}
    return _all("option", [option.name for option in options if option.name not in there])


# Places, values and conditions: names in an expression


def register_type(name: str) -> str:
    """``flag`` or ``register``.

    >>> register_type("zf"), register_type("rax")
    ('flag', 'register')
    """
    return "flag" if name.lstrip("$") in (*_FLAGS, *DOLLAR_ONLY) else "register"


ASSEMBLY_REGISTERS = tuple(
    name
    for name in REGISTERS
    if register_type(name) == "register" and name not in ("pc", "cpl", "efer")
)
"""What an instruction may name; flags and our own words it cannot."""


def _registers(names: Iterable[str]) -> list[Offer]:
    return [Offer(name, register_type(name)) for name in names]


def _labels(known: Known) -> list[Offer]:
    return [*_all("label", known.labels), *_all("constant", known.constants)]


def _split_name(text: str) -> tuple[str, str]:
    """What is before the name at the end, and that name."""
    match = _NAME.search(text)
    return (text[: match.start()], match[0]) if match else (text, "")


def _is_operand(before: str) -> bool:
    """Whether an expression ends with a value, so that an operator must follow."""
    if not _OPERAND_BEFORE.search(before):
        return False
    word = _WORD_BEFORE.search(before)
    return word is None or word[0].lower() not in _NO_OPERANDS


def place(text: str, known: Known, names: Iterable[str] = (*Regs._fields[:-1], "pc")) -> Found:
    """A place or a value: labels; registers too as soon as a letter is there."""
    before, fragment = _split_name(text)
    if _is_operand(before):
        return fragment, []
    if fragment.startswith("$"):
        return fragment, _registers(f"${name}" for name in (*REGISTERS, *DOLLAR_ONLY))
    return fragment, [*_labels(known), *(_registers(names) if fragment else [])]


def condition(text: str, known: Known, labels_first: bool = False) -> Found:
    """An expression of the debugger: values, and operators between them."""
    before, fragment = _split_name(text)
    if _is_operand(before.rstrip()):
        blank = before[-1:].isspace()
        return fragment, _all("operator", OPERATORS) if blank else []
    if fragment.startswith("$"):
        return place(text, known)
    usual = REGISTERS if fragment else Regs._fields
    values = [*_registers((*usual, *_FLAGS)), Offer("hits", "counter")]
    words = [*_labels(known), *values] if labels_first else [*values, *_labels(known)]
    return fragment, [*words, Offer("not", "operator"), *_all("size", SIZES)]


def _condition(spot: Spot, known: Known) -> Found:
    return condition(spot.text, known, labels_first=spot.command is STEP)


def _assignment(spot: Spot, known: Known) -> Found:
    """``rax=5``, ``zf=1``, ``[counter]=300``."""
    name, equals, value = spot.text.partition("=")
    flag = name.removeprefix("$").lower()
    if equals and flag in FLAGS:
        return value, _all("value", "0123" if flag == "iopl" else "01")
    if equals:
        return place(value, known, PARTS)
    if "[" in name:
        return place(name, known)
    dollar = "$" if name.startswith("$") else ""
    names = (*(PARTS if name else Regs._fields), *FLAGS)
    return name, _registers(f"{dollar}{word}" for word in names)


def _writable(spot: Spot, known: Known) -> Found:
    fragment, words = place(spot.text, known, [name for name in PARTS if name != "rip"])
    if not spot.text:
        words = [*words, *_registers([name for name in Regs._fields if name != "rip"])]
    return fragment, words


def _when(spot: Spot, known: Known) -> Found:
    """``rip==WHERE`` or ``WHERE``."""
    _, equals, value = spot.text.rpartition("==")
    if equals or spot.done:
        return place(value if equals else spot.text, known)
    fragment, words = place(spot.text, known)
    return fragment, [*words, Offer("rip==", "condition")]


def _stop(spot: Spot, known: Known) -> Found:
    """What ``%bp`` begins with."""
    fragment, words = place(spot.text, known)
    return fragment, [*words, *_all("keyword", BP_ACTIONS)] if fragment == spot.text else words


def operand(before: str, labels: Iterable[str]) -> Found:
    """An operand in a line of assembly; of mnemonics nothing is offered.

    >>> operand("jmp st", ["start"])
    ('st', [Offer(text='start', type='label')])
    """
    head, fragment = _split_name(before)
    if not lines.takes_operand(head) or (head and head[-1].isdigit()):
        return fragment, []
    sizes = [f"{size} ptr" for size in SIZES]
    words = [*_all("label", labels), *_registers(ASSEMBLY_REGISTERS), *_all("size", sizes)]
    return fragment, matching(fragment, words)


# Single words


def _how(spot: Spot, known: Known) -> Found:
    """What follows a place in ``%bp``."""
    if "int" in spot.done[:1]:
        return spot.text, [*_all("keyword", ["if"]), *_options(spot)]
    kinds = [] if {"hw", "sw"} & set(spot.done) else ["hw", "sw"]
    return spot.text, [*_all("keyword", [*kinds, "if"]), *_options(spot)]


def _way(spot: Spot, known: Known) -> Found:
    if not all(word.isdigit() for word in spot.done):
        return spot.text, []
    ways = [way for way in STEP_WAYS if not (spot.done and way == "until")]
    return spot.text, _all("keyword", ways)


def _breakpoint(spot: Spot, known: Known) -> Found:
    left = [number for number in known.breakpoints if number not in spot.done]
    return spot.text, [
        *_all("breakpoint", left),
        *_all("keyword", [] if spot.done[1:] else ["all"]),
    ]


def _vector(spot: Spot, known: Known) -> Found:
    names = [vector_name(vector) for vector in Vector]
    bare = [name.removeprefix("#") for name in names]
    typed = spot.text and not spot.text.startswith("#")
    return spot.text, _all("vector", bare if typed else names)


def _setting(spot: Spot, known: Known) -> Found:
    """Flags, or what stands right of ``0=``: a place, an access, a length."""
    name, equals, value = spot.text.partition("=")
    if spot.done[-1:] == ("inject",):
        return spot.text, _all("exception", ["db", "bp"])
    if not equals:
        short = [flag.removeprefix("use_") for flag in DEBUG_FLAGS] if name else []
        slots = [*(f"{n}=" for n in range(4)), "dr7="]
        flags = _all("flag", [flag for flag in (*DEBUG_FLAGS, *short) if flag not in spot.done])
        words = [] if spot.done else ["inject", "off"]
        return name, [*flags, *_all("debug register", slots), *_all("keyword", words)]
    if name == "dr7":
        return value, []
    where, *parts = value.split(":")
    if not parts:
        return place(where, known)
    return parts[-1], _all("access", ACCESSES) if len(parts) == 1 else _all("length", _LENGTHS)


def _span(spot: Spot, known: Known) -> Found:
    return spot.text.rpartition(":")[2], _all("bookmark", known.bookmarks)


def _file(spot: Spot, known: Known) -> Found:
    found = known.files(spot.text)
    if spot.command in (OPEN, SAVE):
        found = [file for file in found if file.type == "folder" or file.text.endswith(".kvmdbg")]
    return spot.text, list(found)


def _variable(spot: Spot, known: Known) -> Found:
    return spot.text, [*_all("variable", known.variables), *known.files(spot.text)]


def _fixed(kind: str, words: Iterable[str]) -> Callable[[Spot, Known], Found]:
    return lambda spot, known: (spot.text, _all(kind, words))


_KINDS: dict[str, Callable[[Spot, Known], Found]] = {
    "sub-command": _fixed("command", sorted((*VM, *VM_ALIASES))),
    "option": lambda spot, known: (spot.text, _options(spot)),
    "choice": lambda spot, known: (
        spot.text,
        _all("value", spot.option.choices if spot.option else ()),
    ),
    "way": _way,
    "stop": _stop,
    "how": _how,
    "breakpoint": _breakpoint,
    "condition": _condition,
    "label": lambda spot, known: place(spot.text, known),
    "place": _assignment,
    "writable": _writable,
    "when": _when,
    "vector": _vector,
    "setting": _setting,
    "moment": lambda spot, known: (spot.text, _all("bookmark", known.bookmarks)),
    "span": _span,
    "file": _file,
    "variable": _variable,
    "program": lambda spot, known: (spot.text, _all("program", known.programs)),
    "line": _fixed("line", [str(number) for number in range(16)]),
    "level": _fixed("level", LEVELS),
    "export": _fixed("format", EXPORTS),
    "engine": _fixed("engine", ENGINES),
    "side": _fixed("engine", SIDES),
    "topic": _fixed("command", TOPICS),
    "switch": _fixed("keyword", ("on", "off")),
    **{kind: _fixed("value", values) for kind, values in _TYPICAL.items()},
    "number": _fixed("value", ()),
    "view": _fixed("view", tuple(VIEWS)),
    "nothing": _fixed("value", ()),
}
_ALONE = ("option", "how", "condition", "breakpoint", "stop")
