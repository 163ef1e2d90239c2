"""Many single steps at once: run freely, log the blocks, and read the steps from the log.

Only what is plain is run so. In front of anything else (a fault, INT n, HLT, a site, a watched
byte) the guest is left as it was, for a step of its own. Must not know: limits of the caller's, or
what becomes of the steps.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from ...errors import EngineBroken
from ...x86.vectors import Vector
from .. import Steps
from . import raised
from .library import UC_ERR_INSN_INVALID
from .native import Why, Word
from .state import CR, EFLAGS, IS_INT, RIP

if TYPE_CHECKING:
    import numpy

    from .vcpu import Vcpu

_TF = 1 << 8
_BETWEEN_BLOCKS = Why.LIMIT | Why.DEADLINE | Why.REQUEST | Why.NEW_BLOCK


def walk(vcpu: Vcpu, count: int, deadline: int, stops: AbstractSet[int]) -> Steps:
    """Up to ``count`` plain steps, to the first that is not plain, or in front of ``stops``.

    ``deadline`` is a CLOCK_MONOTONIC time in ns.
    """
    core, state = vcpu.core, vcpu.state
    before, places = core.clock, core.break_sites
    core.break_at(places | stops)
    core.blocks.begin_log()
    core.limit(before + count, deadline)
    state.d[EFLAGS] &= ~_TF  # the host's; the guest's own would have ended the last step
    vcpu.cr2 = state.q[CR + 2]
    try:
        _leave_in_front(vcpu, vcpu.run(single=False))
    finally:
        addresses, shadowed = core.blocks.end_log()
        state.d[EFLAGS] |= _TF
        core.limit(None, None)
        core.break_at(places)
    if len(addresses) != core.clock - before:
        raise EngineBroken(f"{len(addresses):,} instructions in the log, not the clock's number")
    for each in core.observers.each:
        each.walked(before, addresses)
    return _steps(vcpu, before, addresses, shadowed)


def _steps(vcpu: Vcpu, before: int, addresses: numpy.ndarray, shadowed: list[int]) -> Steps:
    """After each instruction a step ends, at the next one; but not inside a shadow."""
    import numpy as np

    pcs = np.append(addresses[1:], np.uint64(vcpu.state.linear_pc()))[: len(addresses)]
    clocks = np.arange(before + 1, before + 1 + len(addresses))
    if vcpu.debug.profile.mov_ss_holds_trap:
        if len(pcs) and vcpu.in_mov_ss_shadow():
            shadowed = [*shadowed, len(pcs) - 1]
        pcs, clocks = np.delete(pcs, shadowed), np.delete(clocks, shadowed)
    return Steps(pcs, clocks, vcpu.arming.dr7)


def _leave_in_front(vcpu: Vcpu, error: int) -> None:
    """What ended the run did not happen: the guest stands in front of that instruction."""
    core, w = vcpu.core, vcpu.core.w
    why = w[Word.WHY]
    if why & Why.INTR and vcpu.state.d[IS_INT]:
        _unrun(vcpu)
    elif why & Why.INTR and w[Word.VECTOR] == Vector.DB:
        vcpu.trapped()
    elif why & (Why.INTR | Why.BAD_MEMORY) or error == UC_ERR_INSN_INVALID:
        core.uncount()
        raised.restore_flags(vcpu)
        vcpu.state.q[CR + 2] = vcpu.cr2
    elif why & (Why.SITE | Why.WATCH):
        core.uncount()
        if why & Why.WATCH:
            core.watches.undo_stores()
    elif not why & _BETWEEN_BLOCKS:
        _unrun(vcpu)  # HLT
    if w[Word.RF_AT] == vcpu.state.hook_pc():
        vcpu.set_rf()


def _unrun(vcpu: Vcpu) -> None:
    """Back in front of an instruction that did nothing but move RIP."""
    vcpu.state.q[RIP] -= len(vcpu.core.last_instruction())
    vcpu.core.count(-1)
