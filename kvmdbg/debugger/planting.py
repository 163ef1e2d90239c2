"""INT3 bytes (CC) in guest memory, and the bytes of the guest that they stand for.

Planted bytes stay from run to run; only what changed is written again. ``PhysicalMemory`` hides
them from every view. A guest that loads code over one loses it until the next command plants it
anew; one that reads its own code sees the CC: a debug register does neither. Must not know:
breakpoints, labels, linear addresses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from ..engines import Capability, Engine
from ..errors import BreakpointError

INT3: Final = 0xCC
_UNHEARD: Final = (
    'the engine "{}" was probed to have neither INT3 nor single-step in the mode and at the CPL '
    "that the guest is in, so it cannot be stopped there; run it on to another place first"
)


class Planter:
    """The planted bytes of one guest; all addresses are guest-physical."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._originals: dict[int, int] = {}

    @property
    def originals(self) -> Mapping[int, int]:
        """Where a byte is planted, and the guest's own byte there."""
        return self._originals

    def sync(self, wanted: Collection[int]) -> None:
        """Make exactly these addresses planted.

        Also mends what differs from the books: the guest loaded code over a planted byte, or a
        Ctrl-C fell between two lines of this file. BreakpointError for a byte that is not planted
        yet, where the host would never hear of it.
        """
        if not self._heard() and not self._originals.keys() >= set(wanted):
            raise BreakpointError(_UNHEARD.format(self._engine.name))
        for address in [a for a in self._originals if a not in wanted]:
            self.lift(address)
        ram = self._engine.ram
        for address in wanted:
            if address not in self._originals or ram[address] != INT3:
                self.plant(address)

    def _heard(self) -> bool:
        """Whether an INT3 comes back to the host, if only because the guest is stepped to it."""
        works = self._engine.capabilities
        return Capability.SW_BP in works or Capability.SINGLESTEP in works

    def plant(self, address: int) -> None:
        """Put CC there and remember the byte that is there now."""
        self._originals[address] = self._engine.ram[address]
        self._engine.write_memory(address, bytes([INT3]))

    def lift(self, address: int) -> bool:
        """Put the guest's byte back.

        False, and memory is left alone, where the guest has overwritten the CC (spec row 37).
        """
        untouched = self._engine.ram[address] == INT3
        if untouched:
            self._engine.write_memory(address, bytes([self._originals[address]]))
        del self._originals[address]
        return untouched

    def forget(self, planted: Mapping[int, int] | None = None) -> None:
        """All of RAM was replaced: only ``planted`` (address and original byte) is there now."""
        self._originals.clear()
        self._originals.update(planted or {})

    def hide(self, address: int, raw: bytes) -> bytes:
        """Bytes read at ``address`` as the guest would have them."""
        shown = bytearray(raw)
        for at in self._inside(address, len(raw)):
            if shown[at - address] == INT3:
                shown[at - address] = self._originals[at]
        return bytes(shown)

    def keep(self, address: int, data: bytes) -> bytes:
        """Bytes to write at ``address``: the CCs stay, what they stand for is remembered."""
        written = bytearray(data)
        for at in self._inside(address, len(data)):
            self._originals[at] = data[at - address]
            written[at - address] = INT3
        return bytes(written)

    def _inside(self, address: int, size: int) -> list[int]:
        return [at for at in self._originals if address <= at < address + size]
