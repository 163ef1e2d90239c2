"""The embedded engine: KVM's ioctl line over Unicorn.

This file is the shop window. It owns the thread rule (one owner at a time), the limits of a run
(instructions, seconds, Ctrl-C), guest RAM and snapshots; the vCPU itself is vcpu.py. Must not know:
what the caller does with exits.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from ... import guestdebug
from ...errors import AddressError, BadInput, IoctlError, VmBusy, VmClosed
from ...exits import Exit, FailEntryExit, IntrExit
from ...guestdebug import DebugState, PendingException
from ...profiles import REFERENCE, Profile
from ...uapi import GuestDbg
from ...x86.registers import EFER, DebugRegs, Regs, Sregs, VcpuEvents
from ...x86.vectors import Vector
from .. import Capability, Snapshot
from ..interrupts import HeldSigint
from . import transfers
from .core import Core
from .native import Why, Word
from .state import EFLAGS, RIP, no_entry
from .vcpu import RF, TF, Vcpu

_SLICE_NS = 20_000_000
"""The guest is left this often, so that Python can see a signal: well under 100 ms."""

_INVALID_GUEST_STATE = 0x8000_0021  # VM-entry failure, as VMX numbers it (SDM vol. 3, app. C)
_SMALLEST_RAM = 0x1000
_EFER_BITS = int(EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE)
_SINGLESTEP = int(GuestDbg.SINGLESTEP)


@dataclass(frozen=True, slots=True)
class UnicornSnapshot:
    """A whole machine: CPU context, RAM, debug state, clock. Opaque to everyone else."""

    context: object
    ram: bytes
    debug: DebugState
    clock: int
    events: tuple[int | None, bool, bool]
    rf: tuple[int, int] | None
    hidden: tuple[int, int]


class UnicornEngine:
    """The Engine protocol (engines/__init__.py) over one Unicorn instance."""

    name = "unicorn"
    capabilities = frozenset(Capability)

    def __init__(self, ram: int, profile: Profile = REFERENCE) -> None:
        if ram % 0x1000 or ram < _SMALLEST_RAM:
            raise BadInput(f"RAM must be a multiple of 4096 bytes, at least one page; got {ram:#x}")
        self._core = Core(ram)
        self._vcpu = Vcpu(self._core, self.read_memory, profile)
        self._state = self._core.state
        self._owner = threading.Lock()
        self._closed = False
        self._ram_size = ram
        self._untried = True

    # -- memory ------------------------------------------------------------------------------------

    @property
    def ram(self) -> memoryview:
        """Read-only, zero-copy view of guest-physical RAM from address 0."""
        self._check_open()
        return memoryview(self._core.machine.ram).toreadonly()

    @property
    def clock(self) -> int:
        """Instructions retired since creation; a REP iteration counts as one."""
        return self._core.clock

    def read_memory(self, address: int, size: int) -> bytes:
        """Guest-physical bytes. AddressError outside RAM."""
        self._check_range(address, size)
        return self._core.machine.ram[address : address + size]

    def write_memory(self, address: int, data: bytes) -> None:
        """Write guest-physical RAM; code there is seen changed at once."""
        self._check_range(address, len(data))
        with self._owned():
            self._core.write_memory(address, bytes(data))
            self._vcpu.arming.mappings_changed()

    def _check_range(self, address: int, size: int) -> None:
        self._check_open()
        if address < 0 or size < 0 or address + size > self._ram_size:
            raise AddressError(
                f"{address:#x}..{address + size:#x} is outside guest RAM (0..{self._ram_size:#x})"
            )

    # -- registers ---------------------------------------------------------------------------------

    def get_regs(self) -> Regs:
        """KVM_GET_REGS: TF hidden while the host single-steps."""
        if self._closed:
            self._check_open()
        vcpu, state = self._vcpu, self._state
        flags = state.rflags()
        if vcpu.debug.control & _SINGLESTEP:
            flags = guestdebug.rflags_read(vcpu.debug, flags)
        if vcpu.has_rf():
            flags |= RF
        return state.regs(flags)

    def set_regs(self, regs: Regs) -> None:
        """KVM_SET_REGS; drops a queued exception, as KVM does (spec 5.7)."""
        with self._owned():
            self._untried = True
            vcpu, state = self._vcpu, self._state
            state.set_regs(regs._replace(rflags=regs.rflags & ~RF))
            vcpu.write_tf(regs.rflags)
            vcpu.rf = None
            if regs.rflags & RF:
                vcpu.set_rf()
            if vcpu.debug.pending is not None:
                vcpu.debug = guestdebug.drop_pending(vcpu.debug)

    def get_sregs(self) -> Sregs:
        """KVM_GET_SREGS."""
        self._check_open()
        return self._state.sregs()

    def set_sregs(self, sregs: Sregs) -> None:
        """KVM_SET_SREGS. IoctlError EINVAL for an EFER bit that this processor does not have."""
        if sregs.efer & ~_EFER_BITS:
            raise IoctlError(errno.EINVAL, "KVM_SET_SREGS", "EFER has SCE, LME, LMA and NXE only")
        with self._owned():
            self._untried = True
            self._state.set_sregs(sregs)
            self._vcpu.arming.mappings_changed()

    def get_debugregs(self) -> DebugRegs:
        """KVM_GET_DEBUGREGS: the guest's own, never the host's."""
        self._check_open()
        return self._vcpu.debug.guest

    def set_debugregs(self, debugregs: DebugRegs) -> None:
        """KVM_SET_DEBUGREGS: stored raw; IoctlError EINVAL as the kernel."""
        with self._owned():
            self._vcpu.set_debug(guestdebug.set_debugregs(self._vcpu.debug, debugregs))

    def get_vcpu_events(self) -> VcpuEvents:
        """KVM_GET_VCPU_EVENTS; a queued #BP does not show (spec 7)."""
        self._check_open()
        vcpu = self._vcpu
        events = VcpuEvents(
            interrupt_injected=int(vcpu.interrupts.irq is not None),
            interrupt_nr=vcpu.interrupts.irq or 0,
            nmi_pending=int(vcpu.interrupts.nmi_pending),
            nmi_masked=int(vcpu.interrupts.nmi_masked),
        )
        pending = vcpu.debug.pending
        if pending is None:
            return events
        return events._replace(
            exception_injected=int(not pending.soft),
            exception_nr=pending.vector,
            exception_has_error_code=int(pending.error_code is not None),
            exception_pending=int(not pending.soft),
            exception_error_code=pending.error_code or 0,
            exception_has_payload=int(pending.payload is not None),
            exception_payload=pending.payload or 0,
        )

    def set_vcpu_events(self, events: VcpuEvents) -> None:
        """KVM_SET_VCPU_EVENTS; a payload becomes the guest's DR6 bits at delivery."""
        if events.exception_nr > 31:
            raise IoctlError(errno.EINVAL, "KVM_SET_VCPU_EVENTS", "exception_nr must be 0..31")
        with self._owned():
            vcpu = self._vcpu
            pending = None
            if events.exception_injected or events.exception_pending:
                pending = PendingException(
                    events.exception_nr,
                    events.exception_error_code if events.exception_has_error_code else None,
                    events.exception_payload if events.exception_has_payload else None,
                    soft=events.exception_nr in (Vector.BP, Vector.OF),
                )
            vcpu.debug = guestdebug.replace_pending(vcpu.debug, pending)
            vcpu.interrupts.irq = events.interrupt_nr if events.interrupt_injected else None
            vcpu.interrupts.nmi_pending = bool(events.nmi_pending)
            vcpu.interrupts.nmi_injected = bool(events.nmi_injected)
            vcpu.interrupts.nmi_masked = bool(events.nmi_masked)

    # -- debugging ---------------------------------------------------------------------------------

    def set_guest_debug(self, control: int, debugreg: tuple[int, ...] = (0,) * 8) -> None:
        """KVM_SET_GUEST_DEBUG (spec 3). IoctlError EBUSY for a second injection."""
        with self._owned():
            vcpu, state = self._vcpu, self._state
            seen = guestdebug.rflags_read(vcpu.debug, state.d[EFLAGS])
            linear = state.linear_pc()
            vcpu.debug = guestdebug.set_guest_debug(vcpu.debug, control, debugreg, linear)
            vcpu.put_tf(guestdebug.rflags_armed(vcpu.debug, seen))
            if not vcpu.debug.singlestep:
                vcpu.returns.forget()
            vcpu.arm()

    def watch_vectors(self, vectors: Collection[int]) -> None:
        """End ``run`` with an ExceptionExit before the guest takes one of these vectors."""
        with self._owned():
            self._vcpu.vectors = frozenset(vectors)

    # -- running -----------------------------------------------------------------------------------

    def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        """KVM_RUN; see the protocol. KeyboardInterrupt is raised at an instruction boundary."""
        owner = self._owner
        if self._closed or not owner.acquire(False):
            self._refuse()
        try:
            if max_instructions is None and timeout is None and self._plain_step():
                exit_ = self._vcpu.step_fast() or self._vcpu.stopped(self._core.error)
                if exit_ is not None:
                    return exit_
            return self._run(max_instructions, timeout)
        finally:
            owner.release()

    def _plain_step(self) -> bool:
        """Only a host single-step is due: nothing to finish, deliver or wait for."""
        vcpu = self._vcpu
        debug = vcpu.debug
        return bool(
            self._state.d[EFLAGS] & TF
            and not self._core.w[Word.REQUEST]
            and debug.control & _SINGLESTEP
            and debug.pending is None
            and vcpu.transfer is None
            and vcpu.interrupts.irq is None
            and vcpu.rf is None
            and not vcpu.returns
            and not vcpu.quirky
            and not self._untried
            and not vcpu.arming.stale
            and not vcpu.interrupts.nmi_pending
            and not vcpu.interrupts.nmi_masked
        )

    def _run(self, max_instructions: int | None, timeout: float | None) -> Exit:
        core, vcpu = self._core, self._vcpu
        problem = self._no_entry()
        if problem:
            return FailEntryExit(_INVALID_GUEST_STATE, problem)
        limit = None if max_instructions is None else core.clock + max(max_instructions, 0)
        end = None if timeout is None else time.monotonic_ns() + int(timeout * 1e9)
        with HeldSigint() as held:
            exit_ = self._due(limit, end, held.seen)
            while exit_ is None:
                now = time.monotonic_ns() + _SLICE_NS
                core.limit(limit, now if end is None else min(now, end))
                exit_ = vcpu.round()
                if exit_ is None:
                    if core.w[Word.WHY] & Why.LIMIT:
                        vcpu.one = True  # the next block is longer than what is left
                    exit_ = self._due(limit, end, held.seen)
            core.limit(None, None)
            return exit_

    def _no_entry(self) -> str:
        """Why VM entry fails; looked at anew only after the host has set something."""
        debug = self._vcpu.debug
        if debug.profile.refuses_wide_dr7 and debug.hardware and debug.host_dr7 >> 32:
            return "the host's DR7 has bits above 31 set"
        if self._untried:
            problem = no_entry(self._state.sregs(), self._state.q[RIP])
            self._untried = bool(problem)
            return problem
        return ""

    def _due(self, limit: int | None, end: int | None, interrupted: bool) -> Exit | None:
        """The reasons for leaving that do not come from the guest."""
        w = self._core.w
        if w[Word.REQUEST]:
            w[Word.REQUEST] = 0
            return IntrExit("request")
        if interrupted:
            return IntrExit("signal")
        if limit is not None and self._core.clock >= limit and self._vcpu.transfer is None:
            return IntrExit("budget")
        if end is not None and time.monotonic_ns() >= end:
            return IntrExit("timeout")
        return None

    def complete_io(self, data: bytes) -> None:
        """Answer the last IoExit("in") or MmioExit read. IoctlError EINVAL when none waits."""
        with self._owned():
            waiting = self._vcpu.transfer
            if waiting is None:
                raise IoctlError(errno.EINVAL, "KVM_RUN", "no IN or MMIO read waits for data")
            transfers.complete(waiting, data)

    def interrupt(self, vector: int) -> None:
        """KVM_INTERRUPT: queue an external interrupt. IoctlError EINVAL for a vector above 255."""
        if not 0 <= vector <= 255:
            raise IoctlError(errno.EINVAL, "KVM_INTERRUPT", f"vector {vector} is not in 0..255")
        with self._owned():
            if self._vcpu.interrupts.irq is not None:
                raise IoctlError(errno.EEXIST, "KVM_INTERRUPT", "an interrupt is already queued")
            self._vcpu.interrupts.irq = vector

    def nmi(self) -> None:
        """KVM_NMI: queue a non-maskable interrupt."""
        with self._owned():
            self._vcpu.interrupts.nmi_pending = True

    def request_stop(self) -> None:
        """From any thread: end the current (or next) ``run`` with ``IntrExit("request")``."""
        if not self._closed:
            self._core.w[Word.REQUEST] = 1
            self._core.w[Word.PAUSE] = 0

    # -- snapshots, end ----------------------------------------------------------------------------

    def snapshot(self) -> UnicornSnapshot:
        """The whole state."""
        with self._owned():
            core, vcpu = self._core, self._vcpu
            return UnicornSnapshot(
                core.machine.uc.context_save(),
                bytes(core.machine.ram),
                vcpu.debug,
                core.clock,
                (vcpu.interrupts.irq, vcpu.interrupts.nmi_pending, vcpu.interrupts.nmi_masked),
                vcpu.rf,
                (self._state.cr8, self._state.apic_base),
            )

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot of this engine back; an IN or MMIO under way is forgotten."""
        if not isinstance(snapshot, UnicornSnapshot) or len(snapshot.ram) != self._ram_size:
            raise BadInput("this snapshot was made by another engine or with other RAM")
        with self._owned():
            self._untried = True
            core, vcpu = self._core, self._vcpu
            core.machine.uc.context_restore(snapshot.context)
            core.machine.ram[:] = snapshot.ram
            core.machine.flush_translations()
            core.machine.flush_tlb()
            core.w[Word.INSNS] = snapshot.clock
            vcpu.interrupts.irq, vcpu.interrupts.nmi_pending, vcpu.interrupts.nmi_masked = (
                snapshot.events
            )
            vcpu.rf = snapshot.rf
            self._state.cr8, self._state.apic_base = snapshot.hidden
            vcpu.forget()
            vcpu.set_debug(snapshot.debug)
            vcpu.arming.mappings_changed()

    def close(self) -> None:
        """Free everything. Calling it twice is harmless."""
        if not self._closed:
            with self._owned():
                self._closed = True
                self._core.close()

    def _check_open(self) -> None:
        if self._closed:
            raise VmClosed("this VM was closed; make a new one with Vm() or %vm new")

    def _refuse(self) -> NoReturn:
        self._check_open()
        raise VmBusy("the VM is running in another thread; stop it first")

    @contextmanager
    def _owned(self) -> Iterator[None]:
        """One thread at a time; Unicorn aborts the process when two threads meet in it."""
        if self._closed or not self._owner.acquire(False):
            self._refuse()
        try:
            yield
        finally:
            self._owner.release()
