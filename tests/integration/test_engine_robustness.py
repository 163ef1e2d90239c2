"""Any calls in any order on the ioctl line: typed errors, typed exits, no hang.

Hypothesis plays a host without any sense. What the guest's debug registers must be meanwhile is
followed too: nothing changes them behind the guest's back.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kvmdbg import guestdebug
from kvmdbg.engines import Engine, open_engine
from kvmdbg.errors import KvmdbgError
from kvmdbg.exits import Exit
from kvmdbg.guestdebug import DebugState, Owner
from kvmdbg.machine.layout import MODES, ORIGIN, PML4, default_guest
from kvmdbg.uapi import GuestDbg
from kvmdbg.x86 import debugreg
from kvmdbg.x86.registers import DebugRegs, DescriptorTable, Regs, Segment, Sregs, VcpuEvents

RAM = 0x10000
TIMEOUT = 0.02
"""Seconds of a run: a guest whose every instruction faults spends no instructions."""

PATIENCE = 5.0
"""Seconds after which a run that should have ended after ``TIMEOUT`` counts as hung."""

NUMBERS = st.one_of(
    st.sampled_from([0, 1, 0x1000, ORIGIN, RAM - 1, RAM, 1 << 31, 1 << 32, 1 << 47, 1 << 63]),
    st.integers(0, (1 << 64) - 1),
)
NEAR = st.integers(ORIGIN - 2, ORIGIN + 40)
EIGHT = st.tuples(*[NEAR | NUMBERS] * 4, *[NUMBERS] * 4)
FLAG_SETS = st.lists(st.sampled_from(list(GuestDbg))).map(sum)
SEGMENTS = st.builds(
    Segment,
    base=NUMBERS,
    limit=st.sampled_from([0, 1, 0xFFFF, 0xFFFFFFFF]) | st.integers(0, 0xFFFFFFFF),
    selector=st.integers(0, 0xFFFF),
    type=st.integers(0, 15),
    dpl=st.integers(0, 3),
    **{name: st.integers(0, 1) for name in ("present", "db", "s", "l", "g", "avl", "unusable")},
)
TABLES = st.builds(DescriptorTable, NUMBERS, st.integers(0, 0xFFFF))
BITS = st.lists(st.integers(0, 31), max_size=6).map(lambda bits: sum(1 << b for b in {*bits}))
SEGMENT_NAMES = ("cs", "ds", "es", "fs", "gs", "ss", "tr", "ldt")
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(SEGMENT_NAMES, SEGMENTS),
    **dict.fromkeys(("gdt", "idt"), TABLES),
    **dict.fromkeys(("cr2", "apic_base"), NUMBERS),
    "cr0": BITS,
    "cr3": st.sampled_from([PML4, 0, RAM, 1 << 40, 0xFFFFF000]) | NUMBERS,
    "cr4": BITS,
    "cr8": st.integers(0, 15),
    "efer": BITS,
}
EVENTS = st.builds(
    VcpuEvents,
    **{name: st.integers(0, 255) for name in ("exception_nr", "interrupt_nr")},
    **{
        name: st.integers(0, 1)
        for name in VcpuEvents._fields
        if name.endswith(("injected", "pending", "masked", "shadow")) or "_has_" in name
    },
    exception_error_code=st.integers(0, 0xFFFFFFFF),
    exception_payload=st.just(0) | st.integers(0, (1 << 64) - 1),
)
# Without 0F there is no MOV DR; F1 and the rest of the debug instructions stay.
CODE = st.binary(max_size=40).map(lambda data: data.replace(b"\x0f", b"\xf1"))


class SenselessHost(RuleBasedStateMachine):
    """Calls whatever the engine offers."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.snapshots: list[tuple[object, DebugRegs]] = []

    @initialize(mode=st.sampled_from(MODES), code=CODE)
    def open(self, mode: str, code: bytes) -> None:
        self.engine = open_engine("unicorn", RAM)
        guest = default_guest(mode, RAM)
        for address, data in (*guest.memory, (ORIGIN, code)):
            self.engine.write_memory(address, data)
        self.engine.set_sregs(guest.sregs)
        self.engine.set_regs(guest.regs)
        self.seen = self.engine.get_debugregs()
        self.guests_db = False
        self.control = 0

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.close()

    @rule(control=FLAG_SETS | NUMBERS, registers=EIGHT, dr7=BITS | st.none())
    def set_guest_debug(self, control: int, registers: tuple[int, ...], dr7: int | None) -> None:
        if dr7 is not None:
            registers = (*registers[:7], dr7)
        with suppress(KvmdbgError):
            self.engine.set_guest_debug(control, registers)
            self.control = control if control & GuestDbg.ENABLE else 0
            self.guests_db |= bool(control & GuestDbg.INJECT_DB)

    @rule(db=st.tuples(*[NEAR | NUMBERS] * 4), dr6=BITS | NUMBERS, dr7=BITS | NUMBERS)
    def set_debugregs(self, db: tuple[int, int, int, int], dr6: int, dr7: int) -> None:
        with suppress(KvmdbgError):
            self.engine.set_debugregs(DebugRegs(db, dr6, dr7))
            self.seen = DebugRegs(db, dr6, dr7)

    @rule(values=st.tuples(*[NUMBERS] * 16), rip=NEAR | NUMBERS, rflags=BITS | NUMBERS)
    def set_regs(self, values: tuple[int, ...], rip: int, rflags: int) -> None:
        self.engine.set_regs(Regs(*values, rip=rip, rflags=rflags))

    @rule(rip=NEAR, rflags=BITS)
    def go_back_to_the_code(self, rip: int, rflags: int) -> None:
        self.engine.set_regs(self.engine.get_regs()._replace(rip=rip, rflags=rflags))

    @rule(mode=st.sampled_from(MODES))
    def enter_a_mode(self, mode: str) -> None:
        self.engine.set_sregs(default_guest(mode, RAM).sregs)

    @rule(data=st.data(), names=st.lists(st.sampled_from(Sregs._fields), max_size=4, unique=True))
    def set_sregs(self, data: st.DataObject, names: list[str]) -> None:
        changes = {name: data.draw(CHANGES[name], name) for name in names}
        with suppress(KvmdbgError):
            self.engine.set_sregs(self.engine.get_sregs()._replace(**changes))

    @rule(events=EVENTS)
    def set_vcpu_events(self, events: VcpuEvents) -> None:
        with suppress(KvmdbgError):
            self.engine.set_vcpu_events(events)
            self.guests_db |= events.exception_nr == 1

    @rule(vector=st.integers(-1, 300))
    def interrupt(self, vector: int) -> None:
        with suppress(KvmdbgError):
            self.engine.interrupt(vector)

    @rule()
    def nmi(self) -> None:
        self.engine.nmi()

    @rule(data=st.binary(max_size=16))
    def complete_io(self, data: bytes) -> None:
        with suppress(KvmdbgError):
            self.engine.complete_io(data)

    @rule(vectors=st.sets(st.integers(0, 255)))
    def watch_vectors(self, vectors: set[int]) -> None:
        self.engine.watch_vectors(vectors)

    @rule(address=NEAR | st.integers(-4, RAM + 4), data=CODE)
    def write_memory(self, address: int, data: bytes) -> None:
        with suppress(KvmdbgError):
            self.engine.write_memory(address, data)

    @rule()
    def snapshot(self) -> None:
        self.snapshots.append((self.engine.snapshot(), self.seen))

    @rule(which=st.integers(0, 9))
    def restore(self, which: int) -> None:
        if self.snapshots:
            saved, self.seen = self.snapshots[which % len(self.snapshots)]
            self.engine.restore(saved)
            self.guests_db = True  # what was pending then may be so again

    @rule(insns=st.integers(0, 200))
    def run(self, insns: int) -> None:
        began, clock = time.monotonic(), self.engine.clock
        exit_ = self.engine.run(max_instructions=insns, timeout=TIMEOUT)
        assert isinstance(exit_, get_args(Exit))
        assert time.monotonic() - began < PATIENCE
        assert self.engine.clock - clock <= insns
        self.check_debugregs()
        self.guests_db = False

    def check_debugregs(self) -> None:
        """Only a #DB that the guest takes changes its registers: DR6, and GD in DR7."""
        was, now = self.seen, self.engine.get_debugregs()
        self.seen = now
        if was == now:
            return
        owner = guestdebug.owner_of_db(DebugState(control=self.control))
        assert owner is Owner.GUEST or self.guests_db
        assert now.db == was.db
        assert now.dr7 in (was.dr7, was.dr7 & ~debugreg.DR7_GD)
        sticky = debugreg.DR6_BD | debugreg.DR6_BS | debugreg.DR6_BT
        assert now.dr6 & was.dr6 & sticky == was.dr6 & sticky

    @invariant()
    def registers_can_be_read(self) -> None:
        if hasattr(self, "engine"):
            self.engine.get_regs()
            self.engine.get_sregs()
            self.engine.get_vcpu_events()
            assert self.engine.get_debugregs() == self.seen


TestAnyCallsInAnyOrder = SenselessHost.TestCase
TestAnyCallsInAnyOrder.settings = settings(
    max_examples=200, stateful_step_count=40, derandomize=True, deadline=None
)
