"""Where a program goes and where it starts: checked before a byte of guest memory is touched.

Must not know guests or engines; the answer is a plain value.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from ..errors import LoadError, UnknownName
from .program import Program
from .spelling import literal

ORIGIN = 0x8000
"""Where plain bytes go when nobody says otherwise."""

BOOT_ADDRESS = 0x7C00
SECTOR = 512

_FAR = re.compile(r"\s*(?:0x)?([0-9a-f]{1,4})h?\s*:\s*(?:0x)?([0-9a-f]{1,4})h?\s*$", re.I)
_PLACE = re.compile(r"\s*([^\s+-]+)\s*(?:([+-])\s*(\w+)\s*)?$")


class LoadImage(NamedTuple):
    """``code`` goes to guest-physical ``address``.

    The guest starts at RIP ``entry_offset``. ``entry_cs`` is the CS selector that real mode needs,
    None where CS stays as the guest's default has it (base 0).
    """

    code: bytes
    address: int
    entry_offset: int
    entry_cs: int | None
    symbols: dict[str, int]


def plan(
    program: Program | bytes | bytearray | memoryview | str | os.PathLike[str],
    *,
    mode: str,
    ram_size: int,
    at: int | None = None,
    entry: int | str | None = None,
) -> LoadImage:
    """Say where a program goes and where it starts.

    ``program`` is a Program, plain bytes, or the path of a file with plain bytes. ``mode`` is the
    guest's: ``"real"``, ``"protected"`` or ``"long"``. ``at`` is a guest-physical address; without
    it a Program goes to its origin, a boot sector (512 bytes that end in 55 AA, real mode) to
    0x7C00 as a PC's firmware does, other bytes to 0x8000.

    ``entry`` is a linear address, a label, ``"label+4"``, or in real mode ``"SEG:OFF"`` in hex;
    without it the guest starts at the first byte. In real mode an entry above 0xFFFF sets CS.

    >>> image = plan(b"\\xf4", mode="real", ram_size=1 << 20, entry="7c0:10")
    >>> hex(image.address), image.entry_offset, image.entry_cs
    ('0x8000', 16, 1984)

    Raises LoadError (empty, too large, wrong place or mode) and UnknownName (no such label).
    """
    code = _bytes_of(program)
    address = _address(program, code, mode, at)
    _check(program, code, address, mode, ram_size)
    symbols = dict(program.symbols) if isinstance(program, Program) else {}
    offset, cs = _entry(entry, address, mode, symbols)
    linear = offset + 16 * (cs or 0)
    if not 0 <= linear < ram_size:
        raise LoadError(f"the entry {linear:#x} is outside the guest's RAM of {ram_size:#x} bytes")
    return LoadImage(code, address, offset, cs, symbols)


def _bytes_of(program: object) -> bytes:
    if isinstance(program, Program):
        return program.code
    if isinstance(program, bytes | bytearray | memoryview):
        return bytes(program)
    if isinstance(program, str | os.PathLike):
        return _read_file(Path(program))
    kind = type(program).__name__
    raise LoadError(f"a program must be a Program, bytes or the path of a file, not {kind}")


def _read_file(path: Path) -> bytes:
    try:
        code = path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise LoadError(f"cannot read {str(path)!r}: {why}") from None
    if code.startswith(b"\x7fELF"):
        raise LoadError(
            f"{str(path)!r} is an ELF file; make a flat one first: objcopy -O binary IN OUT"
        )
    return code


def _address(program: object, code: bytes, mode: str, at: int | None) -> int:
    if at is not None:
        return at
    if isinstance(program, Program):
        return program.origin
    return BOOT_ADDRESS if mode == "real" and is_boot_sector(code) else ORIGIN


def is_boot_sector(code: bytes) -> bool:
    """Whether firmware would boot these bytes: one sector, signature 55 AA in its last two.

    >>> is_boot_sector(bytes(510) + b"\\x55\\xaa"), is_boot_sector(bytes(512))
    (True, False)
    """
    return len(code) == SECTOR and code.endswith(b"\x55\xaa")


def _check(program: object, code: bytes, address: int, mode: str, ram_size: int) -> None:
    if not code:
        raise LoadError("the program is empty: there are no bytes to load")
    if address < 0 or address + len(code) > ram_size:
        raise LoadError(
            f"the program does not fit: {len(code):#x} bytes at {address:#x} end at "
            f"{address + len(code):#x}, the guest's RAM at {ram_size:#x}"
        )
    if not isinstance(program, Program):
        return
    if address != program.origin:
        raise LoadError(
            f"the program was assembled for {program.origin:#x}, not {address:#x}; "
            f"assemble it with org={address:#x}"
        )
    if program.mode != mode:
        raise LoadError(
            f"the program begins in {program.mode} mode, the guest is in {mode} mode; "
            f'assemble it with mode="{mode}" or make the guest with mode="{program.mode}"'
        )


def _entry(
    entry: int | str | None, address: int, mode: str, symbols: dict[str, int]
) -> tuple[int, int | None]:
    """RIP, and CS where it must be set."""
    if isinstance(entry, str) and ":" in entry:
        return _far_entry(entry, mode)
    linear = _linear(entry, symbols) if isinstance(entry, str) else entry
    linear = address if linear is None else linear
    if mode != "real" or linear <= 0xFFFF:
        return linear, None
    cs = (linear & ~0xFFFF) >> 4
    if cs > 0xFFFF:
        raise LoadError(f"the entry {linear:#x} is out of real mode's reach (up to 0xfffff)")
    return linear & 0xFFFF, cs


def _far_entry(entry: str, mode: str) -> tuple[int, int]:
    found = _FAR.match(entry)
    if found is None:
        raise LoadError(f'cannot read the entry "{entry}"; write SEG:OFF in hex, such as 7c0:0')
    if mode != "real":
        raise LoadError(f'the entry "{entry}" is SEG:OFF, which only real mode has; mode is {mode}')
    return int(found.group(2), 16), int(found.group(1), 16)


def _linear(entry: str, symbols: dict[str, int]) -> int:
    found = _PLACE.match(entry)
    if found is None:
        raise LoadError(f'cannot read the entry "{entry}"; write a label, label+4 or an address')
    name, sign, distance = found.groups()
    base = symbols.get(name, literal(name))
    if base is None:
        raise UnknownName(_no_label(name, symbols))
    more = literal(distance) if distance else 0
    if more is None:
        raise LoadError(f'cannot read "{distance}" in the entry "{entry}" as a number')
    return base - more if sign == "-" else base + more


def _no_label(name: str, symbols: dict[str, int]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, symbols, 2, 0.6) or list(symbols)[:5]
    known = f"; the program has {', '.join(close)}" if close else "; the program has no labels"
    return f'no label "{name}" for the entry{known}'
