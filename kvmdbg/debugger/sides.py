"""One side of a comparison: an engine that is stepped, and the devices that both sides share.

A device is asked once, by the side that comes first; the other gets the same bytes and must do the
same accesses in the same order. Must not know: the other side's registers, or what is a divergence.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ..engines import Engine, open_engine
from ..errors import UnknownName
from ..exits import DebugExit, ExceptionExit, Exit, IntrExit, IoExit, MmioExit
from ..machine.ports import PortBus, TextConsole
from ..profiles import PROFILES, REFERENCE, Profile
from ..uapi import GuestDbg
from .suggest import did_you_mean

STEPPING: Final = int(GuestDbg.ENABLE | GuestDbg.SINGLESTEP)
PATIENCE: Final = 2.0
"""Seconds that an engine gets for an instruction in which one may hang."""

SIDES: Final = ("unicorn", "kvm", *(f"unicorn:{name}" for name in PROFILES if name != "reference"))
"""What can be compared."""

_NESTED: Final = 8
"""Exceptions that may be raised one upon the other by the first instructions of handlers."""


class Access(NamedTuple):
    """One item at a port, or one byte of memory-mapped I/O; ``value`` of a read is 0."""

    kind: str
    place: int
    size: int
    value: int

    def __str__(self) -> str:
        shown = f"{self.kind} {self.place:#x}"
        return shown if self.kind in ("in", "load") else f"{shown} = {self.value:#x}"


class Devices:
    """The devices of both sides, and every access so far with its answer."""

    def __init__(self) -> None:
        self._bus = PortBus()
        TextConsole().attach_to(self._bus)
        self.log: list[tuple[Access, bytes]] = []
        self.at = [0, 0]
        """How many accesses each side has done."""
        self.mismatch: tuple[str, str] | None = None

    def serve(self, side: int, exit: IoExit | MmioExit) -> bytes:
        """Carry out an access of ``side`` (0 or 1); the bytes for a read."""
        return b"".join(self._one(side, item) for item in _items(exit))

    def _one(self, side: int, item: Access) -> bytes:
        at = self.at[side]
        self.at[side] += 1
        if at == len(self.log):
            self.log.append((item, self._answer(item)))
        known, answer = self.log[at]
        if known != item and self.mismatch is None:
            shown = str(item), str(known)
            self.mismatch = shown if side == 0 else shown[::-1]
        return answer if len(answer) == item.size else bytes(item.size)

    def _answer(self, item: Access) -> bytes:
        """Where there is no device, reads give all ones."""
        if item.kind in ("load", "store"):
            return b"\xff" * item.size
        data = item.value.to_bytes(item.size, "little")
        exit = IoExit(item.kind, item.place, item.size, data)
        return self._bus.handle(exit) or b"\xff" * item.size


def _items(exit: IoExit | MmioExit) -> list[Access]:
    """Ports by item and MMIO by byte, as engines cut wide accesses differently."""
    if isinstance(exit, MmioExit):
        kind = "store" if exit.is_write else "load"
        return [Access(kind, exit.phys_addr + n, 1, b) for n, b in enumerate(exit.data)]
    size = exit.size
    chunks = [exit.data[n * size : n * size + size] for n in range(exit.count)]
    return [
        Access(exit.direction, exit.port, size, int.from_bytes(data, "little")) for data in chunks
    ]


class Side:
    """An engine with its label; ``index`` is 0 or 1."""

    def __init__(self, label: str, engine: Engine, index: int, devices: Devices) -> None:
        self.label = label
        self.engine = engine
        self.run, self.regs, self.sregs = engine.run, engine.get_regs, engine.get_sregs
        self.ram = engine.ram
        self.event: ExceptionExit | None = None
        """The exception or interrupt that the last step delivered, where the engine tells."""
        self.access: IoExit | MmioExit | None = None
        """The last access since somebody looked."""
        self._index, self._devices = index, devices

    @property
    def profile(self) -> Profile | None:
        """Whose rules it follows; None for the host's kernel."""
        name, _, profile = self.label.partition(":")
        return None if name == "kvm" else PROFILES.get(profile, REFERENCE)

    def arm(self) -> None:
        """Single-step from here, and see exceptions before they are delivered."""
        self.engine.watch_vectors(range(256))
        self.engine.set_guest_debug(STEPPING)

    def step(self, patience: float | None = None) -> Exit:
        """Execute one instruction as the engine counts them; its accesses are served.

        ``patience`` in seconds is for instructions that may hang an engine or lose the step.
        """
        if patience is not None:
            self.engine.set_guest_debug(STEPPING)
        exit = self.run(timeout=patience) if patience else self.run()
        return exit if type(exit) is DebugExit else self._go_on(exit)

    def _go_on(self, exit: Exit) -> Exit:
        """Finish what the first exit was in the middle of."""
        events = 0
        while True:
            if isinstance(exit, IoExit | MmioExit):
                exit = self._serve(exit)
            elif isinstance(exit, ExceptionExit) and events < _NESTED:
                events += 1
                self.event = exit
                exit = self.run(max_instructions=1, timeout=PATIENCE)
                self.engine.set_guest_debug(STEPPING)
            else:
                return exit
            if exit == IntrExit("budget"):
                return exit

    def _serve(self, exit: IoExit | MmioExit) -> Exit:
        """A read is finished by its step; a write may be over already, and is then left at that."""
        self.access = exit
        answer = self._devices.serve(self._index, exit)
        reads = not exit.is_write if isinstance(exit, MmioExit) else exit.direction == "in"
        self.engine.set_guest_debug(STEPPING)
        if not reads:
            return self.run(max_instructions=0)
        self.engine.complete_io(answer)
        return self.run(timeout=PATIENCE)


def open_side(name: str, ram: int) -> Engine:
    """An engine by a side's name: ``unicorn``, ``unicorn:svm``, ``kvm``.

    Raises UnknownName, and EngineUnavailable where it cannot run.
    """
    check_side(name)
    engine, _, profile = name.partition(":")
    return open_engine(engine, ram, profile or None)


def check_side(name: str) -> None:
    """UnknownName unless it is one of ``SIDES`` (``unicorn:reference`` is ``unicorn``)."""
    if name not in (*SIDES, "unicorn:reference"):
        hint = did_you_mean(name, SIDES, shown=len(SIDES))
        raise UnknownName(f'cannot compare with "{name}"{hint}')
