"""The contract's chapter about registers: what is set is what is got, and what KVM refuses.

Must not know: how an engine keeps them.
"""

from __future__ import annotations

import errno
from functools import partial

from ..engines import Capability
from ..errors import IoctlError
from ..exits import HltExit
from ..x86.registers import DebugRegs, Regs, VcpuEvents
from .bench import CODE, HANDLED, HLT, INJECT_DB, JMP_SELF, NOP, Bench, mov_al
from .contract import Chapter, expect, refuses

CHAPTER = Chapter("registers")
_CF, _ZF, _SF, _FIXED = 0x1, 0x40, 0x80, 0x2
_GP = 13
_ONES = 0xFFFFFFFF


@CHAPTER.check()
def general_registers_round_trip(b: Bench) -> None:
    """``get_regs`` gives what ``set_regs`` was given: 64 bits in long mode, 32 elsewhere."""
    b.boot(HLT)
    wide = b.mode == "long"
    scale = 0x0101010101010101 if wide else 0x01010101
    numbers = [scale * (n + 1) if wide or n < 8 else 0 for n in range(16)]
    regs = Regs._make((*numbers, CODE + 3, _FIXED | _CF | _ZF | _SF))._replace(rsp=0x7000)
    b.engine.set_regs(regs)
    expect("get_regs() to give", b.engine.get_regs(), regs)


@CHAPTER.check()
def bit_1_of_rflags_is_one(b: Bench) -> None:
    """RFLAGS written as 0 reads as 2: bit 1 is fixed."""
    b.boot(HLT)
    b.set(rflags=0)
    expect("RFLAGS to be", b.regs.rflags, _FIXED)


@CHAPTER.check()
def the_guest_and_the_host_see_the_same_registers(b: Bench) -> None:
    """What the guest writes to a register is what ``get_regs`` shows after its exit."""
    b.boot(mov_al(0x37) + HLT)
    b.run()
    expect("AL to be", b.al, 0x37)
    expect("RIP to be after HLT:", b.regs.rip, CODE + 3)


@CHAPTER.check()
def system_registers_round_trip(b: Bench) -> None:
    """``get_sregs`` gives what ``set_sregs`` was given: segments, tables, CR0-CR8, EFER."""
    b.boot(HLT)
    sregs = b.engine.get_sregs()._replace(cr2=0x12345678, cr8=5)
    b.engine.set_sregs(sregs)
    expect("get_sregs() to give", b.engine.get_sregs(), sregs)


@CHAPTER.check()
def the_default_guest_can_be_entered(b: Bench) -> None:
    """The mode's default guest (``machine.layout``) is a state in which the guest runs."""
    b.boot(NOP + HLT)
    expect("the exit to be", b.run(), HltExit())
    expect("RIP to be after HLT:", b.regs.rip, CODE + 2)


@CHAPTER.check(modes=())
def debug_registers_after_reset(b: Bench) -> None:
    """A fresh vCPU has DR0-DR3 0, DR6 FFFF0FF0h and DR7 400h."""
    expect("get_debugregs() to give", b.engine.get_debugregs(), DebugRegs())


@CHAPTER.check(modes=())
def debug_registers_round_trip_raw(b: Bench) -> None:
    """``set_debugregs`` stores DR0-DR3, DR6 and DR7 raw: no bit is corrected."""
    for dr6, dr7 in ((0, 0), (_ONES, _ONES), (0xFFFF4FF1, 0x402)):
        debugregs = DebugRegs((1, 2, 3 << 40, 1 << 63), dr6, dr7)
        b.engine.set_debugregs(debugregs)
        expect("get_debugregs() to give", b.engine.get_debugregs(), debugregs)


@CHAPTER.check(modes=())
def debug_registers_out_of_range_are_einval(b: Bench) -> None:
    """``set_debugregs`` with flags, or DR6 or DR7 above 32 bits, is EINVAL; nothing is stored."""
    wide, own = 1 << 32, DebugRegs((7, 7, 7, 7))
    wrong = (own._replace(dr6=wide), own._replace(dr7=wide), own._replace(flags=1))
    for debugregs in wrong:
        call = partial(b.engine.set_debugregs, debugregs)
        refuses(f"set_debugregs({debugregs})", call, IoctlError, errno.EINVAL)
    expect("get_debugregs() to give", b.engine.get_debugregs(), DebugRegs())


@CHAPTER.check(modes=())
def events_round_trip(b: Bench) -> None:
    """``get_vcpu_events`` gives the exception and the NMI mask that ``set_vcpu_events`` set."""
    b.boot(HLT)
    events = b.engine.get_vcpu_events()
    expect("a fresh vCPU's events to be", _queued(events), (0, 0, 0, 0))
    b.engine.set_vcpu_events(_fault(events)._replace(nmi_masked=1))
    got = b.engine.get_vcpu_events()
    expect("(exception, error code, NMI masked) to be", _queued(got), (1, _GP, 0x18, 1))


@CHAPTER.check(modes=())
def events_with_a_vector_above_31_are_einval(b: Bench) -> None:
    """``set_vcpu_events`` with an exception above 31 is EINVAL."""
    wrong = b.engine.get_vcpu_events()._replace(exception_injected=1, exception_nr=32)
    refuses("exception_nr = 32", lambda: b.engine.set_vcpu_events(wrong), IoctlError, errno.EINVAL)


@CHAPTER.check(modes=("protected", "long"))
def an_exception_set_is_delivered(b: Bench) -> None:
    """An exception set by ``set_vcpu_events`` enters the guest's handler, with its error code."""
    b.boot(JMP_SELF)
    b.gate(_GP)
    b.engine.set_vcpu_events(_fault(b.engine.get_vcpu_events()))
    expect("the exit to be", b.run(), HltExit())
    expect("RIP to be in the handler of #GP:", b.regs.rip, HANDLED + 16 * _GP)
    code = b.engine.read_memory(b.regs.rsp, 2)
    expect("the error code on the stack to be", int.from_bytes(code, "little"), 0x18)


@CHAPTER.check(Capability.INJECT)
def set_regs_drops_a_queued_exception(b: Bench) -> None:
    """``set_regs`` drops an exception that waits for its delivery, as KVM_SET_REGS does."""
    b.boot(NOP + HLT)
    b.gate(1)
    b.sgd(INJECT_DB)
    b.engine.set_regs(b.engine.get_regs())
    expect("the exit to be", b.run(), HltExit())
    expect("RIP to be behind the program, not in the handler:", b.regs.rip, CODE + 2)


def _fault(events: VcpuEvents) -> VcpuEvents:
    return events._replace(
        exception_injected=1,
        exception_nr=_GP,
        exception_has_error_code=1,
        exception_error_code=0x18,
    )


def _queued(events: VcpuEvents) -> tuple[int, int, int, int]:
    e = events
    return e.exception_injected, e.exception_nr, e.exception_error_code, e.nmi_masked
