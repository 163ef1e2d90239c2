"""The words of the cases about transfers, exceptions, arguments and 2008: rows 161-221."""

from __future__ import annotations

from .case import Case

TRANSFERS: dict[int, Case] = {
    161: Case(
        "`rep stosb`, count 3, three runs under ENABLE|SINGLESTEP",
        "DEBUG 1 at the REP with RCX 2 and one byte stored, at the REP with RCX 1, behind it "
        "with RCX 0",
        "SDM 17.3.1.4 (a trap after each iteration)",
    ),
    162: Case(
        "the same where the kernel's emulator executes it (profile emu618)",
        "DEBUG 1 at the REP with RCX 0 and RF set, then DEBUG 1 behind it",
        "`x86_emulate_insn`",
    ),
    163: Case(
        "`rep stosb`, count 0, one step",
        "DEBUG 1 behind it, nothing stored",
        "SDM vol. 2, REP",
    ),
    164: Case(
        "`repe cmpsb` that differs at the second byte, two steps",
        "DEBUG 1 at the REP with RCX 3, then behind it with RCX 2",
        "SDM vol. 2, REP",
    ),
    165: Case(
        "OUT under ENABLE|SINGLESTEP",
        "IO exit with RIP at the OUT, then DEBUG 1 behind it, also without a new SGD",
        "`kvm_fast_pio_out`",
    ),
    166: Case(
        "IN under ENABLE|SINGLESTEP, the host answers 0x99; a 32-bit IN",
        "IO exit with RIP at the IN and AL unchanged, then DEBUG 1 behind it with AL 0x99; IN "
        "EAX clears the upper half of RAX",
        "`complete_fast_pio_in`",
    ),
    167: Case(
        "OUT and then IN, four runs under ENABLE|SINGLESTEP",
        "IO exit, DEBUG 1, IO exit, DEBUG 1",
        "`kvm_fast_pio`",
    ),
    168: Case(
        "after the IO exit of a stepped OUT or IN the host moves RIP with KVM_SET_REGS",
        "the rest of the transfer and its stop are dropped and the answer is not loaded; the run "
        "goes on at the new RIP, as a step only after a new SGD",
        "`cui_linear_rip`",
    ),
    169: Case(
        "OUT to port 0x7E under ENABLE|SINGLESTEP",
        "IO exit, then DEBUG 1 behind it, as for any port. KVM's default quirk would overwrite "
        "the IO exit with the stop (inferred): the reference profile keeps both",
        "`kvm_fast_pio_out`, KVM_X86_QUIRK_OUT_7E_INC_RIP",
    ),
    170: Case(
        "`rep outsb`, count 3, four runs under ENABLE|SINGLESTEP",
        "IO exits with RCX 2, 1, 0, RIP at the REP while items are left; then DEBUG 1 behind it",
        "kernel emulator, `emulator_pio_out`",
    ),
    171: Case(
        "an execution breakpoint on OUT, IN or OUTS",
        "DEBUG 1 at it, dr6 0xFFFF0FF1; after it is dropped, the IO exit",
        "SDM 6.9",
    ),
    172: Case(
        "after the IO exit of a stepped OUT a run with immediate_exit (here a run of no "
        "instructions)",
        "DEBUG 1 behind the OUT: completion comes before the exit; not stepped, the OUT is "
        "finished and the run returns",
        "`kvm_arch_vcpu_ioctl_run`",
    ),
    173: Case(
        "a load from MMIO under ENABLE|SINGLESTEP; MOVS from MMIO to RAM",
        "MMIO exit (read) with RIP at it and RAM unchanged, then DEBUG 1 behind it with the "
        "answer loaded",
        "`complete_emulated_mmio`",
    ),
    174: Case(
        "a store to MMIO under ENABLE|SINGLESTEP",
        "MMIO exit (write) with RIP behind it, then DEBUG 1 at that RIP, nothing else executed. "
        "KVM itself loses that stop: the reference profile keeps it",
        "`x86_emulate_instruction`; `complete_emulated_mmio`",
    ),
    175: Case(
        "INC of an MMIO dword under ENABLE|SINGLESTEP",
        "MMIO exit (read) with RIP at it, MMIO exit (write) with RIP behind it, one DEBUG 1 there",
        "`complete_emulated_mmio`",
    ),
    176: Case(
        "a 16-byte access to MMIO, an access across a page boundary, an access half in RAM",
        "one MMIO exit for each piece of at most 8 bytes (and none for RAM), one DEBUG 1 at the "
        "end",
        "`emulator_read_write` (fragments)",
    ),
    177: Case(
        "store, load and INC of MMIO under ENABLE|USE_HW_BP without SINGLESTEP",
        "MMIO exits only, then HLT",
        "`complete_emulated_mmio`",
    ),
}

EXCEPTIONS: dict[int, Case] = {
    178: Case(
        "UD2 under ENABLE|SINGLESTEP; the guest's handler skips it",
        "the handler runs free to its IRET (interrupts inside it too), DEBUG 1 behind the "
        "instruction it returns to (inferred); frame without TF, guest DR6 unchanged",
        "SDM 17.3.1.4; SDM 6.12.1",
    ),
    179: Case(
        "a load that page-faults, under ENABLE|SINGLESTEP; the handler skips it",
        "as row 178, through vector 14; CR2 is the address",
        "as row 178",
    ),
    180: Case(
        "INT 0x20 under ENABLE|SINGLESTEP",
        "the handler runs free to its IRET, DEBUG 1 behind the first instruction after the INT; "
        "frame without TF",
        "as row 178",
    ),
    181: Case(
        "as row 179, but the handler maps the page",
        "DEBUG 1 right behind the retried load, its value loaded",
        "SDM 6.5 (a fault restarts the instruction)",
    ),
    182: Case(
        "an interrupt pending in the kernel's LAPIC, IF set, ENABLE|SINGLESTEP",
        "the interrupt is taken and its handler runs free",
        "`kvm_check_and_inject_events`",
    ),
    183: Case(
        "the same with BLOCKIRQ",
        "DEBUG 1 at the next instruction, the interrupt still pending",
        "kernel selftest, its single-step act",
    ),
    184: Case(
        "the same under ENABLE|BLOCKIRQ without SINGLESTEP",
        "no interrupt while it is set; delivered after SGD(0)",
        "`kvm_check_and_inject_events`",
    ),
    185: Case(
        "BLOCKIRQ without ENABLE",
        "no effect: an NMI is taken",
        "`kvm_arch_vcpu_ioctl_set_guest_debug`",
    ),
    186: Case(
        "KVM_INTERRUPT with the interrupt controller in user space, under BLOCKIRQ, stepped and "
        "not",
        "delivered all the same, before the instruction; its handler runs free, frame without TF",
        "`kvm_queue_interrupt`: it counts as injected",
    ),
    187: Case(
        "KVM_NMI under ENABLE|BLOCKIRQ, stepped and not; an NMI put back as injected",
        "held pending (nmi.pending 1) and taken after SGD(0); one that is put back as injected "
        "is delivered",
        "`kvm_check_and_inject_events`",
    ),
    188: Case(
        "UD2 under ENABLE|SINGLESTEP with an IDT limit of 0",
        "SHUTDOWN exit, RIP at the UD2",
        "SDM 6.15 (double and triple fault)",
    ),
    189: Case(
        "SYSCALL from CPL 3 under ENABLE|SINGLESTEP, SFMASK without and with TF",
        "not masked: DEBUG 1 at the target; masked: none there; R11 shows no TF; a SYSRET that "
        "brings the step back is followed by a stop at once",
        "kvm-unit-tests `syscall.c`; SDM vol. 2, SYSCALL",
    ),
    190: Case(
        "a handler that sets TF in its frame and returns by IRET",
        "the guest's vector 1 after the first instruction behind the IRET; stepped by the host, "
        "the IRET is an ordinary step",
        "SDM 17.3.1.4",
    ),
}

ARGUMENTS: dict[int, Case] = {
    191: Case(
        "control bits 0x4, 0x8, 0x100, 0x200000, 0x80000000, alone or beside ENABLE",
        "success, no effect; a step asked for with them is a step",
        "`kvm_arch_vcpu_ioctl_set_guest_debug` tests no mask on x86",
    ),
    192: Case(
        "KVM_CHECK_EXTENSION(195)",
        "0x1F0003, every control bit that x86 knows",
        "KVM_GUESTDBG_VALID_MASK",
    ),
    193: Case(
        "KVM_CHECK_EXTENSION of 23, 50 and 51",
        "1 each",
        "`kvm_vm_ioctl_check_extension`",
    ),
    194: Case(
        "pad = 7 in the structure",
        "ignored: the step happens",
        "`struct kvm_guest_debug`",
    ),
    195: Case(
        "a null pointer for the structure",
        "EFAULT (14)",
        "`copy_from_user`",
    ),
    196: Case(
        "debugreg[7] with bits above 31, under ENABLE|USE_HW_BP",
        "success; the reference profile keeps the lower 32 bits, which count (on VMX the next "
        "entry would fail, inferred)",
        "`kvm_arch_vcpu_ioctl_set_guest_debug` checks nothing",
    ),
    197: Case(
        "debugreg[0] not canonical (bit 63 set)",
        "success; it never hits, not even at its lower bits",
        "as row 196",
    ),
    198: Case(
        "anything in debugreg[4] to [6]",
        "ignored",
        "as row 196",
    ),
    199: Case(
        "SGD(ENABLE|USE_HW_BP) with a breakpoint, then SGD(ENABLE), run",
        "the host's breakpoint is gone, the guest's own addresses and DR7 are effective again",
        "`kvm_update_dr7`",
    ),
    200: Case(
        "the ioctl's number with a structure size of 8 in it (0x4008AE9B)",
        "another number: ENOTTY or EINVAL; the right one, 0x4048AE9B, encodes 72 bytes",
        "`_IOW`",
    ),
    201: Case(
        "the ioctl on a VM's file descriptor",
        "ENOTTY",
        "`kvm_vm_ioctl`",
    ),
    202: Case(
        "the ioctl on a vCPU with encrypted state (SEV-ES, TDX)",
        "EINVAL (22)",
        "`guest_state_protected`",
    ),
    203: Case(
        "SGD(ENABLE|SINGLESTEP) or with a breakpoint, then INIT (here: a reset by the register "
        "ioctls)",
        "the control word and the host's breakpoints stay, the guest's DR0-DR7 are reset; a step "
        "comes when SGD is called again (see the last section)",
        "`kvm_vcpu_reset`",
    ),
}

DEBUGREGS: dict[int, Case] = {
    204: Case(
        "KVM_GET_DEBUGREGS on a fresh vCPU",
        "addresses 0, DR6 0xFFFF0FF0, DR7 0x400, flags 0",
        "`kvm_vcpu_reset`",
    ),
    205: Case(
        "addresses 1, 2, 3, 4 set and read",
        "the same values",
        "`kvm_vcpu_ioctl_x86_set_debugregs`",
    ),
    206: Case(
        "DR6 = 0 and DR7 = 0 set and read",
        "0 and 0, raw, without fixed bits; the guest reads 0 too",
        "as row 205",
    ),
    207: Case(
        "DR6 and DR7 = 0xFFFFFFFF set and read",
        "unchanged",
        "as row 205",
    ),
    208: Case(
        "DR6 with bit 32 set",
        "EINVAL, nothing stored, not even the addresses",
        "`kvm_dr6_valid`",
    ),
    209: Case(
        "DR7 with bit 32 or 63 set",
        "EINVAL, nothing stored",
        "`kvm_dr7_valid`",
    ),
    210: Case(
        "flags = 1",
        "EINVAL, nothing stored",
        "as row 205",
    ),
    211: Case(
        "reserved words not 0",
        "success; they read as 0",
        "as row 205",
    ),
    212: Case(
        "a breakpoint or a watch of the guest, by KVM_SET_DEBUGREGS, then a run",
        "the guest's vector 1 there; effective at once, also between two runs",
        "`kvm_update_dr7`",
    ),
    213: Case(
        "the same while the host has USE_HW_BP",
        "inert; it counts when USE_HW_BP is dropped",
        "`kvm_update_dr7`",
    ),
    214: Case(
        "an address that is not canonical",
        "stored raw, success; it never hits",
        "as row 205",
    ),
    215: Case(
        "KVM_GET_DEBUGREGS while the host has USE_HW_BP, before and after a hit",
        "the guest's values, never the host's",
        "`kvm_vcpu_ioctl_x86_get_debugregs`",
    ),
}

RULES_OF_2008: dict[int, Case] = {
    216: Case(
        "RF set by the host, then SGD(ENABLE|SINGLESTEP), KVM_GET_REGS",
        "neither TF nor RF shows",
        "commit d0bfb940, x86.c",
    ),
    217: Case(
        "SGD(INJECT_DB) twice",
        "success both times",
        "commit d0bfb940",
    ),
    218: Case(
        "SGD(ENABLE|SINGLESTEP|INJECT_DB) with an injection queued",
        "the flags are applied first, then the injection is queued; no EBUSY",
        "commit d0bfb940",
    ),
    219: Case(
        "USE_HW_BP with addresses and DR7",
        "no hit: debugreg[] is ignored, only the #DB intercept is on",
        "commit d0bfb940",
    ),
    220: Case(
        "MOV from DR0, DR6, DR7 on VMX",
        "0, 0xFFFF0FF0, 0x400; writes are dropped",
        "commit d0bfb940, `handle_dr`",
    ),
    221: Case(
        "any DEBUG exit",
        "dr6 and dr7 of the exit are not written (0)",
        "commit d0bfb940, `handle_exception`",
    ),
}
