"""The HTML views: well formed, escaped, marked by shape, and never other than the text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from kvmdbg.exits import DebugExit
from kvmdbg.history.timeline import Timeline
from kvmdbg.program.listing import Listing, ListingLine
from kvmdbg.views import cpu, debugregs, html, story, text
from kvmdbg.views.tables import Card, Cell, Column, Mark, Table, Verbatim, line
from kvmdbg.x86.decode import Instruction
from kvmdbg.x86.registers import DebugRegs, Regs, Sregs

VOID = {"br", "img", "hr"}
EVIL = '<script>alert("x")</script>&'
CODE = [Instruction(0x8000, 1, b"\xf4", "hlt", ""), Instruction(0x8001, 2, b"\xeb\xfe", "jmp", "")]


def some_exits() -> Timeline:
    timeline = Timeline()
    timeline.append(DebugExit(1, 0x8000, 0xFFFF_4FF1, 0x402), 0x8000, 1)
    return timeline


CARDS = {
    "registers": cpu.registers(Regs(rax=5), Sregs(), {"rax": (4, 5), "ZF": (1, 0)}),
    "disassembly": cpu.disassembly(CODE, 0x8001, {0x8000: "start"}, {0x8000: "1"}),
    "hexdump": cpu.hexdump(bytes(range(40)), 0x9000, [0x9003]),
    "debugregs": debugregs.debugregs(DebugRegs(), None),
    "debugregs with a host": debugregs.debugregs(DebugRegs(), (0x8000, *(0,) * 6, 0x402)),
    "timeline": story.timeline(some_exits(), 20, {}),
    "listing": story.listing(Listing([ListingLine(1, 0x8000, b"\xf4", "hlt")]), 0x8000, {}),
    "console": Card("A card", "with a sentence", (Verbatim("console", "Hello\n"),)),
}
every_card = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)


class Page(HTMLParser):
    """What a browser makes of it: the visible words of each cell, and whether tags are balanced."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.cells: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and {"td", "th"} & set(self.open):
            self.cells[-1] += data


def cells_of(card: Card) -> list[Cell]:
    tables = [part for part in card.parts if isinstance(part, Table)]
    return [cell for table in tables for row in table.lines for cell in row.cells]


@every_card
def test_every_tag_is_closed_where_it_should_be(card: Card) -> None:
    page = Page(html.render(card))
    assert (page.open, page.wrong) == ([], [])


@every_card
def test_html_and_text_show_the_same_cells(card: Card) -> None:
    page, words = Page(html.render(card)), text.render(card)
    for cell in cells_of(card):
        assert any(cell.text in shown for shown in page.cells)
        assert cell.text in words


@every_card
def test_every_table_has_a_name_for_screen_readers(card: Card) -> None:
    source = html.render(card)
    tables = re.findall(r"<table([^>]*)>\s*(<caption>)?", source)
    assert len(tables) == sum(isinstance(part, Table) for part in card.parts)
    assert all("aria-label" in attributes or caption for attributes, caption in tables)


@every_card
def test_there_is_one_small_style_sheet_and_no_script(card: Card) -> None:
    source = html.render(card)
    assert source.count("<style>") == 1
    assert "<script" not in source
    assert len(html.STYLE) < 2500


def test_two_cards_share_one_style_sheet() -> None:
    source = html.render(Card("a"), Card("b"))
    assert (source.count("<style>"), source.count('<div class="kvmdbg">')) == (1, 2)


@pytest.mark.parametrize(
    "card",
    [
        Card(EVIL, EVIL, (Verbatim(EVIL, EVIL),)),
        Card("t", "", (Table((Column(EVIL),), (line(Cell(EVIL, Mark.CHANGED, EVIL)),), EVIL),)),
        Card(EVIL, "", (Table((Column(),), (line("x"),)),)),
    ],
)
def test_nothing_from_outside_becomes_a_tag(card: Card) -> None:
    source = html.render(card)
    assert "<script" not in source
    assert 'x")' not in source
    assert "&lt;script&gt;" in source


def test_control_characters_are_spelled_out() -> None:
    source = html.render(Card("c", "", (Verbatim("console", "a\x1b[2J\0\nb"),)))
    assert "a\\x1b[2J\\x00\nb" in source


def test_a_changed_register_has_a_sign_and_its_old_value() -> None:
    source = html.registers(Regs(rax=5), Sregs(), {"rax": (4, 5)})
    assert 'title="was 0004"' in source
    assert source.count("▲") == 1
    assert re.search(r'<td class="k-changed"[^>]*>0005<span [^>]*>▲', source)


def test_the_next_instruction_has_a_sign_and_a_name() -> None:
    source = html.disassembly(CODE, 0x8001)
    assert 'aria-label="next instruction">▶' in source
    assert source.count('<tr class="k-here">') == 1


def test_a_breakpoint_has_a_sign_and_its_number() -> None:
    source = html.disassembly(CODE, 0, {}, {0x8000: "7"})
    assert re.search(r'aria-label="breakpoint 7">●</span>7', source)


def test_an_active_field_has_a_sign() -> None:
    assert "◆" not in html.debugregs(DebugRegs())
    assert "◆" in html.debugregs(DebugRegs(dr7=0x401))


def test_rows_and_columns_have_headers() -> None:
    source = html.hexdump(b"abc", 0x9000)
    assert '<th scope="col">+0</th>' in source
    assert '<th scope="row">0x9000</th>' in source


def test_a_label_takes_the_rest_of_its_line() -> None:
    assert '<th scope="row" colspan="3">start:</th>' in html.disassembly(CODE, 0, {0x8000: "start"})


def test_every_colour_is_a_lab_variable_with_a_fallback() -> None:
    colors = re.findall(r"(?:color|background|border[\w-]*):([^;}]+)", html.STYLE)
    plain = {"none", "inherit", "collapse"}
    assert colors
    assert all(re.search(r"var\(--jp-[\w-]+,[^)]+\)", c) or c in plain for c in colors)


@pytest.mark.parametrize(
    "name",
    [
        "registers",
        "disassembly",
        "hexdump",
        "debugregs",
        "timeline",
        "stop",
        "breakpoints",
        "listing",
    ],
)
def test_text_and_html_take_the_same_arguments(name: str) -> None:
    assert getattr(text, name).__annotations__ == getattr(html, name).__annotations__
    assert getattr(text, name).__defaults__ == getattr(html, name).__defaults__
