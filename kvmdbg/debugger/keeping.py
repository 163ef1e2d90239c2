"""What a debugger adds to a recording, as columns and JSON, and back: stops, console, program.

What is read was written by somebody else: each value is looked at before it is used. Must not
know: files, or how a Vm is made of it.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import RecordingError
from ..exits import ExceptionExit
from ..history.journal import Journal, Position
from ..history.recording_file import number, take
from ..history.wire import COUNT, EXIT_WORDS, U64, check, put_exit, take_exit
from ..machine.layout import MODES
from ..program import Listing, ListingLine, Program
from ..program.load import LoadImage
from .entering import Owed
from .entries import Entry
from .expressions import compile_condition
from .tape import Written
from .travel import Mark

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

MARKS: Final = 1 << 18
"""So many stops are kept, the last ones."""
_LABELS: Final = 1 << 18
_TEXT: Final = 1 << 16
_BREAKPOINTS: Final = 1 << 12

COLUMNS: Final = {
    "tape-places": "<u8",
    "tape-ports": "<u2",
    "tape-sizes": "|u1",
    "tape-values": "<u4",
    "marks-words": "<u8",
    "marks-data": "|u1",
    "program-code": "|u1",
    "program-listing": "|u1",
}

_FLAGS: Final = 3
_MARK: Final = (U64, COUNT, U64, *(1,) * _FLAGS, U64, U64, U64, U64)
"""Entry, clock, rows; whether something is owed, counted and raised; inject, payload, pc, here."""
_WIDTH: Final = len(_MARK) + 2 * EXIT_WORDS + 1


class Marks(NamedTuple):
    """The moments that a debugger remembers; ``end`` is the recording's."""

    stops: list[Mark]
    bookmarks: dict[str, Mark]
    end: Mark


class Loaded(NamedTuple):
    """What was loaded, and the names that the user knows."""

    program: Program | None
    image: LoadImage | None
    symbols: dict[str, int]
    constants: dict[str, int]


# Marks


def of_journal(marks: list[Mark], journal: Journal, rows: int) -> list[Mark]:
    """Those that are moments of ``journal``: not all are, where a snapshot was put back by hand."""
    return sorted((m for m in marks if _wrong(m, journal, rows) is None), key=_position)


def _position(mark: Mark) -> Position:
    return mark.position


def put_marks(marks: Marks) -> tuple[Arrays, dict[str, Any]]:
    """Stops, then bookmarks, then the end: a row of words each, and bytes."""
    import numpy as np

    words, data = array("Q"), bytearray()
    stops = marks.stops[-MARKS:]
    for mark in (*stops, *marks.bookmarks.values(), marks.end):
        row, raw = _put_mark(mark)
        words.extend(row)
        data += raw
    columns = {
        "marks-words": np.array(words, "<u8"),
        "marks-data": np.frombuffer(bytes(data), "|u1"),
    }
    return columns, {"stops": len(stops), "bookmarks": list(marks.bookmarks)}


def _put_mark(mark: Mark) -> tuple[list[int], bytes]:
    owed, raised = mark.owed or Owed(0, 0, 0), mark.raised or ExceptionExit(0, 0, 0, False)
    flags = mark.owed is not None, mark.here is not None, mark.raised is not None
    head = (*mark.position, mark.rows, *flags, *owed, mark.here or 0)
    title = mark.title.encode("utf-8", "backslashreplace")[:_TEXT]
    title = title.decode("utf-8", "ignore").encode()
    exits = [put_exit(mark.exit), put_exit(raised)]
    words = [*check("a stop", head, _MARK), *exits[0][0], *exits[1][0], len(title)]
    return words, exits[0][1] + exits[1][1] + title


def take_marks(
    columns: Mapping[str, NDArray[Any]], told: object, journal: Journal, rows: int
) -> Marks:
    """The marks again, each of them a moment of ``journal``."""
    stops = number(take(told, "stops", int), "the number of stops", MARKS)
    names = _names(take(told, "bookmarks", list))
    words, data = columns["marks-words"], columns["marks-data"].tobytes()
    if len(words) != _WIDTH * (stops + len(names) + 1):
        raise RecordingError("damaged: its stops")
    found, place = [], 0
    for start in range(0, len(words), _WIDTH):
        mark, place = _take_mark(words[start : start + _WIDTH].tolist(), data, place)
        wrong = _wrong(mark, journal, rows)
        if wrong is not None:
            raise RecordingError(wrong)
        found.append(mark)
    positions = [mark.position for mark in found[:stops]]
    end = Position(len(journal), journal.end)
    if place != len(data) or positions != sorted(positions) or found[-1].position != end:
        raise RecordingError("damaged: the order of its stops")
    return Marks(found[:stops], dict(zip(names, found[stops:], strict=False)), found[-1])


def _names(names: list[Any]) -> list[str]:
    good = all(isinstance(n, str) and n and not n[0].isdigit() and len(n) <= _TEXT for n in names)
    if not good or len(set(names)) != len(names) or len(names) > MARKS:
        raise RecordingError("damaged: the names of its bookmarks")
    return names


def _take_mark(words: list[int], data: bytes, place: int) -> tuple[Mark, int]:
    head = check("damaged: a stop", words[: len(_MARK)], _MARK)
    entry, clock, rows, owes, counted, raises, *owed, here = head
    exits = []
    for start in (len(_MARK), len(_MARK) + EXIT_WORDS):
        row = words[start : start + EXIT_WORDS]
        size = row[-2] + row[-1]
        if size > len(data) - place:
            raise RecordingError("damaged: the bytes of a stop")
        exits.append(take_exit(row, data[place : place + size]))
        place += size
    length, (exit, raised) = words[-1], exits
    if length > min(_TEXT, len(data) - place) or not isinstance(raised, ExceptionExit):
        raise RecordingError("damaged: the title of a stop")
    try:
        title = data[place : place + length].decode()
    except UnicodeDecodeError:
        raise RecordingError("damaged: the title of a stop") from None
    mark = Mark(
        Position(entry, clock),
        rows,
        exit,
        title,
        Owed(*owed) if owes else None,
        here if counted else None,
        raised if raises else None,
    )
    return mark, place + length


def _wrong(mark: Mark, journal: Journal, rows: int) -> str | None:
    entry, clock = mark.position
    if entry > len(journal) or mark.rows > rows:
        return "damaged: a stop that the recording does not have"
    last = journal.after[entry] if entry < len(journal) else journal.end
    if not journal.before(entry) <= clock <= last:
        return "damaged: a stop at another clock than its place"
    return None


# The devices


def put_written(written: Written) -> Arrays:
    """The guest's port writes."""
    import numpy as np

    names = ("tape-places", "tape-ports", "tape-sizes", "tape-values")
    return {
        name: np.array(column, COLUMNS[name]) for name, column in zip(names, written, strict=True)
    }


def take_written(columns: Mapping[str, NDArray[Any]], journal: Journal) -> Written:
    """The guest's port writes again, in the journal's order."""
    import numpy as np

    names = ("tape-places", "tape-ports", "tape-sizes", "tape-values")
    places, ports, sizes, values = (columns[name] for name in names)
    if not len(places) == len(ports) == len(sizes) == len(values):
        raise RecordingError("damaged: its port writes")
    ordered = (places[1:] >= places[:-1]).all() and (places <= len(journal)).all()
    wide = values.astype("<u8") >> 8 * sizes.astype("<u8")
    if not ordered or not np.isin(sizes, (1, 2, 4)).all() or wide.any():
        raise RecordingError("damaged: its port writes")
    codes = ("Q", "H", "B", "L")
    arrays = (
        array(code, column.tolist())
        for code, column in zip(codes, (places, ports, sizes, values), strict=True)
    )
    return Written(*arrays)


# The program


def put_loaded(loaded: Loaded) -> tuple[Arrays, dict[str, Any]]:
    """The loaded bytes and what the assembler said of them."""
    import numpy as np

    program, image = loaded.program, loaded.image
    listing = list(program.listing) if program else []
    raw = b"".join(line.raw for line in listing)
    columns = {
        "program-code": np.frombuffer(image.code if image else b"", "|u1"),
        "program-listing": np.frombuffer(raw, "|u1"),
    }
    told = {
        "symbols": _put_names(loaded.symbols),
        "constants": _put_names(loaded.constants),
        "image": image and [image.address, image.entry_offset, image.entry_cs],
        "program": program and _put_program(program),
    }
    return columns, told


def _put_names(names: Mapping[str, int]) -> dict[str, int]:
    for name, value in names.items():
        if type(value) is not int or abs(value) > U64 or len(name) > _TEXT:
            raise RecordingError(f"the name {name[:80]} stands for {value!r}, which cannot be kept")
    if len(names) > _LABELS:
        raise RecordingError(f"more than {_LABELS:,} names cannot be kept")
    return dict(names)


def _put_program(program: Program) -> dict[str, Any]:
    lines = [[line.number, line.address, len(line.raw), line.text] for line in program.listing]
    return {
        "name": program.name,
        "mode": program.mode,
        "origin": program.origin,
        "symbols": _put_names(program.symbols),
        "constants": _put_names(program.constants),
        "listing": lines,
    }


def take_loaded(columns: Mapping[str, NDArray[Any]], told: object, ram: int) -> Loaded:
    """Program, image and names again."""
    code, raw = columns["program-code"].tobytes(), columns["program-listing"].tobytes()
    symbols, constants = _take_names(told, "symbols"), _take_names(told, "constants")
    parts = told if isinstance(told, dict) else {}
    program = None
    if parts.get("program") is not None:
        program = _take_program(take(parts, "program", dict), code, raw)
    elif raw:
        raise RecordingError("damaged: a listing without a program")
    image = None
    if parts.get("image") is not None:
        image = _take_image(take(parts, "image", list), code, program, ram)
    elif code:
        raise RecordingError("damaged: a program that was not loaded")
    return Loaded(program, image, symbols, constants)


def _take_names(told: object, name: str) -> dict[str, int]:
    names: dict[str, int] = take(told, name, dict)
    if len(names) > _LABELS or not all(type(v) is int and abs(v) <= U64 for v in names.values()):
        raise RecordingError(f"damaged: its {name}")
    return names


def _take_image(told: list[Any], code: bytes, program: Program | None, ram: int) -> LoadImage:
    if len(told) != 3 or not code:
        raise RecordingError("damaged: where its program was loaded")
    address = number(told[0], "where its program was loaded", ram - len(code))
    offset = number(told[1], "where its program begins", ram)
    cs = None if told[2] is None else number(told[2], "where its program begins", 0xFFFF)
    return LoadImage(code, address, offset, cs, dict(program.symbols) if program else {})


def _take_program(told: dict[str, Any], code: bytes, raw: bytes) -> Program:
    mode = take(told, "mode", str)
    if mode not in MODES:
        raise RecordingError("damaged: the mode of its program")
    lines, place = [], 0
    for row in take(told, "listing", list):
        line, place = _take_line(row, raw, place)
        lines.append(line)
    if place != len(raw):
        raise RecordingError("damaged: the listing of its program")
    return Program(
        code,
        number(take(told, "origin", int), "the origin of its program", U64),
        _take_names(told, "symbols"),
        Listing(lines),
        mode,
        take(told, "name", str),
        _take_names(told, "constants"),
    )


def _take_line(row: object, raw: bytes, place: int) -> tuple[ListingLine, int]:
    if not isinstance(row, list) or len(row) != 4 or not isinstance(row[3], str):
        raise RecordingError("damaged: the listing of its program")
    address = None if row[1] is None else number(row[1], "an address of its listing", U64)
    end = place + number(row[2], "a line of its listing", len(raw) - place)
    return ListingLine(
        number(row[0], "a line of its listing"), address, raw[place:end], row[3]
    ), end


# Breakpoints


def put_breakpoints(entries: list[Entry], last: int) -> dict[str, Any]:
    """Breakpoints as JSON; ``last`` is the greatest number that one has had."""
    return {"last": last, "entries": [_put_entry(entry) for entry in entries]}


_PLAIN: Final = ("kind", "access", "where", "note", "temporary", "enabled")
_COUNTS: Final = ("number", "address", "length", "hits")
_MAYBE: Final = ("slot", "physical")
_KINDS: Final = {("sw", "x"), ("hw", "x"), ("hw", "w"), ("hw", "rw"), ("vector", "int")}
_LENGTHS: Final = {"x": (1,), "w": (1, 2, 4, 8), "rw": (1, 2, 4, 8), "int": (0,)}


def _put_entry(entry: Entry) -> dict[str, Any]:
    told = {name: getattr(entry, name) for name in (*_PLAIN, *_COUNTS, *_MAYBE, "asked")}
    return told | {"when": entry.condition.text if entry.condition else None}


def take_breakpoints(told: object) -> tuple[list[Entry], int]:
    """The breakpoints again; their conditions are read as if somebody had just written them."""
    last = number(take(told, "last", int), "the number of breakpoints")
    entries = [_take_entry(each) for each in take(told, "entries", list)[:_BREAKPOINTS]]
    numbers = [entry.number for entry in entries]
    slots = [entry.slot for entry in entries if entry.slot is not None]
    if numbers != sorted(set(numbers)) or max(numbers, default=0) > last:
        raise RecordingError("damaged: the numbers of its breakpoints")
    if len(set(slots)) != len(slots):
        raise RecordingError("damaged: two breakpoints in one debug register")
    return entries, last


def _take_entry(told: object) -> Entry:
    kind, access, where, note = (take(told, name, str) for name in _PLAIN[:4])
    counts = [number(take(told, name, int), f"a breakpoint's {name}", U64) for name in _COUNTS]
    if (kind, access) not in _KINDS or counts[2] not in _LENGTHS[access]:
        raise RecordingError("damaged: a breakpoint of no known kind")
    entry = Entry(kind, access, counts[1], counts[2], where)
    entry.note, entry.number, entry.hits = note, counts[0], counts[3]
    entry.temporary, entry.enabled = take(told, "temporary", bool), take(told, "enabled", bool)
    fields: dict[str, Any] = told if isinstance(told, dict) else {}
    entry.slot = _maybe(fields.get("slot"), "debug register", 3)
    entry.physical = _maybe(fields.get("physical"), "physical address", U64)
    if fields.get("asked") not in (None, "sw", "hw", "vector"):
        raise RecordingError("damaged: a breakpoint of no known kind")
    entry.asked = fields.get("asked")
    if fields.get("when") is not None:
        entry.condition = compile_condition(take(told, "when", str)[:_TEXT])
    return entry


def _maybe(value: object, what: str, most: int) -> int | None:
    return None if value is None else number(value, f"a breakpoint's {what}", most)
