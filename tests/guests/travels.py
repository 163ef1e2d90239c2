"""Random guests in all modes: every earlier moment is found again as it was, and so is the end.

Wild guests (anything in their tables, any debug setting) travel on the bare ioctl line; programs
travel through ``Vm``, with breakpoints, steps and edits. It is run by hand:
``python -m tests.guests.travels``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kvmdbg import Vm, assemble
from kvmdbg.engines import Engine, open_engine
from kvmdbg.errors import BreakpointError, IoctlError
from kvmdbg.exits import DebugExit, Exit, HltExit, IoExit, MmioExit
from kvmdbg.history.journal import Position
from kvmdbg.history.recorded import Recorded
from kvmdbg.uapi import GuestDbg
from kvmdbg.x86.registers import CpuMode
from tests.guests.comparable import DATA, programs
from tests.guests.fuzz import ENDS, guest_of, set_up
from tests.guests.wild import KINDS, RAM

GUESTS = 4
_RANDOM = re.compile(rb"\x0f\xc7[\xf0-\xff]", re.DOTALL)
"""RDRAND and RDSEED, which are as random here as their names say."""
_E, _S = int(GuestDbg.ENABLE), int(GuestDbg.SINGLESTEP)
_CONTROLS = (0, 0, _E | _S, _E | _S, _E | int(GuestDbg.USE_SW_BP))


def state(engine: Engine) -> tuple[object, ...]:
    """All that can be seen of a machine."""
    events, chips = engine.get_vcpu_events(), engine.irqchip
    seen = engine.get_regs(), engine.get_sregs(), engine.get_debugregs(), events, chips
    return (*seen, engine.get_mp_state(), engine.clock, engine.now, bytes(engine.ram))


def answer(engine: Engine, exit_: Exit, dice: random.Random) -> None:
    """What a host may do after an exit."""
    if isinstance(exit_, IoExit | MmioExit):
        with suppress(IoctlError):
            engine.complete_io(dice.randbytes(len(exit_.data)))
    if dice.random() < 0.2:
        engine.set_regs(engine.get_regs()._replace(rax=dice.getrandbits(64)))
    if dice.random() < 0.1:
        engine.write_memory(0x9000 + dice.randrange(64), dice.randbytes(4))
    if isinstance(exit_, HltExit) and dice.random() < 0.3:
        engine.nmi()
    if dice.random() < 0.6:
        with suppress(IoctlError):
            engine.set_guest_debug(dice.choice(_CONTROLS))


def live(engine: Recorded, dice: random.Random) -> Iterator[tuple[Position, tuple[object, ...]]]:
    """A guest's life in short runs: where it stood after each, and how."""
    for _ in range(20):
        most = None if engine.setting[0] & _S else dice.choice((1, 7, 50, 200))
        exit_ = engine.run(most)
        yield engine.position, state(engine)
        if isinstance(exit_, ENDS):
            return
        if not isinstance(exit_, DebugExit) or dice.random() < 0.5:
            answer(engine, exit_, dice)


def recorded(seed: int, number: int) -> tuple[Recorded, random.Random]:
    guest, dice = guest_of(seed, number)
    engine = Recorded(open_engine("unicorn", RAM))
    set_up(engine, guest, dice)
    if dice.random() < 0.3:
        engine.create_irqchip()
    return engine, dice


def check_wild(seed: int, number: int) -> int:
    """Go through a wild guest's moments in any order; how many there were."""
    engine, dice = recorded(seed, number)
    if _RANDOM.search(bytes(engine.ram)):
        return 2
    with closing(engine):
        moments = list(live(engine, dice))
        for _ in range(len(moments)):
            position, was = dice.choice(moments)
            engine.rejoin()
            assert engine.go(position) == position
            assert state(engine) == was, (number, position)
        return len(moments)


def check_routes(seed: int, number: int) -> None:
    """The same clock inside a run, come to from a checkpoint on the way and from the beginning."""
    engine, dice = recorded(seed, number)
    if _RANDOM.search(bytes(engine.ram)):
        return
    with closing(engine):
        list(live(engine, dice))
        clock = dice.randint(0, engine.clock)
        where = Position(index := engine.journal.find(clock), clock)
        if index == len(engine.journal):
            return
        engine.go(where)
        found = state(engine)
        engine.rejoin()
        engine.checkpoints.cut(Position(0, 0))
        engine.go(where)
        assert state(engine) == found, (number, where)


def wild_moments_are_found_again(kind: str) -> None:
    first = KINDS.index(kind)
    assert sum(check_wild(1, first + len(KINDS) * n) for n in range(GUESTS)) > GUESTS


def two_ways_lead_to_the_same_state(kind: str) -> None:
    first = KINDS.index(kind)
    for n in range(GUESTS):
        check_routes(2, first + len(KINDS) * n)


# Programs through Vm

ACTIONS = st.lists(st.tuples(st.integers(0, 7), st.integers(1, 40)), min_size=3, max_size=12)
THOROUGH = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink such a guest takes minutes
)
PORTS = "mov al, 0x42\nout 0xe9, al\nin al, 0xe9\n"


def act(vm: Vm, action: int, number: int) -> None:
    """One thing that a user does."""
    if action < 2:
        vm.step(number % 9 + 1)
    elif action < 4:
        vm.cont(max_instructions=number)
    elif action == 4:
        hw = number % 2 or vm.mode is CpuMode.REAL  # an INT3 inside an instruction leads astray
        with suppress(BreakpointError):
            vm.bp(vm.address("start") + number, kind="hw" if hw else "sw")
        vm.cont(max_instructions=60)
    elif action == 5:
        with suppress(BreakpointError):
            vm.bp(DATA + number * 2, kind="hw", access="w", length=2)
        vm.cont(max_instructions=60)
    elif action == 6:
        vm.set_regs(rdx=number * 0x1234567)
    else:
        vm.write(DATA + number, bytes([number]))


def seen(vm: Vm) -> tuple[object, ...]:
    """A VM as its user sees it."""
    rows = [(row.reason, row.exception, row.pc, row.dr6, row.clock) for row in vm.timeline]
    engine = vm.vcpu
    hidden = engine.get_vcpu_events(), engine.clock, vm.console, tuple(rows)
    return vm.regs(), vm.sregs(), vm.debugregs(), vm.memory[0:0x10000], *hidden


def check_vm(mode: str, source: str, actions: list[tuple[int, int]], dice: random.Random) -> None:
    """Go to all stops in any order, with walks in between, then live the life again."""
    with Vm(mode=mode, ram=1 << 20) as vm:
        vm.load(assemble(source, mode=mode))
        if "handler:" in source:
            vm.set_gate(6, "handler")
        moments = {}
        for n, (action, number) in enumerate(actions):
            act(vm, action, number)
            vm.bookmark(name := f"m{n}")
            moments[name] = seen(vm)
        end, edits = vm.vcpu.clock, any(action > 5 for action, _ in actions)
        for name in dice.sample(list(moments), len(moments)):
            vm.goto(name)
            assert seen(vm) == moments[name], name
            if dice.random() < 0.4 and vm.vcpu.clock + 5 < end and not edits:
                vm.step(dice.randint(1, 5))
                if dice.random() < 0.5:
                    vm.back()
                    assert seen(vm) == moments[name]


def of(mode: str, faults: bool = False) -> Callable[[], None]:
    @THOROUGH
    @given(programs(mode, faults=faults), ACTIONS, st.randoms(use_true_random=False))
    def check(source: str, actions: list[tuple[int, int]], dice: random.Random) -> None:
        check_vm(mode, source.replace("\n", "\n" + PORTS, 1), actions, dice)

    return check


def stops_are_found_again(mode: str) -> None:
    of(mode)()


def stops_among_faults_are_found_again() -> None:
    of("long", faults=True)()


def main() -> None:
    """All of it, as often as one likes."""
    for kind in KINDS:
        wild_moments_are_found_again(kind)
        two_ways_lead_to_the_same_state(kind)
        print(kind, flush=True)
    for mode in ("real", "protected", "long"):
        stops_are_found_again(mode)
        print(mode, flush=True)
    stops_among_faults_are_found_again()


if __name__ == "__main__":
    main()
