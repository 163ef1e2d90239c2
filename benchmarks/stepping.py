"""Steps and stops: one at a time from Python, a million at once, and breakpoints that are hit."""

from __future__ import annotations

import time
from collections.abc import Callable

from unicorn import x86_const

from benchmarks import gdbstub
from benchmarks.guests import FOREVER, LOOP, RAM, bare, loaded, program
from benchmarks.measure import ROUNDS, Clock, Figure, Rate, Row, match, middle, rate
from kvmdbg import Vm, assemble
from kvmdbg.uapi import GuestDbg

LINE = Row("vcpu.run() under SINGLESTEP and get_regs(), beside Unicorn's emu_start(count=1)", 1)
LINE_QEMU = Row("vcpu.run() under SINGLESTEP and get_regs(), beside QEMU's gdbstub", 50)
STEPS = Row("vm.step(1_000_000), every step in the timeline", 10e6, "steps/s")
STEPS_QEMU = Row("vm.step(1_000_000), beside QEMU's gdbstub", 2000)
HITS = Row("breakpoint hit and continue", 100_000, "hits/s")
HITS_QEMU = Row("breakpoint hit and continue, beside QEMU's gdbstub", 20)
DELIVERED = Row("guest exceptions delivered", 20_000, "/s")
ROWS = (LINE, LINE_QEMU, STEPS, STEPS_QEMU, HITS, HITS_QEMU, DELIVERED)

BY_HAND = 20_000
AT_ONCE = 1_000_000
OFTEN = 2_000
FEW_ROUNDS = 5
PEERS_STEPS, PEERS_HITS = 1_000, 300


def figures() -> list[Figure]:
    """All of this file's."""
    return [*_by_hand(), *_at_once(), *_hits(), _delivered()]


def _by_hand() -> list[Figure]:
    with loaded(LOOP) as vm:
        taken = match(lambda: rate(lambda: _ioctl_steps(vm)), _bare_steps())
        beside = _beside_qemu(
            LINE_QEMU, lambda clock: rate(lambda: _ioctl_steps(vm), clock), _peers_steps
        )
    return [LINE.figure(taken.ratio, taken.detail), beside]


def _ioctl_steps(vm: Vm) -> int:
    """``vcpu.run()`` under KVM_GUESTDBG_SINGLESTEP plus ``get_regs()``."""
    vcpu = vm.vcpu
    vcpu.set_guest_debug(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)
    run, get_regs = vcpu.run, vcpu.get_regs
    for _ in range(BY_HAND):
        run()
        get_regs()
    return BY_HAND


def _bare_steps() -> Rate:
    """Unicorn's own single step from Python: ``emu_start(count=1)`` plus one ``reg_read``."""
    image = program(LOOP, FOREVER)
    uc = bare(image)
    rip = image.origin

    def once() -> int:
        nonlocal rip
        for _ in range(BY_HAND):
            uc.emu_start(rip, 0, count=1)
            rip = uc.reg_read(x86_const.UC_X86_REG_RIP)
        return BY_HAND

    return lambda: rate(once)


def _at_once() -> list[Figure]:
    with loaded(LOOP) as vm:

        def work() -> int:
            vm.step(AT_ONCE)
            return len(vm.timeline)

        def once(clock: Clock) -> float:
            vm.reset()  # or the timeline of all rounds would fill the memory
            return rate(work, clock)

        steps = middle(lambda: once(time.process_time), FEW_ROUNDS)
        beside = _beside_qemu(STEPS_QEMU, once, _peers_steps, FEW_ROUNDS)
    return [STEPS.figure(steps, f"CPU time, median of {FEW_ROUNDS} rounds"), beside]


def _hits() -> list[Figure]:
    with loaded(LOOP) as vm:
        number = vm.bp("again").number

        def work() -> int:
            for _ in range(OFTEN):
                vm.cont()
            return vm.breakpoints[number].hits

        def once(clock: Clock) -> float:
            vm.reset()
            return rate(work, clock)

        hits = middle(lambda: once(time.process_time))
        beside = _beside_qemu(HITS_QEMU, once, lambda peer: peer.hits(PEERS_HITS))
    detail = f"vm.cont() {OFTEN:,} times, CPU time, median of {ROUNDS} rounds"
    return [HITS.figure(hits, detail), beside]


def _peers_steps(peer: gdbstub.Gdbstub) -> int:
    return peer.steps(PEERS_STEPS)


def _beside_qemu(
    row: Row,
    ours: Callable[[Clock], float],
    peers: Callable[[gdbstub.Gdbstub], int],
    rounds: int = ROUNDS,
) -> Figure:
    """Both in real time, for the other process's time does not count in ours."""
    try:
        with gdbstub.guest() as peer:
            taken = match(
                lambda: ours(time.perf_counter),
                lambda: rate(lambda: peers(peer), time.perf_counter),
                rounds,
            )
    except gdbstub.PeerMissing as missing:
        return row.absent(str(missing))
    return row.figure(taken.ratio, taken.detail)


EXCEPTIONS = 20_000
UD2 = f"""
start:   mov ecx, {EXCEPTIONS}
again:   ud2
         dec ecx
         jnz again
done:    hlt
handler: add qword ptr [rsp], 2
         iretq
"""


def _delivered() -> Figure:
    """A guest that takes faults in its own handler, without any debugging."""
    with Vm(mode="long", ram=RAM) as vm:
        vm.load(assemble(UD2))
        vm.set_gate(6, "handler")

        def once() -> int:
            vm.set_regs(rip=vm.address("start"))
            vm.cont()
            return EXCEPTIONS

        rates = middle(lambda: rate(once))
    return DELIVERED.figure(rates, "#UD to the guest's handler and IRETQ, CPU time")
