"""Exceptions and INT n reach the guest's own handlers on the embedded engine, in every mode."""

from __future__ import annotations

import pytest

from kvmdbg.exits import ExceptionExit, HltExit, ShutdownExit
from kvmdbg.machine.layout import gate
from tests.guests.bench import MODES, Bench

SP = {"real": "sp", "protected": "esp", "long": "rsp"}
BX = {"real": "bx", "protected": "ebx", "long": "rbx"}
IRET = {"real": "iret", "protected": "iretd", "long": "iretq"}


@pytest.mark.parametrize("mode", MODES)
def test_int_n_enters_the_handler_and_iret_comes_back(mode: str) -> None:
    text = f"int 0x40\nint 0x40\nhlt\nhandler: inc {BX[mode]}\n{IRET[mode]}"
    with Bench(text, mode) as b:
        b.gate(0x40, "handler")
        assert b.run() == HltExit()
        assert b.reg("rbx") == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_fault_pushes_the_faulting_instruction_and_rf(mode: str) -> None:
    with Bench("nop\nbad: ud2\nhlt\nhandler: hlt", mode) as b:
        b.gate(6, "handler")
        assert b.run() == HltExit()
        width = {"real": 2, "protected": 4, "long": 8}[mode]
        frame = b.reg("rsp")
        assert b.word(frame, width) == b["bad"]
        if mode != "real":
            assert b.word(frame + 2 * width, width) & 0x10000


@pytest.mark.parametrize("mode", MODES)
def test_the_same_fault_five_times_is_delivered_five_times(mode: str) -> None:
    skip = {"real": "word", "protected": "dword", "long": "qword"}[mode]
    frame = (
        "mov bp, sp\nadd word ptr [bp], 2" if mode == "real" else f"add {skip} ptr [{SP[mode]}], 2"
    )
    text = f"ud2\nud2\nud2\nud2\nud2\nhlt\nhandler: inc {BX[mode]}\n{frame}\n{IRET[mode]}"
    with Bench(text, mode) as b:
        b.gate(6, "handler")
        assert b.run() == HltExit()
        assert b.reg("rbx") == 5


def test_the_same_page_fault_five_times_is_five_page_faults_with_their_cr2() -> None:
    reads = "\n".join(f"mov rax, [rdi + {n * 4096}]" for n in range(5))
    text = f"""
        mov rdi, 0x123456789000
        {reads}
        hlt
    handler:
        inc rbx
        mov rcx, cr2
        add rdx, [rsp]
        add rsp, 8
        add qword ptr [rsp], 7
        cmp rbx, 1
        jne out
        sub qword ptr [rsp], 4
    out: iretq
    """
    with Bench(text) as b:
        b.gate(14, "handler")
        assert b.run() == HltExit()
        assert (b.reg("rbx"), b.reg("rcx")) == (5, 0x123456789000 + 4 * 4096)


def test_a_watched_vector_is_reported_five_times_before_delivery() -> None:
    text = "ud2\nud2\nud2\nud2\nud2\nhlt\nhandler: add qword ptr [rsp], 2\niretq"
    with Bench(text) as b:
        b.gate(6, "handler")
        b.vcpu.watch_vectors([6])
        seen = [b.run() for _ in range(6)]
        assert seen[:5] == [ExceptionExit(6, 0, 0x8000 + 2 * n, False) for n in range(5)]
        assert seen[5] == HltExit()


@pytest.mark.parametrize("mode", MODES)
def test_a_watched_int_stops_at_the_int_and_goes_on_when_run_again(mode: str) -> None:
    with Bench(f"nop\ncall_it: int 0x13\nhlt\nhandler: inc {BX[mode]}\n{IRET[mode]}", mode) as b:
        b.gate(0x13, "handler")
        b.vcpu.watch_vectors([0x13])
        assert b.run() == ExceptionExit(0x13, 0, b["call_it"], True)
        assert (b.reg("rip"), b.reg("rbx"), b.vcpu.clock) == (b["call_it"], 0, 1)
        assert b.run() == HltExit()
        assert b.reg("rbx") == 1


USER = """
        push 0x23
        push 0x6800
        push 0x202
        push 0x2b
        lea rax, [rip + user]
        push rax
        iretq
user:   mov rbx, 7
        int 0x80
        hlt
kernel: mov rdx, cs
        mov rcx, [rsp + 24]
        mov rsi, rsp
        hlt
gp:     mov rbx, [rsp]
        hlt
"""


def test_int_from_cpl3_switches_to_the_stack_of_the_tss() -> None:
    with Bench(USER) as b:
        b.gate(0x80, "kernel")
        assert b.run() == HltExit()
        assert b.vcpu.get_sregs().cpl == 0
        assert (b.reg("rdx") & 3, b.reg("rcx"), b.reg("rsi")) == (0, 0x6800, 0x7800 - 40)


def test_a_gate_that_cpl3_may_not_use_gives_gp_with_its_selector() -> None:
    with Bench(USER) as b:
        b.vcpu.write_memory(*gate("long", 0x80, b["kernel"], dpl=0))
        b.gate(13, "gp")
        assert b.run() == HltExit()
        assert b.reg("rbx") == 0x80 * 8 + 2


def test_an_ist_gate_takes_its_own_stack() -> None:
    with Bench("int3\nhlt\nhandler: mov rsi, rsp\nhlt") as b:
        b.gate(3, "handler", ist=1)
        assert b.run() == HltExit()
        assert b.reg("rsi") == 0x8000 - 40


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_an_exception_without_any_handler_is_a_triple_fault(mode: str) -> None:
    with Bench("nop\nud2", mode) as b:
        assert b.run() == ShutdownExit()


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_a_fault_without_gate_becomes_a_double_fault(mode: str) -> None:
    with Bench("ud2\nhlt\nhandler: mov ebx, 8\nhlt", mode) as b:
        b.gate(8, "handler")
        assert b.run() == HltExit()
        assert b.reg("rbx") == 8


def test_real_mode_divide_error_goes_through_the_ivt() -> None:
    with Bench("xor bx, bx\ndiv bx\nhlt\nhandler: mov bx, 5\nhlt", "real") as b:
        b.gate(0, "handler")
        assert b.run() == HltExit()
        assert b.reg("rbx") == 5


SYSCALL = """
        mov ecx, 0xc0000081
        xor eax, eax
        mov edx, 0x00180008
        wrmsr
        mov ecx, 0xc0000082
        lea rax, [rip + entry]
        xor edx, edx
        wrmsr
        mov ecx, 0xc0000084
        mov eax, 0x200
        wrmsr
        lea rcx, [rip + user]
        mov r11, 0x202
        sysretq
user:   mov rbx, cs
        syscall
after:  mov rdi, cs
        syscall
entry:  inc rbp
        mov rsi, cs
        mov r8, ss
        pushf
        pop r9
        cmp rbp, 2
        je done
        sysretq
done:   hlt
"""


def test_syscall_and_sysret_change_ring_and_back() -> None:
    with Bench(SYSCALL) as b:
        assert b.run() == HltExit()
        assert b.reg("rbp") == 2
        assert (b.reg("rbx"), b.reg("rdi")) == (0x2B, 0x2B)
        assert (b.reg("rsi"), b.reg("r8")) == (0x08, 0x10)
        assert b.reg("rcx") == b["entry"]
        assert not b.reg("r9") & 0x200
        assert b.reg("r11") & 0x200


def test_syscall_without_sce_is_ud() -> None:
    with Bench("syscall\nhlt\nhandler: mov ebx, 6\nhlt") as b:
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(efer=sregs.efer & ~1))
        b.gate(6, "handler")
        assert b.run() == HltExit()
        assert b.reg("rbx") == 6


@pytest.mark.parametrize("mode", MODES)
def test_an_external_interrupt_waits_for_if_and_then_arrives(mode: str) -> None:
    with Bench(f"nop\nnop\nsti\nnop\nnop\nhlt\nhandler: inc {BX[mode]}\n{IRET[mode]}", mode) as b:
        b.gate(0x20, "handler")
        b.vcpu.interrupt(0x20)
        assert b.run() == HltExit()
        assert b.reg("rbx") == 1


def test_an_nmi_arrives_without_if() -> None:
    with Bench("nop\nhlt\nhandler: inc rbx\niretq") as b:
        b.gate(2, "handler")
        b.vcpu.nmi()
        assert b.run() == HltExit()
        assert b.reg("rbx") == 1


@pytest.mark.parametrize("instruction", ["rdrand", "rdseed"])
def test_random_numbers_are_the_same_in_every_run(instruction: str) -> None:
    text = f"{instruction} rax\nsetc bl\n{instruction} ecx\n{instruction} dx\nhlt"
    seen = set()
    for _ in range(2):
        with Bench(text) as b:
            b.set(rdx=0x11110000)
            assert b.run() == HltExit()
            seen.add(b.vcpu.get_regs())
    (regs,) = seen
    assert regs.rbx == 1
    assert (regs.rcx >> 32, regs.rdx >> 16) == (0, 0x1111)
    assert len({regs.rax, regs.rcx, regs.rdx & 0xFFFF}) == 3
