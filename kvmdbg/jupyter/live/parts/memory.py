"""The memory of the machine view: the stack, and windows that somebody asked for.

A place that cannot be read is one sentence in its place. Must not know: breakpoints, or how bytes
are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ....debugger.vm import Vm
from ....errors import AddressError, BadInput
from ....views.tables import printable
from ....x86.decode import decode_one, is_call
from ....x86.registers import MASK32, MASK64, CpuMode, Regs, Sregs
from ...looking import changed_ranges
from ..wishes import MOST_BYTES, Window, Wishes
from .code import is_code

_STACK_ROWS: Final = 14
_ABOVE: Final = 2
"""Rows of the stack before its top: what was popped last."""

_CALLS: Final = (2, 3, 4, 5, 6, 7)
"""How long a CALL is."""


def windows(vm: Vm, wishes: Wishes) -> list[dict[str, Any]]:
    """All windows but that of the code, in the order in which they were asked for."""
    return [_window(vm, name, wish) for name, wish in wishes.windows.items() if not is_code(name)]


def _window(vm: Vm, name: str, wish: Window) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": name,
        "where": printable(wish.where),
        "length": wish.length,
        "address": "",
        "data": "",
        "changed": [],
        "says": "",
    }
    length = max(0, min(wish.length, MOST_BYTES))
    try:
        address = vm.address(wish.where)
        shown["address"] = f"{address:#x}"
        data = vm.read(address, length)
    except BadInput as error:
        return shown | {"says": printable(str(error).splitlines()[0])}
    return shown | {"data": data.hex(), "changed": changed_ranges(vm, address, length)}


def stack(vm: Vm, regs: Regs, sregs: Sregs) -> dict[str, Any]:
    """Words around the top of the stack, lowest address first; ``width`` is a word's bytes."""
    mode = sregs.mode
    width = mode.bits // 8
    base, mask = (0, MASK64) if mode is CpuMode.LONG else (sregs.ss.base, MASK32)
    top = (base + _pointer(regs, sregs)) & mask
    first = (top - _ABOVE * width) & mask
    count = min(_STACK_ROWS, (mask + 1 - first) // width)
    changed = changed_ranges(vm, first, count * width)
    rows = [
        _row(vm, sregs, first + n * width, data, first + n * width - top)
        | {"changed": _touches(changed, n * width, width)}
        for n, data in enumerate(_words(vm, first, width, count))
    ]
    return {"pointer": f"{top:#x}", "width": width, "rows": rows}


def _pointer(regs: Regs, sregs: Sregs) -> int:
    """RSP, ESP or SP, by the stack segment (SDM vol. 3, 6.2.3)."""
    if sregs.mode is CpuMode.LONG:
        return regs.rsp
    return regs.rsp & (MASK32 if sregs.ss.db else 0xFFFF)


def _touches(ranges: list[tuple[int, int]], start: int, size: int) -> bool:
    return any(first < start + size and start < first + length for first, length in ranges)


def _words(vm: Vm, first: int, width: int, count: int) -> Iterator[bytes]:
    """Word by word; nothing for one that cannot be read."""
    try:
        data = vm.read(first, width * count)
    except AddressError:
        for n in range(count):
            yield _word(vm, first + n * width, width)
        return
    yield from (data[n : n + width] for n in range(0, len(data), width))


def _word(vm: Vm, address: int, width: int) -> bytes:
    try:
        return vm.read(address, width)
    except AddressError:
        return b""


def _row(vm: Vm, sregs: Sregs, address: int, data: bytes, offset: int) -> dict[str, Any]:
    value = int.from_bytes(data, "little")
    return {
        "address": f"{address:#x}",
        "offset": offset,
        "digits": data[::-1].hex(),
        "words": _meaning(vm, sregs, value) if data else "not mapped",
    }


def _meaning(vm: Vm, sregs: Sregs, value: int) -> str:
    """What a word on the stack may be: a guess from labels and from the code in front of it."""
    if not value or not vm.symbols:
        return ""
    linear = value if sregs.mode is CpuMode.LONG else (sregs.cs.base + value) & MASK32
    label = vm.label(linear)
    if label == f"{linear:#x}":
        return ""
    return f"{label}, after a call" if _after_call(vm, sregs, linear) else label


def _after_call(vm: Vm, sregs: Sregs, address: int) -> bool:
    """Whether a CALL ends at ``address``: bytes read backwards, so this is a guess."""
    before = _word(vm, address - _CALLS[-1], _CALLS[-1]) if address >= _CALLS[-1] else b""
    return any(_is_call(before[-size:], sregs.mode.bits) for size in _CALLS if before)


def _is_call(raw: bytes, bits: int) -> bool:
    ins = decode_one(raw, 0, bits)
    return ins is not None and ins.size == len(raw) and is_call(ins)
