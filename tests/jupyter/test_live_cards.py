"""Cards become JSON that says what their text says."""

from __future__ import annotations

import json

from kvmdbg.jupyter.live.parts.cards import card_json
from kvmdbg.views.debugregs import debugregs
from kvmdbg.views.tables import Card, Cell, Column, Line, Mark, Table, Verbatim, head, line
from kvmdbg.x86.registers import DebugRegs


def test_a_card_keeps_title_sentence_captions_and_columns() -> None:
    table = Table((Column("name"), Column("value", right=True, prose=True)), (), "All of them")
    assert card_json(Card("Title", "One sentence.", (table,))) == {
        "title": "Title",
        "note": "One sentence.",
        "tables": [
            {
                "caption": "All of them",
                "columns": [
                    {"title": "name", "right": False, "prose": False},
                    {"title": "value", "right": True, "prose": True},
                ],
                "rows": [],
            }
        ],
    }


def test_each_mark_travels_under_the_name_that_the_page_knows() -> None:
    cells = tuple(Cell("x", mark) for mark in Mark)
    rows = card_json(Card("", "", (Table((), (Line(cells),)),)))["tables"][0]["rows"]
    assert [cell["mark"] for cell in rows[0]] == ["", "changed", "active", "here", "break"]


def test_a_row_header_and_the_words_under_the_pointer_travel_with_their_cell() -> None:
    rows = card_json(Card("", "", (Table((), (line(head("rax", "accumulator"), "5"),)),)))
    assert rows["tables"][0]["rows"][0] == [
        {"text": "rax", "mark": "", "title": "accumulator", "head": True},
        {"text": "5", "mark": "", "title": "", "head": False},
    ]


def test_what_the_guest_printed_is_a_table_with_a_row_for_each_line() -> None:
    table = card_json(Card("", "", (Verbatim("printed", "one\n two"),)))["tables"][0]
    assert table["caption"] == "printed"
    assert [[cell["text"] for cell in row] for row in table["rows"]] == [["one"], [" two"]]
    assert not table["columns"][0]["prose"]


def test_control_characters_of_the_guest_are_spelled_out() -> None:
    text = json.dumps(card_json(Card("a\x1b[2J", "\x07", (Verbatim("b\x00", "c\x7f"),))))
    assert "a\\\\x1b[2J" in text
    assert not any(ord(character) < 32 or ord(character) == 127 for character in text)


def test_the_card_of_the_debug_registers_is_json() -> None:
    card = debugregs(DebugRegs(), (0x9000, 0, 0, 0, 0, 0, 0, 0xD0402))
    assert json.loads(json.dumps(card_json(card))) == card_json(card)
