"""Several source files become one ES module, and lose nothing but comments on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmdbg.jupyter.widgets import esm


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(esm, "FOLDER", tmp_path)
    return tmp_path


def plain(folder: Path, text: str) -> str:
    (folder / "a.js").write_text(text)
    return esm._plain("a.js")


def test_a_type_in_front_of_an_expression_takes_no_code_with_it(folder: Path) -> None:
    code = "const a =\n  /** @type {any} */ (b);\nconst c = 1;\n/** @type {any} */\nlet d = 2;\n"
    assert plain(folder, code) == (
        "const a =\n  /** @type {any} */ (b);\nconst c = 1;\nlet d = 2;\n"
    )


def test_comments_on_lines_of_their_own_are_left_out(folder: Path) -> None:
    assert plain(folder, "/**\n * What it is.\n */\n// why\nexport function f() {}\n") == (
        "function f() {}\n"
    )
