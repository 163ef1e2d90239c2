"""Every view as HTML that reads well in light and dark, without scripts.

Colours come from JupyterLab's CSS variables, with fallbacks for pages that have none; a mark is a
symbol with a title, so nothing hangs on colour alone. All text is escaped. Each function takes what
its namesake in ``text`` takes. Must not know: what a row means.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING

from . import cpu, longstop, story
from . import debugregs as dr
from .tables import Card, Cell, Column, Line, Mark, Table, Verbatim, printable

if TYPE_CHECKING:
    from ..debugger.breakpoints import Breakpoint
    from ..debugger.stop import Stop
    from ..history.queries import Exits
    from ..program.listing import Listing
    from ..x86.decode import Instruction
    from ..x86.registers import DebugRegs, Regs, Sregs

NOTHING: Mapping[int, str] = {}

# The class is doubled: Lab's own rules (.jp-RenderedHTMLCommon tr:nth-child) are specific.
STYLE = """<style>
.kvmdbg.kvmdbg{color:var(--jp-content-font-color1,inherit);line-height:1.4;margin:0 0 .9em}
.kvmdbg.kvmdbg p{margin:0 0 .4em}
.kvmdbg.kvmdbg .k-title{font-weight:600}
.kvmdbg.kvmdbg table{border-collapse:collapse;margin:0 0 .6em;table-layout:auto;width:auto;
font-size:var(--jp-code-font-size,13px);border:none}
.kvmdbg.kvmdbg caption{text-align:left;padding:.4em 0 .2em;font-weight:600;caption-side:top;
color:inherit}
.kvmdbg.kvmdbg tr:nth-child(n){background:none}
.kvmdbg.kvmdbg td,.kvmdbg.kvmdbg th{font-family:var(--jp-code-font-family,monospace);
font-weight:400;text-align:left;vertical-align:baseline;padding:.05em .9em .05em 0;border:none;
white-space:pre;max-width:none}
.kvmdbg.kvmdbg th{color:var(--jp-content-font-color2,inherit)}
.kvmdbg.kvmdbg thead th{border-bottom:1px solid var(--jp-border-color2,#8886)}
.kvmdbg.kvmdbg .k-prose{font-family:inherit;white-space:normal}
.kvmdbg.kvmdbg .k-right{text-align:right}
.kvmdbg.kvmdbg .k-pairs th,.kvmdbg.kvmdbg .k-dense td,.kvmdbg.kvmdbg .k-dense th{
padding-right:.5em}
.kvmdbg.kvmdbg tr.k-here:nth-child(n){background:var(--jp-layout-color2,#8882)}
.kvmdbg.kvmdbg tr.k-here td{font-weight:600}
.kvmdbg.kvmdbg td.k-changed,.kvmdbg.kvmdbg td.k-active{font-weight:700}
.kvmdbg.kvmdbg .k-mark{font-family:inherit;font-size:.75em;padding:0 .15em;
color:var(--jp-brand-color1,inherit)}
.kvmdbg.kvmdbg .k-changed .k-mark,.kvmdbg.kvmdbg .k-active .k-mark{display:inline-block;width:0;
font-size:.6em;padding:0}
.kvmdbg.kvmdbg .k-break .k-mark{color:var(--jp-error-color1,#c22)}
.kvmdbg.kvmdbg pre{margin:0;padding:.3em .6em;white-space:pre-wrap;color:inherit;
font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);
border-left:3px solid var(--jp-border-color1,#8888);background:none}
</style>"""


def _attributes(**values: str) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in values.items() if value)


def _mark(mark: Mark, title: str) -> str:
    if mark is Mark.NONE:
        return ""
    words = title or mark.words
    attributes = _attributes(role="img", title=words) + f' aria-label="{escape(words)}"'
    return f'<span class="k-mark"{attributes}>{mark.symbol}</span>'


def _content(cell: Cell) -> str:
    text, sign = escape(printable(cell.text)), _mark(cell.mark, cell.title)
    return sign + text if cell.mark.leads else text + sign


def _classes(cell: Cell, column: Column) -> str:
    names = [
        ("k-right", column.right),
        ("k-prose", column.prose),
        (f"k-{cell.mark.name.lower()}", cell.mark is not Mark.NONE),
    ]
    return " ".join(name for name, wanted in names if wanted)


def _cell(cell: Cell, column: Column, span: int) -> str:
    attributes = _attributes(
        **{"class": _classes(cell, column)}, title=cell.title, colspan=str(span) if span > 1 else ""
    )
    if cell.head:
        return f'<th scope="row"{attributes}>{_content(cell)}</th>'
    return f"<td{attributes}>{_content(cell)}</td>"


def _line(row: Line, columns: tuple[Column, ...]) -> str:
    last = len(row.cells) - 1
    cells = "".join(
        _cell(cell, columns[n], len(columns) - last if n == last else 1)
        for n, cell in enumerate(row.cells)
    )
    return f'<tr class="k-here">{cells}</tr>' if row.here else f"<tr>{cells}</tr>"


def _titles(columns: tuple[Column, ...]) -> str:
    cells = "".join(
        f'<th scope="col"{_attributes(**{"class": _classes(Cell(), column)})}>'
        f"{escape(column.title)}</th>"
        for column in columns
    )
    return f"<thead><tr>{cells}</tr></thead>"


def _table(table: Table, name: str) -> Iterator[str]:
    kind = {0: "k-dense", 1: "k-pairs"}.get(table.gap, "")
    label = "" if table.caption else name
    yield f"<table{_attributes(**{'class': kind, 'aria-label': label})}>"
    if table.caption:
        yield f"<caption>{escape(table.caption)}</caption>"
    if any(column.title for column in table.columns):
        yield _titles(table.columns)
    yield "<tbody>"
    yield from (_line(row, table.columns) for row in table.lines)
    yield "</tbody></table>"


def _verbatim(block: Verbatim) -> Iterator[str]:
    text = escape(printable(block.text, keep="\n"))
    yield f'<p>{escape(block.caption)}:</p><pre aria-label="{escape(block.caption)}">{text}</pre>'


def _card(card: Card) -> Iterator[str]:
    yield '<div class="kvmdbg">'
    if not card.bare:
        yield f'<p class="k-title">{escape(printable(card.title))}</p>'
    if card.sentence:
        yield f"<p>{escape(printable(card.sentence))}</p>"
    for part in card.parts:
        yield from _table(part, card.title) if isinstance(part, Table) else _verbatim(part)
    yield "</div>"


def render(*cards: Card) -> str:
    """Each card as a ``<div class="kvmdbg">``, after the one small style sheet."""
    return "\n".join([STYLE, *(row for card in cards for row in _card(card))])


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
