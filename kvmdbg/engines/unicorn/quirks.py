"""Steps as KVM's own emulator makes them, and the KVM of 2008.

Only asked while a profile other than hardware's is chosen. Must not know: what the host does with a
step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...x86.decode import LONGEST
from ...x86.opcode import CARRIED_OUT_BY_KVM, Opcode, read_opcode
from .native import Word
from .state import RCX, RIP

if TYPE_CHECKING:
    from .vcpu import Vcpu


def is_reported(vcpu: Vcpu) -> bool:
    """The instruction that just trapped under the host's TF is a step to this profile's host."""
    profile = vcpu.debug.profile
    if not profile.reports_skipped:
        opcode = _last_opcode(vcpu)
        return opcode is None or opcode.code not in CARRIED_OUT_BY_KVM
    return profile.rep_elements == 1 or _ends_rep(vcpu)


def _last_opcode(vcpu: Vcpu) -> Opcode | None:
    code = vcpu.core.code(vcpu.core.w[Word.LAST_PC], LONGEST)
    return read_opcode(code, vcpu.state.bits())


def _ends_rep(vcpu: Vcpu) -> bool:
    """``x86_emulate_insn`` does elements in one go until the count is a multiple of 1024.

    When the count becomes 0 it stops at the REP, with RF set, and leaves in the next step.
    """
    opcode = _last_opcode(vcpu)
    if opcode is None or not opcode.is_rep_string:
        return True
    state, at = vcpu.state, vcpu.core.w[Word.LAST_PC]
    size = state.hook_pc() - at
    mask = (1 << opcode.address_bits(state.bits())) - 1
    left = state.q[RCX] & mask
    if not size and (not left or left % vcpu.debug.profile.rep_elements):
        return False
    if size and vcpu.rcx & mask and not left:
        state.q[RIP] -= size
        vcpu.set_rf()
    return True
