"""What Tab offers, first as a pure function, then through IPython's own completer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from kvmdbg.jupyter.commands import TOPICS, VM
from kvmdbg.jupyter.completion import Known, candidates

KNOWN = Known(("counter", "loop", "start"), ("1", "2"), ("demo",))


def offered(line: str, first_line: bool = True) -> list[str]:
    return candidates(line, first_line, KNOWN)[1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%vm ti", ["timeline"]),
        ("  %vm ti", ["timeline"]),
        ("s = %vm ti", ["timeline"]),
        ("%vm run --m", ["--max"]),
        ("%vm c --m", ["--max"]),
        ("%vm new --mode ", ["real", "protected", "long"]),
        ("%vm new --mode=r", ["real"]),
        ("%vm new --mode real --e", ["--engine"]),
        ("%vm mem co", ["counter"]),
        ("%vm mem counter ", []),
        ("%vm mem $rs", ["$rsi", "$rsp"]),
        ("%vm set ra", ["rax"]),
        ("%vm set z", ["zf"]),
        ("%vm set [co", ["counter"]),
        ("%vm set rax=st", ["start"]),
        ("%vm load d", ["demo"]),
        ("%vm help as", ["asm"]),
        ("%vm dis start 4 --syntax ", ["intel", "att"]),
        ("%step o", ["over", "out"]),
        ("%step 3 o", ["over", "out"]),
        ("%step over ", []),
        ("%step until l", ["loop"]),
        ("%bp lo", ["loop"]),
        ("%bp del", ["delete"]),
        ("%bp delete ", ["1", "2", "all"]),
        ("%bp loop h", ["hw"]),
        ("%bp counter -w --len ", ["1", "2", "4", "8"]),
        ("%bp loop if $rc", ["$rcx"]),
        ("%bp loop if rcx == 2 and [co", ["counter"]),
        ("%%asm --mode r", ["real"]),
        ("%%asm demo --no", ["--no-load"]),
        ("%vm nosuch ", []),
        ("vm ti", []),
        ("x = 5", []),
    ],
)
def test_the_place_in_the_line_decides_what_is_offered(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_the_options_of_a_cell_magic_are_offered_on_its_first_line_only() -> None:
    assert offered("%%asm --mo") == ["--mode"]
    assert offered("%%asm --mo", first_line=False) == []


def test_an_option_is_not_offered_twice() -> None:
    assert "--mode" not in offered("%vm new --mode real --")


def test_after_vm_every_sub_command_is_offered() -> None:
    assert set(VM) <= set(offered("%vm "))


def test_every_help_topic_is_offered() -> None:
    assert offered("%vm help ") == list(TOPICS)


Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(shell: InteractiveShell) -> Complete:
    """The line as it reads after each completion that a front end would offer."""

    def lines(line: str) -> list[str]:
        with provisionalcompleter():
            found = list(shell.Completer.completions(line, len(line)))
        return [line[: one.start] + one.text + line[one.end :] for one in found]

    return lines


def test_a_front_end_gets_our_words_and_no_others(complete: Complete) -> None:
    assert complete("%vm ti") == ["%vm timeline"]


def test_labels_of_the_loaded_program_are_offered(guest: Any, complete: Complete) -> None:
    assert complete("%bp co") == ["%bp counter"]
    assert complete("%vm set [co") == ["%vm set [counter"]


def test_numbers_of_breakpoints_that_exist_are_offered(guest: Any, complete: Complete) -> None:
    guest("%bp loop")
    assert complete("%bp delete ") == ["%bp delete 1", "%bp delete all"]


def test_programs_in_variables_are_offered_for_loading(guest: Any, complete: Complete) -> None:
    assert "%vm load demo" in complete("%vm load d")


def test_files_are_offered_for_loading_beside_variables(
    guest: Any, complete: Complete, tmp_path: Any
) -> None:
    (tmp_path / "demo.bin").write_bytes(b"\xf4")
    assert {"%vm load demo", "%vm load demo.bin"} <= set(complete("%vm load demo"))


def test_our_magics_are_completed_by_name(complete: Complete) -> None:
    assert "%step" in complete("%ste")


def test_python_is_completed_as_before(shell: InteractiveShell, complete: Complete) -> None:
    shell.user_ns["timeline_of_mine"] = 1
    assert complete("timeline_of") == ["timeline_of_mine"]
