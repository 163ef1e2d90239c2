"""What ``inspect`` answers with: the processor's tables as cards.

Only looks. Must not know: how a card is drawn, or who asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....debugger.evidence import Scene
from ....debugger.suggest import did_you_mean
from ....debugger.vm import Vm
from ....errors import BadInput, UnknownName
from ....views import descriptors, pagewalk, system, tss
from ....views.tables import Card
from ....x86.decode import Instruction
from .cards import card_json

LAST_ENTRY = 8191
"""A descriptor table has at most so many entries after the first (SDM vol. 3, 3.5.1)."""


def inspect(vm: Vm, what: str, where: str = "") -> list[dict[str, Any]]:
    """The cards for ``page`` (of an address), ``gdt``, ``ldt``, ``idt``, ``tss`` or ``sregs``.

    ``where`` is an address for ``page`` (the guest's place if empty); for the three tables the
    number of the entry to begin with. Raises BadInput and its kin for what makes no sense.
    """
    show = _CARDS.get(what)
    if show is None:
        hint = did_you_mean(what, _CARDS) or f"; choose {', '.join(_CARDS)}"
        raise UnknownName(f'cannot inspect "{what}"{hint}')
    return [card_json(show(vm, _scene(vm), where.strip()))]


def _scene(vm: Vm) -> Scene:
    def place(address: int) -> str:
        label, digits = vm.label(address), f"{address:#x}"
        return digits if label == digits else f"{label} ({digits})"

    def code(address: int) -> Instruction | None:
        return next(iter(vm.disassemble(address, 1)), None)

    return Scene(vm.regs(), vm.sregs(), vm.memory.read, place, code)


def _entry(where: str) -> int:
    """The number of an entry, in decimal or with 0x."""
    try:
        number = int(where or "0", 0)
    except ValueError:
        number = -1
    if not 0 <= number <= LAST_ENTRY:
        raise BadInput(f'"{where}" is no entry of a table: a number from 0 to {LAST_ENTRY}')
    return number


_CARDS: dict[str, Callable[[Vm, Scene, str], Card]] = {
    "page": lambda vm, scene, where: pagewalk.page(scene, vm.address(where or "$rip")),
    "gdt": lambda vm, scene, where: descriptors.gdt(scene, _entry(where)),
    "ldt": lambda vm, scene, where: descriptors.ldt(scene, _entry(where)),
    "idt": lambda vm, scene, where: descriptors.idt(scene, _entry(where)),
    "tss": lambda vm, scene, where: tss.tss(scene),
    "sregs": lambda vm, scene, where: system.system(scene.sregs),
}
