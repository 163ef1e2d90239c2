"""Who owns what: TF stays invisible, the guest keeps its own debugging, the host can give back."""

from __future__ import annotations

import errno

import pytest

from kvmdbg.errors import IoctlError
from kvmdbg.exits import DebugExit, HltExit
from kvmdbg.x86.registers import DebugRegs, VcpuEvents
from tests.conformance.rows import row
from tests.guests.bench import BS, IB, ID, MODES, NONE, B, Bench, E, H, S, W

STACK = {"real": "ax", "protected": "eax", "long": "rax"}
IRET = {"real": "iret", "protected": "iretd", "long": "iretq"}


@row(21)
@pytest.mark.parametrize("mode", MODES)
def test_pushf_under_single_step_does_not_show_tf(mode: str) -> None:
    with Bench(f"pushf\npop {STACK[mode]}\nnop", mode) as b:
        b.run(E | S)
        b.run(E | S)
        assert b.reg("rax") & 0xFFFF == 2


@row(22)
def test_get_regs_under_single_step_does_not_show_tf() -> None:
    with Bench("nop\nnop") as b:
        b.run(E | S)
        assert b.reg("rflags") & 0x100 == 0


@row(91)
def test_a_guests_own_tf_shows_in_its_pushf() -> None:
    with Bench("pushf\nor qword ptr [rsp], 0x100\npopf\npushf\npop rax\nh: hlt") as b:
        b.gate(1, "h")
        b.run()
        assert b.word(b.reg("rsp") + 16) & 0x100


@row(91)
@row(95)
@pytest.mark.parametrize("mode", MODES)
def test_a_guest_that_sets_tf_takes_its_own_db(mode: str) -> None:
    size = {"real": "word", "protected": "dword", "long": "qword"}[mode]
    top = (
        "mov bp, sp\nor word ptr [bp], 0x100"
        if mode == "real"
        else (f"or {size} ptr [{'e' if mode == 'protected' else 'r'}sp], 0x100")
    )
    with Bench(f"pushf\n{top}\npopf\nnop\nafter: nop\nhlt\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        assert b.run() == HltExit()
        width = {"real": 2, "protected": 4, "long": 8}[mode]
        assert b.word(b.reg("rsp"), width) == b["after"]
        assert b.word(b.reg("rsp") + 2 * width, width) & 0x100
        assert b.vcpu.get_debugregs().dr6 == BS


@row(96)
@row(97)
@pytest.mark.parametrize("control", [0, E, E | W])
def test_a_guest_db_stays_the_guests_unless_s_or_h(control: int) -> None:
    with Bench("pushf\nor qword ptr [rsp], 0x100\npopf\nnop\nhlt\nhandler: hlt") as b:
        b.gate(1, "handler")
        assert b.run(control) == HltExit()
        assert b.reg("rip") == b["handler"] + 1


@row(98)
def test_a_guest_db_under_use_hw_bp_goes_to_the_host_and_leaves_the_guests_dr6() -> None:
    with Bench("pushf\nor qword ptr [rsp], 0x100\npopf\nnop\nafter: hlt") as b:
        assert b.run(E | H) == DebugExit(1, b["after"], BS, 0x400)
        assert b.vcpu.get_debugregs() == DebugRegs()


MOV_DR = """
        lea rax, [rip + target]
        mov dr0, rax
        mov eax, 0x402
        mov dr7, rax
        nop
target: nop
        hlt
handler:
        inc rbx
        or qword ptr [rsp + 16], 0x10000
        iretq
"""


@row(101)
@row(102)
def test_a_guest_breaks_at_its_own_debug_register_once() -> None:
    with Bench(MOV_DR) as b:
        b.gate(1, "handler")
        assert b.run() == HltExit()
        assert b.reg("rbx") == 1
        assert b.vcpu.get_debugregs() == DebugRegs((b["target"], 0, 0, 0), B(0), 0x402)


@row(107)
@row(139)
def test_under_use_hw_bp_the_guests_breakpoint_is_inert() -> None:
    with Bench(MOV_DR) as b:
        b.gate(1, "handler")
        assert b.run(E | H) == HltExit()
        assert b.reg("rbx") == 0


@row(60)
def test_dropping_use_hw_bp_brings_the_guests_breakpoint_back() -> None:
    with Bench(MOV_DR) as b:
        b.gate(1, "handler")
        b.sgd(E | H, dr7=0x402, dr0=b["target"] - 1)
        assert b.vcpu.run() == DebugExit(1, b["target"] - 1, B(0), 0x402)
        assert b.run(0) == HltExit()
        assert b.reg("rbx") == 1


@row(138)
def test_the_guest_reads_its_own_debug_registers_under_use_hw_bp() -> None:
    with Bench("mov rbx, dr0\nmov rcx, dr7\nmov rdx, dr6\nhlt") as b:
        b.vcpu.set_debugregs(DebugRegs((0x1234, 0, 0, 0)))
        b.sgd(E | H, dr7=0x402, dr0=0x9999)
        assert b.vcpu.run() == HltExit()
        assert (b.reg("rbx"), b.reg("rcx"), b.reg("rdx")) == (0x1234, 0x400, NONE)


@row(105)
def test_a_guests_data_breakpoint_is_delivered_after_the_write() -> None:
    text = """
        lea rax, [rip + value]
        mov dr1, rax
        mov eax, 0x00d0040a
        mov dr7, rax
        mov dword ptr [rip + value], 5
    after: hlt
    handler: mov rcx, [rsp]
        hlt
        .balign 4
    value: .long 0
    """
    with Bench(text) as b:
        b.gate(1, "handler")
        assert b.run() == HltExit()
        assert b.reg("rcx") == b["after"]
        assert b.vcpu.get_debugregs().dr6 == B(1)


@row(115)
@row(116)
@pytest.mark.parametrize("mode", MODES)
def test_inject_db_enters_vector_1_without_touching_dr6(mode: str) -> None:
    with Bench("start: nop\nhlt\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        assert b.run(ID) == HltExit()
        width = {"real": 2, "protected": 4, "long": 8}[mode]
        assert b.word(b.reg("rsp"), width) == b["start"]
        assert b.vcpu.get_debugregs().dr6 == NONE


@row(36)
@row(117)
@pytest.mark.parametrize("mode", MODES)
def test_the_guests_own_int3_can_be_given_back_to_it(mode: str) -> None:
    with Bench("own: int3\nafter: hlt\nhandler: hlt", mode) as b:
        b.gate(3, "handler")
        assert b.run(E | W) == DebugExit(3, b["own"])
        assert b.run(E | W | IB) == HltExit()
        width = {"real": 2, "protected": 4, "long": 8}[mode]
        assert b.word(b.reg("rsp"), width) == b["after"]


@row(119)
def test_both_injections_at_once_deliver_only_db() -> None:
    with Bench("nop\nhlt\ndb_handler: mov ebx, 1\nhlt\nbp_handler: mov ebx, 3\nhlt") as b:
        b.gate(1, "db_handler")
        b.gate(3, "bp_handler")
        b.run(ID | IB)
        assert b.reg("rbx") == 1


@row(120)
def test_a_second_injection_is_ebusy_and_changes_nothing() -> None:
    with Bench("nop") as b:
        b.sgd(ID)
        with pytest.raises(IoctlError) as failure:
            b.sgd(E | S | IB)
        assert failure.value.errno == errno.EBUSY
        assert isinstance(failure.value, OSError)


@row(122)
@row(124)
def test_set_regs_drops_a_queued_injection() -> None:
    with Bench("nop") as b:
        b.sgd(ID)
        b.set(rax=1)
        b.sgd(ID)
        assert b.vcpu.get_vcpu_events() == VcpuEvents(
            exception_injected=1, exception_nr=1, exception_pending=1
        )


@row(126)
def test_injecting_db_clears_general_detect() -> None:
    with Bench("nop\nhandler: hlt") as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2400))
        b.run(ID)
        assert b.vcpu.get_debugregs().dr7 == 0x400


@row(208)
@row(209)
@row(210)
@pytest.mark.parametrize(
    "registers",
    [DebugRegs(dr6=1 << 32), DebugRegs(dr7=1 << 32), DebugRegs(flags=1)],
    ids=["dr6 above 32 bits", "dr7 above 32 bits", "flags"],
)
def test_set_debugregs_refuses_with_einval_and_stores_nothing(registers: DebugRegs) -> None:
    with Bench("nop") as b:
        with pytest.raises(IoctlError) as failure:
            b.vcpu.set_debugregs(registers)
        assert failure.value.errno == errno.EINVAL
        assert b.vcpu.get_debugregs() == DebugRegs()


@row(191)
@pytest.mark.parametrize("bits", [4, 8, 0x100, 0x200000, 0x80000000])
def test_unknown_control_bits_are_accepted_and_do_nothing(bits: int) -> None:
    with Bench("nop\nhlt") as b:
        assert b.run(bits) == HltExit()


@row(7)
def test_singlestep_without_enable_does_nothing() -> None:
    with Bench("nop\nhlt") as b:
        assert b.run(S) == HltExit()


@row(30)
@pytest.mark.parametrize("mode", MODES)
def test_int3_goes_to_the_guest_without_use_sw_bp(mode: str) -> None:
    with Bench("int3\nafter: hlt\nhandler: hlt", mode) as b:
        b.gate(3, "handler")
        assert b.run(E) == HltExit()
        width = {"real": 2, "protected": 4, "long": 8}[mode]
        assert b.word(b.reg("rsp"), width) == b["after"]


@row(32)
def test_int_3_by_two_bytes_is_never_a_debug_exit() -> None:
    with Bench(".byte 0xcd, 3\nafter: hlt\nhandler: mov rbx, [rsp]\nhlt") as b:
        b.gate(3, "handler")
        assert b.run(E | W) == HltExit()
        assert b.reg("rbx") == b["after"]


@row(108)
def test_icebp_goes_to_the_guest_with_no_dr6_bit() -> None:
    with Bench("int1\nafter: hlt\nhandler: mov rbx, [rsp]\nhlt") as b:
        b.gate(1, "handler")
        assert b.run() == HltExit()
        assert (b.reg("rbx"), b.vcpu.get_debugregs().dr6) == (b["after"], NONE)


@row(178)
def test_a_step_over_a_fault_runs_the_handler_and_stops_after_the_retried_instruction() -> None:
    text = "bad: ud2\nnext: nop\nhlt\nhandler: add qword ptr [rsp], 2\nnop\niretq"
    with Bench(text) as b:
        b.gate(6, "handler")
        assert b.run(E | S) == DebugExit(1, b["next"] + 1, BS, 0x400)


@row(148)
def test_a_load_into_ss_shields_the_next_instruction_from_the_step() -> None:
    with Bench("mov ax, 0x10\nmov ss, ax\nnop\nafter: nop") as b:
        b.run(E | S)
        assert b.run(E | S) == DebugExit(1, b["after"], BS, 0x400)


@row(161)
def test_rep_stops_once_per_iteration() -> None:
    with Bench("mov ecx, 3\nlea rdi, [rip + buf]\nagain: rep stosb\nafter: hlt\nbuf: .quad 0") as b:
        b.run(E | S)
        b.run(E | S)
        stops = [(b.run(E | S).pc, b.reg("rcx")) for _ in range(3)]
        assert stops == [(b["again"], 2), (b["again"], 1), (b["after"], 0)]
