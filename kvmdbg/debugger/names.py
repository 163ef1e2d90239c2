"""Every register name an expression may hold, and how to read it from a guest.

Widths are in bits, values unsigned. Must not know: how an expression is written, or who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from ..x86.registers import RFLAGS, DebugRegs, Regs, Sregs


class Context(Protocol):
    """What an expression is evaluated against: one moment of one guest."""

    @property
    def regs(self) -> Regs:
        """General registers."""

    @property
    def sregs(self) -> Sregs:
        """System registers."""

    @property
    def debugregs(self) -> DebugRegs:
        """The guest's own debug registers."""

    @property
    def pc(self) -> int:
        """Linear address of CS:RIP."""

    @property
    def hits(self) -> int:
        """How often the breakpoint was reached, this time included."""

    def read(self, address: int, size: int) -> bytes:
        """Guest memory at a linear address."""

    def symbol(self, name: str) -> int:
        """A label's linear address; UnknownName if there is none."""


Getter = Callable[[Context], int]


class Register(NamedTuple):
    """How to read a register, and how wide it is in bits."""

    get: Getter
    width: int


def _general(field: int, shift: int, width: int) -> Register:
    mask = (1 << width) - 1
    return Register(lambda c: c.regs[field] >> shift & mask, width)


def _flag(bit: int, width: int = 1) -> Register:
    shift = (bit & -bit).bit_length() - 1
    mask = (1 << width) - 1
    return Register(lambda c: c.regs.rflags >> shift & mask, width)


def _selector(name: str) -> Register:
    return Register(lambda c: getattr(c.sregs, name).selector, 16)


def _system(name: str) -> Register:
    return Register(lambda c: getattr(c.sregs, name), 64)


def _debug(index: int) -> Register:
    return Register(lambda c: c.debugregs.db[index], 64)


_LEGACY = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "rip", "rflags")
SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss")
FLAGS = ("cf", "pf", "af", "zf", "sf", "tf", "if", "df", "of", "nt", "rf")
"""Flags that may be written without ``$``; ``$vm``, ``$ac``, ``$id`` need it (too label-like)."""


def _legacy_names() -> Iterator[tuple[str, Register]]:
    for name in _LEGACY:
        field = Regs._fields.index(name)
        yield name, _general(field, 0, 64)
        yield "e" + name[1:], _general(field, 0, 32)
        yield name[1:], _general(field, 0, 16)


def _byte_names() -> Iterator[tuple[str, Register]]:
    for letter in "abcd":
        field = Regs._fields.index(f"r{letter}x")
        yield f"{letter}l", _general(field, 0, 8)
        yield f"{letter}h", _general(field, 8, 8)
    for name in ("si", "di", "sp", "bp"):
        yield f"{name}l", _general(Regs._fields.index(f"r{name}"), 0, 8)


def _new_names() -> Iterator[tuple[str, Register]]:
    for number in range(8, 16):
        field = Regs._fields.index(f"r{number}")
        for suffix, width in (("", 64), ("d", 32), ("w", 16), ("b", 8)):
            yield f"r{number}{suffix}", _general(field, 0, width)


def _other_names() -> Iterator[tuple[str, Register]]:
    yield from ((name, _flag(RFLAGS[name.upper()])) for name in FLAGS)
    yield "iopl", _flag(RFLAGS.IOPL, 2)
    yield from ((name, _selector(name)) for name in SEGMENTS)
    yield from ((name, _system(name)) for name in ("cr0", "cr2", "cr3", "cr4", "cr8", "efer"))
    yield from ((f"dr{n}", _debug(n)) for n in range(4))
    yield "dr6", Register(lambda c: c.debugregs.dr6, 64)
    yield "dr7", Register(lambda c: c.debugregs.dr7, 64)
    yield "cpl", Register(lambda c: c.sregs.cpl, 2)
    yield "pc", Register(lambda c: c.pc, 64)


REGISTERS: dict[str, Register] = dict(
    [*_legacy_names(), *_byte_names(), *_new_names(), *_other_names()]
)
"""Names that mean a register wherever they stand; ``pc`` is the linear address of CS:RIP."""

DOLLAR_ONLY: dict[str, Register] = {
    name: _flag(RFLAGS[name.upper()]) for name in ("vm", "ac", "id", "vif", "vip")
}
"""Names that mean a register only as ``$name``, because programs use them as labels."""
