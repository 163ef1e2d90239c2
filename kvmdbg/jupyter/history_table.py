"""The part of the table of commands that asks what happened; see ``commands``.

Must not know: what a command does.
"""

from __future__ import annotations

from ..exits import ExitReason
from ..history.lanes import CAUSES
from .arguments import Command, Option

REASONS = tuple(reason.name.lower() for reason in ExitReason)

TIMELINE = Command(
    "%vm timeline",
    "[N] [options]",
    "Every exit of the guest to its host; the last N rows as a table (20).",
    options=(
        Option("--reason", "REASON", "only exits of this reason", REASONS),
        Option("--cause", "CAUSE", "only debug exits with this cause", tuple(CAUSES)),
        Option("--exception", "VECTOR", "only with this vector, as #PF or 14", takes="vector"),
        Option("--at", "WHERE", "only where the guest stood there", takes="label"),
        Option(
            "--between",
            "A:B",
            "only from one moment to another: clocks or bookmarks",
            takes="span",
        ),
        Option("--stats", "", "also causes, and how far the exits are apart"),
    ),
    words=(0, 1),
    takes=("number",),
    details=(
        "REASON  KVM's exit reason: debug, hlt, io, mmio, exception, shutdown, intr,\n"
        "        irq_window_open, internal_error, fail_entry, hypercall, set_tpr, unknown\n"
        "CAUSE   of debug exits, as DR6 says: INT3, DR0, DR1, DR2, DR3, step, GD (an access to a\n"
        "        debug register), task (a task switch)\n"
        "The line gives back the Timeline or the Selection: t.to_pandas(), t.gaps(), ..."
    ),
    examples=(
        ("%vm timeline", "a picture, and the last 20 exits"),
        ("%vm timeline 5", "the last five"),
        ("%vm timeline --exception #DB --at loop", "only debug exceptions at a label"),
        ("%vm timeline --reason debug --between 0:1000 --stats", "counted, and their distances"),
    ),
)

DIFF = Command(
    "%vm diff",
    "A [B]",
    "What differs between two moments; without B between A and now.",
    words=(1, 2),
    takes=("moment",),
    details=(
        "A and B are clocks or bookmarks.\n"
        "Registers, flags, debug and system registers, bytes of memory, side by side. The guest\n"
        "stays where it is. The line gives back the Diff: d.registers, d.memory, ...\n"
        "Two VMs: kvmdbg.first_divergence(a, b) finds the first clock at which they differ."
    ),
    examples=(
        ("%step 3\n%vm diff 1", "since one instruction had been executed"),
        ("%step 3\n%vm bookmark here\n%vm diff 0 here", "from the beginning to a bookmark"),
    ),
)

WHO = Command(
    "%vm who",
    "WHERE|REGISTER [LENGTH]",
    "Who wrote memory, or changed a register, last before now.",
    words=(1, 2),
    takes=("writable", "number"),
    details=(
        "WHERE is a label, label+4, a number, $rsp+8; LENGTH is in bytes (1).\n"
        "REGISTER is a general one or rflags; eax or ah mean rax.\n"
        "The guest stays where it is. The line gives back the Writer: w.clock, w.old, w.new, ..."
    ),
    examples=(
        ("%step 3\n%vm who counter 4", "the last writer of four bytes"),
        ("%step 3\n%vm who rcx", "the instruction that changed a register last"),
    ),
)

WHEN = Command(
    "%vm when",
    "rip==WHERE | WHERE",
    "Every time that an instruction was about to run, in the whole recording.",
    words=(1, 8),
    takes=("when",),
    details=(
        "The recorded future counts too; the guest stays where it is.\n"
        "The line gives back the Times: t.clocks, t.first, t.before, len(t), ..."
    ),
    examples=(("%vm when loop", "every turn so far"), ("%vm when rip==loop", "the same")),
)

UNDO = Command(
    "%vm undo",
    "",
    "Take back your last change of registers or memory.",
    details=(
        "One line of %vm set is one change. Again: the one before. If the guest has run since, go\n"
        "back to the change first; the refusal names its clock."
    ),
    examples=(("%vm set rax=5 rbx=6\n%vm undo", "both are as they were"),),
)

RECORD = Command(
    "%vm record",
    "[on|off]",
    "Record every instruction from now on, or no more.",
    words=(0, 1),
    takes=("switch",),
    details="What each changed and wrote; the latest some ten million are kept. See %vm trace.",
    examples=(
        ("%vm record on", "from here on"),
        ("%vm record off", "no more; what was recorded stays"),
        ("%vm record on\n%step 3\n%vm trace", "and look at it"),
    ),
)

TRACE = Command(
    "%vm trace",
    "[N]",
    "The last N recorded instructions (20): clock, changed registers, writes.",
    words=(0, 1),
    takes=("number",),
    details="After %vm record on. The line gives back the Trace: t.to_pandas(), t.find_pc(), ...",
    examples=(("%vm record on\n%step 3\n%vm trace 2", "the last two"),),
)

PAST = (WHO, WHEN, UNDO, RECORD, TRACE)
