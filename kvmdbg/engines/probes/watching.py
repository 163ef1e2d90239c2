"""Data watchpoints, I/O breakpoints and general detect: the rest of what DR7 can do for the host.

Must not know: how many debug registers anybody has left.
"""

from __future__ import annotations

from typing import Final

from ...uapi import GuestDbg
from ...x86.registers import CR4
from .. import Capability
from .finding import Probe, Steps, by
from .guest import B0, BD, DR7, END, Guest, H, S, debug, io
from .modes import CODE, DATA, KERNEL, MAIN, STACK

_DATA = (GuestDbg.USE_HW_BP, Capability.HW_DATA)
_GD = (GuestDbg.USE_HW_BP, Capability.HW_GD)
_WRITES, _BOTH, _PORTS, _FOUR = 1 << 16, 3 << 16, 2 << 16, 3 << 18
_G0 = DR7 | 2
_DETECT = DR7 | 1 << 13
_READ_ONLY = by("read-only memory under the watched bytes", *MAIN)
_NO_MEMORY = by("no memory under the watched bytes", *MAIN)
_VALUE = 0x5A


def _store(g: Guest) -> Steps:
    g.load(b"\x88\x07\x90", rax=_VALUE)  # mov [bx],al, or mov [rdi],al; nop
    dr7 = _G0 | _WRITES | _FOUR
    yield g.run(H, dr=(DATA,), dr7=dr7), debug(CODE + 2, B0, dr7)
    yield g.number(DATA, 1), _VALUE


def _load(g: Guest) -> Steps:
    g.load(b"\x8a\x07\x90")  # mov al,[bx], or mov al,[rdi]; nop
    dr7 = _G0 | _BOTH | _FOUR
    yield g.run(H, dr=(DATA,), dr7=dr7), debug(CODE + 2, B0, dr7)


def _same_value(g: Guest) -> Steps:
    g.load(b"\x88\x07\x90")  # mov [bx],al, or mov [rdi],al; nop: a 0 over a 0
    dr7 = _G0 | _WRITES
    yield g.run(H, dr=(DATA,), dr7=dr7), debug(CODE + 2, B0, dr7)


def _with_step(g: Guest) -> Steps:
    g.load(b"\x88\x07\x90")  # mov [bx],al, or mov [rdi],al; nop
    dr7 = _G0 | _WRITES
    yield g.run(S | H, dr=(DATA,), dr7=dr7), debug(CODE + 2, 0xFFFF4FF1, dr7)


def _in_rep(g: Guest) -> Steps:
    g.load(b"\xf3\xaa\x90", rcx=4)  # rep stosb; nop
    dr7 = _G0 | _WRITES
    yield g.run(H, dr=(DATA + 2,), dr7=dr7), debug(CODE, B0, dr7)
    yield f"RCX {g.engine.get_regs().rcx}", "RCX 1"


def _push(g: Guest) -> Steps:
    g.load(b"\x50\x90", rax=0x5A5A5A5A5A5A5A5A)  # push ax, eax or rax; nop
    dr7 = _G0 | _WRITES
    below = STACK - 1
    yield g.run(H, dr=(below,), dr7=dr7), debug(CODE + 1, B0, dr7)


def _port(g: Guest) -> Steps:
    g.load(b"\xe6\x10\x90")  # out 0x10,al; nop
    sregs = g.engine.get_sregs()
    g.engine.set_sregs(sregs._replace(cr4=sregs.cr4 | int(CR4.DE)))
    yield g.run(H, dr=(0x10,), dr7=_G0 | _PORTS), io("out", 0x10)
    yield g.run(), END


def _general_detect(g: Guest) -> Steps:
    for code in (b"\x0f\x21\xc0\x90", b"\x0f\x23\xc0\x90"):  # mov eax,dr0; mov dr0,eax; nop
        g.load(code)
        yield g.run(H, dr7=_DETECT), debug(CODE, BD, _DETECT)
        yield g.run(), debug(CODE, BD, _DETECT)


PROBES: Final = (
    Probe("watchpoint on a store", (63,), MAIN, _store, *_DATA, _READ_ONLY, refused=True),
    Probe("watchpoint on a load", (65,), MAIN, _load, *_DATA, _NO_MEMORY, refused=True),
    Probe(
        "watchpoint, same value stored",
        (78,),
        MAIN,
        _same_value,
        *_DATA,
        _READ_ONLY,
        refused=True,
    ),
    Probe("watchpoint on a PUSH", (80,), MAIN, _push, *_DATA, _READ_ONLY, refused=True),
    Probe(
        "watchpoint and step in one exit", (82,), MAIN, _with_step, *_DATA, _READ_ONLY, refused=True
    ),
    Probe(
        "watchpoint in the middle of a REP", (83,), MAIN, _in_rep, *_DATA, _READ_ONLY, refused=True
    ),
    Probe("no stop for a port in DR0 (CR4.DE)", (87,), KERNEL, _port, GuestDbg.USE_HW_BP),
    Probe("general detect (DR7.GD)", (140, 141), KERNEL, _general_detect, *_GD, refused=True),
)
