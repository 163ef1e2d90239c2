"""Wheels of other systems, read: what they need there, and what of that is not in a folder.

Must not know: where wheels come from.
"""

from __future__ import annotations

import email.parser
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import BadInput

if TYPE_CHECKING:
    from packaging.requirements import Requirement


@dataclass(frozen=True)
class System:
    """A kind of computer: how wheels call it (platform tags), and what conditions in them ask."""

    title: str
    tags: tuple[str, ...]
    os_name: str
    sys_platform: str
    platform_system: str
    platform_machine: str

    def commands(self, python: str) -> tuple[str, str]:
        """One to install from the folder that the shell is in, one to begin."""
        if self.os_name == "nt":
            env = r'"$HOME\kvmdbg-env'
            make = f'py -{python} -m venv {env}"; & {env}\\Scripts\\python" -m pip install'
            return f"{make} {_FROM_HERE}", f'& {env}\\Scripts\\jupyter" lab'
        make = f"python{python} -m venv ~/kvmdbg-env && ~/kvmdbg-env/bin/python -m pip install"
        return f"{make} {_FROM_HERE}", "~/kvmdbg-env/bin/jupyter lab"


_FROM_HERE: Final = '--no-index --find-links . "kvmdbg[lab]"'
_GLIBC: Final = 28


def _linux(machine: str) -> System:
    tags = (f"manylinux_2_{minor}_{machine}" for minor in range(_GLIBC, 16, -1))
    title = f"Linux on {machine} (glibc 2.{_GLIBC} or newer)"
    return System(title, (*tags, f"manylinux2014_{machine}"), "posix", "linux", "Linux", machine)


def _mac(machine: str, what: str) -> System:
    tags = (f"macosx_12_0_{machine}",)
    return System(f"macOS 12 or newer, {what}", tags, "posix", "darwin", "Darwin", machine)


SYSTEMS: Final = {
    "windows": System("Windows on x86-64", ("win_amd64",), "nt", "win32", "Windows", "AMD64"),
    "macos-arm64": _mac("arm64", "Apple's processors"),
    "macos-x86_64": _mac("x86_64", "Intel's processors"),
    "linux": _linux("x86_64"),
    "linux-arm64": _linux("aarch64"),
}
"""By the names that a lecturer says."""


@dataclass(frozen=True)
class Target:
    """For whom wheels are: a name of SYSTEMS, and a Python such as ``3.12``."""

    system: str
    python: str

    def __str__(self) -> str:
        return f"{self.system}, Python {self.python}"

    @property
    def markers(self) -> dict[str, str]:
        """What conditions ask there (PEP 508), of CPython's first patch."""
        system = SYSTEMS[self.system]
        return {
            "os_name": system.os_name,
            "sys_platform": system.sys_platform,
            "platform_system": system.platform_system,
            "platform_machine": system.platform_machine,
            "platform_release": "",
            "platform_version": "",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
        }


@dataclass(frozen=True)
class _Wheel:
    path: Path
    name: str
    version: str
    requires: tuple[Requirement, ...]


def lacking(folder: Path, target: Target, root: str, extra: str) -> list[str]:
    """Requirements of ``root[extra]``, near or far, that no wheel of the folder fulfils there."""
    return sorted(_walked(folder, target, root, extra)[1])


def needed(folder: Path, target: Target, root: str, extra: str) -> list[Path]:
    """The wheels of the folder that ``root[extra]`` needs there, near or far, itself included."""
    return sorted(_walked(folder, target, root, extra)[0])


def whole(path: Path, name: str) -> Path:
    """The same path; BadInput if there is no wheel of that name."""
    wheel = _read(path)
    if wheel.name != name:
        raise BadInput(f"{path.name} is a wheel of {wheel.name}, not of {name}")
    return path


def _walked(folder: Path, target: Target, root: str, extra: str) -> tuple[set[Path], set[str]]:
    from packaging.utils import canonicalize_name

    wheels = {wheel.name: wheel for wheel in map(_read, sorted(folder.glob("*.whl")))}
    found: set[Path] = set()
    missing: set[str] = set()
    seen: set[tuple[str, str]] = set()
    todo = [(root, ""), (root, extra)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found.add(wheels[name].path)
        for requirement in _asked(wheels[name], target, extra):
            other = canonicalize_name(requirement.name)
            if not _fulfilled(requirement, wheels.get(other)):
                missing.add(_plain(requirement))
                continue
            todo += [(other, ""), *((other, one) for one in requirement.extras)]
    return found, missing


def _asked(wheel: _Wheel, target: Target, extra: str) -> list[Requirement]:
    environment = {**target.markers, "extra": extra}
    return [one for one in wheel.requires if one.marker is None or one.marker.evaluate(environment)]


def _fulfilled(requirement: Requirement, wheel: _Wheel | None) -> bool:
    return wheel is not None and requirement.specifier.contains(wheel.version, prereleases=True)


def _plain(requirement: Requirement) -> str:
    """Without its condition, which pip would ask of this system."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _read(path: Path) -> _Wheel:
    """A wheel's own description; BadInput if it has none."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    try:
        with zipfile.ZipFile(path) as archive:
            (member,) = (
                name
                for name in archive.namelist()
                if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
            )
            text = archive.read(member).decode("utf-8")
        told = email.parser.Parser().parsestr(text, headersonly=True)
        requires = tuple(map(Requirement, told.get_all("Requires-Dist", [])))
        return _Wheel(path, canonicalize_name(told["Name"]), told["Version"], requires)
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (ValueError, KeyError, zipfile.BadZipFile, InvalidRequirement) as error:
        raise BadInput(f"{path.name} is no wheel: {error}") from None
