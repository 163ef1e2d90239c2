"""Into the guest and out again, once; and the registers in between.

Owns what a KVM_RUN needs around it: the signal mask of the thread, an access that the last exit
left to finish, an interrupt that waits, what DR7 was armed. Must not know: threads that compete,
deadlines, or why the caller runs.

Registers after a run come from ``struct kvm_run`` (KVM_CAP_SYNC_REGS), which costs no ioctl.
Writing is always an ioctl, at once: KVM_SET_GUEST_DEBUG looks at RIP, KVM_SET_REGS drops a queued
exception, and an error belongs to the call that made it.
"""

from __future__ import annotations

import struct
from fcntl import ioctl
from functools import lru_cache
from typing import Final

from ...errors import IoctlError
from ...exits import DebugExit, Exit, ExitReason
from ...uapi import (
    KVM_RUN_EXIT_REASON_OFFSET,
    KVM_RUN_UNION_OFFSET,
    KVM_SYNC_X86_REGS,
    KVM_SYNC_X86_SREGS,
    GuestDbg,
    Ioctl,
)
from ...x86.registers import MASK32, RFLAGS, DebugRegs, Regs, Sregs
from . import values
from .decoding import Accesses, decode
from .stopping import take_kick, this_thread
from .vcpu import (
    IMMEDIATE_EXIT,
    READY,
    SREGS_SIZE,
    SYNC_REGS,
    SYNC_SREGS,
    VALID_REGS,
    WINDOW,
    Vcpu,
)

_KVM_RUN: Final = int(Ioctl.KVM_RUN)
_ENABLE: Final = int(GuestDbg.ENABLE)
_USE_HW_BP: Final = int(GuestDbg.USE_HW_BP)
_BLOCKIRQ: Final = int(GuestDbg.BLOCKIRQ)
_DEBUG: Final = int(ExitReason.DEBUG)
_IF: Final = int(RFLAGS.IF)
_SYNCED: Final = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS
"""Not the events: reading them at each exit would apply a #DB's payload early on a kernel without
KVM_CAP_EXCEPTION_PAYLOAD, and nobody asks for them at each exit."""

_DEBUG_EXIT: Final = struct.Struct("<I20xI4xQQQ").unpack_from
"""exit_reason, and ``struct kvm_debug_exit_arch`` in the union."""

_REASON: Final = KVM_RUN_EXIT_REASON_OFFSET
_DR7_WORD: Final = (KVM_RUN_UNION_OFFSET + 24) // 8
_VALID_WORD: Final = VALID_REGS // 8
_BP = 3
_debug_exit: Final = lru_cache(1024)(DebugExit)
"""A guest that is stepped is often in a loop. Where KVM leaves ``dr7`` unwritten, it is the host's,
or the guest's as last looked at (its emulator does; spec 7)."""


class Entry:
    """The way in and out of one vCPU. ``sync`` is what KVM_CAP_SYNC_REGS said."""

    def __init__(self, vcpu: Vcpu, sync: int) -> None:
        self.vcpu = vcpu
        self._fd, self._kvm_run, self._words = vcpu.fd, vcpu.kvm_run, vcpu.words
        self._sync = sync & _SYNCED == _SYNCED
        self._words[_VALID_WORD] = _SYNCED if self._sync else 0
        self._fresh = False
        """Whether ``kvm_run`` holds the registers as they are."""
        self._synced = False
        """As ``_fresh``, but for RFLAGS, where KVM_SET_GUEST_DEBUG hides and shows TF."""
        self._mask: frozenset[int] | None = None
        self._later: Regs | None = None
        """Registers that KVM gets when it has finished a read (``set_regs``)."""
        self.accesses = Accesses(self._kvm_run)
        self.irq: int | None = None
        """An external interrupt that waits for the guest."""
        self.window = False
        """The caller wants to know when the guest can take one."""
        self.control = 0
        self.debugreg: tuple[int, ...] = (0,) * 8
        self.guest_dr7 = DebugRegs().dr7
        """The guest's own DR7 when it was last looked at."""

    @property
    def unfinished(self) -> bool:
        """More than an entry is due: an item to tell, registers or an interrupt to hand over."""
        return self.irq is not None or self._later is not None or bool(self.accesses.waiting)

    # -- registers ---------------------------------------------------------------------------------

    def regs(self) -> Regs:
        """KVM_GET_REGS, or without it."""
        if self._fresh:
            return values.make_regs(values.read_regs(self._kvm_run, SYNC_REGS))
        return self._later or self._regs_in_kvm()

    def _regs_in_kvm(self) -> Regs:
        return values.make_regs(values.read_regs(self.vcpu.get_regs()))

    def set_regs(self, regs: Regs) -> None:
        """KVM_SET_REGS, with regard to an access that KVM has to finish.

        The two get into each other's way. If RIP changes, KVM finishes first: done later, as part
        of the next KVM_RUN, it would write RIP again. Otherwise KVM_SET_REGS would make it lose the
        value of a read, so the registers are kept, and what changed is written after the read.
        """
        if self.accesses.under_way and regs.rip != self._regs_in_kvm().rip:
            self.finish_access()
        elif self.accesses.reads:
            self._later = regs
            return
        self.vcpu.set_regs(values.pack_regs(regs))

    def sregs(self) -> Sregs:
        """KVM_GET_SREGS, or without it."""
        if self._fresh:
            return values.sregs_of(self._kvm_run[SYNC_SREGS : SYNC_SREGS + SREGS_SIZE])
        return values.sregs_of(self.vcpu.get_sregs())

    def changed(self) -> None:
        """What ``kvm_run`` holds of the registers, and of IF, is out of date."""
        self._fresh = self._synced = False
        self._kvm_run[READY] = 0

    def set_guest_debug(self, control: int, debugreg: tuple[int, ...]) -> None:
        """KVM_SET_GUEST_DEBUG; DR7's upper half, which no processor takes, is cut off (spec 3)."""
        control, debugreg = int(control), (*debugreg[:7], debugreg[7] & MASK32)
        self._fresh = False
        self.vcpu.set_guest_debug(control, debugreg)
        self.control = control if control & _ENABLE else 0  # a plain int: steps look at it
        self.debugreg = debugreg

    def adopt(self, control: int, debugreg: tuple[int, ...]) -> None:
        """KVM_SET_GUEST_DEBUG was called with these, past this object."""
        self.control, self.debugreg = control, debugreg

    # -- running -----------------------------------------------------------------------------------

    def proceed(self) -> Exit | None:
        """The next item of the last exit, or else the next exit; None if there was none yet."""
        if self.accesses.waiting:
            return self.accesses.next()
        if self._later is not None:
            return self.complete()
        self._offer_interrupt()
        exit = self.enter()
        if exit is not None and exit.reason == ExitReason.IRQ_WINDOW_OPEN and self.irq is not None:
            return None
        return exit

    def step(self) -> Exit | None:
        """One entry while the host single-steps; None if ``proceed`` must do it."""
        return None if self.unfinished else self.enter()

    def enter(self) -> Exit | None:
        """KVM_RUN, once; None if a signal ended it before anything happened."""
        if self._mask is not this_thread.mask:
            self._adopt_thread()
        if self.accesses.under_way:
            self.accesses.forget()
        self._words[_DR7_WORD] = 0
        try:
            ioctl(self._fd, _KVM_RUN)
        except OSError as error:
            self._not_run(error)
            return None
        self._fresh = self._synced = self._sync
        reason, exception, pc, dr6, dr7 = _DEBUG_EXIT(self._kvm_run, _REASON)
        if reason != _DEBUG:
            return decode(self._kvm_run, self.accesses)
        if exception == _BP:
            return _debug_exit(exception, pc)
        if self.control & _USE_HW_BP:
            return _debug_exit(exception, pc, dr6, self.debugreg[7])
        return _debug_exit(exception, pc, dr6, dr7 or self.guest_dr7)

    def _not_run(self, error: OSError) -> None:
        """A signal came first, or KVM refuses to run the guest: IoctlError."""
        if not isinstance(error, InterruptedError):
            self._fresh = self._synced = False
            raise IoctlError(error.errno or 0, "KVM_RUN") from None
        self._fresh = self._synced = self._sync
        if not take_kick():
            this_thread.refresh()  # a signal that the thread blocks must not keep us out

    def _adopt_thread(self) -> None:
        self._mask = this_thread.mask
        self.vcpu.set_signal_mask(self._mask)

    def complete(self) -> Exit | None:
        """Let KVM finish what the last exit left, and execute nothing (KVM's immediate_exit)."""
        before = self._regs_in_kvm() if self._later else None
        exit = self._execute_nothing()
        if self._later and before:
            self._catch_up(self._later, before)
        return exit

    def _execute_nothing(self) -> Exit | None:
        self._kvm_run[IMMEDIATE_EXIT] = 1
        try:
            return self.enter()
        finally:
            self._kvm_run[IMMEDIATE_EXIT] = 0

    def _catch_up(self, later: Regs, before: Regs) -> None:
        """A read is done: write what the host had changed meanwhile."""
        together = zip(later, before, self._regs_in_kvm(), strict=True)
        regs = Regs._make(new if new != old else now for new, old, now in together)
        self.changed()
        self._later = regs if self.accesses.reads else None
        if self._later is None:
            self.vcpu.set_regs(values.pack_regs(regs))

    def finish_access(self) -> None:
        """KVM finishes its access with the answers it has; what else it tells of is not heard."""
        self._later = None
        while self.complete() is not None:
            pass
        self.accesses.forget()

    def _offer_interrupt(self) -> None:
        """Give KVM the waiting interrupt, or ask it to come back when the guest can take it."""
        wanted = self.irq is not None and not self.control & _BLOCKIRQ
        if wanted and self.irq is not None and (self._kvm_run[READY] or self._takes_interrupts()):
            self.vcpu.interrupt(self.irq)
            self.irq, wanted = None, False
        self._kvm_run[WINDOW] = int(wanted or self.window)

    def _takes_interrupts(self) -> bool:
        """Whether the guest can take one at once, looked at where KVM has not said so yet.

        It says so only at an exit; asked to come back for it, a KVM that looks at interrupts now
        and then may get past a HLT first.
        """
        if not self.regs().rflags & _IF or self.accesses.under_way:
            return False
        events = values.events_of(self.vcpu.get_vcpu_events())
        return not (
            events.interrupt_shadow
            or events.exception_injected
            or events.interrupt_injected
            or events.nmi_injected
            or events.nmi_pending
        )
