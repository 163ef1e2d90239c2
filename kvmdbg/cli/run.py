"""``kvmdbg run``: a program file in a guest, within limits, and the stop it came to.

Must not know: how a guest is run, or the other commands.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .loading import load, mode_of, number

if TYPE_CHECKING:
    from ..debugger.stop import Stop
    from ..debugger.vm import Vm

NAME: Final = "run"
HELP: Final = "Run a program until it stops, and show the stop."
EXAMPLES: Final = (
    "kvmdbg run demo.s                           assembler text, in long mode",
    "kvmdbg run boot.img --instructions 50000    a boot sector, in real mode at 0x7c00",
    "kvmdbg run demo.s --mode real --save demo.kvmdbg",
)
STATUS: Final = {
    0: "the guest halted",
    1: "a triple fault, or it cannot go on",
    124: "it came to its limit of instructions or time",
}
_RAM: Final = 16 * 2**20
_STATUS: Final = {"halt": 0, "budget": 124, "timeout": 124, "interrupted": 130}
_CRASHED: Final = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``kvmdbg run``."""
    parser.add_argument("file", type=Path, help="assembler text (.s, .asm) or a flat binary")
    modes = ("real", "protected", "long")
    parser.add_argument("--mode", choices=modes, help="the processor's mode (long; real to boot)")
    parser.add_argument("--at", type=number, help="where the first byte goes (0x8000)")
    parser.add_argument("--engine", default="unicorn", help="unicorn or kvm")
    parser.add_argument("--instructions", type=number, help="at most so many (10,000,000)")
    parser.add_argument("--timeout", type=float, default=10.0, help="at most so many seconds (10)")
    parser.add_argument("--long", action="store_true", help="all that the stop knows")
    parser.add_argument("--json", action="store_true", help="the outcome in JSON")
    parser.add_argument("--save", type=Path, help="keep the recording in this file")


def run(args: argparse.Namespace) -> int:
    """0: HLT; 1: triple fault, or cannot go on; 124: a limit; 130: Ctrl-C. Errors are ours."""
    from ..debugger.vm import Vm

    mode = args.mode or mode_of(args.file)
    with Vm(args.engine, mode=mode, ram=_RAM) as vm:
        load(vm, args.file, mode, args.at)
        stop = vm.cont(max_instructions=_budget(vm, args.instructions), timeout=args.timeout)
        if args.save is not None:
            vm.save(args.save)
        sys.stdout.write((_json(vm, stop) if args.json else shown(vm, stop, args.long)) + "\n")
    return status(stop)


def _budget(vm: Vm, wanted: int | None) -> int | None:
    """An engine that counts no instructions has only the clock on the wall."""
    return 10_000_000 if wanted is None and vm.vcpu.clock >= 0 else wanted


def status(stop: Stop) -> int:
    """What a stop is to a shell."""
    return _STATUS.get(stop.kind.value, _CRASHED)


def shown(vm: Vm, stop: Stop, long: bool = False) -> str:
    """The stop card, then what the guest printed."""
    from ..views import text

    labels = {address: name for name, address in reversed(list(vm.symbols.items()))}
    return (text.stop_long if long else text.stop)(stop, labels)


def _json(vm: Vm, stop: Stop) -> str:
    found: dict[str, Any] = {
        "kind": stop.kind.value,
        "cause": stop.cause,
        "pc": stop.pc,
        "location": stop.location,
        "clock": stop.clock,
        "registers": stop.regs._asdict(),
        "console": vm.console,
    }
    return json.dumps(found)
