"""INT3, and execution breakpoints in DR0-DR3. Must not know: who plants an INT3."""

from __future__ import annotations

from typing import Final

from ...uapi import GuestDbg
from .. import Capability
from .finding import Probe, Steps, by
from .guest import B0, BS, DR7, END, NONE, OFF, RF, E, Guest, H, S, W, debug, int3, vector
from .modes import (
    CODE,
    COMPAT,
    KERNEL,
    KERNEL_DATA,
    LONG,
    MAIN,
    MODES,
    PROTECTED,
    PROTECTED_3,
    REAL,
)

_SW = (GuestDbg.USE_SW_BP, Capability.SW_BP)
_HW = (GuestDbg.USE_HW_BP, Capability.HW_EXEC)
_BP = 3
_G0 = DR7 | 2
"""DR7 with DR0 enabled for execution."""
_PLANTED = {
    **by("the INTERNAL_ERROR exit at a planted INT3", PROTECTED, COMPAT, LONG),
    **by("steps, with a look at each instruction before it", REAL, PROTECTED_3),
}
_PASSING = by("a step with the breakpoint disarmed", *KERNEL, PROTECTED_3)
_GIVEN_BACK = by("INJECT_BP with RIP moved behind the INT3", PROTECTED, LONG)


def _int3_to_host(g: Guest) -> Steps:
    g.load(b"\xcc\x90")  # int3; nop
    yield g.run(W), int3(CODE)
    yield f"RIP {g.engine.get_regs().rip:#x}", f"RIP {CODE:#x}"
    yield g.run(W), int3(CODE)


def _int3_to_guest(g: Guest) -> Steps:
    for control in (OFF, E, H):
        g.load(b"\xcc\x90")  # int3; nop
        yield g.run(control), vector(_BP)
        yield g.frame(_BP), "back to +1"


def _exec(g: Guest) -> Steps:
    g.load(b"\x90\x90")  # nop; nop
    for slot in range(4):
        dr7 = DR7 | 2 << 2 * slot
        g.set(rip=CODE)
        dr = tuple(CODE + 1 if n == slot else 0 for n in range(4))
        yield g.run(H, dr=dr, dr7=dr7), debug(CODE + 1, NONE | 1 << slot, dr7)


def _first(g: Guest) -> Steps:
    g.load(b"\x90")  # nop
    yield g.run(H, dr=(CODE,), dr7=_G0), debug(CODE, B0, _G0)
    yield g.run(), debug(CODE, B0, _G0)


def _two(g: Guest) -> Steps:
    g.load(b"\x90\x90")  # nop; nop
    dr7 = DR7 | 0x22
    yield g.run(H, dr=(CODE + 1, 0, CODE + 1), dr7=dr7), debug(CODE + 1, NONE | 5, dr7)


def _local(g: Guest) -> Steps:
    g.load(b"\x90\x90")  # nop; nop
    dr7 = DR7 | 1
    yield g.run(H, dr=(CODE + 1,), dr7=dr7), debug(CODE + 1, B0, dr7)


def _rf(g: Guest) -> Steps:
    g.load(b"\x90\x90")  # nop; nop
    yield g.run(H, dr=(CODE + 1,), dr7=_G0), debug(CODE + 1, B0, _G0)
    g.set(rflags=g.engine.get_regs().rflags | RF)
    yield _passed(g.run(H, dr=(CODE + 1,), dr7=_G0)), END


def _passed(seen: str) -> str:
    return "RF does not pass it" if seen == debug(CODE + 1, B0, _G0) else seen


def _stepped_off(g: Guest) -> Steps:
    g.load(b"\x90\x90")  # nop; nop
    yield g.run(H, dr=(CODE,), dr7=_G0), debug(CODE, B0, _G0)
    yield g.run(S), debug(CODE + 1, BS)
    yield g.run(H, dr=(CODE,), dr7=_G0), END


def _with_step(g: Guest) -> Steps:
    g.load(b"\x90\x90")  # nop; nop
    for dr6 in (BS, B0):
        yield g.run(S | H, dr=(CODE + 1,), dr7=_G0), debug(CODE + 1, dr6, _G0)


def _behind_mov_ss(g: Guest) -> Steps:
    selector = 0 if g.mode.bits == 16 else KERNEL_DATA
    g.load(b"\x8e\xd0\x90\x90", rax=selector)  # mov ss,ax; nop; nop
    dr7 = _G0 | 8
    yield g.run(H, dr=(CODE + 2, CODE + 3), dr7=dr7), debug(CODE + 3, NONE | 2, dr7)


def _guests_registers_stay(g: Guest) -> Steps:
    g.load(b"\x90\x90")  # nop; nop
    before = g.engine.get_debugregs()
    yield g.run(H, dr=(CODE + 1,), dr7=_G0), debug(CODE + 1, B0, _G0)
    yield g.engine.get_debugregs(), before


PROBES: Final = (
    Probe("INT3 to the host", (26, 27), MODES, _int3_to_host, *_SW, _PLANTED, refused=True),
    Probe("INT3 to the guest", (29, 30, 31), MAIN, _int3_to_guest, ways=_GIVEN_BACK),
    Probe("execution breakpoint in DR0 to DR3", (41,), MODES, _exec, *_HW, refused=True),
    Probe("breakpoint at the first instruction", (45,), MAIN, _first, *_HW, refused=True),
    Probe("two breakpoints at one address", (48,), KERNEL, _two, *_HW, refused=True),
    Probe("breakpoint by its L bit", (42,), KERNEL, _local, *_HW, refused=True),
    Probe("RF passes a breakpoint", (46,), MAIN, _rf, *_HW, _PASSING, above=True),
    Probe("step off a breakpoint", (47,), MAIN, _stepped_off, *_HW),
    Probe("breakpoint and step at once", (52,), MAIN, _with_step, *_HW),
    Probe("no breakpoint behind MOV SS", (151,), KERNEL, _behind_mov_ss, *_HW),
    Probe("a hit leaves the guest's DR0-DR7", (58,), MAIN, _guests_registers_stay, *_HW),
)
