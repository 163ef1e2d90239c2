"""A program in a VM of its own, run within limits: nothing that a check runs can go on for ever.

The embedded engine always, so that every machine gets the same result. Must not know: what is
checked afterwards.
"""

from __future__ import annotations

from typing import Final, TypeVar

from ..debugger.stop import StopKind
from ..debugger.vm import Vm
from ..errors import BadInput
from ..program import Program
from .sessions import SessionVm

AnyVm = TypeVar("AnyVm", bound=Vm)

INSTRUCTIONS: Final = 1_000_000
SECONDS: Final = 5.0
RAM: Final = 1 << 20
"""Of a VM that a check makes, in bytes."""

UNFINISHED: Final = {
    StopKind.BUDGET: "its budget of instructions was used up",
    StopKind.TIMEOUT: "its time was used up",
    StopKind.INTERRUPTED: "it was interrupted",
    StopKind.ERROR: "it cannot go on",
}
"""Ends of a run after which nothing that the guest has done so far counts."""


def opened(
    kind: type[AnyVm], program: Program, ram: int = RAM, profile: str | None = None
) -> AnyVm:
    """A new VM of a kind with a program; BadInput if it is none, LoadError if it does not fit."""
    if not isinstance(program, Program):
        raise BadInput(f"this is no program but {type(program).__name__}: assemble one")
    vm = kind("unicorn", mode=program.mode, ram=ram, profile=profile)
    try:
        vm.load(program)
    except BaseException:
        vm.close()
        raise
    return vm


def load(program: Program, ram: int = RAM, profile: str | None = None) -> Vm:
    """:func:`opened` for an ordinary VM; ``profile`` as for Vm."""
    return opened(Vm, program, ram, profile)


def run(
    program: Program,
    instructions: int = INSTRUCTIONS,
    seconds: float = SECONDS,
    ram: int = RAM,
    profile: str | None = None,
) -> Vm:
    """The VM after a program ran to its end or to one of its limits.

    >>> from kvmdbg import assemble
    >>> with run(assemble("again: jmp again"), instructions=1000) as vm:
    ...     vm.last_stop.kind.value
    'budget'
    """
    vm = load(program, ram, profile)
    try:
        vm.cont(max_instructions=instructions, timeout=seconds)
    except BaseException:
        vm.close()
        raise
    return vm


def unfinished(vm: Vm) -> str:
    """Why nothing can be said of a guest's run; empty if it came to an end of its own."""
    if isinstance(vm, SessionVm):
        return vm.unfinished and f"the session did not come to its end: {vm.unfinished}"
    stop = vm.last_stop
    if stop is None or stop.kind not in UNFINISHED:
        return ""
    return f"the guest did not come to its end: {UNFINISHED[stop.kind]}"
