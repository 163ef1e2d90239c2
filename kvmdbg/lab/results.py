"""What a check and a task came to, as frozen values that show themselves as text and as HTML.

Must not know: how anything is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..views import html, text
from ..views.tables import Card, Column, Table, head, line

_COLUMNS = (Column("check", prose=True), Column("", width=6), Column("points", right=True))
_SAID = Column("what was found", prose=True)


@dataclass(frozen=True, repr=False)
class Item:
    """One check: ``of`` points were to be had; ``message`` says what was expected and found.

    It is true if it passed.
    """

    title: str
    passed: bool
    of: float
    message: str

    @property
    def points(self) -> float:
        """All or nothing."""
        return self.of if self.passed else 0.0

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return f"{_word(self.passed)}: {self.message}"

    def _repr_html_(self) -> str:
        return html.render(Card(self.title, repr(self)))

    def as_json(self) -> dict[str, Any]:
        """For graders' programs."""
        return {
            "check": self.title,
            "passed": self.passed,
            "points": self.points,
            "of": self.of,
            "message": self.message,
        }


@dataclass(frozen=True, repr=False)
class Result:
    """One task: its checks, and ``of`` points in all.

    ``problem`` says why not all of its checks could be made; a task with a problem never passed.
    """

    task: str
    items: tuple[Item, ...]
    of: float
    problem: str = ""

    @property
    def points(self) -> float:
        """What the checks that passed are worth together."""
        return sum(item.points for item in self.items)

    @property
    def passed(self) -> bool:
        """Whether every check was made and passed."""
        return not self.problem and bool(self.items) and all(self.items)

    def __repr__(self) -> str:
        return text.render(self.card)

    def _repr_html_(self) -> str:
        return html.render(self.card)

    @property
    def card(self) -> Card:
        """A table with one line for each check."""
        rows = tuple(
            line(head(item.title), _word(item.passed), f"{item.points:g}/{item.of:g}", item.message)
            for item in self.items
        )
        parts = (Table((*_COLUMNS, _SAID), rows),) if rows else ()
        return Card(f"{self.task}: {score(self.points, self.of)}", self.problem, parts)

    def as_json(self) -> dict[str, Any]:
        """For graders' programs."""
        return {
            "task": self.task,
            "passed": self.passed,
            "points": self.points,
            "of": self.of,
            "problem": self.problem,
            "checks": [item.as_json() for item in self.items],
        }

    @classmethod
    def from_json(cls, task: Mapping[str, Any]) -> Result:
        """What :meth:`as_json` wrote, again.

        >>> task = Result("sum", (Item("ax", True, 2, "ax is as expected"),), 3, "too few checks")
        >>> Result.from_json(task.as_json()) == task
        True
        """
        items = (
            Item(one["check"], one["passed"], one["of"], one["message"]) for one in task["checks"]
        )
        return cls(task["task"], tuple(items), task["of"], task["problem"])


class Score(float):
    """A task's points: a number, which nbgrader reads as partial credit, with a card beside it."""

    result: Result

    def _repr_html_(self) -> str:
        return self.result._repr_html_()


def summary(title: str, results: Sequence[Result], of: float) -> Card:
    """All tasks of a lab, with the total."""
    rows = tuple(
        line(head(one.task), _word(one.passed), f"{one.points:g}/{one.of:g}") for one in results
    )
    total = score(sum(one.points for one in results), of)
    columns = (Column("task"), Column("", width=6), Column("points", right=True))
    return Card(f"{title}: {total}", "", (Table(columns, rows),) if rows else ())


def score(points: float, of: float) -> str:
    """Points in words.

    >>> score(1.5, 4), score(1, 1)
    ('1.5 of 4 points', '1 of 1 point')
    """
    return f"{points:g} of {of:g} point{'' if of == 1 else 's'}"


def _word(passed: bool) -> str:
    return "passed" if passed else "failed"
