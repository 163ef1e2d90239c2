"""Guest RAM of two sides: compared now and then, and the way back to where it was equal last.

Must not know: how the sides are stepped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from ..x86.registers import Sregs
from .divergence import Note, Pair, memory
from .fetching import Executed
from .sides import Devices, Side
from .tolerance import unexplained


@dataclass(slots=True)
class Track:
    """All that a comparison remembers of its way.

    ``taint`` holds the flags that are undefined now, ``undefined_by`` the instruction that left
    them so; ``pushed`` the flags in which frames of exceptions may differ (0 before the first);
    ``accesses`` how many each side did.
    """

    steps: int = 0
    taint: int = 0
    undefined_by: Executed | None = None
    pushed: int = 0
    notes: Counter[Note] = field(default_factory=Counter)
    accesses: tuple[int, int] = (0, 0)

    def copy(self) -> Track:
        """As it is now."""
        return replace(self, notes=Counter(self.notes))


class Checkpoints:
    """The last moment at which both sides were equal, RAM included."""

    def __init__(self, a: Side, b: Side, devices: Devices) -> None:
        self._a, self._b, self._devices = a, b, devices

    def keep(self, track: Track) -> None:
        """Now both sides are equal."""
        track.accesses = self._devices.at[0], self._devices.at[1]
        self._track = track.copy()
        self._kept = self._a.engine.snapshot(), self._b.engine.snapshot()

    def go_back(self) -> Track:
        """Both sides stand there again; accesses get the answers that they got."""
        for side, kept in zip((self._a, self._b), self._kept, strict=True):
            side.engine.restore(kept)
            side.arm()
            side.event = None
        self._devices.at[:] = self._track.accesses
        self._devices.mismatch = None
        return self._track.copy()

    def differing(self, sregs: Sregs, track: Track) -> dict[int, Pair]:
        """Bytes of RAM that differ without a known reason; the others become notes."""
        found, notes = unexplained(
            memory(self._a.ram, self._b.ram), self._a.ram, sregs, track.pushed
        )
        for note in notes:
            track.notes[note] = max(1, track.notes[note])
        return found
