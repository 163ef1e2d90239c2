"""The engine against guestdebug.py alone: the same calls, the same answers.

``Paper`` is a processor that knows no instruction: a straight line of places, a TF, an RF, and the
pure functions. Whatever sequence of calls both get, they must refuse the same calls with the same
errno, show the same debug registers and RFLAGS.TF, and stop with the same exits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kvmdbg import assemble, guestdebug
from kvmdbg.engines import open_engine
from kvmdbg.errors import IoctlError
from kvmdbg.exits import DebugExit, Exit, HltExit, IntrExit, ShutdownExit
from kvmdbg.guestdebug import DebugState, Owner, PendingException
from kvmdbg.machine.layout import MODES, default_guest
from kvmdbg.program import Program
from kvmdbg.uapi import GuestDbg
from kvmdbg.x86.debugreg import DR6_BS, DR7_GD
from kvmdbg.x86.registers import RFLAGS, DebugRegs, DescriptorTable, VcpuEvents
from kvmdbg.x86.vectors import Vector
from tests.guests.bench import BS, Bench, E, H, S

RAM = 0x10000
LINES = ("nop", "stc", "mov al, 1", "inc cl", "cmc", "xchg al, ah", "mov edx, 7", "clc") * 6
TF, RF = int(RFLAGS.TF), int(RFLAGS.RF)

WORDS = st.integers(0, (1 << 64) - 1)
PLACES = st.integers(0, len(LINES) - 1)
DR7S = st.lists(st.sampled_from([*range(8), 8, 9, 13, 16, 22, 29, 31, 11, 32]), max_size=6)
CONTROLS = st.lists(st.sampled_from(list(GuestDbg)), max_size=4)


def bits(numbers: list[int]) -> int:
    """The number with these bits."""
    return sum(1 << number for number in {*numbers})


@cache
def straight_line(mode: str) -> tuple[Program, tuple[int, ...]]:
    """The program in this mode, and where each of its instructions begins."""
    text = "\n".join(f"line{n}: {line}" for n, line in enumerate(LINES))
    program = assemble(f"{text}\nhlt", mode=mode)
    return program, tuple(program.symbols[f"line{n}"] for n in range(len(LINES)))


class Paper:
    """The model: one straight line under the rules of guestdebug.py."""

    def __init__(self, places: tuple[int, ...]) -> None:
        self.places = places
        self.state = DebugState()
        self.at = 0
        self.tf = False
        self.rf = False

    @property
    def pc(self) -> int:
        """Linear address of the next instruction."""
        return self.places[self.at]

    def set_guest_debug(self, control: int, registers: tuple[int, ...]) -> None:
        seen = guestdebug.rflags_read(self.state, TF * self.tf)
        self.state = guestdebug.set_guest_debug(self.state, control, registers, self.pc)
        self.write_flags(seen)

    def write_flags(self, rflags: int) -> None:
        self.tf = bool(guestdebug.rflags_written(self.state, rflags, self.pc) & TF)

    def set_regs(self, at: int, rflags: int) -> None:
        self.at = at
        self.write_flags(rflags)
        self.rf = bool(rflags & RF)
        self.state = guestdebug.drop_pending(self.state)

    def set_debugregs(self, registers: DebugRegs) -> None:
        self.state = guestdebug.set_debugregs(self.state, registers)

    def seen_flags(self) -> int:
        """TF and RF as KVM_GET_REGS shows them."""
        return guestdebug.rflags_read(self.state, TF * self.tf) | RF * self.rf

    def run(self, insns: int) -> Exit:
        end = self.at + insns
        while self.at < end:
            exit_ = self._round()
            if exit_ is not None:
                return exit_
        return IntrExit("budget")

    def _round(self) -> Exit | None:
        """What waits, and execution breakpoints, come before the instruction; its trap after."""
        if self.state.pending is not None:
            return self._deliver()
        causes = 0 if self.rf else guestdebug.exec_causes(self.state, self.pc)
        if causes:
            return self._debug(causes)
        self.at += 1
        self.rf = False
        return self._debug(DR6_BS) if self.tf else None

    def _debug(self, causes: int) -> Exit | None:
        if guestdebug.owner_of_db(self.state) is Owner.HOST:
            return guestdebug.db_exit(self.state, self.pc, causes)
        self.state = guestdebug.queue(self.state, PendingException(Vector.DB, payload=causes))
        return None

    def _deliver(self) -> Exit:
        """The guest has no handlers: every delivery ends in a triple fault."""
        _, self.state = guestdebug.take_pending(self.state)
        return ShutdownExit()


def refusal(call: Callable[[], None]) -> int | None:
    """The errno with which a call is refused, None if it is not."""
    try:
        call()
    except IoctlError as error:
        return error.errno
    return None


class EngineAndPaper(RuleBasedStateMachine):
    """Every rule does the same to both."""

    @initialize(mode=st.sampled_from(MODES))
    def open(self, mode: str) -> None:
        program, places = straight_line(mode)
        self.paper = Paper(places)
        self.engine = open_engine("unicorn", RAM)
        guest = default_guest(mode, RAM)
        for address, data in (*guest.memory, (program.origin, program.code)):
            self.engine.write_memory(address, data)
        self.engine.set_sregs(guest.sregs._replace(idt=DescriptorTable(0, 0)))
        self.engine.set_regs(guest.regs)

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()

    def addresses(self, places: list[int], others: list[int]) -> tuple[int, int, int, int]:
        """Two registers at instructions, two anywhere."""
        a, b = (self.paper.places[place] for place in places)
        return a, b, others[0], others[1]

    @rule(
        control=CONTROLS.map(sum) | WORDS,
        places=st.lists(PLACES, min_size=2, max_size=2),
        others=st.lists(WORDS, min_size=7, max_size=7),
        dr7=DR7S.map(bits),
    )
    def set_guest_debug(self, control: int, places: list[int], others: list[int], dr7: int) -> None:
        db = self.addresses(places, others)
        registers = (*db, *others[2:5], dr7 | others[5] << 32)
        assert refusal(lambda: self.engine.set_guest_debug(control, registers)) == refusal(
            lambda: self.paper.set_guest_debug(control, registers)
        )

    @rule(
        places=st.lists(PLACES, min_size=2, max_size=2),
        others=st.lists(WORDS, min_size=2, max_size=2),
        dr6=st.integers(0, 0xFFFFFFFF) | WORDS,
        dr7=DR7S.map(bits) | WORDS,
        flags=st.sampled_from([0, 0, 0, 1]),
    )
    def set_debugregs(
        self, places: list[int], others: list[int], dr6: int, dr7: int, flags: int
    ) -> None:
        registers = DebugRegs(self.addresses(places, others), dr6, dr7, flags)
        assert refusal(lambda: self.engine.set_debugregs(registers)) == refusal(
            lambda: self.paper.set_debugregs(registers)
        )

    @rule(at=PLACES, tf=st.booleans(), rf=st.booleans(), codes=st.sampled_from([0, 1, 0x8D5]))
    def set_regs(self, at: int, tf: bool, rf: bool, codes: int) -> None:
        rflags = 2 | TF * tf | RF * rf | codes
        regs = self.engine.get_regs()
        self.engine.set_regs(regs._replace(rip=self.paper.places[at], rflags=rflags))
        self.paper.set_regs(at, rflags)

    @rule()
    def read_and_write_regs(self) -> None:
        regs = self.engine.get_regs()
        self.engine.set_regs(regs)
        self.paper.set_regs(self.paper.at, regs.rflags)

    @rule(payload=st.none() | st.integers(0, 15) | st.sampled_from([1 << 14, 1 << 13, 1 << 11]))
    def queue_a_debug_exception(self, payload: int | None) -> None:
        self.engine.set_vcpu_events(
            VcpuEvents(
                exception_pending=1,
                exception_nr=1,
                exception_has_payload=int(payload is not None),
                exception_payload=payload or 0,
            )
        )
        pending = PendingException(Vector.DB, payload=payload)
        self.paper.state = guestdebug.replace_pending(self.paper.state, pending)

    @rule(insns=st.integers(0, 12))
    def run(self, insns: int) -> None:
        insns = min(insns, len(LINES) - 1 - self.paper.at)
        assert self.engine.run(max_instructions=insns, timeout=5) == self.paper.run(insns)

    @invariant()
    def both_show_the_same(self) -> None:
        if hasattr(self, "engine"):
            regs, paper = self.engine.get_regs(), self.paper
            assert regs.rip == paper.pc
            assert regs.rflags & (TF | RF) == paper.seen_flags()
            assert self.engine.get_debugregs() == paper.state.guest


TestTheEngineAgreesWithGuestdebug = EngineAndPaper.TestCase
TestTheEngineAgreesWithGuestdebug.settings = settings(
    max_examples=250, stateful_step_count=30, derandomize=True, deadline=None
)


def test_a_triple_fault_leaves_the_hosts_tf_alone() -> None:
    with Bench("nop\nnext: nop\nhlt") as b:
        b.sgd(E | S)
        b.vcpu.set_vcpu_events(VcpuEvents(exception_pending=1, exception_nr=1))
        assert b.vcpu.run() == ShutdownExit()
        assert b.vcpu.run() == DebugExit(1, b["next"], BS, 0x400)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    control=st.sampled_from([0, E | H]),
    host_dr7=st.sampled_from([0x400, DR7_GD | 0x400]),
    before=DR7S.map(bits),
    writes=st.lists(st.tuples(st.integers(0, 7), WORDS | DR7S.map(bits)), max_size=6),
)
def test_a_guests_mov_dr_does_what_guestdebug_says(
    mode: str, control: int, host_dr7: int, before: int, writes: list[tuple[int, int]]
) -> None:
    size, register = (64, "rax") if mode == "long" else (32, "eax")
    quiet = (1 << size) - 1 & ~0xFF  # for DR7: no breakpoint is enabled
    writes = [(n, value & (quiet if n in (5, 7) else quiet | 0xFF)) for n, value in writes]
    lines = [f"mov {register}, {value}\nmov dr{number}, {register}" for number, value in writes]
    with Bench("\n".join([*lines, "hlt"]), mode) as b:
        b.vcpu.set_sregs(b.vcpu.get_sregs()._replace(idt=DescriptorTable(0, 0)))
        b.sgd(control, dr7=host_dr7)
        b.vcpu.set_debugregs(DebugRegs(dr7=before & 0xFFFFFF00))
        state = DebugState(control=control, host_dr7=host_dr7)
        state = guestdebug.set_debugregs(state, DebugRegs(dr7=before & 0xFFFFFF00))
        state, ends = after_writes(state, writes)
        assert type(b.run()) is ends
        assert b.vcpu.get_debugregs() == state.guest


def after_writes(state: DebugState, writes: list[tuple[int, int]]) -> tuple[DebugState, type[Exit]]:
    """The state after these MOV DR at CPL 0, without any handler, and the exit that ends them."""
    for number, value in writes:
        refusal = guestdebug.check_mov_dr(state, number, cr4_de=False, cpl=0, written=value)
        if refusal is None:
            state = guestdebug.write_dr(state, number, value)
        elif refusal.vector != Vector.DB:
            return state, ShutdownExit
        elif guestdebug.owner_of_general_detect(state) is Owner.HOST:
            return state, DebugExit
        else:
            return guestdebug.deliver_db(state, refusal.payload), ShutdownExit
    return state, HltExit
