"""An INT3 that the host lifts, steps off and plants again, without translating code anew each time.

A byte of code that the host writes makes translations false, and they are forgotten; for one
instruction and back this costs more than all the rest. So where an INT3 (CC) goes, forgetting waits
for what comes next. If that is one step of this very instruction, the step has translations of its
own: code is translated for each value of QEMU's ``hflags``, and a bit that QEMU does not use tells
those with the INT3 lifted from all others. If CC comes back then, nothing was false at any time. If
anything else comes, what waited is done first. Must not know: who plants, or why.
"""

from __future__ import annotations

from typing import Final

from .library import Machine
from .state import CpuState

LIFTED: Final = 1 << 29
"""In hflags: 27 to 31 mean nothing to QEMU 5.0.1."""

_INT3: Final = 0xCC
_MOST: Final = 4096


class Lifting:
    """At most one lifted INT3 of one machine."""

    def __init__(self, machine: Machine, state: CpuState) -> None:
        self._machine = machine
        self._state = state
        self._known: dict[int, int] = {}
        """By physical address: the byte with which LIFTED code there was translated, if it was."""
        self.at: int | None = None
        """Where translations are still those with the INT3."""
        self._pc = -1
        self._stray = False
        """Code elsewhere was translated during the step; it may hold the lifted byte too."""

    def writes(self, address: int, data: bytes) -> bool:
        """The host is about to write: true if no translation is to be forgotten."""
        if self.at is not None:
            if address == self.at and data == b"\xcc" and not self._stray:
                self.at = None
                return True
            self.settle()
        if len(data) != 1 or self._machine.ram[address] != _INT3 or data[0] == _INT3:
            return False
        if self._known.setdefault(address, data[0]) != data[0]:
            self._known[address] = data[0]
            return False
        if len(self._known) > _MOST:
            self._known.clear()
            return False
        self.at, self._stray = address, False
        return True

    def bit(self, single: bool) -> int:
        """For hflags, when the guest is entered: LIFTED for a step of the instruction there."""
        if self.at is None:
            return 0
        pc = self._state.linear_pc()
        page = self._machine.physical_page(pc)
        if single and page is not None and page + (pc & 0xFFF) == self.at:
            self._pc = self._state.hook_pc()
            return LIFTED
        self.settle()
        return 0

    def translated(self, pc: int) -> None:
        """A block at linear ``pc`` was translated."""
        self._stray = self._stray or pc != self._pc

    def settle(self) -> None:
        """Something else comes first: forget what is false."""
        if self.at is not None:
            at, self.at = self.at, None
            self._machine.forget_code(at, 1)
