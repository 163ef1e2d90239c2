"""Breakpoints on the embedded engine: INT3, debug registers, vectors, conditions, paging."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.debugger.stop import StopKind
from kvmdbg.exits import ExitReason
from kvmdbg.x86.registers import RFLAGS

LOOP = """
start:  mov ecx, 20
        xor eax, eax
loop:   inc eax
store:  mov [counter], eax
        dec ecx
        jnz loop
        hlt
        .balign 16
counter: .quad 0
"""


@pytest.fixture
def vm() -> Iterator[Vm]:
    with Vm() as vm:
        vm.load(assemble(LOOP))
        yield vm


@pytest.fixture(params=["real", "protected", "long"])
def any_mode(request: pytest.FixtureRequest) -> Iterator[Vm]:
    with Vm(mode=request.param) as vm:
        vm.load(assemble(LOOP.replace(".quad", ".long"), mode=request.param))
        yield vm


@pytest.mark.parametrize("kind", ["sw", "hw"])
def test_a_breakpoint_in_a_loop_stops_each_time_around(any_mode: Vm, kind: str) -> None:
    found = any_mode.bp("loop", kind=kind)
    for around in range(5):
        stop = any_mode.cont()
        assert (stop.kind, stop.location, stop.regs.rax) == (StopKind.BREAKPOINT, "loop", around)
        assert stop.hits == (found.number,)
    assert any_mode.breakpoints[1].hits == 5


def test_the_loop_still_does_what_it_did_without_breakpoints(any_mode: Vm) -> None:
    any_mode.bp("loop", when="hits == 1000")
    any_mode.bp("store", kind="hw", when="hits == 1000")
    stop = any_mode.cont()
    assert (stop.kind, stop.regs.rax) == (StopKind.HALT, 20)
    assert [found.hits for found in any_mode.breakpoints] == [20, 20]
    counter = any_mode.read(any_mode.address("counter"), 4)
    assert int.from_bytes(counter, "little") == 20


def test_a_hundred_int3s_do_not_change_what_a_program_computes() -> None:
    source = (
        "start: xor eax, eax\n" + "\n".join(f"l{n}: add eax, {n}" for n in range(100)) + "\nhlt"
    )
    with Vm() as vm:
        vm.load(assemble(source))
        for n in range(100):
            vm.bp(f"l{n}", when="0 == 1")
        code = vm.read(0x8000, 400)
        assert vm.cont().regs.rax == sum(range(100))
        assert vm.read(0x8000, 400) == code
        assert all(found.hits == 1 for found in vm.breakpoints)


def test_memory_never_shows_an_int3(vm: Vm) -> None:
    code = vm.read(0x8000, 32)
    vm.bp("loop")
    vm.cont()
    assert vm.read(0x8000, 32) == vm.memory[0x8000:0x8020] == code
    assert vm.vcpu.read_memory(vm.address("loop"), 1) == b"\xcc"
    assert vm.disassemble("loop", 1)[0].text == "inc eax"


def test_a_stop_does_not_take_planting_for_a_change(vm: Vm) -> None:
    vm.step()
    vm.bp("loop")
    assert vm.step().changes.memory == ()
    vm.breakpoints.clear()
    assert vm.step().changes.memory == ()


@pytest.mark.parametrize("access", ["w", "rw"])
def test_a_watchpoint_stops_after_each_write_with_old_and_new(any_mode: Vm, access: str) -> None:
    any_mode.bp("counter", access=access, length=4)
    for around in range(1, 4):
        stop = any_mode.cont()
        assert (stop.kind, stop.hits) == (StopKind.WATCHPOINT, (1,))
        assert stop.cause.endswith(f": {around - 1:#x} -> {around:#x}")


def test_a_watchpoint_on_reads_stops_after_a_read() -> None:
    with Vm() as vm:
        vm.load(assemble("start: mov eax, [data]\nnop\nhlt\n.balign 8\ndata: .long 9"))
        vm.bp("data", access="rw")
        stop = vm.cont()
        assert (stop.regs.rax, stop.cause.endswith(": still 0x9")) == (9, True)


def test_a_watchpoint_on_writes_lets_reads_pass() -> None:
    with Vm() as vm:
        vm.load(assemble("start: mov eax, [data]\nhlt\n.balign 8\ndata: .long 9"))
        vm.bp("data", access="w")
        assert vm.cont().kind is StopKind.HALT


def test_an_access_to_a_part_of_the_watched_bytes_is_a_hit() -> None:
    with Vm() as vm:
        vm.load(assemble("start: mov byte ptr [data+7], 1\nhlt\n.balign 8\ndata: .quad 0"))
        vm.bp("data", access="w", length=8)
        assert vm.cont().cause.endswith(": 0x0 -> 0x100000000000000")


def test_four_watchpoints_work_at_once() -> None:
    writes = "\n".join(f"mov dword ptr [data+{4 * n}], {n + 1}" for n in range(4))
    with Vm() as vm:
        vm.load(assemble(f"start: {writes}\nhlt\n.balign 16\ndata: .space 16"))
        for n in range(4):
            vm.bp(f"data+{4 * n}", access="w", length=4)
        assert [vm.cont().hits for _ in range(4)] == [(1,), (2,), (3,), (4,)]
        assert vm.cont().kind is StopKind.HALT


def test_a_watched_value_follows_what_the_host_writes(vm: Vm) -> None:
    vm.bp("counter", access="w", length=4)
    vm.cont()
    vm.write(vm.address("counter"), b"\x63\0\0\0")
    assert vm.cont().cause.endswith(": 0x63 -> 0x2")


def test_a_condition_on_registers_memory_and_hits(vm: Vm) -> None:
    vm.bp("loop", when="eax == 7 and dword [counter] == 7 and hits == 8 and ecx == 13")
    assert (vm.cont().regs.rax, vm.breakpoints[1].hits) == (7, 8)


def test_a_condition_that_fails_stops_and_is_told(vm: Vm) -> None:
    vm.bp("loop", when="1 / eax")
    stop = vm.cont()
    assert (stop.kind, "its condition failed: division by zero" in stop.cause) == (
        StopKind.BREAKPOINT,
        True,
    )


def test_breakpoints_survive_loading_and_begin_with_no_hits(vm: Vm) -> None:
    vm.bp("loop")
    vm.bp("counter", access="w")
    vm.cont()
    vm.cont()
    vm.load(assemble(LOOP))
    assert [found.hits for found in vm.breakpoints] == [0, 0]
    assert vm.cont().hits == (1,)


def test_breakpoints_survive_a_reset(vm: Vm) -> None:
    vm.bp("loop", when="hits == 3")
    assert vm.cont().regs.rax == 2
    vm.reset()
    assert vm.cont().regs.rax == 2


def test_a_breakpoint_survives_a_guest_that_loads_code_over_it() -> None:
    source = """
start:  mov byte ptr [patch], 0x40      # inc becomes part of another instruction
        mov word ptr [patch], 0x90
        jmp patch
patch:  .byte 0x90, 0x90
        hlt
    """
    with Vm() as vm:
        vm.load(assemble(source))
        vm.bp("patch")
        vm.step()
        vm.step()
        assert vm.cont().location == "patch"


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_a_vector_breakpoint_stops_before_the_handler(mode: str) -> None:
    back = {"real": "iret", "protected": "iretd", "long": "iretq"}[mode]
    with Vm(mode=mode) as vm:
        vm.load(assemble(f"start: nop\nint 0x13\nhlt\nhandler: inc ebx\n{back}", mode=mode))
        vm.set_gate(0x13, "handler")
        vm.bp_vector(0x13)
        stop = vm.cont()
        assert (stop.kind, stop.pc, stop.regs.rbx) == (StopKind.VECTOR, 0x8001, 0)
        assert stop.cause == "the guest raised INT 13h (vector breakpoint 1)"
        assert (vm.cont().kind, vm.regs().rbx) == (StopKind.HALT, 1)


def test_a_vector_breakpoint_sees_a_fault_with_its_error_code() -> None:
    with Vm() as vm:
        vm.load(assemble("start: mov rax, [0x7ffffffff000]\nhlt"))
        vm.bp_vector(14)
        assert vm.cont().cause == "the guest raised #PF, error code 0x0 (vector breakpoint 1)"


def test_a_vector_breakpoint_with_a_condition() -> None:
    source = "start: mov ah, 1\nint 0x30\nmov ah, 2\nint 0x30\nhlt\nhandler: iretq"
    with Vm() as vm:
        vm.load(assemble(source))
        vm.set_gate(0x30, "handler")
        vm.bp_vector(0x30, when="ah == 2")
        assert (vm.cont().regs.rax, vm.breakpoints[1].hits) == (0x200, 2)


# The guest's own


OWN_INT3 = "start: nop\nint3\nnop\nhlt\nhandler: inc ebx\niretq"


@pytest.mark.parametrize("planted", ["start", "start+2", "handler", "start+1"])
def test_the_guests_own_int3_reaches_its_handler_beside_ours(planted: str) -> None:
    with Vm() as vm:
        vm.load(assemble(OWN_INT3))
        vm.set_gate(3, "handler")
        vm.bp(planted)
        assert vm.cont().hits == (1,)
        stop = vm.cont()
        assert (stop.kind, stop.regs.rbx, vm.breakpoints[1].hits) == (StopKind.HALT, 1, 1)


TRAPPING = """
start:  pushfq
        or dword ptr [rsp], 0x100
        popfq
        nop
first:  nop
second: nop
        and dword ptr [rsp], 0xfffffeff
        hlt
handler: inc ebx
        mov rax, dr6
        iretq
"""


@pytest.mark.parametrize("watch", [False, True])
def test_the_guests_own_single_stepping_goes_to_its_handler(watch: bool) -> None:
    with Vm() as vm:
        vm.load(assemble(TRAPPING))
        vm.set_gate(1, "handler")
        if watch:
            vm.bp(0x9000, access="w")  # #DB comes to the host now, and is handed back
        assert (vm.cont(max_instructions=16).regs.rbx, vm.regs().rax) == (3, 0xFFFF4FF0)


@pytest.mark.parametrize("kind", ["sw", "hw"])
def test_a_breakpoint_does_not_end_the_guests_own_single_stepping(kind: str) -> None:
    with Vm() as vm:
        vm.load(assemble(TRAPPING))
        vm.set_gate(1, "handler")
        vm.bp("first", kind=kind)
        assert vm.cont().location == "first"
        traps = vm.regs().rbx
        vm.breakpoints.clear()
        vm.bp("second", kind=kind)
        stop = vm.cont()
        assert (stop.location, stop.regs.rbx - traps) == ("second", 1)


OWN_WATCH = """
start:  lea rax, [counter]
        mov dr0, rax
        mov eax, 0xd0402
        mov dr7, rax
        mov dword ptr [counter], 5
        nop
        hlt
handler: inc ebx
        mov rax, dr6
        iretq
        .balign 8
counter: .quad 0
"""


def test_the_guests_own_watchpoint_goes_to_its_handler_while_stepping() -> None:
    with Vm() as vm:
        vm.load(assemble(OWN_WATCH))
        vm.set_gate(1, "handler")
        vm.step(20)
        assert (vm.regs().rbx, vm.regs().rax & 0xF) == (1, 1)


def test_the_hosts_watchpoints_hide_the_guests() -> None:
    with Vm() as vm:
        vm.load(assemble(OWN_WATCH))
        vm.set_gate(1, "handler")
        vm.bp(0x20000, access="w")
        assert (vm.cont().kind, vm.regs().rbx) == (StopKind.HALT, 0)
        assert vm.debugregs().dr7 == 0xD0402


# Paging


ALIAS = """
start:  mov rdi, 0x2010                 # PML4[2]: the same gigabytes once more
        mov rax, [0x2000]
        mov [rdi], rax
        mov rax, 0x10000000000
        lea rbx, [target + rax]
        call rbx
        hlt
target: inc ecx
        ret
"""


def test_an_int3_reached_by_another_linear_address_is_ours() -> None:
    with Vm() as vm:
        vm.load(assemble(ALIAS))
        vm.bp("target")
        stop = vm.cont()
        assert (stop.hits, stop.pc) == ((1,), vm.symbols["target"] + (1 << 40))
        assert (vm.cont().kind, vm.regs().rcx, vm.breakpoints[1].hits) == (StopKind.HALT, 1, 1)


def test_an_int3_follows_its_linear_address_when_paging_is_switched() -> None:
    table, linear, moved = 0x500000, 0x200000, 0x400000
    with Vm() as vm:
        vm.load(assemble("nop\nhlt"))
        vm.memory[moved : moved + 2] = b"\x90\xf4"
        vm.bp(linear)
        vm.step()
        vm.write(table, (table + 0x1000 | 7).to_bytes(8, "little"))
        vm.write(table + 0x1000, (table + 0x2000 | 7).to_bytes(8, "little"))
        vm.write(table + 0x2000, vm.read(0x4000, 4096))
        vm.write(table + 0x2008, (moved | 0xE7).to_bytes(8, "little"))
        vm.vcpu.set_sregs(vm.sregs()._replace(cr3=table))
        vm.set_regs(rip=linear)
        assert (vm.cont().hits, vm.memory[moved]) == ((1,), 0x90)


# The timeline


def test_a_silent_breakpoint_leaves_its_exits_in_the_timeline(vm: Vm) -> None:
    vm.bp("loop", when="0 == 1")
    vm.cont()
    counts = vm.timeline.counts()
    assert (counts[ExitReason.DEBUG], counts[ExitReason.HLT]) == (40, 1)


def test_the_guest_never_sees_the_hosts_trap_flag() -> None:
    with Vm() as vm:
        vm.load(assemble("start: pushfq\npop rax\nhlt"))
        vm.bp("start")
        vm.cont()
        assert not vm.step(2).regs.rax & RFLAGS.TF
