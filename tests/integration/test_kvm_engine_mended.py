"""What the kernel's engine makes up for, where it once went wrong: by the ioctl line alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kvmdbg import Vm, assemble
from kvmdbg.engines import Capability, Engine
from kvmdbg.engines.kvm import probe
from kvmdbg.engines.kvm.frames import delivered
from kvmdbg.errors import EngineError, IoctlError
from kvmdbg.exits import DebugExit, Exit, HltExit, IoExit, MmioExit
from kvmdbg.machine.layout import Selector
from kvmdbg.x86.registers import CR0, CR4, Segment, Sregs
from tests.guests.bench import BS, MODES, B, E, H, S, W
from tests.integration.test_kvm_engine import KvmBench, needs_kvm

pytestmark = needs_kvm
OUTSIDE = 0x600000
"""Mapped by the default guest, and behind its RAM."""
STACK = 0x9800
WRITE_1 = 0x10402
"""DR7: slot 0 watches one byte for writes."""
TABLE = 0x20000


def stopped(b: KvmBench, label: str, cause: int = BS, dr7: int = 0x400) -> DebugExit:
    return DebugExit(1, b[label], cause, dr7)


def at_cpl3(vcpu: Engine) -> None:
    """The guest goes on in its own code at CPL 3."""
    sregs = vcpu.get_sregs()
    cs = sregs.cs._replace(dpl=3, selector=Selector.USER_CODE64 | 3)
    ss = sregs.ss._replace(dpl=3, selector=Selector.USER_DATA | 3)
    vcpu.set_sregs(sregs._replace(cs=cs, ss=ss))


# Steps over a REP that leaves KVM at each item


@pytest.mark.parametrize("mode", MODES)
def test_a_stepped_rep_outs_stops_once_behind_its_last_item(mode: str) -> None:
    with KvmBench("rep outsb\nend: nop\nhlt", mode) as b:
        b.set(rsi=0x9000, rcx=2, rdx=0x80)
        seen = [b.run(E | S) for _ in range(3)]
        assert seen == [IoExit("out", 0x80, 1, b"\0")] * 2 + [stopped(b, "end")]


def test_a_stepped_rep_stos_to_mmio_stops_once_behind_its_last_item() -> None:
    with KvmBench("here: rep stosb\nend: nop\nhlt", "long") as b:
        b.set(rdi=OUTSIDE, rcx=2)
        seen = [b.run(E | S) for _ in range(3)]
        stores: list[Exit] = [MmioExit(OUTSIDE + n, b"\0", True) for n in (0, 1)]
        assert seen == [*stores, stopped(b, "end")]


def test_a_step_over_an_out_behind_another_step_still_stops_behind_it() -> None:
    with KvmBench("nop\nout 0x80, al\nend: nop\nhlt", "long") as b:
        b.run(E | S)
        assert isinstance(b.vcpu.run(), IoExit)  # without a timeout: the short way
        assert b.vcpu.run() == stopped(b, "end")


# Interrupts


@pytest.mark.parametrize("mode", MODES)
def test_an_interrupt_comes_at_once_where_the_guest_takes_interrupts(mode: str) -> None:
    with KvmBench("here: nop\nnop\nhlt\nhandler: nop\nbehind: hlt", mode) as b:
        b.gate(0x21, "handler")
        for _ in range(20):  # it came late only now and then
            b.set(rflags=0x202, rip=b["here"])
            b.vcpu.interrupt(0x21)
            assert b.run(E) == HltExit()
            assert b.reg("rip") == b["behind"] + 1


def test_an_interrupt_waits_for_the_end_of_an_interrupt_shadow() -> None:
    with KvmBench("here: nop\nend: nop\nhlt\nhandler: hlt", "long") as b:
        b.gate(0x21, "handler")
        b.set(rflags=0x202)
        b.vcpu.set_vcpu_events(b.vcpu.get_vcpu_events()._replace(interrupt_shadow=2))
        b.vcpu.interrupt(0x21)
        assert not b.vcpu._entry._takes_interrupts()  # type: ignore[attr-defined]


def test_an_interrupt_waits_while_the_guest_has_them_off() -> None:
    with KvmBench("here: nop\nhlt\nhandler: hlt", "long") as b:
        b.gate(0x21, "handler")
        b.vcpu.interrupt(0x21)
        assert b.run(E) == HltExit()
        assert b.reg("rip") == b["here"] + 2


# A handler's first instruction is a HLT


@pytest.mark.parametrize("text", ["ud2", "int 0x20", "div ecx"])
def test_a_search_for_an_int3_does_not_run_past_a_handlers_hlt(text: str) -> None:
    vector = {"ud2": 6, "int 0x20": 0x20, "div ecx": 0}[text]
    source = f"{text}\nhlt\nhandler: hlt\nbehind: nop\nnop\nend: hlt"
    with KvmBench(source, "real") as b:
        b.gate(vector, "handler")
        assert b.run(E | W) == HltExit()
        assert b.reg("rip") == b["behind"]
        assert b.run(E) == HltExit()  # and nothing of that halt is left
        assert b.reg("rip") == b["end"] + 1


@pytest.mark.parametrize("mode", MODES)
def test_a_watch_in_the_stacks_page_does_not_run_past_a_handlers_hlt(mode: str) -> None:
    with KvmBench("ud2\nhandler: hlt\nbehind: nop\nnop\nend: hlt", mode) as b:
        b.gate(6, "handler")
        b.set(rsp=STACK)
        b.sgd(E | H, dr0=0x9100, dr7=WRITE_1)
        assert b.run() == HltExit()
        assert b.reg("rip") == b["behind"]
        b.sgd(0)
        assert b.run() == HltExit()
        assert b.reg("rip") == b["end"] + 1


def test_a_call_to_a_place_behind_a_hlt_is_no_halt() -> None:
    with KvmBench("call sub\nend: int3\nhlt\nsub: ret", "real") as b:
        assert b.run(E | W) == DebugExit(3, b["end"])


def test_a_frame_is_known_by_its_return_address_its_cs_and_the_trap_flag() -> None:
    def frame(ip: int, cs: int, flags: int) -> bool:
        raw = b"".join(value.to_bytes(2, "little") for value in (ip, cs, flags, 0))
        memory = bytes(0x7000) + raw

        def read(at: int, size: int) -> bytes:
            return memory[at : at + size]

        return delivered(0x8000, 0, 0x7000, Sregs(ss=Segment(0)), read)

    assert frame(0x8000, 0, 0x102)
    assert frame(0x8002, 0, 0x102)
    assert not frame(0x7FFF, 0, 0x102)
    assert not frame(0x8010, 0, 0x102)
    assert not frame(0x8000, 8, 0x102)
    assert not frame(0x8000, 0, 0x002)


# A watch in the stack's page, where the guest cannot be stepped


def test_a_watched_push_of_64_bit_code_at_cpl_3_stops_behind_it() -> None:
    with KvmBench("push rax\nbehind: nop\nud2\nhandler: hlt", "long") as b:
        b.gate(6, "handler")
        at_cpl3(b.vcpu)
        b.set(rsp=STACK, rax=0x55)
        b.sgd(E | H, dr0=STACK - 1, dr7=WRITE_1)
        assert b.run() == stopped(b, "behind", B(0), WRITE_1)
        assert b.word(STACK - 8) == 0x55
        assert b.run() == HltExit()


# 32-bit code with paging


def paged(vcpu: Engine) -> None:
    """The first 4 MiB, one to one."""
    vcpu.write_memory(TABLE, (0x87).to_bytes(4, "little"))
    sregs = vcpu.get_sregs()
    vcpu.set_sregs(sregs._replace(cr0=sregs.cr0 | int(CR0.PG), cr3=TABLE, cr4=int(CR4.PSE)))


def test_32_bit_paging_is_kept_or_refused_in_one_line() -> None:
    with KvmBench("nop\nhlt", "protected") as b:
        before = b.vcpu.get_sregs()
        if probe._keeps_32_bit_paging():
            paged(b.vcpu)
            assert b.vcpu.get_sregs().cr0 & int(CR0.PG)
            return
        with pytest.raises(IoctlError, match=r"KVM_SET_SREGS: EINVAL: .* no paging outside of"):
            paged(b.vcpu)
        assert b.vcpu.get_sregs() == before
        assert b.run(E) == HltExit()


def test_paging_of_ia_32e_mode_is_not_refused() -> None:
    with KvmBench("nop\nhlt") as b:
        assert not probe.drops_paging(b.vcpu.get_sregs())


# Steps that the host would not get


REFUSED = r'^this host\'s KVM cannot single-step 64-bit code at CPL 3; use engine="unicorn"$'


@pytest.fixture
def user() -> Iterator[Vm]:
    """Code at CPL 3 with a breakpoint at hand, where it cannot be stepped."""
    with Vm("kvm", mode="long") as vm:
        vm.load(assemble("nop\nhere: nop\ncall sub\nnop\nsub: ret", mode="long"))
        vm.bp("here")
        vm.step()
        at_cpl3(vm.vcpu)
        if Capability.SINGLESTEP in vm.vcpu.capabilities:
            pytest.skip("this host's KVM steps 64-bit code at CPL 3")
        yield vm


@pytest.mark.parametrize("how", ["into", "over", "out"])
def test_a_step_is_refused_where_the_host_would_not_get_its_stop(user: Vm, how: str) -> None:
    for _ in range(2):  # and the VM is none the worse for it
        with pytest.raises(EngineError, match=REFUSED):
            user.step(how=how)
        assert user.regs().rip == user.address("here")


def test_a_step_until_a_condition_is_refused_there(user: Vm) -> None:
    with pytest.raises(EngineError, match=REFUSED):
        user.step(how="until", where="rax == 1")


def test_a_run_off_a_breakpoint_is_refused_there(user: Vm) -> None:
    with pytest.raises(EngineError, match=REFUSED):
        user.cont(timeout=1)
    assert user.regs().rip == user.address("here")
    assert user.read(user.address("here"), 1) == b"\x90"
