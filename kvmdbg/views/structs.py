"""The two structs of guest debugging as bytes and as rows: what went down the ioctl, what came up.

``struct kvm_guest_debug`` (72 bytes, sent) and ``struct kvm_debug_exit_arch`` (32 bytes, at offset
32 of ``struct kvm_run``), each field with its offset, bytes, value and meaning. Layouts are
``uapi``'s. Must not know: where a setting or an exit comes from, or how a card is rendered.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..debugger.stop import GuestDebugSetting
from ..exits import DebugExit, Exit
from ..uapi import (
    KVM_GUESTDBG_VALID_MASK,
    KVM_RUN_UNION_OFFSET,
    GuestDbg,
    Ioctl,
    kvm_debug_exit_arch,
    kvm_guest_debug,
)
from ..x86 import vectors
from ..x86.debugreg import decode_dr7
from .debugregs import dr6_words, dr7_words, slot_words
from .tables import Card, Column, Line, Table, head, line

Struct = type[ctypes.Structure]


class Member(NamedTuple):
    """One field of a struct, or one element of an array field: its place and its bytes."""

    name: str
    offset: int
    raw: bytes

    @property
    def value(self) -> int:
        """The number that the bytes are, little-endian."""
        return int.from_bytes(self.raw, "little")


def pack_guest_debug(setting: GuestDebugSetting) -> bytes:
    """The 72 bytes that KVM_SET_GUEST_DEBUG is given.

    >>> pack_guest_debug(GuestDebugSetting(GuestDbg.ENABLE | GuestDbg.SINGLESTEP))[:8].hex(" ")
    '03 00 00 00 00 00 00 00'
    """
    struct = kvm_guest_debug(control=setting.control)
    struct.debugreg[:] = setting.debugreg
    return bytes(struct)


def pack_debug_exit(exit: DebugExit) -> bytes:
    """The 32 bytes that KVM_EXIT_DEBUG leaves in ``struct kvm_run``.

    >>> pack_debug_exit(DebugExit(3, 0x8005))[8:16].hex(" ")
    '05 80 00 00 00 00 00 00'
    """
    struct = kvm_debug_exit_arch(exception=exit.exception)
    struct.pc, struct.dr6, struct.dr7 = exit.pc, exit.dr6, exit.dr7
    return bytes(struct)


def members(struct: Struct, data: bytes) -> Iterator[Member]:
    """The struct's fields in order, arrays element by element; together they are all its bytes.

    >>> [member.name for member in members(kvm_debug_exit_arch, bytes(32))]
    ['exception', 'pad', 'pc', 'dr6', 'dr7']
    """
    for name, kind, *_ in struct._fields_:
        start: int = getattr(struct, name).offset
        count = getattr(kind, "_length_", 0)
        size = ctypes.sizeof(kind) // (count or 1)
        for n in range(count or 1):
            at = start + n * size
            yield Member(f"{name}[{n}]" if count else name, at, data[at : at + size])


def control_words(control: int) -> str:
    """The control word by the names of its flags, in the kernel's spelling without KVM_GUESTDBG_.

    >>> control_words(0x10003), control_words(0), control_words(0x201)
    ('ENABLE | SINGLESTEP | USE_SW_BP', '0', 'ENABLE | 0x200')
    """
    names = [str(flag.name) for flag in GuestDbg if control & flag]
    unknown = control & ~KVM_GUESTDBG_VALID_MASK
    return " | ".join([*names, *([f"{unknown:#x}"] if unknown else [])]) or "0"


def setting(setting: GuestDebugSetting) -> Card:
    """The control word by names, and the debug registers as words: ``%vm debug``."""
    lines = [_setting_line("control", f"{setting.control:#010x}", _all_words(setting))]
    if setting.effective is None and not any(setting.debugreg[:4]):
        lines.append(_setting_line("DR0-3, DR7", "", _NOT_READ))
    else:
        for number in (0, 1, 2, 3, 7):
            value = f"{setting.debugreg[number]:#018x}"
            lines.append(_setting_line(f"DR{number}", value, _register_words(setting, number)))
    columns = (Column(), Column(), Column(prose=True))
    return Card("KVM_SET_GUEST_DEBUG, as last set", "", (Table(columns, tuple(lines)),))


def _setting_line(name: str, value: str, words: str) -> Line:
    return line(head(name), value, words)


def _all_words(setting: GuestDebugSetting) -> str:
    return control_words(setting.control) if setting.control else "off: #DB and #BP are the guest's"


def structs(setting: GuestDebugSetting, exit: Exit | None, labels: Mapping[int, str]) -> Card:
    """Both structs as they are in memory, annotated; the second only if the exit has one."""
    received = debug_exit(exit, labels) if isinstance(exit, DebugExit) else None
    parts = (guest_debug(setting), *([received] if received else []))
    return Card("The ioctl line in bytes", "" if received else nothing_received(exit), parts)


def nothing_received(exit: Exit | None) -> str:
    """Why there is no struct kvm_debug_exit_arch."""
    if exit is None:
        return "No exit yet, so no struct kvm_debug_exit_arch was received."
    return f"The last exit was {exit.reason.name}: it carries no struct kvm_debug_exit_arch."


def guest_debug(setting: GuestDebugSetting) -> Table:
    """What was sent."""
    data = pack_guest_debug(setting)
    lines = tuple(
        _line(member, _sent_meaning(member, setting)) for member in members(kvm_guest_debug, data)
    )
    code = int(Ioctl.KVM_SET_GUEST_DEBUG)
    return Table(
        _COLUMNS, lines, f"Sent: KVM_SET_GUEST_DEBUG ({code:#x}), struct kvm_guest_debug, 72 bytes"
    )


def debug_exit(exit: DebugExit, labels: Mapping[int, str]) -> Table:
    """What was received. Offsets are the struct's own; in kvm_run it begins at 32."""
    data = pack_debug_exit(exit)
    lines = tuple(
        _line(member, _received_meaning(member, exit, labels))
        for member in members(kvm_debug_exit_arch, data)
    )
    where = f"32 bytes, at offset {KVM_RUN_UNION_OFFSET} of struct kvm_run"
    return Table(_COLUMNS, lines, f"Received: struct kvm_debug_exit_arch, {where}")


_COLUMNS = (
    Column("offset", right=True),
    Column("bytes"),
    Column("field"),
    Column("value", right=True),
    Column("meaning", prose=True),
)


def _line(member: Member, meaning: str) -> Line:
    return line(
        str(member.offset), member.raw.hex(" "), head(member.name), f"{member.value:#x}", meaning
    )


def _sent_meaning(member: Member, setting: GuestDebugSetting) -> str:
    if member.name == "control":
        return _control_meaning(member.value)
    if member.name == "pad":
        return "not looked at on x86"
    number = int(member.name.removeprefix("debugreg")[1:-1])
    if number in (4, 5, 6):
        return "never read"
    return _register_words(setting, number)


def _register_words(setting: GuestDebugSetting, number: int) -> str:
    if setting.effective is None:
        return _NOT_READ
    value = setting.debugreg[number]
    if number == 7:
        return f"the host's DR7: {dr7_words(value)}"
    return slot_words(decode_dr7(setting.debugreg[7]).slots[number], value)


def _control_meaning(control: int) -> str:
    words = control_words(control)
    if control & GuestDbg.ENABLE or not control:
        return words if control else "everything off"
    injects = control & (GuestDbg.INJECT_DB | GuestDbg.INJECT_BP)
    return f"{words}: without ENABLE {'only the injection counts' if injects else 'all off'}"


def _received_meaning(member: Member, exit: DebugExit, labels: Mapping[int, str]) -> str:
    unwritten = exit.exception == vectors.Vector.BP
    words = {
        "exception": _exception_words(exit.exception),
        "pad": "padding",
        "pc": f"linear address of CS:RIP {labels.get(exit.pc, '')}".rstrip(),
        "dr6": _UNWRITTEN if unwritten else dr6_words(exit.dr6),
        "dr7": _UNWRITTEN if unwritten else f"the DR7 in effect: {dr7_words(exit.dr7)}",
    }
    return words[member.name]


def _exception_words(vector: int) -> str:
    title = vectors.TITLES.get(vector, "")
    return f"{vectors.name(vector)}, {title}" if title else vectors.name(vector)


_NOT_READ = "not read: needs ENABLE and USE_HW_BP"
_UNWRITTEN = "not written for #BP: on hardware whatever was there before"
