"""MOV SS and STI in front of a trap, and RF: rows 147-160."""

from __future__ import annotations

import pytest

from kvmdbg.exits import DebugExit, HltExit
from kvmdbg.x86.registers import DebugRegs
from tests.conformance.rows import row
from tests.guests.bench import BD, BS, MODES, NONE, B, Bench, E, H, S
from tests.guests.logger import LOGGER, SET_TF, logged

RF, IF = 1 << 16, 1 << 9
DROP_TF = "and rax, -257\npush rax\npopf\nhlt\n"  # 6, 1 and 1 bytes


def dbs_of(text: str, dr7: int = 0x400) -> tuple[list[tuple[int, int]], Bench]:
    """Run a guest with the logger at vector 1 to its HLT; (saved RIP, DR6) of each #DB."""
    b = Bench(text + LOGGER)
    b.gate(1, "logger")
    b.vcpu.set_debugregs(DebugRegs(dr7=dr7))
    assert b.run() == HltExit()
    return logged(b), b


# -- MOV SS ----------------------------------------------------------------------------------------


@row(147)
def test_a_guests_step_over_mov_ss_traps_only_after_the_instruction_behind_it() -> None:
    seen, b = dbs_of(
        f"mov cx, ss\n{SET_TF}popf\nmov ss, cx\nand rax, -257\nstart: push rax\npopf\nhlt"
    )
    start = b["start"]
    assert seen == [(start, BS), (start + 1, BS), (start + 2, BS)]


@row(147)
def test_pop_ss_shields_the_next_instruction_too() -> None:
    text = """
        push ss
        pushf
        pop eax
        or eax, 0x100
        push eax
        popf
        pop ss
        nop
after:  nop
        hlt
handler: pop ecx
        hlt
    """
    with Bench(text, "protected") as b:
        b.gate(1, "handler")
        assert b.run() == HltExit()
        assert b.reg("rcx") == b["after"]


@row(148)
@pytest.mark.parametrize("mode", MODES)
def test_a_host_step_over_mov_ss_stops_after_the_instruction_behind_it(mode: str) -> None:
    with Bench("mov ss, ax\nnop\nafter: nop", mode) as b:
        b.set(rax=b.vcpu.get_sregs().ss.selector)
        assert b.run(E | S) == DebugExit(1, b["after"], BS, 0x400)


@row(148)
def test_only_the_first_of_two_mov_ss_shields() -> None:
    with Bench("mov ss, ax\nmov ss, ax\nafter: nop\nnop") as b:
        b.set(rax=0x10)
        assert b.run(E | S) == DebugExit(1, b["after"], BS, 0x400)


@row(149)
def test_icebp_behind_mov_ss_is_a_db_without_bs() -> None:
    text = f"""
        mov cx, ss
        {SET_TF}
        popf
        mov ss, cx
        .byte 0xf1
second: .byte 0xf1
third:  and rax, -257
start:  push rax
        popf
        hlt
    """
    seen, b = dbs_of(text)
    start = b["start"]
    assert seen == [
        (b["second"], NONE),
        (b["third"], NONE),
        (start, BS),
        (start + 1, BS),
        (start + 2, BS),
    ]


@row(150)
def test_general_detect_behind_mov_ss_comes_first_and_alone() -> None:
    text = f"""
        mov cx, ss
        {SET_TF}
        popf
        mov ss, cx
move:   mov rdx, dr0
moved:  and rax, -257
start:  push rax
        popf
        hlt
    """
    seen, b = dbs_of(text, dr7=0x2400)
    start = b["start"]
    assert seen == [
        (b["move"], BD),
        (b["moved"], BS),
        (start, BS),
        (start + 1, BS),
        (start + 2, BS),
    ]


@row(151)
@pytest.mark.parametrize("load", ["mov ss, ax", "push 0x10\npop ss"])
def test_an_execution_breakpoint_behind_mov_ss_does_not_fire(load: str) -> None:
    mode = "long" if load.startswith("mov") else "protected"
    with Bench(f"mov eax, 0x10\n{load}\ntarget: nop\nhlt", mode) as b:
        b.vcpu.set_debugregs(DebugRegs((b["target"], 0, 0, 0), dr7=0x402))
        assert b.run() == HltExit()
        assert b.vcpu.get_debugregs().dr6 == NONE


@row(151)
def test_a_hosts_execution_breakpoint_behind_mov_ss_does_not_fire_either() -> None:
    with Bench("mov ss, ax\ntarget: nop\nhlt") as b:
        b.set(rax=0x10)
        b.sgd(E | H, dr7=0x402, dr0=b["target"])
        assert b.vcpu.run() == HltExit()


@row(151)
@pytest.mark.parametrize("flags", [2, 2 | IF], ids=["IF clear", "IF set"])
def test_a_load_of_ss_whose_last_byte_looks_like_sti_shields_as_well(flags: int) -> None:
    text = "mov word ptr [rbp - 5], 0x10\nmov ss, word ptr [rbp - 5]\ntarget: nop\nhlt"
    with Bench(text) as b:
        assert b.program.code[b["target"] - b.program.origin - 1] == 0xFB
        b.set(rbp=0x6000, rflags=flags)
        b.sgd(E | H, dr7=0x402, dr0=b["target"])
        assert b.vcpu.run() == HltExit()


@row(151)
def test_an_execution_breakpoint_on_the_second_instruction_behind_mov_ss_fires() -> None:
    with Bench("mov ss, ax\nnop\ntarget: nop\nhlt") as b:
        b.set(rax=0x10)
        b.sgd(E | H, dr7=0x402, dr0=b["target"])
        assert b.vcpu.run() == DebugExit(1, b["target"], B(0), 0x402)


WATCHED = """
start:  mov ss, word ptr [rip + value]
        {then}
after:  hlt
on_bp:  inc r12
        iretq
        .balign 8
value:  .quad 0x10
"""
WATCH_READS = 0x00F0040A  # DR1: 4 bytes, reads and writes


def watched_mov_ss(then: str) -> Bench:
    """MOV SS from watched memory, then ``then``; run to the HLT."""
    b = Bench(WATCHED.format(then=then) + LOGGER)
    b.gate(1, "logger")
    b.gate(3, "on_bp")
    b.vcpu.set_debugregs(DebugRegs((0, b["value"], 0, 0), dr7=WATCH_READS))
    assert b.run() == HltExit()
    return b


@row(152)
def test_icebp_behind_a_watched_mov_ss_enters_the_handler_once() -> None:
    with watched_mov_ss(".byte 0x2e, 0x2e, 0xf1") as b:
        assert [rip for rip, _ in logged(b)] == [b["after"]]


@row(153)
def test_int_1_behind_a_watched_mov_ss_enters_the_handler_twice() -> None:
    with watched_mov_ss(".byte 0x2e, 0x2e, 0xcd, 1") as b:
        assert sorted(rip for rip, _ in logged(b)) == [b["after"], b["logger"]]


@row(154)
def test_int3_behind_a_watched_mov_ss_gives_one_db_and_one_bp() -> None:
    with watched_mov_ss(".byte 0x2e, 0x2e, 0xcc") as b:
        assert len(logged(b)) == 1
        assert b.reg("r12") == 1


@row(154)
def test_the_db_of_a_watched_mov_ss_interrupts_the_int3_handler_before_it_begins() -> None:
    with watched_mov_ss("int3") as b:
        assert logged(b) == [(b["on_bp"], B(1))]


# -- STI -------------------------------------------------------------------------------------------


@row(155)
def test_sti_shields_no_trap_of_the_guests_own() -> None:
    text = f"cli\n{SET_TF}popf\nsti\nstart: {DROP_TF}"
    seen, b = dbs_of(text)
    places = [b["start"] + n for n in (0, 6, 7, 8)]
    assert seen == [(place, BS) for place in places]


@row(155)
@pytest.mark.parametrize("flags", [2, 2 | IF], ids=["IF clear", "IF set"])
@pytest.mark.parametrize("before", ["nop", "mov ss, ax"])
def test_sti_shields_no_execution_breakpoint(before: str, flags: int) -> None:
    with Bench(f"{before}\nsti\ntarget: nop\nhlt") as b:
        b.set(rflags=flags, rax=0x10)
        b.sgd(E | H, dr7=0x402, dr0=b["target"])
        assert b.vcpu.run() == DebugExit(1, b["target"], B(0), 0x402)


@row(156)
@pytest.mark.parametrize("mode", MODES)
def test_a_host_step_over_sti_stops_right_behind_it(mode: str) -> None:
    with Bench("sti\nafter: nop", mode) as b:
        assert b.run(E | S) == DebugExit(1, b["after"], BS, 0x400)
        assert b.reg("rflags") & IF


@row(157)
def test_a_guest_that_steps_over_sti_and_hlt_gets_all_five_traps() -> None:
    text = f"cli\n{SET_TF}popf\nsti\nstart: hlt\nwoken: {DROP_TF}irq: iretq\n"
    with Bench(text + LOGGER) as b:
        b.gate(1, "logger")
        b.gate(0x20, "irq")
        assert b.run() == HltExit()
        assert b.reg("rip") == b["woken"]
        b.vcpu.interrupt(0x20)
        assert b.run() == HltExit()
        places = [b["start"], *(b["woken"] + n for n in (0, 6, 7, 8))]
        assert logged(b) == [(place, BS) for place in places]


# -- RF --------------------------------------------------------------------------------------------

WIDTH = {"real": 2, "protected": 4, "long": 8}


@row(158)
@pytest.mark.parametrize("mode", ["protected", "long"])
def test_the_flags_that_a_fault_pushes_have_rf(mode: str) -> None:
    with Bench("bad: ud2\nhandler: hlt", mode) as b:
        b.gate(6, "handler")
        assert b.run() == HltExit()
        width = WIDTH[mode]
        assert b.word(b.reg("rsp"), width) == b["bad"]
        assert b.word(b.reg("rsp") + 2 * width, width) & RF


@row(158)
@pytest.mark.parametrize("trap", ["int3", ".byte 0xcd, 3"])
def test_the_flags_that_a_trap_pushes_have_no_rf(trap: str) -> None:
    with Bench(f"{trap}\nhandler: hlt") as b:
        b.gate(3, "handler")
        assert b.run() == HltExit()
        assert not b.word(b.reg("rsp") + 16) & RF


@row(158)
def test_the_fault_behind_an_execution_breakpoint_comes_after_it_and_pushes_rf() -> None:
    text = "bad: ud2\non_db: or qword ptr [rsp + 16], 0x10000\ninc rbx\niretq\non_ud: hlt"
    with Bench(text) as b:
        b.gate(1, "on_db")
        b.gate(6, "on_ud")
        b.vcpu.set_debugregs(DebugRegs((b["bad"], 0, 0, 0), dr7=0x402))
        assert b.run() == HltExit()
        assert b.reg("rbx") == 1
        assert b.word(b.reg("rsp") + 16) & RF


@row(158)
def test_an_interrupt_that_finds_rf_set_pushes_it() -> None:
    with Bench("target: nop\nhlt\nirq: hlt") as b:
        b.gate(0x20, "irq")
        b.set(rflags=2 | RF | IF)
        b.vcpu.interrupt(0x20)
        assert b.run() == HltExit()
        assert b.reg("rip") == b["irq"] + 1
        assert b.word(b.reg("rsp") + 16) & RF


@row(158)
def test_rf_that_an_interrupt_pushed_still_shields_after_its_iret() -> None:
    with Bench("target: nop\nhlt\nirq: iretq") as b:
        b.gate(0x20, "irq")
        b.set(rflags=2 | RF | IF)
        b.vcpu.interrupt(0x20)
        b.sgd(E | H, dr7=0x402, dr0=b["target"])
        assert b.vcpu.run() == HltExit()


@row(159)
def test_get_regs_shows_the_rf_that_set_regs_gave() -> None:
    with Bench("nop\nnop") as b:
        b.set(rflags=2 | RF)
        assert b.reg("rflags") == 2 | RF


@row(159)
def test_get_regs_shows_rf_also_while_the_host_single_steps() -> None:
    with Bench("nop\nnop") as b:
        b.set(rflags=2 | RF)
        b.sgd(E | S)
        assert b.reg("rflags") == 2 | RF


@row(159)
def test_rf_is_gone_after_the_next_instruction() -> None:
    with Bench("nop\nnop") as b:
        b.set(rflags=2 | RF)
        b.run(E | S)
        assert b.reg("rflags") == 2


@row(159)
def test_a_guest_that_loads_rf_by_iret_shows_it_to_the_host_at_the_next_instruction() -> None:
    text = """
        mov rcx, rsp
        push 0x10
        push rcx
        push 0x10002
        push 8
        lea rax, [rip + target]
        push rax
back:   iretq
target: nop
    """
    with Bench(text) as b:
        while b.reg("rip") != b["target"]:
            assert b.reg("rflags") & RF == 0
            b.run(E | S)
        assert b.reg("rflags") & RF


@row(160)
@pytest.mark.parametrize("mode", MODES)
def test_rf_does_not_hold_back_a_data_breakpoint(mode: str) -> None:
    text = "write: mov dword ptr [value], eax\nafter: nop\nhlt\n.balign 4\nvalue: .long 0"
    with Bench(text, mode) as b:
        b.set(rflags=2 | RF)
        dr7 = 0x400 | 2 | 0xD << 16
        b.sgd(E | H, dr7=dr7, dr0=b["value"])
        assert b.vcpu.run() == DebugExit(1, b["after"], B(0), dr7)


@row(160)
def test_rf_holds_back_the_execution_breakpoint_but_not_the_data_breakpoint_there() -> None:
    text = "write: mov dword ptr [value], eax\nafter: nop\nhlt\n.balign 4\nvalue: .long 0"
    with Bench(text) as b:
        b.set(rflags=2 | RF)
        dr7 = 0x400 | 2 | 8 | 0xD << 20
        b.sgd(E | H, dr7=dr7, dr0=b["write"], dr1=b["value"])
        assert b.vcpu.run() == DebugExit(1, b["after"], B(1), dr7)


@row(160)
def test_rf_does_not_hold_back_the_single_step_trap() -> None:
    with Bench("nop\nafter: nop") as b:
        b.set(rflags=2 | RF)
        assert b.run(E | S) == DebugExit(1, b["after"], BS, 0x400)
