"""What happened as rows: one stop, the timeline, breakpoints, the listing.

Pure functions from values to cards (``tables``); ``text`` and ``html`` render them. Must not know:
how a card is rendered, or how a stop came to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..exits import DebugExit
from ..history.lanes import count_lanes
from ..x86 import vectors
from .cpu import EXTENDED, GENERAL, address_digits, instruction_text, mode_words, register_name
from .exits import exit_facts, exit_words
from .tables import (
    Card,
    Cell,
    Column,
    Line,
    Mark,
    Table,
    Verbatim,
    count,
    head,
    line,
    without_empty_columns,
)

if TYPE_CHECKING:
    from ..debugger.breakpoints import Breakpoint
    from ..debugger.stop import MemoryChange, Stop
    from ..exits import Exit
    from ..history.queries import Exits
    from ..history.timeline import Row
    from ..program.listing import Listing, ListingLine

SHOWN_BYTES = 8
"""A changed run of memory shows at most so many bytes of each side."""

SHOWN_RUNS = 16
"""A stop shows at most so many changed runs of memory; the rest is counted."""

LISTED_BYTES = 8
"""A line of a listing shows at most so many bytes; the rest is counted."""


def place(address: int, labels: Mapping[int, str]) -> str:
    """An address with its label.

    >>> place(0x9000, {0x9000: "counter"}), place(0x9001, {})
    ('0x9000 counter', '0x9001')
    """
    return f"{address:#x} {labels.get(address, '')}".rstrip()


def stop(stop: Stop, labels: Mapping[int, str]) -> Card:
    """Why the guest stopped, where, and what changed since the stop before.

    ``labels`` name changed memory and jump targets by address; changes of memory are physical.
    """
    parts: list[Table | Verbatim] = [_stop_facts(stop, labels)]
    changes = tuple(_changes(stop, labels))
    if changes:
        columns = (Column("changed"), Column("before"), Column("after"))
        parts.append(Table(columns, changes))
    if stop.console:
        parts.append(Verbatim("console", stop.console))
    return Card(_stop_title(stop), stop.cause, tuple(parts))


def _stop_title(stop: Stop) -> str:
    kind = str(stop.kind).lower().replace("_", " ")
    where = f"{stop.pc:#x}"
    at = where if stop.location in ("", where) else f"{stop.location} ({where})"
    return f"Stop {stop.index}: {kind} at {at}"


def _stop_facts(stop: Stop, labels: Mapping[int, str]) -> Table:
    ins = stop.instruction
    clock = "" if stop.clock < 0 else f", {stop.clock:,} in all"
    facts = [
        ("next", "(unreadable)" if ins is None else instruction_text(ins, labels)),
        ("hit", ", ".join(f"breakpoint {number}" for number in stop.hits)),
        ("exit", exit_facts(stop.exit) + _made_up(stop.exit)),
        ("ran", "" if stop.executed < 0 else count(stop.executed, "instruction") + clock),
        ("mode", f"{mode_words(stop.mode)}, CPL {stop.sregs.cpl}"),
    ]
    lines = tuple(line(head(name), text) for name, text in facts if text)
    return Table((Column(), Column()), lines)


def _made_up(exit: Exit) -> str:
    """Whether the host's KVM gave this exit, or the engine made it from another one."""
    return ", emulated" if isinstance(exit, DebugExit) and exit.emulated else ""


def _changes(stop: Stop, labels: Mapping[int, str]) -> Iterator[Line]:
    changes = stop.changes
    yield from _register_changes(changes.registers, stop.mode.bits)
    for name, (old, new) in changes.flags.items():
        yield line(head(name.lower()), str(old), str(new))
    for run in changes.memory[:SHOWN_RUNS]:
        yield line(head(place(run.address, labels)), *run_sides(run))
    more = len(changes.memory[SHOWN_RUNS:]) + changes.more
    if more:
        yield line(head("..."), f"and {count(more, 'more run')} of changed bytes")


def _register_changes(changed: Mapping[str, tuple[int, int]], bits: int) -> Iterator[Line]:
    """General registers first as wide as the mode, or wider if a bit would be lost."""
    general = [pair for name, pair in changed.items() if name in GENERAL + EXTENDED]
    digits = max(bits // 4, address_digits(max((max(pair) for pair in general), default=0)))
    for name, (old, new) in changed.items():
        width = digits if name in GENERAL + EXTENDED else 4
        shown = register_name(name, digits) if name in GENERAL else name
        yield line(head(shown), f"{old:0{width}x}", f"{new:0{width}x}")


def _cut(data: bytes, most: int) -> str:
    rest = len(data) - most
    return data[:most].hex(" ") + (f" +{rest:,}" if rest > 0 else "")


def run_sides(run: MemoryChange) -> list[str]:
    """A changed run's first bytes before and after."""
    return [_cut(side, SHOWN_BYTES) for side in (run.old, run.new)]


def timeline(timeline: Exits, last: int, labels: Mapping[int, str]) -> Card:
    """How many exits of each kind, and the ``last`` ones one by one."""
    if not len(timeline):
        return Card("Timeline: no exits yet")
    rows = timeline[-last:] if last > 0 else []
    parts = [_lane_table(timeline)]
    if rows:
        parts.append(_exit_table(rows, len(timeline), labels))
    return Card(f"Timeline: {timeline.summary()}", "", tuple(parts))


def _lane_table(timeline: Exits) -> Table:
    total = len(timeline)
    lines = tuple(
        line(head(lane.title), f"{number:,}", f"{number / total:.1%}")
        for lane, number in count_lanes(timeline).items()
    )
    return Table((Column("kind"), Column("exits", right=True), Column("share", right=True)), lines)


def _exit_table(rows: list[Row], total: int, labels: Mapping[int, str]) -> Table:
    columns = (
        Column("#", right=True),
        Column("exit"),
        Column("at"),
        Column("dr6"),
        Column("dr7"),
        Column("clock", right=True),
        Column("host ms", right=True),
    )
    lines = tuple(_exit_line(row, labels) for row in rows)
    what = "all exits" if len(rows) == total else f"the last {count(len(rows), 'exit')}"
    return without_empty_columns(Table(columns, lines, what))


def _exit_line(row: Row, labels: Mapping[int, str]) -> Line:
    return line(
        head(f"{row.index:,}"),
        exit_words(row),
        place(row.pc, labels),
        f"{row.dr6:#x}" if row.dr6 else "",
        f"{row.dr7:#x}" if row.dr7 else "",
        f"{row.clock:,}" if row.clock >= 0 else "",
        f"{row.host_time * 1000:,.3f}",
    )


_ACCESS = {"x": "execution", "w": "writes", "rw": "reads, writes", "int": "being raised"}
_KINDS = {"sw": "INT3", "hw": "DR", "vector": "exception"}


def breakpoints(table: Iterable[Breakpoint], labels: Mapping[int, str]) -> Card:
    """All breakpoints in the order of their numbers."""
    found = list(table)
    if not found:
        return Card("Breakpoints: none")
    columns = (
        *(Column("#", right=True), Column("kind"), Column("stops on"), Column("where")),
        *(Column("bytes", right=True), Column("when"), Column("hits", right=True), Column("state")),
        Column("because"),
    )
    lines = tuple(_breakpoint_line(bp, labels) for bp in found)
    return Card(f"Breakpoints: {len(found)}", "", (without_empty_columns(Table(columns, lines)),))


def _breakpoint_line(bp: Breakpoint, labels: Mapping[int, str]) -> Line:
    slot = "" if bp.slot is None else str(bp.slot)
    where = place(bp.address, labels)
    if bp.kind == "vector":
        where = vectors.both_names(bp.address)
    return line(
        head(str(bp.number)),
        _KINDS[bp.kind] + slot + (", emulated" if bp.emulated else ""),
        _ACCESS[bp.access],
        where,
        str(bp.length) if bp.access in ("w", "rw") else "",
        bp.when or "",
        f"{bp.hits:,}",
        ("on" if bp.enabled else "off") + (", once" if bp.temporary else ""),
        bp.note,
    )


def listing(listing: Listing, pc: int | None, breakpoints: Mapping[int, str]) -> Card:
    """The source with addresses and bytes, a mark at ``pc`` and breakpoints' numbers."""
    found = list(listing)
    digits = address_digits(max((row.address or 0 for row in found), default=0))
    lines = tuple(_listing_line(row, pc, breakpoints, digits) for row in found)
    columns = (Column(width=2), Column(), Column(right=True), *(Column(),) * 3)
    title = f"Listing: {count(len(found), 'line')}"
    return Card(title, "" if found else "(no source)", (Table(columns, lines),), bare=True)


def _listing_line(
    row: ListingLine, pc: int | None, breakpoints: Mapping[int, str], digits: int
) -> Line:
    here = row.address is not None and row.address == pc and bool(row.raw)
    number = None if row.address is None or not row.raw else breakpoints.get(row.address)
    return line(
        Cell("", Mark.HERE, Mark.HERE.words) if here else "",
        "" if number is None else Cell(number, Mark.BREAK, f"breakpoint {number}"),
        str(row.number),
        "" if row.address is None else f"0x{row.address:0{digits}x}",
        _cut(row.raw, LISTED_BYTES),
        row.text,
        here=here,
    )
