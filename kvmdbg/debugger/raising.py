"""Why an instruction raises what it raises: its operands, and the selector that it loads.

Pure: an instruction, a vector and a scene in, evidence out. Only what can be seen is said; an
instruction has more rules than these (SDM vol. 2). Must not know: gates, how a fault goes on.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..x86.decode import Instruction, is_software_interrupt, operand_names
from ..x86.paging import is_canonical
from ..x86.registers import CR0, MASK64, Segment
from ..x86.vectors import Vector
from . import evidence
from .evidence import Evidence, Scene
from .names import SEGMENTS

_DATA = ("ds", "es", "fs", "gs")
_FAR_RETURNS = ("retf", "retfq", "lret", "iret", "iretd", "iretq")
_FAR = {"ljmp": "cs", "lcall": "cs", "ltr": "tr", "lldt": "ldtr"}
_PRIVILEGED = frozenset(
    {
        *("hlt", "lgdt", "lidt", "lldt", "ltr", "lmsw", "clts", "invd", "wbinvd", "invlpg"),
        *("rdmsr", "wrmsr", "sysexit", "sysret", "sysretq"),
    }
)
_POINTER = re.compile(r"(?:(\w+):)?\[(.+)\]$")
_TERM = re.compile(r"([+-]?)\s*(\w+)(?:\*(\d))?\s*")
_SELECTOR_VECTORS = (Vector.TS, Vector.NP, Vector.SS, Vector.GP)


class Loaded(NamedTuple):
    """A selector on its way into a segment register, and where it came from."""

    register: str
    selector: int
    source: Evidence


def why(scene: Scene, ins: Instruction, vector: int, code: int | None) -> list[Evidence]:
    """What speaks for this exception at this instruction."""
    if vector == Vector.UD:
        return [_undefined(scene, ins)]
    if vector == Vector.DE:
        return _division(scene, ins)
    if vector == Vector.NM:
        return [_no_device(scene)]
    if vector in _SELECTOR_VECTORS:
        return _protection(scene, ins, code or 0)
    return []


def _undefined(scene: Scene, ins: Instruction) -> Evidence:
    words = f"mode: {scene.sregs.mode.value}"
    if ins.mnemonic == "ud2":
        return Evidence("opcode", None, b"", words, "UD2 is there to raise #UD")
    known = not ins.mnemonic.startswith(".")
    wrong = "not allowed in this state" if known else "no instruction begins with these bytes"
    return Evidence("opcode", None, b"", words, wrong)


def _division(scene: Scene, ins: Instruction) -> list[Evidence]:
    operands = operand_names(ins)
    divisor = _register(scene, operands[0]) if operands else None
    if divisor is None:
        return []
    wrong = "division by zero" if not divisor else "the quotient does not fit"
    return [Evidence(operands[0], None, b"", f"the divisor is {divisor:#x}", wrong)]


def _no_device(scene: Scene) -> Evidence:
    cr0 = scene.sregs.cr0
    em, ts = int(bool(cr0 & CR0.EM)), int(bool(cr0 & CR0.TS))
    bit = "EM (bit 2)" if em else "TS (bit 3)" if ts else ""
    wrong = f"{bit} is 1" if bit else ""
    return Evidence("CR0", None, b"", f"{cr0:#x}: EM={em}, TS={ts}", wrong)


def _protection(scene: Scene, ins: Instruction, code: int) -> list[Evidence]:
    """#GP, #SS, #NP and #TS, by a selector, by an address, by privilege."""
    loaded = None if scene.real else loads(scene, ins)
    if loaded is not None and not code & 2 and _is_about(code, loaded.selector):
        return [loaded.source, _descriptor(scene, loaded)]
    if code & 2:
        return [evidence.gate(scene, code >> 3, _refused_gate(scene, ins, code >> 3))]
    if code & 0xFFFC:
        return [evidence.read_descriptor(scene, code & 0xFFFC)[1]]
    if ins.opcode in _PRIVILEGED and scene.sregs.cpl:
        words = f"{ins.opcode.upper()} needs CPL 0"
        return [Evidence("CPL", None, b"", str(scene.sregs.cpl), words)]
    return _addresses(scene, ins)


def _refused_gate(scene: Scene, ins: Instruction, vector: int) -> str:
    """Why INT n cannot go through its gate (SDM vol. 3, 6.12.1.2)."""
    gate, cpl = evidence.read_gate(scene, vector), scene.sregs.cpl
    if gate is None or not is_software_interrupt(ins):
        return ""
    if gate.dpl < cpl:
        return f"DPL {gate.dpl} is less than CPL {cpl}"
    return "" if gate.present else "P (bit 47) is 0: not present"


def _is_about(code: int, selector: int) -> bool:
    """The error code names this selector, or (a null one) nothing."""
    return code & 0xFFFC in (selector & 0xFFFC, 0)


# Selectors


def loads(scene: Scene, ins: Instruction) -> Loaded | None:
    """Which selector the instruction puts into which segment register, if one can tell."""
    opcode, operands = ins.opcode, operand_names(ins)
    if opcode in _FAR_RETURNS:
        return _from_stack(scene, ins, "cs", _return_width(scene, ins), 1)
    if opcode == "pop" and operands[0] in SEGMENTS:
        return _from_stack(scene, ins, operands[0], scene.sregs.mode.bits // 8, 0)
    if opcode in ("ljmp", "lcall") and ":" in ins.operands and "[" not in ins.operands:
        return _immediate(ins)
    if opcode in ("ltr", "lldt") and operands:
        return _from_register(scene, _FAR[opcode], operands[0])
    if opcode == "mov" and len(operands) == 2 and operands[0] in SEGMENTS:
        return _from_register(scene, operands[0], operands[1])
    return None


def _return_width(scene: Scene, ins: Instruction) -> int:
    """Bytes per item that RETF or IRET pops."""
    if ins.mnemonic.endswith("q"):
        return 8
    wide = scene.sregs.mode.bits != 16
    return 4 if wide != (0x66 in ins.raw[:-1]) else 2


def _from_stack(
    scene: Scene, ins: Instruction, register: str, width: int, item: int
) -> Loaded | None:
    base = 0 if scene.sregs.mode.bits == 64 else scene.sregs.ss.base
    address = base + scene.regs.rsp + item * width & MASK64
    raw, _ = scene.load(address, width)
    if not raw:
        return None
    selector = int.from_bytes(raw[:2], "little")
    words = f"{ins.mnemonic} takes {register.upper()} from the stack: selector "
    source = Evidence("stack", address, raw, words + evidence.selector_words(selector))
    return Loaded(register, selector, source)


def _immediate(ins: Instruction) -> Loaded | None:
    try:
        selector = int(ins.operands.split(":")[0], 0)
    except ValueError:
        return None
    words = f"CS in the instruction: selector {evidence.selector_words(selector)}"
    return Loaded("cs", selector, Evidence("operand", None, b"", words))


def _from_register(scene: Scene, register: str, operand: str) -> Loaded | None:
    value, address, raw = _register(scene, operand), None, b""
    if value is None:
        address = effective_address(scene, operand)
        raw = b"" if address is None else scene.load(address, 2)[0]
        value = int.from_bytes(raw, "little") if raw else None
    if value is None:
        return None
    selector = value & 0xFFFF
    words = f"for {register.upper()}: selector {evidence.selector_words(selector)}"
    return Loaded(register, selector, Evidence(operand, address, raw, words))


def _descriptor(scene: Scene, loaded: Loaded) -> Evidence:
    """The descriptor that a selector names, and why it cannot be loaded."""
    segment, found = evidence.read_descriptor(scene, loaded.selector)
    if not loaded.selector & 0xFFFC:
        return found._replace(wrong=f"a null selector cannot be in {loaded.register.upper()}")
    if segment is None:
        return found
    return found._replace(wrong=_unfit(loaded, segment, scene.sregs.cpl))


def _unfit(loaded: Loaded, segment: Segment, cpl: int) -> str:
    """Why this descriptor does not go into this register (SDM vol. 3, 5.5-5.8, vol. 2, MOV)."""
    register, rpl = loaded.register, loaded.selector & 3
    problem = _wrong_kind(register, segment) or _wrong_privilege(register, segment, rpl, cpl)
    return problem or ("" if segment.present else "P (bit 47) is 0: not present")


def _wrong_kind(register: str, segment: Segment) -> str:
    code, kind = bool(segment.type & 8), segment.type
    if register in ("tr", "ldtr"):
        fits = not segment.s and kind in ((1, 9) if register == "tr" else (2,))
        return "" if fits else f"type {kind:#x}, S={segment.s} cannot be in {register.upper()}"
    if not segment.s:
        return f"S (bit 44) is 0: a system descriptor cannot be in {register.upper()}"
    if register == "cs":
        return "" if code else "not a code segment"
    if register == "ss":
        return "" if not code and kind & 2 else "SS takes writable data only"
    return "an execute-only code segment cannot be read" if code and not kind & 2 else ""


def _wrong_privilege(register: str, segment: Segment, rpl: int, cpl: int) -> str:
    dpl = segment.dpl
    if register == "ss" and not rpl == dpl == cpl:
        return f"RPL {rpl} and DPL {dpl} must both be CPL {cpl}"
    conforming = segment.type & 0xC == 0xC
    if register in _DATA and not conforming and dpl < max(rpl, cpl):
        return f"DPL {dpl} is less than {'RPL' if rpl > cpl else 'CPL'} {max(rpl, cpl)}"
    return ""


# Operands


def _register(scene: Scene, name: str) -> int | None:
    """A general register by any of its names, as wide as the name says; None for anything else."""
    regs = scene.regs._asdict()
    name = name.strip()
    if name in regs:
        return int(regs[name])
    for full, value in regs.items():
        short = full[1:]
        numbered = short.isdigit()
        widths = {f"{full}d": 32, f"{full}w": 16, f"{full}b": 8} if numbered else {}
        widths |= {} if numbered else {f"e{short}": 32, short: 16, f"{short}l": 8}
        if not numbered and short.endswith("x"):
            widths[f"{short[0]}l"] = 8
            if name == f"{short[0]}h":
                return int(value) >> 8 & 0xFF
        if name in widths:
            return int(value) & (1 << widths[name]) - 1
    return None


def _offset(scene: Scene, inside: str) -> int | None:
    """The sum in a memory operand's brackets."""
    total, position = 0, 0
    while position < len(inside):
        match = _TERM.match(inside, position)
        if match is None:
            return None
        sign, name, scale = match.groups()
        value = int(name, 0) if name[0].isdigit() else _register(scene, name)
        if value is None:
            return None
        total += (-1 if sign == "-" else 1) * value * int(scale or 1)
        position = match.end()
    return total


def _pointer(scene: Scene, operand: str) -> tuple[str, int] | None:
    """Segment register and offset of a memory operand; None if it is none, or RIP-relative."""
    match = _POINTER.search(operand)
    if match is None or "rip" in match[2]:
        return None
    offset = _offset(scene, match[2].replace(" ", ""))
    if offset is None:
        return None
    stack = re.search(r"\b[er]?[sb]p\b", match[2])
    bits = scene.sregs.mode.bits
    return match[1] or ("ss" if stack else "ds"), offset & (1 << bits) - 1


def effective_address(scene: Scene, operand: str) -> int | None:
    """The linear address of a memory operand; None if it cannot be told."""
    found = _pointer(scene, operand)
    if found is None:
        return None
    register, offset = found
    flat = scene.sregs.mode.bits == 64 and register not in ("fs", "gs")
    base = 0 if flat else int(getattr(scene.sregs, register).base)
    return base + offset & MASK64


def _addresses(scene: Scene, ins: Instruction) -> list[Evidence]:
    """The memory operand that is not canonical, or beyond its segment's limit."""
    for operand in operand_names(ins):
        address, pointer = effective_address(scene, operand), _pointer(scene, operand)
        if address is None or pointer is None:
            continue
        if scene.sregs.mode.bits == 64:
            wrong = "" if is_canonical(address) else "not canonical: bits 63:47 are not all equal"
            return [Evidence("address", address, b"", operand, wrong)]
        return [_in_segment(scene, operand, *pointer)]
    return []


def _in_segment(scene: Scene, operand: str, register: str, offset: int) -> Evidence:
    segment: Segment = getattr(scene.sregs, register)
    name, words = register.upper(), evidence.segment_fields(segment)
    if segment.unusable:
        wrong = f"{name} holds no segment"
    elif offset > segment.limit and segment.type & 0xC != 4:
        wrong = f"offset {offset:#x} is beyond the limit {segment.limit:#x}"
    else:
        wrong = ""
    return Evidence(name, None, b"", f"for {operand}: {words}", wrong)
