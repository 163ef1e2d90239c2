"""Recordings that somebody has made up: digests right, contents wrong. Refused in one line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kvmdbg import Vm, assemble
from kvmdbg.debugger.recordings import _SHAPE
from kvmdbg.errors import RecordingError
from kvmdbg.history import recording_file, zipped
from kvmdbg.history.journal import CALLS
from kvmdbg.history.recording_file import Contents

SOURCE = """
start:  mov ecx, 3
loop:   mov al, 0x41
        out 0xe9, al
        dec ecx
        jnz loop
        ud2
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "it.kvmdbg"
    with Vm(ram=1 << 16) as vm:
        vm.load(assemble(SOURCE))
        vm.bp("loop", when="ecx == 2")
        vm.bp(0x9000, kind="hw", access="w", length=4)
        vm.cont()
        vm.set_regs(rdx=5)
        vm.step(2)
        vm.bookmark("x")
        vm.cont()
        vm.save(path)
    return path


def refused(path: Path) -> str:
    """The line with which a file is refused, soon."""
    begin = time.monotonic()
    with pytest.raises(RecordingError) as error:
        Vm.open(path)
    assert time.monotonic() - begin < 10
    line = str(error.value)
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


def changed(file: Path, to: Path, change: Callable[[Contents], None]) -> str:
    """A recording with other contents and right digests: how is it refused?"""
    contents = recording_file.load(file, _SHAPE)
    columns = {name: column.copy() for name, column in contents.columns.items()}
    contents = Contents(dict(contents.facts), columns, contents.texts)
    change(contents)
    recording_file.save(to, contents)
    return refused(to)


def put(name: str, place: int, value: Any) -> Callable[[Contents], None]:
    def change(contents: Contents) -> None:
        contents.columns[name][place] = value

    return change


def cut(name: str) -> Callable[[Contents], None]:
    def change(contents: Contents) -> None:
        contents.columns[name] = contents.columns[name][:-1]

    return change


def fact(name: str, value: Any) -> Callable[[Contents], None]:
    def change(contents: Contents) -> None:
        contents.facts[name] = value

    return change


def told(*path: Any, value: Any) -> Callable[[Contents], None]:
    def change(contents: Contents) -> None:
        place = contents.texts["debugger"]
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


def test_without_a_change_it_opens(file: Path, tmp_path: Path) -> None:
    contents = recording_file.load(file, _SHAPE)
    recording_file.save(tmp_path / "same", contents)
    Vm.open(tmp_path / "same").close()


@pytest.mark.parametrize("name", sorted(_SHAPE.columns))
def test_a_column_that_is_too_short_is_refused(file: Path, tmp_path: Path, name: str) -> None:
    free = name == "program-code"  # what vm.reset() would load, which may be anything
    if len(recording_file.load(file, _SHAPE).columns[name]) and not free:
        assert changed(file, tmp_path / "it", cut(name))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (put("journal-calls", 1, 200), "calls with the arguments of others"),
        (put("arguments-calls", 0, len(CALLS)), "calls that no engine has"),
        (put("journal-places", 1, 1 << 30), "calls without arguments"),
        (put("journal-after", -1, 0), "its clock goes back"),
        (put("journal-after", -1, -1), "its clock goes back"),
        (put("journal-after", -1, (1 << 63) - 1), "its clock goes back"),
        (put("journal-after", 0, 5), "its clock"),
        (put("planted-addresses", 0, 1 << 40), "what its breakpoints stand for"),
        (put("planted-entries", 0, 1), "what its breakpoints stand for"),
        (put("planted-counts", 0, 1 << 31), "what its breakpoints stand for"),
        (put("edits-entries", 0, 1 << 60), "edits-entries is not in order"),
        (put("timeline-host_time", 0, np.nan), "exits or times of its timeline"),
        (put("timeline-host_time", 0, np.inf), "exits or times of its timeline"),
        (put("timeline-host_time", 0, -1.0), "exits or times of its timeline"),
        (put("timeline-reason", 0, 77), "exits or times of its timeline"),
        (put("timeline-clock", 0, -2), "clocks of its timeline"),
        (put("tape-sizes", 0, 3), "its port writes"),
        (put("tape-values", 0, 256), "its port writes"),
        (put("tape-places", 0, 1 << 60), "its port writes"),
        (put("marks-words", 0, 1 << 40), "a stop"),
        (put("marks-words", 1, 99), "a stop at another clock"),
        (put("marks-words", 2, 1 << 40), "a stop that the recording does not have"),
        (fact("ram", 1 << 60), "ram must be a multiple"),
        (fact("ram", 4097), "ram must be a multiple"),
        (fact("ram", True), "no ram"),
        (fact("ram", -4096), "ram must be a multiple"),
        (fact("mode", "vm86"), "its mode or engine"),
        (fact("engine", "kvm"), "its mode or engine"),
        (fact("profile", "arm"), "its profile 'arm' is none"),
        (fact("begin", 1 << 40), "its journal"),
        (fact("clock", 3), "its last clock"),
        (fact("state", "0" * 64), "registers or memory are not what they were"),
        (fact("unicorn", 5), "no unicorn"),
        (told("moments", "stops", value=10**12), "the number of stops is out of range"),
        (told("moments", "stops", value=0), "its stops"),
        (told("moments", "bookmarks", value=["9"]), "the names of its bookmarks"),
        (told("moments", "bookmarks", value=[["x"]]), "the names of its bookmarks"),
        (told("symbols", value=[]), "no symbols"),
        (told("symbols", value={"x": "y"}), "its symbols"),
        (told("symbols", value={"x": 1 << 70}), "its symbols"),
        (told("image", value=[1 << 50, 0, None]), "where its program was loaded"),
        (told("image", value=None), "a program that was not loaded"),
        (told("program", value=None), "a listing without a program"),
        (told("program", "mode", value="x"), "the mode of its program"),
        (told("program", "listing", value=[[1, 2, 1 << 40, "x"]]), "a line of its listing"),
        (told("program", "listing", value=[5]), "the listing of its program"),
        (told("breakpoints", "entries", 0, "slot", value=4), "debug register is out of range"),
        (told("breakpoints", "entries", 0, "kind", value="tm"), "no known kind"),
        (told("breakpoints", "entries", 0, "when", value="__import__('os')"), "column 12"),
        (told("breakpoints", "entries", 0, "when", value="(" * 60_000), ""),
        (told("breakpoints", "entries", 0, "number", value=7), "numbers of its breakpoints"),
        (told("breakpoints", "entries", 1, "length", value=3), "no known kind"),
    ],
)
def test_contents_that_cannot_be_are_refused(
    file: Path, tmp_path: Path, change: Callable[[Contents], None], why: str
) -> None:
    assert why in changed(file, tmp_path / "it", change)


def words_of(contents: Contents, call: str) -> int:
    """Where the words of the first arguments of a call begin."""
    from kvmdbg.history.wire import FORMS

    place = 0
    for kind in contents.columns["arguments-calls"].tolist():
        if CALLS[kind] == call:
            return place
        place += len(FORMS[CALLS[kind]].limits)
    raise AssertionError(call)


@pytest.mark.parametrize(
    ("call", "word", "value", "why"),
    [
        ("write_memory", 0, 1 << 16, "writes outside of guest RAM"),
        ("write_memory", 1, 1 << 31, "the bytes of its calls"),
        ("run", 0, 2, "out of range"),
        ("set_sregs", 2, 1 << 40, "out of range"),
        ("set_regs", 16, 0x8005, "its guest goes another way here"),
        ("set_regs", 16, 1 << 63, "its guest goes another way here"),
    ],
)
def test_calls_that_cannot_be_or_lead_elsewhere_are_refused(
    file: Path, tmp_path: Path, call: str, word: int, value: int, why: str
) -> None:
    def change(contents: Contents) -> None:
        contents.columns["arguments-words"][words_of(contents, call) + word] = value

    assert why in changed(file, tmp_path / "it", change)


# The container


def rewritten(file: Path, to: Path, change: Callable[[dict[str, bytes]], None]) -> str:
    """The same members but for a change, with a head that fits if it may: how is it refused?"""
    with file.open("rb") as opened:
        archive = zipped.Archive(opened, file.stat().st_size)
        members = {name: archive.read(name) for name in archive.members}
    change(members)
    to.write_bytes(b"".join(zipped.pack(members.items())))
    return refused(to)


def with_manifest(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    def rewrite(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest)
        text = json.dumps(manifest).encode()
        members["manifest.json"] = text
        members["kvmdbg-recording"] = recording_file._head(1, text)

    return rewrite


def raw_manifest(text: bytes) -> Callable[[dict[str, bytes]], None]:
    def rewrite(members: dict[str, bytes]) -> None:
        members["manifest.json"] = text
        members["kvmdbg-recording"] = recording_file._head(1, text)

    return rewrite


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.pop("kvmdbg-recording"), "no recording of kvmdbg"),
        (lambda m: m.update({"kvmdbg-recording": b"x"}), "no recording of kvmdbg"),
        (lambda m: m.update({"manifest.json": b"{}"}), "the manifest's digest"),
        (lambda m: m.update({"../evil": b""}), "a member that no recording has, '../evil'"),
        (lambda m: m.update({"journal-calls.npy": b""}), "the digest of journal-calls.npy"),
        (lambda m: m.pop("tape-ports.npy"), "tape-ports.npy is missing"),
        (raw_manifest(b"[" * 30_000), "manifest.json is not as kvmdbg writes it"),
        (raw_manifest(b'{"a":1,"a":2}'), "manifest.json is not as kvmdbg writes it"),
        (raw_manifest(b'{"a":NaN}'), "manifest.json is not as kvmdbg writes it"),
        (raw_manifest(b'{"a":1.5}'), "manifest.json is not as kvmdbg writes it"),
        (raw_manifest(b'{"a":' + b"9" * 5000 + b"}"), "manifest.json is not as kvmdbg"),
        (raw_manifest(b" " * (1 << 17)), "longer than 65,536 bytes"),
        (raw_manifest(b"[]"), "the manifest"),
        (with_manifest(lambda m: m.update(format=0)), "the manifest"),
        (with_manifest(lambda m: m.pop("sha256")), "no sha256"),
        (with_manifest(lambda m: m["sha256"].pop("debugger.json")), "lists other members"),
        (with_manifest(lambda m: m["sha256"].update({"debugger.json": "0"})), "the digest of"),
        (with_manifest(lambda m: m["columns"].update({"tape-ports": ["|O", 1]})), "of the type"),
        (with_manifest(lambda m: m["columns"].update({"tape-ports": "<u2"})), "of the type"),
        (
            with_manifest(lambda m: m["columns"].update({"tape-ports": ["<u2", 1 << 40]})),
            "another header",
        ),
        (with_manifest(lambda m: m["columns"].update({"tape-ports": ["<u2", -1]})), "length of"),
    ],
)
def test_a_container_that_is_not_ours_is_refused(
    file: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], why: str
) -> None:
    assert why in rewritten(file, tmp_path / "it", change)


def test_a_newer_format_is_said_to_be_newer(file: Path, tmp_path: Path) -> None:
    def newer(members: dict[str, bytes]) -> None:
        members["kvmdbg-recording"] = recording_file._head(2, members["manifest.json"])

    assert rewritten(file, tmp_path / "it", newer) == (
        "made by a newer kvmdbg: its format is 2, this one reads 1"
    )


def test_a_column_of_python_objects_is_never_looked_into(file: Path, tmp_path: Path) -> None:
    def pickled(members: dict[str, bytes]) -> None:
        head = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
        evil = b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + b"cos\nsystem\n."
        members["tape-ports.npy"] = evil
        import hashlib

        digest = hashlib.sha256(evil).hexdigest()
        with_manifest(lambda m: m["sha256"].update({"tape-ports.npy": digest}))(members)

    assert "the column tape-ports has another header" in rewritten(file, tmp_path / "it", pickled)
