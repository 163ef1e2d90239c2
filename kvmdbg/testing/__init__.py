"""Does an engine keep the contract? ``check_engine`` asks it, check by check.

For whoever writes an engine of their own; needs nothing but this package. Reading order: contract
(what a check and its answer are), bench (a guest on the bare ioctl line), one file per chapter,
asking (the loop, with a time limit per check). docs/engine-contract.md lists all checks.
"""

from __future__ import annotations

from ..engines import Factory
from .asking import CHAPTERS, check_engine, every_check
from .contract import Check, ContractBroken, ContractReport, Outcome, Result

__all__ = [
    "CHAPTERS",
    "Check",
    "ContractBroken",
    "ContractReport",
    "Factory",
    "Outcome",
    "Result",
    "check_engine",
    "every_check",
]
