"""Stops that this host's KVM does not give: made up for, and said to be; or refused.

On a host whose KVM gives them itself the same tests ask for the same stops, without ``emulated``.
"""

from __future__ import annotations

import os
import threading

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.engines import Capability, emulated
from kvmdbg.engines.kvm import probe
from kvmdbg.errors import BreakpointError, IoctlError
from kvmdbg.exits import DebugExit, Exit, HltExit, IntrExit, IoExit, MmioExit
from kvmdbg.x86.registers import CpuMode
from tests.guests.bench import BS, IB, ID, MODES, B, E, H, S, W
from tests.integration.test_kvm_engine import KvmBench, needs_kvm

pytestmark = needs_kvm
WATCHED = 0x9004
WRITE_2 = 0x50402
"""DR7: slot 0 watches two bytes for writes."""
OUTSIDE = 0x600000
"""Mapped by the default guest, and behind its RAM."""
INT3_MODES = ("protected", "long")


def native(b: KvmBench, capability: Capability) -> bool:
    """Whether KVM itself does it in the mode that the guest is in."""
    return capability in b.vcpu.capabilities and capability not in emulated(b.vcpu)


def check(exit: Exit, expected: Exit, *, natively: bool) -> None:
    """The exit is this one, and says the truth about who made it."""
    assert exit == expected
    assert isinstance(exit, DebugExit)
    assert exit.emulated is not natively


def lost() -> probe.LostSteps:
    return probe.lost_steps()


def word(mode: str) -> str:
    return {"real": "", "protected": "e", "long": "r"}[mode]


# INT3


@pytest.mark.parametrize("mode", INT3_MODES)
def test_an_int3_of_the_kernel_is_a_stop_at_the_int3(mode: str) -> None:
    with KvmBench("nop\nhere: int3\nnop\nhlt", mode) as b:
        natively = native(b, Capability.SW_BP)
        for _ in range(2):  # it stands there until the host moves it
            check(b.run(E | W), DebugExit(3, b["here"]), natively=natively)
        b.set(rip=b.reg("rip") + 1)
        assert b.run(E | W) == HltExit()


@pytest.mark.parametrize("mode", INT3_MODES)
def test_a_step_at_an_int3_stops_there_too(mode: str) -> None:
    with KvmBench("here: int3\nnop\nhlt", mode) as b:
        check(b.run(E | W | S), DebugExit(3, b["here"]), natively=native(b, Capability.SW_BP))


def test_without_use_sw_bp_an_int3_is_no_stop() -> None:
    with KvmBench("int3\nnop\nhlt", "long") as b:
        assert not isinstance(b.run(E | H), DebugExit)


def test_an_instruction_that_kvm_cannot_emulate_is_no_breakpoint() -> None:
    with KvmBench("int 0x21\nhlt", "long") as b:
        assert not isinstance(b.run(E | W), DebugExit)


def test_an_int3_in_real_mode_does_not_reach_the_guest_under_use_sw_bp() -> None:
    with KvmBench("inc ax\nhere: int3\ninc ax\nhlt\nhandler: mov ax, 99\niret", "real") as b:
        b.gate(3, "handler")
        natively = native(b, Capability.SW_BP)
        check(b.run(E | W), DebugExit(3, b["here"]), natively=natively)
        assert b.reg("rax") & 0xFFFF == 1
        b.set(rip=b.reg("rip") + 1)
        assert b.run(E | W) == HltExit()
        assert b.reg("rax") & 0xFFFF == 2


def test_an_int3_at_the_start_of_a_handler_stops_an_int_n_in_real_mode() -> None:
    with KvmBench("int 0x20\nhlt\nhandler: int3\niret", "real") as b:
        b.gate(0x20, "handler")
        exit = b.run(E | W)
        check(exit, DebugExit(3, b["handler"]), natively=native(b, Capability.SW_BP))


def test_an_int3_at_the_start_of_a_handler_stops_an_injection_in_real_mode() -> None:
    with KvmBench("nop\nhlt\nhandler: int3\niret", "real") as b:
        b.gate(1, "handler")
        exit = b.run(E | W | ID)
        check(exit, DebugExit(3, b["handler"]), natively=native(b, Capability.SW_BP))
        flags = b.vcpu.read_memory(b.reg("rsp") + 4, 2)
        assert not flags[1] & 1  # no TF of ours in the guest's frame


def test_registers_written_drop_an_injection_and_the_int3_at_hand_stops() -> None:
    with KvmBench("here: int3\nhlt\nhandler: mov al, 9\niret", "real") as b:
        b.gate(1, "handler")
        b.sgd(E | W | ID)
        b.set(rax=1)
        natively = native(b, Capability.SW_BP)
        check(b.run(), DebugExit(3, b["here"]), natively=natively)
        assert b.reg("rax") == 1


def test_the_guests_own_int3_goes_to_its_handler_and_returns_behind_it() -> None:
    with loaded("long", "nop\nint3\nbehind: nop\nhlt\nhandler: inc eax\niretq") as vm:
        vm.set_gate(3, "handler")
        vm.bp("behind")
        stop = vm.cont(timeout=5)
        assert stop.pc == vm.address("behind")
        assert vm.regs().rax == 1


def test_a_second_injection_is_still_busy() -> None:
    with KvmBench("int3\nhlt", "long") as b:
        b.sgd(E | IB)
        with pytest.raises(IoctlError, match="already pending"):
            b.sgd(E | IB)


def test_a_search_for_an_int3_in_real_mode_can_be_stopped() -> None:
    with KvmBench("again: jmp again", "real") as b:
        b.sgd(E | W)
        assert b.vcpu.run(timeout=0.05) == IntrExit("timeout")
        assert b.reg("rip") == b["again"]


# Steps that KVM loses


@pytest.mark.parametrize("mode", MODES)
def test_a_step_over_out_stops_behind_it(mode: str) -> None:
    with KvmBench("out 0x80, al\nbehind: nop\nhlt", mode) as b:
        assert b.run(E | S) == IoExit("out", 0x80, 1, b"\0")
        check(b.run(E | S), DebugExit(1, b["behind"], BS, 0x400), natively=not lost().out)
        check(b.run(E | S), DebugExit(1, b["behind"] + 1, BS, 0x400), natively=True)


def test_a_run_of_nothing_gives_the_stop_behind_an_out() -> None:
    with KvmBench("out 0x80, al\nbehind: nop\nhlt", "long") as b:
        b.run(E | S)
        exit = b.vcpu.run(0)
        if not lost().out:
            exit = b.run(E | S) if exit == IntrExit("budget") else exit
        check(exit, DebugExit(1, b["behind"], BS, 0x400), natively=not lost().out)


def test_a_stop_behind_out_is_dropped_with_single_stepping() -> None:
    with KvmBench("out 0x80, al\nnop\nhlt", "long") as b:
        b.run(E | S)
        assert b.run(E) == HltExit()


def test_a_stop_behind_out_is_dropped_where_the_host_goes_elsewhere() -> None:
    with KvmBench("out 0x80, al\nnop\nhlt\nelse: nop\nhlt", "long") as b:
        b.run(E | S)
        b.set(rip=b["else"])
        check(b.run(E | S), DebugExit(1, b["else"] + 1, BS, 0x400), natively=True)


def test_a_stop_behind_out_is_forgotten_by_a_restore() -> None:
    with KvmBench("nop\nout 0x80, al\nhlt", "long") as b:
        before = b.vcpu.snapshot()
        b.run(E | S)
        b.run(E | S)
        b.vcpu.restore(before)
        check(b.run(E | S), DebugExit(1, b.program.origin + 1, BS, 0x400), natively=True)


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_a_step_over_a_store_to_mmio_stops_behind_it(mode: str) -> None:
    with KvmBench(f"mov [{OUTSIDE}], al\nbehind: nop\nhlt", mode) as b:
        assert b.run(E | S) == MmioExit(OUTSIDE, b"\0", True)
        check(b.run(E | S), DebugExit(1, b["behind"], BS, 0x400), natively=not lost().mmio_write)


@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_hlt_is_a_hlt_exit_and_the_next_step_is_behind_it(mode: str) -> None:
    with KvmBench("nop\nhlt\nbehind: nop\nnop\nhlt", mode) as b:
        check(b.run(E | S), DebugExit(1, b.program.origin + 1, BS, 0x400), natively=True)
        assert b.run(E | S) == HltExit()
        assert b.reg("rip") == b["behind"]
        check(b.run(E | S), DebugExit(1, b["behind"] + 1, BS, 0x400), natively=True)
        assert b.run(E) == HltExit()
        assert b.reg("rip") == b["behind"] + 3


def test_a_breakpoint_at_an_hlt_comes_before_the_stepped_hlt() -> None:
    with KvmBench("nop\nhere: hlt\nhlt", "long") as b:
        b.set(rip=b["here"])
        b.sgd(E | S | H, dr0=b["here"], dr7=0x402)
        exit = b.vcpu.run(timeout=5)
        assert isinstance(exit, DebugExit)
        assert exit.dr6 & 1


# Write watchpoints


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def watch(b: KvmBench, control: int = 0, dr7: int = WRITE_2) -> None:
    b.sgd(E | H | control, dr0=WATCHED, dr7=dr7)


def slots(b: KvmBench) -> int:
    """How many memory slots the VM has: one, when nothing is protected."""
    return len(b.vcpu._vm._regions)  # type: ignore[attr-defined]


def test_a_store_to_watched_bytes_stops_behind_it(mode: str) -> None:
    with KvmBench(f"mov word ptr [{WATCHED}], 0x1234\nbehind: nop\nhlt", mode) as b:
        watch(b)
        exit = b.vcpu.run(timeout=5)
        natively = native(b, Capability.HW_WRITE)
        check(exit, DebugExit(1, b["behind"], B(0), WRITE_2), natively=natively)
        assert b.word(WATCHED, 2) == 0x1234
        assert b.vcpu.run(timeout=5) == HltExit()


@pytest.mark.parametrize(
    ("store", "hit"),
    [
        (f"mov byte ptr [{WATCHED - 1}], 1", False),
        (f"mov byte ptr [{WATCHED}], 1", True),
        (f"mov byte ptr [{WATCHED + 1}], 1", True),
        (f"mov byte ptr [{WATCHED + 2}], 1", False),
        (f"mov dword ptr [{WATCHED - 2}], 1", True),
        (f"mov al, [{WATCHED}]", False),
        (f"inc byte ptr [{WATCHED}]", True),
        (f"mov qword ptr [{WATCHED - 8}], -1", False),
        (f"mov qword ptr [{WATCHED - 7}], -1", True),
    ],
)
def test_a_store_hits_where_it_overlaps(store: str, hit: bool) -> None:
    with KvmBench(f"{store}\nhlt", "long") as b:
        watch(b)
        exit = b.vcpu.run(timeout=5)
        assert (exit == HltExit()) is not hit


def test_a_hundred_stores_elsewhere_in_the_page_do_not_stop(mode: str) -> None:
    cx = word(mode) + "cx"
    text = f"mov {cx}, 100\nmore: inc byte ptr [{WATCHED + 0x100}]\nloop more\nhlt"
    with KvmBench(text, mode) as b:
        watch(b)
        assert b.vcpu.run(timeout=5) == HltExit()
        assert b.word(WATCHED + 0x100, 1) == 100


def test_each_element_of_a_rep_that_hits_stops_once(mode: str) -> None:
    r = word(mode)
    text = f"cld\nmov {r}di, {WATCHED - 2}\nmov {r}cx, 6\nmov al, 0x77\nhere: rep stosb\nhlt"
    with KvmBench(text, mode) as b:
        watch(b)
        exits = [b.vcpu.run(timeout=5) for _ in range(3)]
        assert [getattr(exit, "dr6", None) for exit in exits] == [B(0), B(0), None]
        assert b.vcpu.read_memory(WATCHED - 2, 7) == b"\x77" * 6 + b"\0"


def test_a_store_across_the_end_of_the_watched_page_is_done_whole(mode: str) -> None:
    with KvmBench("mov eax, 0x44332211\nmov [0x9ffe], eax\nbehind: nop\nhlt", mode) as b:
        b.sgd(E | H, dr0=0x9FFE, dr1=0xA000, dr7=WRITE_2 | 0x500008)
        exit = b.vcpu.run(timeout=5)
        natively = native(b, Capability.HW_WRITE)
        check(exit, DebugExit(1, b["behind"], B(0, 1), WRITE_2 | 0x500008), natively=natively)
        assert b.word(0x9FFE, 4) == 0x44332211


def test_a_step_over_a_store_into_the_watched_page_is_a_step(mode: str) -> None:
    with KvmBench(f"mov [{WATCHED + 8}], al\nbehind: nop\nhlt", mode) as b:
        watch(b, S)
        exit = b.vcpu.run(timeout=5)
        natively = native(b, Capability.HW_WRITE)
        check(exit, DebugExit(1, b["behind"], BS, WRITE_2), natively=natively)


def test_a_step_over_a_store_to_watched_bytes_names_both_causes(mode: str) -> None:
    with KvmBench(f"mov [{WATCHED}], al\nbehind: nop\nhlt", mode) as b:
        watch(b, S)
        exit = b.vcpu.run(timeout=5)
        natively = native(b, Capability.HW_WRITE)
        check(exit, DebugExit(1, b["behind"], BS | 1, WRITE_2), natively=natively)


def test_disarmed_ram_is_one_writable_slot_again(mode: str) -> None:
    cx = word(mode) + "cx"
    text = f"more: mov [0x9100], al\nloop more\nmov {cx}, 60000\nfast: mov [0x9100], al\nloop fast"
    with KvmBench(f"mov {cx}, 60000\n{text}\nhlt", mode) as b:
        watch(b)
        b.vcpu.run(timeout=0.02)
        b.sgd(0)
        assert slots(b) == 1
        assert b.vcpu.run(timeout=2) == HltExit()


@pytest.mark.parametrize(
    ("store", "address", "size"),
    [("mov [0x9ffe], eax", 0x9FFE, 4), ("movups [0x9100], xmm0", 0x9100, 16)],
)
def test_a_store_in_several_pieces_is_done_whole_when_the_host_comes_to_look(
    store: str, address: int, size: int
) -> None:
    with KvmBench(f"xor eax, eax\n{store}\nhlt", "long") as b:
        b.vcpu.write_memory(address, b"\xff" * size)
        b.sgd(E | H, dr0=WATCHED, dr1=0xA100, dr7=WRITE_2 | 0x500008)
        assert b.vcpu._entry.enter() in (None, HltExit())  # type: ignore[attr-defined]
        assert b.vcpu.read_memory(address, size) == bytes(size)


def test_an_armed_page_is_a_slot_of_its_own_only_where_it_must_be() -> None:
    with KvmBench("mov [0x9100], al\nhlt") as b:
        watch(b)
        assert b.vcpu.run(timeout=5) == HltExit()
        assert slots(b) == (1 if native(b, Capability.HW_WRITE) else 3)


def test_read_watchpoints_are_not_said_to_work_where_they_do_not() -> None:
    with KvmBench(f"mov al, [{WATCHED}]\nhlt") as b:
        watch(b, dr7=0x70402)
        stopped = isinstance(b.vcpu.run(timeout=5), DebugExit)
        assert stopped is (Capability.HW_DATA in b.vcpu.capabilities)


def test_paging_decides_which_bytes_are_watched() -> None:
    """The two MiB at 0x200000 are mapped to 0: what is watched there is at physical 0x9004."""
    with KvmBench(f"mov byte ptr [{WATCHED}], 7\nbehind: nop\nhlt") as b:
        sregs = b.vcpu.get_sregs()
        pml4 = b.word(sregs.cr3 & ~0xFFF) & ~0xFFF
        pd = b.word(pml4) & ~0xFFF
        b.vcpu.write_memory(pd + 8, b.vcpu.read_memory(pd, 8))
        b.sgd(E | H, dr0=0x200000 + WATCHED, dr7=WRITE_2)
        exit = b.vcpu.run(timeout=5)
        if native(b, Capability.HW_WRITE):
            assert exit == HltExit()  # a processor compares linear addresses
        else:
            check(exit, DebugExit(1, b["behind"], B(0), WRITE_2), natively=False)


@pytest.mark.parametrize("text", ["div ecx", "ud2"])
def test_an_exception_with_its_stack_in_the_watched_page_is_delivered(mode: str, text: str) -> None:
    vector = {"div ecx": 0, "ud2": 6}[text]
    source = f"xor ecx, ecx\n{text}\nhlt\nhandler: mov al, 77\nhlt"
    with KvmBench(source, mode) as b:
        b.gate(vector, "handler")
        b.set(rsp=0x9800)
        watch(b)
        assert b.vcpu.run(timeout=5) == HltExit()
        assert b.reg("rax") & 0xFF == 77


def test_a_watched_word_of_the_stack_stops_when_it_changes(mode: str) -> None:
    r = word(mode)
    with KvmBench(f"nop\nmov {r}ax, 0x55\npush {r}ax\nbehind: nop\nhlt", mode) as b:
        b.set(rsp=WATCHED + {"": 2, "e": 4, "r": 8}[r])
        watch(b)
        exit = b.vcpu.run(timeout=5)
        assert (exit.pc, exit.dr6) == (b["behind"], B(0))  # type: ignore[union-attr]
        assert b.vcpu.run(timeout=5) == HltExit()


def test_a_snapshot_of_an_armed_guest_is_armed_again(mode: str) -> None:
    with KvmBench(f"mov byte ptr [{WATCHED}], 7\nbehind: nop\nhlt", mode) as b:
        watch(b)
        before = b.vcpu.snapshot()
        stop = DebugExit(1, b["behind"], B(0), WRITE_2)
        natively = native(b, Capability.HW_WRITE)
        for _ in range(2):
            check(b.vcpu.run(timeout=5), stop, natively=natively)
            assert b.word(WATCHED, 1) == 7
            b.sgd(0)
            b.vcpu.restore(before)
            assert b.word(WATCHED, 1) == 0


def test_a_restore_of_an_unarmed_guest_leaves_nothing_protected() -> None:
    with KvmBench("mov byte ptr [0x9100], 7\nhlt") as b:
        before = b.vcpu.snapshot()
        watch(b)
        assert b.vcpu.run(timeout=5) == HltExit()
        b.vcpu.restore(before)
        assert slots(b) == 1
        assert b.vcpu.run(timeout=5) == HltExit()


def test_closing_an_armed_vm_leaves_nothing() -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = files()
    for _ in range(5):
        with KvmBench("mov byte ptr [0x9100], 7\nhlt") as b:
            watch(b)
            b.vcpu.run(timeout=5)
    assert files() == before


# What the engine says of itself


def test_what_is_emulated_is_also_a_capability(mode: str) -> None:
    with KvmBench("nop\nhlt", mode) as b:
        assert emulated(b.vcpu) <= b.vcpu.capabilities


def test_capabilities_are_those_of_the_mode_that_the_guest_is_in() -> None:
    with KvmBench("nop\nhlt", "long") as b:
        kernel = b.vcpu.capabilities
        assert kernel == probe.answers(CpuMode.LONG, False).both
        assert b.vcpu.capabilities is kernel
        sregs = b.vcpu.get_sregs()
        user = {"cs": sregs.cs._replace(dpl=3, selector=sregs.cs.selector | 3)}
        user["ss"] = sregs.ss._replace(dpl=3, selector=sregs.ss.selector | 3)
        b.vcpu.set_sregs(sregs._replace(**user))
        assert b.vcpu.capabilities == probe.answers(CpuMode.LONG, True).both


def test_after_close_capabilities_are_still_told() -> None:
    with KvmBench("nop\nhlt", "long") as b:
        known = b.vcpu.capabilities
    assert b.vcpu.capabilities == known


def test_opening_an_engine_probes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("a probe was run")

    monkeypatch.setattr(probe, "_engine", refuse)
    for cache in (probe.answers, probe.capabilities, probe._everywhere, probe.lost_steps):
        monkeypatch.setattr(probe, cache.__name__, cache.__wrapped__)
    with KvmBench("nop\nhlt", "long") as b:
        assert b.vcpu.run(timeout=5) == HltExit()


# Through the debugger

LOOP = "start: mov {cx}, 3\nagain: nop\nloop again\nmov word ptr [0x9004], 0x1234\nend: hlt"


def loaded(mode: str, text: str = LOOP) -> Vm:
    vm = Vm("kvm", mode=mode)
    vm.load(assemble(text.format(cx=word(mode) + "cx"), mode=mode))
    return vm


def test_a_breakpoint_in_a_loop_hits_each_time(mode: str) -> None:
    with loaded(mode) as vm:
        vm.bp("again")
        for _ in range(3):
            stop = vm.cont(timeout=5)
            assert stop.hits == (1,)
            assert stop.pc == vm.address("again")
            assert vm.read(stop.pc, 1) == b"\x90"
        assert vm.cont(timeout=5).exit == HltExit()


def test_the_stop_of_an_emulated_breakpoint_says_so(mode: str) -> None:
    with loaded(mode) as vm:
        breakpoint = vm.bp("again")
        stop = vm.cont(timeout=5)
        made_up = breakpoint.kind == "sw" and Capability.SW_BP in emulated(vm.vcpu)
        assert isinstance(stop.exit, DebugExit)
        assert stop.exit.emulated is made_up
        assert ("emulated" in stop.cause) is made_up
        assert ("emulated" in breakpoint.text) is made_up


def test_a_breakpoint_is_an_int3_only_where_one_stops(mode: str) -> None:
    with loaded(mode) as vm:
        breakpoint = vm.bp("again")
        works = Capability.SW_BP in vm.vcpu.capabilities
        assert breakpoint.kind == ("sw" if works else "hw")
        told = f"in DR0: this host's KVM does not take INT3 in {mode} mode"
        assert (told in breakpoint.text) is not works


def test_an_int3_that_would_not_stop_is_refused_with_the_way_out() -> None:
    with loaded("real") as vm:
        if Capability.SW_BP in vm.vcpu.capabilities:
            pytest.skip("this host's KVM takes INT3 in real mode")
        with pytest.raises(BreakpointError, match=r'no INT3 .* in real mode, .*use kind="hw"$'):
            vm.bp("again", kind="sw")


def test_a_fifth_breakpoint_that_could_not_stop_is_refused() -> None:
    with loaded("real", "nop\n" * 8 + "hlt") as vm:
        if Capability.SW_BP in vm.vcpu.capabilities:
            pytest.skip("this host's KVM takes INT3 in real mode")
        for place in range(4):
            vm.bp(0x8001 + place)
        with pytest.raises(BreakpointError, match="does not take INT3 in real mode, and all four"):
            vm.bp(0x8006)
        assert len(vm.breakpoints) == 4


def test_a_step_over_a_call_in_real_mode_ends_behind_it() -> None:
    with loaded("real", "call sub\nbehind: nop\nhlt\nsub: inc ax\nret") as vm:
        late = threading.Timer(5, vm.vcpu.request_stop)
        late.start()
        stop = vm.step(how="over")
        late.cancel()
        assert stop.pc == vm.address("behind")
        assert vm.regs().rax & 0xFFFF == 1


def test_a_breakpoint_on_a_rep_in_real_mode_counts_once() -> None:
    with loaded("real", "mov cx, 9\nmov di, 0x9100\nhere: rep stosb\nbehind: nop\nhlt") as vm:
        vm.bp("here")
        assert vm.cont(timeout=5).hits == (1,)
        assert vm.cont(timeout=5).exit == HltExit()
        assert vm.breakpoints[1].hits == 1


def test_breakpoints_follow_the_guest_into_another_mode() -> None:
    """Planted in protected mode; the guest is then in real mode, and back again."""
    with loaded("protected", "nop\nnop\nhere: nop\nhlt") as vm:
        number = vm.bp("here").number
        regs, sregs = vm.regs(), vm.sregs()
        flat = sregs.cs._replace(limit=0xFFFF, db=0, g=0, selector=0)
        data = sregs.ds._replace(limit=0xFFFF, db=0, g=0, selector=0)
        real = dict.fromkeys(("ds", "es", "ss", "fs", "gs"), data)
        vm.vcpu.set_sregs(sregs._replace(cs=flat, cr0=sregs.cr0 & ~1, **real))
        assert vm.cont(timeout=5).hits == (number,)
        works = Capability.SW_BP in vm.vcpu.capabilities
        assert vm.breakpoints[number].kind == ("sw" if works else "hw")
        vm.vcpu.set_sregs(sregs)
        vm.set_regs(rip=regs.rip)
        assert vm.cont(timeout=5).hits == (number,)
        assert vm.breakpoints[number].kind == "sw"


def test_a_write_watchpoint_hits_with_old_and_new_value(mode: str) -> None:
    with loaded(mode) as vm:
        breakpoint = vm.bp(0x9004, access="w", length=2)
        stop = vm.cont(timeout=5)
        assert stop.hits == (1,)
        assert "0x0 -> 0x1234" in stop.cause
        made_up = Capability.HW_WRITE in emulated(vm.vcpu)
        assert ("emulated" in stop.cause) is made_up
        assert ("emulated" in breakpoint.text) is made_up
        assert vm.cont(timeout=5).exit == HltExit()


def test_a_read_watchpoint_is_refused_with_what_can_be_watched() -> None:
    with loaded("long") as vm:
        if Capability.HW_DATA in vm.vcpu.capabilities:
            pytest.skip("this host's KVM has data watchpoints")
        with pytest.raises(BreakpointError, match='access="w" watches writes alone'):
            vm.bp(0x9004, access="rw")


def test_a_step_through_output_goes_from_instruction_to_instruction(mode: str) -> None:
    with loaded(mode, "nop\nout 0xe9, al\nbehind: nop\nhlt") as vm:
        vm.step()
        stop = vm.step()
        assert (stop.pc, stop.kind) == (vm.address("behind"), "step")
