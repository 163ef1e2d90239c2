"""Two engines exit by exit: each runs to its next exit, and exits and registers must be equal.

Must not know: where the guest comes from, or how a result is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..exits import (
    DebugExit,
    Exit,
    HltExit,
    InternalErrorExit,
    IntrExit,
    IoExit,
    MmioExit,
    ShutdownExit,
)
from ..x86.decode import decode_one
from ..x86.undefined import STATUS
from . import divergence as differences
from .divergence import HOST_OWNED, MOST_BYTES, Divergence
from .fetching import Fetcher
from .reasons import Case, reason_for
from .sides import Devices, Side
from .stop import GuestDebugSetting
from .tolerance import unexplained

PATIENCE: Final = 5.0
"""Seconds until a guest without an exit is given up."""

_LAST: Final = (HltExit, ShutdownExit, InternalErrorExit)


class ByExit:
    """Side A and side B under one KVM_SET_GUEST_DEBUG; ``count`` exits were equal."""

    def __init__(
        self,
        a: Side,
        b: Side,
        devices: Devices,
        debug: GuestDebugSetting,
        interrupted: Callable[[], bool],
    ) -> None:
        self._a, self._b, self._devices, self._interrupted = a, b, devices, interrupted
        self._own = frozenset(differences.system(a.sregs(), b.sregs()))
        self.count = 0
        for side in (a, b):
            side.engine.set_guest_debug(*debug)

    def run(self, budget: int) -> tuple[str, Divergence | None]:
        """Compare up to ``budget`` exits: why it ended, and the first divergence."""
        before: Exit | None = None
        while self.count < budget:
            start = self._a.regs().rip
            one, two = (side.run(timeout=PATIENCE) for side in (self._a, self._b))
            if self._interrupted() or IntrExit("signal") in (one, two):
                return "interrupted", None
            if one == two == IntrExit("timeout"):
                return f"no exit on either side within {PATIENCE:g} seconds", None
            self.count += 1
            found = self._compare(one, two, start)
            if found is not None:
                return "the two sides part", found
            if isinstance(one, _LAST):
                return _ENDS[type(one)], None
            if isinstance(one, DebugExit) and one == before and self._a.regs().rip == start:
                return "both sides stop at one instruction again and again", None
            before = one
            self._serve(one, two)
        return "all exits compared", None

    def _serve(self, one: Exit, two: Exit) -> None:
        for index, (side, exit) in enumerate(((self._a, one), (self._b, two))):
            if isinstance(exit, IoExit | MmioExit):
                answer = self._devices.serve(index, exit)
                reads = not exit.is_write if isinstance(exit, MmioExit) else exit.direction == "in"
                if reads:
                    side.engine.complete_io(answer)

    def _compare(self, one: Exit, two: Exit, start: int) -> Divergence | None:
        """Status flags are left out: which of them are undefined is known step by step alone."""
        a, b = self._a.regs(), self._b.regs()
        sregs = self._a.sregs(), self._b.sregs()
        registers = differences.registers(a, b)
        if isinstance(one, IoExit | MmioExit):
            registers.pop("rip", None)  # OUT and stores: at the instruction, or behind it
        system = differences.system(*sregs)
        registers |= {name: pair for name, pair in system.items() if name not in self._own}
        flags = differences.flags(a.rflags, b.rflags, ~(STATUS | HOST_OWNED))
        exits = _comparable(one) != _comparable(two)
        memory, _ = unexplained(
            differences.memory(self._a.ram, self._b.ram), self._a.ram, sregs[0], HOST_OWNED | STATUS
        )
        if not (registers or flags or exits or memory):
            return None
        fetcher = Fetcher(self._a.engine)
        kind, pc = fetcher.kind(start), fetcher.pc(start)
        instruction = decode_one(kind.raw, pc, kind.bits)
        profiles = self._a.profile, self._b.profile
        reason, rows = reason_for(Case(kind, profiles, (one, two), registers, memory))
        return Divergence(
            *(self.count, pc, instruction.text if instruction else "", registers, flags),
            memory=dict(sorted(memory.items())[:MOST_BYTES]),
            exits=(one, two) if exits else None,
            reason=reason,
            rows=rows,
        )


_ENDS: Final[dict[type, str]] = {
    HltExit: "the guest halted",
    ShutdownExit: "the guest shut down: a triple fault on both sides",
    InternalErrorExit: "neither side can execute the instruction",
}


def _comparable(exit: Exit) -> object:
    """An exit without the words that each engine has of its own."""
    return type(exit) if isinstance(exit, InternalErrorExit) else exit
