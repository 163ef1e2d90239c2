"""Rows 178-190: exceptions and interrupts while the host steps.

As on VMX a handler that the stepped instruction enters runs free; its IRET brings single-stepping
back, and the stop comes after the instruction that it returns to.
"""

from __future__ import annotations

import pytest

from kvmdbg import guestdebug as gd
from kvmdbg.exits import DebugExit, HltExit, IntrExit, ShutdownExit
from kvmdbg.guestdebug import DebugState
from kvmdbg.machine.layout import PD
from kvmdbg.x86.registers import CR0, CR4, RFLAGS, DescriptorTable, VcpuEvents
from tests.conformance.rows import row
from tests.guests.apic import FACES, IRET, NMI, Apic, name_of, run_to
from tests.guests.bench import BS, MODES, NONE, B, Bench, E, H, K, S

WIDTH = {"real": 2, "protected": 4, "long": 8}
TOP = {"real": "mov bp, sp\n{} word ptr [bp{}], {}", "protected": "{} dword ptr [esp{}], {}"}
TOP["long"] = "{} qword ptr [rsp{}], {}"
TF, IF, RF = int(RFLAGS.TF), int(RFLAGS.IF), int(RFLAGS.RF)


def stop(pc: int) -> DebugExit:
    return DebugExit(1, pc, BS, 0x400)


def on_stack(mode: str, operation: str, word: int, value: int) -> str:
    """An instruction that changes the stack's ``word``-th word in a handler."""
    return TOP[mode].format(operation, f" + {word * WIDTH[mode]}" if word else "", value)


def image(b: Bench, word: int) -> int:
    """The stack's ``word``-th word."""
    width = WIDTH[b.mode]
    return b.word(b.reg("rsp") + word * width, width)


# -- faults ----------------------------------------------------------------------------------------


def ud2_guest(mode: str, more: str = "") -> Bench:
    """A guest whose handler of #UD steps over the UD2; ``more`` runs in that handler first."""
    skip = on_stack(mode, "add", 0, 2)
    b = Bench(
        f"""
        bad:     ud2
        next:    nop
        after:   nop
                 hlt
        handler: inc ecx
                 {more}
                 {skip}
                 {IRET[mode]}
        inner:   inc edx
                 {IRET[mode]}
        """,
        mode,
    )
    b.gate(6, "handler")
    b.gate(0x21, "inner")
    return b


@row(178)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_over_ud2_runs_its_handler_to_the_iret_and_one_instruction_more(mode: str) -> None:
    with ud2_guest(mode) as b:
        assert (b.run(E | S), b.reg("rcx")) == (stop(b["after"]), 1)


@row(178)
@pytest.mark.parametrize("mode", MODES)
def test_an_interrupt_inside_the_handler_of_a_stepped_fault_runs_free_as_well(mode: str) -> None:
    with ud2_guest(mode, "int 0x21\nint 0x21") as b:
        assert (b.run(E | S), b.reg("rcx"), b.reg("rdx")) == (stop(b["after"]), 1, 2)


@row(178)
@pytest.mark.parametrize("mode", MODES)
def test_without_its_iret_the_handler_of_a_stepped_fault_is_never_stopped(mode: str) -> None:
    with Bench("bad: ud2\nnop\nhandler: nop\nnop\nend: hlt", mode) as b:
        b.gate(6, "handler")
        assert (b.run(E | S), b.reg("rip")) == (HltExit(), b["end"] + 1)


@row(178)
@pytest.mark.parametrize("mode", MODES)
def test_the_frame_of_a_stepped_fault_holds_no_tf(mode: str) -> None:
    with Bench("bad: ud2\nhandler: hlt", mode) as b:
        b.gate(6, "handler")
        b.run(E | S)
        assert image(b, 0) == b["bad"]
        assert image(b, 2) == 2 | (0 if mode == "real" else RF)


@row(178)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_over_a_fault_leaves_the_guests_dr6_alone(mode: str) -> None:
    with ud2_guest(mode) as b:
        b.run(E | S)
        assert b.vcpu.get_debugregs().dr6 == NONE


@row(178)
@pytest.mark.parametrize("mode", MODES)
def test_after_a_step_over_a_fault_stepping_goes_on(mode: str) -> None:
    with ud2_guest(mode) as b:
        b.run(E | S)
        assert b.run(E | S) == stop(b["after"] + 1)


PAGE = {"protected": 0x400000, "long": 0x200000}
"""A linear page that is not present; mapped, it shows physical address 0."""

MAP = {"protected": f"mov dword ptr [{PD + 4}], 0xe7", "long": f"mov qword ptr [{PD + 8}], 0xe7"}


def page_guest(mode: str, action: str) -> Bench:
    """A guest that reads from ``PAGE``; ``action`` is what its handler of #PF does about it."""
    pop = {"protected": "add esp, 4", "long": "add rsp, 8"}[mode]
    base = {"protected": "ebx", "long": "rbx"}[mode]
    b = Bench(
        f"""
        load:    mov eax, [{base}]
        next:    nop
        after:   nop
                 hlt
        handler: inc ecx
                 {pop}
                 {action}
                 {IRET[mode]}
        """,
        mode,
    )
    b.gate(14, "handler")
    b.set(rbx=PAGE[mode] + 0x9000)
    b.vcpu.write_memory(0x9000, b"\1\2\3\4")
    if mode == "long":
        b.vcpu.write_memory(PD + 8, bytes(8))
    else:
        b.vcpu.write_memory(PD, (0xE7).to_bytes(4, "little") + bytes(4))
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(cr0=sregs.cr0 | CR0.PG, cr3=PD, cr4=sregs.cr4 | CR4.PSE))
    return b


@row(179)
@pytest.mark.parametrize("mode", ["protected", "long"])
def test_a_step_over_a_page_fault_runs_its_handler_to_the_iret_and_one_more(mode: str) -> None:
    with page_guest(mode, on_stack(mode, "add", 0, 2)) as b:
        assert (b.run(E | S), b.reg("rcx")) == (stop(b["after"]), 1)
        assert b.vcpu.get_sregs().cr2 == PAGE[mode] + 0x9000


@row(181)
@pytest.mark.parametrize("mode", ["protected", "long"])
def test_a_step_over_a_load_whose_page_the_handler_maps_stops_after_the_load(mode: str) -> None:
    with page_guest(mode, MAP[mode]) as b:
        assert (b.run(E | S), b.reg("rcx")) == (stop(b["next"]), 1)
        assert b.reg("rax") == 0x04030201


@row(180)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_over_int_n_runs_its_handler_to_the_iret_and_one_instruction_more(mode: str) -> None:
    text = f"int 0x20\nnext: nop\nafter: nop\nhlt\nhandler: inc ecx\n{IRET[mode]}"
    with Bench(text, mode) as b:
        b.gate(0x20, "handler")
        assert (b.run(E | S), b.reg("rcx")) == (stop(b["after"]), 1)


@row(180)
@pytest.mark.parametrize("mode", MODES)
def test_the_frame_of_a_stepped_int_n_holds_no_tf(mode: str) -> None:
    with Bench("int 0x20\nnext: nop\nhandler: hlt", mode) as b:
        b.gate(0x20, "handler")
        assert b.run(E | S) == HltExit()
        assert (image(b, 0), image(b, 2)) == (b["next"], 2)


# -- interrupts ------------------------------------------------------------------------------------


def waiting(apic: Apic) -> Bench:
    """A guest with IF=1 and an IRQ in the LAPIC that it has not taken; it counts them in RDI."""
    text = f"""
               {apic.enable()}
               {apic.self_ipi(0x40)}
        start: nop
        next:  nop
               cli
        asleep: hlt
        irq:   inc edi
               {apic.eoi()}
               {IRET[apic.mode]}
    """
    b = apic.bench(text)
    b.gate(0x40, "irq")
    run_to(b, "start")
    b.set(rflags=2 | IF)
    return b


faces = pytest.mark.parametrize("apic", FACES, ids=name_of)


@row(182)
@faces
def test_a_step_with_an_irq_pending_in_the_lapic_runs_its_handler_free(apic: Apic) -> None:
    with waiting(apic) as b:
        assert (b.run(E | S), b.reg("rdi")) == (stop(b["next"]), 1)


@row(183)
@faces
def test_blockirq_keeps_an_irq_in_the_lapic_over_a_step(apic: Apic) -> None:
    with waiting(apic) as b:
        assert (b.run(E | S | K), b.reg("rdi")) == (stop(b["next"]), 0)
        assert (b.run(0), b.reg("rdi")) == (HltExit(), 1)


@row(184)
@faces
def test_blockirq_keeps_an_irq_in_the_lapic_without_singlestep_too(apic: Apic) -> None:
    with waiting(apic) as b:
        assert (b.run(E | K), b.reg("rdi"), b.reg("rip")) == (HltExit(), 0, b["asleep"] + 1)


@row(184)
@faces
def test_an_irq_that_blockirq_kept_is_delivered_when_it_is_dropped(apic: Apic) -> None:
    with waiting(apic) as b:
        b.sgd(E | K)
        assert b.vcpu.run(max_instructions=1) == IntrExit("budget")
        assert (b.reg("rdi"), b.reg("rip")) == (0, b["next"])
        assert (b.run(0), b.reg("rdi")) == (HltExit(), 1)


@row(184)
def test_an_irq_that_blockirq_keeps_ends_hlt_all_the_same() -> None:
    """``kvm_vcpu_has_events`` does not ask for BLOCKIRQ: the processor goes on, without the IRQ."""
    apic = Apic()
    text = f"{apic.enable()}\n{apic.self_ipi(0x40)}\nstart: hlt\nnext: cli\nend: hlt"
    with apic.bench(text) as b:
        run_to(b, "start")
        b.set(rflags=2 | IF)
        assert (b.run(E | K), b.reg("rip")) == (HltExit(), b["end"] + 1)


@row(185)
@faces
@pytest.mark.parametrize("control", [0, K])
def test_blockirq_without_enable_lets_an_irq_of_the_lapic_through(apic: Apic, control: int) -> None:
    with waiting(apic) as b:
        assert (b.run(control), b.reg("rdi")) == (HltExit(), 1)


@row(183)
@row(184)
@pytest.mark.parametrize("control", [E | S | K, E | K])
def test_the_state_blocks_interrupts_from_blockirq_until_it_is_dropped(control: int) -> None:
    state = gd.set_guest_debug(DebugState(), control, (0,) * 8, 0)
    assert gd.blocks_interrupts(state)
    assert not gd.blocks_interrupts(gd.set_guest_debug(state, 0, (0,) * 8, 0))


@row(185)
@pytest.mark.parametrize("control", [K, S | K, H | K])
def test_the_state_blocks_no_interrupts_without_enable(control: int) -> None:
    assert not gd.blocks_interrupts(gd.set_guest_debug(DebugState(), control, (0,) * 8, 0))


def interrupted(mode: str) -> Bench:
    """A guest that counts its NMIs in RCX and its interrupts 0x10 in RDX."""
    text = f"""
        start: nop
        next:  nop
               hlt
        end:   hlt
        nmi:   inc ecx
               {IRET[mode]}
        irq:   inc edx
               {IRET[mode]}
    """
    b = Bench(text, mode)
    b.gate(2, "nmi")
    b.gate(0x10, "irq")
    b.set(rflags=2 | IF)
    return b


@row(185)
@pytest.mark.parametrize("mode", MODES)
def test_blockirq_without_enable_lets_an_nmi_through(mode: str) -> None:
    with interrupted(mode) as b:
        b.vcpu.nmi()
        assert (b.run(K), b.reg("rcx")) == (HltExit(), 1)


@row(186)
@pytest.mark.parametrize("mode", MODES)
def test_kvm_interrupt_is_delivered_in_a_step_despite_blockirq(mode: str) -> None:
    with interrupted(mode) as b:
        b.vcpu.interrupt(0x10)
        assert (b.run(E | S | K), b.reg("rdx")) == (stop(b["next"]), 1)


@row(186)
@pytest.mark.parametrize("mode", MODES)
def test_kvm_interrupt_is_delivered_in_a_run_despite_blockirq(mode: str) -> None:
    with interrupted(mode) as b:
        b.vcpu.interrupt(0x10)
        assert (b.run(E | K), b.reg("rdx")) == (HltExit(), 1)


@row(186)
@pytest.mark.parametrize("mode", MODES)
def test_the_frame_of_an_interrupt_in_a_step_holds_no_tf(mode: str) -> None:
    with Bench("start: nop\nhandler: hlt", mode) as b:
        b.gate(0x10, "handler")
        b.set(rflags=2 | IF)
        b.vcpu.interrupt(0x10)
        assert b.run(E | S | K) == HltExit()
        assert (image(b, 0), image(b, 2)) == (b["start"], 2 | IF)


@row(187)
@pytest.mark.parametrize("mode", MODES)
def test_blockirq_holds_an_nmi_back_until_it_is_dropped(mode: str) -> None:
    with interrupted(mode) as b:
        b.vcpu.nmi()
        assert (b.run(E | K), b.reg("rcx"), b.reg("rip")) == (HltExit(), 0, b["end"])
        assert b.vcpu.get_vcpu_events().nmi_pending == 1
        assert (b.run(0), b.reg("rcx"), b.reg("rip")) == (HltExit(), 1, b["end"] + 1)


@row(187)
@pytest.mark.parametrize("mode", MODES)
def test_blockirq_holds_an_nmi_back_over_a_step(mode: str) -> None:
    with interrupted(mode) as b:
        b.vcpu.nmi()
        assert (b.run(E | S | K), b.reg("rcx")) == (stop(b["next"]), 0)


@row(187)
def test_blockirq_holds_an_nmi_of_the_lapic_back_until_it_is_dropped() -> None:
    apic = Apic()
    text = f"{apic.enable()}\n{apic.self_ipi(NMI)}\nagain: jmp again\nnmi: inc edi\niretq"
    with apic.bench(text) as b:
        b.gate(2, "nmi")
        b.sgd(E | K)
        assert (b.vcpu.run(max_instructions=50), b.reg("rdi")) == (IntrExit("budget"), 0)
        assert b.vcpu.get_vcpu_events().nmi_pending == 1
        b.sgd(0)
        assert (b.vcpu.run(max_instructions=50), b.reg("rdi")) == (IntrExit("budget"), 1)


@row(187)
def test_blockirq_holds_back_no_nmi_that_is_injected_again() -> None:
    with interrupted("long") as b:
        b.vcpu.set_vcpu_events(VcpuEvents(nmi_injected=1))
        assert (b.run(E | K), b.reg("rcx")) == (HltExit(), 1)


# -- ends ------------------------------------------------------------------------------------------


@row(188)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_ud2_without_an_idt_is_a_shutdown(mode: str) -> None:
    with Bench("bad: ud2", mode) as b:
        b.vcpu.set_sregs(b.vcpu.get_sregs()._replace(idt=DescriptorTable(0, 0)))
        assert (b.run(E | S), b.reg("rip")) == (ShutdownExit(), b["bad"])


SYSCALL = """
        mov ecx, 0xc0000081
        xor eax, eax
        mov edx, 0x00180008
        wrmsr
        mov ecx, 0xc0000082
        lea rax, [rip + target]
        xor edx, edx
        wrmsr
        mov ecx, 0xc0000084
        mov eax, {mask}
        wrmsr
        lea rcx, [rip + user]
        mov r11, 0x2
        sysretq
user:   syscall
after:  nop
        int 0x80
target: mov rbx, r11
second: {rest}
end:    hlt
"""


def syscall_guest(mask: int, rest: str = "nop") -> Bench:
    """A guest that stands in front of a SYSCALL at CPL 3."""
    b = Bench(SYSCALL.format(mask=mask, rest=rest))
    b.gate(0x80, "end")
    b.sgd(E | H, dr7=0x402, dr0=b["user"])
    assert b.vcpu.run() == DebugExit(1, b["user"], B(0), 0x402)
    return b


@row(189)
def test_a_step_over_a_syscall_that_keeps_tf_stops_at_its_target() -> None:
    with syscall_guest(mask=IF) as b:
        assert b.run(E | S) == stop(b["target"])
        assert b.run(E | S) == stop(b["second"])


@row(189)
@pytest.mark.parametrize("mask", [TF, TF | IF])
def test_a_step_over_a_syscall_that_masks_tf_does_not_stop_at_its_target(mask: int) -> None:
    with syscall_guest(mask) as b:
        assert (b.run(E | S), b.reg("rip")) == (HltExit(), b["end"] + 1)


@row(189)
@pytest.mark.parametrize("mask", [IF, TF])
def test_a_stepped_syscall_shows_no_tf_in_r11(mask: int) -> None:
    with syscall_guest(mask) as b:
        b.run(E | S)
        assert b.reg("r11") == 2


@row(189)
def test_a_step_over_a_syscall_that_masks_tf_stops_when_its_sysret_is_done() -> None:
    """The host's counterpart of TF in R11: SYSRET traps at once, unlike IRET."""
    with syscall_guest(TF, "sysretq") as b:
        assert (b.run(E | S), b.reg("rbx")) == (stop(b["after"]), 2)


@row(189)
def test_a_step_over_a_sysret_that_loads_no_tf_stops_at_its_target() -> None:
    """R11 holds no TF where the host's is hidden; the step must not be lost by that."""
    with syscall_guest(IF, "sysretq") as b:
        stops = [b.run(E | S) for _ in range(3)]
        assert stops == [stop(b["target"]), stop(b["second"]), stop(b["after"])]


@row(190)
@pytest.mark.parametrize("mode", MODES)
def test_an_iret_that_sets_tf_traps_after_the_instruction_it_returns_to(mode: str) -> None:
    set_tf = on_stack(mode, "or", 2, TF)
    text = f"int 0x20\nnext: nop\nafter: nop\nhlt\nhandler: {set_tf}\n{IRET[mode]}\ndebug: hlt"
    with Bench(text, mode) as b:
        b.gate(0x20, "handler")
        b.gate(1, "debug")
        assert (b.run(), b.reg("rip")) == (HltExit(), b["debug"] + 1)
        assert (image(b, 0), image(b, 2)) == (b["after"], 2 | TF)
        assert b.vcpu.get_debugregs().dr6 == BS


@row(190)
def test_a_step_over_an_iret_that_sets_tf_is_an_ordinary_step() -> None:
    set_tf = on_stack("long", "or", 2, TF)
    with Bench(f"int 0x20\nnext: nop\nafter: nop\nhlt\nhandler: {set_tf}\niret: iretq") as b:
        b.gate(0x20, "handler")
        b.sgd(E | H, dr7=0x402, dr0=b["iret"])
        b.vcpu.run()
        assert b.run(E | S) == stop(b["next"])
        assert b.run(E | S) == stop(b["after"])
