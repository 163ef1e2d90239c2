"""The words of the cases about injection, MOV DR, MOV SS, STI and RF: rows 115-160."""

from __future__ import annotations

from .case import Case

INJECTION: dict[int, Case] = {
    115: Case(
        "SGD(INJECT_DB), also with ENABLE, USE_SW_BP or USE_HW_BP, then a run",
        "the guest's vector 1 at once, saved RIP at the instruction, no error code, flags as "
        "they are; once only",
        "`kvm_arch_vcpu_ioctl_set_guest_debug`",
    ),
    116: Case(
        "the guest's DR6 after that",
        "unchanged, whatever it was: an injection has no payload",
        "`kvm_deliver_exception_payload` is not reached",
    ),
    117: Case(
        "SGD(ENABLE|USE_SW_BP|INJECT_BP) at the INT3 of a DEBUG 3 exit",
        "the guest's vector 3, saved RIP behind the INT3; its IRET goes on there",
        "`vmx_inject_exception`",
    ),
    118: Case(
        "INJECT_BP where no INT3 stands, with and without ENABLE",
        "the guest's vector 3, saved RIP at that place; behind it if RIP still is where the last "
        "#BP exit left it",
        "`vmx_inject_exception`; `svm_update_soft_interrupt_rip`",
    ),
    119: Case(
        "INJECT_DB|INJECT_BP",
        "only vector 1 is delivered",
        "`kvm_arch_vcpu_ioctl_set_guest_debug`",
    ),
    120: Case(
        "a second injection before a run; an injection while KVM_SET_VCPU_EVENTS has queued an "
        "exception",
        "EBUSY (16); the first one is delivered",
        "as row 119",
    ),
    121: Case(
        "SGD(INJECT_DB), then SGD(ENABLE|SINGLESTEP|INJECT_BP) that fails",
        "nothing else changed: no step is armed, and what was armed before stays",
        "as row 119",
    ),
    122: Case(
        "SGD(INJECT_DB), KVM_SET_REGS, SGD(INJECT_DB)",
        "success: KVM_SET_REGS drops a queued exception",
        "`__set_regs`",
    ),
    123: Case(
        "SGD(INJECT_DB), SGD(ENABLE|SINGLESTEP), SGD(0), run",
        "success each time; the injection is delivered",
        "as row 119: only inject bits look at the slot",
    ),
    124: Case(
        "SGD(INJECT_DB), KVM_GET_VCPU_EVENTS",
        "injected 1, nr 1, has_error_code 0, pending 1, flags 0x0D; written back it is still "
        "queued; once delivered it shows no more",
        "`kvm_vcpu_ioctl_x86_get_vcpu_events`",
    ),
    125: Case(
        "SGD(INJECT_BP), KVM_GET_VCPU_EVENTS",
        "nr 3, injected 0, pending 0: software exceptions are hidden",
        "`kvm_exception_is_soft`",
    ),
    126: Case(
        "guest DR7 0x2400 (GD), SGD(INJECT_DB), run",
        "vector 1 and DR7 0x400; queueing alone, or an injected #BP, keeps GD",
        "`kvm_check_and_inject_events`",
    ),
    127: Case(
        "SGD(ENABLE|SINGLESTEP|INJECT_DB) or with INJECT_BP, run",
        "the handler runs free to its IRET, DEBUG 1 behind the instruction it returns to "
        "(inferred); its frame shows no TF",
        "SDM 17.3.1.4",
    ),
    128: Case(
        "INJECT_DB with an interrupt or an NMI waiting; INJECT_DB under BLOCKIRQ",
        "#DB first, then the NMI at the handler's first instruction, or the interrupt when the "
        "handler returns; BLOCKIRQ does not hold it back",
        "`kvm_check_and_inject_events`",
    ),
}

MOV_DR: dict[int, Case] = {
    129: Case(
        "the guest writes 0x1234 to DR0-DR3 and reads it, with and without guest debugging",
        "it reads what it wrote, and KVM_GET_DEBUGREGS shows the same",
        "`kvm_set_dr`",
    ),
    130: Case(
        "the guest writes 0xF to DR6; or all ones",
        "it reads 0xFFFF0FFF; 0xFFFFEFFF (bit 12 is always 0), with neither RTM nor bus-lock "
        "detection in CPUID",
        "`kvm_dr6_fixed`",
    ),
    131: Case(
        "the guest writes 0 to DR6",
        "it reads 0xFFFF0FF0",
        "`kvm_dr6_fixed`; kvm-unit-tests `test_mov_dr`",
    ),
    132: Case(
        "the guest writes all ones to DR7; or 0",
        "DR7 0xFFFF2FFF; 0x400",
        "`kvm_set_dr` (DR7_VOLATILE, DR7_FIXED_1)",
    ),
    133: Case(
        "the guest writes bit 32 to DR6 or DR7 (or their names DR4, DR5)",
        "#GP(0) at the MOV, RF set in the frame, nothing written; DR0 takes such a value",
        "`kvm_dr6_valid`, `kvm_dr7_valid`",
    ),
    134: Case(
        "DR4 and DR5 with CR4.DE = 0",
        "they are DR6 and DR7: 0x4FF0 to DR4 reads as 0xFFFF4FF0 in both",
        "SDM 17.2.2",
    ),
    135: Case(
        "DR4 or DR5 with CR4.DE = 1, read or written",
        "#UD at the MOV",
        "SDM 17.2.2",
    ),
    136: Case(
        "DR8-DR15 (REX.R)",
        "#UD at the MOV, also where GD is set",
        "`check_dr_read`",
    ),
    137: Case(
        "MOV DR at CPL 3",
        "#GP(0) at the MOV",
        "`handle_dr`; SDM vol. 2, MOV DR",
    ),
    138: Case(
        "the host has DR0 armed under USE_HW_BP; the guest writes DR0 and DR7 = 0x403 and reads "
        "them back",
        "it reads its own values; the host's breakpoint still hits, the guest's is not moved in",
        "`kvm_set_dr`, `kvm_update_dr7`",
    ),
    139: Case(
        "the guest arms a breakpoint while the host has USE_HW_BP",
        "it never fires; its DR6 stays 0xFFFF0FF0",
        "`kvm_update_dr7`",
    ),
    140: Case(
        "MOV to or from a debug register under ENABLE|USE_HW_BP with host dr7 0x2400 (GD), also "
        "with SINGLESTEP or USE_SW_BP",
        "DEBUG 1 at the MOV, not executed, dr6 0xFFFF2FF0, dr7 0x2400; an execution breakpoint "
        "on it comes first",
        "`handle_dr`; kernel selftest, its fifth act",
    ),
    141: Case(
        "the same, run again",
        "the same exit: the host's GD is not cleared, with or without a new SGD",
        "`handle_dr`",
    ),
    142: Case(
        "MOV DR behind the forced-emulation prefix, host GD set",
        "DEBUG 1 behind the prefix, dr6 0xFFFF2FF0",
        "kernel selftest, `fep_bd_start`; `kvm_inject_emulated_db`",
    ),
    143: Case(
        "guest DR7 with GD (0x2400 or 0x2402), MOV from DR0, under no debugging, ENABLE or "
        "ENABLE|USE_SW_BP",
        "the guest's vector 1 at the MOV, not executed, DR6 0xFFFF2FF0, GD cleared in DR7",
        "`handle_dr`; SDM 17.3.1.3",
    ),
    144: Case(
        "guest GD while the host has USE_HW_BP",
        "inert: the MOVs complete and GD stays set",
        "`handle_dr`: the effective DR7 is asked",
    ),
    145: Case(
        "guest GD under ENABLE|SINGLESTEP",
        "the guest's vector 1 at the MOV, DR6 0xFFFF2FF0, even under SINGLESTEP; after its "
        "handler DEBUG 1 behind the MOV (SVM would exit to the host)",
        "`handle_dr` against `db_interception`",
    ),
    146: Case(
        "GD set by the guest or the host, MOV DR at CPL 3",
        "#GP, no #DB, DR6 unchanged",
        "`handle_dr` checks CPL first",
    ),
}

SHADOWS_AND_FLAGS: dict[int, Case] = {
    147: Case(
        "the guest under TF over MOV SS; POP SS",
        "no #DB behind MOV SS, the first one after the instruction that follows it: three in "
        "all, at start, +1, +2",
        "kvm-unit-tests `singlestep_with_movss_blocking`; SDM 6.8.3",
    ),
    148: Case(
        "`mov ss,ax; nop` under ENABLE|SINGLESTEP; two MOV SS in a row",
        "DEBUG 1 behind the NOP, dr6 0xFFFF4FF0 (VMX: inferred); of two in a row the first is "
        "guaranteed to shield (see the last section)",
        "SDM 6.8.3",
    ),
    149: Case(
        "MOV SS and two ICEBP under the guest's TF",
        "five #DB; the first two, behind each ICEBP, with DR6 0xFFFF0FF0 and no BS",
        "kvm-unit-tests, MOV SS with ICEBP",
    ),
    150: Case(
        "MOV SS and MOV DR with GD under the guest's TF",
        "five #DB; the first at the MOV DR with DR6 0xFFFF2FF0 alone",
        "kvm-unit-tests, MOV SS with GD",
    ),
    151: Case(
        "an execution breakpoint right behind MOV SS or POP SS, the guest's or the host's",
        "it does not fire (Intel; AMD takes it); on the second instruction it does",
        "SDM 6.8.3; kvm-unit-tests `test_mov_pop_ss_code_db`",
    ),
    152: Case(
        "MOV SS from a watched place, then a prefixed ICEBP",
        "the guest's vector 1 once, behind the ICEBP",
        "kvm-unit-tests, MOV SS with watchpoint and ICEBP",
    ),
    153: Case(
        "the same with `INT 1` (CD 01)",
        "vector 1 twice: by the INT, and by the held trap at the handler's first instruction",
        "kvm-unit-tests, MOV SS with watchpoint and INT 1",
    ),
    154: Case(
        "the same with INT3 (CC)",
        "one #BP and one #DB; the #DB interrupts the #BP handler before its first instruction",
        "kvm-unit-tests, MOV SS with watchpoint and INT3",
    ),
    155: Case(
        "the guest under TF over STI; an execution breakpoint behind STI",
        "four #DB, at start (right behind STI), +6, +7, +8: STI holds back no #DB; the "
        "breakpoint fires",
        "kvm-unit-tests `singlestep_with_sti_blocking`",
    ),
    156: Case(
        "STI under ENABLE|SINGLESTEP",
        "DEBUG 1 right behind STI, IF set",
        "kernel selftest, its single-step act",
    ),
    157: Case(
        "the guest under TF over STI and HLT, woken by an interrupt",
        "five #DB, one of them behind the HLT",
        "kvm-unit-tests `singlestep_with_sti_hlt`",
    ),
    158: Case(
        "the flags that a #UD, an INT3 or INT n, and an interrupt push",
        "RF set for a fault, clear for a trap, kept by an interrupt, whose IRET makes it count "
        "again",
        "`kvm_check_and_inject_events`; SDM 17.3.1.1",
    ),
    159: Case(
        "RF set by KVM_SET_REGS or loaded by IRET, then KVM_GET_REGS, also under SINGLESTEP",
        "RF shows (2008's KVM hid it); gone behind the next instruction",
        "`kvm_get_rflags`",
    ),
    160: Case(
        "RF set, and a watched store, with an execution breakpoint on it or a step",
        "the data breakpoint and the step are reported, the execution breakpoint is not",
        "SDM 17.3.1.1 (RF concerns instruction breakpoints)",
    ),
}
