"""The few functions that run while the guest runs: compiled by numba, called by Unicorn.

Free run must not enter Python, so clock, budget, stop flag, breakpoints and watch hits are handled
here, over one block of 64-bit words (``Word``) shared with the engine. Every hook only counts,
compares, or asks for a stop; what a stop means is decided in Python afterwards.

Only BLOCK may stop a run at a place of its own choosing; others first raise ``Word.HALT``, so
that BLOCK never counts a block that will not run.
Must not know: KVM, breakpoints as users see them, the debug registers' encoding.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any, NamedTuple


class Word:
    """Indexes into the shared block: plain numbers, because a step reads a dozen of them."""

    HALT = 0  # a hook asked for a stop: BLOCK counts no more
    REQUEST = 1  # another thread asked for a stop
    WHY = 2  # Why bits of the current run
    TICKS = 3  # bytes of guest code executed: ties a stop to a place in a block
    INSNS = 4  # instructions retired
    INSN_LIMIT = 5
    DEADLINE = 6  # ns of CLOCK_MONOTONIC; 0 = none
    BLOCK_PC = 7  # linear address, bytes and instructions of the block counted last
    BLOCK_SIZE = 8
    BLOCK_INSNS = 9
    TABLE = 10  # address of the (pc, size << 16 | instructions) table
    SELF = 11  # address of this block
    SKIP = 12  # a site at this linear address is passed once
    VECTOR = 13  # of the last INTR
    WATCH_HIT = 14  # B bits of data breakpoints touched
    INSN_FLAGS = 15  # RFLAGS before the instruction at INSN_PC, kept by the monitor
    INSN_PC = 16
    ENV = 17  # address of CPUX86State
    BAD_ADDRESS = 18  # of an access outside RAM: physical address, size, value
    BAD_SIZE = 19
    BAD_VALUE = 20
    IO_PORT = 21
    IO_SIZE = 22
    IO_VALUE = 23  # written by OUT, read by IN
    IO_COUNT = 24
    TRACKS_SMC = 25  # 0 while every block is one instruction (TF)
    RAM = 26  # address and size of guest RAM
    RAM_SIZE = 27
    MEMLOG = 28  # address of the store log, entries used, capacity in entries
    MEMLOG_USED = 29
    MEMLOG_SIZE = 30
    BLOCK_INFO = 32  # 4 words: uc_tb as answered by uc_ctl
    TIMESPEC = 36  # 2 words
    WATCH = 40  # 4 slots of (first, last, on reads): physical bytes watched
    COUNT = 64


class Why:
    """Bits: what asked for the stop; several may hold at once."""

    LIMIT = 1
    REQUEST = 2
    DEADLINE = 4
    SITE = 8
    INTR = 16
    WATCH = 32
    BAD_MEMORY = 64
    REWRITTEN = 128  # the guest overwrote the block it is executing; the clock must be put right
    NEW_SITES = 256


TABLE_BITS = 16
AMBIGUOUS = 0xFFFF
"""Instruction count of a (pc, size) that was seen with two meanings: asked anew every time."""

_UC_CTL_TB_REQUEST_CACHE = 8
_REQUEST_CACHE = (_UC_CTL_TB_REQUEST_CACHE | 2 << 26 | 3 << 30) - (1 << 32)
_FLAGS_IN_ENV = 136
_CLOCK_MONOTONIC = 6 if sys.platform == "darwin" else 1
_TICKS_PER_LOOK = 13
"""The deadline is looked at every 2**13 bytes of code: a few microseconds of guest time."""


class Hooks(NamedTuple):
    """Addresses of the compiled callbacks, in Unicorn's signatures."""

    block: int
    site: int
    intr: int
    monitor: int
    memory: int
    unmapped: int
    store: int
    port_in: int
    port_out: int
    alive: tuple[Any, ...]
    """The compiled functions; their code lives as long as they do."""


def table_index(pc: int) -> int:
    """Slot of a block's linear address in the table (as in ``block``)."""
    return ((pc ^ pc >> 12) & (1 << TABLE_BITS) - 1) * 2


def _symbols(library: ctypes.CDLL) -> None:
    import llvmlite.binding as llvm

    def publish(name: str, function: Any) -> None:
        llvm.add_symbol(f"kvmdbg_{name}", ctypes.cast(function, ctypes.c_void_p).value)

    publish("uc_emu_stop", library.uc_emu_stop)
    publish("uc_ctl", library.uc_ctl)
    publish("clock_gettime", ctypes.CDLL(None).clock_gettime)


@cache
def compile_hooks(library: ctypes.CDLL) -> Hooks:
    """Compile the callbacks for this process (about a second, once)."""
    _symbols(library)
    import numba
    from numba.extending import intrinsic

    types: Any = numba.types
    cfunc: Any = numba.cfunc
    njit: Any = numba.njit
    u8, u32, u64, i32, i64 = types.uint8, types.uint32, types.uint64, types.int32, types.int64
    words = types.CPointer(u64)
    uc_emu_stop = types.ExternalFunction("kvmdbg_uc_emu_stop", i32(u64))
    uc_ctl = types.ExternalFunction("kvmdbg_uc_ctl", i32(u64, i32, u64, u64))
    clock_gettime = types.ExternalFunction("kvmdbg_clock_gettime", i32(i32, u64))

    def pointer_to(kind: Any) -> Any:
        @intrinsic
        def cast(typing_context: Any, address: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                target = context.get_value_type(types.CPointer(kind))
                return builder.inttoptr(arguments[0], target)

            return types.CPointer(kind)(u64), generate

        return cast

    as_words, as_u32, as_bytes = pointer_to(u64), pointer_to(u32), pointer_to(u8)

    # numba takes local numbers as constants; attributes it would look up at run time.
    halt, request, why, ticks, insns = Word.HALT, Word.REQUEST, Word.WHY, Word.TICKS, Word.INSNS
    insn_limit, deadline, vector, skip = Word.INSN_LIMIT, Word.DEADLINE, Word.VECTOR, Word.SKIP
    block_pc, block_size, block_insns = Word.BLOCK_PC, Word.BLOCK_SIZE, Word.BLOCK_INSNS
    table, me, env, watch = Word.TABLE, Word.SELF, Word.ENV, Word.WATCH
    watch_hit, insn_flags, insn_pc = Word.WATCH_HIT, Word.INSN_FLAGS, Word.INSN_PC
    bad, io, tracks_smc = Word.BAD_ADDRESS, Word.IO_PORT, Word.TRACKS_SMC
    ram, ram_size, block_info, timespec = Word.RAM, Word.RAM_SIZE, Word.BLOCK_INFO, Word.TIMESPEC
    memlog, memlog_used, memlog_size = Word.MEMLOG, Word.MEMLOG_USED, Word.MEMLOG_SIZE
    index_mask, ambiguous = (1 << TABLE_BITS) - 1, AMBIGUOUS
    request_cache, look, flags_in_env = _REQUEST_CACHE, _TICKS_PER_LOOK, _FLAGS_IN_ENV
    monotonic = _CLOCK_MONOTONIC
    no_skip = u64(0xFFFF_FFFF_FFFF_FFFF)
    zero, one = u64(0), u64(1)
    why_limit, why_request = u64(Why.LIMIT), u64(Why.REQUEST)
    why_deadline, why_site, why_intr = u64(Why.DEADLINE), u64(Why.SITE), u64(Why.INTR)
    why_watch, why_bad = u64(Why.WATCH), u64(Why.BAD_MEMORY)
    why_rewritten = u64(Why.REWRITTEN)

    @njit(types.void(u64, words, u64))
    def stop(uc: Any, u: Any, reason: Any) -> None:
        u[why] |= reason
        u[halt] = one
        uc_emu_stop(uc)

    @njit(u64(u64, u64, u64, words))
    def ask(uc: Any, pc: Any, size: Any, u: Any) -> Any:
        """Instruction count of a block that the table does not know."""
        info = u[me] + u64(block_info * 8)
        uc_ctl(uc, i32(request_cache), pc, info)
        tb = as_words(info)
        if (tb[1] >> u64(16)) & u64(0xFFFF) != size:
            return one  # not the cached block: a store was re-run alone (see below)
        count = tb[1] & u64(0xFFFF)
        slots = as_words(u[table])
        i = ((pc ^ (pc >> u64(12))) & u64(index_mask)) * u64(2)
        if not (slots[i] == pc and slots[i + one] == (size << u64(16)) | u64(ambiguous)):
            slots[i] = pc
            slots[i + one] = (size << u64(16)) | count
        return count

    @njit(types.boolean(words))
    def overdue(u: Any) -> Any:
        clock_gettime(i32(monotonic), u[me] + u64(timespec * 8))
        return u[timespec] * u64(1_000_000_000) + u[timespec + 1] > u[deadline]

    @njit(types.void(u64, u64, words))
    def rewritten(uc: Any, pc: Any, u: Any) -> None:
        """A store into the running block: the engine drops that block and re-runs the store alone.

        The whole block had been counted. If it began with the store, un-count it here; if not, the
        part before the store was executed: Python counts it.
        """
        if pc == u[block_pc]:
            u[ticks] -= u[block_size]
            u[insns] -= u[block_insns]
        else:
            stop(uc, u, why_rewritten)

    @cfunc(types.void(u64, u64, u32, words))
    def block(uc: Any, pc: Any, size32: Any, u: Any) -> None:
        """Count a block before it runs, or stop in front of it."""
        size = u64(size32)
        slots = as_words(u[table])
        i = ((pc ^ (pc >> u64(12))) & u64(index_mask)) * u64(2)
        known = slots[i + one]
        count = known & u64(0xFFFF)
        if slots[i] != pc or known >> u64(16) != size or count == u64(ambiguous):
            count = ask(uc, pc, size, u)
        inside = pc - u[block_pc]
        if (
            count == one
            and inside < u[block_size]
            and inside + size < u[block_size]
            and u[tracks_smc] != zero
            and (u[halt] | u[request]) == zero
        ):
            rewritten(uc, pc, u)
        then = u[ticks] + size
        if u[insns] + count > u[insn_limit] or (u[halt] | u[request]) != zero:
            if u[request] != zero:
                u[why] |= why_request
            elif u[halt] == zero:
                u[why] |= why_limit
            stop(uc, u, zero)
            return
        if (then ^ u[ticks]) >> u64(look) != zero and u[deadline] != zero and overdue(u):
            stop(uc, u, why_deadline)
            return
        u[ticks] = then
        u[insns] += count
        u[block_pc] = pc
        u[block_size] = size
        u[block_insns] = count

    @cfunc(types.void(u64, u64, u32, words))
    def site(uc: Any, pc: Any, size: Any, u: Any) -> None:
        """Stop in front of one instruction; pass it once where the engine says so."""
        if u[skip] == pc:
            u[skip] = no_skip
        elif u[halt] == zero:
            stop(uc, u, why_site)

    @cfunc(types.void(u64, u32, words))
    def intr(uc: Any, number: Any, u: Any) -> None:
        """An exception or INT n; Unicorn delivers nothing by itself."""
        u[vector] = u64(number)
        stop(uc, u, why_intr)

    @cfunc(types.void(u64, u64, u32, words))
    def monitor(uc: Any, pc: Any, size: Any, u: Any) -> None:
        """Before every instruction while data is watched: report the previous one's hit.

        Keeps RFLAGS, because a hook before a faulting instruction costs Unicorn the right flags.
        """
        if u[watch_hit] != zero:
            stop(uc, u, why_watch)
            return
        u[insn_pc] = pc
        u[insn_flags] = u64(as_u32(u[env] + u64(flags_in_env))[0])

    @cfunc(types.void(u64, i32, u64, i32, i64, words))
    def memory(uc: Any, kind: Any, address: Any, size: Any, value: Any, u: Any) -> None:
        """Note which watched bytes an access touches; the next boundary stops."""
        last = address + u64(size) - one
        for slot in range(4):
            w = watch + slot * 3
            if u[w] <= last and address <= u[w + 1] and (kind == 17 or u[w + 2] != zero):
                u[watch_hit] |= one << u64(slot)

    @cfunc(types.boolean(u64, i32, u64, i32, i64, words))
    def unmapped(uc: Any, kind: Any, address: Any, size: Any, value: Any, u: Any) -> Any:
        """An access outside RAM: remember it, refuse it."""
        u[why] |= why_bad
        u[bad] = address
        u[bad + 1] = u64(size)
        u[bad + 2] = u64(value)
        return False

    @cfunc(types.void(u64, i32, u64, i32, i64, words))
    def store(uc: Any, kind: Any, address: Any, size: Any, value: Any, u: Any) -> None:
        """Log a store (or a load, kind 16) of one instruction that may be taken back."""
        n = u[memlog_used]
        if n >= u[memlog_size]:
            return
        entry = as_words(u[memlog] + n * u64(32))
        entry[0] = address
        entry[1] = u64(size) | (u64(kind) << u64(32))
        entry[2] = u64(value)
        if address + u64(8) <= u[ram_size]:
            old = as_bytes(u[ram] + address)
            word = zero
            for k in range(8):
                word |= u64(old[k]) << u64(8 * k)
            entry[3] = word
        u[memlog_used] = n + one

    @cfunc(u32(u64, u32, i32, words))
    def port_in(uc: Any, port: Any, size: Any, u: Any) -> Any:
        u[io] = u64(port)
        u[io + 1] = u64(size)
        u[io + 3] += one
        return u32(u[io + 2])

    @cfunc(types.void(u64, u32, i32, u32, words))
    def port_out(uc: Any, port: Any, size: Any, value: Any, u: Any) -> None:
        u[io] = u64(port)
        u[io + 1] = u64(size)
        u[io + 2] = u64(value)
        u[io + 3] += one

    made: Any = (block, site, intr, monitor, memory, unmapped, store, port_in, port_out)
    addresses: list[int] = [function.address for function in made]
    fields: list[Any] = [*addresses, made]
    return Hooks(*fields)
