"""What the pages that the test run writes share: a row's tests, the counts, writing and comparing.

``KVMDBG_WRITE_DOCS=1 pytest tests/conformance`` writes the pages anew. Must not know: what a page
says about a row.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.committed import committed
from tests.conformance.rows import ROWS

DOCS = Path(__file__).parents[2] / "docs"

Shown = dict[int, list[tuple[str, str]]]
"""For each row its tests: (``file::test``, why it does not show the row or nothing)."""


def shown_by(found: list[tuple[str, str]], name: Callable[[str], str]) -> str:
    """A table's cell: each test as ``name`` writes it, with its gap in brackets."""
    if not found:
        return "no test yet"
    return "<br>".join(name(place) + (f" ({gap})" if gap else "") for place, gap in found)


def summary(shown: Shown) -> str:
    """How many rows are shown, in one sentence."""
    run = sum(any(not gap for _, gap in found) for found in shown.values())
    partly = sum(len({bool(gap) for _, gap in found}) == 2 for found in shown.values())
    missing = sum(not found for found in shown.values())
    rest = len(ROWS) - run - missing
    return (
        f"Of {len(ROWS)} rows, {run} are shown ({partly} of them with a gap named beside a test), "
        f"{rest} have only tests that are skipped or need /dev/kvm, {missing} have no test yet."
    )


def need_all_tests(request: pytest.FixtureRequest) -> None:
    """Skip where not every conformance test was collected: what depends on all cannot be told."""
    collected = {item.path.name for item in request.session.items}
    if not {p.name for p in Path(__file__).parent.glob("test_*.py")} <= collected:
        pytest.skip("only a part of the conformance tests was collected")


def text_on_disk(page: Path, expected: str, request: pytest.FixtureRequest) -> str:
    """What stands in the page, after ``expected`` was written there if that is asked for."""
    need_all_tests(request)
    return committed(page, expected)
