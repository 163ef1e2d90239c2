"""The selector that an instruction loads, the descriptor behind it, and why the two do not fit.

SDM vol. 3, 5.5-5.8, 7.2; vol. 2 (MOV, POP, Jcc far, CALL, RET, IRET, LTR, LLDT). Must not know:
memory operands' protection, gates of the IDT.
"""

from __future__ import annotations

from typing import NamedTuple

from ...x86.decode import operand_names
from ...x86.paging import is_canonical
from ...x86.registers import MASK32, MASK64, RFLAGS, Segment
from .. import evidence
from ..evidence import Evidence, Scene
from . import fit, operands
from .case import Case, finding
from .operands import SEGMENTS

_RETURNS = ("retf", "retfq", "lret", "iret", "iretd", "iretq")
_FAR_POINTERS = ("lds", "les", "lfs", "lgs", "lss")
_TABLES = {"ltr": "tr", "lldt": "ldtr"}
_INDIRECT, _FAR_CALL, _FAR_JUMP = 0xFF, 3, 5


class Loaded(NamedTuple):
    """A selector on its way into a segment register, where it came from, and by what."""

    register: str
    selector: int
    source: Evidence
    by: fit.By = fit.By.LOAD


def examine(case: Case) -> list[Evidence]:
    """The selector that the error code is about, with its descriptor; empty if there is none."""
    if case.scene.real or case.v86:
        return []
    task = _nested_task(case)
    if task:
        return task
    found: list[Evidence] = []
    for loaded in loads(case):
        descriptor = _descriptor(case, loaded, _code_target(case))
        if loaded.selector & 0xFFFC == case.code & 0xFFFC:
            found += [loaded.source, descriptor]
        if descriptor.wrong:
            return found
    return found + _return_address(case)


def loads(case: Case) -> list[Loaded]:
    """Which selectors the instruction puts into which segment registers, in its order."""
    opcode, names = case.ins.opcode, operand_names(case.ins)
    if opcode in _RETURNS:
        return _returned(case)
    if opcode == "pop" and names and names[0] in SEGMENTS:
        width = 8 if case.bits == 64 else case.operand_bytes
        return _present(_from_stack(case, names[0], 0, width))
    if opcode in ("ljmp", "lcall") and ":" in case.ins.operands and "[" not in case.ins.operands:
        return _immediate(case, names[0].split(":")[0])
    if opcode in ("ljmp", "lcall") and len(names) == 2:
        return _immediate(case, names[0])
    if opcode in _TABLES and names:
        return _present(_from_operand(case, _TABLES[opcode], names[0]))
    if opcode == "mov" and len(names) == 2 and names[0] in SEGMENTS:
        return _present(_from_operand(case, names[0], names[1]))
    return _far_pointer(case, names)


def _present(loaded: Loaded | None) -> list[Loaded]:
    return [] if loaded is None else [loaded]


def _far_pointer(case: Case, names: tuple[str, ...]) -> list[Loaded]:
    """LDS and its like, CALL and JMP through a far pointer in memory."""
    opcode, field = case.opcode, case.opcode.after >> 3 & 7
    if case.ins.opcode in _FAR_POINTERS and len(names) == 2:
        return _present(_from_memory(case, case.ins.opcode[1:], names[1], fit.By.LOAD))
    if opcode.code != _INDIRECT or field not in (_FAR_CALL, _FAR_JUMP) or not names:
        return []
    return _present(_from_memory(case, "cs", names[0], fit.By.JUMP))


def _source(
    case: Case, register: str, what: str, selector: int, at: int | None, raw: bytes
) -> Evidence:
    words = f"{case.ins.mnemonic} takes {register.upper()} from here: selector "
    return Evidence(what, at, raw, words + evidence.selector_words(selector))


def _from_memory(case: Case, register: str, operand: str, by: fit.By) -> Loaded | None:
    """The selector stands behind the offset."""
    place = operands.pointer(case, operand)
    if place is None:
        return None
    address = operands.linear(case, place) + case.operand_bytes & MASK64
    raw, _ = case.scene.load(address, 2)
    selector = int.from_bytes(raw, "little")
    source = _source(case, register, operand, selector, address, raw)
    return Loaded(register, selector, source, by) if raw else None


def _from_stack(
    case: Case, register: str, offset: int, width: int, by: fit.By = fit.By.LOAD
) -> Loaded | None:
    address = _stack_place(case, offset)
    raw, _ = case.scene.load(address, width)
    selector = int.from_bytes(raw[:2], "little")
    source = _source(case, register, "stack", selector, address, raw)
    return Loaded(register, selector, source, by) if raw else None


def _stack_place(case: Case, offset: int) -> int:
    rsp = case.regs.rsp + offset
    if case.bits == 64:
        return rsp & MASK64
    ss = case.sregs.ss
    return ss.base + (rsp & (MASK32 if ss.db else 0xFFFF)) & MASK32


def _immediate(case: Case, text: str) -> list[Loaded]:
    found = operands.value(case, text.strip())
    if found is None:
        return []
    selector, size = found.number & 0xFFFF, case.ins.size
    at = case.ins.address + size - 2
    source = _source(case, "cs", "operand", selector, at, case.ins.raw[-2:])
    return [Loaded("cs", selector, source, fit.By.JUMP)]


def _from_operand(case: Case, register: str, operand: str) -> Loaded | None:
    found = operands.value(case, operand, 2)
    if found is None:
        return None
    selector = found.number & 0xFFFF
    words = f"for {register.upper()}: selector {evidence.selector_words(selector)}"
    return Loaded(register, selector, Evidence(operand, found.address, found.raw, words))


# Returns


def _returned(case: Case) -> list[Loaded]:
    """CS, and SS where the return goes outward (IRETQ: always)."""
    width = case.operand_bytes
    code = _from_stack(case, "cs", width, width, fit.By.RETURN)
    if code is None:
        return []
    is_iret = case.ins.opcode.startswith("iret")
    outward = code.selector & 3 > case.cpl
    if not outward and not (is_iret and case.bits == 64):
        return [code]
    items = 4 if is_iret else 3
    stack = _from_stack(case, "ss", items * width + _released(case), width, fit.By.RETURN)
    return [code] if stack is None else [code, stack]


def _released(case: Case) -> int:
    """Bytes that RETF n drops between CS and the outer stack pointer."""
    names = operand_names(case.ins)
    found = operands.value(case, names[0]) if names else None
    return 0 if found is None else found.number


def _code_target(case: Case) -> int | None:
    """RPL of the CS that a return goes to: SS must fit it."""
    if case.ins.opcode not in _RETURNS:
        return None
    raw, _ = case.scene.load(_stack_place(case, case.operand_bytes), 2)
    return raw[0] & 3 if raw else None


def _return_address(case: Case) -> list[Evidence]:
    """The popped IP, when CS (and SS) are in order."""
    width = case.operand_bytes
    if case.ins.opcode not in _RETURNS or case.code & 0xFFFC:
        return []
    place = _stack_place(case, 0)
    raw, _ = case.scene.load(place, width)
    selector = _from_stack(case, "cs", width, width)
    segment = None if selector is None else _segment(case.scene, selector.selector)
    if not raw or segment is None:
        return []
    ip, wrong = int.from_bytes(raw, "little"), ""
    if case.scene.long and segment.l:
        wrong = "" if is_canonical(ip) else "the return address is not canonical"
    elif ip > segment.limit:
        wrong = f"the return address is beyond the limit {segment.limit:#x} of the new CS"
    mend = "find out who overwrote the stack" if wrong else ""
    return [Evidence("stack", place, raw, f"the return address {ip:#x}", wrong, mend=mend)]


def _segment(scene: Scene, selector: int) -> Segment | None:
    return evidence.read_descriptor(scene, selector)[0]


def _nested_task(case: Case) -> list[Evidence]:
    """IRET with NT=1 returns to another task, which long mode does not have (SDM vol. 3, 7.4)."""
    flags, scene = case.regs.rflags, case.scene
    if not case.ins.opcode.startswith("iret") or not flags & RFLAGS.NT:
        return []
    if scene.long:
        wrong = "NT (bit 14) is 1: IRET cannot return to a task in long mode"
        return [finding("RFLAGS", f"{flags:#x}", wrong, "clear NT before IRET")]
    tr = scene.sregs.tr
    words = f"{flags:#x}: NT (bit 14) is 1, so IRET returns to the task that the TSS links to"
    raw, _ = scene.load(tr.base, 2)
    selector = int.from_bytes(raw, "little")
    link = Evidence("TSS back link", tr.base, raw, evidence.selector_words(selector))
    segment, found = evidence.read_descriptor(scene, selector)
    fits = segment is not None and not segment.s and segment.type in (3, 11) and not selector & 4
    wrong = "" if fits else found.wrong or "not the descriptor of a busy TSS (type 3 or 11)"
    mend = "" if fits else "clear NT (RFLAGS bit 14) before IRET"
    return [finding("RFLAGS", words), link, found._replace(wrong=wrong, mend=mend)]


def _descriptor(case: Case, loaded: Loaded, target: int | None) -> Evidence:
    """The descriptor that a selector names, and why it cannot be loaded."""
    segment, found = evidence.read_descriptor(case.scene, loaded.selector)
    level = fit.Level(case.cpl, loaded.selector & 3, target, case.scene.long)
    if not loaded.selector & 0xFFFC:
        return found._replace(**_null(loaded, level, case.bits)._asdict())
    if loaded.register in ("tr", "ldtr") and loaded.selector & 4:
        verdict = fit.Verdict("TI (bit 2 of the selector) is 1: it must be in the GDT", "use TI=0")
        return found._replace(**verdict._asdict())
    if segment is None:
        return found._replace(mend="use a smaller selector, or raise the table's limit")
    return found._replace(**fit.unfit(loaded.register, loaded.by, segment, level)._asdict())


def _null(loaded: Loaded, level: fit.Level, bits: int) -> fit.Verdict:
    """Null is welcome in DS, ES, FS, GS and LDTR; in SS only in 64-bit code below CPL 3."""
    register, rpl = loaded.register, level.rpl
    if register in ("ds", "es", "fs", "gs", "ldtr"):
        return fit.FITS
    wanted = level.cpl if level.target is None else level.target
    long = bits == 64 if level.target is None else level.long
    if register == "ss" and long and rpl == wanted and wanted < 3:
        return fit.FITS
    words = f"a null selector cannot be in {register.upper()}"
    return fit.Verdict(words, f"load {register.upper()} with a selector of its own")
