"""What became of the rows on KVM: collected from the reports of tests, told at the end of a run.

A plugin: the tests may run in other processes, and only their reports come here. Must not know:
how a test finds its outcome (conftest.py).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

import pytest

from tests.conformance import kvm_host
from tests.conformance.rows import ROWS

HALF: Final = "half on KVM"
"""The property of a report of a test with such a half: ``[rows]``."""

OUTCOME: Final = "outcome on KVM"
"""The property of a report that tells what came of it: ``[rows, outcome, behaviour]``."""


class Outcomes:
    """What became of each row on KVM."""

    def __init__(self) -> None:
        self.rows: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.tests: Counter[str] = Counter()
        self.behaviours: Counter[str] = Counter()
        self.possible: set[int] = set()
        """Rows that have a test with a half on KVM, in this run."""

    def add(self, rows: list[int], outcome: str, behaviour: str = "") -> None:
        """One test: ``ran``, ``failed``, ``not there``, ``otherwise`` or ``skipped``."""
        self.tests[outcome] += 1
        if behaviour:
            self.behaviours[behaviour] += 1
        for row in rows:
            self.rows[row][outcome] += 1

    def lines(self, host: str) -> list[str]:
        """For the end of a run: rows, tests, and which behaviours kept tests away."""
        kinds = Counter(map(_kind, self.rows.values()))
        rest = len(ROWS) - len(self.possible)
        kept = ", ".join(f"{name} {count}" for name, count in self.behaviours.most_common())
        return [
            f"kvm rows on {host}: {kinds['ran']} ran ({self._partly()} of them in part), "
            f"{kinds['not there']} skipped by probe, {kinds['otherwise']} deviated as known, "
            f"{kinds['failed']} failed, {rest} not for this engine",
            f"kvm tests: {self.tests['ran']} ran, {self.tests['not there']} skipped by probe, "
            f"{self.tests['otherwise']} deviated as known, {self.tests['failed']} failed",
            *([f"kvm behaviours that differ: {kept}"] if kept else []),
        ]

    def _partly(self) -> int:
        return sum(
            _kind(outcomes) == "ran" and len(outcomes) > 1 for outcomes in self.rows.values()
        )


def _kind(outcomes: Counter[str]) -> str:
    """A row's result: a failure counts most, then a test that ran, then why none did."""
    for kind in ("failed", "ran", "otherwise", "not there"):
        if outcomes[kind]:
            return kind
    return "skipped"


class Collected:
    """Reads reports, and writes the summary."""

    def __init__(self) -> None:
        self.outcomes = Outcomes()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties)
        self.outcomes.possible.update(told.get(HALF, ()))
        if OUTCOME in told:
            self.outcomes.add(*told[OUTCOME])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self.outcomes.possible:
            return
        why = kvm_host.refusal()
        lines = [f"kvm rows: none; {why}"] if why else self.outcomes.lines(kvm_host.name())
        for line in lines:
            terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Collected(), "kvm outcomes")
