"""What Tab offers after our magics: sub-commands, options, labels, registers, breakpoint numbers.

:func:`candidates` is pure: text before the cursor in, words out. :func:`make_matcher` wraps it for
IPython's completer (matcher API 2). Must not know: how a command is carried out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from IPython.core.completer import (
    CompletionContext,
    MatcherAPIv2,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from ..debugger.sides import SIDES
from ..engines import ENGINES
from ..x86.registers import Regs
from .arguments import Command
from .assignments import PARTS
from .commands import (
    ACCESSES,
    ASM,
    BP,
    BP_ACTIONS,
    DEBUG_FLAGS,
    EXPORTS,
    FLAGS,
    LEVELS,
    STEP_WAYS,
    TOPICS,
    VM,
    VM_ALIASES,
)
from .view_table import VIEWS

if TYPE_CHECKING:
    from .session import Session

_LINE = re.compile(r"^\s*(?:[\w.\[\], ]+=\s*)?%(vm|step|bp)\s+(.*)$", re.DOTALL)
_CELL = re.compile(r"^%%asm\s+(.*)$", re.DOTALL)
_FILES = re.compile(r" (load|save|open) ")
_FRAGMENT = re.compile(r"[^\s\[\]=+<>!&|(]*$")


class Known(NamedTuple):
    """The names that exist right now."""

    labels: tuple[str, ...] = ()
    breakpoints: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


def candidates(before: str, first_line: bool, known: Known) -> tuple[str, list[str]]:
    """The fragment being completed and what may stand there; nothing for a line not ours.

    >>> candidates("%vm ti", True, Known())
    ('ti', ['timeline'])
    """
    offered = _offer(before, first_line, known)
    match = _FRAGMENT.search(before)
    fragment = match[0] if match else ""
    return fragment, [word for word in offered if word.startswith(fragment)]


def _offer(before: str, first_line: bool, known: Known) -> list[str]:
    cell = _CELL.match(before) if first_line else None
    if cell:
        return _for_command(ASM, cell[1], known)
    line = _LINE.match(before)
    if line is None:
        return []
    magic, rest = line[1], line[2]
    if magic == "vm":
        return _for_vm(rest, known)
    return _for_step(rest, known) if magic == "step" else _for_bp(rest, known)


def _for_vm(rest: str, known: Known) -> list[str]:
    name, space, rest = rest.partition(" ")
    if not space:
        return sorted((*VM, *VM_ALIASES))
    if name == "debug" and _done(rest)[0] == ["inject"]:
        return ["db", "bp"]
    command = VM.get(VM_ALIASES.get(name, name))
    return [] if command is None else _for_command(command, rest, known)


def _for_step(rest: str, known: Known) -> list[str]:
    done, last = _done(rest)
    if done[-1:] == ["until"]:
        return _labels(known, last)
    return list(STEP_WAYS) if all(word.isdigit() for word in done) else []


def _for_bp(rest: str, known: Known) -> list[str]:
    done, last = _done(rest)
    if not done:
        return [*_labels(known, last), *BP_ACTIONS]
    if done[0] in BP_ACTIONS and done[0] != "int":
        return [*known.breakpoints, "all"]
    if "if" in done:
        return [*Regs._fields, *(f"${name}" for name in Regs._fields), *FLAGS, *known.labels]
    words = ["if"] if done[0] == "int" else ["hw", "sw", "if", *_options(BP)]
    return _choices(BP, done) or [word for word in words if word not in done]


def _done(rest: str) -> tuple[list[str], str]:
    """The finished words, and the one being written."""
    words = rest.split()
    return (words[:-1], words[-1]) if rest and not rest[-1].isspace() else (words, "")


def _for_command(command: Command, rest: str, known: Known) -> list[str]:
    done, last = _done(rest)
    if "=" in last and last.startswith("--"):
        return _choices(command, [last.partition("=")[0]])
    if done and _takes_value(command, done[-1]):
        return _choices(command, done)
    if last.startswith("-"):
        return [name for name in _options(command) if name not in done]
    return _word(command, done, last, known)


def _word(command: Command, done: list[str], last: str, known: Known) -> list[str]:
    """What may stand as the next plain word: see ``Command.takes``."""
    position = len(_plain(command, done))
    options = [name for name in _options(command) if name not in done]
    if not command.takes or position >= command.words[1]:
        return options
    kind = command.takes[min(position, len(command.takes) - 1)]
    return [*_KINDS[kind](known, last), *options]


def _plain(command: Command, done: list[str]) -> list[str]:
    """The plain words among ``done``: neither options nor their values."""
    before = ["", *done]
    return [
        word
        for previous, word in zip(before, done, strict=False)
        if not word.startswith("-") and not _takes_value(command, previous)
    ]


def _options(command: Command) -> list[str]:
    return [option.name for option in command.options]


def _takes_value(command: Command, name: str) -> bool:
    return any(option.name == name and option.value for option in command.options)


def _choices(command: Command, done: Iterable[str]) -> list[str]:
    """The choices of the option that the last word is."""
    last = list(done)[-1]
    return [c for option in command.options if option.name == last for c in option.choices]


def _labels(known: Known, last: str) -> list[str]:
    return [*known.labels, *(f"${name}" for name in Regs._fields if last.startswith("$"))]


def _places(known: Known, last: str) -> list[str]:
    if "[" in last and "]" not in last:
        return list(known.labels)
    if "=" in last:
        return _labels(known, last.partition("=")[2])
    return [*(PARTS if last else Regs._fields), *FLAGS]


def _debug_words(known: Known, last: str) -> list[str]:
    """Flags, or what stands right of ``0=``: a label, then an access."""
    name, equals, value = last.partition("=")
    if not equals:
        return [*DEBUG_FLAGS, *(f"{n}=" for n in range(4)), "dr7=", "inject", "off"]
    where, colon, _ = value.rpartition(":")
    if colon:
        return [f"{where}:{access}" for access in ACCESSES]
    return [] if name == "dr7" else _labels(known, value)


_KINDS: dict[str, Callable[[Known, str], list[str]]] = {
    "label": _labels,
    "place": _places,
    "setting": _debug_words,
    "line": lambda known, last: [str(n) for n in range(16)],
    "level": lambda known, last: list(LEVELS),
    "export": lambda known, last: list(EXPORTS),
    "engine": lambda known, last: list(ENGINES),
    "side": lambda known, last: list(SIDES),
    "variable": lambda known, last: list(known.variables),
    "topic": lambda known, last: list(TOPICS),
    "writable": lambda known, last: [*_labels(known, last), *Regs._fields],
    "switch": lambda known, last: ["on", "off"],
    "number": lambda known, last: [],
    "file": lambda known, last: [],
    "view": lambda known, last: list(VIEWS),
    "nothing": lambda known, last: [],
}


def known_to(session: Session) -> Known:
    """The names that the session's VM and the user's variables have now."""
    vm = session.vm
    if vm is None:
        return Known(variables=_loadable(session.names))
    return Known(
        labels=tuple(sorted(vm.symbols)),
        breakpoints=tuple(str(breakpoint.number) for breakpoint in vm.breakpoints),
        variables=_loadable(session.names),
    )


def _loadable(names: Mapping[str, Any]) -> tuple[str, ...]:
    """The user's variables that ``%vm load`` takes."""
    from ..program import Program

    kinds = (Program, bytes, bytearray)
    return tuple(
        name
        for name, value in names.items()
        if isinstance(value, kinds) and not name.startswith("_")
    )


def make_matcher(session: Session) -> MatcherAPIv2:
    """A matcher for ``ip.Completer.custom_matchers``."""

    def kvmdbg_matcher(context: CompletionContext) -> SimpleMatcherResult:
        before = context.text_until_cursor
        fragment, words = candidates(before, context.cursor_line == 0, known_to(session))
        return SimpleMatcherResult(
            completions=[SimpleCompletion(word, type="kvmdbg") for word in words],
            matched_fragment=fragment,
            suppress=bool(words),
            do_not_suppress={"IPCompleter.file_matcher"} if _FILES.search(before) else set(),
        )

    mark: Any = context_matcher(identifier="kvmdbg", priority=100)
    return cast(MatcherAPIv2, mark(kvmdbg_matcher))
