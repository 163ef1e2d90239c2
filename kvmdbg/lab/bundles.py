"""A folder of wheels from which a class installs kvmdbg without a network.

pip finds and fetches the wheels, as a program of its own: it has no interface for Python. What it
cannot know is looked at afterwards (wheels.py): asked for another system, pip takes this one's
conditions, and leaves out what only Windows needs. Must not know: labs, or the command line.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ..errors import BadInput, ToolMissing
from .wheels import SYSTEMS, Target, lacking, needed, whole

USUAL: Final = ("windows", "macos-arm64", "macos-x86_64", "linux")
"""The systems of a bundle if none is named."""
EXTRA: Final = "lab"
README, SUMS = "README.txt", "SHA256SUMS"
_ROUNDS: Final = 5
_PYTHON: Final = re.compile(r"3\.(\d{1,2})")
_OLDEST: Final = 11
_NO_WHEEL: Final = re.compile(r"No matching distribution found for (\S+)")
_NO_NETWORK: Final = re.compile(r"Retrying \(|NewConnectionError|Could not fetch URL")


@dataclass(frozen=True)
class Bundled:
    """What a target's students find in the folder; ``problem`` says what is missing."""

    target: Target
    wheels: int
    size: int
    """Bytes."""
    problem: str = ""

    @property
    def complete(self) -> bool:
        """Whether it can be installed from the folder alone."""
        return not self.problem

    def __str__(self) -> str:
        if self.problem:
            return f"{self.target}: nothing, {self.problem}"
        return f"{self.target}: {self.wheels} wheels, {megabytes(self.size)}"


class _NotFound(Exception):
    """pip found no wheels for a target."""


def here() -> str:
    """The version of this Python, as a target says it."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def megabytes(size: int) -> str:
    """A size as a download shows it.

    >>> megabytes(131_072_000)
    '131.1 MB'
    """
    return f"{size / 1e6:.1f} MB"


def targets(systems: Sequence[str], pythons: Sequence[str]) -> list[Target]:
    """Each system with each Python, once; BadInput for one that there is not.

    >>> [str(target) for target in targets(["linux"], ["3.12", "3.13"])]
    ['linux, Python 3.12', 'linux, Python 3.13']
    """
    for name in systems:
        if name not in SYSTEMS:
            raise BadInput(f'unknown platform "{name}"; choose {", ".join(SYSTEMS)}')
    for python in pythons:
        version = _PYTHON.fullmatch(python)
        if version is None or int(version[1]) < _OLDEST:
            raise BadInput(f'"{python}" is no Python for kvmdbg: name one from 3.{_OLDEST} on')
    return [
        Target(name, python) for name in dict.fromkeys(systems) for python in dict.fromkeys(pythons)
    ]


def fill(
    folder: Path, wanted: Sequence[Target], own: Path | None, progress: Callable[[str], None]
) -> Iterator[Bundled]:
    """Put the wheels for these targets into a new folder, one target after the other.

    ``own`` is kvmdbg's wheel; None looks where this one comes from. A target for
    which a wheel is missing leaves nothing in the folder. Raises BadInput, ToolMissing.
    """
    _check_folder(folder)
    with tempfile.TemporaryDirectory(prefix="kvmdbg-") as work:
        progress("kvmdbg's own wheel ...")
        wheel = _own_wheel(own, Path(work))
        made = []
        for number, target in enumerate(wanted):
            progress(f"{target} ... ({number + 1} of {len(wanted)})")
            place = Path(work, str(number))
            place.mkdir()
            bundled = _fetched(target, wheel, place, folder)
            made += [target] * bundled.complete
            yield bundled
        if made:
            _describe(folder, made)


def _check_folder(folder: Path) -> None:
    """BadInput for one that has something in it, or in which git would see the wheels."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{str(folder)!r} is not empty; name a new folder")
    whole = folder.resolve()
    checkout = next((above for above in whole.parents if (above / ".git").exists()), None)
    if checkout is not None and not _ignored(whole, checkout):
        raise BadInput(
            f"{str(folder)!r} is inside the git checkout {str(checkout)!r}, where the wheels could "
            "be committed; name a folder outside of it"
        )


def _ignored(path: Path, checkout: Path) -> bool:
    command = ["git", "-C", str(checkout), "check-ignore", "-q", str(path / SUMS)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _own_wheel(own: Path | None, work: Path) -> Path:
    """kvmdbg's wheel: the one that was named, or one from its sources, in ``work``."""
    if own is not None:
        return whole(own, "kvmdbg").resolve()
    try:
        _pip("wheel", "--no-deps", f"--wheel-dir={work}", str(_sources()))
    except _NotFound as error:
        raise BadInput(f"no wheel can be made of {str(_sources())!r}: {error}") from None
    return next(work.glob("kvmdbg-*.whl"))


def _sources() -> Path:
    """The checkout that this package runs from, or what pip says it was installed from."""
    places = [Path(__file__).parents[2], *_installed_from()]
    for place in places:
        if (place.suffix == ".whl" and place.is_file()) or (place / "pyproject.toml").is_file():
            return place
    raise BadInput(
        "neither the sources nor the wheel from which this kvmdbg was installed are there now; "
        "give the wheel: --wheel kvmdbg-....whl"
    )


def _installed_from() -> list[Path]:
    """A local file or folder, if it was one (PEP 610)."""
    try:
        text = metadata.distribution("kvmdbg").read_text("direct_url.json") or "{}"
    except metadata.PackageNotFoundError:
        return []
    url = urlsplit(json.loads(text).get("url", ""))
    return [Path(url2pathname(url.path))] if url.scheme == "file" else []


def _fetched(target: Target, wheel: Path, place: Path, folder: Path) -> Bundled:
    """One target's wheels, in the folder if they are complete."""
    try:
        _download([f"{wheel}[{EXTRA}]"], target, place)
        for _ in range(_ROUNDS):
            more = lacking(place, target, "kvmdbg", EXTRA)
            if not more:
                break
            _download(more, target, place)
        else:
            raise _NotFound(f"pip does not find {', '.join(more)}")
    except _NotFound as error:
        return Bundled(target, 0, 0, str(error))
    found = needed(place, target, "kvmdbg", EXTRA)
    folder.mkdir(parents=True, exist_ok=True)
    for path in found:
        shutil.copy(path, folder / path.name)
    return Bundled(target, len(found), sum(path.stat().st_size for path in found))


def _download(requirements: Sequence[str], target: Target, place: Path) -> None:
    """Wheels for a target; what is there already keeps its version."""
    constraints = place.with_suffix(".txt")
    pins = [path.name.split("-")[:2] for path in sorted(place.glob("*.whl"))]
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in pins))
    tags = [word for tag in SYSTEMS[target.system].tags for word in ("--platform", tag)]
    _pip(
        "download",
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={target.python}",
        *tags,
        f"--find-links={place}",
        f"--constraint={constraints}",
        f"--dest={place}",
        *requirements,
    )


def _pip(*words: str) -> None:
    """_NotFound with pip's reason in one line; ToolMissing without pip."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *words]
    with tempfile.TemporaryDirectory(prefix="kvmdbg-") as empty:
        run = subprocess.run(
            command, cwd=empty, capture_output=True, text=True, errors="replace", check=False
        )
    if run.returncode == 0:
        return
    if "No module named pip" in run.stderr:
        raise ToolMissing(f"pip is not installed; get it by: {sys.executable} -m ensurepip")
    if _NO_NETWORK.search(run.stderr + run.stdout):
        raise ToolMissing("the package index cannot be reached; a bundle is made with a network")
    without = _NO_WHEEL.search(run.stderr)
    if without:
        raise _NotFound(f"the package index has no wheel of {without[1]}")
    lines = [line for line in run.stderr.splitlines() if line.startswith("ERROR: ")] or ["ERROR: -"]
    raise _NotFound(f"pip says: {lines[0].removeprefix('ERROR: ')}")


def _describe(folder: Path, made: Sequence[Target]) -> None:
    """What students read, and the checksums of all files."""
    (folder / README).write_text(_readme(made), encoding="utf-8", newline="\r\n")
    lines = []
    for path in sorted(folder.iterdir()):
        if path.name != SUMS:
            lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    (folder / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")


def _readme(made: Sequence[Target]) -> str:
    """For each system a command to install and one to begin."""
    systems = dict.fromkeys(target.system for target in made)
    lines = [
        "kvmdbg without a network",
        "",
        "Open a terminal in this folder (on Windows: PowerShell) and give the two commands of your",
        "system. The first makes an environment in the folder kvmdbg-env of your home and changes",
        "nothing else; the second opens JupyterLab.",
    ]
    for system in systems:
        pythons = [target.python for target in made if target.system == system]
        one = SYSTEMS[system]
        lines += ["", f"{one.title}, Python {' or '.join(pythons)}:", ""]
        lines += [f"    {line}" for line in one.commands(pythons[-1])]
    lines += ["", f"Are the files whole?  sha256sum --check {SUMS}", ""]
    return "\n".join(lines)
