"""The seam: what every engine does, in KVM's words, and how one is opened.

An engine is one VM with one vCPU. It does what KVM does, with its names, and no more; all that is
above (planting INT3, stepping off a breakpoint, hit counts, naming a stop, history) is written
once, over this protocol. What an engine cannot do is a missing :class:`Capability`, never a method
that raises. Must not know: breakpoints as a user sees them, notebooks, pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Set
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import BadInput, UnknownName
from ..exits import Exit
from ..irqchip import Irqchip
from ..profiles import find_profile
from ..uapi import MpState
from ..x86.delivery import Step
from ..x86.registers import DebugRegs, Regs, Sregs, VcpuEvents

if TYPE_CHECKING:
    import numpy


class Capability(StrEnum):
    """What an engine was seen to do on this host."""

    SINGLESTEP = "single-step"
    SW_BP = "INT3 taken by the host"
    HW_EXEC = "execution breakpoints in DR0-3"
    HW_DATA = "data watchpoints in DR0-3"
    HW_WRITE = "write watchpoints in DR0-3"
    HW_GD = "general detect (DR7.GD)"
    INJECT = "re-injection of #DB and #BP"
    INSTRUCTION_CLOCK = "exact instruction clock and budget"
    VECTOR_STOP = "stop when the guest raises a vector"
    BULK_STEPS = "many single steps in one call"
    OBSERVING = "tell of every instruction, and of who writes where"


class Steps(NamedTuple):
    """Plain single steps in a row: each would have been an exit with DR6.BS alone.

    ``pcs`` (uint64, linear) and ``clocks`` (int64, instructions) are as they were after each step;
    ``dr7`` is that of all those exits.
    """

    pcs: numpy.ndarray
    clocks: numpy.ndarray
    dr7: int


class Executed(NamedTuple):
    """A stretch of instructions in columns, as ``history.segment.Segment`` describes them."""

    start: int
    first: tuple[int, ...]
    last: tuple[int, ...]
    heads: numpy.ndarray
    flags: numpy.ndarray
    values: numpy.ndarray
    writes: numpy.ndarray


class Tracing(NamedTuple):
    """Every instruction: ``sink`` gets them in stretches, in order."""

    sink: Callable[[Executed], None]


class Passing(NamedTuple):
    """``sink`` gets the clocks in front of the instruction at a linear address, in order."""

    pc: int
    sink: Callable[[list[int]], None]


class Writing(NamedTuple):
    """Who writes ``size`` guest-physical bytes.

    ``sink`` gets the clock behind the block that wrote to them last in a stretch, and how many
    instructions it has; 0 of them: the bytes were written on the guest's behalf, as an exception's
    frame is.
    """

    first: int
    size: int
    sink: Callable[[int, int], None]


Observation = Tracing | Passing | Writing

Snapshot = object
"""A whole machine state, opaque; only the engine that made it can restore it."""


class Engine(Protocol):
    """One VM, one vCPU, the ioctl line.

    Exactly one thread at a time may use it (:class:`~kvmdbg.errors.VmBusy` otherwise), except
    :meth:`request_stop`, which any thread may call at any time.
    """

    name: str

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What works now, in the mode that the vCPU is in, natively or emulated.

        The same object as long as nothing changed. See :func:`emulated`.
        """

    @property
    def ram(self) -> memoryview:
        """Read-only, zero-copy view of guest-physical RAM from address 0."""

    @property
    def clock(self) -> int:
        """Instructions retired since creation; -1 where the engine has no instruction clock."""

    @property
    def irqchip(self) -> Irqchip | None:
        """The irqchip's state as of ``now``; None without one, or where it cannot be seen (kvm)."""

    @property
    def now(self) -> int:
        """Ticks of virtual time; -1 where the engine has no clock."""

    @property
    def trail(self) -> tuple[Step, ...]:
        """How the last event was delivered to the guest, or why it could not be; empty where the
        engine does not know."""

    def read_memory(self, address: int, size: int) -> bytes:
        """Guest-physical bytes. AddressError outside RAM."""

    def write_memory(self, address: int, data: bytes) -> None:
        """Write guest-physical RAM, code included. AddressError outside RAM."""

    def get_regs(self) -> Regs: ...
    def set_regs(self, regs: Regs) -> None: ...
    def get_sregs(self) -> Sregs: ...
    def set_sregs(self, sregs: Sregs) -> None: ...
    def get_debugregs(self) -> DebugRegs: ...
    def set_debugregs(self, debugregs: DebugRegs) -> None: ...
    def get_vcpu_events(self) -> VcpuEvents: ...
    def set_vcpu_events(self, events: VcpuEvents) -> None: ...

    def set_guest_debug(self, control: int, debugreg: tuple[int, ...] = (0,) * 8) -> None:
        """KVM_SET_GUEST_DEBUG with ``GuestDbg`` flags and debugreg[0..3], [7] (spec 3)."""

    def watch_vectors(self, vectors: Collection[int]) -> None:
        """End ``run`` with an ExceptionExit before the guest takes one of these vectors.

        Needs ``Capability.VECTOR_STOP``; without it the set is kept and never seen to fire.
        """

    def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        """KVM_RUN: enter the guest until something needs the host.

        ``max_instructions`` ends the run with ``IntrExit("budget")`` after exactly that many;
        ``timeout`` is in seconds and ends it with ``IntrExit("timeout")``.
        """

    def run_steps(self, count: int, stops: Set[int] = frozenset()) -> Steps | None:
        """As many plain single steps as come in a row, at most ``count``; None if the next is not.

        The same as ``run`` under KVM_GUESTDBG_SINGLESTEP so many times, but for flags that the SDM
        leaves undefined. It may end early, for a request (:meth:`request_stop`) or for a slice of
        time, and ends in front of ``stops`` (linear addresses). None at once where
        ``Capability.BULK_STEPS`` is missing.
        """

    def observe(self, *observations: Observation) -> None:
        """Tell of what runs from now on; replaces what was observed before.

        Tracing changes flags that the SDM leaves undefined: who wants the same run again traces it
        again. Nothing is ever told where ``Capability.OBSERVING`` is missing.
        """

    def complete_io(self, data: bytes) -> None:
        """Answer the last IoExit("in") or MmioExit read, before the next ``run``."""

    def interrupt(self, vector: int) -> None:
        """KVM_INTERRUPT: queue an external interrupt."""

    def nmi(self) -> None:
        """KVM_NMI: queue a non-maskable interrupt."""

    def request_interrupt_window(self, wanted: bool = True) -> None:
        """kvm_run.request_interrupt_window: end ``run`` with IrqWindowOpenExit when IF=1, no shadow
        holds interrupts up and none is queued."""

    def create_irqchip(self) -> None:
        """KVM_CREATE_IRQCHIP and KVM_CREATE_PIT2: local APIC, 8259 pair and 8254 in the engine."""

    def irq_line(self, line: int, level: bool) -> None:
        """KVM_IRQ_LINE on ISA line 0..15. IoctlError ENXIO without an irqchip."""

    def get_mp_state(self) -> MpState: ...
    def set_mp_state(self, mp_state: MpState) -> None: ...

    def request_stop(self) -> None:
        """From any thread: end the current (or next) ``run`` with ``IntrExit("request")``."""

    def snapshot(self) -> Snapshot:
        """The whole state: registers, memory, debug state, clock."""

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot back."""

    def close(self) -> None:
        """Free everything. Calling it twice is harmless."""


def emulated(engine: Engine) -> frozenset[Capability]:
    """Which of its capabilities an engine makes up for; none where it has no such attribute."""
    return getattr(engine, "emulated", frozenset())


@contextmanager
def trial(engine: Engine) -> Iterator[None]:
    """Inside, anything may be tried on the machine; afterwards it is as it was.

    But for what belongs to no snapshot: which vectors are watched.
    """
    before = engine.snapshot()
    with getattr(engine, "free", nullcontext)():  # a replay goes nowhere else otherwise
        try:
            yield
        finally:
            engine.restore(before)


Factory = Callable[[int], Engine]
"""Opens one engine with so many bytes of zeroed guest RAM; the caller closes it."""

ENGINES = ("unicorn", "kvm")
"""Names for ``open_engine``; ``"auto"`` means the embedded engine."""


def open_engine(engine: str | Factory, ram: int, profile: str | None = None) -> Engine:
    """Open an engine with ``ram`` bytes of zeroed guest RAM (a multiple of 4096).

    ``engine`` is a name, or a function of one's own that opens one; docs/engine-contract.md says
    what it has to do, and ``kvmdbg.testing.check_engine`` asks whether it does. ``profile`` names
    whose rules the embedded engine follows (profiles.py; ``reference`` if None). Raises UnknownName
    for a name that is none of ``auto``, ``unicorn``, ``kvm``, or for an unknown profile,
    EngineUnavailable where it cannot run, and BadInput for a profile with another engine.
    """
    if callable(engine):
        if profile is not None:
            raise BadInput('an engine of one\'s own has its own rules; a profile is for "unicorn"')
        return engine(ram)
    if engine in ("auto", "unicorn"):
        from .unicorn import UnicornEngine

        return UnicornEngine(ram, find_profile(profile or "reference"))
    if engine == "kvm":
        if profile is not None:
            raise BadInput('engine "kvm" follows this host\'s kernel; a profile is for "unicorn"')
        from .kvm import open_kvm

        return open_kvm(ram)
    raise UnknownName(f'unknown engine "{engine}"; choose auto, {", ".join(ENGINES)}')
