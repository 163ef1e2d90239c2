"""The part of the table of commands about live views; see ``commands``.

Must not know: what a command does.
"""

from __future__ import annotations

from .arguments import Command

VIEWS = {
    "machine": "code, registers, memory, stack, console, and buttons to step",
    "timeline": "every exit in lanes: zoom, pan, click to travel",
    "dr": "DR0-DR7 with their owners, to look at and to set",
}
"""The kinds of views, and what they show."""

VIEW = Command(
    "%vm view",
    "[machine|timeline|dr]",
    "A live view of the VM, to watch and to click on; machine if nothing is named.",
    words=(0, 1),
    takes=("view",),
    details=(
        "\n".join(f"{name:<9} {shows}" for name, shows in VIEWS.items())
        + "\nAll views show the same moment, whoever moves the guest: a cell, a button, a click. A"
        "\nsaved notebook keeps the picture of the moment at which the view was made."
    ),
    examples=(("%vm view", "the machine, with buttons"), ("%vm view timeline", "")),
)
