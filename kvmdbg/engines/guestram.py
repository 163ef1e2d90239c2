"""Host memory for guest RAM, and for what is as big: zeros, which cost nothing until written.

Must not know: which engine's guest it is for.
"""

from __future__ import annotations

import mmap
import sys

from ..errors import EngineUnavailable


def allocate(size: int) -> mmap.mmap:
    """``size`` zero bytes. EngineUnavailable if there are not so many.

    Private to the process: looking at a page of a shared mapping would allocate it, and RAM is
    looked at as a whole whenever a snapshot is taken.
    """
    try:
        if sys.platform == "win32":
            return mmap.mmap(-1, size)
        return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise EngineUnavailable(
            f"no {size:#x} bytes for guest RAM: {error.strerror}; ask for less"
        ) from None


def release(memory: mmap.mmap) -> None:
    """Give it back, even while somebody still looks at it.

    Unmapping it under a memoryview would crash the process, so then only the pages go: the view
    reads zeros from now on (not on Windows, where they stay), and the addresses are freed with the
    last view.
    """
    try:
        memory.close()
    except BufferError:
        if sys.platform != "win32":
            memory.madvise(mmap.MADV_DONTNEED)
