"""Why an instruction raises what it raises: from the vector to those who can tell.

Pure: an instruction, a vector and a scene in, evidence out. Only what can be seen is said; an
instruction has more rules than these (SDM vol. 2). Must not know: how a fault goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from ..x86.decode import Instruction, is_software_interrupt
from ..x86.vectors import Vector
from . import evidence
from .evidence import Evidence, Scene
from .examiners import (
    addresses,
    control,
    device,
    fetching,
    numbers,
    opcodes,
    privilege,
    selectors,
)
from .examiners.case import Case

_IDT = 2
"""The error code's bit 1: its index is one of the IDT (SDM vol. 3, 6.13)."""

Examiner = Callable[[Case], list[Evidence]]


def why(scene: Scene, ins: Instruction | None, vector: int, code: int | None) -> list[Evidence]:
    """What speaks for this exception at this instruction."""
    if vector in _PROTECTION:
        place = fetching.examine_place(scene)
        if place:
            return place
    examine = EXAMINERS.get(vector)
    if ins is None or examine is None:
        return []
    return examine(Case(scene, ins, vector, code or 0))


def _protection(case: Case) -> list[Evidence]:
    """#GP, #SS, #NP and #TS: by a gate, a selector, privilege, a value, or an address."""
    if case.code & _IDT:
        return [_gate(case)]
    looked: list[Evidence] = []
    for examine in _IN_ORDER:
        looked += examine(case)
        if any(item.wrong for item in looked):
            return looked
    if case.code & 0xFFFC and not looked:
        return [evidence.read_descriptor(case.scene, case.code & 0xFFFC)[1]]
    return looked


def _gate(case: Case) -> Evidence:
    """Why INT n cannot go through its gate (SDM vol. 3, 6.12.1.2)."""
    vector = case.code >> 3
    gate = evidence.read_gate(case.scene, vector)
    wrong, mend = "", ""
    if gate is not None and is_software_interrupt(case.ins):
        if gate.dpl < case.cpl:
            wrong = f"DPL (bits 46:45) {gate.dpl} is less than CPL {case.cpl}"
            mend = f"give the gate DPL {case.cpl}"
        elif not gate.present:
            wrong, mend = "P (bit 47) is 0: not present", "set bit 47"
    return evidence.gate(case.scene, vector, wrong)._replace(mend=mend)


_IN_ORDER: tuple[Examiner, ...] = (
    fetching.examine_length,
    privilege.examine,
    selectors.examine,
    control.examine,
    addresses.examine,
    fetching.examine_target,
)
"""A processor checks an instruction's bytes first, its memory operands and its target last."""

_PROTECTION = (Vector.TS, Vector.NP, Vector.SS, Vector.GP)

EXAMINERS: dict[int, Examiner] = {
    Vector.DE: numbers.examine_division,
    Vector.OF: numbers.examine_overflow,
    Vector.BR: numbers.examine_bounds,
    Vector.UD: opcodes.examine,
    Vector.NM: device.examine,
    Vector.MF: numbers.examine_floating_point,
    Vector.XM: numbers.examine_floating_point,
    Vector.AC: addresses.examine,
    **dict.fromkeys(_PROTECTION, _protection),
}
"""Who can tell why an instruction raised a vector; #PF's page walk is in evidence.py."""
