"""Which conformance tests have a half on KVM.

A test that shows a row and opens a Bench without a profile of its own runs twice. Must not know:
what KVM does (kvm_host.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import pytest

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
