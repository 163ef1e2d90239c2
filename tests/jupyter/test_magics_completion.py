"""What Tab offers, first as a pure function, then through IPython's own completer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from kvmdbg.jupyter.commands import TOPICS, VM
from kvmdbg.jupyter.completion import candidates, files
from kvmdbg.jupyter.lines import Spot
from kvmdbg.jupyter.offers import OPERATORS, Known, offers

KNOWN = Known(
    labels=("counter", "loop", "start"),
    breakpoints=("1", "2"),
    variables=("demo", "image"),
    programs=("demo",),
    bookmarks=("before", "here"),
    constants=("LIMIT",),
)


def offered(line: str, first_line: bool = True) -> list[str]:
    return [*types(line, first_line)]


def types(line: str, first_line: bool = True) -> dict[str, str]:
    _, words = candidates(line, first_line, KNOWN) or ("", [])
    return {offer.text: offer.type for offer in words}


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
        ("%vm run --max ", ["1k", "100k", "1M"]),
        ("%vm new --ram 1", ["1M", "16M"]),
        ("%vm load demo --entry lo", ["loop"]),
        ("%vm goto ", ["before", "here"]),
        ("%vm bookmark he", ["here"]),
        ("%vm diff here ", ["before", "here"]),
        ("%vm who ecx", ["ecx"]),
        ("%vm who rc", ["rcx"]),
        ("%vm who ri", []),
        ("%vm when rip==lo", ["loop"]),
        ("%vm when ri", ["rip", "rip=="]),
        ("%vm timeline --exception #P", ["#PF"]),
        ("%vm timeline --at lo", ["loop"]),
        ("%vm timeline --at=lo", ["loop"]),
        ("%vm timeline --between before:he", ["here"]),
        ("%vm mem loop+co", ["counter"]),
        ("%vm mem 0x80", []),
        ("%vm mem [rb", ["rbx", "rbp"]),
        ("%vm gate #D", ["#DE", "#DB", "#DF"]),
        ("%vm gate 0x21 st", ["start"]),
        ("%vm set zf=", ["0", "1"]),
        ("%vm set a", ["ax", "al", "ah", "af", "ac"]),
        ("%vm set $ra", ["$rax"]),
        ("%vm set RA", ["RAX"]),
        ("%vm set rax=LI", ["LIMIT"]),
        ("%vm debug sing", ["singlestep"]),
        ("%vm debug enable en", []),
        ("%vm debug hw", ["hw_bp"]),
        ("%vm debug 0=co", ["counter"]),
        ("%vm debug 0=counter:", ["x", "w", "rw"]),
        ("%vm debug 0=counter:w:", ["1", "2", "4", "8"]),
        ("%vm debug inject ", ["db", "bp"]),
        ("%vm irq 1 ", ["up", "down", "pulse"]),
        ("%vm compare unicorn unicorn:s", ["unicorn:svm"]),
        ("%bp int #P", ["#PF"]),
        ("%bp int G", ["GP"]),
        ("%bp int #PF ", ["if", "--once"]),
        ("%bp loop hw i", ["if"]),
        ("%bp loop hw s", []),
        ("%bp loop if ea", ["eax"]),
        ("%bp loop if EA", ["EAX"]),
        ("%bp loop if al", ["al"]),
        ("%bp loop if hi", ["hits"]),
        ("%bp loop if rax == cou", ["counter"]),
        ("%bp loop if rax ", [*OPERATORS]),
        ("%bp loop if rax == 3 a", ["and"]),
        ("%bp loop if rax == 3", []),
        ("%bp loop if not z", ["zf"]),
        ("%bp loop if byte [co", ["counter"]),
        ("%bp delete 1 ", ["2"]),
        ("%step until rcx == 0 an", ["and"]),
        ("%step until ec", ["ecx"]),
        ("%step 2 u", []),
        ("%%asm d", ["demo"]),
        ("%%asm --syntax n", ["nasm"]),
        ("%vm mem {whe", []),
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


@pytest.mark.parametrize(
    ("line", "word", "kind"),
    [
        ("%vm ", "run", "command"),
        ("%vm run ", "--max", "option"),
        ("%vm mem ", "counter", "label"),
        ("%vm mem ", "LIMIT", "constant"),
        ("%bp loop if ", "rax", "register"),
        ("%bp loop if ", "zf", "flag"),
        ("%bp loop if ", "hits", "counter"),
        ("%bp loop if rax ", "==", "operator"),
        ("%bp int ", "#PF", "vector"),
        ("%bp delete ", "1", "breakpoint"),
        ("%bp loop ", "if", "keyword"),
        ("%vm goto ", "here", "bookmark"),
        ("%vm load ", "image", "variable"),
        ("%%asm ", "demo", "program"),
        ("%vm debug ", "enable", "flag"),
    ],
)
def test_each_word_says_what_it_is(line: str, word: str, kind: str) -> None:
    assert types(line)[word] == kind


def test_labels_come_before_registers_where_a_place_is_meant() -> None:
    words = offered("%step until ")
    assert words.index("loop") < words.index("rax")


def test_every_kind_in_the_table_of_commands_is_known_to_completion() -> None:
    for command in TOPICS.values():
        for kind in (*command.takes, *(option.takes for option in command.options)):
            offers(Spot(command, kind, ""), KNOWN)


def test_no_word_is_offered_twice() -> None:
    words = offered("%bp loop if ")
    assert len(words) == len(set(words))


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


def test_only_recordings_and_folders_are_offered_for_opening(
    complete: Complete, tmp_path: Any
) -> None:
    (tmp_path / "demo.bin").write_bytes(b"\xf4")
    (tmp_path / "demo.kvmdbg").write_bytes(b"")
    (tmp_path / "demos").mkdir()
    assert complete("%vm open demo") == ["%vm open demo.kvmdbg", "%vm open demos/"]


def test_files_below_a_folder_are_offered(complete: Complete, tmp_path: Any) -> None:
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "sector.bin").write_bytes(b"\xf4")
    assert complete("%vm load boot/") == ["%vm load boot/sector.bin"]


def test_a_folder_that_is_not_there_offers_nothing() -> None:
    assert files("nowhere/at/all") == []


def test_bookmarks_that_exist_are_offered(guest: Any, complete: Complete) -> None:
    guest("%vm bookmark here")
    assert complete("%vm goto ") == ["%vm goto here"]


def test_in_braces_python_variables_are_offered(
    shell: InteractiveShell, complete: Complete
) -> None:
    shell.user_ns["where_of_mine"] = 1
    assert complete("%vm mem {where_o") == ["%vm mem {where_of_mine"]


@pytest.mark.parametrize(
    "line", ["%vm regs ", "%vm mem counter ", "%vm mem pri", "%vm nosuch ", "%step over "]
)
def test_where_nothing_fits_python_names_are_not_offered(complete: Complete, line: str) -> None:
    assert complete(line) == []


def test_a_cell_of_assembly_offers_its_labels_and_registers(complete: Complete) -> None:
    cell = "%%asm\nagain: dec ecx\njnz ag"
    assert complete(cell) == [cell.removesuffix("ag") + "again"]
    assert complete("%%asm\nmov r1") == [
        f"%%asm\nmov r1{n}{s}" for n in range(6) for s in ("", "d", "w", "b")
    ]


@pytest.mark.parametrize("line", ["pri", "mov eax, pri", "x: pri", "nop # pri", "mov eax, 5"])
def test_a_cell_of_assembly_offers_no_python(complete: Complete, line: str) -> None:
    assert complete(f"%%asm\n{line}") == []


def test_our_magics_are_completed_by_name(complete: Complete) -> None:
    assert "%step" in complete("%ste")


def test_python_is_completed_as_before(shell: InteractiveShell, complete: Complete) -> None:
    shell.user_ns["timeline_of_mine"] = 1
    assert complete("timeline_of") == ["timeline_of_mine"]
