"""Asking an engine all checks: each on a fresh engine, in each mode, with a limit of time.

A check runs in a thread of its own, so that an engine that never comes back is a result and not the
end. What holds Python's own lock for ever cannot be helped. Must not know: what a check does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Final

from ..engines import Capability, Factory
from ..errors import UnknownName
from ..machine.layout import MODES
from . import clock, debugging, interrupts, life, memory, registers, running, snapshots
from .bench import HLT, Bench
from .contract import (
    ANY_MODE,
    Broken,
    Chapter,
    Check,
    ContractReport,
    NotAsked,
    Outcome,
    Result,
    describe,
)

CHAPTERS: Final[tuple[Chapter, ...]] = (
    memory.CHAPTER,
    registers.CHAPTER,
    debugging.CHAPTER,
    running.CHAPTER,
    interrupts.CHAPTER,
    snapshots.CHAPTER,
    clock.CHAPTER,
    life.CHAPTER,
)
TITLES: Final = tuple(chapter.title for chapter in CHAPTERS)
_GRACE = 2.0
"""Seconds that an engine gets to end after request_stop."""


def every_check() -> Iterator[Check]:
    """All checks, chapter by chapter."""
    for chapter in CHAPTERS:
        yield from chapter.checks


def check_engine(
    factory: Factory,
    *,
    modes: Collection[str] = MODES,
    chapters: Collection[str] = TITLES,
    progress: Callable[[Result], None] | None = None,
    seconds: float = 20.0,
) -> ContractReport:
    """Ask every check of ``chapters`` in each of ``modes``; whatever comes of it is in the report.

    ``factory`` opens engines: called once per check and mode, and a hundred times by those that
    look for leaks. What comes up before the first check (opening, entering the three modes to ask
    for capabilities) is passed on. ``progress`` is told each result
    at once. A check gets ``seconds``; an engine that does not come back is left behind in its
    thread. Called from the main thread, one check sends this process a SIGINT. Raises UnknownName
    for a mode or chapter that does not exist.

    >>> from kvmdbg.engines import open_engine
    >>> report = check_engine(lambda ram: open_engine("unicorn", ram), chapters=["clock"])
    >>> report.ok
    True
    """
    _check_names("mode", modes, MODES)
    _check_names("chapter", chapters, TITLES)
    name, capabilities = _look_at(factory)
    results = []
    for check in every_check():
        if check.chapter not in chapters:
            continue
        for mode in check.modes:
            if mode in modes or mode == ANY_MODE:
                results.append(_ask(check, mode, factory, capabilities, seconds))
                if progress is not None:
                    progress(results[-1])
    return ContractReport(name, tuple(results))


def _check_names(kind: str, names: Collection[str], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise UnknownName(f'unknown {kind} "{name}"; choose {", ".join(known)}')


def _look_at(factory: Factory) -> tuple[str, dict[str, frozenset[Capability]]]:
    """The engine's name, and what it can do in each mode."""
    found = {}
    for mode in MODES:
        bench = Bench(factory, mode)
        try:
            bench.boot(HLT)
            found[mode] = frozenset(bench.engine.capabilities)
        finally:
            with suppress(Exception):  # the chapter about life looks at closing
                bench.engine.close()
    return str(bench.engine.name), found | {ANY_MODE: found[bench.mode]}


def _ask(
    check: Check,
    mode: str,
    factory: Factory,
    capabilities: dict[str, frozenset[Capability]],
    seconds: float,
) -> Result:
    """One check in one mode."""
    missing = check.missing(capabilities[mode])
    if missing:
        outcome, why = Outcome.NOT_ASKED, ", ".join(missing)
    elif not check.in_main_thread:
        outcome, why = _Asking(check, mode, factory).within(seconds)
    elif threading.current_thread() is threading.main_thread():
        outcome, why = _Asking(check, mode, factory).now()
    else:
        outcome, why = Outcome.NOT_ASKED, "the main thread"
    return Result(check.chapter, check.name, mode, outcome, why)


class _Asking:
    """One check under way."""

    def __init__(self, check: Check, mode: str, factory: Factory) -> None:
        self._check, self._mode, self._factory = check, mode, factory
        self._bench: Bench | None = None
        self._answer: tuple[Outcome, str] | None = None

    def within(self, seconds: float) -> tuple[Outcome, str]:
        """The answer of a thread of its own; broken if it takes longer."""
        thread = threading.Thread(target=self.now, daemon=True)
        thread.start()
        thread.join(seconds)
        if self._answer is not None:
            return self._answer
        if self._bench is not None:
            self._bench.engine.request_stop()
        thread.join(_GRACE)
        end = "after request_stop()" if not thread.is_alive() else "not even after request_stop()"
        return Outcome.BROKEN, f"expected an answer within {seconds:g} s, got none, {end}"

    def now(self) -> tuple[Outcome, str]:
        """The answer, in this thread."""
        try:
            self._bench = Bench(self._factory, self._mode)
            self._check.ask(self._bench)
            answer = Outcome.HELD, ""
        except NotAsked as need:
            answer = Outcome.NOT_ASKED, str(need)
        except Broken as broken:
            answer = Outcome.BROKEN, str(broken)
        except Exception as error:
            answer = Outcome.BROKEN, f"expected no error, got {describe(error)}{_place(error)}"
        if self._bench is not None:
            with suppress(Exception):  # the chapter about life looks at closing
                self._bench.engine.close()
        self._answer = answer
        return answer


def _place(error: BaseException) -> str:
    """Where an error of the engine's came up: the last function on the way."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    code = trace.tb_frame.f_code
    return f" in {code.co_qualname} (line {trace.tb_lineno})"
