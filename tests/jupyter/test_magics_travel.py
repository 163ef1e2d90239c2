"""%step back, %vm back, %vm goto, %vm bookmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvmdbg.errors import BadInput, UnknownName

Run = Callable[[str], Any]


@pytest.mark.parametrize("line", ["%step back 2", "%step 2 back"])
def test_step_back_takes_its_count_on_either_side(guest: Run, line: str) -> None:
    guest("%step 5")
    assert guest(line).clock == 3


def test_step_back_alone_takes_one_instruction_back(guest: Run) -> None:
    before = guest("%step 2").regs
    guest("%step")
    assert guest("%step back").regs == before


def test_back_leads_to_the_previous_stop(guest: Run) -> None:
    guest("%bp twice")
    first = guest("%vm run")
    guest("%vm run")
    assert (guest("%vm back").regs, guest("_.location")) == (first.regs, "twice")


@pytest.mark.parametrize("clock", ["3", "0x3", "3h"])
def test_goto_takes_a_clock_as_people_write_numbers(guest: Run, clock: str) -> None:
    guest("%vm run")
    assert guest(f"%vm goto {clock}").clock == 3


def test_goto_takes_a_clock_with_commas_and_the_beginning(guest: Run) -> None:
    guest("%vm run")
    assert guest("%vm goto 0").clock == 0
    with pytest.raises(BadInput, match="1,234 is beyond that"):
        guest("%vm goto 1,234")


def test_goto_takes_a_bookmark(guest: Run) -> None:
    guest("%step 2")
    guest("%vm bookmark here")
    guest("%vm run")
    assert guest("%vm goto here").clock == 2


def test_bookmark_alone_lists_them(guest: Run) -> None:
    assert "no bookmarks" in str(guest("%vm bookmark"))
    guest("%step 2")
    guest("%vm bookmark here")
    assert "here: clock 2" in str(guest("%vm bookmark"))


def test_a_mistyped_bookmark_is_named_with_the_nearest(guest: Run) -> None:
    guest("%vm bookmark before")
    with pytest.raises(UnknownName, match='did you mean "before"'):
        guest("%vm goto befor")


def test_the_stop_says_that_it_is_the_past(guest: Run) -> None:
    guest("%step 5")
    shown = str(guest("%step back"))
    assert "back at clock 4" in shown
    assert "goes on to clock 5" in shown
