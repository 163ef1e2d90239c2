"""``%vm save`` and ``%vm open``: what they show, and which VM the magics work on afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from kvmdbg.errors import BadInput, NotRecorded, NoVm, RecordingError

Run = Callable[[str], Any]


def test_save_says_how_large_the_file_is(guest: Run) -> None:
    guest("%step 3")
    guest("%vm bookmark <here>")
    shown = guest("%vm save demo.kvmdbg")
    size = Path("demo.kvmdbg").stat().st_size
    assert shown.value is guest("vm")
    assert f"{size:,} bytes; again: %vm open demo.kvmdbg" in shown.text
    assert "<here>" in shown.text
    assert "&lt;here&gt;" in shown.html
    assert "<here>" not in shown.html


def test_open_makes_a_replay_the_vm_of_the_magics(guest: Run) -> None:
    regs = guest("%step 5").regs
    guest("%vm save demo.kvmdbg")
    shown = guest("%vm open demo.kvmdbg")
    assert guest("vm") is shown.value
    assert guest("vm.regs()") == regs
    assert "replay VM: long mode, 16 MiB RAM; the old VM is closed" in shown.text
    assert "%vm open demo.kvmdbg --live" in shown.text
    assert "The recording demo.kvmdbg" in shown.html
    assert guest("%vm stop").cause == "opened at clock 5: 5 single steps"
    assert guest("%step back 2").clock == 3
    with pytest.raises(NotRecorded, match=r"%vm open demo\.kvmdbg --live"):
        guest("%vm set rax=5")


def test_open_live_goes_on(guest: Run) -> None:
    guest("%step 5")
    guest("%vm save demo.kvmdbg")
    shown = guest("%vm open demo.kvmdbg --live")
    assert "live VM: long mode" in shown.text
    guest("%vm set rax=5")
    assert guest("%step").clock == 6


def test_a_new_vm_after_a_replay_is_an_ordinary_one(guest: Run) -> None:
    guest("%vm save demo.kvmdbg")
    guest("%vm open demo.kvmdbg")
    assert guest("%vm compare unicorn:svm --steps 2") is not None
    guest("%vm new")
    assert guest("vm.engine_name") == "unicorn"


def test_the_vm_stays_if_the_file_cannot_be_opened(guest: Run) -> None:
    before = guest("vm")
    Path("notes.txt").write_text("precious")
    with pytest.raises(RecordingError, match=r"^notes\.txt: no recording: it is no zip archive$"):
        guest("%vm open notes.txt")
    with pytest.raises(RecordingError, match=r"^notes\.txt: it is there already and is no rec"):
        guest("%vm save notes.txt")
    assert guest("vm") is before
    assert not before.closed


@pytest.mark.parametrize("line", ["%vm save", "%vm open", "%vm save a b", "%vm open a --lively"])
def test_a_line_that_cannot_be_meant_is_refused(guest: Run, line: str) -> None:
    with pytest.raises(BadInput):
        guest(line)


def test_without_a_vm_there_is_nothing_to_save(run: Run) -> None:
    with pytest.raises(NoVm):
        run("%vm save demo.kvmdbg")


def test_a_recording_can_be_opened_without_a_vm(guest: Run) -> None:
    guest("%vm save demo.kvmdbg")
    guest("%vm close")
    assert "replay VM" in guest("%vm open demo.kvmdbg").text


def offered(shell: InteractiveShell, line: str) -> list[str]:
    with provisionalcompleter():
        found = list(shell.Completer.completions(line, len(line)))
    return [line[: one.start] + one.text + line[one.end :] for one in found]


@pytest.mark.parametrize("command", ["save", "open"])
def test_files_are_offered(guest: Run, shell: InteractiveShell, command: str) -> None:
    Path("demo.kvmdbg").write_bytes(b"")
    assert f"%vm {command} demo.kvmdbg" in offered(shell, f"%vm {command} dem")


def test_the_option_is_offered(guest: Run, shell: InteractiveShell) -> None:
    assert offered(shell, "%vm open x --l") == ["%vm open x --live"]
