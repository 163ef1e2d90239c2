"""What the profiles answer differently, side by side.

Cases of one profile alone are in test_rows_profile_hardware*.py, test_rows_profile_emu618*.py and
test_rows_2008.py.
"""

from __future__ import annotations

import pytest

from kvmdbg import guestdebug as gd
from kvmdbg.exits import DebugExit, HltExit, IoExit
from kvmdbg.guestdebug import DebugState, Owner
from kvmdbg.profiles import PROFILES
from kvmdbg.x86.registers import RFLAGS, DebugRegs
from tests.conformance.rows import row
from tests.guests.bench import BS, IB, ID, NONE, B, Bench, E, H, K, S, W

TF, RF = int(RFLAGS.TF), int(RFLAGS.RF)
NAMES = list(PROFILES)
KERNEL_PROFILES = ["reference", "vmx", "svm", "emu618"]
"""Linux of today and of 2025: all but the rules of 2008."""


def state(
    profile: str, control: int = 0, guest: DebugRegs | None = None, **host: int
) -> DebugState:
    """The pure state of a profile after one KVM_SET_GUEST_DEBUG at 0x8000."""
    before = DebugState(PROFILES[profile], guest or DebugRegs())
    registers = (host.get("dr0", 0), 0, 0, 0, 0, 0, 0, host.get("dr7", 0x400))
    return gd.set_guest_debug(before, control, registers, 0x8000)


def owners(ask: str, *profiles: str, control: int) -> list[Owner]:
    answer = getattr(gd, ask)
    return [answer(state(profile, control)) for profile in profiles]


# -- TF that the guest can see (spec 5.5) ----------------------------------------------------------

LEAKS = {"reference": False, "vmx": True, "svm": True, "emu618": False, "k08": True}
"""PUSHF and SYSCALL show the guest the host's TF."""


@row(21)
@pytest.mark.parametrize(("profile", "leaks"), LEAKS.items())
@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_a_stepped_pushf_shows_the_hosts_tf_where_hardware_executes_it(
    mode: str, profile: str, leaks: bool
) -> None:
    register = {"real": "ax", "protected": "eax", "long": "rax"}[mode]
    with Bench(f"pushf\npop {register}\nnop", mode, profile=profile) as b:
        b.run(E | S)
        b.run(E | S)
        assert b.reg("rax") & 0xFF02 == (0x102 if leaks else 2)


@row(21)
def test_the_pure_rules_say_who_sees_tf() -> None:
    seen = {name: not gd.pushes_hidden_tf(state(name, E | S)) for name in NAMES}
    assert seen == LEAKS


@row(22)
@pytest.mark.parametrize("profile", NAMES)
def test_get_regs_hides_tf_in_every_profile(profile: str) -> None:
    with Bench("nop\nnop", profile=profile) as b:
        b.run(E | S)
        assert b.reg("rflags") == 2


FRAMES = {"reference": False, "vmx": True, "svm": True, "emu618": True, "k08": True}
"""Frames of faults and injections show it."""


@row(178)
@pytest.mark.parametrize(("profile", "leaks"), FRAMES.items())
@pytest.mark.parametrize("mode", ["protected", "long"])
def test_the_frame_of_a_stepped_fault_shows_the_hosts_tf_but_not_in_the_reference(
    mode: str, profile: str, leaks: bool
) -> None:
    width = {"protected": 4, "long": 8}[mode]
    with Bench("ud2\nhandler: nop\nhlt", mode, profile=profile) as b:
        b.gate(6, "handler")
        b.run(E | S)
        assert b.word(b.reg("rsp") + 2 * width, width) & TF == (TF if leaks else 0)


@row(127)
@pytest.mark.parametrize(("profile", "leaks"), FRAMES.items())
@pytest.mark.parametrize("inject", [ID, IB])
def test_the_frame_of_an_injection_under_a_step_shows_the_hosts_tf_but_not_in_the_reference(
    inject: int, profile: str, leaks: bool
) -> None:
    with Bench("int3\nhandler: nop\nhlt", profile=profile) as b:
        b.gate(1, "handler")
        b.gate(3, "handler")
        b.run(E | S | inject)
        assert b.word(b.reg("rsp") + 16) & TF == (TF if leaks else 0)


@row(178)
def test_the_pure_rules_say_whose_frames_show_tf() -> None:
    assert {name: not gd.frames_hide_tf(state(name, E | S)) for name in NAMES} == FRAMES


@row(21)
@pytest.mark.parametrize("profile", NAMES)
def test_without_singlestep_no_profile_hides_the_guests_own_tf(profile: str) -> None:
    assert not gd.pushes_hidden_tf(state(profile, E | H))
    assert not gd.frames_hide_tf(state(profile, E | H))


# -- TF and KVM_SET_REGS (spec 5) ------------------------------------------------------------------

MOVED = {"reference": 0, "vmx": 0, "svm": 0, "emu618": TF, "k08": 0}


@row(15)
@pytest.mark.parametrize(("profile", "tf"), MOVED.items())
def test_flags_written_elsewhere_keep_a_step_only_where_the_flag_makes_it(
    profile: str, tf: int
) -> None:
    assert gd.rflags_written(state(profile, E | S), 2, 0x8001) == 2 | tf


@row(16)
@pytest.mark.parametrize("profile", KERNEL_PROFILES)
def test_flags_written_at_the_place_of_the_call_are_armed_again(profile: str) -> None:
    assert gd.rflags_written(state(profile, E | S), 2, 0x8000) == 2 | TF


@row(15)
@pytest.mark.parametrize("profile", ["vmx", "svm", "k08"])
def test_a_step_is_lost_when_the_host_moves_rip_after_arming_it(profile: str) -> None:
    with Bench("nop\nnop\nnop\nhlt", profile=profile) as b:
        b.sgd(E | S)
        b.set(rip=0x8001)
        assert b.vcpu.run() == HltExit()


@row(100)
@pytest.mark.parametrize("profile", NAMES)
def test_a_step_session_destroys_the_guests_tf_in_every_profile(profile: str) -> None:
    with Bench("nop", profile=profile) as b:
        b.set(rflags=0x102)
        b.sgd(E | S)
        b.sgd(0)
        assert b.reg("rflags") == 2


# -- who gets it (spec 4) --------------------------------------------------------------------------


@row(98)
def test_the_pure_rules_give_the_emulators_trap_under_use_hw_bp_to_the_guest() -> None:
    host, guest = Owner.HOST, Owner.GUEST
    found = owners("owner_of_db", *KERNEL_PROFILES, control=E | H)
    assert found == [host, host, host, guest]


@row(99)
def test_under_singlestep_every_profile_gives_traps_to_the_host() -> None:
    assert owners("owner_of_db", *NAMES, control=E | S) == [Owner.HOST] * 5


@row(96)
@pytest.mark.parametrize("control", [E, E | W, E | K], ids=["E", "E|W", "E|K"])
def test_without_singlestep_and_use_hw_bp_every_profile_gives_traps_to_the_guest(
    control: int,
) -> None:
    assert owners("owner_of_db", *NAMES, control=control) == [Owner.GUEST] * 5


@row(26)
def test_the_pure_rules_honour_use_sw_bp_everywhere_but_in_the_emulator() -> None:
    host, guest = Owner.HOST, Owner.GUEST
    assert owners("owner_of_bp", *NAMES, control=E | W) == [host, host, host, guest, host]


@row(109)
@pytest.mark.parametrize("control", [E | S, E | H], ids=["S", "H"])
def test_the_pure_rules_leave_icebp_to_the_guest_on_svm(control: int) -> None:
    found = owners("owner_of_icebp", "reference", "vmx", "svm", control=control)
    assert found == [Owner.HOST, Owner.HOST, Owner.GUEST]


@row(140)
def test_the_pure_rules_give_general_detect_under_use_hw_bp_to_the_host_but_on_the_emulator() -> (
    None
):
    host, guest = Owner.HOST, Owner.GUEST
    found = owners("owner_of_general_detect", *KERNEL_PROFILES, control=E | H)
    assert found == [host, host, host, guest]


@row(145)
def test_the_pure_rules_give_general_detect_under_singlestep_to_the_host_on_svm_only() -> None:
    host, guest = Owner.HOST, Owner.GUEST
    found = owners("owner_of_general_detect", *KERNEL_PROFILES, control=E | S)
    assert found == [guest, guest, host, guest]


# -- what an exit carries (spec 7) -----------------------------------------------------------------

CARRIED = {
    "reference": (BS, 0x455),
    "vmx": (BS, 0x455),
    "svm": (BS, 0x455),
    "emu618": (BS, 0),
    "k08": (0, 0),
}
"""DR6 and DR7 of a stop after a step, where the guest's DR7 is 0x455."""


@row(24)
@row(221)
@pytest.mark.parametrize(("profile", "carried"), CARRIED.items())
def test_a_stop_carries_dr6_and_dr7_where_the_profile_writes_them(
    profile: str, carried: tuple[int, int]
) -> None:
    with Bench("nop\nnext: nop", profile=profile) as b:
        b.vcpu.set_debugregs(DebugRegs(dr7=0x455, db=(0x9000, 0x9001, 0x9002, 0x9003)))
        assert b.run(E | S) == DebugExit(1, b["next"], *carried)


@row(59)
@pytest.mark.parametrize(
    ("profile", "dr7"), [("reference", 0x402), ("vmx", 0x402), ("svm", 0x402), ("emu618", 0)]
)
def test_an_execution_breakpoint_carries_the_hosts_dr7_but_on_the_emulator(
    profile: str, dr7: int
) -> None:
    with Bench("nop\nhere: nop", profile=profile) as b:
        b.sgd(E | H, dr7=0x402, dr0=b["here"])
        assert b.vcpu.run() == DebugExit(1, b["here"], B(0), dr7)


@row(23)
@pytest.mark.parametrize("profile", NAMES)
def test_no_profile_lets_a_hosts_stop_touch_the_guests_registers(profile: str) -> None:
    with Bench("nop\nnop", profile=profile) as b:
        b.run(E | S)
        assert b.vcpu.get_debugregs() == DebugRegs()


CUT = {"reference": 0x8001, "vmx": 0x8001, "svm": 0x100008001, "emu618": 0x8001, "k08": 0x100008001}
"""The pc at CS base 0xFFFFF000 and EIP 0x9001."""


@row(4)
@pytest.mark.parametrize(("profile", "pc"), CUT.items())
def test_the_pc_of_32_bit_code_is_cut_to_32_bits_but_on_svm_and_in_2008(
    profile: str, pc: int
) -> None:
    with Bench("nop\nnop", "protected", profile=profile) as b:
        cs = b.vcpu.get_sregs().cs._replace(base=0xFFFFF000)
        b.vcpu.set_sregs(b.vcpu.get_sregs()._replace(cs=cs))
        b.set(rip=0x9000)
        exit_ = b.run(E | S)
        assert isinstance(exit_, DebugExit)
        assert (exit_.pc, b.reg("rip")) == (pc, 0x9001)


@row(26)
@pytest.mark.parametrize("profile", ["vmx", "svm", "k08"])
def test_a_bp_exit_is_the_same_on_hardware_as_in_the_reference(profile: str) -> None:
    with Bench("nop\nhere: int3\nnop", profile=profile) as b:
        assert b.run(E | W) == DebugExit(3, b["here"])
        assert b.run(E | W) == DebugExit(3, b["here"])


# -- a host DR7 above 32 bits (spec 3) -------------------------------------------------------------


@row(196)
@pytest.mark.parametrize("profile", ["reference", "emu618"])
def test_a_host_dr7_above_32_bits_counts_by_its_lower_half(profile: str) -> None:
    with Bench("nop\nhere: nop\nhlt", profile=profile) as b:
        b.sgd(E | H, dr7=1 << 40 | 0x402, dr0=b["here"])
        exit_ = b.vcpu.run()
        assert isinstance(exit_, DebugExit)
        assert (exit_.pc, exit_.dr6) == (b["here"], B(0))


@row(165)
@pytest.mark.parametrize("profile", ["vmx", "svm"])
def test_hardware_keeps_both_exits_of_a_stepped_out(profile: str) -> None:
    with Bench("here: out 0x80, al\nnext: nop", profile=profile) as b:
        assert (b.run(E | S), b.reg("rip")) == (IoExit("out", 0x80, 1, b"\0"), b["here"])
        assert b.run(E | S) == DebugExit(1, b["next"], BS, 0x400)


# -- data breakpoints (spec 9) ---------------------------------------------------------------------

STORE = "mov [value], eax\nafter: nop\nhlt\n.balign 4\nvalue: .long 0"
DATA_DR7 = 0x400 | 2 | 0xD << 16


@row(63)
@pytest.mark.parametrize(
    ("profile", "hits"),
    [("reference", True), ("vmx", True), ("svm", True), ("emu618", False), ("k08", False)],
)
def test_a_hosts_data_watchpoint_needs_debug_registers_that_match_data(
    profile: str, hits: bool
) -> None:
    with Bench(STORE, profile=profile) as b:
        b.sgd(E | H, dr7=DATA_DR7, dr0=b["value"])
        expected = DebugExit(1, b["after"], B(0), DATA_DR7) if hits else HltExit()
        assert b.vcpu.run() == expected


@row(82)
@pytest.mark.parametrize(("profile", "dr6"), [("vmx", BS | 1), ("svm", BS | 1), ("emu618", BS)])
def test_a_step_over_a_watched_store_names_the_watchpoint_but_on_the_emulator(
    profile: str, dr6: int
) -> None:
    with Bench(STORE, profile=profile) as b:
        b.sgd(E | S | H, dr7=DATA_DR7, dr0=b["value"])
        exit_ = b.vcpu.run()
        assert isinstance(exit_, DebugExit)
        assert (exit_.pc, exit_.dr6) == (b["after"], dr6)


@row(105)
@pytest.mark.parametrize(("profile", "dr6"), [("vmx", B(0)), ("svm", B(0)), ("emu618", NONE)])
def test_a_guests_own_data_watchpoint_never_fires_on_the_emulator(profile: str, dr6: int) -> None:
    with Bench(STORE + "\nhandler: hlt", profile=profile) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["value"], 0, 0, 0), dr7=DATA_DR7))
        assert b.run() == HltExit()
        assert b.vcpu.get_debugregs().dr6 == dr6


@row(63)
def test_the_pure_rules_arm_no_data_slot_on_the_emulator() -> None:
    armed = {p: len(gd.armed_slots(state(p, E | H, dr0=0x9000, dr7=DATA_DR7))) for p in NAMES}
    assert armed == {"reference": 1, "vmx": 1, "svm": 1, "emu618": 0, "k08": 0}
