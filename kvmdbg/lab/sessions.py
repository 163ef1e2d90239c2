"""A session: what a student's Python did to a VM at the ioctl line, as a frozen value.

It holds calls and nothing that came of them: whoever wants to know makes the calls again. From
elsewhere it is read with distrust. Must not know: how calls are made, or what they are checked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ..debugger.vm import Vm
from ..exits import Exit, IntrExit, IoExit
from ..history import recording
from ..history.timeline import COLUMNS
from ..machine.ports import PortBus, TextConsole
from ..program import Program
from ..views import html, text
from ..views.tables import Card, Column, Table, head, line
from ..x86.registers import MASK64, Regs

CALLS: Final = 5000
"""A session has at most so many calls, ..."""
WRITTEN: Final = 1 << 18
"""... and writes at most so many bytes."""
_SHOWN: Final = 24


class Call(NamedTuple):
    """One call that changed the machine, with all of its arguments by name."""

    name: str
    arguments: Mapping[str, Any]


def _is_number(most: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and 0 <= value <= most


def _are_registers(value: object) -> bool:
    return type(value) is tuple and len(value) == 8 and all(map(_is_number(MASK64), value))


def _are_bytes(value: object) -> bool:
    return type(value) is bytes and len(value) <= WRITTEN


FORMS: Final[dict[str, dict[str, Callable[[object], bool]]]] = {
    "debug": {"control": _is_number((1 << 32) - 1), "debugreg": _are_registers},
    "enter": {"max_instructions": _is_number(1 << 40)},
    "write": {"where": _is_number(MASK64), "data": _are_bytes},
    "set_regs": dict.fromkeys(Regs._fields, _is_number(MASK64)),
    "complete_io": {"data": _are_bytes},
}
"""Each call with its arguments, and what they may be; ``set_regs`` has some of them."""


@dataclass(frozen=True, repr=False)
class Session:
    """Calls in their order, ``program`` (a digest of what was debugged), and ``state``.

    ``state`` is a digest of the exits, registers and memory at the end: a session whose calls lead
    elsewhere was edited. ``problem`` says why it did not come to its end, ``result`` is what the
    student's function returned, as data. ``told`` is for the student's eyes and stays here.
    """

    program: str
    calls: tuple[Call, ...]
    state: str
    problem: str = ""
    result: Any = None
    told: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def __repr__(self) -> str:
        return text.render(self._card())

    def _repr_html_(self) -> str:
        return html.render(self._card())

    def _card(self) -> Card:
        columns = (Column("call"), Column("what came of it", prose=True))
        rows = tuple(line(head(call), what) for call, what in _shortened(self.told))
        parts = (Table(columns, rows),) if rows else ()
        number = len(self.calls)
        title = f"session: {number:,} call{'' if number == 1 else 's'} at the ioctl line"
        return Card(title, self.problem or f"it returned {self.result!r:.200}", parts)


def _shortened(rows: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """The first and the last of many."""
    half = _SHOWN // 2
    if len(rows) <= _SHOWN:
        return list(rows)
    return [*rows[:half], ("...", f"{len(rows) - 2 * half:,} more"), *rows[-half:]]


class SessionVm(Vm):
    """A VM at the ioctl line. It knows the calls that were made and reads the guest's console."""

    why_not: str = ""
    """Why nothing that the guest did counts."""

    def begin(self) -> None:
        """Before the first call; the program is loaded."""
        self.calls: list[Call] = []
        self._printed = TextConsole()
        self._bus = PortBus()
        self._printed.attach_to(self._bus)

    @property
    def console(self) -> str:
        """What the guest printed: from its IO exits, as nobody else answers its ports here."""
        return self._printed.text

    def make(self, call: Call, seconds: float) -> Exit | None:
        """Make a call and note it; the exit of an ``enter``. Raises what the call raises."""
        exit = _MAKE[call.name](self, seconds, **call.arguments)
        self.calls.append(call)
        if isinstance(exit, IoExit) and exit.direction == "out":
            self._bus.handle(exit)
        return exit

    @property
    def unfinished(self) -> str:
        """Why the session did not come to its end; empty if it did."""
        if not self.why_not and isinstance(self.last_exit, IntrExit):
            return "the session ended in the middle of a run"
        return self.why_not

    @property
    def state(self) -> str:
        """A digest of the exits, registers and memory."""
        found = hashlib.sha256(recording.digest(self.vcpu).encode())
        for name in COLUMNS:
            if name != "host_time":
                found.update(self.timeline.column(name))
        return found.hexdigest()


_MAKE: Final[dict[str, Callable[..., Exit | None]]] = {
    "debug": lambda vm, _, control, debugreg: _nothing(vm.debug(control, debugreg)),
    "enter": lambda vm, seconds, max_instructions: vm.enter(max_instructions, seconds),
    "write": lambda vm, _, where, data: vm.write(where, data),
    "set_regs": lambda vm, _, **values: vm.set_regs(**values),
    "complete_io": lambda vm, _, data: vm.vcpu.complete_io(data),
}


def _nothing(_: object) -> None:
    """A setting is no exit."""


def identity(program: Program) -> str:
    """A digest of a program's bytes and of where they belong."""
    found = hashlib.sha256(f"{program.mode} {program.origin} ".encode())
    found.update(program.code)
    return found.hexdigest()


# As data


def packed(session: Session, pack: Callable[[Any], Any]) -> dict[str, Any]:
    """A session as JSON; ``pack`` is for its result."""
    calls = [
        [call.name, {name: _plain(value) for name, value in call.arguments.items()}]
        for call in session.calls
    ]
    told = {"program": session.program, "state": session.state, "problem": session.problem}
    return {**told, "calls": calls, "result": pack(session.result)}


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def unpacked(content: dict[str, Any], unpack: Callable[[Any], Any]) -> Session:
    """The session again; ValueError, TypeError or KeyError for what is none."""
    texts = [content[name] for name in ("program", "state", "problem")]
    if not all(type(one) is str and len(one) <= 2000 for one in texts):
        raise TypeError("no text")
    rows = content["calls"]
    if type(rows) is not list or len(rows) > CALLS:
        raise ValueError("too many calls")
    calls = tuple(_call(name, arguments) for name, arguments in rows)
    program, state, problem = texts
    return Session(program, calls, state, problem, unpack(content["result"]))


def _call(name: str, arguments: dict[str, Any]) -> Call:
    form = FORMS[name]
    found = {key: _read(key, value) for key, value in arguments.items()}
    if not (found.keys() == form.keys() or (name == "set_regs" and found.keys() <= form.keys())):
        raise ValueError("other arguments")
    if not all(form[key](value) for key, value in found.items()):
        raise ValueError("arguments out of range")
    return Call(name, found)


def _read(key: str, value: Any) -> Any:
    if key == "data":
        return bytes.fromhex(value)
    return tuple(value) if key == "debugreg" else value
