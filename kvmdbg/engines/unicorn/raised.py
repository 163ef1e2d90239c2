"""What Unicorn raises: faults, INT n and its relatives, and accesses outside RAM.

Unicorn names a vector and delivers nothing. Here it is seen what it was, and whether the host or
the guest gets it. Must not know: traps after an instruction (vcpu.py), or how an event is
delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import guestdebug
from ...exits import ExceptionExit, Exit, InternalErrorExit
from ...guestdebug import Owner, PendingException
from ...x86 import debugreg
from ...x86.decode import disassemble
from ...x86.delivery import Event, EventKind
from ...x86.opcode import INT1, INT3, INT_N, Opcode, read_opcode
from ...x86.registers import CR0
from ...x86.stackaccess import misses_the_stack
from ...x86.vectors import HAS_ERROR_CODE, Vector
from . import apicpage, delivering, transfers
from .library import UC_ERR_FETCH_UNMAPPED
from .native import Word
from .state import CONDITION_CODES, CR, RIP

if TYPE_CHECKING:
    from .vcpu import Vcpu

_WITH_CODE = frozenset(int(vector) for vector in HAS_ERROR_CODE)


def fault(vcpu: Vcpu, vector: int, code: int | None = None, cr2: int | None = None) -> Exit | None:
    """A fault of the instruction at CS:RIP: nothing of it happened."""
    pc = vcpu.state.linear_pc()
    vcpu.core.uncount()
    restore_flags(vcpu)
    code = code if vector in _WITH_CODE else None  # Unicorn leaves an old one behind
    found = vcpu.breaks_here()  # no site stops where nothing was fetched (SDM vol. 3, table 6-2)
    if found is not None:
        vcpu.state.q[CR + 2] = vcpu.cr2
        return vcpu.report(*found)
    if vector == Vector.GP and not code and _misses_the_stack(vcpu):
        vector = Vector.SS
    if _stops_at(vcpu, vector, pc):
        return ExceptionExit(vector, code or 0, pc, software=False)
    address = cr2 if vector == Vector.PF else None
    return delivering.deliver(vcpu, Event(vector, EventKind.FAULT, code, address))


def _misses_the_stack(vcpu: Vcpu) -> bool:
    """A non-canonical address of the stack is #SS(0); Unicorn raises #GP(0) for all of them."""
    opcode = vcpu.opcode() if vcpu.state.bits() == 64 else None
    return opcode is not None and misses_the_stack(opcode, vcpu.code(), vcpu.state.regs())


def restore_flags(vcpu: Vcpu) -> None:
    """Behind a hook a fault loses the condition codes; it kept them (native.keep_flags)."""
    w, state = vcpu.core.w, vcpu.state
    if w[Word.INSN_PC] == state.hook_pc():
        codes = w[Word.INSN_FLAGS] & CONDITION_CODES
        state.set_rflags(state.rflags() & ~CONDITION_CODES | codes)


def software(vcpu: Vcpu, vector: int) -> Exit | None:
    """INT n, INT3 or INTO; RIP is after it."""
    state = vcpu.state
    last = vcpu.core.last_instruction()
    opcode = read_opcode(last, state.bits())
    code, size = -1 if opcode is None else opcode.code, len(last)
    start = state.cut(state.linear_pc() - size)
    by_cc = code == INT3
    if by_cc and guestdebug.owner_of_bp(vcpu.debug) is Owner.HOST:
        _step_back(vcpu, size)
        vcpu.bp_exit = (start, size, vcpu.core.clock)
        return guestdebug.bp_exit(vcpu.exit_pc())
    if _stops_at(vcpu, vector, start):
        _step_back(vcpu, size)
        return ExceptionExit(vector, 0, start, software=True)
    if _emulator_fails(vcpu):
        _step_back(vcpu, size)
        return _not_emulated(vcpu)
    kind = EventKind.SOFTWARE if code == INT_N else EventKind.SOFTWARE_EXCEPTION
    exit_ = delivering.deliver(vcpu, Event(vector, kind, instruction_rip=state.q[RIP] - size))
    if exit_ is None and vcpu.debug.singlestep and vcpu.debug.profile.steps_by_flag:
        return vcpu.raise_db(debugreg.DR6_BS)  # in front of the handler (spec 10)
    return exit_


def _step_back(vcpu: Vcpu, size: int) -> None:
    vcpu.state.q[RIP] -= size
    vcpu.core.count(-1)


def _stops_at(vcpu: Vcpu, vector: int, pc: int) -> bool:
    """The host wants to see this vector first, and has not just seen it here."""
    if vector not in vcpu.vectors or vcpu.passed_vector == pc:
        vcpu.passed_vector = None
        return False
    vcpu.passed_vector = pc
    return True


def _emulator_fails(vcpu: Vcpu) -> bool:
    protected = vcpu.state.q[CR] & CR0.PE
    return vcpu.debug.profile.fails_on_int and bool(protected)


def _not_emulated(vcpu: Vcpu) -> InternalErrorExit:
    return InternalErrorExit(1, vcpu.code(), "KVM's emulator does not know this instruction")


def invalid_opcode(vcpu: Vcpu) -> Exit | None:
    """#UD by Unicorn: also INT1, which it does not know, and INT 6, which it takes for #UD."""
    opcode = vcpu.opcode()
    if opcode is not None and opcode.code == INT_N and opcode.after == Vector.UD:
        vcpu.state.q[RIP] = vcpu.state.next_rip(opcode.end + 1)
        return software(vcpu, Vector.UD)
    if opcode is not None and opcode.code == INT1 and 0xF0 not in opcode.prefixes:
        return _int1(vcpu, opcode)
    return fault(vcpu, Vector.UD)


def _int1(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """INT1 (F1): a #DB without DR6 bits; at F1 for the host, after it for the guest (4.4)."""
    vcpu.core.uncount()
    if vcpu.debug.profile.fails_on_int:
        return _not_emulated(vcpu)
    if guestdebug.owner_of_icebp(vcpu.debug) is Owner.HOST:
        return vcpu.raise_db(vcpu.take_held())
    vcpu.state.q[RIP] = vcpu.state.next_rip(opcode.end)
    vcpu.core.count(1)
    vcpu.queue(PendingException(Vector.DB, payload=vcpu.take_held()))
    return None


def outside_ram(vcpu: Vcpu, error: int) -> Exit | None:
    """An access, or a fetch, of physical memory that is not RAM."""
    vcpu.core.uncount()
    restore_flags(vcpu)
    if error != UC_ERR_FETCH_UNMAPPED:
        offset = vcpu.chipset.offset(vcpu.core.w[Word.BAD_ADDRESS])
        return transfers.mmio(vcpu) if offset is None else apicpage.access(vcpu, offset)
    found = vcpu.breaks_here()
    if found is not None:
        return vcpu.report(*found)
    if vcpu.core.w[Word.TRACKS_SMC] and _is_whole(vcpu):
        vcpu.one = True  # Unicorn has read ahead: there are instructions to run before RAM ends
        return None
    address = vcpu.core.w[Word.BAD_ADDRESS]
    return InternalErrorExit(1, b"", f"instruction fetch from {address:#x}, outside RAM")


def _is_whole(vcpu: Vcpu) -> bool:
    """All bytes of the instruction at CS:RIP can be fetched."""
    found = disassemble(vcpu.code(), 0, vcpu.state.bits(), count=1)
    return bool(found) and found[0].is_code
