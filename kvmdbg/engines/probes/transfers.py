"""Steps over instructions that have an exit of their own: ports and MMIO.

Must not know: what lies behind a port.
"""

from __future__ import annotations

from typing import Final

from ...uapi import GuestDbg
from .. import Capability
from .finding import Probe, Steps, by
from .guest import BS, END, OFF, Guest, S, debug, io, mmio
from .modes import CODE, KERNEL, MMIO

_FLAG, _CAPABILITY = GuestDbg.SINGLESTEP, Capability.SINGLESTEP
_PORT = 0x10
_BEHIND = by("the exit itself: RIP is behind the instruction already", *KERNEL)


def _out(g: Guest) -> Steps:
    g.load(b"\xe6\x10\x90")  # out 0x10,al; nop
    yield g.run(S), io("out", _PORT)
    yield g.run(S), debug(CODE + 2, BS)


def _in(g: Guest) -> Steps:
    g.load(b"\xe4\x10\x90")  # in al,0x10; nop
    yield g.run(S), io("in", _PORT)
    g.engine.complete_io(b"\x99")
    yield g.run(S), debug(CODE + 2, BS)
    yield f"AL {g.engine.get_regs().rax & 0xFF:#x}", "AL 0x99"


def _rep_outs(g: Guest) -> Steps:
    g.load(b"\xf3\x6e\x90", rcx=2, rdx=_PORT, rsi=0x9000)  # rep outsb; nop
    yield g.run(S), io("out", _PORT)
    yield g.run(S), io("out", _PORT)
    yield g.run(S), debug(CODE + 2, BS)


def _store(g: Guest) -> Steps:
    g.load(b"\x88\x07\x90")  # mov [bx],al, or mov [rdi],al; nop
    g.to_mmio()
    yield g.run(S), mmio("store", MMIO, 1)
    yield g.run(S), debug(CODE + 2, BS)


def _load(g: Guest) -> Steps:
    g.load(b"\x8a\x07\x90")  # mov al,[bx], or mov al,[rdi]; nop
    g.to_mmio()
    yield g.run(S), mmio("load", MMIO, 1)
    g.engine.complete_io(b"\x99")
    yield g.run(S), debug(CODE + 2, BS)
    yield f"AL {g.engine.get_regs().rax & 0xFF:#x}", "AL 0x99"


def _increment(g: Guest) -> Steps:
    g.load(b"\xfe\x07\x90")  # inc byte ptr [bx], or [rdi]; nop
    g.to_mmio()
    yield g.run(S), mmio("load", MMIO, 1)
    g.engine.complete_io(b"\x05")
    yield g.run(S), mmio("store", MMIO, 1)
    yield g.run(S), debug(CODE + 2, BS)


def _free(g: Guest) -> Steps:
    g.load(b"\xe6\x10\xe4\x10\x88\x07")  # out 0x10,al; in al,0x10; mov [bx],al, or [rdi]
    g.to_mmio()
    yield g.run(OFF), io("out", _PORT)
    yield g.run(), io("in", _PORT)
    g.engine.complete_io(b"\x99")
    yield g.run(), mmio("store", MMIO, 1)
    yield g.run(), END


PROBES: Final = (
    Probe("OUT, IN and MMIO, not stepped", (), KERNEL, _free),
    Probe("step over OUT", (165,), KERNEL, _out, _FLAG, _CAPABILITY, _BEHIND),
    Probe("step over IN", (166,), KERNEL, _in, _FLAG, _CAPABILITY),
    Probe("step over REP OUTS", (170,), KERNEL, _rep_outs, _FLAG, _CAPABILITY, _BEHIND),
    Probe("step over an MMIO store", (174,), KERNEL, _store, _FLAG, _CAPABILITY, _BEHIND),
    Probe("step over an MMIO load", (173,), KERNEL, _load, _FLAG, _CAPABILITY),
    Probe("step over an INC of MMIO", (175,), KERNEL, _increment, _FLAG, _CAPABILITY, _BEHIND),
)
