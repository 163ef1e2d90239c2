"""A comparison of two engines as a card: equal, or the first divergence side by side.

Must not know: how a card is rendered, or how the divergence was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..x86.registers import Regs
from .tables import Card, Cell, Column, Line, Mark, Table, count, head, line

if TYPE_CHECKING:
    from ..debugger.divergence import Comparison, Divergence, Note, Pair


def comparison(found: Comparison, labels: Mapping[int, str] | None = None) -> Card:
    """The whole card; ``labels`` name addresses of the program."""
    sides = " and ".join(found.sides)
    parted = found.divergence
    notes = [_notes(found.notes)] if found.notes else []
    if parted is None:
        return Card(f"{sides}: no divergence", _summary(found), tuple(notes))
    title = f"{sides} part at {_unit(found.by)} {parted.step:,}"
    sentence = f"{_place(parted, labels or {})}: {_reason(parted)}"
    return Card(title, sentence, (*_divergence(found.sides, parted), *notes))


def _unit(by: str) -> str:
    return "exit" if by == "exit" else "step"


def _summary(found: Comparison) -> str:
    """``70,002 steps compared in 2.9 s (24,000 a second); the guest halted``."""
    steps = count(found.steps, _unit(found.by))
    speed = f" ({found.rate:,.0f} a second)" if found.steps > 1000 else ""
    return f"{steps} compared in {found.seconds:.2g} s{speed}; {found.ended}"


def _place(parted: Divergence, labels: Mapping[int, str]) -> str:
    name = labels.get(parted.pc)
    where = f"{parted.pc:#x}" if name is None else f"{name} ({parted.pc:#x})"
    return f"after {parted.instruction or 'an instruction'} at {where}"


def _reason(parted: Divergence) -> str:
    if not parted.reason:
        return "no known reason"
    return f"{parted.reason}{_rows(parted.rows)}"


def _rows(rows: tuple[int, ...]) -> str:
    if not rows:
        return ""
    return f" (row{'s' * (len(rows) > 1)} {', '.join(map(str, rows))})"


def _divergence(sides: tuple[str, str], parted: Divergence) -> Iterable[Table]:
    columns = (Column(), Column(sides[0]), Column(sides[1]))
    groups = (
        ("Registers", [_pair(name, pair, 16) for name, pair in _ordered(parted.registers)]),
        ("Flags", [_pair(name, pair, 1) for name, pair in parted.flags.items()]),
        ("Memory", [_pair(f"{at:#x}", pair, 2) for at, pair in sorted(parted.memory.items())]),
    )
    for caption, lines in groups:
        if lines:
            yield Table(columns, tuple(lines), caption)
    words = (("Exits", parted.exits), ("Accesses", parted.accesses))
    for caption, pair in words:
        if pair is not None:
            one, two = (str(value) for value in pair)
            rows = line(head(sides[0]), one), line(head(sides[1]), two)
            yield Table((Column(), Column(prose=True)), rows, caption)


def _ordered(registers: Mapping[str, Pair]) -> list[tuple[str, Pair]]:
    """General registers in their usual order, then the system registers."""
    order = {name: n for n, name in enumerate(Regs._fields)}
    return sorted(registers.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))


def _pair(name: str, pair: Pair, digits: int) -> Line:
    one, two = (f"{value:0{digits}x}" for value in pair)
    return line(head(name), one, Cell(two, Mark.CHANGED, "differs"))


def _notes(notes: tuple[Note, ...]) -> Table:
    lines = [line(f"{note.times:,} x", f"{note.text}{_rows(note.rows)}") for note in notes]
    caption = "Known differences that are no divergence"
    return Table((Column(right=True), Column(prose=True)), tuple(lines), caption)
