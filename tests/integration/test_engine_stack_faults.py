"""A non-canonical address raises #SS(0) where the stack is meant, and #GP(0) elsewhere."""

from __future__ import annotations

import pytest

from kvmdbg.exits import HltExit
from tests.guests.bench import Bench

OUT = 1 << 63
STACK = [
    "push rax",
    "pop rax",
    "call next",
    "ret",
    "leave",
    "pushf",
    "popf",
    "push qword ptr [0x9000]",
    "pop qword ptr [0x9000]",
    "enter 8, 0",
    "mov rax, [rsp]",
    "mov [rbp + 8], rax",
    "mov rax, [rsp + rcx*8 - 128]",
    "inc dword ptr [rbp]",
]
DATA = [
    "mov rax, [rbx]",
    "mov rax, [r12]",
    "mov rax, [r13 + 8]",
    "mov rax, [rbx + rbp*2]",
    "mov rax, fs:[rsp]",
    "lodsq",
    "jmp rbx",
]


def raised(instruction: str) -> tuple[int, int]:
    """The vector in RDX and the error code; the handlers have a stack of their own (IST1)."""
    text = f"""
        {instruction}
    next: hlt
    on_gp: mov edx, 13
        pop rcx
        hlt
    on_ss: mov edx, 12
        pop rcx
        hlt
    """
    with Bench(text) as b:
        b.gate(13, "on_gp", ist=1)
        b.gate(12, "on_ss", ist=1)
        b.set(rsp=OUT, rbp=OUT, rbx=OUT, rsi=OUT, r12=OUT, r13=OUT, rcx=1)
        assert b.run() == HltExit()
        return b.reg("rdx"), b.reg("rcx")


@pytest.mark.parametrize("instruction", STACK)
def test_a_non_canonical_stack_is_a_stack_fault(instruction: str) -> None:
    assert raised(instruction) == (12, 0)


@pytest.mark.parametrize("instruction", DATA)
def test_a_non_canonical_address_elsewhere_is_a_general_protection_fault(instruction: str) -> None:
    assert raised(instruction) == (13, 0)
