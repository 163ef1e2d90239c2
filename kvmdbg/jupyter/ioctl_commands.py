"""``%vm debug``, ``%vm exit`` and ``%vm raw``: KVM_SET_GUEST_DEBUG and KVM_RUN by hand.

So that a notebook can teach the interface itself, without the debugger above it. Must not know:
IPython, or what an engine does with a setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..debugger import verdict
from ..debugger.breakpoints import HOST_DR7
from ..debugger.stop import GuestDebugSetting
from ..errors import AddressError, BadInput
from ..exits import DebugExit, Exit, IoExit, MmioExit
from ..uapi import GuestDbg
from ..views import longstop, structs
from ..views.cpu import instruction_text
from ..views.exits import exit_facts
from ..views.tables import Card, Column, Table, head, line
from ..x86.debugreg import Access, decode_dr7, dr7_with, watched_range
from ..x86.decode import Instruction
from ..x86.registers import MASK32, CpuMode
from .arguments import number, unknown
from .cards import place
from .commands import ACCESSES, DEBUG_FLAGS
from .display import Shown, labels_of, shown

if TYPE_CHECKING:
    from ..debugger.vm import Vm

_ACCESS = dict(zip(ACCESSES, (Access.EXEC, Access.WRITE, Access.READ_WRITE), strict=True))
_FLAGS = {str(flag.name).lower(): flag for flag in GuestDbg}
_FLAGS |= {name.removeprefix("use_"): flag for name, flag in _FLAGS.items()}
_INJECTS = {"db": GuestDbg.INJECT_DB, "bp": GuestDbg.INJECT_BP}
_SLOT = re.compile(r"(?P<where>.+?)(?::(?P<access>x|w|rw)(?::(?P<length>\w+))?)?")
_NEXT = "%vm exit runs the guest with this; the debugger sets its own at the next %step or %vm run"


class RawLine(NamedTuple):
    """What ``%vm raw`` gives back: both structs as bytes; ``received`` only of a DEBUG exit."""

    sent: bytes
    received: bytes | None


# %vm debug


def debug(vm: Vm, words: tuple[str, ...]) -> Shown:
    """Set what the words say, if there are any; show what is set."""
    if words:
        setting = _wanted(vm, words)
        vm.debug(*setting)
    setting = vm.debug()
    return shown(setting, [structs.setting(setting)], [*_warnings(setting), _NEXT])


def _wanted(vm: Vm, words: tuple[str, ...]) -> GuestDebugSetting:
    if words[0] == "inject":
        return _injection(vm.debug(), words[1:])
    if "off" in words:
        if len(words) > 1:
            raise BadInput('"off" stands alone: %vm debug off')
        return GuestDebugSetting()
    return _setting(vm, words)


def _injection(now: GuestDebugSetting, words: tuple[str, ...]) -> GuestDebugSetting:
    """One exception for the guest; everything else stays as it is."""
    if len(words) != 1:
        raise BadInput("inject takes one of two: %vm debug inject db, %vm debug inject bp")
    if words[0] not in _INJECTS:
        raise unknown("exception to inject", words[0], _INJECTS)
    kept = now.control & ~(GuestDbg.INJECT_DB | GuestDbg.INJECT_BP)
    return now._replace(control=int(kept | _INJECTS[words[0]]))


def _setting(vm: Vm, words: tuple[str, ...]) -> GuestDebugSetting:
    """The whole control word and all debug registers anew, as the ioctl takes them."""
    control = 0
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            pairs[_register(word, name, value, pairs)] = value
        else:
            control |= _flag(word)
    return GuestDebugSetting(int(control), _debugreg(vm, pairs))


def _flag(word: str) -> int:
    if word in _FLAGS:
        return int(_FLAGS[word])
    raise unknown("flag", word, [*_FLAGS, *DEBUG_FLAGS], "for %vm debug")


def _register(word: str, name: str, value: str, before: dict[str, str]) -> str:
    """The name left of "=", checked."""
    if name not in ("0", "1", "2", "3", "dr7"):
        raise BadInput(f'"{name}" in "{word}" is no debug register; write 0= to 3= or dr7=')
    if not value:
        raise BadInput(f'nothing stands after "{word}"; write 0=WHERE:ACCESS:LEN or dr7=0x602')
    if name in before:
        raise BadInput(f"{name}= is there twice")
    return name


def _debugreg(vm: Vm, pairs: dict[str, str]) -> tuple[int, ...]:
    """DR0-DR3 by slot and DR7; ``dr7=`` is what the slots are put into, and needs no access."""
    raw = pairs.get("dr7")
    dr7 = HOST_DR7 if raw is None else number(raw)
    if not 0 <= dr7 <= MASK32:
        raise BadInput(f"dr7 has 32 bits: {raw} does not fit")
    db = [0] * 4
    for index in range(4):
        if str(index) in pairs:
            text = pairs[str(index)]
            db[index], access, length = _slot(vm, text)
            if access or raw is None:
                dr7 = dr7_with(dr7, index, _ACCESS[access or "x"], length)
    return (*db, 0, 0, 0, dr7)


def _slot(vm: Vm, text: str) -> tuple[int, str, int]:
    """``WHERE:ACCESS:LEN``; WHERE may be SEG:OFF in real mode."""
    found = _SLOT.fullmatch(text)
    where = found["where"] if found else text
    _, colon, rest = where.partition(":")
    if colon and vm.mode is not CpuMode.REAL:
        raise unknown("access", rest.partition(":")[0], ACCESSES, f'in "{text}"')
    access, length = (found["access"] or "", found["length"] or "1") if found else ("", "1")
    return vm.address(where), access, number(length)


def _warnings(setting: GuestDebugSetting) -> Iterator[str]:
    """What KVM accepts and then does not do."""
    control = setting.control
    if control & ~_INJECT and not control & GuestDbg.ENABLE:
        yield "without enable KVM drops every other flag (only an injection counts)"
    elif any(setting.debugreg[:4]) and setting.effective is None:
        yield "the debug registers are not read without enable and use_hw_bp"
    if control & _INJECT:
        yield "an injection is for one entry, the next one; its flag stays in the word and is spent"


_INJECT = int(GuestDbg.INJECT_DB | GuestDbg.INJECT_BP)


# %vm exit


def enter(vm: Vm, most: int | None, timeout: float | None) -> Shown:
    """KVM_RUN once; the plain exit, and what one would have to think of it."""
    setting = vm.debug()
    before = _watched(vm, setting)
    exit = vm.enter(most, timeout)
    values = _values(vm, setting, exit, before)
    return shown(exit, [_exit_card(vm, exit, setting, values)], _hints(exit))


def _watched(vm: Vm, setting: GuestDebugSetting) -> dict[int, int | None]:
    """What is at the places that the host's DR0-DR3 watch, by slot."""
    host = setting.effective
    if host is None:
        return {}
    slots = [slot for slot in decode_dr7(host[7]).slots if slot.enabled]
    return {
        slot.index: _number_at(vm, *watched_range(host[slot.index], slot.length))
        for slot in slots
        if slot.access in (Access.WRITE, Access.READ_WRITE)
    }


def _number_at(vm: Vm, start: int, end: int) -> int | None:
    try:
        return int.from_bytes(vm.read(start, end - start), "little")
    except AddressError:
        return None


def _values(vm: Vm, setting: GuestDebugSetting, exit: Exit, before: dict[int, int | None]) -> str:
    """Old and new value of each watched place that the exit names."""
    if not isinstance(exit, DebugExit):
        return ""
    now = _watched(vm, setting)
    return ", ".join(
        f"{vm.label(setting.debugreg[n])} (DR{n}): {old:#x} -> {now[n]:#x}"
        for n, old in before.items()
        if exit.dr6 >> n & 1 and old is not None and now[n] is not None
    )


def _exit_card(vm: Vm, exit: Exit, setting: GuestDebugSetting, values: str) -> Card:
    labels = labels_of(vm.symbols)
    here = vm.address("$rip")
    code = _instruction(vm, here)
    answer = verdict.of_exit(exit, setting, vm.debugregs(), _is_ours(vm, exit))
    facts = {
        "exit": exit_facts(exit),
        "next": "(unreadable)" if code is None else instruction_text(code, labels),
        "watched": values,
        "ran with": structs.control_words(setting.control),
    }
    lines = tuple(line(head(name), text) for name, text in facts.items() if text)
    parts = (Table((Column(), Column()), lines), *longstop.verdict_parts(answer))
    return Card(f"Exit {len(vm.timeline) - 1}: {exit.reason.name} at {place(vm, here)}", "", parts)


def _instruction(vm: Vm, address: int) -> Instruction | None:
    try:
        return vm.disassemble(address, 1)[0]
    except AddressError:
        return None


def _is_ours(vm: Vm, exit: Exit) -> bool:
    """Whether an INT3 at the exit's pc is one of ``%bp``'s."""
    return isinstance(exit, DebugExit) and any(
        found.kind == "sw" and found.enabled and found.address == exit.pc
        for found in vm.breakpoints
    )


def _hints(exit: Exit) -> list[str]:
    """What the host still owes the guest after this exit, and how the two worlds go together."""
    notes = ["nobody judged this exit: no breakpoint counts, nothing is re-injected; more: %vm raw"]
    if isinstance(exit, IoExit) and exit.direction == "in":
        notes.insert(0, f"answer the IN: vm.vcpu.complete_io(bytes({len(exit.data)})), then run on")
    elif isinstance(exit, MmioExit) and not exit.is_write:
        notes.insert(0, f"answer the read: vm.vcpu.complete_io(bytes({len(exit.data)}))")
    return notes


# %vm raw


def raw(vm: Vm) -> Shown:
    """Both structs: what was sent last, and what the last exit brought."""
    setting, exit = vm.debug(), vm.last_exit
    received = structs.pack_debug_exit(exit) if isinstance(exit, DebugExit) else None
    value = RawLine(structs.pack_guest_debug(setting), received)
    return shown(value, [structs.structs(setting, exit, labels_of(vm.symbols))])
