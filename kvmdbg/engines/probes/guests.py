"""A guest that debugs itself: its TF, its debug registers, its ICEBP. Must not know: the host's."""

from __future__ import annotations

from typing import Final

from ...uapi import Cap, GuestDbg
from ...x86.registers import DebugRegs
from .. import Engine
from .finding import Probe, Steps, by
from .guest import BD, BS, DR7, END, GP, NONE, OFF, TF, E, Guest, H, S, debug, vector
from .modes import CODE, DATA, KERNEL, LONG_3, MAIN, PROTECTED_3

_DB = 1
_HW = GuestDbg.USE_HW_BP
_G0 = DR7 | 2
_DETECT = DR7 | 1 << 13
_GIVEN_BACK = by("INJECT_DB with RIP moved behind the ICEBP", *KERNEL)


def _load_trap_flag(g: Guest) -> bytes:
    """push 0x102; popf; nop; nop."""
    return b"\x68\x02\x01" + bytes(g.mode.bits // 32 and 2) + b"\x9d\x90\x90"


def _trap_flag(g: Guest) -> Steps:
    code = _load_trap_flag(g)
    for control in (OFF, E):
        g.load(code)
        yield g.run(control), vector(_DB)
        yield g.frame(_DB), f"back to +{len(code) - 1}"
        yield g.dr6(), f"guest's DR6 {BS:#x}"
        g.engine.set_debugregs(DebugRegs())


def _trap_flag_to_host(g: Guest) -> Steps:
    code = _load_trap_flag(g)
    g.load(code)
    yield g.run(H), debug(CODE + len(code) - 1, BS)
    yield g.dr6(), f"guest's DR6 {NONE:#x}"


def _lost_trap_flag(g: Guest) -> Steps:
    g.load(b"\x90", rflags=2 | TF)  # nop
    yield f"RFLAGS {g.engine.get_regs().rflags & TF:#x}", f"RFLAGS {TF:#x}"
    g.sgd(S)
    g.sgd(OFF)
    yield f"RFLAGS {g.engine.get_regs().rflags & TF:#x}", "RFLAGS 0x0"


def _arm(engine: Engine, dr0: int, dr7: int) -> None:
    engine.set_debugregs(DebugRegs((dr0, 0, 0, 0), NONE, dr7))


def _exec(g: Guest) -> Steps:
    g.load(b"\x90\x90")  # nop; nop
    _arm(g.engine, CODE + 1, _G0)
    yield g.run(OFF), vector(_DB)
    yield g.frame(_DB), "back to +1"
    yield g.dr6(), f"guest's DR6 {NONE | 1:#x}"


def _watch(g: Guest) -> Steps:
    g.load(b"\x88\x07\x90")  # mov [bx],al, or mov [rdi],al; nop
    _arm(g.engine, DATA, _G0 | 1 << 16)
    yield g.run(OFF), vector(_DB)
    yield g.frame(_DB), "back to +2"
    yield g.dr6(), f"guest's DR6 {NONE | 1:#x}"


def _inert(g: Guest) -> Steps:
    g.load(b"\x90\x90")  # nop; nop
    _arm(g.engine, CODE + 1, _G0)
    yield g.run(OFF), vector(_DB)
    g.load(b"\x90\x90")
    yield g.run(H), END


def _general_detect(g: Guest) -> Steps:
    g.load(b"\x0f\x21\xc0\x90")  # mov eax,dr0; nop
    g.engine.set_debugregs(DebugRegs(dr7=_DETECT))
    yield g.run(OFF), vector(_DB)
    yield g.frame(_DB), "back to +0"
    yield g.dr6(), f"guest's DR6 {BD:#x}"
    yield f"DR7 {g.engine.get_debugregs().dr7:#x}", f"DR7 {DR7:#x}"


def _icebp(g: Guest) -> Steps:
    g.load(b"\xf1\x90")  # icebp; nop
    yield g.run(OFF), vector(_DB)
    yield g.frame(_DB), "back to +1"


def _icebp_to_host(g: Guest) -> Steps:
    g.load(b"\xf1\x90")  # icebp; nop
    yield g.run(H), debug(CODE, NONE)


def _mov_dr(g: Guest) -> Steps:
    g.load(b"\x0f\x23\xd8\x0f\x21\xd9", rax=0x1234)  # mov dr3,eax; mov ecx,dr3
    yield g.run(OFF), END
    yield f"ECX {g.engine.get_regs().rcx:#x}", "ECX 0x1234"
    yield f"DR3 {g.engine.get_debugregs().db[3]:#x}", "DR3 0x1234"


def _mov_dr_under_host(g: Guest) -> Steps:
    g.load(b"\x0f\x23\xc0\x0f\x21\xc1\x90", rax=0x1234)  # mov dr0,eax; mov ecx,dr0; nop
    yield g.run(H, dr=(CODE + 6,), dr7=_G0), debug(CODE + 6, NONE | 1, _G0)
    yield f"ECX {g.engine.get_regs().rcx:#x}", "ECX 0x1234"


def _mov_dr_at_cpl3(g: Guest) -> Steps:
    g.load(b"\x0f\x21\xc0")  # mov eax,dr0
    yield g.run(OFF), vector(GP)
    yield g.frame(GP), "back to +0"


def _round_trip(g: Guest) -> Steps:
    registers = DebugRegs((1, 2, 3, 4), 0xFFFF4FF0, 0x400)
    g.engine.set_debugregs(registers)
    yield g.engine.get_debugregs(), registers


PROBES: Final = (
    Probe("guest's TF", (91, 94, 95, 96), MAIN, _trap_flag),
    Probe("guest's TF under USE_HW_BP", (98,), MAIN, _trap_flag_to_host, _HW),
    Probe("a step session loses the guest's TF", (100,), KERNEL, _lost_trap_flag),
    Probe("guest's execution breakpoint", (101, 212), MAIN, _exec, Cap.DEBUGREGS),
    Probe("guest's watchpoint", (105, 212), MAIN, _watch, Cap.DEBUGREGS),
    Probe("guest's DR0 inert under USE_HW_BP", (107, 213), MAIN, _inert, _HW),
    Probe("guest's general detect", (143,), KERNEL, _general_detect, Cap.DEBUGREGS),
    Probe("ICEBP to the guest", (108,), MAIN, _icebp, ways=_GIVEN_BACK),
    Probe("ICEBP to the host under USE_HW_BP", (109,), MAIN, _icebp_to_host, _HW),
    Probe("guest's MOV DR", (129,), KERNEL, _mov_dr, Cap.DEBUGREGS),
    Probe("guest's MOV DR beside the host's DR0", (138,), KERNEL, _mov_dr_under_host, _HW),
    Probe("MOV DR at CPL 3 is #GP", (137,), (PROTECTED_3, LONG_3), _mov_dr_at_cpl3),
    Probe("KVM_SET_DEBUGREGS and back", (205,), KERNEL[-1:], _round_trip, Cap.DEBUGREGS),
)
