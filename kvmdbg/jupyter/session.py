"""One shell's session: which VM the magics work on, and the user's variables around it.

The rule: the magics work on the VM in the Python variable ``vm``; if that variable holds something
else of the user's, it is left alone and the session keeps the VM to itself.
Must not know: how anything is written or shown.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from keyword import iskeyword
from typing import Any, Protocol

from ..debugger.vm import Vm
from ..engines import Factory
from ..errors import BadInput, NoVm
from ..program import Program
from ..x86.registers import CpuMode

VARIABLE = "vm"
RAM = 16 * 2**20
_HOW_TO_BEGIN = "write a %%asm cell or %vm new"


class Viewer(Protocol):
    """Who can show a live view."""

    def view(self, kind: str) -> object: ...


class Session:
    """The VM of one shell. ``names`` is the user's namespace."""

    def __init__(self, names: MutableMapping[str, Any]) -> None:
        self.names = names
        self._own: Vm | None = None
        self.viewer: Viewer | None = None

    @property
    def vm(self) -> Vm | None:
        """The VM that the magics work on; ``None`` if there is none or it was closed."""
        bound = self.names.get(VARIABLE)
        if isinstance(bound, Vm):
            self._own = bound
        return None if self._own is None or self._own.closed else self._own

    def require_vm(self) -> Vm:
        """The VM, or NoVm with how to get one."""
        vm = self.vm
        if vm is not None:
            return vm
        if self._own is not None:
            raise NoVm(f"the VM was closed: {_HOW_TO_BEGIN}")
        raise NoVm(f"no VM yet: {_HOW_TO_BEGIN}")

    def new_vm(
        self,
        mode: str | None,
        ram: int | None,
        engine: str | None = None,
        profile: str | None = None,
        irqchip: bool = False,
    ) -> list[str]:
        """Replace the VM by a new, empty one; sentences that say what happened to whom.

        What is not said is as in the old VM; but it has an irqchip only if that is said.
        """
        return self._replace(self._make(mode or self.mode, ram, engine, profile, irqchip))

    def open_vm(self, path: str, live: bool) -> list[str]:
        """Replace the VM by one at the end of a recording; the old one goes when that is there."""
        new = Vm.open(path, live)
        return self._replace(new, "live" if live else "replay")

    def load(self, program: Program, ram: int | None) -> list[str]:
        """Load an assembled program, into a new VM if mode or RAM size demand it.

        The old VM goes only when the program stands in the new one.
        """
        vm = self.vm
        if vm is not None and mode_of(vm) == program.mode and ram in (None, self.ram):
            vm.load(program)
            return []
        new = self._make(program.mode, ram, irqchip=vm is not None and vm.irqchip is not None)
        try:
            new.load(program)
        except BaseException:
            new.close()
            raise
        return self._replace(new)

    def _make(
        self,
        mode: str,
        ram: int | None,
        engine: str | None = None,
        profile: str | None = None,
        irqchip: bool = False,
    ) -> Vm:
        same, rules = ("auto", None) if self.vm is None else (_engine_of(self.vm), self.vm.profile)
        if engine is not None and engine != same:
            rules = None
        new = Vm(engine or same, mode, ram or self.ram, profile or rules)
        return _with_irqchip(new) if irqchip else new

    def _replace(self, new: Vm, what: str = "new") -> list[str]:
        old = self.vm
        chips = ", irqchip" if new.irqchip is not None else ""
        notes = [f"{what} VM: {mode_of(new)} mode, {memory_size(new)} RAM{chips}"]
        if old is not None:
            notes += _farewell(old)
        self._own = new
        return notes + self._bind()

    @property
    def mode(self) -> str:
        """The mode of the next program if nobody says: the VM's, or ``long``."""
        return mode_of(self.vm) if self.vm is not None else "long"

    @property
    def ram(self) -> int:
        """RAM of the next VM if nobody says, in bytes."""
        return len(self.vm.vcpu.ram) if self.vm is not None else RAM

    def bind_program(self, name: str, program: Program) -> Program:
        """Bind a program to the Python variable ``name``; the program knows that name then."""
        named = replace(program, name=name)
        self.names[name] = named
        return named

    def _bind(self) -> list[str]:
        """Show the VM to Python as ``vm``, unless that name is taken by something of the user's."""
        bound = self.names.get(VARIABLE)
        if bound is None or isinstance(bound, Vm):
            self.names[VARIABLE] = self._own
            return []
        what = type(bound).__name__
        return [f"the variable {VARIABLE} is yours ({what}) and stays; the magics use the new VM"]


def check_name(name: str) -> None:
    """BadInput unless a program can be bound to this Python name."""
    if not name.isidentifier() or iskeyword(name) or name == VARIABLE:
        raise BadInput(f'"{name}" cannot name a program; write a Python name such as demo')


def mode_of(vm: Vm) -> str:
    """The mode a VM was made for, as ``Vm(mode=...)`` calls it."""
    if vm.program is not None:
        return vm.program.mode
    if vm.mode is CpuMode.REAL:
        return "real"
    return "protected" if vm.mode in (CpuMode.PROTECTED_16, CpuMode.PROTECTED_32) else "long"


def memory_size(vm: Vm) -> str:
    """Guest RAM for people: ``16 MiB``."""
    size = len(vm.vcpu.ram)
    return f"{size >> 20} MiB" if size % 2**20 == 0 else f"{size >> 10} KiB"


def _with_irqchip(new: Vm) -> Vm:
    """The VM with its irqchip made; an engine that cannot make one leaves no VM behind."""
    try:
        new.create_irqchip()
    except BaseException:
        new.close()
        raise
    return new


def _engine_of(vm: Vm) -> str | Factory:
    """What makes another engine like this VM's: its name, or a function of somebody's own."""
    return vm.engine_name if vm.opened_by == "auto" else vm.opened_by


def _farewell(old: Vm) -> list[str]:
    """Close a VM; what the user loses with it."""
    lost = len(old.breakpoints)
    old.close()
    if not lost:
        return ["the old VM is closed"]
    return [f"the old VM is closed, and its {lost} breakpoint{'s' * (lost > 1)} with it"]
