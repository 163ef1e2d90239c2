"""Delivery that goes wrong: which fault comes instead, with which error code, and how it ends.

SDM vol. 3, 6.13 (error codes), table 6-5 (double faults), and the checks of INT n in vol. 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvmdbg.errors import AddressError
from kvmdbg.machine.layout import GDT, IDT, TSS, Selector, default_guest, gate
from kvmdbg.x86.delivery import Delivered, Event, EventKind, TripleFault, deliver
from kvmdbg.x86.descriptors import Gate, pack_descriptor, pack_gate, segment_from_descriptor
from kvmdbg.x86.registers import DescriptorTable, Segment

RAM = 1 << 17
HANDLER = 0x9000
SOFT = Event(0x40, EventKind.SOFTWARE, instruction_rip=0x8000)
EXTERNAL = Event(0x40, EventKind.EXTERNAL)


class Guest:
    """The default guest of a mode with a handler for every vector at HANDLER."""

    def __init__(self, mode: str) -> None:
        image = default_guest(mode, RAM)
        self.mode = mode
        self.ram = bytearray(RAM)
        for address, data in image.memory:
            self.put(address, data)
        for vector in range(256):
            self.put(*gate(mode, vector, HANDLER))
        self.regs = image.regs._replace(rip=0x8002)
        self.sregs = image.sregs

    def put(self, address: int, data: bytes) -> None:
        self.ram[address : address + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        if not 0 <= address <= RAM - size:
            raise AddressError(f"{address:#x} is outside RAM")
        return bytes(self.ram[address : address + size])

    def segment(self, selector: int) -> Segment:
        at = GDT + (selector & ~7)
        return segment_from_descriptor(selector, int.from_bytes(self.ram[at : at + 8], "little"))

    def edit(self, selector: int, **fields: int) -> None:
        self.put(GDT + (selector & ~7), pack_descriptor(self.segment(selector)._replace(**fields)))

    def set_gate(self, vector: int, **fields: int) -> None:
        long = self.mode == "long"
        fields = {"selector": Selector.CODE, "offset": HANDLER, "type": 14, "dpl": 3} | fields
        self.put(IDT + vector * (16 if long else 8), pack_gate(Gate(**fields), long=long))

    def remove(self, *vectors: int) -> None:
        for vector in vectors:
            self.set_gate(vector, present=0)

    def enter_user_mode(self) -> None:
        code = Selector.USER_CODE64 if self.mode == "long" else Selector.USER_CODE32
        ss = self.segment(Selector.USER_DATA | 3)
        self.sregs = self.sregs._replace(cs=self.segment(code | 3), ss=ss)

    def set(self, **fields: Any) -> None:
        self.sregs = self.sregs._replace(**fields)

    def limit(self, table: str, limit: int) -> None:
        self.set(**{table: getattr(self.sregs, table)._replace(limit=limit)})

    def unmap(self, page: int, rights: int) -> None:
        """Long mode: map the first 2 MiB by 4 KiB pages, of which one has these rights."""
        self.put(0x4000, (0x10000 | 7).to_bytes(8, "little"))
        for number in range(512):
            entry = number << 12 | (rights if number << 12 == page else 7)
            self.put(0x10000 + 8 * number, entry.to_bytes(8, "little"))

    def deliver(self, event: Event) -> Delivered | TripleFault:
        return deliver(event, self.regs, self.sregs, self.read)

    def delivered(self, event: Event) -> Delivered:
        answer = self.deliver(event)
        assert isinstance(answer, Delivered), answer.trail
        return answer


def vectors(answer: Delivered | TripleFault) -> list[int]:
    return [step.vector for step in answer.trail]


def raised(answer: Delivered | TripleFault) -> tuple[int, int | None, str]:
    """The fault that the first attempt raised: vector, error code, reason."""
    return answer.trail[1].vector, answer.trail[1].error_code, answer.trail[0].problem


Change = Callable[[Guest], Any]
TR = Selector.TSS
BOTH: list[tuple[str, Change, int, int, str]] = [
    ("idt limit", lambda g: g.limit("idt", 0x1FF), 13, 0x202, "limit is 0x1ff"),
    ("gate absent", lambda g: g.remove(0x40), 11, 0x202, "gate is not present"),
    ("gate type", lambda g: g.set_gate(0x40, type=12), 13, 0x202, "type 0xc is no"),
    ("call gate", lambda g: g.set_gate(0x40, type=4), 13, 0x202, "type 0x4 is no"),
    ("null code", lambda g: g.set_gate(0x40, selector=3), 13, 0, "null"),
    ("gdt limit", lambda g: g.set_gate(0x40, selector=0x1003), 13, 0x1000, "beyond"),
    ("no ldt", lambda g: g.set_gate(0x40, selector=0x0F), 13, 0x0C, "beyond"),
    ("data", lambda g: g.set_gate(0x40, selector=0x10), 13, 0x10, "not a code segment"),
    ("system", lambda g: g.set_gate(0x40, selector=TR), 13, TR, "not a code segment"),
    ("code dpl", lambda g: g.set_gate(0x40, selector=0x18), 13, 0x18, "DPL 3"),
    (
        "code absent",
        lambda g: (
            g.put(GDT + 0x40, pack_descriptor(g.segment(0x08)._replace(present=0))),
            g.set_gate(0x40, selector=0x40),
        ),
        11,
        0x40,
        "segment is not present",
    ),
]
PROTECTED: list[tuple[str, Change, int, int, str]] = [
    ("task gate", lambda g: g.set_gate(0x40, type=5), 13, 0x202, "task gate"),
    ("eip limit", lambda g: g.set_gate(0x40, selector=0x48, offset=0x10000), 13, 0, "limit"),
]
LONG: list[tuple[str, Change, int, int, str]] = [
    ("16-bit gate", lambda g: g.set_gate(0x40, type=6), 13, 0x202, "64-bit"),
    ("32-bit code", lambda g: g.set_gate(0x40, selector=0x40), 13, 0x40, "not 64-bit"),
    ("l and d", lambda g: g.edit(8, db=1), 13, 8, "not 64-bit"),
    ("rpl", lambda g: g.set_gate(0x40, selector=0x43), 13, 0x40, "not 64-bit"),
    ("offset", lambda g: g.set_gate(0x40, offset=1 << 47), 13, 0, "not canonical"),
]
USER_PROTECTED: list[tuple[str, Change, int, int, str]] = [
    ("tss limit", lambda g: g.limit("tr", 8), 10, TR, "leaves out offset 0x4"),
    ("ss0 null", lambda g: g.put(TSS + 8, bytes(2)), 10, 0, "null"),
    ("ss0 beyond", lambda g: g.put(TSS + 8, b"\xf0\x0f"), 10, 0xFF0, "beyond"),
    ("ss0 null rpl", lambda g: g.put(TSS + 8, b"\x03\x00"), 10, 0, "null"),
    ("ss0 rpl", lambda g: g.put(TSS + 8, b"\x13\x00"), 10, 0x10, "RPL 3"),
    ("ss0 dpl", lambda g: g.edit(0x10, dpl=1), 10, 0x10, "DPL 1"),
    ("ss0 code", lambda g: g.put(TSS + 8, b"\x08\x00"), 10, 8, "not writable data"),
    ("ss0 read-only", lambda g: g.edit(0x10, type=1), 10, 0x10, "not writable data"),
    ("ss0 absent", lambda g: g.edit(0x10, present=0), 12, 0x10, "not present"),
    ("ss0 room", lambda g: g.edit(0x10, limit=0x77EF, g=0), 12, 0x10, "no room for 20"),
]
USER_LONG: list[tuple[str, Change, int, int, str]] = [
    ("tss limit", lambda g: g.limit("tr", 10), 10, TR, "leaves out offset 0x4"),
    ("rsp0", lambda g: g.put(TSS + 10, b"\x01"), 12, 0, "RSP0 0x1000000007800 is not"),
]
LDT = Segment(base=GDT, limit=0xFF, selector=0x60, type=2, present=1)
NO_LDT: list[tuple[str, Change, int, int, str]] = [
    (
        f"ldt {state}",
        lambda g, state=state: (g.set(ldt=LDT._replace(**state)), g.set_gate(0x40, selector=12)),
        13,
        12,
        "beyond",
    )
    for state in ({"present": 0}, {"unusable": 1}, {"limit": 14})
]
ANY_TR: list[tuple[str, Change, int, int, str]] = [
    ("tr absent", lambda g: g.set(tr=g.sregs.tr._replace(present=0)), 10, TR, "TR"),
    ("tr unusable", lambda g: g.set(tr=g.sregs.tr._replace(unusable=1)), 10, TR, "TR"),
    ("tr is an ldt", lambda g: g.set(tr=g.sregs.tr._replace(type=2)), 10, TR, "TR"),
    ("tr rpl", lambda g: g.set(tr=Segment(selector=TR | 3)), 10, TR, "TR"),
    ("tr is code", lambda g: g.set(tr=g.sregs.tr._replace(s=1)), 10, TR, "TR"),
]


def _cases(mode: str, user: bool, *tables: list[tuple[str, Change, int, int, str]]) -> list[Any]:
    return [
        pytest.param(mode, user, *case[1:], id=f"{mode}-{case[0]}")
        for table in tables
        for case in table
    ]


@pytest.mark.parametrize(
    ("mode", "user", "change", "vector", "code", "text"),
    [
        *_cases("protected", False, BOTH, PROTECTED, NO_LDT),
        *_cases("long", False, BOTH, LONG),
        *_cases("protected", True, USER_PROTECTED, ANY_TR),
        *_cases("long", True, USER_LONG, ANY_TR),
    ],
)
def test_each_check_of_int_n_raises_its_own_fault(
    mode: str, user: bool, change: Change, vector: int, code: int, text: str
) -> None:
    for event, ext in ((SOFT, 0), (EXTERNAL, 1)):
        guest = Guest(mode)
        if user:
            guest.enter_user_mode()
        change(guest)
        got_vector, got_code, problem = raised(guest.deliver(event))
        assert (got_vector, got_code) == (vector, code | ext)
        assert text in problem


@pytest.mark.parametrize("mode", ["protected", "long"])
@pytest.mark.parametrize("kind", [EventKind.SOFTWARE, EventKind.SOFTWARE_EXCEPTION])
def test_user_code_may_not_call_a_gate_of_dpl_0(mode: str, kind: EventKind) -> None:
    guest = Guest(mode)
    guest.enter_user_mode()
    guest.set_gate(3, dpl=0)
    assert raised(guest.deliver(Event(3, kind)))[:2] == (13, 3 * 8 + 2)


@pytest.mark.parametrize(
    "kind", [EventKind.FAULT, EventKind.EXTERNAL, EventKind.NMI, EventKind.PRIVILEGED_SOFTWARE]
)
def test_events_that_no_int_n_raises_ignore_the_gates_dpl(kind: EventKind) -> None:
    guest = Guest("long")
    guest.enter_user_mode()
    guest.set_gate(0x40, dpl=0)
    assert guest.delivered(Event(0x40, kind)).vector == 0x40


def test_int1_counts_as_external_in_an_error_code() -> None:
    guest = Guest("long")
    guest.remove(1)
    assert raised(guest.deliver(Event(1, EventKind.PRIVILEGED_SOFTWARE)))[:2] == (11, 8 + 2 + 1)


def test_a_fault_during_int_n_returns_to_the_int_instruction_with_rf() -> None:
    guest = Guest("long")
    guest.remove(0x40)
    frame = guest.delivered(SOFT).writes[0][1]
    code, rip, _, flags = (int.from_bytes(frame[i : i + 8], "little") for i in range(0, 32, 8))
    assert (code, rip, flags) == (0x202, 0x8000, 0x10002)


def test_a_fault_during_an_interrupt_returns_to_the_interrupted_instruction() -> None:
    guest = Guest("long")
    guest.remove(0x40)
    frame = guest.delivered(EXTERNAL._replace(instruction_rip=0x1111)).writes[0][1]
    assert int.from_bytes(frame[8:16], "little") == 0x8002


@pytest.mark.parametrize(
    ("first", "missing", "expected"),
    [
        (Event(6, EventKind.FAULT), 6, [6, 11]),  # benign, contributory
        (Event(0, EventKind.FAULT), 0, [0, 8]),  # contributory, contributory
        (Event(13, EventKind.FAULT, 0), 13, [13, 8]),
        (Event(14, EventKind.FAULT, 0, 0), 14, [14, 8]),  # page fault, contributory
        (Event(1, EventKind.TRAP), 1, [1, 11]),
        (Event(13, EventKind.SOFTWARE), 13, [13, 11]),  # INT 13 is no exception
        (Event(13, EventKind.EXTERNAL), 13, [13, 11]),
        (Event(14, EventKind.SOFTWARE), 14, [14, 11]),
        (Event(8, EventKind.SOFTWARE), 8, [8, 11]),  # INT 8 is no double fault
    ],
)
def test_two_faults_become_a_double_fault_by_table_6_5(
    first: Event, missing: int, expected: list[int]
) -> None:
    guest = Guest("long")
    guest.remove(missing)
    answer = guest.delivered(first)
    assert (vectors(answer), answer.vector) == (expected, expected[-1])


def test_a_page_fault_after_a_contributory_exception_is_handled_serially() -> None:
    guest = Guest("long")
    # Gates 0-7 on one page, which is absent; 8 and up on the next.
    guest.set(idt=DescriptorTable(0x19F80, 0xFFF))
    for vector in range(8, 32):
        address, data = gate("long", vector, HANDLER)
        guest.put(0x19F80 + address - IDT, data)
    guest.unmap(0x19000, 0)
    answer = guest.delivered(Event(0, EventKind.FAULT))
    assert vectors(answer) == [0, 14]
    assert answer.trail[1].error_code == 0
    assert answer.sregs.cr2 == 0x19F80


def test_a_page_fault_after_a_page_fault_is_a_double_fault() -> None:
    guest = Guest("long")
    guest.set(idt=DescriptorTable(0x1A000 - 15 * 16, 0xFFF))  # gates 0-14 | 15 and up
    guest.unmap(0x19000, 0)
    assert vectors(guest.deliver(Event(14, EventKind.FAULT, 0, 0x123))) == [14, 8]


def test_a_failing_double_fault_is_a_triple_fault() -> None:
    guest = Guest("long")
    guest.remove(6, 11, 8)
    answer = guest.deliver(Event(6, EventKind.FAULT))
    assert isinstance(answer, TripleFault)
    assert vectors(answer) == [6, 11, 8]
    assert all(step.problem == "the gate is not present" for step in answer.trail)


def test_a_triple_fault_leaves_the_registers_of_the_last_fault() -> None:
    guest = Guest("long")
    guest.limit("idt", 0)
    answer = guest.deliver(SOFT)
    assert isinstance(answer, TripleFault)
    assert answer.regs == guest.regs._replace(rip=0x8000)
    assert answer.sregs == guest.sregs


def test_a_triple_fault_keeps_the_cr2_of_the_last_page_fault() -> None:
    guest = Guest("long")
    guest.unmap(IDT, 0)
    answer = guest.deliver(Event(14, EventKind.FAULT, 2, 0xDEAD000))
    assert isinstance(answer, TripleFault)
    assert answer.sregs.cr2 == IDT + 8 * 16


def test_a_guest_without_handlers_triple_faults_on_its_first_exception() -> None:
    for mode in ("protected", "long"):
        image = default_guest(mode, RAM)
        ram = bytearray(RAM)
        for address, data in image.memory:
            ram[address : address + len(data)] = data
        answer = deliver(
            Event(6, EventKind.FAULT),
            image.regs,
            image.sregs,
            lambda address, size, ram=ram: bytes(ram[address : address + size]),
        )
        assert isinstance(answer, TripleFault)
        assert answer.trail[0].problem == "the gate is empty (no handler installed)"


def test_the_double_faults_error_code_is_zero() -> None:
    guest = Guest("long")
    guest.remove(13)
    answer = guest.delivered(Event(13, EventKind.FAULT, 0x77))
    assert answer.writes[0][1][:8] == bytes(8)


@pytest.mark.parametrize(("rights", "code"), [(0, 2), (5, 3)])
def test_a_push_to_a_page_that_refuses_is_a_page_fault_at_the_first_push(
    rights: int, code: int
) -> None:
    guest = Guest("long")
    guest.set_gate(14, ist=1)
    guest.unmap(0x6000, rights)
    answer = guest.delivered(SOFT)
    assert vectors(answer) == [0x40, 14]
    assert answer.trail[1].error_code == code
    assert answer.sregs.cr2 == 0x6FF8


def test_a_push_that_reaches_the_next_page_faults_there() -> None:
    guest = Guest("long")
    guest.set_gate(14, ist=1)
    guest.unmap(0x5000, 0)
    guest.regs = guest.regs._replace(rsp=0x6010)
    assert guest.delivered(SOFT).sregs.cr2 == 0x5FF8


def test_a_supervisor_may_push_to_a_read_only_page_without_wp() -> None:
    guest = Guest("long")
    guest.unmap(0x6000, 5)
    guest.set(cr0=guest.sregs.cr0 & ~0x10000)
    assert guest.delivered(SOFT).vector == 0x40


def test_without_wp_a_missing_page_still_reports_a_write() -> None:
    guest = Guest("long")
    guest.set_gate(14, ist=1)
    guest.unmap(0x6000, 0)
    guest.set(cr0=guest.sregs.cr0 & ~0x10000)
    assert guest.delivered(SOFT).trail[1].error_code == 2


def test_a_handler_at_cpl_3_pushes_with_user_rights() -> None:
    guest = Guest("long")
    guest.enter_user_mode()
    guest.set_gate(0x40, selector=Selector.USER_CODE64)
    guest.unmap(0x6000, 3)
    answer = guest.deliver(SOFT)
    assert raised(answer)[:2] == (14, 7)


def test_tables_are_read_with_supervisor_rights_even_from_cpl_3() -> None:
    guest = Guest("long")
    guest.enter_user_mode()
    guest.unmap(IDT, 3)
    assert guest.delivered(SOFT).vector == 0x40


def test_a_stack_that_is_not_canonical_is_a_stack_fault() -> None:
    guest = Guest("long")
    guest.set_gate(12, ist=1)
    guest.regs = guest.regs._replace(rsp=0x8000_0000_0000)
    assert raised(guest.deliver(EXTERNAL))[:2] == (12, 1)


def test_a_frame_that_only_ends_below_the_canonical_hole_is_a_stack_fault() -> None:
    guest = Guest("long")
    guest.set_gate(12, ist=1)
    guest.regs = guest.regs._replace(rsp=0xFFFF_8000_0000_0000)
    assert raised(guest.deliver(SOFT))[:2] == (12, 0)


def test_a_protected_stack_without_room_is_a_stack_fault() -> None:
    guest = Guest("protected")
    guest.set(ss=guest.sregs.ss._replace(limit=0x6FFE, g=0))
    assert raised(guest.deliver(SOFT))[:2] == (12, 0)


@pytest.mark.parametrize("kind", [3, 7])
def test_a_push_may_not_straddle_the_end_of_4_gib(kind: int) -> None:
    guest = Guest("protected")
    guest.set(ss=guest.sregs.ss._replace(type=kind, limit=0xFFF if kind == 7 else 0xFFFFFFFF))
    guest.regs = guest.regs._replace(rsp=2)
    assert raised(guest.deliver(SOFT))[:2] == (12, 0)


def test_an_expand_down_stack_has_no_room_below_its_limit() -> None:
    guest = Guest("protected")
    guest.set(ss=guest.sregs.ss._replace(type=7, limit=0x6FF4, g=0))
    assert raised(guest.deliver(SOFT))[:2] == (12, 0)


@pytest.mark.parametrize(("kind", "dpl"), [(11, 3), (11, 1), (15, 0), (15, 3)])
def test_v86_needs_a_non_conforming_ring_0_handler(kind: int, dpl: int) -> None:
    guest = Guest("protected")
    guest.edit(Selector.USER_CODE32, type=kind, dpl=dpl)
    guest.set_gate(0x40, selector=Selector.USER_CODE32 | 3)
    guest.regs = guest.regs._replace(rflags=0x20002)
    assert raised(guest.deliver(SOFT))[:2] == (13, Selector.USER_CODE32)


@pytest.mark.parametrize(("selector", "code"), [(Selector.CODE, None), (Selector.USER_CODE32, 7)])
def test_protected_mode_pushes_with_the_rights_of_the_handler(
    selector: int, code: int | None
) -> None:
    guest = Guest("protected")
    guest.put(0x10000, (0x83).to_bytes(4, "little"))  # 4 MiB for the supervisor only
    guest.set(cr0=guest.sregs.cr0 | 1 << 31, cr3=0x10000, cr4=0x10)
    guest.enter_user_mode()
    guest.set_gate(0x40, selector=selector)
    answer = guest.deliver(SOFT)
    faults = [step.error_code for step in answer.trail[1:2]]
    assert faults == ([] if code is None else [code])


def test_real_mode_beyond_the_ivts_limit_is_13_without_error_code() -> None:
    guest = Guest("real")
    guest.limit("idt", 0x40 * 4 + 2)
    answer = guest.delivered(SOFT)
    assert (vectors(answer), answer.trail[1].error_code) == ([0x40, 13], None)
    assert len(answer.writes[0][1]) == 6


def test_real_mode_with_sp_1_shuts_down_since_no_frame_fits() -> None:
    guest = Guest("real")
    guest.regs = guest.regs._replace(rsp=1)
    assert isinstance(guest.deliver(SOFT), TripleFault)


def test_real_mode_refuses_an_ip_beyond_the_cs_limit() -> None:
    guest = Guest("real")
    guest.put(*gate("real", 0x40, 0x9001))
    guest.set(cs=guest.sregs.cs._replace(limit=0x9000))
    assert vectors(guest.delivered(SOFT)) == [0x40, 13]


def test_an_idt_outside_ram_reads_as_ones_and_never_crashes() -> None:
    guest = Guest("protected")
    guest.set(idt=DescriptorTable(0x8000_0000, 0x7FF))
    answer = guest.deliver(SOFT)
    assert isinstance(answer, TripleFault)
    assert "ff ff ff ff" in answer.trail[0].where
