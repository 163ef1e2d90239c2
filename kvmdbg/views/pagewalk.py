"""The way of one linear address through the guest's paging tables, as rows: entry by entry.

Must not know: how the guest is run, or how a card is rendered. The walk is ``x86/paging.py``'s, why
an entry refuses is ``debugger/examiners/pages.py``'s.
"""

from __future__ import annotations

from typing import Final

from ..debugger.evidence import Evidence, Scene
from ..debugger.examiners.pages import page_walk
from ..x86.paging import Entry, NonCanonical, PageFault, find_page, translate, walk
from ..x86.registers import CR0, CR4, EFER
from .tables import Card, Cell, Column, Line, Mark, Table, head, line

_BITS: Final = (
    (0, "P", "present"),
    (1, "R/W", "writable"),
    (2, "U/S", "for CPL 3 too"),
    (3, "PWT", "write-through"),
    (4, "PCD", "not cached"),
    (5, "A", "was accessed"),
    (6, "D", "was written to"),
    (8, "G", "global"),
)
_PS: Final = 7
_XD: Final = 63
_LEAF_ONLY: Final = ("D", "G")

_ACCESSES: Final[tuple[tuple[str, dict[str, bool]], ...]] = (
    ("read", {}),
    ("write", {"write": True}),
    ("execute", {"fetch": True}),
)


def page(scene: Scene, linear: int) -> Card:
    """How ``linear`` becomes physical, or the entry that is in the way, and who may do what."""
    title = f"The way of {scene.place(linear)}"
    if not scene.sregs.cr0 & CR0.PG:
        words = "CR0.PG (bit 31) is 0: no paging, the physical address is the linear one"
        return Card(title, f"{words}, {linear & 0xFFFFFFFF:#x}.")
    try:
        entries = walk(linear, scene.sregs, scene.read)
    except NonCanonical:
        return Card(title, "The address is not canonical: bits 63 to 47 must all be equal.")
    evidence = page_walk(scene, linear, 0)
    parts = (_entries(scene, entries, evidence), _rights(scene, linear))
    return Card(title, f"{_paging_words(scene)} {_result(scene, linear)}", parts)


def _paging_words(scene: Scene) -> str:
    """Which kind of tables, and where they begin (SDM vol. 3, 4.1.1)."""
    sregs = scene.sregs
    if sregs.efer & EFER.LMA:
        kind = "4-level paging"
    else:
        kind = "PAE paging" if sregs.cr4 & CR4.PAE else "32-bit paging"
    return f"{kind}, CR3 = {sregs.cr3:#x}."


def _result(scene: Scene, linear: int) -> str:
    try:
        physical = translate(linear, scene.sregs, scene.read)
        size = -find_page(linear, scene.sregs, scene.read).keep
    except PageFault as fault:
        return f"An access faults: {fault.problem}."
    return f"It is physical {physical:#x}, in a page of {_size(size)}."


def _size(size: int) -> str:
    for unit, words in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size // unit} {words}"
    return f"{size} bytes"


def _entries(scene: Scene, entries: list[Entry], evidence: list[Evidence]) -> Table:
    columns = (
        Column("entry"),
        Column("at physical"),
        Column("value"),
        Column("bits set"),
        Column("meaning", prose=True),
    )
    lines: list[Line] = []
    for entry, found in zip(entries, evidence, strict=False):
        lines.append(_entry(scene, entry, found))
        if found.wrong:
            lines.append(
                line(
                    Cell("wrong", Mark.HERE, "this is what refuses", head=True),
                    "",
                    "",
                    "",
                    found.wrong + (f"; to mend: {found.mend}" if found.mend else ""),
                )
            )
    return Table(columns, tuple(lines), "Entry by entry")


def _entry(scene: Scene, entry: Entry, found: Evidence) -> Line:
    wide = len(found.raw) == 8
    leaf = bool(entry.page_size)
    names, words = [], []
    for bit, name, meaning in _BITS:
        if entry.value >> bit & 1 and (leaf or name not in _LEAF_ONLY):
            names.append(name)
            words.append(meaning)
    if leaf and entry.page_size > 1 << 12:
        names.append("PS")
    if wide and entry.value >> _XD & 1:
        names.append("XD")
        words.append("not to be executed")
    target = entry.value & ((1 << 52) - (1 << 12) if wide else 0xFFFFF000)
    goal = f"maps a page of {_size(entry.page_size)}" if leaf else f"next table at {target:#x}"
    words = [goal if entry.present else "not present: its other bits mean nothing", *words[1:]]
    return line(
        head(entry.level),
        f"{entry.address:#x}",
        f"{entry.value:#0{2 + 2 * len(found.raw)}x}",
        " ".join(names),
        ", ".join(words if entry.present else words[:1]),
    )


def _rights(scene: Scene, linear: int) -> Table:
    """Each kind of access, tried on paper."""
    columns = (Column("access"), Column("at CPL 0-2", prose=True), Column("at CPL 3", prose=True))
    lines = (
        line(head(name), *(_tried(scene, linear, user=user, **how) for user in (False, True)))
        for name, how in _ACCESSES
    )
    return Table(columns, tuple(lines), "Who may do what (without SMEP, SMAP and protection keys)")


def _tried(scene: Scene, linear: int, **how: bool) -> str:
    try:
        translate(linear, scene.sregs, scene.read, **how)
    except PageFault as fault:
        reason = fault.problem.rpartition(": ")[2]
        return f"#PF, error code {fault.error_code:#x}: {reason}"
    return "allowed"
