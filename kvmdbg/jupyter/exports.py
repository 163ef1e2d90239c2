"""``%vm export KIND [FILE]``: the guest in a shape that others can read, one writer per kind.

Must not know: IPython, or what stands in an export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from ..debugger import export_c
from ..errors import BadInput
from .arguments import Arguments, positive, unknown
from .display import Shown, sentences

if TYPE_CHECKING:
    from ..debugger.vm import Vm

_EXITS: Final = 16
_HEAD: Final = 4096
"""Characters by whose look an export is known again."""


class Kind(NamedTuple):
    """How an export is written (in pieces), how one is known again, and what to do with it.

    ``takes`` are the options that it has; what ``needs`` a file is too long to be looked at.
    """

    write: Callable[[Vm, Arguments], Iterable[str]]
    is_ours: Callable[[str], bool]
    then: Callable[[str], str]
    takes: tuple[str, ...] = ()
    needs_file: bool = True


def _c(vm: Vm, args: Arguments) -> Iterable[str]:
    yield vm.export_c(args.value("--exits", positive) or _EXITS)


def _compile(file: str) -> str:
    return f"gcc -std=c11 -Wall -Wextra -o guest {file} && ./guest"


def _chrome(vm: Vm, _: Arguments) -> Iterable[str]:
    from ..history.export_chrome import chrome_trace

    return chrome_trace(vm.timeline.where(), vm.bookmarks, vm.label)


def _chrome_is_ours(text: str) -> bool:
    from ..history.export_chrome import is_ours

    return is_ours(text)


def _open_in_browser(file: str) -> str:
    return f"open {file} in chrome://tracing or in Perfetto"


def _tenet(vm: Vm, _: Arguments) -> Iterable[str]:
    from ..history.export_tenet import tenet_trace

    trace = vm.trace
    if not len(trace):
        raise BadInput("no instruction was traced yet; vm.record(True), then run the guest")
    here = trace.segments[-1].end == vm.vcpu.clock
    return tenet_trace(trace, vm.address("$rip") if here else None)


def _tenet_is_ours(text: str) -> bool:
    from ..history.export_tenet import is_ours

    return is_ours(text)


def _open_in_tenet(file: str) -> str:
    return f"open {file} with Tenet in a disassembler"


KINDS: dict[str, Kind] = {
    "c": Kind(_c, export_c.is_ours, _compile, takes=("--exits",), needs_file=False),
    "chrome": Kind(_chrome, _chrome_is_ours, _open_in_browser),
    "tenet": Kind(_tenet, _tenet_is_ours, _open_in_tenet),
}
"""The kinds that ``file_table.EXPORTS`` names."""


def export(vm: Vm, args: Arguments) -> Shown:
    """The text itself, or where it was written. A file that is no such export is left alone."""
    name, *rest = args.words
    if name not in KINDS:
        raise unknown("kind of export", name, KINDS)
    kind = KINDS[name]
    _check_options(name, kind, args)
    if not rest:
        if kind.needs_file:
            raise BadInput(f"something is missing: %vm export {name} FILE")
        text = "".join(kind.write(vm, args))
        return Shown(text, text)
    path = Path(rest[0]).expanduser()
    _check_free(path, kind)
    size = _write(path, kind.write(vm, args))
    return sentences(path, [f"{path}: {size:,} bytes; next: {kind.then(rest[0])}"])


def _check_options(name: str, kind: Kind, args: Arguments) -> None:
    for option in args.options:
        if option not in kind.takes:
            raise BadInput(f"{option} does not go with %vm export {name}")


def _write(path: Path, pieces: Iterable[str]) -> int:
    """How many bytes were written. What cannot be exported leaves no file."""
    rest = iter(pieces)
    first = next(rest, "")
    try:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(first)
            file.writelines(rest)
        return path.stat().st_size
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None


def _check_free(path: Path, kind: Kind) -> None:
    """BadInput for a file of somebody else's."""
    try:
        with path.open(encoding="utf-8") as file:
            ours = kind.is_ours(file.read(_HEAD))
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        ours = False
    if not ours:
        raise BadInput(f"{path} is there already and is no export; choose another name")
