"""``kvmdbg COMMAND``: find the command, carry it out, and say in one line what went wrong.

Exit status: what the command gives back; 2 for what the user or the host does wrong, 130 after
Ctrl-C. Must not know: what a command does.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast

from ..errors import KvmdbgError
from ..version import __version__
from . import helping

_MODULES: Final = ("run", "replay", "check", "lab", "doctor", "compare")
"""In the order of the help; one that is not there is no command."""

_WRONG, _INTERRUPTED, _PIPE_CLOSED = 2, 130, 141


class Command(Protocol):
    """What a module of this package offers."""

    NAME: str
    HELP: str
    EXAMPLES: tuple[str, ...]
    STATUS: Mapping[int, str]

    def configure(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, args: argparse.Namespace) -> int: ...


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out ``argv`` (the process's own if None); the exit status."""
    try:
        args = _parser(_commands()).parse_args(argv)
    except SystemExit as end:  # --help, --version, or a usage that argparse has told to stderr
        return int(end.code or 0)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except KvmdbgError as error:
        print(f"kvmdbg: {error}", file=sys.stderr)
        return _WRONG
    except KeyboardInterrupt:
        print("kvmdbg: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has gone. The interpreter flushes once more at its end, to nowhere then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return status


def _commands() -> list[Command]:
    names = [name for name in _MODULES if importlib.util.find_spec(f"{__package__}.{name}")]
    return [cast(Command, importlib.import_module(f".{name}", __package__)) for name in names]


def _parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    examples = [command.EXAMPLES[0].split("  ")[0] for command in commands]
    parser = argparse.ArgumentParser(
        prog="kvmdbg",
        description="Watch how an x86 processor is debugged. In a notebook: %load_ext kvmdbg",
        epilog=helping.listed([*examples, "kvmdbg COMMAND --help"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kvmdbg {__version__}")
    room = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in commands:
        _add(room, command)
    return parser


def _add(room: Any, command: Command) -> None:
    parser = helping.add(room, command.NAME, command.HELP, command.EXAMPLES, command.STATUS)
    command.configure(parser)
    parser.set_defaults(run=command.run)
