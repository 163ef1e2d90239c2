"""``kvmdbg lab build``: from the lecturer's notebook to the students'.

Must not know: what is taken out, or how.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

NAME: Final = "lab"
HELP: Final = "Make the students' version of a lab: no solutions, no hidden checks."
EXAMPLES: Final = (
    "kvmdbg lab build instructor.ipynb student.ipynb",
    "kvmdbg lab build instructor.ipynb student.ipynb --check    is it up to date?",
)
_STALE: Final = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``kvmdbg lab``."""
    room = parser.add_subparsers(metavar="ACTION", required=True)
    build = room.add_parser("build", help=HELP, description=HELP)
    build.add_argument("source", type=Path, help="the lecturer's notebook")
    build.add_argument("target", type=Path, help="the students' notebook, which is replaced")
    build.add_argument(
        "--check", action="store_true", help="write nothing; 1 if it is not the same"
    )


def run(args: argparse.Namespace) -> int:
    """0, or 1 if ``--check`` finds another file. Raises BadInput."""
    from ..errors import BadInput
    from ..lab import building, notebooks

    if args.source.resolve() == args.target.resolve():
        raise BadInput("the students' version cannot replace the lecturer's; name another file")
    made = building.student_version(notebooks.read(args.source))
    text = building.written(made)
    try:
        if args.check:
            return _STALE * (not args.target.exists() or args.target.read_text("utf-8") != text)
        args.target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {str(args.target)!r}: {error.strerror}") from None
    tasks = [one for cell in notebooks.code_cells(made) for one in cell.tasks]
    points = sum(points for _, points in tasks)
    sys.stdout.write(f"{args.target}: {len(tasks)} tasks, {points:g} points\n")
    return 0
