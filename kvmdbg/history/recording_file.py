"""A ``.kvmdbg`` file: a manifest, columns of numbers and texts, each with its digest.

The head names the format and holds the manifest's SHA-256, the manifest each member's: a file with
one changed bit is refused. Columns are ``.npy`` files; there is no pickle in them and nothing that
is executed. docs/recording-format.md lists the members. Must not know: what a column means.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from ..errors import RecordingError
from .zipped import Archive, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT: Final = 1
HEAD: Final = "kvmdbg-recording"
MANIFEST: Final = "manifest.json"
_MAGIC: Final = b"kvmdbg recording\nformat "
_MOST_HEAD: Final = 256
_MOST_MANIFEST: Final = 1 << 16
MOST_TEXT: Final = 16 << 20
"""Bytes of a JSON member."""


class Contents(NamedTuple):
    """What is in a file. ``facts`` are the manifest's own words; ``columns`` one-dimensional."""

    facts: dict[str, Any]
    columns: dict[str, NDArray[Any]]
    texts: dict[str, Any]


class Shape(NamedTuple):
    """What a file must hold: dtypes by column, and the names of its JSON members."""

    columns: Mapping[str, str]
    texts: tuple[str, ...]


# Writing


def save(path: Path, contents: Contents) -> int:
    """Write a file whole or not at all; its size in bytes. RecordingError where that cannot be.

    A file that is there already is replaced if it is a recording, and left alone otherwise.
    """
    path = Path(os.path.realpath(path))
    if not _free(path):
        raise RecordingError("it is there already and is no recording; choose another name")
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        return _write(new, path, contents)
    except OSError as error:
        raise RecordingError(f"cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            new.unlink()


def _free(path: Path) -> bool:
    """Whether nothing is there that is not ours."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            start = file.read(_MOST_HEAD)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return start.startswith(b"PK\3\4") and HEAD.encode() + _MAGIC in start


def _write(new: Path, path: Path, contents: Contents) -> int:
    size = 0
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        for piece in pack(_members(contents)):
            size += file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_folder(path.parent)
    return size


def _sync_folder(folder: Path) -> None:
    """The name is on the disk too; where a system knows no such thing, that is no error."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _members(contents: Contents) -> Iterator[tuple[str, bytes]]:
    members = {f"{name}.npy": _npy(column) for name, column in contents.columns.items()}
    members |= {f"{name}.json": _json(name, value) for name, value in contents.texts.items()}
    columns = {name: [c.dtype.str, len(c)] for name, c in contents.columns.items()}
    digests = {name: _sha256(data) for name, data in members.items()}
    manifest = contents.facts | {"format": FORMAT, "columns": columns, "sha256": digests}
    text = _json(MANIFEST, manifest)
    yield HEAD, _head(FORMAT, text)
    yield MANIFEST, text
    yield from members.items()


def _head(format: int, manifest: bytes) -> bytes:
    return b"%s%d\nsha256 %s\n" % (_MAGIC, format, _sha256(manifest).encode())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json(name: str, value: object) -> bytes:
    data = json.dumps(value, separators=(",", ":")).encode("ascii")
    if len(data) > MOST_TEXT:
        raise RecordingError(f"too much to keep: its {name} is longer than {MOST_TEXT >> 20} MiB")
    return data


def _npy(column: NDArray[Any]) -> bytes:
    return _npy_head(column.dtype.str, len(column)) + column.tobytes()


def _npy_head(dtype: str, length: int) -> bytes:
    """The one header that a column has (numpy.lib.format, version 1.0)."""
    words = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({length},), }}"
    words += " " * (-(len(words) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(words).to_bytes(2, "little") + words.encode()


# Reading


def load(path: Path, shape: Shape) -> Contents:
    """Read a file; RecordingError with one line unless it is whole and holds what it must."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise RecordingError("no recording: it is no file")
        with path.open("rb") as file:
            if not file.read(4).startswith(b"PK\3\4"):
                raise RecordingError("no recording: it is no zip archive")
            return _contents(Archive(file, status.st_size), shape)
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror}") from None
    except ValueError as error:
        if isinstance(error, RecordingError):
            raise
        raise RecordingError(f"cannot be read: {error}") from None


def _contents(archive: Archive, shape: Shape) -> Contents:
    facts = _manifest(archive)
    columns, digests = take(facts, "columns", dict), take(facts, "sha256", dict)
    _check_members(archive, shape, columns, digests)
    found = {
        name: _column(_whole(archive, f"{name}.npy", digests), name, dtype, columns[name])
        for name, dtype in shape.columns.items()
    }
    texts = {
        name: parse(_whole(archive, f"{name}.json", digests, MOST_TEXT), name)
        for name in shape.texts
    }
    return Contents(facts, found, texts)


def _manifest(archive: Archive) -> dict[str, Any]:
    head = archive.read(HEAD, _MOST_HEAD) if HEAD in archive.members else b""
    version, newline, _ = head.removeprefix(_MAGIC).partition(b"\n")
    if not head.startswith(_MAGIC) or not newline or not version.isdigit():
        raise RecordingError("no recording of kvmdbg")
    if int(version) > FORMAT:
        raise RecordingError(
            f"made by a newer kvmdbg: its format is {int(version)}, this one reads {FORMAT}"
        )
    text = archive.read(MANIFEST, _MOST_MANIFEST)
    if head != _head(FORMAT, text):
        raise RecordingError("damaged: the manifest's digest")
    facts = parse(text, MANIFEST)
    if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT:
        raise RecordingError("damaged: the manifest")
    return facts


def _check_members(
    archive: Archive, shape: Shape, columns: dict[str, Any], digests: dict[str, Any]
) -> None:
    members = {f"{name}.npy" for name in shape.columns} | {f"{name}.json" for name in shape.texts}
    unknown = archive.members.keys() - members - {HEAD, MANIFEST}
    if unknown:
        raise RecordingError(f"damaged: it has a member that no recording has, {min(unknown)!r}")
    if digests.keys() != members or columns.keys() != shape.columns.keys():
        raise RecordingError("damaged: the manifest lists other members")


def _whole(archive: Archive, name: str, digests: dict[str, Any], most: int = 1 << 30) -> bytes:
    data = archive.read(name, most)
    if _sha256(data) != digests[name]:
        raise RecordingError(f"damaged: the digest of {name}")
    return data


def _column(data: bytes, name: str, dtype: str, declared: object) -> NDArray[Any]:
    import numpy as np

    if not isinstance(declared, list) or len(declared) != 2 or declared[0] != dtype:
        raise RecordingError(f"damaged: the column {name} is not of the type {dtype}")
    length = number(declared[1], f"the length of {name}")
    head = _npy_head(dtype, length)
    if not data.startswith(head):
        raise RecordingError(f"damaged: the column {name} has another header")
    if len(data) != len(head) + length * np.dtype(dtype).itemsize:
        raise RecordingError(f"damaged: the column {name} has another length")
    return np.frombuffer(data, dtype, offset=len(head))


# Checking what was read


def parse(text: bytes, name: str) -> Any:
    """JSON of whole numbers, texts, lists and objects; nothing twice, nothing too deep."""
    try:
        return json.loads(
            text.decode("ascii"),
            object_pairs_hook=_once,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError):
        raise RecordingError(f"damaged: {name} is not as kvmdbg writes it") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def take(found: object, name: str, kind: type) -> Any:
    """A field of a JSON object, of that type and no other."""
    value = found.get(name) if isinstance(found, dict) else None
    if type(value) is not kind:
        raise RecordingError(f"damaged: no {name}")
    return value


def number(value: object, what: str, most: int = (1 << 63) - 1, least: int = 0) -> int:
    """A whole number in a range."""
    if type(value) is not int or not least <= value <= most:
        raise RecordingError(f"damaged: {what} is out of range")
    return value
