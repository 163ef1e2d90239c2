"""#NM: CR0 says that x87, MMX or SSE registers are not to be touched.

SDM vol. 3, 2.5 and table 2-2. Must not know: what the instruction computes.
"""

from __future__ import annotations

from ...x86.registers import CR0
from ..evidence import Evidence
from .case import Case, finding


def examine(case: Case) -> list[Evidence]:
    """TS, EM, and MP for WAIT."""
    cr0 = case.sregs.cr0
    em, ts, mp = (int(bool(cr0 & bit)) for bit in (CR0.EM, CR0.TS, CR0.MP))
    words = f"{cr0:#x}: EM={em}, TS={ts}, MP={mp}"
    return [finding("CR0", words, *_refusing(case, em, ts, mp))]


def _refusing(case: Case, em: int, ts: int, mp: int) -> tuple[str, str]:
    if case.ins.mnemonic in ("wait", "fwait"):
        both = bool(ts and mp)
        return ("TS (bit 3) and MP (bit 1) are 1", "clear TS by CLTS") if both else ("", "")
    if em and not _uses_xmm(case):
        return "EM (bit 2) is 1", "clear CR0.EM"
    return ("TS (bit 3) is 1", "clear it by CLTS, as a lazy FPU switch does") if ts else ("", "")


def _uses_xmm(case: Case) -> bool:
    """EM makes #UD of these, not #NM."""
    return any(name in case.ins.operands for name in ("xmm", "ymm", "zmm"))
