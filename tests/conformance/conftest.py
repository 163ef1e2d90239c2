"""Collects which test shows which row, for docs/engines.md and docs/guest-debug.md."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.conformance.rows import ROWS


class Shown(defaultdict[int, list[tuple[str, str]]]):
    """For each row: (test's name without parameters, why it does not show the row)."""


SHOWN: pytest.StashKey[Shown] = pytest.StashKey()


def _gap(item: pytest.Item) -> str:
    """Why a test does not show its row (yet): its skip or known failure, else nothing."""
    for name, what in (("skip", "skipped"), ("xfail", "known gap")):
        mark = item.get_closest_marker(name)
        if mark is not None:
            return f"{what}: {mark.kwargs.get('reason', '')}"
    return ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    shown = Shown(list)
    for item in items:
        for mark in item.iter_markers("row"):
            place = f"{item.path.name}::{item.originalname}"  # type: ignore[attr-defined]
            if (entry := (place, _gap(item))) not in shown[mark.args[0]]:
                shown[mark.args[0]].append(entry)
    config.stash[SHOWN] = shown


@pytest.fixture
def shown_rows(request: pytest.FixtureRequest) -> dict[int, list[tuple[str, str]]]:
    """Rows and their tests, of all that was collected in this run."""
    shown = request.config.stash[SHOWN]
    return {number: shown[number] for number in ROWS}
