"""Which conformance tests have a half on KVM, and what became of the rows there.

A test that shows a row and opens a Bench without a profile of its own runs twice. Must not know:
what KVM does (kvm_host.py).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import pytest

from tests.conformance.rows import ROWS
from tests.guests.bench import Bench

ON = "rows_on"
"""The fixture whose parameter says where a test runs."""

RAW = "raw_kvm"
"""The fixture of tests that are for KVM alone."""

EMBEDDED, KVM = "embedded", "kvm"


def has_kvm_half(test: pytest.Function) -> bool:
    """Whether a test runs on KVM too: the same answer on every host."""
    if test.get_closest_marker("skip") or RAW in test.fixturenames:
        return False
    return bool(_rows(test)) and _opens_bench(test.function)


def _rows(test: pytest.Function) -> set[int]:
    """Its rows; those of a parameter set too."""
    marks = list(test.iter_markers("row"))
    for parametrize in test.iter_markers("parametrize"):
        for values in parametrize.args[1]:
            marks += [mark for mark in getattr(values, "marks", ()) if mark.name == "row"]
    return {mark.args[0] for mark in marks}


def _opens_bench(test: Callable[..., Any]) -> bool:
    functions = list(_functions(test, set()))
    profiled = any("profile" in _words(function.__code__) for function in functions)
    return not profiled and any(
        function.__globals__.get(word) is Bench or word == "bench"
        for function in functions
        for word in _words(function.__code__)
    )


def _functions(function: Callable[..., Any], known: set[object]) -> Iterator[FunctionType]:
    """The test, and the functions of its file that it calls."""
    plain = getattr(function, "__wrapped__", function)
    if not isinstance(plain, FunctionType) or plain in known:
        return
    known.add(plain)
    yield plain
    for word in _words(plain.__code__):
        called = plain.__globals__.get(word)
        if getattr(called, "__module__", "") == plain.__module__ and callable(called):
            yield from _functions(called, known)


def _words(code: CodeType) -> Iterator[str]:
    """Names that a function uses: globals, attributes, parameters, keywords of its calls."""
    yield from code.co_names
    yield from code.co_varnames[: code.co_argcount]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _words(constant)
        elif isinstance(constant, tuple):
            yield from (each for each in constant if isinstance(each, str))


class Outcomes:
    """What became of each row on KVM."""

    def __init__(self) -> None:
        self.rows: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.tests: Counter[str] = Counter()
        self.behaviours: Counter[str] = Counter()
        self.possible: set[int] = set()
        """Rows that have a test with a half on KVM."""

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
