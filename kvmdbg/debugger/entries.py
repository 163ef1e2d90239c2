"""One breakpoint: the frozen value that users see, and the entry that the run loop works on.

Must not know: the table, debug registers, how a place is hit.
"""

from __future__ import annotations

from dataclasses import dataclass

from .expressions import Condition


@dataclass(frozen=True)
class Breakpoint:
    """One breakpoint as it was when asked for.

    ``kind`` is ``sw`` (an INT3), ``hw`` (a debug register) or ``vector``. ``access`` is ``x``,
    ``w``, ``rw``, or ``int`` for a vector. ``address`` is linear, or the vector's number;
    ``length`` is in bytes, 0 for a vector. ``hits`` counts arrivals, also those whose condition did
    not hold. ``slot`` is the debug register (0-3) it occupies, None if none. ``where`` names the
    place. ``emulated`` tells that the engine makes its stops from other exits; ``note`` is why it
    is not what was asked for.
    """

    number: int
    kind: str
    access: str
    address: int
    length: int
    when: str | None
    enabled: bool
    hits: int
    slot: int | None
    temporary: bool = False
    where: str = ""
    emulated: bool = False
    note: str = ""

    @property
    def text(self) -> str:
        """One line: ``1: hw -w 4 at counter (0x9000), DR0, hit 3 times``."""
        parts = [f"{self.number}: {self._what}"]
        parts += [self._register] if self.slot is not None else []
        parts += ["emulated"] if self.emulated else []
        parts += [f"if {self.when}"] if self.when else []
        parts += ["once"] if self.temporary else []
        parts += [] if self.enabled else ["disabled"]
        return ", ".join([*parts, f"hit {times(self.hits)}"])

    @property
    def _register(self) -> str:
        return f"in DR{self.slot}: {self.note}" if self.note else f"DR{self.slot}"

    @property
    def _what(self) -> str:
        if self.kind == "vector":
            return self.where or f"vector {self.address:#x}"
        length = "" if self.access == "x" else f" {self.length}"
        return f"{self.kind} -{self.access}{length} at {self.where or hex(self.address)}"

    def __str__(self) -> str:
        return self.text


def times(count: int) -> str:
    """``once``, ``3 times``.

    >>> times(1), times(0)
    ('once', '0 times')
    """
    return "once" if count == 1 else f"{count:,} times"


class Entry:
    """A breakpoint at work; only the table and the run loop see it."""

    __slots__ = (
        *("number", "kind", "access", "address", "length", "condition", "temporary", "where"),
        *("enabled", "hits", "slot", "physical", "value", "asked", "emulated", "note"),
    )

    def __init__(self, kind: str, access: str, address: int, length: int, where: str) -> None:
        self.number = 0
        self.asked: str | None = kind
        """The kind that the user asked for; None leaves the choice to the table."""
        self.emulated = False
        self.note = ""
        self.kind, self.access, self.address, self.length = kind, access, address, length
        self.where = where
        self.condition: Condition | None = None
        self.temporary = False
        self.enabled = False
        self.hits = 0
        self.slot: int | None = None
        self.physical: int | None = None
        """Where the INT3 goes, as paging had it when last looked at."""
        self.value: int | None = None
        """What was at a watched place when last looked at."""

    @property
    def key(self) -> tuple[str, str, int, int]:
        """Two breakpoints with the same key would be the same breakpoint."""
        return self.kind, self.access, self.address, self.length

    def snapshot(self) -> Breakpoint:
        """The value that users see."""
        return Breakpoint(
            number=self.number,
            kind=self.kind,
            access=self.access,
            address=self.address,
            length=self.length,
            when=self.condition.text if self.condition else None,
            enabled=self.enabled,
            hits=self.hits,
            slot=self.slot,
            temporary=self.temporary,
            where=self.where,
            emulated=self.emulated,
            note=self.note,
        )
