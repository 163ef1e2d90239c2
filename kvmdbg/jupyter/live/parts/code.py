"""The code of the machine view: instructions around the guest's place, with labels and source.

Rows begin where they began at the stop before, as long as the guest is still among them: who steps
sees the mark move and not the page. Must not know: breakpoints, registers, or how a row is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from ....debugger.vm import Vm
from ....errors import AddressError, BadInput
from ....program.listing import Listing, ListingLine
from ....views import cpu
from ....views.tables import printable
from ....x86.decode import Instruction
from ....x86.registers import MASK64
from ...display import labels_of
from ..wishes import Wishes

ROWS: Final = 24
_BEFORE: Final = 8
"""So many lines stand before the guest's place when the rows have moved."""

_AHEAD: Final = 4
"""So many instructions after the guest's place stay in sight before the rows move."""

_BLANK: Final = 16
"""So many zeros are no code."""

_SHOWN_BYTES: Final = 8
_DATA = re.compile(
    r"\s*(?:[\w.$]+:\s*)*(?:\.(?:byte|[248]byte|short|word|h?word|int|long|quad|octa|float|double|"
    r"asci[iz]|string\d*|skip|space|zero|fill|(?:b|p2)?align)|d[bwdqt]|res[bwdq]|times)\b",
    re.IGNORECASE,
)

_starts: WeakKeyDictionary[Vm, int] = WeakKeyDictionary()
"""Where the rows of each VM began last."""

_NO_LISTING: Final = Listing()


class _Row(NamedTuple):
    """One instruction, or what a line of data became, with its first bytes.

    ``line`` counts from 1; 0 where it is unknown.
    """

    address: int
    size: int
    raw: bytes
    text: str
    line: int = 0
    data: bool = False


def is_code(window: str) -> bool:
    """Whether a window of this name shows code: ``code``, or a page's ``name:code``."""
    return window.rpartition(":")[2] == "code"


def code(vm: Vm, pc: int) -> dict[str, Any]:
    """``rows`` around the guest's place, and ``says`` why there are none."""
    return _told(vm, lambda: _following(vm, pc))


def codes(vm: Vm, wishes: Wishes, pc: int) -> dict[str, dict[str, Any]]:
    """The same for each window that shows code from elsewhere on, by its name."""
    return {
        name: {"where": printable(wish.where)}
        | _told(vm, lambda: _rows(vm, vm.address(wish.where), pc))  # noqa: B023 - called at once
        for name, wish in wishes.windows.items()
        if is_code(name)
    }


def _told(vm: Vm, find: Callable[[], list[_Row]]) -> dict[str, Any]:
    try:
        rows, says = find(), ""
    except BadInput as error:
        rows, says = [], printable(str(error).splitlines()[0])
    labels, listing = labels_of(vm.symbols), _listing(vm)
    return {"says": says, "rows": [_json(row, labels, listing) for row in rows]}


def _listing(vm: Vm) -> Listing:
    return _NO_LISTING if vm.program is None else vm.program.listing


def _following(vm: Vm, pc: int) -> list[_Row]:
    start = _starts.get(vm)
    if start is not None and start <= pc <= start + ROWS * 15:
        rows = _rows(vm, start, pc)
        ahead = len(rows) - _AHEAD if len(rows) == ROWS else len(rows)
        if _has(rows[:ahead], pc):
            return rows
    return _moved(vm, pc)


def _moved(vm: Vm, pc: int) -> list[_Row]:
    """Rows that begin some lines before the guest's place: where the listing knows, else there."""
    before = sorted(
        line.address
        for line in _listing(vm)
        if line.address is not None and line.raw and line.address < pc
    )[-_BEFORE:]
    listed = bool(before) and _listing(vm).line_of(pc) is not None
    start = before[0] if listed else pc
    rows = _rows(vm, start, pc)
    if not _has(rows, pc):
        start, rows = pc, _rows(vm, pc, pc)
    _starts[vm] = start
    return rows


def _has(rows: list[_Row], pc: int) -> bool:
    return any(row.address == pc for row in rows)


def _rows(vm: Vm, start: int, pc: int) -> list[_Row]:
    """Rows from an address on; what the listing knows as data is not taken for instructions."""
    rows: list[_Row] = []
    data, labels = _data_lines(_listing(vm)), labels_of(vm.symbols)
    at = start
    while len(rows) < ROWS:
        line = data.get(at)
        try:
            if rows and _is_blank(vm, at, pc):
                break
            if line is not None and not at <= pc < at + len(line.raw):
                rows.append(_data_row(vm, line, at))
            else:
                code = _instructions(vm, at, data)
                rows += [_code_row(vm, ins, labels) for ins in islice(code, ROWS - len(rows))]
        except AddressError:
            if rows:
                break
            raise
        at = rows[-1].address + rows[-1].size
    return rows


def _is_blank(vm: Vm, at: int, pc: int) -> bool:
    """Whether zeros follow the program: instructions to the decoder, and nothing to people."""
    end = vm.program.end if vm.program is not None else at
    return at >= end and not at <= pc < at + _BLANK and not any(vm.read(at, _BLANK))


def _instructions(vm: Vm, at: int, data: dict[int, ListingLine]) -> Iterator[Instruction]:
    """Instructions from ``at`` to the next line of data or to the program's end; at least one."""
    end = vm.program.end if vm.program is not None and at < vm.program.end else MASK64
    for ins in vm.disassemble(at, ROWS):
        if ins.address != at and (ins.address in data or ins.address >= end):
            return
        yield ins


def _code_row(vm: Vm, ins: Instruction, labels: dict[int, str]) -> _Row:
    text = cpu.instruction_text(ins, labels)
    return _Row(ins.address, ins.size, ins.raw, text, _line(_listing(vm), ins))


def _line(listing: Listing, ins: Instruction) -> int:
    """The source line of an instruction, if the guest still has the bytes that it became."""
    number = listing.line_of(ins.address) or 0
    if not number:
        return 0
    line = listing[number - 1]
    offset = ins.address - (line.address or 0)
    return number if line.raw[offset : offset + ins.size] == ins.raw else 0


def _data_row(vm: Vm, line: ListingLine, at: int) -> _Row:
    size = len(line.raw)
    raw = vm.read(at, min(size, _SHOWN_BYTES))
    return _Row(at, size, raw, _without_labels(line.text), line.number, data=True)


_latest: tuple[Listing, dict[int, ListingLine]] = (_NO_LISTING, {})
"""The listing that was looked through last."""


def _data_lines(listing: Listing) -> dict[int, ListingLine]:
    """The lines of data by address."""
    global _latest
    if _latest[0] is not listing:
        found = {
            line.address: line
            for line in listing
            if line.address is not None and line.raw and _DATA.match(line.text)
        }
        _latest = (listing, found)
    return _latest[1]


def _without_labels(text: str) -> str:
    return re.sub(r"^\s*(?:[\w.$]+:\s*)+", "", text).strip()


def _json(row: _Row, labels: dict[int, str], listing: Listing) -> dict[str, Any]:
    more = "" if row.size <= _SHOWN_BYTES else " ..."
    return {
        "address": f"{row.address:#x}",
        "size": row.size,
        "label": labels.get(row.address, ""),
        "bytes": row.raw[:_SHOWN_BYTES].hex(" ") + more,
        "text": printable(row.text),
        "source": printable(_without_labels(listing[row.line - 1].text)) if row.line else "",
        "line": row.line,
        "data": row.data,
    }
