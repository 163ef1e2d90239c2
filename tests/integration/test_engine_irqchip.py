"""The local APIC as a guest sees it: its timer, priorities, and the interrupts that it sends."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kvmdbg.exits import DebugExit, Exit, HltExit
from tests.guests.apic import (
    FACES,
    IRET,
    NMI,
    PERIODIC,
    STAMP,
    TPR,
    TSC_DEADLINE,
    Apic,
    name_of,
    run_to,
    times,
    wrmsr,
)
from tests.guests.bench import Bench, E, S

IF = 1 << 9
faces = pytest.mark.parametrize("apic", FACES, ids=name_of)
both = pytest.mark.parametrize("apic", [Apic(), Apic(x2=True)], ids=name_of)


def run(b: Bench, limit: int = 1_000_000) -> Exit:
    return b.vcpu.run(max_instructions=limit, timeout=20)


# -- the APIC's timer ------------------------------------------------------------------------------


@faces
def test_a_one_shot_timer_interrupts_once(apic: Apic) -> None:
    text = f"""
        {apic.enable()}
        {apic.timer(0x40, 100)}
        sti
        mov bp, 1000
again:  dec bp
        jnz again
        cli
        hlt
irq:    inc edi
        {apic.eoi()}
        {IRET[apic.mode]}
    """
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        assert (run(b), b.reg("rdi")) == (HltExit(), 1)


@both
@pytest.mark.parametrize("count", [1, 2, 50, 1000])
def test_a_one_shot_timer_interrupts_after_as_many_instructions_as_it_counts(
    apic: Apic, count: int
) -> None:
    *before, write = apic.timer(0x40, count).splitlines()
    lines = [apic.enable(), "sti", *before, f"write: {write}", "again: jmp again", "irq: hlt"]
    with apic.bench("\n".join(lines)) as b:
        b.gate(0x40, "irq")
        run_to(b, "write")
        written_at = b.vcpu.clock
        b.sgd(0)
        assert run(b) == HltExit()
        assert b.vcpu.clock == written_at + count + 1  # the write is the first; HLT is one more


@faces
def test_a_periodic_timer_interrupts_once_per_period(apic: Apic) -> None:
    text = f"""
        {apic.enable()}
        {apic.timer(PERIODIC | 0x40, 500)}
        sti
again:  cmp edi, 20
        jb again
        cli
        hlt
irq:    inc edi
        {apic.eoi()}
        {IRET[apic.mode]}
    """
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        assert (run(b), b.reg("rdi")) == (HltExit(), 20)
        assert 20 * 500 < b.vcpu.clock < 20 * 500 + 60


def test_a_periodic_timer_does_not_drift() -> None:
    apic = Apic()
    text = f"{apic.enable()}\n{apic.timer(PERIODIC | 0x40, 700)}\nsti\nagain: hlt\njmp again\n"
    text += f"irq: {STAMP}\n{apic.eoi()}\ncmp edi, 20\nje end\niretq\nend: cli\nhlt"
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        assert run(b) == HltExit()
        assert [later - earlier for earlier, later in pairwise(times(b, 20))] == [700] * 19


@both
def test_a_tsc_deadline_interrupts_when_the_tsc_reaches_it(apic: Apic) -> None:
    text = f"""
        {apic.enable()}
        {apic.write(0x320, TSC_DEADLINE | 0x40)}
        {wrmsr(0x6E0, 5000)}
        sti
        hlt
        hlt
irq:    {STAMP}
        hlt
    """
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        assert run(b) == HltExit()
        assert times(b, 1) == [5000]


@pytest.mark.parametrize("start", [0, 1 << 40, (1 << 64) - 100])
def test_a_tsc_deadline_is_in_the_guests_own_tsc(start: int) -> None:
    """1000 cycles after the guest has set its TSC, wherever that was set."""
    apic = Apic()
    text = f"""
        {apic.enable()}
        {apic.write(0x320, TSC_DEADLINE | 0x40)}
        {wrmsr(0x10, start)}
        {wrmsr(0x6E0, (start + 1000) % (1 << 64))}
        sti
        hlt
        hlt
irq:    {STAMP}
        hlt
    """
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        assert run(b) == HltExit()
        assert times(b, 1) == [(start + 1000) % (1 << 64)]


def test_the_tsc_deadline_reads_as_written_until_it_has_passed() -> None:
    apic = Apic()
    text = f"{apic.enable()}\n{apic.write(0x320, TSC_DEADLINE | 0x40)}\n{wrmsr(0x6E0, 300)}\n"
    text += "rdmsr\nmov esi, eax\nsti\nhlt\nhlt\nirq: mov ecx, 0x6e0\nrdmsr\nhlt"
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        run(b)
        assert (b.reg("rsi"), b.reg("rax")) == (300, 0)


# -- priorities ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raise_it", "lower_it"),
    [
        (Apic().write(TPR, 0x40), Apic().write(TPR, 0x30)),
        (Apic(x2=True).write(TPR, 0x40), Apic(x2=True).write(TPR, 0x30)),
        ("mov eax, 4\nmov cr8, rax", "mov eax, 3\nmov cr8, rax"),
    ],
    ids=["page", "MSR", "CR8"],
)
def test_the_task_priority_holds_an_interrupt_back_and_lets_it_go(
    raise_it: str, lower_it: str
) -> None:
    apic = Apic(x2="wrmsr" in raise_it)
    text = f"""
        {apic.enable()}
        {raise_it}
        sti
        {apic.self_ipi(0x4F)}
        nop
        nop
        mov esi, edi
        {lower_it}
        mov ebp, edi
        cli
        hlt
irq:    inc edi
        iretq
    """
    with apic.bench(text) as b:
        b.gate(0x4F, "irq")
        assert run(b) == HltExit()
        assert (b.reg("rsi"), b.reg("rbp")) == (0, 1)


def test_cr8_and_the_task_priority_register_are_one() -> None:
    text = f"""
        mov rax, 0xA
        mov cr8, rax
        mov esi, dword ptr [rbx + {TPR}]
        mov dword ptr [rbx + {TPR}], 0x5B
        mov r9, cr8
        hlt
    """
    with Apic().bench(text) as b:
        run(b)
        assert (b.reg("rsi"), b.reg("r9")) == (0xA0, 5)
        assert b.vcpu.get_sregs().cr8 == 5


def test_set_sregs_sets_the_task_priority() -> None:
    with Apic().bench(f"mov eax, dword ptr [rbx + {TPR}]\nhlt") as b:
        b.vcpu.set_sregs(b.vcpu.get_sregs()._replace(cr8=7))
        run(b)
        assert b.reg("rax") == 0x70


GP_GUEST = "{text}\nmov esi, 1\nhlt\nfault: mov esi, 13\nhlt"


@pytest.mark.parametrize("value", [16, 1 << 32, (1 << 64) - 1])
def test_reserved_bits_of_cr8_are_a_general_protection_fault(value: int) -> None:
    with Apic().bench(GP_GUEST.format(text="mov cr8, rax")) as b:
        b.gate(13, "fault")
        b.set(rax=value)
        run(b)
        assert (b.reg("rsi"), b.word(b.reg("rsp")), b.vcpu.get_sregs().cr8) == (13, 0, 0)


@faces
def test_a_higher_interrupt_interrupts_the_handler_of_a_lower_one(apic: Apic) -> None:
    text = f"""
        {apic.enable()}
        sti
        {apic.self_ipi(0x40)}
        nop
        cli
        hlt
low:    sti
        {apic.self_ipi(0x50)}
        nop
        mov si, di
        {apic.eoi()}
        {IRET[apic.mode]}
high:   inc edi
        {apic.eoi()}
        {IRET[apic.mode]}
    """
    with apic.bench(text) as b:
        b.gate(0x40, "low")
        b.gate(0x50, "high")
        assert run(b) == HltExit()
        assert b.reg("rsi") & 0xFFFF == 1


@faces
@pytest.mark.parametrize("ends", [False, True])
def test_the_same_vector_comes_again_only_after_its_eoi(apic: Apic, ends: bool) -> None:
    text = f"""
        {apic.enable()}
        sti
        {apic.self_ipi(0x40)}
        {apic.self_ipi(0x40)}
        nop
        cli
        hlt
irq:    inc edi
        {apic.eoi() if ends else "nop"}
        {IRET[apic.mode]}
    """
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        assert (run(b), b.reg("rdi")) == (HltExit(), 2 if ends else 1)


# -- interrupts from the ICR -----------------------------------------------------------------------


def test_the_self_ipi_msr_interrupts() -> None:
    text = f"{Apic(x2=True).enable()}\nsti\n{wrmsr(0x83F, 0x77)}\nhlt\nirq: hlt"
    with Apic(x2=True).bench(text) as b:
        b.gate(0x77, "irq")
        assert (run(b), b.reg("rip")) == (HltExit(), b["irq"] + 1)


@faces
def test_an_nmi_of_the_icr_needs_no_if_and_ends_hlt(apic: Apic) -> None:
    text = f"{apic.enable()}\n{apic.self_ipi(NMI)}\nhere: hlt\nnmi: hlt"
    with apic.bench(text) as b:
        b.gate(2, "nmi")
        assert (run(b), b.reg("rip")) == (HltExit(), b["nmi"] + 1)
        assert b.word(b.reg("rsp"), 2) == b["here"]


def test_an_nmi_of_the_icr_waits_until_the_handler_of_another_returns() -> None:
    apic = Apic()
    text = f"{apic.enable()}\n{apic.self_ipi(NMI)}\nhlt\nnmi: inc edi\ncmp edi, 2\nje done\n"
    text += f"{apic.self_ipi(NMI)}\nnop\nmov esi, edi\niretq\ndone: cli\nhlt"
    with apic.bench(text) as b:
        b.gate(2, "nmi")
        assert run(b) == HltExit()
        assert (b.reg("rsi"), b.reg("rdi")) == (1, 2)


# -- and the host ---------------------------------------------------------------------------------


def test_stepping_a_timer_guest_takes_its_interrupts_free() -> None:
    apic = Apic()
    text = f"{apic.enable()}\n{apic.timer(PERIODIC | 0x40, 100)}\nsti\nagain: cmp edi, 3\n"
    text += f"jb again\ncli\nend: hlt\nirq: inc edi\n{apic.eoi()}\niretq"
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        places = set()
        while b["end"] not in places:
            exit_ = b.run(E | S)
            assert isinstance(exit_, DebugExit)
            places.add(exit_.pc)
        assert b.reg("rdi") == 3
        assert not any(pc >= b["irq"] for pc in places)
