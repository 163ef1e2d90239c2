"""The table of profiles in docs/guest-debug.md says each field, each value, and rows that exist."""

from __future__ import annotations

from dataclasses import fields

import pytest

from kvmdbg.profiles import PROFILES, Profile
from tests.conformance.profile_table import BEHAVIOURS, differ
from tests.conformance.rows import ROWS

FIELDS = [field.name for field in fields(Profile) if field.name != "name"]


def test_every_field_of_a_profile_has_a_phrase_in_its_order() -> None:
    assert list(BEHAVIOURS) == FIELDS


@pytest.mark.parametrize("field", BEHAVIOURS)
def test_every_value_that_a_profile_has_can_be_said(field: str) -> None:
    values = {getattr(profile, field) for profile in PROFILES.values()}
    assert values <= set(BEHAVIOURS[field].words)


@pytest.mark.parametrize("field", BEHAVIOURS)
def test_two_values_of_a_field_are_not_said_alike(field: str) -> None:
    words = list(BEHAVIOURS[field].words.values())
    assert len(set(words)) == len(words) > 1


@pytest.mark.parametrize("field", BEHAVIOURS)
def test_a_field_names_rows_that_there_are(field: str) -> None:
    rows = BEHAVIOURS[field].rows
    assert rows
    assert set(rows) <= set(ROWS)
    assert list(rows) == sorted(rows)


def test_the_table_has_a_line_for_each_field_and_a_column_for_each_profile() -> None:
    lines = [line for line in differ().splitlines() if line.startswith("| ")]
    title = "| behaviour | reference | vmx | svm | emu618 | k08 | rows |"
    body = lines[lines.index(title) + 1 :]
    body = [line for line in body if not line.startswith("| ---")]
    assert len(body) == len(FIELDS)
    assert {line.count(" | ") for line in body} == {6}


def test_a_profile_that_does_as_the_reference_has_an_empty_cell() -> None:
    assert "| a stepped HLT | HLT exit and no step |  |  | a step and no HLT exit |  | 18 |" in (
        differ()
    )


def test_where_it_cannot_come_to_a_choice_the_cell_is_a_dash() -> None:
    assert "| data breakpoints | match |  |  | never match | - | 63, 82, 105 |" in differ()


@pytest.mark.parametrize("field", BEHAVIOURS)
def test_what_leaves_nothing_to_ask_is_a_field_too(field: str) -> None:
    unless = BEHAVIOURS[field].unless
    assert unless is None or unless[0] in FIELDS
