"""The bench of the checks: one fresh engine with the mode's default guest, on the bare ioctl line.

Programs are machine code that means the same in all three modes, so no assembler is needed. Must
not know: what is checked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, get_args

from ..engines import Capability, Engine
from ..errors import VmBusy
from ..exits import Exit
from ..machine.layout import ORIGIN, default_guest, gate
from ..uapi import GuestDbg
from ..x86.registers import Regs, Segment
from .contract import ANY_MODE, require

RAM: Final = 0x10000
"""The smallest guest there is. What lies above is MMIO, in real mode's reach."""

CODE: Final = ORIGIN
DATA: Final = 0x9000
HANDLER: Final = 0xA000
HANDLED: Final = HANDLER + 1
"""RIP after a handler's HLT."""

MMIO: Final = 0x20000
SECONDS: Final = 3.0
"""No guest of a check needs a millisecond; this is for a host that is busy elsewhere."""

NOP, HLT, INT3 = b"\x90", b"\xf4", b"\xcc"
UD2 = b"\x0f\x0b"
JMP_SELF = b"\xeb\xfe"
STORE = b"\x88\x07"
"""MOV [place],AL for ``point_at``: the place is BX in 16-bit code, RDI elsewhere."""

LOAD = b"\x8a\x07"
"""MOV AL,[place], so too."""

MOV_FROM_DR0 = b"\x0f\x21\xc0"
"""MOV EAX,DR0 (RAX in 64-bit code)."""

_EXITS: Final = get_args(Exit)

E, S = int(GuestDbg.ENABLE), int(GuestDbg.SINGLESTEP)
W, H = int(GuestDbg.USE_SW_BP), int(GuestDbg.USE_HW_BP)
INJECT_DB, INJECT_BP = int(GuestDbg.INJECT_DB), int(GuestDbg.INJECT_BP)


def mov_al(value: int) -> bytes:
    """MOV AL,value."""
    return bytes((0xB0, value))


def out(port: int) -> bytes:
    """OUT port,AL."""
    return bytes((0xE6, port))


def in_(port: int) -> bytes:
    """IN AL,port."""
    return bytes((0xE4, port))


class Bench:
    """One engine and what checks do with it. ``open`` makes another of the same kind."""

    def __init__(self, open_one: Callable[[int], Engine], mode: str) -> None:
        self.open = open_one
        self.mode = "long" if mode == ANY_MODE else mode
        self.engine = open_one(RAM)

    @property
    def counts(self) -> bool:
        """Whether the engine counts instructions."""
        return Capability.INSTRUCTION_CLOCK in self.engine.capabilities

    def boot(self, code: bytes, engine: Engine | None = None, **regs: int) -> None:
        """The default guest with ``code`` at CODE; registers by name."""
        engine = engine or self.engine
        guest = default_guest(self.mode, RAM, CODE)
        for address, data in (*guest.memory, (CODE, code)):
            engine.write_memory(address, data)
        engine.set_sregs(guest.sregs)
        engine.set_regs(guest.regs._replace(**regs))

    def gate(self, *vectors: int) -> None:
        """Handlers that halt, the one of vector n at HANDLER + 16 n."""
        for vector in vectors:
            handler = HANDLER + 16 * vector
            self.engine.write_memory(*gate(self.mode, vector, handler))
            self.engine.write_memory(handler, HLT)

    def point_at(self, address: int) -> None:
        """Let STORE and LOAD reach a physical address; above 64 KiB, 64 KiB-aligned."""
        sregs, offset = self.engine.get_sregs(), address
        if self.mode == "real" and address >= 0x10000:
            ds = Segment(address, 0xFFFF, address >> 4, type=3, present=1, s=1)
            self.engine.set_sregs(sregs._replace(ds=ds))
            offset = 0
        self.set(rbx=offset, rdi=offset)

    def sgd(self, control: int, *, dr7: int = 0x400, **breakpoints: int) -> None:
        """KVM_SET_GUEST_DEBUG; ``dr0=address`` and so on fill the debug registers."""
        addresses = [breakpoints.get(f"dr{slot}", 0) for slot in range(4)]
        self.engine.set_guest_debug(control, (*addresses, 0, 0, 0, dr7))

    def run(
        self,
        control: int | None = None,
        *,
        max_instructions: int | None = None,
        timeout: float = SECONDS,
    ) -> Exit:
        """KVM_RUN with a time limit; Broken unless it gives an exit of exits.py."""
        if control is not None:
            self.sgd(control)
        exit = self.engine.run(max_instructions, timeout)
        require(isinstance(exit, _EXITS), "run() to return an exit of kvmdbg.exits", exit)
        return exit

    @property
    def regs(self) -> Regs:
        """KVM_GET_REGS."""
        return self.engine.get_regs()

    @property
    def al(self) -> int:
        """Register AL."""
        return self.regs.rax & 0xFF

    def set(self, **values: int) -> None:
        """KVM_SET_REGS with some registers changed."""
        self.engine.set_regs(self.engine.get_regs()._replace(**values))

    def _wait_until_it_runs(self) -> None:
        """Until the engine refuses others; for one that never does, a moment."""
        end = time.monotonic() + 1
        while time.monotonic() < end:
            try:
                self.engine.get_regs()
            except VmBusy:
                return

    @contextmanager
    def running(self) -> Iterator[list[Exit]]:
        """Inside, the guest runs in another thread; its exit stands in the list afterwards."""
        exits: list[Exit] = []
        started = threading.Event()

        def go() -> None:
            started.set()
            exits.append(self.run())

        thread = threading.Thread(target=go, daemon=True)
        thread.start()
        started.wait(SECONDS)
        self._wait_until_it_runs()
        try:
            yield exits
        finally:
            self.engine.request_stop()
            thread.join(2 * SECONDS)
