"""Delivery that succeeds: frames, stacks, flags and segments in every mode (SDM vol. 3, ch. 6).

What happens when it does not succeed is in test_delivery_nested.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from kvmdbg.errors import AddressError
from kvmdbg.machine.layout import GDT, IST1_STACK, KERNEL_STACK, TSS, Selector, default_guest, gate
from kvmdbg.x86.delivery import Delivered, Event, EventKind, deliver
from kvmdbg.x86.descriptors import TRAP_GATE_16, Gate, pack_descriptor, pack_gate
from kvmdbg.x86.descriptors import segment_from_descriptor as decode
from kvmdbg.x86.registers import RFLAGS, DescriptorTable, Regs, Segment

RAM = 1 << 20
HANDLER = 0x9000
SOFT = Event(0x40, EventKind.SOFTWARE)
MESSY = int(
    RFLAGS.FIXED | RFLAGS.CF | RFLAGS.TF | RFLAGS.IF | RFLAGS.NT | RFLAGS.RF | RFLAGS.AC | RFLAGS.DF
)


class Guest:
    """The default guest of a mode with a handler for every vector at HANDLER."""

    def __init__(self, mode: str, **gates: Any) -> None:
        image = default_guest(mode, RAM)
        self.mode = mode
        self.ram = bytearray(RAM)
        for address, data in image.memory:
            self.put(address, data)
        for vector in range(256):
            self.put(*gate(mode, vector, HANDLER, **gates))
        self.regs: Regs = image.regs._replace(rax=0x1234, rip=0x8002)
        self.sregs = image.sregs

    def put(self, address: int, data: bytes) -> None:
        self.ram[address : address + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        if not 0 <= address <= RAM - size:
            raise AddressError(f"{address:#x} is outside RAM")
        return bytes(self.ram[address : address + size])

    def segment(self, selector: int) -> Segment:
        at = GDT + (selector & ~7)
        return decode(selector, int.from_bytes(self.ram[at : at + 8], "little"))

    def enter_user_mode(self, code: int = Selector.USER_CODE32) -> None:
        self.sregs = self.sregs._replace(
            cs=self.segment(code | 3), ss=self.segment(Selector.USER_DATA | 3)
        )

    def deliver(self, event: Event) -> Delivered:
        before = bytes(self.ram)
        answer = deliver(event, self.regs, self.sregs, self.read)
        assert self.ram == before
        assert isinstance(answer, Delivered)
        return answer

    def frame(self, answer: Delivered, width: int) -> list[int]:
        """What lies on the new stack, from its top (lowest address) up."""
        for address, data in answer.writes:
            self.put(address, data)
        size = sum(len(data) for _, data in answer.writes)
        start = answer.sregs.ss.base + answer.regs.rsp
        raw = self.read(start, size)
        return [int.from_bytes(raw[i : i + width], "little") for i in range(0, size, width)]


def test_real_mode_pushes_flags_cs_and_ip_and_goes_where_the_ivt_says() -> None:
    guest = Guest("real")
    guest.put(*gate("real", 0x40, 0x0010, selector=0x0900))
    guest.sregs = guest.sregs._replace(cs=guest.sregs.cs._replace(selector=0x7C0, base=0x7C00))
    answer = guest.deliver(SOFT)
    assert (answer.sregs.cs.selector, answer.sregs.cs.base, answer.regs.rip) == (0x900, 0x9000, 16)
    assert guest.frame(answer, 2) == [0x8002, 0x7C0, 2]


def test_real_mode_clears_if_tf_ac_and_rf_and_keeps_the_rest() -> None:
    guest = Guest("real")
    guest.regs = guest.regs._replace(rflags=MESSY)
    kept = RFLAGS.FIXED | RFLAGS.CF | RFLAGS.DF | RFLAGS.NT
    assert guest.deliver(SOFT).regs.rflags == kept


def test_real_mode_pushes_no_error_code() -> None:
    guest = Guest("real")
    answer = guest.deliver(Event(13, EventKind.FAULT, 0))
    assert len(guest.frame(answer, 2)) == 3


def test_real_mode_stack_wraps_within_64_kib() -> None:
    guest = Guest("real")
    guest.sregs = guest.sregs._replace(ss=guest.sregs.ss._replace(base=0x10000, selector=0x1000))
    guest.regs = guest.regs._replace(rsp=0xABCD_0002)
    answer = guest.deliver(SOFT)
    assert answer.regs.rsp == 0xABCD_FFFC
    assert [address for address, _ in answer.writes] == [0x10000, 0x1FFFE, 0x1FFFC]


def test_real_mode_with_sp_7_has_room_for_just_one_frame() -> None:
    guest = Guest("real")
    guest.regs = guest.regs._replace(rsp=7)
    assert guest.deliver(SOFT).regs.rsp == 1


def test_real_mode_finds_the_ivt_through_idtr() -> None:
    guest = Guest("real")
    guest.put(0x30000 + 4 * 0x40, bytes.fromhex("78560000"))
    guest.sregs = guest.sregs._replace(idt=DescriptorTable(0x30000, 0x3FF))
    assert guest.deliver(SOFT).regs.rip == 0x5678


def test_protected_mode_pushes_eflags_cs_and_eip() -> None:
    guest = Guest("protected")
    answer = guest.deliver(SOFT)
    assert guest.frame(answer, 4) == [0x8002, Selector.CODE, 2]
    assert (answer.regs.rip, answer.regs.rsp) == (HANDLER, 0x7000 - 12)
    assert answer.sregs == guest.sregs


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_an_exceptions_error_code_lies_on_top_of_the_frame(mode: str) -> None:
    guest = Guest(mode)
    answer = guest.deliver(Event(13, EventKind.FAULT, 0x1234))
    assert guest.frame(answer, 8 if mode == "long" else 4)[:2] == [0x1234, 0x8002]


@pytest.mark.parametrize("kind", [EventKind.SOFTWARE, EventKind.EXTERNAL])
def test_interrupts_push_no_error_code_whatever_their_vector(kind: EventKind) -> None:
    guest = Guest("protected")
    assert len(guest.frame(guest.deliver(Event(13, kind)), 4)) == 3


def test_an_exception_that_has_an_error_code_pushes_zero_if_none_is_given() -> None:
    guest = Guest("long")
    assert guest.frame(guest.deliver(Event(8, EventKind.FAULT)), 8)[0] == 0


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_an_interrupt_gate_clears_if_and_a_trap_gate_does_not(mode: str) -> None:
    for trap in (False, True):
        guest = Guest(mode, trap=trap)
        guest.regs = guest.regs._replace(rflags=MESSY)
        kept = RFLAGS.FIXED | RFLAGS.CF | RFLAGS.DF | RFLAGS.AC | (RFLAGS.IF if trap else 0)
        assert guest.deliver(SOFT).regs.rflags == kept


@pytest.mark.parametrize(
    ("event", "pushed"),
    [
        (Event(6, EventKind.FAULT), 1),
        (Event(14, EventKind.FAULT, 0, 0), 1),
        (Event(1, EventKind.FAULT), 0),
        (Event(1, EventKind.TRAP), 0),
        (Event(8, EventKind.FAULT, 0), 0),
        (Event(18, EventKind.FAULT), 0),
        (Event(3, EventKind.SOFTWARE_EXCEPTION), 0),
        (Event(6, EventKind.SOFTWARE), 0),
        (Event(0x20, EventKind.EXTERNAL), 0),
        (Event(2, EventKind.NMI), 0),
    ],
)
def test_only_faults_other_than_db_push_rf(event: Event, pushed: int) -> None:
    guest = Guest("long")
    frame = guest.frame(guest.deliver(event), 8)
    flags = frame[-3]
    assert flags >> 16 & 1 == pushed


def test_an_rf_that_the_guest_has_set_is_pushed_and_then_cleared() -> None:
    guest = Guest("long")
    guest.regs = guest.regs._replace(rflags=int(RFLAGS.FIXED | RFLAGS.RF))
    answer = guest.deliver(SOFT)
    assert guest.frame(answer, 8)[2] == 0x10002
    assert answer.regs.rflags == 2


def test_a_16_bit_gate_pushes_words_and_enters_a_16_bit_offset() -> None:
    guest = Guest("protected")
    packed = pack_gate(Gate(Selector.CODE, 0x1_9000, TRAP_GATE_16, dpl=3), long=False)
    guest.put(0x1000 + 8 * 0x40, packed)
    answer = guest.deliver(SOFT)
    assert guest.frame(answer, 2) == [0x8002, Selector.CODE, 2]
    assert answer.regs.rip == 0x9000


def test_a_16_bit_gate_drops_the_high_halves_of_what_it_pushes() -> None:
    guest = Guest("protected")
    guest.enter_user_mode()
    guest.put(0x1000 + 8 * 0x40, pack_gate(Gate(Selector.CODE, HANDLER, 6, dpl=3), long=False))
    guest.regs = guest.regs._replace(rip=0x1234_8002, rsp=0x5678_7000, rflags=0x4_0002)
    frame = guest.frame(guest.deliver(SOFT), 2)
    assert frame == [0x8002, Selector.USER_CODE32 | 3, 2, 0x7000, 0x23]


def test_a_32_bit_gate_drops_the_high_halves_of_what_it_pushes() -> None:
    guest = Guest("protected")
    guest.regs = guest.regs._replace(rip=0x9_1234_8002, rsp=0x9_0000_7000)
    answer = guest.deliver(SOFT)
    assert guest.frame(answer, 4)[0] == 0x1234_8002
    assert answer.regs.rsp == 0x7000 - 12


def test_the_rpl_of_a_gates_selector_is_replaced_by_the_cpl() -> None:
    for mode in ("protected", "long"):
        assert Guest(mode, selector=Selector.CODE | 1).deliver(SOFT).sregs.cs.selector == 8


def test_a_16_bit_stack_segment_moves_sp_only() -> None:
    guest = Guest("protected")
    guest.sregs = guest.sregs._replace(ss=guest.segment(Selector.DATA16))
    guest.regs = guest.regs._replace(rsp=0x1234_0004)
    answer = guest.deliver(SOFT)
    assert answer.regs.rsp == 0x1234_FFF8
    assert [address for address, _ in answer.writes] == [0, 0xFFFC, 0xFFF8]


def test_from_cpl_3_the_stack_comes_from_a_32_bit_tss() -> None:
    guest = Guest("protected")
    guest.enter_user_mode()
    answer = guest.deliver(SOFT)
    assert guest.frame(answer, 4) == [0x8002, Selector.USER_CODE32 | 3, 2, 0x7000, 0x23]
    assert answer.regs.rsp == KERNEL_STACK - 20
    assert (answer.sregs.ss, answer.sregs.cpl) == (guest.segment(Selector.DATA), 0)


def test_from_cpl_3_the_stack_comes_from_a_16_bit_tss() -> None:
    guest = Guest("protected")
    guest.enter_user_mode()
    guest.sregs = guest.sregs._replace(tr=guest.sregs.tr._replace(type=3))
    guest.put(TSS + 2, bytes.fromhex("00601000"))
    assert guest.deliver(SOFT).regs.rsp == 0x6000 - 20


@pytest.mark.parametrize(("kind", "slot", "size"), [(11, 12, 4), (3, 6, 2)])
def test_a_handler_at_cpl_1_gets_the_tss_stack_of_level_1(kind: int, slot: int, size: int) -> None:
    guest = Guest("protected")
    guest.enter_user_mode()
    for at, selector in ((Selector.CODE, 0x08), (Selector.CODE16, Selector.DATA)):
        guest.put(GDT + at, pack_descriptor(guest.segment(selector)._replace(dpl=1)))
    stack = (0x6000).to_bytes(size, "little") + (Selector.CODE16 | 1).to_bytes(2, "little")
    guest.put(TSS + slot, stack)
    guest.sregs = guest.sregs._replace(tr=guest.sregs.tr._replace(type=kind))
    answer = guest.deliver(SOFT)
    assert (answer.regs.rsp, answer.sregs.cpl, answer.sregs.cs.selector) == (0x6000 - 20, 1, 9)
    assert answer.sregs.ss.selector == Selector.CODE16 | 1


@pytest.mark.parametrize(("mode", "kind"), [("protected", 9), ("protected", 1), ("long", 9)])
def test_a_tss_that_is_not_marked_busy_serves_too(mode: str, kind: int) -> None:
    guest = Guest(mode)
    guest.enter_user_mode()
    guest.put(TSS + 2, bytes.fromhex("0060") if kind == 1 else b"")
    guest.put(TSS + 4, Selector.DATA.to_bytes(2, "little") if kind == 1 else b"")
    guest.sregs = guest.sregs._replace(tr=guest.sregs.tr._replace(type=kind))
    assert guest.deliver(SOFT).sregs.cpl == 0


def test_a_conforming_handler_stays_at_cpl_3_on_the_callers_stack() -> None:
    guest = Guest("protected")
    conforming = guest.segment(Selector.CODE)._replace(type=15)
    guest.put(GDT + Selector.CODE, pack_descriptor(conforming))
    guest.enter_user_mode()
    answer = guest.deliver(SOFT)
    assert (answer.sregs.cs.selector, answer.sregs.cpl) == (Selector.CODE | 3, 3)
    assert answer.regs.rsp == 0x7000 - 12


def test_a_handlers_segment_may_lie_in_the_ldt() -> None:
    guest = Guest("protected", selector=0x0C)
    guest.put(0x20008, pack_descriptor(guest.segment(Selector.CODE)))
    ldt = Segment(base=0x20000, limit=0xF, selector=0x60, type=2, present=1)
    guest.sregs = guest.sregs._replace(ldt=ldt)
    assert guest.deliver(SOFT).sregs.cs.selector == 0x0C


def test_a_segment_is_marked_accessed_when_it_is_loaded() -> None:
    guest = Guest("protected")
    guest.put(GDT + Selector.CODE, pack_descriptor(guest.segment(Selector.CODE)._replace(type=10)))
    assert guest.deliver(SOFT).sregs.cs.type == 11


def test_out_of_v86_mode_the_data_segments_are_pushed_and_nulled() -> None:
    guest = Guest("protected")
    v86 = {name: Segment(n << 4, 0xFFFF, n, 3, 1, 3, s=1) for n, name in enumerate("abcdef")}
    cs, ss, ds, es, fs, gs = v86.values()
    guest.sregs = guest.sregs._replace(cs=cs, ss=ss, ds=ds, es=es, fs=fs, gs=gs)
    guest.regs = guest.regs._replace(rflags=int(RFLAGS.FIXED | RFLAGS.VM))
    answer = guest.deliver(SOFT)
    assert guest.frame(answer, 4) == [0x8002, 0, 0x20002, 0x7000, 1, 3, 2, 4, 5]
    assert answer.sregs.gs == answer.sregs.ds == Segment(unusable=1)
    assert (answer.regs.rflags, answer.sregs.cpl) == (2, 0)


def test_long_mode_always_pushes_ss_and_rsp() -> None:
    guest = Guest("long")
    answer = guest.deliver(SOFT)
    assert guest.frame(answer, 8) == [0x8002, Selector.CODE, 2, 0x7000, Selector.DATA]
    assert answer.sregs == guest.sregs


def test_long_mode_aligns_the_stack_to_16_bytes_and_pushes_the_old_rsp() -> None:
    guest = Guest("long")
    guest.regs = guest.regs._replace(rsp=0x6FFD)
    answer = guest.deliver(SOFT)
    assert answer.regs.rsp == 0x6FF0 - 40
    assert guest.frame(answer, 8)[3] == 0x6FFD


@pytest.mark.parametrize("code", [Selector.USER_CODE64, Selector.USER_CODE32])
def test_from_cpl_3_long_mode_takes_rsp0_and_a_null_ss(code: Selector) -> None:
    guest = Guest("long")
    guest.enter_user_mode(code)
    answer = guest.deliver(SOFT)
    assert guest.frame(answer, 8) == [0x8002, code | 3, 2, 0x7000, Selector.USER_DATA | 3]
    assert answer.regs.rsp == KERNEL_STACK - 40
    assert (answer.sregs.ss.selector, answer.sregs.ss.unusable, answer.sregs.cpl) == (0, 1, 0)


def test_a_null_ss_carries_the_new_cpl_as_rpl() -> None:
    guest = Guest("long")
    code = guest.segment(Selector.CODE)._replace(dpl=1)
    guest.put(GDT + Selector.CODE, pack_descriptor(code))
    guest.put(TSS + 12, (0x6000).to_bytes(8, "little"))
    guest.enter_user_mode(Selector.USER_CODE64)
    answer = guest.deliver(SOFT)
    assert (answer.sregs.ss.selector, answer.sregs.cs.selector, answer.sregs.cpl) == (1, 9, 1)
    assert answer.regs.rsp == 0x6000 - 40


@pytest.mark.parametrize("user", [False, True])
def test_an_ist_gate_switches_the_stack_from_every_level(user: bool) -> None:
    guest = Guest("long", ist=1)
    if user:
        guest.enter_user_mode(Selector.USER_CODE64)
    assert guest.deliver(SOFT).regs.rsp == IST1_STACK - 40


def test_an_ist_gate_at_the_same_level_leaves_ss_alone() -> None:
    assert Guest("long", ist=1).deliver(SOFT).sregs.ss.selector == Selector.DATA


def test_a_frame_across_a_page_boundary_is_split_into_physical_pieces() -> None:
    guest = Guest("long")
    guest.put(0x3000, (0x10000 | 7).to_bytes(8, "little"))  # a PD of 4 KiB pages
    guest.put(0x10000, (0x11000 | 7).to_bytes(8, "little"))
    for page in range(256):
        frame = {5: 0x50000, 6: 0x60000}.get(page, page << 12)
        guest.put(0x11000 + 8 * page, (frame | 7).to_bytes(8, "little"))
    guest.regs = guest.regs._replace(rsp=0x6010)
    addresses = [address for address, _ in guest.deliver(SOFT).writes]
    assert addresses == [0x60008, 0x60000, 0x50FF8, 0x50FF0, 0x50FE8]


def test_registers_that_delivery_does_not_name_stay_as_they_were() -> None:
    guest = Guest("long")
    answer = guest.deliver(SOFT)
    expected = guest.regs._replace(
        rip=answer.regs.rip, rsp=answer.regs.rsp, rflags=answer.regs.rflags
    )
    assert answer.regs == expected


def test_a_page_fault_loads_cr2() -> None:
    answer = Guest("long").deliver(Event(14, EventKind.FAULT, 2, 0xDEAD000))
    assert answer.sregs.cr2 == 0xDEAD000


def test_int_14_does_not_load_cr2() -> None:
    answer = Guest("long").deliver(Event(14, EventKind.SOFTWARE, None, 0xDEAD000))
    assert answer.sregs.cr2 == 0


def test_a_frame_pushed_outside_ram_is_lost_and_the_handler_runs_all_the_same() -> None:
    guest = Guest("protected")
    guest.regs = guest.regs._replace(rsp=0x8000_0000)
    answer = guest.deliver(SOFT)
    assert (answer.writes, answer.regs.rsp) == ((), 0x8000_0000 - 12)


@pytest.mark.parametrize(
    ("mode", "last"), [("real", 4 * 0x40 + 3), ("protected", 8 * 0x40 + 7), ("long", 0x40F)]
)
def test_a_limit_names_the_last_byte_of_the_vector_table(mode: str, last: int) -> None:
    guest = Guest(mode)
    guest.sregs = guest.sregs._replace(idt=guest.sregs.idt._replace(limit=last))
    assert guest.deliver(SOFT).vector == 0x40


@pytest.mark.parametrize(("mode", "last"), [("protected", 9), ("long", 11)])
def test_a_limit_names_the_last_byte_of_the_tss_and_the_gdt(mode: str, last: int) -> None:
    guest = Guest(mode)
    guest.enter_user_mode()
    gdt = guest.sregs.gdt._replace(limit=Selector.DATA + 7)
    guest.sregs = guest.sregs._replace(tr=guest.sregs.tr._replace(limit=last), gdt=gdt)
    assert guest.deliver(SOFT).vector == 0x40


@pytest.mark.parametrize("down", [False, True])
def test_a_stacks_last_bytes_may_be_used(down: bool) -> None:
    guest = Guest("protected")
    limit, kind = (0x6FF3, 7) if down else (0x6FFF, 3)
    ss = guest.sregs.ss._replace(type=kind, limit=limit, g=0)
    guest.sregs = guest.sregs._replace(ss=ss)
    assert guest.deliver(SOFT).vector == 0x40


def test_a_flat_stack_wraps_below_zero_to_the_top_of_4_gib() -> None:
    guest = Guest("protected")
    guest.regs = guest.regs._replace(rsp=0)
    assert guest.deliver(SOFT).regs.rsp == 0xFFFF_FFF4


def test_a_16_bit_expand_down_stack_reaches_up_to_64_kib() -> None:
    guest = Guest("protected")
    guest.sregs = guest.sregs._replace(ss=Segment(0, 0xFFF, 0x10, 7, 1, s=1))
    guest.regs = guest.regs._replace(rsp=0)
    assert guest.deliver(SOFT).regs.rsp == 0xFFF4


def test_a_handler_may_be_the_last_byte_of_its_segment() -> None:
    guest = Guest("protected")
    code = guest.segment(Selector.CODE)._replace(limit=HANDLER, g=0)
    guest.put(GDT + Selector.CODE, pack_descriptor(code))
    assert guest.deliver(SOFT).regs.rip == HANDLER


def test_the_trail_names_the_gate_its_bytes_and_the_handler() -> None:
    answer = Guest("protected").deliver(SOFT)
    (step,) = answer.trail
    assert (step.vector, step.error_code, step.problem) == (0x40, None, "")
    assert step.where == "IDT[64] at 0x1200: 00 90 08 00 00 ee 00 00 -> 0008:9000"


def test_the_trail_names_the_real_mode_vector() -> None:
    (step,) = Guest("real").deliver(SOFT).trail
    assert step.where == "IVT[64] at 0x100: 00 90 00 00 -> 0000:9000"
