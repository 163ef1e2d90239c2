"""The prose of docs/guest-debug.md: opening, a rule for each topic, and what the list got wrong.

The cases themselves are in ``cases``; this file must not know which test shows a row.
"""

from __future__ import annotations

from tests.conformance.profile_table import differ

HEAD = """# KVM_SET_GUEST_DEBUG, case by case

KVM_SET_GUEST_DEBUG is the ioctl by which a hypervisor in user space debugs an x86 guest: it steps
the guest, sets breakpoints that the guest does not see, takes the guest's debug exceptions
(KVM_RUN then returns KVM_EXIT_DEBUG), or gives them back. This page says what it does as a table
of cases, each with a number, a name, and the tests that show it. The words are kept beside the
tests (tests/conformance/cases); the test run compares this page with them, and
`KVMDBG_WRITE_DOCS=1 pytest tests/conformance` writes it.

{summary}

## The interface

`struct kvm_guest_debug`, what the host gives with KVM_SET_GUEST_DEBUG (0x4048AE9B, 72 bytes):

| offset | type | field | meaning |
|---|---|---|---|
| 0 | u32 | control | the bits below |
| 4 | u32 | pad | ignored |
| 8 | u64[8] | arch.debugreg | [0] to [3] linear addresses, [7] DR7; the rest is not read |

`struct kvm_debug_exit_arch`, what the host gets in `kvm_run` at offset 32 when exit_reason is
KVM_EXIT_DEBUG (4):

| offset | type | field | meaning |
|---|---|---|---|
| 0 | u32 | exception | 1 (#DB) or 3 (#BP) |
| 4 | u32 | pad | |
| 8 | u64 | pc | linear address: CS base + RIP |
| 16 | u64 | dr6 | the causes, for exception 1 only |
| 24 | u64 | dr7 | the effective DR7, for exception 1 only |

The control bits; x86 knows the mask 0x1F0003, which KVM_CHECK_EXTENSION(195) returns:

| KVM_GUESTDBG_ | value | meaning |
|---|---|---|
| ENABLE | 0x00000001 | main switch; without it every other bit but the two injections is dropped |
| SINGLESTEP | 0x00000002 | stop after each instruction |
| USE_SW_BP | 0x00010000 | #BP by opcode CC goes to the host |
| USE_HW_BP | 0x00020000 | the host owns DR0-DR3 and DR7; the guest's are inert |
| INJECT_DB | 0x00040000 | once: the guest gets #DB (vector 1) |
| INJECT_BP | 0x00080000 | once: the guest gets #BP (vector 3) |
| BLOCKIRQ | 0x00100000 | hold back interrupts, NMIs and SMIs |

## How to read the tables

*Profile.* "Then" is what the **reference profile** does: Linux 7.2's rules on VMX, except that the
host's TF stays invisible to the guest, that a stop is not lost behind an MMIO store or a write to
port 0x7E, and that #BP exits carry 0 in dr6 and dr7. The embedded engine follows it unless another
one is asked for, and the values are those that the tests assert of it; where the last column says
otherwise, they are what is to be shown. Row 162 and the rows of 2008 name a profile of their own;
"Where profiles differ" has the rest, and some tests beside a row show it in those profiles.
*(inferred)* marks what was reasoned from kernel source or a manual and has not been seen on VMX
hardware.

*Host calls.* SGD(x) is KVM_SET_GUEST_DEBUG with these control bits, without their prefix. "Under
x" means SGD(x) before each KVM_RUN, as the kernel's selftest does it. The guest starts at 0x8000.

*Exits.* "DEBUG 1 at A" is KVM_EXIT_DEBUG with exception 1 and pc A; RIP stands there too, as an
offset. Its dr7 is the effective DR7 unless another is named; the guest's debug registers stay as
they are. In "DEBUG 3 at A" dr6 and dr7 mean nothing. Other exits are named by their KVM_EXIT_
code. "The guest's vector 1" means: no exit, and the handler in the guest's IDT or IVT is entered.

| dr6 of an exit | cause |
|---|---|
| 0xFFFF4FF0 | BS: single-step |
| 0xFFFF0FF1, ..FF2, ..FF4, ..FF8 | B0 to B3: that register matched; several bits if several did |
| 0xFFFF4FF1 | BS and B0 in one report |
| 0xFFFF2FF0 | BD: general detect (DR7.GD) |
| 0xFFFF0FF0 | no cause named, as by ICEBP |

*Source.* A name in code font is a function, field or test in Linux (arch/x86/kvm) unless another
program is named. SDM is the Intel SDM, volume 3, in the numbering in which debugging is chapter 17
and exceptions are chapter 6; newer prints have the same sections one or two chapters later.

*Shown by.* The tests, each linked to its file. A note in brackets behind one says that it does not
show the row yet: *skipped*, with what is missing, or *known gap*, with what the engine does
instead.
"""

TABLE_HEAD = "| # | name | when | then | source | shown by |\n|---|---|---|---|---|---|\n"

RULES: dict[str, str] = {
    "Single-step": """
SGD with SINGLESTEP sets TF in the machine at the current RIP, and each instruction then ends in a
#DB that goes to the host (`kvm_arch_vcpu_ioctl_set_guest_debug`, `handle_exception_nmi`; SDM
17.3.1.4). TF is filtered out of what KVM_GET_REGS shows (`kvm_get_rflags`). When RFLAGS are
written later, TF is added again only if RIP still is where SGD was called (`__kvm_set_rflags`); so
registers are set first, SGD is called last, and it is called again before every stepped KVM_RUN.
Instructions that KVM carries out itself report their step through `kvm_skip_emulated_instruction`.
""",
    "Software breakpoints (#BP)": """
With ENABLE and USE_SW_BP the opcode CC exits to the host before the guest's IDT is looked at, RIP
still at its first byte (`handle_exception_nmi`). KVM does not ask who planted the byte: the
debugger looks pc up in its own table and gives a foreign #BP back with INJECT_BP. Without
USE_SW_BP the guest gets it as a trap, saved RIP behind the CC (SDM 17.3.2). CD 03 is a software
interrupt and never exits.
""",
    "Execution breakpoints": """
With USE_HW_BP the four addresses and DR7 of the call are the effective ones, all or nothing
(`kvm_update_dr7`). An enabled register with R/W 0 and LEN 0 stops before the instruction whose
first byte is at that linear address (SDM 17.2.5, 17.3.1.1). The report precedes everything that
the instruction could raise itself (SDM 6.9). KVM never sets RF, so a run from the same place hits
again: the host sets RF, or steps once without the breakpoint.
""",
    "Data watchpoints": """
An access that overlaps one of the LEN watched bytes is reported after its instruction, memory
already changed (SDM 17.2.5, 17.3.1.2). DRn is aligned down to LEN; linear addresses count; fetches
and page walks do not. All matches of one instruction, and its single-step, are one report. The
kernel's emulator matches no data, and KVM intercepts IN and OUT, so MMIO and ports are never
reported (`kvm_vcpu_check_code_breakpoint`, `handle_io`).
""",
    "Guest-owned debugging": """
A guest may use TF, its debug registers and ICEBP itself; without SINGLESTEP and USE_HW_BP its #DB
reaches its own vector 1 with DR6 updated (`kvm_deliver_exception_payload`). With either of the two
bits every #DB goes to the host, whatever caused it, and the guest's DR6 stays as it was
(`handle_exception_nmi`). The host then decides whose it is and gives it back, with the DR6 that
the guest should see.
""",
    "Injection": """
INJECT_DB and INJECT_BP queue vector 1 or 3 for the next KVM_RUN, once, even without ENABLE; they
are looked at before anything else in the call, and fail with EBUSY if an exception is queued
already (`kvm_arch_vcpu_ioctl_set_guest_debug`). There is no payload: the guest's DR6 does not
change, while delivery of any #DB clears its DR7.GD (`kvm_check_and_inject_events`). For #BP, VMX
pushes RIP plus the length of the instruction that caused the last #BP or #DB exit
(`vmx_inject_exception`).
""",
    "MOV DR and general detect": """
While a host debugs, the guest's MOV DR works on registers that KVM keeps for it; under USE_HW_BP
they have no effect on what matches (`handle_dr`, `kvm_set_dr`). The checks come in this order: #UD
for DR4, DR5 under CR4.DE and for DR8 up, #GP above CPL 0, general detect, #GP for bits above 31 of
DR6 and DR7. DR7.GD of the effective DR7 raises #DB before the MOV: to the host under USE_HW_BP,
else to the guest, on VMX even under SINGLESTEP.
""",
    "MOV SS, STI and RF": """
MOV SS and POP SS hold debug traps and code breakpoints back until the next instruction has been
executed (SDM 6.8.3; AMD does not hold code breakpoints back); general detect, ICEBP and INT are
not held. STI holds back interrupts only. RF keeps the next instruction from hitting an execution
breakpoint and is cleared when it is done (SDM 17.3.1.1); data breakpoints and single-step do not
look at it. KVM pushes RF = 1 for faults other than #DB (`kvm_check_and_inject_events`) and shows
it in KVM_GET_REGS.
""",
    "REP, ports and MMIO under single-step": """
A repeated string instruction is a step for each iteration (SDM 17.3.1.4). A port or MMIO access is
two exits: first the transfer, then, in the next KVM_RUN, its stop; never both in one. RIP at the
first is at IN, OUT and an MMIO load (`kvm_fast_pio_out`, `complete_fast_pio_in`), behind an MMIO
store (`complete_emulated_mmio`). If the host moves RIP in between, what was left of the
instruction is dropped, its stop too.
""",
    "Exceptions and interrupts during a step": """
Delivery of an exception or interrupt clears TF after the flags were pushed (SDM 6.12.1), so a
handler that the stepped instruction enters runs free; the IRET brings TF back, and the stop comes
after the instruction that it returns to (inferred for VMX). BLOCKIRQ, which needs ENABLE and not
SINGLESTEP, holds interrupts of an in-kernel controller and NMIs back until it is dropped
(`kvm_check_and_inject_events`). What KVM_INTERRUPT queued counts as injected and is not held.
""",
    "Arguments and errors": """
On x86 the call checks almost nothing: unknown control bits, pad, debugreg[4] to [6] and any
address or DR7 are accepted (`kvm_arch_vcpu_ioctl_set_guest_debug`); arm64 and s390 do refuse
unknown bits. It fails with EFAULT for a bad pointer, EINVAL for a vCPU whose state is encrypted,
EBUSY for an injection that finds the slot taken, and then changes nothing.
""",
    "KVM_GET_DEBUGREGS and KVM_SET_DEBUGREGS": """
These two transfer the guest's registers, the ones that its MOV DR sees, and never the host's.
Values are stored raw, without fixed bits; flags other than 0, and DR6 or DR7 above 32 bits, are
refused with EINVAL (`kvm_vcpu_ioctl_x86_set_debugregs`). They are effective at once unless
USE_HW_BP is set (`kvm_update_dr7`).
""",
    "The rules of 2008": """
The interface began with commit d0bfb940 (December 2008). USE_HW_BP was a bit without registers
behind it, an injection was queued without a look at the slot, the guest's DRs were constants on
VMX, and exits carried neither dr6 nor dr7. These rows need a profile of their own, `k08`; the
reference profile does otherwise in each.
""",
}

DIFFER = differ()

FINDINGS = """## Where the list was found wrong or unclear

The rows come from a list that was written before the tests. Where a test and its sources said
otherwise, the evidence is kept here. Nothing in this section was measured on VMX or SVM hardware.

**Row 43, and dr7 of an exit.** The list says that a #DB exit carries the host's DR7 as it was
given; for this row that is 0x2, without bit 10. Evidence: on VMX `handle_exception_nmi` reports
the VMCS field GUEST_DR7; the SDM (vol. 3, "Loading Guest Control Registers, Debug Registers, and
MSRs") says that VM entry ignores bits 10, 12, 14 and 15 of that field and loads DR7 with bit 10
set and the other three clear; KVM requires the VM-exit control that stores DR7 back
(`__KVM_REQUIRED_VMX_VM_EXIT_CONTROLS`, VM_EXIT_SAVE_DEBUG_CONTROLS). Inference: the exit would
carry 0x402. In the same way a step with the raw guest DR7 of 0 from row 206 would report 0x400.
The embedded engine reports what was given, 0x2 and 0; the test of row 43 asserts exception, pc and
dr6 and leaves dr7 open. All other rows set bit 10 themselves and are not affected.

**Row 203, "still stepping" after INIT.** Evidence: `kvm_vcpu_reset` does not clear the control
word, so SINGLESTEP and the host's breakpoints stay. It does write RFLAGS, through
`kvm_set_rflags`, after the vendor's reset of CS and before it sets RIP to 0xFFF0; and
`__kvm_set_rflags` adds TF only if the linear RIP is that of the last SGD. Inference: after INIT TF
is clear in the machine (but for the accident that the old RIP with the new CS base is that linear
RIP), and on VMX the guest runs free until SGD is called again or RFLAGS are written there. The row
holds if SGD is called before the run, which the list's notation says of every step. The tests show
this reading: breakpoints survive a reset by the register ioctls without a new SGD, and a step
comes with one. INIT by a LAPIC is not shown.

**Section 10 does not name SYSRET.** It says that an instruction which sets TF does not itself
trap, with POPF and IRET as examples; so does SDM 17.3.1.4 with POPF. SYSRET is an exception to
that. Evidence: the comment where Linux decides between SYSRET and IRET (`do_syscall_64`,
arch/x86/entry, formerly in entry_64.S) says that SYSRET can restore TF but that, unlike with IRET,
the trap comes immediately after SYSRET, from user space. SDM vol. 2 loads RFLAGS from R11 in the
pseudo-code of SYSRET and does not say when the trap comes. Row 113 shows the first #DB right where
SYSRET returns to. That the host's TF behaves in the same way (row 189) is inference.

**Section 9, MOV SS twice in a row.** The list says that only the first inhibits. SDM 6.8.3 says
less: of consecutive instructions that load SS, only the first is *guaranteed* to hold events back.
Inference from that sentence: a processor whose second MOV SS inhibits as well is within the
manual. The test of row 148 for two MOV SS in a row asks for the list's stronger rule; portable
software must expect both.

**Row 169, port 0x7E.** The list gives KVM's behaviour as the reference: the stop is reported and
the IO exit is lost, by the order in which `kvm_fast_pio_out` prepares the exit and skips the
instruction (inferred there). A lost transfer is of no use to a debugger, so the reference profile
keeps both exits, as the list itself decides for the MMIO store of row 174. The test says so.
"""
