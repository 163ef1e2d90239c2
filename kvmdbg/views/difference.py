"""What differs between two moments as a card, side by side.

Must not know: how a card is rendered, or how the difference was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from .story import SHOWN_RUNS, place, run_sides
from .tables import Card, Cell, Column, Line, Mark, Table, count, head, line

if TYPE_CHECKING:
    from ..debugger.diffing import Diff, Pairs
    from ..debugger.parting import FirstDivergence

_DIGITS: Final = 16


def difference(diff: Diff, labels: Mapping[int, str] | None = None) -> Card:
    """The whole card; ``labels`` name addresses of code and of changed memory."""
    names = labels or {}
    sides = " and ".join(diff.sides)
    if diff.equal:
        return Card(f"{sides}: no difference", _places(diff, names))
    return Card(f"{sides}: {_summary(diff)}", _places(diff, names), tuple(_tables(diff, names)))


def divergence(found: FirstDivergence, labels: Mapping[int, str] | None = None) -> Card:
    """Where two runs part."""
    card = difference(found.diff, labels)
    if found.pc is None:
        begin = f"the runs differ from their beginning, clock {found.clock:,}"
        return card._replace(title=f"a and b: {begin}")
    sentence = f"equal up to clock {found.clock - 1:,}, at {place(found.pc, labels or {})}"
    return card._replace(title=f"a and b part at clock {found.clock:,}", sentence=sentence)


def _places(diff: Diff, labels: Mapping[int, str]) -> str:
    one, two = (place(pc, labels) for pc in diff.pcs)
    return f"the guest stands at {one}, and at {two}" if one != two else f"at {one} both times"


def _summary(diff: Diff) -> str:
    """``3 registers and 2 runs of bytes differ``."""
    registers = len(diff.registers) + len(diff.system) + len(diff.debugregs)
    numbers = (registers, "register"), (len(diff.flags), "flag")
    parts = [count(number, noun) for number, noun in numbers if number]
    runs = len(diff.memory) + diff.more
    parts += [f"{count(runs, 'run')} of bytes"] if runs else []
    return f"{', '.join(parts)} differ"


def _tables(diff: Diff, labels: Mapping[int, str]) -> Iterator[Table]:
    columns = (Column(), *(Column(side) for side in diff.sides))
    groups = (
        ("Registers", list(_pairs(diff.registers, _DIGITS))),
        ("Flags", list(_pairs(diff.flags, 1))),
        ("System registers", list(_pairs(diff.system, _DIGITS))),
        ("Debug registers", list(_pairs(diff.debugregs, _DIGITS))),
        ("Memory", list(_memory(diff, labels))),
    )
    for caption, lines in groups:
        if lines:
            yield Table(columns, tuple(lines), caption)


def _pairs(pairs: Pairs, digits: int) -> Iterator[Line]:
    for name, pair in pairs.items():
        one, two = (f"{value:0{digits}x}" for value in pair)
        yield line(head(name.lower()), one, Cell(two, Mark.CHANGED, "differs"))


def _memory(diff: Diff, labels: Mapping[int, str]) -> Iterator[Line]:
    for change in diff.memory[:SHOWN_RUNS]:
        yield line(head(place(change.address, labels)), *run_sides(change))
    more = len(diff.memory[SHOWN_RUNS:]) + diff.more
    if more:
        yield line(head("..."), f"and {count(more, 'more run')} of differing bytes")
