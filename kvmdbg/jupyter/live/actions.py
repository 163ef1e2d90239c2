"""What a view may ask for, as the commands of the same name would do it: step, %bp, goto, ...

Each is one function from the VM and the message to an answer. Must not know: who asked, or how
answers travel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ...debugger.stop import Stop
from ...debugger.vm import Vm
from ...errors import BadInput
from ...x86.registers import MASK64, DebugRegs, Regs
from ..arguments import unknown
from .asked import MOST_ID, Asked
from .parts.exits import ExitColumns
from .parts.inspect import inspect

LOOKING: Final = frozenset({"exit", "exits", "inspect", "complete"})
"""What changes nothing, so that no view needs to be told."""

MOST_STEPS: Final = 1_000_000
MOST_WORDS: Final = 50
"""Completions offered at once."""


class Done(NamedTuple):
    """What came of it: one line, and data where the message asks for some."""

    says: str
    data: Any = None


class Desk(NamedTuple):
    """What an action works on."""

    vm: Vm
    exits: ExitColumns


def carry_out(desk: Desk, asked: Asked) -> Done:
    """Do what a message asks; BadInput and the debugger's own errors say why not."""
    if asked.op not in _OPS:
        raise BadInput(f'this kernel does not know "{asked.op}": reload the page')
    return _OPS[asked.op](desk, asked)


_ADDRESSES: Final = ("dr0", "dr1", "dr2", "dr3")

# Running


def _do(desk: Desk, asked: Asked) -> Done:
    action = asked.text("action")
    if action not in _ACTIONS:
        raise unknown("action", action, _ACTIONS)
    stop = _ACTIONS[action](desk, asked)
    if stop is None:
        return Done("reset: as right after loading")
    return Done(stop.title)


def _goto(desk: Desk, asked: Asked) -> Stop:
    """To a clock, or to an exit of the epoch that the page shows."""
    if asked.has("exit"):
        return desk.vm.goto(desk.exits.clock_of(desk.vm, *_exit(asked)))
    if asked.has("name"):
        return desk.vm.goto(asked.text("name"))
    return desk.vm.goto(asked.number("clock", 0, MOST_ID))


def _exit(asked: Asked) -> tuple[int, int]:
    return asked.number("epoch", 0, MOST_ID), asked.number("exit", 0, MOST_ID)


def _reset(desk: Desk, _: Asked) -> None:
    desk.vm.reset()


def _count(asked: Asked) -> int:
    return asked.number("count", 1, MOST_STEPS, 1)


_ACTIONS: Final[Mapping[str, Callable[[Desk, Asked], Stop | None]]] = {
    "step": lambda desk, asked: desk.vm.step(_count(asked)),
    "over": lambda desk, asked: desk.vm.step(_count(asked), how="over"),
    "out": lambda desk, asked: desk.vm.step(how="out"),
    "back": lambda desk, asked: desk.vm.back(),
    "step-back": lambda desk, asked: desk.vm.step_back(_count(asked)),
    "continue": lambda desk, asked: desk.vm.cont(),
    "until": lambda desk, asked: desk.vm.step(how="until", where=asked.text("where")),
    "goto": _goto,
    "reset": _reset,
}


# Breakpoints and debug registers


def _bp(desk: Desk, asked: Asked) -> Done:
    action = asked.text("action")
    if action not in _BREAKPOINTS:
        raise unknown("action", action, _BREAKPOINTS)
    return Done(_BREAKPOINTS[action](desk.vm, asked))


def _set(vm: Vm, asked: Asked) -> str:
    return vm.bp(
        asked.text("where"),
        kind=asked.maybe("kind"),
        access=asked.text("access", "x"),
        length=asked.number("length", 1, 8) if asked.has("length") else None,
        when=asked.maybe("when"),
        slot=asked.number("slot", 0, 3) if asked.has("slot") else None,
        temporary=bool(asked.has("once") and asked.number("once", 0, 1)),
    ).text


def _toggle(vm: Vm, asked: Asked) -> str:
    """Take away what is on an instruction, or put a breakpoint there."""
    address = vm.address(asked.text("where"))
    here = [each.number for each in vm.breakpoints if (each.access, each.address) == ("x", address)]
    if not here:
        return vm.bp(address).text
    return "; ".join(vm.breakpoints.delete(number) for number in here)


def _number(asked: Asked) -> int:
    return asked.number("number", 0, MOST_ID)


_BREAKPOINTS: Final[Mapping[str, Callable[[Vm, Asked], str]]] = {
    "set": _set,
    "toggle": _toggle,
    "delete": lambda vm, asked: vm.breakpoints.delete(_number(asked)),
    "enable": lambda vm, asked: vm.breakpoints.enable(_number(asked)),
    "disable": lambda vm, asked: vm.breakpoints.disable(_number(asked)),
}


def _debugreg(desk: Desk, asked: Asked) -> Done:
    """The guest's own; whether the processor would take the value is the engine's to say."""
    name, vm = asked.text("name").lower(), desk.vm
    value = vm.address(asked.text("value")) & MASK64
    now = vm.debugregs()
    vm.vcpu.set_debugregs(_replaced(now, name, value))
    return Done(f"the guest's {name.upper()} is {value:#x}")


def _replaced(now: DebugRegs, name: str, value: int) -> DebugRegs:
    if name == "dr6":
        return now._replace(dr6=value)
    if name == "dr7":
        return now._replace(dr7=value)
    if name not in _ADDRESSES:
        raise unknown("debug register", name, (*_ADDRESSES, "dr6", "dr7"))
    db = list(now.db)
    db[_ADDRESSES.index(name)] = value
    return now._replace(db=(db[0], db[1], db[2], db[3]))


# Looking


def _inspect(desk: Desk, asked: Asked) -> Done:
    return Done("", inspect(desk.vm, asked.text("what"), asked.text("where", "")))


def _describe(desk: Desk, asked: Asked) -> Done:
    found = desk.exits.describe(desk.vm, *_exit(asked))
    return Done(str(found.get("says", "")), found)


def _bookmark(desk: Desk, asked: Asked) -> Done:
    name, vm = asked.text("name").strip(), desk.vm
    if asked.has("clock") and asked.number("clock", 0, MOST_ID) != vm.vcpu.clock:
        raise BadInput("a bookmark names the present moment: go there first")
    clock = vm.bookmark(name)
    return Done(f"{name}: clock {clock:,}")


def _complete(desk: Desk, asked: Asked) -> Done:
    """Labels and registers that begin with a text."""
    text = asked.text("text", "")
    names = [*sorted(desk.vm.symbols), *(f"${name}" for name in Regs._fields)]
    return Done("", [name for name in names if name.startswith(text)][:MOST_WORDS])


_OPS: Final[Mapping[str, Callable[[Desk, Asked], Done]]] = {
    "do": _do,
    "bp": _bp,
    "debugreg": _debugreg,
    "inspect": _inspect,
    "exit": _describe,
    "bookmark": _bookmark,
    "complete": _complete,
}
