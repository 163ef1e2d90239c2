"""What Shift-Tab and hovering show in our lines: usage, or what a label or a register is now.

A front end sends the cell's text and the cursor (``inspect_request``). IPython reduces both to one
Python name before anybody else is asked: for ``%vm run`` that is ``vm``, the user's variable. So
the hook must lie before that, and there is no official one; the only method that still sees text
and cursor is the kernel's ``do_inspect``. An :class:`Inspection` stands in for it, on that one
kernel object; it answers for our lines and hands everything else on unchanged. In a terminal there
is no kernel and nothing to do: ``%vm?`` shows the same.

It only looks: a guest that runs in another thread is left alone, and then there is only the usage.
Must not know: how a command is carried out.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from ..debugger.names import DOLLAR_ONLY, REGISTERS
from ..errors import AddressError, KvmdbgError
from ..program import Program
from ..views import naming
from ..x86.registers import linear_pc
from . import help, lines
from .arguments import Option
from .commands import BP_ACTIONS, FLAGS, TOPICS, VM, VM_ALIASES
from .history_commands import moment
from .offers import ASSEMBLY_REGISTERS
from .stepping_commands import vector

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ..debugger.vm import Vm
    from .lines import Spot
    from .session import Session

_WORD: Final = re.compile(r"(?<!\S)--?[A-Za-z][\w-]*|[$#]?[\w.?@$]+")
_HAVE_VALUES: Final = ("condition", "label", "place", "writable", "when", "stop", "setting", "how")
_METHOD: Final = "do_inspect"
_PATIENCE: Final = 0.05
"""Seconds to wait for the VM."""


def inspect(session: Session, cell: str, cursor: int) -> str | None:
    """What is to be shown for a cursor (in characters) in a cell.

    Empty where there is nothing to say, None where the place is not ours but Python's.
    """
    here = lines.at(cell, cursor)
    if lines.is_assembly(cell) and not here.first:
        return _in_assembly(session, here)
    line = lines.line(here.text, here.first)
    if line is None or here.column < line.start or lines.in_braces(here.text[: here.column]):
        return None
    word, end = _word_at(here.text, here.column)
    if here.column <= line.end:
        return help.overview() if line.magic == "vm" else help.document(TOPICS[line.magic])
    spot = lines.spot(here.text[:end], here.first)
    return None if spot is None else _answer(session, spot, word)


def _word_at(text: str, column: int) -> tuple[str, int]:
    """The word that a cursor stands in or behind, and where it ends; or nothing there."""
    found = ("", column)
    for match in _WORD.finditer(text):
        if match.start() <= column <= match.end():
            found = match[0], match.end()
    return found


def _answer(session: Session, spot: Spot, word: str) -> str:
    """What the word is, if it is a thing; else the usage."""
    try:
        with _turn(session):
            thing = _thing(session, spot, word) if word else None
    except KvmdbgError:  # the guest runs in another thread, or the name means nothing now
        thing = None
    return thing or _usage(spot, word)


def _turn(session: Session) -> AbstractContextManager[None]:
    """The VM for a moment; VmBusy at once, or nearly, if the guest is running elsewhere."""
    return nullcontext() if session.vm is None else session.vm.turn(_PATIENCE, looking=True)


def _usage(spot: Spot, word: str) -> str:
    if spot.kind == "sub-command":
        command = VM.get(VM_ALIASES.get(word, word))
        return help.overview() if command is None else help.document(command)
    if spot.command is None:
        return help.overview()
    page = help.document(spot.command)
    named = [option for option in spot.command.options if option.name == word]
    options = [spot.option] if spot.option else named
    return "\n\n".join([*map(_option, options), page])


def _option(option: Option) -> str:
    return f"{option.name} {option.value}".rstrip() + f": {option.help}"


def _thing(session: Session, spot: Spot, word: str) -> str | None:
    """What a word of this kind of place stands for."""
    kind, vm = spot.kind, session.vm
    if kind in _HAVE_VALUES:
        return _name(vm, spot, word)
    if kind == "topic":
        return help.explain(word)
    if kind == "vector":
        return naming.vector(vector(word))
    if kind in ("variable", "program"):
        held = session.names.get(word)
        return f"{word}: {held!r}" if isinstance(held, Program) else None
    if vm is not None and kind in ("moment", "span"):
        return _bookmark(vm, word)
    if vm is not None and kind == "breakpoint" and word.isdigit():
        return f"breakpoint {vm.breakpoints[int(word)].text}"
    return None


def _bookmark(vm: Vm, word: str) -> str | None:
    where = moment(word)
    clock = vm.bookmarks.get(where) if isinstance(where, str) else None
    return None if clock is None else f"{word}: a bookmark, clock {clock:,}"


def _name(vm: Vm | None, spot: Spot, word: str) -> str | None:
    """A label, a register, a flag; not a word of the command itself."""
    if word in _keywords(spot):
        return None
    if spot.kind == "condition" and word.lower() == "hits":
        return naming.hits()
    bare = FLAGS if spot.kind == "place" else ()
    return _label(vm, word) or _register(vm, word, (*REGISTERS, *bare))


def _keywords(spot: Spot) -> Collection[str]:
    if spot.kind == "how":
        return "hw", "sw", "if"
    if spot.kind == "setting" and "=" not in spot.text:
        return (spot.text,)
    return BP_ACTIONS if spot.kind == "stop" else ()


def _register(vm: Vm | None, word: str, names: Collection[str]) -> str | None:
    """A register by its name; with ``$`` also those that need it."""
    name = word.removeprefix("$").lower()
    if name not in names and not (word.startswith("$") and name in DOLLAR_ONLY):
        return None
    return naming.register(name, None if vm is None else _now(vm))


def _now(vm: Vm) -> naming.Now:
    regs, sregs = vm.regs(), vm.sregs()
    pc = linear_pc(regs.rip, sregs)
    return naming.Now(regs, sregs, vm.debugregs(), pc, vm.read, vm.address, vm.label)


def _label(vm: Vm | None, word: str) -> str | None:
    """A label or a constant of the loaded program."""
    if vm is None:
        return None
    constants = vm.program.constants if vm.program else {}
    if word in constants:
        return naming.constant(word, constants[word])
    if word not in vm.symbols:
        return None
    address = vm.address(word)
    listing = vm.program.listing if vm.program else ()
    source = next((row for row in listing if row.address == address and row.raw), None)
    size = min(len(source.raw), naming.SHOWN) if source else 8
    try:
        data = vm.read(address, size)
    except AddressError:
        data = b""
    watching = [found.text for found in vm.breakpoints if found.address == address]
    return naming.label(word, address, data, source, _now(vm).pc == address, watching)


def _in_assembly(session: Session, here: lines.At) -> str:
    """A label or a register of an instruction; of a mnemonic nothing is said."""
    word, end = _word_at(here.text, here.column)
    before = here.text[: end - len(word)]
    is_definition = here.text[end : end + 1] == ":"
    if not word or not (is_definition or lines.takes_operand(before)):
        return ""
    name = word.removeprefix("$")
    try:
        with _turn(session):
            found = _label(session.vm, name) or _register(session.vm, name, ASSEMBLY_REGISTERS)
    except KvmdbgError:  # the guest runs in another thread
        found = None
    return found or ""


class Inspection:
    """The kernel's ``do_inspect`` while our extension is loaded."""

    def __init__(self, session: Session, kernel: Any) -> None:
        self._session = session
        self._kernel = kernel
        self._theirs = getattr(kernel, _METHOD)
        self._active = True
        setattr(kernel, _METHOD, self)

    def __call__(self, code: str, cursor_pos: int, *args: Any, **more: Any) -> Any:
        """The content of an ``inspect_reply``."""
        text = self._ours(code, cursor_pos) if self._active else None
        if text is None:
            return self._theirs(code, cursor_pos, *args, **more)
        data = {"text/plain": text} if text else {}
        return {"status": "ok", "found": bool(text), "data": data, "metadata": {}}

    def _ours(self, code: str, cursor: int) -> str | None:
        try:
            return inspect(self._session, code, cursor)
        except Exception:  # hovering is no place for a traceback: then as if we were not there
            return None

    def remove(self) -> None:
        """The kernel's own method again; if somebody has wrapped ours, it only hands on."""
        self._active = False
        if vars(self._kernel).get(_METHOD) is self:
            delattr(self._kernel, _METHOD)


def install(shell: InteractiveShell, session: Session) -> Inspection | None:
    """Let the shell's kernel ask :func:`inspect` first; None if it has no kernel."""
    kernel = getattr(shell, "kernel", None)
    return Inspection(session, kernel) if hasattr(kernel, _METHOD) else None
