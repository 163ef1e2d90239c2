"""Who caused an exit, what KVM would have done without a debugger, and whether to give it back.

Pure: from an exit and what the host had set to words and to the calls that re-inject (spec 4, 6
and 7). ``judging`` acts by the same rules while a guest runs; this file explains one exit to people
who hold the ioctl line themselves. Must not know: any engine, or how an answer is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..exits import DebugExit, ExceptionExit, Exit, IntrExit
from ..uapi import GuestDbg
from ..x86.debugreg import (
    DR6_B,
    DR6_BD,
    DR6_BS,
    DR6_BT,
    DR6_RESET,
    DR7_GD,
    Access,
    decode_dr7,
    watched_range,
)
from ..x86.registers import DebugRegs
from ..x86.vectors import name as vector_name
from .stop import GuestDebugSetting, Stop

_VERBS = {
    Access.EXEC: "execution of",
    Access.WRITE: "a write to",
    Access.IO: "I/O at",
    Access.READ_WRITE: "a read or write of",
}
_YES = "yes: it is the guest's own; give it back as below"
_BY_ITSELF = "%step and %vm run do it by themselves"
_DONE = "done: this command has given the guest its own back, as below"
_INJECT = GuestDbg.INJECT_DB | GuestDbg.INJECT_BP
_NOTHING = "nothing: the guest would have run on"
_UNWATCHED = "nothing, unless the guest's own DR0-DR3 watch the same place"
_SAME = "the same exit: it is no debug event"


class Claim(NamedTuple):
    """One cause. ``inject`` is the INJECT flag that gives it back, or 0 if it is the host's."""

    who: str
    without: str
    inject: int = 0
    payload: int = 0


class Verdict(NamedTuple):
    """All causes of one exit; ``calls`` are Python lines that give the guest what is its own."""

    claims: tuple[Claim, ...]
    advice: str
    calls: tuple[str, ...] = ()


def of_exit(
    exit: Exit, setting: GuestDebugSetting, guest: DebugRegs, ours: bool, words: str = ""
) -> Verdict:
    """The verdict on one exit that came with ``setting`` in force.

    ``guest`` are the guest's own debug registers, ``ours`` says that an INT3 at its pc was planted
    by the host, ``words`` are the debugger's own reasons, which know breakpoints and values.

    >>> step = GuestDebugSetting(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)
    >>> of_exit(DebugExit(1, 0x8001, 0xFFFF4FF0), step, DebugRegs(), False).claims[0].who
    'the host: its single step (SINGLESTEP), BS in DR6'
    """
    if not isinstance(exit, DebugExit):
        return Verdict((_no_debug_exit(exit),), _no_injection(exit))
    claims: tuple[Claim, ...]
    if exit.exception == 3:
        claims = (_planted(words) if ours else _GUEST_INT3,)
    else:
        claims = tuple(_claims(exit, setting, guest, words)) or (_ICEBP,)
    return _advised(exit, claims, setting, guest)


def of_stop(stop: Stop) -> Verdict:
    """The verdict on a stop; the debugger gives back by itself what is the guest's.

    A stop at an INT3 is always at the host's: the guest's own is handed back and run into.
    """
    verdict = of_exit(stop.exit, stop.debug, stop.debugregs, ours=True, words=stop.cause)
    sent = int(GuestDbg(stop.debug.control) & _INJECT)
    claims = (_given_back(sent), *verdict.claims) if sent else verdict.claims
    if verdict.calls:
        return Verdict(claims, f"{_YES} ({_BY_ITSELF})", verdict.calls)
    if sent:
        return Verdict(claims, _DONE, (_set_guest_debug(stop.debug, sent),))
    return verdict


def _reason(words: str, mark: str, otherwise: str) -> str:
    """The one of the debugger's reasons that speaks of ``mark``."""
    return next((reason for reason in words.split("; ") if mark in reason), otherwise)


# #BP


_GUEST_INT3 = Claim(
    "the guest: its own INT3, intercepted because of USE_SW_BP",
    "the guest's vector 3 (#BP), with the RIP after the INT3 saved",
    int(GuestDbg.INJECT_BP),
)


def _planted(words: str) -> Claim:
    who = _reason(words, "(INT3)", "an INT3 that the debugger planted for this command")
    return Claim(
        f"the host: {who}",
        "nothing: without our INT3 the program's own instruction is there",
    )


# #DB


_ICEBP = Claim(
    "the guest: INT1 (F1, ICEBP), the one #DB that DR6 gives no cause for",
    "the guest's vector 1 (#DB), with the RIP after the F1 saved",
    int(GuestDbg.INJECT_DB),
)


def _claims(
    exit: DebugExit, setting: GuestDebugSetting, guest: DebugRegs, words: str
) -> Iterator[Claim]:
    """One claim for each cause in DR6."""
    yield from _slots(exit.dr6, setting, guest, words)
    if exit.dr6 & DR6_BS:
        yield _step(setting)
    if exit.dr6 & DR6_BD:
        yield _general_detect(setting)
    if exit.dr6 & DR6_BT:
        yield _guests("a task switch to a TSS with its T bit set", setting, DR6_BT)


def _slots(dr6: int, setting: GuestDebugSetting, guest: DebugRegs, words: str) -> Iterator[Claim]:
    host = setting.effective
    db, dr7 = (guest.db, guest.dr7) if host is None else (host[:4], host[7])
    for slot, address in zip(decode_dr7(dr7).slots, db, strict=True):
        if not dr6 >> slot.index & 1:
            continue
        start, end = watched_range(address, slot.length)
        span = f"{start:#x}" if slot.length == 1 else f"{start:#x}-{end - 1:#x}"
        what = f"DR{slot.index}, {_VERBS[slot.access]} {span}"
        if not slot.enabled:
            what = f"B{slot.index} in DR6, but slot {slot.index} is off"
            yield Claim(f"nobody: {what} (it means nothing)", _NOTHING)
        elif host is None:
            yield _guests(f"its {what}", setting, 1 << slot.index)
        else:
            who = _reason(words, f"(DR{slot.index},", what)
            yield Claim(f"the host: {who}", _UNWATCHED)


def _step(setting: GuestDebugSetting) -> Claim:
    if setting.control & GuestDbg.SINGLESTEP:
        return Claim("the host: its single step (SINGLESTEP), BS in DR6", _NOTHING)
    return _guests("its own trap flag (TF)", setting, DR6_BS)


def _general_detect(setting: GuestDebugSetting) -> Claim:
    host = setting.effective
    if host is not None and host[7] & DR7_GD:
        return Claim(
            "the host: general detect (GD in its DR7), before a MOV DR",
            "nothing: the MOV DR would have been carried out",
        )
    return _guests("general detect (GD in its own DR7), before a MOV DR", setting, DR6_BD)


def _guests(what: str, setting: GuestDebugSetting, payload: int) -> Claim:
    flag = "SINGLESTEP" if setting.control & GuestDbg.SINGLESTEP else "USE_HW_BP"
    return Claim(
        f"the guest: {what}, intercepted because of {flag}",
        "the guest's vector 1 (#DB), with the cause in its DR6",
        int(GuestDbg.INJECT_DB),
        payload,
    )


def _given_back(sent: int) -> Claim:
    vector = 1 if sent & GuestDbg.INJECT_DB else 3
    what = "#DB" if vector == 1 else "#BP (INT3)"
    return Claim(
        f"the guest: its own {what}, which the host intercepted on the way",
        f"the guest's vector {vector}, as it has happened now",
    )


# What is no KVM_EXIT_DEBUG


def _no_debug_exit(exit: Exit) -> Claim:
    if isinstance(exit, ExceptionExit):
        vector = vector_name(exit.exception, exit.software)
        return Claim(
            f"the guest: it is about to take {vector}, which the host watches",
            f"the guest's vector {exit.exception}; KVM on x86 has no such exit",
        )
    if isinstance(exit, IntrExit):
        return Claim(f"the host: it ended the run ({exit.cause})", _NOTHING)
    return Claim(f"the guest: KVM_EXIT_{exit.reason.name}", _SAME)


def _no_injection(exit: Exit) -> str:
    if isinstance(exit, ExceptionExit):
        return "no: the guest takes it as soon as it runs on"
    return "no: there is nothing to give back"


# The calls


def _advised(
    exit: DebugExit, claims: tuple[Claim, ...], setting: GuestDebugSetting, guest: DebugRegs
) -> Verdict:
    inject = payload = 0
    for claim in claims:
        inject |= claim.inject
        payload |= claim.payload
    if not inject:
        return Verdict(claims, "no: it is the host's")
    calls = [_set_guest_debug(setting, inject)]
    if inject & GuestDbg.INJECT_DB:
        calls.insert(0, _set_dr6(guest, payload))
    if _ICEBP in claims:
        calls.insert(0, "vm.set_regs(rip=vm.regs().rip + 1)")
    return Verdict(claims, _YES, tuple(calls))


def _set_dr6(guest: DebugRegs, payload: int) -> str:
    """INJECT_DB carries no payload, so DR6 is written first (spec 7)."""
    dr6 = guest.dr6 & ~DR6_B | DR6_RESET | payload
    return f"vm.vcpu.set_debugregs(vm.debugregs()._replace(dr6={dr6:#x}))"


def _set_guest_debug(setting: GuestDebugSetting, inject: int) -> str:
    flags = [flag for flag in GuestDbg if setting.control & ~_INJECT & flag]
    flags += [flag for flag in GuestDbg if inject & flag]
    words = " | ".join(f"GuestDbg.{flag.name}" for flag in flags)
    debugreg = ""
    if setting.effective is not None:
        debugreg = ", (" + ", ".join(f"{value:#x}" for value in setting.debugreg) + ")"
    return f"vm.vcpu.set_guest_debug({words}{debugreg})"
