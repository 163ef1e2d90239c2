"""The contract's chapter about guest RAM.

Must not know: how an engine keeps it.
"""

from __future__ import annotations

from functools import partial

from ..errors import AddressError
from ..exits import HltExit
from .bench import CODE, DATA, HLT, RAM, STORE, Bench, mov_al
from .contract import Chapter, expect, refuses, require

CHAPTER = Chapter("memory")


@CHAPTER.check(modes=())
def ram_is_as_large_as_asked_and_zero(b: Bench) -> None:
    """``ram`` has as many bytes as the factory was asked for, and each is 0."""
    expect("len(ram) to be", len(b.engine.ram), RAM)
    require(not any(b.engine.ram), "zeroed RAM", "bytes other than 0")


@CHAPTER.check(modes=())
def ram_is_read_only(b: Bench) -> None:
    """``ram`` is a read-only memoryview of bytes: assigning to it raises TypeError."""
    view = b.engine.ram
    require(isinstance(view, memoryview), "ram to be a memoryview", type(view).__name__)
    expect("the format of ram to be", (view.format, view.ndim), ("B", 1))
    refuses("ram[0] = 1", lambda: view.__setitem__(0, 1), TypeError)
    expect("ram[0] to stay", b.engine.read_memory(0, 1), b"\0")


@CHAPTER.check()
def ram_is_no_copy(b: Bench) -> None:
    """A view of ``ram`` taken once shows what the host and the guest write later."""
    view = b.engine.ram
    b.boot(mov_al(0x5A) + STORE + HLT)
    b.point_at(DATA)
    expect("ram to show what the host wrote:", bytes(view[CODE : CODE + 2]), mov_al(0x5A))
    expect("the exit to be", b.run(), HltExit())
    expect("ram to show what the guest wrote:", view[DATA], 0x5A)


@CHAPTER.check(modes=())
def what_is_written_can_be_read(b: Bench) -> None:
    """``read_memory`` gives what ``write_memory`` wrote, also across pages and at RAM's end."""
    for address in (0, DATA - 3, RAM - 8):
        data = bytes(range(0xA1, 0xA9))
        b.engine.write_memory(address, data)
        expect(f"the bytes at {address:#x} to be", b.engine.read_memory(address, 8), data)
    expect("no bytes at RAM's end to be", b.engine.read_memory(RAM, 0), b"")


@CHAPTER.check(modes=())
def outside_of_ram_is_refused(b: Bench) -> None:
    """Reading or writing one byte outside RAM raises AddressError, and nothing is written."""
    for address, size in ((RAM, 1), (RAM - 1, 2), (-1, 1), (1 << 64, 1)):
        what = f"{size} bytes at {address:#x}"
        read = partial(b.engine.read_memory, address, size)
        write = partial(b.engine.write_memory, address, b"\xff" * size)
        refuses(f"reading {what}", read, AddressError)
        refuses(f"writing {what}", write, AddressError)
    expect("RAM's last byte to stay", b.engine.read_memory(RAM - 1, 1), b"\0")


@CHAPTER.check()
def written_code_is_executed(b: Bench) -> None:
    """Code that the host writes is what runs next, also where other code has run before."""
    for value in (1, 2, 3):
        b.boot(mov_al(value) + HLT)
        expect("the exit to be", b.run(), HltExit())
        expect("AL to be what the code written last sets:", b.al, value)


@CHAPTER.check()
def code_written_by_the_guest_is_executed(b: Bench) -> None:
    """Code that the guest writes over code that has run is what runs next."""
    b.boot(mov_al(1) + STORE + HLT)
    b.point_at(CODE + 1)
    for value in (7, 8):
        expect("the exit to be", b.run(), HltExit())
        b.set(rip=CODE + 2, rax=value)
        expect("the exit to be", b.run(), HltExit())
        b.set(rip=CODE)
        expect("the exit to be", b.run(), HltExit())
        expect("AL to be what the guest's code sets:", b.al, value)
        b.set(rip=CODE)
