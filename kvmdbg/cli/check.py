"""``kvmdbg check``: submissions of a lab graded, each in kernels of its own, several at once.

Must not know: how one of them is graded.
"""

from __future__ import annotations

import argparse
import csv
import glob
import io
import json
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import BadInput

if TYPE_CHECKING:
    from ..lab.grading import Grade, Key
    from ..lab.kernels import Limits

NAME: Final = "check"
HELP: Final = "Grade submissions of a lab by the lecturer's own checks, or see a notebook run."
EXAMPLES: Final = (
    "kvmdbg check --lab instructor.ipynb submitted/*/lab.ipynb --jobs 2",
    'kvmdbg check --lab instructor.ipynb submitted/*/lab.ipynb --seed "{parent}" --json',
    "kvmdbg check --lab instructor.ipynb submitted/*/lab.ipynb --csv > points.csv",
    "kvmdbg check --lab instructor.ipynb instructor.ipynb    does the solution get all points?",
    "kvmdbg check walkthrough.ipynb                          does it run from top to bottom?",
)
STATUS: Final = {
    0: "all points everywhere, or the notebook ran",
    1: "not all points",
    3: "something died, ran out of its time or could not be checked",
}
_LESS: Final = 1
_UNGRADED: Final = 3
_INTERRUPTED: Final = 130


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``kvmdbg check``."""
    parser.add_argument(
        "notebooks",
        type=Path,
        nargs="+",
        metavar="NOTEBOOK",
        help="one, or many by a pattern with *",
    )
    parser.add_argument("--lab", type=Path, help="the lecturer's notebook, whose checks count")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one line for each check")
    output.add_argument(
        "--csv", action="store_true", help="one line for each notebook, for a spreadsheet"
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="seconds for each kernel (30), a cell a third"
    )
    parser.add_argument("--memory", type=int, default=1024, help="MiB for each kernel (1024)")
    parser.add_argument("--jobs", type=int, default=1, help="so many at once (1)")
    parser.add_argument(
        "--seed",
        default="",
        help="whose variant: {parent} and {stem} are the file's folder and name",
    )


def run(args: argparse.Namespace) -> int:
    """0: all points everywhere; 1: not all; 3: something died, timed out or was not checked.

    130 after Ctrl-C, which ends all kernels. Raises BadInput, ToolMissing.
    """
    from ..lab import grading, notebooks
    from ..lab.kernels import Limits, check_tools

    if args.jobs < 1 or not args.timeout > 0 or args.memory < 256:
        raise BadInput("--jobs is at least 1, --timeout more than 0, --memory at least 256")
    check_tools()
    key = None if args.lab is None else grading.key_of(notebooks.read(args.lab))
    limits = Limits(args.timeout, args.memory << 20)
    paths = [path for given in args.notebooks for path in _found(given)]
    checked, worst, written = 0, 0, _OUTPUTS["json" if args.json else "csv" if args.csv else "text"]
    if args.csv:
        sys.stdout.write(",".join(_COLUMNS) + "\n")
    try:
        with closing(_graded(paths, key, limits, args.seed, args.jobs)) as graded:
            for path, grade in graded:
                sys.stdout.write("".join(f"{line}\n" for line in written(path, grade)))
                sys.stdout.flush()
                checked, worst = checked + 1, max(worst, _status(grade))
    except KeyboardInterrupt:
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""
        told = f"{checked} of {len(paths)} were checked, the others have no result"
        print(f"{clear}kvmdbg: interrupted: {told}", file=sys.stderr)
        return _INTERRUPTED
    return worst


def _found(given: Path) -> list[Path]:
    """The shells of Windows leave ``*`` to the program. BadInput if it stands for no file."""
    if "*" not in str(given) or given.exists():
        return [given]
    paths = sorted(Path(name) for name in glob.glob(str(given)))
    if not paths:
        raise BadInput(f"there is no file like {str(given)!r}")
    return paths


def _status(grade: Grade) -> int:
    if grade.end != "done":
        return _UNGRADED
    return 0 if grade.passed else _LESS


def _graded(
    paths: Sequence[Path], key: Key | None, limits: Limits, seed: str, jobs: int
) -> Generator[tuple[Path, Grade], None, None]:
    """In the order in which they were named, with a line of progress on a terminal."""
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(_one, path, key, limits, seed): path for path in paths}
        try:
            yield from _counted(running)
        except BaseException:
            limits.ended.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _counted(running: dict[Future[Grade], Path]) -> Iterator[tuple[Path, Grade]]:
    live = sys.stderr.isatty()
    for number, (future, path) in enumerate(running.items(), 1):
        grade = future.result()
        if live:
            sys.stderr.write("\r\x1b[K")
        yield path, grade
        if live:
            sys.stderr.write(f"{number} of {len(running)} checked")
            sys.stderr.flush()
    if live:
        sys.stderr.write("\r\x1b[K")


def _one(path: Path, key: Key | None, limits: Limits, seed: str) -> Grade:
    """One file. A submission that is no notebook gets no points, and the others are graded."""
    from ..lab import grading, notebooks

    if key is None:
        return grading.watched(notebooks.read(path), limits)
    whose = seed.replace("{parent}", path.resolve().parent.name).replace("{stem}", path.stem)
    try:
        submission = notebooks.read(path)
    except BadInput as error:
        return grading.nothing(key, str(error))
    return grading.grade(submission, key, limits, whose)


def _json_lines(path: Path, grade: Grade) -> Iterable[str]:
    """One line for each check, and one for the whole."""
    for task in grade.tasks:
        for number, one in enumerate(task["checks"]):
            yield json.dumps({"notebook": str(path), "task": task["task"], "number": number, **one})
        if task["problem"]:
            told = {key: task[key] for key in ("task", "passed", "points", "of", "problem")}
            yield json.dumps({"notebook": str(path), **told})
    whole: dict[str, Any] = {
        "notebook": str(path),
        "passed": grade.passed,
        "points": grade.points,
        "of": grade.of,
        "end": grade.end,
        "problem": grade.problem,
        "errors": grade.errors,
        "seed": grade.seed,
        "seconds": round(grade.seconds, 2),
        "peak_mib": grade.peak >> 20,
    }
    yield json.dumps(whole)


def _text(path: Path, grade: Grade) -> Iterable[str]:
    from ..views.tables import printable

    points = f"{grade.points:g} of {grade.of:g} points, " if grade.of else ""
    yield f"{path}: {points}{grade.end}, {grade.seconds:.1f} s"
    if grade.problem:
        yield f"  {printable(grade.problem)}"
    yield from (f"  {printable(error)}" for error in grade.errors)
    for task in grade.tasks:
        yield f"  {task['task']}: {task['points']:g} of {task['of']:g}"
        if task["problem"]:
            yield f"    not all was checked: {printable(task['problem'])}"
        for one in task["checks"]:
            if not one["passed"]:
                yield f"    {printable(one['check'])}: {printable(one['message'])}"


def _csv(path: Path, grade: Grade) -> Iterable[str]:
    line = io.StringIO()
    words = (_plain(str(path)), _plain(grade.seed))
    cells = (*words, f"{grade.points:g}", f"{grade.of:g}", grade.end)
    csv.writer(line, lineterminator="").writerow(cells)
    yield line.getvalue()


def _plain(word: str) -> str:
    """A student's word, which no spreadsheet takes for a formula."""
    return f"'{word}" if word[:1] in tuple("=+-@") else word


_COLUMNS: Final = ("notebook", "seed", "points", "of", "end")
_OUTPUTS: Final = {"json": _json_lines, "csv": _csv, "text": _text}
