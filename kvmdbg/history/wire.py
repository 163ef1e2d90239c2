"""Calls of the ioctl line and exits as rows of 64-bit words: what each holds, and its ranges.

One row of a table per call; a value outside its range is refused in both directions. Must not
know: where rows are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ..errors import RecordingError
from ..exits import (
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
from ..uapi import MpState
from ..x86.registers import DebugRegs, DescriptorTable, Regs, Segment, Sregs, VcpuEvents

U8, U16, U32, U64 = 0xFF, 0xFFFF, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF
COUNT: Final = 1 << 62
"""No clock and no budget is larger."""

_CAUSES: Final = ("budget", "timeout", "signal", "request", "travel")
"""Of an IntrExit."""

Row = tuple[Sequence[int], bytes]
"""Words, and bytes where a value holds some; the last word is then their number."""


class Form(NamedTuple):
    """How a call's arguments are written: the greatest value of each word, and both directions."""

    limits: tuple[int, ...]
    put: Callable[..., Row]
    take: Callable[[Sequence[int], bytes], tuple[Any, ...]]
    bytes: bool = False


def check(what: str, words: Sequence[int], limits: Sequence[int]) -> list[int]:
    """Plain ints within their limits; RecordingError otherwise."""
    if len(words) != len(limits):
        raise RecordingError(f"{what} has {len(words)} numbers instead of {len(limits)}")
    for word, most in zip(words, limits, strict=True):
        if not isinstance(word, int) or not 0 <= word <= most:
            raise RecordingError(f"{what} has a number out of range: {word!r}")
    return [int(word) for word in words]


def put_call(call: str, arguments: tuple[Any, ...]) -> tuple[list[int], bytes]:
    """A call's arguments as words and bytes."""
    form = FORMS[call]
    words, data = form.put(*arguments)
    return check(call, words, form.limits), data


def take_call(call: str, words: Sequence[int], data: bytes) -> tuple[Any, ...]:
    """The arguments again."""
    form = FORMS[call]
    return form.take(check(call, words, form.limits), data)


# Values of several numbers: linux/kvm.h's widths, but engines keep a table's limit wider.

_SEGMENT = (U64, U32, U16, *(U8,) * 9)
_SREGS = (*_SEGMENT * 8, *(U64, U32) * 2, *(U64,) * 7)
_EVENTS = (*(U8,) * 4, U32, *(U8,) * 7, U32, U8, U64)
_WIDTH = len(_SEGMENT)


def _put_sregs(sregs: Sregs) -> Row:
    words: list[int] = []
    for value in sregs:
        words += value if isinstance(value, tuple) else (value,)
    return words, b""


def _take_sregs(words: Sequence[int], _: bytes) -> tuple[Sregs]:
    segments = [Segment(*words[n : n + _WIDTH]) for n in range(0, 8 * _WIDTH, _WIDTH)]
    rest = words[8 * _WIDTH :]
    tables = DescriptorTable(*rest[:2]), DescriptorTable(*rest[2:4])
    return (Sregs._make((*segments, *tables, *rest[4:])),)


def _put_debugregs(debugregs: DebugRegs) -> Row:
    return (*debugregs.db, *debugregs[1:]), b""


def _take_debugregs(words: Sequence[int], _: bytes) -> tuple[DebugRegs]:
    a, b, c, d, *rest = words
    return (DebugRegs((a, b, c, d), *rest),)


def _put_vectors(vectors: frozenset[int]) -> Row:
    bits = sum(1 << vector for vector in vectors if 0 <= vector < 256)  # no other is ever seen
    return [bits >> shift & U64 for shift in (0, 64, 128, 192)], b""


def _take_vectors(words: Sequence[int], _: bytes) -> tuple[frozenset[int]]:
    return (
        frozenset(64 * n + b for n, word in enumerate(words) for b in range(64) if word >> b & 1),
    )


def _put_run(most: int | None) -> Row:
    return ((0, 0) if most is None else (1, max(most, 0))), b""


def _take_run(words: Sequence[int], _: bytes) -> tuple[int | None]:
    return (words[1] if words[0] else None,)


def _nothing(*_: object) -> Row:
    return (), b""


def _put_stops(stops: frozenset[int]) -> Row:
    data = b"".join(stop.to_bytes(8, "little") for stop in sorted(stops) if 0 <= stop <= U64)
    return (len(data),), data


def _take_stops(_: Sequence[int], data: bytes) -> tuple[frozenset[int]]:
    if len(data) % 8:
        raise RecordingError("damaged: addresses to stop at that are none")
    places = range(0, len(data), 8)
    return (frozenset(int.from_bytes(data[at : at + 8], "little") for at in places),)


_SETTING = Form(
    (U32, *(U64,) * 8),
    lambda control, debugreg: ((control, *debugreg), b""),
    lambda words, _: (words[0], tuple(words[1:])),
)
_BARE = Form((), _nothing, lambda words, _: ())

FORMS: Final[dict[str, Form]] = {
    "run": Form((1, COUNT), _put_run, _take_run),
    "steps": _SETTING,
    "walk": _BARE,
    "set_guest_debug": _SETTING,
    "watch_vectors": Form((U64,) * 4, _put_vectors, _take_vectors),
    "write_memory": Form(
        (U64, U32),
        lambda address, data: ((address, len(data)), data),
        lambda words, data: (words[0], data),
        bytes=True,
    ),
    "complete_io": Form(
        (U32,), lambda data: ((len(data),), data), lambda words, data: (data,), bytes=True
    ),
    "set_regs": Form((U64,) * 18, lambda regs: (regs, b""), lambda words, _: (Regs._make(words),)),
    "set_sregs": Form(_SREGS, _put_sregs, _take_sregs),
    "set_debugregs": Form((U64,) * 7, _put_debugregs, _take_debugregs),
    "set_vcpu_events": Form(
        _EVENTS, lambda events: (events, b""), lambda words, _: (VcpuEvents._make(words),)
    ),
    "set_mp_state": Form(
        (max(MpState),), lambda state: ((state,), b""), lambda words, _: (MpState(words[0]),)
    ),
    "interrupt": Form((U8,), lambda vector: ((vector,), b""), lambda words, _: (words[0],)),
    "nmi": _BARE,
    "irq_line": Form(
        (15, 1),
        lambda line, level: ((line, bool(level)), b""),
        lambda words, _: (words[0], bool(words[1])),
    ),
    "request_interrupt_window": Form(
        (1,), lambda wanted: ((bool(wanted),), b""), lambda words, _: (bool(words[0]),)
    ),
    "create_irqchip": _BARE,
    "intr": Form(
        (len(_CAUSES) - 1,),
        lambda cause: ((_CAUSES.index(cause),), b""),
        lambda words, _: (_CAUSES[words[0]],),
    ),
    "bulk": Form((U32,), _put_stops, _take_stops, bytes=True),
    "trace": Form((1,), lambda on: ((bool(on),), b""), lambda words, _: (bool(words[0]),)),
}
"""Every call that a journal may hold."""


# Exits

EXIT_WORDS: Final = 8
"""Reason, five numbers, and how many bytes of data and of text the exit has."""

_DIRECTIONS: Final = ("in", "out")
_SIZES: Final = (1, 2, 4)

_EXITS: Final[dict[int, tuple[int, ...]]] = {
    UnknownExit.reason: (U64,),
    ExceptionExit.reason: (U8, U32, U64, 1),
    IoExit.reason: (1, U16, 4, U32),
    DebugExit.reason: (U32, U64, U64, U64, 1),
    HltExit.reason: (),
    MmioExit.reason: (U64, 1),
    IrqWindowOpenExit.reason: (),
    ShutdownExit.reason: (),
    FailEntryExit.reason: (U64,),
    IntrExit.reason: (len(_CAUSES) - 1,),
    InternalErrorExit.reason: (U32,),
}
"""The greatest value of each number, by reason."""


def put_exit(exit: Exit) -> tuple[list[int], bytes]:
    """An exit as ``EXIT_WORDS`` words and its bytes: data, then text."""
    data: bytes = getattr(exit, "data", b"")
    text = getattr(exit, "detail", "").encode("utf-8", "backslashreplace")
    limits = _EXITS[exit.reason]
    words = check(type(exit).__name__, _numbers(exit), limits)
    words += [0] * (EXIT_WORDS - 3 - len(words))
    return [int(exit.reason), *words, len(data), len(text)], data + text


def _numbers(exit: Exit) -> tuple[int, ...]:
    match exit:
        case DebugExit():
            return exit.exception, exit.pc, exit.dr6, exit.dr7, exit.emulated
        case ExceptionExit():
            return exit.exception, exit.error_code, exit.pc, exit.software
        case IoExit():
            return _DIRECTIONS.index(exit.direction), exit.port, exit.size, exit.count
        case MmioExit():
            return exit.phys_addr, exit.is_write
        case IntrExit():
            return (_CAUSES.index(exit.cause),)
        case InternalErrorExit():
            return (exit.suberror,)
        case FailEntryExit():
            return (exit.hardware_entry_failure_reason,)
        case UnknownExit():
            return (exit.raw,)
        case _:
            return ()


def take_exit(words: Sequence[int], data: bytes) -> Exit:
    """The exit again; ``data`` are the bytes of which its last two words tell."""
    if len(words) != EXIT_WORDS or words[0] not in _EXITS or len(data) != words[-2] + words[-1]:
        raise RecordingError("damaged: an exit of no known kind")
    reason, *numbers, size, length = words
    limits = _EXITS[reason]
    values = check("an exit", numbers[: len(limits)], limits)
    if any(numbers[len(limits) :]):
        raise RecordingError("damaged: an exit has too many numbers")
    exit = _exit(reason, values, data[:size], _text(data[size:]))
    if (size and not hasattr(exit, "data")) or (length and not hasattr(exit, "detail")):
        raise RecordingError("damaged: an exit has bytes that it cannot have")
    return exit


def _exit(reason: int, values: list[int], data: bytes, text: str) -> Exit:
    make: dict[int, Callable[[], Exit]] = {
        UnknownExit.reason: lambda: UnknownExit(values[0]),
        ExceptionExit.reason: lambda: _exception(*values),
        IoExit.reason: lambda: _io(values, data),
        DebugExit.reason: lambda: _debug(*values),
        HltExit.reason: HltExit,
        MmioExit.reason: lambda: MmioExit(values[0], data, bool(values[1])),
        IrqWindowOpenExit.reason: IrqWindowOpenExit,
        ShutdownExit.reason: ShutdownExit,
        FailEntryExit.reason: lambda: FailEntryExit(values[0], text),
        IntrExit.reason: lambda: IntrExit(_CAUSES[values[0]]),
        InternalErrorExit.reason: lambda: InternalErrorExit(values[0], data, text),
    }
    return make[reason]()


def _exception(vector: int, error_code: int, pc: int, software: int) -> ExceptionExit:
    return ExceptionExit(vector, error_code, pc, bool(software))


def _debug(exception: int, pc: int, dr6: int, dr7: int, emulated: int) -> DebugExit:
    return DebugExit(exception, pc, dr6, dr7, bool(emulated))


def _io(values: list[int], data: bytes) -> IoExit:
    direction, port, size, count = values
    if size not in _SIZES or len(data) != size * count:
        raise RecordingError("damaged: an access to a port of no known size")
    return IoExit(_DIRECTIONS[direction], port, size, data, count)


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise RecordingError("damaged: a text is no UTF-8") from None
