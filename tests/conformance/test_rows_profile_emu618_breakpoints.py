"""The profile emu618, breakpoints: Linux 6.18 where KVM's instruction emulator runs the guest.

It has execution breakpoints only, looks at the guest's own beside the host's, and takes no #BP for
the host. Measured on such a host, at CPL 0 and in real mode.
"""

from __future__ import annotations

import pytest

from kvmdbg import guestdebug as gd
from kvmdbg.exits import HltExit
from kvmdbg.guestdebug import DebugState, Owner
from kvmdbg.profiles import PROFILES
from kvmdbg.x86.registers import RFLAGS, DebugRegs
from kvmdbg.x86.vectors import Vector
from tests.conformance.emulated_guest import (
    INT_MODES,
    Emulated,
    device,
    frame,
    hit,
    not_emulated,
    step,
    stop,
)
from tests.conformance.rows import row
from tests.guests.bench import BD, BS, IB, ID, MODES, NONE, B, E, H, S, W

RF = int(RFLAGS.RF)


def state(
    control: int, guest: DebugRegs | None = None, dr7: int = 0x400, at: int = 0
) -> DebugState:
    """The pure state after KVM_SET_GUEST_DEBUG; ``at`` is the host's DR0."""
    before = DebugState(PROFILES["emu618"], guest or DebugRegs())
    return gd.set_guest_debug(before, control, (at, 0, 0, 0, 0, 0, 0, dr7), 0x8000)


# -- #BP -------------------------------------------------------------------------------------------


@row(26)
@row(29)
@row(31)
@pytest.mark.parametrize("control", [0, E, E | H, E | W], ids=["0", "E", "E|H", "E|W"])
def test_in_real_mode_an_int3_enters_the_guests_handler_whatever_is_asked(control: int) -> None:
    with Emulated("nop\nint3\nafter: nop\nhandler: hlt", "real") as b:
        b.gate(3, "handler")
        assert b.run(control) == HltExit()
        assert frame(b) == (b["after"], 2)


@row(40)
@row(38)
@pytest.mark.parametrize("control", [E | S, E | S | W], ids=["S", "S|W"])
def test_in_real_mode_a_stepped_int3_stops_in_front_of_its_handler(control: int) -> None:
    with Emulated("int3\nhandler: nop\nhlt", "real") as b:
        b.gate(3, "handler")
        assert b.run(control) == stop(b["handler"])


@row(26)
@row(27)
@pytest.mark.parametrize("mode", INT_MODES)
def test_outside_real_mode_the_emulator_fails_at_an_int3_again_and_again(mode: str) -> None:
    with Emulated("nop\nhere: int3\nhandler: hlt", mode) as b:
        b.gate(3, "handler")
        assert [not_emulated(b, b.run(E | W), b["here"]) for _ in range(2)] == [True, True]


@row(28)
@pytest.mark.parametrize("mode", INT_MODES)
def test_a_host_that_skips_the_int3_that_failed_goes_on(mode: str) -> None:
    with Emulated("int3\ninc ecx\nhlt", mode) as b:
        b.run(E | W)
        b.set(rip=0x8001)
        assert (b.run(E | W), b.reg("rcx")) == (HltExit(), 1)


@row(38)
@pytest.mark.parametrize("mode", INT_MODES)
def test_a_step_up_to_an_int3_is_reported_and_the_next_one_fails(mode: str) -> None:
    with Emulated("nop\nhere: int3", mode) as b:
        assert b.run(E | S | W) == stop(b["here"])
        assert not_emulated(b, b.run(E | S | W), b["here"])


@row(26)
def test_the_pure_rules_give_no_bp_to_the_host() -> None:
    assert gd.owner_of_bp(state(E | W)) is Owner.GUEST


@row(117)
@pytest.mark.parametrize("control", [IB, E | IB, E | W | IB])
def test_an_injected_bp_at_an_int3_returns_to_the_int3(control: int) -> None:
    with Emulated("here: int3\nhandler: hlt") as b:
        b.gate(3, "handler")
        assert b.run(control) == HltExit()
        assert frame(b) == (b["here"], 2)


@row(118)
@pytest.mark.parametrize("mode", MODES)
def test_an_injected_bp_elsewhere_returns_there_too(mode: str) -> None:
    with Emulated("here: nop\nhandler: hlt", mode) as b:
        b.gate(3, "handler")
        assert b.run(E | IB) == HltExit()
        assert frame(b) == (b["here"], 2)


# -- breakpoints -----------------------------------------------------------------------------------


@row(41)
@pytest.mark.parametrize("slot", range(4))
def test_a_hosts_execution_breakpoint_stops_before_its_instruction(slot: int) -> None:
    with Emulated("nop\nhere: inc eax") as b:
        b.sgd(E | H, dr7=0x400 | 2 << 2 * slot, **{f"dr{slot}": b["here"]})
        assert b.vcpu.run() == hit(b["here"], slot)
        assert b.reg("rax") == 0


@row(46)
@pytest.mark.parametrize("mode", MODES)
def test_rf_does_not_pass_a_hosts_breakpoint(mode: str) -> None:
    with Emulated("here: nop\nhlt", mode) as b:
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        assert b.vcpu.run() == hit(b["here"], 0)
        b.set(rflags=2 | RF)
        assert b.vcpu.run() == hit(b["here"], 0)


@row(47)
def test_a_step_without_the_breakpoint_passes_it() -> None:
    with Emulated("here: nop\nnext: nop\nhlt") as b:
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        b.vcpu.run()
        assert b.run(E | S) == stop(b["next"])
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        assert b.vcpu.run() == HltExit()


@row(46)
def test_the_pure_rules_look_at_rf_for_the_guests_breakpoints_only() -> None:
    guest = DebugRegs((0x8000, 0, 0, 0), dr7=0x402)
    assert gd.exec_break(state(E | H, dr7=0x402, at=0x8000), 0x8000, rf=True) == (Owner.HOST, 1)
    assert gd.exec_break(state(E | H, guest), 0x8000, rf=True) is None


@row(52)
def test_a_step_onto_a_breakpoint_is_two_exits() -> None:
    with Emulated("nop\nhere: nop") as b:
        b.sgd(E | S | H, dr7=0x402, dr0=b["here"])
        exits = [b.vcpu.run() for _ in range(3)]
        assert exits == [stop(b["here"]), hit(b["here"], 0), hit(b["here"], 0)]


@row(49)
def test_an_execution_breakpoint_with_a_length_never_matches() -> None:
    with Emulated("nop\nhere: nop\nhlt") as b:
        b.sgd(E | H, dr7=0x402 | 1 << 18, dr0=b["here"])
        assert b.vcpu.run() == HltExit()


@row(151)
def test_a_hosts_breakpoint_behind_mov_ss_is_taken() -> None:
    with Emulated("mov ss, ax\nhere: nop\nhlt") as b:
        b.set(rax=0x10)
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        assert b.vcpu.run() == hit(b["here"], 0)


@row(61)
def test_a_breakpoint_on_a_load_from_mmio_comes_before_its_exit() -> None:
    with device("here: mov eax, {at}") as b:
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        assert b.vcpu.run() == hit(b["here"], 0)


# -- the guest keeps what it caused ----------------------------------------------------------------

GUEST_BP = "nop\nhere: nop\nhlt\nhandler: nop\nsecond: hlt"


@row(98)
@pytest.mark.parametrize("mode", MODES)
def test_the_guests_tf_trap_stays_the_guests_under_use_hw_bp(mode: str) -> None:
    with Emulated("nop\nnext: nop\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        b.set(rflags=0x102)
        assert b.run(E | H) == HltExit()
        assert (frame(b), b.vcpu.get_debugregs().dr6) == ((b["next"], 0x102), BS)


@row(99)
@pytest.mark.parametrize("mode", MODES)
def test_the_guests_tf_is_taken_over_by_a_step(mode: str) -> None:
    with Emulated("nop\nnext: nop\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        b.set(rflags=0x102)
        assert (b.run(E | S), b.reg("rflags")) == (stop(b["next"]), 2)


@row(106)
@pytest.mark.parametrize("mode", MODES)
def test_the_guests_breakpoint_under_a_step_enters_its_handler_and_the_stop_comes_there(
    mode: str,
) -> None:
    with Emulated(GUEST_BP, mode) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["here"], 0, 0, 0), dr7=0x402))
        assert step(b, 2) == [stop(b["here"]), stop(b["second"])]
        assert frame(b)[0] == b["here"]
        assert b.vcpu.get_debugregs().dr6 == B(0)


@row(107)
@row(213)
@pytest.mark.parametrize("mode", MODES)
def test_the_guests_breakpoint_fires_under_use_hw_bp(mode: str) -> None:
    with Emulated(GUEST_BP.replace("handler: nop\nsecond", "handler"), mode) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["here"], 0, 0, 0), dr7=0x402))
        assert b.run(E | H) == HltExit()
        assert frame(b) == (b["here"], 2)
        assert b.vcpu.get_debugregs().dr6 == B(0)


@row(139)
def test_a_breakpoint_that_the_guest_sets_itself_under_use_hw_bp_fires() -> None:
    with Emulated(f"mov dr0, rdi\nmov dr7, rsi\n{GUEST_BP}") as b:
        b.gate(1, "handler")
        b.set(rdi=b["here"], rsi=0x402)
        assert b.run(E | H) == HltExit()
        assert frame(b)[0] == b["here"]


@row(107)
def test_under_use_hw_bp_host_and_guest_have_breakpoints_side_by_side() -> None:
    with Emulated("nop\nhosts: nop\nguests: nop\nhandler: hlt") as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["guests"], 0, 0, 0), dr7=0x402))
        b.sgd(E | H, dr7=0x402, dr0=b["hosts"])
        assert b.vcpu.run() == hit(b["hosts"], 0)
        assert b.run(E | H) == HltExit()
        assert frame(b)[0] == b["guests"]


@row(107)
def test_the_pure_rules_know_both_sets_of_breakpoints_under_use_hw_bp() -> None:
    guest = DebugRegs((0x9000, 0, 0, 0), dr7=0x402)
    both = state(E | H, guest, dr7=0x402, at=0x8000)
    assert [address for _, address in gd.armed_slots(both)] == [0x8000, 0x9000]
    assert gd.exec_break(both, 0x8000, rf=False) == (Owner.HOST, 1)
    assert gd.exec_break(both, 0x9000, rf=False) == (Owner.GUEST, 1)


@row(101)
@pytest.mark.parametrize("mode", MODES)
def test_without_the_host_the_guests_breakpoint_is_as_everywhere(mode: str) -> None:
    with Emulated("nop\nhere: nop\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["here"], 0, 0, 0), dr7=0x402))
        assert b.run() == HltExit()
        assert (frame(b), b.vcpu.get_debugregs().dr6) == ((b["here"], 2), B(0))


@row(108)
@row(109)
@pytest.mark.parametrize("control", [0, E | S, E | H], ids=["0", "S", "H"])
@pytest.mark.parametrize("mode", MODES)
def test_the_emulator_fails_at_icebp(mode: str, control: int) -> None:
    with Emulated("here: .byte 0xf1\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        assert not_emulated(b, b.run(control), b["here"])


# -- general detect --------------------------------------------------------------------------------

MOV_DR = {
    "real": "here: mov eax, dr0\nhlt\nhandler: nop\nsecond: hlt",
    "protected": "here: mov eax, dr0\nhlt\nhandler: nop\nsecond: hlt",
    "long": "here: mov rax, dr0\nhlt\nhandler: nop\nsecond: hlt",
}


@row(140)
@pytest.mark.parametrize("mode", MODES)
def test_the_hosts_general_detect_is_ignored(mode: str) -> None:
    with Emulated(MOV_DR[mode], mode) as b:
        b.sgd(E | H, dr7=0x2400)
        assert b.vcpu.run() == HltExit()


@row(143)
@row(144)
@pytest.mark.parametrize("control", [0, E | H], ids=["0", "H"])
@pytest.mark.parametrize("mode", MODES)
def test_the_guests_general_detect_enters_its_handler(mode: str, control: int) -> None:
    with Emulated(MOV_DR[mode], mode) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2400))
        assert b.run(control) == HltExit()
        assert frame(b) == (b["here"], 2)
        assert b.vcpu.get_debugregs() == DebugRegs(dr6=BD)


@row(145)
def test_the_guests_general_detect_stays_the_guests_under_a_step() -> None:
    with Emulated(MOV_DR["long"]) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2400))
        assert b.run(E | S) == stop(b["second"])
        assert (frame(b)[0], b.vcpu.get_debugregs()) == (b["here"], DebugRegs(dr6=BD))


@row(140)
def test_the_pure_rules_read_general_detect_from_the_guests_dr7_only() -> None:
    host, guest = state(E | H, dr7=0x2400), state(E | H, DebugRegs(dr7=0x2400))
    assert gd.check_mov_dr(host, 0, cr4_de=False, cpl=0) is None
    refusal = gd.check_mov_dr(guest, 0, cr4_de=False, cpl=0)
    assert refusal == gd.Refusal(Vector.DB, payload=0x2000)


@row(133)
@pytest.mark.parametrize("register", [6, 7])
def test_the_emulator_looks_at_the_upper_half_before_general_detect(register: int) -> None:
    guarded = state(0, DebugRegs(dr7=0x2400))
    refusal = gd.check_mov_dr(guarded, register, cr4_de=False, cpl=0, written=1 << 32)
    assert refusal == gd.Refusal(Vector.GP, 0)


@row(115)
@row(116)
@pytest.mark.parametrize("mode", MODES)
def test_an_injected_db_is_as_everywhere(mode: str) -> None:
    with Emulated("here: nop\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        assert b.run(ID) == HltExit()
        assert (frame(b), b.vcpu.get_debugregs().dr6) == ((b["here"], 2), NONE)
