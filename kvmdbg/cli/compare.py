"""``kvmdbg compare``: a program file on two engines in lock-step, up to the first divergence.

Must not know: how a comparison is made, or the other commands.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .loading import load, number

if TYPE_CHECKING:
    from ..debugger.divergence import Comparison

NAME: Final = "compare"
HELP: Final = "Run a program on two engines in lock-step and show where they part."
EXAMPLES: Final = (
    "kvmdbg compare demo.s                       unicorn against this host's KVM",
    "kvmdbg compare demo.s unicorn unicorn:svm   what differs on AMD's processors",
    "kvmdbg compare boot.bin --mode real --at 0x7c00 --by exit",
)
STATUS: Final = {0: "no divergence was found", 1: "the two sides part"}
_RAM: Final = 16 * 2**20
_EQUAL, _PARTED, _INTERRUPTED = 0, 1, 130


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``kvmdbg compare``."""
    parser.add_argument("file", type=Path, help="assembler text (.s, .asm) or a flat binary")
    parser.add_argument("a", nargs="?", default="unicorn", help="unicorn, unicorn:PROFILE or kvm")
    parser.add_argument("b", nargs="?", default="kvm", help="the other side")
    modes = ("real", "protected", "long")
    parser.add_argument("--mode", choices=modes, default="long", help="the processor's mode")
    parser.add_argument("--at", type=number, help="where the first byte goes (0x8000)")
    parser.add_argument("--steps", type=number, default=100_000, help="compare at most so many")
    parser.add_argument(
        "--by", choices=("instruction", "exit"), default="instruction", help="the unit of a step"
    )


def run(args: argparse.Namespace) -> int:
    """0: no divergence; 1: the two sides part; 130: Ctrl-C. Errors are KvmdbgError's."""
    from ..debugger.comparing import compare_vm
    from ..debugger.vm import Vm
    from ..views import text
    from ..views.comparison import comparison

    with Vm(mode=args.mode, ram=_RAM) as vm:
        load(vm, args.file, args.mode, args.at)
        found = compare_vm(vm, args.a, args.b, args.steps, args.by)
        labels = {address: name for name, address in reversed(list(vm.symbols.items()))}
        sys.stdout.write(text.render(comparison(found, labels)) + "\n")
    return _status(found)


def _status(found: Comparison) -> int:
    if not found.equal:
        return _PARTED
    return _INTERRUPTED if found.ended == "interrupted" else _EQUAL
