"""What differs between two moments: registers, flags, debug registers, bytes of RAM; all frozen.

Must not know: how a moment is reached, or how a difference is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..engines import Engine
from ..x86.registers import MASK64, DebugRegs, Regs, Sregs, linear_pc
from . import divergence
from .changes import PAGE, stretches
from .divergence import Pair
from .planting import INT3
from .stop import MemoryChange

RUNS: Final = 1000
"""At most so many differing stretches of RAM are kept; the others are counted."""

_CHUNK: Final = 1 << 20

Pairs = Mapping[str, Pair]


class Look(NamedTuple):
    """A guest at one moment. ``ram`` is a numpy column of uint64: the guest's own, or a copy.

    ``planted`` maps addresses of breakpoints' INT3s to the guest's bytes.
    """

    clock: int
    pc: int
    regs: Regs
    sregs: Sregs
    debugregs: DebugRegs
    ram: Any
    planted: Mapping[int, int]

    def kept(self) -> Look:
        """The same with RAM of its own, of which only what is not zero costs host memory."""
        import numpy as np

        copy = np.zeros(len(self.ram), np.uint64)  # not zeros_like, which writes to all of it
        for start in range(0, len(copy), _CHUNK // 8):
            chunk = self.ram[start : start + _CHUNK // 8]
            if chunk.any():
                copy[start : start + _CHUNK // 8] = chunk
        return self._replace(ram=copy)

    def page(self, address: int) -> bytes:
        """A page of RAM as the guest has it, without planted bytes."""
        content = bytearray(self.ram[address // 8 : (address + PAGE) // 8].tobytes())
        for at, byte in self.planted.items():
            if address <= at < address + PAGE and content[at - address] == INT3:
                content[at - address] = byte
        return bytes(content)


def look_at(engine: Engine, planted: Mapping[int, int]) -> Look:
    """The guest as it stands; RAM is the engine's own and changes with it."""
    import numpy as np

    regs, sregs = engine.get_regs(), engine.get_sregs()
    ram = np.frombuffer(engine.ram, np.uint64)
    pc = linear_pc(regs.rip, sregs)
    return Look(engine.clock, pc, regs, sregs, engine.get_debugregs(), ram, dict(planted))


@dataclass(frozen=True)
class Diff:
    """What differs between two moments; each pair is (first, second).

    ``sides`` name the moments, ``clocks`` and ``pcs`` (linear) are theirs. ``registers`` are the
    general ones with RIP, ``flags`` those of RFLAGS, ``system`` parts of system registers
    (``cs.base``, ``cr0``), ``debugregs`` the guest's ``dr0`` to ``dr7``. ``memory`` has stretches
    of differing bytes by guest-physical address, at most 1,000, and ``more`` counts the others.
    """

    sides: tuple[str, str]
    clocks: tuple[int, int]
    pcs: tuple[int, int]
    registers: Pairs
    flags: Pairs
    system: Pairs
    debugregs: Pairs
    memory: tuple[MemoryChange, ...] = ()
    more: int = 0

    @property
    def equal(self) -> bool:
        """Nothing differs; the clock does not count."""
        parts = (self.registers, self.flags, self.system, self.debugregs, self.memory)
        return not any(parts)


def compare(a: Look, b: Look, sides: tuple[str, str]) -> Diff:
    """All that differs."""
    found = _Found(RUNS)
    for page in _differing_pages(a, b):
        found.add(stretches(page, a.page(page), b.page(page)))
    clocks, pcs = (a.clock, b.clock), (a.pc, b.pc)
    return Diff(sides, clocks, pcs, *_registers(a, b), tuple(found.kept), found.more)


def equal(a: Look, b: Look) -> bool:
    """Whether :func:`compare` would find nothing; cheaper."""
    if any(_registers(a, b)):
        return False
    return not any(a.page(page) != b.page(page) for page in _differing_pages(a, b))


def _registers(a: Look, b: Look) -> tuple[Pairs, Pairs, Pairs, Pairs]:
    """General registers, flags, system registers, debug registers."""
    return (
        divergence.registers(a.regs, b.regs),
        divergence.flags(a.regs.rflags, b.regs.rflags, MASK64),
        divergence.system(a.sregs, b.sregs),
        _debugregs(a.debugregs, b.debugregs),
    )


def _debugregs(a: DebugRegs, b: DebugRegs) -> dict[str, Pair]:
    names = ("dr0", "dr1", "dr2", "dr3", "dr6", "dr7")
    pairs = zip((*a.db, a.dr6, a.dr7), (*b.db, b.dr6, b.dr7), strict=True)
    return {name: pair for name, pair in zip(names, pairs, strict=True) if pair[0] != pair[1]}


def _differing_pages(a: Look, b: Look) -> Iterator[int]:
    """Addresses of the pages that are not the same, planted bytes not yet hidden."""
    import numpy as np

    for start in range(0, len(a.ram), _CHUNK // 8):
        one, two = (look.ram[start : start + _CHUNK // 8] for look in (a, b))
        if not np.array_equal(one, two):
            differing = (one != two).reshape(-1, PAGE // 8).any(axis=1)
            yield from (start * 8 + int(page) * PAGE for page in np.flatnonzero(differing))


class _Found:
    """Stretches of bytes in ascending order; one that goes on in the next page is one."""

    def __init__(self, most: int) -> None:
        self.kept: list[MemoryChange] = []
        self.more = 0
        self._most = most
        self._end = -1

    def add(self, changes: Iterable[MemoryChange]) -> None:
        for change in changes:
            joins = change.address == self._end
            self._end = change.address + len(change.new)
            if joins and not self.more:
                last = self.kept[-1]
                self.kept[-1] = MemoryChange(
                    last.address, last.old + change.old, last.new + change.new
                )
            elif not joins and len(self.kept) < self._most:
                self.kept.append(change)
            elif not joins:
                self.more += 1
