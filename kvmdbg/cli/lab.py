"""``kvmdbg lab``: a lab to begin with, the students' version of it, and wheels for a class.

Must not know: what is taken out of a notebook, or how wheels are found.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from . import helping

NAME: Final = "lab"
HELP: Final = "Begin a lab, make the students' version of it, or wheels to install it offline."
EXAMPLES: Final = (
    "kvmdbg lab new sums                                       a lab to begin with, in sums/",
    "kvmdbg lab build sums/instructor.ipynb sums/student.ipynb",
    "kvmdbg lab build instructor.ipynb student.ipynb --check   is it up to date?",
    "kvmdbg lab bundle kit --python 3.12 --platform windows    to install without a network",
)
STATUS: Final = {
    0: "made, or up to date",
    1: "build --check: another file; bundle: something is missing in it",
}
_STALE: Final = 1
_MISSING: Final = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``kvmdbg lab``."""
    room = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _new(_action(room, "new", new, "Write a small lab to begin with, whole and graded as it is."))
    _build(
        _action(room, "build", build, "Make the students' version: no solutions or hidden checks.")
    )
    words = "Put kvmdbg and all that it needs into a folder, to install without a network."
    _bundle(_action(room, "bundle", bundle, words))


def _action(room: Any, name: str, run: Any, words: str) -> argparse.ArgumentParser:
    examples = [line for line in EXAMPLES if line.startswith(f"kvmdbg lab {name}")]
    parser = helping.add(room, name, words, examples, STATUS)
    parser.set_defaults(action=run)
    return parser


def _new(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="letters, digits, - and _; the new folder is called so too")


def _build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="the lecturer's notebook")
    parser.add_argument("target", type=Path, help="the students' notebook, which is replaced")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; status 1 if it is not the same"
    )


def _bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="a new folder, outside of any git checkout")
    parser.add_argument(
        "--python", action="append", metavar="3.N", help="the students' Python (this one's version)"
    )
    parser.add_argument(
        "--platform",
        action="append",
        metavar="NAME",
        help="windows, macos-arm64, macos-x86_64, linux or linux-arm64 (all but the last)",
    )
    parser.add_argument(
        "--wheel", type=Path, help="kvmdbg's own wheel, if that from which it was installed is gone"
    )


def run(args: argparse.Namespace) -> int:
    """The action's own status. Raises BadInput, ToolMissing."""
    status: int = args.action(args)
    return status


def new(args: argparse.Namespace) -> int:
    """Writes NAME/instructor.ipynb, and over nothing."""
    from ..errors import BadInput
    from ..lab import building, starting

    text = building.written(starting.starter(args.name))
    path = Path(args.name, "instructor.ipynb")
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise BadInput(f"{str(path)!r} is there already; choose another name") from None
    except OSError as error:
        raise BadInput(f"cannot write {str(path)!r}: {error.strerror}") from None
    sys.stdout.write(f"{path}: a lab of 6 points\n")
    sys.stdout.write(f"open it:  jupyter lab {path}\n")
    sys.stdout.write(f"try it:   kvmdbg check --lab {path} {path}\n")
    return 0


def build(args: argparse.Namespace) -> int:
    """0, or 1 if ``--check`` finds another file."""
    from ..errors import BadInput
    from ..lab import building, notebooks

    if args.source.resolve() == args.target.resolve():
        raise BadInput("the students' version cannot replace the lecturer's; name another file")
    source = notebooks.read(args.source)
    if building.is_students(source):
        raise BadInput("this is a students' version already; it is made of the lecturer's notebook")
    made = building.student_version(source)
    text = building.written(made)
    try:
        if args.check:
            old = args.target.read_bytes() if args.target.exists() else b""
            return _STALE * (old != text.encode())
        args.target.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise BadInput(f"cannot use {str(args.target)!r}: {error.strerror}") from None
    tasks = [one for cell in notebooks.code_cells(made) for one in cell.tasks]
    points = sum(points for _, points in tasks)
    sys.stdout.write(f"{args.target}: {len(tasks)} tasks, {points:g} points\n")
    return 0


def bundle(args: argparse.Namespace) -> int:
    """0 if all that was asked for is in the folder, 1 if wheels are missing for some."""
    from ..lab import bundles

    wanted = bundles.targets(args.platform or bundles.USUAL, args.python or [bundles.here()])
    missing = False
    for told in bundles.fill(args.folder, wanted, args.wheel, _progress):
        _progress("")
        missing |= not told.complete
        sys.stdout.write(f"{told}\n")
        sys.stdout.flush()
    return _MISSING if missing else 0


def _progress(words: str) -> None:
    """What is being done, in a line that goes away; on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{words}")
        sys.stderr.flush()
