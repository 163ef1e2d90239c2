"""``%step`` and ``%bp``: from a line of words to the debugger's calls.

What a function gives back is what the cell shows and what ``_`` holds. Must not know: IPython.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..debugger.breakpoints import Breakpoint, BreakpointTable
from ..debugger.stop import Stop
from ..debugger.vm import Vm
from ..errors import BadInput
from ..views import story
from ..x86.vectors import Vector
from .arguments import Arguments, number, parse, positive, split, unknown
from .commands import BP, BP_ACTIONS, STEP, STEP_WAYS
from .display import Shown, labels_of, shown
from .session import Session

_CONDITION = re.compile(r"(?P<place>.*?)(?:^|\s)if(?:\s+(?P<when>.*))?$", re.DOTALL)


def step(session: Session, line: str) -> Stop:
    """``%step``: count and way in either order; ``until`` takes the rest of the line."""
    vm = session.require_vm()
    words = list(parse(STEP, split(line)).words)
    if "until" in words:
        return _until(vm, words)
    count, how = 1, "into"
    for word in words:
        if re.match(r"[0-9]", word):
            count = positive(word)
        elif word in STEP_WAYS:
            how = word
        else:
            raise unknown("way to step", word, STEP_WAYS)
    return vm.step_back(count) if how == "back" else vm.step(count, how=how)


def _until(vm: Vm, words: list[str]) -> Stop:
    place = words.index("until")
    where = " ".join(words[place + 1 :])
    if not where:
        raise BadInput(f"something is missing: %step until WHERE; more: {STEP.help}")
    if place > 0:
        raise BadInput("%step until WHERE takes no count")
    return vm.step(1, how="until", where=where)


def bp(session: Session, line: str) -> Breakpoint | BreakpointTable | Shown:
    """``%bp``: list, set, or act on the breakpoints."""
    vm = session.require_vm()
    line, when = _condition(line)
    words = split(line)
    if not words and when is None:
        return vm.breakpoints
    if words and words[0] == "int":
        args = parse(BP_ACTIONS["int"], words[1:])
        return vm.bp_vector(vector(args.words[0]), when, args.has("--once"))
    if words and words[0] in _ACTIONS and when is None:
        return _act(vm, words[0], parse(BP_ACTIONS[words[0]], words[1:]))
    return _set(vm, parse(BP, words), when)


def _condition(line: str) -> tuple[str, str | None]:
    """The line without its condition, and the condition as it was written."""
    match = _CONDITION.match(line)
    if match is None:
        return line, None
    if not match["when"]:
        raise BadInput(f"something is missing: if CONDITION, as if rax == 3; more: {BP.help}")
    return match["place"], match["when"].strip()


def _set(vm: Vm, args: Arguments, when: str | None) -> Breakpoint:
    kinds = [word for word in args.words[1:] if word in ("hw", "sw")]
    where = " ".join(word for n, word in enumerate(args.words) if n == 0 or word not in kinds)
    accesses = [name for name in ("-x", "-w", "-rw") if args.has(name)]
    if not where:
        raise BadInput(f"something is missing: {BP.name} {BP.usage}; more: {BP.help}")
    if len(kinds) > 1 or len(accesses) > 1:
        raise BadInput("a breakpoint is hw or sw, and one of -x, -w, -rw")
    return vm.bp(
        where,
        kind=kinds[0] if kinds else None,
        access=accesses[0][1:] if accesses else "x",
        length=args.value("--len", number),
        when=when,
        temporary=args.has("--once"),
        slot=args.value("--slot", number),
    )


def vector(text: str) -> int:
    """A vector by number or by the manual's name: ``0x13``, ``13h``, ``#PF``."""
    name = text.removeprefix("#").upper()
    return Vector[name].value if name in Vector.__members__ else number(text)


_ACTIONS: dict[str, Callable[[BreakpointTable, int], str]] = {
    "delete": BreakpointTable.delete,
    "enable": BreakpointTable.enable,
    "disable": BreakpointTable.disable,
}


def _act(vm: Vm, action: str, args: Arguments) -> Shown:
    """Delete, enable or disable; all numbers are checked before the first is touched."""
    table = vm.breakpoints
    numbers = [found.number for found in _chosen(table, args.words)]
    notes = [_ACTIONS[action](table, chosen) for chosen in numbers] or ["there are no breakpoints"]
    left = [story.breakpoints(table, labels_of(vm.symbols))] if len(table) else []
    return shown(table, left, notes)


def _chosen(table: BreakpointTable, words: tuple[str, ...]) -> list[Breakpoint]:
    if words == ("all",):
        return list(table)
    return [table[number(word)] for text in words for word in text.split(",") if word]
