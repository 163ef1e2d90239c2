"""Memory by linear address during a delivery: page crossings, rights, an open bus."""

from __future__ import annotations

import pytest

from kvmdbg.errors import AddressError
from kvmdbg.x86.linear import LinearMemory, Writes
from kvmdbg.x86.paging import NonCanonical, PageFault
from kvmdbg.x86.registers import CR0, CR4, EFER, Sregs

RAM = 0x10000
P, W, U = 1, 2, 4
FLAT = Sregs(cr0=int(CR0.PE))
LONG = Sregs(
    cr0=int(CR0.PE | CR0.PG | CR0.WP), cr3=0x1000, cr4=int(CR4.PAE), efer=int(EFER.LME | EFER.LMA)
)
TABLE = 0x4000


class Machine:
    """Linear pages 0-15 of long mode; page n lies at frame n ^ 1, with the given rights."""

    def __init__(self, sregs: Sregs = LONG, **rights: int) -> None:
        self.ram = bytearray(range(256)) * (RAM // 256)
        for at, entry in ((0x1000, 0x2007), (0x2000, 0x3007), (0x3000, TABLE | 7)):
            self.ram[at : at + 8] = entry.to_bytes(8, "little")
        for page in range(16):
            entry = (page ^ 1) << 12 | rights.get(f"page{page}", P | W | U)
            self.ram[TABLE + 8 * page : TABLE + 8 * page + 8] = entry.to_bytes(8, "little")
        self.reads = 0
        self.memory = LinearMemory(sregs, self.read)

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        if not 0 <= address <= RAM - size:
            raise AddressError(f"{address:#x} is outside RAM")
        return bytes(self.ram[address : address + size])

    def plan(self, linear: int, data: bytes, user: bool = False) -> Writes:
        writes: Writes = []
        self.memory.plan(writes, linear, data, user)
        return writes


def test_a_load_is_translated() -> None:
    machine = Machine()
    machine.ram[0x9123:0x9127] = b"here"
    assert machine.memory.load(0x8123, 4) == b"here"


def test_a_load_across_a_page_boundary_gathers_both_pages() -> None:
    machine = Machine()
    machine.ram[0x8FFE:0x9000] = b"ab"
    machine.ram[0xA000:0xA003] = b"cde"
    machine.ram[0xB000:0xB003] = b"xyz"
    assert machine.memory.load(0x9FFE, 5) == b"abxyz"


def test_a_load_that_ends_with_its_page_stays_in_it() -> None:
    machine = Machine(page10=0)
    machine.ram[0x8FFC:0x9000] = b"edge"
    assert machine.memory.load(0x9FFC, 4) == b"edge"


def test_a_write_becomes_one_physical_write() -> None:
    assert Machine().plan(0x8010, b"data") == [(0x9010, b"data")]


def test_a_write_that_ends_with_its_page_stays_in_it() -> None:
    assert Machine(page10=0).plan(0x9FFC, b"edge") == [(0x8FFC, b"edge")]


def test_a_write_across_a_page_boundary_becomes_two() -> None:
    assert Machine().plan(0x9FFE, b"abcde") == [(0x8FFE, b"ab"), (0xB000, b"cde")]


def test_if_the_second_page_refuses_nothing_is_planned() -> None:
    machine, writes = Machine(page10=0), []
    with pytest.raises(PageFault) as fault:
        machine.memory.plan(writes, 0x9FFE, b"abcde", False)
    assert (fault.value.linear, fault.value.error_code, writes) == (0xA000, 2, [])


def test_a_page_that_was_read_may_still_refuse_a_write() -> None:
    machine = Machine(page8=P | U)
    machine.memory.load(0x8000, 4)
    with pytest.raises(PageFault) as fault:
        machine.plan(0x8000, b"data")
    assert fault.value.error_code == 3


def test_a_page_that_the_supervisor_wrote_may_still_refuse_the_user() -> None:
    machine = Machine(page8=P | W)
    machine.plan(0x8000, b"data")
    with pytest.raises(PageFault) as fault:
        machine.plan(0x8000, b"data", user=True)
    assert fault.value.error_code == 7


def test_without_wp_only_the_user_is_held_to_a_read_only_page() -> None:
    machine = Machine(LONG._replace(cr0=int(CR0.PE | CR0.PG)), page8=P | U)
    assert machine.plan(0x8000, b"data")
    with pytest.raises(PageFault):
        machine.plan(0x8000, b"data", user=True)


def test_the_user_may_write_a_user_page_after_the_supervisor_did() -> None:
    machine = Machine()
    machine.plan(0x8000, b"data")
    assert machine.plan(0x8000, b"data", user=True) == [(0x9000, b"data")]


def test_a_page_is_walked_once_and_then_remembered() -> None:
    machine = Machine()
    machine.memory.load(0x8000, 4)
    assert machine.reads == 5
    machine.memory.load(0x8800, 4)
    machine.plan(0x8100, b"data", user=True)
    assert machine.reads == 7


def test_loads_are_not_held_to_user_pages() -> None:
    assert len(Machine(page8=P).memory.load(0x8000, 4)) == 4


def test_outside_ram_reads_give_ones_and_writes_are_lost() -> None:
    machine = Machine(FLAT)
    assert machine.memory.load(RAM - 2, 2) == b"\xfe\xff"
    assert machine.memory.load(RAM, 4) == b"\xff\xff\xff\xff"
    assert machine.plan(RAM, b"lost") == []
    assert machine.plan(RAM - 2, b"half") == [(RAM - 2, b"ha")]


def test_outside_long_mode_addresses_wrap_at_4_gib() -> None:
    machine = Machine(FLAT)
    assert machine.memory.load(0x1_0000_0010, 2) == b"\x10\x11"
    assert machine.plan(0x1_0000_0010, b"wrap") == [(0x10, b"wrap")]


def test_in_long_mode_a_hole_in_the_address_space_is_no_page_fault() -> None:
    machine = Machine()
    for access in (lambda: machine.memory.load(1 << 47, 4), lambda: machine.plan(1 << 47, b"data")):
        with pytest.raises(NonCanonical):
            access()
