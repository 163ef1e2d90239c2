"""The part ``machine`` of a snapshot: code, processor, stack, memory windows, console.

Made at each stop, up to 60 times a second. Must not know: how any of it is drawn.
"""

from __future__ import annotations

from typing import Any, Final

from ....debugger.vm import Vm
from ....views.tables import printable
from ....x86.registers import linear_pc
from ...looking import standing_stop
from ..wishes import Wishes
from .code import code, codes
from .memory import stack, windows
from .registers import registers

CONSOLE: Final = 16 << 10
"""So many of the console's last characters are shown."""


def part(vm: Vm, wishes: Wishes) -> dict[str, Any]:
    """The whole machine as JSON: see docs/live-views.md."""
    regs, sregs = vm.regs(), vm.sregs()
    pc = linear_pc(regs.rip, sregs)
    last = standing_stop(vm)
    changed = {} if last is None else last.changes.registers
    flags = {} if last is None else last.changes.flags
    return {
        "code": code(vm, pc),
        "codes": codes(vm, wishes, pc),
        "registers": registers(regs, sregs, changed, flags),
        "stack": stack(vm, regs, sregs),
        "windows": windows(vm, wishes),
        "console": _console(vm.console),
    }


def _console(text: str) -> dict[str, Any]:
    """The end of what the guest printed, control characters spelled out."""
    shown = text[-CONSOLE:].replace("\r\n", "\n")
    plain = shown.replace("\n", "").replace("\t", "").isprintable()
    return {
        "text": shown if plain else printable(shown, keep="\n\t"),
        "cut": max(0, len(text) - CONSOLE),
    }
