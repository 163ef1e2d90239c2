"""The processor of the machine view: registers, flags, segments and control registers.

Every value has its digits and, where the last stop changed it, what it was. Must not know: how a
register is drawn, or why the guest stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from typing import Any

from ....views import cpu
from ....x86.registers import CR0, CR4, EFER, CpuMode, Regs, Sregs, linear_pc

Changed = Mapping[str, tuple[int, int]]
"""By name, (old, new)."""


def registers(regs: Regs, sregs: Sregs, changed: Changed, flags: Changed) -> dict[str, Any]:
    """Everything that the machine view shows of the processor at one moment."""
    return {
        "general": _general(regs, sregs, changed),
        "flags": _flags(regs.rflags, flags),
        "segments": _segments(sregs, changed),
        "control": _control(sregs, changed),
    }


def _register(name: str, value: int, form: str, was: tuple[int, int] | None) -> dict[str, Any]:
    old = None if was is None else format(was[0], form)
    return {"name": name, "digits": format(value, form), "was": old}


def _general(regs: Regs, sregs: Sregs, changed: Changed) -> list[dict[str, Any]]:
    """RIP and RFLAGS last; outside 64-bit mode also where CS:RIP is in linear memory."""
    mode = sregs.mode
    names = cpu.GENERAL + (cpu.EXTENDED if mode is CpuMode.LONG else ())
    digits = cpu.register_digits(mode.bits, [getattr(regs, name) for name in (*names, "rip")])
    form = f"0{digits}x"
    found = [
        _register(cpu.register_name(name, digits), getattr(regs, name), form, changed.get(name))
        for name in (*names, "rip")
    ]
    if mode is not CpuMode.LONG:
        found.append(_register("linear", linear_pc(regs.rip, sregs), "x", None))
    return [*found, _register("rflags", regs.rflags, "08x", None)]


def _flags(rflags: int, changed: Changed) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "value": cpu.flag_value(name, rflags),
            "was": changed[name][0] if name in changed else None,
            "words": words,
        }
        for name, words in cpu.FLAG_WORDS.items()
    ]


def _segments(sregs: Sregs, changed: Changed) -> list[dict[str, Any]]:
    real = sregs.mode is CpuMode.REAL
    found = []
    for name in cpu.SEGMENTS:
        segment = getattr(sregs, name)
        found.append(
            _register(name, segment.selector, "04x", changed.get(name))
            | {
                "base": f"{segment.base:#x}",
                "limit": f"{segment.limit:#x}",
                "words": "" if real else cpu.segment_words(segment),
            }
        )
    return found


_CONTROL: dict[str, type[IntFlag] | None] = {
    "cr0": CR0,
    "cr2": None,
    "cr3": None,
    "cr4": CR4,
    "cr8": None,
    "efer": EFER,
}


def _control(sregs: Sregs, changed: Changed) -> list[dict[str, Any]]:
    return [
        _register(name, getattr(sregs, name), "x", changed.get(name))
        | {"bits": cpu.set_bits(getattr(sregs, name), bits)}
        for name, bits in _CONTROL.items()
    ]
