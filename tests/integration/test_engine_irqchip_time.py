"""Virtual time with an irqchip: sleeping in HLT, what holds interrupts up, windows, the TSC."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from kvmdbg.exits import HltExit, IntrExit, IrqWindowOpenExit
from kvmdbg.uapi import MpState
from kvmdbg.x86.registers import CR4
from tests.guests.apic import FACES, IRET, PERIODIC, TPR, Apic, name_of, wrmsr
from tests.guests.bench import Bench

IF, TF = 1 << 9, 1 << 8
WIDTH = {"real": 2, "protected": 4, "long": 8}
faces = pytest.mark.parametrize("apic", FACES, ids=name_of)


def saved_rip(b: Bench) -> int:
    return b.word(b.reg("rsp"), WIDTH[b.mode])


# -- HLT -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
@pytest.mark.parametrize("flags", [2, 2 | IF])
def test_hlt_that_nothing_can_end_is_an_exit(mode: str, flags: int) -> None:
    with Apic(mode).bench("hlt\nnop") as b:
        b.set(rflags=flags)
        assert b.run() == HltExit()
        assert (b.vcpu.get_mp_state(), b.reg("rip")) == (MpState.HALTED, 0x8001)
        assert b.run() == HltExit()


@faces
def test_hlt_with_if_0_is_not_ended_by_a_timer(apic: Apic) -> None:
    text = f"{apic.enable()}\n{apic.timer(PERIODIC | 0x40, 100)}\nhlt\nend: nop"
    with apic.bench(text) as b:
        assert (b.run(), b.reg("rip")) == (HltExit(), b["end"])


@faces
def test_hlt_sleeps_until_the_timer_and_goes_on_behind_itself(apic: Apic) -> None:
    text = f"{apic.enable()}\nsti\n{apic.timer(0x40, 1_000_000)}\nhlt\nnext: hlt\nirq: hlt"
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        assert (b.run(), b.reg("rip"), saved_rip(b)) == (HltExit(), b["irq"] + 1, b["next"])
        assert b.vcpu.clock < 30


def test_hlt_does_not_sleep_while_an_interrupt_waits() -> None:
    apic = Apic()
    text = f"{apic.enable()}\n{apic.self_ipi(0x40)}\nsti\nhlt\nnext: nop\nirq: hlt"
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        assert (b.run(), saved_rip(b)) == (HltExit(), b["next"])


@pytest.mark.parametrize("wake", ["line", "nmi", "mp_state"])
def test_the_host_can_wake_a_processor_that_sleeps_for_ever(wake: str) -> None:
    with Apic().bench("sti\nhlt\nnext: mov edi, 1\ncli\nhlt\nirq: nop\niretq") as b:
        b.gate(8, "irq")  # the 8259 as KVM resets it has base 0
        b.gate(2, "irq")
        b.gate(1, "irq")
        assert b.run() == HltExit()
        calls: dict[str, Callable[[], None]] = {
            "line": lambda: b.vcpu.irq_line(1, True),
            "nmi": b.vcpu.nmi,
            "mp_state": lambda: b.vcpu.set_mp_state(MpState.RUNNABLE),
        }
        calls[wake]()
        assert (b.run(), b.reg("rdi")) == (HltExit(), 1)


def test_the_guests_own_step_over_hlt_is_its_debug_exception() -> None:
    with Apic().bench("hlt\nnext: nop\ndebug: mov edi, 1\nhlt") as b:
        b.gate(1, "debug")
        b.set(rflags=2 | TF)
        assert (b.run(), b.reg("rdi"), saved_rip(b)) == (HltExit(), 1, b["next"])
        assert b.vcpu.get_debugregs().dr6 == 0xFFFF4FF0


SLEEPER = "{enable}\n{priority}\n{timer}\nsti\nagain: hlt\njmp again\nirq: inc edi\n{eoi}\niretq"


def sleeper(priority: int) -> Bench:
    """A guest that a periodic timer wakes, or with a high priority never does."""
    apic = Apic()
    text = SLEEPER.format(
        enable=apic.enable(),
        priority=apic.write(TPR, priority),
        timer=apic.timer(PERIODIC | 0x40, 1_000_000),
        eoi=apic.eoi(),
    )
    b = apic.bench(text)
    b.gate(0x40, "irq")
    return b


def test_a_budget_ends_a_run_that_mostly_sleeps() -> None:
    with sleeper(0) as b:
        before = b.vcpu.clock
        assert b.vcpu.run(max_instructions=1234) == IntrExit("budget")
        assert b.vcpu.clock == before + 1234


def test_a_timeout_ends_a_run_that_mostly_sleeps() -> None:
    with sleeper(0) as b:
        began = time.monotonic()
        assert b.vcpu.run(timeout=0.1) == IntrExit("timeout")
        assert time.monotonic() - began < 1


def test_a_timeout_ends_a_sleep_that_no_interrupt_can_end() -> None:
    with sleeper(0xF0) as b:
        assert b.vcpu.run(timeout=0.1) == IntrExit("timeout")
        assert (b.vcpu.get_mp_state(), b.reg("rdi")) == (MpState.HALTED, 0)


def test_another_thread_can_stop_a_sleep_that_no_interrupt_can_end() -> None:
    with sleeper(0xF0) as b:
        threading.Timer(0.1, b.vcpu.request_stop).start()
        assert b.vcpu.run(timeout=20) == IntrExit("request")


def test_a_stop_request_ends_a_run_that_mostly_sleeps() -> None:
    with sleeper(0) as b:
        threading.Timer(0.1, b.vcpu.request_stop).start()
        assert b.vcpu.run(timeout=20) == IntrExit("request")
        assert b.reg("rdi") > 0


def test_a_stop_request_before_a_run_of_a_halted_guest_with_if_0_ends_it() -> None:
    apic = Apic()
    with apic.bench(f"{apic.enable()}\n{apic.timer(PERIODIC | 0x40, 100)}\nhlt") as b:
        assert b.run() == HltExit()
        b.vcpu.request_stop()
        assert b.run() == IntrExit("request")
        assert b.run() == HltExit()


# -- shadows and flags -----------------------------------------------------------------------------


@faces
@pytest.mark.parametrize("way", ["sti", "popf", "iret"])
def test_an_interrupt_waits_for_if_and_for_the_shadow_of_sti_only(apic: Apic, way: str) -> None:
    code = {"real": "push cs", "protected": "push 8", "long": "push 8"}[apic.mode]
    push = {"real": "pushf", "protected": "pushfd", "long": "pushfq"}[apic.mode]
    pop = {"real": "popf", "protected": "popfd", "long": "popfq"}[apic.mode]
    bits = "push 0x202"
    stack = "push 0x10\npush 0x7000\n" if apic.mode == "long" else ""
    ways = {
        "sti": "sti",
        "popf": f"{bits}\n{pop}",
        "iret": f"{stack}{bits}\n{code}\npush offset first\n{IRET[apic.mode]}",
    }
    text = f"""
        {apic.enable()}
        {apic.self_ipi(0x40)}
        {push}
        nop
        {ways[way]}
first:  nop
second: nop
        hlt
irq:    hlt
    """
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        assert b.run() == HltExit()
        assert saved_rip(b) == b["second" if way == "sti" else "first"]


@faces
def test_sti_and_cli_in_a_row_let_no_interrupt_through(apic: Apic) -> None:
    text = f"{apic.enable()}\n{apic.self_ipi(0x40)}\nsti\ncli\nnop\nend: hlt\nirq: hlt"
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        assert (b.run(), b.reg("rip")) == (HltExit(), b["end"] + 1)


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_mov_ss_keeps_a_timer_interrupt_back_for_one_instruction(mode: str) -> None:
    """The timer is due in front of MOV SS's successor, wherever it is set to."""
    apic = Apic(mode)
    seen = set()
    for count in range(1, 6):
        text = f"{apic.enable()}\nmov eax, ss\nsti\n{apic.timer(0x40, count)}\nnop\n"
        text += "a: mov ss, eax\nb: nop\nc: nop\nd: jmp d\nirq: hlt"
        with apic.bench(text) as b:
            b.gate(0x40, "irq")
            assert b.run() == HltExit()
            seen.add(saved_rip(b))
    assert b["b"] not in seen
    assert {b["a"], b["c"]} <= seen


# -- the interrupt window --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_a_window_opens_behind_the_shadow_of_sti(mode: str) -> None:
    with Bench("nop\nsti\nnop\nopen: nop\nhlt", mode) as b:
        b.vcpu.request_interrupt_window(True)
        assert (b.run(), b.reg("rip")) == (IrqWindowOpenExit(), b["open"])


def test_a_window_that_is_open_is_told_before_anything_runs() -> None:
    with Bench("nop\nhlt") as b:
        b.set(rflags=2 | IF)
        b.vcpu.request_interrupt_window()
        assert (b.run(), b.reg("rip")) == (IrqWindowOpenExit(), 0x8000)


def test_a_window_that_nobody_wants_any_more_is_not_told() -> None:
    with Bench("sti\nnop\nhlt") as b:
        b.vcpu.request_interrupt_window(True)
        b.vcpu.request_interrupt_window(False)
        assert b.run() == HltExit()


def test_an_interrupt_in_an_open_window_is_taken_at_once() -> None:
    with Bench("nop\nsti\nnop\nopen: nop\nhlt\nirq: hlt") as b:
        b.gate(0x20, "irq")
        b.vcpu.request_interrupt_window(True)
        b.run()
        b.vcpu.request_interrupt_window(False)
        b.vcpu.interrupt(0x20)
        assert (b.run(), saved_rip(b)) == (HltExit(), b["open"])


def test_with_an_irqchip_no_window_is_told() -> None:
    """The processor asks the chips itself (``dm_request_for_irq_injection``)."""
    with Apic().bench("nop\nnop\ncli\nend: hlt") as b:
        b.set(rflags=2 | IF)
        b.vcpu.request_interrupt_window()
        assert (b.run(), b.reg("rip")) == (HltExit(), b["end"] + 1)


# -- the TSC ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
def test_rdtsc_counts_instructions(mode: str) -> None:
    with Bench("rdtsc\nmov edi, eax\nnop\nnop\nrdtsc\nhlt", mode) as b:
        b.run()
        assert b.reg("rax") - b.reg("rdi") == 4


def test_rdtsc_counts_what_hlt_has_slept() -> None:
    apic = Apic()
    text = f"{apic.enable()}\nsti\n{apic.timer(0x40, 1 << 20)}\nhlt\nirq: rdtsc\nhlt"
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        b.run()
        assert 0 <= b.reg("rax") - (1 << 20) < 20


def test_rdtscp_also_gives_tsc_aux() -> None:
    with Bench(f"{wrmsr(0xC0000103, 0x1234)}\nrdtscp\nhlt") as b:
        b.run()
        assert (b.reg("rcx"), b.reg("rax"), b.reg("rdx")) == (0x1234, 4, 0)


@pytest.mark.parametrize("instruction", ["rdtsc", "rdtscp"])
@pytest.mark.parametrize(("tsd", "cpl", "fault"), [(1, 3, 1), (1, 0, 0), (0, 3, 0)])
def test_tsd_keeps_the_tsc_from_cpl_3_only(
    instruction: str, tsd: int, cpl: int, fault: int
) -> None:
    enter = "push 0x23\npush 0x7000\npush 2\npush 0x2b\npush offset user\niretq\n" if cpl else ""
    text = f"{enter}user: {instruction}\nint 0x80\nfault: mov edi, 1\nend: hlt"
    with Bench(text) as b:
        b.gate(13, "fault")
        b.gate(0x80, "end")
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(cr4=sregs.cr4 | CR4.TSD * tsd))
        assert (b.run(), b.reg("rdi")) == (HltExit(), fault)


READ_BOTH = "mov ecx, 0x10\nrdmsr\nmov edi, eax\nmov ecx, 0x3b\nrdmsr\nmov esi, eax\nhlt"


def test_writing_the_tsc_moves_the_adjustment() -> None:
    with Bench(f"{wrmsr(0x10, 1000)}\n{READ_BOTH}") as b:
        b.run()
        assert (b.reg("rdi"), b.reg("rsi")) == (1002, 997)  # written at 3, read two later


def test_writing_the_adjustment_moves_the_tsc() -> None:
    with Bench(f"{wrmsr(0x3B, 5000)}\n{READ_BOTH}") as b:
        b.run()
        assert (b.reg("rdi"), b.reg("rsi")) == (5005, 5000)
