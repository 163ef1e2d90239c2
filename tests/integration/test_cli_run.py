"""``kvmdbg run`` and ``kvmdbg replay``: programs and recordings from a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.cli import main

SOURCE = "start: mov ax, 5\n mov al, 'k'\n out 0xe9, al\n hlt\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "demo.s"
    path.write_text(SOURCE)
    return path


def run(*argv: str | Path) -> int:
    return main.main([str(word) for word in argv])


def test_run_shows_the_stop_and_what_the_guest_printed(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("run", source, "--mode", "real") == 0
    page = capsys.readouterr().out
    assert "halt at start+8" in page
    assert "| k" in page


@pytest.mark.parametrize(
    ("text", "status"),
    [("hlt", 0), ("jmp $", 124), ("lidt [zero]\nud2\nzero: .fill 10", 1)],
)
def test_the_status_tells_the_outcome(tmp_path: Path, text: str, status: int) -> None:
    path = tmp_path / "x.s"
    path.write_text(text)
    assert run("run", path, "--instructions", "1000") == status


def test_a_guest_that_never_ends_is_ended_by_the_clock_too(tmp_path: Path) -> None:
    path = tmp_path / "x.s"
    path.write_text("jmp $")
    assert run("run", path, "--instructions", "1000000000000", "--timeout", "0.2") == 124


def test_a_boot_sector_is_run_in_real_mode_where_a_bios_puts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "boot.img"
    program = assemble("mov ax, 7\n hlt\n .org 510\n .word 0xaa55", mode="real", org=0x7C00)
    path.write_bytes(program.code)
    assert run("run", path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["pc"], told["registers"]["rax"]) == ("halt", 0x7C04, 7)


@pytest.mark.parametrize("name", ["nothing.s", "nothing.bin"])
def test_a_file_that_is_not_there_is_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("run", tmp_path / name) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def recording(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "demo.kvmdbg"
    assert run("run", source, "--mode", "real", "--save", path) == 0
    capsys.readouterr()
    return path


def test_a_run_can_be_kept_and_opened(recording: Path) -> None:
    with Vm.open(recording) as vm:
        assert vm.console == "k"


def test_replay_shows_the_exits_and_the_end(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("replay", recording) == 0
    page = capsys.readouterr().out
    assert "IO" in page
    assert "the guest halted" in page
    assert "from clock 0 to 4" in page


def test_replay_goes_to_a_moment(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("replay", recording, "--at", "1", "--exits", "0") == 0
    assert "at start+3" in capsys.readouterr().out


def test_replay_of_something_else_is_one_line(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("replay", source) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_replay_of_a_moment_that_is_not_there_is_one_line(
    recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("replay", recording, "--at", "nowhere") == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("at", ["9z", "99999"])
def test_replay_of_a_clock_that_is_none_is_one_line(
    recording: Path, at: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("replay", recording, "--at", at) == 2
    assert capsys.readouterr().err.count("\n") == 1
