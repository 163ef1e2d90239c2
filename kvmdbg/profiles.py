"""Where KVM's backends differ, as data: five profiles of one interface.

``reference`` is Linux 7.2 on VMX without its leaks (spec 14), ``vmx`` and ``svm`` are Linux 7.2 on
Intel's and AMD's hardware, ``emu618`` is Linux 6.18 where KVM's own instruction emulator runs the
guest (CPL 0 and real mode without hardware), ``k08`` is the interface as it was first written
(commit d0bfb940, December 2008, on VMX). What of vmx, svm and k08 was read in the kernel's source
and never measured is said in docs/guest-debug.md.

Each field is one question; guestdebug.py and the engines ask it in one place. Must not know: how.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from .errors import UnknownName
from .uapi import GuestDbg

_S, _H = int(GuestDbg.SINGLESTEP), int(GuestDbg.USE_HW_BP)


@dataclass(frozen=True, slots=True)
class Profile:
    """Named choices where KVM's backends differ (spec 12-14); the defaults are ``reference``."""

    name: str

    pushf_hides_tf: bool = True
    """PUSHF and SYSCALL do not show the guest a TF that is the host's (spec 5.5)."""
    frames_hide_tf: bool = True
    """Exception and interrupt frames do not show it either."""
    hides_rf: bool = False
    """KVM_GET_REGS hides RF too while the host single-steps, and arming sets it (spec 13)."""
    steps_by_flag: bool = False
    """SINGLESTEP itself makes the step, not TF: nothing but the flag ends it (spec 5.3, 10)."""

    guest_gets_its_own: bool = False
    """Emulated #DBs of the guest's making are its own, whatever H says; S takes only BS (4.3)."""
    gd_control: int = _H
    """Control bits under which general detect goes to the host; 0: never (spec 8)."""
    icebp_to_host: bool = True
    """INT1 is taken under S or H; AMD has an intercept of its own for it (spec 4.4)."""
    bp_to_host: bool = True
    """USE_SW_BP is honoured; the emulator raises #BP by itself, or fails (spec 12)."""

    hardware_breakpoints: bool = True
    """USE_HW_BP loads the debug registers; in 2008 it only turned the intercept on (spec 13)."""
    data_breakpoints: bool = True
    """Data breakpoints exist; the emulator checks execution only (spec 9)."""
    rf_shields_host: bool = True
    """RF=1 passes the host's execution breakpoints (spec 9)."""
    mov_ss_shields_code: bool = True
    """MOV SS holds off a code breakpoint behind it: Intel does, AMD does not (spec 9)."""
    mov_ss_holds_trap: bool = True
    """MOV SS holds its single-step trap for one instruction (spec 10)."""

    exit_has_dr6: bool = True
    exit_has_dr7: bool = True
    """What a #DB exit fills in; what it leaves is shown as 0 (spec 7)."""
    cuts_pc: bool = True
    """The exit's pc is cut to 32 bits outside 64-bit mode (spec 7)."""

    rep_elements: int = 1
    """A step over a REP string instruction ends where its count is a multiple of this (spec 10)."""
    finishes_out: bool = False
    """OUT is over when its exit comes, and its step is lost (spec 11)."""
    loses_out_7e: bool = False
    """A stepped OUT to port 0x7E gives its step and no IO exit (KVM_X86_QUIRK_OUT_7E_INC_RIP)."""
    keeps_mmio_step: bool = True
    """The step over a store to MMIO is reported after its exit (spec 11)."""
    fails_on_int: bool = False
    """The emulator fails on INT1, and outside real mode on INT n and INT3 (spec 12)."""
    hlt_is_a_step: bool = False
    """A stepped HLT is a step and no HLT exit (spec 10)."""
    reports_skipped: bool = True
    """Instructions that KVM carries out itself are steps too (spec 13)."""

    refuses_second_injection: bool = True
    """INJECT_DB and INJECT_BP fail with EBUSY while an exception is queued (spec 3)."""
    injected_bp: str = "rip"
    """An injected #BP returns to RIP, or behind the INT3 that lies there ("rip"); to RIP plus the
    length of the last #BP, whatever lies there ("stale"); or behind the INT3 that lies there, and
    is not delivered where none lies ("dropped"; spec 7)."""
    skips_injected_int3: bool = True
    """A re-injected #BP returns behind the INT3 at RIP (spec 7)."""
    upper_half_first: bool = False
    """MOV to DR6 or DR7 looks at bits 63:32 before anything else (spec 8)."""
    refuses_wide_dr7: bool = False
    """A host DR7 above 32 bits makes the next entry fail (spec 3)."""
    virtual_debug_registers: bool = True
    """The guest's MOV DR works; in 2008 it read constants and wrote nothing (spec 13)."""
    blocks_interrupts: bool = True
    """KVM_GUESTDBG_BLOCKIRQ exists."""


REFERENCE: Final = Profile("reference")
"""Linux 7.2's rules on VMX, without its leaks (spec 14)."""

VMX: Final = Profile(
    "vmx",
    pushf_hides_tf=False,
    frames_hide_tf=False,
    loses_out_7e=True,
    keeps_mmio_step=False,
    injected_bp="stale",
    refuses_wide_dr7=True,
)

SVM: Final = replace(
    VMX,
    name="svm",
    gd_control=_S | _H,
    icebp_to_host=False,
    mov_ss_shields_code=False,
    cuts_pc=False,
    injected_bp="dropped",
)

EMU618: Final = Profile(
    "emu618",
    frames_hide_tf=False,
    steps_by_flag=True,
    guest_gets_its_own=True,
    gd_control=0,
    bp_to_host=False,
    data_breakpoints=False,
    rf_shields_host=False,
    mov_ss_shields_code=False,
    mov_ss_holds_trap=False,
    exit_has_dr7=False,
    rep_elements=1024,
    finishes_out=True,
    keeps_mmio_step=False,
    fails_on_int=True,
    upper_half_first=True,
    hlt_is_a_step=True,
    skips_injected_int3=False,
)

K08: Final = Profile(
    "k08",
    pushf_hides_tf=False,
    frames_hide_tf=False,
    hides_rf=True,
    hardware_breakpoints=False,
    exit_has_dr6=False,
    exit_has_dr7=False,
    cuts_pc=False,
    keeps_mmio_step=False,
    reports_skipped=False,
    refuses_second_injection=False,
    virtual_debug_registers=False,
    blocks_interrupts=False,
)

PROFILES: Final = {profile.name: profile for profile in (REFERENCE, VMX, SVM, EMU618, K08)}


def find_profile(name: str) -> Profile:
    """The profile of that name. UnknownName lists those that there are.

    >>> find_profile("svm").icebp_to_host
    False
    """
    if name not in PROFILES:
        raise UnknownName(f'unknown profile "{name}"; choose {", ".join(PROFILES)}')
    return PROFILES[name]
