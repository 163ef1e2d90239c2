"""The profiles vmx and svm, steps: Linux 7.2 on Intel's and AMD's processors, leaks included.

All of it was read in the kernel's source and the manuals; none was measured. Breakpoints and the
guest's own debugging are in test_rows_profile_hardware_breakpoints.py.
"""

from __future__ import annotations

import pytest

from kvmdbg.exits import DebugExit, Exit, HltExit, MmioExit
from kvmdbg.x86.registers import EFER, RFLAGS
from tests.conformance.rows import row
from tests.guests.bench import BS, IB, MODES, Bench, E, H, S, W

TF, RF = int(RFLAGS.TF), int(RFLAGS.RF)
HARDWARE = pytest.mark.parametrize("profile", ["vmx", "svm"])
DEVICE = 0xD0000000
BASE = {"real": "bx", "protected": "ebx", "long": "rbx"}


def stop(pc: int, dr7: int = 0x400) -> DebugExit:
    return DebugExit(1, pc, BS, dr7)


def frame(b: Bench) -> tuple[int, int]:
    """Saved RIP and RFLAGS on top of a long-mode guest's stack."""
    return b.word(b.reg("rsp")), b.word(b.reg("rsp") + 16)


# -- TF in frames: the guest can read it, and take it away -----------------------------------------


@row(180)
@HARDWARE
def test_the_frame_of_a_stepped_int_n_shows_the_hosts_tf(profile: str) -> None:
    with Bench("int 0x20\nnext: nop\nhandler: hlt", profile=profile) as b:
        b.gate(0x20, "handler")
        assert b.run(E | S) == HltExit()
        assert frame(b) == (b["next"], 0x102)


@row(186)
@HARDWARE
def test_the_frame_of_an_interrupt_under_a_step_shows_the_hosts_tf(profile: str) -> None:
    with Bench("here: nop\nhandler: hlt", profile=profile) as b:
        b.gate(0x20, "handler")
        b.set(rflags=0x202)
        b.vcpu.interrupt(0x20)
        assert b.run(E | S) == HltExit()
        assert frame(b) == (b["here"], 0x302)


@row(178)
@HARDWARE
@pytest.mark.parametrize("mode", MODES)
def test_the_iret_of_a_stepped_faults_handler_brings_the_step_back(mode: str, profile: str) -> None:
    top = {"real": "mov bp, sp\nadd word ptr [bp], 2", "protected": "add dword ptr [esp], 2"}
    iret = {"real": "iret", "protected": "iretd", "long": "iretq"}[mode]
    skip = top.get(mode, "add qword ptr [rsp], 2")
    text = f"ud2\nnext: nop\nafter: nop\nhlt\nhandler: inc ecx\n{skip}\n{iret}"
    with Bench(text, mode, profile=profile) as b:
        b.gate(6, "handler")
        assert (b.run(E | S), b.reg("rcx")) == (stop(b["after"]), 1)


@row(178)
@HARDWARE
def test_a_handler_that_takes_tf_out_of_its_frame_ends_the_step(profile: str) -> None:
    text = """
        ud2
        nop
        end: hlt
        handler: add qword ptr [rsp], 2
        and qword ptr [rsp + 16], -257
        iretq
    """
    with Bench(text, profile=profile) as b:
        b.gate(6, "handler")
        assert (b.run(E | S), b.reg("rip")) == (HltExit(), b["end"] + 1)


SYSCALL = """
        mov ecx, 0xc0000081
        mov edx, 0x00180008
        xor eax, eax
        wrmsr
        mov ecx, 0xc0000082
        lea rax, [rip + target]
        xor edx, edx
        wrmsr
call:   syscall
        nop
target: nop
        hlt
"""


@row(189)
@pytest.mark.parametrize(("profile", "leaks"), [("reference", 0), ("vmx", TF), ("svm", TF)])
def test_r11_of_a_stepped_syscall_holds_the_hosts_tf_on_hardware(profile: str, leaks: int) -> None:
    with Bench(SYSCALL, profile=profile) as b:
        sregs = b.vcpu.get_sregs()
        b.vcpu.set_sregs(sregs._replace(efer=sregs.efer | EFER.SCE))
        b.sgd(E | H, dr7=0x402, dr0=b["call"])
        b.vcpu.run()
        assert b.run(E | S) == stop(b["target"])
        assert b.reg("r11") & TF == leaks


# -- MMIO stores lose their step (spec 11) ---------------------------------------------------------


def device(text: str, mode: str, profile: str) -> Bench:
    """A guest whose data pointer, ``{at}`` in its text, is the address of a device."""
    bench = Bench(text.format(at=f"[{BASE[mode]}]"), mode, profile=profile)
    if mode == "real":
        sregs = bench.vcpu.get_sregs()
        bench.vcpu.set_sregs(sregs._replace(ds=sregs.ds._replace(base=DEVICE)))
    else:
        bench.set(rbx=DEVICE)
    return bench


def write(data: bytes) -> MmioExit:
    return MmioExit(DEVICE, data, True)


@row(174)
@HARDWARE
@pytest.mark.parametrize("mode", MODES)
def test_the_step_over_a_store_to_mmio_is_lost_and_the_next_one_is_reported(
    mode: str, profile: str
) -> None:
    with device("mov {at}, eax\nnext: nop\nafter: nop", mode, profile) as b:
        b.set(rax=0x04030201)
        assert (b.run(E | S), b.reg("rip")) == (write(b"\1\2\3\4"), b["next"])
        assert b.run(E | S) == stop(b["after"])


@row(174)
@HARDWARE
def test_without_another_call_the_guest_runs_free_behind_a_store_to_mmio(profile: str) -> None:
    with device("mov {at}, eax\nnop\nnop\nhlt", "long", profile) as b:
        assert b.run(E | S) == write(bytes(4))
        assert b.vcpu.run() == HltExit()


@row(13)
@HARDWARE
def test_without_another_call_the_guest_runs_free_behind_the_stop_of_an_mmio_read(
    profile: str,
) -> None:
    with device("mov eax, {at}\nnext: nop\nnop\nhlt", "long", profile) as b:
        assert b.run(E | S) == MmioExit(DEVICE, bytes(4), False)
        b.vcpu.complete_io(bytes(4))
        assert b.vcpu.run() == stop(b["next"])
        assert b.vcpu.run() == HltExit()


@row(173)
@HARDWARE
def test_the_step_over_a_load_from_mmio_is_kept(profile: str) -> None:
    with device("mov eax, {at}\nnext: nop", "long", profile) as b:
        assert b.run(E | S) == MmioExit(DEVICE, bytes(4), False)
        b.vcpu.complete_io(b"\1\2\3\4")
        assert (b.run(E | S), b.reg("rax")) == (stop(b["next"]), 0x04030201)


@row(175)
@HARDWARE
def test_the_step_over_an_inc_of_mmio_is_lost_at_its_store(profile: str) -> None:
    with device("inc dword ptr {at}\nnop\nafter: nop", "long", profile) as b:
        seen: list[Exit] = [b.run(E | S)]
        b.vcpu.complete_io(b"\1\0\0\0")
        seen += [b.run(E | S), b.run(E | S)]
        assert seen == [MmioExit(DEVICE, bytes(4), False), write(b"\2\0\0\0"), stop(b["after"])]


@row(176)
@HARDWARE
def test_the_step_over_a_wide_store_to_mmio_is_lost_at_its_last_fragment(profile: str) -> None:
    text = "movups xmm0, es:[buf]\nmovups {at}, xmm0\nnop\nafter: nop\nbuf: .fill 16, 1, 7"
    with device(text, "long", profile) as b:
        b.run(E | S)
        exits = [b.run(E | S) for _ in range(3)]
        second = MmioExit(DEVICE + 8, b"\7" * 8, True)
        assert exits == [write(b"\7" * 8), second, stop(b["after"])]


@row(169)
@HARDWARE
def test_the_exit_of_a_stepped_out_to_port_7e_is_overwritten_by_its_stop(profile: str) -> None:
    with Bench("out 0x7e, al\nnext: nop\nafter: nop", profile=profile) as b:
        assert b.run(E | S) == stop(b["next"])
        assert b.run(E | S) == stop(b["after"])


# -- injected #BP (spec 7) -------------------------------------------------------------------------


def injected(b: Bench) -> int:
    """The RIP that an injected #BP pushes; the guest's handler of #BP halts."""
    b.gate(3, "handler")
    assert b.run(E | W | IB) == HltExit()
    return b.word(b.reg("rsp"))


PREFIXED = ".byte 0x2e\nint3\nplain: int3\nelsewhere: nop\nhlt\nhandler: hlt"


@row(117)
@HARDWARE
def test_a_guests_int3_given_back_returns_behind_it(profile: str) -> None:
    with Bench("int3\nafter: nop\nhandler: hlt", profile=profile) as b:
        b.run(E | W)
        assert injected(b) == b["after"]


@row(117)
@row(33)
@HARDWARE
def test_a_guests_prefixed_int3_given_back_returns_behind_it(profile: str) -> None:
    with Bench(PREFIXED, profile=profile) as b:
        assert b.run(E | W) == DebugExit(3, 0x8000)
        assert injected(b) == b["plain"]


@row(118)
def test_on_vmx_an_injected_bp_adds_the_length_of_the_last_bp_wherever_it_goes() -> None:
    with Bench(PREFIXED, profile="vmx") as b:
        b.run(E | W)
        b.set(rip=b["elsewhere"])
        assert injected(b) == b["elsewhere"] + 2


@row(117)
def test_on_vmx_an_injected_bp_adds_that_length_at_another_int3_as_well() -> None:
    with Bench(PREFIXED, profile="vmx") as b:
        b.run(E | W)
        b.set(rip=b["plain"])
        assert injected(b) == b["plain"] + 2


@row(118)
def test_on_svm_an_injected_bp_is_dropped_where_no_int3_stands() -> None:
    with Bench("nop\nend: hlt\nhandler: mov ebx, 3\nhlt", profile="svm") as b:
        b.gate(3, "handler")
        assert b.run(E | IB) == HltExit()
        assert (b.reg("rip"), b.reg("rbx")) == (b["end"] + 1, 0)


@row(118)
def test_on_svm_a_dropped_bp_leaves_the_slot_free() -> None:
    with Bench("nop\nhlt\nhandler: hlt", profile="svm") as b:
        b.gate(1, "handler")
        b.run(E | IB)
        b.set(rip=0x8000)
        b.sgd(IB)  # no EBUSY


# -- what stays as in the reference ----------------------------------------------------------------


@row(18)
@HARDWARE
def test_a_stepped_hlt_is_a_hlt_exit_on_hardware(profile: str) -> None:
    with Bench("hlt\nafter: nop", profile=profile) as b:
        assert (b.run(E | S), b.reg("rip")) == (HltExit(), b["after"])


@row(161)
@HARDWARE
def test_a_stepped_rep_stops_after_each_element_on_hardware(profile: str) -> None:
    with Bench("again: rep stosb\nafter: nop\nbuf: .quad 0", profile=profile) as b:
        b.set(rcx=2, rdi=b["buf"])
        seen = [(b.run(E | S), b.reg("rcx")) for _ in range(2)]
        assert seen == [(stop(b["again"]), 1), (stop(b["after"]), 0)]
