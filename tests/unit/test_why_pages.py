"""Why a page fault: the entry with its address and bytes, and the bit in it or above it."""

from __future__ import annotations

import pytest

from kvmdbg.machine.layout import PD
from kvmdbg.x86.registers import CR0, CR4, EFER, RFLAGS
from kvmdbg.x86.vectors import Vector
from tests.guests.scenes import Bench

PAGE = 0x200000
USER_PAGE = PAGE | 0xE7


def faulting(entry: int, code: int, cr4: int = 0, efer: int = 0xD00, rflags: int = 2) -> str:
    """The cause of a #PF at PAGE, which ``entry`` maps in long mode."""
    bench = Bench(code="90")
    bench.put(PD + 8, entry.to_bytes(8, "little"))
    bench.set(cr4=bench.sregs.cr4 | cr4, efer=efer, rflags=rflags)
    return bench.fault(Vector.PF, code, PAGE).cause


@pytest.mark.parametrize(
    ("entry", "code", "words"),
    [
        (USER_PAGE & ~1, 0, "P (bit 0) is 0: not present"),
        (USER_PAGE & ~2, 3, "R/W (bit 1) is 0: read only"),
        (USER_PAGE & ~4, 5, "U/S (bit 2) is 0: for the supervisor only"),
        (USER_PAGE | 1 << 63, 0x11, "XD (bit 63) is 1: not to be executed"),
        (USER_PAGE | 1 << 45, 9, "bit 45 must be 0: physical addresses have 40 bits"),
        (USER_PAGE | 1 << 13, 9, "bit 13 must be 0: a large page begins at a multiple"),
    ],
)
def test_the_entry_that_refuses_an_access_is_named_with_its_bytes_and_bit(
    entry: int, code: int, words: str
) -> None:
    raw = entry.to_bytes(8, "little").hex(" ")
    assert faulting(entry, code).startswith(f"PDE at physical 0x4008, bytes {raw}: {words}")


def test_xd_without_nxe_is_a_reserved_bit() -> None:
    cause = faulting(USER_PAGE | 1 << 63, 9, efer=int(EFER.LME | EFER.LMA))
    assert "bit 63 must be 0: bit 63 is XD only if EFER.NXE (bit 11) is 1" in cause


def test_a_pml4e_that_claims_to_map_a_page_is_blamed() -> None:
    bench = Bench()
    bench.put(0x2000, (0x3027 | 0x80).to_bytes(8, "little"))
    cause = bench.fault(Vector.PF, 9, 0).cause
    assert cause.startswith("PML4E at physical 0x2000")
    assert "bit 7 must be 0: a PML4E maps no page itself" in cause


def test_smep_is_blamed_for_a_supervisors_fetch_from_a_user_page() -> None:
    assert "CR4.SMEP (bit 20) forbids" in faulting(USER_PAGE, 0x11, CR4.SMEP)


def test_smap_is_blamed_for_a_supervisors_access_to_a_user_page() -> None:
    assert "CR4.SMAP (bit 21) forbids" in faulting(USER_PAGE, 1, CR4.SMAP)


@pytest.mark.parametrize(
    ("code", "cr4", "rflags"),
    [(0x11, 0, 2), (0x15, int(CR4.SMEP), 2), (1, 0, 2), (1, int(CR4.SMAP), 2 | int(RFLAGS.AC))],
)
def test_smep_and_smap_are_not_blamed_where_they_do_not_apply(
    code: int, cr4: int, rflags: int
) -> None:
    assert "not proved" in faulting(USER_PAGE, code, cr4, rflags=rflags)


def test_of_a_protection_key_only_the_key_is_told() -> None:
    bench = Bench()
    bench.put(PD + 8, (USER_PAGE | 5 << 59).to_bytes(8, "little"))
    step = bench.fault(Vector.PF, 0x21, PAGE)
    assert "not proved" in step.cause
    assert any("the page's key (bits 62:59) is 5" in item.meaning for item in step.evidence)


# PAE


def pae(entry: int, code: int) -> str:
    """The cause of a #PF at PAGE under PAE paging with tables at 0x20000."""
    bench = Bench("protected")
    bench.put(0x20000, (0x21001).to_bytes(8, "little"))
    bench.put(0x21000, (0xE7).to_bytes(8, "little"))
    bench.put(0x21008, entry.to_bytes(8, "little"))
    cr0 = bench.sregs.cr0 | int(CR0.PG | CR0.WP)
    bench.set(cr0=cr0, cr3=0x20000, cr4=int(CR4.PAE), efer=int(EFER.NXE))
    return bench.fault(Vector.PF, code, PAGE).cause


@pytest.mark.parametrize(
    ("entry", "code", "words"),
    [
        (USER_PAGE & ~1, 0, "P (bit 0) is 0"),
        (USER_PAGE & ~2, 3, "R/W (bit 1) is 0"),
        (USER_PAGE | 1 << 63, 0x11, "XD (bit 63) is 1"),
        (USER_PAGE | 1 << 55, 9, "bit 55 must be 0: they are reserved in a PDE"),
    ],
)
def test_under_pae_paging_the_directory_entry_is_named(entry: int, code: int, words: str) -> None:
    cause = pae(entry, code)
    assert cause.startswith("PDE at physical 0x21008")
    assert words in cause
