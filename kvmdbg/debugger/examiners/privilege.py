"""What an instruction may do at this privilege level: CPL, IOPL, CR4 and the TSS's I/O bitmap.

SDM vol. 3, 5.9 (privileged instructions), 20.2 (V86 mode); vol. 1, 18.5 (I/O). Must not know:
selectors, addresses.
"""

from __future__ import annotations

from ...x86.decode import operand_names
from ...x86.opcode import IN_OUT, INS_OUTS
from ...x86.registers import CR4
from ..evidence import Evidence
from .case import Case, finding

_PRIVILEGED = frozenset(
    {
        *("hlt", "lgdt", "lidt", "lldt", "ltr", "lmsw", "clts", "invd", "wbinvd", "invlpg"),
        *("rdmsr", "wrmsr", "sysexit", "sysexitq", "sysret", "sysretq", "swapgs", "xsetbv"),
        *("invpcid", "monitor", "mwait", "wbnoinvd"),
    }
)
_UNLESS_CR4: dict[str, tuple[CR4, bool, str]] = {
    "rdtsc": (CR4.TSD, True, "TSD (bit 2)"),
    "rdtscp": (CR4.TSD, True, "TSD (bit 2)"),
    "rdpmc": (CR4.PCE, False, "PCE (bit 8)"),
    **dict.fromkeys(("sgdt", "sidt", "sldt", "smsw", "str"), (CR4.UMIP, True, "UMIP (bit 11)")),
}
"""At CPL above 0 they need this CR4 bit to be the opposite of the flag beside it."""
_IOPL_SENSITIVE_V86 = ("pushf", "popf", "iret", "int", "cli", "sti")
_IO_MAP_BASE = 102
"""Offset of the I/O map's address in a 32- or 64-bit TSS (SDM vol. 3, figures 7-2, 7-11)."""
_TSS_TYPES = (9, 11)


def examine(case: Case) -> list[Evidence]:
    """Every rule of privilege that applies to this instruction."""
    rules = (_privileged, _by_cr4, _flags, _port)
    return [found for rule in rules for found in rule(case)]


def _privileged(case: Case) -> list[Evidence]:
    opcode, names = case.ins.opcode, operand_names(case.ins)
    control = opcode == "mov" and any(name.startswith(("cr", "dr")) for name in names)
    if not case.cpl or not (opcode in _PRIVILEGED or control):
        return []
    name = case.ins.text.upper() if control else opcode.upper()
    return [finding("CPL", str(case.cpl), f"{name} needs CPL 0", "do it in the kernel, at CPL 0")]


def _by_cr4(case: Case) -> list[Evidence]:
    rule = _UNLESS_CR4.get(case.ins.opcode)
    if rule is None or not case.cpl:
        return []
    bit, when, name = rule
    if bool(case.sregs.cr4 & bit) is not when:
        return []
    wrong = f"{name} is {int(when)}: {case.ins.opcode.upper()} needs CPL 0, and CPL is {case.cpl}"
    mend = f"{'clear' if when else 'set'} CR4.{bit.name}"
    return [finding("CR4", f"{case.sregs.cr4:#x}", wrong, mend)]


def _flags(case: Case) -> list[Evidence]:
    """CLI and STI need IOPL; in V86 mode PUSHF, POPF, IRET and INT n do too."""
    opcode, cr4 = case.ins.opcode, case.sregs.cr4
    if case.v86:
        sensitive = opcode.startswith(_IOPL_SENSITIVE_V86) and opcode not in ("int3", "into")
        if not sensitive or case.iopl == 3 or cr4 & CR4.VME:
            return []
        return [_iopl(case, "and in V86 mode it must be 3")]
    if opcode not in ("cli", "sti") or case.cpl <= case.iopl or (case.cpl == 3 and cr4 & CR4.PVI):
        return []
    return [_iopl(case, f"less than CPL {case.cpl}")]


def _iopl(case: Case, words: str) -> Evidence:
    wrong = f"IOPL (bits 13:12) is {case.iopl}, {words}"
    return finding("RFLAGS", f"{case.regs.rflags:#x}", wrong, "let the kernel set IOPL to 3")


# Ports


def _port(case: Case) -> list[Evidence]:
    """IN, OUT, INS, OUTS above IOPL, and in V86 mode always, need a bit of the TSS."""
    if case.opcode.code not in IN_OUT | INS_OUTS or case.scene.real:
        return []
    if not case.v86 and case.cpl <= case.iopl:
        return []
    port, size = _which_port(case)
    level = "in V86 mode" if case.v86 else f"at CPL {case.cpl}, above IOPL {case.iopl},"
    asked = finding(
        "port", f"{port:#x}, {size} byte{'s' if size > 1 else ''}; {level} the TSS says"
    )
    return [asked, *_bitmap(case, port, size)]


def _which_port(case: Case) -> tuple[int, int]:
    """The port, and how many bytes go through it."""
    code = case.opcode.code
    size = case.operand_bytes if code & 1 else 1
    if code in IN_OUT and code < 0xE8:
        return case.opcode.after, min(size, 4)
    return case.regs.rdx & 0xFFFF, min(size, 4)


def _bitmap(case: Case, port: int, size: int) -> list[Evidence]:
    """The bytes of the I/O permission bitmap (SDM vol. 1, 18.5.2); a 16-bit TSS has none."""
    tr = case.sregs.tr
    what = f"TR {tr.selector:#06x}"
    if tr.unusable or not tr.present or tr.type not in _TSS_TYPES:
        words = f"type {tr.type:#x}: no TSS that could hold an I/O bitmap"
        return [finding(what, words, "no I/O bitmap: no port is allowed", "load a 32-bit TSS")]
    place = tr.base + _IO_MAP_BASE
    raw, unread = case.scene.load(place, 2)
    if tr.limit < _IO_MAP_BASE + 1 or not raw:
        words = unread or f"the TSS ends at offset {tr.limit:#x}"
        return [Evidence("I/O map base", place, b"", words, "no I/O bitmap: no port is allowed")]
    start = int.from_bytes(raw, "little")
    base = Evidence("I/O map base", place, raw, f"the bitmap begins at offset {start:#x}")
    return [base, _bits(case, start, port, size)]


def _bits(case: Case, start: int, port: int, size: int) -> Evidence:
    """The processor always reads two bytes, the limit permitting."""
    tr, offset, first = case.sregs.tr, start + port // 8, port % 8
    address = tr.base + offset
    mend = f"clear the bit of port {port:#x} in the TSS's bitmap, or raise IOPL"
    if offset + 1 > tr.limit:
        words = f"two bytes at offset {offset:#x}, but the TSS's limit is {tr.limit:#x}"
        wrong = f"bit {first} of this byte, for port {port:#x}, is beyond the TSS's limit"
        return Evidence("I/O bitmap", address, b"", words, wrong, mend=mend)
    raw, unread = case.scene.load(address, 2)
    denied = int.from_bytes(raw, "little") >> first & (1 << size) - 1
    number = (denied & -denied).bit_length() - 1
    bit = first + number
    wrong = f"bit {bit}, for port {port + number:#x}, is 1: not allowed" if denied else ""
    words = unread or f"offset {offset:#x} in the TSS"
    return Evidence("I/O bitmap", address, raw, words, wrong, mend=mend)
