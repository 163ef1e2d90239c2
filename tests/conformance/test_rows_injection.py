"""KVM_GUESTDBG_INJECT_DB and _BP: rows 115-128."""

from __future__ import annotations

import errno

import pytest

from kvmdbg import guestdebug
from kvmdbg.errors import IoctlError
from kvmdbg.exits import DebugExit, HltExit, IntrExit
from kvmdbg.guestdebug import DebugState, PendingException
from kvmdbg.x86.registers import DebugRegs, VcpuEvents
from tests.conformance.rows import row
from tests.guests.apic import FACES, IRET, Apic, name_of, run_to
from tests.guests.bench import BS, IB, ID, MODES, NONE, Bench, E, H, K, S, W

IF, TF = 1 << 9, 1 << 8
WIDTH = {"real": 2, "protected": 4, "long": 8}
NO_DRS = (0,) * 8
HANDLERS = "hlt\non_db: mov ebx, 1\nhlt\non_bp: mov ebx, 3\nhlt\non_irq: mov ebx, 0x20\nhlt\n"


def guest(text: str, mode: str = "long") -> Bench:
    """A guest with handlers for #DB, #BP and interrupt 0x20, which note themselves in EBX."""
    b = Bench(f"{text}\n{HANDLERS}", mode)
    for vector, label in ((1, "on_db"), (3, "on_bp"), (0x20, "on_irq")):
        b.gate(vector, label)
    return b


def saved_rip(b: Bench) -> int:
    return b.word(b.reg("rsp"), WIDTH[b.mode])


def state(control: int, before: DebugState | None = None) -> DebugState:
    return guestdebug.set_guest_debug(before or DebugState(), control, NO_DRS, 0x8000)


# -- what is delivered -----------------------------------------------------------------------------


@row(115)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("control", [ID, E | ID, E | W | ID, E | H | ID])
def test_inject_db_enters_vector_1_at_once_without_error_code(mode: str, control: int) -> None:
    with guest("start: nop", mode) as b:
        assert b.run(control) == HltExit()
        assert (b.reg("rbx"), saved_rip(b)) == (1, b["start"])


@row(115)
@pytest.mark.parametrize("mode", MODES)
def test_inject_db_happens_once(mode: str) -> None:
    with guest("inc ecx\ninc ecx", mode) as b:
        b.sgd(ID)
        b.run()
        b.set(rip=b.program.origin, rbx=0)
        assert b.run() == HltExit()
        assert (b.reg("rbx"), b.reg("rcx")) == (0, 2)


@row(115)
def test_an_injected_db_pushes_the_flags_as_they_are() -> None:
    with guest("nop") as b:
        b.set(rflags=2 | IF | TF)
        b.run(ID)
        assert b.word(b.reg("rsp") + 16) == 2 | IF | TF


@row(116)
@pytest.mark.parametrize("dr6", [NONE, BS, 0xFFFF0FF3])
def test_inject_db_leaves_dr6_alone(dr6: int) -> None:
    with guest("nop") as b:
        b.vcpu.set_debugregs(DebugRegs(dr6=dr6))
        assert b.run(ID) == HltExit()
        assert b.vcpu.get_debugregs() == DebugRegs(dr6=dr6)


@row(117)
@pytest.mark.parametrize("mode", MODES)
def test_inject_bp_at_an_int3_returns_behind_it(mode: str) -> None:
    with guest("own: int3\nafter: nop", mode) as b:
        assert b.run(E | W) == DebugExit(3, b["own"])
        assert b.run(E | W | IB) == HltExit()
        assert (b.reg("rbx"), saved_rip(b)) == (3, b["after"])


@row(117)
def test_a_guest_that_returns_from_the_bp_given_back_goes_on_behind_the_int3() -> None:
    with Bench("own: int3\nmov ebx, 7\nhlt\nhandler: iretq") as b:
        b.gate(3, "handler")
        b.run(E | W)
        assert b.run(E | W | IB) == HltExit()
        assert b.reg("rbx") == 7


@row(118)
@pytest.mark.parametrize("mode", MODES)
def test_inject_bp_where_no_int3_stands_returns_to_that_place(mode: str) -> None:
    with guest("start: nop", mode) as b:
        assert b.run(E | IB) == HltExit()
        assert (b.reg("rbx"), saved_rip(b)) == (3, b["start"])


@row(118)
def test_inject_bp_works_without_enable() -> None:
    with guest("start: nop") as b:
        assert b.run(IB) == HltExit()
        assert (b.reg("rbx"), saved_rip(b)) == (3, b["start"])


@row(118)
def test_inject_bp_after_a_patch_was_taken_away_returns_behind_where_it_was() -> None:
    """RIP still is where the #BP exit left it: KVM remembers that instruction's length (spec 7)."""
    with guest("own: int3\nafter: nop") as b:
        assert b.run(E | W) == DebugExit(3, b["own"])
        b.vcpu.write_memory(b["own"], b"\x90")
        assert b.run(E | W | IB) == HltExit()
        assert (b.reg("rbx"), saved_rip(b)) == (3, b["after"])


@row(118)
def test_an_injected_bp_is_not_taken_by_use_sw_bp() -> None:
    with guest("nop") as b:
        assert b.run(E | W | IB) == HltExit()
        assert b.reg("rbx") == 3


@row(119)
@pytest.mark.parametrize("mode", MODES)
def test_of_both_injections_only_the_db_is_delivered(mode: str) -> None:
    with Bench(
        "nop\nmov ecx, 5\nhlt\non_db: iretq\non_bp: inc ebx\niretq".replace(
            "iretq", {"real": "iret", "protected": "iretd", "long": "iretq"}[mode]
        ),
        mode,
    ) as b:
        b.gate(1, "on_db")
        b.gate(3, "on_bp")
        assert b.run(ID | IB) == HltExit()
        assert (b.reg("rbx"), b.reg("rcx")) == (0, 5)


@row(119)
def test_the_pure_rules_let_db_win() -> None:
    assert state(ID | IB).pending == PendingException(1)


# -- EBUSY -----------------------------------------------------------------------------------------


@row(120)
@pytest.mark.parametrize("first", [ID, IB])
@pytest.mark.parametrize("second", [ID, IB, ID | IB, E | ID])
def test_a_second_injection_is_ebusy(first: int, second: int) -> None:
    with guest("start: nop") as b:
        b.sgd(first)
        with pytest.raises(IoctlError) as failure:
            b.sgd(second)
        assert failure.value.errno == errno.EBUSY
        assert b.run() == HltExit()
        assert b.reg("rbx") == (1 if first == ID else 3)


@row(120)
def test_an_exception_queued_by_set_vcpu_events_makes_an_injection_ebusy() -> None:
    with guest("nop") as b:
        b.vcpu.set_vcpu_events(VcpuEvents(exception_nr=6, exception_injected=1))
        with pytest.raises(IoctlError) as failure:
            b.sgd(ID)
        assert failure.value.errno == errno.EBUSY


@row(120)
def test_the_pure_rules_refuse_a_second_injection() -> None:
    with pytest.raises(IoctlError) as failure:
        state(ID, state(ID))
    assert failure.value.errno == errno.EBUSY


@row(121)
def test_an_ebusy_call_does_not_arm_single_stepping() -> None:
    with guest("nop") as b:
        b.sgd(ID)
        with pytest.raises(IoctlError):
            b.sgd(E | S | IB)
        b.set(rbx=0)  # drops the injection
        assert b.reg("rflags") == 2
        assert b.run() == HltExit()


@row(121)
def test_an_ebusy_call_does_not_disarm_what_was_armed() -> None:
    with guest("nop\ntarget: nop") as b:
        b.sgd(E | H | ID, dr7=0x402, dr0=b["target"])
        with pytest.raises(IoctlError):
            b.sgd(ID)
        b.set(rbx=0)
        assert b.vcpu.run() == DebugExit(1, b["target"], NONE | 1, 0x402)


@row(122)
@pytest.mark.parametrize("first", [ID, IB])
def test_set_regs_frees_the_slot_for_another_injection(first: int) -> None:
    with guest("nop") as b:
        b.sgd(first)
        b.set(rax=1)
        b.sgd(ID)
        assert b.run() == HltExit()
        assert b.reg("rbx") == 1


@row(122)
def test_set_regs_alone_drops_the_injection() -> None:
    with guest("nop") as b:
        b.sgd(ID)
        b.set(rax=1)
        assert b.run() == HltExit()
        assert b.reg("rbx") == 0


@row(123)
def test_a_call_without_inject_bits_leaves_the_queued_injection() -> None:
    with guest("start: nop") as b:
        b.sgd(ID)
        b.sgd(E | S)
        b.sgd(0)
        assert b.run() == HltExit()
        assert (b.reg("rbx"), saved_rip(b)) == (1, b["start"])


@row(123)
def test_the_pure_rules_keep_a_queued_injection_through_a_plain_call() -> None:
    assert state(E | S, state(ID)).pending == PendingException(1)


# -- VCPU_EVENTS -----------------------------------------------------------------------------------


@row(124)
def test_a_queued_db_shows_as_injected_and_pending() -> None:
    with guest("nop") as b:
        b.sgd(ID)
        assert b.vcpu.get_vcpu_events() == VcpuEvents(
            exception_injected=1, exception_nr=1, exception_pending=1, flags=0x0D
        )


@row(124)
def test_events_read_and_written_back_keep_the_queued_db() -> None:
    with guest("start: nop") as b:
        b.sgd(ID)
        b.vcpu.set_vcpu_events(b.vcpu.get_vcpu_events())
        assert b.run() == HltExit()
        assert (b.reg("rbx"), saved_rip(b)) == (1, b["start"])
        assert b.vcpu.get_debugregs().dr6 == NONE


@row(124)
def test_a_delivered_db_no_longer_shows() -> None:
    with guest("nop") as b:
        b.run(ID)
        assert b.vcpu.get_vcpu_events() == VcpuEvents(exception_nr=0)


@row(125)
def test_a_queued_bp_shows_its_number_only() -> None:
    with guest("nop") as b:
        b.sgd(IB)
        assert b.vcpu.get_vcpu_events() == VcpuEvents(exception_nr=3)


# -- around the delivery ---------------------------------------------------------------------------


@row(126)
@pytest.mark.parametrize("mode", MODES)
def test_delivering_an_injected_db_clears_the_guests_general_detect(mode: str) -> None:
    with guest("nop", mode) as b:
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2402))
        assert b.run(ID) == HltExit()
        assert b.vcpu.get_debugregs().dr7 == 0x402


@row(126)
def test_delivering_an_injected_bp_keeps_the_guests_general_detect() -> None:
    with guest("nop") as b:
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2400))
        assert b.run(IB) == HltExit()
        assert b.vcpu.get_debugregs().dr7 == 0x2400


@row(126)
def test_queueing_alone_keeps_the_guests_general_detect() -> None:
    with guest("nop") as b:
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2400))
        b.sgd(ID)
        assert b.vcpu.get_debugregs().dr7 == 0x2400


@row(127)
@pytest.mark.parametrize("inject", [ID, IB])
def test_an_injection_under_a_step_runs_the_handler_free_and_stops_after_the_instruction(
    inject: int,
) -> None:
    text = "nop\nnext: nop\nhlt\nhandler: inc rbx\nnop\niretq"
    with Bench(text) as b:
        b.gate(1, "handler")
        b.gate(3, "handler")
        assert b.run(E | S | inject) == DebugExit(1, b["next"], BS, 0x400)
        assert b.reg("rbx") == 1


@row(127)
def test_an_injection_under_a_step_does_not_show_the_hosts_tf_in_the_frame() -> None:
    with guest("nop") as b:
        assert b.run(E | S | ID) == HltExit()
        assert not b.word(b.reg("rsp") + 16) & TF


@row(128)
@pytest.mark.parametrize("mode", MODES)
def test_an_injected_db_comes_before_a_pending_interrupt(mode: str) -> None:
    with guest("start: nop", mode) as b:
        b.set(rflags=2 | IF)
        b.vcpu.interrupt(0x20)
        assert b.run(ID) == HltExit()
        assert (b.reg("rbx"), saved_rip(b)) == (1, b["start"])


def waiting_in_the_lapic(apic: Apic) -> Bench:
    """A guest at ``start`` with IF=1 and vector 0x20 waiting in the LAPIC."""
    text = f"{apic.enable()}\n{apic.self_ipi(0x20)}\nstart: nop\n"
    text += f"hlt\non_db: inc edi\n{IRET[apic.mode]}\non_irq: inc esi\ncli\nhlt"
    b = apic.bench(text)
    b.gate(1, "on_db")
    b.gate(0x20, "on_irq")
    run_to(b, "start")
    b.set(rflags=2 | IF)
    return b


@row(128)
@pytest.mark.parametrize("apic", FACES, ids=name_of)
def test_an_injected_db_comes_before_an_interrupt_in_the_lapic(apic: Apic) -> None:
    with waiting_in_the_lapic(apic) as b:
        b.sgd(ID)
        assert b.vcpu.run(max_instructions=1) == IntrExit("budget")
        assert (b.reg("rdi"), b.reg("rsi")) == (1, 0)
        assert saved_rip(b) == b["start"]


@row(128)
@pytest.mark.parametrize("apic", FACES, ids=name_of)
def test_the_interrupt_in_the_lapic_comes_when_the_dbs_handler_returns(apic: Apic) -> None:
    with waiting_in_the_lapic(apic) as b:
        assert b.run(ID) == HltExit()
        assert (b.reg("rdi"), b.reg("rsi"), saved_rip(b)) == (1, 1, b["start"])


@row(128)
def test_the_interrupt_comes_when_the_injected_dbs_handler_returns() -> None:
    with Bench("start: nop\nhlt\non_db: inc ecx\niretq\non_irq: hlt") as b:
        b.gate(1, "on_db")
        b.gate(0x20, "on_irq")
        b.set(rflags=2 | IF)
        b.vcpu.interrupt(0x20)
        assert b.run(ID) == HltExit()
        assert (b.reg("rcx"), b.reg("rip")) == (1, b["on_irq"] + 1)
        assert saved_rip(b) == b["start"]


@row(128)
def test_an_injected_db_comes_before_a_pending_nmi() -> None:
    with guest("start: nop") as b:
        b.gate(2, "on_irq")
        b.vcpu.nmi()
        assert b.run(ID) == HltExit()
        # An NMI needs no IF: it is taken in front of the #DB handler's first instruction.
        assert (b.reg("rbx"), saved_rip(b)) == (0x20, b["on_db"])


@row(128)
def test_blockirq_does_not_hold_back_an_injection() -> None:
    with guest("start: nop") as b:
        assert b.run(E | K | ID) == HltExit()
        assert b.reg("rbx") == 1
