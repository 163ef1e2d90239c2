"""Stepping on the embedded engine: into, over, out, until; ports, REP, handlers, Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.debugger.stop import StopKind
from kvmdbg.errors import BadInput, ExpressionError, UnknownName, VmBusy, VmInterrupted
from kvmdbg.exits import ExitReason
from tests.guests.pressing import stop_pressed

MODES = ("real", "protected", "long")
BACK = {"real": "iret", "protected": "iretd", "long": "iretq"}

CALLS = """
start:  mov ecx, 3
        call outer
after:  hlt
outer:  call inner
        inc eax
        ret
inner:  dec ecx
        jz done
again:  call inner
done:   inc ebx
        ret
"""


@pytest.fixture(params=MODES)
def calls(request: pytest.FixtureRequest) -> Iterator[Vm]:
    with Vm(mode=request.param) as vm:
        vm.load(assemble(CALLS, mode=request.param))
        yield vm


@pytest.fixture
def endless() -> Iterator[Vm]:
    with Vm() as vm:
        vm.load(assemble("start: mov ecx, 1\nloop: inc rax\n jmp loop"))
        yield vm


def test_a_step_is_one_instruction(calls: Vm) -> None:
    stops = [calls.step() for _ in range(3)]
    assert [stop.location for stop in stops[1:]] == ["outer", "inner"]
    assert [stop.executed for stop in stops] == [1, 1, 1]


def test_a_step_into_a_call_ends_in_the_function(calls: Vm) -> None:
    assert calls.step(2).location == "outer"


def test_many_steps_are_one_stop(calls: Vm) -> None:
    stop = calls.step(6)
    assert (stop.index, stop.executed, stop.cause) == (1, 6, "6 single steps")
    assert len(calls.timeline) == 6


def test_steps_end_where_the_guest_halts(calls: Vm) -> None:
    stop = calls.step(1000)
    assert (stop.kind, stop.regs.rbx, stop.executed) == (StopKind.HALT, 3, 20)


def test_over_takes_a_call_as_one_step(calls: Vm) -> None:
    calls.step()
    stop = calls.step(how="over")
    assert (stop.location, stop.regs.rbx, stop.kind) == ("after", 3, StopKind.STEP)
    assert stop.cause.startswith("stepped over call")


def test_over_a_recursive_call_ends_at_the_same_depth(calls: Vm) -> None:
    calls.step(how="until", where="again")
    depth = calls.regs().rsp
    stop = calls.step(how="over")
    assert (stop.location, stop.regs.rsp, stop.regs.rbx) == ("done", depth, 2)


def test_over_counts(calls: Vm) -> None:
    stop = calls.step(2, how="over")
    assert (stop.location, stop.cause) == ("after", "2 steps over")


def test_a_breakpoint_inside_ends_the_step_over(calls: Vm) -> None:
    calls.bp("done")
    calls.step()
    assert (calls.step(how="over").location, calls.breakpoints[1].hits) == ("done", 1)


def test_nothing_of_a_step_over_stays_in_memory(calls: Vm) -> None:
    code = calls.vcpu.read_memory(0x8000, 64)
    calls.bp("done", temporary=True)
    calls.step()
    calls.step(how="over")
    assert calls.vcpu.read_memory(0x8000, 64) == code


@pytest.mark.parametrize("inside", ["outer", "inner", "done"])
def test_out_ends_after_the_function_has_returned(calls: Vm, inside: str) -> None:
    calls.step(how="until", where=inside)
    stop = calls.step(how="out")
    expected = {"outer": "after", "inner": "outer", "done": "done"}[inside]
    assert (stop.location.split("+")[0], stop.kind) == (expected, StopKind.STEP)
    assert stop.cause.startswith("stepped out of")


def test_out_of_the_middle_of_a_function(calls: Vm) -> None:
    calls.step(how="until", where="outer")
    calls.step(how="over")  # the call of inner: now the return address is found by stepping
    assert calls.step(how="out").location == "after"


def test_out_of_a_recursive_function_is_out_of_this_call_of_it(calls: Vm) -> None:
    calls.step(how="until", where="again")
    calls.step()  # into the second of three calls, all but the first return to the same place
    stop = calls.step(how="out")
    assert (stop.location, stop.regs.rbx) == ("done", 2)


FAULTING = """
start:  call f
after:  hlt
f:      push rax
fault:  ud2
        pop rax
        ret
handler: add qword ptr [rsp], 2
        iretq
"""


def test_out_is_not_fooled_by_the_iret_of_a_handler() -> None:
    with Vm() as vm:
        vm.load(assemble(FAULTING))
        vm.set_gate(6, "handler")
        vm.step(how="until", where="fault")
        assert vm.step(how="out").location == "after"


def test_out_of_an_interrupt_handler() -> None:
    with Vm() as vm:
        vm.load(assemble("start: int 0x30\nafter: hlt\nhandler: nop\ninc ebx\niretq"))
        vm.set_gate(0x30, "handler")
        vm.step(2)
        stop = vm.step(how="out")
        assert (stop.location, stop.regs.rbx) == ("after", 1)


def test_until_a_label(calls: Vm) -> None:
    stop = calls.step(how="until", where="done")
    assert (stop.location, stop.kind, stop.cause) == ("done", StopKind.STEP, "reached done")


@pytest.mark.parametrize("where", ["ebx == 2", "ebx == 2 and ecx == 0", "not ebx < 2"])
def test_until_a_condition(calls: Vm, where: str) -> None:
    stop = calls.step(how="until", where=where)
    assert (stop.regs.rbx, stop.kind, stop.cause.split(" holds")[0]) == (2, StopKind.STEP, where)


def test_until_segment_and_offset() -> None:
    with Vm(mode="real") as vm:
        vm.load(assemble("nop\nnop\nnop\nhlt", mode="real"))
        assert vm.step(how="until", where="800:2").pc == 0x8002


def test_until_ends_where_the_guest_halts(calls: Vm) -> None:
    assert calls.step(how="until", where="0x100").kind is StopKind.HALT
    calls.reset()
    assert calls.step(how="until", where="ebx == 99").kind is StopKind.HALT


@pytest.mark.parametrize(
    ("arguments", "error", "what"),
    [
        ({"count": 0}, BadInput, "whole number from 1"),
        ({"count": -3}, BadInput, "whole number from 1"),
        ({"count": 1.5}, BadInput, "whole number from 1"),
        ({"how": "ovr"}, UnknownName, 'did you mean "over"'),
        ({"how": "until"}, BadInput, "belong together"),
        ({"where": "loop"}, BadInput, "belong together"),
        ({"how": "out", "count": 2}, BadInput, "takes no count"),
        ({"how": "until", "where": "rax =="}, ExpressionError, "a value is missing"),
        ({"how": "until", "where": "nowhere"}, UnknownName, "nowhere"),
        ({"how": "until", "where": "rax == nowhere"}, UnknownName, "nowhere"),
    ],
)
def test_a_step_that_cannot_be_is_refused_before_the_guest_runs(
    endless: Vm, arguments: dict[str, object], error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=what):
        endless.step(**arguments)  # type: ignore[arg-type]
    assert (endless.vcpu.clock, endless.last_stop) == (0, None)


@pytest.mark.parametrize("arguments", [{"max_instructions": 0}, {"timeout": 0}, {"timeout": -1}])
def test_a_run_without_room_is_refused(endless: Vm, arguments: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="must be"):
        endless.cont(**arguments)


# REP, ports, MMIO


REP = "start: mov ecx, 5\nmov edi, 0x9000\nrep stosb\nnext: hlt"


def test_a_step_into_rep_is_one_round_and_over_is_all_of_it() -> None:
    with Vm() as vm:
        vm.load(assemble(REP))
        vm.step(2)
        assert vm.step().regs.rcx == 4
        stop = vm.step(how="over")
        assert (stop.location, stop.regs.rcx) == ("next", 0)


@pytest.mark.parametrize("kind", ["sw", "hw"])
def test_a_breakpoint_on_rep_is_hit_once(kind: str) -> None:
    with Vm() as vm:
        vm.load(assemble(REP.replace("ecx, 5", "ecx, 5000")))
        vm.bp("start+10", kind=kind)
        assert vm.cont().hits == (1,)
        assert (vm.cont().kind, vm.breakpoints[1].hits) == (StopKind.HALT, 1)
        assert len(vm.timeline) < 10


PORTS = """
start:  mov al, 'A'
        out 0xe9, al
        in al, 0x80
        mov edx, 0x3f8
        out dx, al
        hlt
"""


def test_port_accesses_are_whole_steps() -> None:
    with Vm() as vm:
        vm.load(assemble(PORTS))
        stops = [vm.step() for _ in range(5)]
        assert [stop.executed for stop in stops] == [1] * 5
        assert stops[1].cause == "single step; OUT 0x41 to port 0xe9"
        assert (stops[1].console, stops[2].regs.rax & 0xFF) == ("A", 0xFF)
        assert stops[2].cause == "single step; IN from port 0x80, no device there"
        assert vm.timeline.counts()[ExitReason.IO] == 3


def test_port_accesses_do_not_stop_a_run() -> None:
    with Vm() as vm:
        vm.load(assemble(PORTS))
        assert (vm.cont().kind, vm.console) == (StopKind.HALT, "A\\xff")


def test_the_console_of_a_string_output() -> None:
    with Vm() as vm:
        vm.load(
            assemble(
                "start: mov ecx, 5\nlea rsi, [text]\nmov edx, 0xe9\nrep outsb\nnext: hlt\n"
                'text: .ascii "hello"'
            )
        )
        vm.bp("next")
        assert (vm.cont().location, vm.console) == ("next", "hello")


MMIO = "start: mov ebx, 0xfee00000\nmov dword ptr [rbx], 7\nmov eax, [rbx]\nnext: hlt"


def test_memory_without_ram_reads_as_ones_and_is_told() -> None:
    with Vm() as vm:
        vm.load(assemble(MMIO))
        vm.step()
        write, read = vm.step(), vm.step()
        assert write.cause == "single step; write to physical 0xfee00000, no device there"
        assert (read.location, read.regs.rax) == ("next", 0xFFFFFFFF)


def test_memory_without_ram_does_not_stop_a_run() -> None:
    with Vm() as vm:
        vm.load(assemble(MMIO))
        assert (vm.cont().kind, vm.timeline.counts()[ExitReason.MMIO]) == (StopKind.HALT, 2)


# Handlers


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("raising", ["int 0x30", "ud2", "int3"])
def test_a_step_goes_into_the_handler(mode: str, raising: str) -> None:
    vector = {"int 0x30": 0x30, "ud2": 6, "int3": 3}[raising]
    with Vm(mode=mode) as vm:
        vm.load(assemble(f"start: nop\n{raising}\nhlt\nhandler: inc ebx\n{BACK[mode]}", mode=mode))
        vm.set_gate(vector, "handler")
        vm.step()
        stop = vm.step()
        assert (stop.location, stop.regs.rbx) == ("handler", 0)
        assert stop.kind is (StopKind.GUEST_DEBUG if vector == 3 else StopKind.STEP)


def test_a_step_from_a_vector_breakpoint_goes_into_the_handler() -> None:
    with Vm() as vm:
        vm.load(assemble("start: int 0x30\nhlt\nhandler: inc ebx\niretq"))
        vm.set_gate(0x30, "handler")
        vm.bp_vector(0x30)
        assert vm.cont().kind is StopKind.VECTOR
        assert (vm.step().location, vm.breakpoints[1].hits) == ("handler", 1)


def test_a_breakpoint_at_the_handler_counts_when_stepped_into() -> None:
    with Vm() as vm:
        vm.load(assemble("start: int 0x30\nhlt\nhandler: inc ebx\niretq"))
        vm.set_gate(0x30, "handler")
        vm.bp("handler")
        assert vm.step().hits == (1,)
        assert vm.breakpoints[1].hits == 1


@pytest.mark.parametrize("kind", ["sw", "hw"])
def test_a_breakpoint_on_int_n_lets_breakpoints_in_the_handler_work(kind: str) -> None:
    with Vm() as vm:
        vm.load(assemble("start: int 0x30\nhlt\nhandler: inc ebx\niretq"))
        vm.set_gate(0x30, "handler")
        vm.bp("start", kind=kind)
        vm.bp("handler", kind=kind)
        assert [vm.cont().hits, vm.cont().hits] == [(1,), (2,)]
        assert vm.cont().kind is StopKind.HALT


def test_a_step_over_int_n_comes_back_behind_it() -> None:
    with Vm() as vm:
        vm.load(assemble("start: int 0x30\nafter: hlt\nhandler: inc ebx\niretq"))
        vm.set_gate(0x30, "handler")
        stop = vm.step(how="over")
        assert (stop.location, stop.regs.rbx) == ("after", 1)


def test_a_step_that_cannot_reach_a_handler_is_a_triple_fault() -> None:
    with Vm() as vm:
        vm.load(assemble("start: ud2"))
        assert vm.step().kind is StopKind.SHUTDOWN


# Limits, Ctrl-C, threads


def test_a_budget_ends_a_run_exactly(endless: Vm) -> None:
    stop = endless.cont(max_instructions=1000)
    assert (stop.kind, stop.executed) == (StopKind.BUDGET, 1000)
    assert stop.cause == "budget of 1,000 instructions used up"


def test_a_timeout_ends_a_run(endless: Vm) -> None:
    began = time.monotonic()
    assert endless.cont(timeout=0.2).kind is StopKind.TIMEOUT
    assert 0.15 < time.monotonic() - began < 2


RUNS: dict[str, Callable[[Vm], object]] = {
    "cont": lambda vm: vm.cont(),
    "step": lambda vm: vm.step(10**9),
    "over": lambda vm: vm.step(10**9, how="over"),
    "out": lambda vm: vm.step(how="out"),
    "until an address": lambda vm: vm.step(how="until", where="0x100"),
    "until a condition": lambda vm: vm.step(how="until", where="ecx == 9"),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_ctrl_c_ends_everything_and_the_vm_is_intact(
    endless: Vm, run: Callable[..., object]
) -> None:
    endless.bp("loop", when="0 == 1")
    began = time.monotonic()
    stopped = pytest.raises(VmInterrupted, match=r"guest stopped at loop.*the VM is intact")
    with stop_pressed(endless, 0.2), stopped:
        run(endless)
    assert time.monotonic() - began < 2
    stop = endless.last_stop
    assert stop is not None
    assert stop.kind is StopKind.INTERRUPTED
    assert endless.read(endless.address("loop"), 3) == bytes.fromhex("48ffc0")
    assert endless.step().executed == 1


def test_ctrl_c_is_an_ordinary_keyboard_interrupt_to_python(endless: Vm) -> None:
    with stop_pressed(endless), pytest.raises(KeyboardInterrupt):
        endless.cont()


def test_ctrl_c_works_as_before_after_a_run(endless: Vm) -> None:
    before = signal.getsignal(signal.SIGINT)
    endless.cont(max_instructions=10)
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_can_end_a_run(endless: Vm) -> None:
    threading.Timer(0.2, endless.request_stop).start()
    stop = endless.cont()
    assert (stop.kind, stop.cause) == (StopKind.INTERRUPTED, "a stop was requested")


def test_another_thread_can_end_many_steps(endless: Vm) -> None:
    threading.Timer(0.2, endless.request_stop).start()
    assert endless.step(10**9).kind is StopKind.INTERRUPTED


def test_another_thread_must_not_touch_a_running_vm(endless: Vm) -> None:
    running = threading.Thread(target=endless.cont)
    running.start()
    while not endless.busy:
        time.sleep(0.01)
    try:
        for call in (endless.step, endless.cont, lambda: endless.bp("loop")):
            with pytest.raises(VmBusy):
                call()
        assert repr(endless) == "<Vm: running in another thread>"
    finally:
        endless.request_stop()
        running.join(5)
    assert not running.is_alive()
    assert endless.step().executed == 1


def test_a_run_in_a_thread_needs_no_signals(endless: Vm) -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(endless.cont(max_instructions=10).kind))
    thread.start()
    thread.join(5)
    assert found == [StopKind.BUDGET]
