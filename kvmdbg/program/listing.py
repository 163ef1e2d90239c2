"""What each line of a program's source became: address and bytes, line by line.

Plain values and their printable form. Must not know which assembler made them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

BYTES_PER_ROW = 8
MAX_ROWS = 4


class ListingLine(NamedTuple):
    """One source line.

    ``number`` counts from 1. ``address`` is linear; None where the line has no place in the program
    (a comment, a directive). ``raw`` are the bytes that came from this line: all of an expanded
    macro or ``.rept`` belongs to the line that asked for it. ``text`` is as the user wrote it.
    """

    number: int
    address: int | None
    raw: bytes
    text: str

    @property
    def rows(self) -> list[str]:
        """The printable rows: the first with the source, then the bytes that did not fit."""
        shown = [self.raw[at : at + BYTES_PER_ROW] for at in range(0, len(self.raw), BYTES_PER_ROW)]
        first, *rest = shown or [b""]
        place = "" if self.address is None else f"{self.address:08x}"
        rows = [f"{self.number:5}  {place:8}  {_hex(first)}  {self.text}".rstrip()]
        for index, chunk in enumerate(rest[: MAX_ROWS - 1], 1):
            address = (self.address or 0) + index * BYTES_PER_ROW
            rows.append(f"{'':5}  {address:08x}  {_hex(chunk)}".rstrip())
        hidden = len(self.raw) - MAX_ROWS * BYTES_PER_ROW
        if hidden > 0:
            rows.append(f"{'':5}  {'':8}  ... {hidden} more byte{'' if hidden == 1 else 's'}")
        return rows


def listing_line(number: int, place: tuple[int, bytes] | None, text: str) -> ListingLine:
    """The line, placed where ``place`` (address and bytes) says, or nowhere."""
    address, raw = place if place else (None, b"")
    return ListingLine(number, address, raw, text)


class Listing(Sequence[ListingLine]):
    """All source lines in order. ``str(listing)`` is a listing as assemblers print it.

    Each row shows line number, address, up to eight bytes and the source; long data ends after
    four rows with the count of bytes left out.

    >>> print(Listing([ListingLine(1, 0x8000, b"\\xb0\\x48", "mov al, 'H'")]))
        1  00008000  b0 48                    mov al, 'H'
    """

    __slots__ = ("_ends", "_lines", "_numbers", "_starts")

    def __init__(self, lines: Iterable[ListingLine] = ()) -> None:
        self._lines = tuple(lines)
        spans = sorted(
            (line.address, line.address + len(line.raw), line.number)
            for line in self._lines
            if line.address is not None and line.raw
        )
        self._starts = [start for start, _, _ in spans]
        self._ends = [end for _, end, _ in spans]
        self._numbers = [number for _, _, number in spans]

    def line_of(self, address: int) -> int | None:
        """The number (from 1) of the source line whose bytes cover ``address``, or None."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._ends[index]:
            return None
        return self._numbers[index]

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> ListingLine: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ListingLine, ...]: ...
    def __getitem__(self, index: int | slice) -> ListingLine | tuple[ListingLine, ...]:
        """The line at a position that counts from 0: ``listing[0]`` is line number 1."""
        return self._lines[index]

    def __iter__(self) -> Iterator[ListingLine]:
        return iter(self._lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Listing) and self._lines == other._lines

    def __hash__(self) -> int:
        return hash(self._lines)

    def __repr__(self) -> str:
        return f"<Listing: {len(self)} lines>"

    def __str__(self) -> str:
        return "\n".join(row for line in self._lines for row in line.rows)


def _hex(chunk: bytes) -> str:
    return f"{chunk.hex(' '):{BYTES_PER_ROW * 3 - 1}}"
