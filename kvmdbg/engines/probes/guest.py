"""One tiny guest on the bare ioctl line, and what it did in words that can be compared.

What is expected is written with the same words as what was seen: ``debug``, ``vector``, ``io``,
``mmio``. An address is told as a place: ``+2`` is two bytes into the guest. Must not know: what a
probe is, or the debugger.
"""

from __future__ import annotations

from typing import Final

from ...exits import DebugExit, Exit, HltExit, InternalErrorExit, IntrExit, IoExit, MmioExit
from ...uapi import GuestDbg
from ...x86.registers import Regs
from .. import Engine
from .modes import CODE, DATA, HANDLERS, MMIO, STACK, VECTORS, Mode, memory, sregs

SECONDS: Final = 2.0
"""No guest here needs a millisecond; one that went astray may run for ever. On a loaded machine the
process itself may stand still for a second: what it then told would be believed of the CPU."""

OFF: Final = 0
E: Final = int(GuestDbg.ENABLE)
S: Final = E | int(GuestDbg.SINGLESTEP)
W: Final = E | int(GuestDbg.USE_SW_BP)
H: Final = E | int(GuestDbg.USE_HW_BP)
K: Final = E | int(GuestDbg.BLOCKIRQ)
INJECT_DB: Final = int(GuestDbg.INJECT_DB)
INJECT_BP: Final = int(GuestDbg.INJECT_BP)

NONE, BS, BD = 0xFFFF0FF0, 0xFFFF4FF0, 0xFFFF2FF0
B0: Final = NONE | 1
DR7: Final = 0x400
TF, IF, RF = 1 << 8, 1 << 9, 1 << 16
UD, GP = 6, 13

END: Final = "ran to its end"
HALTED: Final = "HLT exit"


class Guest:
    """A fresh engine with the tables of one mode; ``load`` gives it code."""

    def __init__(self, engine: Engine, mode: Mode) -> None:
        self.engine, self.mode = engine, mode
        self._end = CODE
        for address, data in memory(mode):
            engine.write_memory(address, data)

    def load(self, code: bytes, **registers: int) -> None:
        """Code at ``CODE``, its end behind it, all registers anew; RBX and RDI point to the data.

        A handler that was entered has left another CS and CPL, so system registers are set too.
        """
        self.engine.set_sregs(sregs(self.mode))
        self._end = CODE + len(code)
        self.engine.write_memory(CODE, code + self.mode.end)
        pointers = {"rbx": DATA, "rdi": DATA, "rsp": STACK, "rip": CODE}
        self.engine.set_regs(Regs(**{**pointers, **registers}))

    def handler(self, vector: int, code: bytes) -> None:
        """Code for a vector in the place of its HLT; 16 bytes at most."""
        self.engine.write_memory(HANDLERS + 16 * vector, code)

    def to_mmio(self) -> None:
        """Let RBX and RDI point outside RAM; in real mode DS does."""
        engine, regs = self.engine, self.engine.get_regs()
        if self.mode.bits != 16:
            engine.set_regs(regs._replace(rbx=MMIO, rdi=MMIO))
            return
        system = engine.get_sregs()
        engine.set_sregs(system._replace(ds=system.ds._replace(base=MMIO, selector=MMIO >> 4)))
        engine.set_regs(regs._replace(rbx=0, rdi=0))

    def set(self, **registers: int) -> None:
        """KVM_SET_REGS with some of them changed."""
        self.engine.set_regs(self.engine.get_regs()._replace(**registers))

    def sgd(self, control: int, *, dr: tuple[int, ...] = (), dr7: int = DR7) -> None:
        """KVM_SET_GUEST_DEBUG; ``dr`` are addresses for DR0 and so on."""
        addresses = (*dr, 0, 0, 0, 0)[:4]
        self.engine.set_guest_debug(control, (*addresses, 0, 0, 0, dr7))

    def run(self, control: int | None = None, *, dr: tuple[int, ...] = (), dr7: int = DR7) -> str:
        """KVM_RUN, after KVM_SET_GUEST_DEBUG if ``control`` is given: what it ended with."""
        if control is not None:
            self.sgd(control, dr=dr, dr7=dr7)
        return self._words(self.engine.run(timeout=SECONDS))

    def frame(self, vector: int) -> str:
        """Where the handler that was entered would return to: ``back to +1``."""
        regs, size = self.engine.get_regs(), self.mode.word
        error_code = size if vector in (8, 10, 11, 12, 13, 14, 17) and self.mode.bits != 16 else 0
        return f"back to {place(self.number(regs.rsp + error_code, size))}"

    def number(self, address: int, size: int) -> int:
        """A little-endian number in guest RAM."""
        return int.from_bytes(self.engine.read_memory(address, size), "little")

    def dr6(self) -> str:
        """The guest's own DR6."""
        return f"guest's DR6 {self.engine.get_debugregs().dr6:#x}"

    # -- words -------------------------------------------------------------------------------------

    def _words(self, exit: Exit) -> str:
        match exit:
            case DebugExit(3, pc):
                return f"DEBUG 3 at {place(pc)}"
            case DebugExit(exception, pc, dr6, dr7):
                return debug(pc, dr6, dr7, exception=exception)
            case HltExit():
                return self._halted(self.engine.get_regs().rip)
            case IoExit(direction, port):
                return io(direction, port)
            case MmioExit(phys_addr, data, is_write):
                return mmio("store" if is_write else "load", phys_addr, len(data))
            case IntrExit("timeout"):
                return f"no exit in {SECONDS} s"
            case InternalErrorExit(suberror):
                where = place(self.engine.get_regs().rip)
                return f"INTERNAL_ERROR exit, suberror {suberror}, at {where}"
            case _:
                return f"{exit.reason.name} exit"

    def _halted(self, rip: int) -> str:
        """Which HLT it was; where the guest's end is a UD2, its handler's."""
        entered = handler_at(rip - 1)
        if entered is not None:
            mine = entered == UD and self.frame(UD) == f"back to {place(self._end)}"
            return END if self.mode.cpl and mine else vector(entered)
        return END if not self.mode.cpl and rip == self._end + 1 else f"{HALTED} at {place(rip)}"


def handler_at(address: int) -> int | None:
    """The vector whose handler begins there."""
    number, inside = divmod(address - HANDLERS, 16)
    return number if 0 <= number < VECTORS and inside == 0 else None


def place(address: int) -> str:
    """An address as people can follow it.

    >>> place(CODE + 2), place(HANDLERS + 0x31), place(0x1234)
    ('+2', "vector 3's handler+1", '0x1234')
    """
    if CODE <= address < DATA:
        return f"+{address - CODE}"
    number, inside = divmod(address - HANDLERS, 16)
    if 0 <= number < VECTORS:
        return f"vector {number}'s handler" + (f"+{inside}" if inside else "")
    return f"{address:#x}"


def debug(pc: int, dr6: int, dr7: int = DR7, *, exception: int = 1) -> str:
    """KVM_EXIT_DEBUG at a linear address."""
    return f"DEBUG {exception} at {place(pc)}, dr6 {dr6:#x}, dr7 {dr7:#x}"


def int3(pc: int) -> str:
    """KVM_EXIT_DEBUG for a #BP, whose dr6 and dr7 mean nothing."""
    return f"DEBUG 3 at {place(pc)}"


def vector(number: int) -> str:
    """The guest's own handler was entered."""
    return f"the guest's vector {number}"


def io(direction: str, port: int) -> str:
    """KVM_EXIT_IO."""
    return f"IO exit, {direction} {port:#x}"


def mmio(what: str, address: int, size: int) -> str:
    """KVM_EXIT_MMIO; ``what`` is ``load`` or ``store``."""
    return f"MMIO exit, {what} of {size} at {address:#x}"
