"""What this host's KVM really does, each seen in one tiny guest.

KVM's capability bits say what its interface knows; whether an INT3 or a data breakpoint ever comes
back to the host depends on the processor underneath, or on what plays one, and on the mode that the
guest is in. Nothing is probed before somebody asks, and nothing twice in a process. Must not know:
what anybody uses an answer for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from ...exits import DebugExit, Exit, HltExit, InternalErrorExit, IoExit, MmioExit
from ...uapi import GuestDbg
from ...x86.descriptors import INTERRUPT_GATE, Gate, pack_descriptor, pack_gate
from ...x86.registers import (
    CR0,
    CR4,
    EFER,
    CpuMode,
    DescriptorTable,
    Regs,
    Segment,
    Sregs,
)
from .. import Capability
from .vm import PAGE

if TYPE_CHECKING:
    from .engine import KvmEngine

_RAM: Final = 0x10000
_GDT, _TSS, _IDT, _PML4, _PDPT, _PD = 0x500, 0x600, 0x1000, 0x2000, 0x3000, 0x4000
_STACK, _CODE, _DATA, _HANDLERS = 0x7000, 0x8000, 0x9000, 0xA000
_NOWHERE: Final = 0x20000
"""Mapped, and outside RAM."""
_SECONDS = 0.2
"""No probe needs a millisecond; a guest that went astray may run for ever."""

_E = int(GuestDbg.ENABLE)
_S = _E | int(GuestDbg.SINGLESTEP)
_W = _E | int(GuestDbg.USE_SW_BP)
_H = _E | int(GuestDbg.USE_HW_BP)
_PG, _LMA = int(CR0.PG), int(EFER.LMA)
_DB, _BP = 1, 3
_BS, _BD, _B0 = 0x4000, 0x2000, 1
_NOPS, _INT3 = b"\x90\x90\xf4", b"\xcc\xf4"
_READ_DR0 = b"\x0f\x21\xc0\xf4"
_OUT, _HLT = b"\xe6\x80\x90\x90\xf4", b"\xf4\x90\x90\xf4"


def _store(address: int) -> bytes:
    """MOV [address], AL, and two instructions more, in 64-bit code."""
    return b"\x88\x04\x25" + address.to_bytes(4, "little") + b"\x90\x90\xf4"


class Answers(NamedTuple):
    """What works for guest debugging in one mode: as KVM has it, and by making up for it."""

    native: frozenset[Capability]
    emulated: frozenset[Capability]

    @property
    def both(self) -> frozenset[Capability]:
        """All that works."""
        return self.native | self.emulated


def place_of(sregs: Sregs) -> tuple[CpuMode, bool]:
    """What decides whether something works: the mode, and whether this is CPL 3.

    >>> place_of(Sregs())
    (<CpuMode.REAL: 'real'>, False)
    """
    return sregs.mode, sregs.cpl == 3


@lru_cache(32)
def answers(mode: CpuMode, user: bool) -> Answers:
    """For code in this mode; ``user`` is CPL 3. Some ten milliseconds at the first time.

    SW_BP is an INT3 that KVM itself brings out, by whatever exit; that a guest can also be stepped
    to one is not counted.
    """
    native, made_up = _everywhere()
    with _engine() as engine:
        sregs = _sregs(mode, user)
        seen = {
            Capability.SINGLESTEP: _is_debug(_try(engine, _NOPS, _S, sregs), _DB, _CODE + 1, _BS),
            Capability.HW_EXEC: _breaks_on_execution(engine, sregs),
        }
        exit = _try(engine, _INT3, _W, sregs)
    seen[Capability.SW_BP] = _is_debug(exit, _BP, _CODE, 0)
    if isinstance(exit, InternalErrorExit) and exit.suberror == 1:
        made_up |= {Capability.SW_BP}
    return Answers(native | {each for each, yes in seen.items() if yes}, made_up)


@lru_cache(256)
def capabilities(mode: CpuMode, user: bool) -> frozenset[Capability]:
    """All that works there; the same object each time."""
    return answers(mode, user).both


def drops_paging(sregs: Sregs) -> bool:
    """Whether KVM would not keep the paging of these registers."""
    return bool(sregs.cr0 & _PG) and not sregs.efer & _LMA and not _keeps_32_bit_paging()


@lru_cache(1)
def _keeps_32_bit_paging() -> bool:
    """There is a KVM whose KVM_SET_SREGS clears CR0.PG outside of IA-32e mode and says nothing.

    Its next KVM_RUN is a SHUTDOWN exit, and then the guest goes on without paging.
    """
    sregs = _sregs(CpuMode.PROTECTED_32, user=False)
    with _engine() as engine:
        engine.set_sregs(sregs._replace(cr0=sregs.cr0 | _PG, cr3=_PML4, cr4=int(CR4.PSE)))
        return bool(engine.get_sregs().cr0 & _PG)


@lru_cache(1)
def _everywhere() -> Answers:
    """What is seen in 64-bit mode at CPL 0 and taken to be the same in all modes."""
    with _engine() as engine:
        data = _breaks_on_data(engine)
        native = {Capability.HW_DATA, Capability.HW_WRITE} if data else set()
        native |= {Capability.HW_GD} if _detects_mov_dr(engine) else set()
        native |= {Capability.INJECT} if _injects(engine) else set()
        pages = not data and _exits_for_read_only_memory(engine)
    return Answers(frozenset(native), frozenset({Capability.HW_WRITE} if pages else ()))


def watches_by_pages() -> bool:
    """Whether data breakpoints never fire here, and stores to read-only memory are told."""
    return Capability.HW_WRITE in _everywhere().emulated


@lru_cache(1)
def returns_to_int3() -> bool:
    """Whether an injected #BP has the INT3 itself in its frame, not what is behind it (spec 7)."""
    with _engine() as engine:
        _try(engine, _INT3, _W)
        engine.set_guest_debug(_E | int(GuestDbg.INJECT_BP))
        exit = engine.run(timeout=_SECONDS)
        frame = engine.read_memory(engine.get_regs().rsp % _RAM, 8)
    return isinstance(exit, HltExit) and int.from_bytes(frame, "little") == _CODE


class LostSteps(NamedTuple):
    """Which instructions KVM steps over without the stop behind them (spec 11)."""

    out: bool
    mmio_write: bool
    hlt: bool
    """The stop comes, but the HLT exit does not."""


@lru_cache(1)
def lost_steps() -> LostSteps:
    """Seen in 64-bit mode at CPL 0."""
    with _engine() as engine:
        told = _try(engine, _OUT, _S)
        out = isinstance(told, IoExit) and _runs_past(engine, _CODE + 2)
        told = _try(engine, _store(_NOWHERE), _S)
        mmio = isinstance(told, MmioExit) and _runs_past(engine, _CODE + 7)
        hlt = _is_debug(_try(engine, _HLT, _S), _DB, _CODE + 1, _BS)
    return LostSteps(out, mmio, hlt)


def _runs_past(engine: KvmEngine, place: int) -> bool:
    """Whether the next stop of a step is not where the instruction ended."""
    return not _is_debug(_step_again(engine), _DB, place, _BS)


def _step_again(engine: KvmEngine) -> Exit:
    engine.set_guest_debug(_S)
    return engine.run(timeout=_SECONDS)


def _breaks_on_execution(engine: KvmEngine, sregs: Sregs) -> bool:
    exit = _try(engine, _NOPS, _H, sregs, dr0=_CODE + 1, dr7=0x402)
    return _is_debug(exit, _DB, _CODE + 1, _B0)


def _breaks_on_data(engine: KvmEngine) -> bool:
    exit = _try(engine, _store(_DATA), _H, dr0=_DATA, dr7=0x10402)
    return _is_debug(exit, _DB, _CODE + 7, _B0)


def _detects_mov_dr(engine: KvmEngine) -> bool:
    return _is_debug(_try(engine, _READ_DR0, _H, dr7=0x2400), _DB, _CODE, _BD)


def _exits_for_read_only_memory(engine: KvmEngine) -> bool:
    engine.protect({_DATA // PAGE})
    exit = _try(engine, _store(_DATA), 0)
    engine.protect(())
    return isinstance(exit, MmioExit) and exit.is_write and exit.phys_addr == _DATA


def _injects(engine: KvmEngine) -> bool:
    """Both vectors arrive in the guest's handlers, which halt."""
    for flag, vector in ((GuestDbg.INJECT_DB, _DB), (GuestDbg.INJECT_BP, _BP)):
        exit = _try(engine, _INT3, _E | int(flag))
        if not isinstance(exit, HltExit) or engine.get_regs().rip != _HANDLERS + vector * 16 + 1:
            return False
    return True


def _is_debug(exit: Exit, exception: int, pc: int, cause: int) -> bool:
    return (
        isinstance(exit, DebugExit)
        and (exit.exception, exit.pc) == (exception, pc)
        and exit.dr6 & cause == cause
    )


# -- the guests ------------------------------------------------------------------------------------


@contextmanager
def _engine() -> Iterator[KvmEngine]:
    """KVM as it is: nothing is made up for."""
    from .engine import KvmEngine

    engine = KvmEngine(_RAM, bare=True)
    try:
        yield engine
    finally:
        engine.close()


def _segment(selector: int, kind: int, dpl: int, bits: int, *, code: bool = False) -> Segment:
    limit, wide = (0xFFFF, 0) if bits == 16 else (0xFFFFFFFF, 1)
    long = int(code and bits == 64)
    return Segment(
        *(0, limit, selector | dpl, kind, 1), dpl=dpl, db=wide - long, s=1, l=long, g=wide
    )


def _sregs(mode: CpuMode, user: bool) -> Sregs:
    """The registers of a flat guest in this mode; real mode has no rings."""
    dpl = 3 if user and mode is not CpuMode.REAL else 0
    cs = _segment(0 if mode is CpuMode.REAL else 8, 11, dpl, mode.bits, code=True)
    ds = _segment(0 if mode is CpuMode.REAL else 16, 3, dpl, mode.bits)
    base = Sregs(
        *(cs, ds, ds, ds, ds, ds),
        tr=Segment(_TSS, 0x67, 24, 11, 1),
        ldt=Segment(unusable=1),
        gdt=DescriptorTable(_GDT, 0x17),
        cr0=int(CR0.ET | CR0.NE) | (0 if mode is CpuMode.REAL else int(CR0.PE)),
    )
    if mode not in (CpuMode.LONG, CpuMode.COMPAT_16, CpuMode.COMPAT_32):
        return base
    return base._replace(
        idt=DescriptorTable(_IDT, 0 if user else 0xFFF),
        cr0=int(CR0.PE | CR0.MP | CR0.ET | CR0.NE | CR0.WP | CR0.PG),
        cr3=_PML4,
        cr4=int(CR4.PAE),
        efer=int(EFER.LME | EFER.LMA),
    )


_LONG: Final = _sregs(CpuMode.LONG, user=False)


def _try(
    engine: KvmEngine,
    code: bytes,
    control: int,
    sregs: Sregs = _LONG,
    *,
    dr0: int = 0,
    dr7: int = 0x400,
) -> Exit:
    """The exit of a fresh guest that runs ``code``."""
    engine.set_guest_debug(0)
    for address, data in _memory(code):
        engine.write_memory(address, data)
    engine.set_sregs(sregs)
    engine.set_regs(Regs(rip=_CODE, rsp=_STACK))
    engine.set_guest_debug(control, (dr0, 0, 0, 0, 0, 0, 0, dr7))
    return engine.run(timeout=_SECONDS)


def _memory(code: bytes) -> tuple[tuple[int, bytes], ...]:
    """Two MiB mapped one to one, the two gates, and the code. Gates and handlers lie 16 apart.

    In real mode the IVT is empty, so that a vector leads to 0:0, where there is HLT too.
    """
    gates = tuple(
        (_IDT + vector * 16, pack_gate(Gate(8, _HANDLERS + vector * 16, INTERRUPT_GATE), long=True))
        for vector in (_DB, _BP)
    )
    return (
        (_PML4, (_PDPT | 7).to_bytes(8, "little")),
        (_PDPT, (_PD | 7).to_bytes(8, "little")),
        (_PD, (0x87).to_bytes(8, "little")),
        (_GDT, bytes(8) + pack_descriptor(_LONG.cs) + pack_descriptor(_LONG.ds)),
        *gates,
        *((_HANDLERS + vector * 16, b"\xf4") for vector in (_DB, _BP)),
        (0, b"\xf4"),
        (_CODE, code),
    )
