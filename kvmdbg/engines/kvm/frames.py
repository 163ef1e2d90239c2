"""Whether the guest was led into a handler, by the frame on its stack.

KVM's step delivers a fault and executes the handler's first instruction as one (spec 11), so a step
that was meant to look for something may have passed an instruction that nobody looked at. Must not
know: who stepped.
"""

from __future__ import annotations

from typing import Final

from ...errors import AddressError
from ...x86.paging import NonCanonical, PageFault, Read, translate
from ...x86.registers import EFER, MASK32, MASK64, RFLAGS, CpuMode, Sregs

_LMA: Final = int(EFER.LMA)
_STEPPED: Final = int(RFLAGS.FIXED | RFLAGS.TF)
"""In the flags of a frame that such a step has pushed."""

_LONGEST: Final = 15
"""Bytes of the longest instruction."""


def delivered(start: int, selector: int, rsp: int, sregs: Sregs, read: Read) -> bool:
    """Whether the top of the stack is the frame of what the stepped instruction at RIP ``start``
    raised, under the CS ``selector``: a fault's, or an INT n's behind itself.
    """
    size = _word(sregs)
    try:
        slots = [_number(rsp + size * n, size, sregs, read) for n in range(4)]
    except (AddressError, PageFault, NonCanonical):
        return False
    return any(
        0 <= ip - start <= _LONGEST and cs & 0xFFFF == selector and flags & _STEPPED == _STEPPED
        for ip, cs, flags in (slots[:3], slots[1:])  # the second, above an error code
    )


def _word(sregs: Sregs) -> int:
    """Bytes of a slot of a frame."""
    if sregs.efer & _LMA:
        return 8
    return 2 if sregs.mode is CpuMode.REAL else 4


def _number(rsp: int, size: int, sregs: Sregs, read: Read) -> int:
    """What the stack holds there; no slot of an aligned stack crosses a page."""
    linear = rsp & MASK64
    if sregs.mode is not CpuMode.LONG:
        linear = sregs.ss.base + (rsp & (MASK32 if sregs.ss.db else 0xFFFF)) & MASK32
    return int.from_bytes(read(translate(linear, sregs, read), size), "little")
