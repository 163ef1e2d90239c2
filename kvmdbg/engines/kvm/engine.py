"""The KVM engine: the Engine protocol over one VM of Linux's own.

This file is the shop window. It owns the thread rule (one owner at a time), the limits of a run
(seconds, Ctrl-C, a stop from another thread), guest RAM and snapshots; going in and out is
entry.py. Exits, registers and RIP are what KVM says; where something is added, the method says so.
Must not know: what the caller does with exits.
"""

from __future__ import annotations

import errno
import math
import mmap
import threading
import time
import weakref
from collections.abc import Collection, Iterator
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from ...errors import AddressError, BadInput, IoctlError
from ...exits import Exit, IntrExit
from ...irqchip import Irqchip
from ...uapi import Cap, GuestDbg, MpState
from ...x86.delivery import Step
from ...x86.registers import CpuMode, DebugRegs, Regs, Sregs, VcpuEvents
from .. import Capability, Observation, Snapshot
from ..guestram import allocate, release
from ..interrupts import held_sigint
from ..owning import OneOwner
from . import probe, saving, values
from .emulating import EmulatingEntry
from .entry import Entry
from .saving import KvmSnapshot
from .stopping import this_thread, watch
from .system import System
from .vcpu import Vcpu
from .vm import PAGE, KvmVm

_SINGLESTEP: Final = int(GuestDbg.SINGLESTEP)
_NO_PAGING: Final = (
    "this host's KVM has no paging outside of IA-32e mode: it would clear CR0.PG without a word; "
    'use engine="unicorn"'
)


class KvmEngine(OneOwner):
    """The Engine protocol (engines/__init__.py) over /dev/kvm.

    What KVM does not do on this host is made up for where that is possible (emulating.py), unless
    ``bare``. Raises EngineUnavailable where KVM cannot be used, BadInput for RAM that is not whole
    pages.
    """

    name = "kvm"

    def __init__(self, ram: int, *, bare: bool = False) -> None:
        if ram % PAGE or ram < PAGE:
            raise BadInput(f"RAM must be a multiple of 4096 bytes, at least one page; got {ram:#x}")
        self._bare = bare
        self._place = probe.place_of(Sregs())
        memory = allocate(ram)
        self._release = weakref.finalize(self, release, memory)
        self._make(memory)
        self._owner = threading.Lock()
        self._closed = self._requested = False
        self._vectors: frozenset[int] = frozenset()

    def _make(self, memory: mmap.mmap, *, irqchip: bool = False) -> None:
        """The VM and its vCPU, over RAM that exists."""
        with ExitStack() as stack, System() as system:
            vm = KvmVm(system, memory, stack, irqchip=irqchip)
            vcpu = Vcpu(vm.fd, system.get_vcpu_mmap_size(), stack)
            vcpu.set_cpuid2(system.get_supported_cpuid())
            sync = system.check_extension(Cap.SYNC_REGS)
            self._entry = Entry(vcpu, sync) if self._bare else EmulatingEntry(vcpu, sync, vm)
            self._vm, self._vcpu = vm, vcpu
            self._free = weakref.finalize(self, stack.pop_all().close)

    # -- what it can do ----------------------------------------------------------------------------

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What was seen to work on this host in the mode that the vCPU is in, or made up for.

        Probed when first asked, some ten milliseconds for each mode of a process. While another
        thread runs the guest, and after ``close``: as last asked. SW_BP is left out where an INT3
        stops only because the guest is stepped to it (emulating.py): that works, and is so slow
        that nobody should choose it where a debug register does it too.
        """
        return frozenset() if self._bare else probe.capabilities(*self._place_now())

    @property
    def emulated(self) -> frozenset[Capability]:
        """Those of ``capabilities`` that KVM itself does not have there."""
        return frozenset() if self._bare else probe.answers(*self._place_now()).emulated

    def _place_now(self) -> tuple[CpuMode, bool]:
        if not self._closed and self._owner.acquire(False):
            try:
                self._place = probe.place_of(self._entry.sregs())
            finally:
                self._owner.release()
        return self._place

    def protect(self, pages: Collection[int]) -> None:
        """Let guest stores to these pages (by number) end ``run`` as MMIO writes; for probes."""
        with self._owned():
            self._vm.protect(pages)

    # -- memory ------------------------------------------------------------------------------------

    @property
    def ram(self) -> memoryview:
        """Read-only, zero-copy view of guest-physical RAM from address 0.

        A view that outlives the engine reads zeros (``close`` gives its memory back).
        """
        self._check_open()
        return memoryview(self._vm.ram).toreadonly()

    @property
    def clock(self) -> int:
        """-1: KVM counts no instructions."""
        return -1

    @property
    def trail(self) -> tuple[Step, ...]:
        """Empty: KVM delivers by itself and tells nothing of it."""
        return ()

    @property
    def irqchip(self) -> Irqchip | None:
        """None: the kernel's chips are not shown as values."""
        return None

    @property
    def now(self) -> int:
        """-1: the guest's time is the host's."""
        return -1

    def read_memory(self, address: int, size: int) -> bytes:
        """Guest-physical bytes. AddressError outside RAM."""
        self._check_range(address, size)
        return self._vm.ram[address : address + size]

    def write_memory(self, address: int, data: bytes) -> None:
        """Write guest-physical RAM; code there is seen changed at once."""
        self._check_range(address, len(data))
        with self._owned():
            self._vm.ram[address : address + len(data)] = bytes(data)

    def _check_range(self, address: int, size: int) -> None:
        self._check_open()
        if address < 0 or size < 0 or address + size > self._vm.size:
            raise AddressError(
                f"{address:#x}..{address + size:#x} is outside guest RAM (0..{self._vm.size:#x})"
            )

    # -- registers ---------------------------------------------------------------------------------

    def get_regs(self) -> Regs:
        """KVM_GET_REGS: TF hidden while the host single-steps."""
        if self._closed or not self._owner.acquire(False):
            self._wait()
        try:
            return self._entry.regs()
        finally:
            self._owner.release()

    def set_regs(self, regs: Regs) -> None:
        """KVM_SET_REGS; drops a queued exception, as KVM does (spec 5.7).

        While an IN or MMIO read waits, what is changed here is written when the read is done; if
        RIP is changed, the read is done at once, and forgotten.
        """
        with self._changing():
            self._entry.set_regs(regs)

    def get_sregs(self) -> Sregs:
        """KVM_GET_SREGS."""
        with self._owned():
            return self._entry.sregs()

    def set_sregs(self, sregs: Sregs) -> None:
        """KVM_SET_SREGS. IoctlError EINVAL for what no processor can be in, or this KVM not.

        Usable segments are marked accessed and TR's TSS busy, as ``get_sregs`` then shows: a
        processor cannot be entered otherwise (SDM vol. 3, 27.3.1.2).
        """
        if not self._bare and probe.drops_paging(sregs):
            raise IoctlError(errno.EINVAL, "KVM_SET_SREGS", _NO_PAGING)
        with self._changing():
            self._vcpu.set_sregs(values.pack_sregs(values.enterable(sregs)))

    def get_debugregs(self) -> DebugRegs:
        """KVM_GET_DEBUGREGS: the guest's own, never the host's."""
        with self._owned():
            debugregs = values.debugregs_of(self._vcpu.get_debugregs())
            self._entry.guest_dr7 = debugregs.dr7
            return debugregs

    def set_debugregs(self, debugregs: DebugRegs) -> None:
        """KVM_SET_DEBUGREGS: stored raw; IoctlError EINVAL as the kernel."""
        with self._changing():
            self._vcpu.set_debugregs(values.pack_debugregs(debugregs))
            self._entry.guest_dr7 = debugregs.dr7

    def get_vcpu_events(self) -> VcpuEvents:
        """KVM_GET_VCPU_EVENTS; a queued #BP does not show (spec 7).

        An interrupt that waits for the guest's IF (``interrupt``) shows as an injected one.
        """
        with self._owned():
            events = values.events_of(self._vcpu.get_vcpu_events())
            if self._entry.irq is None:
                return events
            return events._replace(interrupt_injected=1, interrupt_nr=self._entry.irq)

    def set_vcpu_events(self, events: VcpuEvents) -> None:
        """KVM_SET_VCPU_EVENTS; a payload becomes the guest's DR6 bits at delivery."""
        with self._changing():
            self._vcpu.set_vcpu_events(values.pack_events(events, self._vm.payload))
            self._entry.irq = None

    # -- debugging ---------------------------------------------------------------------------------

    def set_guest_debug(self, control: int, debugreg: tuple[int, ...] = (0,) * 8) -> None:
        """KVM_SET_GUEST_DEBUG (spec 3). IoctlError EBUSY for a second injection."""
        if self._closed or not self._owner.acquire(False):
            self._wait()
        try:
            self._entry.set_guest_debug(control, debugreg)
        finally:
            self._owner.release()

    def watch_vectors(self, vectors: Collection[int]) -> None:
        """Kept, and never seen to fire: KVM on x86 has no such exit."""
        with self._owned():
            self._vectors = frozenset(vectors)

    # -- running -----------------------------------------------------------------------------------

    def run(self, max_instructions: int | None = None, timeout: float | None = None) -> Exit:
        """KVM_RUN; see the protocol. KeyboardInterrupt is raised between two entries.

        KVM counts no instructions, so of ``max_instructions`` it has only 0: finish the access
        that the last exit told of, execute nothing. BadInput for any other.
        """
        if self._closed or not self._owner.acquire(False):
            self._wait()
        self._running = True
        try:
            if max_instructions is not None:
                return self._run_nothing(max_instructions)
            if timeout is None and self._entry.control & _SINGLESTEP:
                runs = watch.runs  # a step is entered as in _run, in a fraction of its time
                try:
                    runs[self] = this_thread.endless
                    if watch.asleep:
                        watch.rouse()
                    exit = None if self._requested else self._entry.step()
                finally:
                    runs.pop(self, None)
                    if watch.kicking:
                        watch.await_kick()
                if exit is not None:
                    return exit
            return self._run(math.inf if timeout is None else time.monotonic() + timeout)
        finally:
            self._running = False
            self._owner.release()

    def _run(self, deadline: float) -> Exit:
        with held_sigint() as held:
            try:
                watch.enter(self, deadline)
                exit = self._due(deadline, held.seen)
                while exit is None:
                    exit = self._entry.proceed() or self._due(deadline, held.seen)
                return exit
            finally:
                watch.leave(self)

    def _due(self, deadline: float, interrupted: bool) -> Exit | None:
        """The reasons for leaving that do not come from the guest."""
        if self._requested:
            self._requested = False
            return IntrExit("request")
        if interrupted:
            return IntrExit("signal")
        return IntrExit("timeout") if time.monotonic() >= deadline else None

    def _run_nothing(self, instructions: int) -> Exit:
        if instructions != 0:
            raise BadInput("KVM has no count of instructions: limit a run by timeout, in seconds")
        if self._entry.accesses.waiting:
            return self._entry.accesses.next()
        return self._due(math.inf, False) or self._entry.complete() or IntrExit("budget")

    def run_steps(self, count: int, stops: AbstractSet[int] = frozenset()) -> None:
        """None: KVM enters the guest for each step (no ``Capability.BULK_STEPS``)."""

    def observe(self, *observations: Observation) -> None:
        """Nothing is told (no ``Capability.OBSERVING``)."""

    def complete_io(self, data: bytes) -> None:
        """Answer the last IoExit("in") or MmioExit read. IoctlError EINVAL when none waits."""
        with self._owned():
            self._entry.accesses.complete(data)

    def interrupt(self, vector: int) -> None:
        """KVM_INTERRUPT: queue an external interrupt. IoctlError EINVAL for a vector above 255.

        KVM would inject it whatever RFLAGS.IF is; it is held back until the guest can take it, and
        while KVM_GUESTDBG_BLOCKIRQ is set.
        """
        if not 0 <= vector <= 255:
            raise IoctlError(errno.EINVAL, "KVM_INTERRUPT", f"vector {vector} is not in 0..255")
        if self._vm.irqchip:
            raise IoctlError(errno.ENXIO, "KVM_INTERRUPT", "the irqchip interrupts; use irq_line")
        if self.get_vcpu_events().interrupt_injected:
            raise IoctlError(errno.EEXIST, "KVM_INTERRUPT", "an interrupt is already queued")
        with self._owned():
            self._entry.irq = vector

    def nmi(self) -> None:
        """KVM_NMI: queue a non-maskable interrupt."""
        with self._changing():
            self._vcpu.nmi()

    def request_interrupt_window(self, wanted: bool = True) -> None:
        """kvm_run.request_interrupt_window: end ``run`` when an interrupt could be taken.

        An interrupt that waits (``interrupt``) is taken first.
        """
        with self._owned():
            self._entry.window = wanted

    def create_irqchip(self) -> None:
        """KVM_CREATE_IRQCHIP and KVM_CREATE_PIT2. IoctlError EEXIST the second time.

        KVM takes an irqchip only before the first vCPU, so the VM is made again, with the same RAM
        and state. HLT does not end ``run`` any more: the vCPU sleeps until an interrupt.
        """
        with self._changing():
            if self._vm.irqchip:
                raise IoctlError(errno.EEXIST, "KVM_CREATE_IRQCHIP", "the irqchip is there already")
            self._entry.finish_access()
            saved, window = self._save(), self._entry.window
            self._make_anew()
            self._load(replace(saved, irq=None))
            self._entry.window = window

    def irq_line(self, line: int, level: bool) -> None:
        """KVM_IRQ_LINE on ISA line 0..15. IoctlError ENXIO without an irqchip, EINVAL outside."""
        if not 0 <= line <= 15:
            raise IoctlError(errno.EINVAL, "KVM_IRQ_LINE", f"line {line} is not in 0..15")
        with self._owned():
            self._vm.irq_line(line, level)

    def get_mp_state(self) -> MpState:
        """KVM_GET_MP_STATE: HALTED while the vCPU sleeps in HLT with an irqchip."""
        with self._owned():
            return MpState(self._vcpu.get_mp_state())

    def set_mp_state(self, mp_state: MpState) -> None:
        """KVM_SET_MP_STATE: IoctlError EINVAL for one that the kernel does not take."""
        with self._changing():
            self._vcpu.set_mp_state(int(mp_state))

    def request_stop(self) -> None:
        """From any thread: end the current (or next) ``run`` with ``IntrExit("request")``."""
        if not self._closed:
            self._requested = True
            watch.kick(self)

    # -- snapshots, end ----------------------------------------------------------------------------

    def snapshot(self) -> KvmSnapshot:
        """The whole state but the time-stamp counter, which goes on."""
        with self._owned():
            return self._save()

    def _save(self) -> KvmSnapshot:
        entry = self._entry
        return replace(
            saving.save(self._vcpu, self._vm),
            regs=values.pack_regs(entry.regs()),
            control=entry.control,
            debugreg=entry.debugreg,
            irq=entry.irq,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot of this engine back; an IN or MMIO under way is forgotten."""
        if not isinstance(snapshot, KvmSnapshot) or len(snapshot.ram) != self._vm.size:
            raise BadInput("this snapshot was made by another engine or with other RAM")
        if snapshot.chips and not self._vm.irqchip:
            raise BadInput("this snapshot was made with an irqchip; create_irqchip() first")
        with self._changing():
            self._entry.finish_access()
            if self._vm.irqchip and not snapshot.chips:
                self._make_anew()  # a snapshot from before the chips has them as they are made
            self._load(snapshot)

    def _make_anew(self) -> None:
        free = self._free
        self._make(self._vm.ram, irqchip=True)
        free()

    def _load(self, snapshot: KvmSnapshot) -> None:
        saving.load(self._vcpu, self._vm, snapshot)
        entry = self._entry
        entry.adopt(snapshot.control, snapshot.debugreg)
        entry.irq = snapshot.irq
        entry.guest_dr7 = values.debugregs_of(snapshot.debugregs).dr7

    def close(self) -> None:
        """Free everything. Calling it twice is harmless."""
        if not self._closed:
            with self._owned():
                self._closed = True
                watch.leave(self)  # a Ctrl-C inside of a step's end may have left it there
                self._free()
                self._release()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """As ``_owned``, by a call that changes registers."""
        with self._owned():
            try:
                yield
            finally:
                self._entry.changed()
