"""MOV CR, MOV DR, RDMSR, WRMSR, XSETBV: values that a control register does not take.

SDM vol. 3, 2.5, 2.2.1, 4.3; vol. 2 (MOV CR, WRMSR, XSETBV). What depends on the processor's model
is only called wrong where every model agrees. Must not know: privilege, addresses.
"""

from __future__ import annotations

from collections.abc import Callable

from ...errors import AddressError
from ...x86.decode import operand_names
from ...x86.paging import PHYSICAL_BITS, is_canonical
from ...x86.registers import CR0, CR4, EFER, MASK32
from ..evidence import Evidence
from . import operands
from .case import Case, bit_names, finding

_EFER, _PAT = 0xC000_0080, 0x277
_ADDRESSES = {
    0x175: "IA32_SYSENTER_ESP",
    0x176: "IA32_SYSENTER_EIP",
    0xC000_0082: "IA32_LSTAR",
    0xC000_0083: "IA32_CSTAR",
    0xC000_0100: "IA32_FS_BASE",
    0xC000_0101: "IA32_GS_BASE",
    0xC000_0102: "IA32_KERNEL_GS_BASE",
}
"""MSRs that hold a linear address, which must be canonical."""
_MSR_RANGES = (
    (0, 0x1FFF, "Intel"),
    (0xC000_0000, 0xC000_1FFF, "AMD"),
    (0xC001_0000, 0xC001_1FFF, "AMD"),
    (0x4000_0000, 0x4000_10FF, "Hyper-V"),
    (0x4B56_4D00, 0x4B56_4DFF, "KVM"),
)
"""Where any MSR is defined by anybody (SDM vol. 4, Linux msr-index.h and kvm_para.h)."""
_CR4_NEVER = 1 << 15 | 1 << 26 | 0xFFFF_FFFF_E000_0000 & ~(1 << 32)
"""CR4 bits reserved on every processor; bit 32 (FRED) is a new one's."""
_EFER_KNOWN = 0x1 | 0x100 | 0x400 | 0x800 | 0xF000 | 0x360000
"""SCE, LME, LMA, NXE, and AMD's SVME, LMSLE, FFXSR, TCE, MCOMMIT, INTWB, UAIE, AIBRSE."""
_CR4_NAMES = {int(bit).bit_length() - 1: str(bit.name) for bit in CR4}
_PCIDE, _CET = 1 << 17, 1 << 23
_PDPTE_RESERVED = 0x1E6 | (1 << 64) - (1 << PHYSICAL_BITS)
_PAT_TYPES = (0, 1, 4, 5, 6, 7)


def examine(case: Case) -> list[Evidence]:
    """What is wrong with the value on its way into a control register, or the register itself."""
    opcode, names = case.ins.opcode, operand_names(case.ins)
    if opcode == "mov" and len(names) == 2 and names[0][:2] in ("cr", "dr"):
        return _move(case, names[0], names[1])
    if opcode in ("rdmsr", "wrmsr"):
        return _msr(case, writes=opcode == "wrmsr")
    return [_xsetbv(case)] if opcode == "xsetbv" else []


def _move(case: Case, register: str, source: str) -> list[Evidence]:
    value = operands.register(case.regs, source)
    rule = _RULES.get(register)
    if value is None or rule is None:
        return []
    wrong, mend = rule(case, value)
    return [finding(source, f"{value:#x}, on its way into {register.upper()}", wrong, mend)]


def _cr0(case: Case, value: int) -> tuple[str, str]:
    long, old = bool(case.sregs.efer & EFER.LMA), case.sregs.cr4
    high = value & ~MASK32
    if high:
        return f"{bit_names(high, {})} of CR0 must be 0", "clear the upper half"
    if value & CR0.PG and not value & CR0.PE:
        return "PG (bit 31) is 1 and PE (bit 0) is 0", "set PE together with PG"
    if value & CR0.NW and not value & CR0.CD:
        return "NW (bit 29) is 1 and CD (bit 30) is 0", "set CD as well, or clear NW"
    if not value & CR0.PG and long and case.bits == 64:
        return "PG (bit 31) is 0: paging cannot be left in 64-bit mode", "leave from 32-bit code"
    if value & CR0.PG and not long and case.sregs.efer & EFER.LME and not old & CR4.PAE:
        return "PG (bit 31) is 1 with EFER.LME=1, but CR4.PAE (bit 5) is 0", "set CR4.PAE first"
    if not value & CR0.WP and old & _CET:
        return "WP (bit 16) is 0 while CR4.CET (bit 23) is 1", "clear CR4.CET first"
    return "", ""


def _cr3(case: Case, value: int) -> tuple[str, str]:
    if not case.sregs.efer & EFER.LMA:
        return _pdptes(case, value)
    bad = value & ~((1 << PHYSICAL_BITS) - 1) & ~(1 << 63 if case.sregs.cr4 & _PCIDE else 0)
    wrong = f"{bit_names(bad, {})} must be 0: addresses have {PHYSICAL_BITS} bits" if bad else ""
    return wrong, "give the physical address of the PML4"


def _pdptes(case: Case, cr3: int) -> tuple[str, str]:
    """Under PAE paging MOV CR3 loads the four PDPTEs and checks them (SDM vol. 3, 4.4.1)."""
    if not (case.sregs.cr0 & CR0.PG and case.sregs.cr4 & CR4.PAE):
        return "", ""
    for number in range(4):
        at = (cr3 & 0xFFFFFFE0) + number * 8
        try:
            entry = int.from_bytes(case.scene.read(at, 8), "little")
        except AddressError:
            return "", ""
        bad = entry & _PDPTE_RESERVED
        if entry & 1 and bad:
            wrong = (
                f"PDPTE {number} at physical {at:#x} is {entry:#x}: {bit_names(bad, {})} must be 0"
            )
            return wrong, "clear the reserved bits of this entry"
    return "", ""


def _cr4(case: Case, value: int) -> tuple[str, str]:
    long, bad = case.sregs.efer & EFER.LMA, value & _CR4_NEVER
    if bad:
        return f"{bit_names(bad, _CR4_NAMES)} of CR4 is reserved and must be 0", "clear it"
    if long and not value & CR4.PAE:
        return "PAE (bit 5) is 0: long mode needs it", "leave long mode first, or set PAE"
    if value & _PCIDE and not case.sregs.cr4 & _PCIDE:
        if not long:
            return "PCIDE (bit 17) is 1 outside long mode", "enter long mode first"
        if case.sregs.cr3 & 0xFFF:
            low = case.sregs.cr3 & 0xFFF
            return f"PCIDE (bit 17) is set while CR3 bits 11:0 are {low:#x}", "clear them first"
    if value & _CET and not case.sregs.cr0 & CR0.WP:
        return "CET (bit 23) is 1 while CR0.WP (bit 16) is 0", "set CR0.WP first"
    return "", ""


def _cr8(_: Case, value: int) -> tuple[str, str]:
    bad = value & ~0xF
    return (f"{bit_names(bad, {})} of CR8 must be 0" if bad else ""), "CR8 holds 0 to 15"


def _dr(_: Case, value: int) -> tuple[str, str]:
    bad = value & ~MASK32
    return (f"{bit_names(bad, {})} must be 0" if bad else ""), "clear the upper half"


_RULES: dict[str, Callable[[Case, int], tuple[str, str]]] = {
    "cr0": _cr0,
    "cr3": _cr3,
    "cr4": _cr4,
    "cr8": _cr8,
    "dr6": _dr,
    "dr7": _dr,
}


# MSRs


def _msr(case: Case, writes: bool) -> list[Evidence]:
    number = case.regs.rcx & MASK32
    makers = [name for low, high, name in _MSR_RANGES if low <= number <= high]
    if not makers:
        wrong = f"there is no MSR {number:#x}: it is in no range that is in use"
        return [finding("ECX", f"{number:#x}", wrong, "put the number of an MSR into ECX")]
    words = f"{number:#x}, an MSR in {makers[0]}'s range; whether this model has it is not seen"
    found = [finding("ECX", words)]
    return [*found, *_written(case, number)] if writes else found


def _written(case: Case, number: int) -> list[Evidence]:
    value = (case.regs.rdx & MASK32) << 32 | case.regs.rax & MASK32
    wrong, mend = _bad_value(case, number, value)
    return [finding("EDX:EAX", f"{value:#x}, on its way into MSR {number:#x}", wrong, mend)]


def _bad_value(case: Case, number: int, value: int) -> tuple[str, str]:
    if number == _EFER:
        return _efer(case, value)
    name = _ADDRESSES.get(number)
    if name is not None and not is_canonical(value):
        return f"{name} must be canonical: bits 63:47 are not all equal", "sign-extend bit 47"
    if number == _PAT:
        return _pat(value)
    return "", ""


def _pat(value: int) -> tuple[str, str]:
    for field in range(8):
        kind = value >> field * 8 & 0xFF
        if kind not in _PAT_TYPES:
            text = f"PA{field} (bits {field * 8 + 7}:{field * 8}) is {kind:#x}, no memory type"
            return text, "memory types are 0, 1, 4, 5, 6 and 7"
    return "", ""


def _efer(case: Case, value: int) -> tuple[str, str]:
    bad = value & ~_EFER_KNOWN
    if bad:
        return f"{bit_names(bad, {})} of EFER is reserved and must be 0", "clear it"
    if (value ^ case.sregs.efer) & EFER.LME and case.sregs.cr0 & CR0.PG:
        return "LME (bit 8) changes while CR0.PG (bit 31) is 1", "turn paging off first"
    return "", ""


def _xsetbv(case: Case) -> Evidence:
    number, low = case.regs.rcx & MASK32, case.regs.rax & MASK32
    wrong = ""
    if number:
        wrong = f"ECX is {number:#x}: there is no XCR but 0"
    elif not low & 1:
        wrong = "bit 0 (x87) of XCR0 must be 1"
    elif low & 6 == 4:
        wrong = "bit 2 (AVX) of XCR0 is 1 without bit 1 (SSE)"
    return finding("XCR0", f"EAX is {low:#x}, ECX is {number:#x}", wrong, "set bits 0 and 1 too")
