"""The embedded default engine: an x86 processor by Unicorn, a debugger's eye by us.

Reading order: engine (the shop window), vcpu (the run loop), arming (debug registers to hooks),
waiting, core (running and counting), native (what runs while the guest runs), plain (single-steps
with nothing else to them), intercepts and transfers (instructions done by hand), state and library
(Unicorn's insides).
"""

from .engine import UnicornEngine

__all__ = ["UnicornEngine"]
