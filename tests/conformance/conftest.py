"""Runs the tests of rows a second time on KVM, and collects which test shows which row.

Where there is no usable /dev/kvm that half is not there, and one line at the end says why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterator

import pytest

from tests.conformance import kvm_host
from tests.conformance.kvm_deviations import Need, needs_of
from tests.conformance.kvm_outcomes import HALF, OUTCOME
from tests.conformance.kvm_rows import EMBEDDED, KVM, ON, RAW, has_kvm_half
from tests.conformance.rows import ROWS
from tests.guests.bench import OPENER


class Shown(defaultdict[int, list[tuple[str, str]]]):
    """For each row: (test's name without parameters, why it does not show the row)."""


class OnKvm(defaultdict[int, dict[str, list[Need]]]):
    """For each row its tests with a half on KVM, and what each of them needs there."""


SHOWN: pytest.StashKey[Shown] = pytest.StashKey()
ON_KVM: pytest.StashKey[OnKvm] = pytest.StashKey()
UNMET: pytest.StashKey[tuple[str, str]] = pytest.StashKey()


def _gap(item: pytest.Item) -> str:
    """Why a test does not show its row everywhere: its skip, known failure or engine."""
    for name, what in (("skip", "skipped"), ("xfail", "known gap")):
        mark = item.get_closest_marker(name)
        if mark is not None:
            return f"{what}: {mark.kwargs.get('reason', '')}"
    return "on /dev/kvm only" if RAW in getattr(item, "fixturenames", ()) else ""


def _rows(item: pytest.Item) -> list[int]:
    return [mark.args[0] for mark in item.iter_markers("row")]


def _place(item: pytest.Function) -> str:
    return f"{item.path.name}::{item.originalname}"


def _needs(item: pytest.Function) -> list[Need]:
    """What it needs on KVM; the id of its parameters is without the half's own."""
    if not hasattr(item, "callspec"):
        return list(needs_of(item.originalname))
    words = [word for word in item.callspec.id.split("-") if word not in (EMBEDDED, KVM)]
    return list(needs_of(item.originalname, "-".join(words)))


def _on_kvm(item: pytest.Item) -> bool:
    """Its half on KVM, or a test of the ioctl itself."""
    return RAW in getattr(item, "fixturenames", ()) or _parameter(item) == KVM


def _has_half(item: pytest.Item) -> bool:
    return bool(_parameter(item)) or _on_kvm(item)


def _parameter(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return str(callspec.params.get(ON, "")) if callspec else ""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if has_kvm_half(metafunc.definition):
        places = [EMBEDDED] if kvm_host.refusal() else [EMBEDDED, KVM]
        metafunc.parametrize(ON, places, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    shown, on_kvm = Shown(list), OnKvm(dict)
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        for row in _rows(item):
            if (entry := (_place(item), _gap(item))) not in shown[row]:
                shown[row].append(entry)
            if _has_half(item):
                known = on_kvm[row].setdefault(_place(item), [])
                known += [need for need in _needs(item) if need not in known]
    config.stash[SHOWN], config.stash[ON_KVM] = shown, on_kvm


@pytest.fixture(autouse=True)
def rows_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where the benches of a test run that name no engine."""
    if _parameter(request.node) != KVM:
        yield
        return
    item = request.node
    behaviour, reason, kind = kvm_host.unmet(_needs(item), item.callspec.params, _rows(item))
    item.stash[UNMET] = behaviour, kind
    if reason:
        pytest.skip(reason)
    token = OPENER.set(kvm_host.open_bounded)
    yield
    OPENER.reset(token)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "setup" and _has_half(item):
        report.user_properties.append((HALF, _rows(item)))
    if _on_kvm(item) and (call.when == "call" or not report.passed):
        behaviour, kind = item.stash.get(UNMET, ("", ""))
        outcome = {"passed": "ran", "failed": "failed"}.get(report.outcome, kind or "skipped")
        report.user_properties.append((OUTCOME, [_rows(item), outcome, behaviour]))
    return report


@pytest.fixture
def raw_kvm() -> Iterator[kvm_host.RawKvm]:
    """For rows that only the ioctl itself can show; without /dev/kvm they are skipped."""
    if why := kvm_host.refusal() or ("a profile plays the host" if kvm_host.INSTEAD else ""):
        pytest.skip(why)
    with kvm_host.opened_raw() as raw:
        yield raw


@pytest.fixture
def shown_rows(request: pytest.FixtureRequest) -> dict[int, list[tuple[str, str]]]:
    """Rows and their tests, of all that was collected in this run."""
    shown = request.config.stash[SHOWN]
    return {number: shown[number] for number in ROWS}


@pytest.fixture
def kvm_rows(request: pytest.FixtureRequest) -> dict[int, dict[str, list[Need]]]:
    """Rows, their tests with a half on KVM, and what those need."""
    on_kvm = request.config.stash[ON_KVM]
    return {number: on_kvm[number] for number in ROWS}
