"""KVM_GUESTDBG_SINGLESTEP: where a step stops, and what it lets the guest see.

Must not know: other ways to stop a guest.
"""

from __future__ import annotations

from typing import Final

from ...uapi import GuestDbg
from .. import Capability
from .finding import Probe, Steps, by
from .guest import BS, DR7, END, HALTED, OFF, TF, Guest, S, debug, vector
from .modes import CODE, KERNEL, KERNEL_DATA, LONG_3, MAIN, MODES, Mode

_FLAG, _CAPABILITY = GuestDbg.SINGLESTEP, Capability.SINGLESTEP
_AT_CPL3 = by("TF and a #DB stub in an IDT of the engine's", LONG_3)
_HLT = by("carrying the HLT out in the engine", *KERNEL)


def _plain(g: Guest) -> Steps:
    g.load(b"\x90\x90\x90")  # nop; nop; nop
    for done in (1, 2, 3):
        yield g.run(S), debug(CODE + done, BS)


def _stays_on(g: Guest) -> Steps:
    g.load(b"\x90\x90")  # nop; nop
    g.sgd(S)
    for done in (1, 2):
        yield g.run(), debug(CODE + done, BS)


def _hidden_in_regs(g: Guest) -> Steps:
    g.load(b"\x90")  # nop
    yield g.run(S), debug(CODE + 1, BS)
    yield f"TF {g.engine.get_regs().rflags & TF:#x}", "TF 0x0"


def _hidden_in_pushf(g: Guest) -> Steps:
    g.load(b"\x9c\x90")  # pushf; nop
    yield g.run(S), debug(CODE + 1, BS)
    pushed = g.number(g.engine.get_regs().rsp, 2)
    yield f"TF {pushed & TF:#x} pushed", "TF 0x0 pushed"


def _debugregs_stay(g: Guest) -> Steps:
    g.load(b"\x90")  # nop
    before = g.engine.get_debugregs()
    yield g.run(S), debug(CODE + 1, BS)
    yield g.engine.get_debugregs(), before


def _shows_dr7(g: Guest) -> Steps:
    g.load(b"\x90")  # nop
    g.engine.set_debugregs(g.engine.get_debugregs()._replace(dr7=DR7 | 0x55))
    yield g.run(S), debug(CODE + 1, BS, DR7 | 0x55)


def _mov_ss(g: Guest) -> Steps:
    g.load(b"\x8e\xd0\x90\x90", rax=_stack_selector(g.mode))  # mov ss,ax; nop; nop
    yield g.run(S), debug(CODE + 3, BS)


def _sti(g: Guest) -> Steps:
    g.load(b"\xfb\x90")  # sti; nop
    yield g.run(S), debug(CODE + 1, BS)


def _popf(g: Guest) -> Steps:
    g.load(b"\x6a\x02\x9d\x90")  # push 2; popf; nop
    for place in (2, 3, 4):
        yield g.run(S), debug(CODE + place, BS)


def _cpuid(g: Guest) -> Steps:
    g.load(b"\x0f\xa2\x90")  # cpuid; nop
    yield g.run(S), debug(CODE + 2, BS)


def _hlt(g: Guest) -> Steps:
    g.load(b"\xf4\x90")  # hlt; nop
    yield g.run(S), f"{HALTED} at +1"
    yield g.run(S), debug(CODE + 2, BS)


def _rep(g: Guest) -> Steps:
    g.load(b"\xf3\xaa\x90", rcx=3)  # rep stosb; nop
    for left in (2, 1):
        yield _with_count(g, g.run(S)), f"{debug(CODE, BS)}, RCX {left}"
    yield _with_count(g, g.run(S)), f"{debug(CODE + 2, BS)}, RCX 0"


def _with_count(g: Guest, seen: str) -> str:
    return f"{seen}, RCX {g.engine.get_regs().rcx}"


def _int_n(g: Guest) -> Steps:
    g.load(b"\xcd\x20\x90\x90")  # int 0x20; nop; nop
    g.handler(0x20, b"\x48\xcf" if g.mode.long else b"\xcf")  # iretq; or iret
    yield g.run(S), debug(CODE + 3, BS)


def _fault(g: Guest) -> Steps:
    g.load(b"\x0f\x0b\x90\x90")  # ud2; nop; nop
    # 83 04 24 02: add dword ptr [esp or rsp], 2
    skip = b"\x48\x83\x04\x24\x02\x48\xcf" if g.mode.long else b"\x83\x04\x24\x02\xcf"
    g.handler(6, skip)
    yield g.run(S), debug(CODE + 3, BS)


def _moved(g: Guest) -> Steps:
    g.load(b"\x90\x90\x90\x90")  # nop, four times
    yield g.run(S), debug(CODE + 1, BS)
    g.sgd(S)
    g.set(rip=CODE + 2)
    yield g.run(), END


def _off(g: Guest) -> Steps:
    g.load(b"\x90\x0f\x0b")  # nop; ud2
    yield g.run(S), debug(CODE + 1, BS)
    yield g.run(OFF), vector(6)
    yield g.frame(6), "back to +1"


def _stack_selector(mode: Mode) -> int:
    return KERNEL_DATA if mode.bits != 16 else 0


PROBES: Final = (
    Probe("step", (1, 2, 3), MODES, _plain, _FLAG, _CAPABILITY, _AT_CPL3, refused=True),
    Probe("step again without a new call", (5,), MAIN, _stays_on, _FLAG, _CAPABILITY),
    Probe("stepping switched off", (6,), MAIN, _off, _FLAG, _CAPABILITY),
    Probe("step over POPF", (20,), KERNEL, _popf, _FLAG, _CAPABILITY),
    Probe("step over CPUID", (11,), MAIN, _cpuid, _FLAG, _CAPABILITY),
    Probe("step over MOV SS", (148,), KERNEL, _mov_ss, _FLAG, _CAPABILITY),
    Probe("step over STI", (156,), KERNEL, _sti, _FLAG, _CAPABILITY),
    Probe("step over HLT", (18,), KERNEL, _hlt, _FLAG, _CAPABILITY, _HLT),
    Probe("step over REP", (161,), MAIN, _rep, _FLAG, _CAPABILITY),
    Probe("step over INT n", (180,), KERNEL, _int_n, _FLAG, _CAPABILITY),
    Probe("step over a fault", (178,), KERNEL[1:], _fault, _FLAG, _CAPABILITY),
    Probe("KVM_SET_REGS elsewhere ends the step", (15,), KERNEL, _moved, _FLAG, _CAPABILITY),
    Probe("TF hidden in KVM_GET_REGS", (22,), MAIN, _hidden_in_regs, _FLAG, _CAPABILITY),
    Probe("TF hidden in PUSHF", (21,), MAIN, _hidden_in_pushf, _FLAG, _CAPABILITY),
    Probe("a step leaves the guest's DR0-DR7", (23,), MAIN, _debugregs_stay, _FLAG, _CAPABILITY),
    Probe("dr7 in a step's exit", (24,), MAIN, _shows_dr7, _FLAG, _CAPABILITY),
)
