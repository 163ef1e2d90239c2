"""%vm who, %vm when, %vm record, %vm trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvmdbg.errors import BadInput, UnknownName
from kvmdbg.jupyter.offers import Known
from tests.jupyter.offered import offered

Run = Callable[[str], Any]
Bundle = Callable[[Any], dict[str, Any]]


def test_who_names_the_writer_and_the_way_there(guest: Run, bundle: Bundle) -> None:
    guest("%vm run")
    found = guest("%vm who counter 4")
    shown = bundle(found)
    assert found.clock == 13
    for text in (shown["text/plain"], shown["text/html"]):
        assert "inc dword ptr" in text
        assert "07 00 00 00" in text
        assert "%vm goto 13" in text


def test_who_takes_a_register(guest: Run) -> None:
    guest("%vm run")
    assert guest("%vm who ecx").what == "rcx"
    assert guest("%vm who $ecx").clock == 17


def test_when_tells_all_times_with_how_to_go_there(guest: Run, bundle: Bundle) -> None:
    guest("%vm run")
    shown = bundle(guest("%vm when RIP==loop"))
    assert guest("%vm when RIP == loop").clocks.tolist() == [1, 7, 13]
    for text in (shown["text/plain"], shown["text/html"]):
        assert "3 times from clock 0 to 20" in text
        assert "%vm goto 13" in text


def test_of_many_times_the_first_and_the_last_are_shown(run: Run, bundle: Bundle) -> None:
    run("%%asm\nmov ecx, 50\nagain: loop again\nhlt")
    run("%vm run")
    text = bundle(run("%vm when again"))["text/plain"]
    assert "1  2  3  4  5" in text
    assert "46  47  48  49  50" in text


def test_what_is_no_place_is_refused_in_one_line(guest: Run) -> None:
    with pytest.raises(BadInput, match="cannot be looked for"):
        guest("%vm when rax > 3")
    with pytest.raises(UnknownName, match='"countr"; did you mean'):
        guest("%vm who countr")


def test_trace_shows_what_was_recorded(guest: Run, bundle: Bundle) -> None:
    assert "nothing is recorded" in str(guest("%vm trace"))
    assert "recorded from now on" in str(guest("%vm record on"))
    guest("%step 3")
    assert "no more recording; 3 instructions" in str(guest("%vm record off"))
    guest("%step")
    shown = bundle(guest("%vm trace 2"))
    for text in (shown["text/plain"], shown["text/html"]):
        assert "3 recorded instructions, the last 2" in text
        assert "inc dword ptr" in text
        assert "0x5 -&gt; 0x6" in text or "0x5 -> 0x6" in text
        assert "mov ecx" not in text
    assert len(guest("_.value")) == 3


def test_record_is_on_or_off(guest: Run) -> None:
    with pytest.raises(BadInput, match="neither on nor off"):
        guest("%vm record perhaps")


def test_tab_offers_labels_and_registers_to_who() -> None:
    known = Known(labels=("counter", "loop"))
    assert offered("%vm who co", known) == ["counter"]
    assert offered("%vm who rs", known) == ["rsi", "rsp"]
    assert offered("%vm when lo", known) == ["loop"]
    assert offered("%vm record o", known) == ["on", "off"]


def test_a_line_of_set_is_undone_as_one(guest: Run) -> None:
    guest("%step")
    guest("%vm set rax=5")
    guest("%vm set rbx=6 [counter]=9 zf=1")
    text = str(guest("%vm undo"))
    assert "undone at clock 1: set_regs, write_memory" in text
    regs = guest("vm.regs()")
    assert (regs.rax, regs.rbx) == (5, 0)
    assert guest("vm.read(vm.address('counter'), 1)") == b"\5"
    guest("%vm undo")
    assert guest("vm.regs()").rax == 0
