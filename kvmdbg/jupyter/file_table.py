"""The part of the table of commands that writes files and reads them; see ``commands``.

Must not know: what a command does.
"""

from __future__ import annotations

from .arguments import Command, Option

EXPORTS = ("c", "chrome", "tenet")

SAVE = Command(
    "%vm save",
    "FILE",
    "Write the guest's whole way to a file (.kvmdbg), for %vm open.",
    words=(1, 1),
    takes=("file",),
    examples=(("%step 3\n%vm save demo.kvmdbg", "three instructions, to be looked at later"),),
)

OPEN = Command(
    "%vm open",
    "FILE [--live]",
    "Open a recording at its end: a replay, to go back and forth in.",
    options=(Option("--live", "", "an ordinary VM, which can go on and change its past"),),
    words=(1, 1),
    takes=("file",),
    examples=(
        (
            "%step 3\n%vm save demo.kvmdbg\n%vm open demo.kvmdbg\n%step back",
            "a way back",
        ),
    ),
)

EXPORT = Command(
    "%vm export",
    "KIND [FILE] [--exits N]",
    "The guest and its exits for others; KIND c without FILE: show it.",
    options=(Option("--exits", "N", "c: how many exits are foreseen (16)"),),
    words=(1, 2),
    takes=("export", "file"),
    details=(
        "c       a C program against linux/kvm.h, without anything of ours; it compares each\n"
        "        exit of the real KVM with the one that a copy of the guest has foreseen, by\n"
        "        the debug setting that was given last. The forecast ends at HLT, at a triple\n"
        "        fault, or where no exit comes.\n"
        "chrome  the timeline as JSON for chrome://tracing and Perfetto: a thread for each\n"
        "        kind of exit, and the bookmarks; one microsecond there is one instruction\n"
        "tenet   vm.trace for Tenet, a trace explorer: one line an instruction\n"
        "The guest stays as it is."
    ),
    examples=(
        ("%vm export c", "look at it"),
        ("%vm export c guest.c --exits 4", "then: gcc -o guest guest.c && ./guest"),
        ("%vm export chrome exits.json", "then open it in Perfetto"),
    ),
)
