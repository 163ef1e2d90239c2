"""How values show themselves in a cell: text everywhere, HTML and a picture where there is a page.

:class:`Shown` carries what a magic gives back when no single debugger value says it all; debugger
values themselves (Stop, Program, Timeline, ...) stay what they are and are shown by formatters that
:func:`register` gives to IPython. Must not know: what the magics do.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from ..debugger.answers import Times, Writer
from ..debugger.breakpoints import Breakpoint, BreakpointTable
from ..debugger.diffing import Diff
from ..debugger.explain import Explanation
from ..debugger.parting import FirstDivergence
from ..debugger.stop import Stop
from ..history.queries import Exits, Selection
from ..history.timeline import Timeline
from ..program import Program
from ..views import answers, difference, explanation, html, text
from ..views.tables import Card, Column, Table, head, line
from ..x86.registers import DebugRegs, Regs

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .session import Session

Picture = Callable[[], bytes | None]


@dataclass(frozen=True, repr=False)
class Shown:
    """A value with its looks; ``.value`` is what it is about.

    ``html`` may be empty: then the text stands everywhere. ``draw`` makes a PNG when a page asks
    for it, so that a terminal never pays for it; ``alt`` says the picture in words.
    """

    value: object
    text: str
    html: str = ""
    draw: Picture | None = None
    alt: str = ""

    def __repr__(self) -> str:
        return self.text

    @cached_property
    def png(self) -> bytes | None:
        """The picture, drawn once; None if there is none."""
        return self.draw() if self.draw else None

    def _repr_html_(self) -> str | None:
        """HTML with the picture inside: pages that prefer HTML would not show it otherwise."""
        return with_picture(self.html, self.png, self.alt) if self.html else None

    def _repr_png_(self) -> tuple[bytes, dict[str, str]] | None:
        return (self.png, {"alt": self.alt}) if self.png else None


def shown(
    value: object,
    cards: Iterable[Card],
    notes: Iterable[str] = (),
    draw: Picture | None = None,
    alt: str = "",
) -> Shown:
    """A value shown by cards and sentences under them: text and HTML say the same."""
    parts, lines = list(cards), list(notes)
    plain = [text.render(card) for card in parts] + ["\n".join(lines)] * bool(lines)
    page = "\n".join([html.render(card) for card in parts] + [paragraphs(lines)] * bool(lines))
    return Shown(value, "\n\n".join(plain), _one_style(page), draw, alt)


def paragraphs(lines: Iterable[str]) -> str:
    """Sentences as HTML."""
    inside = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div class="kvmdbg">{inside}</div>'


def _one_style(page: str) -> str:
    """The style sheet stands once, before the first card."""
    before, style, rest = page.partition(html.STYLE)
    return before + style + rest.replace(html.STYLE + "\n", "")


def sentences(value: object, lines: Iterable[str]) -> Shown:
    """A value with a few plain lines; the same text in a notebook and in a terminal."""
    return Shown(value, "\n".join(lines))


def with_picture(page: str, png: bytes | None, alt: str) -> str:
    """HTML followed by a picture that needs no file beside it."""
    if png is None:
        return page
    data = base64.b64encode(png).decode()
    return f'{page}\n<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


class Looks(NamedTuple):
    """How one type is shown."""

    text: Callable[[Any], str]
    html: Callable[[Any], str] | None = None
    png: Callable[[Any], bytes | None] | None = None


def looks(session: Session) -> dict[type, Looks]:
    """Formatters by type; labels come from the session's VM while it still stands there."""

    def labels(value: Stop | BreakpointTable) -> Mapping[int, str]:
        vm = session.vm
        current = vm is not None and (value is vm.last_stop or value is vm.breakpoints)
        return labels_of(vm.symbols) if vm is not None and current else {}

    return {
        Stop: Looks(lambda s: text.stop(s, labels(s)), lambda s: html.stop(s, labels(s))),
        BreakpointTable: Looks(
            lambda t: text.breakpoints(t, labels(t)), lambda t: html.breakpoints(t, labels(t))
        ),
        Breakpoint: Looks(str),
        Explanation: _card(explanation.card),
        Timeline: Looks(text.timeline, _timeline_html, timeline_png),
        Selection: Looks(text.timeline, _timeline_html, timeline_png),
        Diff: _card(difference.difference),
        Writer: _card(answers.writer),
        Times: _card(answers.times),
        FirstDivergence: _card(difference.divergence),
        Program: Looks(_program_text, _program_html),
        Regs: Looks(lambda r: text.render(_regs(r)), lambda r: html.render(_regs(r))),
        DebugRegs: Looks(text.debugregs, _debugregs_html, debugregs_png),
    }


def _card(of: Callable[[Any], Card]) -> Looks:
    """The looks of a value that is one card."""
    return Looks(lambda value: text.render(of(value)), lambda value: html.render(of(value)))


def labels_of(symbols: Mapping[str, int]) -> dict[int, str]:
    """Symbols the other way round; of several labels at one address the first stays."""
    return {address: name for name, address in reversed(list(symbols.items()))}


def timeline_png(timeline: Exits) -> bytes | None:
    """The timeline's picture; None while there are no exits."""
    from ..views import figures

    return figures.timeline(timeline) if len(timeline) else None


def debugregs_png(guest: DebugRegs, host: tuple[int, ...] | None = None) -> bytes:
    """The debug registers' picture."""
    from ..views import figures

    return figures.debugregs(guest, host)


def _timeline_html(timeline: Exits) -> str:
    from ..views import figures

    alt = figures.timeline_alt(timeline)
    return with_picture(html.timeline(timeline), timeline_png(timeline), alt)


def _debugregs_html(guest: DebugRegs) -> str:
    from ..views import figures

    alt = figures.debugregs_alt(guest, None)
    return with_picture(html.debugregs(guest), debugregs_png(guest), alt)


def _program_text(program: Program) -> str:
    return f"{program!r}\n{text.listing(program.listing)}"


def _program_html(program: Program) -> str:
    return f"<p>{escape(repr(program))}</p>\n{html.listing(program.listing)}"


def _regs(regs: Regs) -> Card:
    """General registers alone: without system registers nobody knows the mode."""
    cells = [(head(name), f"{value:016x}") for name, value in regs._asdict().items()]
    rows = [cells[n : n + 3] for n in range(0, len(cells), 3)]
    lines = tuple(line(*(cell for pair in row for cell in pair)) for row in rows)
    return Card("Registers", "", (Table((Column(),) * 6, lines, gap=1),))


_HTML, _PLAIN, _PNG = "text/html", "text/plain", "image/png"


def register(ip: InteractiveShell, session: Session) -> None:
    """Teach a shell to show our types."""
    formatters = _formatters(ip)
    for kind, look in looks(session).items():
        formatters[_PLAIN].for_type(kind, _pretty(look.text))
        if look.html is not None:
            formatters[_HTML].for_type(kind, look.html)
        if look.png is not None:
            formatters[_PNG].for_type(kind, look.png)


def unregister(ip: InteractiveShell, session: Session) -> None:
    """Forget them all again."""
    for formatter in map(_formatters(ip).__getitem__, (_PLAIN, _HTML, _PNG)):
        for kind in looks(session):
            formatter.pop(kind, None)


def _formatters(ip: InteractiveShell) -> Any:
    return ip.display_formatter.formatters if ip.display_formatter else {}


def _pretty(render: Callable[[Any], str]) -> Callable[[Any, Any, bool], None]:
    """A text/plain formatter: in full on its own, short inside a list or a dict."""

    def show(value: Any, printer: Any, cycle: bool) -> None:
        alone = len(printer.stack) <= 1 and not cycle
        printer.text(render(value) if alone else _short(value))

    return show


def _short(value: Any) -> str:
    return f"<{value.title}>" if isinstance(value, Stop | Explanation) else repr(value)
