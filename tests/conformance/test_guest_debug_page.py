"""docs/guest-debug.md says what each row is and which test shows it; written and checked here.

``KVMDBG_WRITE_DOCS=1 pytest tests/conformance`` writes it anew.
"""

from __future__ import annotations

import pytest

from tests.conformance.cases import CASES, TOPICS
from tests.conformance.cases.case import Case
from tests.conformance.guest_debug_page import DIFFER, FINDINGS, HEAD, RULES, TABLE_HEAD
from tests.conformance.pages import DOCS, Shown, shown_by, summary, text_on_disk
from tests.conformance.rows import ROWS


def _linked(place: str) -> str:
    file, test = place.split("::")
    return f"[{test}](../tests/conformance/{file})"


def _escaped(cell: str) -> str:
    """A bar would end the cell, inside code too."""
    return cell.replace("|", r"\|")


def _line(number: int, case: Case, shown: Shown) -> str:
    cells = [ROWS[number], *case, shown_by(shown[number], _linked)]
    return f"| {number} | " + " | ".join(map(_escaped, cells)) + " |"


def _section(title: str, shown: Shown) -> str:
    lines = "\n".join(_line(number, case, shown) for number, case in TOPICS[title].items())
    return f"## {title}\n{RULES[title]}\n{TABLE_HEAD}{lines}\n"


def render(shown: Shown) -> str:
    sections = [_section(title, shown) for title in TOPICS]
    return "\n".join([HEAD.replace("{summary}", summary(shown)), *sections, DIFFER, FINDINGS])


def test_every_row_has_a_case_and_every_case_a_row() -> None:
    assert list(CASES) == list(ROWS) == list(range(1, 222))


def test_no_case_is_told_under_two_topics() -> None:
    assert sum(map(len, TOPICS.values())) == len(CASES)


def test_every_topic_has_a_rule_with_its_source() -> None:
    assert list(RULES) == list(TOPICS)
    assert [title for title, rule in RULES.items() if "`" not in rule and "SDM" not in rule] == []


def test_every_case_says_when_then_and_where_from_in_one_line_each() -> None:
    cells = [(n, cell) for n, case in CASES.items() for cell in case]
    assert [n for n, cell in cells if not cell.strip() or "\n" in cell] == []


def test_a_bar_in_a_case_does_not_end_its_cell() -> None:
    line = _line(1, Case("a|b", "`c|d`", "e"), {1: []})
    assert line == r"| 1 | ss-basic-long | a\|b | `c\|d` | e | no test yet |"


def test_the_guest_debug_page_is_what_the_cases_and_tests_say(
    shown_rows: Shown, request: pytest.FixtureRequest
) -> None:
    page = render(shown_rows)
    assert text_on_disk(DOCS / "guest-debug.md", page, request) == page
