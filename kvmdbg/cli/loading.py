"""A program file on the command line, on its way into a VM.

Must not know: which command loads it, or what is done with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..debugger.vm import Vm

_SOURCES: Final = (".s", ".asm", ".inc")
_SECTOR: Final = 512


def load(vm: Vm, file: Path, mode: str, at: int | None) -> None:
    """Assembler text is told by its name; anything else is loaded as it is."""
    from ..errors import LoadError
    from ..program import assemble
    from ..program.load import ORIGIN

    if file.suffix.lower() not in _SOURCES:
        vm.load(file, at=at)
        return
    try:
        source = file.read_text(encoding="utf-8")
    except OSError as error:
        raise LoadError(f"cannot read {str(file)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LoadError(f"{str(file)!r} is no text; a flat binary has another suffix") from None
    vm.load(assemble(source, mode=mode, org=ORIGIN if at is None else at))


def mode_of(file: Path) -> str:
    """``real`` for a boot sector (0x55 0xAA at offset 510), else ``long``."""
    try:
        with file.open("rb") as opened:
            return "real" if opened.read(_SECTOR)[510:] == b"\x55\xaa" else "long"
    except OSError:
        return "long"  # whoever loads it says what is wrong with it


def number(word: str) -> int:
    """A number as C writes it.

    >>> number("0x7c00")
    31744
    """
    return int(word, 0)
