"""Exceptions that the host gives the guest. Must not know: where the host got them."""

from __future__ import annotations

from typing import Final

from ...errors import IoctlError
from ...uapi import Cap, GuestDbg
from .. import Capability
from .finding import Probe, Steps, by
from .guest import BS, END, INJECT_BP, INJECT_DB, NONE, OFF, E, Guest, W, int3, vector
from .modes import CODE, KERNEL, MAIN

_DB, _BP = 1, 3
_BP_FLAG, _CAPABILITY = GuestDbg.INJECT_BP, Capability.INJECT
_MOVED = by("RIP moved behind the INT3 before the injection", *MAIN)


def _db(g: Guest) -> Steps:
    for control in (OFF, E):
        g.load(b"\x90")  # nop
        yield g.run(control | INJECT_DB), vector(_DB)
        yield g.frame(_DB), "back to +0"
        yield g.dr6(), f"guest's DR6 {NONE:#x}"


def _bp(g: Guest) -> Steps:
    g.load(b"\x90")  # nop
    yield g.run(E | INJECT_BP), vector(_BP)
    yield g.frame(_BP), "back to +0"


def _bp_at_int3(g: Guest) -> Steps:
    g.load(b"\xcc\x90")  # int3; nop
    if g.run(W) != int3(CODE):
        g.load(b"\xcc\x90")
    yield g.run(W | INJECT_BP), vector(_BP)
    yield g.frame(_BP), "back to +1"


def _bp_arrives(g: Guest) -> Steps:
    g.load(b"\xcc\x90")  # int3; nop: where SVM delivers it at all
    yield g.run(E | INJECT_BP), vector(_BP)


def _both(g: Guest) -> Steps:
    g.load(b"\x90")  # nop
    yield g.run(INJECT_DB | INJECT_BP), vector(_DB)


def _twice(g: Guest) -> Steps:
    g.load(b"\x90")  # nop
    g.sgd(INJECT_DB)
    yield _errno(g, INJECT_BP), "EBUSY"
    yield g.run(), vector(_DB)


def _errno(g: Guest, control: int) -> str:
    try:
        g.sgd(control)
    except IoctlError as error:
        return str(error).split(": ")[1]
    return "no error"


def _dropped(g: Guest) -> Steps:
    g.load(b"\x90")  # nop
    g.sgd(INJECT_DB)
    g.set(rax=1)
    yield g.run(), END


def _payload(g: Guest) -> Steps:
    g.load(b"\x90")  # nop
    events = g.engine.get_vcpu_events()
    given = {"exception_has_payload": 1, "exception_payload": BS & ~NONE}
    g.engine.set_vcpu_events(events._replace(exception_injected=1, exception_nr=_DB, **given))
    yield g.run(OFF), vector(_DB)
    yield g.dr6(), f"guest's DR6 {BS:#x}"


PROBES: Final = (
    Probe("INJECT_DB", (115, 116), MAIN, _db, GuestDbg.INJECT_DB, _CAPABILITY, refused=True),
    Probe("INJECT_BP", (117,), MAIN, _bp_arrives, _BP_FLAG, _CAPABILITY, refused=True),
    Probe("INJECT_BP where no INT3 is", (118,), MAIN, _bp, _BP_FLAG, _CAPABILITY),
    Probe(
        "INJECT_BP returns behind an INT3", (117,), MAIN, _bp_at_int3, _BP_FLAG, _CAPABILITY, _MOVED
    ),
    Probe("INJECT_DB and INJECT_BP: only #DB", (119,), KERNEL, _both, GuestDbg.INJECT_DB),
    Probe("a second injection is EBUSY", (120,), KERNEL[-1:], _twice, GuestDbg.INJECT_DB),
    Probe("KVM_SET_REGS drops an injection", (122,), KERNEL[-1:], _dropped, GuestDbg.INJECT_DB),
    Probe("#DB with its DR6 bits", (111,), MAIN, _payload, Cap.EXCEPTION_PAYLOAD),
)
