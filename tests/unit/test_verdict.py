"""Who caused an exit, what KVM would have done without us, and whether to give it back."""

from __future__ import annotations

from typing import Any

import pytest

from kvmdbg.debugger import verdict
from kvmdbg.debugger.stop import Changes, GuestDebugSetting, Stop, StopKind
from kvmdbg.exits import DebugExit, ExceptionExit, Exit, HltExit, IntrExit, ShutdownExit
from kvmdbg.uapi import GuestDbg
from kvmdbg.views import html, text
from kvmdbg.x86.debugreg import (
    DR6_BD,
    DR6_BS,
    DR6_BT,
    DR6_RESET,
    DR7_GD,
    Access,
    dr7_with,
)
from kvmdbg.x86.registers import CpuMode, DebugRegs, Regs, Sregs

G = GuestDbg
STEP, HARD, SOFT = G.ENABLE | G.SINGLESTEP, G.ENABLE | G.USE_HW_BP, G.ENABLE | G.USE_SW_BP
WATCH = dr7_with(0x400, 0, Access.WRITE, 4)
HOST_DB = (0x9002, 0x8005, 0, 0, 0, 0, 0, WATCH)
GUEST = DebugRegs(db=(0x5000, 0, 0, 0), dr7=dr7_with(0x400, 0, Access.EXEC, 1))


def of(
    exit: Exit, control: int, ours: bool = False, debugreg: tuple[int, ...] = HOST_DB
) -> verdict.Verdict:
    return verdict.of_exit(exit, GuestDebugSetting(int(control), debugreg), GUEST, ours)


def db(causes: int) -> DebugExit:
    return DebugExit(1, 0x8001, DR6_RESET | causes, 0x400)


def a_stop(**other: Any) -> Stop:
    fields: dict[str, Any] = {
        "index": 1,
        "exit": db(1),
        "kind": StopKind.WATCHPOINT,
        "cause": "breakpoint 1 (DR0, write 4 bytes at counter (0x9000)): 0x5 -> 0x6",
        "hits": (1,),
        "pc": 0x8001,
        "location": "loop",
        "instruction": None,
        "mode": CpuMode.LONG,
        "regs": Regs(),
        "sregs": Sregs(),
        "debugregs": GUEST,
        "debug": GuestDebugSetting(int(HARD), HOST_DB),
        "clock": 3,
        "executed": 3,
        "changes": Changes(),
        "console": "",
    }
    return Stop(**(fields | other))


HOSTS = [
    (db(DR6_BS), STEP, HOST_DB, "its single step"),
    (db(1), HARD, HOST_DB, "DR0, a write to 0x9000-0x9003"),
    (db(DR6_BD), HARD, (*HOST_DB[:7], WATCH | DR7_GD), "general detect (GD in its DR7)"),
]
GUESTS = [
    (db(DR6_BS), HARD, "its own trap flag (TF), intercepted because of USE_HW_BP", DR6_BS),
    (db(1), STEP, "its DR0, execution of 0x5000, intercepted because of SINGLESTEP", 1),
    (db(DR6_BD), STEP, "general detect (GD in its own DR7)", DR6_BD),
    (db(DR6_BD), HARD, "general detect (GD in its own DR7)", DR6_BD),
    (db(DR6_BT), STEP, "a task switch", DR6_BT),
    (db(0), HARD, "INT1 (F1, ICEBP)", 0),
]


@pytest.mark.parametrize(("exit", "control", "debugreg", "who"), HOSTS)
def test_what_the_host_asked_for_is_the_hosts_and_stays_with_it(
    exit: Exit, control: int, debugreg: tuple[int, ...], who: str
) -> None:
    found = of(exit, control, debugreg=debugreg)
    assert [claim.who.partition(": ")[0] for claim in found.claims] == ["the host"]
    assert who in found.claims[0].who
    assert found.claims[0].without.startswith("nothing")
    assert found.advice.startswith("no")
    assert found.calls == ()


@pytest.mark.parametrize(("exit", "control", "who", "payload"), GUESTS)
def test_what_the_guest_asked_for_is_given_back_with_its_cause_in_dr6(
    exit: Exit, control: int, who: str, payload: int
) -> None:
    found = of(exit, control)
    assert [claim.who.partition(": ")[0] for claim in found.claims] == ["the guest"]
    assert who in found.claims[0].who
    assert "vector 1" in found.claims[0].without
    assert found.advice.startswith("yes")
    assert f"dr6={DR6_RESET | payload:#x}" in found.calls[-2]
    assert found.calls[-1].startswith("vm.vcpu.set_guest_debug(GuestDbg.ENABLE | ")
    assert "GuestDbg.INJECT_DB" in found.calls[-1]


def test_only_icebp_is_passed_by_moving_rip_first() -> None:
    assert of(db(0), HARD).calls[0] == "vm.set_regs(rip=vm.regs().rip + 1)"
    assert not any("set_regs" in call for call in of(db(DR6_BS), HARD).calls)


def test_the_hosts_debug_registers_stay_in_the_call_that_injects() -> None:
    assert "(0x9002, 0x8005, 0x0, " in of(db(DR6_BS), HARD).calls[-1]
    assert "0x9002" not in of(db(1), STEP).calls[-1]


def test_an_injection_that_is_spent_is_not_given_again() -> None:
    call = of(db(DR6_BS), HARD | G.INJECT_BP).calls[-1]
    assert "INJECT_DB" in call
    assert "INJECT_BP" not in call


def test_an_int3_that_nobody_planted_is_the_guests() -> None:
    found = of(DebugExit(3, 0x8001), SOFT)
    assert found.claims[0].who.startswith("the guest: its own INT3")
    assert "vector 3" in found.claims[0].without
    assert found.calls == (
        "vm.vcpu.set_guest_debug(GuestDbg.ENABLE | GuestDbg.USE_SW_BP | GuestDbg.INJECT_BP)",
    )


def test_a_planted_int3_is_the_hosts() -> None:
    found = of(DebugExit(3, 0x8001), SOFT, ours=True)
    assert found.claims[0].who.startswith("the host: ")
    assert found.calls == ()


def test_several_causes_in_one_exit_are_told_one_by_one() -> None:
    found = of(db(DR6_BS | 1), STEP | G.USE_HW_BP)
    assert [claim.who[:13] for claim in found.claims] == ["the host: DR0", "the host: its"]


def test_the_guests_trap_beside_a_hit_of_the_hosts_is_given_back_alone() -> None:
    found = of(db(DR6_BS | 1), HARD)
    assert [claim.inject for claim in found.claims] == [0, G.INJECT_DB]
    assert f"dr6={DR6_RESET | DR6_BS:#x}" in found.calls[0]


def test_a_bit_of_a_slot_that_is_off_means_nothing() -> None:
    found = of(db(DR6_BS | 4), STEP | G.USE_HW_BP)
    assert "slot 2 is off" in found.claims[0].who
    assert found.calls == ()


@pytest.mark.parametrize(
    ("exit", "who"),
    [
        (HltExit(), "the guest: KVM_EXIT_HLT"),
        (ShutdownExit(), "the guest: KVM_EXIT_SHUTDOWN"),
        (IntrExit("budget"), "the host: it ended the run (budget)"),
        (ExceptionExit(13, 0, 0x8001, False), "the guest: it is about to take #GP"),
        (ExceptionExit(0x13, 0, 0x8001, True), "the guest: it is about to take INT 13h"),
    ],
)
def test_an_exit_that_is_no_debug_event_is_never_injected(exit: Exit, who: str) -> None:
    found = of(exit, STEP)
    assert found.claims[0].who.startswith(who)
    assert found.advice.startswith("no")


def test_a_stop_tells_the_hosts_breakpoint_with_old_and_new_value() -> None:
    claim = verdict.of_stop(a_stop()).claims[0]
    assert claim.who == f"the host: {a_stop().cause}"


def test_a_stop_after_an_injection_says_that_it_is_done_and_how() -> None:
    setting = GuestDebugSetting(int(SOFT | G.INJECT_BP))
    found = verdict.of_stop(a_stop(exit=DebugExit(3, 0x8020), debug=setting, hits=(), cause=""))
    assert found.advice.startswith("done")
    assert found.calls[0].endswith("GuestDbg.INJECT_BP)")
    assert found.claims[0].who.startswith("the guest: its own #BP")


def test_a_stop_with_something_of_the_guests_says_that_the_debugger_gives_it_back() -> None:
    found = verdict.of_stop(a_stop(exit=db(DR6_BS | 1)))
    assert "%step and %vm run do it by themselves" in found.advice


# The long card


def test_the_long_card_has_who_both_registers_by_bits_and_both_structs() -> None:
    shown = text.stop_long(a_stop(), {0x8001: "loop"})
    captions = (
        *("Who caused it", "Debug registers: the host's are in effect"),
        *("DR6, field by field", "DR7, field by field", "Sent: ", "Received: "),
    )
    places = [shown.index(caption) for caption in captions]
    assert places == sorted(places)
    assert shown.splitlines()[0] == "Stop 1: watchpoint at loop (0x8001)"


def test_the_long_card_sets_the_exits_dr6_beside_the_guests() -> None:
    row = next(
        line for line in text.stop_long(a_stop()).splitlines() if line.split()[1:2] == ["B0"]
    )
    assert " ".join(row.split()) == "0 B0 0 not met 1+ slot 0's condition was met"


def test_the_long_card_of_an_int3_shows_only_the_guests_dr6() -> None:
    shown = text.stop_long(a_stop(exit=DebugExit(3, 0x8001)))
    assert "in the exit" not in shown


def test_the_debug_registers_are_the_guests_unless_the_host_owns_them() -> None:
    shown = text.stop_long(a_stop(debug=GuestDebugSetting(int(STEP), HOST_DB)))
    assert "the guest's own are in effect" in shown
    assert "in effect  " not in shown


def test_the_long_card_says_the_same_in_html() -> None:
    stop = a_stop(exit=db(DR6_BS | 1))
    page = html.stop_long(stop)
    for word in ("Who caused it", "GuestDbg.INJECT_DB", "debugreg[7]", "kvm_debug_exit_arch"):
        assert word in page
        assert word in text.stop_long(stop)


def test_the_short_card_stays_short() -> None:
    assert len(text.stop(a_stop()).splitlines()) < 10
    assert "Sent: " not in text.stop(a_stop())
