"""The cells with which the notebooks begin: a guest that counts, and exits of several kinds.

Must not know: what is measured.
"""

from __future__ import annotations

from typing import Final

LOAD: Final = "%load_ext kvmdbg"

COUNTER: Final = """%%asm
start:   mov   ecx, 1000000000
again:   inc   qword ptr [counter]
         add   rax, 3
odd:     xor   rbx, rax
         dec   ecx
         jnz   again
         hlt
         .balign 8
counter: .quad 0"""


def exits(count: int) -> str:
    """A cell after which the timeline of :data:`COUNTER` has exactly so many exits, in five lanes.

    In ten turns: a third by INT3, some by watchpoints whose conditions do not hold (every
    second of them in DR1), the rest steps.
    """
    return f"""
for turn in range(10):
    odd = vm.bp("odd")
    vm.cont(hits={count // 30})
    vm.breakpoints.delete(odd.number)
    watches = vm.bp("counter", access="w", when="0 == 1"), vm.bp("again", kind="hw", when="0 == 1")
    vm.cont(max_instructions={count // 1000})
    for entry in watches:
        vm.breakpoints.delete(entry.number)
    vm.step({count} * (turn + 1) // 10 - len(vm.timeline))
"""
