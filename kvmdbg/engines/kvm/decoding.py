"""``struct kvm_run`` after KVM_RUN, read into an Exit; and port and MMIO accesses, piece by piece.

Must not know: registers, or what is done about an exit.
"""

from __future__ import annotations

import errno
import mmap
import struct
from collections import deque
from typing import Final

from ...errors import IoctlError
from ...exits import (
    Exit,
    ExitReason,
    FailEntryExit,
    HltExit,
    InternalErrorExit,
    IoExit,
    IrqWindowOpenExit,
    MmioExit,
    ShutdownExit,
    UnknownExit,
)
from ...uapi import (
    KVM_INTERNAL_ERROR_EMULATION,
    KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES,
    KVM_RUN_EXIT_REASON_OFFSET,
    KVM_RUN_UNION_OFFSET,
)

_REASON: Final = struct.Struct("<I")
_IO: Final = struct.Struct("<BBHIQ")
_MMIO: Final = struct.Struct("<Q8sIB")
_FAIL_ENTRY: Final = struct.Struct("<Q")
_INTERNAL: Final = struct.Struct("<IIQB15s")
_MMIO_DATA: Final = KVM_RUN_UNION_OFFSET + 8
_OUT = 1
_INTERNAL_ERRORS = {
    1: "KVM cannot emulate this instruction",
    2: "KVM met an exception while it delivered another one",
    3: "the processor left the guest while it delivered an event",
    4: "the processor left the guest for a reason that KVM does not know",
}
_PLAIN: dict[int, Exit] = {
    ExitReason.HLT: HltExit(),
    ExitReason.IRQ_WINDOW_OPEN: IrqWindowOpenExit(),
    ExitReason.SHUTDOWN: ShutdownExit(),
}


class Accesses:
    """The port or MMIO access that the last exit told of, and where its answer goes.

    One KVM exit may carry several items of a string instruction; each becomes an IoExit of its own,
    and KVM gets all answers together.
    """

    def __init__(self, kvm_run: mmap.mmap) -> None:
        self._kvm_run = kvm_run
        self.waiting: deque[tuple[Exit, int, int]] = deque()
        """Items of the same exit that are still to be told."""
        self._answer: tuple[int, int] | None = None
        self.under_way = False
        """KVM still has something to finish at the next KVM_RUN."""

    @property
    def reads(self) -> bool:
        """The guest waits for a value: KVM will put it where it belongs at the next KVM_RUN."""
        return self._answer is not None

    def forget(self) -> None:
        """KVM_RUN was entered, or everything is different now."""
        self.waiting.clear()
        self._answer = None
        self.under_way = False

    def next(self) -> Exit:
        """The next item."""
        exit, offset, size = self.waiting.popleft()
        self._answer = (offset, size) if size else None
        return exit

    def complete(self, data: bytes) -> None:
        """Answer the item told last, cut or zero-filled to its size. EINVAL when none waits."""
        if self._answer is None:
            raise IoctlError(errno.EINVAL, "KVM_RUN", "no IN or MMIO read waits for data")
        offset, size = self._answer
        self._kvm_run[offset : offset + size] = bytes(data)[:size].ljust(size, b"\0")

    def io(self) -> Exit:
        """KVM_EXIT_IO."""
        run = self._kvm_run
        direction, size, port, count, at = _IO.unpack_from(run, KVM_RUN_UNION_OFFSET)
        out = direction == _OUT
        if not out:
            run[at : at + size * count] = bytes(size * count)
        for place in range(at, at + size * count, size):
            piece = IoExit("out" if out else "in", port, size, run[place : place + size])
            self.waiting.append((piece, place, 0 if out else size))
        self.under_way = True
        return self.next()

    def mmio(self) -> Exit:
        """KVM_EXIT_MMIO."""
        address, data, size, write = _MMIO.unpack_from(self._kvm_run, KVM_RUN_UNION_OFFSET)
        if not write:
            data = bytes(8)
            self._kvm_run[_MMIO_DATA : _MMIO_DATA + 8] = data
        exit = MmioExit(address, data[:size], bool(write))
        self.waiting.append((exit, _MMIO_DATA, 0 if write else size))
        self.under_way = True
        return self.next()


def decode(kvm_run: mmap.mmap, accesses: Accesses) -> Exit:
    """The exit, whatever it is but KVM_EXIT_DEBUG, which needs to know what the host asked for."""
    (reason,) = _REASON.unpack_from(kvm_run, KVM_RUN_EXIT_REASON_OFFSET)
    if reason in _PLAIN:
        return _PLAIN[reason]
    if reason == ExitReason.IO:
        return accesses.io()
    if reason == ExitReason.MMIO:
        return accesses.mmio()
    if reason == ExitReason.FAIL_ENTRY:
        (why,) = _FAIL_ENTRY.unpack_from(kvm_run, KVM_RUN_UNION_OFFSET)
        return FailEntryExit(why, "the processor refused to enter the guest with these registers")
    if reason == ExitReason.INTERNAL_ERROR:
        return _internal_error(kvm_run)
    return UnknownExit(reason)


def _internal_error(kvm_run: mmap.mmap) -> InternalErrorExit:
    suberror, count, flags, size, code = _INTERNAL.unpack_from(kvm_run, KVM_RUN_UNION_OFFSET)
    told = flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES
    known = suberror == KVM_INTERNAL_ERROR_EMULATION and count >= 1 and told
    detail = _INTERNAL_ERRORS.get(suberror, "KVM does not say more")
    return InternalErrorExit(suberror, code[:size] if known else b"", detail)
