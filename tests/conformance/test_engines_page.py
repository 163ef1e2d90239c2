"""docs/engines.md says of each row which test shows it; this test writes and checks that page.

``KVMDBG_WRITE_DOCS=1 pytest tests/conformance`` writes it anew. What stands there of KVM comes from
data, not from what this host's KVM does.
"""

from __future__ import annotations

import pytest

from tests.conformance.kvm_deviations import NEEDS, Need
from tests.conformance.kvm_host import PROBES
from tests.conformance.pages import DOCS, Shown, need_all_tests, shown_by, summary, text_on_disk
from tests.conformance.rows import ROWS

OnKvm = dict[int, dict[str, list[Need]]]
"""For each row its tests with a half on KVM, and what each of them needs there."""

HEAD = """# What each engine shows

The rows are those of the guest-debug conformance list. A row is shown by the tests named beside it;
they run in `make test`. This page is written by the test run.

{summary}

## On the kernel's /dev/kvm

On a host with /dev/kvm the tests of {rows} rows that open a guest in the reference profile run a
second time there; the others are for the pure rules alone or for another profile. A behaviour
behind "needs" is probed first, by a tiny guest in the mode of the test. Where this host's KVM does
otherwise the test is skipped and says what was seen; where it does as it should, the test runs and
must pass. The test run ends with lines that begin with `kvm`: how many rows ran, were skipped
because something is not there, or deviate as known, and by which behaviours. Without /dev/kvm one
line says why.

Most of what stands behind "needs" software KVM (Linux 6.18 without VMX and SVM) was seen to lack,
in one mode at least. Rows none of whose tests does without: these need **a host with VMX or SVM**
to be shown in full: {hardware}.

VMX and SVM differ from the reference profile in a few behaviours ({differing}).
Their tests are skipped there by the same probes, and what such a processor does instead is shown by
the profiles `vmx` and `svm` of the embedded engine (test_rows_profile_hardware.py and
test_rows_profile_hardware_breakpoints.py). `KVMDBG_ROWS_ON=vmx pytest tests/conformance` (or `svm`)
puts the embedded engine with that profile in KVM's place. Row 202 needs a guest with encrypted
state, row 142 a module option (`modprobe kvm force_emulation_prefix=1`).

## Rows

| row | name | embedded engine (Unicorn) | the kernel's /dev/kvm |
|---|---|---|---|
"""


def _code(place: str) -> str:
    return f"`{place}`"


def on_kvm_cell(tests: dict[str, list[Need]]) -> str:
    """How many tests run on KVM, how many of them whatever it does, and what the others need."""
    if not tests:
        return "not for this engine"
    free = sum(not needs for needs in tests.values())
    behaviours = dict.fromkeys(need.behaviour for needs in tests.values() for need in needs)
    runs = f"{len(tests)} test{'s' * (len(tests) > 1)}"
    if not behaviours:
        return runs
    return f"{runs}{f' ({free} in any case)' if free else ''}; needs: {'; '.join(behaviours)}"


def needs_hardware(tests: dict[str, list[Need]]) -> bool:
    """Every test needs something that software KVM lacks."""
    return bool(tests) and all(any(not need.hardware for need in needs) for needs in tests.values())


def render(shown: Shown, on_kvm: OnKvm) -> str:
    lines = [
        f"| {n} | {name} | {shown_by(shown[n], _code)} | {on_kvm_cell(on_kvm[n])} |"
        for n, name in ROWS.items()
    ]
    head = HEAD.format(
        summary=summary(shown),
        rows=sum(map(bool, on_kvm.values())),
        hardware=", ".join(str(n) for n in ROWS if needs_hardware(on_kvm[n])),
        differing="; ".join(dict.fromkeys(need.behaviour for need in NEEDS if need.hardware)),
    )
    return head + "\n".join(lines) + "\n"


def test_the_engines_page_is_what_the_tests_show(
    shown_rows: Shown, kvm_rows: OnKvm, request: pytest.FixtureRequest
) -> None:
    page = render(shown_rows, kvm_rows)
    assert text_on_disk(DOCS / "engines.md", page, request) == page


def test_every_behaviour_that_a_test_needs_is_probed() -> None:
    assert sorted({need.behaviour for need in NEEDS} - set(PROBES)) == []


def test_every_need_is_some_tests(request: pytest.FixtureRequest, kvm_rows: OnKvm) -> None:
    """A test that was renamed would lose its need, and be red on a host where it cannot pass."""
    need_all_tests(request)
    used = {need for tests in kvm_rows.values() for needs in tests.values() for need in needs}
    assert [need.behaviour for need in NEEDS if need not in used] == []


def test_the_cell_of_a_row_without_a_guest_says_that_it_is_not_for_kvm() -> None:
    assert on_kvm_cell({}) == "not for this engine"


def test_the_cell_of_a_row_names_what_its_tests_need_once() -> None:
    need = Need("TF", "", "")
    tests = {"a": [need], "b": [need], "c": []}
    assert on_kvm_cell(tests) == "3 tests (1 in any case); needs: TF"
    assert on_kvm_cell({"a": [need]}) == "1 test; needs: TF"
    assert on_kvm_cell({"a": [], "b": []}) == "2 tests"


def test_a_row_needs_hardware_only_if_software_kvm_fails_all_its_tests() -> None:
    software, hardware = Need("a", "", ""), Need("b", "", "", hardware=True)
    assert needs_hardware({"a": [software], "b": [hardware, software]})
    assert not needs_hardware({"a": [software], "b": [hardware]})
    assert not needs_hardware({})
