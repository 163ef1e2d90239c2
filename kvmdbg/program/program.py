"""A program for a guest: bytes, where they belong, their labels and their listing.

Plain values. Must not know how a program is assembled, nor how it gets into a guest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .listing import Listing


@dataclass(frozen=True, slots=True)
class Program:
    """A flat program, ready to be copied to guest-physical address ``origin``.

    ``symbols`` are the labels with their addresses; ``constants`` the names that stand for plain
    numbers (``.set``, ``=``, ``equ``), kept apart so that an address is never named after one.
    ``mode`` is ``"real"``, ``"protected"`` or ``"long"``: the mode that the first instruction
    expects.

    >>> Program(b"\\x90\\xf4", 0x8000, {"start": 0x8000}, mode="real")
    <Program: 2 bytes at 0x8000, real mode, 1 label>
    """

    code: bytes
    origin: int
    symbols: dict[str, int] = field(default_factory=dict)
    listing: Listing = field(default_factory=Listing)
    mode: str = "long"
    name: str = ""
    constants: dict[str, int] = field(default_factory=dict)

    @property
    def org(self) -> int:
        """The same as ``origin``, by the assembler's name for it."""
        return self.origin

    @property
    def end(self) -> int:
        """The first address after the program."""
        return self.origin + len(self.code)

    def __len__(self) -> int:
        return len(self.code)

    def __repr__(self) -> str:
        title = f"Program {self.name}" if self.name else "Program"
        return (
            f"<{title}: {_count(len(self.code), 'byte')} at {self.origin:#x}, {self.mode} mode, "
            f"{_count(len(self.symbols), 'label')}>"
        )

    def __str__(self) -> str:
        return f"{self!r}\n{self.listing}".rstrip()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
