"""Did you mean ...? One voice for every name that does not exist. Must not know who asks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], shown: int = 6) -> str:
    """The end of a sentence: the nearest known name, or all of them if they are few, or nothing.

    >>> did_you_mean("lop", ["start", "loop"])
    '; did you mean "loop"?'
    >>> did_you_mean("rxa", ["rcx", "rax"])
    '; did you mean "rax"?'
    >>> did_you_mean("x", ["start", "loop"])
    '; there is start, loop'
    """
    names = list(known)
    near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=5, cutoff=0.6)
    if near:
        letters = sorted(name.lower())
        best = next((n for n in near if sorted(n) == letters), near[0])  # swapped letters first
        return next(f'; did you mean "{n}"?' for n in names if n.lower() == best)
    return f"; there is {', '.join(names)}" if 0 < len(names) <= shown else ""
