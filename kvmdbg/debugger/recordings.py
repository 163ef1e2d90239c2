"""``Vm``'s methods for keeping a recording in a file and for opening one.

A recording is opened as a replay, which goes only where the recording went, or live, to go on from
it. Must not know: how a file is laid out, or what else a Vm can do.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from ..engines import Engine, Factory, open_engine
from ..engines.replay import ReplayEngine
from ..errors import BadInput, EngineUnavailable, NotRecorded, RecordingError, VmInterrupted
from ..history import recording, recording_file
from ..history.journal import Journal
from ..history.recorded import Kept, Recorded
from ..history.recording_file import Contents, Shape, number, take
from ..history.timeline import TYPECODES, Timeline
from ..machine.layout import MODES
from ..profiles import PROFILES
from ..program import Program
from ..program.load import LoadImage
from ..version import __version__
from . import keeping
from .booting import check_ram
from .breakpoints import BreakpointTable
from .commands import Commands
from .entries import Entry
from .guest import Guest
from .keeping import Loaded, Marks
from .tape import Tape, Written
from .travel import Mark, Travel

_ENGINE: Final = "unicorn"
_KEEPABLE: Final = (_ENGINE, ReplayEngine.name)
_SHAPE: Final = Shape(recording.JOURNAL | recording.TIMELINE | keeping.COLUMNS, ("debugger",))


class Opened(NamedTuple):
    """A recording that was read and looked at, but not replayed yet."""

    mode: str
    profile: str | None
    ram: int
    state: str
    made_by: str
    kept: Kept
    way: Journal
    timeline: Timeline
    marks: Marks
    written: Written
    loaded: Loaded
    breakpoints: tuple[list[Entry], int]


class Recordings:
    """The part of ``Vm`` that saves and opens recordings."""

    _engine: Engine
    _boot_mode: str
    _profile: str | None
    _guest: Guest
    _table: BreakpointTable
    _timeline: Timeline
    _tape: Tape
    _commands: Commands
    _travel: Travel
    _program: Program | None
    _image: LoadImage | None
    _read_only: str = ""
    """What to do instead of changing the guest of a replay; empty where that is possible."""

    def _check(self) -> None:
        raise NotImplementedError

    def _build(
        self, engine: Engine, opened_by: str | Factory, mode: str, profile: str | None
    ) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def _check_live(self) -> None:
        self._check()
        if self._read_only:
            raise NotRecorded(f"a replay cannot begin anew; {self._read_only}")

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the whole recording to a file; its size in bytes.

        The guest's way since it was loaded, with its future if one has gone back; timeline,
        console, program, labels, stops, bookmarks and breakpoints. A file that is there already is
        replaced if it is a recording. Raises RecordingError, EngineUnavailable for an engine that
        cannot be replayed, and VmInterrupted on Ctrl-C, with no file written.
        """
        self._check()
        if self._engine.name not in _KEEPABLE:
            raise EngineUnavailable(
                f'the engine "{self._engine.name}" cannot be replayed, so its way cannot be saved; '
                "use unicorn"
            )
        try:
            contents = self._commands.apart(lambda: self._travel.at_end(self._contents))
            return recording_file.save(_path(path), contents)
        except RecordingError as error:
            raise RecordingError(f"{path}: {error}") from None
        except KeyboardInterrupt as interrupt:
            raise VmInterrupted(f"{path} was not written; the VM is intact") from interrupt

    def _contents(self, recorded: Recorded, stops: list[Mark], end: Mark) -> Contents:
        kept, rows = recorded.kept(), len(self._timeline)
        columns, begin = recording.put(kept)
        stops = keeping.of_journal(stops, kept.journal, rows)
        names = {
            name: mark
            for name, mark in self._travel.bookmarks.items()
            if keeping.of_journal([mark], kept.journal, rows)
        }
        marks, moments = keeping.put_marks(Marks(stops, names, end))
        loaded = Loaded(self._program, self._image, self._guest.symbols, self._guest.constants)
        program, names_told = keeping.put_loaded(loaded)
        columns |= recording.put_timeline(self._timeline) | marks | program
        columns |= keeping.put_written(self._tape.written)
        told = names_told | {
            "moments": moments,
            "breakpoints": keeping.put_breakpoints(*self._table.kept),
        }
        return Contents(self._facts(begin), columns, {"debugger": told})

    def _facts(self, begin: int) -> dict[str, Any]:
        return {
            **_versions(),
            "engine": _ENGINE,
            "profile": self._profile,
            "mode": self._boot_mode,
            "ram": len(self._engine.ram),
            "begin": begin,
            "clock": self._engine.clock,
            "state": recording.digest(self._engine),
        }

    @classmethod
    def open(cls, path: str | os.PathLike[str], live: bool = False) -> Self:
        """A VM at the end of a recording, in which one can go back and forth.

        It is a replay: what departs from the recording is refused. ``live`` opens an ordinary VM
        instead, which can go on from there and change its past. Raises RecordingError for a file
        that is no recording, is damaged, or whose guest goes another way here; VmInterrupted on
        Ctrl-C.
        """
        try:
            opened = _read(_path(path))
        except BadInput as error:
            raise RecordingError(f"{path}: {str(error).splitlines()[0]}") from None
        advice = f'open it live: Vm.open("{path}", live=True) or %vm open {path} --live'
        machine = open_engine(_ENGINE, opened.ram, opened.profile)
        engine = machine if live else ReplayEngine(machine, opened.way, advice)
        vm = cls.__new__(cls)
        vm._build(Recorded(engine), _ENGINE, opened.mode, opened.profile)
        vm._read_only = "" if live else advice
        try:
            vm._replay(opened)
        except KeyboardInterrupt as interrupt:
            vm.close()
            raise VmInterrupted(f"{path} was not opened to its end") from interrupt
        except Exception as error:  # who wrote the file may have made the guest do anything
            vm.close()
            raise RecordingError(f"{path}: {_astray(opened, error)}") from error
        return vm

    def _replay(self, opened: Opened) -> None:
        """Be at the end of a recording; the VM is new."""
        self._program, self._image = opened.loaded.program, opened.loaded.image
        self._guest.symbols = opened.loaded.symbols
        self._guest.constants = opened.loaded.constants
        self._table.adopt(*opened.breakpoints)
        self._timeline.adopt({n: opened.timeline.column(n) for n in TYPECODES})
        self._tape.adopt(opened.written)
        stops, bookmarks, end = opened.marks
        outcome = self._commands.apart(
            lambda: self._travel.adopt(opened.kept, stops, bookmarks, end)
        )
        if recording.digest(self._engine) != opened.state:
            raise RecordingError("its registers or memory are not what they were")
        self._guest.shadow.forget()
        self._commands.carry_out(lambda: outcome)


def _path(path: str | os.PathLike[str]) -> Path:
    return Path(path).expanduser()


def _versions() -> dict[str, str]:
    try:
        found = version(_ENGINE)
    except PackageNotFoundError:
        found = "unknown"
    return {"kvmdbg": __version__, _ENGINE: found}


def _astray(opened: Opened, error: Exception) -> str:
    here = ", ".join(f"{name} {number}" for name, number in _versions().items())
    return (
        f"its guest goes another way here ({here}) than where it was recorded ({opened.made_by}): "
        f"{str(error).partition(chr(10))[0] or type(error).__name__}"
    )


def _read(path: Path) -> Opened:
    facts, columns, texts = recording_file.load(path, _SHAPE)
    told = texts["debugger"]
    mode, profile = take(facts, "mode", str), facts.get("profile")
    if mode not in MODES or take(facts, "engine", str) != _ENGINE:
        raise RecordingError("damaged: its mode or engine")
    if profile is not None and (not isinstance(profile, str) or profile not in PROFILES):
        raise RecordingError(f"its profile {profile!r} is none that this kvmdbg has")
    ram = take(facts, "ram", int)
    check_ram(ram)
    begin = number(take(facts, "begin", int), "its beginning")
    kept, way = recording.take(columns, begin, ram)
    if take(facts, "clock", int) != kept.journal.end:
        raise RecordingError("damaged: its last clock")
    timeline = Timeline()
    recording.take_timeline(columns, timeline)
    moments = take(told, "moments", dict)
    return Opened(
        mode,
        profile,
        ram,
        take(facts, "state", str),
        ", ".join(f"{name} {take(facts, name, str)[:40]}" for name in _versions()),
        kept,
        way,
        timeline,
        keeping.take_marks(columns, moments, kept.journal, len(timeline)),
        keeping.take_written(columns, kept.journal),
        keeping.take_loaded(columns, told, ram),
        keeping.take_breakpoints(take(told, "breakpoints", dict)),
    )
