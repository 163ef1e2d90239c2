"""The 8254 and port 0x61 as KVM has them (arch/x86/kvm/i8254.c; Intel 8254 data sheet).

Counter 0 ticks into IRQ 0, counter 2 is gated by port 0x61. An expiry is a short pulse, and ticks
that the guest was too slow for are lost, as on the chip (KVM without KVM_PIT_REINJECT). Must not
know: the 8259 that hears the tick.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .pit_counter import Counter

PORTS = frozenset({0x40, 0x41, 0x42, 0x43, 0x61})

INPUT_HZ = 1_193_182
TICK_HZ = 1_000_000_000
"""Ticks per second of virtual time: one is a nanosecond."""

_CONTROL, _SPEAKER = 0x43, 0x61
_LOW, _HIGH, _BOTH = 1, 2, 3
_COUNTER_RESET = Counter()
_REFRESH_SHIFT = 14  # KVM toggles bit 4 of port 0x61 every 16384 ns


def clock_at(now: int) -> int:
    """Clocks of the 8254's input in ``now`` ticks: exact, so it never drifts.

    >>> clock_at(1_000_000_000)
    1193182
    """
    return now * INPUT_HZ // TICK_HZ


def tick_of(clock: int) -> int:
    """The first tick at which ``clock_at`` is ``clock``.

    >>> tick_of(1), clock_at(tick_of(1)), clock_at(tick_of(1) - 1)
    (839, 1, 0)
    """
    return -(-clock * TICK_HZ // INPUT_HZ)


@dataclass(frozen=True, slots=True)
class Channel:
    """A counter behind its port: which bytes go in and out, and what was latched.

    ``access`` is the control word's RW field. ``low`` is the first of two bytes written, ``second``
    tells that the next byte read is the high one, ``status`` is a latched status byte.
    """

    counter: Counter = _COUNTER_RESET
    access: int = _BOTH
    low: int | None = None
    second: bool = False
    latched: int | None = None
    status: int | None = None

    def control(self, word: int) -> Channel:
        """A control word for this counter: bits 5-4 RW, 3-1 mode (6 and 7 are 2 and 3), 0 BCD."""
        mode = word >> 1 & 7
        counter = self.counter.programmed(mode & 3 if mode > 5 else mode, bcd=bool(word & 1))
        return Channel(counter, word >> 4 & 3)

    def write(self, value: int, clock: int) -> Channel:
        """A byte of the count; the count is complete with the last byte that RW asks for."""
        if self.access == _BOTH and self.low is None:
            return replace(self, low=value)
        if self.access == _BOTH:
            raw = (self.low or 0) | value << 8
        else:
            raw = value << 8 if self.access == _HIGH else value
        return replace(self, counter=self.counter.loaded(raw, clock), low=None)

    def read(self, clock: int) -> tuple[int, Channel]:
        """A byte: the latched status first, then the latched count, then the count as it is."""
        if self.status is not None:
            return self.status, replace(self, status=None)
        value = self.counter.value(clock) if self.latched is None else self.latched
        if self.access == _BOTH and not self.second:
            return value & 0xFF, replace(self, second=True)
        byte = value & 0xFF if self.access == _LOW else value >> 8
        return byte, replace(self, second=False, latched=None)

    def latch_count(self, clock: int) -> Channel:
        """Hold the count until it is read; a second latch before that is ignored."""
        if self.latched is not None:
            return self
        return replace(self, latched=self.counter.value(clock))

    def latch_status(self, clock: int) -> Channel:
        """Hold OUT, null count, RW, mode and BCD (read-back command)."""
        if self.status is not None:
            return self
        counter = self.counter
        status = counter.out(clock) << 7 | counter.is_null(clock) << 6 | self.access << 4
        return replace(self, status=status | (counter.mode or 0) << 1 | counter.bcd)


@dataclass(frozen=True, slots=True)
class Pit:
    """Three channels (``kvm_pit_reset``: no mode, GATE 0 and 1 high, GATE 2 low).

    ``expiry`` is the clock of counter 0's next tick; ``speaker`` bit 1 of port 0x61.
    """

    channels: tuple[Channel, Channel, Channel] = (
        Channel(),
        Channel(),
        Channel(Counter(gate=False)),
    )
    expiry: int | None = None
    speaker: bool = False

    def next_expiry(self) -> int | None:
        """The tick at which counter 0 expires next."""
        return None if self.expiry is None else tick_of(self.expiry)

    def advance(self, now: int) -> tuple[bool, Pit]:
        """Whether counter 0 expired, once or more, and the PIT after that."""
        clock = clock_at(now)
        if self.expiry is None or clock < self.expiry:
            return False, self
        return True, replace(self, expiry=self.channels[0].counter.next_rise(clock))

    def write(self, port: int, value: int, now: int) -> Pit:
        """A byte to one of PORTS, after ``advance(now)``."""
        clock = clock_at(now)
        if port == _SPEAKER:
            return self._write_speaker(value, clock)
        if port == _CONTROL:
            return self._write_control(value, clock)
        number = port & 3
        before = self.channels[number]
        after = before.write(value, clock)
        pit = self._with(number, after)
        if number == 0 and after.counter is not before.counter:
            return replace(pit, expiry=after.counter.next_rise(clock))
        return pit

    def _write_control(self, word: int, clock: int) -> Pit:
        """Port 0x43: read-back, counter latch, or a counter's new mode."""
        number = word >> 6
        if number == 3:
            return self._read_back(word, clock)
        channel = self.channels[number]
        if word >> 4 & 3 == 0:
            return self._with(number, channel.latch_count(clock))
        pit = self._with(number, channel.control(word))
        return replace(pit, expiry=None) if number == 0 else pit

    def _read_back(self, word: int, clock: int) -> Pit:
        """Latch count (bit 5 low) and status (bit 4 low) of the counters in bits 3-1."""
        pit = self
        for number in range(3):
            if word >> number + 1 & 1:
                channel = pit.channels[number]
                channel = channel if word & 0x20 else channel.latch_count(clock)
                channel = channel if word & 0x10 else channel.latch_status(clock)
                pit = pit._with(number, channel)
        return pit

    def _write_speaker(self, value: int, clock: int) -> Pit:
        """Port 0x61: bit 0 is GATE 2, bit 1 lets OUT 2 to the speaker."""
        channel = self.channels[2]
        channel = replace(channel, counter=channel.counter.gated(bool(value & 1), clock))
        return replace(self._with(2, channel), speaker=bool(value & 2))

    def read(self, port: int, now: int) -> tuple[int, Pit]:
        """A byte from one of PORTS; the control port reads 0, as in KVM."""
        clock = clock_at(now)
        if port == _SPEAKER:
            return self._read_speaker(now, clock), self
        if port == _CONTROL:
            return 0, self
        byte, channel = self.channels[port & 3].read(clock)
        return byte, self._with(port & 3, channel)

    def _read_speaker(self, now: int, clock: int) -> int:
        """Port 0x61: GATE 2, speaker, the refresh toggle (bit 4), OUT 2 (bit 5)."""
        counter = self.channels[2].counter
        refresh = now >> _REFRESH_SHIFT & 1
        return counter.gate | self.speaker << 1 | refresh << 4 | counter.out(clock) << 5

    def _with(self, number: int, channel: Channel) -> Pit:
        a, b, c = self.channels
        channels = [a, b, c]
        channels[number] = channel
        return replace(self, channels=(channels[0], channels[1], channels[2]))
