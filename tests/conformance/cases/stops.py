"""The words of the cases about single-step and the host's breakpoints: rows 1-62."""

from __future__ import annotations

from .case import Case

SINGLE_STEP: dict[int, Case] = {
    1: Case(
        "`nop; mov ax,1; nop` in 64-bit mode, three runs under ENABLE|SINGLESTEP",
        "DEBUG 1 at 0x8001, 0x8005, 0x8006, each with dr6 0xFFFF4FF0 and dr7 0x400",
        "`handle_exception_nmi`; SDM 17.3.1.4",
    ),
    2: Case(
        "the same program in flat 32-bit code",
        "DEBUG 1 at 0x8001, 0x8005, 0x8006, dr6 0xFFFF4FF0",
        "as row 1",
    ),
    3: Case(
        "the same program in real mode, where the MOV has no prefix and is 3 bytes long",
        "DEBUG 1 at 0x8001, 0x8004, 0x8005, dr6 0xFFFF4FF0",
        "as row 1",
    ),
    4: Case(
        "real mode, CS base 0x8000, IP 0, a NOP under ENABLE|SINGLESTEP",
        "DEBUG 1 at 0x8001 (linear) while KVM_GET_REGS says RIP 1 (the offset); the same after a "
        "step off an execution breakpoint",
        "`kvm_get_linear_rip`",
    ),
    5: Case(
        "SGD(ENABLE|SINGLESTEP) once, then three runs over NOPs",
        "DEBUG 1 at 0x8001, 0x8002, 0x8003: nothing switches stepping off by itself",
        "`kvm_arch_vcpu_ioctl_set_guest_debug`",
    ),
    6: Case(
        "one step, then SGD(0) and a run up to a HLT",
        "HLT exit: TF is out of the machine",
        "`kvm_arch_vcpu_ioctl_set_guest_debug`, its write-back of RFLAGS",
    ),
    7: Case(
        "`nop; hlt` under SINGLESTEP without ENABLE",
        "the call succeeds, no DEBUG exit, HLT exit; the stored control word is 0",
        "as row 6",
    ),
    8: Case(
        "a JMP under ENABLE|SINGLESTEP",
        "DEBUG 1 at the target of the jump, dr6 0xFFFF4FF0",
        "SDM 17.3.1.4",
    ),
    9: Case(
        "CALL to a function that returns at once, two steps",
        "DEBUG 1 at the function, then at the instruction behind the CALL",
        "SDM 17.3.1.4",
    ),
    10: Case(
        "`mov ecx,3`, then LOOP to itself, four steps",
        "DEBUG 1 at the LOOP three times, then behind it",
        "SDM 17.3.1.4",
    ),
    11: Case(
        "`cpuid; mov ecx,0xC0000080; rdmsr; nop`, four steps",
        "DEBUG 1 at 0x8002, 0x8007, 0x8009, 0x800A: instructions that KVM carries out itself are "
        "steps like others",
        "`kvm_skip_emulated_instruction`; kvm-unit-tests `singlestep_emulated_instructions`",
    ),
    12: Case(
        "`sti; xor eax,eax; cpuid; mov ecx,0x6E0; wrmsr; cli`, a self-IPI pending in the LAPIC, "
        "SGD(ENABLE|SINGLESTEP|BLOCKIRQ) before each of six runs",
        "DEBUG 1 behind each of the six instructions (+1, +3, +5, +10, +12, +13), dr6 "
        "0xFFFF4FF0, dr7 0x400; the interrupt is never taken",
        "kernel selftest `debug_regs.c`, its single-step act",
    ),
    13: Case(
        "`mov eax,[mmio]; nop; nop; hlt`, SGD(ENABLE|SINGLESTEP) once, then runs only",
        "MMIO exit, DEBUG 1 at the next instruction, then HLT: writing RFLAGS back at another "
        "RIP dropped TF (inferred); SGD before that last run makes it a step",
        "`__kvm_set_rflags`",
    ),
    14: Case(
        "CPUID, and RDMSR, WRMSR, RDTSC, MOV from CR0, MOV from DR7, INVLPG, WBINVD each, "
        "SGD(ENABLE|SINGLESTEP) once",
        "DEBUG 1 behind it, and the following runs go on stepping: skipping an instruction "
        "leaves TF set",
        "`kvm_skip_emulated_instruction`",
    ),
    15: Case(
        "SGD(ENABLE|SINGLESTEP), then KVM_SET_REGS with another RIP, then a run",
        "no stop: the guest runs to its HLT, for TF is armed only where SGD was called (inferred)",
        "`__kvm_set_rflags`",
    ),
    16: Case(
        "SGD(ENABLE|SINGLESTEP), then KVM_SET_REGS with the same RIP and TF clear, then a run",
        "DEBUG 1 at the next instruction: TF is armed again; also when RIP was moved away and back",
        "`__kvm_set_rflags`",
    ),
    17: Case(
        "KVM_SET_REGS with RIP 0x8002 first, then SGD(ENABLE|SINGLESTEP), then a run",
        "DEBUG 1 at 0x8003: the order that always works",
        "`kvm_arch_vcpu_ioctl_set_guest_debug`",
    ),
    18: Case(
        "HLT under ENABLE|SINGLESTEP, interrupt controller in user space",
        "HLT exit with RIP behind the HLT and no DEBUG exit; the next step stops one instruction "
        "later",
        "`kvm_emulate_halt`",
    ),
    19: Case(
        "HLT under ENABLE|SINGLESTEP, LAPIC in the kernel",
        "DEBUG 1 behind the HLT, the vCPU halted (mp_state HALTED)",
        "`kvm_emulate_halt`",
    ),
    20: Case(
        "`push 2; popf; nop`, three steps",
        "DEBUG 1 after each, also after the POPF that loads TF = 0; without a new SGD the run "
        "behind that POPF is free",
        "SDM 17.3.1.4: TF counts as it is when an instruction begins",
    ),
    21: Case(
        "`pushf; pop rax`, two steps",
        "the pushed image is 2: the host's TF does not show (VMX and SVM would push 0x102, "
        "inferred)",
        "2008 description of the interface; profile field `pushf_hides_tf`",
    ),
    22: Case(
        "KVM_GET_REGS after a step",
        "RFLAGS 2, TF filtered out",
        "`kvm_get_rflags`",
    ),
    23: Case(
        "KVM_GET_DEBUGREGS after a step",
        "DR6 0xFFFF0FF0, DR7 0x400, addresses 0: the guest's registers were not touched",
        "`handle_exception_nmi`",
    ),
    24: Case(
        "the guest's DR7 is 0x455, a NOP under ENABLE|SINGLESTEP",
        "DEBUG 1, dr6 0xFFFF4FF0, dr7 0x455: the effective DR7",
        "`handle_exception_nmi`",
    ),
    25: Case(
        "SGD(ENABLE|SINGLESTEP), a run with immediate_exit set, then one without",
        "KVM_RUN fails with EINTR at RIP 0x8000 (here an INTR exit), then DEBUG 1 at 0x8001",
        "`kvm_arch_vcpu_ioctl_run`",
    ),
}

SOFTWARE_BREAKPOINTS: dict[int, Case] = {
    26: Case(
        "INT3 (opcode CC) under ENABLE|USE_SW_BP, at CPL 0 and CPL 3",
        "DEBUG 3 at the CC byte and RIP there too, not behind it; pc is linear, RIP the offset",
        "`handle_exception_nmi`; kernel selftest, its first act",
    ),
    27: Case(
        "the same, run again and again",
        "the same exit each time: RIP does not move",
        "`handle_exception_nmi`",
    ),
    28: Case(
        "after that exit KVM_SET_REGS with RIP + 1, then a run",
        "the guest goes on behind the INT3",
        "kernel selftest, `vcpu_skip_insn`",
    ),
    29: Case(
        "INT3 without any guest debugging",
        "the guest's vector 3 is entered, saved RIP behind the CC, flags image 2 in real mode; "
        "the same from CPL 3",
        "SDM 17.3.2 (#BP is a trap)",
    ),
    30: Case(
        "INT3 under ENABLE alone",
        "the guest's vector 3: only USE_SW_BP takes #BP",
        "exception bitmap, `vmx_update_exception_bitmap`",
    ),
    31: Case(
        "INT3 under ENABLE|USE_HW_BP, or with SINGLESTEP as well",
        "the guest's vector 3 (VMX's vm86 real mode would exit to the host, a quirk of its "
        "fall-through)",
        "`rmode_exception`",
    ),
    32: Case(
        "`INT 3` in two bytes (CD 03) under ENABLE|USE_SW_BP",
        "the guest's vector 3, saved RIP two bytes on, never a DEBUG exit; from CPL 3 through a "
        "gate of DPL 0 it is #GP(0x1A)",
        "SDM vol. 3, exceptions that cause VM exits: INT n is a software interrupt",
    ),
    33: Case(
        "prefixes before the CC, under ENABLE|USE_SW_BP",
        "DEBUG 3 at the first prefix; taken by the guest, or given back to it, the saved RIP is "
        "behind the CC",
        "`event_exit_inst_len`",
    ),
    34: Case(
        "a #BP exit that follows a #DB exit",
        "exception 3 and the new pc; dr6 and dr7 of the exit mean nothing",
        "`handle_exception_nmi`: the #BP case writes neither",
    ),
    35: Case(
        "CC planted over `mov eax,5`: hit, byte restored, one step, CC planted again",
        "DEBUG 3 at it, DEBUG 1 behind it with EAX = 5, and the next time round DEBUG 3 again",
        "QEMU `kvm_handle_debug`",
    ),
    36: Case(
        "the guest's own INT3 while the host has USE_SW_BP; its pc is not in the host's table; "
        "SGD(ENABLE|USE_SW_BP|INJECT_BP), run",
        "the guest's vector 3, saved RIP behind the CC; also at CPL 3",
        "QEMU `kvm_handle_debug`; `vmx_inject_exception`",
    ),
    37: Case(
        "the guest has overwritten the byte where the host planted a CC, and the host removes "
        "its breakpoint",
        "memory stays as the guest wrote it; a byte that still is CC gets its old value back",
        "QEMU `kvm_arch_remove_sw_breakpoint`",
    ),
    38: Case(
        "a NOP and then INT3, two runs under ENABLE|SINGLESTEP|USE_SW_BP",
        "DEBUG 1 at the INT3 with dr6 0xFFFF4FF0, then DEBUG 3 at the same pc",
        "SDM 6.9 (trap of the last instruction first)",
    ),
    39: Case(
        "INT3 at CPL 3, gate 3 of DPL 0",
        "with USE_SW_BP DEBUG 3: the host comes before the gate (inferred); without it, or given "
        "back by INJECT_BP, #GP(0x1A) at the INT3",
        "SDM vol. 3, VM exits by exceptions",
    ),
    40: Case(
        "the guest's INT3 under ENABLE|SINGLESTEP without USE_SW_BP, its handler `nop; iret`",
        "the handler runs free; DEBUG 1 behind the first instruction after the INT3 (inferred); "
        "the frame shows no TF; a handler that leaves without IRET leaves the step behind",
        "SDM 17.3.1.4; SDM 6.12.1 (delivery clears TF)",
    ),
}

EXECUTION_BREAKPOINTS: dict[int, Case] = {
    41: Case(
        "DR0, DR1, DR2 or DR3 at an instruction, global enable, under ENABLE|USE_HW_BP (four "
        "cases)",
        "DEBUG 1 at it, not executed, dr6 0xFFFF0FF1, 0xFFFF0FF2, 0xFFFF0FF4, 0xFFFF0FF8, dr7 as "
        "given; all four in turn without RIP moving",
        "kernel selftest, its second act; SDM 17.2.4",
    ),
    42: Case(
        "the same with the local enable only, dr7 0x401",
        "DEBUG 1 at it, dr6 0xFFFF0FF1: L0 or G0 is enough",
        "SDM 17.2.4",
    ),
    43: Case(
        "dr7 0x2, without the fixed bit 10",
        "DEBUG 1 at it, dr6 0xFFFF0FF1; what dr7 the exit carries is left open (see the last "
        "section)",
        "`kvm_arch_vcpu_ioctl_set_guest_debug` checks nothing",
    ),
    44: Case(
        "dr7 0x400; or all enables but those of DR0 (0x4FC); or only LE and GE (0x700)",
        "no DEBUG exit, the guest runs to its HLT",
        "SDM 17.2.4",
    ),
    45: Case(
        "three runs with the breakpoint kept",
        "DEBUG 1 at the same pc three times: nobody sets RF",
        "`handle_exception_nmi`",
    ),
    46: Case(
        "after the hit KVM_SET_REGS with RF set (0x10000), run",
        "the instruction is passed once; RF is gone behind it and the next match hits again; RF "
        "passes a step too",
        "SDM 17.3.1.1; the kernel's emulator ignores it, `kvm_is_code_breakpoint_inhibited`",
    ),
    47: Case(
        "after the hit one run under ENABLE|SINGLESTEP, then the breakpoint again",
        "DEBUG 1 behind the instruction, dr6 0xFFFF4FF0; then a free run that hits when it comes "
        "round again",
        "`kvm_update_dr7`: without USE_HW_BP the host's breakpoints are not there",
    ),
    48: Case(
        "DR0 and DR2 at one address, dr7 0x422; the same with DR2 disabled",
        "one DEBUG 1, dr6 0xFFFF0FF5; with DR2 disabled 0xFFFF0FF1",
        "`kvm_vcpu_check_hw_bp`",
    ),
    49: Case(
        "an execution breakpoint whose LEN is not 0",
        "no hit (undefined by the SDM; the kernel's emulator does not match either)",
        "SDM 17.2.4",
    ),
    50: Case(
        "a breakpoint on any later byte of `mov eax,imm32`",
        "no hit, unless a jump enters there: then that byte is a first byte and hits",
        "SDM 17.2.5",
    ),
    51: Case(
        "a breakpoint on the first prefix, and on each later byte of a prefixed instruction",
        "the first prefix hits, no later byte does",
        "SDM 17.2.5",
    ),
    52: Case(
        "four runs under ENABLE|SINGLESTEP|USE_HW_BP onto a breakpoint",
        "DEBUG 1 at it with dr6 0xFFFF4FF0, then 0xFFFF0FF1 again and again",
        "SDM 6.9 (a trap before the next instruction's breakpoint)",
    ),
    53: Case(
        "a breakpoint on UD2, INT n, INT3, HLT, DIV by 0, or a load that page-faults",
        "DEBUG 1 at it, dr6 0xFFFF0FF1, nothing pushed; without debugging the guest then takes "
        "its exception",
        "SDM 6.9; SDM 17.3.1.1",
    ),
    54: Case(
        "a breakpoint on an instruction whose first or second page is not present",
        "DEBUG 1 at it before the page fault, CR2 unchanged; with RF set the page fault comes",
        "SDM 6.9 (code breakpoint before fetch faults)",
    ),
    55: Case(
        "real mode, CS base 0x8000, IP 1, DR0 = 0x8001",
        "DEBUG 1 at 0x8001, RIP 1; DR0 = 1 does not hit",
        "SDM 17.2.1 (linear addresses)",
    ),
    56: Case(
        "32-bit code, flat and with a CS base of 0x3000",
        "DEBUG 1 at the linear address, not executed; RIP is the offset",
        "SDM 17.2.1",
    ),
    57: Case(
        "DR0 holds the instruction's address with bits above 31 set, in 16-, 32-, 64-bit and "
        "compatibility code",
        "no hit: all 64 bits are compared; the plain low address hits compatibility code",
        "SDM 17.2.1, 17.2.6",
    ),
    58: Case(
        "KVM_GET_DEBUGREGS after a hit",
        "the guest's registers as they were (0, 0xFFFF0FF0, 0x400, or whatever the guest had)",
        "`handle_exception_nmi`",
    ),
    59: Case(
        "a hit with LE, GE, GD or other slots set in the host's DR7",
        "dr7 of the exit is the host's DR7 as given",
        "`handle_exception_nmi`",
    ),
    60: Case(
        "the guest has its own breakpoint, the host another; after the host's hit SGD(0), run",
        "the guest's vector 1 at its own breakpoint, its DR6 0xFFFF0FF1",
        "`kvm_update_dr7`",
    ),
    61: Case(
        "a breakpoint on an instruction that touches MMIO (load, store, MOVSB) or a port (IN, "
        "OUT, INS, OUTS)",
        "DEBUG 1 at it first; the MMIO or IO exit comes in the run without the breakpoint and "
        "completes",
        "`kvm_vcpu_check_code_breakpoint`",
    ),
    62: Case(
        "a breakpoint on `rep movsb`, RF set by the host after the hit",
        "one hit before the first iteration; with RF all iterations pass, also when the count is "
        "0, and the next round hits again",
        "SDM 17.3.1.1 (RF stays set between iterations)",
    ),
}
