"""Where the instruction itself comes from: a RIP that cannot be fetched from, too many bytes.

SDM vol. 3, 6.15 (#GP); vol. 2, 2.3.11. Must not know: what the instruction does.
"""

from __future__ import annotations

from ...x86.decode import LONGEST, decode_one, operand_names
from ...x86.paging import is_canonical
from ...x86.registers import CpuMode, linear_pc
from .. import evidence
from ..evidence import Evidence, Scene
from . import operands
from .case import Case, finding
from .operands import Value


def examine_place(scene: Scene) -> list[Evidence]:
    """RIP against the canonical form or the CS limit; empty if nothing is wrong with it."""
    rip, cs = scene.regs.rip, scene.sregs.cs
    if scene.sregs.mode is CpuMode.LONG:
        if is_canonical(rip):
            return []
        wrong = "not canonical: bits 63:47 are not all equal"
        return [finding("RIP", f"{rip:#x}", wrong, "find the jump, call or return that led here")]
    if rip <= cs.limit:
        return []
    wrong = f"IP {rip:#x} is beyond the limit {cs.limit:#x} of CS"
    return [finding("CS", evidence.segment_fields(cs), wrong, "jump within CS, or raise its limit")]


def examine_target(case: Case) -> list[Evidence]:
    """Where a near JMP, CALL or RET goes, if a register or memory says so."""
    found = _target(case)
    if found is None:
        return []
    name, value = found
    wrong, mend = "", "find out who wrote this address"
    if case.bits == 64:
        wrong = "" if is_canonical(value.number) else "the target is not canonical"
    elif value.number > case.sregs.cs.limit:
        wrong = f"the target is beyond the limit {case.sregs.cs.limit:#x} of CS"
    words = f"{value.number:#x}, the target"
    return [Evidence(name, value.address, value.raw, words, wrong, mend=mend if wrong else "")]


def _target(case: Case) -> tuple[str, Value] | None:
    opcode, names = case.ins.opcode, operand_names(case.ins)
    if opcode == "ret":
        name = "[rsp]" if case.bits == 64 else "[esp]" if case.sregs.ss.db else "[sp]"
        size = 8 if case.bits == 64 else case.operand_bytes
    elif opcode in ("jmp", "call") and len(names) == 1 and not names[0].startswith("ptr ["):
        name, size = names[0], operands.width(names[0])
    else:
        return None
    value = operands.value(case, name, size or None)
    return None if value is None else (name, value)


def examine_length(case: Case) -> list[Evidence]:
    """More than 15 bytes, or bytes behind the CS limit."""
    prefixes = case.opcode.prefixes
    total = _total(case)
    if total > LONGEST:
        at, raw = case.ins.address, case.raw
        wrong = f"longer than {LONGEST} bytes, with {len(prefixes)} prefixes"
        return [Evidence("bytes", at, raw, "the instruction", wrong, mend="drop prefixes")]
    return _across_limit(case)


def _total(case: Case) -> int:
    """The instruction's length if it had no limit; repeated prefixes are decoded once."""
    prefixes = case.opcode.prefixes
    if len(prefixes) >= LONGEST:
        return LONGEST + 1
    once = bytes(dict.fromkeys(prefixes))
    start = linear_pc(case.regs.rip, case.sregs) + len(prefixes)
    rest, _ = case.scene.load(start, LONGEST)
    found = decode_one(once + rest, 0, case.bits) if rest else None
    if found is None or found.mnemonic.startswith("."):
        return 0
    return len(prefixes) - len(once) + found.size


def _across_limit(case: Case) -> list[Evidence]:
    end, cs = case.regs.rip + case.ins.size - 1, case.sregs.cs
    if case.bits == 64 or end <= cs.limit:
        return []
    wrong = f"the instruction ends at {end:#x}, beyond the limit {cs.limit:#x} of CS"
    return [finding("CS", evidence.segment_fields(cs), wrong, "raise the limit, or move the code")]
