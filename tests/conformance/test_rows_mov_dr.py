"""The guest's MOV DR and general detect: rows 129-146."""

from __future__ import annotations

import pytest

from kvmdbg import guestdebug
from kvmdbg.exits import DebugExit, HltExit
from kvmdbg.guestdebug import DebugState, Owner
from kvmdbg.machine.layout import Selector
from kvmdbg.x86.registers import CR4, DebugRegs
from tests.conformance.kvm_host import RawKvm
from tests.conformance.rows import row
from tests.guests.bench import BD, BS, MODES, NONE, B, Bench, E, H, S, W

RF = 1 << 16
WIDTH = {"real": 2, "protected": 4, "long": 8}
RAX = {"real": "eax", "protected": "eax", "long": "rax"}
RBX = {"real": "ebx", "protected": "ebx", "long": "rbx"}
UD, GP = 6, 13
CONTROLS = [
    pytest.param(0, id="no debugging"),
    pytest.param(E, id="E"),
    pytest.param(E | W, id="E|W"),
    pytest.param(E | H, id="E|H"),
]


def written(register: int, value: int, mode: str = "long", control: int = 0) -> int:
    """What a guest reads back after writing ``value`` to a debug register."""
    text = f"mov dr{register}, {RAX[mode]}\nmov {RBX[mode]}, dr{register}\nhlt"
    with Bench(text, mode) as b:
        b.set(rax=value)
        assert b.run(control) == HltExit()
        return b.reg("rbx")


def refused(text: str, vector: int, mode: str = "long", **registers: int) -> tuple[int, ...]:
    """Run ``text`` up to the handler of ``vector``: what it finds on its stack, top first."""
    with Bench(f"{text}\nhlt\nhandler: hlt", mode) as b:
        b.gate(vector, "handler")
        b.set(**registers)
        assert b.run() == HltExit()
        assert b.reg("rip") == b["handler"] + 1
        width = WIDTH[mode]
        return tuple(b.word(b.reg("rsp") + n * width, width) for n in range(4))


# -- values ----------------------------------------------------------------------------------------


@row(129)
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("register", range(4))
@pytest.mark.parametrize("mode", MODES)
def test_a_guest_reads_back_the_address_that_it_wrote(
    mode: str, register: int, control: int
) -> None:
    assert written(register, 0x1234, mode, control) == 0x1234


@row(129)
def test_what_the_guest_wrote_is_what_get_debugregs_shows() -> None:
    with Bench("mov dr0, rax\nmov dr1, rbx\nmov dr2, rcx\nmov dr3, rdx\nhlt") as b:
        b.set(rax=0x1234, rbx=1 << 47, rcx=(1 << 64) - 1, rdx=0)
        assert b.run() == HltExit()
        assert b.vcpu.get_debugregs().db == (0x1234, 1 << 47, (1 << 64) - 1, 0)


@row(129)
@pytest.mark.parametrize("wide", ["r8", "r15", "rsp", "rbp"])
def test_every_general_register_can_be_moved_to_and_from_a_debug_register(wide: str) -> None:
    with Bench(f"mov dr2, {wide}\nmov rcx, dr2\nxor {wide}, {wide}\nmov {wide}, dr2\nhlt") as b:
        b.set(**{wide: 0x5678})
        assert b.run() == HltExit()
        assert (b.reg("rcx"), b.reg(wide)) == (0x5678, 0x5678)


@row(129)
def test_in_protected_mode_a_read_shows_the_lower_half() -> None:
    with Bench("mov eax, dr0\nhlt", "protected") as b:
        b.vcpu.set_debugregs(DebugRegs((0x1_2345_6789, 0, 0, 0)))
        assert b.run() == HltExit()
        assert b.reg("rax") == 0x2345_6789


@row(130)
@pytest.mark.parametrize("mode", MODES)
def test_dr6_keeps_the_b_bits_and_its_fixed_bits(mode: str) -> None:
    assert written(6, 0xF, mode) == 0xFFFF0FFF


@row(130)
def test_all_ones_in_dr6_read_back_without_bit_12() -> None:
    assert written(6, 0xFFFFFFFF) == 0xFFFFEFFF


@row(131)
@pytest.mark.parametrize("mode", MODES)
def test_zero_in_dr6_reads_back_as_its_reset_value(mode: str) -> None:
    assert written(6, 0, mode) == NONE


@row(132)
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("mode", MODES)
def test_all_ones_in_dr7_read_back_without_its_reserved_bits(mode: str, control: int) -> None:
    text = f"mov dr7, {RAX[mode]}\nhlt"
    with Bench(text, mode) as b:
        b.set(rax=0xFFFFFFFF)
        assert b.run(control) == HltExit()
        assert b.vcpu.get_debugregs().dr7 == 0xFFFF2FFF


@row(132)
def test_zero_in_dr7_reads_back_with_bit_10() -> None:
    assert written(7, 0) == 0x400


@row(132)
def test_dr7_without_general_detect_reads_back_what_it_has() -> None:
    assert written(7, 0xFFFFDFFF) == 0xFFFF0FFF


@row(133)
@pytest.mark.parametrize("register", [4, 5, 6, 7])
def test_a_write_above_32_bits_to_dr6_or_dr7_is_gp_at_the_mov(register: int) -> None:
    found = refused(f".byte 0x0f, 0x23, {0xC0 | register << 3}", GP, rax=1 << 32)
    assert found[:2] == (0, 0x8000)
    assert found[3] & RF


@row(133)
def test_a_refused_write_changes_nothing() -> None:
    with Bench("mov dr7, rax\nhandler: hlt") as b:
        b.gate(GP, "handler")
        b.set(rax=1 << 32 | 0x402)
        assert b.run() == HltExit()
        assert b.vcpu.get_debugregs() == DebugRegs()


@row(133)
def test_an_address_above_32_bits_is_no_gp() -> None:
    assert written(0, 1 << 32) == 1 << 32


# -- DR4, DR5, DR8 ---------------------------------------------------------------------------------


def alias(register: int, write: bool) -> str:
    """MOV between EAX/RAX and DR4 or DR5, as bytes: no assembler knows these names."""
    return f".byte 0x0f, {0x23 if write else 0x21}, {0xC0 | register << 3}"


@row(134)
@pytest.mark.parametrize("mode", MODES)
def test_without_cr4_de_dr4_is_dr6(mode: str) -> None:
    with Bench(f"{alias(4, True)}\nmov {RBX[mode]}, dr6\n{alias(4, False)}\nhlt", mode) as b:
        b.set(rax=0x4FF0)
        assert b.run() == HltExit()
        assert (b.reg("rbx"), b.reg("rax")) == (BS, BS)


@row(134)
@pytest.mark.parametrize("mode", MODES)
def test_without_cr4_de_dr5_is_dr7(mode: str) -> None:
    with Bench(f"{alias(5, True)}\nmov {RBX[mode]}, dr7\n{alias(5, False)}\nhlt", mode) as b:
        b.set(rax=0)
        assert b.run() == HltExit()
        assert (b.reg("rbx"), b.reg("rax")) == (0x400, 0x400)


@row(135)
@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("register", [4, 5])
@pytest.mark.parametrize("mode", MODES)
def test_with_cr4_de_dr4_and_dr5_are_ud(mode: str, register: int, write: bool) -> None:
    with Bench(f"{alias(register, write)}\nhandler: hlt", mode) as b:
        b.gate(UD, "handler")
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(cr4=sregs.cr4 | int(CR4.DE)))
        assert b.run() == HltExit()
        assert b.reg("rip") == b["handler"] + 1
        assert b.word(b.reg("rsp"), WIDTH[mode]) == b.program.origin


@row(136)
@pytest.mark.parametrize("opcode", ["0x21", "0x23"])
@pytest.mark.parametrize("modrm", [0xC0, 0xC7, 0xF8])
def test_dr8_to_dr15_are_ud(opcode: str, modrm: int) -> None:
    found = refused(f".byte 0x44, 0x0f, {opcode}, {modrm}", UD)
    assert found[0] == 0x8000


@row(136)
def test_dr8_is_ud_even_where_general_detect_would_be_raised() -> None:
    with Bench(".byte 0x44, 0x0f, 0x21, 0xc0\nhandler: hlt\non_db: mov ebx, 1\nhlt") as b:
        b.gate(UD, "handler")
        b.gate(1, "on_db")
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2400))
        assert b.run() == HltExit()
        assert b.reg("rbx") == 0


# -- CPL 3 -----------------------------------------------------------------------------------------

USER = f"""
        mov rcx, rsp
        push {Selector.USER_DATA | 3}
        push rcx
        push 2
        push {Selector.USER_CODE64 | 3}
        lea rax, [rip + user]
        push rax
        iretq
user:   MOVE
on_gp:  hlt
on_db:  mov ebx, 1
        hlt
on_ud:  mov ebx, 6
        hlt
"""


def user(move: str, dr7: int = 0x400, control: int = 0) -> Bench:
    """A guest that executes ``move`` at CPL 3, after its run."""
    b = Bench(USER.replace("MOVE", move))
    for vector, label in ((GP, "on_gp"), (1, "on_db"), (UD, "on_ud")):
        b.gate(vector, label)
    b.vcpu.set_debugregs(DebugRegs(dr7=dr7))
    b.sgd(control, dr7=0x2400)
    assert b.vcpu.run(max_instructions=1000) == HltExit()
    return b


@row(137)
@pytest.mark.parametrize("move", [f"mov rax, dr{n}" for n in (0, 6, 7)] + ["mov dr0, rax"])
def test_mov_dr_at_cpl_3_is_gp_at_the_mov(move: str) -> None:
    with user(move) as b:
        assert b.reg("rip") == b["on_gp"] + 1
        assert (b.word(b.reg("rsp")), b.word(b.reg("rsp") + 8)) == (0, b["user"])


@row(146)
@pytest.mark.parametrize(
    ("dr7", "control"),
    [pytest.param(0x2400, 0, id="guest's"), pytest.param(0x400, E | H, id="host's")],
)
def test_general_detect_at_cpl_3_is_gp_and_no_db(dr7: int, control: int) -> None:
    with user("mov rax, dr0", dr7, control) as b:
        assert b.reg("rip") == b["on_gp"] + 1
        assert b.vcpu.get_debugregs() == DebugRegs(dr7=dr7)


# -- under USE_HW_BP -------------------------------------------------------------------------------

SHADOW = """
        mov dr0, {a}
        mov {a}, dr0
        mov {b}, 0x403
        mov dr7, {b}
        xor {b}, {b}
        mov {b}, dr7
host:   nop
guests: nop
        hlt
"""


@row(138)
@pytest.mark.parametrize("mode", MODES)
def test_a_guest_that_writes_its_registers_under_use_hw_bp_reads_them_and_moves_nothing(
    mode: str,
) -> None:
    with Bench(SHADOW.format(a=RAX[mode], b=RBX[mode]), mode) as b:
        b.set(rax=b["guests"])
        b.sgd(E | H, dr7=0x402, dr0=b["host"])
        assert b.vcpu.run() == DebugExit(1, b["host"], B(0), 0x402)
        assert (b.reg("rax"), b.reg("rbx")) == (b["guests"], 0x403)
        assert b.vcpu.get_debugregs() == DebugRegs((b["guests"], 0, 0, 0), dr7=0x403)


@row(139)
@pytest.mark.parametrize("mode", MODES)
def test_a_breakpoint_that_the_guest_sets_under_use_hw_bp_never_fires(mode: str) -> None:
    with Bench(SHADOW.format(a=RAX[mode], b=RBX[mode]), mode) as b:
        b.set(rax=b["guests"])
        b.sgd(E | H)
        assert b.vcpu.run() == HltExit()
        assert b.vcpu.get_debugregs().dr6 == NONE


@row(138)
@row(139)
def test_the_pure_rules_keep_a_guests_write_out_of_the_effective_registers() -> None:
    state = guestdebug.set_guest_debug(DebugState(), E | H, (9, 0, 0, 0, 0, 0, 0, 0x402), 0)
    state = guestdebug.write_dr(guestdebug.write_dr(state, 0, 0x1234), 7, 0x403)
    assert (state.guest.db[0], state.guest.dr7) == (0x1234, 0x403)
    assert (state.effective_db[0], state.effective_dr7) == (9, 0x402)


# -- general detect --------------------------------------------------------------------------------


@row(140)
@row(141)
@pytest.mark.parametrize("move", ["mov rax, dr0", "mov rax, dr7", "mov dr3, rax", "mov dr7, rax"])
@pytest.mark.parametrize("more", [0, S, W])
def test_the_hosts_general_detect_stops_at_the_mov_and_is_not_cleared(move: str, more: int) -> None:
    with Bench(f"here: {move}\nhlt") as b:
        b.set(rax=0x1111)
        for _ in range(3):
            b.sgd(E | H | more, dr7=0x2400)
            assert b.vcpu.run() == DebugExit(1, b["here"], BD, 0x2400)
            assert (b.reg("rip"), b.reg("rax")) == (b["here"], 0x1111)
        assert b.vcpu.get_debugregs() == DebugRegs()


@row(141)
def test_the_hosts_general_detect_stops_again_without_another_call() -> None:
    with Bench("here: mov rax, dr0\nhlt") as b:
        b.sgd(E | H, dr7=0x2400)
        assert [b.vcpu.run() for _ in range(2)] == [DebugExit(1, b["here"], BD, 0x2400)] * 2


@row(140)
def test_an_execution_breakpoint_at_the_mov_comes_before_general_detect() -> None:
    with Bench("here: mov rax, dr0\nhlt") as b:
        b.sgd(E | H, dr7=0x2402, dr0=b["here"])
        assert b.vcpu.run() == DebugExit(1, b["here"], B(0), 0x2402)
        b.set(rflags=2 | RF)
        assert b.vcpu.run() == DebugExit(1, b["here"], BD, 0x2402)


@row(142)
def test_general_detect_behind_the_forced_emulation_prefix(raw_kvm: RawKvm) -> None:
    """The embedded engine has one way to execute an instruction; 0F 0B 'kvm' is UD2 to it."""
    if not raw_kvm.forced_emulation:
        pytest.skip("needs KVM's module option: modprobe kvm force_emulation_prefix=1")
    with Bench('ud2\n.ascii "kvm"\nhere: mov rax, dr0', engine="kvm") as b:
        b.sgd(E | H, dr7=0x2400)
        assert b.vcpu.run(timeout=1) == DebugExit(1, b["here"], BD, 0x2400)


@row(143)
@pytest.mark.parametrize("control", [0, E, E | W])
@pytest.mark.parametrize("mode", MODES)
def test_the_guests_general_detect_enters_its_handler_at_the_mov_and_is_cleared(
    mode: str, control: int
) -> None:
    with Bench(f"here: mov {RAX[mode]}, dr0\nhandler: hlt", mode) as b:
        b.gate(1, "handler")
        b.set(rax=0x1111)
        b.vcpu.set_debugregs(DebugRegs((0x2222, 0, 0, 0), dr7=0x2402))
        assert b.run(control) == HltExit()
        assert b.word(b.reg("rsp"), WIDTH[mode]) == b["here"]
        assert b.reg("rax") == 0x1111
        assert b.vcpu.get_debugregs() == DebugRegs((0x2222, 0, 0, 0), BD, 0x402)


@row(143)
def test_a_guest_that_sets_gd_itself_meets_it_at_its_next_mov_dr() -> None:
    text = """
        mov eax, 0x2400
        mov dr7, rax
        nop
here:   mov rbx, dr6
after:  hlt
handler: mov rcx, [rsp]
        mov rsi, dr6
        mov rdi, dr7
        iretq
    """
    with Bench(text) as b:
        b.gate(1, "handler")
        assert b.run() == HltExit()
        assert b.reg("rip") == b["after"] + 1
        assert (b.reg("rcx"), b.reg("rsi"), b.reg("rdi")) == (b["here"], BD, 0x400)
        assert b.reg("rbx") == BD


@row(144)
def test_the_guests_general_detect_is_inert_under_use_hw_bp() -> None:
    with Bench("mov rax, dr0\nmov dr1, rax\nhlt") as b:
        b.vcpu.set_debugregs(DebugRegs((0x2222, 0, 0, 0), dr7=0x2400))
        assert b.run(E | H) == HltExit()
        assert b.reg("rax") == 0x2222
        assert b.vcpu.get_debugregs() == DebugRegs((0x2222, 0x2222, 0, 0), dr7=0x2400)


@row(145)
def test_the_guests_general_detect_stays_the_guests_under_singlestep() -> None:
    text = "here: mov rax, dr0\nafter: nop\nhandler: mov rbx, [rsp]\nhlt"
    with Bench(text) as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2400))
        assert b.run(E | S) == HltExit()
        assert b.reg("rbx") == b["here"]
        assert b.vcpu.get_debugregs() == DebugRegs(dr6=BD)


@row(145)
def test_after_its_general_detect_handler_a_stepped_guest_stops_behind_the_mov() -> None:
    with Bench("here: mov rax, dr0\nafter: nop\nhlt\nhandler: inc rbx\niretq") as b:
        b.gate(1, "handler")
        b.vcpu.set_debugregs(DebugRegs(dr7=0x2400))
        assert b.run(E | S) == DebugExit(1, b["after"], BS, 0x400)
        assert b.reg("rbx") == 1


@pytest.mark.parametrize(
    ("control", "owner"),
    [
        pytest.param(E | H, Owner.HOST, marks=row(140)),
        pytest.param(0, Owner.GUEST, marks=row(143)),
        pytest.param(E | S, Owner.GUEST, marks=row(145)),
    ],
)
def test_the_pure_rules_say_who_owns_general_detect(control: int, owner: Owner) -> None:
    state = guestdebug.set_guest_debug(DebugState(), control, (0,) * 8, 0)
    assert guestdebug.owner_of_general_detect(state) is owner
