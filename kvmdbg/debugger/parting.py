"""Where two recorded runs part: the first clock at which their guests differ.

Must not know: how a moment is reached, or how a difference is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import BadInput
from .diffing import Diff, compare, equal
from .visiting import Visit

if TYPE_CHECKING:
    from .moments import Moments


@dataclass(frozen=True)
class FirstDivergence:
    """The guests are equal up to ``clock`` - 1 and differ at ``clock``, as ``diff`` says.

    ``pc`` is the linear address of the instruction that was executed in between; None where they
    differ from the beginning.
    """

    clock: int
    pc: int | None
    diff: Diff


def first_divergence(a: Moments, b: Moments) -> FirstDivergence | None:
    """The first clock at which two recorded VMs differ; None if they do not.

    Found by halving what both recordings have: registers, debug registers and RAM are compared at
    some 20 moments of each. A difference that went away again before such a moment is not seen, and
    neither is one that lies beyond the end of the shorter recording. Both VMs stand afterwards
    where they stood. BadInput for VMs with different RAM, or without a common clock.

    >>> from kvmdbg import Vm, assemble
    >>> guest = assemble("start: mov ecx, 5\\nloop: inc eax\\ndec ecx\\njnz loop\\nhlt")
    >>> with Vm() as a, Vm() as b:
    ...     for vm in (a, b):
    ...         vm.load(guest)
    ...         _ = vm.step(4)
    ...     b.set_regs(rbx=1)
    ...     for vm in (a, b):
    ...         _ = vm.cont()
    ...     found = first_divergence(a, b)
    >>> found.clock, found.diff.registers
    (5, {'rbx': (0, 1)})
    """
    if a is b:
        raise BadInput("a VM does not part from itself; give two")
    with a.visiting() as one, b.visiting() as two:
        return _search(one, two)


def _search(a: Visit, b: Visit) -> FirstDivergence | None:
    first, last = max(a.first, b.first), min(a.last, b.last)
    if first > last:
        raise BadInput(
            f"nothing in common: one recording ends at {last:,}, one begins at {first:,}"
        )
    if len(a.look(first).ram) != len(b.look(first).ram):
        raise BadInput("the two VMs have different sizes of RAM")
    if not _same(a, b, first):
        return FirstDivergence(first, None, _diff(a, b, first))
    if _same(a, b, last):
        return None
    while last - first > 1:
        middle = (first + last) // 2
        if _same(a, b, middle):
            first = middle
        else:
            last = middle
    pc = a.look(first).pc
    return FirstDivergence(last, pc, _diff(a, b, last))


def _same(a: Visit, b: Visit, clock: int) -> bool:
    return equal(a.look(clock), b.look(clock))


def _diff(a: Visit, b: Visit, clock: int) -> Diff:
    return compare(a.look(clock), b.look(clock), ("a", "b"))
