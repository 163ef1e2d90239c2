"""Help is short, right, and its examples run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kvmdbg.errors import BadInput
from kvmdbg.jupyter import help
from kvmdbg.jupyter.commands import ASM, BP, STEP, TOPICS, VM
from kvmdbg.jupyter.vm_commands import HANDLERS

Run = Callable[[str], Any]
EXAMPLES = [text for command in TOPICS.values() for text, _ in command.examples]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_in_the_help_runs(guest: Run, example: str) -> None:
    guest("%step")
    guest(example)


def test_every_command_but_close_has_an_example_and_a_one_line_summary() -> None:
    for command in TOPICS.values():
        assert command.examples, command.name
        assert command.summary.endswith("."), command.name


def test_an_example_of_several_lines_says_what_it_is_for() -> None:
    for command in TOPICS.values():
        assert all(meaning for text, meaning in command.examples if "\n" in text), command.name


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("%vm mem", "%vm help mem"),
        ("%vm run 5", "%vm help run"),
        ("%vm c 5", "%vm help run"),
        ("%bp --once", "%vm help bp"),
        ("%bp int", "%vm help bp"),
        ("%step until", "%vm help step"),
        ("%vm xyzzy", "%vm help"),
        ("%vm help xyzzy", "%vm help"),
    ],
)
def test_a_line_that_cannot_be_meant_points_to_help_that_is_there(
    guest: Run, line: str, more: str
) -> None:
    with pytest.raises(BadInput, match=rf"{more}\b"):
        guest(line)
    assert guest(more).text


def test_help_says_what_may_stand_in_a_condition() -> None:
    page = help.explain("bp")
    assert all(word in page for word in ("hits", "and", "byte [", "==", "unsigned"))


def test_every_sub_command_in_the_table_is_carried_out_by_somebody() -> None:
    assert set(HANDLERS) == set(VM)


def test_no_line_of_help_is_wider_than_a_terminal_of_100_columns() -> None:
    pages = [help.overview(), *(help.explain(topic) for topic in TOPICS)]
    assert max(len(line) for page in pages for line in page.splitlines()) <= 100


def test_vm_help_lists_every_command(run: Run) -> None:
    text = run("%vm help").text
    assert all(f"%vm {name}" in text for name in VM)
    assert all(command.name in text for command in (ASM, STEP, BP))


@pytest.mark.parametrize("topic", ["bp", "%bp", "step", "asm", "%%asm", "mem", "c"])
def test_help_explains_one_command_with_examples(run: Run, topic: str) -> None:
    assert "Examples:" in run(f"%vm help {topic}").text


def test_help_needs_no_vm(run: Run) -> None:
    run("%vm help run")


@pytest.mark.parametrize("name", ["%vm", "%step", "%bp", "%%asm"])
def test_a_question_mark_shows_the_same_help(shell: InteractiveShell, name: str) -> None:
    docstring = shell.object_inspect(name)["docstring"]
    topic = name.lstrip("%")
    assert docstring == (help.overview() if topic == "vm" else help.explain(topic))


def test_an_option_with_choices_names_them_all() -> None:
    for command in TOPICS.values():
        page = help.document(command)
        assert all(choice in page for option in command.options for choice in option.choices)
