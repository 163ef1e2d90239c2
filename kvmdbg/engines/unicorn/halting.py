"""HLT with an in-kernel APIC, and INIT: the processor waits inside, or begins again.

With the chips there is no HLT exit: the processor sleeps until an interrupt, and virtual time
jumps to the next timer. Only when nothing inside the machine can ever wake it, the host is told by
HltExit, where KVM_RUN would wait for ever. Must not know: how an interrupt is delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import guestdebug
from ...exits import Exit
from ...x86 import debugreg
from ...x86.registers import RFLAGS, Regs, Segment, Sregs
from .state import EFLAGS

if TYPE_CHECKING:
    from .vcpu import Vcpu

_TF, _IF = int(RFLAGS.TF), int(RFLAGS.IF)
_CPUID_SIGNATURE = 0x600  # EDX after INIT: family 6
_CODE = Segment(base=0xFFFF0000, limit=0xFFFF, selector=0xF000, type=11, present=1, s=1)
_DATA = Segment(limit=0xFFFF, type=3, present=1, s=1)
_TASK = Segment(limit=0xFFFF, type=11, present=1)
_LDT = Segment(limit=0xFFFF, type=2, present=1)
_AFTER_INIT = Sregs(_CODE, _DATA, _DATA, _DATA, _DATA, _DATA, _TASK, _LDT)


def halt(vcpu: Vcpu) -> Exit | None:
    """HLT was executed: a step over it is a #DB, with the processor asleep already."""
    vcpu.chipset.halted = True
    if vcpu.debug.singlestep or vcpu.state.d[EFLAGS] & _TF:
        return vcpu.raise_db(debugreg.DR6_BS)  # the guest's own wakes it again
    return None


def attend(vcpu: Vcpu) -> bool:
    """Before each entry: let timers catch up, take an INIT, wake a sleeper. True: it sleeps on."""
    chipset = vcpu.chipset
    chipset.advance()
    if chipset.take_init():
        _init(vcpu)
    if chipset.halted and not _wakes(vcpu):
        can_wake = vcpu.state.d[EFLAGS] & _IF or chipset.hears_watchdog()
        if not (can_wake and chipset.sleep()):
            return True
    chipset.halted = chipset.halted and not _wakes(vcpu)
    return False


def _wakes(vcpu: Vcpu) -> bool:
    """Something ends HLT: a queued exception, an NMI, an interrupt with IF=1."""
    interrupts, chipset = vcpu.interrupts, vcpu.chipset
    if vcpu.debug.pending is not None or interrupts.nmi_injected:
        return True
    if interrupts.nmi_pending and not interrupts.nmi_masked:
        return True
    waiting = interrupts.irq is not None or chipset.interrupt
    return waiting and bool(vcpu.state.d[EFLAGS] & _IF)


def _init(vcpu: Vcpu) -> None:
    """INIT (SDM vol. 3, table 9-1, ``kvm_vcpu_reset``): the debugger's settings stay."""
    state, chipset = vcpu.state, vcpu.chipset
    cd_nw = state.sregs().cr0 & 0x60000000
    state.set_sregs(_AFTER_INIT._replace(cr0=0x10 | cd_nw, apic_base=state.apic_base))
    state.set_regs(Regs(rip=0xFFF0, rdx=_CPUID_SIGNATURE, rflags=2))
    vcpu.rf = None
    vcpu.set_debug(guestdebug.vcpu_reset(vcpu.debug))
    vcpu.write_tf(2)
    chipset.halted = False
