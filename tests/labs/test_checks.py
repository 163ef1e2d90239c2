"""``kvmdbg.lab`` in one process: what checks say of guests, and what tasks make of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.formatters import DisplayFormatter

from kvmdbg import Program, Vm, assemble
from kvmdbg.errors import BadInput, UnknownName
from kvmdbg.lab import Lab, check, hidden, run, sealed, variant
from kvmdbg.lab.answers import given, received, sent
from kvmdbg.lab.sealing import seal

ROOT = Path(__file__).parents[2]
COUNT = """
start: mov cx, 3
again: loop again
       mov ax, 0x1234
       mov [result], ax
       mov al, 'k'
       out 0xe9, al
       cmp al, al
       hlt
never: nop
result: .word 0
"""
ADA_NUMBER, ADA_ADDRESS, ADA_CHOICE = 100, 0xA690, "b"
SPIN = "mov ax, 0x1234\n jmp $"


@pytest.fixture(scope="module")
def counted() -> Iterator[Vm]:
    with run(assemble(COUNT, mode="real")) as vm:
        yield vm


@pytest.fixture
def spun() -> Iterator[Vm]:
    with run(assemble(SPIN, mode="real"), instructions=100) as vm:
        yield vm


HOLDS: list[Any] = [
    lambda c: c.reg("al") == ord("k"),
    lambda c: c.reg("AH") == 0x12,
    lambda c: c.reg("cx") != 1,
    lambda c: c.flag("zf") == 1,
    lambda c: c.reg("dr7") == 0x400,
    lambda c: c.memory("result", 2) == 0x1234,
    lambda c: c.memory("result", 2) == b"\x34\x12",
    lambda c: c.memory("result", 2) == hidden(0x1234),
    lambda c: c.memory("result", 2) == seal(0x1234, b"salt"),
    lambda c: c.value("word [result] + 1") == 0x1235,
    lambda c: c.console == "k",
    lambda c: c.console.contains("k"),
    lambda c: c.instructions <= 10,
    lambda c: c.instructions > 9,
    lambda c: c.exits(reason="IO") == 1,
    lambda c: c.exits() == 2,
    lambda c: c.order("io", "hlt"),
    lambda c: c.times("again") == 3,
    lambda c: c.executes("again"),
    lambda c: c.never_executes("result"),
    lambda c: c.stops("halt"),
    lambda c: c.stops_at("never"),
]
FAILS: list[Any] = [
    lambda c: c.reg("al") == 0,
    lambda c: c.flag("zf") == 0,
    lambda c: c.reg("al") < 0x10,
    lambda c: c.memory("result", 2) == b"\x12\x34",
    lambda c: c.memory("result", 2) == seal(0x1235, b"salt"),
    lambda c: c.memory(0xFFFFFFF0, 2) == 0,
    lambda c: c.console == "K",
    lambda c: c.console.contains("x"),
    lambda c: c.console < 5,
    lambda c: c.instructions < 10,
    lambda c: c.exits(reason="HLT") == 2,
    lambda c: c.order("hlt", "io"),
    lambda c: c.order("io", "io"),
    lambda c: c.times("again") == 2,
    lambda c: c.executes("result"),
    lambda c: c.never_executes("again"),
    lambda c: c.stops("shutdown"),
    lambda c: c.stops_at("again"),
]


@pytest.mark.parametrize("ask", HOLDS)
def test_what_holds_of_a_guest_passes(counted: Vm, ask: Any) -> None:
    assert ask(check(counted)).passed


@pytest.mark.parametrize("ask", FAILS)
def test_what_does_not_hold_fails_and_is_no_error(counted: Vm, ask: Any) -> None:
    assert not ask(check(counted)).passed


@pytest.mark.parametrize("ask", [*HOLDS, *FAILS])
def test_of_a_guest_that_used_up_its_budget_nothing_passes(spun: Vm, ask: Any) -> None:
    assert not ask(check(spun)).passed


def test_a_guest_that_is_meant_to_be_endless_can_be_checked(spun: Vm) -> None:
    assert check(spun, endless=True).reg("ax") == 0x1234


def test_a_message_says_what_was_expected_and_found(counted: Vm) -> None:
    assert (check(counted).reg("ax") == 7).message == "expected 7, got 0x126b (4,715)"


@pytest.mark.parametrize("secret", [hidden(0x77), sealed(str(seal(0x77, b"salt")))])
def test_a_message_never_shows_a_hidden_value(counted: Vm, secret: Any) -> None:
    item = check(counted).reg("al") == secret
    assert "0x6b" in item.message
    assert "77" not in repr(item) + item._repr_html_()
    assert "119" not in repr(item)


def test_a_hidden_value_cannot_be_closed_in_on(counted: Vm) -> None:
    with pytest.raises(BadInput, match="hidden"):
        _ = check(counted).reg("al") < hidden(5)


def test_a_quantity_that_is_not_compared_is_no_truth_value(counted: Vm) -> None:
    with pytest.raises(BadInput, match="not compared"):
        assert check(counted).reg("al")


def test_a_register_that_does_not_exist_is_named(counted: Vm) -> None:
    with pytest.raises(UnknownName, match="rxa"):
        check(counted).reg("rxa")


# -- Tasks -----------------------------------------------------------------------------------------


@pytest.fixture
def lab() -> Iterator[Lab]:
    one = Lab("test", seed="ada")
    yield one
    one.close()


def test_a_task_adds_up_what_passed(lab: Lab) -> None:
    task = lab.task("one", points=3)
    assert task.predict("a", 1, points=1) == 1
    assert not (task.predict("b", 1, points=2) == 2).passed
    assert (task.result.points, task.result.of, task.result.passed) == (1, 3, False)
    assert task.score == 1.0


def test_a_task_of_which_not_all_was_checked_never_passed(lab: Lab) -> None:
    task = lab.task("one", points=3)
    assert task.predict("a", 1, points=1) == 1
    assert not task.result.passed
    assert "checks worth 1 of 3 points were made" in repr(task)


def test_a_check_that_was_not_compared_is_missing(lab: Lab, counted: Vm) -> None:
    task = lab.task("one", points=1)
    task.check(counted).reg("ax")
    assert (task.result.points, task.result.passed) == (0, False)


def test_a_prediction_that_was_not_made_is_not_compared(lab: Lab) -> None:
    task = lab.task("one", points=1)
    item = task.predict("a", ..., points=1) == ...
    assert (item.passed, item.message) == (False, "not answered yet")


def test_a_task_begun_again_begins_anew_and_its_vm_is_closed(lab: Lab) -> None:
    program = assemble(COUNT, mode="real")
    for _ in range(2):
        task = lab.task("one", points=1)
        vm = task.run(program)
        assert task.check(vm).stops("halt")
        assert lab.results[0].points == 1
    lab.task("one", points=1)
    assert vm.closed


def test_a_score_is_a_number_for_nbgrader_and_a_card_for_people(lab: Lab) -> None:
    task = lab.task("one", points=2)
    assert task.predict("<b>", 1, points=2) == 1
    data, _ = DisplayFormatter().format(task.score)
    assert float(data["text/plain"]) == 2.0
    assert "2 of 2 points" in data["text/html"]
    assert "&lt;b&gt;" in data["text/html"]


def test_start_closes_the_vm_of_its_last_call(lab: Lab) -> None:
    first, second = (lab.start(assemble(COUNT, mode="real")) for _ in range(2))
    assert (first.closed, second.closed) == (True, False)


def test_a_reset_comes_back_to_the_labs_start(lab: Lab) -> None:
    vm = lab.start(assemble(COUNT, mode="real"))
    vm.cont(max_instructions=1000)
    vm.reset()
    assert (vm.vcpu.clock, vm.console, vm.regs().rip) == (0, "", vm.symbols["start"])


def test_hints_come_one_after_the_other_and_the_last_one_again(lab: Lab) -> None:
    lab.hints("one", "vague", "clear")
    words = [repr(lab.hint("one")) for _ in range(3)]
    assert [word.splitlines()[1] for word in words] == ["vague", "clear", "clear"]


def test_a_hint_that_is_not_there_is_one_line(lab: Lab) -> None:
    with pytest.raises(UnknownName, match="two"):
        lab.hint("two")


def test_something_else_than_a_program_is_refused_in_one_line(lab: Lab) -> None:
    with pytest.raises(BadInput, match="no program"):
        lab.task("one", points=1).run(5)  # type: ignore[arg-type]  # what a student may write


# -- Variants --------------------------------------------------------------------------------------


def test_a_variant_does_not_depend_on_what_was_drawn_before() -> None:
    one, other = variant("ada"), variant("ada")
    one.number("a", 0, 1000)
    assert one.number("b", 0, 10**9) == other.number("b", 0, 10**9)


def test_variants_of_different_seeds_differ() -> None:
    assert len({variant(seed).number("n", 0, 10**9) for seed in range(50)}) == 50


def test_the_numbers_of_a_seed_are_the_same_in_every_version() -> None:
    one = variant("ada")
    drawn = (one.number("n", 0, 999), one.address("org", 0x8000, 0xB000), one.choice("r", "abcd"))
    assert drawn == (ADA_NUMBER, ADA_ADDRESS, ADA_CHOICE)


def test_numbers_are_different_and_in_range() -> None:
    drawn = variant("ada").numbers("table", 10, 1, 10)
    assert sorted(drawn) == list(range(1, 11))


def test_a_place_in_a_text_that_was_not_drawn_is_named() -> None:
    with pytest.raises(UnknownName, match="limit"):
        variant("ada").fill("mov cx, {{limit}}")


# -- Answers ---------------------------------------------------------------------------------------


def over(**values: Any) -> dict[str, Any]:
    """Values as they arrive at the grader."""
    names: dict[str, Any] = {}
    text = sent(values, list(values))._repr_mimebundle_()["application/vnd.kvmdbg.answers+json"]
    given(names, received(text, list(values)))
    return names


def test_data_go_over_as_they_are() -> None:
    values = {"a": 5, "b": -(1 << 70), "c": "text", "d": b"\0\xff", "e": [1, ["x"]], "f": None}
    assert over(**values) == values


def test_a_program_goes_over_without_its_listing() -> None:
    program = assemble(COUNT, mode="real", org=0x9000)
    arrived: Program = over(p=program)["p"]
    assert (arrived.code, arrived.origin, arrived.symbols, arrived.mode) == (
        program.code,
        program.origin,
        program.symbols,
        program.mode,
    )


def test_what_is_no_data_does_not_go_over() -> None:
    assert over(f=len, g=object()) == {}


def test_a_name_that_was_not_asked_for_does_not_arrive() -> None:
    assert received('{"lab": {"int": "1"}}', ["a"]) == {}


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "nonsense",
        '{"a": 5}',
        '{"a": {"int": 5}}',
        '{"a": {"int": "1", "str": "2"}}',
        '{"a": {"call": "x"}}',
        '{"a": {"program": {"code": "f4", "origin": -1e9, "symbols": {}, "mode": "real"}}}',
        '{"a": ' + '{"list": [' * 5000 + "]}" * 5000 + "}",
        " " * (5 << 20),
    ],
)
def test_answers_that_kvmdbg_did_not_write_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="answers"):
        received(text, ["a"])


def test_the_example_in_the_documentation_gets_all_points() -> None:
    page = (ROOT / "docs" / "labs.md").read_text().partition("## With nbgrader")[0]
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)  # the page is ours
    assert repr(names["lab"]).startswith("double: 8 of 8 points")
