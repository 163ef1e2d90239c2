"""What a check of the contract is, how it says that something is broken, and the report of all.

A check is a function over a Bench; its docstring is one sentence: what every engine must do. Must
not know: any check, or how one is run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ..engines import Capability
from ..errors import KvmdbgError
from ..machine.layout import MODES

if TYPE_CHECKING:
    from .bench import Bench

ANY_MODE = "any"
"""The mode of a result whose check does not depend on the processor's mode."""


class ContractBroken(KvmdbgError):
    """An engine does not keep the contract; the message has one line per broken check."""


class Broken(KvmdbgError):
    """Raised by a check: what was expected, and what came instead."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")


class NotAsked(KvmdbgError):
    """Raised by a check that cannot be asked here; the message is what it needs."""


class Outcome(StrEnum):
    """What came of a check."""

    HELD = "held"
    BROKEN = "broken"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Check:
    """One clause: ``ask`` raises Broken if the engine does not keep it.

    ``needs`` are the capabilities without which it is not asked, ``modes`` those in which it is;
    ``in_main_thread`` asks it in the thread that called ``check_engine``, without a time limit.
    """

    chapter: str
    name: str
    clause: str
    ask: Callable[[Bench], None]
    needs: tuple[Capability, ...] = ()
    modes: tuple[str, ...] = MODES
    in_main_thread: bool = False

    def missing(self, capabilities: frozenset[Capability]) -> tuple[Capability, ...]:
        """The capabilities that it needs and the engine has not."""
        return tuple(need for need in self.needs if need not in capabilities)


class Chapter:
    """A list of checks under one title; ``@chapter.check(...)`` puts a function into it."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.checks: list[Check] = []

    def check(
        self,
        *needs: Capability,
        modes: tuple[str, ...] = MODES,
        in_main_thread: bool = False,
    ) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
        """A check by that function's name and docstring; ``modes=()`` asks it once."""

        def add(ask: Callable[[Bench], None]) -> Callable[[Bench], None]:
            name = ask.__name__.strip("_").replace("_", " ")
            clause = " ".join((ask.__doc__ or "").split())
            self.checks.append(
                Check(self.title, name, clause, ask, needs, modes or (ANY_MODE,), in_main_thread)
            )
            return ask

        return add


@dataclass(frozen=True)
class Result:
    """One check in one mode. ``why`` says what was expected and got, or what the check needs."""

    chapter: str
    name: str
    mode: str
    outcome: Outcome
    why: str = ""

    def __str__(self) -> str:
        joint = ": needs " if self.outcome is Outcome.NOT_ASKED else ": "
        return f"{self.outcome}{joint}{self.why}" if self.why else str(self.outcome)


@dataclass(frozen=True)
class ContractReport:
    """What came of all checks, in the order in which they were asked. ``str()`` is a table."""

    engine: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken. What was not asked does not count."""
        return not self.broken

    @property
    def broken(self) -> tuple[Result, ...]:
        """The results of the checks that did not hold."""
        return tuple(each for each in self.results if each.outcome is Outcome.BROKEN)

    def raise_if_broken(self) -> None:
        """ContractBroken with one line per broken check; nothing if there is none."""
        if not self.ok:
            lines = [f"{r.chapter}, {r.name} ({r.mode}): {r.why}" for r in self.broken]
            raise ContractBroken(f'engine "{self.engine}" breaks its contract\n' + "\n".join(lines))

    def __str__(self) -> str:
        rows = [(r.chapter, r.name, r.mode, str(r)) for r in self.results]
        return "\n".join([*_columns(rows), self.summary])

    @property
    def summary(self) -> str:
        """The counts in one line."""
        counts = [
            f"{sum(r.outcome is outcome for r in self.results)} {outcome}" for outcome in Outcome
        ]
        return f'engine "{self.engine}": {", ".join(counts)}'


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of a text table; the last column is not padded."""
    widths = [max((len(cell) for cell in column), default=0) for column in zip(*rows, strict=True)]
    return [
        "  ".join([*map(str.ljust, row[:-1], widths), row[-1]])  # zip stops before the last
        for row in rows
    ]


def expect(what: str, got: object, expected: object) -> None:
    """Broken unless both are equal; ``what`` names the value."""
    if got != expected:
        raise Broken(f"{what} {show(expected)}", show(got))


def require(holds: bool, expected: str, got: object) -> None:
    """Broken unless it holds."""
    if not holds:
        raise Broken(expected, show(got))


def refuses(
    what: str, call: Callable[[], object], error: type[BaseException], errno: int | None = None
) -> None:
    """Broken unless the call raises that error, with that errno if one is given."""
    wanted = error.__name__ + (f" with errno {errno}" if errno is not None else "")
    try:
        answer = call()
    except error as refusal:
        got = getattr(refusal, "errno", None)
        if errno is not None and got != errno:
            raise Broken(f"{what} to raise {wanted}", f"errno {got}") from None
        return
    except Exception as other:
        raise Broken(f"{what} to raise {wanted}", describe(other)) from other
    raise Broken(f"{what} to raise {wanted}", f"the value {show(answer)}")


def describe(error: BaseException) -> str:
    """An error in one line."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def show(value: object) -> str:
    """A value as people of this field read it, not too long."""
    text = f"{value:#x}" if type(value) is int and value > 9 else repr(value)
    return text if len(text) <= 200 else text[:200] + "..."
