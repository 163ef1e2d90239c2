"""One counter of an 8254 (Intel 8254 data sheet): six modes as functions of the elapsed clocks.

Everything here counts in clocks of the 8254's own input, never in ticks. A counter that runs keeps
only when it was loaded; OUT and the count are computed from that, so that nothing is done per
clock. Must not know: ports, interrupts, or how a clock relates to an instruction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

TRIGGERED = (1, 5)
"""Modes in which nothing happens until GATE rises."""

PERIODIC = (2, 3)
_BINARY, _BCD = 0x10000, 10_000


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter.

    ``mode`` is None until a control word came (KVM's 0xFF). ``count`` is the initial count, 1 to
    65536, None until written; ``pending`` one that waits for a trigger. ``start`` is the clock at
    which the count was loaded into the counting element, None while none is under way; ``held`` the
    clocks that had passed when GATE fell.
    """

    mode: int | None = None
    bcd: bool = False
    gate: bool = True
    count: int | None = None
    pending: int | None = None
    start: int | None = None
    held: int | None = None

    @property
    def modulus(self) -> int:
        """65536, or 10000 in BCD: what a written 0 means, and where the count wraps."""
        return _BCD if self.bcd else _BINARY

    def programmed(self, mode: int, *, bcd: bool) -> Counter:
        """A control word: the mode is set, and nothing counts until a count is written."""
        return Counter(mode=mode, bcd=bcd, gate=self.gate)

    def loaded(self, raw: int, clock: int) -> Counter:
        """A count of 16 bits was written at ``clock``; the next clock loads it.

        As in KVM (``pit_load_count``) a new count takes effect at once in modes 2 and 3 too, where
        the chip finishes the period first. In modes 1 and 5 it waits for the next trigger.
        """
        count = (_from_bcd(raw) if self.bcd else raw) or self.modulus
        if self.mode is None:
            return self
        if self.mode in TRIGGERED:
            return replace(self, pending=count)
        if self.gate:
            return replace(self, count=count, start=clock + 1, held=None)
        return replace(self, count=count, start=None, held=0)

    def gated(self, level: bool, clock: int) -> Counter:
        """GATE at ``clock``: a rising edge starts, restarts or resumes; a low level stops."""
        counter = replace(self, gate=level)
        if level == self.gate or self.mode is None:
            return counter
        if self.mode in TRIGGERED:
            return counter._triggered(clock) if level else counter
        if self.count is None:
            return counter
        if not level:
            return replace(counter, start=None, held=self.elapsed(clock))
        start = clock + 1 if self.mode in PERIODIC else clock - (self.held or 0)
        return replace(counter, start=start, held=None)

    def _triggered(self, clock: int) -> Counter:
        """A rising GATE in modes 1 and 5; nothing happens before a count was written."""
        count = self.count if self.pending is None else self.pending
        if count is None:
            return self
        return replace(self, count=count, start=clock + 1, pending=None)

    def elapsed(self, clock: int) -> int:
        """Clocks since the load; -1 before it, and 0 while none is under way."""
        if self.start is None:
            return self.held or 0
        return max(clock - self.start, -1)

    def out(self, clock: int) -> bool:
        """The OUT pin."""
        if self.mode is None:
            return False
        if self.mode == 0:
            return self.count is not None and self.elapsed(clock) >= self.count
        stopped = self.start is None and self.mode != 4
        if self.count is None or stopped:
            return True
        return self._out_running(self.count, self.elapsed(clock))

    def _out_running(self, count: int, elapsed: int) -> bool:
        """OUT of modes 1 to 5 ``elapsed`` clocks after the load."""
        if self.mode == 1:
            return elapsed < 0 or elapsed >= count
        if elapsed < 0:
            return True
        if self.mode == 2:
            return count == 1 or elapsed % count != count - 1
        if self.mode == 3:
            return elapsed % count < (count + 1) // 2
        return elapsed != count  # modes 4 and 5: a strobe of one clock

    def value(self, clock: int) -> int:
        """What a read sees, as 16 bits (four digits in BCD)."""
        if self.count is None:
            return 0
        value = self._value(self.count, max(self.elapsed(clock), 0)) % self.modulus
        return _to_bcd(value) if self.bcd else value

    def _value(self, count: int, elapsed: int) -> int:
        """The counting element ``elapsed`` clocks after the load."""
        if self.mode == 2:
            return count - elapsed % count
        if self.mode != 3:
            return count - elapsed
        # A square wave steps by two, from an even number, once for each half of the period.
        high = (count + 1) // 2
        phase = elapsed % count
        return (count & ~1) - 2 * (phase if phase < high else phase - high)

    def is_null(self, clock: int) -> bool:
        """The null-count bit: what was written is not in the counting element yet."""
        unloaded = self.count is None or self.pending is not None
        return unloaded or (self.start is not None and clock < self.start)

    def next_rise(self, clock: int) -> int | None:
        """The first clock after ``clock`` at which OUT rises; None: not without a new event.

        A count of 1 is illegal in modes 2 and 3 (data sheet): OUT stays high.
        """
        if self.count is None or self.start is None or self.mode is None:
            return None
        if self.mode in PERIODIC:
            if self.count == 1:
                return None
            periods = max(clock - self.start, 0) // self.count + 1
            return self.start + periods * self.count
        once = self.start + self.count + (1 if self.mode in (4, 5) else 0)
        return once if once > clock else None


def _from_bcd(raw: int) -> int:
    """Four decimal digits; a digit above 9 is not defined by the data sheet.

    >>> _from_bcd(0x1234)
    1234
    """
    return sum((raw >> 4 * place & 0xF) * 10**place for place in range(4))


def _to_bcd(value: int) -> int:
    """
    >>> hex(_to_bcd(1234))
    '0x1234'
    """
    return sum(value // 10**place % 10 << 4 * place for place in range(4))
