"""What this host's KVM really does, each seen in one tiny guest.

KVM's capability bits say what its interface knows; whether an INT3 or a data breakpoint ever comes
back to the host depends on the processor underneath, or on what plays one. The guest is in 64-bit
mode at CPL 0. Must not know: what anybody uses a capability for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ...exits import DebugExit, Exit, HltExit
from ...uapi import GuestDbg
from ...x86.descriptors import INTERRUPT_GATE, Gate, pack_descriptor, pack_gate
from ...x86.registers import CR0, CR4, EFER, DescriptorTable, Regs, Segment, Sregs
from .. import Capability

if TYPE_CHECKING:
    from .engine import KvmEngine

_RAM: Final = 0x10000
_GDT, _TSS, _IDT, _PML4, _PDPT, _PD = 0x500, 0x600, 0x1000, 0x2000, 0x3000, 0x4000
_STACK, _CODE, _DATA, _HANDLERS = 0x7000, 0x8000, 0x9000, 0xA000
_SECONDS = 0.2
"""No probe needs a millisecond; a guest that went astray may run for ever."""

_E = int(GuestDbg.ENABLE)
_S = _E | int(GuestDbg.SINGLESTEP)
_W = _E | int(GuestDbg.USE_SW_BP)
_H = _E | int(GuestDbg.USE_HW_BP)
_DB, _BP = 1, 3
_BS, _BD, _B0 = 0x4000, 0x2000, 1
_NOPS, _INT3, _STORE = b"\x90\x90\xf4", b"\xcc\xf4", b"\x88\x04\x25\x00\x90\x00\x00\x90\xf4"
_READ_DR0 = b"\x0f\x21\xc0\xf4"


@lru_cache(1)
def capabilities() -> frozenset[Capability]:
    """What was seen, once per process; it takes some ten milliseconds."""
    from .engine import KvmEngine

    engine = KvmEngine(_RAM, frozenset())
    try:
        return frozenset(each for each, seen in _PROBES.items() if seen(engine))
    finally:
        engine.close()


def _steps(engine: KvmEngine) -> bool:
    return _is_debug(_try(engine, _NOPS, _S), _DB, _CODE + 1, _BS)


def _takes_int3(engine: KvmEngine) -> bool:
    return _is_debug(_try(engine, _INT3, _W), _BP, _CODE, 0)


def _breaks_on_execution(engine: KvmEngine) -> bool:
    return _is_debug(_try(engine, _NOPS, _H, _CODE + 1, 0x402), _DB, _CODE + 1, _B0)


def _breaks_on_data(engine: KvmEngine) -> bool:
    return _is_debug(_try(engine, _STORE, _H, _DATA, 0x10402), _DB, _CODE + 7, _B0)


def _detects_mov_dr(engine: KvmEngine) -> bool:
    return _is_debug(_try(engine, _READ_DR0, _H, 0, 0x2400), _DB, _CODE, _BD)


def _injects(engine: KvmEngine) -> bool:
    """Both vectors arrive in the guest's handlers, which halt."""
    for flag, vector in ((GuestDbg.INJECT_DB, _DB), (GuestDbg.INJECT_BP, _BP)):
        exit = _try(engine, _INT3, _E | int(flag))
        if not isinstance(exit, HltExit) or engine.get_regs().rip != _HANDLERS + vector * 16 + 1:
            return False
    return True


_PROBES: Final[dict[Capability, Callable[[KvmEngine], bool]]] = {
    Capability.SINGLESTEP: _steps,
    Capability.SW_BP: _takes_int3,
    Capability.HW_EXEC: _breaks_on_execution,
    Capability.HW_DATA: _breaks_on_data,
    Capability.HW_GD: _detects_mov_dr,
    Capability.INJECT: _injects,
}


def _is_debug(exit: Exit, exception: int, pc: int, cause: int) -> bool:
    return (
        isinstance(exit, DebugExit)
        and (exit.exception, exit.pc) == (exception, pc)
        and exit.dr6 & cause == cause
    )


def _try(engine: KvmEngine, code: bytes, control: int, dr0: int = 0, dr7: int = 0x400) -> Exit:
    """The exit of a fresh guest that runs ``code``."""
    engine.set_guest_debug(0)
    for address, data in _memory(code):
        engine.write_memory(address, data)
    engine.set_sregs(_SREGS)
    engine.set_regs(Regs(rip=_CODE, rsp=_STACK))
    engine.set_guest_debug(control, (dr0, 0, 0, 0, 0, 0, 0, dr7))
    return engine.run(timeout=_SECONDS)


def _segment(selector: int, kind: int, *, code: int = 0) -> Segment:
    return Segment(0, 0xFFFFFFFF, selector, kind, 1, db=1 - code, s=1, l=code, g=1)


_CS, _DS = _segment(8, 11, code=1), _segment(16, 3)
_SREGS: Final = Sregs(
    *(_CS, _DS, _DS, _DS, _DS, _DS),
    tr=Segment(_TSS, 0x67, 24, 11, 1),
    ldt=Segment(unusable=1),
    gdt=DescriptorTable(_GDT, 0x17),
    idt=DescriptorTable(_IDT, 0xFFF),
    cr0=int(CR0.PE | CR0.MP | CR0.ET | CR0.NE | CR0.WP | CR0.PG),
    cr3=_PML4,
    cr4=int(CR4.PAE),
    efer=int(EFER.LME | EFER.LMA),
)


def _memory(code: bytes) -> tuple[tuple[int, bytes], ...]:
    """Two MiB mapped one to one, the two gates, and the code. Gates and handlers lie 16 apart."""
    gates = tuple(
        (_IDT + vector * 16, pack_gate(Gate(8, _HANDLERS + vector * 16, INTERRUPT_GATE), long=True))
        for vector in (_DB, _BP)
    )
    return (
        (_PML4, (_PDPT | 3).to_bytes(8, "little")),
        (_PDPT, (_PD | 3).to_bytes(8, "little")),
        (_PD, (0x83).to_bytes(8, "little")),
        (_GDT, bytes(8) + pack_descriptor(_CS) + pack_descriptor(_DS)),
        *gates,
        *((_HANDLERS + vector * 16, b"\xf4") for vector in (_DB, _BP)),
        (_CODE, code),
    )
