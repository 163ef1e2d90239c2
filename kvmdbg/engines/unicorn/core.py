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
from itertools import accumulate
from typing import Any

from ...errors import AddressError
from ...x86 import decode
from ...x86.opcode import (
    IN_OUT,
    INS_OUTS,
    INTO,
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
from ...x86.registers import RFLAGS
from ...x86.vectors import Vector
from . import library, native
from .blocks import Blocks, sizes
from .dirty import DirtyLog
from .lifting import LIFTED, Lifting
from .native import Why, Word
from .observing import Observers
from .pages import RamPages
from .state import EFLAGS, HFLAGS, IS_INT, NO_EXCEPTION, OLD_EXCEPTION, RIP, CpuState
from .watches import Watches

NEVER = (1 << 63) - 1
_NO_SITE = (1 << 64) - 1
_MOST_SITES = 512
_RCX = 1
_RF = int(RFLAGS.RF)
_BETWEEN_BLOCKS = Why.LIMIT | Why.DEADLINE | Why.REQUEST | Why.NEW_BLOCK
_AGAIN = Why.NEW_SITES | Why.REWRITTEN | Why.NEW_BLOCK

# A block is decoded only if some byte in it could begin one of these.
_SUSPECT = re.compile(
    rb"[\x6c-\x6f\xe4-\xe7\xec-\xef\x9c\xce\xcf]|\x0f[\x01\x05\x07\x20-\x23\x30-\x34\xc7]",
    re.DOTALL,
)
_INTERCEPTED = frozenset(
    (
        *(MOV_FROM_DR, MOV_TO_DR, SYSCALL, SYSENTER, SYSRET, *IN_OUT, *INS_OUTS),
        INTO,  # Unicorn asks for OF as an earlier block left it
        MOV_TO_CR,  # the tables in use are other ones, which the dirty log must know
        *(RDTSC, RDTSCP, RDMSR, WRMSR, MOV_FROM_CR8, MOV_TO_CR8, RDRAND, RDSEED),
    )
)


class Core:
    """One Unicorn machine, its hooks, its clock and its sites."""

    def __init__(self, ram_size: int) -> None:
        self.machine = library.Machine(ram_size)
        self.state = CpuState(self.machine)
        self._block = array("Q", bytes(8 * Word.COUNT))
        self._log = array("Q", bytes(32 * native.MEMLOG_ENTRIES))
        self.w = memoryview(self._block)
        self.log = memoryview(self._log)
        self.blocks = Blocks(self.machine, self.state, self.w)
        self.error = 0
        self.pushf: set[int] = set()
        """Linear addresses of PUSHF instructions seen so far."""
        self.failure: BaseException | None = None
        self._sites: dict[int, int] = {}  # linear address -> hook
        self.break_sites: frozenset[int] = frozenset()
        """Those that the owner asked for."""
        self._irets: dict[int, int] = {}  # the same for IRETs, which need not be stopped at
        self._new_sites: set[int] = set()
        self._new_irets: set[int] = set()
        self.extra: frozenset[int] = frozenset()
        """Opcodes that are sites only now and then."""
        self._extra: dict[str, frozenset[int]] = {}
        self.watches = Watches(self)
        self.observers = Observers(self)
        self._prepare_words()
        self._install_hooks()
        self.pages = RamPages(self.machine, self.hooks)
        self.dirty = DirtyLog(self)
        self.lifting = Lifting(self.machine, self.state)

    def _prepare_words(self) -> None:
        w, machine = self.w, self.machine
        w[Word.LIMIT] = NEVER
        self._fresh = memoryview(array("Q", [0, 0, 0, 0, NEVER, 0, _NO_SITE, _NO_SITE]))
        w[Word.SKIP] = _NO_SITE
        w[Word.ENV] = machine.env_address
        w[Word.RAM] = machine.ram_address
        w[Word.RAM_SIZE] = machine.ram_size
        w[Word.MEMLOG] = self._log.buffer_info()[0]
        w[Word.TRACKS_SMC] = 1

    def _install_hooks(self) -> None:
        self.hooks = native.compile_hooks(self.machine.library)
        self.user = self._block.buffer_info()[0]
        self.hook(library.HOOK_BLOCK, self.hooks.block)
        self.hook(library.HOOK_INTR, self.hooks.intr)
        self.hook(library.HOOK_MEM_UNMAPPED, self.hooks.unmapped)
        self.hook(library.HOOK_INSN, self.hooks.port_in, insn=library.INSN_IN)
        self.hook(library.HOOK_INSN, self.hooks.port_out, insn=library.INSN_OUT)
        self.machine.add_edge_hook(self._translated)

    def hook(self, kind: int, callback: int, first: int = 1, last: int = 0, insn: int = 0) -> int:
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
        w[Word.LOOK_AT] = w[Word.INSNS] + native.LOOK_EVERY
        first = NEVER if deadline is None else w[Word.LOOK_AT]
        self._fresh[Word.PAUSE] = 1 if w[Word.LOGGING] else max(min(first, w[Word.LIMIT]), 1)

    def enter(self, single: bool = False) -> int:
        """Run until something asks for a stop; ``Word.WHY`` says what. Returns the uc_err.

        ``single`` says that TF is set, so that each block is one instruction. Unicorn's MOV SS
        holds the trap back; here it is made all the same, and who steps looks for the shadow.
        """
        if not self.observers:
            return self._enter(single)
        self.observers.entering(single)
        self._fresh[Word.PAUSE] = 1  # look at each block
        error = self._enter(single)
        self.observers.left()
        return error

    def _enter(self, single: bool) -> int:
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
            if why & Why.NEW_BLOCK:
                self._leave_rep()
                if not self.blocks.learn():
                    break
            if why & Why.REWRITTEN and not self._jumped_into_one():
                self.uncount()
                self.observers.entering(single)
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
        ran = len(sizes(self.code(w[Word.LAST_PC], done), self.state.bits())) if done else 0
        w[Word.INSNS] -= insns - ran
        self.blocks.uncount(insns - ran)
        w[Word.LAST] = done << 16 | ran

    def _jumped_into_one(self) -> bool:
        """CS:RIP is in the last block, but inside one of its instructions: the guest went there."""
        w = self.w
        code = self.code(w[Word.LAST_PC], w[Word.LAST] >> 16)
        starts = accumulate(sizes(code, self.state.bits()), initial=0)
        return self.state.hook_pc() - w[Word.LAST_PC] not in starts

    def last_instruction(self) -> bytes:
        """The last instruction of the block that ended at CS:RIP."""
        first, after = self.w[Word.LAST_PC], self.state.hook_pc()
        code = self.code(first, after - first)
        found = sizes(code, self.state.bits())
        return code[-found[-1] :] if found else code

    def code(self, linear: int, size: int) -> bytes:
        """Bytes at a linear address, which wraps at 4 GiB outside 64-bit mode."""
        return self.machine.code(self.state.cut(linear), size)

    def count(self, insns: int) -> None:
        """Count instructions that the host carried out; negative: take them back."""
        if insns > 0:
            self.observers.host()
        self.w[Word.INSNS] += insns
        self.blocks.uncount(-insns)

    # -- sites -------------------------------------------------------------------------------------

    def _translated(self, _uc: Any, current: Any, _previous: Any, _user: Any) -> None:
        """EDGE_GENERATED: a block was translated and is about to run for the first time."""
        try:
            block = current.contents
            self.lifting.translated(block.pc)
            code = self.code(block.pc, block.size)
            self.blocks.add(block.pc, block.size, block.icount, code)
            self._find_sites(block.pc, code)
        except BaseException as error:  # C is above us: keep it for enter()
            self.failure = error
            self._stop_for_new_sites()

    def _find_sites(self, pc: int, code: bytes) -> None:
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
            self._unhook([a for a in self._sites if a not in self.break_sites], self._sites)
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
        return self.hook(library.HOOK_CODE, callback, address, address)

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
        self.break_sites = addresses | {a + (1 << 32) for a in addresses if a < 1 << 32}
        fresh = [address for address in self.break_sites if address not in self._sites]
        for address in fresh:
            self._hook_site(address)
        if fresh:
            self.machine.flush_translations()

    def forget_site(self) -> None:
        """A stop here had no reason: if no break is wanted at CS:RIP, unhook it."""
        pc = self.state.hook_pc()
        if pc in self._sites and pc not in self.break_sites:
            self._unhook([pc], self._sites)

    def pass_site(self) -> None:
        """Let the next run, of one instruction, execute the one at CS:RIP, site or not."""
        self.state.compute_flags()
        self.w[Word.SKIP] = self.state.hook_pc()

    def end_pass(self) -> None:
        """Forget ``pass_site``: its instruction ran, hooked or not."""
        self.w[Word.SKIP] = _NO_SITE

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
        for each in self.observers.each:
            each.written(address, len(data))
        kept = self.lifting.writes(address, data)
        self.machine.ram[address : address + len(data)] = data
        self.dirty.wrote(address, len(data))
        if not kept:
            self.machine.forget_code(address, len(data))

    def close(self) -> None:
        """Free the machine; who observed it is let go."""
        self.observers.each.clear()
        self.pages.close()
        self.machine.close()
