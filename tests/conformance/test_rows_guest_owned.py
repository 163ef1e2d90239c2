"""A guest that debugs itself, with and without a host beside it: rows 91-114."""

from __future__ import annotations

import pytest

from kvmdbg import guestdebug
from kvmdbg.exits import DebugExit, HltExit, IoExit
from kvmdbg.guestdebug import DebugState, Owner, PendingException
from kvmdbg.machine.layout import GDT, Selector
from kvmdbg.x86.descriptors import pack_descriptor
from kvmdbg.x86.registers import DebugRegs, DescriptorTable, Segment, VcpuEvents
from tests.conformance.rows import row
from tests.guests.bench import BS, ID, MODES, NONE, B, Bench, E, H, S, W
from tests.guests.logger import LOGGER, SET_TF, logged

TF, RF = 1 << 8, 1 << 16
WIDTH = {"real": 2, "protected": 4, "long": 8}


def frame(b: Bench) -> tuple[int, int]:
    """Saved RIP and RFLAGS of the frame on top of the stack."""
    rsp, width = b.reg("rsp"), WIDTH[b.mode]
    return b.word(rsp, width), b.word(rsp + 2 * width, width)


# -- the guest's TF --------------------------------------------------------------------------------


@row(92)
def test_a_guest_under_tf_traps_after_every_instruction_also_after_the_one_that_ends_it() -> None:
    text = f"{SET_TF}popf\nand rax, -257\nstart: push rax\npopf\nmov ecx, 1\nhlt\n"
    with Bench(text + LOGGER) as b:
        b.gate(1, "logger")
        assert b.run() == HltExit()
        assert logged(b) == [(b["start"] + n, BS) for n in (0, 1, 2)]


@row(93)
def test_a_guest_under_tf_traps_after_cpuid_and_in_as_after_any_other() -> None:
    text = f"""
        {SET_TF}
        popf
        and rax, -257
start:  push rax
        xor rax, rax
        cpuid
        mov edx, 0x3fd
        in al, dx
        popf
        mov ecx, 1
        hlt
    """
    with Bench(text + LOGGER) as b:
        b.gate(1, "logger")
        exit_ = b.run()
        assert isinstance(exit_, IoExit)
        assert (exit_.direction, exit_.port, exit_.size) == ("in", 0x3FD, 1)
        b.vcpu.complete_io(b"\x20")
        assert b.run() == HltExit()
        assert b.reg("rax") & 0xFF == 0x20
        assert logged(b) == [(b["start"] + n, BS) for n in (0, 1, 4, 6, 11, 12, 13)]


@row(93)
def test_a_guest_under_tf_traps_after_out_wrmsr_and_mov_dr_too() -> None:
    text = f"""
        mov ecx, 0xc0000102
        xor edx, edx
        {SET_TF}
        popf
a:      out 0x80, al
b:      wrmsr
c:      mov rsi, dr3
d:      and rax, -257
e:      push rax
f:      popf
g:      hlt
    """
    with Bench(text + LOGGER) as b:
        b.gate(1, "logger")
        assert isinstance(b.run(), IoExit)
        assert b.run() == HltExit()
        assert logged(b) == [(b[name], BS) for name in "bcdefg"]


USER_TF = """
        mov rcx, rsp
        push 0x23
        push rcx
        push 0x102
        push 0x2b
        lea rax, [rip + user]
        push rax
        iretq
user:   nop
after:  nop
handler: hlt
"""


@row(94)
def test_a_user_program_under_tf_traps_after_its_first_instruction() -> None:
    with Bench(USER_TF) as b:
        b.gate(1, "handler")
        assert b.run() == HltExit()
        assert frame(b) == (b["after"], 0x102)
        assert b.word(b.reg("rsp") + 8) == Selector.USER_CODE64 | 3
        assert b.vcpu.get_debugregs().dr6 == BS


@row(99)
@pytest.mark.parametrize("mode", MODES)
def test_under_singlestep_a_guests_own_tf_trap_goes_to_the_host_and_does_not_show(
    mode: str,
) -> None:
    with Bench("nop\nnext: nop\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        b.set(rflags=0x102)
        assert b.run(E | S) == DebugExit(1, b["next"], BS, 0x400)
        assert not b.reg("rflags") & TF
        assert b.vcpu.get_debugregs() == DebugRegs()


@row(100)
def test_a_step_session_loses_the_guests_tf() -> None:
    with Bench("nop") as b:
        b.set(rflags=0x102)
        b.sgd(E | S)
        b.sgd(0)
        assert b.reg("rflags") == 2


@row(100)
def test_the_pure_rules_lose_the_guests_tf_the_same_way() -> None:
    off = DebugState()
    on = guestdebug.set_guest_debug(off, E | S, (0,) * 8, 0x8000)
    flags = guestdebug.rflags_written(on, guestdebug.rflags_read(off, 0x102), 0x8000)
    assert flags == 0x102
    assert guestdebug.rflags_written(off, guestdebug.rflags_read(on, flags), 0x8000) == 2


# -- the guest's debug registers -------------------------------------------------------------------

WIDE = {"real": "eax", "protected": "eax", "long": "rax"}


@row(101)
@pytest.mark.parametrize("mode", MODES)
def test_a_guest_that_arms_dr0_is_interrupted_there_without_rf(mode: str) -> None:
    text = f"""
        mov eax, offset target
        mov dr0, {WIDE[mode]}
        mov eax, 0x402
        mov dr7, {WIDE[mode]}
        nop
target: nop
        hlt
handler: hlt
    """
    with Bench(text, mode) as b:
        b.gate(1, "handler")
        assert b.run() == HltExit()
        rip, flags = frame(b)
        assert rip == b["target"]
        assert not flags & RF
        assert b.vcpu.get_debugregs() == DebugRegs((b["target"], 0, 0, 0), B(0), 0x402)


COUNTING = """
        nop
target: nop
        hlt
quiet:  inc rbx
        or qword ptr [rsp + 16], 0x10000
        iretq
stubborn: inc rbx
        cmp rbx, 3
        jb again
        or qword ptr [rsp + 16], 0x10000
again:  iretq
"""


def at_target(handler: str) -> Bench:
    """A guest with DR0 at ``target``."""
    b = Bench(COUNTING)
    b.gate(1, handler)
    b.vcpu.set_debugregs(DebugRegs((b["target"], 0, 0, 0), dr7=0x402))
    return b


@row(102)
def test_a_handler_that_sets_rf_in_its_frame_passes_the_breakpoint_once() -> None:
    with at_target("quiet") as b:
        assert b.run() == HltExit()
        assert b.reg("rbx") == 1


@row(102)
def test_rf_passes_the_breakpoint_once_and_no_more() -> None:
    text = "mov ecx, 4\ntarget: loop target\nhlt\nhandler: inc rbx\n"
    with Bench(text + "or qword ptr [rsp + 16], 0x10000\niretq") as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["target"], 0, 0, 0), dr7=0x402))
        assert b.run() == HltExit()
        assert b.reg("rbx") == 4


@row(103)
def test_a_handler_that_leaves_rf_meets_the_breakpoint_again() -> None:
    with at_target("stubborn") as b:
        assert b.run() == HltExit()
        assert b.reg("rbx") == 3


@row(102)
@row(103)
@pytest.mark.parametrize(("sets_rf", "hits"), [(True, 1), (False, 3)])
def test_in_protected_mode_too_only_rf_in_the_frame_passes_the_breakpoint(
    sets_rf: bool, hits: int
) -> None:
    passes = "or dword ptr [esp + 8], 0x10000" if sets_rf else "cmp ebx, 3\njb again\nhlt"
    text = f"target: nop\nhlt\nhandler: inc ebx\n{passes}\nagain: iretd"
    with Bench(text, "protected") as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["target"], 0, 0, 0), dr7=0x402))
        assert b.run() == HltExit()
        assert b.reg("rbx") == hits


@row(101)
def test_a_guests_step_onto_its_own_breakpoint_gives_the_step_first_and_then_the_breakpoint() -> (
    None
):
    text = f"{SET_TF}popf\nnop\ntarget: and rax, -257\nmov ebx, 1\nhlt\n"
    quiet = "quiet: or qword ptr [rsp + 16], 0x10000\nand qword ptr [rsp + 16], -257\njmp logger\n"
    with Bench(text + quiet + LOGGER) as b:
        b.gate(1, "quiet")
        b.vcpu.set_debugregs(DebugRegs((b["target"], 0, 0, 0), dr7=0x402))
        assert b.run() == HltExit()
        assert logged(b) == [(b["target"], BS)]  # RF, set for BS, holds the breakpoint back too


@row(101)
def test_a_trap_onto_an_own_breakpoint_pushes_no_rf_so_that_the_breakpoint_follows() -> None:
    text = "nop\ntarget: nop\nhlt\nhandler: inc rbx\nand qword ptr [rsp + 16], -257\n"
    turn = "cmp rbx, 2\njb once\nor qword ptr [rsp + 16], 0x10000\nonce: jmp logger\n"
    with Bench(text + turn + LOGGER) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((b["target"], 0, 0, 0), dr7=0x402))
        b.set(rflags=0x102)
        assert b.run() == HltExit()
        assert logged(b) == [(b["target"], BS), (b["target"], B(0))]


@row(104)
def test_a_new_db_replaces_the_b_bits_and_keeps_a_stale_bs() -> None:
    with Bench("target: nop\nhandler: hlt") as b:
        b.gate(1, "handler")
        stale = DebugRegs((0, 0, b["target"], 0), dr6=BS | 2, dr7=0x420)
        b.vcpu.set_debugregs(stale)
        assert b.run() == HltExit()
        assert b.vcpu.get_debugregs() == stale._replace(dr6=BS | 4)


@row(104)
def test_the_pure_rules_replace_the_b_bits_and_keep_a_stale_bs() -> None:
    assert guestdebug.dr6_after(BS | 2, 4) == BS | 4


TWICE = """
first:  mov dword ptr [rip + value], 1
second: xor eax, eax
        mov dr6, rax
third:  mov dword ptr [rip + value], 2
fourth: hlt
handler: mov r8, [rsp]
        mov r9, dr6
        hlt
        iretq
        .balign 8
value:  .quad 0
"""


@row(105)
def test_a_guests_write_watch_adds_its_bit_to_a_stale_bs_and_comes_alone_without_one() -> None:
    with Bench(TWICE) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs((0, b["value"], 0, 0), dr6=BS, dr7=0x00D0040A))
        assert b.run() == HltExit()
        assert (b.reg("r8"), b.reg("r9")) == (b["second"], BS | 2)
        assert b.run() == HltExit()
        assert (b.reg("r8"), b.reg("r9")) == (b["fourth"], B(1))


@row(106)
def test_under_singlestep_the_guests_own_breakpoint_stops_for_the_host() -> None:
    with Bench("nop\ntarget: nop\nhandler: hlt") as b:
        b.gate(1, "handler")
        armed = DebugRegs((b["target"], 0, 0, 0), dr7=0x402)
        b.vcpu.set_debugregs(armed)
        assert b.run(E | S) == DebugExit(1, b["target"], BS, 0x402)
        assert b.run(E | S) == DebugExit(1, b["target"], B(0), 0x402)
        assert b.vcpu.get_debugregs() == armed


@row(106)
def test_under_singlestep_the_guests_own_watch_is_reported_with_the_step() -> None:
    with Bench("mov byte ptr [rip + v], 1\nnext: nop\nv: .byte 0") as b:
        armed = DebugRegs((b["v"], 0, 0, 0), dr7=0x10402)
        b.vcpu.set_debugregs(armed)
        assert b.run(E | S) == DebugExit(1, b["next"], BS | 1, 0x10402)
        assert b.vcpu.get_debugregs() == armed


@row(107)
def test_under_use_hw_bp_neither_the_guests_breakpoint_nor_its_watch_exists() -> None:
    with Bench("target: nop\nmov byte ptr [rip + v], 1\nhlt\nv: .byte 0") as b:
        b.vcpu.set_debugregs(DebugRegs((b["target"], b["v"], 0, 0), dr7=0x10040A))
        assert b.run(E | H) == HltExit()
        assert b.vcpu.get_debugregs().dr6 == NONE


# -- INT1 and INT 1 --------------------------------------------------------------------------------


@row(108)
@pytest.mark.parametrize("control", [0, E, E | W])
@pytest.mark.parametrize("mode", MODES)
def test_icebp_is_the_guests_own_unless_s_or_h(mode: str, control: int) -> None:
    with Bench(".byte 0xf1\nafter: hlt\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        assert b.run(control) == HltExit()
        assert frame(b)[0] == b["after"]
        assert b.vcpu.get_debugregs().dr6 == NONE


@row(108)
def test_icebp_leaves_a_stale_bs_and_takes_a_stale_b_bit() -> None:
    with Bench(".byte 0xf1\nhandler: hlt") as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs(dr6=BS | 2))
        assert b.run() == HltExit()
        assert b.vcpu.get_debugregs().dr6 == BS


@row(109)
@pytest.mark.parametrize("control", [E | H, E | S])
@pytest.mark.parametrize("mode", MODES)
def test_icebp_under_s_or_h_stops_for_the_host_at_the_icebp(mode: str, control: int) -> None:
    with Bench("ice: .byte 0xf1\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        for _ in range(2):
            assert b.run(control) == DebugExit(1, b["ice"], NONE, 0x400)
            assert b.reg("rip") == b["ice"]


@row(110)
@pytest.mark.parametrize("mode", MODES)
def test_int_1_by_two_bytes_enters_the_guests_handler_under_use_hw_bp(mode: str) -> None:
    with Bench(".byte 0xcd, 1\nafter: hlt\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        assert b.run(E | H) == HltExit()
        assert frame(b)[0] == b["after"]
        assert b.vcpu.get_debugregs().dr6 == NONE


@row(110)
def test_a_step_over_int_1_runs_the_handler_and_stops_after_the_instruction_behind_it() -> None:
    with Bench(".byte 0xcd, 1\nafter: nop\nnext: hlt\nhandler: inc rbx\niretq") as b:
        b.gate(1, "handler")
        assert b.run(E | S) == DebugExit(1, b["next"], BS, 0x400)
        assert b.reg("rbx") == 1


# -- giving a #DB back -----------------------------------------------------------------------------

TRAPPING = "nop\nnext: nop\nhandler: hlt"


def taken_from_the_guest() -> Bench:
    """A guest whose TF trap went to the host under USE_HW_BP (row 98)."""
    b = Bench(TRAPPING)
    b.gate(1, "handler")
    b.set(rflags=0x102)
    assert b.run(E | H) == DebugExit(1, b["next"], BS, 0x400)
    return b


@row(98)
def test_under_use_hw_bp_the_guest_keeps_its_tf_when_the_host_takes_its_trap() -> None:
    with taken_from_the_guest() as b:
        assert b.reg("rflags") == 0x102
        assert b.vcpu.get_debugregs() == DebugRegs()


@row(111)
@pytest.mark.parametrize("how", ["exception_injected", "exception_pending"])
def test_vcpu_events_give_a_db_back_with_its_dr6(how: str) -> None:
    with taken_from_the_guest() as b:
        events = VcpuEvents(exception_nr=1, exception_has_payload=1, exception_payload=0x4000)
        b.vcpu.set_vcpu_events(events._replace(**{how: 1}))
        assert b.run() == HltExit()
        assert frame(b) == (b["next"], 0x102)
        assert b.vcpu.get_debugregs().dr6 == BS


@row(111)
def test_the_payload_that_qemu_gives_is_the_whole_dr6_of_the_exit() -> None:
    _, state = guestdebug.take_pending(
        guestdebug.queue(DebugState(), PendingException(1, payload=BS))
    )
    assert state.guest.dr6 & 0xF00F == 0x4000


@row(112)
def test_set_debugregs_and_inject_db_give_a_db_back() -> None:
    with taken_from_the_guest() as b:
        b.vcpu.set_debugregs(DebugRegs(dr6=BS))
        assert b.run(E | H | ID) == HltExit()
        assert frame(b) == (b["next"], 0x102)
        assert b.vcpu.get_debugregs().dr6 == BS


# -- SYSCALL ---------------------------------------------------------------------------------------

SYSCALL = f"""
        mov ecx, 0xc0000081
        xor eax, eax
        mov edx, {(Selector.USER_CODE32 | 3) << 16 | Selector.CODE}
        wrmsr
        mov ecx, 0xc0000082
        lea rax, [rip + target]
        xor edx, edx
        wrmsr
        mov ecx, 0xc0000084
        mov eax, MASK
        wrmsr
        mov rcx, rsp
        push 0x23
        push rcx
        push 0x102
        push 0x2b
        lea rax, [rip + user]
        push rax
        iretq
user:   syscall
back:   nop
next:   mov edi, 1
last:   hlt
target: inc rbx
inside: .byte 0x48
        sysret
on_gp:  hlt
"""


@row(113)
def test_a_syscall_that_masks_tf_traps_only_when_the_user_program_has_it_back() -> None:
    with Bench(SYSCALL.replace("MASK", "0x100") + LOGGER) as b:
        b.gate(1, "logger")
        b.gate(13, "on_gp")
        assert b.run() == HltExit()
        assert b.reg("rbx") == 1
        assert b.reg("r11") == 0x102
        # Unlike IRET and POPF, SYSRET looks at the TF that it loads: the first trap is right there.
        assert logged(b) == [(b[name], BS) for name in ("back", "next", "last")]


@row(113)
def test_a_syscall_that_leaves_tf_traps_at_its_target() -> None:
    with Bench(SYSCALL.replace("MASK", "0") + LOGGER) as b:
        b.gate(1, "logger")
        b.gate(13, "on_gp")
        assert b.run() == HltExit()
        assert logged(b)[:2] == [(b["target"], BS), (b["inside"], BS)]


# -- task switch -----------------------------------------------------------------------------------

TASK2, TASK2_SELECTOR = 0x9000, 0x58


def two_tasks(dr7: int) -> Bench:
    """A protected-mode guest that jumps to a second task whose TSS has the T bit set."""
    jump = f".byte 0xea, 0, 0, 0, 0, {TASK2_SELECTOR}, 0"
    b = Bench(f"{jump}\nhlt\nother: nop\nhlt\non_db: mov ebx, 1\nhlt", "protected")
    b.gate(1, "on_db")
    tss = bytearray(0x68)
    data = int(Selector.DATA)
    fields = {0x20: b["other"], 0x24: 2, 0x38: 0x6F00, 0x4C: int(Selector.CODE)}
    fields |= dict.fromkeys((0x48, 0x50, 0x54, 0x58, 0x5C), data) | {0x64: 0x0068_0001}
    for offset, value in fields.items():
        tss[offset : offset + 4] = value.to_bytes(4, "little")
    b.vcpu.write_memory(TASK2, bytes(tss))
    descriptor = pack_descriptor(Segment(TASK2, 0x67, TASK2_SELECTOR, type=9, present=1))
    b.vcpu.write_memory(GDT + TASK2_SELECTOR, descriptor)
    sregs = b.vcpu.get_sregs()
    b.vcpu.set_sregs(sregs._replace(gdt=DescriptorTable(GDT, TASK2_SELECTOR + 7)))
    b.vcpu.set_debugregs(DebugRegs((0xF000, 0xF004, 0, 0), dr7=dr7))
    return b


@row(114)
def test_a_switch_to_a_task_with_the_t_bit_raises_no_db_under_kvm() -> None:
    with two_tasks(0x400) as b:
        assert b.run() == HltExit()
        assert (b.reg("rip"), b.reg("rbx")) == (b["other"] + 2, 0)
        assert b.vcpu.get_debugregs().dr6 == NONE


@row(114)
def test_a_task_switch_clears_the_local_enables_and_le_and_keeps_the_global_ones() -> None:
    with two_tasks(0x400 | 0x100 | 0x200 | 1 | 8) as b:
        assert b.run() == HltExit()
        assert b.vcpu.get_debugregs().dr7 == 0x400 | 0x200 | 8


# -- the rules alone -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "owner"),
    [
        pytest.param(E, Owner.GUEST, marks=row(96)),
        pytest.param(E | W, Owner.GUEST, marks=row(97)),
        pytest.param(E | H, Owner.HOST, marks=row(98)),
        pytest.param(E | S, Owner.HOST, marks=row(99)),
    ],
)
def test_the_pure_rules_say_who_owns_a_db(control: int, owner: Owner) -> None:
    state = guestdebug.set_guest_debug(DebugState(), control, (0,) * 8, 0)
    assert guestdebug.owner_of_db(state) is owner
