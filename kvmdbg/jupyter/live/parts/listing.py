"""The part ``listing`` of a snapshot: which source line stands where, for the gutter of a cell.

Must not know: cells, or how a gutter is drawn.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Any, Final

from ....debugger.vm import Vm
from ....program import Program
from ..wishes import Wishes

LONGEST: Final = 64 << 10
"""A longer source text is not sent; its digest tells whether a cell holds it."""


def part(vm: Vm, wishes: Wishes) -> dict[str, Any]:
    """``program`` as :func:`program_json`, or null, and ``here``: the line of the next instruction.

    ``here`` counts from 1 and is null where the guest is elsewhere.
    """
    program = vm.program
    if program is None or not program.listing:
        return {"program": None, "here": None}
    return {"program": _known(program), "here": program.listing.line_of(vm.address("$rip"))}


_latest: list[tuple[Program, dict[str, Any]]] = []
"""The program that was looked at last: a program is frozen, and loaded for many stops."""


def _known(program: Program) -> dict[str, Any]:
    if not _latest or _latest[0][0] is not program:
        _latest[:] = [(program, program_json(program))]
    return _latest[0][1]


def program_json(program: Program) -> dict[str, Any]:
    """Its name, its source text, and the lines that became code or data, with their addresses.

    ``source`` is the text as it was assembled: of a cell, what follows its first line, without
    blanks at the end; empty if it has more than ``LONGEST`` characters. ``sha1`` is that of its
    UTF-8 bytes, in hexadecimal, ``length`` its characters.
    """
    source = "\n".join(line.text for line in program.listing)
    return {
        "name": program.name,
        "source": source if len(source) <= LONGEST else "",
        "sha1": sha1(source.encode(), usedforsecurity=False).hexdigest(),
        "length": len(source),
        "rows": [
            {"line": line.number, "address": f"{line.address:#x}"}
            for line in program.listing
            if line.address is not None and line.raw
        ],
    }
