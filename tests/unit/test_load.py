"""plan: where a program goes, where it starts, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvmdbg.errors import LoadError, UnknownName
from kvmdbg.program import Program, assemble
from kvmdbg.program.load import LoadImage, plan

RAM = 1 << 20
BOOT = bytes(510) + b"\x55\xaa"


def _real(program: Program | bytes, **options: int | str | None) -> LoadImage:
    return plan(program, mode="real", ram_size=RAM, **options)  # type: ignore[arg-type]


def test_plain_bytes_go_to_0x8000_and_start_there() -> None:
    assert _real(b"\xf4") == (b"\xf4", 0x8000, 0x8000, None, {})


def test_a_boot_sector_in_real_mode_goes_to_0x7c00() -> None:
    assert _real(BOOT).address == 0x7C00


def test_a_boot_sector_elsewhere_is_only_bytes() -> None:
    assert plan(BOOT, mode="long", ram_size=RAM).address == 0x8000


def test_at_wins_over_the_boot_sectors_place() -> None:
    assert _real(BOOT, at=0x9000).address == 0x9000


def test_a_program_goes_to_its_origin_with_its_symbols() -> None:
    program = assemble("nop\nstart: hlt", mode="real", org=0x9000)
    image = _real(program)
    assert (image.address, image.symbols) == (0x9000, {"start": 0x9001})


def test_a_program_at_another_place_than_its_origin_is_refused() -> None:
    with pytest.raises(LoadError, match=r"assembled for 0x8000, not 0x9000; .* org=0x9000"):
        _real(assemble("nop", mode="real"), at=0x9000)


def test_a_program_for_another_mode_is_refused() -> None:
    with pytest.raises(LoadError, match=r"begins in long mode, the guest is in real mode"):
        _real(assemble("nop"))


def test_an_empty_program_is_refused() -> None:
    with pytest.raises(LoadError, match="empty"):
        _real(b"")


def test_a_program_that_just_fits_is_accepted() -> None:
    assert _real(bytes(RAM - 0x8000)).address == 0x8000


def test_a_program_one_byte_too_large_is_refused_with_the_sizes() -> None:
    with pytest.raises(LoadError, match=r"0xf8001 bytes at 0x8000 end at 0x100001.*0x100000"):
        _real(bytes(RAM - 0x8000 + 1))


def test_a_negative_place_is_refused() -> None:
    with pytest.raises(LoadError, match="does not fit"):
        _real(b"\xf4", at=-1)


@pytest.mark.parametrize(
    ("entry", "offset"),
    [
        ("start", 0x8001),
        ("start+4", 0x8005),
        ("start - 1", 0x8000),
        ("0x8002", 0x8002),
        ("8002h", 0x8002),
        (0x8003, 0x8003),
    ],
)
def test_an_entry_may_be_a_label_a_distance_or_an_address(entry: int | str, offset: int) -> None:
    program = assemble("nop\nstart: hlt", mode="real")
    assert _real(program, entry=entry)[2:4] == (offset, None)


def test_an_entry_seg_off_is_hex_and_sets_cs() -> None:
    assert _real(BOOT, entry="7c0:0")[2:4] == (0, 0x7C0)


def test_an_entry_seg_off_outside_real_mode_is_refused() -> None:
    with pytest.raises(LoadError, match="only real mode has"):
        plan(b"\xf4", mode="long", ram_size=RAM, entry="7c0:0")


def test_an_unreadable_seg_off_is_refused() -> None:
    with pytest.raises(LoadError, match="7c0:0"):
        _real(b"\xf4", entry="7c0:xyz")


def test_a_real_mode_entry_above_64k_sets_cs() -> None:
    assert _real(b"\xf4", at=0x12345)[1:4] == (0x12345, 0x2345, 0x1000)


def test_an_unknown_entry_label_names_the_close_one() -> None:
    with pytest.raises(UnknownName, match=r'no label "strat" .* start'):
        _real(assemble("start: nop", mode="real"), entry="strat")


def test_an_entry_outside_ram_is_refused() -> None:
    with pytest.raises(LoadError, match="outside the guest's RAM"):
        plan(b"\xf4", mode="long", ram_size=RAM, entry=RAM)


def test_a_path_loads_the_files_bytes(tmp_path: Path) -> None:
    path = tmp_path / "boot.bin"
    path.write_bytes(BOOT)
    assert plan(str(path), mode="real", ram_size=RAM).code == BOOT


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(LoadError, match=r"cannot read 'nowhere\.bin': No such file"):
        plan("nowhere.bin", mode="real", ram_size=RAM)


def test_an_elf_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "kernel.elf"
    path.write_bytes(b"\x7fELF....")
    with pytest.raises(LoadError, match="objcopy"):
        plan(path, mode="long", ram_size=RAM)


def test_something_else_than_a_program_is_refused() -> None:
    with pytest.raises(LoadError, match="not int"):
        plan(5, mode="long", ram_size=RAM)  # type: ignore[arg-type]
