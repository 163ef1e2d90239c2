"""docs/teaching.md, done as a lecturer would: every command in order, in a folder of its own.

The shell is real and so are the environments. The class's is installed from its bundle alone, whose
wheels come from the package index. The lecturer's would be loaded from there too, which costs a
minute: on CI it is, elsewhere it finds what kvmdbg needs in the environment of the tests. Must not
know: what the commands are.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvmdbg.cli import main
from kvmdbg.lab import bundles
from tests.conftest import ON_CI

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "teaching.md").read_text()
MOST_MEGABYTES = 250
SOURCES = (
    "kvmdbg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "NOTICE",
    "labextension/install.json",
)

# A server is started, waited for and ended; all else is run as it stands.
HELPERS = r"""
_serve() {
  "$@" --no-browser --allow-root --ip=127.0.0.1 --port=0 >"$LOGS/server" 2>&1 &
  for _ in $(seq 600); do
    grep -q "is running at" "$LOGS/server" && break
    kill -0 $! 2>/dev/null || break
    sleep 0.1
  done
  kill $! 2>/dev/null
  wait $! 2>/dev/null
  grep -q "is running at" "$LOGS/server"
}
"""


@dataclass(frozen=True)
class Command:
    """A ``$`` line of the page, and the output shown below it."""

    number: int
    line: str
    shown: str
    asked: bool
    """Whether the page shows its exit status; else it is 0."""

    def __str__(self) -> str:
        return f"{self.number}-{self.line[:40]}"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[Command]:
    found: list[list[str]] = []
    for line in "".join(blocks("console")).splitlines():
        if line.startswith("$ "):
            found.append([line[2:]])
        else:
            found[-1].append(line)
    following = [lines[0] for lines in found[1:]] + [""]
    return [
        Command(number, lines[0], "".join(f"{one}\n" for one in lines[1:]), after == "echo $?")
        for number, (lines, after) in enumerate(zip(found, following, strict=True))
    ]


COMMANDS = commands()


# For an environment that has been made: packages that are found without being installed in it.
LEND = """
printf '%s\\n' "$PACKAGES" >"$(echo teaching/lib/python3*/site-packages)/lent.pth"
"""


def script() -> str:
    """All commands for one shell; what each says and how it ends goes to files."""
    lines = [HELPERS, "status=0"]
    for command in COMMANDS:
        n, line = command.number, command.line
        if line == "echo $?":
            lines.append(f'echo $status >"$LOGS/{n}.out"; echo 0 >"$LOGS/{n}.status"')
            continue
        served = f"_serve {line}" if re.search(r"\bjupyter lab\b", line) else line
        lines.append(f'{{ {served}\n}} >"$LOGS/{n}.out" 2>&1; status=$?')
        lines.append(f'echo $status >"$LOGS/{n}.status"')
        if line == "python3 -m venv teaching" and not ON_CI:
            lines.append(LEND)
    return "\n".join(lines)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the output of each command is, after all of them were run."""
    desk, home, logs = map(tmp_path_factory.mktemp, ("desk", "home", "logs"))
    copy_sources(desk / "kvmdbg")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {
        **kept,
        "HOME": str(home),
        "LOGS": str(logs),
        "PACKAGES": sysconfig.get_path("purelib"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "1",  # only quicker
        "PIP_CACHE_DIR": cache(),
    }
    subprocess.run(["bash", "-c", script()], cwd=desk, env=environment, check=True, timeout=900)
    told = "".join(path.read_text(errors="replace") for path in logs.glob("*.out"))
    if "index cannot be reached" in told or "Retrying (" in told:
        (pytest.fail if ON_CI else pytest.skip)("the package index cannot be reached")
    return logs


def copy_sources(place: Path) -> None:
    for name in SOURCES:
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)


def cache() -> str:
    """pip's, which lies in the home that these commands do not get."""
    command = [sys.executable, "-m", "pip", "cache", "dir"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def pattern(shown: str) -> str:
    """``...`` within a line is anything in it; a line of its own, any lines."""
    lines = []
    for line in shown.splitlines(keepends=True):
        if line == "...\n":
            lines.append("(?:.*\n)*")
        else:
            lines.append(".*".join(map(re.escape, line.split("..."))))
    return "".join(lines)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_does_what_the_page_shows(command: Command, logs: Path) -> None:
    told = (logs / f"{command.number}.out").read_text(errors="replace")
    assert re.fullmatch(pattern(command.shown), told), told
    status = (logs / f"{command.number}.status").read_text().strip()
    assert command.asked or status == "0", told


def test_what_a_class_downloads_is_less_than_the_page_says(logs: Path) -> None:
    (bundle,) = [command for command in COMMANDS if command.line.startswith("kvmdbg lab bundle")]
    told = (logs / f"{bundle.number}.out").read_text()
    assert float(re.findall(r"([\d.]+) MB", told)[0]) < MOST_MEGABYTES
    assert f"less than {MOST_MEGABYTES} MB" in PAGE


def test_the_bundles_own_page_has_the_command_of_this_page() -> None:
    (line,) = [command.line for command in COMMANDS if "--no-index" in command.line]
    readme = bundles._readme(bundles.targets(bundles.USUAL, ["3.12"]))
    assert line.replace("python3 ", "python3.12 ", 1).replace(" --quiet", "") in readme
    for windows in "".join(blocks("powershell")).splitlines()[:3]:
        assert windows in readme.replace("; & ", "\n& ")


def test_an_ellipsis_stands_for_what_differs_and_for_nothing_else() -> None:
    assert re.fullmatch(pattern("a ... s\n...\nend\n"), "a 3.1 s\nmore\nmore\nend\n")
    assert not re.fullmatch(pattern("a ... s\n"), "a 3.1 s\nmore\n")
    assert not re.fullmatch(pattern("5.0\n"), "510\n")


def test_lines_for_powershell_name_programs_and_options_that_there_are() -> None:
    for line in "".join(blocks("powershell")).splitlines():
        words = shlex.split(line.removeprefix("& "), posix=False)
        program = words[0].strip('"').rpartition("\\")[2]
        assert program in ("py", "python", "jupyter", "kvmdbg"), line
        if program == "kvmdbg":
            main._parser(main._commands()).parse_args(words[1:])
