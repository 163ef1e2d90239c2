"""The embedded engine: KVM's ioctl line over Unicorn.

This file is the shop window. It owns the thread rule (one owner at a time), the limits of a run
(instructions, seconds, Ctrl-C), guest RAM and snapshots; the vCPU itself is vcpu.py. Must not know:
what the caller does with exits.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Collection
from collections.abc import Set as AbstractSet

from ... import guestdebug
from ...errors import BadInput, IoctlError
from ...exits import DebugExit, Exit, FailEntryExit, IntrExit
from ...irqchip import Irqchip
from ...profiles import REFERENCE, Profile
from ...uapi import GuestDbg, MpState
from ...x86.delivery import Step
from ...x86.registers import EFER, DebugRegs, Regs, Sregs, VcpuEvents
from .. import Capability, Observation, Snapshot, Steps
from ..interrupts import held_sigint
from ..owning import OneOwner, Owned
from . import bulk, snapshots, transfers
from .core import Core
from .events import read_events, write_events
from .native import Why, Word
from .pages import SIZE
from .snapshots import UnicornSnapshot
from .state import EFLAGS, HF_INHIBIT_IRQ, HFLAGS, RIP, no_entry
from .vcpu import RF, TF, Vcpu

_SLICE_NS = 20_000_000
"""The guest is left this often, so that Python can see a signal: well under 100 ms."""

_INVALID_GUEST_STATE = 0x8000_0021  # VM-entry failure, as VMX numbers it (SDM vol. 3, app. C)
_LONG = 3e8  # seconds: ten years
_MOST = 1 << 62
_SMALLEST_RAM = 0x1000
_EFER_BITS = int(EFER.SCE | EFER.LME | EFER.LMA | EFER.NXE)
_SINGLESTEP = int(GuestDbg.SINGLESTEP)


class UnicornEngine(OneOwner):
    """The Engine protocol (engines/__init__.py) over one Unicorn instance."""

    name = "unicorn"
    capabilities = frozenset(Capability)

    def __init__(self, ram: int, profile: Profile = REFERENCE) -> None:
        if ram % 0x1000 or ram < _SMALLEST_RAM:
            raise BadInput(f"RAM must be a multiple of 4096 bytes, at least one page; got {ram:#x}")
        self._core = Core(ram)
        self._vcpu = Vcpu(self._core, profile)
        self._state = self._core.state
        self._words = self._core.w
        self._owner = threading.Lock()
        self._closed = False
        self._ram_size = ram
        self._untried = True
        self._plain = False
        """The last run was a plain step, and nothing was done since."""
        self._make_step = self._vcpu.plain.make

    def _owned(self) -> Owned:
        self._plain = False
        return super()._owned()

    # -- memory ------------------------------------------------------------------------------------

    @property
    def ram(self) -> memoryview:
        """Read-only, zero-copy view of guest RAM from address 0; zeros after ``close``."""
        self._check_open()
        return memoryview(self._core.machine.ram).toreadonly()

    @property
    def clock(self) -> int:
        """Instructions retired since creation; a REP iteration counts as one."""
        return self._words[Word.INSNS]

    def read_memory(self, address: int, size: int) -> bytes:
        """Guest-physical bytes. AddressError outside RAM."""
        self._check_open()
        return self._core.read(address, size)

    def write_memory(self, address: int, data: bytes) -> None:
        """Write guest-physical RAM; code there is seen changed at once."""
        self._check_open()
        self._core.check_range(address, len(data))
        with self._owned():
            self._core.write_memory(address, bytes(data))
            self._vcpu.arming.mappings_changed()

    # -- registers ---------------------------------------------------------------------------------

    def get_regs(self) -> Regs:
        """KVM_GET_REGS: TF hidden while the host single-steps."""
        if self._plain:
            return self._vcpu.plain.regs()
        if self._closed:
            self._check_open()
        vcpu, state = self._vcpu, self._state
        flags = state.rflags()
        if vcpu.has_rf():
            flags |= RF
        if vcpu.debug.control & _SINGLESTEP:
            flags = guestdebug.rflags_read(vcpu.debug, flags)
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
        """KVM_GET_SREGS; CR8 and the APIC's base are the irqchip's where there is one."""
        self._check_open()
        sregs, chip = self._state.sregs(), self._vcpu.chipset.chip
        if chip is None:
            return sregs
        return sregs._replace(cr8=chip.cr8, apic_base=chip.lapic.base)

    def set_sregs(self, sregs: Sregs) -> None:
        """KVM_SET_SREGS. IoctlError EINVAL for an EFER bit that this processor does not have."""
        self._core.dirty.lose()
        if sregs.efer & ~_EFER_BITS:
            raise IoctlError(errno.EINVAL, "KVM_SET_SREGS", "EFER has SCE, LME, LMA and NXE only")
        with self._owned():
            self._untried = True
            self._state.set_sregs(sregs)
            self._vcpu.chipset.take_sregs(sregs.cr8, sregs.apic_base)
            self._vcpu.arming.mappings_changed()

    def translate(self, linear: int) -> int | None:
        """KVM_TRANSLATE: the physical address by the guest's paging, None where there is none."""
        self._check_open()
        page = self._core.machine.physical_page(linear)
        return None if page is None else page + (linear & 0xFFF)

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
        return read_events(self._vcpu)

    def set_vcpu_events(self, events: VcpuEvents) -> None:
        """KVM_SET_VCPU_EVENTS; a payload becomes the guest's DR6 bits at delivery."""
        if events.exception_nr > 31:
            raise IoctlError(errno.EINVAL, "KVM_SET_VCPU_EVENTS", "exception_nr must be 0..31")
        with self._owned():
            write_events(self._vcpu, events)

    @property
    def irqchip(self) -> Irqchip | None:
        """The irqchip's state as of now, None where there is none."""
        self._check_open()
        return self._vcpu.chipset.seen()

    @property
    def now(self) -> int:
        """Ticks of virtual time: instructions, and what HLT has slept through."""
        return self._vcpu.chipset.now

    def get_dirty_log(self, since: int) -> tuple[int, frozenset[int] | None]:
        """KVM_GET_DIRTY_LOG: a token, and the pages of RAM written, by whomever, since the last.

        None instead of pages if any may have been, or if ``since`` is not the token given last.
        """
        with self._owned():
            return self._core.dirty.take(since)

    @property
    def trail(self) -> tuple[Step, ...]:
        """How the last event was delivered, or why it could not be (x86/delivery.py)."""
        return self._vcpu.trail

    # -- debugging ---------------------------------------------------------------------------------

    def set_guest_debug(self, control: int, debugreg: tuple[int, ...] = (0,) * 8) -> None:
        """KVM_SET_GUEST_DEBUG (spec 3). IoctlError EBUSY for a second injection."""
        if len(debugreg) != 8:
            raise BadInput(f"debugreg has 8 values, DR0-DR7; got {len(debugreg)}")
        with self._owned():
            vcpu, state = self._vcpu, self._state
            flags = state.d[EFLAGS] | (RF if vcpu.has_rf() else 0)
            seen = guestdebug.rflags_read(vcpu.debug, flags)
            linear = state.linear_pc()
            vcpu.debug = guestdebug.set_guest_debug(vcpu.debug, control, debugreg, linear)
            vcpu.rf = None
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
            self._wait()
        self._running = True
        try:
            plain = max_instructions is None and timeout is None
            if plain and (self._plain or (not self._core.observers and self._is_plain())):
                made = self._make_step()
                self._plain = isinstance(made, DebugExit)
                if isinstance(made, DebugExit):
                    return made
                exit_ = self._vcpu.look_at_step() if made else None
                if exit_ is not None:
                    return exit_
            self._plain = False
            return self._run(max_instructions, timeout)
        finally:
            self._running = False
            self._core.observers.settle()
            owner.release()

    def run_steps(self, count: int, stops: AbstractSet[int] = frozenset()) -> Steps | None:
        """Many single steps in one call; see the protocol. A slice of time at most."""
        shadow = self._state.d[HFLAGS] & HF_INHIBIT_IRQ
        with self._owned():
            if count < 1 or shadow or not self._is_plain():
                return None
            self._core.dirty.begin_for(count)
            deadline = time.monotonic_ns() + _SLICE_NS
            with held_sigint():
                steps = bulk.walk(self._vcpu, min(count, _MOST), deadline, stops)
        return steps if len(steps.pcs) else None

    def observe(self, *observations: Observation) -> None:
        """Tell of what runs from now on; see the protocol."""
        with self._owned():
            self._core.observers.replace(observations)

    def _is_plain(self) -> bool:
        """Only a host single-step is due: nothing to finish, deliver or wait for.

        Once it is so, it stays so from plain step to plain step, until somebody else owns the vCPU.
        """
        vcpu, debug = self._vcpu, self._vcpu.debug
        vcpu.plain.begin(vcpu.arming.dr7)
        return bool(
            self._state.d[EFLAGS] & TF
            and not self._core.w[Word.REQUEST]
            and debug.control & _SINGLESTEP
            and debug.pending is None
            and vcpu.transfer is None
            and vcpu.interrupts.quiet
            and vcpu.chipset.chip is None
            and vcpu.rf is None
            and not vcpu.returns
            and not vcpu.quirky
            and not self._untried
            and not vcpu.arming.stale
        )

    def approach(self, clock: int, timeout: float) -> Exit:
        """Run towards a clock value as ``run`` would on its way past it, and stop in front of it.

        The stop (``IntrExit("budget")``) is between two blocks, which leaves no trace in the guest.
        """
        with self._owned():
            return self._run(clock - self._core.clock, timeout, whole=True)

    def _run(
        self, max_instructions: int | None, timeout: float | None, *, whole: bool = False
    ) -> Exit:
        core, vcpu = self._core, self._vcpu
        if timeout is not None and timeout != timeout:
            raise BadInput("timeout is not a number of seconds")
        problem = self._no_entry()
        if problem:
            return FailEntryExit(_INVALID_GUEST_STATE, problem)
        limit = None if max_instructions is None else core.clock + max(max_instructions, 0)
        end = None if timeout is None else time.monotonic_ns() + int(min(timeout, _LONG) * 1e9)
        limit = None if limit is not None and limit > _MOST else limit
        with held_sigint() as held:
            exit_ = self._due(limit, end, held.seen)
            long = core.dirty.begin()
            while exit_ is None:
                now = time.monotonic_ns() + _SLICE_NS
                stop = self._next_stop(limit)
                first = stop if long is None or (stop is not None and stop < long) else long
                core.limit(first, now if end is None else min(now, end))
                exit_ = vcpu.round()
                if exit_ is None:
                    exit_ = self._due(limit, end, held.seen)
                    if whole and core.w[Word.WHY] & Why.LIMIT and core.w[Word.LIMIT] == limit:
                        break
                    # A block longer than what is left, or not to be logged, is gone through slowly.
                    why = 0 if exit_ else core.w[Word.WHY]
                    vcpu.one = vcpu.one or bool(why & (Why.LIMIT | Why.NEW_BLOCK))
                    if why & Why.LIMIT and long is not None and first == long:
                        core.dirty.give_up()
                        long = None
            core.limit(None, None)
            return exit_ or IntrExit("budget")

    def _next_stop(self, limit: int | None) -> int | None:
        """The clock's next value to stop at: the budget's, or a timer's of the irqchip."""
        timer = self._vcpu.chipset.next_stop()
        if timer is None or limit is None:
            return timer if limit is None else limit
        return min(timer, limit)

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
        if self._vcpu.chipset.chip is not None:
            raise IoctlError(
                errno.ENXIO,
                "KVM_INTERRUPT",
                "the irqchip is in the engine; raise a line (irq_line)",
            )
        with self._owned():
            if self._vcpu.interrupts.irq is not None:
                raise IoctlError(errno.EEXIST, "KVM_INTERRUPT", "an interrupt is already queued")
            self._vcpu.interrupts.irq = vector

    def nmi(self) -> None:
        """KVM_NMI: queue a non-maskable interrupt."""
        with self._owned():
            self._vcpu.interrupts.nmi_pending = True

    def request_interrupt_window(self, wanted: bool = True) -> None:
        """kvm_run.request_interrupt_window: end ``run`` when an interrupt could be taken."""
        with self._owned():
            self._vcpu.interrupts.window_wanted = wanted

    def create_irqchip(self) -> None:
        """KVM_CREATE_IRQCHIP and KVM_CREATE_PIT2. IoctlError EEXIST the second time."""
        with self._owned():
            chipset = self._vcpu.chipset
            if chipset.chip is not None:
                raise IoctlError(errno.EEXIST, "KVM_CREATE_IRQCHIP", "the irqchip is there already")
            chipset.create()

    def irq_line(self, line: int, level: bool) -> None:
        """KVM_IRQ_LINE on ISA line 0..15. IoctlError ENXIO without an irqchip, EINVAL outside."""
        with self._owned():
            chipset = self._vcpu.chipset
            if chipset.chip is None:
                raise IoctlError(errno.ENXIO, "KVM_IRQ_LINE", "no irqchip; create_irqchip() first")
            if not 0 <= line <= 15:
                raise IoctlError(errno.EINVAL, "KVM_IRQ_LINE", f"line {line} is not in 0..15")
            chipset.chip = chipset.chip.set_irq(line, bool(level))

    def get_mp_state(self) -> MpState:
        """KVM_GET_MP_STATE: HALTED while the vCPU sleeps in HLT with an irqchip."""
        self._check_open()
        return MpState.HALTED if self._vcpu.chipset.halted else MpState.RUNNABLE

    def set_mp_state(self, mp_state: MpState) -> None:
        """KVM_SET_MP_STATE: RUNNABLE or HALTED; IoctlError EINVAL for another."""
        if mp_state not in (MpState.RUNNABLE, MpState.HALTED):
            raise IoctlError(errno.EINVAL, "KVM_SET_MP_STATE", "RUNNABLE or HALTED only")
        with self._owned():
            self._vcpu.chipset.halted = mp_state is MpState.HALTED

    def request_stop(self) -> None:
        """From any thread: end the current (or next) ``run`` with ``IntrExit("request")``."""
        if not self._closed:
            self._core.w[Word.REQUEST] = 1
            self._core.w[Word.PAUSE] = 0

    # -- snapshots, end ----------------------------------------------------------------------------

    def snapshot(self) -> UnicornSnapshot:
        """The whole state."""
        with self._owned():
            return snapshots.take(self._vcpu)

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot of this engine back, with what was under way in it."""
        if not isinstance(snapshot, UnicornSnapshot) or len(snapshot.ram) * SIZE != self._ram_size:
            raise BadInput("this snapshot was made by another engine or with other RAM")
        with self._owned():
            self._untried = True
            self._core.dirty.lose()
            self._core.lifting.settle()
            snapshots.put(self._vcpu, snapshot)

    def close(self) -> None:
        """Free everything. Calling it twice is harmless."""
        if not self._closed:
            with self._owned():
                self._closed = True
                self._core.close()
