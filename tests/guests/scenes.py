"""A guest at one instruction, without an engine: for faults that the embedded one never raises.

The default guest of a mode with a few bytes of code at ORIGIN, and any register changed.
"""

from __future__ import annotations

from typing import Any

from kvmdbg.debugger.evidence import Scene
from kvmdbg.debugger.explain import ExplainedStep, Explanation, explain
from kvmdbg.errors import AddressError
from kvmdbg.machine.layout import ORIGIN, Selector, default_guest
from kvmdbg.x86.decode import Instruction, decode_one
from kvmdbg.x86.delivery import Event, EventKind
from kvmdbg.x86.descriptors import segment_from_descriptor
from kvmdbg.x86.paging import NonCanonical, PageFault, translate
from kvmdbg.x86.registers import Segment

RAM = 1 << 20


class Bench:
    """``code`` is hexadecimal."""

    def __init__(self, mode: str = "long", code: str = "90") -> None:
        image = default_guest(mode, RAM)
        self.ram = bytearray(RAM)
        for address, data in image.memory:
            self.put(address, data)
        self.put(ORIGIN, bytes.fromhex(code))
        self.regs, self.sregs = image.regs, image.sregs

    def put(self, address: int, data: bytes) -> None:
        self.ram[address : address + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        if not 0 <= address <= RAM - size:
            raise AddressError(f"{address:#x} is outside RAM")
        return bytes(self.ram[address : address + size])

    def segment(self, selector: int) -> Segment:
        at = self.sregs.gdt.base + (selector & ~7)
        return segment_from_descriptor(selector, int.from_bytes(self.ram[at : at + 8], "little"))

    def at_cpl3(self) -> Bench:
        """The same code, run at CPL 3."""
        code = Selector.USER_CODE64 if self.sregs.mode.bits == 64 else Selector.USER_CODE32
        stack = self.segment(Selector.USER_DATA | 3)
        self.sregs = self.sregs._replace(cs=self.segment(code | 3), ss=stack)
        return self

    def set(self, **registers: Any) -> Bench:
        """Change registers of either kind by name."""
        for name, value in registers.items():
            if name in self.regs._fields:
                self.regs = self.regs._replace(**{name: value})
            else:
                self.sregs = self.sregs._replace(**{name: value})
        return self

    def instruction(self, at: int) -> Instruction | None:
        try:
            physical = translate(at, self.sregs, self.read)
            return decode_one(self.read(physical, 15), at, self.sregs.mode.bits)
        except (AddressError, PageFault, NonCanonical):
            return None

    @property
    def scene(self) -> Scene:
        return Scene(self.regs, self.sregs, self.read, hex, self.instruction)

    def explained(self, event: Event) -> Explanation:
        return explain(self.scene, event)

    def fault(self, vector: int, code: int | None = None, cr2: int | None = None) -> ExplainedStep:
        """The first step of a fault that this instruction raises."""
        return self.explained(Event(vector, EventKind.FAULT, code, cr2)).steps[0]
