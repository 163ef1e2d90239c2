"""What ``%vm doctor`` and ``kvmdbg doctor`` show: one card for each engine.

First on what it runs, then every behaviour in every mode in a word, then what differs from the
reference, with what was claimed, what was seen, and what is done about it. Words tell it, never a
colour. Must not know: how anything was probed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from ..engines.probe import MODE_NAMES
from .explanation import WIDTH, folded
from .tables import Card, Cell, Column, Line, Table, head, line

if TYPE_CHECKING:
    from ..engines.probe import Finding, Report

_SHORT = {"protected": "prot", "protected/3": "prot/3"}
_LEGEND = (
    "yes: as the reference; made: emulated; other: otherwise; none: not there; blank: not probed. "
    "/3 is CPL 3, paged is 32-bit paging, compat is 32-bit code in long mode."
)


def doctor(report: Report) -> Card:
    """Everything about one engine; one line if it cannot run here."""
    title = f'Engine "{report.engine}": {report.summary}'
    if report.problem:
        return Card(title, "", (_facts(report),))
    first, *rest = folded(title)
    parts = [_facts(report), _matrix(report.findings), *_deviations(report.findings)]
    return Card(first, " ".join(rest), tuple(parts))


def _facts(report: Report) -> Table:
    when = "earlier in this boot (--fresh probes anew)" if report.cached else "now"
    facts = {
        "kernel": report.kernel,
        "processor": report.processor,
        "KVM's modules": ", ".join(report.modules) or "none",
        "KVM's API": str(report.api_version) if report.api_version else "",
        "promises": ", ".join(report.promises),
        "probed": f"in {report.seconds:.2f} s, {when}" if report.findings else "",
    }
    width = WIDTH - max(map(len, facts)) - 2
    lines = tuple(row for name, text in facts.items() if text for row in _row(name, text, width))
    return Table((Column(), Column(prose=True)), lines)


def _row(name: str, text: str, width: int) -> Iterator[Line]:
    first, *more = folded(text, width)
    yield line(head(name), first)
    for rest in more:
        yield line("", rest)


def _matrix(findings: Iterable[Finding]) -> Table:
    """A line for each behaviour, a column for each mode."""
    columns = (Column("behaviour"), Column("rows"), *map(_mode_column, MODE_NAMES))
    groups = groupby(findings, lambda finding: finding.behaviour)
    lines = (_behaviour(name, list(found)) for name, found in groups)
    legend = (line(text) for text in folded(_LEGEND))
    return Table(columns, (*lines, *legend), "Behaviour by mode")


def _mode_column(name: str) -> Column:
    return Column(_SHORT.get(name, name))


def _behaviour(name: str, findings: list[Finding]) -> Line:
    cells = {finding.mode: Cell(_word(finding), title=finding.seen) for finding in findings}
    modes = (cells.get(mode, Cell()) for mode in MODE_NAMES)
    return line(head(name), _ranges(findings[0].rows), *modes)


def _word(finding: Finding) -> str:
    if finding.good:
        return "yes"
    if finding.remedy.startswith("emulated"):
        return "made"
    return "none" if finding.seen == "not there" else "other"


def _deviations(findings: Iterable[Finding]) -> Iterator[Table]:
    """Modes that differ in the same way stand together."""
    found: dict[tuple[str, str, str, str, tuple[int, ...]], list[str]] = {}
    for finding in findings:
        if not finding.good:
            behaviour, rows, mode, claimed, seen, remedy = finding
            found.setdefault((behaviour, claimed, seen, remedy, rows), []).append(mode)
    if not found:
        return
    width = WIDTH - len("claimed") - 4
    lines = (row for key, modes in found.items() for row in _deviation(*key, modes, width))
    yield Table((Column(), Column(prose=True)), tuple(lines), "What differs")


def _deviation(
    behaviour: str,
    claimed: str,
    seen: str,
    remedy: str,
    rows: tuple[int, ...],
    modes: list[str],
    width: int,
) -> Iterator[Line]:
    where = f" (row {_ranges(rows)})" if rows else ""
    yield line(head(f"{behaviour}{where}: {', '.join(modes)}"))
    for name, text in (("claimed", claimed or "by nothing"), ("seen", seen), ("remedy", remedy)):
        yield from _row(f"  {name}", text, width)


def _ranges(numbers: tuple[int, ...]) -> str:
    """Numbers with neighbours joined.

    >>> _ranges((1, 2, 3, 7))
    '1-3, 7'
    """
    parts = []
    for _, group in groupby(enumerate(numbers), lambda item: item[1] - item[0]):
        run = [number for _, number in group]
        parts.append(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}")
    return ", ".join(parts)
