"""``kvmdbg`` on the command line: its help, its commands' exit statuses, and errors in one line."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import kvmdbg
from kvmdbg.cli import doctor, main
from kvmdbg.engines import probe
from kvmdbg.engines.probe import Finding, Report
from kvmdbg.errors import BadInput, VmInterrupted

ROOT = Path(__file__).parents[2]
FOUND = Finding("step", (1,), "long", "single-step", "as the reference", "native")


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the probes say, and how often they were asked for fresh answers."""
    told: dict[str, Any] = {
        "unicorn": Report("unicorn", findings=(FOUND,)),
        "kvm": Report("kvm", "/dev/kvm: there is none; load its module"),
        "fresh": [],
    }

    def probe_engine(name: str, *, fresh: bool) -> Any:
        told["fresh"].append(fresh)
        return told[name]

    monkeypatch.setattr(probe, "probe_engine", probe_engine)
    return told


def test_the_script_of_the_package_is_main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"kvmdbg": "kvmdbg.cli.main:main"}
    assert callable(main.main)


def test_python_m_kvmdbg_is_the_same_program() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "kvmdbg", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert answer.stdout == f"kvmdbg {kvmdbg.__version__}\n"


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; from kvmdbg.cli.main import main; main(['--help']); "
        "print([m for m in ('unicorn', 'numpy', 'llvmlite', 'matplotlib') if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert answer.stdout.splitlines()[-1] == "[]"


def test_help_lists_the_commands_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == 0
    page = capsys.readouterr().out
    assert "doctor" in page
    assert "examples:" in page


def test_the_help_of_a_command_has_its_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["doctor", "--help"]) == 0
    page = capsys.readouterr().out
    assert all(line in page for line in doctor.EXAMPLES)


def test_no_line_of_an_example_is_wider_than_100_columns() -> None:
    assert max(len(line) for command in main._commands() for line in command.EXAMPLES) <= 98


def test_the_first_help_has_one_example_of_each_command_and_where_there_are_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main.main(["--help"])
    lines = capsys.readouterr().out.partition("examples:\n")[2].splitlines()
    first = [line.split()[1] for line in lines]
    assert first == [*(command.NAME for command in main._commands()), "COMMAND"]


@pytest.mark.parametrize("command", main._commands(), ids=lambda command: str(command.NAME))
def test_the_help_of_a_command_says_what_its_exit_status_means(
    command: main.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([command.NAME, "--help"]) == 0
    told = capsys.readouterr().out.partition("exit status:\n")[2].splitlines()
    assert {int(line.split()[0]) for line in told} == {*command.STATUS, 2, 130}


# -- what users do wrong ---------------------------------------------------------------------------

LAB = str(ROOT / "notebooks/labs/01-find-the-bug/instructor.ipynb")
STUDENTS = str(ROOT / "notebooks/labs/01-find-the-bug/student.ipynb")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("run nowhere.s", "cannot read 'nowhere.s': No such file"),
        ("run folder", "Is a directory"),
        ("run binary.s", "is no text"),
        ("run locked.s", "Permission denied"),
        ("replay nowhere.kvmdbg", "nowhere.kvmdbg"),
        ("replay folder", "folder"),
        ("replay text.txt", "text.txt"),
        ("compare nowhere.s", "cannot read 'nowhere.s'"),
        ("compare good.s unicorn bochs", "bochs"),
        (f"check --lab nowhere.ipynb {LAB}", "cannot read 'nowhere.ipynb': No such file"),
        (f"check --lab folder {LAB}", "cannot read 'folder': Is a directory"),
        (f"check --lab text.txt {LAB}", "'text.txt' is no notebook"),
        (f"check --lab binary.s {LAB}", "'binary.s' is no notebook"),
        (f"check --lab locked.s {LAB}", "Permission denied"),
        (f"check --lab {STUDENTS} {LAB}", "this is the students' version"),
        (f"check --lab {LAB} nobody/*/lab.ipynb", "there is no file like 'nobody/*/lab.ipynb'"),
        ("check nowhere.ipynb", "cannot read 'nowhere.ipynb'"),
        (f"check --jobs 0 {LAB}", "--jobs is at least 1"),
        ("lab build nowhere.ipynb new.ipynb", "cannot read 'nowhere.ipynb'"),
        (f"lab build {STUDENTS} new.ipynb", "students' version already"),
        (f"lab build {LAB} folder", "cannot use 'folder': Is a directory"),
        (f"lab build {LAB} folder --check", "cannot use 'folder': Is a directory"),
        (f"lab build {LAB} nowhere/new.ipynb", "cannot use 'nowhere/new.ipynb': No such file"),
        ("lab new ../up", "a lab's name has letters"),
        ("lab new text.txt", "a lab's name has letters"),
        ("lab new file", "'file/instructor.ipynb'"),
        ("lab new taken", "'taken/instructor.ipynb' is there already"),
        ("lab bundle folder --platform amiga", 'unknown platform "amiga"; choose windows'),
        ("lab bundle folder --python 2.7", '"2.7" is no Python for kvmdbg'),
        ("lab bundle taken", "'taken' is not empty"),
        ("lab bundle text.txt", "'text.txt' is not empty"),
        ("lab bundle folder --wheel nowhere.whl", "cannot read 'nowhere.whl'"),
    ],
)
def test_what_a_user_does_wrong_is_one_line_that_names_it(
    line: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "locked" in line and os.geteuid() == 0:
        pytest.skip("root may read everything")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "instructor.ipynb").write_text("mine")
    (tmp_path / "file").write_text("")
    (tmp_path / "text.txt").write_text("Hello")
    (tmp_path / "good.s").write_text("hlt")
    (tmp_path / "binary.s").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "locked.s").write_text("hlt")
    (tmp_path / "locked.s").chmod(0)
    assert main.main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("kvmdbg: ")
    assert captured.err.count("\n") == 1
    assert told in captured.err


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["doctor", "--nonsense"]])
def test_a_wrong_usage_is_status_2_and_told_on_stderr(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: kvmdbg" in captured.err


def test_every_command_keeps_the_contract() -> None:
    for command in main._commands():
        assert command.NAME
        assert "\n" not in command.HELP
        assert all(line.startswith(f"kvmdbg {command.NAME}") for line in command.EXAMPLES)
        assert 0 in command.STATUS
        command.configure(argparse.ArgumentParser())


def test_a_command_whose_module_is_not_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_MODULES", ("doctor", "no_such_command"))
    assert [command.NAME for command in main._commands()] == ["doctor"]


def raising(error: BaseException) -> Any:
    def run(args: argparse.Namespace) -> int:
        raise error

    words: dict[str, Any] = {"HELP": "Fails.", "EXAMPLES": ("kvmdbg fail",), "STATUS": {}}
    return SimpleNamespace(NAME="fail", configure=lambda _: None, run=run, **words)


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    monkeypatch.setattr(main, "_commands", lambda: [raising(error)])
    return main.main(["fail"])


def test_an_error_of_ours_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail_with(monkeypatch, BadInput("what is wrong, and what to do")) == 2
    captured = capsys.readouterr()
    assert captured.err == "kvmdbg: what is wrong, and what to do\n"
    assert captured.out == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), VmInterrupted("at 0x8000")])
def test_ctrl_c_is_status_130_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    assert fail_with(monkeypatch, error) == 130
    assert capsys.readouterr().err == "kvmdbg: interrupted\n"


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_with(monkeypatch, ZeroDivisionError())


def test_a_reader_that_goes_away_early_sees_no_traceback(tmp_path: Path) -> None:
    answer = subprocess.run(
        f"{sys.executable} -m kvmdbg doctor unicorn --json | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )
    assert answer.stdout == "{\n"
    assert answer.stderr == ""


# -- kvmdbg doctor ---------------------------------------------------------------------------------


def test_doctor_shows_every_engine_also_one_that_is_not_here(
    reports: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["doctor"]) == 0
    page = capsys.readouterr().out
    assert 'Engine "unicorn": 1 of 1 behaviours' in page
    assert 'Engine "kvm": not here: /dev/kvm: there is none; load its module' in page


def test_doctor_of_an_engine_that_is_not_here_is_status_1(reports: dict[str, Any]) -> None:
    assert main.main(["doctor", "kvm"]) == 1
    assert main.main(["doctor", "unicorn"]) == 0


def test_doctor_json_is_for_programs(
    reports: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [engine["engine"] for engine in told["engines"]] == ["unicorn", "kvm"]
    assert told["engines"][0]["findings"][0]["behaviour"] == "step"
    assert told["engines"][1]["problem"]


def test_doctor_fresh_probes_anew(reports: dict[str, Any]) -> None:
    main.main(["doctor", "unicorn"])
    main.main(["doctor", "unicorn", "--fresh"])
    assert reports["fresh"] == [False, True]


def test_doctor_of_an_unknown_engine_is_one_line_with_the_choice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.main(["doctor", "bochs"]) == 2
    assert capsys.readouterr().err == 'kvmdbg: unknown engine "bochs"; choose unicorn, kvm\n'
