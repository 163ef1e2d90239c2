"""May this code use this port? IOPL and the I/O permission bitmap (SDM vol. 1, 18.5).

Must not know: who answers at a port.
"""

from __future__ import annotations

from .linear import LinearMemory
from .paging import Read
from .registers import CR0, RFLAGS, Sregs

_PE, _VM = int(CR0.PE), int(RFLAGS.VM)
_IOPL_SHIFT = 12
_MAP_BASE = 0x66  # offset of the bitmap's own offset in a 32- or 64-bit TSS
_TSS_TYPES = (9, 11)


def may_use_port(port: int, size: int, rflags: int, sregs: Sregs, read: Read) -> bool:
    """Whether IN, OUT, INS or OUTS of ``size`` bytes (1, 2, 4) at ``port`` is allowed now.

    ``read(physical, size)`` raises AddressError outside RAM. Raises paging.PageFault when the TSS
    cannot be read.

    >>> may_use_port(0x60, 1, 0x2, Sregs(), lambda address, size: bytes(size))
    True
    """
    v86 = rflags & _VM
    if not sregs.cr0 & _PE or (not v86 and sregs.cpl <= rflags >> _IOPL_SHIFT & 3):
        return True
    task = sregs.tr
    if task.unusable or task.type not in _TSS_TYPES or task.limit < _MAP_BASE + 1:
        return False
    memory = LinearMemory(sregs, read)
    start = int.from_bytes(memory.load(task.base + _MAP_BASE, 2), "little")
    at = start + port // 8
    if at + 1 > task.limit:
        return False
    bits = int.from_bytes(memory.load(task.base + at, 2), "little") >> port % 8
    return not bits & (1 << size) - 1
