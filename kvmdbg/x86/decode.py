"""Bytes to instructions: capstone's only door.

Capstone is imported at the first use, so that ``import kvmdbg`` stays light. Must not know: where
the bytes come from, labels, breakpoints.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ..errors import BadInput, UnknownName

if TYPE_CHECKING:
    from capstone import Cs

LONGEST = 15
"""No x86 instruction has more bytes (SDM vol. 2, 2.3.11)."""

_MODES = {16: "CS_MODE_16", 32: "CS_MODE_32", 64: "CS_MODE_64"}
_SYNTAXES = {"intel": "CS_OPT_SYNTAX_INTEL", "att": "CS_OPT_SYNTAX_ATT"}
_SUFFIXES = "wlq"
_NO_CODE = ".byte"
_SOFTWARE_INTERRUPTS = frozenset({"int", "int3", "int1", "into"})
_RETURNS = frozenset({"ret", "retf", "lret", "iret", "iretd", "sysret", "sysexit"})
_CALLS = frozenset({"call", "lcall"})
_ENTERS = frozenset({"syscall", "sysenter"})
_REPEATS = frozenset({"rep", "repe", "repne", "repz", "repnz"})
_STRINGS = ("movs", "stos", "lods", "cmps", "scas", "ins", "outs")


class Instruction(NamedTuple):
    """One decoded instruction; ``address`` is linear, ``raw`` holds its ``size`` bytes.

    Branch targets in ``operands`` are linear addresses too, computed as if CS.base were 0: in real
    mode a jump that wraps around its segment's end shows an address behind it.
    """

    address: int
    size: int
    raw: bytes
    mnemonic: str
    operands: str

    @property
    def text(self) -> str:
        """Mnemonic and operands, as in a listing: ``mov eax, 5``."""
        return f"{self.mnemonic} {self.operands}".rstrip()

    @property
    def is_code(self) -> bool:
        """False for a byte that starts no instruction."""
        return self.mnemonic != _NO_CODE

    @property
    def opcode(self) -> str:
        """The mnemonic without prefixes and without AT&T's size letter: ``movsb``, ``call``."""
        word = self.mnemonic.rpartition(" ")[2]
        stem = word[:-1]
        known = stem in _CALLS or stem in _RETURNS or stem in ("jmp", "ljmp")
        return stem if known and word[-1] in _SUFFIXES else word


def disassemble(
    code: bytes, address: int, bits: int, count: int | None = None, syntax: str = "intel"
) -> list[Instruction]:
    """Decode ``code``, which lies at linear ``address``, as 16-, 32- or 64-bit instructions.

    At most ``count`` instructions (all if None). A byte that starts no instruction becomes one of
    mnemonic ``.byte``, so every byte is accounted for. Raises BadInput for other ``bits``,
    UnknownName for a syntax other than ``intel`` and ``att``.

    >>> [ins.text for ins in disassemble(bytes.fromhex("b80500000006f4"), 0x8000, 64)]
    ['mov eax, 5', '.byte 0x06', 'hlt']
    """
    decoder = _decoder(bits, syntax)
    found: list[Instruction] = []
    position = 0
    while position < len(code) and (count is None or len(found) < count):
        left = 0 if count is None else count - len(found)
        for where, size, mnemonic, operands in decoder.disasm_lite(
            code[position:], address + position, left
        ):
            raw = bytes(code[position : position + size])
            found.append(Instruction(where, size, raw, mnemonic, operands))
            position += size
        if position < len(code) and (count is None or len(found) < count):
            found.append(_undecodable(code[position], address + position))
            position += 1
    return found


def decode_one(code: bytes, address: int, bits: int, syntax: str = "intel") -> Instruction | None:
    """The first instruction of ``code``; None if there are no bytes.

    >>> decode_one(b"\\xcd\\x80", 0x8000, 32).text
    'int 0x80'
    """
    found = disassemble(code[:LONGEST], address, bits, 1, syntax)
    return found[0] if found else None


def is_call(ins: Instruction) -> bool:
    """CALL, near or far: what pushes a return address that RET takes back."""
    return ins.opcode in _CALLS


def is_software_interrupt(ins: Instruction) -> bool:
    """INT n, INT3, INT1, INTO."""
    return ins.opcode in _SOFTWARE_INTERRUPTS


def is_rep_string(ins: Instruction) -> bool:
    """A string instruction under a REP prefix: it stops once per iteration under TF.

    >>> [is_rep_string(ins) for ins in disassemble(bytes.fromhex("f3a4f3c3a4"), 0, 64)]
    [True, False, False]
    """
    prefixes = ins.mnemonic.split(" ")[:-1]
    return any(word in _REPEATS for word in prefixes) and ins.opcode.startswith(_STRINGS)


def is_call_like(ins: Instruction) -> bool:
    """What "step over" jumps over: it normally comes back to the next instruction.

    CALL, INT n and its relatives, SYSCALL, repeated string instructions, LOOP. SYSENTER is not one:
    SYSEXIT returns where EDX says.
    """
    opcode = ins.opcode
    if opcode in _CALLS or opcode in _SOFTWARE_INTERRUPTS or opcode == "syscall":
        return True
    return opcode.startswith("loop") or is_rep_string(ins)


def is_ret(ins: Instruction) -> bool:
    """RET, RETF, IRET, SYSRET, SYSEXIT."""
    return ins.opcode in _RETURNS or ins.opcode in ("iretq", "sysretq", "sysexitq", "retfq")


def is_jump(ins: Instruction) -> bool:
    """JMP, Jcc, JCXZ, LOOP and far JMP, direct or not."""
    return ins.opcode.startswith(("j", "ljmp", "loop"))


def changes_control_flow(ins: Instruction) -> bool:
    """Whether something else than the next instruction may follow, faults apart."""
    opcode = ins.opcode
    if opcode in _ENTERS or opcode in _SOFTWARE_INTERRUPTS or opcode in _CALLS:
        return True
    return is_jump(ins) or is_ret(ins)


def branch_target(ins: Instruction) -> int | None:
    """Where a direct near jump or call goes (linear); None for anything else.

    >>> hex(branch_target(decode_one(bytes.fromhex("eb10"), 0x8000, 32)))
    '0x8012'
    """
    if not (is_jump(ins) or ins.opcode == "call"):
        return None
    try:
        return int(ins.operands, 0)
    except ValueError:
        return None


def operand_names(ins: Instruction) -> tuple[str, ...]:
    """The operands one by one, as written.

    >>> operand_names(decode_one(bytes.fromhex("8b448b04"), 0, 32))
    ('eax', 'dword ptr [ebx + ecx*4 + 4]')
    """
    names, depth, start = [], 0, 0
    text = ins.operands
    for position, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and not depth:
            names.append(text[start:position].strip())
            start = position + 1
    return (*names, text[start:].strip()) if text else ()


def _undecodable(byte: int, address: int) -> Instruction:
    return Instruction(address, 1, bytes((byte,)), _NO_CODE, f"0x{byte:02x}")


@lru_cache(maxsize=8)
def _decoder(bits: int, syntax: str) -> Cs:
    if bits not in _MODES:
        raise BadInput(f"code has 16, 32 or 64 bits, not {bits}")
    if syntax not in _SYNTAXES:
        raise UnknownName(f'unknown syntax "{syntax}"; choose {", ".join(_SYNTAXES)}')
    import capstone

    decoder = capstone.Cs(capstone.CS_ARCH_X86, getattr(capstone, _MODES[bits]))
    decoder.syntax = getattr(capstone, _SYNTAXES[syntax])
    return decoder
