"""The chips wired together: who reaches the processor, and when."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.irqchip import Irqchip
from kvmdbg.irqchip.lapic import Lapic

SVR, LVT_TIMER, LINT0, INITIAL, DIVIDE, ICR, TPR, IRR2 = (
    0xF0,
    0x320,
    0x350,
    0x380,
    0x3E0,
    0x300,
    0x80,
    0x220,
)
PERIODIC, DEADLINE, MASKED = 1 << 17, 2 << 17, 1 << 16
PIT_PERIOD = 1000  # in the 8254's clocks; its n-th tick is at 838096 n + 838 ns or a little later


def ports(chip: Irqchip, *writes: tuple[int, int], now: int = 0) -> Irqchip:
    for port, value in writes:
        chip = chip.write_port(port, 1, value, now)
    return chip


def mmio(chip: Irqchip, *writes: tuple[int, int], now: int = 0) -> Irqchip:
    for offset, value in writes:
        chip = chip.write_mmio(offset, 4, value, now)
    return chip


def msr(chip: Irqchip, index: int, value: int, now: int = 0) -> Irqchip:
    written = chip.wrmsr(index, value, now)
    assert written is not None
    return written


def with_pic() -> Irqchip:
    return ports(
        Irqchip(),
        *((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1)),
        *((0xA0, 0x11), (0xA1, 0x28), (0xA1, 2), (0xA1, 1)),
    )


def with_apic() -> Irqchip:
    return mmio(with_pic(), (SVR, 0x1FF), (DIVIDE, 0xB))


def with_pit(chip: Irqchip, now: int = 0) -> Irqchip:
    return ports(chip, (0x43, 0x34), (0x40, PIT_PERIOD & 0xFF), (0x40, PIT_PERIOD >> 8), now=now)


def test_a_new_irqchip_has_nothing_to_say() -> None:
    chip = Irqchip()
    assert not chip.has_interrupt()
    assert (chip.next_event(0), chip.pending_vector()) == (None, None)
    assert (chip.take_nmi(), chip.take_init()) == ((False, chip), (False, chip))


def test_states_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Irqchip().lapic = Lapic()  # type: ignore[misc]


def test_the_8259_works_before_anyone_touches_the_apic() -> None:
    chip = with_pic().set_irq(4, True)
    assert chip.pending_vector() == 0x24


@pytest.mark.parametrize(("lint0", "heard"), [(0x700, True), (MASKED | 0x700, False), (0, False)])
def test_the_8259_is_heard_iff_lint0_is_an_open_extint(lint0: int, heard: bool) -> None:
    chip = mmio(with_apic(), (LINT0, lint0)).set_irq(4, True)
    assert chip.has_interrupt() == heard


def test_disabling_the_apic_by_software_masks_the_8259_too() -> None:
    assert not mmio(with_apic(), (SVR, 0xFF)).set_irq(4, True).has_interrupt()


def test_with_the_apic_globally_disabled_the_8259_is_wired_directly() -> None:
    chip = msr(mmio(with_apic(), (LINT0, MASKED)), 0x1B, 0xFEE00100)
    assert chip.set_irq(4, True).pending_vector() == 0x24
    assert chip.acknowledge()[0] == 0x27


def test_the_8259_goes_before_the_apic() -> None:
    chip = mmio(with_apic(), (ICR, 1 << 18 | 0xF1)).set_irq(4, True)
    first, chip = chip.acknowledge()
    second, chip = chip.acknowledge()
    assert (first, second, chip.has_interrupt()) == (0x24, 0xF1, False)


def test_tpr_does_not_hold_back_the_8259() -> None:
    assert mmio(with_apic(), (TPR, 0xF0)).set_irq(4, True).has_interrupt()


def test_inta_with_nothing_pending_is_the_apics_spurious_vector() -> None:
    assert mmio(with_apic(), (SVR, 0x1EF)).acknowledge()[0] == 0xEF


def test_an_nmi_is_taken_once() -> None:
    taken, chip = mmio(with_apic(), (ICR, 1 << 18 | 4 << 8)).take_nmi()
    assert taken
    assert not chip.take_nmi()[0]


def test_taking_an_init_resets_the_apic_only() -> None:
    chip = mmio(with_apic(), (ICR, 1 << 14 | 5 << 8))
    taken, after = chip.take_init()
    assert taken
    assert (after.lapic, after.pic, after.pit) == (Lapic(), chip.pic, chip.pit)


def test_cr8_is_the_class_of_tpr() -> None:
    chip = mmio(with_apic(), (TPR, 0x5A))
    assert chip.cr8 == 5
    assert chip.with_cr8(0x9).read_mmio(TPR, 4, 0) == 0x90


# -- time ------------------------------------------------------------------------------------------


def test_the_pit_ticks_into_irq_0() -> None:
    chip = with_pit(with_pic())
    tick = chip.next_event(0)
    assert tick is not None
    assert not chip.advance(tick - 1).has_interrupt()
    assert chip.advance(tick).pending_vector() == 0x20


def test_a_second_of_pit_ticks_is_1193_periods() -> None:
    chip, now, seen = with_pit(with_pic()), 0, 0
    while (event := chip.next_event(now)) is not None and event <= 10**9:
        now = event
        _, chip = chip.advance(now).acknowledge()
        chip = chip.write_port(0x20, 1, 0x20, now)
        seen += 1
    assert seen == 1_193_181 // PIT_PERIOD


def test_a_pit_that_the_8259_masks_makes_no_event_but_is_remembered() -> None:
    chip = ports(with_pit(with_pic()), (0x21, 0x01))
    assert chip.next_event(0) is None
    assert ports(chip, (0x21, 0x00), now=10**7).pending_vector() == 0x20


def test_lint0_as_nmi_makes_the_pit_a_watchdog() -> None:
    chip = with_pit(ports(mmio(with_apic(), (LINT0, 0x400)), (0x21, 0xFF)))
    tick = chip.next_event(0)
    assert tick is not None
    assert chip.advance(tick).take_nmi()[0]


def test_the_apic_timer_raises_its_vector() -> None:
    chip = mmio(with_apic(), (LVT_TIMER, 0x41), (INITIAL, 100), now=50)
    assert chip.next_event(50) == 150
    assert chip.advance(150).acknowledge()[0] == 0x41


def test_the_earlier_timer_is_the_next_event() -> None:
    chip = with_pit(mmio(with_apic(), (LVT_TIMER, 0x41), (INITIAL, 5000)))
    assert chip.next_event(0) == 5000
    pit_first = mmio(chip, (INITIAL, 10**9))
    assert pit_first.next_event(0) == pit_first.pit.next_expiry()


def test_an_event_that_was_missed_is_due_now() -> None:
    chip = mmio(with_apic(), (LVT_TIMER, 0x41), (INITIAL, 100))
    assert chip.next_event(170) == 170


def test_a_tsc_deadline_in_the_past_fires_at_once() -> None:
    chip = msr(mmio(with_apic(), (LVT_TIMER, DEADLINE | 0x41)), 0x6E0, 10, now=1000)
    assert chip.pending_vector() == 0x41
    assert chip.rdmsr(0x6E0, 1000) == 0


def test_a_read_sees_the_timers_that_expired_before_it() -> None:
    chip = mmio(with_apic(), (LVT_TIMER, 0x41), (INITIAL, 100))
    assert chip.read_mmio(IRR2, 4, 99) == 0
    assert chip.read_mmio(IRR2, 4, 100) == 1 << 1


def test_masking_a_timer_after_its_expiry_does_not_take_it_back() -> None:
    chip = mmio(with_apic(), (LVT_TIMER, 0x41), (INITIAL, 100))
    assert mmio(chip, (LVT_TIMER, MASKED | 0x41), now=100).pending_vector() == 0x41


def test_advancing_to_no_event_gives_the_same_object() -> None:
    chip = with_pit(with_apic())
    assert chip.advance(5) is chip


# -- accesses --------------------------------------------------------------------------------------


def test_the_claimed_ports_are_those_of_three_chips() -> None:
    assert {0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1, *range(0x40, 0x44), 0x61} == Irqchip.PORTS


@pytest.mark.parametrize("port", [0x20, 0x4D0, 0x80])
def test_a_wide_or_foreign_port_access_does_nothing(port: int) -> None:
    chip = with_pic()
    assert chip.write_port(port, 4, 0x11, 0) == chip
    assert chip.read_port(port, 2, 0) == (0, chip)


def test_reading_a_port_may_change_the_state() -> None:
    chip = with_pit(Irqchip())
    low, chip = chip.read_port(0x40, 1, 10**6)
    high, chip = chip.read_port(0x40, 1, 10**6)
    assert low | high << 8 == PIT_PERIOD - (1193 - 1) % PIT_PERIOD


@pytest.mark.parametrize(
    ("index", "ours"),
    [(0x1B, 1), (0x6E0, 1), (0x800, 1), (0x8FF, 1), (0x900, 0), (0x10, 0), (0x7FF, 0)],
)
def test_owns_msr_tells_which_indexes_are_ours(index: int, ours: bool) -> None:
    assert Irqchip.owns_msr(index) == ours


def test_a_refused_msr_access_is_none() -> None:
    assert Irqchip().rdmsr(0x802, 0) is None
    assert Irqchip().wrmsr(0x802, 0, 0) is None


def test_the_page_moves_with_the_base_register_and_goes_with_x2apic() -> None:
    assert Irqchip().mmio_base == 0xFEE00000
    assert msr(Irqchip(), 0x1B, 0xFED00900).mmio_base == 0xFED00000
    assert msr(Irqchip(), 0x1B, 0xFEE00D00).mmio_base is None
    assert msr(Irqchip(), 0x1B, 0xFEE00100).mmio_base is None


# -- invariants ------------------------------------------------------------------------------------

registers = st.sampled_from([TPR, 0xB0, ICR, LVT_TIMER, LINT0, INITIAL, DIVIDE, SVR])
actions = (
    st.tuples(st.just("mmio"), registers, st.integers(0, 0x7FFFF))
    | st.tuples(st.just("port"), st.sampled_from(sorted(Irqchip.PORTS)), st.integers(0, 255))
    | st.tuples(st.just("line"), st.integers(0, 15), st.booleans())
    | st.tuples(st.just("inta"), st.just(0), st.just(0))
)
histories = st.lists(st.tuples(st.integers(0, 200_000), actions), max_size=25)


def played(history: list[tuple[int, tuple[str, int, int]]]) -> tuple[Irqchip, int]:
    """The state after a history of (ticks to wait, action), and its time."""
    chip, now = with_pit(mmio(with_apic(), (LVT_TIMER, PERIODIC | 0x41), (INITIAL, 5000))), 0
    for wait, (what, where, value) in history:
        now += wait
        if what == "mmio":
            chip = chip.write_mmio(where, 4, value, now)
        elif what == "port":
            chip = chip.write_port(where, 1, value, now)
        elif what == "line":
            chip = chip.set_irq(where, bool(value))
        elif chip.advance(now).has_interrupt():
            _, chip = chip.advance(now).acknowledge()
    return chip, now


def pins(chip: Irqchip) -> tuple[object, ...]:
    return chip.lapic.irr, chip.pic.output, chip.lapic.nmi, chip.has_interrupt()


@given(histories, st.integers(0, 10**6))
def test_nothing_happens_before_the_next_event(
    history: list[tuple[int, tuple[str, int, int]]], wait: int
) -> None:
    chip, now = played(history)
    chip = chip.advance(now)
    event = chip.next_event(now)
    quiet_until = now + wait if event is None else event - 1
    assert pins(chip.advance(quiet_until)) == pins(chip)


@given(histories, st.lists(st.integers(0, 10**6), min_size=1, max_size=4))
def test_advancing_in_steps_is_advancing_at_once(
    history: list[tuple[int, tuple[str, int, int]]], waits: list[int]
) -> None:
    chip, now = played(history)
    stepped = chip
    for wait in sorted(waits):
        stepped = stepped.advance(now + wait)
    assert stepped == chip.advance(now + max(waits))


@given(histories)
def test_inta_asks_one_chip_and_the_apic_only_above_its_priority(
    history: list[tuple[int, tuple[str, int, int]]],
) -> None:
    chip, now = played(history)
    chip = chip.advance(now)
    if not chip.has_interrupt():
        assert chip.acknowledge()[1] == chip
        return
    vector, after = chip.acknowledge()
    if after.lapic != chip.lapic:
        assert after.pic == chip.pic
        assert vector >> 4 > chip.lapic.ppr >> 4
