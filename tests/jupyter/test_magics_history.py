"""``%vm timeline`` with conditions: which exits, as text, as HTML, as a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvmdbg.errors import BadInput, UnknownName
from tests.jupyter.offered import offered

Run = Callable[[str], Any]
Bundle = Callable[[Any], dict[str, Any]]


@pytest.fixture
def ran(guest: Run) -> Run:
    """Four steps, a watchpoint's hit, an INT3, and the end."""
    guest("%step 4")
    guest("%bp counter -w --len 4")
    guest("%vm run")
    guest("%vm bookmark hit")
    guest("%bp done")
    guest("%vm run --max 100")
    guest("%bp delete 1")
    guest("%vm run")
    guest("%vm run")
    return guest


@pytest.mark.parametrize(
    ("line", "expression"),
    [
        ("--reason debug", "vm.timeline.where(reason='DEBUG')"),
        ("--reason=hlt", "vm.timeline.where(reason='HLT')"),
        ("--cause DR0", "vm.timeline.where(cause='DR0')"),
        ("--exception #BP", "vm.timeline.where(exception=3)"),
        ("--exception 3", "vm.timeline.where(exception=3)"),
        ("--at done", "vm.timeline.where(pc=vm.address('done'))"),
        ("--between 2:4", "vm.timeline.where(between=(2, 4))"),
        ("--between 0:hit", "vm.timeline.where(between=(0, vm.bookmarks['hit']))"),
        ("--reason debug --cause step", "vm.timeline.where(cause='step')"),
    ],
)
def test_an_option_chooses_the_exits_that_python_would(
    ran: Run, line: str, expression: str
) -> None:
    chosen = ran(f"list({expression})")
    assert chosen
    assert list(ran(f"%vm timeline {line}").value) == chosen


def test_the_number_says_how_many_of_the_chosen_are_listed(ran: Run) -> None:
    shown = ran("%vm timeline 2 --cause step")
    assert "the last 2 exits" in shown.text
    assert len(shown.value) > 2


def test_statistics_name_causes_and_distances_in_text_and_html(ran: Run, bundle: Bundle) -> None:
    data = bundle(ran("%vm timeline --stats"))
    for kind in ("text/plain", "text/html"):
        assert "causes of debug exits" in data[kind]
        assert "a single step" in data[kind]
        assert "from one exit to the next" in data[kind]
    row = next(r for r in data["text/plain"].splitlines() if r.startswith("instructions"))
    assert row.split()[1:] == ["1", "1", "6", "6"]


def test_statistics_of_no_exits_are_a_title_alone(guest: Run) -> None:
    assert guest("%vm timeline --stats").text.endswith("Statistics of 0 exits")


def test_chosen_exits_have_a_picture_with_words(ran: Run, bundle: Bundle) -> None:
    data = bundle(ran("%vm timeline --reason hlt"))
    assert "HLT: 1 exit" in data["text/html"]
    assert "image/png" in data


def test_a_selection_shows_itself_as_a_timeline_does(ran: Run, bundle: Bundle) -> None:
    data = bundle(ran("vm.timeline.where(reason='HLT')"))
    assert data["text/plain"].startswith("Timeline: 1 of ")
    assert "<table" in data["text/html"]


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("--reason halt", UnknownName, 'unknown --reason value "halt"; did you mean "hlt"?'),
        ("--cause walk", UnknownName, 'unknown --cause value "walk"'),
        ("--between 5", BadInput, '"5" names no two moments; write --between 100:2000'),
        ("--between 5:", BadInput, '"5:" names no two moments'),
        ("--between 0:hitt", UnknownName, 'unknown bookmark "hitt"; did you mean "hit"?'),
        ("--between 9:5", BadInput, "between clock 9 and 5 there is nothing"),
        ("--at nowhere", UnknownName, 'there is no label "nowhere"'),
    ],
)
def test_a_condition_that_cannot_be_meant_is_one_line(
    ran: Run, line: str, error: type[BadInput], message: str
) -> None:
    with pytest.raises(error) as refused:
        ran(f"%vm timeline {line}")
    assert str(refused.value).startswith(message)


def test_tab_offers_the_reasons_and_the_causes() -> None:
    assert "hlt" in offered("%vm timeline --reason ")
    assert offered("%vm timeline --cause DR") == ["DR0", "DR1", "DR2", "DR3"]


# %vm diff


def test_diff_shows_two_moments_side_by_side(guest: Run, bundle: Bundle) -> None:
    guest("%step 2")
    data = bundle(guest("%vm diff 0 2"))
    rows = data["text/plain"].splitlines()
    assert rows[0] == "clock 0 and clock 2: 2 registers, 1 flag, 1 run of bytes differ"
    assert rows[1] == "the guest stands at 0x8000 start, and at 0x800c"
    assert ["rcx", f"{0:016x}", f"{3:016x}*"] in [row.split() for row in rows]
    assert [row.split()[1:] for row in rows if "counter" in row] == [["counter", "05", "06"]]
    assert "<th scope=" in data["text/html"]


def test_diff_gives_back_what_python_gives(guest: Run) -> None:
    guest("%step 2")
    guest("%vm bookmark here")
    guest("%step 2")
    assert guest("%vm diff here 4").value == guest("vm.diff('here', 4)")
    assert guest("%vm diff here").value == guest("vm.diff('here')")


def test_a_diff_and_a_divergence_show_themselves(guest: Run, bundle: Bundle) -> None:
    guest("%step 2")
    assert bundle(guest("vm.diff(2)"))["text/plain"].startswith(
        "clock 2 and now (clock 2): no difference\nat 0x800c both times"
    )
    guest("from kvmdbg import Vm, first_divergence\nother = Vm()\nother.load(demo)")
    guest("vm.set_regs(rbx=1)\nran = vm.step(3), other.step(5)")
    data = bundle(guest("first_divergence(vm, other)"))
    guest("other.close()")
    assert data["text/plain"].startswith("a and b part at clock 3\nequal up to clock 2, at 0x800c")
    assert "rbx" in data["text/html"]


def test_runs_that_differ_from_the_beginning_say_so(guest: Run, bundle: Bundle) -> None:
    guest("from kvmdbg import Vm, first_divergence\nother = Vm()\nother.load(b'\\x90\\xf4')")
    guest("%step")
    guest("ran = other.step()")
    text = bundle(guest("first_divergence(vm, other)"))["text/plain"]
    guest("other.close()")
    assert text.startswith("a and b: the runs differ from their beginning, clock 0")


def test_a_moment_that_is_not_there_is_one_line(guest: Run) -> None:
    with pytest.raises(UnknownName, match='no bookmark "nowhere"'):
        guest("%vm diff nowhere")
    with pytest.raises(BadInput, match="ends at clock 0"):
        guest("%vm diff 0 5")


def test_more_runs_of_bytes_than_fit_are_counted(guest: Run) -> None:
    guest("%step")
    guest("vm.memory[0x20000:0x20040] = b'a\\0' * 32")
    assert "and 16 more runs of differing bytes" in guest("%vm diff 1").text
