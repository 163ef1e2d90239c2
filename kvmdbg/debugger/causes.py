"""The words for why a guest stopped: pure functions from exits and breakpoints to sentences.

Must not know: how the guest is run, or what is done about a stop.
"""

from __future__ import annotations

from ..exits import (
    ExceptionExit,
    Exit,
    FailEntryExit,
    InternalErrorExit,
    IoExit,
    MmioExit,
    UnknownExit,
)
from ..x86.debugreg import DR6_B, DR6_BD, DR6_BS, DR6_BT
from ..x86.vectors import HAS_ERROR_CODE
from ..x86.vectors import name as vector_name
from .entries import Entry

HALT = "the guest halted (HLT); going on executes the instruction after it"
SHUTDOWN = "triple fault: an exception, and the double fault after it, could not be delivered"
REQUEST = "a stop was requested"

_ACCESS = {"w": "write", "rw": "read or write"}
_NO_DEVICE = "no device there"


def plural(count: int, noun: str) -> str:
    """``1 step``, ``1,000 steps``.

    >>> plural(1, "step"), plural(1000, "step")
    ('1 step', '1,000 steps')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def stepped(count: int) -> str:
    """Single steps, all done."""
    return "single step" if count == 1 else f"{count:,} single steps"


def budget(instructions: int) -> str:
    """``max_instructions`` were executed."""
    return f"budget of {plural(instructions, 'instruction')} used up"


def timeout(seconds: float) -> str:
    """The time allowed is over."""
    return f"the timeout of {seconds:g} s is over"


def reached(entry: Entry, where: str) -> str:
    """An execution breakpoint; ``where`` is the place by label."""
    how = "INT3" if entry.kind == "sw" else f"DR{entry.slot}, execution"
    return f"breakpoint {entry.number} ({how}{_made_up(entry)}) at {where}"


def _made_up(entry: Entry) -> str:
    """The engine makes its stops from other exits of the host's KVM."""
    return ", emulated" if entry.emulated else ""


def accessed(entry: Entry, where: str, old: int | None, new: int | None) -> str:
    """A watchpoint, with the value before and after."""
    what = f"DR{entry.slot}, {_ACCESS[entry.access]} {plural(entry.length, 'byte')} at {where}"
    return f"breakpoint {entry.number} ({what}{_made_up(entry)}){_values(entry.access, old, new)}"


def _values(access: str, old: int | None, new: int | None) -> str:
    if old is None or new is None:
        return ""
    if old != new:
        return f": {old:#x} -> {new:#x}"
    return f": still {new:#x}" if access == "rw" else f": {new:#x} written again"


def raised(entry: Entry, exit: ExceptionExit) -> str:
    """A vector breakpoint: the guest is about to take the vector."""
    what = vector_name(exit.exception, exit.software)
    code = f", error code {exit.error_code:#x}" if _pushes_code(exit) else ""
    return f"the guest raised {what}{code} (vector breakpoint {entry.number})"


def into_handler(vector: int, software: bool) -> str:
    """A step that ended at a handler's first instruction."""
    return f"into the handler of {vector_name(vector, software)}"


def _pushes_code(exit: ExceptionExit) -> bool:
    return exit.exception in HAS_ERROR_CODE and not exit.software


def guest_event(payload: int) -> str:
    """A #DB that the guest asked for itself and gets; ``payload`` is in DR6's bits."""
    names = [f"its DR{n}" for n in range(4) if payload & DR6_B & 1 << n]
    names += ["its trap flag"] if payload & DR6_BS else []
    names += ["general detect"] if payload & DR6_BD else []
    names += ["a task switch"] if payload & DR6_BT else []
    return f"the guest's own #DB ({', '.join(names) or 'INT1'}) goes to its handler"


GUEST_INT3 = "the guest's own INT3 goes to its handler"


def port(exit: IoExit, claimed: bool) -> str:
    """A port access in one step."""
    value = f"{int.from_bytes(exit.data[: exit.size], 'little'):#x}"
    what = f"OUT {value} to" if exit.direction == "out" else "IN from"
    return f"{what} port {exit.port:#x}" + ("" if claimed else f", {_NO_DEVICE}")


def mmio(exit: MmioExit) -> str:
    """An access to an address where there is neither RAM nor a device."""
    what = "write to" if exit.is_write else "read from"
    return f"{what} physical {exit.phys_addr:#x}, {_NO_DEVICE}"


def failure(exit: Exit) -> str:
    """An exit after which the engine cannot say how to go on."""
    if isinstance(exit, InternalErrorExit):
        code = f" {exit.data.hex(' ')}" if exit.data else ""
        detail = f": {exit.detail}" if exit.detail else ""
        return f"the engine cannot execute the instruction{code}{detail}"
    if isinstance(exit, FailEntryExit):
        reason = exit.detail or f"reason {exit.hardware_entry_failure_reason:#x}"
        return f"the processor refused to run the guest with this state: {reason}"
    number = exit.raw if isinstance(exit, UnknownExit) else int(exit.reason)
    return f"the engine ended the run for a reason that kvmdbg does not know ({number})"
