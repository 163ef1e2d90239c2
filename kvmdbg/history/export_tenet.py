"""A trace as text for Tenet, a trace explorer inside disassemblers: one line an instruction.

A line is what the guest looks like in front of the instruction: the registers that changed since
the line before, ``rip``, and what the instruction before wrote (``mw=ADDRESS:BYTES``). The format
has no RFLAGS and no reads here. Must not know: where the text goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from .segment import GENERAL
from .trace import Trace, Write

_AT_ONCE: Final = 1000
_FIRST: Final = re.compile(",".join(f"{name}=0x[0-9a-f]+" for name in (*GENERAL, "rip")))


def is_ours(text: str) -> bool:
    """Whether a text is such a trace, by its first line: all registers in our order."""
    return _FIRST.match(text) is not None


def tenet_trace(trace: Trace, then: int | None = None) -> Iterator[str]:
    """The text, in pieces. ``then`` is the linear address after the last instruction, if known.

    Without it what the last instruction did has no line. Addresses of writes are guest-physical,
    as the trace has them; Tenet takes them for linear ones, which they are where paging maps
    addresses to themselves. After a gap in the trace a line has all registers that differ.
    """
    lines = _lines(trace, then)
    while piece := list(islice(lines, _AT_ONCE)):
        yield "".join(piece)


def _lines(trace: Trace, then: int | None) -> Iterator[str]:
    told: dict[str, int] = {}
    writes: tuple[Write, ...] = ()
    base = 0
    for segment in trace.segments:
        state = dict(zip(GENERAL, segment.state(0), strict=False))
        changed = {name: value for name, value in state.items() if told.get(name) != value}
        for row in trace.rows(base, base + len(segment)):
            yield _line(changed, row.pc, writes)
            told |= changed
            changed = {n: value for n, value in row.registers.items() if n != "rflags"}
            writes = row.writes
        base += len(segment)
    if then is not None and len(trace):
        yield _line(changed, then, writes)


def _line(registers: dict[str, int], rip: int, writes: Iterable[Write]) -> str:
    parts = [f"{name}={value:#x}" for name, value in registers.items()]
    parts.append(f"rip={rip:#x}")
    parts += [f"mw={w.address:#x}:{w.new.to_bytes(8, 'little')[: w.size].hex()}" for w in writes]
    return ",".join(parts) + "\n"
