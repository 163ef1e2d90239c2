"""The guest as a debugger looks at it: linear memory, labels, addresses as people write them.

Everything here only looks, but for :meth:`Guest.write`. Must not know: breakpoints, or how the
guest is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from ..engines import Engine
from ..errors import AddressError, BadInput, ExpressionError, UnknownName
from ..x86.decode import Instruction, disassemble
from ..x86.paging import NonCanonical, PageFault, translate
from ..x86.registers import MASK64, CpuMode, DebugRegs, Regs, Sregs, linear_pc
from .changes import Shadow
from .expressions import compile_condition, real_address
from .memory import PhysicalMemory
from .names import SEGMENTS
from .planting import Planter
from .suggest import did_you_mean

PAGE: Final = 4096
LABEL_REACH: Final = 4096
"""An address further behind a label than this is shown as a number."""

LONGEST: Final = 15
"""Bytes of the longest x86 instruction (SDM vol. 2, 2.3.11)."""

_SEGMENTED = re.compile(rf"([0-9A-Fa-f]{{1,4}}|{'|'.join(SEGMENTS)}):([0-9A-Fa-f]{{1,8}})")
_POINTERS = {
    f"{dollar}{prefix}{name}": f"$r{name}"
    for name in ("ip", "sp")
    for prefix in ("", "e")
    for dollar in ("", "$")
}


class Guest:
    """One engine's guest with the labels of its program."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.planter = Planter(engine)
        self.shadow = Shadow(engine.ram, getattr(engine, "get_dirty_log", None))
        self._engine_walks = getattr(engine, "translate", None)
        self._ram_size = len(engine.ram)
        self.memory = PhysicalMemory(engine, self.planter, self.shadow)
        self.symbols: dict[str, int] = {}
        self.constants: dict[str, int] = {}
        self._labelled: dict[str, int] = {}
        self._labels: dict[int, str] = {}

    def pc(self) -> int:
        """Linear address of CS:RIP."""
        return linear_pc(self.engine.get_regs().rip, self.engine.get_sregs())

    def mode(self) -> CpuMode:
        """The mode in which the next instruction is decoded."""
        return self.engine.get_sregs().mode

    def physical(self, linear: int, sregs: Sregs | None = None) -> int:
        """Translate; AddressError if paging does not map it or there is no RAM."""
        try:
            address = self._translate(linear, sregs or self.engine.get_sregs())
        except PageFault as fault:
            raise AddressError(
                f"{linear:#x} is not mapped by the guest's paging: {fault.problem}"
            ) from None
        self.check_ram(linear, address)
        return address

    def check_ram(self, linear: int, physical: int | None = None) -> None:
        """AddressError if a linear address leads outside RAM; one that is not mapped may pass."""
        if physical is None:
            try:
                physical = self._translate(linear, self.engine.get_sregs())
            except PageFault:
                return
        if physical >= len(self.memory):
            raise AddressError(
                f"{linear:#x} is outside guest RAM, which ends at {len(self.memory):#x}"
            )

    def _translate(self, linear: int, sregs: Sregs) -> int:
        try:
            return translate(linear, sregs, self.engine.read_memory)
        except NonCanonical:
            raise AddressError(f"{linear:#x} is not a canonical address") from None

    def _pieces(self, linear: int, size: int) -> Iterator[tuple[int, int]]:
        """Physical (address, size) of each page that the range touches."""
        if size < 0:
            raise BadInput(f"a size of {size} bytes makes no sense")
        sregs = self.engine.get_sregs()
        end = linear + size
        while linear < end:
            part = min(end - linear, PAGE - linear % PAGE)
            yield self.physical(linear & MASK64, sregs), part
            linear += part

    def read(self, linear: int, size: int) -> bytes:
        """Memory at a linear address; AddressError where there is none."""
        return b"".join([self.memory.read(*piece) for piece in self._pieces(linear, size)])

    def write(self, linear: int, data: bytes) -> None:
        """Write at a linear address, all of it or nothing; page protection does not count."""
        start = 0
        for address, size in list(self._pieces(linear, len(data))):
            self.memory.write(address, data[start : start + size])
            start += size

    def code(self, linear: int, size: int) -> bytes:
        """Up to ``size`` bytes: as far as memory is there."""
        if self._engine_walks is not None and linear % PAGE + size <= PAGE:
            address = self._engine_walks(linear)
            inside = address is not None and address + size <= self._ram_size
            return self.memory.read(address, size) if inside else b""
        found = b""
        try:
            for address, part in self._pieces(linear, size):
                found += self.memory.read(address, part)
        except AddressError:
            return found
        return found

    def disassemble(self, at: int, count: int, syntax: str = "intel") -> list[Instruction]:
        """``count`` instructions from a linear address; AddressError if there is no memory."""
        code = self.code(at, count * LONGEST) or self.read(at, 1)
        return disassemble(code, at, self.mode().bits, count, syntax)

    def instruction(self, at: int) -> Instruction | None:
        """The instruction at a linear address; None where no code can be read."""
        code = self.code(at, LONGEST)
        return disassemble(code, at, self.mode().bits, 1)[0] if code else None

    def top_of_stack(self) -> int:
        """The machine word on top of the stack; AddressError if there is no memory."""
        moment = Moment(self)
        moment.make_linear()
        size = moment.sregs.mode.bits // 8
        return int.from_bytes(self.read(moment.regs.rsp, size), "little")

    def symbol(self, name: str) -> int:
        """A label or an assembler constant; UnknownName with a suggestion."""
        value = self.symbols.get(name, self.constants.get(name))
        if value is None:
            hint = did_you_mean(name, [*self.symbols, *self.constants])
            raise UnknownName(f'there is no label "{name}"{hint or "; no program is loaded"}')
        return value & MASK64

    def label(self, address: int) -> str:
        """``loop+4``: the nearest label at or below, at most 4 KiB away; else the number."""
        if self._labelled != self.symbols:
            self._labelled, self._labels = dict(self.symbols), {}
        label = self._labels.get(address)
        if label is None:
            label = self._labels[address] = self._label(address)
        return label

    def _label(self, address: int) -> str:
        best, name = -1, ""
        for label, value in self.symbols.items():
            if best < value <= address:
                best, name = value, label
        if best < 0 or address - best >= LABEL_REACH:
            return f"{address:#x}"
        offset = address - best
        return name if not offset else f"{name}+{offset if offset < 10 else hex(offset)}"

    def place(self, address: int) -> str:
        """For sentences: ``loop (0x8003)``, or the number alone."""
        label, number = self.label(address), f"{address:#x}"
        return number if label == number else f"{label} ({number})"

    def address(self, where: int | str) -> int:
        """A linear address as people write it.

        A number, a label, an expression (``loop+4``, ``$rip``, ``[rsp]``), or ``SEG:OFF`` in hex in
        real mode. ``rip`` and ``rsp`` mean the linear place they point at. ExpressionError,
        UnknownName or AddressError otherwise.
        """
        if isinstance(where, int):
            if not 0 <= where <= MASK64:
                raise AddressError(f"{where:#x} is no address: 0 to 2**64-1")
            return int(where)
        text = where.strip()
        if text in self.symbols:
            return self.symbol(text)
        return self._segmented(text) if _SEGMENTED.fullmatch(text) else self._evaluated(text)

    def _evaluated(self, text: str) -> int:
        condition = compile_condition(_POINTERS.get(text.lower(), text))
        if condition.compares:
            raise ExpressionError(f'"{text}" is a condition, not an address')
        moment = Moment(self)
        moment.make_linear()
        return condition.evaluate(moment)

    def _segmented(self, text: str) -> int:
        segment, offset = text.lower().split(":")
        sregs = self.engine.get_sregs()
        if segment in SEGMENTS:
            return int(getattr(sregs, segment).base + int(offset, 16)) & MASK64
        return real_address(int(segment, 16), int(offset, 16), sregs.mode)


class Moment:
    """What an expression sees of a guest (``names.Context``); each part is read once, if asked."""

    def __init__(self, guest: Guest, hits: int = 0) -> None:
        self._guest = guest
        self.hits = hits

    @cached_property
    def regs(self) -> Regs:
        return self._guest.engine.get_regs()

    @cached_property
    def sregs(self) -> Sregs:
        return self._guest.engine.get_sregs()

    @cached_property
    def debugregs(self) -> DebugRegs:
        return self._guest.engine.get_debugregs()

    @cached_property
    def pc(self) -> int:
        return linear_pc(self.regs.rip, self.sregs)

    def read(self, address: int, size: int) -> bytes:
        return self._guest.read(address, size)

    def symbol(self, name: str) -> int:
        return self._guest.symbol(name)

    def make_linear(self) -> None:
        """Let rip and rsp be linear addresses, as whoever writes ``$rsp+8`` for a place means."""
        sregs, regs = self.sregs, self.regs
        rsp = regs.rsp if sregs.mode is CpuMode.LONG else sregs.ss.base + regs.rsp
        self.regs = regs._replace(rip=self.pc, rsp=rsp)
