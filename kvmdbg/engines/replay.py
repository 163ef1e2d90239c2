"""The third engine: a machine that goes only where its recording went.

Inside is a machine of the kind that was recorded, and the calls that were made to it. A call that
changes the machine is carried out if it is the recording's next one; its answer is the one that was
given then, for the machine is deterministic. Any other is refused with what the recording has
there. Looking is free. Must not know: files, or who recorded.

A run that was ended from outside (a timeout, another thread, Ctrl-C) has as many instructions
again, however long they take.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Set
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, NamedTuple, NoReturn, Protocol

from ..errors import BadInput, EngineBroken, NotRecorded
from ..exits import Exit, IntrExit
from ..irqchip import Irqchip
from ..uapi import GuestDbg, MpState
from ..x86.delivery import Step
from ..x86.registers import DebugRegs, Regs, Sregs, VcpuEvents
from . import Capability, Engine, Observation, Snapshot, Steps
from .owning import OneOwner

_INJECT: Final = int(GuestDbg.INJECT_DB | GuestDbg.INJECT_BP)
_RUNS: Final = ("run", "steps", "walk", "bulk")
_LIVE: Final = "this is a replay and goes nowhere else"
_STRAY: Final = 1 << 20
"""A guest that has gone another way is left after so many instructions too many."""


class Call(Protocol):
    """One call of a recording.

    ``call`` is a method's name, or ``steps`` (KVM_SET_GUEST_DEBUG and KVM_RUN, one instruction each
    time), ``walk`` (KVM_RUN, one instruction each time), ``bulk`` (``run_steps``, as often as it
    took), ``trace`` (it was observed from there on, or no more) or ``intr`` (the run in front of it
    was ended from outside; the argument is how). ``before`` and ``after`` are the instruction clock
    around it. A ``run`` has one argument: the most instructions, or None; where the next call is a
    ``run`` too, both are parts of one.
    """

    @property
    def call(self) -> str: ...
    @property
    def arguments(self) -> tuple[Any, ...]: ...
    @property
    def before(self) -> int: ...
    @property
    def after(self) -> int: ...


class Way(Protocol):
    """All calls of a recording, in order."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Call: ...


class ReplaySnapshot(NamedTuple):
    """A machine that knows where in its recording it stands."""

    inner: Snapshot
    way: Way
    entry: int
    armed: bool
    setting: tuple[Any, ...]
    vectors: frozenset[int]


class ReplayEngine(OneOwner):
    """The Engine protocol over ``machine``, which is new, along ``way``.

    ``advice`` ends each refusal: what to do instead. Calls that change nothing (the setting that is
    in force, the vectors that are watched) may be made at any time or left out.
    """

    name = "replay"

    def __init__(self, machine: Engine, way: Way, advice: str = _LIVE) -> None:
        self._machine = machine
        self._way = way
        self._advice = advice
        self._owner = threading.Lock()
        self._closed = False
        self._free = False
        self._index = 0
        self._armed = False
        """Inside ``steps``: the setting is made, the step not yet."""
        self._setting: tuple[Any, ...] = (0, (0,) * 8)
        self._vectors: frozenset[int] = frozenset()
        self._wanted: frozenset[int] = frozenset()
        """What the caller watches; it matters when the guest runs."""

    # -- what only looks ---------------------------------------------------------------------------

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the machine that was recorded can do; the recording has what was made of it."""
        return self._machine.capabilities

    @property
    def ram(self) -> memoryview:
        """Guest-physical RAM."""
        return self._machine.ram

    @property
    def clock(self) -> int:
        """Instructions retired."""
        return self._machine.clock

    @property
    def irqchip(self) -> Irqchip | None:
        """The irqchip's state."""
        return self._machine.irqchip

    @property
    def now(self) -> int:
        """Ticks of virtual time."""
        return self._machine.now

    @property
    def trail(self) -> tuple[Step, ...]:
        """How the last event was delivered."""
        return self._machine.trail

    def read_memory(self, address: int, size: int) -> bytes:
        """Guest-physical bytes."""
        return self._machine.read_memory(address, size)

    def get_regs(self) -> Regs:
        """KVM_GET_REGS."""
        return self._machine.get_regs()

    def get_sregs(self) -> Sregs:
        """KVM_GET_SREGS."""
        return self._machine.get_sregs()

    def get_debugregs(self) -> DebugRegs:
        """KVM_GET_DEBUGREGS."""
        return self._machine.get_debugregs()

    def get_vcpu_events(self) -> VcpuEvents:
        """KVM_GET_VCPU_EVENTS."""
        return self._machine.get_vcpu_events()

    def get_mp_state(self) -> MpState:
        """KVM_GET_MP_STATE."""
        return self._machine.get_mp_state()

    # -- what changes the machine ------------------------------------------------------------------

    def write_memory(self, address: int, data: bytes) -> None:
        """The recording's next call, or refused; and so are the others."""
        self._follow("write_memory", address, bytes(data))

    def set_regs(self, regs: Regs) -> None:
        """KVM_SET_REGS."""
        self._follow("set_regs", regs)

    def set_sregs(self, sregs: Sregs) -> None:
        """KVM_SET_SREGS."""
        self._follow("set_sregs", sregs)

    def set_debugregs(self, debugregs: DebugRegs) -> None:
        """KVM_SET_DEBUGREGS."""
        self._follow("set_debugregs", debugregs)

    def set_vcpu_events(self, events: VcpuEvents) -> None:
        """KVM_SET_VCPU_EVENTS."""
        self._follow("set_vcpu_events", events)

    def complete_io(self, data: bytes) -> None:
        """The answer to a read."""
        self._follow("complete_io", bytes(data))

    def interrupt(self, vector: int) -> None:
        """KVM_INTERRUPT."""
        self._follow("interrupt", vector)

    def nmi(self) -> None:
        """KVM_NMI."""
        self._follow("nmi")

    def request_interrupt_window(self, wanted: bool = True) -> None:
        """kvm_run.request_interrupt_window."""
        self._follow("request_interrupt_window", wanted)

    def create_irqchip(self) -> None:
        """KVM_CREATE_IRQCHIP and KVM_CREATE_PIT2."""
        self._follow("create_irqchip")

    def irq_line(self, line: int, level: bool) -> None:
        """KVM_IRQ_LINE."""
        self._follow("irq_line", line, level)

    def set_mp_state(self, mp_state: MpState) -> None:
        """KVM_SET_MP_STATE."""
        self._follow("set_mp_state", mp_state)

    def watch_vectors(self, vectors: Collection[int]) -> None:
        """Which vectors end a run; it must be what the recording watched when the guest runs."""
        with self._owned():
            self._wanted = frozenset(vectors)
            if self._free:
                self._machine.watch_vectors(vectors)

    def set_guest_debug(self, control: int, debugreg: tuple[int, ...] = (0,) * 8) -> None:
        """KVM_SET_GUEST_DEBUG."""
        setting = (int(control), tuple(debugreg))
        with self._owned():
            if self._free:
                self._machine.set_guest_debug(*setting)
                return
            entry = self._next()
            if entry is not None and entry.call == "steps" and entry.arguments == setting:
                self._machine.set_guest_debug(*setting)
                self._armed, self._setting = True, setting
            elif entry is not None and self._is_next(entry, "set_guest_debug", setting):
                self._carry_out(entry)
            elif setting != self._setting or control & _INJECT:
                self._depart("set_guest_debug", setting, entry)

    def _follow(self, call: str, *arguments: Any) -> None:
        with self._owned():
            entry = self._next()
            if self._free:
                getattr(self._machine, call)(*arguments)
            elif entry is not None and self._is_next(entry, call, arguments):
                self._carry_out(entry)
            else:
                self._depart(call, arguments, entry)

    def _is_next(self, entry: Call, call: str, arguments: tuple[Any, ...]) -> bool:
        return entry.call == call and entry.arguments == arguments

    def _carry_out(self, entry: Call) -> None:
        getattr(self._machine, entry.call)(*entry.arguments)
        self._index += 1
        if entry.call == "set_guest_debug":
            self._setting = entry.arguments

    def _next(self) -> Call | None:
        """What the recording goes on with, None at its end; vectors to watch are taken first."""
        while self._index < len(self._way):
            entry = self._way[self._index]
            if entry.call == "watch_vectors":
                (self._vectors,) = entry.arguments
                self._machine.watch_vectors(self._vectors)
            elif entry.call not in ("intr", "trace"):
                return entry
            self._index += 1
        return None

    def _depart(self, call: str, arguments: tuple[Any, ...], entry: Call | None) -> NoReturn:
        """Refuse a call; one that the machine would not take is refused in the machine's words."""
        before = self._machine.snapshot()
        try:
            getattr(self._machine, call)(*arguments)
        finally:
            self._machine.restore(before)
        raise self._refusal(f"{call}()", entry)

    def _refusal(self, what: str, entry: Call | None) -> NotRecorded:
        here = f"clock {self._machine.clock:,}"
        if entry is None:
            return NotRecorded(f"the recording ends here, at {here}: no {what}; {self._advice}")
        goes_on = "run()" if entry.call in _RUNS else f"{entry.call}()"
        return NotRecorded(
            f"{what} is not in the recording, which goes on with {goes_on} at {here}; "
            f"{self._advice}"
        )

    @contextmanager
    def free(self) -> Iterator[None]:
        """Inside, the machine may go anywhere; its caller puts a snapshot back before the end."""
        self._free = True
        try:
            yield
        finally:
            self._free = False

    # -- running -----------------------------------------------------------------------------------

    def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        """KVM_RUN, with the exit that it had, or IntrExit at a limit of the caller's."""
        with self._owned():
            if self._free:
                return self._machine.run(max_instructions, timeout)
            entry = self._next()
            if entry is None or entry.call not in _RUNS or self._wanted != self._vectors:
                return self._no_run(max_instructions, entry)
            if entry.call != "run":
                return self._step(entry, max_instructions, timeout)
            if (max_instructions == 0) != (entry.arguments == (0,)):
                raise self._refusal(f"run({max_instructions})", entry)
            return self._run(entry, max_instructions, timeout)

    def _no_run(self, most: int | None, entry: Call | None) -> Exit:
        """The recording does not run here; a stop that was asked for comes first."""
        exit = self._machine.run(None, 0.0)  # executes nothing
        if exit == IntrExit("request"):
            return exit
        what = "run()" if most is None else f"run({most})"
        if entry is not None and self._wanted != self._vectors:
            what += " with other vectors watched"
        raise self._refusal(what, entry)

    def _step(self, entry: Call, most: int | None, timeout: float | None) -> Exit:
        """One instruction of a recorded row of steps."""
        if most == 0 or (entry.call == "steps" and not self._armed):
            raise self._refusal(f"run({'' if most is None else most})", entry)
        before = self._machine.clock
        exit = self._machine.run(most, timeout)
        if self._machine.clock != before:
            self._armed = False
        if self._on_the_way(entry) == entry.after:
            self._index += 1
        return exit

    def _run(self, entry: Call, most: int | None, timeout: float | None) -> Exit:
        """Along the recorded runs, up to an exit of the guest's or a limit of the caller's."""
        machine = self._machine
        last = None if most is None else machine.clock + max(most, 0)
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            end = self._end(entry)
            stop = end if last is None else min(end, last)
            left = None if deadline is None else max(0.0, deadline - monotonic())
            exit = machine.run(stop - machine.clock, left)
            clock = self._on_the_way(entry)
            if exit == IntrExit("timeout") and self._times_out():
                deadline = None
                continue
            if type(exit) is IntrExit and (exit.cause != "budget" or clock != end):
                return exit
            if clock != entry.after:
                self._strayed(entry)
            self._index += 1
            ended = self._ended()
            if type(exit) is not IntrExit or clock == last:
                return exit
            following = self._next()
            if ended or following is None or following.call != "run":
                return IntrExit(ended or "request")
            entry = following

    def run_steps(self, count: int, stops: Set[int] = frozenset()) -> Steps | None:
        """Along a stretch that was walked so; None where the recording did something else."""
        with self._owned():
            if self._free:
                return self._machine.run_steps(count, stops)
            entry = self._next()
            if entry is None or entry.call != "bulk" or self._wanted != self._vectors:
                return None
            left = min(count, entry.after - self._machine.clock)
            steps = self._machine.run_steps(left, *entry.arguments)
            if self._on_the_way(entry) == entry.after:
                self._index += 1
            return steps

    def observe(self, *observations: Observation) -> None:
        """Tell of what runs from now on; whether it was traced then is not looked at."""
        self._machine.observe(*observations)

    def _times_out(self) -> bool:
        """Whether the run at hand ended by a timeout: it does so where it did then."""
        index = self._index
        while index < len(self._way) and self._way[index].call == "run":
            index += 1
        return index < len(self._way) and self._way[index].arguments == ("timeout",)

    def _ended(self) -> str | None:
        """How the run that is over was ended from outside, if it was."""
        if self._index == len(self._way) or self._way[self._index].call != "intr":
            return None
        (cause,) = self._way[self._index].arguments
        self._index += 1
        return str(cause)

    def _end(self, entry: Call) -> int:
        """The clock at which the recorded run had to end."""
        (limit,) = entry.arguments
        return int(entry.after + _STRAY if limit is None else entry.before + limit)

    def _on_the_way(self, entry: Call) -> int:
        """The clock. EngineBroken if the guest has gone another way."""
        if self._machine.clock > entry.after:
            self._strayed(entry)
        return self._machine.clock

    def _strayed(self, entry: Call) -> NoReturn:
        raise EngineBroken(
            f"the replay left its recording behind clock {entry.before:,}: "
            f"{self._machine.clock:,} instead of {entry.after:,}"
        )

    def request_stop(self) -> None:
        """From any thread: end the current or next run."""
        self._machine.request_stop()

    # -- snapshots, end ----------------------------------------------------------------------------

    def snapshot(self) -> ReplaySnapshot:
        """The whole state, and where in the recording that is."""
        with self._owned():
            where = self._index, self._armed, self._setting, self._vectors
            return ReplaySnapshot(self._machine.snapshot(), self._way, *where)

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot of this recording back."""
        with self._owned():
            if not isinstance(snapshot, ReplaySnapshot) or snapshot.way is not self._way:
                raise BadInput("this snapshot was made by another engine or of another recording")
            self._machine.restore(snapshot.inner)
            self._index, self._armed = snapshot.entry, snapshot.armed
            self._setting, self._vectors = snapshot.setting, snapshot.vectors
            self._machine.watch_vectors(self._vectors)

    def close(self) -> None:
        """Free everything. Calling it twice is harmless."""
        if not self._closed:
            with self._owned():
                self._closed = True
                self._machine.close()
