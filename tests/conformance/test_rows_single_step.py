"""Rows 1-25: the host's single-step. Every stop is the whole exit that KVM_RUN returns."""

from __future__ import annotations

import pytest

from kvmdbg import guestdebug as gd
from kvmdbg.exits import DebugExit, Exit, HltExit, IntrExit, MmioExit
from kvmdbg.guestdebug import DebugState
from kvmdbg.uapi import MpState
from kvmdbg.x86.registers import RFLAGS, DebugRegs
from tests.conformance.rows import row
from tests.guests.apic import FACES, Apic, name_of, run_to
from tests.guests.bench import BS, MODES, NONE, B, Bench, E, H, K, S

TF = int(RFLAGS.TF)
STACK = {"real": "ax", "protected": "eax", "long": "rax"}
TWO_OR_FOUR = "nop\nmov ax, 1\nnop\nhlt"
"""The MOV has an operand-size prefix but in real mode: 4 bytes there, 3 bytes here."""


def stop(pc: int, dr7: int = 0x400) -> DebugExit:
    """A single-step report: D(1, pc, BS)."""
    return DebugExit(1, pc, BS, dr7)


def steps(b: Bench, count: int) -> list[Exit]:
    """As the kernel's selftest steps: KVM_SET_GUEST_DEBUG before each KVM_RUN."""
    return [b.run(E | S) for _ in range(count)]


def pure(control: int, rip: int = 0x8000) -> DebugState:
    return gd.set_guest_debug(DebugState(), control, (0,) * 8, rip)


@pytest.mark.parametrize(
    ("mode", "places"),
    [
        pytest.param("long", [0x8001, 0x8005, 0x8006], marks=row(1)),
        pytest.param("protected", [0x8001, 0x8005, 0x8006], marks=row(2)),
        pytest.param("real", [0x8001, 0x8004, 0x8005], marks=row(3)),
    ],
)
def test_a_step_stops_after_each_instruction(mode: str, places: list[int]) -> None:
    with Bench(TWO_OR_FOUR, mode) as b:
        assert steps(b, 3) == [stop(pc) for pc in places]
        assert b.reg("rip") == places[-1]


def at_cs_800(b: Bench) -> None:
    """CS.base 0x8000 and IP 0, in real mode."""
    sregs = b.vcpu.get_sregs()
    b.vcpu.set_sregs(sregs._replace(cs=sregs.cs._replace(base=0x8000, selector=0x800)))
    b.set(rip=0)


@row(4)
def test_the_pc_of_a_step_is_linear_and_rip_is_the_offset() -> None:
    with Bench("nop\nnop\nhlt", "real") as b:
        at_cs_800(b)
        assert b.run(E | S) == stop(0x8001)
        assert b.reg("rip") == 1


@row(4)
def test_a_step_off_an_execution_breakpoint_is_linear_too() -> None:
    with Bench("nop\nnop\nhlt", "real") as b:
        at_cs_800(b)
        b.sgd(E | H, dr7=0x402, dr0=0x8001)
        assert b.vcpu.run() == DebugExit(1, 0x8001, B(0), 0x402)
        assert b.run(E | S) == stop(0x8002)
        assert b.reg("rip") == 2


@row(5)
@pytest.mark.parametrize("mode", MODES)
def test_single_stepping_stays_on_over_plain_instructions(mode: str) -> None:
    with Bench("nop\nnop\nnop\nhlt", mode) as b:
        b.sgd(E | S)
        assert [b.run() for _ in range(3)] == [stop(pc) for pc in (0x8001, 0x8002, 0x8003)]


@row(6)
@pytest.mark.parametrize("mode", MODES)
def test_switched_off_single_stepping_lets_the_guest_run(mode: str) -> None:
    with Bench("nop\nnop\nhlt", mode) as b:
        assert b.run(E | S) == stop(0x8001)
        assert b.run(0) == HltExit()
        assert b.reg("rip") == 0x8003


@row(6)
def test_switching_off_takes_tf_out_of_the_machine() -> None:
    seen = gd.rflags_read(pure(E | S), 2 | TF)
    assert gd.rflags_written(pure(0), seen, 0x8000) == 2


@row(7)
@pytest.mark.parametrize("mode", MODES)
def test_single_stepping_without_enable_is_no_stepping(mode: str) -> None:
    with Bench("nop\nhlt", mode) as b:
        assert b.run(S) == HltExit()


@row(7)
def test_the_control_word_without_enable_is_kept_as_0() -> None:
    assert pure(S).control == 0
    assert gd.rflags_written(pure(S), 2, 0x8000) == 2


@row(8)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_over_a_jump_stops_at_its_target(mode: str) -> None:
    with Bench("jmp target\nnop\ntarget: nop\nhlt", mode) as b:
        assert b.run(E | S) == stop(b["target"])


@row(9)
@pytest.mark.parametrize("mode", MODES)
def test_steps_follow_a_call_into_its_function_and_back(mode: str) -> None:
    with Bench("call function\nback: hlt\nfunction: ret", mode) as b:
        assert steps(b, 2) == [stop(b["function"]), stop(b["back"])]


@row(10)
@pytest.mark.parametrize("mode", MODES)
def test_loop_stops_each_time_around(mode: str) -> None:
    with Bench("mov ecx, 3\nagain: loop again\nafter: nop\nhlt", mode) as b:
        assert steps(b, 4) == [stop(b["again"])] * 3 + [stop(b["after"])]


@row(11)
@pytest.mark.parametrize("mode", MODES[1:])
def test_instructions_that_kvm_carries_out_are_steps_like_others(mode: str) -> None:
    with Bench("cpuid\nmov ecx, 0xc0000080\nrdmsr\nnop\nhlt", mode) as b:
        assert steps(b, 4) == [stop(pc) for pc in (0x8002, 0x8007, 0x8009, 0x800A)]


def self_ipi_guest(apic: Apic) -> Bench:
    """The kernel selftest's guest: a self-IPI waits, and a WRMSR that KVM may take a short cut for.

    Its handler of the IPI stands at ``taken``.
    """
    text = f"""
            {apic.enable()}
            {apic.self_ipi(0xAB)}
    at0:    sti
    at1:    xor eax, eax
    at2:    cpuid
    at3:    mov ecx, 0x6e0
    at4:    wrmsr
    at5:    cli
    at6:    hlt
    taken:  hlt
    """
    b = apic.bench(text)
    b.gate(0xAB, "taken")
    run_to(b, "at0")
    return b


@row(12)
@pytest.mark.parametrize("apic", FACES, ids=name_of)
def test_a_pending_self_ipi_is_not_taken_while_stepping_with_blockirq(apic: Apic) -> None:
    with self_ipi_guest(apic) as b:
        stops = [b.run(E | S | K) for _ in range(6)]
        assert stops == [stop(b[f"at{n}"]) for n in range(1, 7)]
        assert (b.run(0), b.reg("rip")) == (HltExit(), b["at6"] + 1)


@row(12)
def test_the_stops_of_the_self_ipi_guest_are_where_the_kernels_selftest_has_them() -> None:
    with self_ipi_guest(Apic(x2=True)) as b:
        stops = [b.run(E | S | K) for _ in range(6)]
        assert stops == [stop(b["at0"] + n) for n in (1, 3, 5, 10, 12, 13)]


@row(12)
@pytest.mark.parametrize("apic", FACES, ids=name_of)
def test_without_blockirq_the_self_ipi_is_taken_behind_the_shadow_of_sti(apic: Apic) -> None:
    with self_ipi_guest(apic) as b:
        assert (b.run(0), b.reg("rip")) == (HltExit(), b["taken"] + 1)
        width = {"real": 2, "protected": 4, "long": 8}[apic.mode]
        assert b.word(b.reg("rsp"), width) == b["at2"]


MMIO_READ = "mov eax, [0xd0000000]\nnext: nop\nnop\nhlt"


@row(13)
@pytest.mark.parametrize("mode", ["protected", "long"])
def test_an_mmio_read_ends_its_step_at_the_next_instruction(mode: str) -> None:
    with Bench(MMIO_READ, mode) as b:
        assert b.run(E | S) == MmioExit(0xD0000000, bytes(4), False)
        b.vcpu.complete_io(b"\x78\x56\x34\x12")
        assert b.run() == stop(b["next"])
        assert b.reg("rax") == 0x12345678


@row(13)
@pytest.mark.parametrize("mode", ["protected", "long"])
def test_after_an_emulated_instruction_a_step_must_be_asked_for_again(mode: str) -> None:
    with Bench(MMIO_READ, mode) as b:
        b.run(E | S)
        b.vcpu.complete_io(bytes(4))
        assert b.run() == stop(b["next"])
        assert b.run() == HltExit()


@row(13)
@pytest.mark.parametrize("mode", ["protected", "long"])
def test_a_step_asked_for_again_after_an_emulated_instruction_is_a_step(mode: str) -> None:
    with Bench(MMIO_READ, mode) as b:
        b.run(E | S)
        b.vcpu.complete_io(bytes(4))
        b.run()
        assert b.run(E | S) == stop(b["next"] + 1)


@row(13)
def test_flags_written_back_at_another_rip_have_no_tf() -> None:
    stepping = pure(E | S, 0x8000)
    assert gd.rflags_written(stepping, gd.rflags_read(stepping, 2 | TF), 0x8007) == 2


@row(14)
@pytest.mark.parametrize("mode", MODES)
def test_single_stepping_stays_on_over_an_instruction_that_kvm_skips(mode: str) -> None:
    with Bench("cpuid\nnop\nnop\nhlt", mode) as b:
        b.sgd(E | S)
        assert [b.run() for _ in range(3)] == [stop(pc) for pc in (0x8002, 0x8003, 0x8004)]


@row(15)
@pytest.mark.parametrize("mode", MODES)
def test_set_regs_at_another_rip_loses_the_step(mode: str) -> None:
    with Bench("nop\nnop\nnop\nnop\nhlt", mode) as b:
        b.sgd(E | S)
        b.set(rip=0x8001)
        assert b.run() == HltExit()


@row(14)
@pytest.mark.parametrize(
    "skipped", ["rdmsr", "wrmsr", "rdtsc", "mov rax, cr0", "mov rax, dr7", "invlpg [rax]", "wbinvd"]
)
def test_single_stepping_stays_on_over_every_kind_of_skipped_instruction(skipped: str) -> None:
    with Bench(f"{skipped}\nnext: nop\nhlt") as b:
        b.set(rcx=0x174)
        b.sgd(E | S)
        assert [b.run() for _ in range(2)] == [stop(b["next"]), stop(b["next"] + 1)]


@row(15)
def test_tf_is_armed_only_where_set_guest_debug_was_called() -> None:
    assert gd.rflags_written(pure(E | S, 0x8000), 2, 0x8001) == 2


@row(16)
@pytest.mark.parametrize("mode", MODES)
def test_set_regs_at_the_same_rip_keeps_the_step(mode: str) -> None:
    with Bench("nop\nnop\nnop\nnop\nhlt", mode) as b:
        b.sgd(E | S)
        b.set(rflags=2)
        assert b.run() == stop(0x8001)


@row(16)
def test_tf_is_armed_again_by_flags_written_at_the_same_rip() -> None:
    assert gd.rflags_written(pure(E | S, 0x8000), 2, 0x8000) == 2 | TF


@row(16)
def test_set_regs_there_and_back_keeps_the_step() -> None:
    with Bench("nop\nnop\nhlt") as b:
        b.sgd(E | S)
        b.set(rip=0x8001)
        b.set(rip=0x8000)
        assert b.run() == stop(0x8001)


@row(17)
@pytest.mark.parametrize("mode", MODES)
def test_set_regs_before_set_guest_debug_steps_from_the_new_place(mode: str) -> None:
    with Bench("nop\nnop\nnop\nnop\nhlt", mode) as b:
        b.set(rip=0x8002)
        assert b.run(E | S) == stop(0x8003)


@row(18)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_hlt_is_a_hlt_exit_and_no_stop(mode: str) -> None:
    with Bench("hlt\nnop\nhlt", mode) as b:
        assert b.run(E | S) == HltExit()
        assert b.reg("rip") == 0x8001
        assert b.run(E | S) == stop(0x8002)


def with_chips(text: str, mode: str) -> Bench:
    """A guest with the in-kernel irqchip."""
    b = Bench(text, mode)
    b.vcpu.create_irqchip()
    return b


@row(19)
@pytest.mark.parametrize("mode", MODES)
def test_with_a_lapic_a_stepped_hlt_is_a_stop_and_the_processor_sleeps(mode: str) -> None:
    with with_chips("hlt\nnop", mode) as b:
        assert b.run(E | S) == stop(0x8001)
        assert b.vcpu.get_mp_state() is MpState.HALTED


@row(19)
@pytest.mark.parametrize("mode", MODES)
def test_a_processor_that_sleeps_after_a_stepped_hlt_executes_nothing(mode: str) -> None:
    with with_chips("hlt\nnop", mode) as b:
        b.run(E | S)
        assert (b.run(E | S), b.reg("rip")) == (HltExit(), 0x8001)


@row(19)
@pytest.mark.parametrize("mode", MODES)
def test_a_processor_woken_after_a_stepped_hlt_is_stepped_on(mode: str) -> None:
    with with_chips("hlt\nnop\nhlt", mode) as b:
        b.run(E | S)
        b.vcpu.set_mp_state(MpState.RUNNABLE)
        assert b.run(E | S) == stop(0x8002)


@row(20)
@pytest.mark.parametrize("mode", MODES)
def test_a_popf_that_clears_tf_is_still_a_step(mode: str) -> None:
    with Bench("push 2\nafter_push: popf\nafter_popf: nop\nafter_nop: hlt", mode) as b:
        places = [b["after_push"], b["after_popf"], b["after_nop"]]
        assert steps(b, 3) == [stop(pc) for pc in places]


@row(20)
@pytest.mark.parametrize("mode", MODES)
def test_after_a_popf_that_clears_tf_a_step_must_be_asked_for_again(mode: str) -> None:
    with Bench("push 2\npopf\nafter_popf: nop\nnop\nhlt", mode) as b:
        b.sgd(E | S)
        b.run()
        assert b.run() == stop(b["after_popf"])
        assert b.run() == HltExit()


@row(21)
@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_pushf_pushes_no_tf(mode: str) -> None:
    with Bench(f"pushf\npop {STACK[mode]}\nnop\nhlt", mode) as b:
        steps(b, 2)
        assert b.reg("rax") == 2


@row(21)
def test_the_reference_profile_hides_the_hosts_tf_and_only_that() -> None:
    assert gd.pushes_hidden_tf(pure(E | S))
    assert not gd.pushes_hidden_tf(pure(E | H))


@row(22)
@pytest.mark.parametrize("mode", MODES)
def test_get_regs_after_a_step_shows_no_tf(mode: str) -> None:
    with Bench("nop\nhlt", mode) as b:
        b.run(E | S)
        assert b.reg("rflags") == 2


@row(22)
def test_flags_read_while_stepping_have_no_tf() -> None:
    assert gd.rflags_read(pure(E | S), 2 | TF) == 2


@row(23)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_leaves_the_guests_debug_registers(mode: str) -> None:
    with Bench("nop\nhlt", mode) as b:
        b.run(E | S)
        assert b.vcpu.get_debugregs() == DebugRegs((0, 0, 0, 0), NONE, 0x400)


@row(24)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_reports_the_guests_dr7(mode: str) -> None:
    with Bench("nop\nhlt", mode) as b:
        b.vcpu.set_debugregs(DebugRegs(dr7=0x455))
        assert b.run(E | S) == stop(0x8001, dr7=0x455)


@row(24)
def test_the_dr7_of_an_exit_is_the_effective_one() -> None:
    state = gd.set_debugregs(pure(E | S), DebugRegs(dr7=0x455))
    assert gd.db_exit(state, 0x8001, 0x4000) == stop(0x8001, dr7=0x455)


@row(25)
@pytest.mark.parametrize("mode", MODES)
def test_an_immediate_exit_runs_nothing_and_the_step_comes_after_it(mode: str) -> None:
    with Bench("nop\nnop\nhlt", mode) as b:
        b.sgd(E | S)
        b.vcpu.request_stop()  # kvm_run.immediate_exit, whose EINTR is an exit here
        assert b.run() == IntrExit("request")
        assert b.reg("rip") == 0x8000
        assert b.run() == stop(0x8001)
