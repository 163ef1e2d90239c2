"""A timeline as JSON for chrome://tracing and Perfetto (Trace Event Format, object form).

One thread for each lane, one complete event ("X") for each exit, a global instant event ("i") for
each bookmark. Timestamps are in microseconds by the format; here 1 us is one guest instruction.
Must not know: where the text goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Final

import numpy as np

from ..x86.vectors import name as vector_name
from .lanes import LANES, masks
from .queries import Selection

_FIRST: Final = '{"otherData":{"writer":"kvmdbg"'
_AT_ONCE: Final = 1000
_PID: Final = 1
_CLOCK: Final = "1 us is one guest instruction"
_HOST: Final = "microseconds of the host's time; the engine counts no instructions"


def is_ours(text: str) -> bool:
    """Whether a text is such a trace, by its beginning."""
    return text.startswith(_FIRST)


def chrome_trace(
    exits: Selection, bookmarks: Mapping[str, int], label: Callable[[int], str]
) -> Iterator[str]:
    """The text, in pieces; ``label`` names a linear address, ``bookmarks`` are clocks.

    >>> from kvmdbg.history.timeline import Timeline
    >>> json.loads("".join(chrome_trace(Timeline().where(), {"here": 5}, hex)))["traceEvents"][-1]
    {'name': 'here', 'cat': 'bookmark', 'ph': 'i', 's': 'g', 'ts': 5, 'pid': 1, 'tid': 0}
    """
    counted = len(exits) == 0 or int(exits.column("clock").min()) >= 0
    what = json.dumps(_CLOCK if counted else _HOST)
    yield f'{_FIRST},"timestamps":{what}}},"displayTimeUnit":"ns","traceEvents":[\n'
    yield ",\n".join([*_names(exits), *_bookmarks(bookmarks if counted else {})])
    events = _events(exits, counted, label)
    while piece := list(islice(events, _AT_ONCE)):
        yield ",\n" + ",\n".join(piece)
    yield "\n]}\n"


def _names(exits: Selection) -> Iterator[str]:
    """Metadata events: the process, and a thread for each lane that has exits, in their order."""
    yield _metadata("process_name", 0, {"name": "guest: exits to the host"})
    for lane, _ in masks(exits):
        thread = LANES.index(lane) + 1
        yield _metadata("thread_name", thread, {"name": lane.title})
        yield _metadata("thread_sort_index", thread, {"sort_index": thread})


def _metadata(name: str, thread: int, args: dict[str, object]) -> str:
    return json.dumps({"name": name, "ph": "M", "pid": _PID, "tid": thread, "args": args})


def _bookmarks(bookmarks: Mapping[str, int]) -> Iterator[str]:
    for name, clock in sorted(bookmarks.items(), key=lambda item: item[1]):
        kind = {"name": name, "cat": "bookmark", "ph": "i", "s": "g"}
        yield json.dumps({**kind, "ts": clock, "pid": _PID, "tid": 0})


def _events(exits: Selection, counted: bool, label: Callable[[int], str]) -> Iterator[str]:
    threads = np.zeros(len(exits), np.int8)
    for lane, found in masks(exits):
        threads[found] = LANES.index(lane) + 1
    symbol = lru_cache(None)(lambda pc: json.dumps(label(pc)))
    for row, thread in zip(exits, threads.tolist(), strict=True):
        title = LANES[thread - 1].title
        at = row.clock if counted else round(row.host_time * 1e6, 3)
        raised = f',"exception":"{vector_name(row.exception)}"' if row.exception >= 0 else ""
        debug = f',"dr6":"{row.dr6:#x}","dr7":"{row.dr7:#x}"' if row.dr6 or row.dr7 else ""
        yield (
            f'{{"name":"{title}","cat":"{row.reason.name}","ph":"X","ts":{at},"dur":1,'
            f'"pid":{_PID},"tid":{thread},"args":{{"index":{row.index},"pc":"{row.pc:#x}",'
            f'"symbol":{symbol(row.pc)}{raised}{debug}}}}}'
        )
