"""The 8259 pair alone: what it answers at INTA and at its ports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.irqchip.pic import Pics

lines = st.sampled_from([line for line in range(16) if line != 2])


def write(pics: Pics, *writes: tuple[int, int]) -> Pics:
    for port, value in writes:
        pics = pics.write(port, value)
    return pics


def initialised(icw4: int = 1, *, slave_icw4: int = 1) -> Pics:
    """As firmware does it: vectors 0x20-0x2F, everything unmasked."""
    return write(
        Pics(),
        *((0x20, 0x11), (0x21, 0x20), (0x21, 0x04), (0x21, icw4)),
        *((0xA0, 0x11), (0xA1, 0x28), (0xA1, 0x02), (0xA1, slave_icw4)),
    )


def raised(pics: Pics, *raise_lines: int) -> Pics:
    for line in raise_lines:
        pics = pics.set_irq(line, True)
    return pics


def in_service(pics: Pics, line: int) -> Pics:
    return raised(pics, line).acknowledge()[1]


def ocw3(pics: Pics, port: int, word: int) -> int:
    return pics.write(port, word).read(port)[0]


@given(lines)
def test_the_vector_is_base_plus_line(line: int) -> None:
    pics = raised(initialised(), line)
    assert pics.output
    assert pics.acknowledge()[0] == 0x20 + line


def test_the_low_three_bits_of_icw2_are_not_part_of_the_base() -> None:
    pics = write(Pics(), (0x20, 0x11), (0x21, 0x47), (0x21, 4), (0x21, 1))
    assert raised(pics, 0).acknowledge()[0] == 0x40


def test_a_chip_alone_skips_icw3() -> None:
    pics = write(Pics(), (0x20, 0x13), (0x21, 0x20), (0x21, 0x01), (0x21, 0xFE))
    assert pics.master.imr == 0xFE


def test_without_icw4_the_next_byte_is_the_mask() -> None:
    pics = write(Pics(), (0x20, 0x10), (0x21, 0x20), (0x21, 0x04), (0x21, 0x55))
    assert pics.master.imr == 0x55


def test_the_lower_line_goes_first() -> None:
    assert raised(initialised(), 5, 1).acknowledge()[0] == 0x21


def test_the_slaves_lines_rank_between_1_and_3() -> None:
    pics = raised(initialised(), 3, 12, 1)
    order = []
    for _ in range(3):
        vector, pics = pics.acknowledge()
        order.append(vector)
        if vector >= 0x28:
            pics = pics.write(0xA0, 0x20)
        pics = pics.write(0x20, 0x20)
    assert order == [0x21, 0x2C, 0x23]


def test_a_line_in_service_holds_back_itself_and_the_lower() -> None:
    pics = in_service(initialised(), 3).set_irq(3, False)
    assert not raised(pics, 3, 4, 7).output


def test_a_line_in_service_lets_a_better_one_through() -> None:
    assert raised(in_service(initialised(), 3), 1).acknowledge()[0] == 0x21


def test_eoi_lets_the_next_one_through() -> None:
    pics = raised(in_service(initialised(), 3), 4)
    assert pics.write(0x20, 0x20).acknowledge()[0] == 0x24


def test_an_eoi_with_nothing_in_service_is_harmless() -> None:
    pics = initialised()
    assert pics.write(0x20, 0x20) == pics


def test_a_specific_eoi_ends_the_line_it_names() -> None:
    pics = raised(in_service(in_service(initialised(), 3), 1), 2)
    pics = pics.write(0x20, 0x63)
    assert pics.master.isr == 0x02


def test_an_edge_line_that_stays_high_asks_once() -> None:
    pics = in_service(initialised(), 5).write(0x20, 0x20)
    assert not pics.set_irq(5, True).output


def test_an_edge_that_fell_before_inta_is_remembered() -> None:
    assert raised(initialised(), 5).set_irq(5, False).acknowledge()[0] == 0x25


def test_a_level_line_asks_as_long_as_it_is_high() -> None:
    pics = initialised().write(0x4D0, 0x20)
    pics = in_service(pics, 5).write(0x20, 0x20)
    assert pics.output
    assert not pics.set_irq(5, False).output


def test_the_fixed_lines_stay_edge_triggered() -> None:
    pics = write(Pics(), (0x4D0, 0xFF), (0x4D1, 0xFF))
    assert pics.elcr == 0xDEF8
    assert (pics.read(0x4D0)[0], pics.read(0x4D1)[0]) == (0xF8, 0xDE)


def test_a_masked_line_is_latched_and_comes_when_unmasked() -> None:
    pics = raised(initialised().write(0x21, 0xFF), 6)
    assert not pics.output
    assert pics.write(0x21, 0).acknowledge()[0] == 0x26


def test_the_mask_reads_back() -> None:
    assert initialised().write(0xA1, 0x5A).read(0xA1)[0] == 0x5A


def test_irq7_is_spurious_when_the_request_went_away() -> None:
    pics = initialised().write(0x4D0, 0x20)
    pics = raised(pics, 5).set_irq(5, False)
    vector, after = pics.acknowledge()
    assert (vector, after.master.isr) == (0x27, 0)


def test_irq15_is_spurious_when_the_slaves_request_went_away() -> None:
    pics = initialised().write(0x4D1, 0x08)
    pics = raised(pics, 11).set_irq(11, False)
    vector, after = pics.acknowledge()
    assert (vector, after.master.isr, after.slave.isr) == (0x2F, 0x04, 0)


def test_ocw3_chooses_irr_or_isr() -> None:
    pics = raised(in_service(initialised(), 1), 4)
    assert ocw3(pics, 0x20, 0x0A) == 0x10
    assert ocw3(pics, 0x20, 0x0B) == 0x02


def test_automatic_eoi_leaves_nothing_in_service() -> None:
    pics = in_service(initialised(3), 1)
    assert pics.master.isr == 0


def test_automatic_eoi_can_rotate() -> None:
    pics = in_service(initialised(3).write(0x20, 0x80), 1)
    assert raised(pics, 0, 3).acknowledge()[0] == 0x23


def test_rotation_in_automatic_eoi_can_be_switched_off() -> None:
    pics = write(initialised(3), (0x20, 0x80), (0x20, 0x00))
    assert raised(in_service(pics, 1), 0, 3).acknowledge()[0] == 0x20


def test_rotating_eoi_makes_the_line_the_lowest() -> None:
    pics = in_service(initialised(), 1).write(0x20, 0xA0)
    assert raised(pics, 0, 3).acknowledge()[0] == 0x23


def test_rotating_specific_eoi_ends_and_lowers_the_named_line() -> None:
    pics = in_service(initialised(), 3).write(0x20, 0xE3)
    assert (pics.master.isr, pics.master.lowest) == (0, 3)


def test_set_priority_rotates_without_an_eoi() -> None:
    pics = initialised().write(0x20, 0xC4)
    assert raised(pics, 0, 5).acknowledge()[0] == 0x25


def test_special_mask_mode_lets_lower_lines_through_a_masked_one() -> None:
    pics = raised(in_service(initialised(), 1), 6).write(0x21, 0x02)
    assert not pics.output
    assert pics.write(0x20, 0x68).acknowledge()[0] == 0x26


def test_special_mask_mode_can_be_left() -> None:
    pics = raised(in_service(initialised(), 1), 6).write(0x21, 0x02)
    assert not write(pics, (0x20, 0x68), (0x20, 0x48)).output


def test_a_nonspecific_eoi_in_special_mask_mode_passes_over_masked_lines() -> None:
    pics = in_service(initialised(), 1)
    pics = write(pics, (0x21, 0x02), (0x20, 0x68), (0x20, 0x20))
    assert pics.master.isr == 0x02


def test_special_fully_nested_mode_lets_a_better_line_of_the_slave_through() -> None:
    pics = in_service(initialised(0x11), 12)
    assert raised(pics, 9).acknowledge()[0] == 0x29
    assert not raised(in_service(initialised(), 12), 9).output


def test_a_poll_is_an_inta() -> None:
    pics = raised(initialised(), 4).write(0x20, 0x0C)
    value, pics = pics.read(0x20)
    assert (value, pics.master.isr, pics.master.poll) == (0x84, 0x10, False)


def test_a_poll_with_nothing_pending_reads_0() -> None:
    assert ocw3(initialised(), 0x20, 0x0C) == 0


def test_a_polled_slave_no_longer_asks_at_the_master() -> None:
    value, pics = raised(initialised(), 9).write(0xA0, 0x0C).read(0xA0)
    assert (value, pics.output) == (0x81, False)


def test_initialisation_forgets_requests_masks_and_service() -> None:
    pics = raised(in_service(initialised(), 1), 4).write(0x21, 0x80)
    master = pics.write(0x20, 0x11).master
    assert (master.irr, master.isr, master.imr) == (0, 0, 0)


def test_after_initialisation_a_high_edge_line_must_fall_first() -> None:
    pics = write(raised(initialised(), 4), (0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1))
    assert not pics.set_irq(4, True).output
    assert pics.set_irq(4, False).set_irq(4, True).output


@pytest.mark.parametrize("line", [2, 16, -1])
def test_what_is_not_a_line_of_the_bus_does_nothing(line: int) -> None:
    pics = initialised()
    assert pics.set_irq(line, True) == pics


port_writes = st.tuples(
    st.just("write"), st.sampled_from([0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1]), st.integers(0, 255)
)
line_changes = st.tuples(st.just("set_irq"), lines, st.booleans())


@given(st.lists(port_writes | line_changes, max_size=40))
def test_whatever_was_written_inta_answers_an_unmasked_request_or_the_spurious_line(
    steps: list[tuple[str, int, int]],
) -> None:
    pics = initialised()
    for what, where, value in steps:
        pics = getattr(pics, what)(where, value)
    vector, after = pics.acknowledge()
    if not pics.output:
        assert (vector, after) == (pics.master.base + 7, pics)
        return
    line = pics.master.asks(master=True)
    assert line is not None
    assert (pics.master.irr & ~pics.master.imr) >> line & 1
    assert vector == pics.master.base + line or line == 2


@given(st.lists(lines, min_size=1, max_size=20))
def test_every_edge_is_delivered_once(raise_lines: list[int]) -> None:
    pics = initialised(3, slave_icw4=3)
    for line in raise_lines:
        pics = pics.set_irq(line, True).set_irq(line, False)
    seen = []
    while pics.output:
        vector, pics = pics.acknowledge()
        seen.append(vector - 0x20)
    assert sorted(seen) == sorted(set(raise_lines))


def test_initialising_the_master_makes_no_edge_of_a_slave_that_asks() -> None:
    pics = write(raised(initialised(), 12), (0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1))
    assert not pics.output


def test_unmasking_a_line_of_the_slave_lets_it_ask() -> None:
    pics = raised(initialised().write(0xA1, 0xFF), 12)
    assert not pics.output
    assert pics.write(0xA1, 0).acknowledge()[0] == 0x2C


def test_initialisation_without_icw4_ends_automatic_eoi() -> None:
    pics = write(initialised(3), (0x20, 0x10), (0x21, 0x20), (0x21, 0x04))
    assert in_service(pics, 1).master.isr == 0x02


def test_a_pulse_on_a_line_that_is_high_changes_nothing() -> None:
    pics = in_service(initialised(), 0)
    assert pics.pulse(0) == pics
