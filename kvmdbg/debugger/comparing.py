"""Compare: one guest on two engines, in lock-step, up to the first divergence.

Both sides are opened fresh and begin where the user's guest stands: RAM, general and system
registers, debug registers. Model-specific, x87 and vector registers begin as a reset leaves them.
The user's own VM is only read. Must not know: how a result is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from ..engines import ENGINES, Engine, open_engine
from ..engines.interrupts import held_sigint
from ..errors import BadInput, EngineUnavailable
from ..uapi import GuestDbg
from ..x86.registers import DebugRegs, Regs, Sregs
from .by_exit import ByExit
from .divergence import Comparison, Divergence, Note
from .lockstep import Lockstep
from .sides import Devices, Side, check_side, open_side
from .stop import GuestDebugSetting
from .vm import Vm

STEPS: Final = 100_000
"""How many instructions or exits are compared if nobody says."""

WAYS: Final = ("instruction", "exit")
_SMALLEST: Final = 0x10000  # bytes of RAM, to see whether an engine opens
_INJECT: Final = int(GuestDbg.INJECT_DB | GuestDbg.INJECT_BP)

Open = Callable[[str, int], Engine]


class Start(NamedTuple):
    """Where both sides begin; ``debug`` is what a comparison by exit runs with."""

    ram: bytes
    regs: Regs
    sregs: Sregs
    debugregs: DebugRegs = DebugRegs()
    debug: GuestDebugSetting = GuestDebugSetting()

    def put_into(self, engine: Engine) -> None:
        """Let a fresh engine stand here."""
        engine.write_memory(0, self.ram)
        engine.set_sregs(self.sregs)
        engine.set_debugregs(self.debugregs)
        engine.set_regs(self.regs)


def start_of(vm: Vm) -> Start:
    """Where the user's guest stands, without INT3s that breakpoints planted."""
    return Start(vm.memory[:], vm.regs(), vm.sregs(), vm.debugregs(), vm.debug())


def own_side(vm: Vm) -> str:
    """The side that is like the user's VM: ``unicorn``, ``unicorn:svm``, ``kvm``."""
    name = vm.opened_by if vm.opened_by in ENGINES else vm.engine_name
    return f"{name}:{vm.profile}" if vm.profile else str(name)


def compare_vm(
    vm: Vm, a: str | None = None, b: str | None = None, steps: int = STEPS, by: str = "instruction"
) -> Comparison:
    """Compare from where ``vm`` stands. With one name the VM's own engine is the other side.

    Without a name: the VM's own engine with ``kvm``, or with the rules of KVM's emulator
    (``unicorn:emu618``) where there is none; ``unicorn`` where ``kvm`` is the VM's own.
    """
    own = own_side(vm)
    if b is None:
        a, b = own, a or ("unicorn" if own == "kvm" else _kernels_side())
    return compare(start_of(vm), a or own, b, steps, by)


def _kernels_side() -> str:
    """``kvm`` where it runs, else what comes nearest to it."""
    try:
        open_engine("kvm", _SMALLEST).close()
    except EngineUnavailable:
        return "unicorn:emu618"
    return "kvm"


def compare(
    start: Start,
    a: str,
    b: str,
    steps: int = STEPS,
    by: str = "instruction",
    opened_by: Open = open_side,
) -> Comparison:
    """Compare two of ``sides.SIDES`` from ``start``, at most ``steps`` instructions or exits.

    ``opened_by`` opens an engine by a side's name and a size of RAM. Ctrl-C ends it with what was
    found so far. Raises UnknownName, BadInput, and EngineUnavailable where a side cannot run.
    """
    check_side(a)
    check_side(b)
    if by not in WAYS:
        raise BadInput(f'compare by "instruction" or by "exit", not by "{by}"')
    if steps < 1:
        raise BadInput(f"at least one step must be compared, not {steps}")
    with ExitStack() as stack, _interruptible() as interrupted:
        devices = Devices()
        one, two = (
            _side(stack, name, n, start, devices, opened_by) for n, name in enumerate((a, b))
        )
        began = time.perf_counter()
        count, ended, found, notes = _carry_out(one, two, devices, start, steps, by, interrupted)
        seconds = time.perf_counter() - began
    return Comparison((a, b), by, count, seconds, ended, found, notes)


def _side(
    stack: ExitStack, name: str, index: int, start: Start, devices: Devices, opened_by: Open
) -> Side:
    engine = opened_by(name, len(start.ram))
    stack.callback(engine.close)
    start.put_into(engine)
    return Side(name, engine, index, devices)


def _carry_out(
    a: Side,
    b: Side,
    devices: Devices,
    start: Start,
    steps: int,
    by: str,
    interrupted: Callable[[], bool],
) -> tuple[int, str, Divergence | None, tuple[Note, ...]]:
    if by == "exit":
        setting = start.debug._replace(control=start.debug.control & ~_INJECT)
        exits = ByExit(a, b, devices, setting, interrupted)
        ended, found = exits.run(steps)
        return exits.count, ended, found, ()
    lockstep = Lockstep(a, b, devices, interrupted)
    ended, found = lockstep.run(steps)
    track = lockstep.track
    notes = tuple(note._replace(times=count) for note, count in track.notes.items())
    return track.steps, ended, found, notes


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is taken as the wish for an end: the comparison gives back what it has."""
    with held_sigint() as held:
        yield lambda: held.seen
        held.seen = False
