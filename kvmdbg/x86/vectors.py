"""The architecture's exception vectors (SDM vol. 3, table 6-1) and what each one is.

Must not know: how a vector is delivered (that is delivery.py).
"""

from __future__ import annotations

from enum import IntEnum


class Vector(IntEnum):
    """Exception and interrupt vectors 0-21 by the SDM's mnemonic without the number sign."""

    DE = 0
    DB = 1
    NMI = 2
    BP = 3
    OF = 4
    BR = 5
    UD = 6
    NM = 7
    DF = 8
    TS = 10
    NP = 11
    SS = 12
    GP = 13
    PF = 14
    MF = 16
    AC = 17
    MC = 18
    XM = 19
    VE = 20
    CP = 21


TITLES: dict[int, str] = {
    Vector.DE: "divide error",
    Vector.DB: "debug exception",
    Vector.NMI: "non-maskable interrupt",
    Vector.BP: "breakpoint (INT3)",
    Vector.OF: "overflow (INTO)",
    Vector.BR: "bound range exceeded",
    Vector.UD: "invalid opcode",
    Vector.NM: "device not available",
    Vector.DF: "double fault",
    Vector.TS: "invalid TSS",
    Vector.NP: "segment not present",
    Vector.SS: "stack-segment fault",
    Vector.GP: "general protection",
    Vector.PF: "page fault",
    Vector.MF: "x87 floating-point error",
    Vector.AC: "alignment check",
    Vector.MC: "machine check",
    Vector.XM: "SIMD floating-point exception",
    Vector.VE: "virtualization exception",
    Vector.CP: "control protection",
}

HAS_ERROR_CODE = frozenset(
    {Vector.DF, Vector.TS, Vector.NP, Vector.SS, Vector.GP, Vector.PF, Vector.AC, Vector.CP}
)
"""Vectors that push an error code outside real mode."""

CONTRIBUTORY = frozenset({Vector.DE, Vector.TS, Vector.NP, Vector.SS, Vector.GP})
"""Exceptions that make a double fault out of two (SDM vol. 3, table 6-4)."""


def name(vector: int, software: bool = False) -> str:
    """The SDM's name of a vector; one that INT n asks for (``software``) is no exception.

    >>> name(14), name(0x20), name(0x13, software=True)
    ('#PF', 'INT 20h', 'INT 13h')
    """
    if software:
        return f"INT {vector:02X}h"
    try:
        return "NMI" if vector == Vector.NMI else f"#{Vector(vector).name}"
    except ValueError:
        return f"INT {vector:02X}h"


def both_names(vector: int) -> str:
    """A vector by its number and, below 32, by its exception: which one it is depends on the mode.

    >>> both_names(0x13), both_names(0x80)
    ('INT 13h, #XM', 'INT 80h')
    """
    number = f"INT {vector:02X}h"
    return number if name(vector) == number else f"{number}, {name(vector)}"
