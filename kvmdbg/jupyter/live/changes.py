"""What one snapshot has otherwise than the one before: of a step, a tenth of all that is shown.

A page's browser takes in a message in bites of a thousand bytes, each of which costs it as much as
a small message would. Must not know: what a snapshot says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def changes(before: Any, now: Any) -> Any:
    """What makes ``now`` of ``before``, both JSON; None if they are the same.

    ``[value]`` puts a value in the place of another; an object has changes by key, or by index for
    lists of one length. The other way is ``patched`` in widgets/esm/channel.js.

    >>> changes({"pc": 1, "rows": [{"a": 0}, {"b": 0}]}, {"pc": 2, "rows": [{"a": 0}, {"b": 7}]})
    {'pc': [2], 'rows': {'1': {'b': [7]}}}
    >>> changes({"a": 1}, {"a": 1, "b": 2})
    [{'a': 1, 'b': 2}]
    """
    pairs: Iterable[tuple[Any, Any, Any]]
    if type(before) is dict and type(now) is dict and before.keys() == now.keys():
        pairs = ((key, before[key], value) for key, value in now.items())
    elif type(before) is list and type(now) is list and len(before) == len(now):
        pairs = ((str(n), *both) for n, both in enumerate(zip(before, now, strict=True)))
    else:
        return None if type(before) is type(now) and before == now else [now]
    found = {key: change for key, a, b in pairs if (change := changes(a, b)) is not None}
    return found or None
