"""The plain-text twin of every view, in ASCII marks.

``*`` changed, ``+`` active, ``=>`` next instruction, ``B`` breakpoint.
Each function takes what its namesake in ``html`` takes. Must not know: what a row means.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from . import cpu, longstop, story
from . import debugregs as dr
from .tables import Card, Cell, Table, Verbatim, printable

if TYPE_CHECKING:
    from ..debugger.breakpoints import Breakpoint
    from ..debugger.stop import Stop
    from ..history.queries import Exits
    from ..program.listing import Listing
    from ..x86.decode import Instruction
    from ..x86.registers import DebugRegs, Regs, Sregs

NOTHING: Mapping[int, str] = {}


def _shown(cell: Cell) -> str:
    text = printable(cell.text)
    return cell.mark.ascii + text if cell.mark.leads else text + cell.mark.ascii


def _widths(table: Table) -> list[int]:
    widths = [max(column.width, len(column.title)) for column in table.columns]
    for row in table.lines:
        if len(row.cells) == len(widths):
            widths = [max(w, len(_shown(c))) for w, c in zip(widths, row.cells, strict=True)]
    return widths


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _row(texts: Iterable[str], table: Table, widths: list[int]) -> str:
    placed = [
        _pad(text, width, column.right)
        for text, width, column in zip(texts, widths, table.columns, strict=False)
    ]
    return (" " * table.gap).join(placed).rstrip()


def _table(table: Table) -> Iterator[str]:
    widths = _widths(table)
    if table.caption:
        yield ""
        yield table.caption
    if any(column.title for column in table.columns):
        yield _row((column.title for column in table.columns), table, widths)
    for line in table.lines:
        yield _row(map(_shown, line.cells), table, widths)


def _verbatim(block: Verbatim) -> Iterator[str]:
    yield ""
    yield f"{block.caption}:"
    for row in printable(block.text, keep="\n").splitlines():
        yield f"  | {row}"


def _card(card: Card) -> str:
    rows = [] if card.bare else [printable(card.title)]
    if card.sentence:
        rows.append(printable(card.sentence))
    for part in card.parts:
        rows += _table(part) if isinstance(part, Table) else _verbatim(part)
    return "\n".join(rows)


def render(*cards: Card) -> str:
    """Cards as text, an empty line between two, without a trailing newline."""
    return "\n\n".join(map(_card, cards))


def registers(regs: Regs, sregs: Sregs, changed: Collection[str] = ()) -> str:
    """See :func:`kvmdbg.views.cpu.registers`."""
    return render(cpu.registers(regs, sregs, changed))


def disassembly(
    instructions: Iterable[Instruction],
    pc: int,
    labels: Mapping[int, str] = NOTHING,
    breakpoints: Mapping[int, str] = NOTHING,
) -> str:
    """See :func:`kvmdbg.views.cpu.disassembly`."""
    return render(cpu.disassembly(instructions, pc, labels, breakpoints))


def hexdump(data: bytes, address: int, changed: Collection[int] = ()) -> str:
    """See :func:`kvmdbg.views.cpu.hexdump`."""
    return render(cpu.hexdump(data, address, changed))


def debugregs(guest: DebugRegs, host: tuple[int, ...] | None = None) -> str:
    """See :func:`kvmdbg.views.debugregs.debugregs`."""
    return render(dr.debugregs(guest, host))


def timeline(timeline: Exits, last: int = 20, labels: Mapping[int, str] = NOTHING) -> str:
    """See :func:`kvmdbg.views.story.timeline`."""
    return render(story.timeline(timeline, last, labels))


def stop(stop: Stop, labels: Mapping[int, str] = NOTHING) -> str:
    """See :func:`kvmdbg.views.story.stop`."""
    return render(story.stop(stop, labels))


def stop_long(stop: Stop, labels: Mapping[int, str] = NOTHING) -> str:
    """See :func:`kvmdbg.views.longstop.stop_long`."""
    return render(longstop.stop_long(stop, labels))


def breakpoints(table: Iterable[Breakpoint], labels: Mapping[int, str] = NOTHING) -> str:
    """See :func:`kvmdbg.views.story.breakpoints`."""
    return render(story.breakpoints(table, labels))


def listing(
    listing: Listing, pc: int | None = None, breakpoints: Mapping[int, str] = NOTHING
) -> str:
    """See :func:`kvmdbg.views.story.listing`."""
    return render(story.listing(listing, pc, breakpoints))
