"""Interrupts that wait for the guest, and steps that wait for an IRET or SYSRET.

Two small memories of the vCPU. Must not know: how an event is delivered.
"""

from __future__ import annotations

from typing import NamedTuple

from ...x86.delivery import Event, EventKind
from ...x86.vectors import Vector

_MOST_RETURNS = 64


class Queued(NamedTuple):
    """What a snapshot keeps of it."""

    irq: int | None
    nmi_pending: bool
    nmi_masked: bool
    nmi_injected: bool


class Interrupts:
    """What KVM_INTERRUPT, KVM_NMI and KVM_SET_VCPU_EVENTS have queued."""

    def __init__(self) -> None:
        self.irq: int | None = None
        self.nmi_pending = False
        self.nmi_masked = False
        self.nmi_injected = False
        """An NMI that the host gives back: nothing holds it up."""
        self.window_wanted = False
        """kvm_run.request_interrupt_window."""

    def queued(self) -> Queued:
        """For a snapshot."""
        return Queued(self.irq, self.nmi_pending, self.nmi_masked, self.nmi_injected)

    def put(self, queued: Queued) -> None:
        """Back to a snapshot."""
        self.irq, self.nmi_pending, self.nmi_masked, self.nmi_injected = queued

    @property
    def waiting(self) -> bool:
        """Anything is queued, deliverable or not."""
        return self.irq is not None or self.nmi_pending or self.nmi_injected

    @property
    def quiet(self) -> bool:
        """Nothing is queued or asked for, and no handler of an NMI runs."""
        return not (self.waiting or self.window_wanted or self.nmi_masked)

    def nmi_waits(self, blocked: bool) -> bool:
        """An NMI is deliverable as soon as no shadow holds it up; ``blocked`` is BLOCKIRQ."""
        return self.nmi_pending and not self.nmi_masked and not blocked

    def take(self, *, blocked: bool, shadow: bool, enabled: bool) -> Event | None:
        """The event to deliver now: NMI before IRQ; ``enabled`` is RFLAGS.IF."""
        if self.nmi_injected or (self.nmi_waits(blocked) and not shadow):
            self.nmi_pending = self.nmi_pending and self.nmi_injected
            self.nmi_injected, self.nmi_masked = False, True
            return Event(Vector.NMI, EventKind.NMI)
        if self.irq is None or shadow or not enabled:
            return None
        vector, self.irq = self.irq, None
        return Event(vector, EventKind.EXTERNAL)


class Returns(NamedTuple):
    """What a snapshot keeps of SteppedReturns."""

    frames: tuple[tuple[int, int], ...]
    syscalls: tuple[int, ...]
    iret: tuple[int, int]


class SteppedReturns:
    """The handler of a stepped instruction runs free; its IRET gives the host its TF back.

    On hardware the TF image in the frame, or in R11, does that. Ours hides TF from the guest, so it
    is remembered here instead.
    """

    def __init__(self) -> None:
        self._frames: list[tuple[int, int]] = []  # RSP before the event, and at its frame
        self._syscalls: list[int] = []  # RIPs behind stepped SYSCALLs
        self._iret = (-1, 0)  # the last IRET that was met: linear RIP, and RSP in front of it

    def __bool__(self) -> bool:
        return bool(self._frames)

    def met_iret(self, pc: int, rsp: int) -> None:
        """The guest is about to execute an IRET."""
        self._iret = (pc, rsp)

    def entered(self, rsp: int, frame: int) -> None:
        """A stepped instruction led into a handler."""
        self._frames.append((rsp, frame))
        del self._frames[:-_MOST_RETURNS]

    def regained(self, last_pc: int, rsp: int) -> bool:
        """The last instruction was the IRET of that handler.

        The handler may have copied its frame (then the old RSP is back) or changed the RSP in it.
        """
        at, before_iret = self._iret
        if not self._frames or at != last_pc:
            return False
        before, frame = self._frames[-1]
        if rsp != before and not frame <= before_iret <= frame + 8:  # 8: an error code
            return False
        self._frames.pop()
        return True

    def syscalled(self, rip: int) -> None:
        """A stepped SYSCALL will be back at ``rip``."""
        self._syscalls.append(rip)
        del self._syscalls[:-_MOST_RETURNS]

    def sysret(self, rip: int) -> bool:
        """A SYSRET to ``rip`` returns from a stepped SYSCALL."""
        if rip not in self._syscalls:
            return False
        del self._syscalls[self._syscalls.index(rip) :]
        return True

    def state(self) -> Returns:
        """For a snapshot."""
        return Returns(tuple(self._frames), tuple(self._syscalls), self._iret)

    def put(self, returns: Returns) -> None:
        """Back to a snapshot."""
        self._frames, self._syscalls = list(returns.frames), list(returns.syscalls)
        self._iret = returns.iret

    def forget(self) -> None:
        """Host single-stepping ended."""
        self._frames.clear()
        self._syscalls.clear()
