"""Guest-physical RAM the way the guest has it: planted INT3 bytes do not show.

Must not know: linear addresses, labels, breakpoints.
"""

from __future__ import annotations

from typing import overload

from ..engines import Engine
from ..errors import AddressError, BadInput
from .changes import Shadow
from .planting import Planter


class PhysicalMemory:
    """RAM by physical address: ``memory[0x8000]`` is a byte, ``memory[0x8000:0x8010]`` are bytes.

    Both can be assigned to; a slice only with as many bytes as it has. AddressError outside RAM.
    """

    def __init__(self, engine: Engine, planter: Planter, shadow: Shadow) -> None:
        self._engine = engine
        self._planter = planter
        self._shadow = shadow

    def __len__(self) -> int:
        return len(self._engine.ram)

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes from physical ``address``."""
        self._check(address, size)
        raw = self._engine.read_memory(address, size)
        return self._planter.hide(address, raw) if self._planter.originals else raw

    def write(self, address: int, data: bytes) -> None:
        """Write bytes at physical ``address``; breakpoints there stay."""
        self._check(address, len(data))
        self._engine.write_memory(address, self._planter.keep(address, data))
        self._shadow.note(address, data)

    def _check(self, address: int, size: int) -> None:
        if size < 0:
            raise BadInput(f"a size of {size} bytes makes no sense")
        if address < 0 or address + size > len(self):
            raise AddressError(
                f"{address:#x} (+ {size} bytes) is outside guest RAM, which ends at {len(self):#x}"
            )

    def _span(self, key: slice) -> tuple[int, int]:
        if key.step not in (None, 1):
            raise BadInput("memory has no steps; write memory[start:end]")
        start = 0 if key.start is None else key.start
        end = len(self) if key.stop is None else key.stop
        if end < start:
            raise BadInput(f"memory[{start:#x}:{end:#x}] ends before it begins")
        return start, end - start

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: int | slice) -> int | bytes:
        if isinstance(key, slice):
            return self.read(*self._span(key))
        return self.read(key, 1)[0]

    def __setitem__(self, key: int | slice, value: int | bytes) -> None:
        if isinstance(key, slice):
            self._set_slice(*self._span(key), value)
        elif isinstance(value, int) and 0 <= value <= 0xFF:
            self.write(key, bytes([value]))
        else:
            raise BadInput(f"a byte of memory is a number from 0 to 255, not {value!r}")

    def _set_slice(self, start: int, size: int, value: int | bytes) -> None:
        if isinstance(value, int) or len(value) != size:
            raise BadInput(f"memory[{start:#x}:{start + size:#x}] takes exactly {size} bytes")
        self.write(start, bytes(value))

    def __repr__(self) -> str:
        return f"<PhysicalMemory: {len(self)} bytes>"
