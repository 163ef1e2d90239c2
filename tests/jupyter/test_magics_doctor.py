"""``%vm doctor`` in a notebook: text and HTML, one engine or all, and no VM is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kvmdbg.engines import probe
from kvmdbg.engines.probe import Finding, Report
from kvmdbg.errors import BadInput, UnknownName
from kvmdbg.jupyter import cards
from tests.jupyter.offered import offered

Run = Callable[[str], Any]
Bundle = Callable[[Any], dict[str, Any]]
FINDINGS = (
    Finding("step", (1, 2, 3), "long", "KVM_GUESTDBG_SINGLESTEP", "as the reference", "native"),
    Finding("step over HLT", (18,), "long", "", "otherwise: DEBUG 1 at +1", "as the host has it"),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The probes answer at once; what they were asked for is remembered."""
    questions: list[tuple[str, bool]] = []

    def probe_engine(name: str, *, fresh: bool) -> Report:
        questions.append((name, fresh))
        return Report(name, findings=FINDINGS)

    monkeypatch.setattr(cards, "probe_engine", probe_engine)
    return questions


def test_doctor_shows_a_card_for_each_engine(run: Run, bundle: Bundle, asked: list[Any]) -> None:
    data = bundle(run("%vm doctor"))
    assert asked == [("unicorn", False), ("kvm", False)]
    for engine in ("unicorn", "kvm"):
        assert f'Engine "{engine}": 1 of 2 behaviours' in data["text/plain"]
        assert f"Engine &quot;{engine}&quot;" in data["text/html"]


def test_a_deviation_is_told_in_words_in_text_and_html(
    run: Run, bundle: Bundle, asked: list[Any]
) -> None:
    data = bundle(run("%vm doctor kvm"))
    for page in data["text/plain"], data["text/html"]:
        assert "step over HLT (row 18): long" in page
        assert "otherwise: DEBUG 1 at +1" in page
        assert "as the host has it" in page


def test_doctor_of_one_engine_gives_back_its_report(run: Run, asked: list[Any]) -> None:
    shown = run("%vm doctor kvm")
    assert shown.value == Report("kvm", findings=FINDINGS)


def test_doctor_of_all_gives_back_all_reports(run: Run, asked: list[Any]) -> None:
    assert [report.engine for report in run("%vm doctor").value] == ["unicorn", "kvm"]


def test_fresh_probes_anew(run: Run, asked: list[Any]) -> None:
    run("%vm doctor unicorn --fresh")
    assert asked == [("unicorn", True)]


def test_json_is_the_machine_form(run: Run, asked: list[Any]) -> None:
    told = json.loads(run("%vm doctor unicorn --json").text)
    assert told["engines"][0]["findings"][1]["seen"] == "otherwise: DEBUG 1 at +1"


def test_doctor_needs_no_vm_and_makes_none(run: Run, asked: list[Any], shell: Any) -> None:
    run("%vm doctor")
    assert "vm" not in shell.user_ns


def test_doctor_leaves_the_vm_at_hand_alone(
    guest: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    guest("%step 2")
    before = guest("vm.regs()")
    guest("%vm doctor unicorn")
    assert guest("vm.regs()") == before


def test_the_embedded_engine_is_as_the_reference(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    report = run("%vm doctor unicorn").value
    assert all(finding.good for finding in report.findings)


def test_an_unknown_engine_is_refused_with_the_choice(run: Run) -> None:
    with pytest.raises(UnknownName, match='unknown engine "bochs"; choose unicorn, kvm'):
        run("%vm doctor bochs")


def test_two_engines_are_one_too_many(run: Run) -> None:
    with pytest.raises(BadInput, match='unexpected "kvm"'):
        run("%vm doctor unicorn kvm")


def test_the_engines_can_be_completed() -> None:
    assert offered("%vm doctor k") == ["kvm"]
    assert offered("%vm doctor --") == ["--fresh", "--json"]


def test_the_magic_and_the_command_line_ask_the_same_probes() -> None:
    assert cards.probe_engine is probe.probe_engine
