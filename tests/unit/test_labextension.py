"""The committed bundle for JupyterLab fits the package that ships it.

Whether it is what its sources give is checked where node is (.ci/frontend). Must not import
JupyterLab.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import kvmdbg

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "kvmdbg" / "labextension"


def package() -> Any:
    return json.loads((BUNDLE / "package.json").read_text())


def wheel() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
        "targets"
    ]["wheel"]


def test_the_bundle_has_the_version_of_the_package() -> None:
    assert package()["version"] == kvmdbg.__version__


def test_the_bundle_has_the_file_that_jupyterlab_loads_first() -> None:
    assert (BUNDLE / package()["jupyterlab"]["_build"]["load"]).is_file()


def test_the_bundle_has_the_settings_that_its_sources_have() -> None:
    settings = (ROOT / "labextension" / "schema" / "plugin.json").read_text()
    assert (BUNDLE / "schemas" / "kvmdbg-lab" / "plugin.json").read_text() == settings


def test_the_bundle_names_the_licence_of_each_package_in_it() -> None:
    licences = json.loads((BUNDLE / "static" / "third-party-licenses.json").read_text())
    notice = (ROOT / "NOTICE").read_text()
    assert [p["name"] for p in licences["packages"] if p["name"] not in notice] == []


def test_a_wheel_has_the_bundle_once_where_jupyterlab_looks() -> None:
    places = wheel()["shared-data"]
    assert places["kvmdbg/labextension"] == f"share/jupyter/labextensions/{package()['name']}"
    assert wheel()["exclude"] == ["kvmdbg/labextension"]


def test_jupyterlab_is_told_which_package_brings_the_extension() -> None:
    install = json.loads((ROOT / "labextension" / "install.json").read_text())
    assert install["packageName"] == "kvmdbg"
