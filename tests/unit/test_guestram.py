"""Host memory for guests: zeros that cost nothing until written, given back under a view."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from kvmdbg.engines.guestram import allocate, release
from kvmdbg.errors import EngineUnavailable

STATM = Path("/proc/self/statm")
SIZE = 64 * 2**20


def resident() -> int:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not STATM.exists(), reason="this system has no /proc/self/statm")
def test_looking_at_memory_allocates_none() -> None:
    memory = allocate(SIZE)
    before = resident()
    assert memory.find(b"\1") == -1
    assert resident() - before < SIZE // 4
    memory[:] = b"\1" * SIZE
    assert resident() - before >= SIZE
    release(memory)
    assert resident() - before < SIZE // 4


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps the pages while they are seen")
def test_a_view_of_what_was_released_reads_zeros() -> None:
    memory = allocate(0x2000)
    memory[0x1000] = 7
    view = memoryview(memory)
    release(memory)
    assert bytes(view) == bytes(0x2000)


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(EngineUnavailable, match="ask for less"):
        allocate(1 << 62)
