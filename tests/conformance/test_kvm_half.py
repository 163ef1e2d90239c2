"""The half of the conformance tests that runs on KVM: who is in it, what keeps a test out of it.

Nothing here needs /dev/kvm. Must not know: what any row says.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kvmdbg.engines import open_engine
from kvmdbg.engines.probes.finding import MISSING, SAME, Probe, look
from kvmdbg.engines.probes.modes import Mode
from kvmdbg.errors import BadInput
from kvmdbg.exits import DebugExit, HltExit
from kvmdbg.uapi import MpState
from tests.conformance import kvm_host, kvm_probes
from tests.conformance.kvm_deviations import NEEDS, Need, needs_of
from tests.conformance.kvm_host import PROBES, BoundedKvm, mode_of, unmet
from tests.conformance.kvm_outcomes import Outcomes
from tests.conformance.kvm_rows import EMBEDDED, has_kvm_half
from tests.guests.apic import Apic
from tests.guests.bench import Bench, E, S

EVERY = [
    pytest.param(probe, mode, id=f"{probe.behaviour} ({mode.name})")
    for probe in kvm_probes.PROBES
    for mode in probe.modes
]


@pytest.mark.parametrize(("probe", "mode"), EVERY)
def test_every_probe_finds_the_reference_profile_as_it_should_be(probe: Probe, mode: Mode) -> None:
    assert look(probe, mode, lambda ram: open_engine("unicorn", ram)) == SAME


@pytest.mark.parametrize("need", [need for need in NEEDS if need.hardware], ids=str)
def test_what_only_hardware_does_otherwise_is_seen_in_its_profile(need: Need) -> None:
    probe = PROBES[need.behaviour]
    profile = "svm" if need.behaviour.startswith("INJECT_BP") else "vmx"
    seen = look(probe, probe.modes[-1], lambda ram: open_engine("unicorn", ram, profile))
    assert seen != SAME


def answers(monkeypatch: pytest.MonkeyPatch, **seen: str) -> None:
    def answer(behaviour: str, mode: str) -> str:
        return seen.get(behaviour, SAME)

    monkeypatch.setattr(kvm_host, "seen", answer)


def test_a_skip_names_the_behaviour_the_mode_and_what_was_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(monkeypatch, IRET="otherwise: SHUTDOWN exit")
    monkeypatch.setattr(kvm_host, "profile", lambda: "")
    behaviour, reason, kind = unmet([Need("IRET", "", "")], {"mode": "real"}, [190])
    assert (behaviour, kind) == ("IRET", "otherwise")
    assert reason == "this host's KVM: IRET (real): SHUTDOWN exit"


def test_on_a_svm_host_a_skip_says_where_the_row_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ICEBP=MISSING)
    monkeypatch.setattr(kvm_host, "profile", lambda: "svm")
    _, reason, kind = unmet([Need("ICEBP", "", "")], {}, [109])
    assert kind == MISSING
    assert reason.endswith("as profile svm says, shown by test_rows_profile*.py")


def test_a_test_whose_needs_are_met_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch)
    assert unmet([Need("IRET", "", "")], {}, [190]) == ("", "", "")


def test_a_need_of_the_apics_page_is_none_of_a_test_that_uses_its_msrs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(monkeypatch, page=MISSING)
    need = Need("page", "", "", page=True)
    assert unmet([need], {"apic": Apic("long", x2=True)}, []) == ("", "", "")
    assert unmet([need], {"apic": Apic("long", x2=False)}, [])[2] == MISSING


@pytest.mark.parametrize(
    ("need", "parameters", "mode"),
    [
        (Need("", "", ""), {}, "long"),
        (Need("", "", ""), {"mode": "real"}, "real"),
        (Need("", "", ""), {"apic": Apic("protected")}, "protected"),
        (Need("", "", "", mode="long"), {"mode": "real"}, "long"),
        (Need("", "", "", cpl3=True), {"mode": "long"}, "long/3"),
    ],
)
def test_a_need_is_probed_in_the_mode_of_the_test(
    need: Need, parameters: dict[str, object], mode: str
) -> None:
    assert mode_of(need, parameters) == mode


def test_a_need_may_be_that_of_some_parameters_only() -> None:
    name = "test_a_write_above_32_bits_to_dr6_or_dr7_is_gp_at_the_mov"
    assert [need.behaviour for need in needs_of(name, "4")] == ["#GP for the upper half of DR4"]
    assert list(needs_of(name, "6")) == []


def test_a_behaviour_that_is_not_probed_in_a_mode_is_no_question_there() -> None:
    assert kvm_host.seen("1-GiB pages", "real") == SAME


# -- who is in it ----------------------------------------------------------------------------------


def opens(mode: str) -> None:
    with Bench("hlt", mode):
        pass


def by_a_helper() -> None:
    opens("real")


def of_a_profile() -> None:
    with Bench("hlt", profile="vmx"):
        pass


def pure() -> None:
    assert EMBEDDED


@pytest.mark.parametrize(
    ("test", "row", "has"),
    [(opens, 1, True), (by_a_helper, 1, True), (of_a_profile, 1, False), (pure, 1, False)],
)
def test_a_rows_test_that_opens_a_bench_of_no_profile_has_a_half_on_kvm(
    test: Callable[..., None], row: int, has: bool, request: pytest.FixtureRequest
) -> None:
    item = pytest.Function.from_parent(request.node.parent, name="sample", callobj=test)
    assert not has_kvm_half(item)  # it shows no row
    item.add_marker(pytest.mark.row(row))
    assert has_kvm_half(item) is has


# -- an engine whose runs end ----------------------------------------------------------------------


def bounded(text: str) -> Bench:
    bench = Bench(text)
    bench.vcpu = BoundedKvm(bench.vcpu)  # type: ignore[assignment]
    return bench


def test_a_large_budget_is_only_a_guard_and_a_small_one_is_refused() -> None:
    with bounded("nop\nhlt") as b:
        assert b.vcpu.run(max_instructions=100_000) == HltExit()
        with pytest.raises(BadInput):
            b.vcpu.run(max_instructions=1)


def test_a_test_that_runs_its_guest_for_ever_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_host, "_MOST_RUNS", 10)
    with bounded("again: jmp again") as b:
        b.sgd(E | S)
        assert {type(b.vcpu.run()) for _ in range(10)} == {DebugExit}
        with pytest.raises(AssertionError, match="ran its guest 10 times"):
            b.vcpu.run()


def test_a_processor_asleep_with_an_irqchip_is_told_as_halted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with bounded("again: jmp again") as b:
        b.vcpu.create_irqchip()
        engine = b.vcpu._engine  # type: ignore[attr-defined]
        monkeypatch.setattr(engine, "get_mp_state", lambda: MpState.HALTED)
        assert b.vcpu.run() == HltExit()


# -- the lines at the end --------------------------------------------------------------------------


def test_the_last_lines_count_rows_tests_and_behaviours() -> None:
    outcomes = Outcomes()
    outcomes.possible = {1, 2, 3, 4}
    outcomes.add([1], "ran")
    outcomes.add([1, 2], MISSING, "IRET")
    outcomes.add([3], "otherwise", "INT n")
    outcomes.add([4], "ran")
    assert outcomes.lines("Linux") == [
        "kvm rows on Linux: 2 ran (1 of them in part), 1 skipped by probe, 1 deviated as known, "
        "0 failed, 217 not for this engine",
        "kvm tests: 2 ran, 1 skipped by probe, 1 deviated as known, 0 failed",
        "kvm behaviours that differ: IRET 1, INT n 1",
    ]


def test_a_row_with_a_failed_test_has_failed() -> None:
    outcomes = Outcomes()
    outcomes.add([1], "ran")
    outcomes.add([1], "failed")
    assert "0 ran (0 of them in part), 0 skipped by probe" in outcomes.lines("Linux")[0]
    assert "1 failed" in outcomes.lines("Linux")[0]
