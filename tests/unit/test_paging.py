"""Linear to physical in all three paging modes, with the error codes of SDM vol. 3, 4.7."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.errors import AddressError
from kvmdbg.x86.paging import (
    NonCanonical,
    PageFault,
    find_page,
    is_canonical,
    translate,
    walk,
)
from kvmdbg.x86.registers import CR0, CR4, EFER, Sregs

P, W, U, PS, NX = 1, 2, 4, 0x80, 1 << 63
RAM = 0x10000
U64 = st.integers(0, (1 << 64) - 1)

LEGACY = Sregs(cr0=int(CR0.PE | CR0.PG | CR0.WP), cr3=0x1000)
PSE = LEGACY._replace(cr4=int(CR4.PSE))
PAE = LEGACY._replace(cr4=int(CR4.PAE), efer=int(EFER.NXE))
LONG = PAE._replace(efer=int(EFER.LME | EFER.LMA | EFER.NXE))


class Tables:
    """Paging structures in a little RAM."""

    def __init__(self, width: int, entries: dict[int, int]) -> None:
        self.ram = bytearray(RAM)
        for address, value in entries.items():
            self.ram[address : address + width] = value.to_bytes(width, "little")

    def read(self, address: int, size: int) -> bytes:
        if not 0 <= address <= RAM - size:
            raise AddressError(f"{address:#x} is outside RAM")
        return bytes(self.ram[address : address + size])


def legacy(pde: int, pte: int = 0) -> Tables:
    """Maps 0x00C03000: PDE 3, PTE 3."""
    return Tables(4, {0x1000 + 3 * 4: pde, 0x2000 + 3 * 4: pte})


def pae(pdpte: int, pde: int = 0, pte: int = 0) -> Tables:
    """Maps 0xC0203000: PDPTE 3, PDE 1, PTE 3."""
    return Tables(8, {0x1018: pdpte, 0x2008: pde, 0x3018: pte})


def long(pml4e: int, pdpte: int = 0, pde: int = 0, pte: int = 0) -> Tables:
    """Maps 0xFFFF8000_40203000: PML4E 256, PDPTE 1, PDE 1, PTE 3."""
    return Tables(8, {0x1800: pml4e, 0x2008: pdpte, 0x3008: pde, 0x4018: pte})


HIGH = 0xFFFF_8000_4020_3000


def fault(linear: int, sregs: Sregs, tables: Tables, **access: bool) -> PageFault:
    with pytest.raises(PageFault) as caught:
        translate(linear, sregs, tables.read, **access)
    return caught.value


def test_without_paging_a_linear_address_is_physical() -> None:
    assert translate(0xFEE01235, Sregs(cr0=int(CR0.PE)), Tables(4, {}).read) == 0xFEE01235


def test_without_paging_even_long_modes_efer_asks_for_no_canonical_address() -> None:
    sregs = Sregs(efer=int(EFER.LMA))
    assert translate(0x8000_0000_0000, sregs, Tables(8, {}).read) == 0x8000_0000_0000


def test_outside_long_mode_a_linear_address_has_32_bits() -> None:
    assert translate(0x1_0000_0010, Sregs(), Tables(4, {}).read) == 0x10


def test_legacy_paging_goes_through_directory_and_table() -> None:
    tables = legacy(0x2000 | P | W | U, 0x7000 | P)
    assert translate(0x00C03ABC, LEGACY, tables.read) == 0x7ABC


def test_pse_maps_4_mib_with_the_directory_entry() -> None:
    tables = legacy(0x0040_0000 | PS | P)
    assert translate(0x00C12345, PSE, tables.read) == 0x412345


def test_pse_36_takes_address_bits_39_to_32_from_bits_20_to_13() -> None:
    tables = legacy(0x0040_0000 | 1 << 13 | 1 << 20 | PS | P)
    assert translate(0x00C00000, PSE, tables.read) == 0x81_0040_0000


def test_without_cr4_pse_the_ps_bit_is_ignored() -> None:
    tables = legacy(0x2000 | PS | P, 0x7000 | P)
    assert translate(0x00C03000, LEGACY, tables.read) == 0x7000


def test_bit_21_of_a_4_mib_entry_is_reserved() -> None:
    assert fault(0x00C00000, PSE, legacy(1 << 21 | PS | P)).error_code == 9


def test_pae_goes_through_three_levels() -> None:
    tables = pae(0x2000 | P, 0x3000 | P | W | U, 0x7000 | P | W | U)
    assert translate(0xC0203ABC, PAE, tables.read, write=True, user=True) == 0x7ABC


def test_pae_maps_2_mib_with_the_directory_entry() -> None:
    assert translate(0xC0212345, PAE, pae(0x2000 | P, 0x60_0000 | PS | P).read) == 0x612345


def test_a_pae_pdpte_grants_and_denies_nothing() -> None:
    tables = pae(0x2000 | P, 0x60_0000 | PS | P | W | U)
    assert translate(0xC0200000, PAE, tables.read, write=True, user=True) == 0x600000


def test_pae_ignores_cr3_bits_below_32_bytes_only() -> None:
    tables = Tables(8, {0x1020 + 0x18: 0x2000 | P, 0x2008: 0x60_0000 | PS | P})
    assert translate(0xC0200000, PAE._replace(cr3=0x103F), tables.read) == 0x600000


def test_long_mode_goes_through_four_levels() -> None:
    tables = long(0x2000 | P, 0x3000 | P, 0x4000 | P, 0x7000 | P)
    assert translate(HIGH | 0xABC, LONG, tables.read) == 0x7ABC


def test_long_mode_maps_2_mib_with_the_directory_entry() -> None:
    tables = long(0x2000 | P, 0x3000 | P, 0x60_0000 | PS | P)
    assert translate(HIGH, LONG, tables.read) == 0x603000


def test_long_mode_maps_1_gib_with_the_pdpt_entry() -> None:
    tables = long(0x2000 | P, 0xC000_0000 | PS | P)
    assert translate(HIGH, LONG, tables.read) == 0xC020_3000


@pytest.mark.parametrize(
    ("access", "code"),
    [
        ({}, 0),
        ({"write": True}, 2),
        ({"user": True}, 4),
        ({"write": True, "user": True}, 6),
        ({"fetch": True}, 16),
        ({"fetch": True, "user": True}, 20),
    ],
)
def test_a_missing_page_reports_the_access_without_p(access: dict[str, bool], code: int) -> None:
    assert fault(HIGH, LONG, long(0x2000 | P), **access).error_code == code


@pytest.mark.parametrize(
    ("rights", "access", "code"),
    [
        (W, {"user": True}, 5),
        (U, {"write": True}, 3),
        (U, {"write": True, "user": True}, 7),
        (W | U | NX, {"fetch": True}, 17),
        (W, {"fetch": True, "user": True}, 21),
    ],
)
def test_a_page_that_forbids_the_access_reports_it_with_p(
    rights: int, access: dict[str, bool], code: int
) -> None:
    tables = long(0x2000 | P | W | U, 0x4000_0000 | PS | P | rights)
    assert fault(HIGH, LONG, tables, **access).error_code == code


RIGHTS = P | W | U
FULL: list[tuple[Callable[..., Tables], int, Sregs, list[int]]] = [
    (legacy, 0x00C03000, LEGACY, [0x2000 | RIGHTS, 0x7000 | RIGHTS]),
    (pae, 0xC0203000, PAE, [0x2000 | P, 0x3000 | RIGHTS, 0x7000 | RIGHTS]),
    (long, HIGH, LONG, [0x2000 | RIGHTS, 0x3000 | RIGHTS, 0x4000 | RIGHTS, 0x7000 | RIGHTS]),
]
LEVELS = [(*case, level) for case in FULL for level, entry in enumerate(case[3]) if entry & U]
USER_WRITE = {"write": True, "user": True}


@pytest.mark.parametrize(("build", "linear", "sregs", "entries", "level"), LEVELS)
@pytest.mark.parametrize("right", [W, U])
def test_every_level_must_grant_a_right(
    build: Callable[..., Tables],
    linear: int,
    sregs: Sregs,
    entries: list[int],
    level: int,
    right: int,
) -> None:
    assert translate(linear, sregs, build(*entries).read, **USER_WRITE) == 0x7000
    denied = [entry & ~right if i == level else entry for i, entry in enumerate(entries)]
    assert fault(linear, sregs, build(*denied), **USER_WRITE).error_code == 7


@pytest.mark.parametrize(("build", "linear", "sregs", "entries"), FULL)
def test_bit_7_of_a_pte_is_pat_and_maps_nothing_larger(
    build: Callable[..., Tables], linear: int, sregs: Sregs, entries: list[int]
) -> None:
    entries = [*entries[:-1], entries[-1] | PS]
    assert translate(linear | 0xABC, sregs, build(*entries).read) == 0x7ABC
    assert walk(linear, sregs, build(*entries).read)[-1].page_size == 0x1000


@pytest.mark.parametrize("bit", [40, 51, 52, 62])
@pytest.mark.parametrize("level", range(3))
def test_the_high_bits_of_every_pae_entry_are_reserved(level: int, bit: int) -> None:
    entries = [0x2000 | P, 0x3000 | P, 0x7000 | P]
    entries[level] |= 1 << bit
    assert fault(0xC0203000, PAE, pae(*entries)).error_code == 9


def test_bit_63_of_a_pae_pdpte_is_reserved_even_with_nxe() -> None:
    assert fault(0xC0203000, PAE, pae(0x2000 | P | NX)).error_code == 9


def test_pae_reports_a_fetch_with_nxe() -> None:
    assert fault(0xC0203000, PAE, pae(0), fetch=True).error_code == 16


def test_paged_addresses_outside_long_mode_have_32_bits_too() -> None:
    tables = legacy(0x2000 | P, 0x7000 | P)
    assert translate(0x1_00C0_3004, LEGACY, tables.read) == 0x7004
    assert walk(0x1_00C0_3004, LEGACY, tables.read) == walk(0x00C0_3004, LEGACY, tables.read)


@pytest.mark.parametrize("level", range(3))
def test_any_level_may_forbid_execution(level: int) -> None:
    entries = [0x2000 | P, 0x3000 | P, 0x60_0000 | PS | P]
    entries[level] |= NX
    assert fault(HIGH, LONG, long(*entries), fetch=True).error_code == 17


def test_a_no_execute_page_may_be_read_and_written() -> None:
    tables = long(0x2000 | P | W, 0x4000_0000 | PS | P | W | NX)
    assert translate(HIGH, LONG, tables.read) == 0x4020_3000
    assert translate(HIGH, LONG, tables.read, write=True) == 0x4020_3000


def test_an_executable_page_may_be_fetched_from() -> None:
    tables = long(0x2000 | P, 0x4000_0000 | PS | P)
    assert translate(HIGH, LONG, tables.read, fetch=True) == 0x4020_3000


def test_a_physical_address_has_40_bits() -> None:
    assert translate(HIGH, LONG, long(0x2000 | P, 1 << 39 | PS | P).read) == 1 << 39 | 0x203000
    assert fault(HIGH, LONG, long(0x2000 | P, 1 << 40 | PS | P)).error_code == 9


def test_without_wp_the_supervisor_may_write_a_read_only_page() -> None:
    sregs = LONG._replace(cr0=int(CR0.PE | CR0.PG))
    tables = long(0x2000 | P, 0x4000_0000 | PS | P)
    assert translate(HIGH, sregs, tables.read, write=True) == 0x4020_3000


def test_without_wp_the_user_still_may_not_write_a_read_only_page() -> None:
    sregs = LONG._replace(cr0=int(CR0.PE | CR0.PG))
    tables = long(0x2000 | P | U, 0x4000_0000 | PS | P | U)
    assert fault(HIGH, sregs, tables, write=True, user=True).error_code == 7


def test_without_nxe_the_xd_bit_is_reserved() -> None:
    sregs = LONG._replace(efer=int(EFER.LME | EFER.LMA))
    assert fault(HIGH, sregs, long(0x2000 | P | NX)).error_code == 9


def test_without_nxe_a_fetch_is_not_told_from_a_read() -> None:
    sregs = LONG._replace(efer=int(EFER.LME | EFER.LMA))
    assert fault(HIGH, sregs, long(0), fetch=True).error_code == 0


def test_legacy_paging_never_reports_a_fetch() -> None:
    sregs = LEGACY._replace(efer=int(EFER.NXE))
    assert fault(0x00C03000, sregs, legacy(0), fetch=True).error_code == 0


@pytest.mark.parametrize(
    "entries",
    [
        (0x2000 | P | PS,),
        (0x2000 | P | 1 << 40,),
        (0x2000 | P, 0x4000_0000 | 1 << 13 | PS | P),
        (0x2000 | P, 0x4000_0000 | 1 << 29 | PS | P),
        (0x2000 | P, 0x3000 | P, 0x60_0000 | 1 << 20 | PS | P),
        (0x2000 | P, 0x3000 | P, 0x4000 | P, 0x7000 | P | 1 << 51),
    ],
)
def test_a_reserved_bit_in_long_mode_reports_rsvd(entries: tuple[int, ...]) -> None:
    assert fault(HIGH, LONG, long(*entries), write=True).error_code == 11


def test_bits_52_to_58_are_free_in_long_mode_and_reserved_in_pae() -> None:
    free = long(0x2000 | P | 1 << 52, 0x4000_0000 | PS | P | 1 << 58)
    assert translate(HIGH, LONG, free.read) == 0x4020_3000
    assert fault(0xC0200000, PAE, pae(0x2000 | P, 1 << 52 | PS | P)).error_code == 9


def test_a_missing_entry_hides_its_reserved_bits() -> None:
    assert fault(HIGH, LONG, long(PS)).error_code == 0


def test_a_fault_names_the_entry_its_address_and_its_value() -> None:
    found = fault(HIGH, LONG, long(0x2000 | P, 0x3000))
    assert found.problem == "PDPTE at 0x2008 is 0x3000: not present"
    assert found.linear == HIGH


def test_a_walk_of_a_non_canonical_address_says_so() -> None:
    with pytest.raises(NonCanonical):
        walk(0x8000_0000_0000, LONG, long(0).read)


def test_a_table_outside_ram_counts_as_not_present() -> None:
    assert fault(HIGH, LONG._replace(cr3=0x7FFF_0000), long(0), write=True).error_code == 2


def test_a_non_canonical_address_is_no_page_fault() -> None:
    with pytest.raises(NonCanonical) as caught:
        translate(0x8000_0000_0000, LONG, long(0).read)
    assert caught.value.linear == 0x8000_0000_0000


@pytest.mark.parametrize(
    ("address", "canonical"),
    [
        (0, True),
        (0x7FFF_FFFF_FFFF, True),
        (0x8000_0000_0000, False),
        (0xFFFF_7FFF_FFFF_FFFF, False),
        (0xFFFF_8000_0000_0000, True),
        (0xFFFF_FFFF_FFFF_FFFF, True),
    ],
)
def test_canonical_means_that_bits_63_to_47_agree(address: int, canonical: bool) -> None:
    assert is_canonical(address) is canonical


def test_a_walk_lists_every_entry_with_its_place_and_the_page_size() -> None:
    tables = long(0x2000 | P | W, 0x3000 | P, 0x60_0000 | PS | P | U | NX)
    entries = walk(HIGH, LONG, tables.read)
    assert [(e.level, e.address, e.page_size) for e in entries] == [
        ("PML4E", 0x1800, 0),
        ("PDPTE", 0x2008, 0),
        ("PDE", 0x3008, 0x200000),
    ]
    assert (entries[0].writable, entries[0].user, entries[2].user) == (True, False, True)
    assert (entries[2].no_execute, entries[2].present) == (True, True)
    assert (entries[1].no_execute, entries[1].writable) == (False, False)


def test_a_walk_ends_at_the_entry_that_stops_it_and_says_why() -> None:
    assert not walk(HIGH, LONG, long(0).read)[0].present
    entries = walk(HIGH, LONG, long(0x2000 | P, 1 << 13 | PS | P).read)
    assert [e.problem for e in entries] == ["", "reserved bits 0x2000 are set"]
    assert entries[-1].page_size == 0


def test_a_walk_without_paging_meets_nothing() -> None:
    assert walk(HIGH, Sregs(), Tables(8, {}).read) == []


def test_a_page_covers_exactly_the_addresses_that_share_its_entry() -> None:
    page = find_page(HIGH, LONG, long(0x2000 | P, 0x3000 | P, 0x60_0000 | PS | P).read)
    assert (page.linear, page.physical, -page.keep) == (HIGH & ~0x1FFFFF, 0x600000, 0x200000)


@given(linear=U64, cr0=U64, cr3=U64, cr4=U64, efer=U64, seed=st.binary(min_size=64, max_size=4096))
def test_random_tables_give_an_address_or_a_fault_and_nothing_else(
    linear: int, cr0: int, cr3: int, cr4: int, efer: int, seed: bytes
) -> None:
    def read(address: int, size: int) -> bytes:
        start = address % (len(seed) - 8)
        return seed[start : start + size]

    sregs = Sregs(cr0=cr0, cr3=cr3, cr4=cr4, efer=efer)
    with contextlib.suppress(PageFault, NonCanonical):
        assert translate(linear, sregs, read, write=True, user=True, fetch=True) >= 0
