"""Into the handler, mode by mode: real (IVT), protected (8-byte gates), long (16-byte gates, IST).

SDM vol. 3, 6.12, 6.14 and 20.1.4, and INT n's pseudocode in vol. 2, in its order of checks. On
purpose: task gates are refused with #GP (task switches come later), and a descriptor's accessed bit
is set in the segment register only, not in guest memory. Must not know: nesting of faults.
"""

from __future__ import annotations

from functools import lru_cache

from .attempt import Attempt, Entered, Event, EventKind, Part, Stack, has_room, stack_of
from .descriptors import TASK_GATE, Gate, segment_from_descriptor, unpack_gate
from .linear import LinearMemory
from .paging import is_canonical
from .registers import CR0, EFER, MASK32, MASK64, RFLAGS, DescriptorTable, Regs, Segment, Sregs
from .vectors import Vector

# Plain ints: IntFlag arithmetic is slow.
_PE, _LMA = int(CR0.PE), int(EFER.LMA)
_VM, _IF = int(RFLAGS.VM), int(RFLAGS.IF)
_KEEP = ~int(RFLAGS.TF | RFLAGS.NT | RFLAGS.RF | RFLAGS.VM)
_KEEP_REAL = ~int(RFLAGS.TF | RFLAGS.IF | RFLAGS.RF | RFLAGS.AC)
_TS, _NP, _SS, _GP = int(Vector.TS), int(Vector.NP), int(Vector.SS), int(Vector.GP)
_DPL_CHECKED = (EventKind.SOFTWARE, EventKind.SOFTWARE_EXCEPTION)
_ABSENT = "the segment is not present"
_NULL = Segment(unusable=1)


def enter(event: Event, regs: Regs, sregs: Sregs, memory: LinearMemory) -> Entered:
    """Enter the handler of ``event``, or raise Refused."""
    if not sregs.cr0 & _PE:
        return _RealAttempt(event, regs, sregs, memory).enter()
    if sregs.efer & _LMA:
        return _LongAttempt(event, regs, sregs, memory).enter()
    return _ProtectedAttempt(event, regs, sregs, memory).enter()


class _RealAttempt(Attempt):
    """Through the IVT: FLAGS, CS and IP in words, no checks of privilege, no error code."""

    __slots__ = ()

    def enter(self) -> Entered:
        regs, sregs = self.regs, self.sregs
        selector, ip = self.vector()
        stack = stack_of(sregs.ss, regs.rsp)
        self.part = Part.STACK
        if not has_room(sregs.ss, stack, 3, 2):
            self.refuse(_SS, None, f"no room for three words below SP={stack.offset:#x}")
        if ip > sregs.cs.limit:
            self.part = Part.ENTRY
            self.refuse(_GP, None, f"IP {ip:#x} is beyond the CS limit {sregs.cs.limit:#x}")
        words = [item & 0xFFFF for item in (self.saved_flags(), sregs.cs.selector, regs.rip)]
        offset = self.push(words, 2, stack, user=False)
        cs = sregs.cs._replace(selector=selector, base=selector << 4)
        rsp = regs.rsp & ~stack.mask | offset
        regs = regs._replace(rip=ip, rsp=rsp, rflags=regs.rflags & _KEEP_REAL)
        return Entered(regs, sregs._replace(cs=cs), self.writes, self.where)

    def vector(self) -> tuple[int, int]:
        """CS and IP from the IVT, which IDTR places (SDM vol. 3, 20.1.4)."""
        number, idt = self.event.vector, self.sregs.idt
        self.where = f"IVT[{number}] at {idt.base + number * 4:#x}"
        if number * 4 + 3 > idt.limit:
            self.refuse(_GP, None, f"the IVT's limit is {idt.limit:#x}")
        raw = self.load(idt.base + number * 4, 4, "the vector")
        ip, selector = int.from_bytes(raw[:2], "little"), int.from_bytes(raw[2:], "little")
        self.where += f": {raw.hex(' ')} -> {selector:04X}:{ip:04X}"
        return selector, ip


class _GateAttempt(Attempt):
    """What protected and long mode share: the gate, the code segment, the TSS."""

    __slots__ = ()

    def gate(self, size: int, types: tuple[int, ...]) -> Gate:
        """The IDT's gate, checked (INT n: "PROTECTED-MODE", up to the gate's P bit)."""
        number, idt = self.event.vector, self.sregs.idt
        code = number * 8 + 2 + self.ext
        address = idt.base + number * size & self.memory.mask
        self.where = f"IDT[{number}] at {address:#x}"
        if number * size + size - 1 > idt.limit:
            self.refuse(_GP, code, f"the IDT's limit is {idt.limit:#x}")
        raw = self.load(address, size, "the gate")
        self.where = _gate_text(number, address, raw)
        gate = unpack_gate(raw)
        if gate.type not in types:
            self.refuse(_GP, code, _not_a_gate(raw))
        if self.event.kind in _DPL_CHECKED and gate.dpl < self.cpl:
            self.refuse(_GP, code, f"the gate's DPL {gate.dpl} is less than CPL {self.cpl}")
        if not gate.present:
            self.refuse(_NP, code, "the gate is not present")
        return gate

    def code_segment(self, selector: int) -> Segment:
        """The handler's code segment, checked; RPL is replaced by the new CPL."""
        self.part = Part.CODE
        if not selector & 0xFFFC:
            self.refuse(_GP, self.ext, "the gate's code selector is null")
        segment = self.lookup(selector)
        problem = _code_problem(segment, self.cpl)
        if segment is None or problem:
            vector = _NP if problem == _ABSENT else _GP
            self.refuse(
                vector, selector & 0xFFFC | self.ext, f"code selector {selector:#06x}: {problem}"
            )
        cpl = self.cpl if segment.type & 4 else segment.dpl
        return _loaded(segment, selector & 0xFFFC | cpl)

    def lookup(self, selector: int) -> Segment | None:
        """Read a descriptor from GDT or LDT; None beyond the limit."""
        table = self._table(selector)
        offset = selector & 0xFFF8
        if offset + 7 > table.limit:
            return None
        raw = self.load(table.base + offset, 8, "the segment descriptor")
        return segment_from_descriptor(selector, int.from_bytes(raw, "little"))

    def _table(self, selector: int) -> DescriptorTable:
        if not selector & 4:
            return self.sregs.gdt
        ldt = self.sregs.ldt
        usable = ldt.present and not ldt.unusable
        return DescriptorTable(ldt.base, ldt.limit if usable else -1)

    def from_tss(self, slot: int, size: int, types: tuple[int, ...]) -> bytes:
        """Read a stack pointer out of the TSS; #TS if TR holds no TSS or it is too short."""
        tr = self.sregs.tr
        code = tr.selector & 0xFFFC | self.ext
        if tr.unusable or not tr.present or tr.s or tr.type not in types:
            self.refuse(_TS, code, f"TR ({tr.selector:#06x}) holds no usable TSS")
        if slot + size - 1 > tr.limit:
            self.refuse(_TS, code, f"the TSS's limit {tr.limit:#x} leaves out offset {slot:#x}")
        return self.load(tr.base + slot, size, "the TSS's stack pointer")

    def handler_flags(self, gate: Gate) -> int:
        """RFLAGS at the handler: IF survives a trap gate only."""
        flags = self.regs.rflags & _KEEP
        return flags if gate.is_trap else flags & ~_IF


@lru_cache(maxsize=1024)
def _gate_text(number: int, address: int, raw: bytes) -> str:
    gate = unpack_gate(raw)
    return f"IDT[{number}] at {address:#x}: {raw.hex(' ')} -> {gate.selector:04x}:{gate.offset:x}"


def _not_a_gate(raw: bytes) -> str:
    """Why these bytes are no gate to go through."""
    if not any(raw):
        return "the gate is empty (no handler installed)"
    kind, long = unpack_gate(raw).type, len(raw) == 16
    if kind == TASK_GATE and not long:
        return "a task gate: task switches come later"
    return f"type {kind:#x} is no {'64-bit ' if long else ''}interrupt or trap gate"


def _code_problem(segment: Segment | None, cpl: int) -> str:
    """Why a handler cannot run in this segment; empty if it can."""
    if segment is None:
        return "beyond its table's limit"
    if not (segment.s and segment.type & 8):
        return f"not a code segment (access {segment.access:#x})"
    if segment.dpl > cpl:
        return f"DPL {segment.dpl} is greater than CPL {cpl}"
    return "" if segment.present else _ABSENT


@lru_cache(maxsize=256)
def _loaded(segment: Segment, selector: int) -> Segment:
    """A descriptor in its segment register: accessed, with this selector."""
    return segment._replace(selector=selector, type=segment.type | 1)


class _ProtectedAttempt(_GateAttempt):
    """8-byte gates, 16- and 32-bit; inner stacks from a 16- or 32-bit TSS; also out of V86."""

    __slots__ = ("v86",)

    def enter(self) -> Entered:
        regs, sregs = self.regs, self.sregs
        self.v86 = bool(regs.rflags & _VM)
        if self.v86:
            self.cpl = 3
        gate = self.gate(8, (0x6, 0x7, 0xE, 0xF))
        cs = self.code_segment(gate.selector)
        inner = not cs.type & 4 and cs.dpl < self.cpl
        if self.v86 and (not inner or cs.dpl):
            code = gate.selector & 0xFFFC | self.ext
            self.refuse(_GP, code, "a V86 task's handler needs a non-conforming DPL 0 segment")
        ss, rsp = self.inner_stack(cs.dpl) if inner else (sregs.ss, regs.rsp)
        rsp = self.push_frame(gate, cs, ss, rsp, inner)
        sregs = sregs._replace(cs=cs, ss=ss)
        if self.v86:
            sregs = sregs._replace(ds=_NULL, es=_NULL, fs=_NULL, gs=_NULL)
        regs = regs._replace(rip=gate.offset, rsp=rsp, rflags=self.handler_flags(gate))
        return Entered(regs, sregs, self.writes, self.where)

    def inner_stack(self, dpl: int) -> tuple[Segment, int]:
        """SS:ESP of a more privileged level, from a 16- or 32-bit TSS (INT n: INTER-PRIVILEGE)."""
        self.part = Part.STACK
        if self.sregs.tr.type & 8:
            raw = self.from_tss(dpl * 8 + 4, 6, (9, 11))
        else:
            raw = self.from_tss(dpl * 4 + 2, 4, (1, 3))
        selector = int.from_bytes(raw[-2:], "little")
        code, name = selector & 0xFFFC | self.ext, f"the TSS's SS{dpl} {selector:#06x}"
        if not selector & 0xFFFC:
            self.refuse(_TS, self.ext, f"{name} is null")
        ss = self.lookup(selector)
        if ss is None:
            self.refuse(_TS, code, f"{name} is beyond its table's limit")
        if selector & 3 != dpl or ss.dpl != dpl:
            self.refuse(_TS, code, f"{name}: RPL {selector & 3} and DPL {ss.dpl} must be {dpl}")
        if not ss.s or ss.type & 0xA != 2:
            self.refuse(_TS, code, f"{name} is not writable data (access {ss.access:#x})")
        if not ss.present:
            self.refuse(_SS, code, f"{name}: {_ABSENT}")
        return _loaded(ss, selector), int.from_bytes(raw[:-2], "little")

    def push_frame(self, gate: Gate, cs: Segment, ss: Segment, rsp: int, inner: bool) -> int:
        """Check the room and the entry point, plan the pushes; the new ESP."""
        width = 2 if gate.is_16bit else 4
        mask = (1 << width * 8) - 1
        items = [item & mask for item in self.frame(inner)]
        stack = stack_of(ss, rsp)
        self.part = Part.STACK
        if not has_room(ss, stack, len(items), width):
            code = (ss.selector & 0xFFFC if inner else 0) | self.ext
            text = f"no room for {len(items) * width} bytes below {ss.selector:04x}:{rsp:x}"
            self.refuse(_SS, code, text)
        if gate.offset > cs.limit:
            self.part = Part.ENTRY
            self.refuse(_GP, self.ext, f"EIP {gate.offset:#x} is beyond the limit {cs.limit:#x}")
        offset = self.push(items, width, stack, user=cs.selector & 3 == 3)
        return rsp & MASK32 & ~stack.mask | offset

    def frame(self, inner: bool) -> list[int]:
        """The items in the order of their pushes."""
        regs, sregs = self.regs, self.sregs
        items = []
        if self.v86:
            items = [segment.selector for segment in (sregs.gs, sregs.fs, sregs.ds, sregs.es)]
        if inner:
            items += [sregs.ss.selector, regs.rsp]
        items += [self.saved_flags(), sregs.cs.selector, regs.rip]
        code = self.error_code()
        return items if code is None else [*items, code]


class _LongAttempt(_GateAttempt):
    """16-byte gates; SS:RSP is always pushed, on a stack aligned to 16 (SDM vol. 3, 6.14)."""

    __slots__ = ()

    def enter(self) -> Entered:
        regs, sregs = self.regs, self.sregs
        gate = self.gate(16, (0xE, 0xF))
        cs = self.code_segment(gate.selector)
        if not cs.l or cs.db:
            code = gate.selector & 0xFFFC | self.ext
            self.refuse(_GP, code, f"code selector {gate.selector:#06x} is not 64-bit (L=1, D=0)")
        cpl = cs.selector & 3
        rsp = self.stack_pointer(gate.ist, cpl)
        if not is_canonical(gate.offset):
            self.part = Part.ENTRY
            self.refuse(_GP, self.ext, f"the handler's address {gate.offset:#x} is not canonical")
        stack = Stack(0, rsp & ~0xF, MASK64)
        rsp = self.push(self.frame(), 8, stack, user=cpl == 3)
        if cpl != self.cpl:
            sregs = sregs._replace(cs=cs, ss=Segment(selector=cpl, dpl=cpl, unusable=1))
        elif cs != sregs.cs:
            sregs = sregs._replace(cs=cs)
        regs = regs._replace(rip=gate.offset, rsp=rsp, rflags=self.handler_flags(gate))
        return Entered(regs, sregs, self.writes, self.where)

    def stack_pointer(self, ist: int, cpl: int) -> int:
        """IST slot, else RSPn of the TSS when CPL changes, else RSP (SDM vol. 3, 6.14.4-5)."""
        self.part = Part.STACK
        if ist or cpl != self.cpl:
            slot = ist * 8 + 28 if ist else cpl * 8 + 4
            name = f"IST{ist}" if ist else f"RSP{cpl}"
            rsp = int.from_bytes(self.from_tss(slot, 8, (9, 11)), "little")
        else:
            name, rsp = "RSP", self.regs.rsp & MASK64
        if not is_canonical(rsp):
            self.refuse(_SS, self.ext, f"{name} {rsp:#x} is not canonical")
        return rsp

    def frame(self) -> list[int]:
        """The items in the order of their pushes."""
        regs, sregs = self.regs, self.sregs
        items = [sregs.ss.selector, regs.rsp, self.saved_flags(), sregs.cs.selector, regs.rip]
        code = self.error_code()
        if code is not None:
            items.append(code)
        return [item & MASK64 for item in items]
