"""The bench on which conformance tests run: one guest on the bare ioctl line, no debugger above it.

Notation follows the conformance list: E, S, W, H, ... are control bits, ``sgd`` is
KVM_SET_GUEST_DEBUG, ``B(n)``, ``BS`` and ``BD`` are DR6 values of an exit.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from kvmdbg import assemble
from kvmdbg.engines import Capability, Engine, open_engine
from kvmdbg.exits import Exit
from kvmdbg.machine.layout import default_guest, gate
from kvmdbg.uapi import GuestDbg

E, S = GuestDbg.ENABLE, GuestDbg.SINGLESTEP
W, H = GuestDbg.USE_SW_BP, GuestDbg.USE_HW_BP
ID, IB, K = GuestDbg.INJECT_DB, GuestDbg.INJECT_BP, GuestDbg.BLOCKIRQ

NONE = 0xFFFF0FF0
BS = 0xFFFF4FF0
BD = 0xFFFF2FF0
MODES = ("real", "protected", "long")
RAM = 1 << 22
SECONDS = 2.0
"""No guest of a test runs for a millisecond; one that went astray may run for ever."""

OPENER: ContextVar[Callable[[int], Engine] | None] = ContextVar("OPENER", default=None)
"""Opens the engine of a bench that names neither engine nor profile; None: the embedded one."""


def B(*slots: int) -> int:  # noqa: N802 - the conformance list's own notation
    """DR6 of an exit that reports these breakpoints."""
    return NONE | sum(1 << slot for slot in slots)


def _open(engine: str | None, profile: str | None) -> Engine:
    opener = OPENER.get()
    if opener is None or engine is not None or profile is not None:
        return open_engine(engine or "unicorn", RAM, profile)
    return opener(RAM)


class Bench:
    """One engine, one assembled guest, its labels as attributes of ``at``."""

    def __init__(
        self,
        text: str,
        mode: str = "long",
        engine: str | None = None,
        profile: str | None = None,
    ) -> None:
        self.program = assemble(text, mode=mode)
        self.mode = mode
        self.vcpu = _open(engine, profile)
        guest = default_guest(mode, RAM, self.program.origin)
        for address, data in guest.memory:
            self.vcpu.write_memory(address, data)
        self.vcpu.write_memory(self.program.origin, self.program.code)
        self.vcpu.set_sregs(guest.sregs)
        self.vcpu.set_regs(guest.regs)

    def __getitem__(self, label: str) -> int:
        return self.program.symbols[label]

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.vcpu.close()

    def gate(self, vector: int, label: str, *, ist: int = 0) -> None:
        """Let ``label`` handle ``vector``."""
        self.vcpu.write_memory(*gate(self.mode, vector, self[label], ist=ist))

    def sgd(self, control: int, *, dr7: int = 0x400, **breakpoints: int) -> None:
        """KVM_SET_GUEST_DEBUG; ``dr0=address`` and so on fill the debug registers."""
        addresses = [breakpoints.get(f"dr{slot}", 0) for slot in range(4)]
        self.vcpu.set_guest_debug(control, (*addresses, 0, 0, 0, dr7))

    def run(self, control: int | None = None, **limits: float) -> Exit:
        """KVM_RUN, after KVM_SET_GUEST_DEBUG(control) if one is given."""
        if control is not None:
            self.sgd(control)
        if Capability.INSTRUCTION_CLOCK in self.vcpu.capabilities:
            return self.vcpu.run(max_instructions=100_000, **limits)
        return self.vcpu.run(timeout=SECONDS)

    def reg(self, name: str) -> int:
        """One general register."""
        value: int = getattr(self.vcpu.get_regs(), name)
        return value

    def set(self, **values: int) -> None:
        """KVM_SET_REGS with some registers changed."""
        self.vcpu.set_regs(self.vcpu.get_regs()._replace(**values))

    def word(self, address: int, size: int = 8) -> int:
        """Little-endian number in guest RAM."""
        return int.from_bytes(self.vcpu.read_memory(address, size), "little")
