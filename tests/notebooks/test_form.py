"""The form that all notebooks share, so that a reader finds the way in each of them.

A title, numbered sections, in each a question before the cell that answers it, and an end that says
what was seen and what to try. Must not know what any of them is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbformat import NotebookNode

from tests.notebooks.running import each_notebook, load

MOST_CELLS = 20
LAST_HEADINGS = ["What was seen", "What to try"]
QUESTION = re.compile(r"\*\*Question:\*\* [^\n]+(\n[^\n]+)*\?")


def headings(cell: NotebookNode) -> list[str]:
    """The headings of a Markdown cell, their marks in front: ``## 1. A guest``."""
    if cell.cell_type != "markdown":
        return []
    text = re.sub(r"^```.*?^```", "", cell.source, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#{1,6} .*$", text, re.MULTILINE)


def asks(cell: NotebookNode) -> bool:
    """Whether a cell's last paragraph is a question to the reader."""
    last = cell.source.split("\n\n")[-1]
    return cell.cell_type == "markdown" and QUESTION.fullmatch(last) is not None


def sections(notebook: NotebookNode) -> Iterator[tuple[str, list[NotebookNode]]]:
    """The numbered sections: the heading, and the cells from the one that holds it on."""
    name, cells = "", []
    for cell in notebook.cells:
        for heading in headings(cell):
            if name.startswith("## ") and name[3].isdigit():
                yield name, cells
            name, cells = heading, []
        cells.append(cell)


@each_notebook
def test_its_first_cell_is_its_title(path: Path) -> None:
    assert [mark.split()[0] for mark in headings(load(path).cells[0])] == ["#"]


@each_notebook
def test_it_is_short(path: Path) -> None:
    assert len(load(path).cells) <= MOST_CELLS


@each_notebook
def test_its_sections_are_numbered_from_one(path: Path) -> None:
    numbers = [int(name[3:].split(".")[0]) for name, _ in sections(load(path))]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 2


@each_notebook
def test_each_section_asks_before_it_shows(path: Path) -> None:
    silent = [name for name, cells in sections(load(path)) if not any(map(asks, cells))]
    assert silent == []


@each_notebook
def test_each_question_is_answered_by_the_next_cell(path: Path) -> None:
    cells = load(path).cells
    asked = [number for number, cell in enumerate(cells) if asks(cell)]
    assert asked
    assert [number for number in asked if cells[number + 1].cell_type != "code"] == []


@each_notebook
def test_a_question_stands_at_the_end_of_its_cell(path: Path) -> None:
    texts = [cell for cell in load(path).cells if cell.cell_type == "markdown"]
    assert [cell.id for cell in texts if cell.source.count("**Question:**") != asks(cell)] == []


@each_notebook
def test_it_ends_with_what_was_seen_and_what_to_try(path: Path) -> None:
    last = load(path).cells[-1]
    assert headings(last) == [f"## {words}" for words in LAST_HEADINGS]


@each_notebook
def test_it_asserts_what_it_claims(path: Path) -> None:
    code = [cell.source for cell in load(path).cells if cell.cell_type == "code"]
    assert [source for source in code if re.search(r"^ *assert ", source, re.MULTILINE)]


@each_notebook
def test_its_guests_are_commented(path: Path) -> None:
    guests = [cell.source for cell in load(path).cells if cell.source.startswith("%%asm")]
    assert guests
    assert [guest for guest in guests if " # " not in guest] == []


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("## 1. A\n\nWords.\n\n**Question:** what is\nnext?", True),
        ("**Question:** what is next? You will see.", False),
        ("**Question:** what is next?\n\nMore words.", False),
        ("Is this one?", False),
    ],
)
def test_a_question_is_told_from_other_words(text: str, asked: bool) -> None:
    assert asks(NotebookNode(cell_type="markdown", source=text)) is asked
