"""One snapshot: all that every view shows of one moment of a VM, as JSON (docs/live-views.md).

Looks at the VM, in one turn, and changes nothing. Must not know: who the views are, or how what is
made here reaches them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...debugger.entries import Breakpoint
from ...debugger.stop import Stop
from ...debugger.vm import Vm
from ...views import cpu
from .. import cards
from ..looking import standing_stop
from .wishes import Wishes

Part = Callable[[Vm, Wishes], dict[str, Any]]

NO_VM = "no VM yet: run a %%asm cell, or %vm new"


def none() -> dict[str, Any]:
    """What is shown before there is a VM."""
    return {"state": "none", "says": NO_VM, "parts": {}, "breakpoints": [], "bookmarks": {}}


def moment(vm: Vm, wishes: Wishes, parts: Mapping[str, Part]) -> dict[str, Any]:
    """The VM as it stands. The caller has the VM's turn."""
    sregs = vm.sregs()
    mode, pc = sregs.mode, vm.address("$rip")
    stop = standing_stop(vm)
    return {
        "state": "stopped",
        "says": _says(vm, stop),
        "engine": vm.engine_name,
        "profile": vm.profile or "",
        "mode": cpu.mode_words(mode),
        "bits": mode.bits,
        "cpl": sregs.cpl,
        "pc": {"address": hex(pc), "label": vm.label(pc)},
        "clock": vm.vcpu.clock,
        "end": vm.end,
        "stop": stop and _stop(stop),
        "breakpoints": [_breakpoint(entry) for entry in vm.breakpoints],
        "bookmarks": vm.bookmarks,
        "parts": {name: parts[name](vm, wishes) for name in parts if name in wishes.parts},
    }


def _says(vm: Vm, stop: Stop | None) -> str:
    return f"the guest stands {cards.standing(vm)}" if stop is None else stop.title


def _stop(stop: Stop) -> dict[str, Any]:
    return {
        "index": stop.index,
        "kind": stop.kind.value,
        "title": stop.title,
        "cause": stop.cause,
    }


def _breakpoint(entry: Breakpoint) -> dict[str, Any]:
    return {
        "number": entry.number,
        "address": hex(entry.address),
        "label": entry.where or hex(entry.address),
        "kind": entry.kind,
        "access": entry.access,
        "length": entry.length,
        "slot": entry.slot,
        "enabled": entry.enabled,
        "when": entry.when,
        "hits": entry.hits,
        "words": entry.text,
    }
