"""The zip archive of a recording: written plainly, and read back only if it was written so.

Any tool opens such an archive. The other way round this file takes no archive but its own: members
one after the other in the order given, deflated, nothing between them and nothing behind. So each
byte of the file is checked, and the tricks of hostile archives (members that overlap, sizes that
lie, links, encryption, names that lead elsewhere) have no place. Must not know: what members mean.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final, NamedTuple

from ..errors import RecordingError

LARGEST: Final = 1 << 30
"""Bytes of a file, and of all its members together."""
MEMBERS: Final = 64
_NAME: Final = 64
_RATIO: Final = 256
"""A member is at most so many times as long as it is deflated, ..."""
_SMALL: Final = 4 << 20
"""... unless it is no longer than this."""

# PKWARE's APPNOTE.TXT, 4.3.7, 4.3.12, 4.3.16.
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION, _MADE_BY, _STORED, _DEFLATED = 20, 3 << 8 | 20, 0, 8
_DATE = 1 << 5 | 1  # 1 January 1980: two recordings of the same way are the same bytes
_ATTRIBUTES = 0o100644 << 16


class Member(NamedTuple):
    """One member: its name, and its place and sizes in the file."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    offset: int

    def _common(self) -> tuple[int, ...]:
        return self.method, 0, _DATE, self.crc, self.packed, self.size, len(self.name), 0

    @property
    def local(self) -> bytes:
        """The header in front of the data."""
        return _LOCAL.pack(b"PK\3\4", _VERSION, 0, *self._common()) + self.name.encode()

    @property
    def central(self) -> bytes:
        """The row in the directory at the end."""
        where = 0, 0, 0, _ATTRIBUTES, self.offset
        head = _CENTRAL.pack(b"PK\1\2", _MADE_BY, _VERSION, 0, *self._common(), *where)
        return head + self.name.encode()


def pack(members: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """An archive in pieces; the first member is stored as it is, so that it can be looked at."""
    directory: list[Member] = []
    offset = total = 0
    for name, data in members:
        method, packed = (_DEFLATED, _deflated(data)) if directory else (_STORED, data)
        member = Member(name, method, zlib.crc32(data), len(packed), len(data), offset)
        directory.append(member)
        yield member.local
        yield packed
        offset, total = offset + len(member.local) + len(packed), total + len(data)
        if max(offset, total) > LARGEST:
            raise RecordingError(f"too long: more than {LARGEST >> 20:,} MiB")
    yield _tail(directory, offset)


def _tail(directory: list[Member], offset: int) -> bytes:
    rows, count = b"".join(member.central for member in directory), len(directory)
    return rows + _END.pack(b"PK\5\6", 0, 0, count, count, len(rows), offset, 0)


def _deflated(data: bytes) -> bytes:
    packed = _deflate(data, zlib.Z_DEFAULT_STRATEGY)
    if len(data) > max(_SMALL, _RATIO * len(packed)):  # would be taken for a bomb
        return _deflate(data, zlib.Z_HUFFMAN_ONLY)
    return packed


def _deflate(data: bytes, strategy: int) -> bytes:
    deflate = zlib.compressobj(4, zlib.DEFLATED, -15, zlib.DEF_MEM_LEVEL, strategy)
    return deflate.compress(data) + deflate.flush()


class Archive:
    """An archive that was written by :func:`pack`; RecordingError for every other file.

    ``file`` is open for reading and ``size`` bytes long; nothing of it is kept.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        if size > LARGEST:
            raise RecordingError(f"it is longer than {LARGEST >> 20:,} MiB")
        self.members = {member.name: member for member in self._directory(size)}

    def _at(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise RecordingError("damaged: it is cut off")
        return data

    def _directory(self, size: int) -> list[Member]:
        if size < _END.size:
            raise RecordingError("no recording: it is too short")
        end = _END.unpack(self._at(size - _END.size, _END.size))
        if end[0] != b"PK\5\6":
            raise RecordingError("damaged: the archive's end is missing")
        count, length, offset = end[4:7]
        if count > MEMBERS or offset + length + _END.size != size:
            raise RecordingError("damaged: the archive's directory is not where it belongs")
        if length > MEMBERS * (_CENTRAL.size + _NAME):
            raise RecordingError("damaged: the archive's directory is too long")
        rows = self._at(offset, length)
        members = list(_members(rows, count))
        if rows + self._at(size - _END.size, _END.size) != _tail(members, offset):
            raise RecordingError("damaged: the archive's directory was not written by kvmdbg")
        self._check(members, offset)
        return members

    def _check(self, members: list[Member], end: int) -> None:
        """One behind the other without a gap, each name once, no size out of reason."""
        if len({member.name for member in members}) != len(members):
            raise RecordingError("damaged: a member is there twice")
        offset = total = 0
        for index, member in enumerate(members):
            if member.method != (_DEFLATED if index else _STORED):
                raise RecordingError(f"damaged: {member.name} is not packed as kvmdbg does")
            if member.offset != offset or self._at(offset, len(member.local)) != member.local:
                raise RecordingError(f"damaged: {member.name} is not where it belongs")
            if member.size > max(_SMALL, _RATIO * member.packed):
                raise RecordingError(f"damaged: {member.name} would be out of all proportion")
            offset += len(member.local) + member.packed
            total += member.size
        if offset != end or total > LARGEST:
            raise RecordingError("damaged: its members do not fill the archive")

    def read(self, name: str, most: int = LARGEST) -> bytes:
        """A member's bytes, at most ``most``."""
        member = self.members.get(name)
        if member is None:
            raise RecordingError(f"damaged: {name} is missing")
        if member.size > most:
            raise RecordingError(f"damaged: {name} is longer than {most:,} bytes")
        packed = self._at(member.offset + len(member.local), member.packed)
        data = packed if member.method == _STORED else _inflated(packed, member)
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise RecordingError(f"damaged: the contents of {name}")
        return data


def _members(rows: bytes, count: int) -> Iterator[Member]:
    place = 0
    for _ in range(count):
        if place + _CENTRAL.size > len(rows):
            raise RecordingError("damaged: the archive's directory is cut off")
        row = _CENTRAL.unpack_from(rows, place)
        place += _CENTRAL.size
        name = rows[place : place + row[10]]
        place += row[10]
        if not 0 < len(name) <= _NAME or not name.isascii():
            raise RecordingError("damaged: the archive has a member that is not ours")
        yield Member(name.decode("ascii"), row[4], row[7], row[8], row[9], row[16])


def _inflated(packed: bytes, member: Member) -> bytes:
    """Never more than the directory says, whatever is in there."""
    inflate = zlib.decompressobj(-15)
    try:
        data = inflate.decompress(packed, member.size + 1)
    except zlib.error:
        raise RecordingError(f"damaged: the contents of {member.name}") from None
    if not inflate.eof or inflate.unused_data:
        raise RecordingError(f"damaged: the contents of {member.name}")
    return data
