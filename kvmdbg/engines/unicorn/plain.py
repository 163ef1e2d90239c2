"""A host's single-step with nothing else to it, made and looked at without leaving machine code.

Most steps are like that. ``plain.ll`` enters the guest for one instruction, sees whether anything
but the host's own trap came of it, and leaves the registers ready; this file calls it. Must not
know: what else a step may be (vcpu.py), or when one may be made this way (engine.py).
"""

from __future__ import annotations

import ctypes
import struct
from array import array
from functools import partial
from typing import Final

from ...exits import DebugExit
from ...guestdebug import BS_DR6
from ...x86.registers import Regs
from .core import Core
from .native import OTHER, STACKED, Step, Word

_MOST_EXITS: Final = 4096
_NEXT, _PREVIOUS = 1, 2
_unpack = struct.Struct("<18Q").unpack_from
_regs = Regs._make


class PlainSteps:
    """The plain steps of one core."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._words = array("Q", bytes(8 * Step.COUNT))
        self._s = memoryview(self._words)
        self._s[Step.UC], self._s[Step.WORDS] = core.machine.handle, core.user
        self._raw = self._s[Step.REGS : Step.REGS + 18]
        step = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(core.hooks.step)
        self._step = partial(step, ctypes.c_void_p(self._words.buffer_info()[0]))
        self._exits: dict[int, DebugExit] = {}
        self._dr7 = -1
        self._lifted = 0

    def begin(self, dr7: int) -> None:
        """Plain steps follow, under this effective DR7."""
        dirty, lifted = self._core.dirty, self._core.lifting.bit(single=True)
        dirty.begin()
        self._s[Step.BIT] = dirty.bit | lifted
        self._lifted = _NEXT if lifted else 0
        if not dirty.bit:
            dirty.lose()
        if dr7 != self._dr7:
            self._dr7 = dr7
            self._exits.clear()

    def make(self) -> DebugExit | bool:
        """One step. True: it was not plain, and is to be looked at; False: nothing was done."""
        if self._lifted:
            self._mind_lifted()
        came = self._step()
        if came > STACKED:
            return self._finish() if came == OTHER else False
        s, core = self._s, self._core
        if came == STACKED and core.w[Word.LAST_PC] in core.pushf:
            return True
        pc = s[Step.PC]
        return self._exits.get(pc) or self._exit(pc)

    def _mind_lifted(self) -> None:
        """One step has the INT3 out of its way; a second one finds that it did not come back."""
        if self._lifted == _NEXT:
            self._lifted = _PREVIOUS
            return
        self._lifted = 0
        self._s[Step.BIT] = self._core.dirty.bit
        self._core.lifting.settle()

    def _finish(self) -> bool:
        """Something else came of it: what Core.enter does behind the engine's start."""
        s, core = self._s, self._core
        core.error = s[Step.ERROR]
        core.finish(True, s[Step.BEFORE], s[Step.LIMIT])
        return True

    def _exit(self, pc: int) -> DebugExit:
        """Exits are frozen: a place that is stepped to again has the same one."""
        if len(self._exits) >= _MOST_EXITS:
            self._exits.clear()
        exit_ = self._exits[pc] = DebugExit(1, pc, BS_DR6, self._dr7)
        return exit_

    def regs(self) -> Regs:
        """The registers behind the last plain step, as KVM_GET_REGS shows them."""
        return _regs(_unpack(self._raw))
