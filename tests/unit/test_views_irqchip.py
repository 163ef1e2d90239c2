"""The card of the interrupt controllers: what each row says, as text and as HTML."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from kvmdbg.irqchip import Irqchip
from kvmdbg.irqchip.lapic import Lvt
from kvmdbg.views import html, irqchip, text
from kvmdbg.views.tables import Card, Table


def page(chip: Irqchip, *writes: tuple[int, int], now: int = 0) -> Irqchip:
    """The chip after 32-bit writes to the APIC's page."""
    for offset, value in writes:
        chip = chip.write_mmio(offset, 4, value, now)
    return chip


def ports(chip: Irqchip, *writes: tuple[int, int], now: int = 0) -> Irqchip:
    """The chip after OUTs."""
    for port, value in writes:
        chip = chip.write_port(port, 1, value, now)
    return chip


def row(card: Card, name: str) -> list[str]:
    """The cells behind a row's header."""
    tables = [part for part in card.parts if isinstance(part, Table)]
    found = [line for table in tables for line in table.lines if line.cells[0].text == name]
    return [cell.text for cell in found[0].cells[1:]]


NEW = Irqchip()
ON = page(NEW, (0xF0, 0x1FF))
REQUESTED = page(ON, (0x300, 0x40040), (0x300, 0x400EC))


# -- the local APIC --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (0xFEE00900, "xAPIC: registers in the page at 0xfee00000"),
        (0xFEE00D00, "x2APIC: registers are MSRs 0x800-0x8ff"),
        (0xFEE00100, "globally disabled; the 8259 interrupts alone"),
    ],
)
def test_the_base_says_which_mode_it_is(base: int, words: str) -> None:
    chip = replace(NEW, lapic=replace(NEW.lapic, base=base))
    assert row(irqchip.lapic(chip, 0), "APIC_BASE") == [f"{base:#x}", words]


def test_requests_and_services_are_vectors() -> None:
    _, taken = REQUESTED.acknowledge()
    card = irqchip.lapic(taken, 0)
    assert (row(card, "IRR")[0], row(card, "ISR")[0]) == ("0x40", "0xec")


def test_without_requests_there_is_none() -> None:
    assert row(irqchip.lapic(ON, 0), "IRR")[0] == "none"


def test_the_card_says_which_vector_is_next() -> None:
    assert "0xec" in irqchip.lapic(REQUESTED, 0).sentence
    assert irqchip.lapic(ON, 0).sentence == "no interrupt for the processor"


def test_looking_takes_no_interrupt() -> None:
    before = REQUESTED
    irqchip.lapic(before, 0)
    assert before.pending_vector() == 0xEC


def test_the_task_priority_is_also_cr8_and_says_what_it_holds_back() -> None:
    card = irqchip.lapic(ON.with_cr8(5), 0)
    assert row(card, "TPR") == ["0x50", "CR8 = 5: vectors up to 0x5f wait"]


def test_the_processor_priority_is_that_of_what_is_in_service() -> None:
    _, taken = REQUESTED.acknowledge()
    assert row(irqchip.lapic(taken, 0), "PPR") == ["0xe0", "vectors up to 0xef wait"]


@pytest.mark.parametrize(
    ("chip", "words"),
    [
        (NEW, "disabled by software, spurious vector 0xff"),
        (ON, "enabled by software, spurious vector 0xff"),
    ],
)
def test_the_spurious_vector_register_says_whether_it_is_enabled(chip: Irqchip, words: str) -> None:
    assert row(irqchip.lapic(chip, 0), "SVR")[1] == words


@pytest.mark.parametrize(
    ("entry", "word", "words"),
    [
        (Lvt.TIMER, 0x00040, "vector 0x40, one-shot"),
        (Lvt.TIMER, 0x30040, "masked, vector 0x40, periodic"),
        (Lvt.TIMER, 0x40040, "vector 0x40, TSC deadline"),
        (Lvt.TIMER, 0x60040, "vector 0x40, reserved mode"),
        (Lvt.LINT0, 0x00700, "ExtINT: the 8259 gives the vector"),
        (Lvt.LINT1, 0x10400, "masked, NMI"),
        (Lvt.LINT0, 0x08031, "vector 0x31, level-triggered"),
        (Lvt.THERMAL, 0x00200, "SMI"),
        (Lvt.PERF, 0x00300, "reserved delivery mode"),
        (Lvt.PERF, 0x00150, "vector 0x50, lowest priority"),
        (Lvt.ERROR, 0x000FE, "vector 0xfe"),
    ],
)
def test_an_entry_of_the_local_vector_table_in_words(entry: Lvt, word: int, words: str) -> None:
    assert irqchip.lvt_words(entry, word) == words


def test_every_entry_of_the_local_vector_table_has_a_row() -> None:
    card = irqchip.lapic(NEW, 0)
    for name in ("timer", "thermal", "performance", "LINT0", "LINT1", "error"):
        assert row(card, name)


def test_an_entry_that_is_not_masked_is_marked() -> None:
    assert "0x00700+" in text.render(irqchip.lapic(NEW, 0))


def timer_rows(chip: Irqchip, now: int) -> list[list[str]]:
    table = irqchip.lapic(chip, now).parts[2]
    assert isinstance(table, Table)
    return [[cell.text for cell in line.cells] for line in table.lines]


def test_a_running_timer_says_what_is_left() -> None:
    chip = page(ON, (0x3E0, 0), (0x320, 0x20040), (0x380, 500), now=100)
    assert timer_rows(chip, 300) == [
        ["timer", "periodic", "expires in 800 ticks (at 1,100)"],
        ["divide", "2", "one count is 2 ticks"],
        ["initial", "500", ""],
        ["current", "400", ""],
    ]


def test_a_timer_that_nobody_set_is_stopped() -> None:
    assert timer_rows(NEW, 7)[0] == ["timer", "one-shot", "stopped"]


def test_a_tsc_deadline_has_no_counts() -> None:
    chip = page(ON, (0x320, 0x40040)).wrmsr(0x6E0, 5000, 10)
    assert chip is not None
    assert timer_rows(chip, 4000) == [
        ["timer", "TSC deadline", "expires in 1,000 ticks (at 5,000)"]
    ]


# -- the 8259 pair ---------------------------------------------------------------------------------

INITIALISED = ports(
    NEW, *((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xB8), (0x4D1, 0x08)),
    *((0xA0, 0x11), (0xA1, 0x28), (0xA1, 2), (0xA1, 1), (0xA1, 0)),
)  # fmt: skip


def test_each_line_has_its_vector_level_request_service_mask_and_trigger() -> None:
    chip = INITIALISED.set_irq(0, True).set_irq(11, True)
    _, chip = chip.acknowledge()
    card = irqchip.pics(chip)
    assert row(card, "0") == ["0x20", "high", "", "in service", "", "edge"]
    assert row(card, "3") == ["0x23", "", "", "", "masked", "edge"]
    assert row(card, "11") == ["0x2b", "high", "waits", "", "", "level"]


def test_the_title_says_whether_the_pair_interrupts() -> None:
    assert irqchip.pics(INITIALISED).title == "8259 pair: INT is low"
    assert irqchip.pics(INITIALISED.set_irq(1, True)).title == "8259 pair: INT is high"


def test_the_registers_of_each_8259_stand_in_one_row() -> None:
    card = irqchip.pics(INITIALISED.set_irq(1, True))
    assert row(card, "master")[0] == "IRR 0x02  ISR 0x00  IMR 0xb8  ELCR 0x00"
    assert row(card, "slave")[0] == "IRR 0x00  ISR 0x00  IMR 0x00  ELCR 0x08"


def test_unusual_modes_of_an_8259_are_named() -> None:
    chip = ports(NEW, (0x20, 0x11), (0xA0, 0x13), (0xA1, 0x70), (0xA1, 3), (0xA0, 0x68))
    card = irqchip.pics(chip)
    assert row(card, "master")[1] == "being initialised"
    assert row(card, "slave")[1] == "automatic EOI, special mask mode"


# -- the 8254 --------------------------------------------------------------------------------------


def test_a_counter_that_nobody_set_is_stopped() -> None:
    assert row(irqchip.pit(NEW, 0), "0") == [
        "IRQ 0", "not set", "stopped", "", "", "high", "low",
    ]  # fmt: skip


def test_a_running_counter_shows_its_mode_counts_and_output() -> None:
    chip = ports(NEW, (0x43, 0x34), (0x40, 0xE8), (0x40, 0x03))
    state = row(irqchip.pit(chip, 100_000), "0")
    assert state[1:4] == ["2: rate generator", "running", "1000"]
    assert state[4:] == [str(1000 - (100_000 * 1_193_182 // 10**9 - 1)), "high", "high"]


def test_the_card_says_when_irq_0_ticks() -> None:
    chip = ports(NEW, (0x43, 0x34), (0x40, 0xE8), (0x40, 0x03))
    expiry = chip.pit.next_expiry()
    assert expiry is not None
    assert (
        irqchip.pit(chip, 5).sentence == f"IRQ 0: expires in {expiry - 5:,} ticks (at {expiry:,})"
    )


def test_a_counter_in_bcd_shows_decimal_digits() -> None:
    chip = ports(NEW, (0x43, 0x31), (0x40, 0x34), (0x40, 0x12))
    assert row(irqchip.pit(chip, 900), "0")[1:5] == [
        "0: interrupt on terminal count, BCD", "running", "1234", "1234",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("control", "state"), [(0xB6, "held by GATE"), (0xB2, "waits for GATE"), (None, "stopped")]
)
def test_a_counter_whose_gate_is_low_says_so(control: int | None, state: str) -> None:
    writes = [] if control is None else [(0x43, control), (0x42, 5), (0x42, 0)]
    assert row(irqchip.pit(ports(NEW, *writes), 0), "2")[2] == state


# -- both renderings -------------------------------------------------------------------------------


@pytest.mark.parametrize("chip", [NEW, REQUESTED, INITIALISED])
def test_text_and_html_show_the_same_cells(chip: Irqchip) -> None:
    for card in (irqchip.lapic(chip, 9), irqchip.pics(chip), irqchip.pit(chip, 9)):
        plain, marked = text.render(card), html.render(card)
        bare = re.sub(r"<[^>]+>", "", marked)
        for part in card.parts:
            assert isinstance(part, Table)
            for cell in (cell for line in part.lines for cell in line.cells):
                assert cell.text in plain
                assert cell.text in bare


@pytest.mark.parametrize("chip", [NEW, REQUESTED, INITIALISED])
def test_no_line_is_wider_than_a_terminal_of_100_columns(chip: Irqchip) -> None:
    cards = (irqchip.lapic(chip, 9), irqchip.pics(chip), irqchip.pit(chip, 9))
    assert max(map(len, text.render(*cards).splitlines())) <= 100
