"""The zip archive of a recording: any tool reads it, and nothing but its own is taken."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvmdbg.errors import RecordingError
from kvmdbg.history import zipped
from kvmdbg.history.zipped import Archive, pack

MEMBERS = [("head", b"hello"), ("a.npy", b"abc" * 1000), ("empty", b""), ("b.json", b"{}")]


def written(members: list[tuple[str, bytes]] = MEMBERS) -> bytes:
    return b"".join(pack(members))


def opened(data: bytes) -> Archive:
    return Archive(io.BytesIO(data), len(data))


def contents(data: bytes) -> list[tuple[str, bytes]]:
    archive = opened(data)
    return [(name, archive.read(name)) for name in archive.members]


def by_zipfile(*members: tuple[str, bytes], **more: object) -> bytes:
    """An archive as others write it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            for key, value in more.items():
                setattr(info, key, value)
            archive.writestr(info, data)
    return file.getvalue()


def test_what_was_written_is_read() -> None:
    assert contents(written()) == MEMBERS


def test_other_tools_read_it() -> None:
    archive = zipfile.ZipFile(io.BytesIO(written()))
    assert archive.testzip() is None
    assert [(name, archive.read(name)) for name in archive.namelist()] == MEMBERS


def test_the_same_members_make_the_same_bytes() -> None:
    assert written() == written()


@given(st.integers(0, len(written()) - 1), st.integers(1, 255))
def test_a_changed_byte_is_found_or_changes_nothing(place: int, change: int) -> None:
    data = bytearray(written())
    data[place] ^= change
    with suppress(RecordingError):  # deflate leaves some bits at a stream's end unused
        assert contents(bytes(data)) == contents(written())


@given(st.integers(0, len(written()) - 1))
def test_a_file_that_was_cut_off_is_refused(size: int) -> None:
    with pytest.raises(RecordingError):
        contents(written()[:size])


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(RecordingError) as refused:
        contents(data)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("more", [b"\0", b"PK\5\6" + bytes(18)])
def test_bytes_behind_the_end_are_refused(more: bytes) -> None:
    with pytest.raises(RecordingError):
        contents(written() + more)


def test_bytes_in_front_are_refused() -> None:
    with pytest.raises(RecordingError):
        contents(b"MZ" + written())


@pytest.mark.parametrize(
    "data",
    [
        by_zipfile(("head", b"hello"), ("a", b"x")),
        by_zipfile(("../../etc/passwd", b"x")),
        by_zipfile(("link", b"/etc/passwd"), external_attr=0o120777 << 16),
        by_zipfile(("head", b"x"), comment=b"note"),
        by_zipfile(("head", b"x"), extra=b"\1\2\0\0"),
        by_zipfile(("head", b"x" * 100), date_time=(2026, 1, 1, 0, 0, 0)),
    ],
    ids=["plain", "traversal", "symlink", "comment", "extra", "date"],
)
def test_an_archive_of_somebody_elses_is_refused(data: bytes) -> None:
    with pytest.raises(RecordingError, match=r"^damaged: "):
        contents(data)


def test_a_member_that_is_there_twice_is_refused() -> None:
    with pytest.raises(RecordingError, match="twice"):
        contents(written([("head", b"1"), ("a", b"2"), ("a", b"3")]))


def test_an_encrypted_member_is_refused() -> None:
    data = bytearray(written())
    data[data.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(RecordingError, match="not written by kvmdbg"):
        contents(bytes(data))


@pytest.mark.parametrize("name", ["", "x" * 65, "ä"])
def test_a_name_that_no_recording_has_is_refused(name: str) -> None:
    with pytest.raises(RecordingError, match=r"not ours|not written"):
        contents(written([("head", b""), (name, b"")]))


def test_more_members_than_any_recording_has_are_refused() -> None:
    many = [(f"m{n}", b"") for n in range(zipped.MEMBERS + 1)]
    with pytest.raises(RecordingError, match="directory"):
        contents(written(many))


def lying(size: int, packed: bytes) -> bytes:
    """An archive whose second member has those bytes and says that they are so many."""
    head = zipped.Member("head", 0, zlib.crc32(b""), 0, 0, 0)
    bomb = zipped.Member("bomb", 8, 0, len(packed), size, len(head.local))
    data = head.local + bomb.local + packed
    return data + zipped._tail([head, bomb], len(data))


def test_a_bomb_that_says_so_is_refused_unopened() -> None:
    packed = zipped._deflate(bytes(64 << 20), zlib.Z_DEFAULT_STRATEGY)
    with pytest.raises(RecordingError, match="out of all proportion"):
        opened(lying(64 << 20, packed))


def test_a_bomb_that_lies_is_left_where_its_word_ends() -> None:
    packed = zipped._deflate(bytes(64 << 20), zlib.Z_DEFAULT_STRATEGY)
    archive = opened(lying(1000, packed))
    tracemalloc.start()
    try:
        with pytest.raises(RecordingError, match="contents of bomb"):
            archive.read("bomb")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_members_that_are_too_long_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written([("head", b""), ("a", b"x" * 600), ("b", b"x" * 600)])
    monkeypatch.setattr(zipped, "LARGEST", 1000)
    with pytest.raises(RecordingError, match="do not fill"):
        opened(data)
    with pytest.raises(RecordingError, match="too long"):
        written([("head", b""), ("a", b"x" * 600), ("b", b"x" * 600)])


def test_much_of_the_same_is_written_so_that_it_can_be_read() -> None:
    members = [("head", b""), ("zeros", bytes(32 << 20))]
    assert contents(written(members)) == members


def test_a_member_can_be_asked_for_with_a_limit() -> None:
    archive = opened(written())
    assert archive.read("a.npy", 3000) == b"abc" * 1000
    with pytest.raises(RecordingError, match="longer than 2,999 bytes"):
        archive.read("a.npy", 2999)
    with pytest.raises(RecordingError, match="missing"):
        archive.read("c.npy")


def test_overlapping_members_are_refused() -> None:
    data = written([("head", b""), ("a", b"x"), ("b", b"x")])
    place = data.index(b"PK\1\2", data.index(b"PK\1\2", data.index(b"PK\1\2") + 1) + 1)
    first = struct.unpack_from("<I", data, data.index(b"PK\1\2", data.index(b"PK\1\2") + 1) + 42)
    moved = bytearray(data)
    struct.pack_into("<I", moved, place + 42, first[0])
    with pytest.raises(RecordingError, match="not where it belongs"):
        opened(bytes(moved))
