"""The default guests: consistent tables, documented places, flat identity-mapped memory."""

from __future__ import annotations

import pytest

from kvmdbg.errors import BadInput, UnknownName
from kvmdbg.machine import layout
from kvmdbg.machine.layout import (
    GDT,
    IDT,
    IST1_STACK,
    KERNEL_STACK,
    MODES,
    ORIGIN,
    SMALLEST_RAM,
    STACK,
    TSS,
    GuestImage,
    Selector,
    default_guest,
    gate,
    reset_state,
)
from kvmdbg.x86.descriptors import segment_from_descriptor, unpack_gate
from kvmdbg.x86.paging import PageFault, translate
from kvmdbg.x86.registers import CpuMode, Segment, linear_pc

RAM = 1 << 24
TABLE_MODES = ("protected", "long")


def memory_of(image: GuestImage) -> bytearray:
    ram = bytearray(RAM)
    for address, data in image.memory:
        ram[address : address + len(data)] = data
    return ram


def quad(ram: bytearray, address: int) -> int:
    return int.from_bytes(ram[address : address + 8], "little")


def in_gdt(ram: bytearray, selector: int) -> Segment:
    return segment_from_descriptor(selector, quad(ram, GDT + (selector & ~7)))


@pytest.mark.parametrize(
    ("mode", "cpu"),
    [("real", CpuMode.REAL), ("protected", CpuMode.PROTECTED_32), ("long", CpuMode.LONG)],
)
def test_each_mode_starts_the_processor_in_that_mode(mode: str, cpu: CpuMode) -> None:
    image = default_guest(mode, RAM)
    assert (image.sregs.mode, image.sregs.cpl) == (cpu, 0)
    assert (linear_pc(image.regs.rip, image.sregs), image.regs.rsp) == (ORIGIN, STACK)


@pytest.mark.parametrize("mode", TABLE_MODES)
@pytest.mark.parametrize("name", ["cs", "ds", "es", "fs", "gs", "ss"])
def test_each_segment_register_holds_what_the_gdt_says(mode: str, name: str) -> None:
    image = default_guest(mode, RAM)
    segment = getattr(image.sregs, name)
    assert segment == in_gdt(memory_of(image), segment.selector)


@pytest.mark.parametrize("mode", TABLE_MODES)
def test_tr_holds_the_busy_tss_of_the_gdt(mode: str) -> None:
    image = default_guest(mode, RAM)
    tr = image.sregs.tr
    assert tr == in_gdt(memory_of(image), Selector.TSS)
    assert (tr.type, tr.base, tr.limit) == (11, TSS, 0x67)


@pytest.mark.parametrize("mode", TABLE_MODES)
def test_the_gdt_covers_every_named_selector(mode: str) -> None:
    image = default_guest(mode, RAM)
    assert image.sregs.gdt == (GDT, max(Selector) + 7)


def shape(segment: Segment) -> tuple[str, int, int, int]:
    kind = "code" if segment.type & 8 else "data"
    return kind, segment.dpl, 64 if segment.l else 32 if segment.db else 16, segment.limit


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (Selector.DATA, ("data", 0, 32, 0xFFFFFFFF)),
        (Selector.USER_CODE32, ("code", 3, 32, 0xFFFFFFFF)),
        (Selector.USER_DATA, ("data", 3, 32, 0xFFFFFFFF)),
        (Selector.CODE32, ("code", 0, 32, 0xFFFFFFFF)),
        (Selector.CODE16, ("code", 0, 16, 0xFFFF)),
        (Selector.DATA16, ("data", 0, 16, 0xFFFF)),
    ],
)
@pytest.mark.parametrize("mode", TABLE_MODES)
def test_the_gdt_holds_the_documented_segments(
    mode: str, selector: Selector, expected: tuple[str, int, int, int]
) -> None:
    segment = in_gdt(memory_of(default_guest(mode, RAM)), selector)
    assert shape(segment) == expected
    assert (segment.s, segment.present, segment.base) == (1, 1, 0)


def test_kernel_code_has_the_modes_own_size() -> None:
    sizes = [
        shape(in_gdt(memory_of(default_guest(mode, RAM)), Selector.CODE))[2] for mode in TABLE_MODES
    ]
    assert sizes == [32, 64]


def test_user_code64_exists_in_long_mode_only() -> None:
    protected, long = (memory_of(default_guest(mode, RAM)) for mode in TABLE_MODES)
    assert shape(in_gdt(long, Selector.USER_CODE64))[:3] == ("code", 3, 64)
    assert not in_gdt(protected, Selector.USER_CODE64).present


def test_selectors_stand_in_the_order_of_syscall_and_sysret() -> None:
    assert Selector.DATA == Selector.CODE + 8
    assert Selector.USER_DATA == Selector.USER_CODE32 + 8
    assert Selector.USER_CODE64 == Selector.USER_CODE32 + 16


def test_selectors_stand_in_the_order_of_sysenter_and_sysexit() -> None:
    order = [Selector.CODE, Selector.DATA, Selector.USER_CODE32, Selector.USER_DATA]
    assert [selector - Selector.CODE for selector in order] == [0, 8, 16, 24]


def test_the_long_tss_has_rsp0_and_one_ist_stack() -> None:
    ram = memory_of(default_guest("long", RAM))
    assert (quad(ram, TSS + 4), quad(ram, TSS + 36)) == (KERNEL_STACK, IST1_STACK)


def test_the_32_bit_tss_has_esp0_and_ss0() -> None:
    ram = memory_of(default_guest("protected", RAM))
    assert int.from_bytes(ram[TSS + 4 : TSS + 10], "little") == Selector.DATA << 32 | KERNEL_STACK


@pytest.mark.parametrize("mode", TABLE_MODES)
def test_the_tss_has_no_io_bitmap(mode: str) -> None:
    image = default_guest(mode, RAM)
    ram = memory_of(image)
    assert int.from_bytes(ram[TSS + 102 : TSS + 104], "little") > image.sregs.tr.limit


@pytest.mark.parametrize("mode", TABLE_MODES)
def test_no_gate_is_present_until_someone_installs_one(mode: str) -> None:
    image = default_guest(mode, RAM)
    base, limit = image.sregs.idt
    assert not any(memory_of(image)[base : base + limit + 1])


@pytest.mark.parametrize(("mode", "limit"), [("real", 0x3FF), ("protected", 0x7FF), ("long", 4095)])
def test_the_vector_table_has_room_for_256_vectors(mode: str, limit: int) -> None:
    assert default_guest(mode, RAM).sregs.idt == (0 if mode == "real" else IDT, limit)


@pytest.mark.parametrize(
    "linear",
    [
        0,
        ORIGIN,
        0x1F_FFFF,
        0x20_0000,
        0x3FFF_FFFF,
        0x4000_0000,
        0xD000_0000,
        0xFEE0_0000,
        2**32 - 1,
    ],
)
def test_long_mode_maps_the_first_4_gib_one_to_one_for_everyone(linear: int) -> None:
    image = default_guest("long", RAM)
    ram = memory_of(image)

    def read(address: int, size: int) -> bytes:
        return bytes(ram[address : address + size])

    for fetch in (False, True):
        args = {"write": True, "user": True, "fetch": fetch}
        assert translate(linear, image.sregs, read, **args) == linear


def test_long_mode_maps_nothing_above_4_gib() -> None:
    image = default_guest("long", RAM)
    ram = memory_of(image)
    with pytest.raises(PageFault):
        translate(1 << 32, image.sregs, lambda at, size: bytes(ram[at : at + size]))


def test_the_page_tables_already_have_their_accessed_and_dirty_bits() -> None:
    ram = memory_of(default_guest("long", RAM))
    assert quad(ram, layout.PD) & 0x60 == 0x60


@pytest.mark.parametrize("mode", MODES)
def test_nothing_of_the_layout_overlaps_or_reaches_the_stack_or_the_program(mode: str) -> None:
    image = default_guest(mode, RAM)
    spans = sorted((address, address + len(data)) for address, data in image.memory)
    ends = [0, *(end for _, end in spans)]
    assert all(end <= start for end, (start, _) in zip(ends, spans, strict=False))
    assert ends[-1] <= 0x6000


def test_real_mode_reaches_an_entry_above_64_kib_through_cs() -> None:
    image = default_guest("real", RAM, 0x2_1234)
    assert (image.sregs.cs.selector, image.sregs.cs.base, image.regs.rip) == (
        0x2000,
        0x20000,
        0x1234,
    )


@pytest.mark.parametrize(
    ("mode", "entry"), [("real", 1 << 20), ("protected", 1 << 32), ("long", -1)]
)
def test_an_entry_that_the_mode_cannot_reach_is_refused(mode: str, entry: int) -> None:
    with pytest.raises(BadInput, match="entry"):
        default_guest(mode, RAM, entry)


def test_too_little_ram_is_refused() -> None:
    assert default_guest("long", SMALLEST_RAM)
    with pytest.raises(BadInput, match="at least 65536"):
        default_guest("long", SMALLEST_RAM - 4096)


def test_an_unknown_mode_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownName, match='"smm"; choose real, protected, long'):
        default_guest("smm", RAM)


@pytest.mark.parametrize(("mode", "address"), [("protected", IDT + 24), ("long", IDT + 48)])
def test_a_gate_leads_to_its_handler_in_the_kernels_code_segment(mode: str, address: int) -> None:
    where, packed = gate(mode, 3, 0x1234_5678)
    found = unpack_gate(packed)
    assert (where, found.selector, found.offset) == (address, Selector.CODE, 0x1234_5678)
    assert (found.present, found.dpl, found.is_trap) == (1, 3, False)


def test_a_gates_options_end_up_in_it() -> None:
    _, packed = gate("long", 14, 1 << 40, selector=0x28, dpl=0, ist=5, trap=True)
    found = unpack_gate(packed)
    assert (found.offset, found.selector, found.dpl, found.ist) == (1 << 40, 0x28, 0, 5)
    assert found.is_trap


@pytest.mark.parametrize(
    ("offset", "selector", "packed"),
    [
        (0x8000, None, "00800000"),
        (0x2_1234, None, "34120020"),
        (0x0010, 0x900, "10000009"),
    ],
)
def test_a_real_mode_vector_is_offset_and_segment(
    offset: int, selector: int | None, packed: str
) -> None:
    assert gate("real", 0x10, offset, selector=selector) == (0x40, bytes.fromhex(packed))


@pytest.mark.parametrize(
    ("mode", "vector", "offset", "options", "word"),
    [
        ("long", 256, 0, {}, "vector"),
        ("long", -1, 0, {}, "vector"),
        ("protected", 3, 1 << 32, {}, "offset"),
        ("long", 3, 1 << 64, {}, "offset"),
        ("real", 3, 1 << 20, {}, "offset"),
        ("real", 3, 1 << 16, {"selector": 0}, "offset"),
        ("real", 3, 0, {"selector": 1 << 16}, "selector"),
        ("long", 3, 0, {"selector": 1 << 16}, "selector"),
        ("long", 3, 0, {"dpl": 4}, "dpl"),
        ("long", 3, 0, {"ist": 8}, "ist"),
        ("protected", 3, 0, {"ist": 1}, "ist"),
    ],
)
def test_a_gate_that_cannot_be_is_refused_by_name(
    mode: str, vector: int, offset: int, options: dict[str, int], word: str
) -> None:
    with pytest.raises(BadInput, match=f"^{word}"):
        gate(mode, vector, offset, **options)


def test_reset_starts_16_bytes_below_4_gib() -> None:
    regs, sregs = reset_state()
    assert (linear_pc(regs.rip, sregs), sregs.cs.selector) == (0xFFFF_FFF0, 0xF000)
    assert (sregs.mode, regs.rflags, sregs.cr0) == (CpuMode.REAL, 2, 0x6000_0010)


def test_reset_can_start_in_a_rom_copy_below_1_mib() -> None:
    regs, sregs = reset_state(cs_base=0xF0000)
    assert linear_pc(regs.rip, sregs) == 0xFFFF0
