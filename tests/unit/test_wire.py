"""Calls and exits as rows of numbers: back as they were, and refused out of range."""

from __future__ import annotations

import contextlib
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.errors import RecordingError
from kvmdbg.exits import (
    DebugExit,
    ExceptionExit,
    Exit,
    FailEntryExit,
    HltExit,
    InternalErrorExit,
    IntrExit,
    IoExit,
    IrqWindowOpenExit,
    MmioExit,
    ShutdownExit,
    UnknownExit,
)
from kvmdbg.history.journal import CALLS
from kvmdbg.history.wire import EXIT_WORDS, FORMS, U64, put_call, put_exit, take_call, take_exit
from kvmdbg.uapi import MpState
from kvmdbg.x86.registers import DebugRegs, DescriptorTable, Regs, Segment, Sregs, VcpuEvents

SREGS = Sregs(
    *(Segment(n << 60, n, n, 3, 1, 3, 1, 1, 0, 1, 0, n & 1) for n in range(8)),
    DescriptorTable(1 << 63, 0xFFFF),
    DescriptorTable(5, 6),
    *(7, 8, 9, 10, 11, 12, U64),
)
EXAMPLES: list[tuple[str, tuple[Any, ...]]] = [
    ("run", (None,)),
    ("run", (0,)),
    ("run", (1 << 40,)),
    ("steps", (3, (1, 2, 3, 4, 0, 0, 0, U64))),
    ("walk", ()),
    ("set_guest_debug", (0x1F0003, (0,) * 8)),
    ("watch_vectors", (frozenset((0, 63, 64, 255)),)),
    ("write_memory", (0x8000, b"")),
    ("write_memory", (0x8000, b"\xf4" * 5)),
    ("complete_io", (b"\1\2",)),
    ("set_regs", (Regs(*range(18)),)),
    ("set_sregs", (SREGS,)),
    ("set_debugregs", (DebugRegs((1, 2, 3, U64), 4, 5, 6),)),
    ("set_vcpu_events", (VcpuEvents(*range(15)),)),
    ("set_mp_state", (MpState.HALTED,)),
    ("interrupt", (255,)),
    ("nmi", ()),
    ("irq_line", (15, True)),
    ("request_interrupt_window", (False,)),
    ("create_irqchip", ()),
    ("intr", ("timeout",)),
    ("bulk", (frozenset({0x8000, (1 << 64) - 1}),)),
    ("trace", (True,)),
]
EXITS: list[Exit] = [
    DebugExit(3, U64, 1, 2, True),
    IoExit("in", 0xFFFF, 4, b"\0" * 12, 3),
    IoExit("out", 0xE9, 1, b"A"),
    MmioExit(1 << 40, b"\1\2\3\4\5\6\7\x08", True),
    HltExit(),
    ShutdownExit(),
    *(IntrExit(cause) for cause in ("budget", "timeout", "signal", "request", "travel")),
    IrqWindowOpenExit(),
    InternalErrorExit(1, b"\x0f\x0b", "no such instruction: ä"),
    FailEntryExit(0x80000021, "CS is not"),
    ExceptionExit(14, 7, 0x8000, False),
    UnknownExit(38),
]


def test_every_call_of_a_journal_can_be_kept() -> None:
    assert set(FORMS) == set(CALLS) == {call for call, _ in EXAMPLES}


@pytest.mark.parametrize(("call", "arguments"), EXAMPLES)
def test_a_call_comes_back_as_it_was(call: str, arguments: tuple[Any, ...]) -> None:
    back = take_call(call, *put_call(call, arguments))
    assert back == arguments
    assert [type(value) for value in back] == [type(value) for value in arguments]


@pytest.mark.parametrize(("call", "arguments"), EXAMPLES)
def test_a_call_with_a_number_too_many_is_refused(call: str, arguments: tuple[Any, ...]) -> None:
    words, data = put_call(call, arguments)
    with pytest.raises(RecordingError, match="numbers instead of"):
        take_call(call, [*words, 0], data)


@pytest.mark.parametrize("call", [call for call, form in FORMS.items() if form.limits])
def test_each_number_of_a_call_has_a_greatest_value(call: str) -> None:
    limits = FORMS[call].limits
    for place, most in enumerate(limits):
        words = [0] * len(limits)
        words[place] = most + 1
        with pytest.raises(RecordingError, match="out of range"):
            take_call(call, words, b"")


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("set_regs", (Regs(rax=1 << 64),)),
        ("set_regs", (Regs(rax=-1),)),
        ("set_regs", (Regs(rax=1.5),)),  # type: ignore[arg-type]
        ("interrupt", ("7",)),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_kept(call: str, arguments: Any) -> None:
    with pytest.raises(RecordingError, match="out of range"):
        put_call(call, arguments)


def test_vectors_that_are_never_seen_are_left_out() -> None:
    assert take_call("watch_vectors", *put_call("watch_vectors", (frozenset((3, 256, -1)),))) == (
        frozenset((3,)),
    )


def test_every_kind_of_exit_is_an_example() -> None:
    assert {type(exit_) for exit_ in EXITS} == set(get_args(Exit))


@pytest.mark.parametrize("exit_", EXITS, ids=repr)
def test_an_exit_comes_back_as_it_was(exit_: Exit) -> None:
    words, data = put_exit(exit_)
    assert len(words) == EXIT_WORDS
    back = take_exit(words, data)
    assert back == exit_
    assert getattr(back, "emulated", False) == getattr(exit_, "emulated", False)


@given(st.lists(st.integers(0, 40) | st.integers(0, U64), max_size=9), st.binary(max_size=4))
def test_any_other_row_is_refused_or_is_an_exit(words: list[int], data: bytes) -> None:
    row = [*words[:6], len(data), 0] if len(words) > 5 else words
    with contextlib.suppress(RecordingError):
        assert put_exit(take_exit(row, data)) == (row, data)


@pytest.mark.parametrize(
    ("words", "data"),
    [
        ([1, 256, 0, 0, 0, 0, 0, 0], b""),  # a vector above 255
        ([5, 1, 0, 0, 0, 0, 0, 0], b""),  # HLT has no number
        ([5, 0, 0, 0, 0, 0, 1, 0], b"x"),  # and no bytes
        ([5, 0, 0, 0, 0, 0, 0, 1], b"x"),  # and no text
        ([2, 0, 0x60, 3, 1, 0, 3, 0], b"xyz"),  # a port of three bytes
        ([2, 0, 0x60, 1, 2, 0, 1, 0], b"x"),  # a byte is missing
        ([17, 1, 0, 0, 0, 0, 0, 2], b"\xff\xff"),  # no UTF-8
        ([10, 5, 0, 0, 0, 0, 0, 0], b""),  # no such cause
        ([99, 0, 0, 0, 0, 0, 0, 0], b""),
    ],
)
def test_an_exit_that_cannot_be_is_refused(words: list[int], data: bytes) -> None:
    with pytest.raises(RecordingError):
        take_exit(words, data)
