"""#UD: which byte is no instruction here, or which bit forbids it.

SDM vol. 2, 2.1.1 (LOCK), the opcode maps and the "i64" and "f64" notes of appendix A; vol. 3, 2.5
(CR4). Must not know: operands' values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...x86.opcode import SYSCALL, SYSRET
from ...x86.registers import CR0, CR4, EFER
from ..evidence import Evidence
from .case import Case, finding

_NOT_IN_64_BIT = frozenset(
    b"\x06\x07\x0e\x16\x17\x1e\x1f\x27\x2f\x37\x3f\x60\x61\x82\x9a\xce\xd4\xd5\xd6\xea"
)
_RAISES_UD = (0x0F0B, 0x0FB9, 0x0FFF)
"""UD2, UD1, UD0."""
_PROTECTED_ONLY = frozenset({"lldt", "ltr", "sldt", "str", "lar", "lsl", "verr", "verw", "arpl"})
_CR4_BIT = {
    **dict.fromkeys(("rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase"), (CR4.FSGSBASE, 16)),
    **dict.fromkeys(("xgetbv", "xsetbv", "xsave", "xrstor", "xsaveopt"), (CR4.OSXSAVE, 18)),
}
_VMX = frozenset(
    {
        *("vmcall", "vmlaunch", "vmresume", "vmxoff", "vmread", "vmwrite", "vmptrld", "vmptrst"),
        *("vmclear", "vmxon", "vmfunc", "invept", "invvpid"),
    }
)
_VMXE = 1 << 13
_DR45 = ("dr4", "dr5")
_MOV_CR, _CONTROL_REGISTERS = (0x0F20, 0x0F22), (0, 2, 3, 4, 8)
_MEMORY_ONLY = (0x8D, 0x0FB2, 0x0FB4, 0x0FB5)
"""LEA, LSS, LFS, LGS."""
_SSE_WITHOUT_CR4 = ("prefetch", "sfence", "lfence", "mfence", "pause", "clflush", "movnti")


class Found(NamedTuple):
    """Offset and number of the bytes at fault; none for a bit elsewhere (``what`` names it)."""

    start: int
    length: int
    wrong: str
    mend: str
    what: str = "opcode"


def examine(case: Case) -> list[Evidence]:
    """The first rule that forbids this instruction; else what was looked at."""
    words = f"mode: {case.sregs.mode.value}"
    for rule in _RULES:
        found = rule(case)
        if found is not None:
            return [_evidence(case, found, words)]
    if case.ins.mnemonic.startswith("."):
        return [_unknown(case, words)]
    seen = f"{words}; prefixes, opcode and control bits allow it: the processor may lack it (CPUID)"
    return [finding("opcode", seen)]


def _evidence(case: Case, found: Found, words: str) -> Evidence:
    if not found.length:
        value: int = getattr(case.sregs, found.what.lower())
        return finding(found.what, f"{value:#x}", found.wrong, found.mend)
    raw = case.raw[found.start : found.start + found.length]
    at = case.ins.address + found.start
    return Evidence(found.what, at, raw, words, found.wrong, mend=found.mend)


def _unknown(case: Case, words: str) -> Evidence:
    opcode = case.opcode
    raw = case.raw[opcode.start : opcode.end]
    at, wrong = case.ins.address + opcode.start, "no instruction that is known has this opcode"
    mend = "see whether the guest runs data, or code of another mode"
    return Evidence("opcode", at, raw, words, wrong if raw else "", mend=mend)


def _on_purpose(case: Case) -> Found | None:
    opcode = case.opcode
    if opcode.code not in _RAISES_UD:
        return None
    name = case.ins.mnemonic.upper() if case.ins.mnemonic.startswith("ud") else "this opcode"
    return Found(opcode.start, 2, f"{name} is there to raise #UD", "take it out to go on")


def _not_in_mode(case: Case) -> Found | None:
    opcode = case.opcode
    if case.bits == 64 and opcode.code in _NOT_IN_64_BIT:
        wrong = f"the opcode {opcode.code:#04x} does not exist in 64-bit mode"
        return Found(opcode.start, 1, wrong, "use another instruction, or 32-bit code")
    if (case.scene.real or case.v86) and case.ins.opcode in _PROTECTED_ONLY:
        where = "real" if case.scene.real else "V86"
        wrong = f"{case.ins.opcode.upper()} does not exist in {where} mode"
        return Found(opcode.start, opcode.end - opcode.start, wrong, "enter protected mode first")
    return None


def _lock(case: Case) -> Found | None:
    opcode = case.opcode
    if 0xF0 not in opcode.prefixes or _lockable(opcode.code, opcode.after >> 3 & 7):
        memory = opcode.after >> 6 != 3
        if 0xF0 not in opcode.prefixes or memory:
            return None
        wrong = "a LOCK prefix, but the destination is a register"
    else:
        wrong = "a LOCK prefix in front of an instruction that does not take one"
    return Found(opcode.prefixes.index(0xF0), 1, wrong, "take the LOCK prefix (f0) away", "prefix")


def _lockable(code: int, field: int) -> bool:
    """What LOCK may stand in front of (SDM vol. 2, LOCK)."""
    if code < 0x34:  # ADD, OR, ADC, SBB, AND, SUB, XOR into r/m
        return code & 7 in (0, 1)
    groups = {0x80: range(7), 0x81: range(7), 0x83: range(7), 0xF6: (2, 3), 0xF7: (2, 3)}
    groups |= {0xFE: (0, 1), 0xFF: (0, 1), 0x0FBA: (5, 6, 7), 0x0FC7: (1,)}
    alone = (0x86, 0x87, 0x0FAB, 0x0FB3, 0x0FBB, 0x0FB0, 0x0FB1, 0x0FC0, 0x0FC1)
    return code in alone or (code in groups and field in groups[code])


def _operand_form(case: Case) -> Found | None:
    """MOV to CS or to no segment register; a register where only memory makes sense."""
    opcode, field = case.opcode, case.opcode.after >> 3 & 7
    if opcode.code == 0x8E and field in (1, 6, 7):
        register = "CS" if field == 1 else "no segment register"
        wrong = f"bits 5:3 of this byte are {field}: MOV to {register}"
        return Found(opcode.end, 1, wrong, "load CS by a far jump, call or return", "ModRM")
    far = opcode.code == 0xFF and field in (3, 5)
    if opcode.after >> 6 == 3 and (opcode.code in _MEMORY_ONLY or far):
        wrong = "bits 7:6 of this byte are 3: a register, where only memory makes sense"
        return Found(opcode.end, 1, wrong, "give a memory operand", "ModRM")
    number = field | (opcode.rex & 4) << 1
    if opcode.code in _MOV_CR and number not in _CONTROL_REGISTERS:
        return Found(opcode.end, 1, f"there is no CR{number}", "use CR0, 2, 3, 4 or 8", "ModRM")
    if opcode.code == 0xFF and field == 7:
        wrong = "bits 5:3 of this byte are 7: opcode ff has no such form"
        return Found(opcode.end, 1, wrong, "see whether the guest runs data", "ModRM")
    return None


def _system_call(case: Case) -> Found | None:
    if case.opcode.code not in (SYSCALL, SYSRET):
        return None
    if not case.sregs.efer & EFER.SCE:
        wrong = "SCE (bit 0) of EFER is 0"
        return Found(0, 0, wrong, "set EFER.SCE by WRMSR", "EFER")
    if case.opcode.code == SYSCALL and case.bits != 64:
        wrong = "SYSCALL exists in 64-bit mode only, as on Intel's processors"
        return Found(case.opcode.start, 2, wrong, "use INT n or SYSENTER")
    return None


def _control_bits(case: Case) -> Found | None:
    """Instructions that an operating system must have allowed in CR4."""
    opcode, cr4 = case.ins.opcode, case.sregs.cr4
    bit, number = _CR4_BIT.get(opcode.removesuffix("64"), (None, 0))
    if bit is not None and not cr4 & bit:
        return Found(0, 0, f"{bit.name} (bit {number}) is 0", f"set CR4.{bit.name}", "CR4")
    if opcode in _VMX and not cr4 & _VMXE:
        return Found(0, 0, "VMXE (bit 13) is 0: VMX is not on", "set CR4.VMXE and VMXON", "CR4")
    if opcode == "mov" and cr4 & CR4.DE and any(name in case.ins.operands for name in _DR45):
        wrong = "DE (bit 3) is 1: DR4 and DR5 are not DR6 and DR7 then"
        return Found(0, 0, wrong, "use DR6 and DR7, or clear CR4.DE", "CR4")
    return None


def _sse(case: Case) -> Found | None:
    """SSE and AVX registers (SDM vol. 1, 13.1.3 and 14.3)."""
    text, cr0, cr4 = case.ins.operands, case.sregs.cr0, case.sregs.cr4
    wide = any(name in text for name in ("xmm", "ymm", "zmm"))
    if not wide or case.ins.opcode.startswith(_SSE_WITHOUT_CR4):
        return None
    if case.ins.opcode.startswith("v"):
        wrong = "OSXSAVE (bit 18) is 0: AVX is not switched on"
        mend = "set CR4.OSXSAVE, then XCR0 bits 1 and 2 by XSETBV"
        return None if cr4 & CR4.OSXSAVE else Found(0, 0, wrong, mend, "CR4")
    if cr0 & CR0.EM:
        return Found(0, 0, "EM (bit 2) is 1: no SSE", "clear CR0.EM", "CR0")
    wrong, mend = "OSFXSR (bit 9) is 0: SSE is not switched on", "set CR4.OSFXSR"
    return None if cr4 & CR4.OSFXSR else Found(0, 0, wrong, mend, "CR4")


_RULES: tuple[Callable[[Case], Found | None], ...] = (
    _on_purpose,
    _not_in_mode,
    _lock,
    _operand_form,
    _system_call,
    _control_bits,
    _sse,
)
