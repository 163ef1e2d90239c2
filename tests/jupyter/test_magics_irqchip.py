"""%vm new --irqchip, %vm irqchip and %vm irq."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kvmdbg.errors import BadInput, IoctlError, NoVm, UnknownName
from kvmdbg.irqchip import Irqchip
from tests.jupyter.offered import offered

Run = Callable[[str], Any]

KEYBOARD = """\
%%asm
        sti
again:  hlt
        jmp again
key:    inc ebx
        mov al, 0x20
        out 0x20, al
        iretq
"""


@pytest.fixture
def keyboard(run: Run) -> Run:
    """A guest with an irqchip that sleeps until a key is pressed, and counts them in EBX."""
    run("%vm new --irqchip")
    run(KEYBOARD)
    run("%vm gate 1 key")  # the 8259 as KVM resets it has base 0
    run("%vm run")
    return run


def test_new_makes_a_vm_with_an_irqchip(run: Run) -> None:
    assert "irqchip" in run("%vm new --irqchip").text
    assert isinstance(run("vm.irqchip"), Irqchip)


def test_new_without_the_option_makes_none(run: Run) -> None:
    run("%vm new --irqchip")
    run("%vm new")
    assert run("vm.irqchip") is None


def test_the_option_takes_no_value(run: Run) -> None:
    with pytest.raises(BadInput, match="takes no value"):
        run("%vm new --irqchip=yes")


def test_a_cell_that_needs_another_vm_keeps_the_irqchip(run: Run) -> None:
    run("%vm new --irqchip")
    run("%%asm --mode real\nhlt")
    assert run("vm.mode").value.startswith("real")
    assert run("vm.irqchip") == Irqchip()


def test_loading_and_resetting_make_the_irqchip_new(keyboard: Run) -> None:
    keyboard("%vm irq 4 up")
    assert keyboard("vm.irqchip") != Irqchip()
    keyboard("%vm reset")
    assert keyboard("vm.irqchip") == Irqchip()


def test_without_an_irqchip_one_line_says_how_to_make_one(guest: Run) -> None:
    text = guest("%vm irqchip").text
    assert len(text.splitlines()) == 1
    assert "%vm new --irqchip" in text
    assert "vm.create_irqchip()" in text


def test_an_irqchip_can_be_added_to_a_vm(guest: Run) -> None:
    guest("vm.create_irqchip()")
    assert "Local APIC" in guest("%vm irqchip").text


def test_the_card_shows_all_three_chips_and_gives_back_their_state(keyboard: Run) -> None:
    shown = keyboard("%vm irqchip")
    assert shown.value == keyboard("vm.irqchip")
    for words in ("Local APIC", "8259 pair", "8254 timer", "Local vector table"):
        assert words in shown.text
        assert words in shown.html


def test_the_card_is_one_html_page_with_one_style(keyboard: Run) -> None:
    assert keyboard("%vm irqchip").html.count("<style>") == 1


def test_info_names_the_irqchip_only_where_there_is_one(guest: Run) -> None:
    assert "irqchip" not in guest("%vm info").text
    guest("vm.create_irqchip()")
    assert "irqchip" in guest("%vm info").text


def test_a_pulse_is_one_interrupt(keyboard: Run) -> None:
    keyboard("%vm irq 1")
    keyboard("%vm run")
    keyboard("%vm irq 1 pulse")
    keyboard("%vm run")
    assert keyboard("vm.regs()").rbx == 2


def test_up_is_one_interrupt_until_the_line_was_down(keyboard: Run) -> None:
    for way, presses in (("up", 1), ("up", 1), ("down", 1), ("up", 2)):
        keyboard(f"%vm irq 1 {way}")
        keyboard("%vm run")
        assert keyboard("vm.regs()").rbx == presses


def test_a_line_that_is_up_shows_in_the_card(keyboard: Run) -> None:
    keyboard("%vm irq 4 up")
    rows = [line.split() for line in keyboard("%vm irqchip").text.splitlines()]
    assert ["4", "0x04", "high", "waits+", "edge"] in rows


@pytest.mark.parametrize(
    ("line", "error", "complaint"),
    [
        ("%vm irq", BadInput, "something is missing: %vm irq LINE [up|down|pulse]"),
        ("%vm irq 16", IoctlError, "line 16 is not in 0..15"),
        ("%vm irq key", BadInput, "not a number"),
        ("%vm irq 1 upp", UnknownName, 'did you mean "up"'),
        ("%vm irq 1 up down", BadInput, 'unexpected "down"'),
        ("%vm irqchip 1", BadInput, 'unexpected "1"'),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    keyboard: Run, line: str, error: type[Exception], complaint: str
) -> None:
    before = keyboard("vm.irqchip")
    with pytest.raises(error) as caught:
        keyboard(line)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert keyboard("vm.irqchip") == before


def test_a_line_without_an_irqchip_is_refused_with_the_remedy(guest: Run) -> None:
    with pytest.raises(IoctlError, match="create_irqchip"):
        guest("%vm irq 1")


@pytest.mark.parametrize("line", ["%vm irqchip", "%vm irq 1"])
def test_without_a_vm_they_say_how_to_begin(run: Run, line: str) -> None:
    with pytest.raises(NoVm):
        run(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%vm irq", ["irq", "irqchip"]),
        ("%vm new --i", ["--irqchip"]),
        ("%vm irq 1 p", ["pulse"]),
        ("%vm irq 1 ", ["up", "down", "pulse"]),
        ("%vm irq 1", ["1", "10", "11", "12", "13", "14", "15"]),
    ],
)
def test_tab_offers_what_may_stand_there(line: str, words: list[str]) -> None:
    assert offered(line) == words
