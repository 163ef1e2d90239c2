"""The contract's chapter about snapshots: a whole machine, put back as it was.

Must not know: what a snapshot is made of.
"""

from __future__ import annotations

from contextlib import closing

from ..engines import Capability
from ..errors import BadInput
from ..exits import DebugExit, HltExit
from ..x86.registers import DebugRegs
from .bench import CODE, DATA, HLT, NOP, RAM, STORE, Bench, E, H, S, mov_al
from .contract import Chapter, expect, refuses

CHAPTER = Chapter("snapshots")
_DEBUGREGS = DebugRegs((0x1111, 0x2222, 0x3333, 0x4444), 0xFFFF4FF1, 0x700)
_STEPPED = DebugExit(1, CODE + 1, 0xFFFF4FF0, 0x400)


@CHAPTER.check()
def restoring_brings_everything_back(b: Bench) -> None:
    """After ``restore``, registers, debug registers, events, RAM and clock are as they were."""
    b.boot(mov_al(1) + STORE + HLT)
    b.point_at(DATA)
    b.engine.set_debugregs(_DEBUGREGS)
    before, snapshot = _state(b), b.engine.snapshot()
    for _ in range(2):
        b.run()
        b.engine.set_debugregs(DebugRegs())
        b.engine.write_memory(CODE, bytes(64))
        sregs = b.engine.get_sregs()
        b.engine.set_sregs(sregs._replace(cr2=5, gdt=sregs.gdt._replace(limit=0)))
        b.engine.restore(snapshot)
        for name, value in before.items():
            expect(f"{name} after restore() to be", _state(b)[name], value)


def _state(b: Bench) -> dict[str, object]:
    engine = b.engine
    return {
        "get_regs()": engine.get_regs(),
        "get_sregs()": engine.get_sregs(),
        "get_debugregs()": engine.get_debugregs(),
        "get_vcpu_events()": engine.get_vcpu_events(),
        "get_mp_state()": engine.get_mp_state(),
        "clock": engine.clock,
        "RAM": engine.read_memory(0, RAM).rstrip(b"\0"),
    }


@CHAPTER.check()
def a_snapshot_stays_what_it_was(b: Bench) -> None:
    """A snapshot is a value: the guest runs on from it again and again, the same each time."""
    b.boot(mov_al(1) + STORE + HLT)
    b.point_at(DATA)
    snapshot = b.engine.snapshot()
    for _ in range(3):
        expect("DATA before the run to be", b.engine.read_memory(DATA, 1), b"\0")
        expect("the exit to be", b.run(), HltExit())
        expect("DATA after the run to be", b.engine.read_memory(DATA, 1), b"\1")
        b.engine.restore(snapshot)


@CHAPTER.check()
def code_that_is_restored_is_executed(b: Bench) -> None:
    """Code that ``restore`` brings back is what runs, where other code has run meanwhile."""
    b.boot(mov_al(1) + HLT)
    b.run()
    b.set(rip=CODE)
    snapshot = b.engine.snapshot()
    b.boot(mov_al(2) + HLT)
    b.run()
    b.engine.restore(snapshot)
    b.run()
    expect("AL to be what the restored code sets:", b.al, 1)


@CHAPTER.check(Capability.SINGLESTEP)
def the_hosts_stepping_is_restored(b: Bench) -> None:
    """SINGLESTEP comes back with ``restore``, and goes if the snapshot was without it."""
    b.boot(NOP * 2 + HLT)
    free = b.engine.snapshot()
    b.sgd(E | S)
    stepping = b.engine.snapshot()
    b.engine.restore(free)
    expect("the exit without stepping to be", b.run(), HltExit())
    b.engine.restore(stepping)
    expect("the exit to be", b.run(), _STEPPED)


@CHAPTER.check(Capability.HW_EXEC)
def the_hosts_breakpoints_are_restored(b: Bench) -> None:
    """The host's DR0-DR3 and DR7 come back with ``restore``."""
    b.boot(NOP * 2 + HLT)
    b.sgd(E | H, dr7=0x402, dr0=CODE + 1)
    snapshot = b.engine.snapshot()
    b.sgd(0)
    b.engine.restore(snapshot)
    expect("the exit to be", b.run(), DebugExit(1, CODE + 1, 0xFFFF0FF1, 0x402))


@CHAPTER.check(modes=())
def a_foreign_snapshot_is_refused(b: Bench) -> None:
    """``restore`` raises BadInput for what is no snapshot, or one of another size of RAM."""
    b.boot(NOP + HLT)
    refuses("restore(object())", lambda: b.engine.restore(object()), BadInput)
    with closing(b.open(2 * RAM)) as larger:
        foreign = larger.snapshot()
    refuses("the snapshot of a larger RAM", lambda: b.engine.restore(foreign), BadInput)
    expect("the exit to be", b.run(), HltExit())
