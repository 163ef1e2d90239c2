"""Stops that this host's KVM does not give, made from what it does give.

Each is switched on by what probe.py saw, and its exit says ``emulated``:

* An INT3 that KVM fails to emulate is #BP's stop, if the host asked for that. In a mode where KVM
  gives it to the guest instead, the guest is stepped, and looked at before each step: far slower,
  and only where it can be stepped. An INT3 that is the very first instruction of a handler entered
  by a fault is executed in the same step then, and goes to the guest.
* A write watchpoint is a page of read-only memory: its stores leave KVM_RUN before they are done,
  and are done here. What is missed: a store after the guest has mapped the watched address
  elsewhere without an exit (page tables are looked at whenever the guest is entered), and the
  accessed and dirty bits that the processor itself sets in a watched page table. What hits besides:
  a store to the same bytes by another linear address.
* KVM keeps only the last store of an instruction that stores more than once there, and delivers no
  exception to a stack there. So while the stack is in a watched page the guest is stepped and the
  watched bytes are compared: slow, and a store of what was there already is not seen. A stack that
  is moved into a watched page is noticed when the guest is entered next, and the stack that it will
  have in an exception from CPL 3 is not looked at. Where the guest cannot be stepped the page is
  protected all the same: there an instruction that stores twice may lose its first store.
* A guest that is stepped here without the host's asking finds TF in the frames that KVM pushes
  meanwhile, as under any step on such a host.
* The stop behind a stepped OUT or store to MMIO, which KVM forgets, comes from the next run, before
  that executes anything (spec 11).
* A stepped HLT is carried out here, as KVM would step over it and halt later.
* An injected #BP's frame points behind the INT3 at hand, as KVM's own does elsewhere; RIP does so
  as soon as the injection is asked for.


On a processor that does all this itself nothing here is ever active. Must not know: who asked.
"""

from __future__ import annotations

import struct
from typing import Final

from ...exits import (
    DebugExit,
    Exit,
    HltExit,
    InternalErrorExit,
    IoExit,
    MmioExit,
)
from ...uapi import KVM_INTERNAL_ERROR_EMULATION, GuestDbg
from ...x86.debugreg import DR6_B, DR6_BD, DR6_BS, DR6_BT, DR6_RESET, Access, dr7_with, exec_hits
from ...x86.opcode import INT3, read_opcode
from ...x86.registers import RFLAGS, CpuMode, Regs, Sregs, linear_pc
from .. import Capability
from . import probe
from .entry import Entry
from .fetching import Fetch
from .frames import delivered
from .values import events_of, pack_regs
from .vcpu import IMMEDIATE_EXIT, Vcpu
from .vm import PAGE, KvmVm
from .watching import Watched, hits, pages_of, place, spare_slot, stack_pages, write_slots

_SINGLESTEP: Final = int(GuestDbg.SINGLESTEP)
_USE_SW_BP: Final = int(GuestDbg.USE_SW_BP)
_USE_HW_BP: Final = int(GuestDbg.USE_HW_BP)
_INJECT_DB: Final = int(GuestDbg.INJECT_DB)
_INJECT_BP: Final = int(GuestDbg.INJECT_BP)
_INJECT: Final = _INJECT_DB | _INJECT_BP
_CAUSES: Final = DR6_B | DR6_BD | DR6_BS | DR6_BT
_POINTER: Final = struct.Struct("<HH")
_INT3: Final = b"\xcc"
_HLT: Final = b"\xf4"
_IF: Final = int(RFLAGS.IF)
_PLAIN_STEP: Final = int(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)
_WIDEST: Final = 8
"""Bytes of one KVM_EXIT_MMIO; a wider store comes in several."""

_enter: Final = Entry.enter


class EmulatingEntry(Entry):
    """The way in and out, with the stops that KVM owes."""

    def __init__(self, vcpu: Vcpu, sync: int, vm: KvmVm) -> None:
        super().__init__(vcpu, sync)
        self._vm = vm
        self._slots: tuple[tuple[int, int, int], ...] = ()
        """What the debug registers watch for writes, where that is made of pages."""
        self._watched: list[Watched] = []
        self._owed = 0
        """DR6 bits of a stop that is due as soon as KVM has finished its access."""
        self._lost: probe.LostSteps | None = None
        """While the host steps: what KVM steps over without a stop."""
        self._injecting = 0
        """The vector that the next entry injects."""
        self._plain = False
        """The host steps and asks for nothing else; only an HLT is to be looked for."""
        self._fetch = Fetch(vcpu, vm)
        self._hlt_comes = self._fetch.hlt_comes

    # -- what the host asks for --------------------------------------------------------------------

    def set_guest_debug(self, control: int, debugreg: tuple[int, ...]) -> None:
        """As ``Entry``; a stop that is due but not asked for any more is dropped."""
        if control & _INJECT == _INJECT_BP and not self._injecting:
            self._pass_int3()
        super().set_guest_debug(control, debugreg)
        if control & _INJECT:
            self._injecting = 1 if control & _INJECT_DB else 3
        self._arm()

    def adopt(self, control: int, debugreg: tuple[int, ...]) -> None:
        """As ``Entry``, in another state of the guest."""
        super().adopt(control, debugreg)
        self._injecting = 0
        self._arm()

    def _arm(self) -> None:
        control = self.control
        self._lost = probe.lost_steps() if control & _SINGLESTEP else None
        self._plain = control == _PLAIN_STEP and not self._injecting
        slots = write_slots(self.debugreg) if control & _USE_HW_BP else ()
        self._slots = slots if slots and probe.watches_by_pages() else ()
        if self._watched and not self._slots:
            self._watched = []
            self._vm.protect(())
        if self._owed:
            wanted = DR6_BS if control & _SINGLESTEP else 0
            self._owed &= wanted | (DR6_B if control & _USE_HW_BP else 0)

    def set_regs(self, regs: Regs) -> None:
        """As ``Entry``, which drops what is injected, and finishes the access of a stop that is due
        where the host goes elsewhere: that stop comes to nobody then.
        """
        self._injecting = 0
        super().set_regs(regs)

    # -- in and out --------------------------------------------------------------------------------

    def step(self) -> Exit | None:
        """As ``Entry``, by the shortest way where there is nothing to make up for."""
        plain = self._plain and self._synced and not self._owed
        if not plain or self.irq is not None or self.accesses.under_way or self._hlt_comes():
            return super().step()
        exit = _enter(self)
        return exit if type(exit) is DebugExit else self._judge(exit)

    def enter(self) -> Exit | None:
        """As ``Entry``; None also after a store that nobody wants to know of."""
        if self._kvm_run[IMMEDIATE_EXIT]:
            return self._pay() if self._owed else self._judge(self._go())
        if self._owed:
            return self._execute_nothing()
        if self._lost:
            self._fetch.rip = self._rip()
        if self.control & _USE_SW_BP and self._passes_int3():
            return self._search_int3()
        return self._enter_at(self._lost)

    def _enter_at(self, lost: probe.LostSteps | None) -> Exit | None:
        if lost and lost.hlt and self._at_hlt():
            return self._halt()
        if self._slots and self._protect():
            return self._compare()
        return self._judge(self._go())

    def _go(self) -> Exit | None:
        exit = super().enter()
        if exit is not None:
            self._injecting = 0
        return exit

    def _judge(self, exit: Exit | None) -> Exit | None:
        """What an exit of KVM is to the host."""
        if exit is None or type(exit) is DebugExit:
            return exit
        if isinstance(exit, MmioExit):
            return self._mmio(exit)
        if isinstance(exit, IoExit):
            if self._lost and self._lost.out and exit.direction == "out":
                self._owe_step()
        elif isinstance(exit, InternalErrorExit) and self.control & _USE_SW_BP:
            return self._int3(exit)
        return exit

    def _owe_step(self) -> None:
        """KVM has left the instruction, and forgets its stop.

        It does not leave a REP before all is done, and then it knows of the stop by itself.
        """
        if self._rip() != self._fetch.rip:
            self._owed |= DR6_BS

    def _pay(self) -> Exit | None:
        """Let KVM finish its access, which may need the host once more; then the stop is due."""
        more = self._go()
        if type(more) is DebugExit:
            causes, self._owed = self._owed, 0
            return DebugExit(1, more.pc, more.dr6 | causes, more.dr7, emulated=True)
        if more is not None:
            return self._judge(more)
        causes, self._owed = self._owed, 0
        return DebugExit(1, self._pc(), DR6_RESET | causes, self._dr7(), emulated=True)

    def _dr7(self) -> int:
        return self.debugreg[7] if self.control & _USE_HW_BP else self.guest_dr7

    def _pc(self) -> int:
        return linear_pc(self._rip(), self._sregs())

    def _rip(self) -> int:
        return self._fetch.synced_rip() if self._synced else self.regs().rip

    def _sregs(self) -> Sregs:
        return self._fetch.synced_sregs() if self._synced else self.sregs()

    def _byte(self) -> bytes:
        """The byte at CS:RIP; none where that leads outside RAM."""
        return self._fetch.byte(self._rip(), self._sregs())

    def _steps_here(self) -> bool:
        """Whether the guest can be stepped in the mode that it is in."""
        return Capability.SINGLESTEP in probe.capabilities(*probe.place_of(self._sregs()))

    # -- INT3 --------------------------------------------------------------------------------------

    def _int3(self, exit: InternalErrorExit) -> Exit:
        """KVM has executed nothing, so the guest stands at the INT3, as #BP's stop wants it."""
        if exit.suberror != KVM_INTERNAL_ERROR_EMULATION:
            return exit
        opcode = read_opcode(exit.data or self._byte(), self.sregs().mode.bits)
        if opcode is None or opcode.code != INT3:
            return exit
        return DebugExit(3, self._pc(), emulated=True)

    def _passes_int3(self) -> bool:
        """Whether an INT3 would be the guest's in the mode that it is in, though it can be stepped.

        Where it cannot be stepped either, nothing is lost by letting it run.
        """
        works = probe.capabilities(*probe.place_of(self._sregs()))
        return Capability.SW_BP not in works and Capability.SINGLESTEP in works

    def _search_int3(self) -> Exit | None:
        """One step nearer to an INT3; None if there is nothing to tell yet."""
        if not self._injecting and self._byte() == _INT3:
            return DebugExit(3, self._pc(), emulated=True)
        if self.control & _SINGLESTEP:
            return self._enter_at(self._lost)
        start, cs = self._rip(), self._sregs().cs.selector
        ours = self._arm_search()
        exit = self._enter_at(probe.lost_steps())
        self._set(self.control, self.debugreg)
        if type(exit) is DebugExit and exit.exception == 1 and exit.dr6 & _CAUSES == ours:
            return self._passed_halt(start, cs)
        return exit

    def _arm_search(self) -> int:
        """Let the guest come back after one instruction; the cause in DR6 that this will have.

        A handler that an injection leads to is met by a debug register, if one is free: a step
        would execute its first instruction, and leave TF in its frame.
        """
        vector, spare = self._injecting, spare_slot(self.debugreg[7])
        if not vector or spare is None or self.sregs().mode is not CpuMode.REAL:
            self._set(self.control | _SINGLESTEP, self.debugreg)
            return DR6_BS
        ip, cs = _POINTER.unpack(self._fetch.read(self.sregs().idt.base + vector * 4, 4))
        debugreg = list(self.debugreg if self.control & _USE_HW_BP else (0,) * 8)
        debugreg[spare] = cs * 16 + ip
        debugreg[7] = dr7_with(debugreg[7], spare, Access.EXEC, 1)
        self._set(self.control | _USE_HW_BP, tuple(debugreg))
        return 1 << spare

    def _set(self, control: int, debugreg: tuple[int, ...]) -> None:
        """KVM_SET_GUEST_DEBUG for a moment; what is injected was so when the host asked for it."""
        self._fresh = False
        self.vcpu.set_guest_debug(control & ~_INJECT, debugreg)

    def _pass_int3(self) -> None:
        """The guest's own INT3 goes back to it: its handler must return behind it (spec 7)."""
        if self._byte() != _INT3 or not probe.returns_to_int3() or self._event_comes():
            return
        regs = self.regs()
        self.vcpu.set_regs(pack_regs(regs._replace(rip=regs.rip + 1)))
        self.changed()

    # -- HLT ---------------------------------------------------------------------------------------

    def _at_hlt(self) -> bool:
        """Whether the next step is over an HLT that would halt, and nothing comes before it."""
        if self._synced and not self._hlt_comes():
            return False
        if self._byte() != _HLT or self._vm.irqchip or self._sregs().cpl:
            return False
        control, pc = self.control, self._pc()
        if control & _USE_HW_BP and exec_hits(self.debugreg[7], self.debugreg[:4], pc):
            return False
        return not self._event_comes()

    def _event_comes(self) -> bool:
        """Something is delivered first; of an injected #BP the events do not tell."""
        events = events_of(self.vcpu.get_vcpu_events())
        return bool(
            self._injecting
            or events.exception_injected
            or events.interrupt_injected
            or events.nmi_injected
            or events.nmi_pending
            or (self.irq is not None and self.regs().rflags & _IF)
        )

    def _halt(self) -> HltExit:
        """HLT is done: RIP is behind it, and the exit is HLT's, not a stop (spec 11, 14)."""
        regs = self.regs()
        self.vcpu.set_regs(pack_regs(regs._replace(rip=regs.rip + 1)))
        self.changed()
        return HltExit()

    def _passed_halt(self, start: int, cs: int) -> Exit | None:
        """The HLT exit that a step of ours, from RIP ``start``, has passed; None if there is none.

        KVM executes a handler's first instruction with the delivery. If that was an HLT, the guest
        halts unseen; so the HLT is executed once more, without a step, which ends that halt too.
        """
        rip, sregs = self._rip(), self._sregs()
        if self._fetch.byte(rip - 1, sregs) != _HLT or not probe.lost_steps().hlt:
            return None
        if not delivered(start, cs, self.regs().rsp, sregs, self._fetch.read):
            return None
        self.vcpu.set_regs(pack_regs(self.regs()._replace(rip=rip - 1)))
        self.changed()
        self._set(0, (0,) * 8)
        exit = None
        while exit is None:  # a signal may come first
            exit = self._go()
        self._set(self.control, self.debugreg)
        return exit

    # -- stores ------------------------------------------------------------------------------------

    def _protect(self) -> bool:
        """Look where the watched bytes are now; whether the stack is there too."""
        sregs = self._sregs()
        self._watched = place(self._slots, sregs, self._fetch.read)
        pages = pages_of(self._watched, self._vm.size)
        stack = stack_pages(self.regs().rsp, sregs, self._fetch.read)
        mixed = bool(pages & stack) and self._steps_here()
        self._vm.protect(() if mixed else pages)
        return mixed

    def _compare(self) -> Exit | None:
        """One step, and then a look at the watched bytes; None if there is nothing to tell."""
        asked = self.control & _SINGLESTEP
        if not asked and probe.lost_steps().hlt and self._at_hlt():
            return self._halt()
        start, cs = self._rip(), self._sregs().cs.selector
        before = [self._vm.ram[each.start : each.end] for each in self._watched]
        self._set(self.control | _SINGLESTEP, self.debugreg)
        exit = self._judge(self._go())
        self._set(self.control, self.debugreg)
        changed = 0
        for each, old in zip(self._watched, before, strict=True):
            changed |= each.bit if self._vm.ram[each.start : each.end] != old else 0
        if type(exit) is not DebugExit or exit.exception != 1:
            self._owed |= changed
            return exit
        causes = exit.dr6 & _CAUSES & ~(0 if asked else DR6_BS) | changed
        if not causes:
            return self._passed_halt(start, cs)
        emulated = exit.emulated or bool(changed)
        return DebugExit(1, exit.pc, DR6_RESET | causes, exit.dr7, emulated=emulated)

    def _mmio(self, exit: MmioExit) -> Exit | None:
        if not exit.is_write:
            return exit
        if self._lost and self._lost.mmio_write:
            self._owe_step()
        if exit.phys_addr < self._vm.size:
            return self._store(exit.phys_addr, exit.data)
        return exit

    def _store(self, address: int, data: bytes) -> Exit | None:
        """Do the store that read-only memory refused; KVM tells a wide one piece by piece."""
        end = address + len(data)
        self._vm.ram[address:end] = data
        self._owed |= hits(self._watched, address, len(data))
        if self._owed or len(data) == _WIDEST or end % PAGE == 0:
            return self._finish()
        return None

    def _finish(self) -> Exit | None:
        if self._kvm_run[IMMEDIATE_EXIT]:
            return self.enter()
        return self._execute_nothing()
