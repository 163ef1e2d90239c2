"""A long-mode guest's #DB handler that keeps a log, for tests that count the guest's own traps."""

from __future__ import annotations

from tests.guests.bench import Bench

SET_TF = "pushf\npop rax\nor rax, 0x100\npush rax\n"

LOGGER = """
logger: push rax
        push rbx
        mov rbx, [rip + noted]
        mov rax, [rsp + 16]
        mov [rbx], rax
        mov rax, dr6
        mov [rbx + 8], rax
        add qword ptr [rip + noted], 16
        mov eax, 0xffff0ff0
        mov dr6, rax
        pop rbx
        pop rax
        iretq
        .balign 8
noted:  .quad log
log:    .fill 32, 8, 0
"""
"""A #DB handler that notes (saved RIP, DR6) and clears DR6."""


def logged(b: Bench) -> list[tuple[int, int]]:
    """What the logger noted, in order."""
    count = (b.word(b["noted"]) - b["log"]) // 16
    return [(b.word(b["log"] + 16 * n), b.word(b["log"] + 16 * n + 8)) for n in range(count)]
