"""The ioctl line in a cell: %vm debug, %vm exit, %vm raw, and the long stop card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvmdbg.errors import BadInput, BreakpointError, IoctlError, UnknownName, VmInterrupted
from kvmdbg.exits import DebugExit, ExceptionExit, HltExit, IoExit, ShutdownExit
from kvmdbg.jupyter.offers import Known
from kvmdbg.jupyter.running_note import RunningNote
from kvmdbg.uapi import GuestDbg
from kvmdbg.x86.debugreg import decode_dr7
from tests.guests.pressing import stop_pressed
from tests.jupyter.offered import offered

Run = Callable[[str], Any]

OWN = """\
%%asm own
start:  int3
        nop
        .byte 0xf1
        pushfq
        or qword ptr [rsp], 0x100
        popfq
        nop
        mov rax, qword ptr [watched]
        hlt
on_db:  inc ebx
        mov rcx, dr6
        and qword ptr [rsp + 16], -257
        iretq
on_bp:  inc edx
        iretq
        .align 8
watched: .quad 7
"""
"""A guest that raises #BP and #DB itself, and counts in EDX and EBX those that it gets."""


TRAPPED = """\
%%asm trapped
start:  pushfq
        or qword ptr [rsp], 0x100
        popfq
        mov rax, qword ptr [watched]
        hlt
on_db:  inc ebx
        and qword ptr [rsp + 16], -257
        iretq
        .align 8
watched: .quad 7
"""
"""A guest that sets its trap flag right before it reads what is watched."""


@pytest.fixture
def own(run: Run) -> Run:
    run(OWN)
    run("%vm gate 1 on_db")
    run("%vm gate 3 on_bp")
    return run


def follow(run: Run, shown: Any) -> None:
    """Do what an exit's card advises."""
    run("from kvmdbg import GuestDbg")
    calls = [line.strip()[2:] for line in shown.text.splitlines() if line.startswith("  | ")]
    assert calls
    for call in calls:
        run(call)


# %vm debug


def test_before_the_first_run_the_control_word_is_off(guest: Run) -> None:
    shown = guest("%vm debug")
    assert shown.value.control == 0
    assert "off: #DB and #BP are the guest's" in shown.text


def test_debug_shows_what_the_debugger_itself_set_last(guest: Run) -> None:
    guest("%bp counter -w --len 4")
    guest("%vm run")
    text = guest("%vm debug").text
    assert "ENABLE | USE_HW_BP" in text
    assert "on: writes to" in text


@pytest.mark.parametrize("flag", list(GuestDbg))
def test_a_flag_is_set_by_its_name_in_lower_case(guest: Run, flag: GuestDbg) -> None:
    name = str(flag.name).lower()
    assert guest(f"%vm debug enable {name}").value.control == GuestDbg.ENABLE | flag


@pytest.mark.parametrize(("short", "flag"), [("sw_bp", 0x10000), ("hw_bp", 0x20000)])
def test_use_may_be_left_out(guest: Run, short: str, flag: int) -> None:
    assert guest(f"%vm debug enable {short}").value.control == 1 | flag


def test_a_line_sets_the_whole_word_and_not_one_more_flag(guest: Run) -> None:
    guest("%vm debug enable singlestep")
    assert guest("%vm debug enable use_sw_bp").value.control == 0x10001


def test_off_is_the_control_word_0(guest: Run) -> None:
    guest("%vm debug enable singlestep hw_bp 0=loop")
    setting = guest("%vm debug off").value
    assert (setting.control, setting.debugreg) == (0, (0,) * 8)


@pytest.mark.parametrize(
    ("word", "access", "length"),
    [("", 0, 1), (":x", 0, 1), (":w", 1, 1), (":rw:8", 3, 8), (":w:4", 1, 4)],
)
def test_a_slot_is_a_place_an_access_and_a_length(
    guest: Run, word: str, access: int, length: int
) -> None:
    setting = guest(f"%vm debug enable hw_bp 2=counter{word}").value
    slot = decode_dr7(setting.debugreg[7]).slots[2]
    assert setting.debugreg[2] == guest("vm.symbols['counter']")
    assert (slot.enabled, slot.access, slot.length) == (True, access, length)


def test_dr7_as_a_number_is_taken_as_it_is(guest: Run) -> None:
    setting = guest("%vm debug enable hw_bp 1=loop dr7=0x602").value
    assert setting.debugreg[7] == 0x602
    assert setting.debugreg[1] == guest("vm.symbols['loop']")


def test_in_real_mode_a_place_may_be_segment_and_offset(run: Run) -> None:
    run("%%asm --mode real --org 0x7c00\nnop\nhlt")
    setting = run("%vm debug enable hw_bp 0=7c0:10:w:2").value
    assert setting.debugreg[0] == 0x7C10
    assert decode_dr7(setting.debugreg[7]).slots[0].length == 2


@pytest.mark.parametrize(
    ("line", "error", "complaint"),
    [
        ("enabel", UnknownName, 'unknown flag "enabel" for %vm debug; did you mean "enable"?'),
        ("enable hw_pb", UnknownName, 'did you mean "hw_bp"?'),
        ("enable 0=loop:z:4", UnknownName, 'unknown access "z" in "loop:z:4"; choose x, w, rw'),
        ("enable 0=loop:w:3", BreakpointError, "cannot watch 3 bytes"),
        ("enable 0=loop:x:4", BreakpointError, "must have length 1"),
        ("enable 0=lop", UnknownName, 'did you mean "loop"?'),
        ("enable 4=loop", BadInput, "no debug register; write 0= to 3= or dr7="),
        ("enable 0=", BadInput, "nothing stands after"),
        ("enable 0=loop 0=done", BadInput, "0= is there twice"),
        ("dr7=all", BadInput, '"all" is not a number'),
        ("dr7=0x100000000", BadInput, "does not fit"),
        ("off enable", BadInput, '"off" stands alone'),
        ("inject", BadInput, "%vm debug inject db"),
        ("inject db bp", BadInput, "inject takes one of two"),
        ("inject nmi", UnknownName, "exception to inject"),
    ],
)
def test_a_mistake_is_one_line_and_sets_nothing(
    guest: Run, line: str, error: type[Exception], complaint: str
) -> None:
    before = guest("%vm debug enable singlestep").value
    with pytest.raises(error) as caught:
        guest(f"%vm debug {line}")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert guest("%vm debug").value == before


def test_what_kvm_accepts_and_ignores_is_said(guest: Run) -> None:
    assert "without enable KVM drops" in guest("%vm debug singlestep").text
    assert "not read without enable and use_hw_bp" in guest("%vm debug enable 0=loop").text
    assert "without enable" not in guest("%vm debug enable hw_bp 0=loop").text


def test_the_output_says_that_the_debugger_sets_its_own(guest: Run) -> None:
    assert "the debugger sets its own at the next %step" in guest("%vm debug").text
    guest("%vm debug enable use_sw_bp blockirq")
    guest("%step")
    assert guest("%vm debug").value.control == GuestDbg.ENABLE | GuestDbg.SINGLESTEP


# %vm exit


def test_an_exit_is_the_engines_plain_exit_and_a_row_of_the_timeline(guest: Run) -> None:
    guest("%vm debug enable singlestep")
    shown = guest("%vm exit")
    loop = guest("vm.symbols['loop']")
    assert shown.value == DebugExit(1, loop, 0xFFFF4FF0, 0x400)
    row = guest("vm.timeline")[-1]
    assert (row.pc, row.dr6, row.clock) == (loop, 0xFFFF4FF0, 1)
    assert guest("vm.last_stop") is None


def test_without_any_setting_the_guest_runs_to_its_end(guest: Run) -> None:
    assert guest("%vm exit").value == HltExit()


def test_a_watched_place_is_told_with_old_and_new_value(guest: Run) -> None:
    guest("%vm debug enable hw_bp 0=counter:w:4")
    shown = guest("%vm exit")
    assert shown.value.dr6 == 0xFFFF0FF1
    assert "counter (DR0): 0x5 -> 0x6" in shown.text
    assert "the host: DR0, a write to" in shown.text


def test_an_exit_may_be_limited(run: Run) -> None:
    run("%%asm\nx: jmp x")
    assert run("%vm exit --max 1k").value.cause == "budget"
    assert run("vm.vcpu.clock") == 1000
    assert run("%vm exit --timeout 30ms").value.cause == "timeout"


def test_ctrl_c_ends_an_exit_and_the_vm_goes_on(run: Run) -> None:
    run("%%asm\nx: jmp x")
    with stop_pressed(run("vm")), pytest.raises(VmInterrupted, match="the VM is intact"):
        run("%vm exit")
    assert run("vm.timeline")[-1].reason.name == "INTR"
    assert str(run("%step").kind) == "step"


def test_ctrl_c_as_a_cell_begins_ends_the_cell(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("%%asm\nx: jmp x")

    def begin(note: RunningNote) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(RunningNote, "begin", begin)
    with pytest.raises(KeyboardInterrupt):
        run("%vm cont")
    assert str(run("%step").kind) == "step"


def test_the_int3s_of_bp_are_the_guests_business_only_under_use_sw_bp(guest: Run) -> None:
    loop = guest("%bp loop").address
    guest("%vm debug enable use_sw_bp")
    shown = guest("%vm exit")
    assert shown.value == DebugExit(3, loop)
    assert "the host: " in shown.text
    guest("%vm reset")
    guest("%vm debug off")
    assert guest("%vm exit").value == HltExit()


def test_after_an_exit_by_hand_breakpoints_stop_again(guest: Run) -> None:
    guest("%bp twice")
    guest("%vm debug enable singlestep")
    guest("%vm exit")
    stop = guest("%vm run")
    assert (stop.location, stop.hits) == ("twice", (1,))


def test_coming_back_to_a_breakpoint_by_hand_is_an_arrival_of_its_own(guest: Run) -> None:
    guest("%bp loop")
    guest("%vm run")
    guest("%vm debug enable singlestep")
    for _ in range(6):
        guest("%vm exit")
    stop = guest("%vm run")
    assert (stop.location, stop.regs.rcx) == ("loop", 2)
    assert guest("vm.breakpoints[1].hits") == 2


def test_a_port_is_left_to_the_user_and_the_answer_arrives(run: Run) -> None:
    run("%%asm\nin al, 0x10\nhlt")
    shown = run("%vm exit")
    assert isinstance(shown.value, IoExit)
    assert "vm.vcpu.complete_io(bytes(1))" in shown.text
    run("vm.vcpu.complete_io(b'A')")
    assert run("%vm exit").value == HltExit()
    assert run("vm.regs()").rax == ord("A")


def test_a_vector_that_was_seen_by_hand_is_taken_by_the_next_step(own: Run) -> None:
    own("%bp int 3")
    assert isinstance(own("%vm exit").value, ExceptionExit)
    assert own("%step").location == "on_bp"


def test_vm_alone_shows_no_stop_that_an_exit_has_left_behind(guest: Run) -> None:
    guest("%step")
    assert "Stop 1" in guest("%vm").text
    guest("%vm exit")
    assert "Stop 1" not in guest("%vm").text


# Giving back, by hand


def test_the_guests_int3_reaches_its_handler_only_if_it_is_given_back(own: Run) -> None:
    own("%vm debug enable use_sw_bp")
    shown = own("%vm exit")
    assert "the guest: its own INT3" in shown.text
    follow(own, shown)
    own("%vm exit")
    assert own("vm.regs()").rdx == 1


def test_a_breakpoint_elsewhere_does_not_make_the_guests_int3_the_hosts(own: Run) -> None:
    own("%bp on_bp")
    own("%vm debug enable use_sw_bp")
    assert "the guest: its own INT3" in own("%vm exit").text
    own("%vm debug inject bp")
    assert "the host: " in own("%vm exit").text


def test_inject_bp_keeps_the_rest_of_the_setting(own: Run) -> None:
    own("%vm debug enable use_sw_bp")
    own("%vm exit")
    assert own("%vm debug inject bp").value.control == 0x90001
    own("%vm exit")
    assert own("vm.regs()").rdx == 1


def test_a_second_injection_before_the_entry_is_busy_as_in_the_kernel(own: Run) -> None:
    own("%vm debug inject db")
    with pytest.raises(IoctlError, match="EBUSY"):
        own("%vm debug inject bp")
    assert own("%vm debug").value.control == GuestDbg.INJECT_DB


def test_what_the_cards_advise_gives_the_guest_each_exception_once(own: Run) -> None:
    """INT3, INT1 and the trap flag's #DB, all intercepted; the handlers count them."""
    own("%vm debug enable sw_bp hw_bp 3=watched:rw:8")
    shown = own("%vm exit")
    seen = 0
    while not isinstance(shown.value, HltExit):
        seen += 1
        assert seen < 6
        if "yes: " in shown.text:
            follow(own, shown)
        shown = own("%vm exit")
    regs = own("vm.regs()")
    assert (regs.rdx, regs.rbx, seen) == (1, 2, 4)
    assert regs.rcx & 0x4000  # BS in the DR6 that the handler read


def test_what_the_user_gives_back_the_debugger_does_not_give_again(run: Run) -> None:
    """A watched read in the one instruction after which the guest's own trap comes."""
    run(TRAPPED)
    run("%vm gate 1 on_db")
    run("%bp watched -rw --len 8")
    run("%vm run")
    assert "%step and %vm run do it by themselves" in run("%vm stop --long").text
    run("%vm debug inject db")
    assert str(run("%vm run").kind) == "halt"
    assert run("vm.regs()").rbx == 1


def test_without_the_host_the_guest_gets_the_same(own: Run) -> None:
    own("%vm debug off")
    assert own("%vm exit").value == HltExit()
    regs = own("vm.regs()")
    assert (regs.rdx, regs.rbx) == (1, 2)


# %vm raw


def test_raw_gives_back_both_structs_as_bytes(guest: Run) -> None:
    guest("%vm debug enable singlestep")
    guest("%vm exit")
    sent, received = guest("%vm raw").value
    assert (len(sent), len(received)) == (72, 32)
    assert sent[:4] == (3).to_bytes(4, "little")
    assert received[16:24] == (0xFFFF4FF0).to_bytes(8, "little")


def test_raw_shows_each_field_with_offset_value_and_meaning(guest: Run) -> None:
    guest("%step")
    text = guest("%vm raw").text
    assert "0x4048ae9b" in text
    assert "causes: BS" in text
    assert "ENABLE | SINGLESTEP" in text


def test_raw_before_the_first_exit_has_only_what_was_sent(guest: Run) -> None:
    shown = guest("%vm raw")
    assert shown.value.received is None
    assert "No exit yet" in shown.text


def test_raw_after_an_exit_of_another_kind_says_which(guest: Run) -> None:
    guest("%vm run")
    assert "The last exit was HLT" in guest("%vm raw").text


# %vm stop --long, and %vm dr


def test_the_long_stop_is_the_same_stop(guest: Run) -> None:
    stop = guest("%step")
    shown = guest("%vm stop --long")
    assert shown.value is stop
    assert "the host: its single step" in shown.text
    assert "Received: " in shown.text
    assert "<table" in shown.html


def test_the_long_stop_at_a_watchpoint_has_old_and_new_value(guest: Run) -> None:
    guest("%bp counter -w --len 4")
    guest("%vm run")
    assert ": 0x5 -> 0x6" in guest("%vm stop --long").text.partition("Who caused it")[2]


def test_a_step_over_the_guests_int3_says_that_it_was_given_back(own: Run) -> None:
    own("%step")
    text = own("%vm stop --long").text
    assert "the guest: its own #BP" in text
    assert "done: " in text
    assert "GuestDbg.INJECT_BP)" in text


def test_the_long_stop_of_a_triple_fault_has_no_second_struct(run: Run) -> None:
    run("%%asm\nud2")
    assert isinstance(run("%vm run").exit, ShutdownExit)
    text = run("%vm stop --long").text
    assert "KVM_EXIT_SHUTDOWN" in text
    assert "Received: " not in text


def test_dr_shows_the_hosts_registers_only_while_they_are_in_effect(guest: Run) -> None:
    guest("%step")
    assert "the guest's own are in effect" in guest("%vm dr").text
    guest("%vm debug enable hw_bp 0=loop")
    assert "the host's are in effect" in guest("%vm dr").text


# Python


@pytest.mark.parametrize("control", ["-1", "1 << 32", "'enable'"])
def test_a_control_word_has_32_bits(guest: Run, control: str) -> None:
    with pytest.raises(BadInput, match="32-bit"):
        guest(f"vm.debug({control})")


def test_debugreg_are_eight_numbers(guest: Run) -> None:
    with pytest.raises(BadInput, match="eight"):
        guest("vm.debug(1, (0, 0))")


# Completion


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%vm debug en", ["enable"]),
        ("%vm debug enable sing", ["singlestep"]),
        ("%vm debug inj", ["inject_db", "inject_bp", "inject"]),
        ("%vm debug inject ", ["db", "bp"]),
        ("%vm debug enable 0=cou", ["counter"]),
        ("%vm debug enable 0=counter:", ["x", "w", "rw"]),
        ("%vm debug dr7=", []),
        ("%vm stop -", ["--long"]),
        ("%vm exit --m", ["--max"]),
    ],
)
def test_tab_offers_what_may_stand_there(line: str, words: list[str]) -> None:
    assert offered(line, Known(("counter", "loop"))) == words
