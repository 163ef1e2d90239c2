"""The irqchip between guest and host: its page, its MSRs, what the host may ask, and snapshots."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from kvmdbg.engines import Engine
from kvmdbg.errors import IoctlError
from kvmdbg.exits import HltExit, IntrExit, MmioExit
from kvmdbg.irqchip import Irqchip
from kvmdbg.uapi import MpState
from kvmdbg.x86.registers import VcpuEvents
from tests.guests.apic import FACES, PAGE, PERIODIC, Apic, name_of, wrmsr
from tests.guests.bench import Bench

faces = pytest.mark.parametrize("apic", FACES, ids=name_of)
VERSION = 0x00050014


def chip_of(vcpu: Engine) -> Irqchip:
    chip = vcpu.irqchip
    assert chip is not None
    return chip


# -- the page --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
@pytest.mark.parametrize(
    ("load", "value"),
    [
        ("mov esi, dword ptr {at}", VERSION),
        ("mov esi, -1\nand esi, dword ptr {at}", VERSION),
        ("xor esi, esi\nadd esi, dword ptr {at}", VERSION),
        ("mov esi, -1\nmov si, word ptr {at}", 0xFFFF0000),
        ("mov esi, -1\nmovzx esi, byte ptr {at}", 0),
    ],
)
def test_only_a_load_of_32_bits_reads_a_register(mode: str, load: str, value: int) -> None:
    pointer = {"real": "bx", "protected": "ebx", "long": "rbx"}[mode]
    with Apic(mode).bench(load.format(at=f"[{pointer} + 0x30]") + "\nhlt") as b:
        assert (b.run(), b.reg("rsi")) == (HltExit(), value)


@pytest.mark.parametrize(
    ("load", "register", "value"),
    [
        ("mov rsi, qword ptr [rbx + 0x30]", "rsi", 0),
        ("mov r9d, dword ptr [rbx + 0x30]", "r9", VERSION),
        ("mov esi, dword ptr [rbx + 0x34]", "rsi", 0),
        ("movabs eax, [0xfee00030]", "rax", VERSION),
    ],
)
def test_a_load_in_64_bit_mode(load: str, register: str, value: int) -> None:
    with Apic().bench(f"mov rsi, -1\nmov r9, -1\nmov rax, -1\n{load}\nhlt") as b:
        assert (b.run(), b.reg(register)) == (HltExit(), value)


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
@pytest.mark.parametrize(
    ("store", "tpr"),
    [
        ("mov dword ptr {at}, 0x45", 0x45),
        ("mov esi, 0x12345667\nmov dword ptr {at}, esi", 0x67),
        ("mov word ptr {at}, 0x45", 0),
        ("mov byte ptr {at}, 0x45", 0),
        ("mov dword ptr {at}, 0x41\nadd dword ptr {at}, 2", 0x43),
        ("mov dword ptr {at}, 0x41\nor dword ptr {at}, 0x10", 0x51),
        ("mov dword ptr {at}, 0x41\nmov esi, 0x22\nxchg dword ptr {at}, esi", 0x22),
        ("push 0x33\npop dword ptr {at}", 0x33),
    ],
)
def test_only_a_store_of_32_bits_writes_a_register(mode: str, store: str, tpr: int) -> None:
    if mode == "long" and "pop" in store:
        store = "mov esi, 0x33\nmov dword ptr {at}, esi"  # POP has 64 bits there
    pointer = {"real": "bx", "protected": "ebx", "long": "rbx"}[mode]
    with Apic(mode).bench(store.format(at=f"[{pointer} + 0x80]") + "\nhlt") as b:
        assert b.run() == HltExit()
        assert chip_of(b.vcpu).lapic.tpr == tpr


def test_a_store_of_64_bits_writes_nothing() -> None:
    with Apic().bench("mov esi, 0x45\nmov qword ptr [rbx + 0x80], rsi\nhlt") as b:
        assert b.run() == HltExit()
        assert chip_of(b.vcpu).lapic.tpr == 0


def test_string_io_reaches_the_chips() -> None:
    text = "mov al, 0x5a\nout 0x21, al\nmov dx, 0x21\nmov ecx, 3\nmov edi, 0x9000\nrep insb\n"
    text += "mov esi, 0x9100\nmov ecx, 2\nrep outsb\nhlt"
    with Apic().bench(text) as b:
        b.vcpu.write_memory(0x9100, b"\x11\x22")
        assert b.run() == HltExit()
        assert b.vcpu.read_memory(0x9000, 4) == b"\x5a\x5a\x5a\0"
        assert chip_of(b.vcpu).pic.master.imr == 0x22


@pytest.mark.parametrize("access", ["in ax, 0x20", "in eax, 0x20"])
def test_a_wide_in_from_an_8259_reads_0(access: str) -> None:
    with Apic().bench(f"mov eax, -1\n{access}\nhlt") as b:
        assert b.run() == HltExit()
        assert b.reg("rax") & 0xFFFF == 0


def test_exchange_with_a_register_reads_the_old_value() -> None:
    text = "mov dword ptr [rbx + 0x80], 0x41\nmov esi, 0x22\nxchg dword ptr [rbx + 0x80], esi\nhlt"
    with Apic().bench(text) as b:
        b.run()
        assert b.reg("rsi") == 0x41


def test_rep_movsd_copies_registers_to_memory_and_memory_to_registers() -> None:
    """Copying into the page reaches the register at its offset, and the gaps ignore it."""
    text = "lea rsi, [rbx + 0x20]\nmov edi, 0x9000\nmov ecx, 8\nrep movsd\n"
    text += "mov dword ptr [0x9100], 0x5A\nmov esi, 0x9100\nlea rdi, [rbx + 0x80]\nmov ecx, 2\n"
    text += "rep movsd\nhlt"
    with Apic().bench(text) as b:
        assert b.run() == HltExit()
        assert [b.word(0x9000 + 4 * n, 4) for n in range(8)] == [0, 0, 0, 0, VERSION, 0, 0, 0]
        assert (chip_of(b.vcpu).lapic.tpr, b.reg("rcx")) == (0x5A, 0)


@pytest.mark.parametrize("when", ["no irqchip", "disabled", "x2APIC", "moved"])
def test_where_no_page_is_decoded_its_accesses_are_the_hosts(when: str) -> None:
    bases = {"disabled": PAGE, "x2APIC": PAGE | 0xD00, "moved": 0xD0000000 | 0x900}
    set_base = wrmsr(0x1B, bases[when]) if when in bases else ""
    text = f"{set_base}\nmov esi, dword ptr [rbx + 0x30]\nhlt"
    with Bench(text) if when == "no irqchip" else Apic().bench(text) as b:
        b.set(rbx=PAGE)
        assert b.run() == MmioExit(PAGE + 0x30, bytes(4), False)


def test_a_moved_page_is_found_where_it_is() -> None:
    text = f"{wrmsr(0x1B, 0xD0000900)}\nmov ebx, 0xd0000000\nmov esi, dword ptr [rbx + 0x30]\nhlt"
    with Apic().bench(text) as b:
        assert (b.run(), b.reg("rsi")) == (HltExit(), VERSION)
        assert b.vcpu.get_sregs().apic_base == 0xD0000900


# -- IA32_APIC_BASE --------------------------------------------------------------------------------

OFF, ON, X2 = PAGE | 0x100, PAGE | 0x900, PAGE | 0xD00


@pytest.mark.parametrize("mode", ["real", "protected", "long"])
@pytest.mark.parametrize(
    ("bases", "faults"),
    [
        ([ON], False),
        ([OFF], False),
        ([X2], False),
        ([X2, X2], False),
        ([OFF, ON], False),
        ([X2, OFF, ON, X2], False),
        ([X2, ON], True),
        ([OFF, X2], True),
        ([PAGE | 0x500], True),  # x2APIC without the enable bit
        ([ON | 1 << 9], True),  # a reserved bit
        ([ON | 1 << 52], True),  # above the physical addresses
    ],
)
def test_a_base_that_no_transition_leads_to_is_a_general_protection_fault(
    mode: str, bases: list[int], faults: bool
) -> None:
    writes = "\n".join(wrmsr(0x1B, base) for base in bases)
    text = f"{writes}\nmov esi, 1\nhlt\nfault: mov esi, 13\nhlt"
    with Apic(mode).bench(text) as b:
        b.gate(13, "fault")
        b.run()
        assert b.reg("rsi") == (13 if faults else 1)


@pytest.mark.parametrize("access", ["mov ecx, 0x802\nrdmsr", wrmsr(0x808, 0)])
def test_the_registers_as_msrs_need_x2apic_mode(access: str) -> None:
    with Apic().bench(f"{access}\nmov esi, 1\nhlt\nfault: mov esi, 13\nhlt") as b:
        b.gate(13, "fault")
        b.run()
        assert b.reg("rsi") == 13


@pytest.mark.parametrize("instruction", ["rdmsr", "wrmsr", "mov cr8, rax", "mov rax, cr8"])
def test_at_cpl_3_they_are_general_protection_faults(instruction: str) -> None:
    text = "push 0x23\npush 0x7000\npush 2\npush 0x2b\npush offset user\niretq\n"
    text += f"user: {instruction}\nint 0x80\nfault: mov esi, 13\nend: hlt"
    with Apic().bench(text) as b:
        b.gate(13, "fault")
        b.gate(0x80, "end")
        b.set(rcx=0x1B)
        b.run()
        assert b.reg("rsi") == 13


# -- what the host may ask -------------------------------------------------------------------------


def refusal(call: Callable[[], None]) -> tuple[int, str]:
    with pytest.raises(IoctlError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return caught.value.errno, str(caught.value)


def test_with_an_irqchip_kvm_interrupt_is_refused() -> None:
    with Apic().bench("hlt") as b:
        assert refusal(lambda: b.vcpu.interrupt(0x20))[0] == errno.ENXIO


def test_a_second_irqchip_is_refused() -> None:
    with Apic().bench("hlt") as b:
        assert refusal(b.vcpu.create_irqchip)[0] == errno.EEXIST


def test_a_line_without_an_irqchip_is_refused() -> None:
    with Bench("hlt") as b:
        code, words = refusal(lambda: b.vcpu.irq_line(1, True))
        assert code == errno.ENXIO
        assert "create_irqchip" in words


@pytest.mark.parametrize("line", [-1, 16, 255])
def test_a_line_that_does_not_exist_is_refused(line: int) -> None:
    with Apic().bench("hlt") as b:
        assert refusal(lambda: b.vcpu.irq_line(line, True))[0] == errno.EINVAL


@pytest.mark.parametrize("state", [MpState.INIT_RECEIVED, MpState.SIPI_RECEIVED])
def test_an_mp_state_that_one_processor_does_not_have_is_refused(state: MpState) -> None:
    with Apic().bench("hlt") as b:
        assert refusal(lambda: b.vcpu.set_mp_state(state))[0] == errno.EINVAL


def test_the_irqchip_of_an_engine_without_one_is_none() -> None:
    with Bench("hlt") as b:
        assert b.vcpu.irqchip is None


def test_looking_at_the_irqchip_changes_nothing() -> None:
    apic = Apic()
    with apic.bench(f"{apic.enable()}\n{apic.timer(PERIODIC | 0x40, 10)}\nagain: jmp again") as b:
        b.vcpu.run(max_instructions=100)
        before = b.vcpu.snapshot().chipset  # type: ignore[attr-defined]
        assert chip_of(b.vcpu) == chip_of(b.vcpu)
        assert b.vcpu.snapshot().chipset == before  # type: ignore[attr-defined]


# -- snapshots -------------------------------------------------------------------------------------


@faces
def test_a_snapshot_in_the_middle_of_a_timer_counts_on_from_there(apic: Apic) -> None:
    text = f"{apic.enable()}\n{apic.timer(0x40, 1000)}\nsti\nagain: jmp again\nirq: cli\nhlt"
    with apic.bench(text) as b:
        b.gate(0x40, "irq")
        assert b.vcpu.run(max_instructions=300) == IntrExit("budget")
        middle = b.vcpu.snapshot()
        ends = []
        for _ in range(2):
            assert b.run() == HltExit()
            ends.append((b.vcpu.clock, chip_of(b.vcpu)))
            b.vcpu.restore(middle)
        assert ends[0] == ends[1]
        assert chip_of(b.vcpu).lapic.timer.current(b.vcpu.clock) > 0


def test_a_snapshot_of_a_sleeping_processor_sleeps() -> None:
    with Apic().bench("hlt\nnop") as b:
        b.run()
        asleep = b.vcpu.snapshot()
        b.vcpu.set_mp_state(MpState.RUNNABLE)
        b.vcpu.restore(asleep)
        assert b.vcpu.get_mp_state() is MpState.HALTED


def test_a_snapshot_from_before_the_irqchip_has_it_as_it_is_made() -> None:
    apic = Apic()
    with Bench(f"{apic.enable()}\n{apic.timer(0x40, 1000)}\nmov eax, 7\nmov cr8, rax\nhlt") as b:
        b.set(rbx=PAGE)
        before = b.vcpu.snapshot()
        b.vcpu.create_irqchip()
        new = chip_of(b.vcpu)
        b.run()
        assert chip_of(b.vcpu) != new
        b.vcpu.restore(before)
        assert (chip_of(b.vcpu), b.vcpu.clock) == (new, 0)
        assert (b.run(), b.vcpu.get_sregs().cr8) == (HltExit(), 7)


def nmi_guest() -> Bench:
    b = Bench("nop\nhlt\nnmi: inc edi\niretq")
    b.gate(2, "nmi")
    return b


def test_a_snapshot_keeps_an_nmi_that_is_injected_again() -> None:
    with nmi_guest() as b:
        b.vcpu.set_vcpu_events(VcpuEvents(nmi_injected=1))
        before = b.vcpu.snapshot()
        for _ in range(2):
            assert (b.run(), b.reg("rdi")) == (HltExit(), 1)
            b.vcpu.restore(before)


def test_a_snapshot_that_has_none_injected_has_none_after() -> None:
    with nmi_guest() as b:
        before = b.vcpu.snapshot()
        b.vcpu.set_vcpu_events(VcpuEvents(nmi_injected=1))
        b.vcpu.restore(before)
        assert (b.run(), b.reg("rdi")) == (HltExit(), 0)
