"""Guests that die of their tables, and what their explanation says: shared by the tests of why."""

from __future__ import annotations

from collections.abc import Callable

from kvmdbg import Vm
from kvmdbg.debugger.evidence import Evidence
from kvmdbg.debugger.explain import ExplainedStep, Explanation

PD, PT, HIDDEN = 0x10000, 0x11000, 0x20000

PAGING = f"""
start:  mov eax, {PD:#x}
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80010000
        mov cr0, eax
        {{}}
        hlt
"""
"""32-bit paging with WP; {} is what it is about."""

TO_CPL3 = """
start:  push 0x23
        push 0x6800
        push 2
        push {cs}
        push offset user
        {back}
user:   {{}}
handler: hlt
"""
TO_CPL3_LONG = TO_CPL3.format(cs="0x2b", back="iretq")
TO_CPL3_PROTECTED = TO_CPL3.format(cs="0x1b", back="iretd")

Make = Callable[..., Vm]


def map_low_memory(vm: Vm) -> None:
    """One page table for the first 4 MiB, identity, all rights."""
    vm.memory[PD : PD + 4] = (PT | 7).to_bytes(4, "little")
    for page in range(1024):
        set_pte(vm, page << 12, page << 12 | 7)


def set_pte(vm: Vm, linear: int, entry: int) -> None:
    place = PT + (linear >> 12) * 4
    vm.memory[place : place + 4] = entry.to_bytes(4, "little")


def paged(make: Make, instruction: str, entry: int) -> Vm:
    """A guest that accesses ``HIDDEN``, whose PTE is ``entry``, and dies of it."""
    vm = make(PAGING.format(instruction), "protected")
    map_low_memory(vm)
    set_pte(vm, HIDDEN, entry)
    vm.cont()
    return vm


def titles(why: Explanation) -> list[str]:
    return [step.title.split(" ")[0] for step in why.steps]


def only(step: ExplainedStep, what: str) -> Evidence:
    """The one piece of evidence of that name."""
    (found,) = [item for item in step.evidence if item.what == what]
    return found


def wrong(step: ExplainedStep) -> dict[str, str]:
    return {item.what: item.wrong for item in step.wrong}
