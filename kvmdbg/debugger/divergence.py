"""What a comparison of two engines found: the first divergence, the notes, the summary; all frozen.

And the plain differences between two states, register by register and byte by byte. Must not know:
how engines are run, or which difference has a known reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..exits import Exit
from ..x86.registers import RFLAGS, DescriptorTable, Regs, Segment, Sregs

_FLAGS: Final = tuple(
    (name, int(bits)) for name, bits in RFLAGS.__members__.items() if name != "FIXED"
)
HOST_OWNED: Final = int(RFLAGS.TF | RFLAGS.RF)
"""Single-stepping itself works with these two: they are never compared."""

PAGE: Final = 4096
MOST_BYTES: Final = 64
"""At most so many differing bytes of RAM are kept."""

Pair = tuple[int, int]


class Note(NamedTuple):
    """A difference that is no divergence: how often, what, and rows of the conformance list."""

    times: int
    text: str
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Divergence:
    """The first place where the two sides disagree; each pair is (side A, side B).

    ``step`` counts compared instructions (or exits) from 1; ``pc`` is linear, of the instruction
    that was executed when the sides parted, ``instruction`` its text. ``registers`` has general and
    system registers (``cs.base``, ``cr0``), ``flags`` the flags that are defined on both sides,
    ``memory`` bytes by guest-physical address. ``reason`` is empty where none is known; ``rows``
    are rows of the conformance list.
    """

    step: int
    pc: int
    instruction: str
    registers: Mapping[str, Pair] = field(default_factory=dict)
    flags: Mapping[str, Pair] = field(default_factory=dict)
    memory: Mapping[int, Pair] = field(default_factory=dict)
    exits: tuple[Exit, Exit] | None = None
    accesses: tuple[str, str] | None = None
    reason: str = ""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """One guest on two engines. ``sides`` are their labels, ``by`` is ``instruction`` or ``exit``.

    ``steps`` were compared in ``seconds``; ``ended`` says why no more.
    """

    sides: tuple[str, str]
    by: str
    steps: int
    seconds: float
    ended: str
    divergence: Divergence | None = None
    notes: tuple[Note, ...] = ()

    @property
    def equal(self) -> bool:
        """No divergence in what was compared."""
        return self.divergence is None

    @property
    def rate(self) -> float:
        """Compared steps per second of real time."""
        return self.steps / self.seconds if self.seconds else 0.0


def registers(a: Regs, b: Regs) -> dict[str, Pair]:
    """General registers and RIP that differ, without RFLAGS."""
    names = Regs._fields[:17]
    return {n: (x, y) for n, x, y in zip(names, a, b, strict=False) if x != y}


def flags(a: int, b: int, mask: int) -> dict[str, Pair]:
    """Flags within ``mask`` that differ.

    >>> flags(0x46, 0x2, 0x40)
    {'ZF': (1, 0)}
    """
    return {
        name: (_field(a, bits), _field(b, bits)) for name, bits in _FLAGS if (a ^ b) & bits & mask
    }


def _field(value: int, mask: int) -> int:
    return (value & mask) // (mask & -mask)


def system(a: Sregs, b: Sregs) -> dict[str, Pair]:
    """System registers that differ: ``cs``, ``cs.base``, ``gdt.limit``, ``cr0``, ...

    Of segments that cannot be used only the selector counts, and a descriptor's accessed bit not.
    """
    before, after = dict(_parts(a)), dict(_parts(b))
    shared = before.keys() & after.keys()
    return {n: (before[n], after[n]) for n in before if n in shared and before[n] != after[n]}


def _parts(sregs: Sregs) -> Iterator[tuple[str, int]]:
    for name, value in sregs._asdict().items():
        if isinstance(value, Segment):
            yield from _segment(name, value)
        elif isinstance(value, DescriptorTable):
            yield f"{name}.base", value.base
            yield f"{name}.limit", value.limit
        else:
            yield name, value


def _segment(name: str, segment: Segment) -> Iterator[tuple[str, int]]:
    yield name, segment.selector
    if segment.unusable or not segment.present:
        return
    yield f"{name}.base", segment.base
    yield f"{name}.limit", segment.limit
    yield f"{name}.access", segment.access & ~(0x100 if segment.s else 0x200)


def memory(a: memoryview, b: memoryview) -> dict[int, Pair]:
    """All bytes of RAM that differ, by guest-physical address; whole pages are compared first."""
    import numpy as np

    one, two = np.frombuffer(a, np.uint64), np.frombuffer(b, np.uint64)
    if np.array_equal(one, two):
        return {}
    words = np.flatnonzero(one != two)
    spans = ((int(word) * 8, int(word) * 8 + 8) for word in words[: 1 << 16])
    return {at: (a[at], b[at]) for span in spans for at in range(*span) if a[at] != b[at]}
