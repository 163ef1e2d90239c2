"""The parts of a snapshot by the names that a page asks for. Must not know: what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..moment import Part
from . import debugregs, exits, listing, machine

PARTS: Final[Mapping[str, Part]] = {
    "machine": machine.part,
    "debugregs": debugregs.part,
    "exits": exits.part,
    "listing": listing.part,
}
