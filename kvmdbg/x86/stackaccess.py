"""Is it the stack that an instruction of 64-bit code misses? Then a bad address is #SS, not #GP.

SDM vol. 1, 3.3.7.1: a reference through RSP or RBP, or by PUSH, CALL and their like, uses SS; a
non-canonical address there raises #SS(0). Segment overrides of FS and GS take it away from SS. Must
not know: what the instruction does with the stack.
"""

from __future__ import annotations

from .opcode import Opcode
from .paging import is_canonical
from .registers import MASK32, MASK64, Regs

_PUSHES = frozenset((*range(0x50, 0x58), 0x68, 0x6A, 0x9C, 0xC8, 0xE8, 0x0FA0, 0x0FA8))
_POPS = frozenset((*range(0x58, 0x60), 0x8F, 0x9D, 0xC2, 0xC3, 0xCA, 0xCB, 0xCF, 0x0FA1, 0x0FA9))
_LEAVE, _GROUP_5 = 0xC9, 0xFF
_GROUP_5_PUSHES = (2, 3, 6)
_WORD = 8
_RSP, _RBP = 4, 5
_NO_MODRM = _PUSHES | _POPS - {0x8F} | {_LEAVE}
_ORDER = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi")


def misses_the_stack(opcode: Opcode, raw: bytes, regs: Regs) -> bool:
    """Whether ``opcode`` at ``raw`` (its bytes, in 64-bit code) uses a non-canonical stack address.

    >>> from .opcode import read_opcode
    >>> push = bytes([0x50])
    >>> misses_the_stack(read_opcode(push, 64), push, Regs(rsp=1 << 63))
    True
    """
    return any(not is_canonical(address) for address in _stack_addresses(opcode, raw, regs))


def _stack_addresses(opcode: Opcode, raw: bytes, regs: Regs) -> list[int]:
    found = []
    reg = opcode.after >> 3 & 7
    pushes = opcode.code == _GROUP_5 and reg in _GROUP_5_PUSHES
    if opcode.code in _PUSHES or pushes:
        found.append(regs.rsp - _WORD & MASK64)
    if opcode.code in _POPS:
        found.append(regs.rsp)
    if opcode.code == _LEAVE:
        found.append(regs.rbp)
    if opcode.code not in _NO_MODRM:
        found += _explicit(opcode, raw[opcode.end :], regs)
    return found


def _explicit(opcode: Opcode, tail: bytes, regs: Regs) -> list[int]:
    """The operand in memory, if its base is RSP or RBP (SDM vol. 2, tables 2-2 and 2-3)."""
    if not tail or tail[0] >> 6 == 3 or {0x64, 0x65} & set(opcode.prefixes):
        return []
    mod, rm = tail[0] >> 6, tail[0] & 7
    base, index, scale, rest = rm, None, 1, tail[1:]
    if rm == _RSP:  # a SIB byte follows
        if not rest:
            return []
        sib, rest = rest[0], rest[1:]
        base, scale = sib & 7, 1 << (sib >> 6)
        index = (sib >> 3 & 7) | (opcode.rex & 2) << 2
        index = None if index == _RSP else index
    if opcode.rex & 1 or base not in (_RSP, _RBP) or (base == _RBP and mod == 0):
        return []  # R12 and R13 are data; RBP without displacement is an address of its own
    width = (0, 1, 4)[mod]
    moved = int.from_bytes(rest[:width], "little", signed=True) if width else 0
    moved += 0 if index is None else _register(regs, index) * scale
    mask = MASK32 if 0x67 in opcode.prefixes else MASK64
    return [_register(regs, base) + moved & mask]


def _register(regs: Regs, number: int) -> int:
    value: int = getattr(regs, _ORDER[number] if number < 8 else f"r{number}")
    return value
