"""The hooks' other half: the words they share with Python, and their compilation.

The hooks themselves are LLVM IR in native.ll, because they run millions of times a second, must
not enter Python, and the assembler already brings LLVM: compiling them takes some milliseconds.
dirty.ll and plain.ll are compiled with them.

The clock counts a block before it runs. A hook that stops a run first sets ``Word.PAUSE`` to 0, so
that BLOCK, which may be called once more, does not count a block that will not run. Must not know:
KVM, breakpoints as users see them, the debug registers' encoding.
"""

from __future__ import annotations

import ctypes
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ...x86.registers import RFLAGS
from .state import (
    CC_OP,
    CC_SRC,
    CONDITION_CODES,
    CR,
    CS_BASE,
    DF,
    DR7,
    DR7_CANARY,
    EFLAGS,
    HF_CS32,
    HF_CS64,
    HF_INHIBIT_IRQ,
    HFLAGS,
    IS_INT,
    OLD_EXCEPTION,
    RIP,
)


class Word:
    """Indexes into the shared block: plain numbers, because a step reads a dozen of them."""

    WHY = 0  # these are set anew by each entry: Why bits,
    WATCH_HIT = 1  # bits of the watched bytes touched (Core.watch),
    LAST_PC = 2  # the block counted last: linear address,
    LAST = 3  # and bytes << 16 | instructions,
    PAUSE = 4  # instruction count at which BLOCK looks around,
    IRET = 5  # 1: an IRET ran, BLOCK looks at the RF it loaded; 2: RF_AT holds for this block
    RF_AT = 6  # linear address of an instruction that an IRET's RF shields
    INSN_PC = 7  # the instruction about to run, where a hook in front of it kept INSN_FLAGS
    REQUEST = 8  # another thread asked for a stop
    INSNS = 9  # instructions retired
    LIMIT = 10  # the count that must not be passed
    DEADLINE = 11  # ns of CLOCK_MONOTONIC; 0 = none
    VECTOR = 12  # of the last INTR
    TABLE = 13  # address of the table: (pc, REP's mask << 32 | bytes << 16 | instructions)
    SKIP = 14  # the site at this linear address is passed
    STOPS_AT_IRET = 15  # somebody wants to see each IRET first
    WATCH_STOPS = 16  # an access to watched bytes ends the run: it is not of one instruction
    FLAGS = 17  # scratch for reading RFLAGS
    INSN_FLAGS = 18  # RFLAGS in front of the instruction at INSN_PC
    ENV = 19  # address of CPUX86State
    BAD_ADDRESS = 20  # of an access outside RAM: physical address and size
    BAD_SIZE = 21
    IO_PORT = 22
    IO_SIZE = 23
    IO_VALUE = 24  # written by OUT, read by IN
    IO_COUNT = 25
    TRACKS_SMC = 26  # 0 while every block is one instruction (TF)
    RAM = 27  # address and size of guest RAM
    RAM_SIZE = 28
    MEMLOG = 29  # address of the store log, and entries used
    MEMLOG_USED = 30
    BLOCK_INFO = 31  # 2 words: uc_tb as answered by uc_ctl
    TIMESPEC = 33  # 2 words
    WATCH = 35  # WATCH_SLOTS times (first, last, on reads, page, bits): see Core.watch
    LOG = 75  # address of the block log, entries used, and whether blocks are logged at all
    LOG_USED = 76
    LOGGING = 77
    KNOWN = 78  # address of the blocks decoded for the log; the one that was not: address and key
    NEW_PC = 79
    NEW_INFO = 80
    LOOK_AT = 81  # instruction count at which the deadline is looked at
    TRACING = 82  # every instruction is recorded
    TRACE_ROWS = 83  # used entries of its columns, and where these are
    TRACE_VALUES_USED = 84
    TRACE_WRITES_USED = 85
    TRACE_WRITES_AT_HEAD = 86  # writes in front of the last row's own
    TRACE_AGAIN = 87  # the next instruction is the last row's, once more
    TRACE_HEADS = 88
    TRACE_FLAGS = 89
    TRACE_VALUES = 90
    TRACE_WRITES = 91
    TRACE_REGS = 92  # 16 words: the general registers in front of the last row
    WROTE_FIRST = 108  # the physical bytes whose last writer is looked for, from here
    WROTE_END = 109  # up to there
    WROTE_CLOCK = 110  # the clock behind the block that wrote them last; 0 = none
    WROTE_COUNT = 111  # instructions in it
    COUNT = 112


class Step:
    """Indexes into the block of a plain step (plain.ll)."""

    UC = 0  # address of uc_engine,
    WORDS = 1  # and of the shared block
    BEFORE = 2  # the clock in front of the step,
    LIMIT = 3  # and Word.LIMIT, which the step has replaced if it was not plain
    ERROR = 4  # uc_err
    PC = 5  # linear address of CS:RIP behind the step
    BIT = 6  # for hflags during the step
    REGS = 7  # 18 words: struct kvm_regs
    COUNT = 25


DIRTY_ENTRIES = 64
"""Pages that one run may write without losing the log."""


class Dirty:
    """Indexes into the block of the dirty log (dirty.ll)."""

    USED = 0  # pages in the list
    LOST = 1
    MARKS = 2  # address of a byte for each page: it is in the list
    PAGES = 3  # of guest RAM
    FIRST = 4  # the list
    COUNT = FIRST + DIRTY_ENTRIES


PLAIN, STACKED, OTHER, NOT_BEGUN = range(4)
"""What came of a step: nothing else, nothing else unless it was a PUSHF, something, no step."""


class Why:
    """Bits: what asked for the stop; several may hold at once."""

    LIMIT = 1
    REQUEST = 2
    DEADLINE = 4
    SITE = 8
    INTR = 16
    WATCH = 32
    BAD_MEMORY = 64
    HALT = 128  # BLOCK was called once more after another hook's stop
    REWRITTEN = 256  # the guest overwrote the block it is executing; the clock must be put right
    NEW_SITES = 512
    NEW_BLOCK = 1024  # to be logged, and not decoded yet


TABLE_BITS = 16
AMBIGUOUS = 0
"""Instruction count of a (pc, size) that was seen with two meanings: asked anew every time."""

WHOLE_RCX = 1
"""In the place of a REP's mask: all 64 bits of RCX count."""

LOOK_EVERY = 4096
"""Instructions between two looks at the deadline: some 20 microseconds of guest time."""

MEMLOG_ENTRIES = 256

LOG_ENTRIES = 1 << 17
"""Blocks in the block log: a word each."""

TRACE_ROWS, TRACE_VALUES, TRACE_WRITES = 1 << 16, 1 << 18, 1 << 17
"""Entries in the columns of a trace: instructions, register values, writes."""

_LONGEST_BLOCK = 512
_MOST_STORES = 64
"""Instructions in a block of Unicorn's, and stores of one instruction."""

_LOGGED = 2
"""In ``Word.LOGGING``: the block at hand is in the log already."""

_TAG_SPACE, _TAG_MODE = (1 << 19) - 1, HF_INHIBIT_IRQ | HF_CS32 | HF_CS64
"""Bits of CR3 >> 12 and of hflags by which blocks at one address are told apart in the log."""

WATCH_SLOTS = 8
"""Four debug registers, each perhaps reached from two pages."""

_UC_CTL_TB_REQUEST_CACHE = 8
_UC_MEM_WRITE = 17
_UC_X86_REG_RFLAGS = 253

_CONSTANTS = {
    **{name: value for name, value in vars(Word).items() if name.isupper()},
    **{f"WHY_{name}": value for name, value in vars(Why).items() if name.isupper()},
    "INDEX_MASK": (1 << TABLE_BITS) - 1,
    "LOOK_EVERY": LOOK_EVERY,
    "MEMLOG_ENTRIES": MEMLOG_ENTRIES,
    "LOG_ENTRIES": LOG_ENTRIES,
    "LOGGED": _LOGGED,
    "TRACE_ROWS_FULL": TRACE_ROWS - _LONGEST_BLOCK,
    "TRACE_VALUES_FULL": TRACE_VALUES - 16 * _LONGEST_BLOCK,
    "TRACE_WRITES_FULL": TRACE_WRITES - _MOST_STORES * _LONGEST_BLOCK,
    "TRACE_WRITES_MOST": TRACE_WRITES,
    "DF": 4 * DF,
    "WATCH_SLOTS": WATCH_SLOTS,
    "REQUEST_CACHE": (_UC_CTL_TB_REQUEST_CACHE | 2 << 26 | 3 << 30) - (1 << 32),
    "MEM_WRITE": _UC_MEM_WRITE,
    "RFLAGS_ID": _UC_X86_REG_RFLAGS,
    "MONOTONIC": 6 if sys.platform == "darwin" else 1,
    "CONDITION_CODES": CONDITION_CODES,
    "CC_SRC": 8 * CC_SRC,
    "CC_OP": 4 * CC_OP,
    "EFLAGS": 4 * EFLAGS,
    "HFLAGS": 4 * HFLAGS,
    "PAGE_TABLES": 8 * (CR + 3),
    "TAG_SPACE": _TAG_SPACE,
    "TAG_MODE": _TAG_MODE,
    "INHIBIT_IRQ": HF_INHIBIT_IRQ,
    "RF": RFLAGS.RF,
    "TF": RFLAGS.TF,
    "NOWHERE": -1,
    **{f"STEP_{name}": value for name, value in vars(Step).items() if name.isupper()},
    **{f"DIRTY_{name}": value for name, value in vars(Dirty).items() if name.isupper()},
    "DIRTY_ENTRIES": DIRTY_ENTRIES,
    "PLAIN": PLAIN,
    "STACKED": STACKED,
    "OTHER": OTHER,
    "NOT_BEGUN": NOT_BEGUN,
    "DF_MASK": RFLAGS.DF,
    "DR7_CANARY": DR7_CANARY,
    "OTHER_FLAGS": ~(CONDITION_CODES | RFLAGS.DF | RFLAGS.TF) & 0xFFFFFFFF,
    "HF_INHIBIT_IRQ": HF_INHIBIT_IRQ,
    "HF_CS64": HF_CS64,
    "RIP": 8 * RIP,
    "CS_BASE": 8 * CS_BASE,
    "DR7": 4 * DR7,
    "IS_INT": 4 * IS_INT,
    "OLD_EXCEPTION": 4 * OLD_EXCEPTION,
}


class Hooks(NamedTuple):
    """Addresses of the compiled callbacks, in Unicorn's signatures, and of one helper."""

    block: int
    site: int
    iret: int
    intr: int
    memory: int
    unmapped: int
    store: int
    port_in: int
    port_out: int
    trace: int
    trace_write: int
    wrote: int
    dirty: int
    changed_pages: int  # these two are no callbacks: pages.py and plain.py call them
    step: int


def table_index(pc: int) -> int:
    """Place of a block's linear address in the table (as in ``block``)."""
    return ((pc ^ pc >> 12) & (1 << TABLE_BITS) - 1) * 2


def known_index(pc: int) -> int:
    """Place of a block's linear address among those decoded for the log (as in ``known``)."""
    return 2 * table_index(pc)


_SOURCES = ("native.ll", "dirty.ll", "plain.ll")


def source() -> str:
    """All that is compiled, with constants filled in."""
    here = Path(__file__)
    text = "".join(here.with_name(name).read_text() for name in _SOURCES)
    return re.sub(r"@([A-Z_0-9]+)@", lambda match: str(int(_CONSTANTS[match[1]])), text)


@cache
def compile_hooks(library: ctypes.CDLL) -> Hooks:
    """Compile the callbacks for this process."""
    import llvmlite.binding as binding

    llvm: Any = binding
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(
        opt=3, jit=True, cpu=llvm.get_host_cpu_name()
    )
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(source()), target)
    for name, function in _externals(library).items():
        llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
    engine.finalize_object()
    _alive.append(engine)
    return Hooks(*(engine.get_function_address(name) for name in Hooks._fields))


def _externals(library: ctypes.CDLL) -> dict[str, Any]:
    return {
        "uc_emu_start": library.uc_emu_start,
        "uc_emu_stop": library.uc_emu_stop,
        "uc_reg_read": library.uc_reg_read,
        "uc_ctl": library.uc_ctl,
        "clock_gettime": ctypes.CDLL(None).clock_gettime,
        "memcmp": ctypes.CDLL(None).memcmp,
    }


_alive: list[Any] = []
"""Execution engines: the compiled code lives as long as they do."""
