"""The sub-commands of ``%vm`` that ask what happened: from parsed words to a value.

Must not know: IPython, or how lines are split.
"""

from __future__ import annotations

from ..debugger.vm import Vm
from ..errors import BadInput
from ..history.queries import Conditions, Exits
from ..views import figures, story
from ..views.difference import difference
from ..views.statistics import statistics
from .arguments import Arguments, positive, unknown
from .display import Shown, labels_of, shown, timeline_png
from .stepping_commands import vector

_ROWS = 20


def timeline(vm: Vm, args: Arguments) -> Shown:
    """Every exit so far, or some of them: a picture, the last ones as rows."""
    conditions = _conditions(vm, args)
    exits: Exits = vm.timeline.where(**conditions) if conditions else vm.timeline
    last = args.word(0, positive) or _ROWS
    cards = [story.timeline(exits, last, labels_of(vm.symbols))]
    return shown(
        exits,
        [*cards, statistics(exits)] if args.has("--stats") else cards,
        draw=(lambda: timeline_png(exits)) if len(exits) else None,
        alt=figures.timeline_alt(exits),
    )


def diff(vm: Vm, args: Arguments) -> Shown:
    """Two moments side by side."""
    found = vm.diff(moment(args.words[0]), args.word(1, moment))
    return shown(found, [difference(found, labels_of(vm.symbols))])


def _conditions(vm: Vm, args: Arguments) -> Conditions:
    found: Conditions = {}
    if args.has("--reason"):
        found["reason"] = args.options["--reason"]
    if args.has("--cause"):
        found["cause"] = args.options["--cause"]
    if args.has("--exception"):
        found["exception"] = vector(args.options["--exception"])
    if args.has("--at"):
        found["pc"] = vm.address(args.options["--at"])
    if args.has("--between"):
        found["between"] = _between(vm, args.options["--between"])
    return found


def _between(vm: Vm, text: str) -> tuple[int, int]:
    one, colon, two = text.partition(":")
    if not colon or not one or not two:
        raise BadInput(f'"{text}" names no two moments; write --between 100:2000 or --between a:b')
    return _clock_of(vm, one), _clock_of(vm, two)


def _clock_of(vm: Vm, text: str) -> int:
    where = moment(text)
    if isinstance(where, int):
        return where
    known = vm.bookmarks
    if where not in known:
        raise unknown("bookmark", where, known)
    return known[where]


def moment(text: str) -> int | str:
    """A bookmark's name, or a clock as it is shown or as people write it: ``1,234``, ``5M``."""
    if not text[0].isdigit():
        return text
    plain = text.replace(",", "")
    return 0 if plain.strip("0") == "" else positive(plain)
