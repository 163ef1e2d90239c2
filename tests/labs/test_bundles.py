"""``kvmdbg lab bundle``: wheels for a class, for systems that are not this one.

pip is the real one, without an index: it finds small wheels that are made here. That a bundle of
the real ones installs is shown by test_teaching.py. Must not know: the real dependencies.
"""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from kvmdbg.cli import main
from kvmdbg.lab import bundles
from kvmdbg.lab.bundles import SUMS

WINDOWS = "win_amd64"


def wheel(folder: Path, name: str, *requires: str, tag: str = "py3-none-any") -> Path:
    """A wheel with nothing in it but what it needs."""
    told = [f"Requires-Dist: {one}\n" for one in requires]
    extra = ["Provides-Extra: lab\n"] if any("extra" in one for one in requires) else []
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        place = f"{name}-1.0.dist-info"
        archive.writestr(f"{place}/METADATA", "".join([head, *told, *extra]))
        archive.writestr(f"{place}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")
        archive.writestr(f"{place}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip finds; it needs no network for it."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def bundle(own: Path, *platforms: str) -> int:
    words = [word for name in platforms for word in ("--platform", name)]
    return main.main(["lab", "bundle", "kit", "--python", "3.12", "--wheel", str(own), *words])


def names(folder: str = "kit") -> set[str]:
    return {path.name.split("-")[0] for path in Path(folder).glob("*.whl")}


def test_a_bundle_has_what_its_own_system_and_python_need_and_only_that(index: Path) -> None:
    wheel(index, "onwindows", "further")
    wheel(index, "further")
    wheel(index, "elsewhere")
    wheel(index, "newer")
    wheel(index, "tools")
    own = wheel(
        index.parent,
        "kvmdbg",
        'onwindows; sys_platform == "win32"',
        'elsewhere; sys_platform != "win32"',
        'newer; python_version >= "3.12"',
        'tools; extra == "lab"',
    )
    assert bundle(own, "windows") == 0
    assert names() == {"kvmdbg", "onwindows", "further", "newer", "tools"}


def test_each_system_gets_its_own_wheels_and_one_without_is_told_and_left_out(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for tag in (WINDOWS, "macosx_11_0_arm64"):
        wheel(index, "fast", tag=f"cp312-cp312-{tag}")
    own = wheel(index.parent, "kvmdbg", "fast")
    assert bundle(own, "linux", "windows") == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first == "linux, Python 3.12: nothing, the package index has no wheel of fast"
    assert second.startswith("windows, Python 3.12: 2 wheels, ")
    assert [path.stem.split("-")[-1] for path in Path("kit").glob("fast-*.whl")] == [WINDOWS]
    readme = (Path("kit") / bundles.README).read_text()
    assert "Windows" in readme
    assert "Linux" not in readme


def test_a_folder_in_a_git_checkout_is_refused(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "-q", "."], check=True)
    assert bundle(wheel(index.parent, "kvmdbg"), "linux") == 2
    assert "is inside the git checkout" in capsys.readouterr().err
    assert not Path("kit").exists()


def test_in_a_folder_that_git_ignores_the_checksums_are_those_of_all_other_files(
    index: Path,
) -> None:
    subprocess.run(["git", "init", "-q", "."], check=True)
    Path(".gitignore").write_text("/kit/\n")
    assert bundle(wheel(index.parent, "kvmdbg"), "linux") == 0
    told = dict(
        reversed(line.split("  ")) for line in (Path("kit") / SUMS).read_text().splitlines()
    )
    files = [path for path in Path("kit").iterdir() if path.name != SUMS]
    assert told == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_without_a_network_that_is_what_is_said(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "NO_INDEX": "0",
        "INDEX_URL": "http://127.0.0.1:9/",
        "RETRIES": "1",
    }.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    assert bundle(wheel(index.parent, "kvmdbg", "fast"), "linux") == 2
    assert "the package index cannot be reached" in capsys.readouterr().err


def test_an_installed_kvmdbg_without_sources_asks_for_its_wheel(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundles, "__file__", str(index / "kvmdbg" / "lab" / "bundles.py"))
    monkeypatch.setattr(bundles, "_installed_from", lambda: [index / "kvmdbg-1.0-gone.whl"])
    assert main.main(["lab", "bundle", "kit", "--platform", "linux"]) == 2
    assert "--wheel kvmdbg-" in capsys.readouterr().err


def test_the_file_that_pip_installed_from_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    told = '{"url": "file:///tmp/my%20wheels/kvmdbg-0.1.0-py3-none-any.whl"}'
    found = SimpleNamespace(read_text=lambda name: told if name == "direct_url.json" else None)
    monkeypatch.setattr(bundles.metadata, "distribution", lambda name: found)
    assert bundles._installed_from() == [Path("/tmp/my wheels/kvmdbg-0.1.0-py3-none-any.whl")]


def test_another_packages_wheel_is_refused(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bundle(wheel(index.parent, "other"), "linux") == 2
    assert "is a wheel of other, not of kvmdbg" in capsys.readouterr().err


def test_the_usual_systems_are_those_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    main.main(["lab", "bundle", "--help"])
    page = " ".join(capsys.readouterr().out.split())
    assert ", ".join(bundles.USUAL) in page
