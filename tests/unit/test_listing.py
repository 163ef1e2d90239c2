"""Listing: which bytes came from which line, and how that is printed."""

from __future__ import annotations

from kvmdbg.program import Listing, ListingLine, assemble

TEXT = 'start: mov al, 5\n; nothing\nmsg: .asciz "0123456789"\nend:\n'


def test_a_listing_has_one_entry_per_source_line_with_the_users_text() -> None:
    listing = assemble(TEXT).listing
    assert [line.text for line in listing] == TEXT.split("\n")
    assert [line.number for line in listing] == [1, 2, 3, 4, 5]


def test_a_comment_has_no_address_and_a_bare_label_has_one_without_bytes() -> None:
    listing = assemble(TEXT).listing
    assert (listing[1].address, listing[1].raw) == (None, b"")
    assert (listing[3].address, listing[3].raw) == (0x800D, b"")


def test_line_of_finds_the_line_whose_bytes_cover_an_address() -> None:
    listing = assemble(TEXT).listing
    found = [listing.line_of(address) for address in (0x7FFF, 0x8000, 0x8001, 0x8002, 0x800C)]
    assert found == [None, 1, 1, 3, 3]


def test_line_of_an_address_after_the_program_is_none() -> None:
    assert assemble(TEXT).listing.line_of(0x800D) is None


def test_a_row_shows_eight_bytes_and_the_rest_continues_below() -> None:
    rows = str(assemble(TEXT).listing).splitlines()
    assert rows[0] == "    1  00008000  b0 05                    start: mov al, 5"
    assert rows[2].startswith("    3  00008002  30 31 32 33 34 35 36 37  msg:")
    assert rows[3] == "       0000800a  38 39 00"


def test_long_data_ends_after_four_rows_with_the_count_left_out() -> None:
    rows = ListingLine(1, 0, bytes(100), ".skip 100").rows
    assert len(rows) == 5
    assert rows[-1].strip() == "... 68 more bytes"


def test_a_slice_of_a_listing_is_a_tuple_of_lines() -> None:
    listing = assemble(TEXT).listing
    assert listing[1:3] == tuple(listing)[1:3]


def test_listings_with_the_same_lines_are_equal() -> None:
    lines = [ListingLine(1, None, b"", "; x")]
    assert Listing(lines) == Listing(lines)
    assert Listing(lines) != Listing()


def test_all_bytes_of_a_program_belong_to_some_line() -> None:
    program = assemble("a: nop\n.align 8\nb: .word a\n.rept 3\n nop\n.endr\n.data\n.long b")
    covered = b"".join(line.raw for line in program.listing)
    assert covered == program.code[:13] + program.code[-4:]


def test_an_expanded_macro_belongs_to_the_line_that_asked_for_it() -> None:
    program = assemble(".macro two\n nop\n nop\n.endm\n two\n hlt")
    assert [line.raw for line in program.listing] == [b"", b"", b"", b"", b"\x90\x90", b"\xf4"]


def test_a_repeated_block_belongs_to_the_line_of_its_rept() -> None:
    program = assemble(".rept 2\n nop\n.endr\n hlt")
    assert [line.raw for line in program.listing] == [b"\x90\x90", b"", b"", b"\xf4"]


def test_lines_of_a_skipped_condition_have_no_bytes() -> None:
    program = assemble(".if 0\n nop\n.else\n hlt\n.endif")
    assert [line.raw for line in program.listing] == [b"", b"", b"", b"\xf4", b""]


def test_several_statements_on_a_line_belong_to_that_line() -> None:
    program = assemble("nop; nop\nhlt", syntax="att")
    assert [line.raw for line in program.listing] == [b"\x90\x90", b"\xf4"]


def test_the_listing_shows_the_linked_bytes_not_the_objects_zeros() -> None:
    assert assemble(".long lab\nlab: nop").listing[0].raw == b"\x04\x80\x00\x00"
