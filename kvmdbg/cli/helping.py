"""What every command's ``--help`` ends with: examples, and what its exit status means.

Must not know: any command.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

_EVERYWHERE: Final = {2: "a wrong call, or something is missing here", 130: "Ctrl-C"}


def add(
    room: Any, name: str, words: str, examples: Sequence[str], statuses: Mapping[int, str]
) -> argparse.ArgumentParser:
    """A parser in ``room`` (of ``add_subparsers``) with such an end to its help."""
    parser: argparse.ArgumentParser = room.add_parser(
        name,
        help=words,
        description=words,
        epilog=f"{listed(examples)}\n\n{_told({**statuses, **_EVERYWHERE})}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def listed(examples: Sequence[str]) -> str:
    """Examples as lines under a head.

    >>> print(listed(["kvmdbg doctor"]))
    examples:
      kvmdbg doctor
    """
    return "\n".join(["examples:", *(f"  {line}" for line in examples)])


def _told(statuses: Mapping[int, str]) -> str:
    lines = [f"  {status:<4} {words}" for status, words in sorted(statuses.items())]
    return "\n".join(["exit status:", *lines])
