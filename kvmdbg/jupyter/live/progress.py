"""How far a run has come: instructions, speed, and how to stop it, while the guest runs.

Must not know: who shows it, or when.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, Final

from ...debugger.vm import Vm

PATIENCE: Final = 0.5
"""Seconds that a run lasts before anything is said about it."""

STOP_HINT: Final = "to stop: the stop button, or Interrupt (I, I)"


class Progress:
    """One run, looked at from another thread; begins when it is made."""

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        self._began = self._last = perf_counter()
        self._start = self._clock = vm.vcpu.clock

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return perf_counter() - self._began

    def look(self) -> dict[str, Any]:
        """The message ``running`` (docs/live-views.md)."""
        now, clock = perf_counter(), self._vm.vcpu.clock
        speed = None
        if clock >= 0:
            speed = (clock - self._clock) / max(now - self._last, 1e-3)
        self._last, self._clock = now, clock
        executed = clock - self._start if clock >= 0 else -1
        return {
            "op": "running",
            "seconds": round(now - self._began, 2),
            "clock": clock,
            "executed": executed,
            "per_second": None if speed is None else round(speed),
            "says": words(now - self._began, executed, speed),
        }


def words(seconds: float, executed: int, per_second: float | None) -> str:
    """One line for people.

    >>> words(2.04, 31_000_000, 15.2e6)
    'running for 2.0 s: 31,000,000 instructions, 15.2 million/s; to stop: the stop button, or Interrupt (I, I)'
    """  # noqa: E501  # the answer is one line
    done = "" if per_second is None else f": {executed:,} instructions, {rate(per_second)}"
    return f"running for {seconds:.1f} s{done}; {STOP_HINT}"


def rate(per_second: float) -> str:
    """Instructions per second.

    >>> rate(15.2e6), rate(1234)
    ('15.2 million/s', '1,234/s')
    """
    return f"{per_second / 1e6:,.1f} million/s" if per_second >= 1e6 else f"{per_second:,.0f}/s"
