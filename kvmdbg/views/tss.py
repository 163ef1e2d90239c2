"""The task state segment as rows: its fields, and which ports the I/O map lets CPL 3 use.

SDM vol. 3, 7.2.1 (32-bit), 7.6 (16-bit), 7.7 (64-bit); vol. 1, 19.5.2 (the map). Must not know: how
the guest is run, or how a card is rendered.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final, NamedTuple

from ..debugger.evidence import Scene, segment_kind, selector_words
from ..x86.registers import Segment
from .tables import Card, Column, Table, count, head, line

_MAP_BASE: Final = 0x66
_TSS_16: Final = (1, 3)
_TSS_TYPES: Final = (1, 3, 9, 11)
_MOST_RANGES: Final = 32
_PORTS: Final = 1 << 16


class _Field(NamedTuple):
    offset: int
    size: int
    name: str
    words: str


def _rows(start: int, size: int, step: int, names: str, words: str = "") -> list[_Field]:
    return [_Field(start + n * step, size, name, words) for n, name in enumerate(names.split())]


_SAVED = "kept while the task does not run"
_MAP = _Field(_MAP_BASE, 2, "I/O map base", "where the I/O permission bitmap begins")
_FIELDS_64: Final = (
    *_rows(0x04, 8, 8, "RSP0 RSP1 RSP2", "the stack that an entry to this CPL gets"),
    *_rows(0x24, 8, 8, "IST1 IST2 IST3 IST4 IST5 IST6 IST7", "the stack of gates with this IST"),
    _MAP,
)
_FIELDS_32: Final = (
    _Field(0, 2, "link", "the task to go back to"),
    *(
        field
        for level in range(3)
        for field in (
            _Field(4 + 8 * level, 4, f"ESP{level}", f"the stack that an entry to CPL {level} gets"),
            _Field(8 + 8 * level, 2, f"SS{level}", ""),
        )
    ),
    *_rows(0x1C, 4, 4, "CR3 EIP EFLAGS EAX ECX EDX EBX ESP EBP ESI EDI", _SAVED),
    *_rows(0x48, 2, 4, "ES CS SS DS FS GS LDT", _SAVED),
    _Field(0x64, 2, "T", "bit 0: a #DB when the task is switched to"),
    _MAP,
)
_FIELDS_16: Final = (
    *_rows(0, 2, 2, "link SP0 SS0 SP1 SS1 SP2 SS2"),
    *_rows(0x0E, 2, 2, "IP FLAGS AX CX DX BX SP BP SI DI ES CS SS DS LDT", _SAVED),
)


def tss(scene: Scene) -> Card:
    """The TSS that TR points at."""
    task = scene.sregs.tr
    if scene.real or task.unusable or task.type not in _TSS_TYPES:
        why = "real mode has no tasks" if scene.real else "TR holds no usable TSS"
        return Card("TSS", f"There is none: {why}.")
    fields = _fields(scene, task)
    parts = (_table(scene, task, fields), *_map(scene, task))
    where = f"TR: {selector_words(task.selector)}; {segment_kind(task)}"
    return Card("TSS", f"{where}, base {task.base:#x}, limit {task.limit:#x}.", parts)


def _fields(scene: Scene, task: Segment) -> tuple[_Field, ...]:
    if task.type in _TSS_16:
        return _FIELDS_16
    return _FIELDS_64 if scene.long else _FIELDS_32


def _table(scene: Scene, task: Segment, fields: tuple[_Field, ...]) -> Table:
    columns = (Column("offset"), Column("field"), Column("value"), Column("meaning", prose=True))
    lines = []
    for field in fields:
        raw, why = scene.load(task.base + field.offset, field.size)
        if field.offset + field.size - 1 > task.limit:
            raw, why = b"", "beyond the limit"
        value = f"{int.from_bytes(raw, 'little'):#x}" if raw else ""
        words = field.words if raw else why
        lines.append(line(f"{field.offset:#04x}", head(field.name), value, words))
    return Table(columns, tuple(lines))


def _map(scene: Scene, task: Segment) -> tuple[Table, ...]:
    """Which ports are allowed where CPL is above IOPL."""
    raw, _ = scene.load(task.base + _MAP_BASE, 2)
    if task.type in _TSS_16 or not raw or task.limit < _MAP_BASE + 1:
        return ()
    start = int.from_bytes(raw, "little")
    size = min(_PORTS // 8, max(0, task.limit - start))  # the last byte must be 0xff
    if not size:
        words = "the map begins at or beyond the limit: above IOPL no port is allowed"
        return (Table((Column(prose=True),), (line(words),), "I/O permission bitmap"),)
    bits, why = scene.load(task.base + start, size)
    lines = [line(text) for text in _allowed(bits)] if bits else [line(why)]
    return (Table((Column(prose=True),), tuple(lines), "I/O permission bitmap"),)


def _allowed(bits: bytes) -> list[str]:
    """Ports whose bit is 0, in ranges."""
    ports = [n for n in range(len(bits) * 8) if not bits[n // 8] >> n % 8 & 1]
    groups = [list(run) for _, run in groupby(enumerate(ports), key=lambda pair: pair[1] - pair[0])]
    found = [
        f"{run[0][1]:#x}" + (f" - {run[-1][1]:#x}" if len(run) > 1 else "")
        for run in groups[:_MOST_RANGES]
    ]
    more = len(groups) - len(found)
    text = f"allowed above IOPL: {', '.join(found)}" if found else "above IOPL no port is allowed"
    return [text + (f", and {count(more, 'range')} more" if more else "")]
