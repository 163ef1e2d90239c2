"""What is known of each block of translated code, and a log of the blocks that ran.

Unicorn tells of a block once, when it is translated; its instruction count goes into the table in
which the native BLOCK hook looks it up. While blocks are logged, that hook also wants to know where
each instruction of a block begins: it stops in front of one that it has not met, and Python decodes
it. The log then holds one word for each block that ran. Must not know: why somebody logs.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from ...x86 import decode
from ...x86.opcode import STI, read_opcode
from ...x86.registers import MASK32
from . import native
from .library import Machine
from .native import Word
from .state import CpuState

if TYPE_CHECKING:
    import numpy

_MOST: Final = 1 << 16
"""Kinds of blocks that are kept; beyond, all are learnt anew."""
_SHADOW: Final = 1 << 31


@lru_cache(maxsize=4096)
def sizes(code: bytes, bits: int) -> tuple[int, ...]:
    """Bytes of each instruction in ``code``."""
    return tuple(instruction.size for instruction in decode.disassemble(code, 0, bits))


class Ran(NamedTuple):
    """Instructions that ran one after the other.

    ``addresses`` are linear (uint64); ``shadowed`` the places of those that held back a trap.
    """

    addresses: numpy.ndarray
    shadowed: list[int]


class Blocks:
    """The blocks of one machine."""

    def __init__(self, machine: Machine, state: CpuState, words: memoryview) -> None:
        self._machine = machine
        self._state = state
        self._w = words
        self._table = array("Q", bytes(16 << native.TABLE_BITS))
        self._slots = memoryview(self._table)
        self._known = array("Q")
        self._entries = array("Q")
        self._starts: list[int] = []
        """Addresses of the instructions of all kinds of blocks, one kind after the other."""
        self._first: list[int] = []
        self._ends_with_sti: list[bool] = []
        self._learnt = (0, 0, 0)
        words[Word.TABLE] = self._table.buffer_info()[0]

    # -- a block is translated ---------------------------------------------------------------------

    def add(self, pc: int, size: int, count: int, raw: bytes) -> None:
        """A block of ``count`` instructions was translated from ``raw``."""
        i = native.table_index(pc)
        known = self._slots[i + 1]
        if self._slots[i] == pc and known >> 16 & 0xFFFF == size and known & 0xFFFF != count:
            count = native.AMBIGUOUS
        self._slots[i] = pc
        self._slots[i + 1] = (self._rep_mask(raw) if count == 1 else 0) << 32 | size << 16 | count
        if self._known:
            self._known[native.known_index(pc) + 1] = 0  # it may have other bytes now

    def _rep_mask(self, raw: bytes) -> int:
        """Which bits of RCX count for the REP that is this block; 0 if it is none."""
        bits = self._state.bits()
        opcode = read_opcode(raw, bits)
        if opcode is None or not opcode.is_rep_string:
            return 0
        width = opcode.address_bits(bits)
        return native.WHOLE_RCX if width == 64 else (1 << width) - 1

    # -- the log -----------------------------------------------------------------------------------

    def begin_log(self) -> None:
        """Log each block from now on; a run that fills the log ends between two blocks."""
        if not self._known:
            self._known = array("Q", bytes(32 << native.TABLE_BITS))
            self._entries = array("Q", bytes(8 * native.LOG_ENTRIES))
            self._w[Word.KNOWN] = self._known.buffer_info()[0]
            self._w[Word.LOG] = self._entries.buffer_info()[0]
        elif len(self._first) > _MOST:
            self._forget()
        self._w[Word.LOG_USED], self._w[Word.LOGGING] = 0, 1
        self._learnt = (0, 0, -1)

    def _forget(self) -> None:
        memoryview(self._known).cast("B")[:] = bytes(32 << native.TABLE_BITS)
        self._starts.clear()
        self._first.clear()
        self._ends_with_sti.clear()

    def learn(self) -> bool:
        """Decode the block that the run has stopped in front of; False if that cannot be done.

        What Unicorn executes and capstone does not know as an instruction is not guessed at; nor is
        a block that Unicorn translates each time anew.
        """
        pc, info = self._w[Word.NEW_PC], self._w[Word.NEW_INFO]
        before, self._learnt = self._learnt, (pc, info, self._w[Word.INSNS])
        if before == self._learnt:
            return False
        size, count = info >> 16 & 0x7FFF, info & 0xFFFF
        bits, raw = self._state.bits(), self._machine.code(pc, size)
        found = sizes(raw, bits)
        if len(found) != count or not all(i.is_code for i in decode.disassemble(raw, pc, bits)):
            return False
        mask = -1 if bits == 64 else MASK32
        at = native.known_index(pc)
        for i, word in enumerate((pc, info, len(self._first))):
            self._known[at + i] = word
        self._first.append(len(self._starts))
        self._starts += [pc + place & mask for place in accumulate(found[:-1], initial=0)]
        last = read_opcode(raw[-found[-1] :], bits)
        self._ends_with_sti.append(last is not None and last.code == STI)
        return True

    def uncount(self, insns: int) -> None:
        """So many instructions at the end of the last block did not run."""
        used = self._w[Word.LOG_USED]
        if self._w[Word.LOGGING] and used:
            self._entries[used - 1] -= insns

    def find(self, address: int) -> numpy.ndarray:
        """End the log; which of the instructions in it, counted from 0, was at ``address``."""
        import numpy as np

        self._w[Word.LOGGING] = 0
        log = np.frombuffer(self._entries, np.uint64, self._w[Word.LOG_USED])
        counts = (log & np.uint64(0xFFFF)).astype(np.int64)
        begins = np.cumsum(counts) - counts
        kinds = (log >> np.uint64(32)).astype(np.int64)
        found = [np.zeros(0, np.int64)]
        for place in np.flatnonzero(np.array(self._starts, np.uint64) == np.uint64(address)):
            kind = int(np.searchsorted(self._first, place, side="right")) - 1
            inside = int(place) - self._first[kind]
            found.append(begins[(kinds == kind) & (counts > inside)] + inside)
        return np.sort(np.concatenate(found))

    def end_log(self) -> Ran:
        """Which instructions ran since :meth:`begin_log`."""
        import numpy as np

        used = self._w[Word.LOG_USED]
        self._w[Word.LOGGING] = 0
        log = np.frombuffer(self._entries, np.uint64, used)
        kinds = (log >> np.uint64(32)).astype(np.int64)
        counts = (log & np.uint64(0xFFFF)).astype(np.int64)
        ends = np.cumsum(counts)
        first = np.array(self._first, np.int64)[kinds]
        places = np.arange(int(ends[-1]) if used else 0) + np.repeat(first - ends + counts, counts)
        shadows = np.flatnonzero(log & np.uint64(_SHADOW)).tolist()
        held = [e for e in shadows if e and not self._ends_with_sti[kinds[e - 1]]]
        shadowed = [int(ends[e - 1]) - 1 for e in held]
        return Ran(np.array(self._starts, np.uint64)[places], shadowed)
