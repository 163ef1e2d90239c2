"""Why the guest stopped running: linux/kvm.h's exit reasons as frozen values.

``Engine.run()`` returns exactly one of these. What a guest does is a value, never an exception;
a reason that we have not met becomes :class:`UnknownExit`, so that no exit is ever lost.
This module knows the numbers and nothing about who produces or interprets them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import ClassVar


class ExitReason(IntEnum):
    """``kvm_run.exit_reason`` (linux/kvm.h KVM_EXIT_*)."""

    UNKNOWN = 0
    EXCEPTION = 1
    IO = 2
    HYPERCALL = 3
    DEBUG = 4
    HLT = 5
    MMIO = 6
    IRQ_WINDOW_OPEN = 7
    SHUTDOWN = 8
    FAIL_ENTRY = 9
    INTR = 10
    SET_TPR = 11
    INTERNAL_ERROR = 17


class _Hexadecimal:
    """Shows addresses and registers the way people of this field read them."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = (
            f"{field.name}={value:#x}"
            if type(value := getattr(self, field.name)) is int and value > 9
            else f"{field.name}={value!r}"
            for field in fields(self)  # type: ignore[arg-type]  # every exit is a dataclass
            if field.compare or getattr(self, field.name)
        )
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, slots=True, repr=False)
class DebugExit(_Hexadecimal):
    """KVM_EXIT_DEBUG with ``struct kvm_debug_exit_arch`` (spec 1.1, 7).

    ``exception`` is 1 (#DB) or 3 (#BP); ``pc`` the *linear* address of CS:RIP; ``dr6`` says which
    cause; ``dr7`` is the effective DR7. For #BP KVM leaves dr6 and dr7 unwritten; here they are 0.
    ``emulated`` tells that the host's KVM gave no such exit and the engine made it from another
    one; it is the same event, so it takes no part in a comparison, and shows only when true.

    >>> DebugExit(1, 0x8001, 0xFFFF4FF0, 0x400)
    DebugExit(exception=1, pc=0x8001, dr6=0xffff4ff0, dr7=0x400)
    """

    reason: ClassVar[ExitReason] = ExitReason.DEBUG
    exception: int
    pc: int
    dr6: int = 0
    dr7: int = 0
    emulated: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, repr=False)
class IoExit(_Hexadecimal):
    """KVM_EXIT_IO. ``size`` is 1, 2 or 4 bytes per item; ``data`` holds ``size * count`` bytes.

    ``direction`` is ``"out"`` (data comes from the guest) or ``"in"`` (data is zero bytes: answer
    with ``complete_io``).
    """

    reason: ClassVar[ExitReason] = ExitReason.IO
    direction: str
    port: int
    size: int
    data: bytes
    count: int = 1


@dataclass(frozen=True, slots=True, repr=False)
class MmioExit(_Hexadecimal):
    """KVM_EXIT_MMIO. ``phys_addr`` is guest-physical; ``data`` is 1..8 bytes, zeros for a read."""

    reason: ClassVar[ExitReason] = ExitReason.MMIO
    phys_addr: int
    data: bytes
    is_write: bool


@dataclass(frozen=True, slots=True)
class HltExit:
    """KVM_EXIT_HLT: the guest executed HLT; RIP is after it."""

    reason: ClassVar[ExitReason] = ExitReason.HLT


@dataclass(frozen=True, slots=True)
class ShutdownExit:
    """KVM_EXIT_SHUTDOWN: a triple fault. Registers are as they were at the last fault."""

    reason: ClassVar[ExitReason] = ExitReason.SHUTDOWN


@dataclass(frozen=True, slots=True)
class IntrExit:
    """KVM_EXIT_INTR: the run was ended from outside.

    ``cause`` is ``"budget"`` (max_instructions), ``"timeout"``, ``"signal"`` (Ctrl-C),
    ``"request"`` (another thread asked for a stop), or ``"travel"`` (a recorded moment was put
    back).
    """

    reason: ClassVar[ExitReason] = ExitReason.INTR
    cause: str = "request"


@dataclass(frozen=True, slots=True)
class IrqWindowOpenExit:
    """KVM_EXIT_IRQ_WINDOW_OPEN: the guest can take an interrupt now."""

    reason: ClassVar[ExitReason] = ExitReason.IRQ_WINDOW_OPEN


@dataclass(frozen=True, slots=True, repr=False)
class InternalErrorExit(_Hexadecimal):
    """KVM_EXIT_INTERNAL_ERROR: the engine cannot execute this instruction.

    ``suberror`` 1 is KVM_INTERNAL_ERROR_EMULATION; ``data`` holds the instruction bytes, if known.
    """

    reason: ClassVar[ExitReason] = ExitReason.INTERNAL_ERROR
    suberror: int
    data: bytes = b""
    detail: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class FailEntryExit(_Hexadecimal):
    """KVM_EXIT_FAIL_ENTRY: the processor refused to enter the guest with this state."""

    reason: ClassVar[ExitReason] = ExitReason.FAIL_ENTRY
    hardware_entry_failure_reason: int
    detail: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class ExceptionExit(_Hexadecimal):
    """KVM_EXIT_EXCEPTION: the guest is about to take a vector that the host watches.

    Nothing was delivered yet; ``pc`` is the linear address of the instruction that raised it.
    ``software`` is true for INT n, INT3 and INTO. Running again delivers it.
    """

    reason: ClassVar[ExitReason] = ExitReason.EXCEPTION
    exception: int
    error_code: int
    pc: int
    software: bool


@dataclass(frozen=True, slots=True, repr=False)
class UnknownExit(_Hexadecimal):
    """Any other ``exit_reason``; ``raw`` is the number."""

    reason: ClassVar[ExitReason] = ExitReason.UNKNOWN
    raw: int


Exit = (
    DebugExit
    | IoExit
    | MmioExit
    | HltExit
    | ShutdownExit
    | IntrExit
    | IrqWindowOpenExit
    | InternalErrorExit
    | FailEntryExit
    | ExceptionExit
    | UnknownExit
)
