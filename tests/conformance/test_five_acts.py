"""The five acts of the kernel's guest-debug selftest, on the bare ioctl line, in every mode."""

from __future__ import annotations

import pytest

from kvmdbg.exits import DebugExit, HltExit
from tests.conformance.rows import row
from tests.guests.bench import BD, BS, MODES, B, Bench, E, H, K, S, W

GUEST = """
start:  nop
sw_bp:  int3
hw_bp:  nop
        nop
write:  mov dword ptr [value], eax
wrote:  nop
        hlt
        .balign 8
value:  .quad 0
"""


@row(26)
@pytest.mark.parametrize("mode", MODES)
def test_act_1_int3_stops_at_the_int3_with_use_sw_bp(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        exit_ = b.run(E | W)
        assert isinstance(exit_, DebugExit)
        assert (exit_.exception, exit_.pc, b.reg("rip")) == (3, b["sw_bp"], b["sw_bp"])


@row(41)
@row(45)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("slot", range(4))
def test_act_2_an_execution_breakpoint_stops_before_the_instruction(mode: str, slot: int) -> None:
    with Bench(GUEST, mode) as b:
        b.set(rip=b["hw_bp"] - 0)
        dr7 = 0x400 | 2 << 2 * slot
        for _ in range(3):  # KVM sets no RF: it hits again and again
            b.sgd(E | H, dr7=dr7, **{f"dr{slot}": b["hw_bp"]})
            assert b.vcpu.run() == DebugExit(1, b["hw_bp"], B(slot), dr7)


@row(63)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("slot", range(4))
def test_act_3_a_data_breakpoint_stops_after_the_write(mode: str, slot: int) -> None:
    with Bench(GUEST, mode) as b:
        b.set(rip=b["hw_bp"], rax=0x1234)
        dr7 = 0x400 | 2 << 2 * slot | 0xD << (16 + 4 * slot)
        b.sgd(E | H, dr7=dr7, **{f"dr{slot}": b["value"]})
        assert b.vcpu.run() == DebugExit(1, b["wrote"], B(slot), dr7)
        assert b.word(b["value"], 4) == 0x1234


SIX_STEPS = """
start:  sti
        xor eax, eax
        cpuid
        mov ecx, 0x6e0
        wrmsr
        cli
        hlt
"""


@row(12)
def test_act_4_six_single_steps_stop_after_each_instruction() -> None:
    with Bench(SIX_STEPS) as b:
        stops = []
        for _ in range(6):
            b.sgd(E | S | K, dr7=0x400)
            stops.append(b.vcpu.run())
        places = [b["start"] + n for n in (1, 3, 5, 10, 12, 13)]
        assert stops == [DebugExit(1, pc, BS, 0x400) for pc in places]


@row(140)
@row(141)
@pytest.mark.parametrize("mode", MODES)
def test_act_5_general_detect_stops_at_the_mov_dr_again_and_again(mode: str) -> None:
    register = "rax" if mode == "long" else "eax"
    with Bench(f"nop\nhere: mov {register}, dr0\nhlt", mode) as b:
        for _ in range(2):
            b.sgd(E | H, dr7=0x2400)
            assert b.vcpu.run() == DebugExit(1, b["here"], BD, 0x2400)


@pytest.mark.parametrize("mode", MODES)
def test_after_the_acts_the_guest_runs_to_its_end_with_debugging_off(mode: str) -> None:
    with Bench(GUEST, mode) as b:
        b.set(rip=b["hw_bp"])
        b.sgd(E | S | H, dr7=0x402, dr0=b["hw_bp"])
        b.vcpu.run()
        assert b.run(0) == HltExit()
