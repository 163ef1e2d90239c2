"""docs/engines.md says of each row which test shows it; this test writes and checks that page.

``KVMDBG_WRITE_DOCS=1 pytest tests/conformance`` writes it anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance.rows import ROWS

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"

HEAD = """# What each engine shows

The rows are those of the guest-debug conformance list. A row is shown by the tests named beside it;
they run in `make test`. This page is written by the test run.

{summary}

| row | name | embedded engine (Unicorn), reference profile |
|---|---|---|
"""


def _cell(found: list[tuple[str, str]]) -> str:
    if not found:
        return "no test yet"
    return "<br>".join(f"`{place}`" + (f" ({gap})" if gap else "") for place, gap in found)


def _summary(shown: dict[int, list[tuple[str, str]]]) -> str:
    run = sum(any(not gap for _, gap in found) for found in shown.values())
    partly = sum(len({bool(gap) for _, gap in found}) == 2 for found in shown.values())
    missing = sum(not found for found in shown.values())
    rest = len(ROWS) - run - missing
    return (
        f"Of {len(ROWS)} rows, {run} are shown ({partly} of them with a gap named beside a test), "
        f"{rest} have only tests that are skipped, {missing} have no test yet."
    )


def render(shown: dict[int, list[tuple[str, str]]]) -> str:
    lines = [f"| {n} | {name} | {_cell(shown[n])} |" for n, name in ROWS.items()]
    return HEAD.format(summary=_summary(shown)) + "\n".join(lines) + "\n"


def test_the_engines_page_is_what_the_tests_show(
    shown_rows: dict[int, list[tuple[str, str]]], request: pytest.FixtureRequest
) -> None:
    collected = {item.path.name for item in request.session.items}
    if not {p.name for p in Path(__file__).parent.glob("test_*.py")} <= collected:
        pytest.skip("only a part of the conformance tests was collected")
    page = render(shown_rows)
    if os.environ.get("KVMDBG_WRITE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page
