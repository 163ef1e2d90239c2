"""``%vm set``: registers, flags and memory from ``rax=5``, ``ax=5``, ``zf=1``, ``[counter]=300``.

Must not know: IPython, or how a result is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import BadInput
from ..x86.registers import MASK64, RFLAGS, Regs, linear_pc
from .arguments import number, unknown
from .commands import FLAGS

if TYPE_CHECKING:
    from ..debugger.vm import Vm

Change = Callable[[], str]


class Part(NamedTuple):
    """A named part of a 64-bit register: ``shift`` and ``bits``."""

    register: str
    shift: int
    bits: int


def _parts() -> Iterator[tuple[str, Part]]:
    """Every name that a general register or a part of it has (SDM vol. 1, 3.4.1.1)."""
    for name in Regs._fields:
        yield name, Part(name, 0, 64)
        if name[1:].isdigit():
            yield from ((name + suffix, Part(name, 0, bits)) for suffix, bits in _SUFFIXES)
        else:
            yield "e" + name[1:], Part(name, 0, 32)
            yield name[1:], Part(name, 0, 16)
    for letter in "abcd":
        yield f"{letter}l", Part(f"r{letter}x", 0, 8)
        yield f"{letter}h", Part(f"r{letter}x", 8, 8)
    for pointer in ("si", "di", "sp", "bp"):
        yield f"{pointer}l", Part(f"r{pointer}", 0, 8)


_SUFFIXES = (("d", 32), ("w", 16), ("b", 8))
PARTS = dict(_parts())
_FLAG_BITS = {name: RFLAGS[name.upper()] for name in FLAGS}


def change(vm: Vm, word: str, size: int) -> Change:
    """Check one assignment; calling the result carries it out and says what happened.

    ``size`` is the number of bytes that a write to memory takes. Raises BadInput for what cannot be
    meant, so that a line with one mistake changes nothing.
    """
    place, equals, text = word.partition("=")
    if not equals or not place or not text:
        raise BadInput(f'"{word}" is no assignment; write rax=5, zf=1 or [counter]=1')
    if memory := re.fullmatch(r"\[(.+)\]", place):
        address = vm.address(memory[1])
        data = _bytes(text, vm.address(text), size)
        vm.read(address, size)
        return lambda: _write(vm, address, data)
    name = place.removeprefix("$").lower()
    if name in _FLAG_BITS:
        return _flag(vm, name, number(text))
    if name not in PARTS:
        raise unknown("register", place, [*PARTS, *_FLAG_BITS])
    return _register(vm, name, text)


def _bytes(text: str, value: int, size: int) -> bytes:
    _check_width(text, value, 8 * size, f"{_count(size)}; write --size 2, 4 or 8")
    return (value & (1 << 8 * size) - 1).to_bytes(size, "little")


def _check_width(text: str, value: int, bits: int, where: str) -> None:
    """The value must fit, as an unsigned or as a signed number."""
    if value >= 1 << bits and value < MASK64 + 1 - (1 << bits - 1):
        raise BadInput(f"{text} does not fit into {where}")


def _write(vm: Vm, address: int, data: bytes) -> str:
    old = vm.read(address, len(data))
    vm.write(address, data)
    label, digits = vm.label(address), f"{address:#x}"
    place = digits if label == digits else f"{label} ({digits})"
    return f"{place}, {_count(len(data))}: {old.hex(' ')} -> {data.hex(' ')}"


def _flag(vm: Vm, name: str, value: int) -> Change:
    bit = _FLAG_BITS[name]
    shift = (bit & -bit).bit_length() - 1
    if value << shift & ~bit:
        raise BadInput(f"{value} does not fit into the flag {name}")
    return lambda: _merge(vm, name, Part("rflags", shift, (bit >> shift).bit_length()), value)


def _register(vm: Vm, name: str, text: str) -> Change:
    part = PARTS[name]
    value = _offset(vm, text) if part.register == "rip" else vm.address(text)
    _check_width(text, value, part.bits, f"{name} ({part.bits} bits)")
    return lambda: _merge(vm, name, part, value)


def _offset(vm: Vm, text: str) -> int:
    """RIP counts from the code segment's base; a label or an expression is a linear address."""
    value = vm.address(text)
    base = linear_pc(0, vm.sregs())
    return value if re.match(r"[0-9]", text) else value - base & MASK64


def _merge(vm: Vm, name: str, part: Part, value: int) -> str:
    """Put a value into its part; a 32-bit part clears what is above it, as the processor does."""
    whole: int = getattr(vm.regs(), part.register)
    mask = (1 << part.bits) - 1
    value &= mask
    kept = 0 if part.bits == 32 and part.register not in ("rip", "rflags") else whole
    vm.set_regs(**{part.register: kept & ~(mask << part.shift) | value << part.shift})
    return f"{name}: {whole >> part.shift & mask:#x} -> {value:#x}"


def _count(size: int) -> str:
    return "1 byte" if size == 1 else f"{size} bytes"
