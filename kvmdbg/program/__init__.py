"""Programs for guests: assemble a text, list it, plan how it is loaded.

Importing this is light; LLVM runs in a process of its own, started by the first ``assemble``.
"""

from __future__ import annotations

from .assemble import assemble
from .listing import Listing, ListingLine
from .program import Program

__all__ = ["Listing", "ListingLine", "Program", "assemble"]
