"""One stop of the guest as a frozen value: who caused it, what was hit, what changed.

Must not know: how a stop comes about (``running``), or how it is drawn (``views``); ``str()`` gives
the short text that any terminal can show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import BadInput
from ..exits import Exit
from ..uapi import GuestDbg
from ..x86.decode import Instruction
from ..x86.registers import CpuMode, DebugRegs, Regs, Sregs


class StopKind(StrEnum):
    """What sort of stop; where several reasons hold at once, the most telling one."""

    STEP = "step"
    BREAKPOINT = "breakpoint"
    WATCHPOINT = "watchpoint"
    VECTOR = "vector"
    GUEST_DEBUG = "guest-debug"
    """A step in which the guest's own #DB or #BP was handed back to it."""
    HALT = "halt"
    IO = "io"
    """A step that ended in a port access which the engine does not complete (spec 11)."""
    MMIO = "mmio"
    SHUTDOWN = "shutdown"
    BUDGET = "budget"
    TIMEOUT = "timeout"
    INTERRUPTED = "interrupted"
    ERROR = "error"
    TRAVEL = "travel"
    """Nothing stopped the guest: it was taken to another moment."""


class GuestDebugSetting(NamedTuple):
    """What the host last gave to KVM_SET_GUEST_DEBUG.

    ``control`` is made of ``uapi.GuestDbg`` flags; ``debugreg`` are eight numbers of which [0..3]
    and [7] count.
    """

    control: int = 0
    debugreg: tuple[int, ...] = (0,) * 8

    @property
    def effective(self) -> tuple[int, ...] | None:
        """``debugreg`` where it is in effect (ENABLE and USE_HW_BP); None: the guest's own are."""
        owned = GuestDbg.ENABLE | GuestDbg.USE_HW_BP
        return self.debugreg if self.control & owned == owned else None


def check_setting(control: int, debugreg: tuple[int, ...]) -> None:
    """BadInput unless the numbers fit into ``struct kvm_guest_debug``."""
    if not isinstance(control, int) or not 0 <= control < 1 << 32:
        raise BadInput(f"control is a 32-bit number made of GuestDbg flags, not {control!r}")
    if len(debugreg) != 8 or not all(0 <= value < 1 << 64 for value in debugreg):
        raise BadInput("debugreg is eight 64-bit numbers; [0..3] and [7] count")


class MemoryChange(NamedTuple):
    """A run of changed bytes at a guest-physical address; ``old`` and ``new`` are equally long."""

    address: int
    old: bytes
    new: bytes


@dataclass(frozen=True)
class Changes:
    """What the guest changed since the previous stop.

    ``registers`` and ``flags`` map a name to (old, new); RIP and RFLAGS are left out, segment
    registers stand by their selector. ``memory`` has at most 64 runs of at most 4096 bytes;
    ``more`` counts the rest. ``searched`` is how many bytes of RAM, from address 0, were compared.
    """

    registers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    flags: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    memory: tuple[MemoryChange, ...] = ()
    more: int = 0
    searched: int = 0

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.registers or self.flags or self.memory)

    def __str__(self) -> str:
        lines = [_pairs("registers", self.registers), _pairs("flags", self.flags)]
        lines += [_memory_line(change) for change in self.memory[:_SHOWN]]
        hidden = len(self.memory) - _SHOWN + self.more
        if hidden > 0:
            lines.append(f"memory     {hidden} more changed places")
        return "\n".join(line for line in lines if line)


_SHOWN = 8
_SHOWN_BYTES = 8


def _pairs(title: str, pairs: Mapping[str, tuple[int, int]]) -> str:
    if not pairs:
        return ""
    return f"{title:<10} " + ", ".join(f"{n} {a:#x} -> {b:#x}" for n, (a, b) in pairs.items())


def _memory_line(change: MemoryChange) -> str:
    dots = " ..." if len(change.new) > _SHOWN_BYTES else ""
    old, new = (part[:_SHOWN_BYTES].hex(" ") + dots for part in (change.old, change.new))
    return f"memory     {change.address:#x}: {old} -> {new}"


@dataclass(frozen=True)
class Stop:
    """The guest stands still; this is all about that moment.

    ``index`` counts the stops of one VM from 1. ``exit`` is the last exit of the engine. ``cause``
    is one sentence with every reason that held. ``hits`` are the numbers of the breakpoints hit.
    ``pc`` is linear, ``location`` names it by label, ``instruction`` is the next one to execute
    (None where no code can be read). ``debugregs`` are the guest's own; ``debug`` is what the host
    last set. ``clock`` counts instructions since the VM was loaded, ``executed`` those since the
    previous stop; both are -1 where the engine has no instruction clock. ``console`` is what the
    guest printed since the previous stop.

    A Stop made by :meth:`of` has evidence of that moment instead of some fields, and works them out
    when they are first looked at.
    """

    index: int
    exit: Exit
    kind: StopKind
    cause: str
    hits: tuple[int, ...]
    pc: int
    location: str
    instruction: Instruction | None
    mode: CpuMode
    regs: Regs
    sregs: Sregs
    debugregs: DebugRegs
    debug: GuestDebugSetting
    clock: int
    executed: int
    changes: Changes
    console: str

    @classmethod
    def of(cls, known: dict[str, Any], later: dict[str, Callable[[], object]]) -> Stop:
        """A Stop of which some fields are worked out ``later``, from frozen values alone."""
        stop = cls.__new__(cls)
        stop.__dict__.update(known, _later=later)
        return stop

    if not TYPE_CHECKING:  # to the type checker all fields are there

        def __getattr__(self, name: str) -> object:
            """A field that is not there yet."""
            later = self.__dict__.get("_later", {})
            if name not in later:
                raise AttributeError(f"a Stop has no {name!r}")
            value = self.__dict__[name] = later[name]()
            return value

    @property
    def title(self) -> str:
        """One line: ``stop 3 at loop (0x8003): breakpoint 1 (INT3) at loop``."""
        return f"stop {self.index} at {_place(self.location, self.pc)}: {self.cause}"

    def __str__(self) -> str:
        lines = [self.title]
        if self.instruction is not None:
            lines.append(f"next       {self.instruction.text}")
        if self.changes:
            lines.append(str(self.changes))
        if self.console:
            lines.append(f"printed    {self.console!r}")
        return "\n".join(lines)


def _place(location: str, pc: int) -> str:
    """The label with its address, or the address alone."""
    return location if location == f"{pc:#x}" else f"{location} ({pc:#x})"
