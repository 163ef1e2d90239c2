"""What a probe is, and what it finds. Must not know: any particular guest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Final, NamedTuple

from ...errors import KvmdbgError
from ...uapi import Cap, GuestDbg
from .. import Capability, Engine
from .guest import END, Guest
from .modes import RAM, Mode

Open = Callable[[int], Engine]
"""Gives an engine with so many bytes of RAM."""

Steps = Iterator[tuple[object, object]]
"""What was seen, and what the reference profile does, one after the other."""

SAME: Final = "as the reference"
MISSING: Final = "not there"
OTHERWISE: Final = "otherwise: "

NATIVE: Final = "native"
ACCEPTED: Final = "as the host has it"
REFUSED: Final = "refused"
EMULATED: Final = "emulated by "


class Probe(NamedTuple):
    """A behaviour and the tiny guest that shows it, in each of ``modes``.

    ``guest`` drives it and yields pairs of what was seen and what is expected; the first pair that
    differs ends it. ``promise`` is the bit that announces the behaviour, ``capability`` what an
    engine calls it. ``ways`` says by mode how it can be emulated where the host does not have it;
    whether the engine does so is looked at, ``above`` says that the debugger does. Where there is
    no way it is ``refused``, or, if guests can be debugged without it, left as the host has it.
    """

    behaviour: str
    rows: tuple[int, ...]
    modes: tuple[Mode, ...]
    guest: Callable[[Guest], Steps]
    promise: GuestDbg | Cap | None = None
    capability: Capability | None = None
    ways: Mapping[str, str] = {}
    above: bool = False
    refused: bool = False


class Finding(NamedTuple):
    """One behaviour in one mode.

    ``rows`` are numbers of the conformance list (docs/guest-debug.md); ``claimed`` is the bit or
    the capability that promises the behaviour, empty if none does; ``seen`` is ``as the
    reference``, ``not there`` or ``otherwise: ...``; ``remedy`` is what is done about it:
    ``native``, ``emulated by ...``, ``refused`` or ``as the host has it``; the last two go on with
    ``; possible by ...`` where a way is known that nobody has built.
    """

    behaviour: str
    rows: tuple[int, ...]
    mode: str
    claimed: str
    seen: str
    remedy: str

    @property
    def good(self) -> bool:
        """The engine does what the reference profile does."""
        return self.seen == SAME


def by(way: str, *modes: Mode) -> dict[str, str]:
    """One way to emulate something in several modes."""
    return {mode.name: way for mode in modes}


def look(probe: Probe, mode: Mode, open_engine: Open) -> str:
    """``Finding.seen``: what a fresh guest in that mode did. An error of ours is an answer too."""
    try:
        with closing(open_engine(RAM)) as engine:
            return _first_difference(probe.guest(Guest(engine, mode)))
    except KvmdbgError as error:
        return f"{OTHERWISE}{error}"


def _first_difference(steps: Steps) -> str:
    for seen, expected in steps:
        if seen != expected:
            return MISSING if seen == END else f"{OTHERWISE}{seen}"
    return SAME


def remedy(probe: Probe, mode: Mode, emulated: bool) -> str:
    """``Finding.remedy`` where the host differs; ``emulated``: the engine makes up for it."""
    way = probe.ways.get(mode.name, "")
    if emulated or (way and probe.above):
        return EMULATED + (way or "the engine")
    left = REFUSED if probe.refused else ACCEPTED
    return f"{left}; possible by {way}" if way else left
