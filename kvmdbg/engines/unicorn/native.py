"""The hooks' other half: the words they share with Python, and their compilation.

The hooks themselves are LLVM IR in native.ll, because they run millions of times a second, must
not enter Python, and the assembler already brings LLVM: compiling them takes some milliseconds.

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

from .state import CC_OP, CC_SRC, CONDITION_CODES


class Word:
    """Indexes into the shared block: plain numbers, because a step reads a dozen of them."""

    WHY = 0  # these five are set anew by each entry: Why bits,
    WATCH_HIT = 1  # B bits of data breakpoints touched,
    LAST_PC = 2  # the block counted last: linear address,
    LAST = 3  # and bytes << 16 | instructions,
    PAUSE = 4  # instruction count at which BLOCK looks around
    REQUEST = 5  # another thread asked for a stop
    INSNS = 6  # instructions retired
    LIMIT = 7  # the count that must not be passed
    DEADLINE = 8  # ns of CLOCK_MONOTONIC; 0 = none
    VECTOR = 9  # of the last INTR
    TABLE = 10  # address of the (pc, bytes << 16 | instructions) table
    SKIP = 11  # the site at this linear address is passed
    FLAGS = 12  # scratch for reading RFLAGS
    INSN_FLAGS = 13  # RFLAGS before the instruction at INSN_PC, kept by the monitor
    INSN_PC = 14
    ENV = 15  # address of CPUX86State
    BAD_ADDRESS = 16  # of an access outside RAM: physical address and size
    BAD_SIZE = 17
    IO_PORT = 18
    IO_SIZE = 19
    IO_VALUE = 20  # written by OUT, read by IN
    IO_COUNT = 21
    TRACKS_SMC = 22  # 0 while every block is one instruction (TF)
    RAM = 23  # address and size of guest RAM
    RAM_SIZE = 24
    MEMLOG = 25  # address of the store log, and entries used
    MEMLOG_USED = 26
    BLOCK_INFO = 27  # 2 words: uc_tb as answered by uc_ctl
    TIMESPEC = 29  # 2 words
    WATCH = 31  # 8 slots of (first, last, on reads, page): physical bytes watched (Core.watch)
    COUNT = 63


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


TABLE_BITS = 16
AMBIGUOUS = 0
"""Instruction count of a (pc, size) that was seen with two meanings: asked anew every time."""

LOOK_EVERY = 4096
"""Instructions between two looks at the deadline: some 20 microseconds of guest time."""

MEMLOG_ENTRIES = 256

_UC_CTL_TB_REQUEST_CACHE = 8
_UC_MEM_WRITE = 17
_UC_X86_REG_RFLAGS = 253

_CONSTANTS = {
    **{name: value for name, value in vars(Word).items() if name.isupper()},
    **{f"WHY_{name}": value for name, value in vars(Why).items() if name.isupper()},
    "INDEX_MASK": (1 << TABLE_BITS) - 1,
    "LOOK_EVERY": LOOK_EVERY,
    "MEMLOG_ENTRIES": MEMLOG_ENTRIES,
    "REQUEST_CACHE": (_UC_CTL_TB_REQUEST_CACHE | 2 << 26 | 3 << 30) - (1 << 32),
    "MEM_WRITE": _UC_MEM_WRITE,
    "RFLAGS_ID": _UC_X86_REG_RFLAGS,
    "MONOTONIC": 6 if sys.platform == "darwin" else 1,
    "CONDITION_CODES": CONDITION_CODES,
    "CC_SRC": 8 * CC_SRC,
    "CC_OP": 4 * CC_OP,
}


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


def table_index(pc: int) -> int:
    """Place of a block's linear address in the table (as in ``block``)."""
    return ((pc ^ pc >> 12) & (1 << TABLE_BITS) - 1) * 2


def source() -> str:
    """native.ll with its constants filled in."""
    text = Path(__file__).with_name("native.ll").read_text()
    return re.sub(r"@([A-Z_]+)@", lambda match: str(_CONSTANTS[match[1]]), text)


@cache
def compile_hooks(library: ctypes.CDLL) -> Hooks:
    """Compile the callbacks for this process."""
    import llvmlite.binding as binding

    llvm: Any = binding
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(opt=3, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(source()), target)
    for name, function in _externals(library).items():
        llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
    engine.finalize_object()
    _alive.append(engine)
    return Hooks(*(engine.get_function_address(name) for name in Hooks._fields))


def _externals(library: ctypes.CDLL) -> dict[str, Any]:
    return {
        "uc_emu_stop": library.uc_emu_stop,
        "uc_reg_read": library.uc_reg_read,
        "uc_ctl": library.uc_ctl,
        "clock_gettime": ctypes.CDLL(None).clock_gettime,
    }


_alive: list[Any] = []
"""Execution engines: the compiled code lives as long as they do."""
