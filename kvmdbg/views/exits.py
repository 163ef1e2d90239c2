"""Exits in words: shortly for a table's row, or with all that ``struct kvm_run`` says.

Must not know: where the words stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..exits import (
    DebugExit,
    ExceptionExit,
    Exit,
    ExitReason,
    InternalErrorExit,
    IntrExit,
    IoExit,
    MmioExit,
    UnknownExit,
)
from ..x86 import vectors
from ..x86.debugreg import decode_dr6
from .tables import count

if TYPE_CHECKING:
    from ..history.timeline import Row


def _causes(row: Row) -> Iterator[str]:
    dr6 = decode_dr6(row.dr6)
    yield from (f"DR{index}" for index in dr6.hits)
    named = (("step", dr6.bs), ("MOV DR (GD)", dr6.bd), ("task switch", dr6.bt))
    yield from (name for name, happened in named if happened)


def exit_words(row: Row) -> str:
    """What an exit was, shortly: ``DEBUG DR1, step`` or ``EXCEPTION #PF``."""
    if row.reason is ExitReason.DEBUG and row.exception == vectors.Vector.DB:
        return "DEBUG " + (", ".join(_causes(row)) or "#DB")
    if row.exception >= 0:
        return f"{row.reason.name} {vectors.name(row.exception)}"
    return row.reason.name


def _vector_facts(exit: DebugExit | ExceptionExit) -> str:
    if isinstance(exit, ExceptionExit) and exit.software:
        return vectors.name(exit.exception, software=True)
    name = f"exception {exit.exception} ({vectors.name(exit.exception)})"
    if isinstance(exit, ExceptionExit):
        return f"{name}, error code {exit.error_code:#x}"
    return f"{name}, dr6 {exit.dr6:#x}, dr7 {exit.dr7:#x}" if exit.dr6 or exit.dr7 else name


def _access_facts(exit: IoExit | MmioExit) -> str:
    data = exit.data[:8].hex(" ") + (" ..." if len(exit.data) > 8 else "")
    if isinstance(exit, IoExit):
        size = f"{exit.count} x {count(exit.size, 'byte')}"
        head = f"{exit.direction} port {exit.port:#x}, {size}"
        return f"{head}: {data}" if exit.direction == "out" else head
    verb = "write" if exit.is_write else "read"
    head = f"{verb} {count(len(exit.data), 'byte')} at {exit.phys_addr:#x}"
    return f"{head}: {data}" if exit.is_write else head


def exit_facts(exit: Exit) -> str:
    """An exit with what ``struct kvm_run`` says about it.

    >>> exit_facts(DebugExit(1, 0x8000, 0xFFFF4FF0, 0x400))
    'DEBUG: exception 1 (#DB), dr6 0xffff4ff0, dr7 0x400'
    """
    facts = ""
    if isinstance(exit, DebugExit | ExceptionExit):
        facts = _vector_facts(exit)
    elif isinstance(exit, IoExit | MmioExit):
        facts = _access_facts(exit)
    elif isinstance(exit, IntrExit):
        facts = exit.cause
    elif isinstance(exit, InternalErrorExit):
        facts = exit.detail or f"suberror {exit.suberror}"
    elif isinstance(exit, UnknownExit):
        facts = f"reason {exit.raw}"
    return f"{exit.reason.name}: {facts}" if facts else exit.reason.name
