"""The notebooks can be read without seeing them: headings, links, pictures, and no bare colours.

The written text is looked at, and what the cells display. Must not know what any notebook is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks.running import each_notebook, each_run, each_text, executed, load, outputs

COLOURS = (
    "red|green|blue|yellow|orange|purple|violet|pink|brown|cyan|magenta|gr[ea]y|black|white"
    "|(?:red|green|blu|yellow)ish|colou?r(?:s|ed)?"
)
NO_WORDS = {"", "here", "this", "link", "click here", "more", "read more"}
SHORTEST_ALT = 20
"""Characters. A picture of a machine's state is not told in fewer."""

Attributes = dict[str, str | None]


class Pictures(HTMLParser):
    """The alt texts of a page's pictures; an empty one where there is none."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.alts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told: Attributes = dict(attrs)
        if told.get("aria-hidden") == "true":
            return
        if tag == "img":
            self.alts.append(told.get("alt") or "")
        elif tag == "svg":
            self.alts.append(told.get("aria-label") or "")


def text_of(path: Path) -> str:
    """All Markdown of a notebook."""
    return "\n\n".join(cell.source for cell in load(path).cells if cell.cell_type == "markdown")


def prose_of(text: str) -> str:
    """Markdown without what stands in code: a guest may well write to the green plane."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def levels(text: str) -> list[int]:
    """How deep each heading lies."""
    return [len(marks) for marks in re.findall(r"^(#{1,6}) ", prose_of(text), re.MULTILINE)]


def skipped(found: list[int]) -> list[int]:
    """Levels that are more than one below the one before."""
    return [here for before, here in zip([0, *found], found, strict=False) if here > before + 1]


def colours(text: str) -> list[str]:
    """Words for colours: a statement that needs one is lost on who does not see it."""
    return re.findall(rf"\b(?:{COLOURS})\b", prose_of(text), re.IGNORECASE)


def wordless(text: str) -> list[str]:
    """Links whose words say nothing, bare addresses too."""
    links = re.findall(r"(?<!!)\[([^\]]*)\]\([^)]*\)", text)
    bare = re.findall(r"(?<![(<`\"])\bhttps?://\S+", prose_of(text))
    return [words for words in links if words.strip(" `*").lower() in NO_WORDS] + bare


def pictures(output: Any) -> Iterator[str]:
    """The alt text of each picture that an output holds."""
    data, told = output.get("data", {}), output.get("metadata", {})
    yield from Pictures(data.get("text/html", "")).alts
    for kind in ("image/png", "image/jpeg", "image/svg+xml"):
        if kind in data:
            yield told.get(kind, told).get("alt", "")


@each_text
def test_it_has_one_title_and_no_heading_is_skipped(path: Path) -> None:
    found = levels(text_of(path))
    assert found.count(1) == 1
    assert skipped(found) == []


@each_text
def test_its_written_pictures_have_alt_text(path: Path) -> None:
    text = text_of(path)
    alts = re.findall(r"!\[([^\]]*)\]", text) + Pictures(text).alts
    assert [alt for alt in alts if len(alt) < SHORTEST_ALT] == []


@each_text
def test_nothing_it_says_hangs_on_a_colour(path: Path) -> None:
    assert colours(text_of(path)) == []


@each_text
def test_its_links_have_words(path: Path) -> None:
    assert wordless(text_of(path)) == []


@each_text
def test_what_it_links_to_is_there(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text_of(path))
    assert [target for target in targets if not (path.parent / target).exists()] == []


@each_notebook
def test_it_shows_a_picture(path: Path) -> None:
    assert [alt for output in outputs(executed(path)) for alt in pictures(output)]


@each_run
def test_each_picture_it_shows_is_told_in_words(path: Path) -> None:
    alts = [alt for output in outputs(executed(path)) for alt in pictures(output)]
    assert [alt for alt in alts if len(alt) < SHORTEST_ALT] == []


@each_run
def test_each_picture_it_shows_has_a_text_twin(path: Path) -> None:
    shown = [output for output in outputs(executed(path)) if any(True for _ in pictures(output))]
    assert [out.data for out in shown if "\n" not in out.data.get("text/plain", "")] == []


# The rules themselves


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the red line is the host's", ["red"]),
        ("What is Green came later", ["Green"]),
        ("`mov red, 1` is measured, not coloured", ["coloured"]),
        ("a redundant, blueprint-like word", []),
    ],
)
def test_a_colour_word_is_found(text: str, found: list[str]) -> None:
    assert colours(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see [the tour](00-tour.ipynb)", []),
        ("see [here](00-tour.ipynb) and [](x)", ["here", ""]),
        ("see https://example.org for it", ["https://example.org"]),
        ("![alt](a.png) is no link", []),
    ],
)
def test_a_link_without_words_is_found(text: str, found: list[str]) -> None:
    assert wordless(text) == found


@pytest.mark.parametrize(
    ("text", "found"), [("# A\n\n## B\n\n### C\n\n## D", []), ("# A\n\n### C", [3]), ("## A", [2])]
)
def test_a_skipped_heading_is_found(text: str, found: list[int]) -> None:
    assert skipped(levels(text)) == found


def test_a_comment_in_code_is_no_heading() -> None:
    assert levels("# A\n\n```\n# not one\n```") == [1]


@pytest.mark.parametrize(
    ("page", "alts"),
    [
        ('<p><img src="a" alt="DR0 is on"></p>', ["DR0 is on"]),
        ('<img src="a">', [""]),
        ('<svg role="img" aria-label="three exits"></svg>', ["three exits"]),
        ("<svg></svg>", [""]),
        ('<svg aria-hidden="true"></svg>', []),
    ],
)
def test_a_page_is_searched_for_pictures(page: str, alts: list[str]) -> None:
    assert Pictures(page).alts == alts
