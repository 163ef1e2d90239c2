"""The run loop: enter the guest, see why it stopped, deliver or report, until an Exit is due.

This file is the traffic junction between ``Core`` (which runs instructions), ``guestdebug`` (which
knows who gets an exception), ``x86/delivery`` (which takes it through the guest's IDT) and the
instructions that the host carries out itself (intercepts.py, transfers.py). Must not know: threads,
signals, time (engine.py), or what a debugger does with an exit.

Two things are kept apart. The *machine's* TF is the bit in Unicorn: a trap after the next
instruction. It may be the guest's, the host's (KVM_GUESTDBG_SINGLESTEP), or ours for the length of
one instruction (``Vcpu.one``), and only the guest's may be seen by the guest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import guestdebug
from ...exits import DebugExit, Exit, HltExit, InternalErrorExit, IrqWindowOpenExit
from ...guestdebug import DebugState, Owner, PendingException
from ...profiles import Profile
from ...x86 import debugreg, delivery
from ...x86.decode import LONGEST, disassemble
from ...x86.opcode import IRET, MOV_TO_SEGMENT, POPF, STI, SYSRET, Opcode, read_opcode
from ...x86.registers import RFLAGS
from ...x86.vectors import Vector
from . import delivering, halting, intercepts, quirks, raised, transfers
from .arming import MAPPING_OPCODES, REMAPPED, Arming
from .chipset import Chipset
from .core import Core
from .library import UC_ERR_INSN_INVALID
from .native import Why, Word
from .plain import PlainSteps
from .state import (
    CR,
    CS_BASE,
    DR7,
    DR7_CANARY,
    EFLAGS,
    ERROR_CODE,
    HF_INHIBIT_IRQ,
    HFLAGS,
    IS_INT,
    RCX,
    RIP,
    RSP,
)
from .waiting import Interrupts, SteppedReturns

if TYPE_CHECKING:
    from .transfers import Transfer

TF, IF, RF = int(RFLAGS.TF), int(RFLAGS.IF), int(RFLAGS.RF)
_SETS_IF = frozenset((STI, POPF))  # and IRET, which has its own hook
_LOADS_FLAGS = frozenset((POPF, IRET, SYSRET))
_BS = debugreg.DR6_BS
_STI_BYTE = b"\xfb"
_SS = 2  # the register's number in ModRM


class Vcpu:
    """One virtual CPU: registers in ``state``, debug state in ``debug``, and what is pending."""

    def __init__(self, core: Core, profile: Profile) -> None:
        self.core = core
        self.quirky = profile.steps_by_flag or not (profile.reports_skipped and profile.cuts_pc)
        """Steps are not what the processor does by itself (quirks.py)."""
        self.state = core.state
        self.debug = DebugState(profile)
        self.transfer: Transfer | None = None  # an IN, OUT or MMIO waiting for the host
        self.interrupts = Interrupts()
        self.vectors: frozenset[int] = frozenset()
        self.trail: tuple[delivery.Step, ...] = ()
        """How the last event was delivered, or why it could not be."""
        self.rf: tuple[int, int] | None = None
        """RF=1: it shields the instruction at this linear address and clock from breakpoints."""
        self.one = False
        """Run a single instruction with a TF of our own."""
        self.held = 0
        """B bits of data breakpoints that MOV SS met: reported one instruction later."""
        self.passed_vector: int | None = None
        self.cr2 = 0  # before the run at hand: a page fault that does not come does not change it
        self.bp_exit = (-1, 0, -1)  # the last #BP taken by the host: linear RIP, size, clock
        self.returns = SteppedReturns()
        self._at_iret = self._at_mapping = False
        self.rcx = 0  # in front of the instruction that is stepped (quirks)
        self.arming = Arming(core, self.debug, core.read)
        self.plain = PlainSteps(core)
        self.chipset = Chipset(core)
        self._watches_if = False

    def arm(self) -> None:
        """Bring hooks in line with the effective debug registers."""
        self.arming.arm(self.debug)

    # -- one round of the loop ---------------------------------------------------------------------

    def look_at_step(self) -> Exit | None:
        """A host single-step with nothing else pending was made, and something came of it."""
        w, d = self.core.w, self.state.d
        self._see_changes()
        trapped = w[Word.WHY] == Why.INTR and w[Word.VECTOR] == 1 and not d[IS_INT]
        if not trapped or w[Word.WATCH_HIT] or d[HFLAGS] & HF_INHIBIT_IRQ:
            return self.stopped(self.core.error)
        self.trapped()
        return DebugExit(1, self.state.linear_pc(), guestdebug.BS_DR6, self.arming.dr7)

    def round(self) -> Exit | None:
        """Finish, deliver or run once; None to go on."""
        if self.transfer is not None:
            return transfers.resume(self)
        if self.chipset.chip is not None and halting.attend(self):
            return HltExit()
        if self.chipset.halted:
            return None
        exit_ = delivering.deliver_pending(self)
        if exit_ is not None:
            return exit_
        if self.interrupts.window_wanted and self._window_open():
            return IrqWindowOpenExit()
        if self.arming.stale:
            self.arming.find_watched()
        return self.enter()

    def _window_open(self) -> bool:
        """The guest can take an interrupt, and none waits; chips in the engine need no window."""
        shadow = self.state.d[HFLAGS] & HF_INHIBIT_IRQ
        queued = self.interrupts.irq is not None or self.chipset.chip is not None
        return bool(self.state.d[EFLAGS] & IF) and not shadow and not queued

    def enter(self) -> Exit | None:
        """Run guest instructions until something happens, and say what it was."""
        state = self.state
        self._strip_rf()
        if self.quirky and self.debug.singlestep and self.debug.profile.steps_by_flag:
            state.d[EFLAGS] |= TF
            self.rcx = state.q[RCX]
        ours = (self.one or self._held_up()) and not state.d[EFLAGS] & TF
        self.one = False
        self.cr2 = state.q[CR + 2]
        if ours:
            return self._enter_one()
        return self.stopped(self.run(single=bool(state.d[EFLAGS] & TF)))

    def run(self, *, single: bool) -> int:
        """Run in the core, and see to what the guest did to us on the way; the uc_err."""
        core, w = self.core, self.core.w
        w[Word.STOPS_AT_IRET] = bool(self.returns) or self.interrupts.nmi_masked or self._watches_if
        error = core.enter(single)
        core.end_pass()
        self._see_changes()
        return error

    def _see_changes(self) -> None:
        """An IRET lets NMIs in again; mappings may have changed; a task switch clears DR7 bits."""
        w, d = self.core.w, self.state.d
        if self._at_iret:  # SDM vol. 3, 6.7.1: also one that faults
            self._at_iret = self.interrupts.nmi_masked = False
        if self._at_mapping or w[Word.WATCH_HIT] & REMAPPED:
            self._at_mapping = False
            self.arming.mappings_changed()
            w[Word.WATCH_HIT] &= ~REMAPPED
        if d[DR7] != DR7_CANARY:
            d[DR7] = DR7_CANARY
            self.core.dirty.lose()
            self.set_debug(guestdebug.task_switched(self.debug))

    def _enter_one(self) -> Exit | None:
        """One instruction under a TF that nobody gets to see."""
        state = self.state
        opcode = self.opcode()
        state.d[EFLAGS] |= TF
        error = self.run(single=True)
        trapped = self.own_trap()
        if trapped:
            self._hide_pushed_tf()
        if not (trapped and opcode is not None and opcode.code in _LOADS_FLAGS):
            state.d[EFLAGS] &= ~TF
        return self.completed() if trapped else self.stopped(error)

    def completed(self) -> Exit | None:
        """One instruction ran, and its trap is nobody's business; data breakpoints still are."""
        self._after_instruction()
        if self._holds_hits():
            self.one = True
            return None
        hits = self.take_hits()
        return self.raise_db(hits) if hits else None

    def _holds_hits(self) -> bool:
        """What MOV SS has met is reported one instruction later."""
        if not self.in_mov_ss_shadow():
            return False
        hits = self.core.w[Word.WATCH_HIT]
        self.held |= hits
        return bool(hits)

    def own_trap(self) -> bool:
        """The run ended in a TF trap, not in an INT 1."""
        w = self.core.w
        return bool(w[Word.WHY] & Why.INTR) and w[Word.VECTOR] == 1 and not self.state.d[IS_INT]

    def stopped(self, error: int) -> Exit | None:
        """Sort out why the guest stopped."""
        w = self.core.w
        why = w[Word.WHY]
        if why & Why.INTR:
            return self._vector(w[Word.VECTOR])
        if error == UC_ERR_INSN_INVALID:
            return raised.invalid_opcode(self)
        if why & Why.BAD_MEMORY:
            return raised.outside_ram(self, error)
        if why & (Why.SITE | Why.WATCH):
            self.core.uncount()
        if w[Word.RF_AT] == self.state.hook_pc():
            self.set_rf()
        if why & Why.WATCH:
            return self._watched_access()
        if why & Why.SITE:
            return self._site()
        if why & ~Why.HALT:
            return None  # limit, deadline or request: the engine's business
        if error:
            return InternalErrorExit(1, self.code(), f"Unicorn stopped with error {error}")
        if self.chipset.chip is not None:
            return halting.halt(self)
        if self.debug.singlestep and self.debug.profile.hlt_is_a_step:
            return self.raise_db(_BS)
        if self.state.d[EFLAGS] & TF and guestdebug.owner_of_db(self.debug) is Owner.GUEST:
            self.queue(PendingException(Vector.DB, payload=_BS))  # the guest's own step over HLT
        return HltExit()

    # -- stops -------------------------------------------------------------------------------------

    def code(self) -> bytes:
        """The bytes at CS:RIP, as many as an instruction can have."""
        return self.core.machine.code(self.state.linear_pc(), LONGEST)

    def opcode(self) -> Opcode | None:
        """The opcode at CS:RIP."""
        return read_opcode(self.code(), self.state.bits())

    def _watched_access(self) -> Exit | None:
        """The instruction at CS:RIP has touched watched bytes: take it back, and run it alone."""
        self.core.watches.undo_stores()
        self.core.pass_site()
        self.one = True
        return None

    def take_hits(self) -> int:
        """B bits of the data breakpoints to be reported now."""
        hits, self.held = self.core.w[Word.WATCH_HIT] | self.held, 0
        return hits

    def in_mov_ss_shadow(self) -> bool:
        """The last instruction was MOV SS or POP SS, not STI, which shields interrupts only.

        Unicorn has one bit for both. STI is one byte, FB, in front of CS:RIP, which may also be the
        end of a MOV SS.
        """
        if not self.state.d[HFLAGS] & HF_INHIBIT_IRQ:
            return False
        pc = self.state.linear_pc()
        return self.core.code(pc - 1, 1) != _STI_BYTE or self._ends_with_mov_ss(pc)

    def _ends_with_mov_ss(self, after: int) -> bool:
        """Some MOV SS could end in front of ``after``; looked for where it could also be STI."""
        bits = self.state.bits()
        for size in range(2, LONGEST + 1):
            code = self.core.code(after - size, size)
            opcode = read_opcode(code, bits)
            if opcode is None or opcode.code != MOV_TO_SEGMENT or opcode.after >> 3 & 7 != _SS:
                continue
            if disassemble(code, after - size, bits)[0].size == size:
                return True
        return False

    def _site(self) -> Exit | None:
        """In front of an instruction that somebody wanted to see first."""
        found = self.breaks_here()
        if found is not None:
            return self.report(*found)
        opcode = self.opcode()
        code = opcode.code if opcode is not None else -1
        if opcode is not None and opcode.kind in intercepts.TABLE:
            return intercepts.TABLE[opcode.kind](self, opcode)
        return self.pass_site(code)

    def pass_site(self, code: int) -> Exit | None:
        """Let the guest have the instruction at CS:RIP, whose opcode is ``code``, alone."""
        if code == IRET:
            self.returns.met_iret(self.state.hook_pc(), self.state.q[RSP])
            self._at_iret = True
        elif code in MAPPING_OPCODES:
            self._at_mapping = True
            self.core.dirty.lose()
        elif code not in self.core.sites:
            self.core.forget_site()
        self.core.pass_site()
        self.one = True
        return None

    def breaks_here(self) -> tuple[Owner, int] | None:
        """Execution breakpoints at CS:RIP: whose they are, and their B bits."""
        if self.debug.profile.mov_ss_shields_code and self.in_mov_ss_shadow():
            return None
        return guestdebug.exec_break(self.debug, self.state.linear_pc(), rf=self.has_rf())

    def raise_db(self, causes: int) -> Exit | None:
        """A #DB at CS:RIP: to the host as an exit, or into the slot for the guest."""
        return self.report(guestdebug.owner_of_db(self.debug), causes)

    def report(self, owner: Owner, causes: int) -> Exit | None:
        """A #DB at CS:RIP to its owner."""
        if owner is Owner.HOST:
            return guestdebug.db_exit(self.debug, self.exit_pc(), causes)
        self.queue(PendingException(Vector.DB, payload=causes))
        return None

    def exit_pc(self) -> int:
        """The pc of an exit: CS:RIP as a linear address, which some backends do not cut."""
        if self.debug.profile.cuts_pc or self.state.bits() == 64:
            return self.state.linear_pc()
        return self.state.q[RIP] + self.state.q[CS_BASE]

    def queue(self, pending: PendingException) -> None:
        """Put an exception into the slot; it is delivered at the next entry."""
        self.debug = guestdebug.queue(self.debug, pending)

    def _vector(self, vector: int) -> Exit | None:
        """Unicorn raised an exception or INT n and delivered nothing."""
        d, w = self.state.d, self.core.w
        if d[IS_INT]:
            return raised.software(self, vector)
        if vector != Vector.DB:
            return raised.fault(self, vector, d[ERROR_CODE], self.state.q[CR + 2])
        self.trapped()
        if self.in_mov_ss_shadow() and self.debug.profile.mov_ss_holds_trap:
            self.held |= w[Word.WATCH_HIT]
            return None
        if self.quirky and self.debug.singlestep and not quirks.is_reported(self):
            return None
        return self.raise_db(_BS | self.take_hits())

    def trapped(self) -> None:
        """A TF trap: put right what the instruction before it did with a host-owned TF."""
        if guestdebug.pushes_hidden_tf(self.debug):
            self._hide_pushed_tf()
        self._after_instruction()

    # -- after an instruction ----------------------------------------------------------------------

    def _held_up(self) -> bool:
        """An event waits for the end of a shadow: look again after one instruction.

        One that waits for IF need not be looked for: what can set IF is a site meanwhile.
        """
        interrupts, chipset = self.interrupts, self.chipset
        irq = interrupts.irq is not None or interrupts.window_wanted
        if not irq and not interrupts.nmi_pending and chipset.chip is None:
            return False
        blocked = guestdebug.blocks_interrupts(self.debug)
        irq = irq or (chipset.interrupt and not blocked)
        if irq and not self._watches_if:
            self._watches_if = True
            self.core.intercept("IF", _SETS_IF)
        enabled = self.state.d[EFLAGS] & IF
        return bool(irq and enabled) or interrupts.nmi_waits(blocked)

    def take_held(self) -> int:
        """What MOV SS left to be reported."""
        held, self.held = self.held, 0
        return held

    def _after_instruction(self) -> None:
        """An instruction completed: RF shields the next one iff IRET just loaded it.

        Between two elements of a REP the instruction is not complete (SDM vol. 3, 17.3.1.1).
        """
        if self.rf is not None:
            opcode = self.opcode() if self.rf[0] == self.state.linear_pc() else None
            if opcode is not None and opcode.is_rep_string:
                self.set_rf()
            else:
                self.rf = None
        self._strip_rf()
        stepping = self.returns and self.debug.singlestep
        if stepping and self.returns.regained(self.core.w[Word.LAST_PC], self.state.q[RSP]):
            self.state.d[EFLAGS] |= TF

    def _strip_rf(self) -> None:
        """Unicorn would keep RF for ever; it counts for the next instruction only."""
        if self.state.d[EFLAGS] & RF:
            self.state.d[EFLAGS] &= ~RF
            self.set_rf()

    def set_rf(self) -> None:
        """RF=1 for the instruction at CS:RIP."""
        self.rf = (self.state.linear_pc(), self.core.clock)

    def has_rf(self) -> bool:
        """RF=1 at CS:RIP, and nothing ran since it was set."""
        return self.rf is not None and self.rf == (self.state.linear_pc(), self.core.clock)

    def _hide_pushed_tf(self) -> None:
        """If the last instruction was PUSHF, take the host's TF out of the image it pushed."""
        if self.core.w[Word.LAST_PC] in self.core.pushf:
            transfers.clear_pushed_tf(self)

    # -- instructions carried out here -------------------------------------------------------------

    def retire(self, size: int, rip: int | None = None) -> Exit | None:
        """An intercepted instruction of ``size`` bytes is done; trap if TF was set before it."""
        state = self.state
        trap = state.d[EFLAGS] & TF and self.steps_over_skipped()
        state.q[RIP] = state.next_rip(size) if rip is None else rip
        state.d[HFLAGS] &= ~HF_INHIBIT_IRQ
        self.core.count(1)
        self._after_instruction()
        return self.raise_db(_BS) if trap else None

    def steps_over_skipped(self) -> bool:
        """A trap behind what KVM carries out itself is reported (always to the guest)."""
        return self.debug.profile.reports_skipped or not self.debug.singlestep

    def write_tf(self, rflags: int) -> None:
        """TF as KVM's RFLAGS setter leaves it when it is given ``rflags`` here (spec 5)."""
        self.put_tf(guestdebug.rflags_written(self.debug, rflags, self.state.linear_pc()))

    def put_tf(self, rflags: int) -> None:
        """TF, and RF where it is set, of ``rflags``."""
        self.state.d[EFLAGS] = self.state.d[EFLAGS] & ~TF | rflags & TF
        if rflags & RF:
            self.set_rf()

    def set_debug(self, debug: DebugState) -> None:
        """Replace the debug state and re-arm."""
        self.debug = debug
        self.arm()
