"""%step and %bp: counts, ways, places, conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kvmdbg import Stop
from kvmdbg.errors import BadInput, BreakpointError, ExpressionError, NoVm, UnknownName

Run = Callable[[str], Any]


def test_step_alone_executes_one_instruction_and_gives_back_the_stop(guest: Run) -> None:
    stop = guest("%step")
    assert isinstance(stop, Stop)
    assert (stop.regs.rcx, stop.executed, stop.location) == (3, 1, "loop")


def test_a_stop_can_be_kept_in_a_variable(guest: Run) -> None:
    guest("s = %step 2")
    assert guest("s.executed") == 2


def test_the_underscore_holds_the_last_stop(guest: Run, shell: InteractiveShell) -> None:
    stop = guest("%step")
    assert shell.user_ns["_"] is stop


@pytest.mark.parametrize("line", ["%step over 3", "%step 3 over"])
def test_count_and_way_stand_in_either_order(guest: Run, line: str) -> None:
    assert guest(line).location == "loop+0xc"


def test_over_takes_a_call_as_one_step_and_into_does_not(guest: Run) -> None:
    guest("%step until loop+7")
    assert guest("%step into").location == "twice"
    guest("%vm reset")
    guest("%step until loop+7")
    assert guest("%step over").location == "loop+0xc"


def test_out_runs_until_the_function_has_returned(guest: Run) -> None:
    guest("%step until twice")
    assert guest("%step out").location == "loop+0xc"


def test_until_takes_a_label_or_an_expression_with_blanks(guest: Run) -> None:
    assert guest("%step until loop").location == "loop"
    assert guest("%step until done - 2").location == "loop+0xe"


def test_a_python_variable_in_braces_is_put_in(guest: Run) -> None:
    guest("n, where = 2, 0x8005")
    assert guest("%step {n}").executed == 2
    guest("%vm reset")
    assert guest("%step until {where:#x}").location == "loop"


def test_a_semicolon_keeps_the_step_quiet(guest: Run) -> None:
    assert guest("%step 2;") is None
    assert guest("%vm stop").executed == 2


@pytest.mark.parametrize(
    ("line", "error", "complaint"),
    [
        ("%step ovre", UnknownName, 'unknown way to step "ovre"; did you mean "over"?'),
        ("%step 0", BadInput, "at least 1"),
        ("%step until", BadInput, "%step until WHERE"),
        ("%step 3 until loop", BadInput, "takes no count"),
        ("%step until lop", UnknownName, "loop"),
        ("%step 3 # three", BadInput, "takes no comment"),
        ("%step --count 3", UnknownName, 'unknown option "--count" for %step'),
        ("%bp lop", UnknownName, "loop"),
        ("%bp loop if", BadInput, "if CONDITION"),
        ("%bp loop if rax ==", ExpressionError, ""),
        ("%bp loop hw sw", BadInput, "hw or sw"),
        ("%bp counter -w -rw", BadInput, "one of -x, -w, -rw"),
        ("%bp counter -w --len 3", UnknownName, "choose 1, 2, 4, 8"),
        ("%bp counter sw -w", BreakpointError, "INT3"),
        ("%bp --len 4", BadInput, "something is missing: %bp"),
        ("%bp int", BadInput, "something is missing: %bp int VECTOR"),
        ("%bp int 300", BreakpointError, "0 to 255"),
        ("%bp delete", BadInput, "something is missing: %bp delete NUMBER|all"),
        ("%bp delete 7", UnknownName, "no breakpoint"),
        ("%bp delete x", BadInput, "not a number"),
        ("%bp delete all --now", UnknownName, 'unknown option "--now"'),
    ],
)
def test_a_mistake_is_one_kind_of_error_with_a_remedy(
    guest: Run, line: str, error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error) as caught:
        guest(line)
    assert complaint in str(caught.value)
    assert not list(guest("%bp"))


@pytest.mark.parametrize("line", ["%step", "%bp", "%bp start", "%vm run", "%vm regs"])
def test_without_a_vm_the_error_says_how_to_begin(run: Run, line: str) -> None:
    with pytest.raises(NoVm, match=r"^no VM yet: write a %%asm cell or %vm new$"):
        run(line)


def test_after_closing_the_error_says_that_it_was_closed(guest: Run) -> None:
    guest("%vm close")
    with pytest.raises(NoVm, match=r"^the VM was closed: write a %%asm cell or %vm new$"):
        guest("%step")


def test_a_breakpoint_at_a_label_stops_there(guest: Run) -> None:
    number = guest("%bp loop").number
    assert guest("%vm run").hits == (number,)
    assert guest("%vm regs").value.rip == guest("vm.address('loop')")


def test_a_place_may_be_a_number_a_register_or_an_expression(guest: Run) -> None:
    places = [guest(f"%bp {text}").address for text in ("$rip", "8005h", "loop + 7")]
    assert places == [0x8000, 0x8005, 0x800C]


def test_a_dollar_register_means_the_guest_even_if_python_has_that_name(guest: Run) -> None:
    guest("rip = 5")
    assert guest("%bp $rip").address == 0x8000


def test_kinds_and_accesses_are_told_to_the_debugger(guest: Run) -> None:
    sw, hw = guest("%bp loop"), guest("%bp loop hw")
    watch, access = guest("%bp counter -w --len 4"), guest("%bp counter -rw --len 1")
    assert [b.kind for b in (sw, hw, watch, access)] == ["sw", "hw", "hw", "hw"]
    assert [b.access for b in (sw, hw, watch, access)] == ["x", "x", "w", "rw"]
    assert [b.length for b in (watch, access)] == [4, 1]


def test_a_watchpoint_stops_after_the_write(guest: Run) -> None:
    guest("%bp counter -w --len 4")
    assert guest("%vm run").location == "loop+7"
    assert guest("%vm mem counter 4").value == b"\6\0\0\0"


def test_a_condition_is_the_rest_of_the_line_as_written(guest: Run) -> None:
    assert guest("%bp loop if $rcx == 2 and hits > 1").when == "$rcx == 2 and hits > 1"
    assert guest("%vm run").regs.rcx == 2


def test_a_breakpoint_may_go_after_its_first_hit(guest: Run) -> None:
    guest("%bp loop --once")
    guest("%vm run")
    assert list(guest("%bp")) == []


@pytest.mark.parametrize("text", ["0x80", "80h", "128"])
def test_a_vector_is_stopped_at_before_the_guest_takes_it(run: Run, text: str) -> None:
    run("%%asm\nint 0x80\nhlt")
    assert run(f"%bp int {text}").address == 0x80
    assert run("%vm run").pc == 0x8000


def test_a_vector_may_be_stopped_at_once_only(run: Run) -> None:
    run("%%asm --mode real\nagain: int 0x80\njmp again")
    run("%vm gate 0x80 0x9000")
    run("%bp int 0x80 --once")
    assert run("%vm run").pc == 0x8000
    assert list(run("%bp")) == []


@pytest.mark.parametrize("text", ["#UD", "UD", "ud"])
def test_a_vector_may_be_written_by_its_name(guest: Run, text: str) -> None:
    assert guest(f"%bp int {text}").address == 6


def test_bp_alone_lists_and_shows_what_is_there(guest: Run) -> None:
    guest("%bp loop")
    table = guest("%bp")
    assert [b.number for b in table] == [1]


def test_disable_and_enable_say_what_they_did(guest: Run) -> None:
    guest("%bp loop")
    assert "breakpoint 1 disabled" in guest("%bp disable 1").text
    assert not guest("vm.breakpoints[1].enabled")
    assert "breakpoint 1 enabled" in guest("%bp enable 1").text
    assert guest("vm.breakpoints[1].enabled")


@pytest.mark.parametrize("line", ["%bp delete 1 2", "%bp delete 1,2", "%bp delete all"])
def test_several_breakpoints_are_deleted_at_once(guest: Run, line: str) -> None:
    guest("%bp loop")
    guest("%bp done")
    guest(line)
    assert len(guest("vm.breakpoints")) == 0


def test_if_one_number_is_wrong_none_is_deleted(guest: Run) -> None:
    guest("%bp loop")
    with pytest.raises(UnknownName):
        guest("%bp delete 1 9")
    assert len(guest("vm.breakpoints")) == 1


def test_a_breakpoint_takes_the_debug_register_that_the_line_names(guest: Run) -> None:
    assert guest("%bp counter -w --slot 2").slot == 2
