"""Two sides whose steps ended in different places: step the one behind until they stand together.

Only for instructions at which engines are known to cut steps differently (``kinds.Cut``). Must not
know: what is done with sides that do not meet.
"""

from __future__ import annotations

from typing import Final

from ..exits import DebugExit, Exit, IntrExit
from ..x86.registers import MASK64, Regs
from ..x86.undefined import NOTHING, tainted
from .divergence import HOST_OWNED
from .fetching import Fetcher
from .sides import PATIENCE, Side

_NEAR: Final = 32
"""Bytes: a side that stands so little further has only gone further."""

_FURTHER: Final = 3
"""Instructions by which a cut may let one side be behind."""

_ELEMENTS: Final = 1 << 17
"""Steps within one REP string instruction."""

_STEPPED = (DebugExit, IntrExit)


class Trail:
    """Where one side stood since both stood together, and the flags that are undefined there."""

    def __init__(
        self, side: Side, fetcher: Fetcher, exit: Exit, regs: Regs, taint: int, pushed: int
    ) -> None:
        self.side, self.fetcher, self.exit = side, fetcher, exit
        self.stands = [(regs, taint)]
        self.pushed = pushed
        """Flags that may differ in frames of exceptions, which IRET loads."""
        self.steps = 0
        """How many it made since both parted."""

    @property
    def regs(self) -> Regs:
        """Where it stands now."""
        return self.stands[-1][0]

    @property
    def over(self) -> bool:
        """It cannot be stepped on."""
        return not isinstance(self.exit, _STEPPED) or self.exit in (
            IntrExit("signal"),
            IntrExit("timeout"),
        )

    def extend(self) -> None:
        """One instruction more."""
        before, taint = self.stands[-1]
        self.fetcher.see(self.side.sregs())
        kind = self.fetcher.kind(before.rip)
        what = kind.effect_with(before.rcx)
        self.exit = self.side.step(PATIENCE)
        self.steps += 1
        if what != NOTHING:
            taint = tainted(taint, what)
        self.stands.append((self.side.regs(), taint | kind.loads_frame & self.pushed))


def same(a: Regs, b: Regs, taint: int) -> bool:
    """Equal but for flags that are undefined, and TF and RF."""
    return a[:17] == b[:17] and not (a.rflags ^ b.rflags) & ~(taint | HOST_OWNED)


def meet(a: Trail, b: Trail, start: int, further: int = _FURTHER) -> bool:
    """Let both stand together again after an instruction at RIP ``start``; false if they do not.

    Each side goes at most ``further`` instructions on.
    """
    for _ in range(2 * further):
        found = _common(a, b)
        if found is not None:
            return _catch_up(a, b, *found)
        behind = _behind(a, b, start)
        if behind.over or len(behind.stands) > further:
            behind = b if behind is a else a
        if behind.over:
            return False
        behind.extend()
    found = _common(a, b)
    return found is not None and _catch_up(a, b, *found)


def _common(a: Trail, b: Trail) -> tuple[int, int] | None:
    """Indices of equal stands, one of which is its side's last."""
    last_a, last_b = len(a.stands) - 1, len(b.stands) - 1
    pairs = [(last_a, j) for j in range(last_b, -1, -1)]
    pairs += [(i, last_b) for i in range(last_a - 1, -1, -1)]
    for i, j in pairs:
        (one, first), (two, second) = a.stands[i], b.stands[j]
        if same(one, two, first | second):
            return i, j
    return None


def _catch_up(a: Trail, b: Trail, i: int, j: int) -> bool:
    """The side that is behind goes where the other one stands."""
    ahead = (len(a.stands) - 1 - i) - (len(b.stands) - 1 - j)
    late, early = (b, a) if ahead > 0 else (a, b)
    for _ in range(abs(ahead)):
        if late.over:
            return False
        late.extend()
    return same(a.regs, b.regs, a.stands[-1][1] | b.stands[-1][1]) and late is not early


def _behind(a: Trail, b: Trail, start: int) -> Trail:
    """The one that has come less far, or else the one that made fewer steps."""
    gone_a, gone_b = ((t.regs.rip - start) & MASK64 for t in (a, b))
    if gone_a <= _NEAR and gone_b <= _NEAR and gone_a != gone_b:
        return a if gone_a < gone_b else b
    return a if len(a.stands) <= len(b.stands) else b


def meet_in_rep(a: Trail, b: Trail, start: int, count_mask: int) -> bool:
    """The same within a REP string instruction, element by element."""
    for _ in range(_ELEMENTS):
        if same(a.regs, b.regs, a.stands[-1][1] | b.stands[-1][1]):
            return True
        behind = _behind_in_rep(a, b, start, count_mask)
        if behind is None:
            return meet(a, b, start)
        if behind.over:
            return False
        behind.extend()
        del behind.stands[:-1]
    return False


def _behind_in_rep(a: Trail, b: Trail, start: int, mask: int) -> Trail | None:
    """Who still has elements to do; None if both have left, or stand at the same one."""
    inside = [t for t in (a, b) if t.regs.rip == start]
    if len(inside) == 1:
        return inside[0]
    left_a, left_b = a.regs.rcx & mask, b.regs.rcx & mask
    if not inside or left_a == left_b:
        return None
    return a if left_a > left_b else b
