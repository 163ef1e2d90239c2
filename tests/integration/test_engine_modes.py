"""A guest that goes from real through protected to long mode never loses its debugger."""

from __future__ import annotations

from kvmdbg.exits import DebugExit, HltExit
from kvmdbg.x86.registers import CpuMode
from tests.guests.bench import B, Bench, E, H, S

SWITCH = """
        .code16
real:   cli
        lgdt [gdtr]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        ljmp 0x08, prot
        .code32
prot:   mov ax, 0x10
        mov ds, ax
        mov ss, ax
        mov esp, 0x7000
        mov eax, cr4
        or eax, 0x20
        mov cr4, eax
        mov dword ptr [0x20000], 0x21003
        mov dword ptr [0x21000], 0x22003
        mov dword ptr [0x22000], 0x83
        mov eax, 0x20000
        mov cr3, eax
        mov ecx, 0xc0000080
        rdmsr
        or eax, 0x100
        wrmsr
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        ljmp 0x18, long
        .code64
long:   mov rax, 0x1122334455667788
        push rax
        pop rbx
last:   nop
        hlt
        .balign 8
gdt:    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
gdtr:   .word 31
        .long gdt
"""


def test_it_ends_in_long_mode_with_paging() -> None:
    with Bench(SWITCH, "real") as b:
        assert b.run() == HltExit()
        assert b.vcpu.get_sregs().mode is CpuMode.LONG
        assert b.reg("rbx") == 0x1122334455667788


def test_every_instruction_of_it_can_be_single_stepped() -> None:
    with Bench(SWITCH, "real") as b:
        modes = []
        places = []
        for _ in range(60):
            exit_ = b.run(E | S)
            if exit_ == HltExit():
                break
            assert isinstance(exit_, DebugExit)
            assert exit_.exception == 1
            places.append(exit_.pc)
            modes.append(b.vcpu.get_sregs().mode)
        assert exit_ == HltExit()
        assert {b["prot"], b["long"], b["last"]} <= set(places)
        assert set(modes) >= {CpuMode.REAL, CpuMode.PROTECTED_32, CpuMode.LONG}
        assert len(places) >= 28


def test_breakpoints_armed_in_real_mode_hit_in_protected_and_long_mode() -> None:
    with Bench(SWITCH, "real") as b:
        dr7 = 0x400 | 2 | 8
        arm = {"dr0": b["prot"], "dr1": b["last"]}
        b.sgd(E | H, dr7=dr7, **arm)
        assert b.vcpu.run() == DebugExit(1, b["prot"], B(0), dr7)
        b.set(rflags=b.reg("rflags") | 0x10000)
        assert b.vcpu.run() == DebugExit(1, b["last"], B(1), dr7)


def test_stepping_and_running_count_the_same_instructions() -> None:
    with Bench(SWITCH, "real") as one, Bench(SWITCH, "real") as many:
        one.run()
        while many.run(E | S) != HltExit():
            pass
        assert one.vcpu.clock == many.vcpu.clock
        assert one.vcpu.get_regs()._replace(rflags=0) == many.vcpu.get_regs()._replace(rflags=0)
