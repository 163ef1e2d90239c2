"""One ioctl, with the kernel's errno as an :class:`~kvmdbg.errors.IoctlError`.

Must not know: what any of them does.
"""

from __future__ import annotations

import ctypes
from fcntl import ioctl
from typing import Any

from ...errors import IoctlError
from ...uapi import Ioctl


def call(fd: int, request: Ioctl, argument: Any = 0, why: dict[int, str] | None = None) -> int:
    """ioctl(2); ``argument`` is a number, or a writable buffer that the kernel may fill.

    ``why`` says what an errno means for this call. Raises IoctlError.
    """
    try:
        result = ioctl(fd, request, argument)
    except OSError as error:
        number = error.errno or 0
        raise IoctlError(number, request.name, (why or {}).get(number, "")) from None
    return result if isinstance(result, int) else 0  # for bytes, fcntl gives a copy of them


def read(fd: int, request: Ioctl, size: int) -> bytes:
    """An ioctl that fills a structure of ``size`` bytes."""
    buffer = bytearray(size)
    call(fd, request, buffer)
    return bytes(buffer)


def call_with_address(fd: int, request: Ioctl, address: int) -> None:
    """An ioctl whose argument is an unsigned long itself: fcntl takes only a signed int."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ioctl(fd, ctypes.c_ulong(request), ctypes.c_ulong(address)) < 0:
        raise IoctlError(ctypes.get_errno(), request.name)
