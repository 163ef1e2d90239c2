"""Widgets as a kernel makes them: one program each, small state, and a still twin in the output."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ipywidgets import Widget

from kvmdbg import Vm, assemble
from kvmdbg.jupyter.live.hub import Hub
from kvmdbg.jupyter.widgets import esm
from kvmdbg.jupyter.widgets.views import KINDS, Line, LiveView

FILES = sorted(esm.FOLDER.glob("*.js"))
MAIN = ("machine.js", "timeline.js", "debugregs.js")
NAME = re.compile(r"^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)
MOST_BYTES = 200_000


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm() as made:
        made.load(assemble("start: inc rax\ndec rbx\nhlt"))
        made.bp("start", kind="hw")
        made.step(2)
        yield made


@pytest.fixture
def line(vm: Vm) -> Iterator[Line]:
    hub = Hub(lambda: vm)
    made = Line(hub)
    yield made
    made.close()
    hub.close()
    Widget.close_all()


@pytest.fixture(params=sorted(KINDS))
def view(request: pytest.FixtureRequest, line: Line) -> LiveView:
    line.hub.refresh()
    return KINDS[request.param](line)


def test_top_level_names_are_unique_in_the_whole_folder() -> None:
    names = Counter(name for file in FILES for name in NAME.findall(file.read_text()))
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("name", MAIN)
def test_a_widgets_program_is_one_module_that_imports_nothing(name: str) -> None:
    text = esm.script(name)
    assert not re.search(r"^\s*import\b", text, re.MULTILINE)
    assert re.findall(r"^export .*", text, re.MULTILINE) == [
        line for line in text.splitlines() if line.startswith("export default ")
    ]
    assert text.count("export default ") == 1


@pytest.mark.parametrize("name", MAIN)
def test_a_widgets_program_is_read_by_a_real_engine(name: str, tmp_path: Path) -> None:
    file = tmp_path / "widget.mjs"
    file.write_text(esm.script(name))
    checked = subprocess.run(["node", "--check", file], capture_output=True, text=True, check=False)
    assert checked.stderr == ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_file_sets_html_or_runs_text(file: Path) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function"
    assert re.findall(forbidden, file.read_text()) == []


def test_an_output_holds_the_view_a_picture_with_words_and_a_text(view: LiveView) -> None:
    data, metadata = view._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == view.model_id
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert len(metadata["image/png"]["alt"]) > 20
    assert len(data["text/plain"].splitlines()) > 1


def test_an_output_says_that_it_has_a_still(view: LiveView) -> None:
    data, _ = view._repr_mimebundle_()
    assert data["application/vnd.kvmdbg.view+json"] == {"v": 1, "kind": view.kind}


def test_the_still_shows_the_moment_of_its_display(view: LiveView, vm: Vm) -> None:
    before = view._repr_mimebundle_()[0]["text/plain"]
    vm.bp("start", access="w", length=1)
    vm.step()
    assert view._repr_mimebundle_()[0]["text/plain"] != before


def state(view: LiveView) -> dict[str, Any]:
    return dict(view.get_state())


def test_a_view_adds_little_to_a_saved_notebook(view: LiveView) -> None:
    data, _ = view._repr_mimebundle_()
    saved = json.dumps(data) + json.dumps(state(view), default=str)
    assert len(saved) < MOST_BYTES


def test_what_grows_with_the_guest_is_no_part_of_a_views_state(view: LiveView, vm: Vm) -> None:
    view._repr_mimebundle_()
    keys = set(state(view))
    small = {key: len(json.dumps(value, default=str)) for key, value in state(view).items()}
    vm.step(1)
    for _ in range(50):
        vm.back()
        vm.step()
    now = {key: len(json.dumps(value, default=str)) for key, value in state(view).items()}
    assert set(now) == keys
    assert now == small


def test_a_view_of_nothing_says_how_to_begin() -> None:
    hub = Hub(lambda: None)
    line = Line(hub)
    data, _ = KINDS["machine"](line)._repr_mimebundle_()
    assert "%%asm" in data["text/plain"]
    line.close()
    hub.close()


def test_closing_all_widgets_lets_a_new_line_be_made(line: Line) -> None:
    assert line.alive
    Widget.close_all()
    assert not line.alive
