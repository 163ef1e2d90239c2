"""A widget's program for the browser: one text, made of the files that it imports.

A widget travels as one ES module without a build step, while its source is several files. Their
relative imports are resolved here by writing each file once, before those that need it; top-level
names are therefore unique in the whole folder. Must not know: what the files do.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "esm"

_IMPORT: Final = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=(?:async )?(?:function|const|let|class)\b)", re.MULTILINE)
_COMMENT: Final = re.compile(
    r"^[ \t]*/\*(?:(?!\*/).)*\*/[ \t]*\n|^[ \t]*//[^\n]*\n", re.DOTALL | re.MULTILINE
)
"""Comments that have lines of their own."""


@cache
def script(name: str) -> str:
    """The ES module of a widget, such as ``timeline.js``."""
    return "\n".join(_plain(file) for file in _with_imports(name))


@cache
def style(*names: str) -> str:
    """Style sheets one after the other."""
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)


def _with_imports(name: str) -> list[str]:
    """The files that a file needs, each before those that need it, and itself at the end."""
    order: dict[str, None] = {}

    def visit(file: str) -> None:
        if file not in order:
            for needed in _IMPORT.findall(_read(file)):
                visit(needed)
            order[file] = None

    visit(name)
    return list(order)


def _plain(name: str) -> str:
    """A file without its imports, exports of names, and comments."""
    text = _IMPORT.sub("", _read(name))
    return _EXPORT.sub("", _COMMENT.sub("", text)).strip() + "\n"


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
