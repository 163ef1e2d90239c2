"""Free run: what breakpoints, the clock, the recording and a watchpoint cost that are not hit."""

from __future__ import annotations

import time

from benchmarks import gdbstub
from benchmarks.guests import CALLS, LOOP, SHORT, bare_run, finite, vm_run
from benchmarks.measure import Figure, Row, match, rate
from kvmdbg import Vm

ARMED = {
    LOOP: Row("free run, 4 DR + 100 INT3 armed, not hit: 9-instruction loop", 0.95),
    CALLS: Row("free run, 4 DR + 100 INT3 armed, not hit: call/ret loop", 0.75),
}
BESIDE_QEMU = Row("free run, breakpoints armed in the page, beside QEMU's gdbstub", 0)
RECORDED = {
    LOOP: Row("free run with clock, stop button and recording: 9-instruction loop", 0.75),
    CALLS: Row("free run with clock, stop button and recording: call/ret loop", 0.75),
    SHORT: Row("free run with clock, stop button and recording: 2-instruction loop", 0),
}
WATCHED = {
    0x9100: Row("data watchpoint armed, not hit: on a page that the loop writes", 0.6),
    0xA100: Row("data watchpoint armed, not hit: on another page", 0.6),
}
ROWS = (*ARMED.values(), BESIDE_QEMU, *RECORDED.values(), *WATCHED.values())
SECONDS = 0.3


def figures() -> list[Figure]:
    """All of this file's."""
    return [
        *(_beside_unicorn(row, text, _armed(text)) for text, row in ARMED.items()),
        _beside_qemu(),
        *(_beside_unicorn(row, text, finite(text)) for text, row in RECORDED.items()),
        *(_beside_unicorn(row, LOOP, _watched(at)) for at, row in WATCHED.items()),
    ]


def _beside_unicorn(row: Row, text: str, vm: Vm) -> Figure:
    with vm:
        taken = match(lambda: rate(lambda: vm_run(vm, text)), bare_run(text))
    return row.figure(taken.ratio, taken.detail)


def _armed(text: str) -> Vm:
    """All four debug registers and 100 INT3 in the loop's page."""
    vm = finite(text)
    idle = vm.address("idle")
    for n in range(100):
        vm.bp(idle + n)
    for n in range(100, 104):
        vm.bp(idle + n, kind="hw")
    return vm


def _watched(address: int) -> Vm:
    """One debug register on eight bytes that the loop leaves alone; it writes 0x9008."""
    vm = finite(LOOP)
    vm.bp(address, kind="hw", access="w", length=8)
    return vm


def _beside_qemu() -> Figure:
    """The same loop in both, in real time; the detail says what the breakpoint costs QEMU."""
    try:
        with gdbstub.guest() as peer, _armed(LOOP) as vm:
            alone = peer.rounds_per_second(SECONDS)
            peer.insert(peer.symbols["idle"])
            taken = match(
                lambda: rate(lambda: vm_run(vm, LOOP), time.perf_counter),
                lambda: peer.rounds_per_second(SECONDS),
            )
    except gdbstub.PeerMissing as missing:
        return BESIDE_QEMU.absent(str(missing))
    detail = f"rounds of the loop: {taken.detail}; QEMU without a breakpoint {alone:,.0f}/s"
    return BESIDE_QEMU.figure(taken.ratio, detail)
