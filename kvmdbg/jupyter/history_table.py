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
        Option("--exception", "VECTOR", "only with this vector, as #PF or 14"),
        Option("--at", "WHERE", "only where the guest stood there"),
        Option("--between", "A:B", "only from one moment to another: clocks or bookmarks"),
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
        ("%vm timeline", ""),
        ("%vm timeline 5", ""),
        ("%vm timeline --reason debug --between 0:1000 --stats", "counted, and their distances"),
    ),
)

DIFF = Command(
    "%vm diff",
    "A [B]",
    "What differs between two moments; without B between A and now.",
    words=(1, 2),
    takes=("number",),
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
