"""The local APIC's page: loads and stores there never reach the host.

Drivers use plain 32-bit MOVs, which are carried out here; anything else takes the long way of every
MMIO access (transfers.py), and the chips answer instead of the host. Must not know: what a register
of the APIC means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...exits import Exit
from ...x86 import decode
from ...x86.opcode import Opcode
from ...x86.registers import MASK32
from . import transfers
from .native import Word

if TYPE_CHECKING:
    from .vcpu import Vcpu

_STORE, _LOAD, _STORE_IMMEDIATE = 0x89, 0x8B, 0xC7
_LOAD_EAX, _STORE_EAX = 0xA1, 0xA3
_PLAIN = frozenset((_STORE, _LOAD, _STORE_IMMEDIATE, _LOAD_EAX, _STORE_EAX))
_RAX = 0


def access(vcpu: Vcpu, offset: int) -> Exit | None:
    """The instruction at CS:RIP touches the page at ``offset``."""
    opcode = vcpu.opcode()
    if opcode is None or opcode.code not in _PLAIN or vcpu.core.w[Word.BAD_SIZE] != 4:
        return transfers.mmio(vcpu)
    length = decode.disassemble(vcpu.code(), 0, vcpu.state.bits(), 1)[0].size
    if opcode.code in (_LOAD, _LOAD_EAX):
        vcpu.state.q[_register(opcode)] = vcpu.chipset.read_page(offset, 4)
    else:
        vcpu.chipset.write_page(offset, 4, _stored(vcpu, opcode, length))
    return vcpu.retire(length)


def _register(opcode: Opcode) -> int:
    if opcode.code in (_LOAD_EAX, _STORE_EAX):
        return _RAX
    return (opcode.after >> 3 & 7) | (opcode.rex & 4) << 1


def _stored(vcpu: Vcpu, opcode: Opcode, length: int) -> int:
    if opcode.code == _STORE_IMMEDIATE:
        return int.from_bytes(vcpu.code()[length - 4 : length], "little")
    return vcpu.state.q[_register(opcode)] & MASK32
