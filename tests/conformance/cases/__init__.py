"""Every row of the conformance list in words: number -> :class:`Case`.

The numbers' names are in ``rows``, the prose around the tables in ``guest_debug_page``. Must not
know: which test shows a row.
"""

from __future__ import annotations

from .calls import ARGUMENTS, DEBUGREGS, EXCEPTIONS, RULES_OF_2008, TRANSFERS
from .case import Case
from .registers import INJECTION, MOV_DR, SHADOWS_AND_FLAGS
from .stops import EXECUTION_BREAKPOINTS, SINGLE_STEP, SOFTWARE_BREAKPOINTS
from .watches import DATA_WATCHPOINTS, GUEST_OWNED

TOPICS: dict[str, dict[int, Case]] = {
    "Single-step": SINGLE_STEP,
    "Software breakpoints (#BP)": SOFTWARE_BREAKPOINTS,
    "Execution breakpoints": EXECUTION_BREAKPOINTS,
    "Data watchpoints": DATA_WATCHPOINTS,
    "Guest-owned debugging": GUEST_OWNED,
    "Injection": INJECTION,
    "MOV DR and general detect": MOV_DR,
    "MOV SS, STI and RF": SHADOWS_AND_FLAGS,
    "REP, ports and MMIO under single-step": TRANSFERS,
    "Exceptions and interrupts during a step": EXCEPTIONS,
    "Arguments and errors": ARGUMENTS,
    "KVM_GET_DEBUGREGS and KVM_SET_DEBUGREGS": DEBUGREGS,
    "The rules of 2008": RULES_OF_2008,
}
"""The cases by topic, in the order of their numbers."""

CASES: dict[int, Case] = {n: case for cases in TOPICS.values() for n, case in cases.items()}
