"""The local APIC's timer (SDM vol. 3, 10.5.4; ``apic_timer_fn`` in arch/x86/kvm/lapic.c).

One deadline in ticks serves the three modes. KVM's APIC bus cycle is one nanosecond, here one tick.
KVM's lower limit for a period (``min_timer_period_us``) protects a host's clock and is not kept:
virtual time has nobody to protect. Must not know: where an expiry is delivered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum


class TimerMode(IntEnum):
    """Bits 18-17 of the LVT timer entry."""

    ONE_SHOT = 0
    PERIODIC = 1
    TSC_DEADLINE = 2
    RESERVED = 3


DIVIDE_MASK = 0b1011
"""The defined bits of the divide configuration register."""


@dataclass(frozen=True, slots=True)
class ApicTimer:
    """``initial`` and ``divide`` are registers, ``deadline`` the tick of the next expiry or None.

    In TSC-deadline mode ``deadline`` is IA32_TSC_DEADLINE, else the current count is its distance.
    """

    mode: TimerMode = TimerMode.ONE_SHOT
    initial: int = 0
    divide: int = 0
    deadline: int | None = None

    @property
    def divider(self) -> int:
        """Ticks per count: 1 to 128 (SDM figure 10-10).

        >>> [ApicTimer(divide=bits).divider for bits in (0, 1, 8, 0xA, 0xB)]
        [2, 4, 32, 128, 1]
        """
        code = self.divide & 3 | self.divide >> 1 & 4
        return 1 << (code + 1 & 7)

    @property
    def period(self) -> int:
        """Ticks from the initial count to zero."""
        return self.initial * self.divider

    @property
    def tsc_deadline(self) -> int:
        """IA32_TSC_DEADLINE: 0 when disarmed and in the other modes (SDM 10.5.4.1)."""
        return self.deadline or 0 if self.mode is TimerMode.TSC_DEADLINE else 0

    def current(self, now: int) -> int:
        """The current count, after ``advance(now)``; 0 when stopped and in TSC-deadline mode."""
        if self.deadline is None or self.mode is TimerMode.TSC_DEADLINE:
            return 0
        return -(-(self.deadline - now) // self.divider)

    def with_mode(self, mode: TimerMode) -> ApicTimer:
        """A write to the LVT entry: to or from TSC-deadline disarms (``apic_update_lvtt``).

        One-shot and periodic change while the count goes on; it is the mode at zero that matters.
        """
        if mode is self.mode:
            return self
        if TimerMode.TSC_DEADLINE in (mode, self.mode):
            return ApicTimer(mode, divide=self.divide)
        return replace(self, mode=mode)

    def with_initial(self, count: int, now: int) -> ApicTimer:
        """A write to the initial count: starts at once; 0 stops. No effect in TSC-deadline mode."""
        if self.mode is TimerMode.TSC_DEADLINE:
            return self
        timer = replace(self, initial=count)
        return replace(timer, deadline=now + timer.period if count else None)

    def with_divide(self, value: int, now: int) -> ApicTimer:
        """A write to the divide configuration: what is left to count goes on at the new pace."""
        timer = replace(self, divide=value & DIVIDE_MASK)
        if self.deadline is None or self.mode is TimerMode.TSC_DEADLINE:
            return timer
        left = (self.deadline - now) * timer.divider // self.divider
        return replace(timer, deadline=now + left)

    def with_tsc_deadline(self, deadline: int) -> ApicTimer:
        """A write to IA32_TSC_DEADLINE: 0 disarms; other modes ignore it (SDM 10.5.4.1)."""
        if self.mode is not TimerMode.TSC_DEADLINE:
            return self
        return replace(self, deadline=deadline or None)

    def advance(self, now: int) -> tuple[bool, ApicTimer]:
        """Whether it expired, once or more, by ``now``, and the timer after that."""
        if self.deadline is None or now < self.deadline:
            return False, self
        if self.mode is not TimerMode.PERIODIC or not self.period:
            return True, replace(self, deadline=None)
        periods = (now - self.deadline) // self.period + 1
        return True, replace(self, deadline=self.deadline + periods * self.period)
