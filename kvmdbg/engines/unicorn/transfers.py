"""Port and MMIO transfers: one instruction, done only when the host has answered.

KVM leaves the guest in the middle of such an instruction: it reports what is wanted, and the next
KVM_RUN finishes. Unicorn has no middle. So the instruction is *tried* alone, its transfers are
logged, and what must not be seen yet (the result of an IN, stores after an unanswered MMIO read) is
taken back; with the answer in hand it is run for good.

RIP at the exit is KVM's (spec 11): at OUT and IN, after a store to MMIO. Must not know: which
device, if any, stands behind a port.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ... import guestdebug
from ...exits import Exit, InternalErrorExit, IoExit, MmioExit
from ...x86 import debugreg
from ...x86.opcode import IN_OUT, INS_OUTS, Opcode
from ...x86.registers import MASK32, RFLAGS
from . import library
from .core import NEVER
from .native import Why, Word
from .state import EFLAGS, HF_CS64, HF_SS32, HFLAGS, RIP, RSP, SS_BASE

if TYPE_CHECKING:
    from .vcpu import Vcpu

_TF, _BS = int(RFLAGS.TF), debugreg.DR6_BS
_IN_BIT = 2  # opcode bit 1: clear for IN/INS, set for OUT/OUTS
_PAGE = 0x1000
_LOGGED = 8  # old bytes that the store log keeps, if that many are in RAM
_MOST_TRIES = 40
_OUTSIDE = InternalErrorExit(1, b"", "an access outside RAM, to be tried again")
_RDI, _ES_BASE = 7, (184 + 8) // 8


@dataclass(slots=True)
class Transfer:
    """What an exit left unfinished.

    ``at`` is the linear RIP at the exit: if the host moves RIP, nothing is finished (spec 11).
    ``rip`` is where a finished OUT continues; None means the instruction must be run again, with
    ``answers``. ``stores`` are MMIO writes still to be reported. ``causes`` are DR6 bits of data
    breakpoints met on the way.
    """

    at: int
    exit: IoExit | MmioExit
    rip: int | None = None
    retired: bool = False
    trap: bool = False
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    answered: bool = False
    stores: list[MmioExit] = field(default_factory=list)
    causes: int = 0


def copy(transfer: Transfer | None) -> Transfer | None:
    """For a snapshot: one that the original's progress does not touch."""
    if transfer is None:
        return None
    return replace(transfer, answers=list(transfer.answers), stores=list(transfer.stores))


def complete(transfer: Transfer, data: bytes) -> None:
    """Keep the host's answer to a read, cut or zero-filled to the size that was asked."""
    asked = transfer.exit
    address = asked.port if isinstance(asked, IoExit) else asked.phys_addr
    size = len(asked.data)
    transfer.answers.append((address, bytes(data)[:size].ljust(size, b"\0")))
    transfer.answered = True


def resume(vcpu: Vcpu) -> Exit | None:
    """The next KVM_RUN: finish what the last exit left."""
    transfer, vcpu.transfer = vcpu.transfer, None
    if transfer is None or vcpu.state.linear_pc() != transfer.at:
        return None
    if transfer.stores:
        return _next_store(vcpu, transfer)
    if transfer.rip is not None:
        return _finish_out(vcpu, transfer)
    if transfer.retired:
        return vcpu.raise_db(transfer.causes | _BS) if transfer.trap else None
    if not transfer.answered:
        complete(transfer, b"")
    if isinstance(transfer.exit, MmioExit):
        return mmio(vcpu, transfer.answers)
    return _finish_in(vcpu, transfer)


# -- ports -----------------------------------------------------------------------------------------


def port(vcpu: Vcpu, opcode: Opcode) -> Exit | None:
    """IN, OUT, INS or OUTS at CS:RIP: try it, then report what it transfers."""
    state, w = vcpu.state, vcpu.core.w
    at, rip = state.linear_pc(), state.q[RIP]
    is_in = not opcode.code & _IN_BIT
    before = vcpu.core.machine.uc.context_save() if is_in else None
    under = _ins_target(vcpu, opcode) if is_in else None
    clock = w[Word.INSNS]
    w[Word.IO_COUNT] = 0
    exit_ = _outcome(vcpu, _enter_alone(vcpu))
    if not w[Word.IO_COUNT]:
        return exit_  # a fault, or a REP with nothing to do
    size = w[Word.IO_SIZE]
    if before is not None:
        vcpu.core.machine.uc.context_restore(before)
        w[Word.INSNS] = clock
        if under is not None:
            vcpu.core.write_memory(*under)
        return _ask(vcpu, Transfer(at, IoExit("in", w[Word.IO_PORT], size, bytes(size))))
    data = (w[Word.IO_VALUE] & MASK32).to_bytes(4, "little")[:size]
    done = IoExit("out", w[Word.IO_PORT], size, data)
    if vcpu.debug.profile.finishes_out and opcode.code in IN_OUT:
        return _wait(vcpu, Transfer(state.linear_pc(), done, retired=True))
    transfer = Transfer(at, done, rip=state.q[RIP])
    transfer.causes = w[Word.WATCH_HIT]
    state.q[RIP] = rip
    w[Word.INSNS] = clock
    if vcpu.chipset.owns_port(done.port):
        vcpu.chipset.write_port(done.port, size, int.from_bytes(data, "little"))
        return _finish_out(vcpu, transfer)
    return _finish_out(vcpu, transfer) if _is_lost(vcpu, opcode, done) else _wait(vcpu, transfer)


def _is_lost(vcpu: Vcpu, opcode: Opcode, out: IoExit) -> bool:
    """The stop of a stepped OUT to port 0x7E overwrites its exit (spec 11)."""
    stepped = vcpu.debug.singlestep and vcpu.state.d[EFLAGS] & _TF
    out_7e = out.port == 0x7E and opcode.code in IN_OUT
    return bool(stepped) and out_7e and vcpu.debug.profile.loses_out_7e


def _ask(vcpu: Vcpu, transfer: Transfer) -> Exit | None:
    """An IN: of a chip of ours, or of the host."""
    asked = transfer.exit
    if not isinstance(asked, IoExit) or not vcpu.chipset.owns_port(asked.port):
        return _wait(vcpu, transfer)
    value = vcpu.chipset.read_port(asked.port, asked.size)
    complete(transfer, value.to_bytes(4, "little"))
    return _finish_in(vcpu, transfer)


def _wait(vcpu: Vcpu, transfer: Transfer) -> Exit:
    vcpu.transfer = transfer
    return transfer.exit


def _enter_alone(vcpu: Vcpu) -> int:
    """Run the instruction at CS:RIP under a TF that is not the guest's. Returns the uc_err.

    No budget stands against it: an access that was told is finished, whatever is left.
    """
    state, core = vcpu.state, vcpu.core
    guests = state.d[EFLAGS] & _TF
    state.d[EFLAGS] |= _TF
    core.pass_site()
    limit, core.w[Word.LIMIT] = core.w[Word.LIMIT], NEVER
    error = vcpu.run(single=True)
    core.w[Word.LIMIT] = limit
    if not guests:
        state.d[EFLAGS] &= ~_TF
    return error


def _outcome(vcpu: Vcpu, error: int) -> Exit | None:
    """None when ``_enter_alone`` completed its instruction; else what the stop means."""
    return None if vcpu.own_trap() else vcpu.stopped(error)


def _ins_target(vcpu: Vcpu, opcode: Opcode) -> tuple[int, bytes] | None:
    """The RAM that INS is about to overwrite: (physical address, bytes now)."""
    if opcode.code not in INS_OUTS:
        return None
    state, machine = vcpu.state, vcpu.core.machine
    bits = state.bits()
    linear = state.q[_RDI] & (1 << opcode.address_bits(bits)) - 1
    if bits != 64:
        linear = linear + state.q[_ES_BASE] & MASK32
    page = machine.physical_page(linear)
    if page is None:
        return None
    start = page + (linear & 0xFFF)
    return (start, machine.ram[start : start + 4]) if start + 4 <= machine.ram_size else None


def _finish_out(vcpu: Vcpu, transfer: Transfer) -> Exit | None:
    """Skip the OUT that was reported. A REP OUTS with elements left goes on without a trap."""
    rip = transfer.rip
    if rip is None or rip == vcpu.state.q[RIP]:
        return None
    size = rip - vcpu.state.q[RIP]
    exit_ = vcpu.retire(size, rip)
    if exit_ is None and transfer.causes and not vcpu.debug.pending:
        return vcpu.raise_db(transfer.causes)
    return exit_


def _finish_in(vcpu: Vcpu, transfer: Transfer) -> Exit | None:
    """Run the IN for good, with the answer."""
    state = vcpu.state
    vcpu.core.w[Word.IO_VALUE] = int.from_bytes(transfer.answers[-1][1], "little")
    vcpu.core.w[Word.IO_COUNT] = 0
    trap = state.d[EFLAGS] & _TF and vcpu.steps_over_skipped()
    at = state.linear_pc()
    exit_ = _outcome(vcpu, _enter_alone(vcpu))
    if not vcpu.core.w[Word.IO_COUNT]:
        return exit_
    causes = vcpu.core.w[Word.WATCH_HIT]
    if trap and state.linear_pc() != at:
        return vcpu.raise_db(_BS | causes)
    return vcpu.raise_db(causes) if causes else None


# -- MMIO ------------------------------------------------------------------------------------------


def mmio(vcpu: Vcpu, answers: list[tuple[int, bytes]] | None = None) -> Exit | None:
    """The instruction at CS:RIP touches physical addresses outside RAM.

    It is run alone over scratch pages laid under those addresses, holding the answers so far. The
    first read without an answer ends the try, everything is taken back, and the host is asked.
    """
    given = answers or []
    at = vcpu.state.linear_pc()
    trap = bool(vcpu.state.d[EFLAGS] & _TF) and vcpu.steps_over_skipped()
    with _Scratch(vcpu) as scratch:
        exit_ = scratch.run(given)
        reads, stores = scratch.transfers()
        if exit_ is _OUTSIDE:
            scratch.take_back()
            return InternalErrorExit(1, vcpu.code(), "too many MMIO pages in one instruction")
        if len(reads) > len(given):
            scratch.take_back()
            where, width = reads[len(given)]
    if len(reads) > len(given):
        offset = vcpu.chipset.offset(where)
        if offset is None:
            return _wait(vcpu, Transfer(at, MmioExit(where, bytes(width), False), answers=given))
        value = vcpu.chipset.read_page(offset, width) & (1 << 8 * width) - 1
        return mmio(vcpu, [*given, (where, value.to_bytes(width, "little"))])
    stores = [store for store in stores if not _into_apic(vcpu, store)]
    if exit_ is None:
        _write_back_flags(vcpu)
    if exit_ is not None or not stores:
        return exit_ if exit_ is not None or not trap else vcpu.raise_db(_BS)
    trap = trap and (vcpu.debug.profile.keeps_mmio_step or not vcpu.debug.singlestep)
    done = Transfer(vcpu.state.linear_pc(), stores[0], retired=True, trap=trap, stores=stores)
    return _next_store(vcpu, done)


def _into_apic(vcpu: Vcpu, store: MmioExit) -> bool:
    """Write what is meant for the chips; the host gets the rest."""
    offset = vcpu.chipset.offset(store.phys_addr)
    if offset is not None:
        vcpu.chipset.write_page(offset, len(store.data), int.from_bytes(store.data, "little"))
    return offset is not None


def _write_back_flags(vcpu: Vcpu) -> None:
    """KVM's emulator writes RFLAGS back: a host's TF stays only where it was armed (spec 5.4)."""
    if vcpu.debug.profile.hides_rf:
        return  # it read RFLAGS unfiltered, and wrote TF back
    vcpu.write_tf(guestdebug.rflags_read(vcpu.debug, vcpu.state.d[EFLAGS]))


def _next_store(vcpu: Vcpu, transfer: Transfer) -> Exit:
    transfer.exit = transfer.stores.pop(0)
    return _wait(vcpu, transfer)


class _Scratch:
    """Pages laid under MMIO addresses for one instruction, and the log of its transfers."""

    def __init__(self, vcpu: Vcpu) -> None:
        self.vcpu = vcpu
        self.core = vcpu.core
        self.pages: list[int] = []
        self.hooks: list[int] = []
        self.before = self.core.machine.uc.context_save()
        self.clock = self.core.clock
        self.tail = bytes(self.core.machine.ram[-_LOGGED:])

    def __enter__(self) -> _Scratch:
        for kind in (library.HOOK_MEM_WRITE, library.HOOK_MEM_READ):
            hook = self.core.machine.add_hook(kind, self.core.hooks.store, self.core.user)
            self.hooks.append(hook)
        self.core.machine.flush_translations()
        return self

    def __exit__(self, *_: object) -> None:
        machine = self.core.machine
        for hook in self.hooks:
            machine.remove_hook(hook)
        machine.flush_translations()
        for page in self.pages:
            machine.uc.mem_unmap(page, _PAGE)
        machine.flush_tlb()

    def run(self, given: list[tuple[int, bytes]]) -> Exit | None:
        """Run the instruction, laying pages as it asks for them; _OUTSIDE if it asks too often."""
        for address, data in given:
            self._cover(address, len(data))
        exit_: Exit | None = _OUTSIDE
        for _ in range(_MOST_TRIES):
            for address, data in given:
                self.core.machine.uc.mem_write(address, data)
            exit_ = self._try()
            if exit_ is not _OUTSIDE:
                break
            self.take_back()
            self._cover(self.core.w[Word.BAD_ADDRESS], max(self.core.w[Word.BAD_SIZE], 1))
        return exit_

    def _try(self) -> Exit | None:
        self.core.w[Word.MEMLOG_USED] = 0
        error = _enter_alone(self.vcpu)
        why = self.core.w[Word.WHY]
        if why & Why.BAD_MEMORY and error != library.UC_ERR_FETCH_UNMAPPED:
            return _OUTSIDE
        return _outcome(self.vcpu, error)

    def _cover(self, address: int, size: int) -> None:
        for page in range(address & ~(_PAGE - 1), address + size, _PAGE):
            if page not in self.pages and page >= self.core.machine.ram_size:
                self.core.machine.uc.mem_map(page, _PAGE)
                self.pages.append(page)

    def transfers(self) -> tuple[list[tuple[int, int]], list[MmioExit]]:
        """MMIO reads and writes of the last try, in order."""
        reads, stores = [], []
        for start, length, kind, value, _ in self._entries():
            data = (value & (1 << 64) - 1).to_bytes(8, "little")
            for address, size in _pieces(start, length):
                if address & ~(_PAGE - 1) not in self.pages:
                    continue  # the part of the access that lies in RAM
                if kind == library.MEM_WRITE:
                    offset = address - start
                    stores.append(MmioExit(address, data[offset : offset + size], True))
                else:
                    reads.append((address, size))
        return reads, stores

    def _entries(self) -> list[tuple[int, int, int, int, int]]:
        log = self.core.log
        return [
            (log[i], log[i + 1] & MASK32, log[i + 1] >> 32, log[i + 2], log[i + 3])
            for i in range(0, 4 * self.core.w[Word.MEMLOG_USED], 4)
        ]

    def take_back(self) -> None:
        """Undo the try: registers, clock, and stores to RAM, last first."""
        core = self.core
        core.machine.uc.context_restore(self.before)
        core.w[Word.INSNS] = self.clock
        for address, size, kind, _, old in reversed(self._entries()):
            over = address + _LOGGED - core.machine.ram_size  # the log holds no old bytes then
            if kind != library.MEM_WRITE or over >= _LOGGED:
                continue
            was = old.to_bytes(_LOGGED, "little") if over <= 0 else self.tail[over:]
            core.write_memory(address, was[:size])


def _pieces(address: int, size: int) -> Iterator[tuple[int, int]]:
    """An access cut where it crosses into the next page, as KVM cuts it."""
    end = address + size
    while address < end:
        piece = min(end, (address | _PAGE - 1) + 1) - address
        yield address, piece
        address += piece


# -- PUSHF -----------------------------------------------------------------------------------------


def clear_pushed_tf(vcpu: Vcpu) -> None:
    """PUSHF just pushed the host's TF: clear bit 8 of the image on top of the stack."""
    state, machine = vcpu.state, vcpu.core.machine
    hflags = state.d[HFLAGS]
    if hflags & HF_CS64:
        linear = state.q[RSP]
    else:
        linear = (state.q[RSP] & (MASK32 if hflags & HF_SS32 else 0xFFFF)) + state.q[SS_BASE]
        linear &= MASK32
    page = machine.physical_page(linear + 1)
    if page is not None and page < machine.ram_size:
        machine.ram[page + (linear + 1 & 0xFFF)] &= 0xFE
