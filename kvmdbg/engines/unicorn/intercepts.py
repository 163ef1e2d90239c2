"""Instructions that the host carries out instead of Unicorn: MOV DR, SYSCALL, RDTSC and others.

Unicorn keeps breakpoints of its own in DR7 and makes SYSCALL a no-op; SYSRET it may do, but brings
the host's TF back only if we say so. Each
function here gets the CPU standing *at* the instruction and leaves it after it, or queues the fault
that the instruction raises. Must not know: how the instruction was found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from unicorn import x86_const

from ... import guestdebug
from ...exits import Exit
from ...guestdebug import Owner, PendingException
from ...x86 import debugreg
from ...x86.opcode import (
    IN_OUT,
    INS_OUTS,
    MOV_FROM_CR8,
    MOV_FROM_DR,
    MOV_TO_CR8,
    MOV_TO_DR,
    RDMSR,
    RDRAND,
    RDSEED,
    RDTSC,
    RDTSCP,
    SYSCALL,
    SYSENTER,
    SYSRET,
    WRMSR,
    Opcode,
)
from ...x86.paging import PageFault
from ...x86.ports import may_use_port
from ...x86.registers import CR0, CR4, EFER, MASK32, MASK64, RFLAGS, CpuMode, Segment
from ...x86.vectors import Vector
from . import raised, transfers
from .state import CONDITION_CODES, CR, EFLAGS, HF_CPL, HFLAGS, RSP

if TYPE_CHECKING:
    from .vcpu import Vcpu

Handler = Callable[["Vcpu", Opcode], Exit | None]

_STAR, _LSTAR, _FMASK = 0xC000_0081, 0xC000_0082, 0xC000_0084
_SYSENTER_CS, _SYSENTER_ESP, _SYSENTER_EIP = 0x174, 0x175, 0x176
_RAX, _RCX, _RDX, _R11 = 0, 1, 2, 11
_PORT_BY_BYTE = frozenset(range(0xE4, 0xE8))
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio, odd
_TSC_AUX = 0xC000_0103
_TF = int(RFLAGS.TF)


def mov_dr(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """MOV to or from DR0-7 works on the guest's own registers (spec 8)."""
    state = vcpu.state
    number = (opcode.after >> 3 & 7) | (opcode.rex & 4) << 1
    general = (opcode.after & 7) | (opcode.rex & 1) << 3
    wide = state.bits() == 64
    value = state.q[general] if wide else state.q[general] & MASK32
    writes = opcode.code == MOV_TO_DR
    refusal = guestdebug.check_mov_dr(
        vcpu.debug,
        number,
        cr4_de=bool(state.q[CR + 4] & CR4.DE),
        cpl=state.d[HFLAGS] & HF_CPL,
        written=value if writes else None,
    )
    if refusal is not None:
        return _refused(vcpu, refusal)
    if writes:
        vcpu.debug = guestdebug.write_dr(vcpu.debug, number, value)
    else:
        seen = guestdebug.read_dr(vcpu.debug, number)
        state.q[general] = seen if wide else seen & MASK32
    exit_ = vcpu.retire(opcode.start + 3)
    if writes:
        vcpu.arm()
    return exit_


def _refused(vcpu: Vcpu, refusal: guestdebug.Refusal) -> Exit | None:
    if refusal.vector != Vector.DB:
        return raised.fault(vcpu, refusal.vector, refusal.error_code)
    if guestdebug.owner_of_general_detect(vcpu.debug) is Owner.HOST:
        return vcpu.report(Owner.HOST, debugreg.DR6_BD)
    vcpu.queue(PendingException(Vector.DB, payload=refusal.payload))
    return None


def _msr(vcpu: Vcpu, index: int) -> int:
    value: int = vcpu.core.machine.uc.reg_read(x86_const.UC_X86_REG_MSR, index)
    return value


def _flat(selector: int, *, code: bool, long: bool) -> Segment:
    """The fixed CS or SS that SYSCALL and SYSENTER load without reading a descriptor."""
    return Segment(
        base=0,
        limit=MASK32,
        selector=selector,
        type=11 if code else 3,
        present=1,
        dpl=0,
        db=0 if code and long else 1,
        s=1,
        l=1 if code and long else 0,
        g=1,
    )


def _enter_kernel(vcpu: Vcpu, selector: int, long: bool) -> None:
    sregs = vcpu.state.sregs()
    code = _flat(selector & 0xFFFC, code=True, long=long)
    stack = _flat(selector + 8 & 0xFFFC, code=False, long=long)
    vcpu.state.enter_handler(sregs._replace(cs=code, ss=stack))


def syscall(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """SYSCALL (SDM vol. 2): 64-bit mode only, as on Intel; elsewhere #UD."""
    state = vcpu.state
    sregs = state.sregs()
    if sregs.mode is not CpuMode.LONG or not sregs.efer & EFER.SCE:
        return raised.fault(vcpu, Vector.UD)
    flags = state.rflags()
    visible = flags & ~int(RFLAGS.RF)
    if guestdebug.pushes_hidden_tf(vcpu.debug) and flags & _TF:
        vcpu.returns.syscalled(state.next_rip(opcode.end))
        visible &= ~_TF
    state.q[_RCX] = state.next_rip(opcode.end)
    state.q[_R11] = visible
    state.set_rflags(flags & ~_msr(vcpu, _FMASK) & ~int(RFLAGS.RF))
    _enter_kernel(vcpu, _msr(vcpu, _STAR) >> 32 & 0xFFFF, long=True)
    return vcpu.retire(opcode.end, rip=_msr(vcpu, _LSTAR))


def sysret(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """SYSRET under a TF of our own in R11, where it traps at once (unlike IRET).

    On hardware R11 brings back the TF that SYSCALL was stepped with; ours hides it from the guest.
    """
    state = vcpu.state
    stepped = vcpu.returns.sysret(state.q[_RCX]) or state.d[EFLAGS] & _TF
    loaded = state.q[_R11] & _TF
    state.q[_R11] |= _TF
    vcpu.core.pass_site()
    error = vcpu.run(single=True)
    state.q[_R11] = state.q[_R11] & ~_TF | loaded
    if loaded or (stepped and vcpu.debug.singlestep) or not vcpu.own_trap():
        return vcpu.stopped(error)
    state.d[EFLAGS] &= ~_TF
    return vcpu.completed()


def sysenter(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """SYSENTER (SDM vol. 2): to the place in IA32_SYSENTER_*; #GP(0) without one."""
    state = vcpu.state
    selector = _msr(vcpu, _SYSENTER_CS)
    if not state.q[CR] & CR0.PE or not selector & 0xFFFC:
        return raised.fault(vcpu, Vector.GP, 0)
    long = bool(state.sregs().efer & EFER.LMA)
    mask = (1 << 64) - 1 if long else MASK32
    state.set_rflags(state.rflags() & ~int(RFLAGS.VM | RFLAGS.IF | RFLAGS.RF))
    _enter_kernel(vcpu, selector, long)
    state.q[RSP] = _msr(vcpu, _SYSENTER_ESP) & mask
    return vcpu.retire(opcode.end, rip=_msr(vcpu, _SYSENTER_EIP) & mask)


def port(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """IN, OUT, INS and OUTS, which Unicorn allows everybody."""
    state = vcpu.state
    number = opcode.after if opcode.code in _PORT_BY_BYTE else state.q[_RDX] & 0xFFFF
    size = min(opcode.operand_bytes(state.bits()), 4) if opcode.code & 1 else 1
    try:
        allowed = may_use_port(number, size, state.d[EFLAGS], state.sregs(), vcpu.core.read)
    except PageFault as fault:
        return raised.fault(vcpu, Vector.PF, fault.error_code, fault.linear)
    return transfers.port(vcpu, opcode) if allowed else raised.fault(vcpu, Vector.GP, 0)


def _privileged(vcpu: Vcpu) -> bool:
    return not vcpu.state.d[HFLAGS] & HF_CPL


def _put_edx_eax(vcpu: Vcpu, value: int) -> None:
    vcpu.state.q[_RAX], vcpu.state.q[_RDX] = value & MASK32, value >> 32 & MASK32


def rdtsc(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """RDTSC and RDTSCP read virtual time; CR4.TSD keeps CPL 3 from it."""
    if vcpu.state.q[CR + 4] & CR4.TSD and not _privileged(vcpu):
        return raised.fault(vcpu, Vector.GP, 0)
    _put_edx_eax(vcpu, vcpu.chipset.tsc)
    if opcode.kind == RDTSC:
        return vcpu.retire(opcode.end)
    vcpu.state.q[_RCX] = _msr(vcpu, _TSC_AUX) & MASK32
    return vcpu.retire(opcode.end + 1)


def rdrand(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """RDRAND and RDSEED answer from virtual time, so that two runs agree (and nobody is safe)."""
    state = vcpu.state
    mixed = (vcpu.chipset.now + 1) * _GOLDEN & MASK64
    mixed = (mixed ^ mixed >> 29) * _GOLDEN & MASK64
    general, size = (opcode.after & 7) | (opcode.rex & 1) << 3, opcode.operand_bytes(state.bits())
    mask = (1 << 8 * size) - 1
    kept = state.q[general] & ~mask if size == 2 else 0
    state.q[general] = kept | (mixed >> 64 - 8 * size) & mask
    state.set_rflags(state.rflags() & ~CONDITION_CODES | int(RFLAGS.CF))
    return vcpu.retire(opcode.end + 1)


def rdmsr(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """RDMSR of the TSC and of the APIC's MSRs; the others are Unicorn's."""
    index = vcpu.state.q[_RCX] & MASK32
    if not vcpu.chipset.owns_msr(index):
        return vcpu.pass_site(opcode.code)
    value = vcpu.chipset.rdmsr(index) if _privileged(vcpu) else None
    if value is None:
        return raised.fault(vcpu, Vector.GP, 0)
    _put_edx_eax(vcpu, value)
    return vcpu.retire(opcode.end)


def wrmsr(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """WRMSR of the same."""
    q = vcpu.state.q
    index = q[_RCX] & MASK32
    if not vcpu.chipset.owns_msr(index):
        return vcpu.pass_site(opcode.code)
    value = (q[_RDX] & MASK32) << 32 | q[_RAX] & MASK32
    if not _privileged(vcpu) or not vcpu.chipset.wrmsr(index, value):
        return raised.fault(vcpu, Vector.GP, 0)
    return vcpu.retire(opcode.end)


def mov_cr8(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """MOV to or from CR8, the task priority of the APIC (SDM vol. 3, 10.8.6)."""
    state = vcpu.state
    general = (opcode.after & 7) | (opcode.rex & 1) << 3
    writes = opcode.kind == MOV_TO_CR8
    if not _privileged(vcpu) or (writes and state.q[general] > 15):
        return raised.fault(vcpu, Vector.GP, 0)
    if writes:
        vcpu.chipset.cr8 = state.q[general]
    else:
        state.q[general] = vcpu.chipset.cr8
    return vcpu.retire(opcode.start + 3)


TABLE: dict[int, Handler] = {
    MOV_FROM_DR: mov_dr,
    MOV_TO_DR: mov_dr,
    SYSCALL: syscall,
    SYSRET: sysret,
    **dict.fromkeys((RDTSC, RDTSCP), rdtsc),
    **dict.fromkeys((RDRAND, RDSEED), rdrand),
    RDMSR: rdmsr,
    WRMSR: wrmsr,
    **dict.fromkeys((MOV_FROM_CR8, MOV_TO_CR8), mov_cr8),
    SYSENTER: sysenter,
    **dict.fromkeys(IN_OUT | INS_OUTS, port),
}
