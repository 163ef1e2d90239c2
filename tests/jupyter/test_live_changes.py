"""Changes of a snapshot: put together with the one before they give the new one."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.jupyter.live.changes import changes

LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "0x8000"])
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab0"), inner),
    max_leaves=12,
)


def patched(before: Any, change: Any) -> Any:
    """As the page does it."""
    if isinstance(change, list):
        return change[0]
    made = before.copy()
    for key, inner in change.items():
        place = int(key) if isinstance(made, list) else key
        made[place] = patched(before[place], inner)
    return made


@given(JSON, JSON)
def test_what_came_before_and_the_changes_give_what_is_now(before: Any, now: Any) -> None:
    change = json.loads(json.dumps(changes(before, now)))
    made = before if change is None else patched(before, change)
    assert json.dumps(made, sort_keys=True) == json.dumps(now, sort_keys=True)


@given(JSON)
def test_nothing_changes_to_the_same(value: Any) -> None:
    assert changes(value, json.loads(json.dumps(value))) is None


def test_what_has_not_changed_is_not_told() -> None:
    before = {
        "pc": "0x8000",
        "registers": [{"name": "rax", "was": None}, {"name": "rbx", "was": 1}],
    }
    now = {"pc": "0x8001", "registers": [{"name": "rax", "was": None}, {"name": "rbx", "was": 2}]}
    assert changes(before, now) == {"pc": ["0x8001"], "registers": {"1": {"was": [2]}}}
