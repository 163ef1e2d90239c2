"""What the probes find on real engines: the embedded one, its profiles, and this host's KVM.

A host's deviations are no law: of KVM only what holds on every host is asserted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvmdbg.engines import ENGINES, open_engine
from kvmdbg.engines.kvm import open_kvm, system
from kvmdbg.engines.probe import PROBES, Finding, Report, examine, probe_engine
from kvmdbg.engines.probes.finding import NATIVE, SAME, look
from kvmdbg.engines.probes.modes import LONG, RAM, REAL
from kvmdbg.errors import EngineUnavailable
from kvmdbg.views import doctor, html, text

BY_NAME = {each.behaviour: each for each in PROBES}


def why_not_kvm() -> str:
    """Why /dev/kvm cannot be used here; empty if it can."""
    try:
        open_kvm(RAM).close()
    except EngineUnavailable as error:
        return str(error)
    return ""


WHY_NOT = why_not_kvm()
needs_kvm = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def embedded(_own_cache: None) -> Report:
    return probe_engine("unicorn", fresh=True)


@pytest.fixture(scope="module")
def kvm(_own_cache: None) -> Report:
    return probe_engine("kvm", fresh=True)


def of_profile(profile: str) -> Callable[[int], Any]:
    return lambda ram: open_engine("unicorn", ram, profile)


@pytest.mark.parametrize("each", PROBES, ids=lambda each: each.behaviour)
def test_the_embedded_engine_behaves_as_the_reference(embedded: Report, each: Any) -> None:
    found = [item for item in embedded.findings if item.behaviour == each.behaviour]
    assert [(item.mode, item.seen) for item in found] == [(m.name, SAME) for m in each.modes]


def test_what_is_as_the_reference_is_native(embedded: Report) -> None:
    assert {item.remedy for item in embedded.findings} == {NATIVE}


def test_the_embedded_engine_claims_what_its_capabilities_say(embedded: Report) -> None:
    assert embedded.findings[0].claimed == "single-step"
    assert "single-step" in embedded.promises


@pytest.mark.parametrize(
    ("profile", "behaviour", "seen"),
    [
        ("emu618", "step over MOV SS", "otherwise: DEBUG 1 at +2, dr6 0xffff4ff0, dr7 0x0"),
        ("emu618", "watchpoint on a store", "not there"),
        ("emu618", "INT3 to the host", "otherwise: INTERNAL_ERROR exit, suberror 1, at +0"),
        ("svm", "ICEBP to the host under USE_HW_BP", "otherwise: the guest's vector 1"),
        ("svm", "no breakpoint behind MOV SS", "otherwise: DEBUG 1 at +2, dr6 0xffff0ff1, dr7"),
        ("svm", "INJECT_BP where no INT3 is", "not there"),
        ("vmx", "TF hidden in PUSHF", "otherwise: TF 0x100 pushed"),
        ("k08", "execution breakpoint in DR0 to DR3", "not there"),
        ("k08", "a second injection is EBUSY", "otherwise: no error"),
    ],
)
def test_the_probes_see_where_the_profiles_differ(profile: str, behaviour: str, seen: str) -> None:
    assert look(BY_NAME[behaviour], LONG, of_profile(profile)).startswith(seen)


@pytest.mark.parametrize("profile", ["vmx", "svm"])
def test_the_hardware_profiles_differ_in_what_their_pages_say_and_no_more(profile: str) -> None:
    differing = {
        item.behaviour for item in examine(of_profile(profile), lambda _: "") if not item.good
    }
    common = {"TF hidden in PUSHF", "step over an MMIO store", "step over an INC of MMIO"}
    svm = {
        "ICEBP to the host under USE_HW_BP",
        "no breakpoint behind MOV SS",
        "INJECT_BP where no INT3 is",
    }
    assert differing == (common | svm if profile == "svm" else common)


# -- KVM -------------------------------------------------------------------------------------------


@needs_kvm
def test_kvm_is_looked_at_in_every_behaviour_and_mode(kvm: Report) -> None:
    looked = [(item.behaviour, item.mode) for item in kvm.findings]
    assert looked == [(each.behaviour, mode.name) for each in PROBES for mode in each.modes]


@needs_kvm
def test_a_finding_of_kvm_says_what_is_done_about_it(kvm: Report) -> None:
    for item in kvm.findings:
        assert (item.remedy == NATIVE) == item.good
        assert item.seen in (SAME, "not there") or item.seen.startswith("otherwise: ")
        begins = ("native", "emulated by ", "refused", "as the host has it")
        assert item.remedy.startswith(begins)


@needs_kvm
def test_kvm_claims_what_the_bits_say(kvm: Report) -> None:
    claimed = {item.behaviour: item.claimed for item in kvm.findings}
    assert claimed["step"] == "KVM_GUESTDBG_SINGLESTEP"
    assert claimed["watchpoint on a store"] == "KVM_GUESTDBG_USE_HW_BP"
    assert "KVM_CAP_SET_GUEST_DEBUG=1" in kvm.promises


@needs_kvm
def test_the_report_says_on_what_it_was_found(kvm: Report) -> None:
    assert kvm.api_version == 12
    assert kvm.kernel.startswith("Linux ")
    assert kvm.processor
    assert kvm.seconds > 0


@needs_kvm
def test_stepping_in_real_mode_works_on_every_kvm(kvm: Report) -> None:
    step = next(item for item in kvm.findings if item.behaviour == "step")
    assert (step.mode, step.good) == ("real", True)


@needs_kvm
def test_the_debug_registers_of_a_kvm_guest_can_be_set_and_read(kvm: Report) -> None:
    assert "KVM_SET_DEBUGREGS and back" in {item.behaviour for item in kvm.findings if item.good}


LATE = {"KVM_INTERRUPT", "interrupt window behind STI"}
"""Where KVM's emulator runs the guest it looks for interrupts now and then, not always alike."""


@needs_kvm
def test_what_kvm_does_natively_its_engine_does_too(kvm: Report) -> None:
    """What the engine makes up for must not spoil what the host has."""

    def as_engine(item: Finding) -> str:
        mode = next(m for m in BY_NAME[item.behaviour].modes if m.name == item.mode)
        return look(BY_NAME[item.behaviour], mode, open_kvm)

    native = [item for item in kvm.findings if item.good and item.behaviour not in LATE]
    assert [(i.behaviour, i.mode) for i in native if as_engine(i) != SAME] == []


# -- a host without KVM ----------------------------------------------------------------------------


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(system, "DEVICE", str(tmp_path / "kvm"))


def test_without_the_device_the_report_is_one_line_with_the_remedy(no_device: None) -> None:
    report = probe_engine("kvm", fresh=True)
    assert report.findings == ()
    assert "modprobe" in report.problem or "needs Linux" in report.problem
    assert "\n" not in report.summary


def test_a_kvm_that_is_not_there_is_not_kept(
    no_device: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert probe_engine("kvm").problem
    assert list(tmp_path.iterdir()) == []


# -- how it looks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_no_line_of_the_report_is_wider_than_100_columns(engine: str) -> None:
    page = text.render(doctor.doctor(probe_engine(engine)))
    assert max(map(len, page.splitlines())) <= 100


def test_text_and_html_say_the_same_of_a_deviation() -> None:
    report = report_of("otherwise: <b>&", "refused; possible by \x1b[2J a way")
    card = doctor.doctor(report)
    plain, page = text.render(card), html.render(card)
    assert "otherwise: <b>&" in plain
    assert "otherwise: &lt;b&gt;&amp;" in page
    assert "\x1b" not in plain + page


def test_the_table_has_a_word_for_each_kind_of_finding() -> None:
    seen = {
        "real": (SAME, NATIVE, "yes"),
        "protected": ("otherwise: HLT exit", "emulated by a trick", "made"),
        "long": ("otherwise: HLT exit", "as the host has it", "other"),
        "long/3": ("not there", "refused", "none"),
    }
    findings = tuple(
        Finding("step", (1, 2, 3, 9), mode, "", found, remedy)
        for mode, (found, remedy, _) in seen.items()
    )
    page = text.render(doctor.doctor(Report("kvm", findings=findings)))
    row = next(line for line in page.splitlines() if line.startswith("step "))
    assert row.split() == ["step", "1-3,", "9", "yes", "made", "other", "none"]


def test_modes_that_differ_alike_stand_together() -> None:
    one = Finding("step", (1,), "real", "a bit", "not there", "refused")
    findings = (one, one._replace(mode="long"))
    page = text.render(doctor.doctor(Report("kvm", findings=findings)))
    assert "step (row 1): real, long" in page


def test_a_report_from_the_cache_says_so_and_how_to_probe_anew() -> None:
    report = report_of(SAME, NATIVE)
    assert "--fresh" not in text.render(doctor.doctor(report))
    kept = Report("kvm", seconds=1.0, cached=True, findings=report.findings)
    assert "--fresh" in text.render(doctor.doctor(kept))


def test_an_engine_that_cannot_run_shows_its_line_and_no_table() -> None:
    page = text.render(doctor.doctor(Report("kvm", "there is none; load its module", "Linux 6")))
    assert page.splitlines()[0] == 'Engine "kvm": not here: there is none; load its module'
    assert "Behaviour" not in page


def report_of(seen: str, remedy: str) -> Report:
    return Report("kvm", findings=(Finding("step", (1,), REAL.name, "a bit", seen, remedy),))
