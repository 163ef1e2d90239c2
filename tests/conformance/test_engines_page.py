"""docs/engines.md says of each row which test shows it; this test writes and checks that page.

``KVMDBG_WRITE_DOCS=1 pytest tests/conformance`` writes it anew.
"""

from __future__ import annotations

import pytest

from tests.conformance.pages import DOCS, Shown, shown_by, summary, text_on_disk
from tests.conformance.rows import ROWS

HEAD = """# What each engine shows

The rows are those of the guest-debug conformance list. A row is shown by the tests named beside it;
they run in `make test`. This page is written by the test run.

{summary}

| row | name | embedded engine (Unicorn) |
|---|---|---|
"""


def _code(place: str) -> str:
    return f"`{place}`"


def render(shown: Shown) -> str:
    lines = [f"| {n} | {name} | {shown_by(shown[n], _code)} |" for n, name in ROWS.items()]
    return HEAD.format(summary=summary(shown)) + "\n".join(lines) + "\n"


def test_the_engines_page_is_what_the_tests_show(
    shown_rows: Shown, request: pytest.FixtureRequest
) -> None:
    page = render(shown_rows)
    assert text_on_disk(DOCS / "engines.md", page, request) == page
