"""Telling others what runs: every instruction, when one place is passed, who writes to some bytes.

An observer is told of each entry into the guest, before and after, and of instructions that the
host carries out. Between the two the hooks fill columns. Must not know: what becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .. import Executed, Observation, Passing, Tracing, Writing
from . import library, native
from .native import Word
from .watches import LONGEST_ACCESS

if TYPE_CHECKING:
    import numpy

    from .core import Core

_GENERAL = 16


class Observer:
    """What an observer is told; each wants only some of it."""

    def entering(self, single: bool) -> None:
        """The guest is about to run; ``single``: one instruction."""

    def left(self) -> None:
        """It ran; what it did last may yet be taken back."""

    def settle(self) -> None:
        """The clock is right: hand on what ran."""

    def host(self) -> None:
        """The host has carried out the instruction at which the guest stood; settled before."""

    def walked(self, base: int, addresses: numpy.ndarray) -> None:
        """These instructions ran from that clock on, in a log of the core's own."""

    def written(self, address: int, size: int) -> None:
        """The host has written physical bytes, perhaps on the guest's behalf."""

    def close(self) -> None:
        """No more of it."""


class Observers:
    """All observers of a core."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.each: list[Observer] = []

    def __bool__(self) -> bool:
        return bool(self.each)

    def replace(self, wanted: Iterable[Observation]) -> None:
        """Others, or none."""
        self.settle()
        for each in self.each:
            each.close()
        self.each = [_observer(self._core, observation) for observation in wanted]

    def settle(self) -> None:
        """What has run is told now."""
        for each in self.each:
            each.settle()

    def entering(self, single: bool) -> None:
        """What ran is told, and what runs now is to be."""
        for each in self.each:
            each.settle()
            each.entering(single)

    def left(self) -> None:
        """The guest ran."""
        for each in self.each:
            each.left()

    def host(self) -> None:
        """The host carries out an instruction, which is not counted yet."""
        for each in self.each:
            each.settle()
            each.host()


class Tracer(Observer):
    """Every instruction in columns; each entry into the guest is a stretch of its own."""

    def __init__(self, core: Core, wanted: Tracing) -> None:
        import numpy as np

        self._core = core
        self._sink = wanted.sink
        self._heads = np.zeros(native.TRACE_ROWS, np.uint64)
        self._flags = np.zeros(native.TRACE_ROWS, np.uint32)
        self._values = np.zeros(native.TRACE_VALUES, np.uint64)
        self._writes = np.zeros((native.TRACE_WRITES, 4), np.uint64)
        core.w[Word.TRACE_HEADS] = self._heads.ctypes.data
        core.w[Word.TRACE_FLAGS] = self._flags.ctypes.data
        core.w[Word.TRACE_VALUES] = self._values.ctypes.data
        core.w[Word.TRACE_WRITES] = self._writes.ctypes.data
        self._hooks = [
            core.hook(library.HOOK_CODE, core.hooks.trace),
            core.hook(library.HOOK_MEM_WRITE, core.hooks.trace_write),
        ]
        core.machine.flush_translations()
        core.w[Word.TRACING] = 1
        self._open = False
        self._first = self._last = self._registers()
        self._base = self._pc = 0

    def _registers(self) -> tuple[int, ...]:
        state = self._core.state
        return (*state.q[:_GENERAL], state.rflags())

    def entering(self, single: bool) -> None:
        w = self._core.w
        self._open = True
        self._base, self._first = w[Word.INSNS], self._registers()
        w[Word.TRACE_ROWS] = w[Word.TRACE_VALUES_USED] = w[Word.TRACE_WRITES_USED] = 0
        w[Word.TRACE_AGAIN] = 0
        w[Word.TRACE_REGS : Word.TRACE_REGS + _GENERAL] = self._core.state.q[:_GENERAL]

    def left(self) -> None:
        self._last, self._pc = self._registers(), self._core.state.linear_pc()

    def settle(self) -> None:
        w = self._core.w
        rows, ran = w[Word.TRACE_ROWS], w[Word.INSNS] - self._base
        if not self._open:
            return
        self._open = False
        last = self._last
        if rows > ran:  # the last one was begun, and did nothing
            last = (*w[Word.TRACE_REGS : Word.TRACE_REGS + _GENERAL], int(self._flags[ran]))
            rows = ran
        if rows <= 0:
            return
        writes = self._writes[: w[Word.TRACE_WRITES_USED]]
        self._tell(
            last,
            self._heads[:rows],
            self._flags[:rows],
            self._values[: w[Word.TRACE_VALUES_USED]],
            writes[writes[:, 0] >> 8 < rows],
        )

    def _tell(self, last: tuple[int, ...], *columns: numpy.ndarray) -> None:
        import numpy as np

        heads, flags, values, writes = columns
        marked = int(np.bitwise_count(heads >> np.uint64(48)).sum())
        values = values[:marked].copy()  # without those of a row that did not happen
        copies = heads.copy(), flags.copy(), values, writes.copy()
        self._sink(Executed(self._base, self._first, last, *copies))

    def host(self) -> None:
        import numpy as np

        core = self._core
        self._base, self._first = core.clock, self._last
        self._last = self._registers()
        head = np.array([self._pc & (1 << 48) - 1], np.uint64)
        flags = np.array([self._first[_GENERAL]], np.uint64).astype(np.uint32)
        no_write = np.zeros((0, 4), np.uint64)
        self._tell(self._last, head, flags, np.zeros(0, np.uint64), no_write)
        self._pc = core.state.linear_pc()

    def close(self) -> None:
        core = self._core
        core.w[Word.TRACING] = 0
        for hook in self._hooks:
            core.machine.remove_hook(hook)
        core.machine.flush_translations()


class Finder(Observer):
    """When the instruction at one linear address runs."""

    def __init__(self, core: Core, wanted: Passing) -> None:
        self._core = core
        self._wanted = wanted
        self._open = self._single = False
        self._base = self._pc = 0

    def entering(self, single: bool) -> None:
        self._base, self._single = self._core.clock, single
        self._open = not self._core.w[Word.LOGGING]  # else the core wants the log itself
        if single:
            self._pc = self._core.state.linear_pc()
        elif self._open:
            self._core.blocks.begin_log()

    def left(self) -> None:
        if not self._single:
            self._pc = self._core.state.linear_pc()

    def settle(self) -> None:
        if not self._open:
            return
        self._open = False
        if not self._single:
            self._tell(self._base + self._core.blocks.find(self._wanted.pc))
            return
        if self._core.clock != self._base and self._pc == self._wanted.pc:
            self._wanted.sink([self._base])
        self._pc = self._core.state.linear_pc()

    def _tell(self, clocks: numpy.ndarray) -> None:
        if len(clocks):
            self._wanted.sink(clocks.tolist())

    def walked(self, base: int, addresses: numpy.ndarray) -> None:
        self._tell(base + (addresses == self._wanted.pc).nonzero()[0])

    def host(self) -> None:
        if self._pc == self._wanted.pc:
            self._wanted.sink([self._core.clock])
        self._pc = self._core.state.linear_pc()

    def close(self) -> None:
        self._core.w[Word.LOGGING] = 0


class Witness(Observer):
    """Who wrote last to some physical bytes."""

    def __init__(self, core: Core, wanted: Writing) -> None:
        self._core = core
        self._sink = wanted.sink
        w = core.w
        w[Word.WROTE_FIRST], w[Word.WROTE_END] = wanted.first, wanted.first + wanted.size
        w[Word.WROTE_CLOCK] = 0
        below = max(wanted.first - LONGEST_ACCESS + 1, 0)
        last = wanted.first + wanted.size - 1
        self._hook = core.hook(library.HOOK_MEM_WRITE, core.hooks.wrote, below, last)
        core.machine.flush_translations()

    def settle(self) -> None:
        w = self._core.w
        if w[Word.WROTE_CLOCK]:
            self._sink(w[Word.WROTE_CLOCK], w[Word.WROTE_COUNT])
            w[Word.WROTE_CLOCK] = 0

    def written(self, address: int, size: int) -> None:
        w = self._core.w
        if address < w[Word.WROTE_END] and w[Word.WROTE_FIRST] < address + size:
            self._sink(w[Word.INSNS], 0)

    def close(self) -> None:
        self._core.machine.remove_hook(self._hook)
        self._core.machine.flush_translations()


def _observer(core: Core, wanted: Observation) -> Observer:
    """The observer that an observation needs."""
    if isinstance(wanted, Tracing):
        return Tracer(core, wanted)
    if isinstance(wanted, Passing):
        return Finder(core, wanted)
    return Witness(core, wanted)
