"""The contract's chapter about KVM_SET_GUEST_DEBUG: who gets a #DB or #BP, and what the exit says.

Must not know: planted bytes, breakpoints with numbers, or anything above the ioctl line.
"""

from __future__ import annotations

import errno

from ..engines import Capability, emulated
from ..errors import IoctlError
from ..exits import DebugExit, HltExit
from ..x86.registers import DebugRegs
from .bench import (
    CODE,
    DATA,
    HANDLED,
    HLT,
    INJECT_BP,
    INJECT_DB,
    INT3,
    JMP_SELF,
    LOAD,
    MOV_FROM_DR0,
    NOP,
    STORE,
    Bench,
    E,
    H,
    S,
    W,
    mov_al,
)
from .contract import Chapter, NotAsked, expect, refuses

CHAPTER = Chapter("debugging")
_NONE, _BD, _BS, _TF = 0xFFFF0FF0, 0x2000, 0x4000, 0x100
_DB, _BP = 1, 3
_JMP_BACK = b"\xeb\xfc"
_WRITE_DR0, _BOTH_DR0, _DETECT = 0x10402, 0x30402, 0x2400
_OWN = DebugRegs((0x1111, 0x2222, 0x3333, 0x4444), 0xFFFF0FF0, 0x400)


@CHAPTER.check(modes=())
def unknown_control_bits_do_nothing(b: Bench) -> None:
    """Control bits that KVM does not know are accepted on x86 and change nothing."""
    b.boot(NOP + HLT)
    for control in (0x4, 0x8, 0x100, 0x200000, 0x80000000):
        b.sgd(control | E)
        b.set(rip=CODE)
        expect(f"the exit under {control:#x} to be", b.run(), HltExit())


@CHAPTER.check(modes=())
def without_enable_flags_do_not_count(b: Bench) -> None:
    """Without KVM_GUESTDBG_ENABLE no flag but an injection counts."""
    b.boot(NOP + HLT)
    b.sgd(S | W | H, dr0=CODE, dr7=0x402)
    expect("the exit to be", b.run(), HltExit())


@CHAPTER.check(modes=())
def what_kvm_does_not_look_at_is_accepted(b: Bench) -> None:
    """debugreg[4] to [6] and the upper half of debugreg[7] are accepted and not looked at."""
    b.boot(NOP + HLT)
    b.engine.set_guest_debug(E | H, (0, 0, 0, 0, 5, 6, 7, 1 << 40 | 0x400))
    b.sgd(0)
    expect("the exit to be", b.run(), HltExit())


@CHAPTER.check(Capability.SINGLESTEP)
def a_step_executes_one_instruction(b: Bench) -> None:
    """Under SINGLESTEP ``run`` executes one instruction: DR6 has BS, pc is the next one's."""
    b.boot(NOP * 2 + mov_al(1) + NOP + HLT)
    b.sgd(E | S)
    for after in (1, 2, 4):
        exit = b.engine.run()
        expect("the exit to be", exit, DebugExit(_DB, CODE + after, _NONE | _BS, 0x400))
        expect("RIP to be", b.regs.rip, CODE + after)
    expect("AL to be", b.al, 1)


@CHAPTER.check(Capability.BULK_STEPS)
def steps_in_bulk_are_single_steps(b: Bench) -> None:
    """``run_steps`` makes steps of which each has the pc and the clock that ``run`` would have come
    back with, never more than asked for, and ends in front of its stops."""
    b.boot(NOP * 2 + _JMP_BACK)
    b.sgd(E | S)
    b.engine.run()
    begin = b.engine.clock
    steps = b.engine.run_steps(30)
    pcs, clocks = ([], []) if steps is None else (steps.pcs.tolist(), steps.clocks.tolist())
    made = len(pcs)
    expect("the number of steps to be in 1..30", 1 <= made <= 30, True)
    expect("the pcs to be", pcs, [CODE + n % 3 for n in range(2, made + 2)])
    expect("the clocks to be", clocks, list(range(begin + 1, begin + made + 1)))
    one_more = DebugExit(_DB, CODE + (made + 2) % 3, _NONE | _BS, 0x400)
    expect("the exit of one step more to be", b.engine.run(), one_more)
    to_stop = [CODE + (made + n) % 3 for n in (3, 4)]
    steps = b.engine.run_steps(30, {to_stop[-1]})
    expect("the steps to a stop to be", [] if steps is None else steps.pcs.tolist(), to_stop)


@CHAPTER.check(Capability.SINGLESTEP)
def get_regs_never_shows_the_hosts_tf(b: Bench) -> None:
    """``get_regs`` shows no TF while the host single-steps, and none afterwards."""
    b.boot(NOP * 2 + HLT)
    for control in (E | S, 0):
        b.sgd(control)
        expect("TF to be", b.regs.rflags & _TF, 0)
        b.run()
        expect("TF after a run to be", b.regs.rflags & _TF, 0)


@CHAPTER.check(Capability.SINGLESTEP)
def switching_off_ends_the_stepping(b: Bench) -> None:
    """A control word of 0 ends single-stepping: the guest runs to its HLT."""
    b.boot(NOP * 3 + HLT)
    b.run(E | S)
    expect("the exit to be", b.run(0), HltExit())
    expect("RIP to be", b.regs.rip, CODE + 4)


@CHAPTER.check(Capability.SW_BP)
def int3_stops_at_its_byte(b: Bench) -> None:
    """Under USE_SW_BP an INT3 ends ``run`` with exception 3, RIP and pc at the INT3."""
    b.boot(NOP + INT3 + HLT)
    for _ in range(2):
        expect("the exit to be", b.run(E | W), DebugExit(_BP, CODE + 1))
        expect("RIP to be", b.regs.rip, CODE + 1)


@CHAPTER.check(Capability.SW_BP)
def int3_is_the_guests_without_use_sw_bp(b: Bench) -> None:
    """Without USE_SW_BP an INT3 enters the guest's own handler."""
    b.boot(NOP + INT3 + HLT)
    b.gate(_BP)
    if Capability.SW_BP in emulated(b.engine):
        raise NotAsked("a processor that takes INT3 by itself")
    expect("the exit to be", b.run(E), HltExit())
    expect("RIP to be in the handler of #BP:", b.regs.rip, HANDLED + 16 * _BP)


@CHAPTER.check(Capability.HW_EXEC)
def an_execution_breakpoint_stops_before_its_instruction(b: Bench) -> None:
    """Each of DR0-DR3 stops before the instruction at its address, with its B bit in DR6."""
    b.boot(NOP + mov_al(9) + HLT)
    for slot in range(4):
        dr7 = 0x400 | 2 << 2 * slot
        b.set(rip=CODE, rax=0)
        b.sgd(E | H, dr7=dr7, **{f"dr{slot}": CODE + 1})
        exit = DebugExit(_DB, CODE + 1, _NONE | 1 << slot, dr7)
        expect(f"the exit by DR{slot} to be", b.run(), exit)
        expect("AL to be", b.al, 0)


@CHAPTER.check(Capability.HW_EXEC)
def a_breakpoint_that_is_not_enabled_never_hits(b: Bench) -> None:
    """An address in DR0-DR3 without its enable bit in DR7 does not count."""
    b.boot(NOP * 2 + HLT)
    b.sgd(E | H, dr7=0x400, dr0=CODE + 1)
    expect("the exit to be", b.run(), HltExit())


@CHAPTER.check(Capability.HW_WRITE)
def a_watchpoint_stops_after_the_store(b: Bench) -> None:
    """A write watchpoint stops after the instruction that stored, with its B bit in DR6."""
    b.boot(mov_al(0x42) + STORE + NOP + HLT)
    b.point_at(DATA)
    b.sgd(E | H, dr7=_WRITE_DR0, dr0=DATA)
    expect("the exit to be", b.run(), DebugExit(_DB, CODE + 4, _NONE | 1, _WRITE_DR0))
    expect("the watched byte to be", b.engine.read_memory(DATA, 1), b"\x42")


@CHAPTER.check(Capability.HW_WRITE)
def a_watchpoint_does_not_see_its_neighbours(b: Bench) -> None:
    """A write watchpoint of one byte does not hit for the bytes beside it."""
    b.boot(STORE + HLT)
    for address in (DATA - 1, DATA + 1):
        b.point_at(address)
        b.set(rip=CODE)
        b.sgd(E | H, dr7=_WRITE_DR0, dr0=DATA)
        expect(f"the exit by a store to {address:#x} to be", b.run(), HltExit())


@CHAPTER.check(Capability.HW_DATA)
def a_watchpoint_for_both_stops_after_the_load(b: Bench) -> None:
    """A read-write watchpoint stops after the instruction that loaded, too."""
    b.boot(LOAD + NOP + HLT)
    b.point_at(DATA)
    b.sgd(E | H, dr7=_BOTH_DR0, dr0=DATA)
    expect("the exit to be", b.run(), DebugExit(_DB, CODE + 2, _NONE | 1, _BOTH_DR0))


@CHAPTER.check(Capability.HW_GD)
def general_detect_stops_before_mov_dr(b: Bench) -> None:
    """DR7.GD in the host's DR7 stops before a MOV DR, with BD in DR6."""
    b.boot(NOP + MOV_FROM_DR0 + HLT)
    b.sgd(E | H, dr7=_DETECT)
    expect("the exit to be", b.run(), DebugExit(_DB, CODE + 1, _NONE | _BD, _DETECT))


@CHAPTER.check(Capability.HW_EXEC)
def the_hosts_debug_registers_are_never_seen(b: Bench) -> None:
    """``get_debugregs`` and the guest's MOV DR give the guest's own, whatever the host has set."""
    b.boot(MOV_FROM_DR0 + NOP + HLT)
    b.engine.set_debugregs(_OWN)
    b.sgd(E | H, dr7=0x402, dr0=CODE + 3)
    expect("get_debugregs() to give", b.engine.get_debugregs(), _OWN)
    b.run()
    expect("DR0 as the guest reads it to be", b.regs.rax, _OWN.db[0])
    expect("get_debugregs() after a hit to give", b.engine.get_debugregs(), _OWN)


@CHAPTER.check(Capability.INJECT)
def an_injection_enters_the_guests_handler(b: Bench) -> None:
    """INJECT_DB and INJECT_BP, with or without ENABLE, enter the handler of vector 1 or 3."""
    for control, vector in ((INJECT_DB, _DB), (E | INJECT_DB, _DB), (E | INJECT_BP, _BP)):
        b.boot(JMP_SELF)
        b.gate(_DB, _BP)
        expect("the exit to be", b.run(control), HltExit())
        expect("RIP to be in the handler:", b.regs.rip, HANDLED + 16 * vector)
        expect("DR6 to be", b.engine.get_debugregs().dr6, _NONE)


@CHAPTER.check(Capability.INJECT)
def a_second_injection_is_ebusy(b: Bench) -> None:
    """An injection while an exception waits is EBUSY, and nothing else of that call counts."""
    b.boot(JMP_SELF)
    b.gate(_DB)
    b.sgd(INJECT_DB)
    refuses("a second injection", lambda: b.sgd(E | S | INJECT_BP), IoctlError, errno.EBUSY)
    expect("the exit to be", b.run(), HltExit())
    expect("RIP to be in the handler of #DB:", b.regs.rip, HANDLED + 16 * _DB)


@CHAPTER.check(Capability.INJECT, modes=())
def another_call_keeps_a_waiting_injection(b: Bench) -> None:
    """A call without an injection, while one waits, succeeds and leaves it waiting."""
    b.boot(JMP_SELF)
    b.gate(_DB)
    b.sgd(INJECT_DB)
    expect("the exit to be", b.run(E), HltExit())
    expect("RIP to be in the handler of #DB:", b.regs.rip, HANDLED + 16 * _DB)
