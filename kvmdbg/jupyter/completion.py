"""What Tab offers in our lines: a matcher for IPython's completer (matcher API 2).

Each word comes with its type (label, register, flag, option, command, ...), which front ends show
beside it. Inside ``{...}`` a Python variable is meant: that is IPython's to complete. Must not
know: what may stand where (``lines``, ``offers``), or how a command is carried out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from IPython.core.completer import (
    CompletionContext,
    MatcherAPIv2,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from ..program import Program
from . import lines
from .offers import Found, Known, Offer, offers, operand

if TYPE_CHECKING:
    from .session import Session

_MOST_FILES = 200


class _Alone(list[SimpleCompletion]):
    """Completions beside which there are no others, not even if there are none.

    IPython lets a matcher silence the rest only if it counts one at least; where nothing can stand,
    Python's names cannot either.
    """

    def __len__(self) -> int:
        return max(1, super().__len__())


def candidates(before: str, first_line: bool, known: Known) -> Found | None:
    """The fragment being completed and what may stand there; None for a place not ours.

    >>> candidates("%vm ti", True, Known())
    ('ti', [Offer(text='timeline', type='command')])
    """
    spot = None if lines.in_braces(before) else lines.spot(before, first_line)
    return None if spot is None else offers(spot, known)


def known_to(session: Session) -> Known:
    """The names that the session's VM and the user's variables have now; asks no engine."""
    vm = session.vm
    mine = Known(
        variables=_variables(session.names, (Program, bytes, bytearray)),
        programs=_variables(session.names, (Program,)),
        files=files,
    )
    if vm is None:
        return mine
    return mine._replace(
        labels=tuple(sorted(vm.symbols)),
        breakpoints=tuple(str(breakpoint.number) for breakpoint in vm.breakpoints),
        bookmarks=tuple(vm.bookmarks),
        constants=tuple(sorted(vm.program.constants)) if vm.program else (),
    )


def _variables(names: Mapping[str, Any], kinds: tuple[type, ...]) -> tuple[str, ...]:
    """The user's variables that hold one of these."""
    return tuple(
        name
        for name, value in names.items()
        if isinstance(value, kinds) and not name.startswith("_")
    )


def files(path: str) -> list[Offer]:
    """Files and folders that begin with a path; hidden ones and names with blanks are left out."""
    folder, slash, name = path.rpartition("/")
    base = Path(folder + slash).expanduser()
    try:
        return sorted(islice(_entries(base, folder + slash, name), _MOST_FILES))
    except OSError:
        return []


def _entries(base: Path, before: str, name: str) -> Iterator[Offer]:
    for entry in base.iterdir():
        hidden = entry.name.startswith(".") and not name.startswith(".")
        if hidden or not entry.name.startswith(name) or any(map(str.isspace, entry.name)):
            continue
        is_folder = entry.is_dir()
        yield Offer(f"{before}{entry.name}{'/' * is_folder}", "folder" if is_folder else "file")


def _found(context: CompletionContext, session: Session) -> Found | None:
    """In a cell of assembly its own labels, elsewhere what our lines take."""
    above = "".join(context.full_text.splitlines(True)[: context.cursor_line])
    first, before = not above.strip(), context.text_until_cursor
    if lines.is_assembly(context.full_text) and not first:
        return operand(before, lines.defined(context.full_text))
    return candidates(before, first, known_to(session))


def make_matcher(session: Session) -> MatcherAPIv2:
    """A matcher for ``ip.Completer.custom_matchers``."""

    def kvmdbg_matcher(context: CompletionContext) -> SimpleMatcherResult:
        found = _found(context, session)
        if found is None:
            return SimpleMatcherResult(completions=[])
        fragment, words = found
        return SimpleMatcherResult(
            completions=_Alone(SimpleCompletion(word.text, type=word.type) for word in words),
            matched_fragment=fragment,
            suppress=True,
            ordered=True,
        )

    mark: Any = context_matcher(identifier="kvmdbg", priority=100)
    return cast(MatcherAPIv2, mark(kvmdbg_matcher))
