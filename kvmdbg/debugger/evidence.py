"""What stands in the guest's tables, entry by entry: address, bytes, fields, and what is wrong.

Pure: registers and a physical reader in, :class:`Evidence` out; a table that cannot be read is
evidence too. Must not know: engines, the order in which a delivery goes, how anything looks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..x86.attempt import Stack, stack_of
from ..x86.decode import Instruction
from ..x86.descriptors import Gate, segment_from_descriptor, unpack_gate
from ..x86.linear import LinearMemory
from ..x86.paging import NonCanonical, PageFault, Read
from ..x86.registers import CR0, EFER, MASK64, RFLAGS, DescriptorTable, Regs, Segment, Sregs

GATE_TYPES = {
    0x5: "task gate",
    0x6: "16-bit interrupt gate",
    0x7: "16-bit trap gate",
    0xC: "call gate",
    0xE: "interrupt gate",
    0xF: "trap gate",
}
"""SDM vol. 3, table 3-2; in long mode E and F are the 64-bit ones."""

_SYSTEM_TYPES = {1: "16-bit TSS", 2: "LDT", 3: "busy 16-bit TSS", 9: "TSS", 11: "busy TSS"}


class Evidence(NamedTuple):
    """One thing looked at; ``wrong`` is empty where nothing is, ``mend`` says what would help.

    ``address`` is linear, or physical where ``physical`` is set; None for what lies in no memory.
    """

    what: str
    address: int | None
    raw: bytes
    meaning: str
    wrong: str = ""
    physical: bool = False
    mend: str = ""

    def __str__(self) -> str:
        at = "" if self.address is None else f" at {self.where}"
        raw = f" {self.raw.hex(' ')}" if self.raw else ""
        wrong = f"; wrong: {self.wrong}" if self.wrong else ""
        return f"{self.what}{at}:{raw} {self.meaning}{wrong}"

    @property
    def where(self) -> str:
        """The address as text."""
        if self.address is None:
            return ""
        return f"{'physical ' if self.physical else ''}{self.address:#x}"

    @property
    def sentence(self) -> str:
        """What is wrong, with the thing, its address and its bytes.

        >>> Evidence("PTE", 0x11080, bytes(4), "0x0: P=0", "P (bit 0) is 0", physical=True).sentence
        'PTE at physical 0x11080, bytes 00 00 00 00: P (bit 0) is 0'
        """
        at = "" if self.address is None else f" at {self.where}"
        raw = f", bytes {self.raw.hex(' ')}" if self.raw else ""
        plain = "" if self.raw or self.address is not None else f" = {self.meaning}"
        return f"{self.what}{at}{raw}{plain}: {self.wrong}"


class Scene(NamedTuple):
    """The guest at one moment; ``read`` is physical and without planted INT3 bytes.

    ``place`` names a linear address by label, ``code`` decodes the instruction there.
    """

    regs: Regs
    sregs: Sregs
    read: Read
    place: Callable[[int], str]
    code: Callable[[int], Instruction | None]

    @property
    def real(self) -> bool:
        """Real mode: an IVT instead of an IDT."""
        return not self.sregs.cr0 & CR0.PE

    @property
    def v86(self) -> bool:
        """Virtual-8086 mode: CPL 3 and real-mode segments, but an IDT (SDM vol. 3, 20.2)."""
        return not (self.real or self.long) and bool(self.regs.rflags & RFLAGS.VM)

    @property
    def long(self) -> bool:
        """IA-32e mode, compatibility code included: 16-byte gates."""
        return bool(self.sregs.efer & EFER.LMA)

    def load(self, linear: int, size: int) -> tuple[bytes, str]:
        """Bytes as the processor reads its tables, or none and why."""
        memory = LinearMemory(self.sregs, self.read)
        try:
            return memory.load(linear & memory.mask, size), ""
        except PageFault as fault:
            return b"", f"it cannot be read: {fault.problem}"
        except NonCanonical:
            return b"", "its address is not canonical"


def gate_place(scene: Scene, vector: int) -> tuple[str, int, int]:
    """Name, linear address and size of a vector's entry in IVT or IDT."""
    size = 4 if scene.real else 16 if scene.long else 8
    name = f"{'IVT' if scene.real else 'IDT'}[{vector}]"
    return name, scene.sregs.idt.base + vector * size, size


def read_gate(scene: Scene, vector: int) -> Gate | None:
    """The gate of a vector, whatever it holds; None in real mode and where it cannot be read."""
    _, address, size = gate_place(scene, vector)
    if scene.real or vector * size + size - 1 > scene.sregs.idt.limit:
        return None
    raw, _ = scene.load(address, size)
    return unpack_gate(raw) if raw else None


def gate(scene: Scene, vector: int, wrong: str = "") -> Evidence:
    """An entry of the IVT or IDT (SDM vol. 3, 6.11, 6.14.1, 20.1.4)."""
    name, address, size = gate_place(scene, vector)
    idt, end = scene.sregs.idt, vector * size + size - 1
    if end > idt.limit:
        table = f"IDTR: base {idt.base:#x}, limit {idt.limit:#x}; this entry ends at {end:#x}"
        return Evidence(name, address, b"", table, wrong or "beyond the limit")
    raw, unread = scene.load(address, size)
    if not raw:
        return Evidence(name, address, b"", unread, wrong or unread)
    if scene.real:
        ip, cs = int.from_bytes(raw[:2], "little"), int.from_bytes(raw[2:], "little")
        return Evidence(name, address, raw, f"CS:IP {cs:04X}:{ip:04X}", wrong)
    return Evidence(name, address, raw, gate_fields(unpack_gate(raw), scene.long), wrong)


def gate_fields(gate: Gate, long: bool) -> str:
    """A gate's fields in the order in which the processor checks them."""
    kind = GATE_TYPES.get(gate.type, "no gate")
    ist = f", IST={gate.ist}" if long else ""
    target = f"{gate.selector:#06x}:{gate.offset:#x}"
    return f"type {gate.type:#x} ({kind}), DPL={gate.dpl}, P={gate.present}, {target}{ist}"


def table_of(scene: Scene, selector: int) -> tuple[str, DescriptorTable]:
    """GDT or LDT, by the selector's TI bit."""
    if not selector & 4:
        return "GDT", scene.sregs.gdt
    ldt = scene.sregs.ldt
    usable = ldt.present and not ldt.unusable
    return "LDT", DescriptorTable(ldt.base, ldt.limit if usable else -1)


def selector_words(selector: int) -> str:
    """A selector taken apart (SDM vol. 3, 3.4.2).

    >>> selector_words(0x2b)
    '0x002b: index 5 in the GDT, RPL 3'
    """
    table = "LDT" if selector & 4 else "GDT"
    return f"{selector:#06x}: index {selector >> 3} in the {table}, RPL {selector & 3}"


def error_code_words(code: int) -> str:
    """An error code with a selector in it (SDM vol. 3, 6.13).

    >>> error_code_words(0x32)
    '0x32: vector 6 in the IDT'
    """
    outside = ", EXT: met while another event was delivered" if code & 1 else ""
    if code & 2:
        return f"{code:#x}: vector {code >> 3} in the IDT{outside}"
    if not code & 0xFFFC:
        return f"{code:#x}: no selector{outside}"
    table = "LDT" if code & 4 else "GDT"
    return f"{code:#x}: index {code >> 3} in the {table}{outside}"


def read_descriptor(scene: Scene, selector: int) -> tuple[Segment | None, Evidence]:
    """A descriptor decoded, and where it was found (SDM vol. 3, 3.4.5)."""
    name, table = table_of(scene, selector)
    what, offset = f"{name}[{selector >> 3}]", selector & 0xFFF8
    address = table.base + offset
    if offset + 7 > table.limit:
        ends = f"limit {table.limit:#x}; this entry ends at {offset + 7:#x}"
        found = f"{name}R: base {table.base:#x}, {ends}" if table.limit >= 0 else "there is no LDT"
        return None, Evidence(what, address, b"", found, f"beyond the {name}'s limit")
    raw, unread = scene.load(address, 8)
    if not raw:
        return None, Evidence(what, address, b"", unread, unread)
    segment = segment_from_descriptor(selector, int.from_bytes(raw, "little"))
    if not segment.s and scene.long and any(raw):
        raw += scene.load(address + 8, 8)[0]
    return segment, Evidence(what, address, raw, segment_fields(segment, raw))


def segment_fields(segment: Segment, raw: bytes = b"\x01") -> str:
    """A segment descriptor's fields."""
    if not any(raw):
        return "all zero: the null descriptor, or an empty entry"
    s, kind = segment, segment_kind(segment)
    flags = f"S={s.s}, DPL={s.dpl}, P={s.present}, L={s.l}, D/B={s.db}, G={s.g}"
    return f"base {s.base:#x}, limit {s.limit:#x}, type {s.type:#x} ({kind}), {flags}"


def segment_kind(segment: Segment) -> str:
    """What a descriptor's S and type make of it (SDM vol. 3, tables 3-1 and 3-2)."""
    kind = segment.type
    if not segment.s:
        return _SYSTEM_TYPES.get(kind) or GATE_TYPES.get(kind, "reserved system type")
    if kind & 8:
        words = "code, readable" if kind & 2 else "code, execute only"
        return words + (", conforming" if kind & 4 else "")
    words = "data, writable" if kind & 2 else "data, read only"
    return words + (", expands down" if kind & 4 else "")


def stack(sregs: Sregs, rsp: int) -> Stack:
    """Where a handler's pushes go: in IA-32e mode to RSP, else to SS:ESP or SS:SP."""
    return Stack(0, rsp, MASK64) if sregs.efer & EFER.LMA else stack_of(sregs.ss, rsp)


def frame(address: int, raw: bytes, width: int, has_code: bool) -> Evidence:
    """An exception's frame on the stack, lowest address first (SDM vol. 3, 6.12.1, 6.14.2)."""
    names = (["error code"] if has_code else []) + ["IP", "CS", "FLAGS", "SP", "SS"]
    names += ["ES", "DS", "FS", "GS"]
    words = [int.from_bytes(raw[n : n + width], "little") for n in range(0, len(raw), width)]
    meaning = ", ".join(f"{name} {word:#x}" for name, word in zip(names, words, strict=False))
    return Evidence("frame", address, raw, meaning)
