"""Rows 26-40: #BP by opcode CC, for the host with USE_SW_BP and for the guest without."""

from __future__ import annotations

import pytest

from kvmdbg import Vm, assemble
from kvmdbg import guestdebug as gd
from kvmdbg.debugger.planting import Planter
from kvmdbg.exits import DebugExit, Exit, HltExit
from kvmdbg.guestdebug import DebugState, Owner
from kvmdbg.machine.layout import Selector, gate
from tests.conformance.rows import row
from tests.guests.bench import BS, IB, MODES, B, Bench, E, H, S, W

CC = 0xCC
WIDTH = {"real": 2, "protected": 4, "long": 8}
IRET = {"real": "iret", "protected": "iretd", "long": "iretq"}
FLAT = MODES[1:]
GUEST = "nop\nbreak: int3\nafter: nop\nhlt\nhandler: hlt"


def stop(pc: int) -> DebugExit:
    """A single-step report: D(1, pc, BS)."""
    return DebugExit(1, pc, BS, 0x400)


def seen(exit_: Exit) -> tuple[int, int]:
    """Exception and pc of a #BP exit; KVM leaves its dr6 and dr7 stale."""
    assert isinstance(exit_, DebugExit)
    return exit_.exception, exit_.pc


def frame(b: Bench, place: int) -> int:
    """The ``place``-th value of the frame on top of the stack: 0 is the saved RIP."""
    width = WIDTH[b.mode]
    return b.word(b.reg("rsp") + place * width, width)


def owner(control: int) -> Owner:
    return gd.owner_of_bp(gd.set_guest_debug(DebugState(), control, (0,) * 8, 0x8000))


def protected_gate(b: Bench, vector: int, label: str, dpl: int) -> None:
    """A gate that code of a higher CPL than ``dpl`` may not use by INT3 or INT n."""
    b.vcpu.write_memory(*gate(b.mode, vector, b[label], dpl=dpl))


def to_user(b: Bench) -> None:
    """Go on at CPL 3."""
    code = Selector.USER_CODE64 if b.mode == "long" else Selector.USER_CODE32
    sregs = b.vcpu.get_sregs()
    data = sregs.ss._replace(selector=Selector.USER_DATA | 3, dpl=3)
    cs = sregs.cs._replace(selector=code | 3, dpl=3)
    b.vcpu.set_sregs(sregs._replace(cs=cs, ss=data, ds=data, es=data))


@row(26)
@pytest.mark.parametrize("mode", MODES)
def test_use_sw_bp_stops_at_the_int3_itself(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        assert seen(b.run(E | W)) == (3, b["break"])
        assert b.reg("rip") == b["break"]


@row(26)
@pytest.mark.parametrize("mode", FLAT)
def test_use_sw_bp_stops_at_an_int3_of_user_code(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        to_user(b)
        assert seen(b.run(E | W)) == (3, b["break"])


@row(26)
def test_the_pc_of_a_bp_exit_is_linear_and_rip_is_the_offset() -> None:
    with Bench("nop\nint3\nhlt", "real") as b:
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(cs=sregs.cs._replace(base=0x8000, selector=0x800)))
        b.set(rip=0)
        assert seen(b.run(E | W)) == (3, 0x8001)
        assert b.reg("rip") == 1


@row(26)
def test_bp_is_the_hosts_with_enable_and_use_sw_bp() -> None:
    assert owner(E | W) is Owner.HOST


@row(27)
@pytest.mark.parametrize("mode", MODES)
def test_running_again_at_the_int3_stops_there_again(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        assert [seen(b.run(E | W)) for _ in range(3)] == [(3, b["break"])] * 3


@row(28)
@pytest.mark.parametrize("mode", MODES)
def test_rip_moved_behind_the_int3_lets_the_guest_go_on(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        b.run(E | W)
        b.set(rip=b["break"] + 1)
        assert b.run() == HltExit()
        assert b.reg("rip") == b["handler"]


@row(29)
@pytest.mark.parametrize("mode", MODES)
def test_without_debugging_int3_enters_the_guests_handler(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        b.gate(3, "handler")
        assert b.run() == HltExit()
        assert b.reg("rip") == b["handler"] + 1
        assert frame(b, 0) == b["break"] + 1
        assert frame(b, 2) & 0xFFFF == 2


@row(29)
@pytest.mark.parametrize("mode", FLAT)
def test_without_debugging_int3_of_user_code_enters_the_guests_handler(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        b.gate(3, "handler")
        to_user(b)
        assert b.run() == HltExit()
        assert b.reg("rip") == b["handler"] + 1
        assert (frame(b, 0), frame(b, 1) & 3) == (b["break"] + 1, 3)


@row(30)
@pytest.mark.parametrize("mode", MODES)
def test_enable_alone_leaves_int3_to_the_guest(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        b.gate(3, "handler")
        assert b.run(E) == HltExit()
        assert frame(b, 0) == b["break"] + 1


@row(30)
def test_bp_is_the_guests_without_use_sw_bp_or_without_enable() -> None:
    assert owner(E) is owner(W) is owner(0) is Owner.GUEST


@row(31)
@pytest.mark.parametrize("mode", MODES)
def test_use_hw_bp_alone_leaves_int3_to_the_guest(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        b.gate(3, "handler")
        assert b.run(E | H) == HltExit()
        assert frame(b, 0) == b["break"] + 1


@row(31)
def test_neither_use_hw_bp_nor_singlestep_takes_bp() -> None:
    assert owner(E | H) is owner(E | S | H) is Owner.GUEST


TWO_BYTES = "break: .byte 0xcd, 3\nafter: hlt\nhandler: hlt"


@row(32)
@pytest.mark.parametrize("mode", MODES)
def test_int_3_in_two_bytes_is_the_guests_even_with_use_sw_bp(mode: str) -> None:
    with Bench(TWO_BYTES, mode) as b:
        b.gate(3, "handler")
        assert b.run(E | W) == HltExit()
        assert frame(b, 0) == b["break"] + 2


@row(32)
@pytest.mark.parametrize("mode", FLAT)
def test_int_3_in_two_bytes_of_user_code_is_the_guests_too(mode: str) -> None:
    with Bench(TWO_BYTES, mode) as b:
        b.gate(3, "handler")
        to_user(b)
        assert b.run(E | W) == HltExit()
        assert frame(b, 0) == b["break"] + 2


@row(32)
@pytest.mark.parametrize("mode", FLAT)
def test_int_3_in_two_bytes_of_user_code_is_refused_by_the_gate_and_not_seen(mode: str) -> None:
    with Bench(TWO_BYTES, mode) as b:
        protected_gate(b, 3, "after", dpl=0)
        b.gate(13, "handler")
        to_user(b)
        assert b.run(E | W) == HltExit()
        assert b.reg("rip") == b["handler"] + 1
        assert (frame(b, 0), frame(b, 1)) == (3 << 3 | 2, b["break"])


@row(33)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prefixes", ["0x2e", "0x66, 0x3e", "0xf3"])
def test_a_prefixed_int3_stops_at_its_first_prefix(prefixes: str, mode: str) -> None:
    with Bench(f"nop\nbreak: .byte {prefixes}, 0xcc\nafter: hlt", mode) as b:
        assert seen(b.run(E | W)) == (3, b["break"])
        assert b.reg("rip") == b["break"]


@row(33)
@pytest.mark.parametrize("mode", MODES)
def test_the_guests_handler_of_a_prefixed_int3_returns_behind_it(mode: str) -> None:
    with Bench("nop\nbreak: .byte 0x2e, 0xcc\nafter: hlt\nhandler: hlt", mode) as b:
        b.gate(3, "handler")
        b.run(E)
        assert frame(b, 0) == b["after"]


@row(33)
@pytest.mark.parametrize("mode", MODES)
def test_a_prefixed_int3_given_back_to_the_guest_returns_behind_it(mode: str) -> None:
    with Bench("nop\nbreak: .byte 0x2e, 0xcc\nafter: hlt\nhandler: hlt", mode) as b:
        b.gate(3, "handler")
        assert seen(b.run(E | W)) == (3, b["break"])
        assert b.run(E | W | IB) == HltExit()
        assert frame(b, 0) == b["after"]


@row(34)
@pytest.mark.parametrize("mode", MODES)
def test_a_bp_exit_after_a_db_exit_still_says_exception_and_pc(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        b.sgd(E | H, dr7=0x402, dr0=b["break"])
        assert b.vcpu.run() == DebugExit(1, b["break"], B(0), 0x402)
        assert seen(b.run(E | W)) == (3, b["break"])


PLANTED = """
        xor eax, eax
again:  nop
here:   .byte 0xb8
        {size} 5             ; mov eax, 5
next:   inc ecx
        jmp again
"""


@row(35)
@pytest.mark.parametrize("mode", MODES)
def test_a_planted_int3_can_be_stepped_over_and_hits_later(mode: str) -> None:
    size = ".word" if mode == "real" else ".long"
    with Bench(PLANTED.format(size=size), mode) as b:
        own = b.vcpu.read_memory(b["here"], 1)
        b.vcpu.write_memory(b["here"], bytes([CC]))
        assert seen(b.run(E | W)) == (3, b["here"])
        b.vcpu.write_memory(b["here"], own)
        assert b.run(E | S) == stop(b["next"])
        assert b.reg("rax") == 5
        b.vcpu.write_memory(b["here"], bytes([CC]))
        assert seen(b.run(E | W)) == (3, b["here"])
        assert b.reg("rcx") == 1


@row(36)
@pytest.mark.parametrize("mode", MODES)
def test_an_int3_that_the_host_did_not_plant_can_be_given_back(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        b.gate(3, "handler")
        planted = {b["after"]: b.vcpu.read_memory(b["after"], 1)}
        b.vcpu.write_memory(b["after"], bytes([CC]))
        exception, pc = seen(b.run(E | W))
        assert exception == 3
        assert pc not in planted
        assert b.run(E | W | IB) == HltExit()
        assert b.reg("rip") == b["handler"] + 1
        assert frame(b, 0) == b["break"] + 1


@row(36)
@pytest.mark.parametrize("mode", FLAT)
def test_an_int3_of_user_code_can_be_given_back(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        b.gate(3, "handler")
        to_user(b)
        assert seen(b.run(E | W)) == (3, b["break"])
        assert b.run(E | W | IB) == HltExit()
        assert (frame(b, 0), frame(b, 1) & 3) == (b["break"] + 1, 3)


@row(37)
def test_removing_a_breakpoint_leaves_a_byte_that_the_guest_overwrote() -> None:
    with Bench("mov byte ptr [here], 0x41\nhlt\nhere: nop") as b:
        planter = Planter(b.vcpu)
        planter.plant(b["here"])
        assert b.word(b["here"], 1) == CC
        assert b.run(E | W) == HltExit()
        assert not planter.lift(b["here"])
        assert b.word(b["here"], 1) == 0x41


@row(37)
def test_removing_a_breakpoint_restores_a_byte_that_is_still_cc() -> None:
    with Bench("hlt\nhere: nop") as b:
        planter = Planter(b.vcpu)
        planter.plant(b["here"])
        assert planter.lift(b["here"])
        assert b.word(b["here"], 1) == 0x90


@row(37)
@pytest.mark.parametrize("mode", MODES)
def test_deleting_a_breakpoint_leaves_a_byte_that_the_guest_overwrote(mode: str) -> None:
    with Vm(mode=mode) as vm:
        vm.load(assemble("mov byte ptr [here], 0x41\nhlt\nhere: nop", mode=mode))
        here = vm.symbols["here"]
        number = vm.bp(here).number
        vm.cont()
        vm.breakpoints.delete(number)
        assert vm.vcpu.read_memory(here, 1) == b"\x41"


@row(38)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_onto_an_int3_stops_before_and_then_at_it(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        assert b.run(E | S | W) == stop(b["break"])
        assert seen(b.run(E | S | W)) == (3, b["break"])


@row(39)
@pytest.mark.parametrize("mode", FLAT)
def test_the_host_takes_user_int3_before_the_gate_is_looked_at(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        protected_gate(b, 3, "handler", dpl=0)
        to_user(b)
        assert seen(b.run(E | W)) == (3, b["break"])


@row(39)
@pytest.mark.parametrize("mode", FLAT)
def test_without_the_host_the_gate_refuses_user_int3(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        protected_gate(b, 3, "after", dpl=0)
        b.gate(13, "handler")
        to_user(b)
        assert b.run(E) == HltExit()
        assert b.reg("rip") == b["handler"] + 1
        assert (frame(b, 0), frame(b, 1)) == (3 << 3 | 2, b["break"])


@row(39)
@pytest.mark.parametrize("mode", FLAT)
def test_user_int3_given_back_meets_the_gate_as_if_never_taken(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        protected_gate(b, 3, "after", dpl=0)
        b.gate(13, "handler")
        to_user(b)
        b.run(E | W)
        assert b.run(E | W | IB) == HltExit()
        assert b.reg("rip") == b["handler"] + 1
        assert (frame(b, 0), frame(b, 1)) == (3 << 3 | 2, b["break"])


@row(40)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_over_the_guests_int3_runs_its_handler_free(mode: str) -> None:
    text = f"""
    break:  int3
    after:  nop
    next:   nop
            hlt
    handler: nop
            {IRET[mode]}
    """
    with Bench(text, mode) as b:
        b.gate(3, "handler")
        assert b.run(E | S) == stop(b["next"])
        assert b.vcpu.clock == 4  # INT3, NOP, IRET, and the NOP behind the INT3


@row(40)
@pytest.mark.parametrize("mode", MODES)
def test_the_handler_of_a_stepped_int3_finds_no_tf_in_its_frame(mode: str) -> None:
    with Bench("break: int3\nhlt\nhandler: hlt", mode) as b:
        b.gate(3, "handler")
        assert b.run(E | S) == HltExit()
        assert frame(b, 2) & 0xFFFF == 2


@row(40)
@pytest.mark.parametrize("mode", FLAT)
def test_a_step_over_int3_of_user_code_runs_its_handler_free(mode: str) -> None:
    text = f"break: int3\nafter: nop\nnext: nop\nhlt\nhandler: nop\n{IRET[mode]}"
    with Bench(text, mode) as b:
        b.gate(3, "handler")
        to_user(b)
        assert b.run(E | S) == stop(b["next"])


@row(40)
def test_the_handlers_iret_ends_the_step_also_when_it_loads_another_rsp() -> None:
    text = """
    break:  int3
    after:  nop
    next:   nop
            hlt
    handler: mov qword ptr [rsp + 24], 0x6000
            iretq
    """
    with Bench(text) as b:
        b.gate(3, "handler")
        assert b.run(E | S) == stop(b["next"])
        assert b.reg("rsp") == 0x6000


@row(40)
@pytest.mark.parametrize("left", ["mov rax, dr0", "cpuid", "nop"])
def test_a_handler_that_leaves_without_iret_leaves_the_step_behind(left: str) -> None:
    text = f"""
    break:  int3
    away:   {left}
            nop
            nop
            hlt
    handler: add rsp, 40
            jmp away
    """
    with Bench(text) as b:
        b.gate(3, "handler")
        assert b.run(E | S) == HltExit()
