"""The local APIC alone: priorities, messages, registers, MSRs, and its timer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.irqchip import lapic_registers as reg
from kvmdbg.irqchip.lapic import Delivery, Lapic, Lvt
from kvmdbg.irqchip.lapic_timer import ApicTimer, TimerMode

vectors = st.integers(16, 255)
bytes_ = st.integers(0, 255)
u32 = st.integers(0, (1 << 32) - 1)
MASKED, PERIODIC, DEADLINE = 1 << 16, 1 << 17, 2 << 17
SELF, ALL, OTHERS = 1 << 18, 2 << 18, 3 << 18
LOGICAL, ASSERT, LEVEL = 1 << 11, 1 << 14, 1 << 15
X2 = 0xFEE0_0D00


def write(lapic: Lapic, offset: int, value: int, now: int = 0) -> Lapic:
    return reg.write_page(lapic, offset, 4, value, now)


def read(lapic: Lapic, offset: int, now: int = 0) -> int:
    return reg.read_page(lapic, offset, 4, now)


def wrmsr(lapic: Lapic, index: int, value: int, now: int = 0) -> Lapic:
    written = reg.write_msr(lapic, index, value, now)
    assert written is not None
    return written


ON = write(Lapic(), reg.SVR, 0x1FF)
X2APIC = wrmsr(ON, 0x1B, X2)


def requested(*asked: int) -> Lapic:
    lapic = ON
    for vector in asked:
        lapic = lapic.accept(Delivery.FIXED, vector)
    return lapic


def pending(lapic: Lapic) -> set[int]:
    return {vector for vector in range(256) if lapic.irr >> vector & 1}


# -- reset -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (reg.ID, 0),
        (reg.VERSION, 0x50014),
        (reg.TPR, 0),
        (reg.PPR, 0),
        (reg.LDR, 0),
        (reg.DFR, 0xFFFFFFFF),
        (reg.SVR, 0xFF),
        (0x320, MASKED),
        (0x330, MASKED),
        (0x340, MASKED),
        (0x350, 0x700),
        (0x360, MASKED),
        (0x370, MASKED),
        (reg.CURRENT, 0),
    ],
)
def test_the_reset_values_are_kvms(offset: int, value: int) -> None:
    assert read(Lapic(), offset) == value


def test_the_base_register_says_enabled_bootstrap_processor() -> None:
    assert reg.read_msr(Lapic(), 0x1B, 0) == 0xFEE00900


def test_init_keeps_mode_and_id_only() -> None:
    lapic = replace(requested(0x30), apic_id=3, base=X2)
    assert lapic.reset() == Lapic(apic_id=3, base=X2)


# -- priorities ------------------------------------------------------------------------------------


def test_the_highest_vector_goes_first() -> None:
    assert requested(0x31, 0xF0, 0x80).deliverable == 0xF0


def test_acknowledging_moves_the_vector_from_irr_to_isr() -> None:
    vector, lapic = requested(0x31).acknowledge()
    assert (vector, lapic.irr, lapic.isr) == (0x31, 0, 1 << 0x31)


def test_a_vector_in_service_holds_back_its_whole_class() -> None:
    lapic = requested(0x31).acknowledge()[1]
    assert lapic.accept(Delivery.FIXED, 0x3F).deliverable is None
    assert lapic.accept(Delivery.FIXED, 0x40).deliverable == 0x40


def test_tpr_holds_back_its_class_and_the_lower() -> None:
    lapic = write(requested(0x4F), reg.TPR, 0x40)
    assert lapic.deliverable is None
    assert write(lapic, reg.TPR, 0x3F).deliverable == 0x4F


@pytest.mark.parametrize(
    ("tpr", "serving", "ppr"), [(0x35, 0x31, 0x35), (0x35, 0x41, 0x40), (0x55, 0x41, 0x55)]
)
def test_ppr_is_the_higher_of_tpr_and_the_class_in_service(
    tpr: int, serving: int, ppr: int
) -> None:
    assert read(replace(ON, tpr=tpr, isr=1 << serving), reg.PPR) == ppr


def test_eoi_ends_the_highest_in_service() -> None:
    lapic = replace(ON, isr=1 << 0x31 | 1 << 0x80)
    assert write(lapic, reg.EOI, 0).isr == 1 << 0x31


def test_an_eoi_with_nothing_in_service_is_harmless() -> None:
    assert write(ON, reg.EOI, 0) == ON


def test_a_request_that_tpr_overtook_gives_the_spurious_vector() -> None:
    lapic = write(requested(0x31), reg.TPR, 0xFF)
    assert lapic.acknowledge() == (0xFF, lapic)


@given(st.sets(vectors), st.sets(vectors), bytes_)
def test_ppr_is_never_below_tpr_and_inta_never_gives_what_it_holds_back(
    irr: set[int], isr: set[int], tpr: int
) -> None:
    bits = [sum(1 << vector for vector in one) for one in (irr, isr)]
    lapic = replace(ON, irr=bits[0], isr=bits[1], tpr=tpr)
    assert lapic.ppr & 0xF0 >= tpr & 0xF0
    if lapic.deliverable is not None:
        vector, after = lapic.acknowledge()
        assert vector & 0xF0 > lapic.ppr & 0xF0
        assert after.deliverable is None or after.deliverable & 0xF0 > vector & 0xF0


@given(st.sets(vectors, min_size=1))
def test_each_request_is_served_once_in_falling_order(asked: set[int]) -> None:
    lapic, seen = requested(*asked), []
    while lapic.deliverable is not None:
        vector, lapic = lapic.acknowledge()
        seen.append(vector)
        lapic = lapic.eoi()
    assert seen == sorted(asked, reverse=True)


@given(st.sets(vectors))
def test_irr_reads_as_eight_registers_of_32_vectors(asked: set[int]) -> None:
    lapic = requested(*asked)
    words = [read(lapic, reg.IRR + 16 * number) for number in range(8)]
    assert {32 * n + bit for n in range(8) for bit in range(32) if words[n] >> bit & 1} == asked


# -- disabling -------------------------------------------------------------------------------------


def test_disabling_by_software_masks_every_entry_but_keeps_requests() -> None:
    lapic = write(requested(0x31), reg.SVR, 0xFF)
    assert all(word & MASKED for word in lapic.lvt)
    assert lapic.deliverable == 0x31


def test_disabled_by_software_it_accepts_no_vector_and_no_unmasking() -> None:
    lapic = write(Lapic(), 0x320, 0x31)
    assert lapic.lvt[Lvt.TIMER] == MASKED | 0x31
    assert lapic.accept(Delivery.FIXED, 0x31).irr == 0


def test_disabled_by_software_it_still_accepts_an_nmi() -> None:
    assert Lapic().accept(Delivery.NMI, 0).nmi


def test_globally_disabled_it_delivers_nothing_and_has_no_page() -> None:
    lapic = wrmsr(requested(0x31), 0x1B, 0xFEE00100)
    assert lapic.deliverable is None
    assert read(lapic, reg.VERSION) == 0xFFFFFFFF
    assert write(lapic, reg.TPR, 0x20) == lapic


# -- IPIs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "arrives"),
    [
        (SELF, 0x77, True),
        (ALL, 0x77, True),
        (OTHERS, 0, False),
        (0, 0, True),
        (0, 1, False),
        (0, 0xFF, True),
        (LOGICAL, 0x04, True),
        (LOGICAL, 0x03, False),
        (LOGICAL, 0xFF, True),
        (Delivery.LOWEST << 8, 0, True),
    ],
)
def test_an_ipi_arrives_iff_it_names_this_processor(low: int, high: int, arrives: bool) -> None:
    lapic = write(write(ON, reg.LDR, 0x0C << 24), reg.ICR2, high << 24)
    assert pending(write(lapic, reg.ICR, low | ASSERT | 0x51)) == ({0x51} if arrives else set())


@pytest.mark.parametrize(("to", "arrives"), [(0x22, True), (0x23, True), (0x21, False), (0x32, 0)])
def test_the_cluster_model_compares_cluster_and_member(to: int, arrives: bool) -> None:
    lapic = write(write(ON, reg.DFR, 0x0FFFFFFF), reg.LDR, 0x22 << 24)
    lapic = write(lapic, reg.ICR2, to << 24)
    assert bool(write(lapic, reg.ICR, LOGICAL | ASSERT | 0x51).irr) == arrives


def test_a_physical_ipi_follows_a_changed_id() -> None:
    lapic = write(write(ON, reg.ID, 5 << 24), reg.ICR2, 5 << 24)
    assert pending(write(lapic, reg.ICR, ASSERT | 0x51)) == {0x51}


def test_an_nmi_ipi_asks_for_an_nmi() -> None:
    assert write(ON, reg.ICR, ASSERT | Delivery.NMI << 8).nmi


def test_an_init_ipi_asks_for_an_init_and_its_deassert_does_not() -> None:
    assert write(ON, reg.ICR, ASSERT | Delivery.INIT << 8).init
    assert not write(ON, reg.ICR, LEVEL | Delivery.INIT << 8).init


@pytest.mark.parametrize("mode", [Delivery.SMI, Delivery.STARTUP, Delivery.EXTINT])
def test_other_modes_change_nothing_here(mode: Delivery) -> None:
    assert ON.accept(mode, 0x51) == ON


def test_the_icr_reads_back_without_delivery_status() -> None:
    lapic = write(write(ON, reg.ICR2, 0x1200_0000), reg.ICR, 0xFFFF_FFFF & ~0x700)
    assert (read(lapic, reg.ICR), read(lapic, reg.ICR2)) == (0xCC8FF, 0x1200_0000)


def test_tmr_tells_level_from_edge() -> None:
    lapic = write(ON, reg.ICR, SELF | LEVEL | ASSERT | 0x51)
    assert lapic.tmr == 1 << 0x51
    assert write(lapic, reg.ICR, SELF | ASSERT | 0x51).tmr == 0


# -- errors ----------------------------------------------------------------------------------------


def test_esr_shows_an_illegal_vector_after_it_was_written() -> None:
    lapic = write(ON, reg.ICR, SELF | ASSERT | 0x0F)
    assert (read(lapic, reg.ESR), lapic.irr) == (0, 0)
    lapic = write(lapic, reg.ESR, 0)
    assert read(lapic, reg.ESR) == 0x60
    assert read(write(lapic, reg.ESR, 0), reg.ESR) == 0


def test_an_illegal_vector_for_someone_else_is_only_a_send_error() -> None:
    lapic = write(write(ON, reg.ICR, OTHERS | ASSERT | 3), reg.ESR, 0)
    assert read(lapic, reg.ESR) == 0x20


def test_the_error_entry_is_raised_once_until_esr_is_written() -> None:
    lapic = write(write(ON, 0x370, 0xFE), reg.ICR, SELF | ASSERT | 3)
    assert pending(lapic) == {0xFE}
    lapic = write(replace(lapic, irr=0), reg.ICR, SELF | ASSERT | 3)
    assert lapic.irr == 0
    lapic = write(write(lapic, reg.ESR, 0), reg.ICR, SELF | ASSERT | 3)
    assert pending(lapic) == {0xFE}


def test_an_error_entry_with_an_illegal_vector_does_not_chase_itself() -> None:
    assert write(write(ON, 0x370, 0x02), reg.ICR, SELF | ASSERT | 3).irr == 0


# -- the local vector table ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "kept"),
    [
        (0x320, 0x700FF),
        (0x330, 0x107FF),
        (0x340, 0x107FF),
        (0x350, 0x1A7FF),
        (0x360, 0x1A7FF),
        (0x370, 0x100FF),
    ],
)
def test_an_entry_keeps_only_its_defined_bits(offset: int, kept: int) -> None:
    assert read(write(ON, offset, 0xFFFFFFFF), offset) == kept


def test_a_performance_interrupt_masks_its_entry() -> None:
    lapic = write(ON, 0x340, 0x55).deliver_local(Lvt.PERF)
    assert (pending(lapic), lapic.lvt[Lvt.PERF]) == ({0x55}, MASKED | 0x55)


def test_lint1_as_nmi_asks_for_an_nmi_unless_masked() -> None:
    lapic = write(ON, 0x360, Delivery.NMI << 8)
    assert lapic.deliver_local(Lvt.LINT1).nmi
    assert not ON.deliver_local(Lvt.LINT1).nmi


# -- the page --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "size"), [(0x30, 1), (0x30, 8), (0x31, 4), (0x32, 2)])
def test_other_than_aligned_32_bit_accesses_have_no_effect(offset: int, size: int) -> None:
    assert reg.read_page(ON, offset, size, 0) == 0
    assert reg.write_page(ON, offset + 0x50, size, 0x20, 0) == ON


@pytest.mark.parametrize("offset", [reg.VERSION, reg.PPR, reg.CURRENT, reg.IRR, 0x3F0, 0x000])
def test_read_only_and_reserved_registers_ignore_writes(offset: int) -> None:
    assert write(ON, offset, 0xFFFFFFFF) == ON


@given(st.lists(st.tuples(st.integers(0, 63), u32), max_size=20))
def test_no_write_makes_an_impossible_state(writes: list[tuple[int, int]]) -> None:
    lapic = ON
    for number, value in writes:
        lapic = write(lapic, 16 * number, value)
    assert lapic.irr & 0xFFFF == 0
    assert all(0 <= read(lapic, 16 * number) < 1 << 32 for number in range(256))


# -- IA32_APIC_BASE --------------------------------------------------------------------------------

OFF, XAPIC, X2MODE = 0x100, 0x900, 0xD00


@pytest.mark.parametrize(
    ("path", "legal"),
    [
        ([OFF], True),
        ([OFF, XAPIC], True),
        ([X2MODE], True),
        ([X2MODE, OFF], True),
        ([X2MODE, X2MODE], True),
        ([X2MODE, XAPIC], False),
        ([OFF, X2MODE], False),
        ([0x500], False),
        ([X2MODE, 0x500], False),
        ([XAPIC | 0x200], False),
        ([XAPIC | 0x80], False),
        ([XAPIC | 1 << 40], False),
    ],
)
def test_only_the_legal_transitions_of_the_base_register(path: list[int], legal: bool) -> None:
    lapic: Lapic | None = Lapic()
    for value in path:
        assert lapic is not None
        lapic = reg.write_msr(lapic, 0x1B, 0xFEE00000 | value, 0)
    assert (lapic is not None) == legal


# -- x2APIC ----------------------------------------------------------------------------------------

READABLE = {2, 3, 8, 0xA, 0xD, 0xF, *range(0x10, 0x28), 0x28, 0x30, *range(0x32, 0x3A), 0x3E}
WRITABLE = {8, 0xB, 0xF, 0x28, 0x30, *range(0x32, 0x39), 0x3E, 0x3F}


@pytest.mark.parametrize("lapic", [Lapic(), wrmsr(Lapic(), 0x1B, 0x100)])
def test_the_x2apic_registers_exist_only_in_x2apic_mode(lapic: Lapic) -> None:
    assert reg.read_msr(lapic, 0x803, 0) is None
    assert reg.write_msr(lapic, 0x80B, 0, 0) is None


def test_the_readable_registers_are_those_of_the_manual() -> None:
    seen = {n for n in range(0x100) if reg.read_msr(X2APIC, 0x800 + n, 0) is not None}
    assert seen == READABLE


def test_the_writable_registers_are_those_of_the_manual() -> None:
    seen = {n for n in range(0x100) if reg.write_msr(X2APIC, 0x800 + n, 0, 0) is not None}
    assert seen == WRITABLE


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (0x08, 0x100),
        (0x0B, 1),
        (0x0F, 0x400),
        (0x28, 1),
        (0x30, 1 << 13),
        (0x30, 1 << 20),
        (0x32, 1 << 19),
        (0x35, 1 << 17),
        (0x37, 0x100),
        (0x38, 1 << 32),
        (0x3E, 4),
        (0x3F, 0x100),
    ],
)
def test_a_reserved_bit_in_x2apic_mode_is_gp(number: int, value: int) -> None:
    assert reg.write_msr(X2APIC, 0x800 + number, value, 0) is None


def test_the_x2apic_has_no_page() -> None:
    assert read(X2APIC, reg.VERSION) == 0xFFFFFFFF


def test_self_ipi_is_a_fixed_ipi_to_oneself() -> None:
    assert pending(wrmsr(X2APIC, 0x83F, 0x51)) == {0x51}


@pytest.mark.parametrize(
    ("destination", "low", "arrives"),
    [
        (0, 0, True),
        (1, 0, False),
        (0xFF, 0, False),
        (0xFFFFFFFF, 0, True),
        (0x0000_0001, LOGICAL, True),
        (0x0000_0002, LOGICAL, False),
        (0x0001_0001, LOGICAL, False),
    ],
)
def test_x2apic_destinations_have_32_bits(destination: int, low: int, arrives: bool) -> None:
    lapic = wrmsr(X2APIC, 0x830, destination << 32 | ASSERT | low | 0x51)
    assert bool(lapic.irr) == arrives


def test_the_x2apic_icr_is_64_bits_and_its_busy_bit_is_ignored() -> None:
    lapic = wrmsr(X2APIC, 0x830, 7 << 32 | 0x1000 | ASSERT | 0x51)
    assert reg.read_msr(lapic, 0x830, 0) == 7 << 32 | ASSERT | 0x51


def test_the_x2apic_logical_id_comes_from_the_id() -> None:
    assert (reg.read_msr(X2APIC, 0x80D, 0), reg.read_msr(X2APIC, 0x802, 0)) == (1, 0)


# -- the timer -------------------------------------------------------------------------------------


def timer(mode: int, count: int, divide: int = 0xB) -> Lapic:
    """Vector 0x40, started at tick 0."""
    return write(write(write(ON, 0x320, mode | 0x40), reg.DIVIDE, divide), reg.INITIAL, count)


def test_a_one_shot_fires_once_at_zero() -> None:
    lapic = timer(0, 100)
    assert lapic.advance(99) == lapic
    fired = lapic.advance(100)
    assert pending(fired) == {0x40}
    assert replace(fired, irr=0).advance(10**6).irr == 0


def test_the_divider_slows_the_count() -> None:
    lapic = timer(0, 100, divide=3)
    assert lapic.next_event() == 1600
    assert [read(lapic, reg.CURRENT, now) for now in (0, 15, 16, 1599)] == [100, 100, 99, 1]


def test_a_stopped_one_shot_reads_0() -> None:
    assert read(timer(0, 100).advance(500), reg.CURRENT, 500) == 0


def test_a_periodic_timer_reloads_and_coalesces() -> None:
    lapic = timer(PERIODIC, 100).advance(350)
    assert pending(lapic) == {0x40}
    assert (read(lapic, reg.CURRENT, 350), lapic.next_event()) == (50, 400)


def test_an_initial_count_of_0_stops_the_timer() -> None:
    assert write(timer(PERIODIC, 100), reg.INITIAL, 0, 50).next_event() is None


def test_a_masked_timer_counts_on_unheard() -> None:
    lapic = timer(MASKED | PERIODIC, 100)
    assert lapic.next_event() is None
    lapic = lapic.advance(130)
    assert (lapic.irr, read(lapic, reg.CURRENT, 130)) == (0, 70)


def test_changing_the_divider_keeps_the_count() -> None:
    lapic = write(timer(0, 100), reg.DIVIDE, 0, 40)
    assert (read(lapic, reg.CURRENT, 40), lapic.next_event()) == (60, 40 + 120)


def test_one_shot_becomes_periodic_without_a_restart() -> None:
    lapic = write(timer(0, 100), 0x320, PERIODIC | 0x40, 60).advance(100)
    assert lapic.next_event() == 200


def test_a_timer_vector_below_16_is_an_error_and_no_interrupt() -> None:
    lapic = write(timer(0, 100), 0x320, 0x05).advance(100)
    assert (lapic.irr, lapic.errors) == (0, 0x40)


def test_a_tsc_deadline_fires_once_and_then_reads_0() -> None:
    lapic = wrmsr(write(ON, 0x320, DEADLINE | 0x40), 0x6E0, 500)
    assert (reg.read_msr(lapic, 0x6E0, 0), lapic.next_event()) == (500, 500)
    lapic = lapic.advance(500)
    assert (pending(lapic), reg.read_msr(lapic, 0x6E0, 500)) == ({0x40}, 0)


def test_writing_0_disarms_the_tsc_deadline() -> None:
    lapic = wrmsr(write(ON, 0x320, DEADLINE | 0x40), 0x6E0, 500)
    assert wrmsr(lapic, 0x6E0, 0).next_event() is None


def test_the_deadline_msr_is_dead_in_the_other_modes() -> None:
    lapic = wrmsr(timer(0, 100), 0x6E0, 5)
    assert (reg.read_msr(lapic, 0x6E0, 0), lapic.next_event()) == (0, 100)


def test_the_counts_are_dead_in_tsc_deadline_mode() -> None:
    lapic = write(write(ON, 0x320, DEADLINE | 0x40), reg.INITIAL, 100)
    assert (read(lapic, reg.INITIAL), lapic.next_event()) == (0, None)
    assert read(wrmsr(lapic, 0x6E0, 500), reg.CURRENT) == 0


def test_leaving_tsc_deadline_mode_disarms() -> None:
    lapic = wrmsr(write(ON, 0x320, DEADLINE | 0x40), 0x6E0, 500)
    assert write(lapic, 0x320, 0x40).next_event() is None


timers = st.builds(
    ApicTimer,
    st.sampled_from(TimerMode),
    st.integers(1, 1000),
    st.sampled_from([0, 1, 2, 3, 8, 9, 10, 11]),
    st.none() | st.integers(1, 1000),
)


@given(timers, st.lists(st.integers(0, 10**6), max_size=5))
def test_advancing_in_steps_is_advancing_at_once(start: ApicTimer, times: list[int]) -> None:
    stepped, expired = start, False
    for now in sorted(times):
        step, stepped = stepped.advance(now)
        expired |= step
    assert (expired, stepped) == start.advance(max(times, default=0))


@given(st.integers(1, 50), st.sampled_from([0, 1, 0xB]), st.integers(0, 3000), st.booleans())
def test_the_current_count_is_what_a_counter_stepped_by_hand_holds(
    initial: int, divide: int, now: int, periodic: bool
) -> None:
    lapic = timer(PERIODIC if periodic else 0, initial, divide)
    count = initial
    for _ in range(now // lapic.timer.divider):
        count = max(count - 1, 0) or (initial if periodic else 0)
    assert read(lapic.advance(now), reg.CURRENT, now) == count


def test_globally_disabled_the_timer_is_not_heard_and_the_deadline_reads_0() -> None:
    lapic = wrmsr(write(ON, 0x320, DEADLINE | 0x40), 0x6E0, 500)
    lapic = wrmsr(lapic, 0x1B, 0xFEE00100)
    assert (lapic.next_event(), reg.read_msr(lapic, 0x6E0, 0)) == (None, 0)
    assert lapic.advance(500).irr == 0


# -- small print -----------------------------------------------------------------------------------


def test_the_low_bits_of_dfr_are_ones() -> None:
    assert read(write(ON, reg.DFR, 0), reg.DFR) == 0x0FFFFFFF


def test_enabling_the_apic_sets_its_id_anew() -> None:
    lapic = wrmsr(write(ON, reg.ID, 5 << 24), 0x1B, 0xFEE00100)
    assert read(wrmsr(lapic, 0x1B, 0xFEE00900), reg.ID) == 0
