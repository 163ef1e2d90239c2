"""The next instruction of one side, as fast as a comparison needs it.

Translations are kept as a processor's TLB keeps them: until CR3 or the mode changes, or an
instruction such as INVLPG was executed. Must not know: what an instruction does.
"""

from __future__ import annotations

from typing import NamedTuple

from ..engines import Engine
from ..x86.decode import decode_one
from ..x86.paging import NonCanonical, PageFault, translate
from ..x86.registers import MASK32, MASK64, Regs, Sregs
from .divergence import PAGE
from .kinds import Kind, kind_of

_LONGEST = 15


class Executed(NamedTuple):
    """An instruction about to be executed: its linear address, and the registers before it."""

    pc: int
    kind: Kind
    before: Regs

    @property
    def text(self) -> str:
        """Its mnemonic and operands; empty where it could not be fetched."""
        instruction = decode_one(self.kind.raw, self.pc, self.kind.bits)
        return instruction.text if instruction else ""


class Fetcher:
    """Reads code of one engine's guest."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ram = engine.ram
        self._pages: dict[int, int] = {}
        self.see(engine.get_sregs())

    def see(self, sregs: Sregs) -> None:
        """System registers are these from now on; translations are forgotten."""
        self.sregs = sregs
        mode = sregs.mode
        self._bits = mode.bits
        self._base = 0 if mode.bits == 64 else sregs.cs.base
        self._mask = MASK64 if mode.bits == 64 else MASK32
        self._pages.clear()

    def pc(self, rip: int) -> int:
        """The linear address of CS:RIP."""
        return (self._base + rip) & self._mask

    def kind(self, rip: int) -> Kind:
        """What lies at CS:RIP; a kind without bytes where nothing can be fetched."""
        pc = self.pc(rip)
        offset = pc & PAGE - 1
        base = self._pages.get(pc - offset)
        if base is None or offset > PAGE - _LONGEST:
            return kind_of(self._slowly(pc), self._bits)
        start = base + offset
        return kind_of(bytes(self._ram[start : start + _LONGEST]), self._bits)

    def _slowly(self, pc: int) -> bytes:
        raw = b""
        while len(raw) < _LONGEST:
            at = (pc + len(raw)) & self._mask
            offset = at & PAGE - 1
            base = self._physical(at - offset)
            if base is None:
                return raw
            raw += bytes(self._ram[base + offset : base + min(PAGE, offset + _LONGEST - len(raw))])
        return raw

    def _physical(self, page: int) -> int | None:
        """Where a linear page lies in RAM; None if nowhere."""
        if page not in self._pages:
            try:
                base = translate(page, self.sregs, self._engine.read_memory)
            except (PageFault, NonCanonical):
                return None
            if base + PAGE > len(self._ram):
                return None
            self._pages[page] = base
        return self._pages[page]
