"""A recording as columns, and back: the journal with its calls, and the timeline.

What is read was written by somebody else: each number is looked at before it is used. Must not
know: files, or what a debugger adds to a recording.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

from ..engines import Engine
from ..errors import RecordingError
from ..exits import ExitReason
from .journal import CALLS, Columns, Journal
from .recorded import Kept
from .timeline import TYPECODES, Timeline
from .wire import COUNT, FORMS, put_call, take_call

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

ENTRIES: Final = 1 << 25
"""A journal has at most so many entries, ..."""
ARGUMENTS: Final = 1 << 22
"""... and so many different arguments."""

JOURNAL: Final = {
    "journal-calls": "|u1",
    "journal-after": "<i8",
    "journal-places": "<u4",
    "arguments-calls": "|u1",
    "arguments-words": "<u8",
    "arguments-data": "|u1",
    "planted-entries": "<u8",
    "planted-counts": "<u4",
    "planted-addresses": "<u8",
    "planted-bytes": "|u1",
    "edits-entries": "<u8",
    "edits-clocks": "<i8",
}
_ROWS: Final = {"B": "|u1", "h": "<i2", "Q": "<u8", "q": "<i8", "d": "<f8"}
TIMELINE: Final = {f"timeline-{name}": _ROWS[code] for name, code in TYPECODES.items()}


# Out


def put(kept: Kept) -> tuple[Arrays, int]:
    """A recording as columns; and how many entries, at the beginning, are its prologue's."""
    import numpy as np

    prologue = kept.prologue
    if prologue is None:
        raise RecordingError(
            "its beginning is a snapshot that was put back by hand; "
            "vm.reset() or vm.load() begins one that can be saved"
        )
    parts = [_referenced(journal) for journal in (prologue, kept.journal)]
    before = len(parts[0][3])
    arguments = [*parts[0][3], *parts[1][3]]
    kinds = np.concatenate([part[2] for part in parts])
    places, rows = _packed([CALLS[kind] for kind in kinds.tolist()], arguments)
    later = np.concatenate([parts[0][1], parts[1][1] + before])
    columns = {
        "journal-calls": np.concatenate([part[0] for part in parts]),
        "journal-after": np.array(prologue.after + kept.journal.after, "<i8"),
        "journal-places": np.asarray(places, "<u4")[later],
        **rows,
        **_put_planted(kept.planted),
        "edits-entries": np.array([entry for entry, _ in kept.edits], "<u8"),
        "edits-clocks": np.array([clock for _, clock in kept.edits], "<i8"),
    }
    for name, most in (("journal-calls", ENTRIES), ("arguments-calls", ARGUMENTS)):
        if len(columns[name]) > most:
            raise RecordingError(f"too long: more than {most:,} rows in {name}")
    return columns, len(prologue)


def _referenced(journal: Journal) -> tuple[Any, Any, Any, list[tuple[Any, ...]]]:
    """Calls and places as arrays, and the arguments that some entry has, with their calls."""
    import numpy as np

    kept = journal.columns
    calls = np.array(kept.calls, "|u1")
    used, first, places = np.unique(
        np.array(kept.places, "<u8"), return_index=True, return_inverse=True
    )
    return calls, places, calls[first], [kept.arguments[place] for place in used.tolist()]


def _packed(calls: list[str], arguments: list[tuple[Any, ...]]) -> tuple[list[int], Arrays]:
    """Equal arguments of equal calls become one row; where each one's row is, and the rows."""
    import numpy as np

    known: dict[tuple[str, tuple[Any, ...]], int] = {}
    places, kinds, words, data = [], array("B"), array("Q"), bytearray()
    for call, values in zip(calls, arguments, strict=True):
        place = known.setdefault((call, values), len(kinds))
        places.append(place)
        if place == len(kinds):
            numbers, raw = put_call(call, values)
            kinds.append(CALLS.index(call))
            words.extend(numbers)
            data += raw
    rows = {
        "arguments-calls": np.array(kinds, "|u1"),
        "arguments-words": np.array(words, "<u8"),
        "arguments-data": np.frombuffer(bytes(data), "|u1"),
    }
    return places, rows


def _put_planted(planted: list[tuple[int, dict[int, int]]]) -> Arrays:
    import numpy as np

    sites = [site for _, originals in planted for site in originals.items()]
    return {
        "planted-entries": np.array([entry for entry, _ in planted], "<u8"),
        "planted-counts": np.array([len(originals) for _, originals in planted], "<u4"),
        "planted-addresses": np.array([address for address, _ in sites], "<u8"),
        "planted-bytes": np.array([byte for _, byte in sites], "|u1"),
    }


def put_timeline(timeline: Timeline) -> Arrays:
    """A timeline as columns."""
    import numpy as np

    return {
        f"timeline-{name}": np.array(timeline.column(name), _ROWS[code])
        for name, code in TYPECODES.items()
    }


# In


def take(columns: Mapping[str, NDArray[Any]], begin: int, ram: int) -> tuple[Kept, Journal]:
    """The recording again, and all of its calls as one journal.

    The recording's own begins behind ``begin`` entries of prologue.
    """
    size = len(columns["journal-calls"])
    arguments = _take_arguments(columns, ram)
    _check_entries(columns, len(arguments), begin)
    whole = Columns(
        array("B", columns["journal-calls"].tobytes()),
        _array("q", columns["journal-after"]),
        _array("Q", columns["journal-places"]),
        arguments,
    )
    prologue, journal = _part(whole, 0, begin), _part(whole, begin, size)
    planted = list(_take_planted(columns, size - begin, ram))
    edits = _ordered(columns, "edits-entries", size - begin)
    clocks = _ordered(columns, "edits-clocks", COUNT)
    if len(edits) != len(clocks):
        raise RecordingError("damaged: its edits")
    kept = Kept(prologue, journal, planted, list(zip(edits, clocks, strict=True)))
    return kept, _part(whole, 0, size)


def _array(code: str, column: NDArray[Any]) -> array[Any]:
    """A column of this machine's own integers."""
    return array(code, column.astype(code).tobytes())


def _part(whole: Columns, first: int, end: int) -> Journal:
    calls, after, places, arguments = whole
    cut = Columns(calls[first:end], after[first:end], places[first:end], arguments)
    return Journal(after[first - 1] if first else 0, cut)


def _take_arguments(columns: Mapping[str, NDArray[Any]], ram: int) -> list[tuple[Any, ...]]:
    kinds = columns["arguments-calls"].tolist()
    words, data = columns["arguments-words"], columns["arguments-data"].tobytes()
    if len(kinds) > ARGUMENTS or max(kinds, default=0) >= len(CALLS):
        raise RecordingError("damaged: calls that no engine has")
    forms = [FORMS[CALLS[kind]] for kind in kinds]
    ends = list(accumulate((len(form.limits) for form in forms), initial=0))
    if ends[-1] != len(words):
        raise RecordingError("damaged: the arguments of its calls")
    found, place = [], 0
    for kind, form, start, end in zip(kinds, forms, ends, ends[1:], strict=False):
        row = words[start:end].tolist()
        size = row[-1] if form.bytes else 0
        if size > len(data) - place:
            raise RecordingError("damaged: the bytes of its calls")
        found.append(take_call(CALLS[kind], row, data[place : place + size]))
        if form.bytes and CALLS[kind] == "write_memory" and row[0] + size > ram:
            raise RecordingError("damaged: it writes outside of guest RAM")
        place += size
    if place != len(data):
        raise RecordingError("damaged: the bytes of its calls")
    return found


def _check_entries(columns: Mapping[str, NDArray[Any]], arguments: int, begin: int) -> None:
    """Each entry has the arguments of its call, and the clock rises only where the guest runs."""
    import numpy as np

    calls, places = columns["journal-calls"], columns["journal-places"]
    size = len(calls)
    lengths = {len(columns[name]) for name in ("journal-calls", "journal-after", "journal-places")}
    if len(lengths) != 1 or size > ENTRIES or not 0 <= begin <= size:
        raise RecordingError("damaged: its journal")
    if size and int(places.max()) >= arguments:
        raise RecordingError("damaged: calls without arguments")
    if not np.array_equal(columns["arguments-calls"][places], calls):
        raise RecordingError("damaged: calls with the arguments of others")
    if len(np.unique(places)) != arguments:
        raise RecordingError("damaged: arguments without calls")
    passed = np.diff(np.asarray(columns["journal-after"], "<i8"), prepend=0)
    after = columns["journal-after"]
    if size and (int(after.min()) < 0 or int(after.max()) > COUNT or (passed < 0).any()):
        raise RecordingError("damaged: its clock goes back")
    enters = np.isin(calls, [CALLS.index(name) for name in ("run", "steps", "walk", "bulk")])
    if (passed[~enters] != 0).any():
        raise RecordingError("damaged: its clock rises while the guest stands")


def _take_planted(
    columns: Mapping[str, NDArray[Any]], size: int, ram: int
) -> Iterator[tuple[int, dict[int, int]]]:
    entries = _ordered(columns, "planted-entries", size)
    counts = columns["planted-counts"].tolist()
    addresses = columns["planted-addresses"].tolist()
    raw = columns["planted-bytes"].tolist()
    whole = len(entries) == len(counts) and sum(counts) == len(addresses) == len(raw)
    if not whole or not entries or entries[0] or max(addresses, default=0) >= ram:
        raise RecordingError("damaged: what its breakpoints stand for")
    place = 0
    for entry, count in zip(entries, counts, strict=True):
        end = place + count
        yield entry, dict(zip(addresses[place:end], raw[place:end], strict=True))
        place = end


def _ordered(columns: Mapping[str, NDArray[Any]], name: str, most: int) -> list[int]:
    """A column that never falls, from 0 up to ``most``."""
    values: list[int] = columns[name].tolist()
    rises = all(a <= b for a, b in pairwise(values))
    if values and not (rises and values[0] >= 0 and values[-1] <= most):
        raise RecordingError(f"damaged: {name} is not in order")
    return values


def take_timeline(columns: Mapping[str, NDArray[Any]], timeline: Timeline) -> None:
    """Fill a timeline with what was kept."""
    import numpy as np

    rows = {name: columns[f"timeline-{name}"] for name in TYPECODES}
    if len({len(column) for column in rows.values()}) != 1:
        raise RecordingError("damaged: its timeline")
    times, clocks = rows["host_time"], rows["clock"]
    known = np.isin(rows["reason"], [int(reason) for reason in ExitReason]).all()
    if not known or not np.isfinite(times).all() or (times < 0).any():
        raise RecordingError("damaged: the exits or times of its timeline")
    if (clocks < -1).any() or (clocks > COUNT).any() or (np.diff(times) < 0).any():
        raise RecordingError("damaged: the clocks of its timeline")
    timeline.adopt({name: _array(TYPECODES[name], column) for name, column in rows.items()})


# The machine at a moment


def digest(engine: Engine) -> str:
    """SHA-256 of all that the ioctl line shows of a machine: registers, events, clock, RAM."""
    sregs, debugregs, events = engine.get_sregs(), engine.get_debugregs(), engine.get_vcpu_events()
    rows = [
        *(("set_regs", engine.get_regs()), ("set_sregs", sregs)),
        *(("set_debugregs", debugregs), ("set_vcpu_events", events)),
        ("set_mp_state", engine.get_mp_state()),
    ]
    words = [word for call, value in rows for word in put_call(call, (value,))[0]]
    words += [engine.clock, engine.now]
    found = hashlib.sha256(struct.pack(f"<{len(words)}Q", *words))
    found.update(engine.ram)
    return found.hexdigest()
