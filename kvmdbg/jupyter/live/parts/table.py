"""The parts of a snapshot by the names that a page asks for. Must not know: what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..moment import Part
from . import exits

PARTS: Final[Mapping[str, Part]] = {
    "exits": exits.part,
}
