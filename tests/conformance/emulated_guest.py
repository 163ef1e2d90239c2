"""A guest of the profile emu618, and what its stops look like: DR7 is not written there.

Must not know: what any row says.
"""

from __future__ import annotations

from kvmdbg.exits import DebugExit, Exit, InternalErrorExit
from tests.guests.bench import BS, B, Bench, E, S

DEVICE = 0xD0000000
INT_MODES = ["protected", "long"]
"""Where the emulator has no INT n."""

_WIDTH = {"real": 2, "protected": 4, "long": 8}
_POINTER = {"real": "bx", "protected": "ebx", "long": "rbx"}


class Emulated(Bench):
    """A guest that KVM's emulator of Linux 6.18 runs."""

    def __init__(self, text: str, mode: str = "long") -> None:
        super().__init__(text, mode, profile="emu618")


def device(text: str, mode: str = "long") -> Emulated:
    """A guest whose data pointer, ``{at}`` in its text, is the address of a device."""
    bench = Emulated(text.format(at=f"[{_POINTER[mode]}]"), mode)
    if mode == "real":
        sregs = bench.vcpu.get_sregs()
        bench.vcpu.set_sregs(sregs._replace(ds=sregs.ds._replace(base=DEVICE)))
    else:
        bench.set(rbx=DEVICE)
    return bench


def stop(pc: int) -> DebugExit:
    """A single-step report."""
    return DebugExit(1, pc, BS, 0)


def hit(pc: int, *slots: int) -> DebugExit:
    """A report of execution breakpoints."""
    return DebugExit(1, pc, B(*slots), 0)


def step(b: Bench, times: int) -> list[Exit]:
    """So many runs, KVM_SET_GUEST_DEBUG before each of them."""
    return [b.run(E | S) for _ in range(times)]


def frame(b: Bench) -> tuple[int, int]:
    """Saved RIP and RFLAGS on top of the stack."""
    rsp, width = b.reg("rsp"), _WIDTH[b.mode]
    return b.word(rsp, width), b.word(rsp + 2 * width, width)


def not_emulated(b: Bench, exit_: Exit, at: int) -> bool:
    """KVM_INTERNAL_ERROR_EMULATION, and nothing of the instruction happened."""
    failed = isinstance(exit_, InternalErrorExit) and exit_.suberror == 1
    return failed and b.reg("rip") == at and b.reg("rsp") == 0x7000
