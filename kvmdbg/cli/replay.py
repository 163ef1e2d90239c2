"""``kvmdbg replay``: go the way of a recording again, and show where it ends or another moment.

Must not know: how a recording is kept, or the other commands.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from . import run as running

NAME: Final = "replay"
HELP: Final = "Make a recording's calls again, check that it ends alike, and show a moment of it."
EXAMPLES: Final = (
    "kvmdbg replay demo.kvmdbg                   its end, and every exit",
    "kvmdbg replay demo.kvmdbg --at 120          the moment before instruction 120",
    "kvmdbg replay demo.kvmdbg --at crash        a bookmark",
)
STATUS: Final = {0: "it goes the same way here"}


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``kvmdbg replay``."""
    parser.add_argument(
        "file", type=Path, help="a recording (vm.save, %%vm save, kvmdbg run --save)"
    )
    parser.add_argument("--at", help="a value of the instruction clock, or a bookmark")
    parser.add_argument("--exits", type=int, default=20, help="show the last so many exits (20)")


def run(args: argparse.Namespace) -> int:
    """0 if the recording goes the same way here. Raises RecordingError, BadInput, UnknownName."""
    from ..debugger.vm import Vm
    from ..views import text

    with Vm.open(args.file) as vm:
        labels = {address: name for name, address in reversed(list(vm.symbols.items()))}
        parts = [text.timeline(vm.timeline, args.exits, labels)] if args.exits > 0 else []
        stop = vm.last_stop
        if args.at is not None:
            stop = vm.goto(_moment(args.at))
        if stop is not None:
            parts.append(running.shown(vm, stop))
        parts.append(
            f"the recording goes from clock 0 to {vm.end:,}, and ends here as it did there"
        )
        sys.stdout.write("\n\n".join(parts) + "\n")
    return 0


def _moment(word: str) -> int | str:
    """A clock if it is a number, else a bookmark's name."""
    try:
        return int(word, 0)
    except ValueError:
        return word
