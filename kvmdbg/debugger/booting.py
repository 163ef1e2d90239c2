"""A guest before its first instruction: the mode's default machine, then the program in it.

Must not know: who runs it, or that it can be debugged.
"""

from __future__ import annotations

from typing import Final

from ..engines import Engine
from ..errors import BadInput, UnknownName
from ..machine.layout import IDT, MODES, default_guest
from ..program.load import LoadImage
from ..x86.registers import EFER, CpuMode, Sregs
from .suggest import did_you_mean

SMALLEST: Final = 64 * 1024
LARGEST: Final = 3 * 2**30
_PAGE = 4096


def check_mode(mode: str) -> None:
    """UnknownName for what is no mode."""
    if mode not in MODES:
        raise UnknownName(f'unknown mode "{mode}"{did_you_mean(str(mode), MODES)}')


def check_ram(ram: int) -> None:
    """BadInput for a size that no guest can have."""
    if not isinstance(ram, int) or ram % _PAGE or not SMALLEST <= ram <= LARGEST:
        raise BadInput(f"ram must be a multiple of 4096 bytes from 64 KiB to 3 GiB, not {ram!r}")


def boot(engine: Engine, mode: str, image: LoadImage | None) -> None:
    """Fill empty RAM and set the registers; without a program, only the default machine."""
    guest = default_guest(mode, len(engine.ram))
    regs, sregs = guest.regs, guest.sregs
    for address, data in guest.memory:
        engine.write_memory(address, data)
    if image is not None:
        engine.write_memory(image.address, image.code)
        regs = regs._replace(rip=image.entry_offset)
        if image.entry_cs is not None:
            cs = sregs.cs._replace(selector=image.entry_cs, base=image.entry_cs << 4)
            sregs = sregs._replace(cs=cs)
    engine.set_sregs(sregs)
    engine.set_regs(regs)


def table_mode(sregs: Sregs) -> str:
    """Which kind of vector table the processor uses now, as ``layout.gate`` calls it."""
    if sregs.mode is CpuMode.REAL:
        return "real"
    return "long" if sregs.efer & EFER.LMA else "protected"


def table_base(sregs: Sregs) -> int:
    """How far the table in use lies from where ``layout.gate`` thinks it is."""
    return sregs.idt.base - (0 if sregs.mode is CpuMode.REAL else IDT)
