"""Hits that are only counted lead to the same place as hits one by one."""

from __future__ import annotations

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.errors import BadInput
from kvmdbg.exits import ExitReason
from kvmdbg.history.timeline import Timeline

LOOP = """
start:  mov ecx, 400
again:  mov [0x9000], ecx
        add rax, rcx
        test ecx, 63
        jnz next
        mov al, 65
        out 0xe9, al
next:   dec ecx
        jnz again
done:   hlt
"""


@pytest.fixture
def vm() -> Vm:
    vm = Vm()
    vm.load(assemble(LOOP))
    return vm


def one_by_one(vm: Vm, hits: int) -> None:
    for _ in range(hits):
        vm.cont()


def state(vm: Vm) -> tuple[object, ...]:
    """Where a guest stands, and what it did."""
    return vm.regs(), vm.memory[0:0x10000], vm.vcpu.clock, vm.console, vm.breakpoints[1].hits


def hits(timeline: Timeline, pc: int, dr6: int) -> list[tuple[int, ...]]:
    """The rows of a breakpoint's hits."""
    return [
        (row.exception, row.dr6, row.dr7, row.clock)
        for row in timeline
        if row.reason is ExitReason.DEBUG and row.pc == pc and row.dr6 & 0xFF == dr6
    ]


@pytest.mark.parametrize("kind", ["sw", "hw"])
@pytest.mark.parametrize("count", [2, 17, 100, 399])
def test_counted_hits_are_those_that_stop(kind: str, count: int) -> None:
    vms = Vm(), Vm()
    for vm in vms:
        vm.load(assemble(LOOP))
        vm.bp("again", kind=kind)
    counted, stopped = vms
    counted.cont(hits=count)
    one_by_one(stopped, count)
    assert state(counted) == state(stopped)
    dr6 = 1 if kind == "hw" else 0
    again = counted.symbols["again"]
    assert hits(counted.timeline, again, dr6) == hits(stopped.timeline, again, dr6)
    assert counted.last_stop is not None
    assert "breakpoint 1" in counted.last_stop.cause


def test_the_breakpoint_stops_again_afterwards(vm: Vm) -> None:
    vm.bp("again")
    vm.cont(hits=100)
    assert vm.cont().clock == vm.last_stop.clock  # type: ignore[union-attr]  # it was just made
    assert vm.breakpoints[1].hits == 101


def test_another_breakpoint_ends_the_counting(vm: Vm) -> None:
    vm.bp("again")
    vm.bp("done")
    stop = vm.cont(hits=1000)
    assert "breakpoint 2" in stop.cause
    assert vm.breakpoints[1].hits == 400


def test_a_halt_ends_the_counting(vm: Vm) -> None:
    vm.bp("again")
    assert vm.cont(hits=1000).exit.reason is ExitReason.HLT
    assert vm.breakpoints[1].hits == 400


def test_a_budget_ends_the_counting(vm: Vm) -> None:
    vm.bp("again")
    stop = vm.cont(max_instructions=600, hits=1000)
    assert stop.clock == 600


def test_a_condition_is_asked_at_each_hit(vm: Vm) -> None:
    vm.bp("again", when="rcx < 300")
    vm.cont(hits=50)
    assert vm.regs().rcx == 250


def test_every_round_of_a_rep_is_one_hit_together() -> None:
    vm = Vm()
    vm.load(
        assemble("mov ebx, 40\nl: mov edi, 0x9000\nmov ecx, 9\nr: rep stosb\ndec ebx\njnz l\nhlt")
    )
    vm.bp("r")
    vm.cont(hits=30)
    assert vm.regs().rbx == 11


def test_a_faulting_instruction_counts_when_it_is_reached() -> None:
    source = """
    start:  mov ecx, 100
    again:  ud2
            dec ecx
            jnz again
            hlt
    ud:     add qword ptr [rsp], 2
            iretq
    """
    vms = Vm(), Vm()
    for vm in vms:
        vm.load(assemble(source))
        vm.set_gate(6, vm.symbols["ud"])
        vm.bp("again")
    vms[0].cont(hits=60)
    one_by_one(vms[1], 60)
    assert vms[0].regs() == vms[1].regs()
    assert vms[0].breakpoints[1].hits == vms[1].breakpoints[1].hits == 60


def test_the_way_past_can_be_gone_back(vm: Vm) -> None:
    vm.bp("again")
    vm.cont(hits=30)
    was = state(vm)
    vm.cont(hits=200)
    vm.back()
    assert state(vm)[:4] == was[:4]
    vm.goto(1000)
    vm.goto(was[2])  # type: ignore[arg-type]  # the clock
    assert vm.regs() == was[0]


def test_a_number_of_hits_below_one_is_refused(vm: Vm) -> None:
    with pytest.raises(BadInput, match="hits must be a whole number from 1"):
        vm.cont(hits=0)
