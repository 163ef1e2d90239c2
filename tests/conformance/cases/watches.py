"""The words of the cases about data watchpoints and a guest that debugs itself: rows 63-114."""

from __future__ import annotations

from .case import Case

DATA_WATCHPOINTS: dict[int, Case] = {
    63: Case(
        "DR0, DR1, DR2 or DR3 watches 4 bytes for writes, a store to them under ENABLE|USE_HW_BP "
        "(four cases)",
        "DEBUG 1 behind the store, memory written, dr6 0xFFFF0FF0 with Bn, dr7 as given; once only",
        "kernel selftest, its third act; SDM 17.3.1.2",
    ),
    64: Case(
        "R/W = 1 (writes), a load",
        "no DEBUG exit",
        "SDM 17.2.4",
    ),
    65: Case(
        "R/W = 3, a load (also CMP, TEST, LODS, SCAS, PUSH m, MOVZX) or a store",
        "DEBUG 1 behind it; a load has its value",
        "SDM 17.2.4",
    ),
    66: Case(
        "R/W = 3 or 1 on code that is executed",
        "no DEBUG exit: a fetch is no data access; a load of that byte is one",
        "SDM 17.2.4",
    ),
    67: Case(
        "LEN 1, 2, 4 or 8 on an aligned place, 1-byte stores all around it (four cases)",
        "exactly the LEN bytes hit",
        "SDM 17.2.5",
    ),
    68: Case(
        "LEN field 2 (10b), stores of 8 and 4 bytes, and of 1 byte outside 64-bit mode",
        "8 bytes are watched, in every mode",
        "SDM 17.2.4",
    ),
    69: Case(
        "2 bytes watched at an odd address V+1, stores at V, V+1, V+2",
        "V and V+1 hit, V+2 does not",
        "SDM 17.2.5 (low address bits masked by LEN)",
    ),
    70: Case(
        "4 bytes watched off their alignment",
        "the aligned four bytes hit, their neighbours do not",
        "SDM 17.2.5",
    ),
    71: Case(
        "8 bytes watched off their alignment",
        "the aligned eight bytes hit, their neighbours do not",
        "SDM 17.2.5",
    ),
    72: Case(
        "8-byte store, its upper 4 bytes watched",
        "one hit",
        "SDM 17.2.5 (any overlap)",
    ),
    73: Case(
        "an unaligned 4-byte store whose last byte is watched; a 16-byte store with each byte "
        "watched in turn",
        "a hit each time; the byte behind the store does not hit",
        "SDM 17.2.5",
    ),
    74: Case(
        "a 4-byte store that ends right before, or begins right behind, the watched 4 bytes",
        "no DEBUG exit",
        "SDM 17.2.5",
    ),
    75: Case(
        "a store or load across a page boundary, a byte of either page watched, the two pages "
        "apart in physical memory",
        "exactly the touched bytes hit, by linear address; what only lies next in physical "
        "memory does not",
        "SDM 17.2.1, 17.2.5",
    ),
    76: Case(
        "the SDM's four example registers and the accesses that its table says hit (10 lines, 15 "
        "accesses once read and write are separate)",
        "each hits, with exactly the registers that the access overlaps",
        "SDM table 17-1",
    ),
    77: Case(
        "the same registers and the accesses that its table says do not (6 lines, 10 accesses)",
        "none hits",
        "SDM table 17-1",
    ),
    78: Case(
        "a store of the value that is already there",
        "DEBUG 1 behind it: the access counts, not the change",
        "SDM 17.2.4",
    ),
    79: Case(
        "a read-modify-write (INC, ADD, XCHG, LOCK DEC, NEG), watched for writes or both; "
        "CMPXCHG that does not match",
        "one DEBUG 1 behind it",
        "SDM 17.3.1.2",
    ),
    80: Case(
        "PUSH, POP, CALL and RET with their stack slot watched",
        "DEBUG 1 behind PUSH and POP, at the target of the CALL, and where the RET returns to",
        "SDM 17.3.1.2",
    ),
    81: Case(
        "MOVSD or MOVSQ whose source and target are watched by two registers; two registers on "
        "one place",
        "one DEBUG 1 with both Bn in dr6",
        "SDM 17.2.3",
    ),
    82: Case(
        "a store to a watched place under ENABLE|SINGLESTEP|USE_HW_BP",
        "one DEBUG 1 behind it, dr6 0xFFFF4FF1; an execution breakpoint on the next instruction "
        "comes as a second exit",
        "SDM 17.2.3; SDM 6.9",
    ),
    83: Case(
        "`rep stosb`, count 4, the third byte watched",
        "DEBUG 1 at the REP with RCX 1 and three bytes written; the next run finishes it; also "
        "with MOVSB, and backwards",
        "SDM 17.3.1.2",
    ),
    84: Case(
        "the same with the last byte watched; REPE CMPSB that ends by count or by difference",
        "DEBUG 1 behind the REP; a breakpoint on the next instruction comes after it",
        "SDM 17.3.1.2",
    ),
    85: Case(
        "an access to a watched place that page-faults (absent, read-only, second page absent, "
        "RMW, MOVS)",
        "no DEBUG exit, the guest's vector 14; retried after its handler mapped the page it hits",
        "SDM 6.5 (a fault restarts the instruction), 17.3.1.2",
    ),
    86: Case(
        "a watch on an MMIO address; a watch on RAM that MOVSB copies to MMIO",
        "MMIO exit only, no DEBUG exit: the kernel's emulator makes no data matches",
        "`emulator_read_write`; `kvm_vcpu_check_code_breakpoint` knows execution only",
    ),
    87: Case(
        "R/W = 2 (I/O) on a port with CR4.DE = 1, IN and OUT",
        "IO exit only; under SINGLESTEP the stop behind it has no Bn (bare metal would trap)",
        "KVM intercepts IN and OUT, `handle_io`",
    ),
    88: Case(
        "R/W = 2 with CR4.DE = 0; and stores or fetches at that address",
        "IO exit only; no store and no fetch hits (undefined by the SDM, treated as never)",
        "SDM 17.2.4",
    ),
    89: Case(
        "a watch on a page-table entry, and an access whose page walk reads it or sets A and D",
        "no DEBUG exit; a store of the guest to that entry hits",
        "SDM 17.2.5 (accesses by linear address)",
    ),
    90: Case(
        "MOV SS or POP SS from a watched place",
        "DEBUG 1 one instruction later, joined with that instruction's own match or with BS of a "
        "step; a load of ES is not delayed",
        "SDM 6.8.3; kvm-unit-tests, MOV SS with a watchpoint",
    ),
}

GUEST_OWNED: dict[int, Case] = {
    91: Case(
        "the guest sets TF by POPF, no guest debugging",
        "the guest's vector 1 after the instruction that follows the POPF, saved TF set, its DR6 "
        "0xFFFF4FF0; its own PUSHF shows TF",
        "SDM 17.3.1.4; `kvm_queue_exception_p`",
    ),
    92: Case(
        "the sequence of kvm-unit-tests' `singlestep_basic`",
        "three #DB, at start, +1, +2, DR6 0xFFFF4FF0 each: also after the POPF that ends it",
        "kvm-unit-tests `singlestep_basic`",
    ),
    93: Case(
        "the guest under TF over CPUID and IN; over OUT, WRMSR and MOV DR",
        "#DB after each, at +0, +1, +4, +6, +11, +12, +13, as after any other instruction",
        "kvm-unit-tests `singlestep_emulated_instructions`",
    ),
    94: Case(
        "a CPL 3 program entered by IRETQ with TF set",
        "vector 1 after its first instruction, saved flags 0x102, saved CS of CPL 3, DR6 "
        "0xFFFF4FF0",
        "SDM 17.3.1.4",
    ),
    95: Case(
        "TF set by POPF in real mode",
        "IVT entry 1 after the next instruction, saved flags with TF, DR6 0xFFFF4FF0",
        "SDM 17.3.1.4",
    ),
    96: Case(
        "the guest's TF under ENABLE alone",
        "the guest's vector 1",
        "`handle_exception_nmi`: only SINGLESTEP and USE_HW_BP take #DB",
    ),
    97: Case(
        "the guest's TF under ENABLE|USE_SW_BP",
        "the guest's vector 1",
        "as row 96",
    ),
    98: Case(
        "the guest's TF under ENABLE|USE_HW_BP",
        "DEBUG 1 at the next instruction, dr6 0xFFFF4FF0; the guest's DR6 unchanged, its TF kept",
        "`handle_exception_nmi`",
    ),
    99: Case(
        "the guest's TF under ENABLE|SINGLESTEP",
        "DEBUG 1 at the next instruction; KVM_GET_REGS shows no TF; guest registers unchanged",
        "`handle_exception_nmi`; `kvm_get_rflags`",
    ),
    100: Case(
        "RFLAGS 0x102, SGD(ENABLE|SINGLESTEP), SGD(0), KVM_GET_REGS",
        "RFLAGS 2: a step session loses the guest's TF",
        "`kvm_arch_vcpu_ioctl_set_guest_debug`: flags read through the filter and written back",
    ),
    101: Case(
        "the guest arms DR0 on an instruction, DR7 0x402",
        "its vector 1 there, RF clear in the frame, DR6 0xFFFF0FF1, DR7 0x402; its own step onto "
        "it gives BS first and then B0",
        "SDM 17.3.1.1; kvm-unit-tests `hw_bp1`",
    ),
    102: Case(
        "the handler sets RF in its frame and returns by IRET",
        "the instruction is passed once",
        "SDM 17.3.1.1",
    ),
    103: Case(
        "the handler leaves RF clear",
        "vector 1 at the same instruction again",
        "SDM 17.3.1.1",
    ),
    104: Case(
        "guest DR6 0xFFFF4FF2 left over, then a hit of DR2",
        "DR6 0xFFFF4FF4: B0-B3 are replaced, BS stays",
        "`kvm_deliver_exception_payload`; kvm-unit-tests `hw_bp2`",
    ),
    105: Case(
        "the guest watches 4 bytes for writes (DR1, DR7 0x00D0040A), DR6 0xFFFF4FF0 left over; "
        "then again with DR6 cleared",
        "vector 1 behind the store, DR6 0xFFFF4FF2; then 0xFFFF0FF2",
        "kvm-unit-tests `hw_wp1`; SDM 17.2.3",
    ),
    106: Case(
        "the guest's own breakpoint or watch, host under ENABLE|SINGLESTEP",
        "DEBUG 1 at the breakpoint with dr6 0xFFFF4FF0 and then 0xFFFF0FF1; a watch joins the "
        "step, 0xFFFF4FF1; guest registers unchanged",
        "`handle_exception_nmi`",
    ),
    107: Case(
        "the guest's own breakpoint and watch, host under ENABLE|USE_HW_BP with nothing enabled",
        "no event at all: only the host's registers are effective",
        "`kvm_update_dr7`",
    ),
    108: Case(
        "ICEBP (F1) under no debugging, ENABLE or ENABLE|USE_SW_BP",
        "the guest's vector 1, saved RIP behind F1; DR6 gains no bit, an old BS stays, an old Bn "
        "goes",
        "`handle_exception_nmi`; kvm-unit-tests `icebp`",
    ),
    109: Case(
        "ICEBP under ENABLE|USE_HW_BP or ENABLE|SINGLESTEP",
        "DEBUG 1 at the F1 byte, dr6 0xFFFF0FF0, RIP not advanced, again on the next run "
        "(inferred; SVM gives it to the guest)",
        "`handle_exception_nmi`; AMD APM vol. 2, ICEBP intercept",
    ),
    110: Case(
        "`INT 1` in two bytes (CD 01) under USE_HW_BP; under SINGLESTEP",
        "the guest's vector 1, DR6 unchanged; stepped, its handler runs free and DEBUG 1 comes "
        "behind the next instruction",
        "SDM vol. 3: INT n is a software interrupt",
    ),
    111: Case(
        "a #DB taken from the guest (row 98), given back by KVM_SET_VCPU_EVENTS with a payload "
        "of 0x4000",
        "the guest's vector 1, saved RIP and flags as if never taken, DR6 0xFFFF4FF0",
        "QEMU `kvm_put_vcpu_events`; KVM_CAP_EXCEPTION_PAYLOAD",
    ),
    112: Case(
        "the same, given back by KVM_SET_DEBUGREGS with DR6 0xFFFF4FF0 and INJECT_DB",
        "the guest's vector 1, saved RIP and flags as if never taken, DR6 0xFFFF4FF0",
        "`kvm_arch_vcpu_ioctl_set_guest_debug`",
    ),
    113: Case(
        "a CPL 3 program under TF executes SYSCALL, SFMASK with and without TF",
        "masked: no #DB in the kernel, the first one right where SYSRET returns to; not masked: "
        "#DB at the target",
        "kvm-unit-tests `syscall.c`; SDM vol. 2, SYSCALL and SYSRET",
    ),
    114: Case(
        "a task switch to a TSS with the T bit set",
        "no #DB: KVM's emulated switch does not raise it (the SDM says BT); DR7 loses LE and the "
        "local enables and keeps the global ones",
        "`emulator_task_switch`; SDM 17.3.1.5",
    ),
}
