"""``%vm export``: what it shows, where it writes, and which files it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvmdbg.debugger.vm import Vm
from kvmdbg.errors import BadInput, NoVm
from kvmdbg.history.export_tenet import tenet_trace
from kvmdbg.history.trace import Trace
from kvmdbg.jupyter.exports import KINDS
from kvmdbg.jupyter.file_table import EXPORTS
from tests.guests.traces import path_by_hand, segment_of
from tests.jupyter.offered import offered

Run = Callable[[str], Any]


def test_every_kind_in_the_table_is_written_by_somebody() -> None:
    assert tuple(KINDS) == EXPORTS


def test_without_a_file_the_program_is_the_value_and_the_text(guest: Run) -> None:
    shown = guest("%vm export c")
    assert shown.value == shown.text == guest("vm.export_c()")
    assert "KVM_SET_GUEST_DEBUG" in shown.text


def test_with_a_file_the_program_is_written_there(guest: Run) -> None:
    shown = guest("%vm export c guest.c")
    assert Path("guest.c").read_text() == guest("vm.export_c()")
    assert shown.value == Path("guest.c")
    assert "next: gcc -std=c11 -Wall -Wextra -o guest guest.c && ./guest" in shown.text


def test_the_number_of_exits_can_be_said(guest: Run) -> None:
    guest("%step")
    text = guest("%vm export c --exits 3").text
    assert text.count("    { .reason = KVM_EXIT_DEBUG") == 3


def test_the_program_has_the_setting_of_vm_debug(guest: Run) -> None:
    guest("%vm debug enable hw_bp 0=loop")
    text = guest("%vm export c --exits 1").text
    assert ".control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP," in text


def test_an_export_of_before_is_written_anew(guest: Run) -> None:
    guest("%vm export c guest.c")
    guest("%step 2")
    guest("%vm export c guest.c")
    assert Path("guest.c").read_text() == guest("vm.export_c()")


@pytest.mark.parametrize("content", [b"precious", b"\xff\xfe", b""])
def test_a_file_of_somebody_elses_is_left_alone(guest: Run, content: bytes) -> None:
    Path("notes.c").write_bytes(content)
    with pytest.raises(BadInput, match=r"^notes\.c is there already and is no export; choose"):
        guest("%vm export c notes.c")
    assert Path("notes.c").read_bytes() == content


def test_a_place_that_cannot_be_written_is_one_line(guest: Run) -> None:
    with pytest.raises(BadInput, match=r"^no/such/place\.c cannot be written: No such file"):
        guest("%vm export c no/such/place.c")


def test_a_directory_is_no_file(guest: Run) -> None:
    Path("here").mkdir()
    with pytest.raises(BadInput, match=r"^here is there already"):
        guest("%vm export c here")


def test_a_guest_that_cannot_be_exported_leaves_no_file(guest: Run) -> None:
    guest("vm.create_irqchip()")
    with pytest.raises(BadInput, match="irqchip"):
        guest("%vm export c guest.c")
    assert not Path("guest.c").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%vm export cc", 'unknown kind of export "cc"; did you mean "c"?'),
        ("%vm export c a b", 'unexpected "b"'),
        ("%vm export", "something is missing: %vm export KIND"),
        ("%vm export c --exits 0", "0 is too small"),
        ("%vm export c --exits 10001", "the number of exits must be from 1 to 10,000"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused(guest: Run, line: str, message: str) -> None:
    with pytest.raises(BadInput) as refused:
        guest(line)
    assert str(refused.value).startswith(message)


# Tenet


def test_a_trace_is_written_for_tenet(guest: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = Trace([segment_of(path_by_hand())])
    monkeypatch.setattr(Vm, "trace", property(lambda vm: trace), raising=False)
    shown = guest("%vm export tenet run.tt")
    assert shown.text.endswith("next: open run.tt with Tenet in a disassembler")
    assert Path("run.tt").read_text() == "".join(tenet_trace(trace))
    guest("%vm export tenet run.tt")


def test_a_trace_that_ends_here_has_a_line_for_here(
    guest: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest("%step 3")
    trace = Trace([segment_of(path_by_hand()._replace(start=0))])
    monkeypatch.setattr(Vm, "trace", property(lambda vm: trace), raising=False)
    guest("%vm export tenet run.tt")
    assert Path("run.tt").read_text().splitlines()[-1] == f"rip={guest('vm.regs().rip'):#x}"


def test_without_a_traced_instruction_there_is_no_file(
    guest: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Vm, "trace", property(lambda vm: Trace()), raising=False)
    with pytest.raises(BadInput, match="no instruction was traced yet"):
        guest("%vm export tenet run.tt")
    assert not Path("run.tt").exists()


# Chrome


def test_the_timeline_is_written_for_chrome(guest: Run) -> None:
    guest("%step 3")
    guest("%vm bookmark here")
    guest("%vm run")
    shown = guest("%vm export chrome exits.json")
    assert shown.value == Path("exits.json")
    assert shown.text.endswith("next: open exits.json in chrome://tracing or in Perfetto")
    events = json.loads(Path("exits.json").read_text())["traceEvents"]
    exits = [event for event in events if event["ph"] == "X"]
    assert [event["ts"] for event in exits] == list(guest("vm.timeline.column('clock')"))
    assert exits[0]["args"]["symbol"] == "loop"
    assert [event["ts"] for event in events if event["ph"] == "i"] == [3]


def test_a_chrome_trace_of_before_is_written_anew(guest: Run) -> None:
    guest("%vm export chrome exits.json")
    guest("%step")
    guest("%vm export chrome exits.json")
    assert '"ph":"X"' in Path("exits.json").read_text()


def test_a_c_program_is_no_chrome_trace_to_be_written_over(guest: Run) -> None:
    guest("%vm export c guest.c")
    with pytest.raises(BadInput, match="no export; choose another name"):
        guest("%vm export chrome guest.c")


def test_what_is_too_long_to_look_at_needs_a_file(guest: Run) -> None:
    with pytest.raises(BadInput, match="something is missing: %vm export chrome FILE"):
        guest("%vm export chrome")


def test_an_option_that_does_not_go_with_the_kind_is_refused(guest: Run) -> None:
    with pytest.raises(BadInput, match="--exits does not go with %vm export chrome"):
        guest("%vm export chrome exits.json --exits 3")


def test_without_a_vm_there_is_nothing_to_export(run: Run) -> None:
    with pytest.raises(NoVm):
        run("%vm export c")


def test_tab_offers_the_kinds_and_the_option() -> None:
    assert offered("%vm export ") == ["c", "chrome", "tenet", "--exits"]
    assert offered("%vm export c guest.c --") == ["--exits"]
