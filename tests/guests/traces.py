"""Traces made by hand, and the same told step by step: the reference for what columns mean.

A path is a list of states, one in front of each instruction and one after the last; it is written
into columns, and read again, by plain loops over plain numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from kvmdbg.history.segment import GENERAL, REGISTERS, Segment
from kvmdbg.history.trace import TraceRow, Write

State = tuple[int, ...]
START: State = (*range(100, 116), 2)
"""Registers rax = 100, rcx = 101, ..., and RFLAGS 2."""


class Path(NamedTuple):
    """``states`` has one more than ``pcs`` and ``writes``; ``first`` is what was known before."""

    start: int
    first: State
    states: list[State]
    pcs: list[int]
    writes: list[list[Write]]


def segment_of(path: Path) -> Segment:
    """The path in columns."""
    heads, flags, values, writes = [], [], [], []
    before = path.first
    for row, pc in enumerate(path.pcs):
        state, mask = path.states[row], 0
        for number in range(16):
            if state[number] != before[number]:
                mask |= 1 << number
                values.append(state[number])
        heads.append(pc & 0xFFFF_FFFF_FFFF | mask << 48)
        flags.append(state[16])
        writes += [(row << 8 | w.size, w.address, w.old, w.new) for w in path.writes[row]]
        before = state
    return Segment(
        path.start,
        path.first,
        path.states[-1],
        np.array(heads, np.uint64),
        np.array(flags, np.uint32),
        np.array(values, np.uint64),
        np.array(writes, np.uint64).reshape(-1, 4),
    )


def rows_of(*paths: Path) -> list[TraceRow]:
    """The rows that a trace of these paths must have."""
    found: list[TraceRow] = []
    for path in paths:
        for row, pc in enumerate(path.pcs):
            old, new = path.states[row : row + 2]
            changed = {n: b for n, a, b in zip(REGISTERS, old, new, strict=True) if a != b}
            clock, writes = path.start + row, tuple(path.writes[row])
            found.append(TraceRow(len(found), clock, pc, changed, writes))
    return found


def decoded(segment: Segment) -> Iterator[tuple[int, State]]:
    """The address and the state in front of each row, number by number from the columns alone."""
    state, values = list(segment.first), iter(segment.values.tolist())
    for head, flags in zip(segment.heads.tolist(), segment.flags.tolist(), strict=True):
        for number in range(16):
            if head >> 48 & 1 << number:
                state[number] = next(values)
        state[16] = flags
        pc = head & 0xFFFF_FFFF_FFFF
        yield pc | 0xFFFF_0000_0000_0000 if pc >> 47 else pc, tuple(state)


def path_by_hand() -> Path:
    """Three instructions: mov rax, 5; push rax; one that changes nothing but flags."""
    one = (5, *START[1:])
    two = (*one[:4], 96, *one[5:])
    three = (*two[:16], 0x46)
    pushed = [Write(96, 8, 0, 5)]
    pcs = [0x8000, 0x8005, 0xFFFF_FFFF_FFFF_8006]
    return Path(7, START, [START, one, two, three], pcs, [[], pushed, []])


PCS = st.sampled_from([0, 0x8000, 0x8005, 0x7FFF_FFFF_FFFF, 0xFFFF_8000_0000_0000, 2**64 - 1])
VALUES = st.sampled_from([0, 1, 0x8000, 2**63, 2**64 - 1])
FLAGS = st.sampled_from([2, 0x46, 0x246])
WRITES = st.builds(
    Write, st.integers(0x1000, 0x1010), st.integers(1, 8), st.integers(0, 255), st.integers(0, 255)
)


@st.composite
def states(draw: st.DrawFn, before: Sequence[int]) -> State:
    """The next state: a few registers differ."""
    changed = draw(st.dictionaries(st.integers(0, len(GENERAL) - 1), VALUES, max_size=3))
    general = [changed.get(number, before[number]) for number in range(16)]
    return (*general, draw(FLAGS))


@st.composite
def paths(draw: st.DrawFn, start: int = 0) -> Path:
    """Up to some dozen instructions."""
    size = draw(st.integers(0, 14))
    walked = [draw(states(START))]
    for _ in range(size):
        walked.append(draw(states(walked[-1])))
    pcs = [draw(PCS) for _ in range(size)]
    writes = [draw(st.lists(WRITES, max_size=2)) for _ in range(size)]
    return Path(start, START, walked, pcs, writes)
