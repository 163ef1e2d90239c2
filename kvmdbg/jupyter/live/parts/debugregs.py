"""The debug registers for pages: who has what in DR0-DR3, DR6 and DR7 field by field, what may be
armed, and how it was over time (docs/live-views.md, "The debug registers").

It only words what the VM says. Must not know: channels, widgets, or how a page draws it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ....debugger.names import DOLLAR_ONLY, REGISTERS
from ....engines import Capability, emulated
from ....exits import DebugExit
from ....views.cpu import mode_words
from ....views.debugregs import dr6_words, dr7_words, field_value, slot_words
from ....views.tables import printable
from ....x86.debugreg import (
    DR7_ENABLE,
    Access,
    Field,
    decode_dr7,
    fields_dr6,
    fields_dr7,
    watched_range,
)
from ....x86.registers import CR4, MASK64, CpuMode, DebugRegs, Sregs
from ....x86.vectors import Vector
from .debugregs_history import Look, history_of

if TYPE_CHECKING:
    from ....debugger.breakpoints import Breakpoint
    from ....debugger.vm import Vm
    from ..wishes import Wishes

MOST_SYMBOLS: Final = 500

_decoded = lru_cache(maxsize=64)(decode_dr7)

_ACCESS: Final = {
    Access.EXEC: "execution",
    Access.WRITE: "writes",
    Access.IO: "I/O",
    Access.READ_WRITE: "reads and writes",
}
_IO: Final = (
    "an I/O breakpoint (R/W = 10) never stops a guest of KVM: IN and OUT leave the guest before "
    "the processor looks at DR7; a port access is an exit of its own"
)
_READ: Final = "x86 cannot watch reads alone; choose reads and writes"


class Sides(NamedTuple):
    """Whose registers there are.

    ``given`` is what the host last gave to KVM_SET_GUEST_DEBUG and is in effect, ``wanted`` what
    the debugger will give at its next entry; None where the guest's own count.
    """

    guest: DebugRegs
    given: tuple[int, ...] | None
    wanted: tuple[int, ...] | None

    @property
    def host(self) -> tuple[int, ...] | None:
        """What to show of the host's: what will be in effect, or else what is."""
        return self.wanted or self.given

    def stepped_off(self, index: int) -> bool:
        """Whether the last entry left a slot out, to step off its instruction (spec 9).

        Then its address is there all the same; of a breakpoint that is new it is not.
        """
        if self.given is None or self.wanted is None or self.given[index] != self.wanted[index]:
            return False
        was = _decoded(self.given[7]).slots[index]
        will = _decoded(self.wanted[7]).slots[index]
        return will.enabled and will.access == Access.EXEC and not was.enabled


def part(vm: Vm, wishes: Wishes) -> dict[str, Any]:
    """All that a page needs to draw the debug registers, as JSON."""
    table = vm.breakpoints
    wanted = table.debugreg if table.debugreg[7] & DR7_ENABLE else None
    sides = Sides(vm.debugregs(), vm.debug().effective, wanted)
    reported = _reported(vm)
    host = sides.host
    look = Look(vm.vcpu.clock, sides.guest, None if host is None else (*host[:4], host[7]))
    return {
        "says": _owner_says(vm, sides),
        "owner": "guest" if sides.given is None else "host",
        "slots": [_slot(vm, sides, n, reported) for n in range(4)],
        "registers": list(_registers(sides, reported)),
        "guest": {
            **{f"dr{n}": f"{value:#x}" for n, value in enumerate(sides.guest.db)},
            "dr6": f"{sides.guest.dr6:#x}",
            "dr7": f"{sides.guest.dr7:#x}",
        },
        "rules": rules(vm),
        "history": history_of(vm).told(vm.timeline, look),
    }


def _reported(vm: Vm) -> int | None:
    """DR6 of the exit by which the guest stands where it does, if that was a #DB."""
    exit = vm.last_exit
    return exit.dr6 if isinstance(exit, DebugExit) and exit.exception == Vector.DB else None


def _owner_says(vm: Vm, sides: Sides) -> str:
    users = [b.number for b in vm.breakpoints if b.slot is not None]
    needs = f"breakpoint{'s'[: len(users) > 1]} {', '.join(map(str, users))}"
    if sides.given is not None:
        now = (
            "The host's are in effect (KVM_GUESTDBG_USE_HW_BP): the guest's DR0-DR3 and DR7 are "
            "inert, though it reads and writes them all the same"
        )
        if sides.wanted is None:
            return f"{now}; from the next %step or %vm run the guest's own are in effect."
        return now + _news_says(vm, sides)
    if sides.wanted is None:
        return "The guest's own are in effect: no breakpoint of the host's needs one."
    return (
        "The guest's own are in effect; from the next %step or %vm run the host's are, "
        f"for {needs}."
    )


def _news_says(vm: Vm, sides: Sides) -> str:
    """What the next entry changes in the host's set."""
    off = [
        entry.number
        for n, entry in enumerate(vm.breakpoints.slots)
        if entry is not None and sides.stepped_off(n)
    ]
    if sides.given == sides.wanted:
        return "."
    if not off:
        return "; the next %step or %vm run sets them anew."
    return f"; breakpoint {off[0]} was left out to step off its instruction, until the next entry."


# The four slots


def _slot(vm: Vm, sides: Sides, index: int, reported: int | None) -> dict[str, Any]:
    entry = vm.breakpoints.slots[index]
    user = None if entry is None else entry.snapshot()
    host = _host_side(vm, sides, index, user is not None)
    guest = _side(vm, sides.guest.db, sides.guest.dr7, index)
    guest["state"] = _guest_state(sides)
    return {
        "name": f"DR{index}",
        "guest": guest,
        "host": host,
        "effective": "guest" if sides.given is None else "host",
        "breakpoint": None if user is None else _user(user),
        "hit": bool(reported is not None and reported >> index & 1),
    }


def _guest_state(sides: Sides) -> str:
    if sides.given is not None:
        return "inert"
    return "in effect" if sides.wanted is None else "in effect until the next entry"


def _host_side(vm: Vm, sides: Sides, index: int, used: bool) -> dict[str, Any] | None:
    """What the host has in a slot: a breakpoint's, or else what was given by hand."""
    shown = sides.wanted if used or sides.given is None else sides.given
    if shown is None:
        return None
    side = _side(vm, shown[:4], shown[7], index)
    same = sides.given is not None and _in_slot(sides.given, index) == _in_slot(shown, index)
    if not side["on"]:
        side["state"] = "free"
    elif sides.stepped_off(index):
        side["state"] = "stepped off"
    elif not same:
        side["state"] = "from the next entry"
    else:
        side["state"] = "in effect" if used else "in effect until the next entry"
    return side


def _in_slot(debugreg: tuple[int, ...], index: int) -> tuple[int, Any]:
    return debugreg[index], _decoded(debugreg[7]).slots[index]


def _side(vm: Vm, db: tuple[int, ...], dr7: int, index: int) -> dict[str, Any]:
    slot, address = _decoded(dr7).slots[index], db[index]
    start, end = watched_range(address, slot.length)
    pairs = (("L", slot.local), ("G", slot.global_))
    return {
        "on": slot.enabled,
        "address": f"{address:#x}",
        "label": printable(vm.label(address)),
        "access": _ACCESS[slot.access],
        "length": 1 if slot.access == Access.EXEC else slot.length,
        "span": f"{start:#x}" if end - start == 1 else f"{start:#x}-{end - 1:#x}",
        "enables": " ".join(f"{name}{index}" for name, on in pairs if on),
        "words": slot_words(slot, address),
    }


def _user(breakpoint: Breakpoint) -> dict[str, Any]:
    return {
        "number": breakpoint.number,
        "hits": breakpoint.hits,
        "when": printable(breakpoint.when or ""),
        "emulated": breakpoint.emulated,
        "words": printable(breakpoint.text),
    }


# DR6 and DR7, field by field


def _registers(sides: Sides, reported: int | None) -> Iterator[dict[str, Any]]:
    host = sides.host
    if host is not None:
        off = any(map(sides.stepped_off, range(4)))
        state = "from the next entry" if not off else "but for the slot that was stepped off"
        state = "in effect" if host == sides.given else state
        yield _register("DR7", "host", f"the host's, {state}", host[7])
    yield _register("DR7", "guest", f"the guest's, {_guest_state(sides)}", sides.guest.dr7)
    if reported is not None:
        yield _register("DR6", "exit", "in the exit: what the processor told the host", reported)
    yield _register("DR6", "guest", "the guest's, as it would read it", sides.guest.dr6)


def _register(name: str, side: str, title: str, value: int) -> dict[str, Any]:
    words = dr6_words(value) if name == "DR6" else dr7_words(value)
    return {
        "name": name,
        "side": side,
        "title": title,
        "value": f"0x{value:08x}",
        "words": words,
        "fields": _fields(name, value),
    }


@lru_cache(maxsize=128)
def _fields(name: str, value: int) -> tuple[dict[str, Any], ...]:
    """Highest bit first, as the manual draws them."""
    fields = fields_dr6(value) if name == "DR6" else fields_dr7(value)
    return tuple(_field(field) for field in reversed(fields))


def _field(field: Field) -> dict[str, Any]:
    return {
        "name": field.name,
        "high": field.high,
        "low": field.low,
        "value": field_value(field),
        "meaning": field.meaning,
        "active": field.active,
        "reserved": field.meaning.startswith("reserved"),
    }


# What may be armed


def rules(vm: Vm) -> dict[str, Any]:
    """What decides whether a breakpoint can be armed in a debug register, for the page to check.

    The sentences are those that ``vm.bp`` would refuse with.
    """
    table, sregs = vm.breakpoints, vm.sregs()
    symbols, more = _symbols(vm)
    return {
        "mode": mode_words(sregs.mode),
        "bits": sregs.mode.bits,
        "natural": 2 if sregs.mode is CpuMode.REAL else 4,
        "slots": [None if e is None else f"{e.number}: {e.where}" for e in table.slots],
        "full": table.full,
        "refusals": {
            **{access: table.refusal(access) for access in ("x", "w", "rw")},
            "r": _READ,
            "io": _io(sregs),
        },
        "there": [_there(b) for b in table if b.kind == "hw"],
        "limits": list(_limits(vm)),
        "symbols": symbols,
        "more": more,
        "names": _NAMES,
    }


_NAMES: Final = " ".join([*REGISTERS, *DOLLAR_ONLY])


def _io(sregs: Sregs) -> str:
    without = "" if sregs.cr4 & CR4.DE else "; besides, CR4.DE is 0, where R/W = 10 is undefined"
    return _IO + without


def _there(breakpoint: Breakpoint) -> dict[str, Any]:
    hint = "" if breakpoint.enabled else f"; enable({breakpoint.number}) lets it stop again"
    return {
        "access": breakpoint.access,
        "address": f"{breakpoint.address:#x}",
        "length": breakpoint.length,
        "says": f"already there as {breakpoint.text}{hint}",
    }


def _limits(vm: Vm) -> Iterator[str]:
    """What this engine does not do with debug registers, or does in another way."""
    for access in ("x", "w", "rw"):
        refusal = vm.breakpoints.refusal(access)
        if refusal is not None:
            yield refusal
    if Capability.HW_GD not in vm.vcpu.capabilities:
        yield f'the engine "{vm.engine_name}" has no {Capability.HW_GD.value}'
    for capability in sorted(emulated(vm.vcpu) & _OURS):
        yield f"{capability.value}: emulated, the engine makes these stops from other exits"


_OURS: Final = {
    Capability.HW_EXEC,
    Capability.HW_DATA,
    Capability.HW_WRITE,
    Capability.HW_GD,
}


def _symbols(vm: Vm) -> tuple[dict[str, str], int]:
    """Names with their values, and how many were left out; a label comes before a constant."""
    constants = vm.program.constants if vm.program is not None else {}
    every = chain(vm.symbols.items(), constants.items())
    more = len(vm.symbols) + len(constants) - MOST_SYMBOLS
    return _told_symbols(tuple(islice(every, MOST_SYMBOLS))), max(0, more)


@lru_cache(maxsize=8)
def _told_symbols(pairs: tuple[tuple[str, int], ...]) -> dict[str, str]:
    """As JSON; a name that is a register's is left to the kernel."""
    return {
        printable(name): f"{value & MASK64:#x}"
        for name, value in reversed(pairs)
        if name.lower() not in REGISTERS
    }
