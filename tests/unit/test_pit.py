"""The 8254 and port 0x61 alone. Times in ticks come from the chip's own clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.irqchip.pit import Pit, clock_at, tick_of

counts = st.integers(2, 0xFFFF)


def programmed(mode: int, count: int, *, channel: int = 0, now: int = 0, bcd: int = 0) -> Pit:
    """Low then high byte, in one instant."""
    pit = Pit().write(0x43, channel << 6 | 0x30 | mode << 1 | bcd, now)
    return written(pit, count, channel=channel, now=now)


def written(pit: Pit, count: int, *, channel: int = 0, now: int = 0) -> Pit:
    return pit.write(0x40 + channel, count & 0xFF, now).write(0x40 + channel, count >> 8, now)


def count_of(pit: Pit, clock: int, channel: int = 0) -> int:
    """The count that a latch and two reads give at a clock."""
    now = tick_of(clock)
    pit = pit.write(0x43, channel << 6, now)
    low, pit = pit.read(0x40 + channel, now)
    return low | pit.read(0x40 + channel, now)[0] << 8


def out(pit: Pit, clock: int, channel: int = 2) -> bool:
    return pit.channels[channel].counter.out(clock)


def expiries(pit: Pit, until: int) -> list[int]:
    """The clocks at which counter 0 expires, up to ``until``."""
    found = []
    while (tick := pit.next_expiry()) is not None and clock_at(tick) <= until:
        found.append(clock_at(tick))
        expired, pit = pit.advance(tick)
        assert expired
    return found


@given(st.integers(0, 1 << 64))
def test_a_tick_is_the_first_one_of_its_clock(clock: int) -> None:
    assert clock_at(tick_of(clock)) == clock
    assert clock == 0 or clock_at(tick_of(clock) - 1) == clock - 1


def test_nothing_expires_before_it_is_programmed() -> None:
    assert Pit().next_expiry() is None


def test_nothing_expires_before_both_bytes_are_written() -> None:
    assert Pit().write(0x43, 0x34, 0).write(0x40, 10, 0).next_expiry() is None


@pytest.mark.parametrize(
    ("mode", "clocks"),
    [
        (0, [11]),
        (1, []),  # GATE 0 is always high, so it never rises
        (2, [11, 21, 31]),
        (3, [11, 21, 31]),
        (4, [12]),
        (5, []),
    ],
)
def test_counter_0_expires_as_its_mode_says(mode: int, clocks: list[int]) -> None:
    assert expiries(programmed(mode, 10), 40) == clocks


def test_modes_6_and_7_are_2_and_3() -> None:
    assert programmed(6, 10) == programmed(2, 10)
    assert programmed(7, 10) == programmed(3, 10)


@pytest.mark.parametrize(("bcd", "most"), [(0, 0x10000), (1, 10_000)])
def test_a_count_of_0_is_the_greatest(bcd: int, most: int) -> None:
    assert expiries(programmed(0, 0, bcd=bcd), most + 1) == [most + 1]


def test_the_period_never_drifts() -> None:
    pit = programmed(2, 11932)
    _, pit = pit.advance(10**18)
    assert pit.expiry is not None
    assert (pit.expiry - 1) % 11932 == 0


def test_several_periods_are_one_expiry() -> None:
    expired, pit = programmed(2, 10).advance(tick_of(100))
    assert expired
    assert pit.advance(tick_of(100)) == (False, pit)


def test_a_control_word_stops_the_ticks() -> None:
    assert programmed(2, 10).write(0x43, 0x34, 0).next_expiry() is None


def test_a_count_of_1_never_ticks_in_the_periodic_modes() -> None:
    assert programmed(2, 1).next_expiry() is None


@pytest.mark.parametrize(
    ("mode", "counts"),
    [
        (0, [5, 4, 3, 2, 1, 0, 0xFFFF]),
        (2, [5, 4, 3, 2, 1, 5, 4]),
        (3, [4, 2, 0, 4, 2, 4, 2]),
        (4, [5, 4, 3, 2, 1, 0, 0xFFFF]),
    ],
)
def test_the_count_goes_down_as_the_mode_says(mode: int, counts: list[int]) -> None:
    pit = programmed(mode, 5)
    assert [count_of(pit, clock) for clock in range(1, 8)] == counts


def test_an_even_square_wave_counts_by_two() -> None:
    pit = programmed(3, 6)
    assert [count_of(pit, clock) for clock in range(1, 8)] == [6, 4, 2, 6, 4, 2, 6]


def test_bcd_counts_in_decimal_digits() -> None:
    pit = programmed(0, 0x0100, bcd=1)
    assert [count_of(pit, clock) for clock in (1, 2, 101, 102)] == [0x0100, 0x0099, 0, 0x9999]


@pytest.mark.parametrize(
    ("mode", "wave"),
    [(0, "0000011"), (2, "1111011"), (3, "1110011"), (4, "1111101")],
)
def test_out_follows_the_mode(mode: int, wave: str) -> None:
    pit = programmed(mode, 5)
    assert "".join(str(int(out(pit, clock, 0))) for clock in range(1, 8)) == wave


@given(st.sampled_from([0, 2, 3, 4]), st.integers(2, 300), st.integers(0, 2000))
def test_a_tick_is_a_rise_of_out(mode: int, count: int, clock: int) -> None:
    pit = programmed(mode, count)
    rises = out(pit, clock + 1, 0) and not out(pit, clock, 0)
    assert (pit.channels[0].counter.next_rise(clock) == clock + 1) == rises


@pytest.mark.parametrize(("access", "seen"), [(1, [0x34, 0x34]), (2, [0x12, 0x12])])
def test_one_byte_access_writes_and_reads_one_byte(access: int, seen: list[int]) -> None:
    pit = Pit().write(0x43, access << 4, 0).write(0x40, seen[0], 0)
    first, pit = pit.read(0x40, 0)
    second, pit = pit.read(0x40, 0)
    assert [first, second] == seen


def test_a_latched_count_stands_still_until_it_is_read() -> None:
    pit = programmed(2, 1000).write(0x43, 0, tick_of(11))
    pit = pit.write(0x43, 0, tick_of(50))  # a second latch is ignored
    low, pit = pit.read(0x40, tick_of(60))
    high, pit = pit.read(0x40, tick_of(70))
    assert low | high << 8 == 990
    assert pit.read(0x40, tick_of(80))[0] == (1000 - 79) & 0xFF


def test_read_back_gives_the_status_before_the_count() -> None:
    pit = programmed(2, 1000).write(0x43, 0xC2, tick_of(1))
    values = []
    for _ in range(3):
        value, pit = pit.read(0x40, tick_of(1))
        values.append(value)
    assert values == [0xB4, 1000 & 0xFF, 1000 >> 8]


def test_read_back_latches_only_the_counters_it_names() -> None:
    pit = programmed(2, 1000).write(0x43, 0xC8, tick_of(1))
    assert pit.channels[0].status is None
    assert pit.channels[2].status is not None


@pytest.mark.parametrize(("word", "count", "status"), [(0xD2, True, False), (0xE2, False, True)])
def test_read_back_latches_count_or_status(word: int, count: bool, status: bool) -> None:
    channel = programmed(2, 1000).write(0x43, word, tick_of(1)).channels[0]
    assert (channel.latched is not None, channel.status is not None) == (count, status)


def test_the_null_count_bit_is_set_until_the_count_is_loaded() -> None:
    pit = programmed(2, 1000)
    assert pit.write(0x43, 0xE2, 0).read(0x40, 0)[0] & 0x40
    assert not pit.write(0x43, 0xE2, tick_of(1)).read(0x40, tick_of(1))[0] & 0x40


def test_the_control_port_reads_0() -> None:
    assert Pit().read(0x43, 0)[0] == 0


def test_counter_2_waits_for_its_gate() -> None:
    pit = programmed(0, 10, channel=2)
    assert not out(pit, 1000)
    pit = pit.write(0x61, 1, tick_of(1000))
    assert [out(pit, clock) for clock in (1009, 1010)] == [False, True]


def test_port_61_shows_gate_speaker_and_out_2() -> None:
    pit = programmed(0, 10, channel=2).write(0x61, 3, 0)
    assert pit.read(0x61, 0)[0] & 0x2F == 0x03
    assert pit.read(0x61, tick_of(20))[0] & 0x2F == 0x23


def test_the_refresh_bit_toggles_with_time_alone() -> None:
    assert [Pit().read(0x61, now)[0] >> 4 & 1 for now in (0, 1 << 14, 2 << 14)] == [0, 1, 0]


def test_a_low_gate_pauses_mode_0_and_a_high_one_resumes() -> None:
    pit = programmed(0, 100, channel=2).write(0x61, 1, 0)
    pit = pit.write(0x61, 0, tick_of(40)).write(0x61, 1, tick_of(1000))
    assert [out(pit, clock) for clock in (1059, 1060)] == [False, True]


def test_a_low_gate_puts_a_square_wave_high_and_a_rise_restarts_it() -> None:
    pit = programmed(3, 10, channel=2).write(0x61, 1, 0)
    assert not out(pit, 7)
    pit = pit.write(0x61, 0, tick_of(7))
    assert out(pit, 8)
    pit = pit.write(0x61, 1, tick_of(20))
    assert [out(pit, clock) for clock in (21, 25, 26, 30, 31)] == [True, True, False, False, True]


def test_mode_1_is_low_for_the_count_after_each_trigger() -> None:
    pit = programmed(1, 5, channel=2)
    assert out(pit, 100)
    pit = pit.write(0x61, 1, tick_of(100))
    assert [out(pit, clock) for clock in (101, 105, 106)] == [False, False, True]
    pit = pit.write(0x61, 0, tick_of(103)).write(0x61, 1, tick_of(104))
    assert [out(pit, clock) for clock in (109, 110)] == [False, True]


def test_a_new_count_in_mode_1_waits_for_the_next_trigger() -> None:
    pit = programmed(1, 5, channel=2).write(0x61, 1, 0)
    pit = written(pit, 50, channel=2, now=tick_of(2))
    assert out(pit, 6)
    pit = pit.write(0x61, 0, tick_of(10)).write(0x61, 1, tick_of(10))
    assert [out(pit, clock) for clock in (60, 61)] == [False, True]


def test_mode_5_strobes_once_for_each_trigger() -> None:
    pit = programmed(5, 5, channel=2).write(0x61, 1, 0)
    assert [out(pit, clock) for clock in (5, 6, 7)] == [True, False, True]


def test_counter_2_does_not_tick() -> None:
    assert programmed(2, 10, channel=2).write(0x61, 1, 0).next_expiry() is None


@given(st.sampled_from([0, 2, 3, 4]), counts, st.lists(st.integers(0, 10**9), max_size=5))
def test_advancing_in_steps_is_advancing_at_once(mode: int, count: int, times: list[int]) -> None:
    start = programmed(mode, count)
    pit, expired = start, False
    for now in sorted(times):
        step, pit = pit.advance(now)
        expired |= step
    assert (expired, pit) == start.advance(max(times, default=0))


def test_an_illegal_count_of_1_keeps_out_high() -> None:
    assert all(out(programmed(2, 1), clock, 0) for clock in range(5))


def test_a_latch_between_two_reads_does_not_start_over_with_the_low_byte() -> None:
    _, pit = programmed(2, 0x1234).read(0x40, tick_of(1))
    assert pit.write(0x43, 0, tick_of(1)).read(0x40, tick_of(1))[0] == 0x12
