"""Guests made by dice: nasty code in any mode, over tables that are nearly right.

A guest is a value; the same seed and number make the same one. Must not know: how it is run, or
what becomes of it.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from kvmdbg.machine.layout import GDT, IDT, ORIGIN, PML4, TSS, Selector, default_guest, gate
from kvmdbg.x86.registers import EFER, DescriptorTable, Regs, Segment, Sregs
from tests.guests.nasty import INTERESTING, NastyCode

RAM = 0x40000
KINDS = (
    *("real", "unreal", "protected", "protected16", "v86", "paged", "pae", "user32"),
    *("long", "user64", "compat32", "compat16", "wild"),
)

_VM, _IF, _IOPL = 1 << 17, 1 << 9, 3 << 12
_SPARE = GDT + 0x58  # descriptors behind the default ones, up to the TSS
_TABLES = 0x20000


class WildGuest(NamedTuple):
    """Memory, registers and the code (which is in the memory too)."""

    kind: str
    memory: tuple[tuple[int, bytes], ...]
    regs: Regs
    sregs: Sregs
    code: bytes


def wild_guest(dice: random.Random, kind: str) -> WildGuest:
    """A guest of one of ``KINDS``."""
    mode = _mode(kind)
    image = default_guest(mode, RAM)
    entry = ORIGIN if dice.random() < 0.9 else RAM - dice.randint(1, 32)
    sregs = _segments(dice, kind, image.sregs)
    code = NastyCode(dice, sregs.mode.bits).some()
    memory = [*image.memory, *_page_tables(dice, kind), *_surroundings(dice, mode)]
    memory.append((entry, code[: RAM - entry]))
    regs = _registers(dice, kind, entry, image.regs)
    if dice.random() < 0.25 or kind == "wild":
        sregs = _garbled(dice, sregs)
    return WildGuest(kind, tuple(memory), regs, sregs, code)


def _mode(kind: str) -> str:
    if kind in ("real", "unreal"):
        return "real"
    return "long" if kind in ("long", "user64", "compat32", "compat16", "wild") else "protected"


# -- registers -------------------------------------------------------------------------------------


def _registers(dice: random.Random, kind: str, entry: int, regs: Regs) -> Regs:
    values = {name: _value(dice) for name in Regs._fields[:16] if name != "rsp"}
    flags = 2 | (_IF | _IOPL if dice.random() < 0.5 else 0) | (_VM if kind == "v86" else 0)
    rsp = _value(dice) if dice.random() < 0.15 else regs.rsp
    rip = entry & 0xFFFF if kind in ("real", "unreal", "v86") else entry
    return regs._replace(**values, rip=rip, rsp=rsp, rflags=flags)


def _value(dice: random.Random) -> int:
    draw = dice.random()
    if draw < 0.5:
        return 0x9000 + dice.randrange(0x1000)
    return dice.choice(INTERESTING) if draw < 0.9 else dice.getrandbits(64)


def _code_segment(selector: int, bits: int, dpl: int = 0) -> Segment:
    limit = 0xFFFF if bits == 16 else 0xFFFFFFFF
    db, long, g = int(bits == 32), int(bits == 64), int(bits > 16)
    return Segment(0, limit, selector, 11, 1, dpl, db=db, s=1, l=long, g=g)


def _data_segment(selector: int, dpl: int) -> Segment:
    return Segment(0, 0xFFFFFFFF, selector, 3, 1, dpl, 1, 1, 0, 1)


def _all_data(sregs: Sregs, segment: Segment) -> Sregs:
    return sregs._replace(ds=segment, es=segment, fs=segment, gs=segment, ss=segment)


def _segments(dice: random.Random, kind: str, sregs: Sregs) -> Sregs:
    code = {
        "protected16": (Selector.CODE16, 16, 0),
        "compat16": (Selector.CODE16, 16, 0),
        "compat32": (Selector.CODE32, 32, 0),
        "user32": (Selector.USER_CODE32 | 3, 32, 3),
        "user64": (Selector.USER_CODE64 | 3, 64, 3),
    }.get(kind)
    if kind not in ("real", "unreal"):
        sregs = sregs._replace(gdt=sregs.gdt._replace(limit=TSS - GDT - 1))
    if code is not None:
        sregs = sregs._replace(cs=_code_segment(int(code[0]), code[1], code[2]))
        if code[2]:
            sregs = _all_data(sregs, _data_segment(Selector.USER_DATA | 3, 3))
    if kind == "unreal":
        sregs = _all_data(sregs, Segment(0, 0xFFFFFFFF, 0, 3, 1, 0, dice.getrandbits(1), 1, 0, 1))
    if kind == "v86":
        flat = Segment(0, 0xFFFF, 0, 3, 1, 3, 0, 1)
        sregs = _all_data(sregs, flat)._replace(cs=flat)
    if kind == "paged":
        sregs = sregs._replace(cr0=sregs.cr0 | 1 << 31, cr3=_TABLES, cr4=sregs.cr4 | 0x10)
    if kind == "pae":
        sregs = sregs._replace(cr0=sregs.cr0 | 1 << 31, cr3=_TABLES, cr4=sregs.cr4 | 0x20)
    return sregs


def _garbled(dice: random.Random, sregs: Sregs) -> Sregs:
    """One to four fields of the system registers, replaced."""
    for _ in range(dice.randint(1, 4)):
        name = dice.choice(Sregs._fields)
        new = _garbage(dice, getattr(sregs, name))
        if name == "efer":  # the engine refuses a bit that it does not have
            new = sregs.efer ^ int(dice.choice((EFER.SCE, EFER.LME, EFER.LMA, EFER.NXE)))
        sregs = sregs._replace(**{name: new})
    return sregs


def _garbage(
    dice: random.Random, old: Segment | DescriptorTable | int
) -> Segment | DescriptorTable | int:
    if isinstance(old, Segment):
        return wild_segment(dice)
    if isinstance(old, DescriptorTable):
        return DescriptorTable(dice.choice(INTERESTING), dice.choice(INTERESTING) & 0xFFFF)
    return old ^ 1 << dice.randrange(32) if dice.random() < 0.6 else dice.choice(INTERESTING)


def wild_segment(dice: random.Random) -> Segment:
    """Any segment register: nothing in it agrees with anything."""
    return Segment(
        base=dice.choice(INTERESTING),
        limit=dice.choice(INTERESTING) & 0xFFFFFFFF,
        selector=dice.getrandbits(16) if dice.random() < 0.3 else dice.randrange(0x80),
        type=dice.getrandbits(4),
        present=dice.getrandbits(1),
        dpl=dice.getrandbits(2),
        db=dice.getrandbits(1),
        s=dice.getrandbits(1),
        l=dice.getrandbits(1),
        g=dice.getrandbits(1),
        avl=dice.getrandbits(1),
        unusable=dice.getrandbits(1),
    )


# -- tables ----------------------------------------------------------------------------------------


def _surroundings(dice: random.Random, mode: str) -> list[tuple[int, bytes]]:
    """Some gates with handlers in the code, some spare descriptors, a TSS, something to read."""
    made = [(0x9000, dice.randbytes(64)), (0x9FF8, dice.randbytes(16))]
    for _ in range(dice.choice((0, 0, 1, 4, 16))):
        made.append(_gate(dice, mode))
    spare = b"".join(_descriptor(dice) for _ in range(5))
    made.append((_SPARE, spare))
    if dice.random() < 0.3:
        made.append((TSS + dice.randrange(0x60), dice.randbytes(8)))
    if dice.random() < 0.1:
        made.append((dice.choice((GDT, IDT, PML4, 0x3000, 0x4000)), dice.randbytes(64)))
    return made


def _gate(dice: random.Random, mode: str) -> tuple[int, bytes]:
    vector = dice.choice((0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 13, 14, 14, 0x80))
    address, data = gate(mode, vector, ORIGIN + dice.randrange(64))
    if mode == "real" or dice.random() < 0.7:
        return address, data
    raw = bytearray(data)
    raw[2:4] = dice.choice((0x30, 0x33, 0x58, 0x60, 0x68, 0x1B, 0x40)).to_bytes(2, "little")
    raw[5] = dice.choice((0xE5, 0x85, 0x86, 0xE7, 0xEC, 0xE4, 0x8F, dice.getrandbits(8)))
    return address, bytes(raw)


def _descriptor(dice: random.Random) -> bytes:
    """A TSS, an LDT, a call gate, a task gate, or noise."""
    raw = bytearray(dice.randbytes(8))
    if dice.random() < 0.8:
        base = dice.choice((TSS, 0x9000, 0xA000, RAM - 16, 0x50000000))
        limit = dice.choice((0x67, 0x2B, 0xFFFF, 0x10))
        raw[0:5] = limit.to_bytes(2, "little") + base.to_bytes(4, "little")[:3]
        raw[5] = dice.choice((0x89, 0x8B, 0xE9, 0x81, 0x83, 0x82, 0xE5, 0xEC, 0xE4, 0x84, 0x9B))
        raw[6:8] = bytes([dice.choice((0, 0x40, 0xCF)), base >> 24])
        if raw[5] & 0x0F in (4, 5, 0xC):
            raw[2:4] = dice.choice((8, 0x30, 0x40, 0x48, 0x58, 0x60)).to_bytes(2, "little")
    return bytes(raw)


def _page_tables(dice: random.Random, kind: str) -> list[tuple[int, bytes]]:
    """Low memory, one to one, in 32-bit or PAE tables; some entries are noise."""
    if kind not in ("paged", "pae"):
        return []
    if kind == "paged":
        return [(_TABLES, _entries(dice, [0x87, 0x4000E7, 0xD00000E7, _TABLES | 0x1007], 4))]
    directory = [i << 21 | 0xE7 for i in range(8)]
    return [
        (_TABLES, _entries(dice, [_TABLES + 0x1000 | 1], 8)),
        (_TABLES + 0x1000, _entries(dice, directory, 8)),
    ]


def _entries(dice: random.Random, good: list[int], size: int) -> bytes:
    top = (1 << 8 * size) - 1
    noise = [
        dice.getrandbits(64) & top if dice.random() < 0.5 else dice.choice(INTERESTING) & top | 7
        for _ in range(4)
    ]
    return b"".join(entry.to_bytes(size, "little") for entry in good + noise)
