"""How values show themselves: text everywhere, HTML and pictures on a page."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from kvmdbg.jupyter.display import Shown, with_picture

Run = Callable[[str], Any]
Bundle = Callable[[Any], dict[str, Any]]
PNG = b"\x89PNG\r\n\x1a\n"


def test_a_stop_shows_title_cause_next_instruction_and_changes(guest: Run, bundle: Bundle) -> None:
    data = bundle(guest("%step 2"))
    text = data["text/plain"]
    assert text.splitlines()[0].startswith("Stop 1")
    assert "call" in text
    assert "05 -> 06" in text or ("05" in text and "06" in text)
    assert "<table" in data["text/html"]


def test_the_last_stop_names_changed_memory_by_label(guest: Run, bundle: Bundle) -> None:
    assert "counter" in bundle(guest("%step 2"))["text/plain"]


def test_an_older_stop_is_not_given_labels_of_a_newer_program(guest: Run, bundle: Bundle) -> None:
    stop = guest("%step 2")
    guest("%%asm\nnop\n.org 0x8020\nother: hlt")
    guest("%step")
    assert "other" not in bundle(stop)["text/plain"]


def test_a_stop_in_a_list_is_short(guest: Run, bundle: Bundle) -> None:
    text = bundle([guest("%step"), guest("%step")])["text/plain"]
    assert text.startswith("[<stop 1 at loop")
    assert len(text.splitlines()) <= 3


def test_tables_of_breakpoints_show_what_is_there_now(guest: Run, bundle: Bundle) -> None:
    guest("%bp loop")
    data = bundle(guest("%bp"))
    assert "loop" in data["text/plain"]
    assert "loop" in data["text/html"]


def test_one_breakpoint_is_one_line(guest: Run, bundle: Bundle) -> None:
    data = bundle(guest("%bp counter -w --len 4"))
    assert len(data["text/plain"].splitlines()) == 1
    assert "counter" in data["text/plain"]
    assert "text/html" not in data


def test_a_program_shows_its_listing(guest: Run, bundle: Bundle) -> None:
    data = bundle(guest("demo"))
    assert "inc dword ptr [counter]" in data["text/plain"]
    assert "inc dword ptr [counter]" in data["text/html"]


def test_registers_alone_show_every_bit(guest: Run, bundle: Bundle) -> None:
    guest("%vm set r15=0x123456789abcdef0")
    assert "123456789abcdef0" in bundle(guest("vm.regs()"))["text/plain"]


@pytest.mark.parametrize("cell", ["%vm timeline", "%vm dr", "vm.timeline", "vm.debugregs()"])
def test_timeline_and_debug_registers_come_as_text_html_and_picture(
    guest: Run, bundle: Bundle, cell: str
) -> None:
    guest("%step 3")
    data = bundle(guest(cell))
    assert data["image/png"].startswith(PNG)
    assert re.search(r'<img alt="[^"]{10,}" src="data:image/png;base64,iVBOR', data["text/html"])
    assert data["text/plain"]


@pytest.mark.parametrize("cell", ["%vm timeline", "vm.timeline"])
def test_an_empty_timeline_has_no_picture(guest: Run, bundle: Bundle, cell: str) -> None:
    data = bundle(guest(cell))
    assert "image/png" not in data
    assert "no exits yet" in data["text/plain"].lower()


def test_the_picture_says_in_words_what_it_shows(guest: Run, shell: InteractiveShell) -> None:
    guest("%step 3")
    metadata = shell.display_formatter.format(guest("%vm timeline"))[1]
    assert "exit" in metadata["image/png"]["alt"]


def test_a_picture_is_drawn_once_and_only_when_asked_for() -> None:
    drawn: list[int] = []
    value = Shown(None, "text", "<p>", draw=lambda: drawn.append(1) or PNG, alt="words")
    assert repr(value) == "text"
    assert not drawn
    value._repr_html_()
    value._repr_png_()
    assert drawn == [1]


def test_an_output_of_several_cards_has_one_style_sheet(guest: Run, bundle: Bundle) -> None:
    guest("%step")
    page = bundle(guest("%vm"))["text/html"]
    assert page.count('<div class="kvmdbg">') == 3
    assert page.count("<style>") == 1


def test_without_html_the_text_stands_alone(bundle: Bundle) -> None:
    assert set(bundle(Shown(None, "only text"))) == {"text/plain"}


def test_words_of_a_picture_are_escaped() -> None:
    assert 'alt="&lt;a&gt; &quot;b&quot;"' in with_picture("", PNG, '<a> "b"')


def test_nothing_is_printed_behind_the_back(guest: Run, capsys: Any, shell: Any) -> None:
    capsys.readouterr()
    for cell in ("s = %step", "b = %bp loop", "r = %vm run", "m = %vm mem counter", "%step ;"):
        guest(cell)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_what_a_guest_prints_cannot_reach_the_page_as_html(run: Run, bundle: Bundle) -> None:
    run("%%asm --mode real\nmov al, '<'\nout 0xe9, al\nmov al, 'b'\nout 0xe9, al\nhlt")
    page = bundle(run("%vm run"))["text/html"]
    assert "<b" not in page.replace("<br", "").replace("<body", "")


def test_source_cannot_reach_the_page_as_html(run: Run, bundle: Bundle) -> None:
    page = bundle(run("%%asm\nhlt # <script>alert(1)</script>"))["text/html"]
    assert "<script" not in page
    assert "&lt;script" in page
