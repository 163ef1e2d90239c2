"""The part of the table of commands that works the ioctl line by hand; see ``commands``.

Must not know: what a command does.
"""

from __future__ import annotations

from .arguments import Command, Option

DEBUG = Command(
    "%vm debug",
    "[FLAG...] [N=WHERE:ACCESS:LEN...] [dr7=NUMBER] | off | inject db|bp",
    "The ioctl line by hand: KVM_SET_GUEST_DEBUG; alone: what was set last.",
    words=(0, 16),
    takes=("setting",),
    details=(
        "FLAG    enable, singlestep, use_sw_bp (or sw_bp), use_hw_bp (or hw_bp), blockirq,\n"
        "        inject_db, inject_bp: the flags KVM_GUESTDBG_*; those not named are off\n"
        "N=...   debug register 0 to 3; ACCESS is x, w or rw (x), LEN is 1, 2, 4 or 8 (1)\n"
        "dr7=    DR7 as a number; then N=WHERE sets the address alone\n"
        "off     the control word 0\n"
        "inject  give the guest #DB or #BP at the next entry; all else stays as it is\n"
        "%vm exit runs with it. %step and %vm run set what they need themselves."
    ),
    examples=(
        ("%vm debug", "what was set last, by whomever"),
        ("%vm debug enable singlestep", "one instruction per %vm exit"),
        ("%vm debug enable hw_bp 0=counter:w:4", "the host's DR0 on four bytes"),
        ("%vm debug enable use_hw_bp 1=loop dr7=0x60a", "DR7 as a number"),
        ("%vm debug inject bp", "the guest gets a #BP"),
        ("%vm debug off", "the guest has its exceptions to itself"),
    ),
)

EXIT = Command(
    "%vm exit",
    "[--max N] [--timeout TIME]",
    "The ioctl line by hand: enter the guest once (KVM_RUN) and show the raw exit.",
    options=(
        Option("--max", "N", "stop after N instructions, as 5000 or 50M", takes="count"),
        Option("--timeout", "TIME", "stop after this time, as 2s or 200ms", takes="time"),
    ),
    details=(
        "Runs with what %vm debug or the last %step has set. The exit goes into the timeline;\n"
        "it is not judged: no breakpoint counts, nothing is re-injected, no port is served.\n"
        "The INT3s of %bp are in memory only under enable and use_sw_bp."
    ),
    examples=(("%vm exit", ""), ("%vm exit --max 1k", "at most a thousand instructions")),
)

RAW = Command(
    "%vm raw",
    "",
    "The two structs of the ioctl line as bytes, field by field.",
    examples=(("%vm raw", ""),),
)

IOCTL = (DEBUG, EXIT, RAW)
