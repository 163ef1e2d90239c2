"""One case in words, as docs/guest-debug.md shows it. Must not know: any row's test."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """What is set up and called, what happens on the reference profile, and where that comes from.

    Markdown, without a table's escapes.
    """

    when: str
    then: str
    source: str
