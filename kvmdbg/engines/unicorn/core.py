"""Running the guest's instructions, and knowing exactly how many ran.

``Core`` is Unicorn plus the native hooks: it enters the guest, is stopped in front of *sites*
(instructions that somebody wants to see before they run), and keeps the instruction clock right
across faults, mid-block stops and self-modifying code. It delivers nothing and decides nothing.
Must not know: KVM's guest-debug rules.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, NamedTuple

from ...errors import AddressError
from ...x86 import decode
from ...x86.opcode import (
    IN_OUT,
    INS_OUTS,
    IRET,
    MOV_FROM_CR8,
    MOV_FROM_DR,
    MOV_TO_CR,
    MOV_TO_CR8,
    MOV_TO_DR,
    PUSHF,
    RDMSR,
    RDRAND,
    RDSEED,
    RDTSC,
    RDTSCP,
    SYSCALL,
    SYSENTER,
    SYSRET,
    WRMSR,
    read_opcode,
)
from ...x86.registers import MASK32, RFLAGS
from ...x86.vectors import Vector
from . import library, native
from .dirty import DirtyLog
from .lifting import LIFTED, Lifting
from .native import Why, Word
from .state import EFLAGS, HFLAGS, IS_INT, NO_EXCEPTION, OLD_EXCEPTION, RIP, CpuState

NEVER = (1 << 63) - 1
_NO_SITE = (1 << 64) - 1
_MOST_SITES = 512
LONGEST_ACCESS = 64
"""Bytes of the widest single access."""
_RCX = 1
_RF = int(RFLAGS.RF)
_BETWEEN_BLOCKS = Why.LIMIT | Why.DEADLINE | Why.REQUEST
_AGAIN = Why.NEW_SITES | Why.REWRITTEN

# A block is decoded only if some byte in it could begin one of these.
_SUSPECT = re.compile(
    rb"[\x6c-\x6f\xe4-\xe7\xec-\xef\x9c\xcf]|\x0f[\x01\x05\x07\x20-\x23\x30-\x34\xc7]", re.DOTALL
)
_INTERCEPTED = frozenset(
    (
        *(MOV_FROM_DR, MOV_TO_DR, SYSCALL, SYSENTER, SYSRET, *IN_OUT, *INS_OUTS),
        MOV_TO_CR,  # the tables in use are other ones, which the dirty log must know
        *(RDTSC, RDTSCP, RDMSR, WRMSR, MOV_FROM_CR8, MOV_TO_CR8, RDRAND, RDSEED),
    )
)


@lru_cache(maxsize=4096)
def _sizes(code: bytes, bits: int) -> tuple[int, ...]:
    """Bytes of each instruction in ``code``."""
    return tuple(instruction.size for instruction in decode.disassemble(code, 0, bits))


class Watched(NamedTuple):
    """Physical bytes to watch: ``bits`` go into WATCH_HIT when one of them is touched.

    Only accesses that begin in ``page`` count; ``first`` and ``last`` lie behind it for an access
    that reaches them from the linear page before.
    """

    bits: int
    first: int
    last: int
    reads: bool
    page: int


class Core:
    """One Unicorn machine, its hooks, its clock and its sites."""

    def __init__(self, ram_size: int) -> None:
        self.machine = library.Machine(ram_size)
        self.state = CpuState(self.machine)
        self._block = array("Q", bytes(8 * Word.COUNT))
        self._table = array("Q", bytes(16 << native.TABLE_BITS))
        self._log = array("Q", bytes(32 * native.MEMLOG_ENTRIES))
        self.w = memoryview(self._block)
        self.log = memoryview(self._log)
        self._slots = memoryview(self._table)
        self.error = 0
        self.pushf: set[int] = set()
        """Linear addresses of PUSHF instructions seen so far."""
        self.failure: BaseException | None = None
        self._sites: dict[int, int] = {}  # linear address -> hook
        self._break_sites: frozenset[int] = frozenset()  # those that the owner asked for
        self._irets: dict[int, int] = {}  # the same for IRETs, which need not be stopped at
        self._new_sites: set[int] = set()
        self._new_irets: set[int] = set()
        self.extra: frozenset[int] = frozenset()
        """Opcodes that are sites only now and then."""
        self._extra: dict[str, frozenset[int]] = {}
        self._watch_hooks: list[int] = []
        self._prepare_words()
        self._install_hooks()
        self.dirty = DirtyLog(self)
        self.lifting = Lifting(self.machine, self.state)

    def _prepare_words(self) -> None:
        w, machine = self.w, self.machine
        w[Word.LIMIT] = NEVER
        self._fresh = memoryview(array("Q", [0, 0, 0, 0, NEVER, 0, _NO_SITE, _NO_SITE]))
        w[Word.SKIP] = _NO_SITE
        w[Word.TABLE] = self._table.buffer_info()[0]
        w[Word.ENV] = machine.env_address
        w[Word.RAM] = machine.ram_address
        w[Word.RAM_SIZE] = machine.ram_size
        w[Word.MEMLOG] = self._log.buffer_info()[0]
        w[Word.TRACKS_SMC] = 1

    def _install_hooks(self) -> None:
        self.hooks = native.compile_hooks(self.machine.library)
        self.user = self._block.buffer_info()[0]
        self._hook(library.HOOK_BLOCK, self.hooks.block)
        self._hook(library.HOOK_INTR, self.hooks.intr)
        self._hook(library.HOOK_MEM_UNMAPPED, self.hooks.unmapped)
        self._hook(library.HOOK_INSN, self.hooks.port_in, insn=library.INSN_IN)
        self._hook(library.HOOK_INSN, self.hooks.port_out, insn=library.INSN_OUT)
        self.machine.add_edge_hook(self._translated)

    def _hook(self, kind: int, callback: int, first: int = 1, last: int = 0, insn: int = 0) -> int:
        return self.machine.add_hook(kind, callback, self.user, first, last, insn)

    # -- running -----------------------------------------------------------------------------------

    @property
    def clock(self) -> int:
        """Instructions retired."""
        return self.w[Word.INSNS]

    def limit(self, insns: int | None, deadline: int | None) -> None:
        """Bound the next runs: the clock's last value, and a CLOCK_MONOTONIC time in ns."""
        w = self.w
        w[Word.LIMIT] = NEVER if insns is None else insns
        w[Word.DEADLINE] = 0 if deadline is None else deadline
        look = deadline is not None
        first = w[Word.INSNS] + native.LOOK_EVERY if look else NEVER
        self._fresh[Word.PAUSE] = max(min(first, w[Word.LIMIT]), 1)

    def enter(self, single: bool = False) -> int:
        """Run until something asks for a stop; ``Word.WHY`` says what. Returns the uc_err.

        ``single`` says that TF is set, so that each block is one instruction. Unicorn's MOV SS
        holds the trap back; here it is made all the same, and who steps looks for the shadow.
        """
        machine, w = self.machine, self.w
        start, handle, q, d = machine.start, machine.handle, machine.q, machine.d
        w[Word.TRACKS_SMC] = w[Word.WATCH_STOPS] = not single
        w[Word.MEMLOG_USED] = 0
        w[: Word.REQUEST] = self._fresh
        limit, before = w[Word.LIMIT], w[Word.INSNS]
        if single:
            w[Word.LIMIT] = w[Word.PAUSE] = min(before + 1, limit) or 1
        # Unicorn never learns that we delivered its last exception; left alone, the second
        # identical fault would be taken for a nested one.
        d[OLD_EXCEPTION] = NO_EXCEPTION
        d[HFLAGS] |= self.dirty.bit | self.lifting.bit(single)
        self.error = start(handle, q[RIP], 0, 0, 0)
        return self.finish(single, before, limit)

    def finish(self, single: bool, before: int, limit: int) -> int:
        """What follows when the engine has left: begin again where the stop was only ours."""
        machine, w, d = self.machine, self.w, self.machine.d
        while (why := w[Word.WHY]) & _AGAIN:
            self._reraise()
            if why & Why.REWRITTEN:
                self.uncount()
            if why & Why.NEW_SITES:
                self._hook_new_sites()
            self._go_on(single)
            d[OLD_EXCEPTION] = NO_EXCEPTION
            self.error = machine.start(machine.handle, machine.q[RIP], 0, 0, 0)
        self.dirty.end(d)
        d[HFLAGS] &= ~LIFTED
        if why & _BETWEEN_BLOCKS:
            self._leave_rep()
        if single:
            if why & Why.LIMIT and w[Word.INSNS] != before:
                w[Word.WHY], w[Word.VECTOR], d[IS_INT] = Why.INTR, Vector.DB, 0
            w[Word.LIMIT] = limit
        return self.error

    def _leave_rep(self) -> None:
        """A REP whose last element is done is complete, though Unicorn comes back to find that out.

        That turn is not counted (native.closes_rep); a run that ends in front of it ends behind it.
        """
        w, q, bits = self.w, self.machine.q, self.state.bits()
        pc, end = self.state.hook_pc(), w[Word.LAST_PC] + (w[Word.LAST] >> 16)
        if q[_RCX] & 0xFFFF or not w[Word.LAST_PC] <= pc < end or end - pc > decode.LONGEST:
            return
        opcode = read_opcode(self.code(pc, end - pc), bits)
        if opcode is None or not opcode.is_rep_string or opcode.end != end - pc:
            return
        if not q[_RCX] & (1 << opcode.address_bits(bits)) - 1:
            q[RIP] = self.state.next_rip(opcode.end)

    def _go_on(self, single: bool) -> None:
        """Begin again where the run stopped for reasons of our own, with the RF of an IRET."""
        w, d = self.w, self.state.d
        if w[Word.RF_AT] == self.state.hook_pc():
            d[EFLAGS] |= _RF
        loaded = d[EFLAGS] & _RF
        w[: Word.REQUEST] = self._fresh
        if single:
            w[Word.PAUSE] = w[Word.LIMIT]
        if loaded:
            w[Word.IRET] = w[Word.PAUSE] = 1

    def _reraise(self) -> None:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    def uncount(self) -> None:
        """Take back the part of the last block that begins at CS:RIP: it did not run."""
        w = self.w
        done = self.state.hook_pc() - w[Word.LAST_PC]
        size, insns = w[Word.LAST] >> 16, w[Word.LAST] & 0xFFFF
        if not 0 <= done < size:
            return
        ran = self._instructions(w[Word.LAST_PC], done) if done else 0
        w[Word.INSNS] -= insns - ran
        w[Word.LAST] = done << 16 | ran

    def _instructions(self, linear: int, size: int) -> int:
        return len(_sizes(self.code(linear, size), self.state.bits()))

    def last_instruction(self) -> bytes:
        """The last instruction of the block that ended at CS:RIP."""
        first, after = self.w[Word.LAST_PC], self.state.hook_pc()
        code = self.code(first, after - first)
        sizes = _sizes(code, self.state.bits())
        return code[-sizes[-1] :] if sizes else code

    def code(self, linear: int, size: int) -> bytes:
        """Bytes at a linear address, which wraps at 4 GiB outside 64-bit mode."""
        return self.machine.code(self.state.cut(linear), size)

    def count(self, insns: int) -> None:
        """Count instructions that the host carried out; negative: take them back."""
        self.w[Word.INSNS] += insns

    # -- sites -------------------------------------------------------------------------------------

    def _translated(self, _uc: Any, current: Any, _previous: Any, _user: Any) -> None:
        """EDGE_GENERATED: a block was translated and is about to run for the first time."""
        try:
            block = current.contents
            self.lifting.translated(block.pc)
            self._tabulate(block.pc, block.size, block.icount)
            self._find_sites(block.pc, block.size)
        except BaseException as error:  # C is above us: keep it for enter()
            self.failure = error
            self._stop_for_new_sites()

    def _tabulate(self, pc: int, size: int, count: int) -> None:
        i = native.table_index(pc)
        known = self._slots[i + 1]
        if self._slots[i] == pc and known >> 16 & 0xFFFF == size and known & 0xFFFF != count:
            count = native.AMBIGUOUS
        self._slots[i] = pc
        self._slots[i + 1] = (self._rep_mask(pc, size) if count == 1 else 0) << 32 | (
            size << 16 | count
        )

    def _rep_mask(self, pc: int, size: int) -> int:
        """Which bits of RCX count for the REP that is this block; 0 if it is none."""
        bits = self.state.bits()
        opcode = read_opcode(self.code(pc, size), bits)
        if opcode is None or not opcode.is_rep_string:
            return 0
        width = opcode.address_bits(bits)
        return native.WHOLE_RCX if width == 64 else (1 << width) - 1

    def _find_sites(self, pc: int, size: int) -> None:
        code = self.code(pc, size)
        if not (self.extra or _SUSPECT.search(code)):
            return
        bits = self.state.bits()
        wanted = self.sites
        for instruction in decode.disassemble(code, pc, bits):
            opcode = read_opcode(instruction.raw, bits)
            if opcode is None:
                continue
            if opcode.code == PUSHF:
                self.pushf.add(instruction.address)
            elif opcode.code == IRET and instruction.address not in self._irets:
                self._new_irets.add(instruction.address)
            elif opcode.kind in wanted and instruction.address not in self._sites:
                self._new_sites.add(instruction.address)
        if self._new_sites or self._new_irets:
            self._stop_for_new_sites()

    @property
    def sites(self) -> frozenset[int]:
        """Kinds of opcodes that are stopped at wherever they stand."""
        return _INTERCEPTED | self.extra

    def _stop_for_new_sites(self) -> None:
        self.w[Word.WHY] |= Why.NEW_SITES
        self.w[Word.PAUSE] = 0
        self.machine.library.uc_emu_stop(self.machine.uc._uch)

    def _hook_new_sites(self) -> None:
        """Hook what the scan found. A guest that makes ever more sites starts the list afresh."""
        new = self._new_sites | self._new_irets
        if len(self._sites) + len(self._irets) + len(new) > _MOST_SITES:
            self._unhook([a for a in self._sites if a not in self._break_sites], self._sites)
            self._unhook(list(self._irets), self._irets)
        for address in self._new_sites:
            self._hook_site(address)
        for address in self._new_irets:
            self._irets[address] = self._hook_code(self.hooks.iret, address)
        for address in new:
            self._forget_code_at(address)
        self._new_sites.clear()
        self._new_irets.clear()

    def intercept(self, why: str, opcodes: AbstractSet[int]) -> None:
        """Make sites of these opcodes too (replaces the previous set of this reason)."""
        self._extra[why] = frozenset(opcodes)
        extra = frozenset().union(*self._extra.values())
        if extra - self.extra:
            self.machine.flush_translations()  # so that known code is looked through again
        self.extra = extra

    def _hook_site(self, address: int) -> None:
        if address not in self._sites:
            self._sites[address] = self._hook_code(self.hooks.site, address)

    def _hook_code(self, callback: int, address: int) -> int:
        return self._hook(library.HOOK_CODE, callback, address, address)

    def _forget_code_at(self, linear: int) -> None:
        page = self.machine.physical_page(self.state.cut(linear))
        if page is not None and page < self.machine.ram_size:
            self.machine.forget_code(page + (linear & 0xFFF), 1)

    def _unhook(self, addresses: Iterable[int], hooks: dict[int, int]) -> None:
        for address in addresses:
            self.machine.remove_hook(hooks.pop(address))
        self.machine.flush_translations()

    def break_at(self, addresses: frozenset[int]) -> None:
        """Stop in front of these linear addresses too (replaces the previous set).

        Hooks no longer wanted stay until they are met (``forget_site``): a debugger that steps off
        a breakpoint takes it away and puts it back at once. Code that wraps at 4 GiB is told to
        hooks by an address beyond.
        """
        self._break_sites = addresses | {a + (1 << 32) for a in addresses if a < 1 << 32}
        fresh = [address for address in self._break_sites if address not in self._sites]
        for address in fresh:
            self._hook_site(address)
        if fresh:
            self.machine.flush_translations()

    def forget_site(self) -> None:
        """A stop here had no reason: if no break is wanted at CS:RIP, unhook it."""
        pc = self.state.hook_pc()
        if pc in self._sites and pc not in self._break_sites:
            self._unhook([pc], self._sites)

    def pass_site(self) -> None:
        """Let the next run, of one instruction, execute the one at CS:RIP, site or not."""
        self.state.compute_flags()
        self.w[Word.SKIP] = self.state.hook_pc()

    def end_pass(self) -> None:
        """Forget ``pass_site``: its instruction ran, hooked or not."""
        self.w[Word.SKIP] = _NO_SITE

    # -- watching memory ---------------------------------------------------------------------------

    def watch(self, ranges: Iterable[Watched]) -> None:
        """Watch physical bytes. Replaces the previous set."""
        for hook in self._watch_hooks:
            self.machine.remove_hook(hook)
        self._watch_hooks.clear()
        w = self.w
        for slot in range(native.WATCH_SLOTS):
            at = Word.WATCH + 5 * slot
            w[at], w[at + 1], w[at + 2], w[at + 3], w[at + 4] = NEVER, 0, 0, 0, 0
        for slot, (bits, first, last, reads, page) in enumerate(ranges):
            at = Word.WATCH + 5 * slot
            w[at], w[at + 1], w[at + 2], w[at + 3], w[at + 4] = first, last, reads, page, bits
            kinds = library.HOOK_MEM_WRITE | (library.HOOK_MEM_READ if reads else 0)
            # The hook is chosen by an access's first byte.
            below, above = max(first - LONGEST_ACCESS + 1, page), min(last, page + 0xFFF)
            self._watch_hooks.append(self._hook(kinds, self.hooks.memory, below, above))
        self.machine.flush_translations()

    def undo_stores(self) -> None:
        """Take back what the instruction at CS:RIP has stored to watched bytes, last first."""
        for i in reversed(range(0, 4 * self.w[Word.MEMLOG_USED], 4)):
            address, what, old = self.log[i], self.log[i + 1], self.log[i + 3]
            if what >> 32 == library.MEM_WRITE:
                self.write_memory(address, old.to_bytes(8, "little")[: what & MASK32])

    # -- memory ------------------------------------------------------------------------------------

    def check_range(self, address: int, size: int) -> None:
        """AddressError outside RAM."""
        if address < 0 or size < 0 or address + size > self.machine.ram_size:
            raise AddressError(
                f"{address:#x}..{address + size:#x} is outside guest RAM "
                f"(0..{self.machine.ram_size:#x})"
            )

    def read(self, address: int, size: int) -> bytes:
        """Guest-physical bytes. AddressError outside RAM."""
        self.check_range(address, size)
        return self.machine.ram[address : address + size]

    def write_memory(self, address: int, data: bytes) -> None:
        """Write RAM behind the guest's back; translated code there is forgotten."""
        kept = self.lifting.writes(address, data)
        self.machine.ram[address : address + len(data)] = data
        self.dirty.wrote(address, len(data))
        if not kept:
            self.machine.forget_code(address, len(data))

    def close(self) -> None:
        """Free the machine."""
        self.machine.close()
