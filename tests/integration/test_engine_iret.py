"""What an IRET brings back: NMIs, RF, and its own flags when it faults."""

from __future__ import annotations

import pytest

from kvmdbg.exits import DebugExit, HltExit
from tests.guests.bench import MODES, B, Bench, E, H, S

BX = {"real": "bx", "protected": "ebx", "long": "rbx"}
IRET = {"real": "iret", "protected": "iretd", "long": "iretq"}
RF = 0x10000
CODES = 0x8D5


def to_its_halt(b: Bench, control: int) -> None:
    for _ in range(40):
        if b.run(control) == HltExit():
            return
    pytest.fail("the guest did not come to its end")


def iret_to_after(flags: int) -> str:
    """IRETQ to the label ``after`` with these RFLAGS."""
    return f"""
        mov rax, rsp
        push 0x10
        push rax
        push {flags:#x}
        push 8
        lea rax, [rip + after]
        push rax
        iretq
    """


@pytest.mark.parametrize("control", [0, E | S])
@pytest.mark.parametrize("mode", MODES)
def test_an_nmi_waits_for_the_iret_of_the_one_before(mode: str, control: int) -> None:
    text = f"nop\nnop\nnop\nhlt\nhandler: inc {BX[mode]}\nnop\n{IRET[mode]}"
    with Bench(text, mode) as b:
        b.gate(2, "handler")
        b.vcpu.nmi()
        b.vcpu.run(max_instructions=1)
        b.vcpu.nmi()
        b.vcpu.run(max_instructions=1)
        assert (b.reg("rbx"), b.vcpu.get_vcpu_events().nmi_masked) == (1, 1)
        to_its_halt(b, control)
        assert (b.reg("rbx"), b.vcpu.get_vcpu_events().nmi_masked) == (2, 0)


def test_an_iret_that_faults_pushes_the_flags_that_were() -> None:
    text = """
            push 0x30
            push 0
            push 2
            push 0x7FF8
            push 0x8000
            mov eax, 0x7FFFFFFF
            add eax, eax
            iretq
    handler: mov rbx, [rsp + 24]
            hlt
    """
    with Bench(text) as b:
        b.gate(13, "handler")
        assert b.run() == HltExit()
        assert b.reg("rbx") & CODES == 0x890  # OF, SF, AF of the ADD


@pytest.mark.parametrize("control", [0, E | S])
def test_the_rf_that_an_iret_loads_is_not_pushed_by_pushf(control: int) -> None:
    with Bench(f"{iret_to_after(RF | 2)}after: pushf\npop rbx\nhlt") as b:
        to_its_halt(b, control)
        assert b.reg("rbx") == 2


def test_the_rf_that_an_iret_loads_shields_one_instruction_once() -> None:
    with Bench(f"mov ebx, 2\n{iret_to_after(RF | 2)}after: dec ebx\njnz after\nhlt") as b:
        b.sgd(E | H, dr7=0x402, dr0=b["after"])
        assert b.vcpu.run() == DebugExit(1, b["after"], B(0), 0x402)
        assert b.reg("rbx") == 1


def test_the_rf_that_an_iret_loads_shows_in_the_registers() -> None:
    with Bench(f"{iret_to_after(RF | 2)}after: nop\nnop\nhlt") as b:
        b.vcpu.run(max_instructions=8)
        assert b.reg("rflags") & RF
        b.vcpu.run(max_instructions=1)
        assert not b.reg("rflags") & RF


def test_a_code_breakpoint_on_an_iret_stops_in_front_of_it() -> None:
    with Bench(f"{iret_to_after(2)}after: jmp again\nagain: hlt") as b:
        assert b.run() == HltExit()  # the IRET is known by now
        at = b["after"] - 2
        b.set(rip=b.program.origin)
        b.sgd(E | H, dr7=0x402, dr0=at)
        assert b.vcpu.run() == DebugExit(1, at, B(0), 0x402)
