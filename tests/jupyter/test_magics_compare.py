"""%vm compare: two engines in lock-step, from a cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvmdbg.debugger.divergence import Comparison
from kvmdbg.errors import BadInput, EngineUnavailable, NoVm, UnknownName
from tests.jupyter.offered import offered

Run = Callable[[str], Any]
INT1 = "%%asm\nstart: nop\n int1\n hlt"


def test_the_line_gives_back_the_comparison(guest: Run) -> None:
    found = guest("%vm compare unicorn unicorn:svm").value
    assert isinstance(found, Comparison)
    assert (found.sides, found.ended) == (("unicorn", "unicorn:svm"), "the guest halted")


def test_an_equal_run_says_how_much_was_compared(guest: Run) -> None:
    text = guest("%vm compare unicorn unicorn:svm").text
    assert "unicorn and unicorn:svm: no divergence" in text
    assert "steps compared" in text


def test_a_divergence_is_shown_with_its_place_and_reason(run: Run) -> None:
    run(INT1)
    text = run("%vm compare unicorn unicorn:svm").text
    assert "part at step 2" in text
    assert "rows 108, 109" in text


def test_the_html_is_a_table_with_both_sides(
    run: Run, bundle: Callable[[Any], dict[str, Any]]
) -> None:
    run(INT1)
    page = bundle(run("%vm compare unicorn unicorn:svm"))["text/html"]
    assert "<table" in page
    assert "unicorn:svm" in page


def test_one_name_is_compared_with_the_vms_own_engine(run: Run) -> None:
    run("%vm new --profile vmx")
    run("%%asm\nnop\nhlt")
    assert run("%vm compare unicorn:svm").value.sides == ("unicorn:vmx", "unicorn:svm")


def test_steps_limit_the_comparison(guest: Run) -> None:
    found = guest("%vm compare unicorn:svm --steps 3").value
    assert (found.steps, found.ended) == (3, "all steps compared")


def test_exits_are_compared_by_exit(guest: Run) -> None:
    found = guest("%vm compare unicorn:svm --by exit").value
    assert (found.by, found.steps) == ("exit", 1)


def test_the_vm_stays_where_it_stands(guest: Run) -> None:
    guest("%step 2")
    before = guest("%vm regs").text
    guest("%vm compare unicorn:svm")
    assert guest("%vm regs").text == before


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("%vm compare unicorn:svn", UnknownName, 'did you mean "unicorn:svm"'),
        ("%vm compare a b c", BadInput, 'unexpected "c"'),
        ("%vm compare unicorn:svm --by page", UnknownName, "--by value"),
        ("%vm compare unicorn:svm --steps 0", BadInput, "too small"),
    ],
)
def test_a_mistake_is_one_line(guest: Run, line: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        guest(line)


def test_without_a_vm_it_says_how_to_begin(run: Run) -> None:
    with pytest.raises(NoVm, match="%%asm"):
        run("%vm compare")


def test_a_host_without_kvm_is_told_in_one_line(
    guest: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(EngineUnavailable, match="riscv64"):
        guest("%vm compare kvm")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("%vm comp", "compare"),
        ("%vm compare unicorn:s", "unicorn:svm"),
        ("%vm compare unicorn k", "kvm"),
        ("%vm compare --by e", "exit"),
        ("%vm compare --s", "--steps"),
    ],
)
def test_tab_completes_sides_and_options(line: str, word: str) -> None:
    assert word in offered(line)
