"""``%vm export KIND [FILE]``: the guest in a shape that others can read, one writer per kind.

Must not know: IPython, or what stands in an export.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..debugger import export_c
from ..errors import BadInput
from .arguments import Arguments, positive, unknown
from .display import Shown, sentences

if TYPE_CHECKING:
    from ..debugger.vm import Vm

_EXITS = 16


class Kind(NamedTuple):
    """How an export is written, how one is known again, and what to do with it."""

    write: Callable[[Vm, Arguments], str]
    is_ours: Callable[[str], bool]
    then: Callable[[str], str]


def _c(vm: Vm, args: Arguments) -> str:
    return vm.export_c(args.value("--exits", positive) or _EXITS)


def _compile(file: str) -> str:
    return f"gcc -std=c11 -Wall -Wextra -o guest {file} && ./guest"


KINDS: dict[str, Kind] = {"c": Kind(_c, export_c.is_ours, _compile)}
"""The kinds that ``commands.EXPORTS`` names."""


def export(vm: Vm, args: Arguments) -> Shown:
    """The text itself, or where it was written. A file that is no such export is left alone."""
    name, *rest = args.words
    if name not in KINDS:
        raise unknown("kind of export", name, KINDS)
    kind = KINDS[name]
    if not rest:
        text = kind.write(vm, args)
        return Shown(text, text)
    path = Path(rest[0]).expanduser()
    _check_free(path, kind)
    text = kind.write(vm, args)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None
    return sentences(path, [f"{path}: {len(text):,} bytes; next: {kind.then(rest[0])}"])


def _check_free(path: Path, kind: Kind) -> None:
    """BadInput for a file of somebody else's."""
    try:
        ours = kind.is_ours(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        ours = False
    if not ours:
        raise BadInput(f"{path} is there already and is no export; choose another name")
